//! The second factor: codes of an authenticator app (RFC 6238) and backup codes.
//!
//! | to learn                             | read                  |
//! |--------------------------------------|-----------------------|
//! | what somebody may type into the field | [`Code`]             |
//! | whether the app's code is right      | [`check_code`]        |
//! | whether a backup code is right       | [`check_backup_code`] |
//! | how an app becomes the second factor | [`Enrolment`]         |
//!
//! **Invariant:** a step that was spent is never accepted, whatever the code.

mod backup;
mod code;
mod enrolment;
mod secret;

use jiff::Timestamp;

pub use backup::{BackupCheck, BackupCodeRecord, BackupOutcome, check_backup_code};
pub use code::{BackupCode, Code, ParseCodeError, TotpCode};
pub use enrolment::{BACKUP_CODES, BackupCodes, ENROLMENT_LIFETIME, Enrolment, SecondFactorError};
pub use secret::{ParseSecretError, TotpSecret};

/// Seconds that a code is shown (RFC 6238 §5.2).
pub const STEP_SECONDS: i64 = 30;

/// Steps on each side of the current one that are accepted (RFC 6238 §5.2).
const WINDOW: i64 = 1;

/// Steps on each side of the current one in which a wrong clock is recognised: ten minutes.
const REACH: i64 = 20;

/// The steps whose codes no longer count.
#[derive(Debug, Clone, Copy, Default)]
pub struct SpentSteps<'a> {
    /// The last step that was accepted: it and all before it are spent.
    pub last: Option<i64>,
    /// Steps that a clock hint revealed.
    pub burnt: &'a [i64],
}

impl SpentSteps<'_> {
    /// Returns whether the code of `step` no longer counts at `now`.
    pub fn contains(&self, step: i64, now: Timestamp) -> bool {
        self.last_credible(now).is_some_and(|last| step <= last) || self.burnt.contains(&step)
    }

    /// A last step that lies far ahead was accepted under a wrong clock, and is ignored.
    pub(super) fn last_credible(&self, now: Timestamp) -> Option<i64> {
        self.last.filter(|last| *last <= current_step(now) + REACH)
    }
}

/// What came of checking a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "the code may be wrong"]
pub enum CodeCheck {
    /// The code is right. The step is to be kept as the last one before anybody is let in.
    Accepted {
        /// The step of the code.
        step: i64,
    },
    /// The code was right, but it was accepted or revealed before.
    AlreadyUsed {
        /// Seconds until the next code can be accepted.
        retry_after_seconds: i64,
    },
    /// The code is wrong now and would be right at another time: one of the clocks is wrong.
    Skewed {
        /// By how much the phone is ahead of this host; negative where it is behind.
        seconds: i64,
        /// The step of the code, to be burnt with [`burn_step`].
        step: i64,
    },
    /// The code is wrong.
    Wrong,
}

/// Returns the number of the current step (RFC 6238 §4.2).
pub fn current_step(now: Timestamp) -> i64 {
    now.as_second().div_euclid(STEP_SECONDS)
}

/// Checks the code of an authenticator app.
///
/// All steps of the reach are always computed, so the time tells nothing about the code. Where the
/// same six digits stand for several steps, one spent step refuses them all, and the latest counts.
pub fn check_code(
    secret: &TotpSecret,
    code: &TotpCode,
    now: Timestamp,
    spent: &SpentSteps<'_>,
) -> CodeCheck {
    let current = current_step(now);
    let last = spent.last_credible(now);
    let is_spent = |step| spent.contains(step, now);

    let matching = secret.matching_steps(code, current - REACH..=current + REACH);
    let (inside, outside): (Vec<i64>, Vec<i64>) = matching
        .into_iter()
        .partition(|step| (step - current).abs() <= WINDOW);

    if inside.iter().copied().any(is_spent) {
        let next_step = (current + 1).max(last.unwrap_or(current));
        let retry_after_seconds = next_step * STEP_SECONDS - now.as_second();
        return CodeCheck::AlreadyUsed {
            retry_after_seconds,
        };
    }
    if let Some(step) = inside.into_iter().max() {
        return CodeCheck::Accepted { step };
    }
    match outside
        .into_iter()
        .min_by_key(|step| (step - current).abs())
    {
        Some(step) => CodeCheck::Skewed {
            seconds: (step - current) * STEP_SECONDS,
            step,
        },
        None => CodeCheck::Wrong,
    }
}

/// Drops the burnt steps whose time has passed for good: also those that a clock which is set right
/// could bring back are kept.
pub fn drop_passed(burnt: &mut Vec<i64>, now: Timestamp) {
    let current = current_step(now);
    burnt.retain(|step| (step - current).abs() <= REACH);
}

/// Adds a step to the burnt ones, and drops those that have passed for good.
pub fn burn_step(burnt: &mut Vec<i64>, step: i64, now: Timestamp) {
    drop_passed(burnt, now);
    burnt.retain(|burnt| *burnt != step);
    burnt.push(step);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use totp_rs::{Builder, Totp};

    use super::*;

    const SECRET: &str = "JBSWY3DPEHPK3PXP";

    /// The first second of step 60 000 000.
    const START: i64 = 1_800_000_000;
    const STEP: i64 = 60_000_000;

    fn secret() -> TotpSecret {
        TotpSecret::parse(SECRET).unwrap()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// What the app shows during a step.
    fn code_of(step: i64) -> TotpCode {
        let app: Totp = Builder::new()
            .with_secret(data_encoding::BASE32.decode(SECRET.as_bytes()).unwrap())
            .build_noncompliant();
        let second = u64::try_from(step * 30).unwrap();
        TotpCode::parse(&app.generate(second).to_string()).unwrap()
    }

    fn check(step: i64, now: i64, last: Option<i64>, burnt: &[i64]) -> CodeCheck {
        let spent = SpentSteps { last, burnt };
        check_code(&secret(), &code_of(step), at(now), &spent)
    }

    #[test]
    fn the_vectors_of_rfc_6238() {
        // Appendix B, SHA-1, the last six of eight digits.
        let secret = TotpSecret::parse("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ").unwrap();
        let vectors = [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ];

        for (second, digits) in vectors {
            let code = TotpCode::parse(digits).unwrap();
            let check = check_code(&secret, &code, at(second), &SpentSteps::default());
            let step = second / 30;
            assert_eq!(check, CodeCheck::Accepted { step }, "{second}");
        }
    }

    #[test]
    fn the_window_is_one_step_on_each_side() {
        for (offset, expected) in [
            (-21, CodeCheck::Wrong),
            (-20, skewed(-20)),
            (-2, skewed(-2)),
            (-1, accepted(-1)),
            (0, accepted(0)),
            (1, accepted(1)),
            (2, skewed(2)),
            (20, skewed(20)),
            (21, CodeCheck::Wrong),
        ] {
            for second in [START, START + 15, START + 29] {
                let check = check(STEP + offset, second, None, &[]);
                assert_eq!(check, expected, "step {offset}, {second}");
            }
        }
    }

    fn accepted(offset: i64) -> CodeCheck {
        CodeCheck::Accepted {
            step: STEP + offset,
        }
    }

    fn skewed(offset: i64) -> CodeCheck {
        CodeCheck::Skewed {
            seconds: offset * 30,
            step: STEP + offset,
        }
    }

    fn already_used(retry_after_seconds: i64) -> CodeCheck {
        CodeCheck::AlreadyUsed {
            retry_after_seconds,
        }
    }

    /// Offset of the code, second within the step, offset of the last step, burnt offsets.
    type Case<'a> = (i64, i64, Option<i64>, &'a [i64], CodeCheck);

    #[test]
    fn a_spent_step_is_refused_until_the_next_code() {
        let cases: &[Case<'_>] = &[
            // Replay: at once, at the end of the step, and in the step after.
            (0, 0, Some(0), &[], already_used(30)),
            (0, 1, Some(0), &[], already_used(29)),
            (0, 29, Some(0), &[], already_used(1)),
            (-1, 10, Some(-1), &[], already_used(20)),
            // Older than the last accepted one, though never used itself.
            (-1, 10, Some(0), &[], already_used(20)),
            (0, 10, Some(1), &[], already_used(20)),
            // Later than the last one.
            (0, 10, Some(-1), &[], accepted(0)),
            (1, 10, Some(0), &[], accepted(1)),
            (-1, 10, Some(-2), &[], accepted(-1)),
            // A clock that was set back has to catch up with the last step.
            (1, 10, Some(2), &[], already_used(50)),
            (0, 10, Some(20), &[], already_used(590)),
            // Further ahead than that, the last step was accepted under a wrong clock.
            (0, 10, Some(21), &[], accepted(0)),
            (0, 10, Some(i64::MAX - STEP), &[], accepted(0)),
            (0, 10, Some(i64::MIN), &[], accepted(0)),
            // Burnt by a hint.
            (0, 10, None, &[0], already_used(20)),
            (1, 10, None, &[5, 1], already_used(20)),
            (-1, 10, Some(-5), &[-1], already_used(20)),
            (0, 10, None, &[-1, 1, 2], accepted(0)),
            // Outside the window nothing is accepted anyway; the hint stays.
            (2, 10, None, &[2], skewed(2)),
            (-2, 10, Some(0), &[], skewed(-2)),
        ];

        for (offset, second, last, burnt, expected) in cases {
            let last = last.map(|offset| STEP.saturating_add(offset));
            let burnt: Vec<i64> = burnt.iter().map(|offset| STEP + offset).collect();
            let check = check(STEP + offset, START + second, last, &burnt);
            assert_eq!(check, *expected, "{offset} {second} {last:?} {burnt:?}");
        }
    }

    #[test]
    fn a_code_works_once_as_time_goes_on() {
        let mut last = None;
        let mut admitted = 0;
        for second in START..START + 120 {
            if let CodeCheck::Accepted { step } = check(STEP + 1, second, last, &[]) {
                last = Some(step);
                admitted += 1;
            }
        }
        assert_eq!(admitted, 1);
    }

    #[test]
    fn a_revealed_code_is_refused_when_its_time_comes() {
        let mut burnt = Vec::new();
        let CodeCheck::Skewed { step, seconds } = check(STEP + 4, START, None, &burnt) else {
            panic!("four steps ahead is a wrong clock");
        };
        assert_eq!(seconds, 120);
        burn_step(&mut burnt, step, at(START));

        for second in START + 90..START + 180 {
            let check = check(STEP + 4, second, None, &burnt);
            assert!(matches!(check, CodeCheck::AlreadyUsed { .. }), "{second}");
        }
    }

    #[test]
    fn burnt_steps_are_kept_once_and_forgotten_when_passed() {
        let mut burnt = vec![
            STEP - 21,
            STEP - 20,
            STEP + 20,
            STEP + 21,
            STEP + 4,
            STEP + 4,
        ];

        burn_step(&mut burnt, STEP + 4, at(START));

        assert_eq!(burnt, [STEP - 20, STEP + 20, STEP + 4]);
    }

    #[test]
    fn one_number_for_two_steps_is_accepted_once() {
        // These two neighbours have the same six digits with this secret.
        let (step, twin) = (50_645_194, 50_645_195);
        let code = code_of(step);
        assert_eq!(code, code_of(twin));
        let now = at(twin * 30);

        let first = check_code(&secret(), &code, now, &SpentSteps::default());
        assert_eq!(first, CodeCheck::Accepted { step: twin });
        for spent in [
            SpentSteps {
                last: Some(twin),
                burnt: &[],
            },
            SpentSteps {
                last: Some(step),
                burnt: &[],
            },
            SpentSteps {
                last: None,
                burnt: &[step],
            },
        ] {
            let check = check_code(&secret(), &code, now, &spent);
            assert_eq!(
                check,
                CodeCheck::AlreadyUsed {
                    retry_after_seconds: 30
                }
            );
        }
    }

    #[test]
    fn a_clock_before_1970_accepts_nothing_and_survives() {
        for second in [-1, -30, -1_000_000_000, Timestamp::MIN.as_second()] {
            let code = code_of(0);
            let check = check_code(&secret(), &code, at(second), &SpentSteps::default());
            assert!(!matches!(check, CodeCheck::AlreadyUsed { .. }), "{second}");
        }
        // The second before 1970 belongs to step -1, from which step 1 is two steps away.
        let ahead = check_code(&secret(), &code_of(1), at(-1), &SpentSteps::default());
        assert_eq!(
            ahead,
            CodeCheck::Skewed {
                seconds: 60,
                step: 1
            }
        );
        let end = check(STEP, Timestamp::MAX.as_second(), None, &[]);
        assert_eq!(end, CodeCheck::Wrong);
    }

    proptest! {
        #[test]
        fn a_spent_step_is_never_accepted(
            digits in prop_oneof![
                "[0-9]{6}",
                (-25_i64..=25).prop_map(|offset| code_of(STEP + offset).digits().to_owned()),
            ],
            second in 0_i64..30,
            last in proptest::option::of(-22_i64..=25),
            burnt in proptest::collection::vec(-3_i64..=3, 0..5),
        ) {
            let code = TotpCode::parse(&digits).unwrap();
            let last = last.map(|offset| STEP + offset);
            let burnt: Vec<i64> = burnt.into_iter().map(|offset| STEP + offset).collect();
            let spent = SpentSteps { last, burnt: &burnt };

            match check_code(&secret(), &code, at(START + second), &spent) {
                CodeCheck::Accepted { step } => {
                    prop_assert!((STEP - 1..=STEP + 1).contains(&step));
                    prop_assert!(last.is_none_or(|last| step > last || last > STEP + 20));
                    prop_assert!(!burnt.contains(&step));
                    prop_assert_eq!(&code, &code_of(step));
                }
                CodeCheck::AlreadyUsed { retry_after_seconds } => {
                    prop_assert!((1..=600).contains(&retry_after_seconds));
                }
                CodeCheck::Skewed { seconds, step } => {
                    prop_assert_eq!(seconds, (step - STEP) * 30);
                    prop_assert!((2..=20).contains(&(step - STEP).abs()));
                    prop_assert_eq!(&code, &code_of(step));
                }
                CodeCheck::Wrong => {}
            }
        }

        #[test]
        fn the_wait_that_is_told_is_enough(second in 0_i64..30, last in 0_i64..=20) {
            let now = START + second;
            let last = STEP + last;
            let check_now = check(STEP, now, Some(last), &[]);
            let CodeCheck::AlreadyUsed { retry_after_seconds } = check_now else {
                return Err(TestCaseError::fail("a step before the last is spent"));
            };

            let fresh = check(last + 1, now + retry_after_seconds, Some(last), &[]);
            prop_assert_eq!(fresh, CodeCheck::Accepted { step: last + 1 });
            let too_soon = check(last + 1, now + retry_after_seconds - 1, Some(last), &[]);
            let is_accepted = matches!(too_soon, CodeCheck::Accepted { .. });
            prop_assert_eq!(is_accepted, last == STEP);
        }
    }
}
