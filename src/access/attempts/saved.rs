//! What must outlive the program: penalties, their levels, and wrong codes.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::Attempts;
use super::moment::Moment;
use super::record::{CODES, DAY, Record};
use super::subject::Subject;

impl Attempts {
    /// Returns what must outlive the program: penalties, their levels, and wrong codes.
    ///
    /// A code whose check is not over counts as wrong, so a code is counted durably before its
    /// check when this is saved between [`Self::begin_code`] and the check.
    pub fn to_saved(&self) -> SavedAttempts {
        let account = (self.account.level > 0).then_some((&Subject::ACCOUNT, &self.account));
        let remembered = self.records.remembered().into_iter().chain(account);
        let penalties = remembered.map(|(subject, record)| SavedPenalty {
            subject: *subject,
            level: record.level,
            until: record.until.map(|until| self.clock.wall(until)),
            remembered_until: self.clock.wall(record.remembered_until),
        });
        let unchecked = [self.clock.latest()]
            .into_iter()
            .cycle()
            .take(self.account.places);
        let code_failures = self.account.failures.iter().copied().chain(unchecked);
        SavedAttempts {
            penalties: penalties.collect(),
            code_failures: code_failures
                .map(|failure| self.clock.wall(failure))
                .collect(),
        }
    }

    /// Returns a limiter that knows what was saved, as far as it still counts.
    ///
    /// A penalty whose start lies ahead, because the clock was set back, lasts from now.
    pub fn from_saved(saved: SavedAttempts, now: Timestamp) -> Result<Self, RestoreError> {
        let mut attempts = Self::new();
        let now = attempts.clock.tick(now);
        let mut seen = BTreeSet::new();
        for penalty in saved.penalties {
            let subject = penalty.subject;
            if !seen.insert(subject) {
                return Err(RestoreError::Repeated { subject });
            }
            let mut record = penalty.restore(now)?;
            record.settle(subject.rule(), now);
            if record.is_blank() {
                continue;
            }
            if subject == Subject::ACCOUNT {
                attempts.account = record;
            } else {
                attempts.records.restore(subject, record);
            }
        }
        if saved.code_failures.len() > CODES.failures {
            return Err(RestoreError::TooManyCodes);
        }
        attempts.restore_codes(&saved.code_failures, now);
        Ok(attempts)
    }

    fn restore_codes(&mut self, failures: &[Timestamp], now: Moment) {
        let mut failures: Vec<_> = failures
            .iter()
            .map(|at| Moment::from(*at).min(now))
            .collect();
        failures.sort_unstable();
        self.account.failures = failures.into();
        self.account.settle(&CODES, now);
        if self.account.failures.len() >= CODES.failures {
            self.account.start_penalty(&CODES, now);
        }
    }
}

/// What is kept of [`Attempts`] between two runs, as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedAttempts {
    penalties: Vec<SavedPenalty>,
    code_failures: Vec<Timestamp>,
}

impl SavedAttempts {
    /// Returns whom it remembers.
    pub fn subjects(&self) -> impl Iterator<Item = Subject> {
        self.penalties.iter().map(|penalty| penalty.subject)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedPenalty {
    subject: Subject,
    level: u8,
    until: Option<Timestamp>,
    remembered_until: Timestamp,
}

impl SavedPenalty {
    fn restore(self, now: Moment) -> Result<Record, RestoreError> {
        let subject = self.subject;
        let Some(length) = subject.rule().length(self.level) else {
            return Err(RestoreError::NoSuchLevel {
                subject,
                level: self.level,
            });
        };
        let memory = DAY.max(length.saturating_add(length));
        Ok(Record {
            level: self.level,
            until: self
                .until
                .map(|until| Moment::from(until).min(now.after(length))),
            remembered_until: Moment::from(self.remembered_until).min(now.after(memory)),
            ..Record::default()
        })
    }
}

/// Why saved attempts are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RestoreError {
    /// A penalty has a level that its subject can't have.
    #[error("the penalty of {subject} has the impossible level {level}")]
    NoSuchLevel {
        /// The subject.
        subject: Subject,
        /// The level.
        level: u8,
    },
    /// A subject is there twice.
    #[error("there are two penalties of {subject}")]
    Repeated {
        /// The subject.
        subject: Subject,
    },
    /// There are more wrong codes than can be before a penalty.
    #[error("there are more than 10 wrong codes")]
    TooManyCodes,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::super::{KnownDevice, Source};
    use super::*;

    const DAY_SECONDS: i64 = 86_400;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn admin() -> Source {
        Source::Address([192, 0, 2, 1].into())
    }

    fn fail(attempts: &mut Attempts, now: i64, times: usize) -> Vec<u8> {
        let levels = (0..times).flat_map(|_| {
            let place = attempts.begin(&admin(), at(now)).unwrap();
            attempts.failed(place, at(now)).penalties
        });
        levels.map(|penalty| penalty.level).collect()
    }

    fn fail_codes(attempts: &mut Attempts, now: i64, times: usize) {
        for _ in 0..times {
            let place = attempts.begin_code(KnownDevice::No, at(now)).unwrap();
            drop(attempts.code_failed(place, at(now)));
        }
    }

    /// Saves and starts anew.
    fn restart(attempts: &Attempts, now: i64) -> Attempts {
        let json = serde_json::to_string(&attempts.to_saved()).unwrap();
        Attempts::from_saved(serde_json::from_str(&json).unwrap(), at(now)).unwrap()
    }

    fn load(json: Value, now: i64) -> Result<Attempts, RestoreError> {
        Attempts::from_saved(serde_json::from_value(json).unwrap(), at(now))
    }

    fn penalty(subject: &str, level: u8, until: i64, remembered_until: i64) -> Value {
        json!({
            "subject": subject,
            "level": level,
            "until": at(until).to_string(),
            "remembered_until": at(remembered_until).to_string(),
        })
    }

    #[test]
    fn what_is_saved_is_small_and_legible() {
        let mut attempts = Attempts::new();
        fail(&mut attempts, 0, 5);
        fail_codes(&mut attempts, 30, 1);
        let expected = json!({
            "penalties": [penalty("192.0.2.1", 1, 60, DAY_SECONDS)],
            "code_failures": [at(30).to_string()],
        });
        assert_eq!(serde_json::to_value(attempts.to_saved()).unwrap(), expected);
        let nothing = json!({ "penalties": [], "code_failures": [] });
        assert_eq!(
            serde_json::to_value(Attempts::new().to_saved()).unwrap(),
            nothing
        );
    }

    #[test]
    fn a_penalty_goes_on_after_a_restart() {
        let mut attempts = Attempts::new();
        fail(&mut attempts, 0, 5);
        let mut restarted = restart(&attempts, 10);

        assert_eq!(restarted.penalties(at(10)), attempts.penalties(at(10)));
        let refused = restarted.begin(&admin(), at(59)).unwrap_err();
        assert_eq!(refused.until, Some(at(60)));
        assert_eq!(fail(&mut restarted, 60, 5), [2]);
    }

    #[test]
    fn a_level_is_remembered_over_a_restart_as_long_as_without() {
        for (pause, level) in [(DAY_SECONDS - 1, 2), (DAY_SECONDS, 1)] {
            let mut attempts = Attempts::new();
            fail(&mut attempts, 0, 5);
            let mut restarted = restart(&attempts, pause);
            assert!(restarted.penalties(at(pause)).is_empty());
            assert_eq!(fail(&mut restarted, pause, 5), [level]);
        }
        let mut attempts = Attempts::new();
        fail(&mut attempts, 0, 5);
        let forgotten = restart(&attempts, DAY_SECONDS);
        assert_eq!(forgotten.to_saved(), SavedAttempts::default());
    }

    #[test]
    fn the_longest_penalty_is_remembered_over_a_restart_for_a_day_after_its_end() {
        for (pause, level) in [(DAY_SECONDS - 1, 5), (DAY_SECONDS, 1)] {
            let mut attempts = Attempts::new();
            let mut now = 0;
            for length in [60, 300, 900, 3_600, DAY_SECONDS] {
                fail(&mut attempts, now, 5);
                now += length;
            }
            let mut restarted = restart(&attempts, now - 10);
            assert_eq!(fail(&mut restarted, now + pause, 5), [level]);
        }
    }

    #[test]
    fn wrong_codes_may_be_saved_in_any_order() {
        let codes = [0, 0, 0, 0, 0, -800, -800, -800, -800].map(|code| at(code).to_string());
        let mut attempts = load(json!({ "penalties": [], "code_failures": codes }), 0).unwrap();
        fail_codes(&mut attempts, 100, 4);
        assert!(attempts.penalties(at(100)).is_empty());
        fail_codes(&mut attempts, 100, 1);
        assert_eq!(attempts.penalties(at(100)).len(), 1);
    }

    #[test]
    fn wrong_codes_count_after_a_restart() {
        let mut attempts = Attempts::new();
        fail_codes(&mut attempts, 0, 9);
        let mut restarted = restart(&attempts, 899);
        fail_codes(&mut restarted, 899, 1);
        assert_eq!(restarted.penalties(at(899)).len(), 1);

        let mut restarted = restart(&attempts, 900);
        fail_codes(&mut restarted, 900, 9);
        assert!(restarted.penalties(at(900)).is_empty());
    }

    #[test]
    fn a_code_that_was_being_checked_counts_as_wrong() {
        let mut attempts = Attempts::new();
        fail_codes(&mut attempts, 0, 8);
        let place = attempts.begin_code(KnownDevice::No, at(1)).unwrap();
        let mut restarted = restart(&attempts, 2);
        fail_codes(&mut restarted, 2, 1);
        assert_eq!(restarted.penalties(at(2)).len(), 1);

        let last = attempts.begin_code(KnownDevice::No, at(1)).unwrap();
        let restarted = restart(&attempts, 2);
        assert_eq!(restarted.penalties(at(2))[0].until, at(902));

        attempts.code_given_back(place);
        attempts.code_given_back(last);
        let mut restarted = restart(&attempts, 2);
        fail_codes(&mut restarted, 2, 1);
        assert!(restarted.penalties(at(2)).is_empty());
    }

    #[test]
    fn penalties_of_all_kinds_are_read() {
        let device = format!("device:{}", "ab".repeat(32));
        let subjects = [
            "192.0.2.1",
            "2001:db8::/64",
            "2001:db8::/48",
            "proxy:192.0.2.1",
            "proxy:2001:db8::/48",
            "claim:-@192.0.2.1",
            "claim:192.0.2.2@192.0.2.1",
            "account",
            &device,
        ];
        let penalties: Vec<_> = subjects
            .iter()
            .map(|subject| penalty(subject, 1, 60, 900))
            .collect();
        let attempts = load(json!({ "penalties": penalties, "code_failures": [] }), 0).unwrap();

        let read: Vec<_> = attempts
            .penalties(at(0))
            .iter()
            .map(|p| p.subject.to_string())
            .collect();
        assert_eq!(read.len(), subjects.len());
        assert!(
            subjects
                .iter()
                .all(|subject| read.contains(&(*subject).to_owned()))
        );
        attempts.records.assert_consistent();
    }

    #[test]
    fn if_the_clock_was_set_back_a_penalty_lasts_from_now() {
        for (until, ends) in [(60, 60), (61, 60), (100 * DAY_SECONDS, 60), (1, 1)] {
            let saved = json!({
                "penalties": [penalty("192.0.2.1", 1, until, 100 * DAY_SECONDS)],
                "code_failures": [at(100 * DAY_SECONDS).to_string()],
            });
            let mut attempts = load(saved, 0).unwrap();
            assert_eq!(attempts.penalties(at(0))[0].until, at(ends), "{until}");
            fail_codes(&mut attempts, 899, 9);
            assert!(
                attempts
                    .penalties(at(899))
                    .iter()
                    .any(|p| p.subject == Subject::ACCOUNT)
            );
            assert_eq!(
                fail(&mut attempts, DAY_SECONDS, 5),
                [1],
                "forgotten after a day from now"
            );
        }
    }

    #[test]
    fn a_clock_that_was_set_back_while_we_ran_is_saved_as_it_is_now() {
        let mut attempts = Attempts::new();
        fail(&mut attempts, 0, 5);
        fail_codes(&mut attempts, -5_000, 1);
        let restarted = restart(&attempts, -4_990);
        assert_eq!(restarted.penalties(at(-4_990))[0].until, at(-4_940));
    }

    #[test]
    fn impossible_entries_are_refused() {
        let subject = |text: &str| text.parse().unwrap();
        for (text, level) in [
            ("192.0.2.1", 0),
            ("192.0.2.1", 6),
            ("account", 0),
            ("account", 9),
        ] {
            let saved = json!({ "penalties": [penalty(text, level, 60, 60)], "code_failures": [] });
            let subject = subject(text);
            assert_eq!(
                load(saved, 0).unwrap_err(),
                RestoreError::NoSuchLevel { subject, level }
            );
        }
        assert!(
            load(
                json!({ "penalties": [penalty("account", 8, 60, 60)], "code_failures": [] }),
                0
            )
            .is_ok()
        );

        let twice = [
            penalty("192.0.2.1", 1, 60, 60),
            penalty("192.0.2.1", 2, 60, 60),
        ];
        let refused = load(json!({ "penalties": twice, "code_failures": [] }), 0).unwrap_err();
        assert_eq!(
            refused,
            RestoreError::Repeated {
                subject: subject("192.0.2.1")
            }
        );

        let codes = vec![at(0).to_string(); 11];
        let refused = load(json!({ "penalties": [], "code_failures": codes }), 0).unwrap_err();
        assert_eq!(refused, RestoreError::TooManyCodes);
    }

    #[test]
    fn unknown_and_malformed_entries_are_no_saved_attempts() {
        let good = penalty("192.0.2.1", 1, 60, 60);
        let with = |key: &str, value: Value| {
            let mut changed = good.clone();
            changed[key] = value;
            json!({ "penalties": [changed], "code_failures": [] })
        };
        let table = [
            json!([]),
            json!({}),
            json!({ "penalties": [] }),
            json!({ "penalties": {}, "code_failures": [] }),
            json!({ "penalties": [], "code_failures": [1] }),
            json!({ "penalties": [], "code_failures": [], "bans": [] }),
            with("subject", json!("somebody")),
            with("subject", json!("192.0.2.0/24")),
            with("level", json!(-1)),
            with("level", json!(256)),
            with("until", json!("tomorrow")),
            with("remembered_until", Value::Null),
            with("reason", json!("why")),
        ];
        for json in table {
            assert!(
                serde_json::from_value::<SavedAttempts>(json.clone()).is_err(),
                "{json}"
            );
        }
        let ended = with("until", Value::Null);
        assert!(serde_json::from_value::<SavedAttempts>(ended).is_ok());
    }

    proptest! {
        #[test]
        fn whatever_was_saved_ends_in_time(
            level in 0_u8..12,
            until in prop::option::of(-999_999_999_i64..999_999_999),
            remembered_until in -999_999_999_i64..999_999_999,
            codes in prop::collection::vec(-999_999_999_i64..999_999_999, 0..12),
        ) {
            for subject in ["192.0.2.1", "account"] {
                let mut entry = penalty(subject, level, 0, remembered_until);
                entry["until"] = json!(until.map(|until| at(until).to_string()));
                let codes: Vec<_> = codes.iter().map(|code| at(*code).to_string()).collect();
                let loaded = load(json!({ "penalties": [entry], "code_failures": codes }), 0);
                let Ok(attempts) = loaded else {
                    prop_assert!(!(1..=5).contains(&level) || codes.len() > 10);
                    continue;
                };
                prop_assert!(attempts.penalties(at(0)).iter().all(|p| p.until <= at(DAY_SECONDS)));
                prop_assert!(attempts.penalties(at(DAY_SECONDS)).is_empty());
                prop_assert_eq!(restart(&attempts, 3 * DAY_SECONDS).to_saved(), SavedAttempts::default());
            }
        }
    }
}
