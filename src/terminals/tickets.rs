//! Tickets to a terminal: a secret that opens one socket, once, within ten seconds.
//!
//! A browser cannot send a token with a WebSocket, and a token belongs in no address. So a call
//! with the token gets a ticket, and the ticket goes into the address.
//!
//! **Invariant:** only hashes of tickets are kept.

use indexmap::IndexMap;
use jiff::{SignedDuration, Timestamp};

use super::Place;
use crate::access::digest::Digest;
use crate::access::random::{self, RandomError};
use crate::access::terminal::Holder;

/// How long a ticket is good for.
pub const LIFETIME: SignedDuration = SignedDuration::from_secs(10);
/// How many one holder has at once; the oldest makes room.
const MOST_EACH: usize = 8;
/// How many there are at once.
const MOST: usize = 256;

/// What a ticket stands for.
#[derive(Clone, Debug)]
pub struct Admission {
    /// Whose ticket it is.
    pub holder: Holder,
    /// To which terminal.
    pub place: Place,
}

/// The tickets that nobody has used yet, oldest first.
#[derive(Debug, Default)]
pub(super) struct Tickets(IndexMap<Digest, Waiting>);

#[derive(Debug)]
struct Waiting {
    until: Timestamp,
    admission: Admission,
}

impl Tickets {
    /// Makes a ticket.
    pub(super) fn issue(
        &mut self,
        admission: Admission,
        now: Timestamp,
    ) -> Result<String, RandomError> {
        let ticket = random::base64url::<32>()?.to_string();
        self.0.retain(|_hash, waiting| waiting.is_good(now));
        let who = admission.holder.who();
        let own = self
            .0
            .values()
            .filter(|each| each.admission.holder.who() == who);
        if own.count() >= MOST_EACH {
            let oldest = self
                .0
                .values()
                .position(|each| each.admission.holder.who() == who);
            oldest.map(|index| self.0.shift_remove_index(index));
        }
        if self.0.len() >= MOST {
            self.0.shift_remove_index(0);
        }
        let waiting = Waiting {
            until: now + LIFETIME,
            admission,
        };
        self.0.insert(Digest::of(ticket.as_bytes()), waiting);
        Ok(ticket)
    }

    /// Takes a ticket, whatever comes of it.
    pub(super) fn redeem(&mut self, ticket: &str, now: Timestamp) -> Option<Admission> {
        let waiting = self.0.shift_remove(&Digest::of(ticket.as_bytes()))?;
        waiting.is_good(now).then_some(waiting.admission)
    }
}

impl Waiting {
    /// A clock that was set back makes no ticket last longer.
    fn is_good(&self, now: Timestamp) -> bool {
        let left = self.until.duration_since(now);
        left > SignedDuration::ZERO && left <= LIFETIME
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn admission(last_byte: u8) -> Admission {
        let address = [192, 0, 2, last_byte].into();
        Admission {
            holder: Holder::open_mode(address),
            place: Place::New("0123".to_owned()),
        }
    }

    #[test]
    fn a_ticket_opens_once_and_for_ten_seconds() {
        let mut tickets = Tickets::default();
        let used = tickets.issue(admission(1), at(100)).unwrap();
        let kept = tickets.issue(admission(1), at(100)).unwrap();
        assert!(used.len() >= 43 && used != kept, "256 bits");

        assert!(tickets.redeem("nonsense", at(100)).is_none());
        assert!(tickets.redeem(&used, at(109)).is_some());
        assert!(tickets.redeem(&used, at(109)).is_none(), "twice");
        assert!(tickets.redeem(&kept, at(110)).is_none(), "late");
        let early = tickets.issue(admission(1), at(100)).unwrap();
        assert!(tickets.redeem(&early, at(99)).is_none(), "clock set back");
    }

    #[test]
    fn tickets_are_few_and_the_oldest_makes_room() {
        let mut tickets = Tickets::default();
        let other = tickets.issue(admission(2), at(0)).unwrap();
        let own = Vec::from_iter((0..9).map(|_| tickets.issue(admission(1), at(0)).unwrap()));

        assert!(tickets.redeem(&own[0], at(1)).is_none());
        assert!(
            own[1..]
                .iter()
                .all(|ticket| tickets.redeem(ticket, at(1)).is_some())
        );
        assert!(tickets.redeem(&other, at(1)).is_some());

        for number in 0..2 * MOST {
            let who = u8::try_from(number / MOST_EACH).unwrap();
            tickets.issue(admission(who), at(0)).unwrap();
        }
        assert!(tickets.0.len() <= MOST);
        tickets.issue(admission(1), at(60)).unwrap();
        assert_eq!(tickets.0.len(), 1, "what is over is forgotten");
    }
}
