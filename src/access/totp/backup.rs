//! Backup codes: ten that work once each, kept as hashes.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use subtle::Choice;

use super::BackupCode;
use crate::access::passwords::{Comparison, PasswordHash};

/// A backup code as it is kept in the state file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupCodeRecord {
    /// The hash of `XXXX-XXXX`. The codes of one set share their salt.
    pub code: PasswordHash,
    /// Whether it was spent.
    pub used: bool,
    /// What else the file says about it, kept as it is.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// What came of checking a backup code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "the code may be wrong"]
pub struct BackupCheck {
    /// Whether the code is right.
    pub outcome: BackupOutcome,
    /// How many keys were derived: what the check cost.
    pub derivations: u32,
}

/// Whether a backup code is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackupOutcome {
    /// It is, and it is to be marked as used before anybody is let in.
    Accepted {
        /// Its place in the list.
        index: usize,
    },
    /// It was, once.
    AlreadyUsed,
    /// It is not.
    Wrong,
}

/// Checks a backup code against all that there are, each in constant time. A set that shares its
/// salt costs one derivation.
pub fn check_backup_code(codes: &[BackupCodeRecord], code: &BackupCode) -> BackupCheck {
    let mut comparison = Comparison::new(code.as_str());
    let matches: Vec<Choice> = codes
        .iter()
        .map(|record| comparison.with(&record.code))
        .collect();

    let mut outcome = BackupOutcome::Wrong;
    for (index, (record, matches)) in codes.iter().zip(matches).enumerate() {
        if !bool::from(matches) {
            continue;
        }
        if !record.used {
            outcome = BackupOutcome::Accepted { index };
            break;
        }
        outcome = BackupOutcome::AlreadyUsed;
    }
    BackupCheck {
        outcome,
        derivations: comparison.derivations(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A set as it stands in the file: Python's `hashlib.pbkdf2_hmac`, 1000 iterations, one salt.
    const AAAA_2222: &str =
        "pbkdf2_sha256$1000$MDEyMzQ1Njc4OWFiY2RlZg==$bzmAlYNozi/1uO6x2bqftuz09hTiOQmZyFoDYONJwog=";
    const BBBB_3333: &str =
        "pbkdf2_sha256$1000$MDEyMzQ1Njc4OWFiY2RlZg==$OG2vWb/XJo6gMEErPqsSNlSrXkRDuNuWpcmB83CATYw=";
    /// The same code with another salt.
    const BBBB_3333_OTHER: &str =
        "pbkdf2_sha256$1000$YWJjZGVmMDEyMzQ1Njc4OQ==$cpAS+ismC0/mIxkT7eFqZN9UCWh4pleZ9nMfIjk4RCg=";
    /// `hashlib.sha256` of `ABCD-2345`.
    const LEGACY: &str = "fba9e3b1cf08e14df2a2326347c38d763aee0f4d59c5470e78cb2f499b4b53cd";

    fn codes(records: &[(&str, bool)]) -> Vec<BackupCodeRecord> {
        let records: Vec<Value> = records
            .iter()
            .map(|(code, used)| json!({ "code": code, "used": used }))
            .collect();
        serde_json::from_value(Value::Array(records)).unwrap()
    }

    fn check(records: &[(&str, bool)], code: &str) -> (BackupOutcome, u32) {
        let code = BackupCode::parse(code).unwrap();
        let check = check_backup_code(&codes(records), &code);
        (check.outcome, check.derivations)
    }

    #[test]
    fn a_code_is_found_wherever_it_stands() {
        use BackupOutcome::{Accepted, AlreadyUsed, Wrong};

        let set = [(AAAA_2222, false), (BBBB_3333, true)];
        let mixed = [(LEGACY, false), (AAAA_2222, false), (BBBB_3333_OTHER, true)];
        let twice = [
            (BBBB_3333, true),
            (AAAA_2222, true),
            (BBBB_3333_OTHER, false),
        ];
        let reversed = [(BBBB_3333_OTHER, false), (BBBB_3333, true)];

        assert_eq!(check(&set, "aaaa2222"), (Accepted { index: 0 }, 1));
        assert_eq!(check(&set, "BBBB-3333"), (AlreadyUsed, 1));
        assert_eq!(check(&set, "CCCC-4444"), (Wrong, 1));
        assert_eq!(check(&mixed, "ABCD-2345"), (Accepted { index: 0 }, 2));
        assert_eq!(check(&mixed, "AAAA-2222"), (Accepted { index: 1 }, 2));
        assert_eq!(check(&mixed, "BBBB-3333"), (AlreadyUsed, 2));
        assert_eq!(check(&twice, "BBBB-3333"), (Accepted { index: 2 }, 2));
        assert_eq!(check(&reversed, "BBBB-3333"), (Accepted { index: 0 }, 2));
        assert_eq!(check(&[], "BBBB-3333"), (Wrong, 0));
        assert_eq!(check(&[(LEGACY, true)], "ABCD-2345"), (AlreadyUsed, 0));
        assert_eq!(check(&[(LEGACY, false)], "ABCD-2346"), (Wrong, 0));
    }

    #[test]
    fn a_set_of_ten_costs_one_derivation() {
        let set = [(AAAA_2222, false); 10];

        assert_eq!(check(&set, "CCCC-4444"), (BackupOutcome::Wrong, 1));
        assert_eq!(
            check(&set, "AAAA-2222"),
            (BackupOutcome::Accepted { index: 0 }, 1),
        );
    }

    #[test]
    fn what_is_not_known_is_written_back() {
        let text = format!(r#"{{"code":"{LEGACY}","used":true,"note":"kitchen drawer","n":[1]}}"#);
        let record: BackupCodeRecord = serde_json::from_str(&text).unwrap();

        assert!(record.used);
        assert_eq!(serde_json::to_string(&record).unwrap(), text);
        assert!(!format!("{record:?}").contains("fba9"));
    }

    #[test]
    fn a_record_without_its_mark_or_hash_is_refused() {
        for record in [
            json!({ "code": LEGACY }),
            json!({ "used": false }),
            json!({ "code": "ABCD-2345", "used": false }),
            json!({ "code": LEGACY, "used": 0 }),
            json!({ "code": LEGACY, "used": null }),
        ] {
            assert!(
                serde_json::from_value::<BackupCodeRecord>(record.clone()).is_err(),
                "{record}",
            );
        }
    }
}
