//! The limiter beside a model of it that remembers everything and computes all anew each time.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const DAY: i64 = 86_400;

/// What the specification says of one kind of subject, in seconds.
struct Law {
    failures: usize,
    window: i64,
    penalties: &'static [i64],
}

const PENALTIES: &[i64] = &[60, 300, 900, 3_600, DAY];
const CODE_PENALTIES: &[i64] = &[900, 1_800, 3_600, 7_200, 14_400, 28_800, 57_600, DAY];

/// Returns the law of a name: what stands before the first space.
fn law(name: &str) -> Law {
    let failures = match name.split(' ').next().unwrap() {
        "one" => 5,
        "proxy" => 50,
        "wide" => 100,
        "account" => {
            return Law {
                failures: 10,
                window: 900,
                penalties: CODE_PENALTIES,
            };
        }
        other => panic!("{other}"),
    };
    Law {
        failures,
        window: 300,
        penalties: PENALTIES,
    }
}

/// What happened to one subject.
#[derive(Default)]
struct History {
    failures: Vec<i64>,
    places: usize,
    /// After how many failures the program was restarted.
    restarted: Option<usize>,
}

impl History {
    /// Replays all failures; returns how many count now, and the end of a penalty that is on.
    fn now(&self, law: &Law, now: i64) -> (usize, Option<i64>) {
        let mut counting: Vec<i64> = Vec::new();
        let mut level = 0;
        let mut until = i64::MIN;
        let mut forgotten = i64::MIN;
        for (index, &failure) in self.failures.iter().enumerate() {
            if self.restarted == Some(index) {
                counting.clear();
            }
            if forgotten <= failure {
                level = 0;
            }
            forgotten = forgotten.max(failure + DAY);
            counting.retain(|earlier| failure - earlier < law.window);
            counting.push(failure);
            if counting.len() >= law.failures {
                let length = law.penalties[level.min(law.penalties.len() - 1)];
                level = (level + 1).min(law.penalties.len());
                until = failure + length;
                forgotten = (failure + DAY).max(until + length);
                counting.clear();
            }
        }
        if self.restarted == Some(self.failures.len()) {
            counting.clear();
        }
        counting.retain(|earlier| now - earlier < law.window);
        (counting.len(), (until > now).then_some(until))
    }
}

#[derive(Default)]
struct Model {
    histories: BTreeMap<String, History>,
}

/// What is said of an attempt: nothing, "no place", or until when.
type Verdict = Result<(), Option<i64>>;

impl Model {
    fn begin(&mut self, names: &[String], now: i64) -> Verdict {
        let states: Vec<_> = names
            .iter()
            .map(|name| {
                let history = self.histories.entry(name.clone()).or_default();
                let (count, until) = history.now(&law(name), now);
                (count + history.places >= law(name).failures, until)
            })
            .collect();
        if let Some(until) = states.iter().filter_map(|(_, until)| *until).max() {
            return Err(Some(until));
        }
        if states.iter().any(|(is_full, _)| *is_full) {
            return Err(None);
        }
        for name in names {
            self.histories.get_mut(name).unwrap().places += 1;
        }
        Ok(())
    }

    fn end(&mut self, names: &[String], failed_at: Option<i64>) {
        for name in names {
            let history = self.histories.get_mut(name).unwrap();
            history.places -= 1;
            history.failures.extend(failed_at);
        }
    }

    fn penalties(&self, now: i64) -> Vec<i64> {
        let ends = self
            .histories
            .iter()
            .filter_map(|(name, history)| history.now(&law(name), now).1);
        let mut ends: Vec<_> = ends.collect();
        ends.sort_unstable();
        ends
    }
}

/// Somebody who tries.
#[derive(Clone, Copy, Debug)]
enum Who {
    V4(u8),
    V6 { site: u16, subnet: u16, host: u16 },
    Device(u8),
    Claim { proxy: u8, claimed: Option<u8> },
    Code,
}

impl Who {
    fn source(self) -> Option<Source> {
        Some(match self {
            Self::V4(host) => Source::Address([192, 0, 2, host].into()),
            Self::V6 { site, subnet, host } => {
                Source::Address([0x2001, 0xdb8, site, subnet, 0, 0, 0, host].into())
            }
            Self::Device(number) => Source::Device([number; 32]),
            Self::Claim { proxy, claimed } => Source::Claimed {
                peer: [203, 0, 113, proxy].into(),
                claimed: claimed.map(|host| [10, 0, 0, host].into()),
            },
            Self::Code => return None,
        })
    }

    /// What the model counts it by.
    fn names(self) -> Vec<String> {
        match self {
            Self::V4(host) => vec![format!("one v4 {host}")],
            Self::V6 { site, subnet, .. } => {
                vec![format!("one v6 {site} {subnet}"), format!("wide v6 {site}")]
            }
            Self::Device(number) => vec![format!("one device {number}")],
            Self::Claim { proxy, claimed } => {
                vec![
                    format!("one claim {proxy} {claimed:?}"),
                    format!("proxy {proxy}"),
                ]
            }
            Self::Code => vec!["account".to_owned()],
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// Tries to begin, and keeps the place.
    Begin(Who),
    /// Begins and fails, so many times or until it is refused.
    Fail(Who, usize),
    /// Ends one of the attempts under way.
    End {
        which: prop::sample::Index,
        has_failed: bool,
    },
    Wait(i64),
}

fn any_who() -> impl Strategy<Value = Who> {
    prop_oneof![
        2 => (0_u8..2).prop_map(Who::V4),
        4 => (0_u16..2, 0_u16..30, 0_u16..3).prop_map(|(site, subnet, host)| Who::V6 { site, subnet, host }),
        1 => (0_u8..2).prop_map(Who::Device),
        3 => (0_u8..2, prop::option::of(0_u8..14)).prop_map(|(proxy, claimed)| Who::Claim { proxy, claimed }),
        2 => Just(Who::Code),
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    let waits = vec![
        1,
        10,
        59,
        60,
        61,
        240,
        299,
        300,
        301,
        899,
        900,
        3_600,
        DAY - 301,
        DAY - 1,
        DAY,
        DAY + 1,
    ];
    prop_oneof![
        3 => any_who().prop_map(Step::Begin),
        12 => (any_who(), 1_usize..8).prop_map(|(who, times)| Step::Fail(who, times)),
        3 => (any::<prop::sample::Index>(), any::<bool>())
            .prop_map(|(which, has_failed)| Step::End { which, has_failed }),
        3 => prop::sample::select(waits).prop_map(Step::Wait),
        2 => (1_i64..20).prop_map(Step::Wait),
    ]
}

enum Taken {
    Place(Place),
    Code(CodePlace),
}

/// The limiter and its model, side by side.
#[derive(Default)]
struct Pair {
    attempts: Attempts,
    model: Model,
    under_way: Vec<(Who, Taken)>,
    now: i64,
}

impl Pair {
    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    /// Begins in both; returns the place if both gave one.
    fn begin(&mut self, who: Who) -> Result<Option<Taken>, TestCaseError> {
        let now = Self::at(self.now);
        let begun = match who.source() {
            Some(source) => self.attempts.begin(&source, now).map(Taken::Place),
            None => self
                .attempts
                .begin_code(KnownDevice::No, now)
                .map(Taken::Code),
        };
        let expected = self.model.begin(&who.names(), self.now);
        match begun {
            Ok(taken) => {
                prop_assert_eq!(expected, Ok(()));
                Ok(Some(taken))
            }
            Err(refused) => {
                let until = expected.unwrap_err();
                prop_assert_eq!(refused.until, until.map(Self::at));
                let retry_after = until.map_or(1, |until| until - self.now);
                prop_assert_eq!(refused.retry_after.as_secs(), retry_after);
                let is_penalty = refused.reason == RefusalReason::Penalty;
                prop_assert_eq!(is_penalty, until.is_some());
                Ok(None)
            }
        }
    }

    fn end(&mut self, who: Who, taken: Taken, has_failed: bool) -> Result<(), TestCaseError> {
        let now = Self::at(self.now);
        let before = self.model.penalties(self.now).len();
        self.model.end(&who.names(), has_failed.then_some(self.now));
        let outcome = match (taken, has_failed) {
            (Taken::Place(place), true) => self.attempts.failed(place, now),
            (Taken::Code(place), true) => self.attempts.code_failed(place, now),
            (Taken::Place(place), false) => {
                self.attempts.give_back(place);
                Outcome::default()
            }
            (Taken::Code(place), false) => {
                self.attempts.code_given_back(place);
                Outcome::default()
            }
        };
        let after = self.model.penalties(self.now).len();
        prop_assert_eq!(outcome.penalties.len(), after - before);
        Ok(())
    }

    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match *step {
            Step::Begin(who) => {
                let taken = self.begin(who)?;
                self.under_way.extend(taken.map(|taken| (who, taken)));
            }
            Step::Fail(who, times) => {
                for _ in 0..times {
                    let Some(taken) = self.begin(who)? else {
                        break;
                    };
                    self.end(who, taken, true)?;
                }
            }
            Step::End { which, has_failed } => {
                if !self.under_way.is_empty() {
                    let index = which.index(self.under_way.len());
                    let (who, taken) = self.under_way.swap_remove(index);
                    self.end(who, taken, has_failed)?;
                }
            }
            Step::Wait(seconds) => self.now += seconds,
        }
        Ok(())
    }

    /// Compares the lists of penalties, and the whole after a restart if nothing is under way.
    fn compare(&mut self, restarts: bool) -> Result<(), TestCaseError> {
        let listed = self.attempts.penalties(Self::at(self.now));
        let listed: Vec<_> = listed.iter().map(|penalty| penalty.until).collect();
        let expected: Vec<_> = self
            .model
            .penalties(self.now)
            .into_iter()
            .map(Self::at)
            .collect();
        prop_assert_eq!(&listed, &expected);
        self.attempts.records.assert_consistent();
        if restarts {
            let json = serde_json::to_string(&self.attempts.to_saved()).unwrap();
            let saved = serde_json::from_str(&json).unwrap();
            let restored = Attempts::from_saved(saved, Self::at(self.now)).unwrap();
            let restored = restored.penalties(Self::at(self.now));
            let restored: Vec<_> = restored.iter().map(|penalty| penalty.until).collect();
            prop_assert_eq!(&restored, &expected);
        }
        Ok(())
    }
}

proptest! {
    #[test]
    fn the_limiter_agrees_with_its_model(steps in prop::collection::vec(any_step(), 1..150)) {
        let mut pair = Pair::default();
        for step in steps {
            pair.step(&step)?;
            let has_codes_under_way = pair.attempts.account.places > 0;
            pair.compare(!has_codes_under_way)?;
        }
    }

    /// What is forgotten over a restart are failures that led to no penalty yet, but for codes.
    #[test]
    fn levels_and_wrong_codes_survive_a_restart(
        before in prop::collection::vec(any_step(), 1..100),
        pause in 0_i64..2_000,
        after in prop::collection::vec(any_step(), 1..60),
    ) {
        let mut pair = Pair::default();
        for step in before {
            pair.step(&step)?;
        }
        for (who, taken) in std::mem::take(&mut pair.under_way) {
            pair.end(who, taken, false)?;
        }
        pair.now += pause;
        let saved = pair.attempts.to_saved();
        pair.attempts = Attempts::from_saved(saved, Pair::at(pair.now)).unwrap();
        for (name, history) in &mut pair.model.histories {
            if name != "account" {
                history.restarted = Some(history.failures.len());
            }
        }
        for step in after {
            pair.step(&step)?;
            pair.compare(false)?;
        }
    }

    #[test]
    fn a_clock_set_back_at_random_opens_nothing_early_and_nothing_late(
        moves in prop::collection::vec((1_i64..30, prop_oneof![Just(0), 2_i64..5_000]), 1..60),
    ) {
        let mut attempts = Attempts::new();
        let source = Source::Address([192, 0, 2, 1].into());
        for _ in 0..5 {
            let place = attempts.begin(&source, Pair::at(0)).unwrap();
            drop(attempts.failed(place, Pair::at(0)));
        }
        let (mut elapsed, mut offset, mut unseen) = (0, 0, 0);
        for (passed, set_back) in moves {
            elapsed += passed;
            offset += set_back;
            // A step that ends within a second of the last call looks like jitter, and may cost it.
            unseen += if set_back > 0 { passed + 1 } else { 0 };

            let begun = attempts.begin(&source, Pair::at(elapsed - offset));

            if elapsed < 60 {
                prop_assert!(begun.is_err(), "early");
            }
            if elapsed - unseen >= 60 {
                prop_assert!(begun.is_ok(), "late");
            }
            match begun {
                Ok(place) => attempts.give_back(place),
                Err(refused) => prop_assert!(refused.retry_after.as_secs() <= 60),
            }
        }
    }
}
