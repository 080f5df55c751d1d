//! Ceremonies of passkeys that wait for their answer: in memory only, for a few minutes, each for
//! one answer.
//!
//! **Invariant:** memory is bounded, whatever strangers send, and what strangers send never costs
//! a session or a known device its ceremony: these have room of their own.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use indexmap::IndexMap;
use jiff::{SignedDuration, Timestamp};

use crate::access::attempts::{Source, Subject, SubjectKind};
use crate::access::passkeys::ceremony::{PendingAssertion, PendingRegistration};
use crate::access::random::{self, RandomError};

/// How long an answer is waited for: what browsers allow people (WebAuthn §15.1).
const PATIENCE: SignedDuration = SignedDuration::from_mins(5);
/// How many ceremonies one session, device or stranger has at once; the oldest makes room.
const MOST_EACH: usize = 8;
/// How many there are at once in each of the two rooms.
const MOST: usize = 4096;

/// The ceremonies that wait.
#[derive(Default)]
pub struct PasskeyCeremonies {
    strangers: Mutex<Room>,
    known: Mutex<Room>,
}

/// Whose ceremony it is: nobody else's answer ends it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    who: Who,
    /// What one stranger may have whole.
    group: Option<Subject>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Who {
    Session(String),
    Source(Option<Subject>),
}

impl Owner {
    /// A session, by its id.
    pub fn session(id: &str) -> Self {
        Self {
            who: Who::Session(id.to_owned()),
            group: None,
        }
    }

    /// Somebody who signs in, by what their failures are counted by.
    pub fn source(source: &Source) -> Self {
        Self {
            who: Who::Source(source.subject()),
            group: source.widest_subject(),
        }
    }

    fn is_known(&self) -> bool {
        match &self.who {
            Who::Session(_) => true,
            Who::Source(subject) => {
                subject.is_some_and(|subject| subject.kind() == SubjectKind::Device)
            }
        }
    }
}

/// A ceremony that waits.
#[derive(Clone, Debug)]
pub enum Pending {
    /// A passkey is being made.
    Registration(PendingRegistration),
    /// A proof is waited for.
    Assertion(PendingAssertion),
}

struct Waiting {
    owner: Owner,
    until: Timestamp,
    pending: Pending,
}

impl PasskeyCeremonies {
    /// Lets a ceremony wait. Returns the secret name by which its owner ends it.
    pub fn begin(
        &self,
        owner: Owner,
        pending: Pending,
        now: Timestamp,
    ) -> Result<String, RandomError> {
        let id = random::base64url::<32>()?.to_string();
        let waiting = Waiting {
            until: now + PATIENCE,
            owner,
            pending,
        };
        let mut room = self.room(&waiting.owner);
        room.insert(id.clone(), waiting, now);
        Ok(id)
    }

    /// Takes out the registration that has waited under this name, whatever comes of it.
    pub fn end_registration(
        &self,
        id: &str,
        owner: &Owner,
        now: Timestamp,
    ) -> Option<PendingRegistration> {
        let is_one = |pending: &Pending| matches!(pending, Pending::Registration(_));
        match self.room(owner).take(id, owner, is_one, now)? {
            Pending::Registration(pending) => Some(pending),
            Pending::Assertion(_) => None,
        }
    }

    /// Takes out the wait for a proof that goes by this name, whatever comes of it.
    pub fn end_assertion(
        &self,
        id: &str,
        owner: &Owner,
        now: Timestamp,
    ) -> Option<PendingAssertion> {
        let is_one = |pending: &Pending| matches!(pending, Pending::Assertion(_));
        match self.room(owner).take(id, owner, is_one, now)? {
            Pending::Assertion(pending) => Some(pending),
            Pending::Registration(_) => None,
        }
    }

    fn room(&self, owner: &Owner) -> MutexGuard<'_, Room> {
        let room = if owner.is_known() {
            &self.known
        } else {
            &self.strangers
        };
        room.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for PasskeyCeremonies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasskeyCeremonies(..)")
    }
}

/// Ceremonies by name, oldest first.
#[derive(Default)]
struct Room(IndexMap<String, Waiting>);

impl Room {
    fn insert(&mut self, id: String, waiting: Waiting, now: Timestamp) {
        self.0.retain(|_id, each| each.is_waited_for(now));
        let own = self.0.values().filter(|each| each.owner == waiting.owner);
        if own.count() >= MOST_EACH {
            self.remove_oldest(|each| each.owner == waiting.owner);
        }
        if self.0.len() >= MOST {
            let greediest = self.greediest();
            self.remove_oldest(|each| each.owner.group == greediest);
        }
        self.0.insert(id, waiting);
    }

    fn take(
        &mut self,
        id: &str,
        owner: &Owner,
        is_one: impl Fn(&Pending) -> bool,
        now: Timestamp,
    ) -> Option<Pending> {
        let waiting = self.0.get(id)?;
        if waiting.owner != *owner || !is_one(&waiting.pending) {
            return None;
        }
        let waiting = self.0.shift_remove(id)?;
        waiting.is_waited_for(now).then_some(waiting.pending)
    }

    fn remove_oldest(&mut self, is_one: impl Fn(&Waiting) -> bool) {
        if let Some(index) = self.0.values().position(is_one) {
            self.0.shift_remove_index(index);
        }
    }

    /// Returns the group that has the most ceremonies, which makes room where there is none.
    fn greediest(&self) -> Option<Subject> {
        let mut counts = HashMap::new();
        for waiting in self.0.values() {
            *counts.entry(waiting.owner.group).or_insert(0_usize) += 1;
        }
        let most = counts.into_iter().max_by_key(|(_group, count)| *count);
        most.and_then(|(group, _count)| group)
    }
}

impl Waiting {
    /// A clock that was set back makes nobody wait for longer.
    fn is_waited_for(&self, now: Timestamp) -> bool {
        now < self.until && self.until <= now + PATIENCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::hosts::Origin;
    use crate::access::passkeys::RelyingParty;
    use crate::access::passkeys::ceremony::begin_assertion;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn assertion() -> Pending {
        let page = Origin::parse("https://pve.example.net").unwrap();
        let party = RelyingParty::of(Some(&page)).unwrap();
        Pending::Assertion(begin_assertion(&party).unwrap().1)
    }

    fn stranger(address: &str) -> Owner {
        Owner::source(&Source::Address(address.parse().unwrap()))
    }

    fn device(number: u8) -> Owner {
        Owner::source(&Source::Device([number; 32]))
    }

    fn begin(ceremonies: &PasskeyCeremonies, owner: &Owner, second: i64) -> String {
        let begun = ceremonies.begin(owner.clone(), assertion(), at(second));
        begun.unwrap()
    }

    fn ends(ceremonies: &PasskeyCeremonies, id: &str, owner: &Owner, second: i64) -> bool {
        ceremonies.end_assertion(id, owner, at(second)).is_some()
    }

    #[test]
    fn a_ceremony_ends_once() {
        let ceremonies = PasskeyCeremonies::default();
        for owner in [Owner::session("a"), device(1), stranger("192.0.2.1")] {
            let id = begin(&ceremonies, &owner, 0);
            assert_eq!(id.len(), 43);
            assert!(ends(&ceremonies, &id, &owner, 299));
            assert!(!ends(&ceremonies, &id, &owner, 299));
        }
    }

    #[test]
    fn nobody_waits_for_longer_than_five_minutes() {
        let ceremonies = PasskeyCeremonies::default();
        let owner = Owner::session("a");
        for (second, is_in_time) in [(0, true), (299, true), (300, false), (-1, false)] {
            let id = begin(&ceremonies, &owner, 0);
            assert_eq!(
                ends(&ceremonies, &id, &owner, second),
                is_in_time,
                "{second}"
            );
            assert!(!ends(&ceremonies, &id, &owner, 1), "it is gone either way");
        }
    }

    #[test]
    fn another_persons_answer_changes_nothing() {
        let ceremonies = PasskeyCeremonies::default();
        let owners = [
            Owner::session("a"),
            Owner::session("b"),
            device(1),
            device(2),
            stranger("192.0.2.1"),
            stranger("192.0.2.2"),
            stranger("2001:db8::1"),
            stranger("2001:db8:0:1::1"),
        ];
        for owner in &owners {
            let id = begin(&ceremonies, owner, 0);
            for other in owners.iter().filter(|other| *other != owner) {
                assert!(!ends(&ceremonies, &id, other, 1), "{owner:?} {other:?}");
            }
            let registration = ceremonies.end_registration(&id, owner, at(1));
            assert!(registration.is_none(), "a proof is none");
            assert!(ends(&ceremonies, &id, owner, 1));
        }
        let id = begin(&ceremonies, &stranger("2001:db8::1"), 0);
        assert!(
            ends(&ceremonies, &id, &stranger("2001:db8::2"), 0),
            "a /64 is one"
        );
    }

    #[test]
    fn nobody_has_more_than_eight() {
        for owner in [Owner::session("a"), device(1), stranger("192.0.2.1")] {
            let ceremonies = PasskeyCeremonies::default();
            let ids = Vec::from_iter((0..9).map(|_| begin(&ceremonies, &owner, 0)));
            assert!(
                !ends(&ceremonies, &ids[0], &owner, 0),
                "the oldest made room"
            );
            for id in &ids[1..] {
                assert!(ends(&ceremonies, id, &owner, 0));
            }
        }
    }

    #[test]
    fn strangers_crowd_out_each_other_and_the_greediest_first() {
        let ceremonies = PasskeyCeremonies::default();
        let (session, known, modest) = (Owner::session("a"), device(1), stranger("192.0.2.1"));
        let ids = [&session, &known, &modest].map(|owner| begin(&ceremonies, owner, 0));
        let greedy = |number: usize| {
            let claimed = format!("2001:db8:{:x}:{:x}::1", number >> 16, number & 0xffff);
            Owner::source(&Source::Claimed {
                peer: "203.0.113.9".parse().unwrap(),
                claimed: Some(claimed.parse().unwrap()),
            })
        };
        let pending = assertion();
        for number in 0..5000 {
            let owner = match number % 2 {
                0 => greedy(number),
                _odd => stranger(&format!("2001:db8:7:{number:x}::1")),
            };
            ceremonies.begin(owner, pending.clone(), at(1)).unwrap();
        }
        assert_eq!(ceremonies.strangers.lock().unwrap().0.len(), MOST);
        assert_eq!(ceremonies.known.lock().unwrap().0.len(), 2);
        for (owner, id) in [session, known, modest].iter().zip(&ids) {
            assert!(ends(&ceremonies, id, owner, 2), "{owner:?}");
        }
        begin(&ceremonies, &stranger("192.0.2.1"), 301);
        assert_eq!(ceremonies.strangers.lock().unwrap().0.len(), 1);
    }
}
