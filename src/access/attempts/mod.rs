//! The limiter: how often credentials may be tried, by whom, and when again.
//!
//! | counted by                                   | failures | penalties            |
//! |----------------------------------------------|----------|----------------------|
//! | a known device, or else                      | 5        | 1 minute to 24 hours |
//! | an IPv4 address, or a /64 of IPv6            | 5        | 1 minute to 24 hours |
//! | and the /48 around it                        | 100      | 1 minute to 24 hours |
//! | what an untrusted proxy claims, and          | 5        | 1 minute to 24 hours |
//! | all claims of that proxy                     | 50       | 1 minute to 24 hours |
//! | and of the /48 around it                     | 1,000    | 1 minute to 24 hours |
//! | the account: second factors, unknown devices | 10       | 15 minutes to 24 h   |
//!
//! An attempt takes a [`Place`] before its check, so that attempts made at the same time can't
//! be more than the failures that are left. Failures count for 5 minutes, wrong codes for 15.
//!
//! **Invariant:** memory is bounded, whatever strangers send. Of what is over the bound the
//! stalest goes first, a penalty only when nothing else is left, a place that is out never.
//!
//! **Invariant:** the time that an attempt takes here does not grow with what is remembered.
//! Listing, lifting and saving may take theirs.

mod lines;
mod moment;
mod record;
mod records;
mod saved;
mod subject;

use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use thiserror::Error;

use self::lines::{FREE_LINES, Lines};
use self::moment::{Moment, SteadyClock};
use self::record::{CODES, Record, Started, WIDE};
use self::records::{MAX_FAILURES, MAX_SUBJECTS, Records};
use self::subject::{Key, block, wide_block};
use crate::access::address::{Client, LimitedBy};

pub use self::lines::Repeated;
pub use self::saved::{RestoreError, SavedAttempts};
pub use self::subject::{ParseSubjectError, Subject, SubjectKind};

/// All that is remembered of attempts.
#[derive(Debug)]
pub struct Attempts {
    clock: SteadyClock,
    records: Records,
    account: Record,
    lines: Lines,
}

impl Attempts {
    /// Returns a limiter that knows of nobody.
    pub fn new() -> Self {
        Self::with_bounds(MAX_SUBJECTS, MAX_FAILURES)
    }

    fn with_bounds(max_subjects: usize, max_failures: usize) -> Self {
        Self {
            clock: SteadyClock::default(),
            records: Records::new(max_subjects, max_failures),
            account: Record::default(),
            lines: Lines::default(),
        }
    }

    /// Takes a place for one attempt, unless there is a penalty or all places are taken.
    ///
    /// The place goes back by [`Self::failed`] or [`Self::give_back`]; one that is dropped is lost
    /// to its source until the program starts anew.
    pub fn begin(&mut self, source: &Source, now: Timestamp) -> Result<Place, TooMany> {
        let now = self.clock.tick(now);
        self.records.sweep(now);
        let subjects = source.subjects();
        let mut penalty: Option<(Moment, Subject)> = None;
        for subject in subjects.iter().flatten() {
            if let Some(until) = self.records.penalty(subject, now)
                && penalty.is_none_or(|(longest, _)| longest < until)
            {
                penalty = Some((until, *subject));
            }
        }
        if let Some((until, subject)) = penalty {
            return Err(TooMany::penalty(subject, until, &self.clock));
        }
        for subject in subjects.iter().flatten() {
            if !self.records.has_place(subject, now) {
                return Err(TooMany::no_place(*subject));
            }
        }
        self.take_places(subjects)
    }

    fn take_places(&mut self, subjects: Subjects) -> Result<Place, TooMany> {
        let mut place = Place {
            subjects: Vec::new(),
        };
        for subject in subjects.into_iter().flatten() {
            if !self.records.take_place(subject) {
                self.give_back(place);
                return Err(TooMany::no_place(subject));
            }
            place.subjects.push(subject);
        }
        Ok(place)
    }

    /// Counts the attempt of `place` as a failure.
    pub fn failed(&mut self, place: Place, now: Timestamp) -> Outcome {
        let now = self.clock.tick(now);
        self.records.sweep(now);
        let mut outcome = Outcome::default();
        for subject in place.subjects {
            if let Some(started) = self.records.fail(subject, now) {
                outcome
                    .penalties
                    .push(Penalty::new(subject, started, &self.clock));
            }
        }
        outcome
    }

    /// Takes `place` back from an attempt that was no failure.
    pub fn give_back(&mut self, place: Place) {
        for subject in place.subjects {
            self.records.give_back(subject);
        }
    }

    /// Takes a place for one second factor; a known device needs none of the account's.
    pub fn begin_code(
        &mut self,
        device: KnownDevice,
        now: Timestamp,
    ) -> Result<CodePlace, TooMany> {
        let now = self.clock.tick(now);
        match device {
            KnownDevice::Yes => return Ok(CodePlace { is_counted: false }),
            KnownDevice::No => {}
        }
        self.account.settle(&CODES, now);
        if let Some(until) = self.account.until {
            return Err(TooMany::penalty(Subject::ACCOUNT, until, &self.clock));
        }
        if !self.account.has_place(&CODES, now) {
            return Err(TooMany::no_place(Subject::ACCOUNT));
        }
        self.account.places += 1;
        Ok(CodePlace { is_counted: true })
    }

    /// Counts the second factor of `place` as wrong.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a place is good for one check"
    )]
    pub fn code_failed(&mut self, place: CodePlace, now: Timestamp) -> Outcome {
        let now = self.clock.tick(now);
        if !place.is_counted {
            return Outcome::default();
        }
        let started = self.account.fail(&CODES, now);
        let penalty = started.map(|started| Penalty::new(Subject::ACCOUNT, started, &self.clock));
        Outcome {
            penalties: penalty.into_iter().collect(),
        }
    }

    /// Takes `place` back from a second factor that was right, or that was not checked.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a place is good for one check"
    )]
    pub fn code_given_back(&mut self, place: CodePlace) {
        if place.is_counted {
            self.account.places = self.account.places.saturating_sub(1);
        }
    }

    /// Returns how many refusals of `address` the log line that is due now stands for, if one is.
    ///
    /// Each of the first ten in ten minutes is a line of its own, then there is one every ten
    /// seconds. A /64 of IPv6 is one address, and of a /48 there are at most twenty times as many.
    pub fn refusal_line(&mut self, address: IpAddr, now: Timestamp) -> Option<Repeated> {
        let now = self.clock.tick(now);
        let mut refusals = self.lines.pass(block(address), 1, FREE_LINES, now)?;
        if let Some(network) = wide_block(address) {
            refusals = self.lines.pass(network, refusals, FREE_LINES * WIDE, now)?;
        }
        Some(Repeated { refusals })
    }

    /// Lists the penalties that are on, those that end first first.
    pub fn penalties(&self, now: Timestamp) -> Vec<Penalty> {
        let mut clock = self.clock;
        let now = clock.tick(now);
        let records = self
            .records
            .penalised()
            .map(|(subject, record)| (*subject, record));
        let mut all: Vec<_> = records
            .chain([(Subject::ACCOUNT, &self.account)])
            .filter_map(|(subject, record)| {
                let until = record.until.filter(|until| *until > now)?;
                let level = record.level;
                Some(Penalty::new(subject, Started { until, level }, &clock))
            })
            .collect();
        all.sort_by_key(|penalty| (penalty.until, penalty.subject));
        all
    }

    /// Lifts the penalties on `subject`, and forgets how often there were some; returns how many.
    ///
    /// `subject` is the text of a [`Subject`], or an address: then everything goes that keeps it
    /// out, the networks around it and the claims about it too.
    pub fn lift(&mut self, subject: &str, now: Timestamp) -> usize {
        let now = self.clock.tick(now);
        self.records.sweep(now);
        if let Ok(address) = subject.parse::<IpAddr>() {
            return self
                .records
                .lift(|subject| subject.covers(address.to_canonical()));
        }
        match subject.parse() {
            Ok(Subject::ACCOUNT) => self.lift_account(now),
            Ok(subject) => usize::from(self.records.lift_one(subject)),
            Err(ParseSubjectError) => 0,
        }
    }

    /// Lifts every penalty; returns how many.
    pub fn lift_all(&mut self, now: Timestamp) -> usize {
        let now = self.clock.tick(now);
        self.records.sweep(now);
        self.records.lift(|_| true) + self.lift_account(now)
    }

    fn lift_account(&mut self, now: Moment) -> usize {
        self.account.settle(&CODES, now);
        usize::from(self.account.lift())
    }
}

impl Default for Attempts {
    fn default() -> Self {
        Self::new()
    }
}

/// Who tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A known device, by the SHA-256 of its cookie. Its address is not counted.
    Device([u8; 32]),
    /// Anybody else, by the address.
    Address(IpAddr),
    /// Somebody behind a proxy that is not trusted.
    Claimed {
        /// The proxy.
        peer: IpAddr,
        /// The address it names, if it names one.
        claimed: Option<IpAddr>,
    },
}

impl From<&Client> for Source {
    /// Counts a client without a known device.
    fn from(client: &Client) -> Self {
        match client.limited_by {
            LimitedBy::Address(address) => Self::Address(address),
            LimitedBy::Claimed { peer, claimed } => Self::Claimed { peer, claimed },
        }
    }
}

impl Source {
    /// Returns the narrowest thing that it is counted by.
    pub fn subject(&self) -> Option<Subject> {
        self.subjects().into_iter().flatten().next()
    }

    /// Returns the widest thing that it is counted by: what one stranger may have whole.
    pub fn widest_subject(&self) -> Option<Subject> {
        self.subjects().into_iter().flatten().last()
    }

    fn subjects(&self) -> Subjects {
        let keys = match *self {
            Self::Device(hash) => [Some(Key::Device(hash)), None, None],
            Self::Address(address) => [
                Some(Key::Network(block(address))),
                wide_block(address).map(Key::Network),
                None,
            ],
            Self::Claimed { peer, claimed } => {
                let (proxy, claimed) = (block(peer), claimed.map(block));
                [
                    Some(Key::Claim { proxy, claimed }),
                    Some(Key::Proxy(proxy)),
                    wide_block(peer).map(Key::Proxy),
                ]
            }
        };
        keys.map(|key| key.map(Subject))
    }
}

/// What one attempt is counted by.
type Subjects = [Option<Subject>; 3];

/// The right to one attempt.
#[derive(Debug)]
#[must_use = "a place that is neither given back nor reported as failed is lost"]
pub struct Place {
    subjects: Vec<Subject>,
}

/// The right to one check of a second factor.
#[derive(Debug)]
#[must_use = "a place that is neither given back nor reported as failed is lost"]
pub struct CodePlace {
    is_counted: bool,
}

/// Whether a second factor comes from a device that signed in before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KnownDevice {
    /// It does; its own counter is enough.
    Yes,
    /// It doesn't: the account's counter holds.
    No,
}

/// What a failure brought about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The penalties that it started.
    pub penalties: Vec<Penalty>,
}

/// A penalty that is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Penalty {
    /// Whom it keeps out.
    pub subject: Subject,
    /// How long it is: 1 for the shortest.
    pub level: u8,
    /// When it ends.
    pub until: Timestamp,
}

impl Penalty {
    fn new(subject: Subject, started: Started, clock: &SteadyClock) -> Self {
        Self {
            subject,
            level: started.level,
            until: clock.wall(started.until),
        }
    }
}

/// An attempt is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("too many failed attempts")]
pub struct TooMany {
    /// How long to wait, in whole seconds, at least one.
    pub retry_after: SignedDuration,
    /// When the penalty ends, if there is one.
    pub until: Option<Timestamp>,
    /// Why.
    pub reason: RefusalReason,
    /// What was counted.
    pub subject: SubjectKind,
}

impl TooMany {
    fn penalty(subject: Subject, until: Moment, clock: &SteadyClock) -> Self {
        let left = until.since(clock.latest());
        let rounded_up = left.as_secs() + i64::from(left.subsec_nanos() > 0);
        Self {
            retry_after: SignedDuration::from_secs(rounded_up.max(1)),
            until: Some(clock.wall(until)),
            reason: RefusalReason::Penalty,
            subject: subject.kind(),
        }
    }

    fn no_place(subject: Subject) -> Self {
        Self {
            retry_after: SignedDuration::from_secs(1),
            until: None,
            reason: RefusalReason::NoPlace,
            subject: subject.kind(),
        }
    }
}

/// Why an attempt is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalReason {
    /// There were too many failures; this is a line in the log.
    Penalty,
    /// So many attempts are being checked that all could fail; this is none.
    NoPlace,
}

#[cfg(test)]
mod model;

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60;
    const HOUR: i64 = 3_600;
    const DAY: i64 = 24 * HOUR;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn address(text: &str) -> Source {
        Source::Address(text.parse().unwrap())
    }

    fn claimed(peer: &str, claimed: &str) -> Source {
        Source::Claimed {
            peer: peer.parse().unwrap(),
            claimed: claimed.parse().ok(),
        }
    }

    #[test]
    fn a_source_has_a_narrowest_and_a_widest_subject() {
        for (source, narrow, wide) in [
            (address("192.0.2.1"), "192.0.2.1", "192.0.2.1"),
            (address("2001:db8::1"), "2001:db8::/64", "2001:db8::/48"),
            (
                claimed("192.0.2.1", "198.51.100.7"),
                "claim:198.51.100.7@192.0.2.1",
                "proxy:192.0.2.1",
            ),
            (
                claimed("2001:db8::1", "-"),
                "claim:-@2001:db8::/64",
                "proxy:2001:db8::/48",
            ),
        ] {
            assert_eq!(source.subject(), narrow.parse().ok());
            assert_eq!(source.widest_subject(), wide.parse().ok());
        }
        let device = Source::Device([7; 32]);
        assert_eq!(device.subject(), device.widest_subject());
        assert_eq!(device.subject().unwrap().kind(), SubjectKind::Device);
    }

    /// Fails once, and returns the penalties that start as "subject level seconds".
    fn fail(attempts: &mut Attempts, source: &Source, now: i64) -> Vec<String> {
        let place = attempts.begin(source, at(now)).unwrap();
        shown(&attempts.failed(place, at(now)), now)
    }

    fn fail_code(attempts: &mut Attempts, now: i64) -> Vec<String> {
        let place = attempts.begin_code(KnownDevice::No, at(now)).unwrap();
        shown(&attempts.code_failed(place, at(now)), now)
    }

    fn shown(outcome: &Outcome, now: i64) -> Vec<String> {
        let show = |penalty: &Penalty| {
            let seconds = penalty.until.duration_since(at(now)).as_secs();
            format!("{} {} {seconds}", penalty.subject, penalty.level)
        };
        outcome.penalties.iter().map(show).collect()
    }

    fn fail_times(attempts: &mut Attempts, source: &Source, now: i64, times: usize) -> Vec<String> {
        (0..times)
            .flat_map(|_| fail(attempts, source, now))
            .collect()
    }

    fn refusal(attempts: &mut Attempts, source: &Source, now: i64) -> TooMany {
        attempts.begin(source, at(now)).unwrap_err()
    }

    fn is_free(attempts: &mut Attempts, source: &Source, now: i64) -> bool {
        let Ok(place) = attempts.begin(source, at(now)) else {
            return false;
        };
        attempts.give_back(place);
        true
    }

    #[test]
    fn the_fifth_failure_starts_a_penalty_of_a_minute() {
        let mut attempts = Attempts::new();
        let admin = address("192.0.2.1");

        assert!(fail_times(&mut attempts, &admin, 0, 4).is_empty());
        assert_eq!(fail(&mut attempts, &admin, 10), ["192.0.2.1 1 60"]);

        let refused = refusal(&mut attempts, &admin, 10);
        assert_eq!(refused.retry_after, SignedDuration::from_secs(60));
        assert_eq!(refused.until, Some(at(70)));
        assert_eq!(refused.reason, RefusalReason::Penalty);
        assert_eq!(refused.subject, SubjectKind::Address);
        assert_eq!(refusal(&mut attempts, &admin, 69).retry_after.as_secs(), 1);
        assert!(is_free(&mut attempts, &address("192.0.2.2"), 10));
        assert!(is_free(&mut attempts, &admin, 70));
    }

    #[test]
    fn what_is_left_is_rounded_up_to_whole_seconds() {
        let mut attempts = Attempts::new();
        let admin = address("192.0.2.1");
        fail_times(&mut attempts, &admin, 0, 5);
        for (millis, seconds) in [
            (0, 60),
            (1, 60),
            (999, 60),
            (1_000, 59),
            (59_001, 1),
            (59_999, 1),
        ] {
            let now = at(0)
                .saturating_add(SignedDuration::from_millis(millis))
                .unwrap();
            let refused = attempts.begin(&admin, now).unwrap_err();
            assert_eq!(
                refused.retry_after,
                SignedDuration::from_secs(seconds),
                "{millis} ms"
            );
        }
    }

    #[test]
    fn penalties_grow_to_a_day_and_stay_there() {
        let mut attempts = Attempts::new();
        let admin = address("192.0.2.1");
        let mut now = 0;
        for (level, length) in [
            (1, 60),
            (2, 300),
            (3, 900),
            (4, HOUR),
            (5, DAY),
            (5, DAY),
            (5, DAY),
        ] {
            let started = fail_times(&mut attempts, &admin, now, 5);
            assert_eq!(started, [format!("192.0.2.1 {level} {length}")]);
            assert!(!is_free(&mut attempts, &admin, now + length - 1));
            now += length;
        }
        assert!(is_free(&mut attempts, &admin, now));
    }

    #[test]
    fn the_level_is_forgotten_after_a_day_without_failure() {
        for (pause, level) in [(DAY - 1, 2), (DAY, 1)] {
            let mut attempts = Attempts::new();
            let admin = address("192.0.2.1");
            fail_times(&mut attempts, &admin, 0, 5);
            let started = fail_times(&mut attempts, &admin, pause, 5);
            assert!(
                started[0].starts_with(&format!("192.0.2.1 {level} ")),
                "{started:?}"
            );
        }
        // One failure is enough to keep it, and a refused try is none.
        for (tries_at, level) in [(HOUR, 2), (30, 1)] {
            let mut attempts = Attempts::new();
            let admin = address("192.0.2.1");
            fail_times(&mut attempts, &admin, 0, 5);
            if let Ok(place) = attempts.begin(&admin, at(tries_at)) {
                assert!(attempts.failed(place, at(tries_at)).penalties.is_empty());
            }
            let started = fail_times(&mut attempts, &admin, tries_at + DAY - 1, 5);
            assert_eq!(started.len(), 1);
            assert!(
                started[0].starts_with(&format!("192.0.2.1 {level} ")),
                "{started:?}"
            );
        }
    }

    #[test]
    fn after_a_day_of_penalty_it_takes_another_to_be_forgotten() {
        for (pause, level) in [(0, 5), (DAY - 1, 5), (DAY, 1)] {
            let mut attempts = Attempts::new();
            let admin = address("192.0.2.1");
            let mut now = 0;
            for length in [60, 300, 900, HOUR, DAY] {
                fail_times(&mut attempts, &admin, now, 5);
                now += length;
            }
            let started = fail_times(&mut attempts, &admin, now + pause, 5);
            assert!(
                started[0].starts_with(&format!("192.0.2.1 {level} ")),
                "{started:?}"
            );
        }
    }

    #[test]
    fn only_the_failures_of_five_minutes_count() {
        let admin = address("192.0.2.1");
        for (fifth, starts) in [(299, true), (300, false)] {
            let mut attempts = Attempts::new();
            fail(&mut attempts, &admin, 0);
            fail_times(&mut attempts, &admin, 100, 3);
            assert_eq!(fail(&mut attempts, &admin, fifth).len() == 1, starts);
        }
        let mut attempts = Attempts::new();
        for minute in 0..100 {
            let now = minute * 75; // four in five minutes, for ever
            assert!(fail(&mut attempts, &admin, now).is_empty());
        }
    }

    #[test]
    fn refused_tries_neither_count_nor_extend() {
        let mut attempts = Attempts::new();
        let admin = address("192.0.2.1");
        fail_times(&mut attempts, &admin, 0, 5);
        for second in 0..60 {
            assert_eq!(refusal(&mut attempts, &admin, second).until, Some(at(60)));
        }
        // The count starts at zero, too.
        assert!(fail_times(&mut attempts, &admin, 60, 4).is_empty());
        assert_eq!(fail(&mut attempts, &admin, 60), ["192.0.2.1 2 300"]);
    }

    #[test]
    fn places_and_failures_together_are_at_most_five() {
        let mut attempts = Attempts::new();
        let admin = address("192.0.2.1");
        fail_times(&mut attempts, &admin, 0, 2);
        let mut places: Vec<_> = (0..3)
            .map(|_| attempts.begin(&admin, at(1)).unwrap())
            .collect();

        let refused = refusal(&mut attempts, &admin, 1);
        assert_eq!(refused.reason, RefusalReason::NoPlace);
        assert_eq!(refused.retry_after, SignedDuration::from_secs(1));
        assert_eq!(
            (refused.until, refused.subject),
            (None, SubjectKind::Address)
        );
        assert!(attempts.penalties(at(1)).is_empty());

        attempts.give_back(places.pop().unwrap());
        assert!(is_free(&mut attempts, &admin, 1));
        let started: Vec<_> = places
            .into_iter()
            .map(|place| attempts.failed(place, at(1)))
            .collect();
        assert!(started.iter().all(|outcome| outcome.penalties.is_empty()));
        assert_eq!(fail(&mut attempts, &admin, 1), ["192.0.2.1 1 60"]);
    }

    #[test]
    fn successes_leave_nothing_and_forgive_nothing() {
        let mut attempts = Attempts::new();
        let admin = address("2001:db8::1");
        for _ in 0..100 {
            assert!(is_free(&mut attempts, &admin, 0));
        }
        assert_eq!(attempts.records.len(), 0);

        fail_times(&mut attempts, &admin, 0, 4);
        assert!(is_free(&mut attempts, &admin, 0));
        assert_eq!(fail(&mut attempts, &admin, 0), ["2001:db8::/64 1 60"]);
    }

    #[test]
    fn five_failures_at_the_same_time_are_one_penalty() {
        let mut attempts = Attempts::new();
        let admin = address("192.0.2.1");
        let places: Vec<_> = (0..5)
            .map(|_| attempts.begin(&admin, at(0)).unwrap())
            .collect();
        let started: Vec<_> = places
            .into_iter()
            .flat_map(|place| shown(&attempts.failed(place, at(2)), 2))
            .collect();
        assert_eq!(started, ["192.0.2.1 1 60"]);
    }

    #[test]
    fn ipv6_counts_by_64_and_by_48() {
        let mut attempts = Attempts::new();
        for host in 1..5 {
            fail(&mut attempts, &address(&format!("2001:db8:7::{host}")), 0);
        }
        assert_eq!(
            fail(&mut attempts, &address("2001:db8:7::ffff:1"), 0),
            ["2001:db8:7::/64 1 60"]
        );
        assert!(is_free(&mut attempts, &address("2001:db8:7:1::1"), 0));

        for subnet in 1..19 {
            fail_times(
                &mut attempts,
                &address(&format!("2001:db8:7:{subnet}::1")),
                0,
                5,
            );
        }
        let last = fail_times(&mut attempts, &address("2001:db8:7:ffff::1"), 0, 5);
        assert_eq!(last, ["2001:db8:7:ffff::/64 1 60", "2001:db8:7::/48 1 60"]);
        let refused = refusal(&mut attempts, &address("2001:db8:7:abc::1"), 0);
        assert_eq!(refused.subject, SubjectKind::Network48);
        assert!(is_free(&mut attempts, &address("2001:db8:8::1"), 0));
    }

    #[test]
    fn ipv4_mapped_is_ipv4() {
        let mut attempts = Attempts::new();
        fail_times(&mut attempts, &address("192.0.2.1"), 0, 4);
        let mapped = address("::ffff:192.0.2.1");
        assert_eq!(fail(&mut attempts, &mapped, 0), ["192.0.2.1 1 60"]);
        assert!(is_free(&mut attempts, &address("::ffff:192.0.2.2"), 0));
        for host in 10..60 {
            let mapped = address(&format!("::ffff:192.0.2.{host}"));
            assert!(
                fail_times(&mut attempts, &mapped, 0, 4).is_empty(),
                "no network of IPv6"
            );
        }
    }

    #[test]
    fn a_known_device_and_its_address_do_not_touch_each_other() {
        let mut attempts = Attempts::new();
        let (device, other) = (Source::Device([7; 32]), Source::Device([8; 32]));
        fail_times(&mut attempts, &address("192.0.2.1"), 0, 5);

        assert!(fail_times(&mut attempts, &device, 0, 4).is_empty());
        let started = fail(&mut attempts, &device, 0);
        assert_eq!(started, [format!("device:{} 1 60", "07".repeat(32))]);
        assert_eq!(
            refusal(&mut attempts, &device, 0).subject,
            SubjectKind::Device
        );
        assert!(is_free(&mut attempts, &other, 0));
        assert!(is_free(&mut attempts, &address("192.0.2.2"), 0));
    }

    #[test]
    fn claims_are_counted_each_and_together() {
        let mut attempts = Attempts::new();
        let proxy = "203.0.113.9";
        let started = fail_times(&mut attempts, &claimed(proxy, "10.0.0.1"), 0, 5);
        assert_eq!(started, ["claim:10.0.0.1@203.0.113.9 1 60"]);
        let started = fail_times(&mut attempts, &claimed(proxy, "unknown"), 0, 5);
        assert_eq!(started, ["claim:-@203.0.113.9 1 60"]);
        for client in 2..9 {
            fail_times(
                &mut attempts,
                &claimed(proxy, &format!("10.0.0.{client}")),
                0,
                5,
            );
        }
        fail_times(&mut attempts, &claimed(proxy, "10.0.0.50"), 0, 4);
        assert_eq!(
            fail(&mut attempts, &claimed(proxy, "10.0.0.51"), 0),
            ["proxy:203.0.113.9 1 60"]
        );

        let refused = refusal(&mut attempts, &claimed(proxy, "10.0.0.99"), 0);
        assert_eq!(refused.subject, SubjectKind::Proxy);
        assert!(
            is_free(&mut attempts, &address(proxy), 0),
            "calls without the header go on"
        );
        assert!(is_free(&mut attempts, &address("10.0.0.1"), 0));
        assert!(is_free(
            &mut attempts,
            &claimed("203.0.113.8", "10.0.0.1"),
            0
        ));
    }

    #[test]
    fn an_untrusted_proxy_can_not_hide_in_its_network() {
        let mut attempts = Attempts::new();
        let mut started = Vec::new();
        for attempt in 0..50 {
            let peer = format!("2001:db8::{attempt:x}");
            let claim = format!("10.0.{attempt}.1");
            started.extend(fail(&mut attempts, &claimed(&peer, &claim), 0));
        }
        assert_eq!(started, ["proxy:2001:db8::/64 1 60"]);
        for attempt in 50..1_000 {
            let peer = format!("2001:db8:0:{:x}::1", attempt / 49);
            let claim = format!("10.{}.{}.1", attempt / 200, attempt % 200);
            started = fail(&mut attempts, &claimed(&peer, &claim), 0);
        }
        assert_eq!(started, ["proxy:2001:db8::/48 1 60"]);
        let refused = refusal(&mut attempts, &claimed("2001:db8:0:ffff::1", "10.0.0.1"), 0);
        assert_eq!(refused.subject, SubjectKind::Proxy);
        assert!(is_free(
            &mut attempts,
            &claimed("2001:db8:1::1", "10.0.0.1"),
            0
        ));
    }

    #[test]
    fn of_two_penalties_the_longer_is_told() {
        let proxy = "203.0.113.9";
        let claim = |client: i64| claimed(proxy, &format!("10.0.0.{client}"));

        let mut attempts = Attempts::new();
        fail_times(&mut attempts, &claim(0), 0, 5);
        for client in 0..9 {
            fail_times(&mut attempts, &claim(client), 60, 5);
        }
        assert_eq!(refusal(&mut attempts, &claim(99), 61).until, Some(at(120)));
        let refused = refusal(&mut attempts, &claim(0), 61);
        assert_eq!(
            (refused.until, refused.subject),
            (Some(at(360)), SubjectKind::Address)
        );

        let mut attempts = Attempts::new();
        for client in 0..20 {
            fail_times(&mut attempts, &claim(client), client / 10 * 60, 5);
        }
        let refused = refusal(&mut attempts, &claim(19), 61);
        assert_eq!(
            (refused.until, refused.subject),
            (Some(at(360)), SubjectKind::Proxy)
        );
    }

    #[test]
    fn ten_wrong_codes_refuse_the_codes_of_unknown_devices() {
        let mut attempts = Attempts::new();
        for second in 0..9 {
            assert!(fail_code(&mut attempts, second).is_empty());
        }
        assert_eq!(fail_code(&mut attempts, 9), ["account 1 900"]);
        let refused = attempts.begin_code(KnownDevice::No, at(10)).unwrap_err();
        assert_eq!(refused.until, Some(at(909)));
        assert_eq!(refused.retry_after, SignedDuration::from_secs(899));
        assert_eq!(refused.subject, SubjectKind::Account);
        assert!(
            is_free(&mut attempts, &address("192.0.2.1"), 10),
            "passwords go on"
        );
        let known = attempts.begin_code(KnownDevice::Yes, at(10)).unwrap();
        attempts.code_given_back(known);
    }

    #[test]
    fn penalties_of_the_account_double_to_a_day() {
        let mut attempts = Attempts::new();
        let mut now = 0;
        let lengths =
            [15, 30, 60, 120, 240, 480, 960, 1_440, 1_440].map(|minutes| minutes * MINUTE);
        for (length, level) in lengths.into_iter().zip([1, 2, 3, 4, 5, 6, 7, 8, 8]) {
            let started: Vec<_> = (0..10)
                .flat_map(|_| fail_code(&mut attempts, now))
                .collect();
            assert_eq!(started, [format!("account {level} {length}")]);
            assert!(
                attempts
                    .begin_code(KnownDevice::No, at(now + length - 1))
                    .is_err()
            );
            now += length;
        }
    }

    #[test]
    fn wrong_codes_count_for_fifteen_minutes_and_their_level_for_a_day() {
        for (tenth, starts) in [(15 * MINUTE - 1, true), (15 * MINUTE, false)] {
            let mut attempts = Attempts::new();
            fail_code(&mut attempts, 0);
            for _ in 0..8 {
                fail_code(&mut attempts, MINUTE);
            }
            assert_eq!(fail_code(&mut attempts, tenth).len() == 1, starts);
        }
        for (pause, level) in [(DAY - 1, 2), (DAY, 1)] {
            let mut attempts = Attempts::new();
            let started: Vec<_> = (0..10).flat_map(|_| fail_code(&mut attempts, 0)).collect();
            assert_eq!(started, ["account 1 900"]);
            let started: Vec<_> = (0..10)
                .flat_map(|_| fail_code(&mut attempts, pause))
                .collect();
            assert!(
                started[0].starts_with(&format!("account {level} ")),
                "{started:?}"
            );
        }
    }

    #[test]
    fn codes_being_checked_count_too_and_right_ones_forgive_nothing() {
        let mut attempts = Attempts::new();
        for _ in 0..5 {
            fail_code(&mut attempts, 0);
        }
        let mut places: Vec<_> = (0..5)
            .map(|_| attempts.begin_code(KnownDevice::No, at(0)).unwrap())
            .collect();
        let refused = attempts.begin_code(KnownDevice::No, at(0)).unwrap_err();
        assert_eq!(
            (refused.reason, refused.subject),
            (RefusalReason::NoPlace, SubjectKind::Account)
        );
        assert_eq!((refused.until, refused.retry_after.as_secs()), (None, 1));

        attempts.code_given_back(places.pop().unwrap());
        for place in places {
            assert!(attempts.code_failed(place, at(0)).penalties.is_empty());
        }
        assert_eq!(fail_code(&mut attempts, 0), ["account 1 900"]);
    }

    #[test]
    fn wrong_codes_of_known_devices_do_not_count_for_the_account() {
        let mut attempts = Attempts::new();
        for _ in 0..1_000 {
            let place = attempts.begin_code(KnownDevice::Yes, at(0)).unwrap();
            assert_eq!(attempts.code_failed(place, at(0)), Outcome::default());
        }
        for _ in 0..9 {
            assert!(fail_code(&mut attempts, 0).is_empty());
        }
        assert_eq!(fail_code(&mut attempts, 0).len(), 1);
    }

    /// Puts a penalty on each kind of subject, at 0, for a minute or 15.
    fn penalised() -> Attempts {
        let mut attempts = Attempts::new();
        fail_times(&mut attempts, &address("192.0.2.1"), 0, 5);
        fail_times(&mut attempts, &address("192.0.2.2"), 0, 4);
        fail_times(&mut attempts, &Source::Device([0; 32]), 0, 5);
        for subnet in 0..20 {
            fail_times(
                &mut attempts,
                &address(&format!("2001:db8:0:{subnet}::1")),
                0,
                5,
            );
        }
        for client in 0..10 {
            fail_times(
                &mut attempts,
                &claimed("203.0.113.9", &format!("10.0.0.{client}")),
                0,
                5,
            );
        }
        for _ in 0..10 {
            fail_code(&mut attempts, 0);
        }
        attempts
    }

    #[test]
    fn penalties_are_listed_while_they_are_on() {
        let attempts = penalised();
        let texts = |now| -> Vec<_> {
            let penalties = attempts.penalties(at(now));
            penalties
                .iter()
                .map(|penalty| penalty.subject.to_string())
                .collect()
        };
        let all = texts(0);
        assert_eq!(all.len(), 1 + 1 + 20 + 1 + 10 + 1 + 1);
        for subject in [
            "192.0.2.1",
            "2001:db8::/64",
            "2001:db8:0:7::/64",
            "2001:db8::/48",
            "proxy:203.0.113.9",
        ] {
            assert!(all.contains(&subject.to_owned()), "{subject}");
        }
        assert_eq!(all.last().unwrap(), "account", "which ends last");
        assert_eq!(texts(59).len(), all.len());
        assert_eq!(texts(60), ["account"]);
        assert_eq!(texts(15 * MINUTE), [""; 0]);

        let account = *attempts.penalties(at(60)).last().unwrap();
        let json = serde_json::to_value(account).unwrap();
        let until = at(900).to_string();
        assert_eq!(
            json,
            serde_json::json!({ "subject": "account", "level": 1, "until": until })
        );
    }

    #[test]
    fn penalties_are_lifted_by_their_text_or_by_an_address() {
        let device = format!("device:{}", "00".repeat(32));
        let table = [
            ("192.0.2.1", 1),
            ("::ffff:192.0.2.1", 1),
            ("192.0.2.2", 0),
            ("192.0.2.3", 0),
            (&device, 1),
            ("account", 1),
            ("2001:db8::/64", 1),
            ("2001:db8::/48", 1),
            ("2001:db8::1234", 2),
            ("2001:db8:0:aaaa::1", 1),
            ("proxy:203.0.113.9", 1),
            ("claim:10.0.0.3@203.0.113.9", 1),
            ("10.0.0.3", 1),
            ("203.0.113.9", 11),
            ("nobody", 0),
            ("", 0),
        ];
        for (subject, lifted) in table {
            let mut attempts = penalised();
            let before = attempts.penalties(at(1)).len();
            assert_eq!(attempts.lift(subject, at(1)), lifted, "{subject}");
            assert_eq!(
                attempts.penalties(at(1)).len(),
                before - lifted,
                "{subject}"
            );
            assert_eq!(attempts.lift(subject, at(1)), 0, "{subject}");
        }
    }

    #[test]
    fn what_was_lifted_is_forgotten() {
        let mut attempts = penalised();
        assert_eq!(attempts.lift_all(at(1)), 35);
        assert!(attempts.penalties(at(1)).is_empty());
        assert_eq!(attempts.lift_all(at(1)), 0);

        let started = fail_times(&mut attempts, &address("192.0.2.1"), 1, 5);
        assert_eq!(started, ["192.0.2.1 1 60"], "the shortest again");
        assert_eq!(
            fail(&mut attempts, &address("192.0.2.2"), 1),
            ["192.0.2.2 1 60"],
            "no penalty, no lift"
        );
        let started: Vec<_> = (0..10).flat_map(|_| fail_code(&mut attempts, 1)).collect();
        assert_eq!(started, ["account 1 900"]);
    }

    #[test]
    fn what_is_over_is_not_lifted() {
        let mut attempts = penalised();
        assert_eq!(attempts.lift("192.0.2.1", at(60)), 0);
        assert_eq!(attempts.lift_all(at(60)), 1, "the account's");
        let started = fail_times(&mut attempts, &address("192.0.2.1"), 60, 5);
        assert_eq!(started, ["192.0.2.1 2 300"]);

        let mut attempts = Attempts::new();
        fail_times(&mut attempts, &address("192.0.2.1"), 0, 4);
        assert_eq!(attempts.lift("192.0.2.1", at(0)), 0);
        assert_eq!(attempts.lift("2001:db8::/64", at(0)), 0);
        assert_eq!(
            fail(&mut attempts, &address("192.0.2.1"), 0).len(),
            1,
            "no penalty, no lift"
        );
        let mut attempts = Attempts::new();
        fail_times(&mut attempts, &Source::Device([0; 32]), 0, 4);
        attempts.lift(&format!("device:{}", "00".repeat(32)), at(0));
        assert_eq!(fail(&mut attempts, &Source::Device([0; 32]), 0).len(), 1);
    }

    #[test]
    fn a_client_is_counted_as_its_address_was_decided() {
        use crate::access::address::{ProxyPolicy, Transport, client};

        let source = |peer: &str, chain: &str| {
            let mut headers = http::HeaderMap::new();
            if !chain.is_empty() {
                headers.insert("x-forwarded-for", chain.parse().unwrap());
            }
            let peer = peer.parse().unwrap();
            let policy = ProxyPolicy::default();
            Source::from(&client(peer, Transport::Plain, &headers, &policy, &[]))
        };
        assert_eq!(source("192.0.2.1", ""), address("192.0.2.1"));
        assert_eq!(source("127.0.0.1", "192.0.2.1"), address("192.0.2.1"));
        assert_eq!(
            source("203.0.113.9", "192.0.2.1"),
            claimed("203.0.113.9", "192.0.2.1")
        );
        assert_eq!(
            source("203.0.113.9", "unknown"),
            claimed("203.0.113.9", "unknown")
        );
    }

    #[test]
    fn a_clock_that_is_set_back_neither_shortens_nor_extends_a_penalty() {
        for step in [2, 30, 60, 61, HOUR, 10 * DAY] {
            let mut attempts = Attempts::new();
            let admin = address("192.0.2.1");
            fail_times(&mut attempts, &admin, 0, 5);
            assert_eq!(refusal(&mut attempts, &admin, 20).retry_after.as_secs(), 40);

            // From here on the clock shows `step` seconds less.
            assert_eq!(attempts.penalties(at(20 - step))[0].until, at(60 - step));
            let refused = refusal(&mut attempts, &admin, 20 - step);
            assert_eq!(
                (refused.retry_after.as_secs(), refused.until),
                (40, Some(at(60 - step)))
            );
            assert!(!is_free(&mut attempts, &admin, 59 - step));
            assert!(is_free(&mut attempts, &admin, 60 - step));
        }
    }

    #[test]
    fn a_place_of_another_run_counts_when_it_fails() {
        let mut old = Attempts::new();
        let admin = address("192.0.2.1");
        let places: Vec<_> = (0..5).map(|_| old.begin(&admin, at(0)).unwrap()).collect();
        let mut new = Attempts::new();
        let started: Vec<_> = places
            .into_iter()
            .flat_map(|place| shown(&new.failed(place, at(0)), 0))
            .collect();
        assert_eq!(started, ["192.0.2.1 1 60"]);
    }
}
