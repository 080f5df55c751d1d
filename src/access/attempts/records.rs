//! The records of all subjects, within a bound.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::moment::Moment;
use super::record::{Record, Started};
use super::subject::Subject;

/// Most subjects that are remembered at a time.
pub(super) const MAX_SUBJECTS: usize = 100_000;

/// Most failures that are remembered at a time, of all subjects together.
pub(super) const MAX_FAILURES: usize = 1_000_000;

/// The records of all subjects but the account, within a bound.
#[derive(Debug)]
pub(super) struct Records {
    by_subject: HashMap<Subject, Record>,
    order: Order,
    failures: usize,
    next_turn: u64,
    max_subjects: usize,
    max_failures: usize,
}

impl Records {
    pub(super) fn new(max_subjects: usize, max_failures: usize) -> Self {
        Self {
            by_subject: HashMap::new(),
            order: Order::default(),
            failures: 0,
            next_turn: 0,
            max_subjects,
            max_failures,
        }
    }

    /// Returns how many subjects are remembered.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.by_subject.len()
    }

    /// Ends the penalties that are over, and drops the two stalest records if nothing counts.
    ///
    /// Each record that is dropped was added by an earlier call, so this keeps up.
    pub(super) fn sweep(&mut self, now: Moment) {
        while let Some(&(until, subject)) = self.order.penalised.first()
            && until <= now
        {
            self.change(subject, |record| record.settle(subject.rule(), now));
        }
        for _ in 0..2 {
            let Some((_, &subject)) = self.order.idle.first_key_value() else {
                return;
            };
            let record = self.by_subject.get(&subject);
            if !record.is_some_and(|record| record.is_over(subject.rule(), now)) {
                return;
            }
            self.drop_record(subject);
        }
    }

    /// Returns when the penalty of `subject` ends, if one is on.
    pub(super) fn penalty(&self, subject: &Subject, now: Moment) -> Option<Moment> {
        let until = self.by_subject.get(subject)?.until;
        until.filter(|until| *until > now)
    }

    /// Returns whether one more attempt could fail without being too many.
    pub(super) fn has_place(&self, subject: &Subject, now: Moment) -> bool {
        let record = self.by_subject.get(subject);
        record.is_none_or(|record| record.has_place(subject.rule(), now))
    }

    /// Returns whether there was room for a place of `subject`.
    pub(super) fn take_place(&mut self, subject: Subject) -> bool {
        let known = self.change(subject, |record| record.places += 1);
        let first_place = Record {
            places: 1,
            ..Record::default()
        };
        known.is_some() || self.add(subject, first_place)
    }

    /// Takes a place of `subject` back.
    pub(super) fn give_back(&mut self, subject: Subject) {
        self.change(subject, |record| {
            record.places = record.places.saturating_sub(1);
        });
    }

    /// Turns a place of `subject` into a failure; returns the penalty that this starts.
    pub(super) fn fail(&mut self, subject: Subject, now: Moment) -> Option<Started> {
        // A place of an earlier run has no record here, and yet its failure counts.
        if !self.by_subject.contains_key(&subject) {
            self.add(subject, Record::default());
        }
        let turn = self.take_turn();
        let started = self.change(subject, |record| {
            record.turn = turn;
            record.fail(subject.rule(), now)
        });
        while self.failures > self.max_failures && self.drop_stalest() {}
        started.flatten()
    }

    /// Adds what was known of `subject` in an earlier run.
    pub(super) fn restore(&mut self, subject: Subject, record: Record) {
        self.add(subject, record);
    }

    /// Adds a record that nobody has yet; returns whether there was room.
    fn add(&mut self, subject: Subject, mut record: Record) -> bool {
        while self.by_subject.len() >= self.max_subjects {
            if !self.drop_stalest() && !self.drop_penalty() {
                return false;
            }
        }
        record.turn = self.take_turn();
        self.order.add(subject, &record);
        self.by_subject.insert(subject, record);
        true
    }

    fn take_turn(&mut self) -> u64 {
        self.next_turn += 1;
        self.next_turn
    }

    /// Drops what has waited longest of what has neither a penalty nor a place out.
    fn drop_stalest(&mut self) -> bool {
        let stalest = self
            .order
            .idle
            .first_key_value()
            .map(|(_, subject)| *subject);
        stalest.is_some_and(|subject| self.drop_record(subject))
    }

    /// Drops the penalty that would end first.
    fn drop_penalty(&mut self) -> bool {
        let first = self.order.penalised.first().map(|(_, subject)| *subject);
        first.is_some_and(|subject| self.drop_record(subject))
    }

    fn drop_record(&mut self, subject: Subject) -> bool {
        self.change(subject, |record| *record = Record::default())
            .is_some()
    }

    /// Lifts the penalty of `subject`; returns whether there was one.
    pub(super) fn lift_one(&mut self, subject: Subject) -> bool {
        self.change(subject, Record::lift).unwrap_or(false)
    }

    /// Lifts the penalties of those that are meant; returns how many there were.
    pub(super) fn lift(&mut self, is_meant: impl Fn(&Subject) -> bool) -> usize {
        let penalised = self.order.penalised.iter().map(|(_, subject)| *subject);
        let meant: Vec<_> = penalised.filter(is_meant).collect();
        meant
            .into_iter()
            .filter(|subject| self.lift_one(*subject))
            .count()
    }

    /// Returns the records with a penalty, those that end first first.
    pub(super) fn penalised(&self) -> impl Iterator<Item = (&Subject, &Record)> {
        let penalised = self.order.penalised.iter();
        penalised.filter_map(|(_, subject)| self.by_subject.get_key_value(subject))
    }

    /// Returns the records that have a level, the stalest first.
    pub(super) fn remembered(&self) -> Vec<(&Subject, &Record)> {
        let has_level = |(_, record): &(&Subject, &Record)| record.level > 0;
        let mut remembered: Vec<_> = self.by_subject.iter().filter(has_level).collect();
        remembered.sort_by_key(|(_, record)| record.turn);
        remembered
    }

    /// Changes a record, keeps its order and the count of failures right, and drops it if nothing
    /// is left in it.
    fn change<T>(&mut self, subject: Subject, change: impl FnOnce(&mut Record) -> T) -> Option<T> {
        let record = self.by_subject.get_mut(&subject)?;
        self.order.remove(subject, record);
        self.failures -= record.failures.len();
        let changed = change(record);
        if record.is_blank() {
            self.by_subject.remove(&subject);
        } else {
            self.failures += record.failures.len();
            self.order.add(subject, record);
        }
        Some(changed)
    }
}

/// In what order records end or are forgotten. Those with places out are in neither list.
#[derive(Debug, Default)]
struct Order {
    /// Without a penalty, by turn.
    idle: BTreeMap<u64, Subject>,
    /// With a penalty, by its end.
    penalised: BTreeSet<(Moment, Subject)>,
}

impl Order {
    fn add(&mut self, subject: Subject, record: &Record) {
        if record.places > 0 {
            return;
        }
        if let Some(until) = record.until {
            self.penalised.insert((until, subject));
        } else {
            self.idle.insert(record.turn, subject);
        }
    }

    fn remove(&mut self, subject: Subject, record: &Record) {
        if let Some(until) = record.until {
            self.penalised.remove(&(until, subject));
        } else {
            self.idle.remove(&record.turn);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};
    use std::time::{Duration, Instant};

    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::super::{Attempts, Place, Source};
    use super::*;

    impl Records {
        /// Checks that each record is where it belongs, and that the counts are right.
        pub(in super::super) fn assert_consistent(&self) {
            let mut failures = 0;
            let (mut idle, mut penalised) = (0, 0);
            for (subject, record) in &self.by_subject {
                failures += record.failures.len();
                assert!(!record.is_blank(), "{subject}");
                assert!(record.failures.len() < subject.rule().failures);
                if record.places > 0 {
                    continue;
                }
                if let Some(until) = record.until {
                    penalised += 1;
                    assert!(self.order.penalised.contains(&(until, *subject)));
                } else {
                    idle += 1;
                    assert_eq!(self.order.idle.get(&record.turn), Some(subject));
                }
            }
            assert_eq!(self.order.idle.len(), idle);
            assert_eq!(self.order.penalised.len(), penalised);
            assert_eq!(self.failures, failures);
            assert!(self.by_subject.len() <= self.max_subjects);
        }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn v4(number: u32) -> Source {
        Source::Address(Ipv4Addr::from(0x0a00_0000 + number).into())
    }

    fn fail(attempts: &mut Attempts, source: &Source, now: i64) {
        let place = attempts.begin(source, at(now)).unwrap();
        drop(attempts.failed(place, at(now)));
    }

    fn is_known(attempts: &Attempts, source: &Source) -> bool {
        let mut subjects = source.subjects().into_iter().flatten();
        subjects.all(|subject| attempts.records.by_subject.contains_key(&subject))
    }

    #[test]
    fn the_stalest_goes_first() {
        let mut attempts = Attempts::with_bounds(3, 100);
        for number in [1, 2, 3, 1] {
            fail(&mut attempts, &v4(number), 0);
        }
        fail(&mut attempts, &v4(4), 0);
        assert!(!is_known(&attempts, &v4(2)));
        assert!(
            [1, 3, 4]
                .iter()
                .all(|number| is_known(&attempts, &v4(*number)))
        );
    }

    #[test]
    fn places_and_penalties_are_kept_longer_than_counts() {
        let mut attempts = Attempts::with_bounds(3, 100);
        for _ in 0..5 {
            fail(&mut attempts, &v4(1), 0);
        }
        let place = attempts.begin(&v4(2), at(0)).unwrap();
        for number in 3..100 {
            fail(&mut attempts, &v4(number), 0);
            assert!(is_known(&attempts, &v4(1)) && is_known(&attempts, &v4(2)));
        }
        attempts.give_back(place);
        assert!(attempts.begin(&v4(1), at(0)).is_err());
    }

    #[test]
    fn without_another_choice_the_penalty_that_ends_first_goes() {
        let mut attempts = Attempts::with_bounds(2, 100);
        for (number, now) in [(1, 0), (1, 60), (2, 100)] {
            for _ in 0..5 {
                fail(&mut attempts, &v4(number), now);
            }
        }
        fail(&mut attempts, &v4(3), 101);
        assert!(is_known(&attempts, &v4(1)), "ends at 360");
        assert!(!is_known(&attempts, &v4(2)), "would have ended at 160");
    }

    #[test]
    fn if_all_records_have_places_out_a_newcomer_waits() {
        let mut attempts = Attempts::with_bounds(3, 100);
        let v6 = Source::Address(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into());
        let places: Vec<_> = (0..2)
            .map(|number| attempts.begin(&v4(number), at(0)).unwrap())
            .collect();

        let refused = attempts.begin(&v6, at(0)).unwrap_err();
        assert_eq!((refused.until, refused.retry_after.as_secs()), (None, 1));
        assert_eq!(attempts.records.len(), 2, "nothing is left of the /64");
        attempts.records.assert_consistent();

        for place in places {
            attempts.give_back(place);
        }
        assert!(attempts.begin(&v6, at(0)).is_ok());
    }

    #[test]
    fn what_is_over_goes_by_itself() {
        let mut attempts = Attempts::new();
        for number in 0..100 {
            fail(&mut attempts, &v4(number), 0);
        }
        for number in 0..50 {
            let place = attempts.begin(&v4(1_000 + number), at(300)).unwrap();
            attempts.give_back(place);
        }
        assert_eq!(attempts.records.len(), 0);
    }

    #[test]
    fn failures_are_bounded_too() {
        let mut attempts = Attempts::with_bounds(1_000, 100);
        for number in 0..400 {
            fail(&mut attempts, &v4(number % 100), 0);
            assert!(attempts.records.failures <= 100);
        }
        attempts.records.assert_consistent();
    }

    #[test]
    fn a_million_addresses_fit_and_do_not_slow_down() {
        let mut attempts = Attempts::new();
        let mut next = 0;
        let mut fail_100_000_strangers = || {
            let started = Instant::now();
            for _ in 0..100_000 {
                fail(&mut attempts, &v4(next), 0);
                next += 1;
                assert!(attempts.records.len() <= MAX_SUBJECTS);
            }
            started.elapsed()
        };
        let while_there_is_room = fail_100_000_strangers();
        let at_the_bound: Duration = (0..9).map(|_| fail_100_000_strangers()).sum();

        // To look at all records in each call would take ten thousand times as long.
        let limit = while_there_is_room * 9 * 20;
        assert!(
            at_the_bound < limit,
            "{at_the_bound:?}, {while_there_is_room:?}"
        );
        assert_eq!(attempts.records.len(), MAX_SUBJECTS);
        assert_eq!(attempts.records.failures, MAX_SUBJECTS);
        attempts.records.assert_consistent();
    }

    #[derive(Clone, Debug)]
    enum Step {
        Fail(u32, usize),
        FailV6(u16),
        Begin(u32),
        End(prop::sample::Index),
        Wait(i64),
    }

    fn any_step() -> impl Strategy<Value = Step> {
        prop_oneof![
            8 => (0_u32..60, 1_usize..7).prop_map(|(number, times)| Step::Fail(number, times)),
            2 => any::<u16>().prop_map(Step::FailV6),
            2 => (0_u32..60).prop_map(Step::Begin),
            2 => any::<prop::sample::Index>().prop_map(Step::End),
            1 => prop::sample::select(vec![1, 60, 300, 3_600, 86_400]).prop_map(Step::Wait),
        ]
    }

    fn run(attempts: &mut Attempts, places: &mut Vec<Place>, step: &Step, now: &mut i64) {
        let fail_times = |attempts: &mut Attempts, source: &Source, times| {
            for _ in 0..times {
                let Ok(place) = attempts.begin(source, at(*now)) else {
                    return;
                };
                drop(attempts.failed(place, at(*now)));
            }
        };
        match *step {
            Step::Fail(number, times) => fail_times(attempts, &v4(number), times),
            Step::FailV6(subnet) => {
                let address = Ipv6Addr::new(0x2001, 0xdb8, 0, subnet, 0, 0, 0, 1);
                fail_times(attempts, &Source::Address(address.into()), 1);
            }
            Step::Begin(number) => places.extend(attempts.begin(&v4(number), at(*now))),
            Step::End(which) if !places.is_empty() => {
                let place = places.swap_remove(which.index(places.len()));
                drop(attempts.failed(place, at(*now)));
            }
            Step::End(_) => {}
            Step::Wait(seconds) => *now += seconds,
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_memory_is_bounded_and_penalties_stay(
            steps in prop::collection::vec(any_step(), 1..300),
        ) {
            let mut attempts = Attempts::with_bounds(20, 40);
            let mut places = Vec::new();
            let mut now = 0;
            for step in steps {
                let before = attempts.penalties(at(now));
                let has_idle = attempts.records.order.idle.len() >= 2;
                run(&mut attempts, &mut places, &step, &mut now);
                let after = attempts.penalties(at(now));
                if has_idle {
                    let still_on = before.iter().filter(|penalty| penalty.until > at(now));
                    for penalty in still_on {
                        prop_assert!(after.contains(penalty), "{}", penalty.subject);
                    }
                }
                attempts.records.assert_consistent();
                for place in &places {
                    let kept = |subject| attempts.records.by_subject.contains_key(subject);
                    prop_assert!(place.subjects.iter().all(kept));
                }
            }
        }
    }
}
