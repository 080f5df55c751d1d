//! The policy for new passwords: length, classes or a passphrase, nothing common, no names.

use std::cmp::Ordering;
use std::fmt::{self, Display, Formatter};

use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization as _;
use zeroize::Zeroizing;

use super::Password;

/// Passwords that attackers try first: one a line, in lower case, in the order of their bytes.
const COMMON: &str = include_str!("../../../data/common-passwords.txt");

/// Names shorter than this say too little about a password to count.
const MIN_NAME_LENGTH: usize = 4;

/// The numbers behind [`check`], for a page that shows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PolicyRules {
    /// Least number of characters.
    pub min_length: usize,
    /// Least number of classes: lower case, upper case, digit, symbol.
    pub min_classes: usize,
    /// From this many characters on, a password is a passphrase and needs no classes …
    pub passphrase_min_length: usize,
    /// … if this many of its characters are different.
    pub passphrase_min_distinct: usize,
    /// Greatest length in bytes of UTF-8.
    pub max_bytes: usize,
    /// Names of the product, which may not make up more than half of a password.
    pub product_names: &'static [&'static str],
}

/// The policy for new passwords. Characters are Unicode scalar values of the NFC form.
pub const POLICY: PolicyRules = PolicyRules {
    min_length: 10,
    min_classes: 3,
    passphrase_min_length: 20,
    passphrase_min_distinct: 8,
    max_bytes: 1024,
    product_names: &[
        "proxmenux",
        "proxmenux-monitor",
        "proxmenux monitor",
        "proxmenuxmonitor",
    ],
};

/// What an attacker knows beforehand about a person's password.
#[derive(Debug, Clone, Copy, Default)]
pub struct PasswordContext<'a> {
    /// The account's user name.
    pub username: &'a str,
    /// Names of this host; of a full name the part before the first dot counts as well.
    pub host_names: &'a [String],
}

/// A rule that a password breaks. It is shown by what to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BrokenRule {
    /// There are too few characters.
    Length,
    /// There are too few classes of characters, and it is no passphrase either.
    Classes,
    /// There are too many bytes.
    TooLong,
    /// Attackers try it first, perhaps with digits or symbols at its end.
    Common,
    /// More than half of it is the user's, the host's or the product's name.
    Names,
}

impl Display for BrokenRule {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length => write!(f, "Use at least {} characters.", POLICY.min_length),
            Self::Classes => write!(
                f,
                "Use at least {} of lower case, upper case, digits and symbols, or a passphrase \
                 of at least {} characters, {} of them different.",
                POLICY.min_classes, POLICY.passphrase_min_length, POLICY.passphrase_min_distinct,
            ),
            Self::TooLong => write!(f, "Use at most {} bytes.", POLICY.max_bytes),
            Self::Common => f.write_str(
                "Choose something less common: this is one of the first passwords that attackers \
                 try, and digits or symbols at its end do not change that.",
            ),
            Self::Names => f.write_str(
                "Use less of your user name, the name of this host and the name ProxMenux: they \
                 make up more than half of it.",
            ),
        }
    }
}

/// Checks a new password against [`POLICY`] and names every rule that it breaks.
pub fn check(password: &Password, context: &PasswordContext<'_>) -> Result<(), Vec<BrokenRule>> {
    let text = password.normalized();
    let length = text.chars().count();
    let is_passphrase = length >= POLICY.passphrase_min_length
        && has_distinct(&text, POLICY.passphrase_min_distinct);

    let verdicts = [
        (BrokenRule::Length, length < POLICY.min_length),
        (
            BrokenRule::Classes,
            !is_passphrase && count_classes(&text) < POLICY.min_classes,
        ),
        (BrokenRule::TooLong, text.len() > POLICY.max_bytes),
        (BrokenRule::Common, is_common(&text)),
        (BrokenRule::Names, is_mostly_names(&text, context)),
    ];
    let broken: Vec<_> = verdicts
        .into_iter()
        .filter_map(|(rule, is_broken)| is_broken.then_some(rule))
        .collect();
    if broken.is_empty() {
        Ok(())
    } else {
        Err(broken)
    }
}

fn has_distinct(text: &str, least: usize) -> bool {
    let mut seen = Vec::with_capacity(least);
    for character in text.chars() {
        if seen.len() < least && !seen.contains(&character) {
            seen.push(character);
        }
    }
    seen.len() >= least
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Lower,
    Upper,
    Digit,
    Symbol,
}

impl Class {
    const ALL: [Self; 4] = [Self::Lower, Self::Upper, Self::Digit, Self::Symbol];

    fn is_ornament(self) -> bool {
        matches!(self, Self::Digit | Self::Symbol)
    }

    /// Letters of scripts without case count as lower case: they are letters, and whoever writes
    /// only such letters has chosen from one class. All that is neither letter nor number is a
    /// symbol, spaces too.
    fn of(character: char) -> Self {
        if character.is_uppercase() {
            Self::Upper
        } else if character.is_lowercase() {
            Self::Lower
        } else if character.is_numeric() {
            Self::Digit
        } else if character.is_alphabetic() {
            Self::Lower
        } else {
            Self::Symbol
        }
    }
}

fn count_classes(text: &str) -> usize {
    Class::ALL
        .into_iter()
        .filter(|class| text.chars().any(|character| Class::of(character) == *class))
        .count()
}

/// Looks for the text on the list in any case, and again without the digits and symbols at its
/// end: without all of them, and without some as long as more than half of the text is left.
/// (`Trustno1!!` is `trustno1`, but a passphrase of digits is not the `1` that it begins with.)
fn is_common(text: &str) -> bool {
    let lower = Zeroizing::new(text.to_lowercase());
    let stem = lower.trim_end_matches(|c| Class::of(c).is_ornament());
    if is_listed(&lower) || is_listed(stem) {
        return true;
    }

    let ornaments = lower.split_at(stem.len()).1.chars().count();
    let removable = lower.chars().count().saturating_sub(1) / 2;
    lower
        .char_indices()
        .rev()
        .take(ornaments.min(removable))
        .any(|(end, _)| is_listed(lower.split_at(end).0))
}

/// Finds a word in the list by halving the text itself, so that the list costs no memory besides
/// the bytes in the program.
fn is_listed(word: &str) -> bool {
    let mut rest = COMMON;
    while !rest.is_empty() {
        let (before, _) = rest.split_at(rest.floor_char_boundary(rest.len() / 2));
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let (lower, from_line) = rest.split_at(line_start);
        let (line, higher) = from_line.split_once('\n').unwrap_or((from_line, ""));
        rest = match word.cmp(line) {
            Ordering::Less => lower,
            Ordering::Equal => return true,
            Ordering::Greater => higher,
        };
    }
    false
}

/// Marks every character that belongs to some name, wherever a whole name occurs in any case, and
/// tells whether that is more than half of them.
fn is_mostly_names(text: &str, context: &PasswordContext<'_>) -> bool {
    let text = Zeroizing::new(text.to_lowercase().chars().collect::<Vec<_>>());
    let hosts = context.host_names.iter().flat_map(|name| {
        let short = name.split('.').next();
        [Some(name.as_str()), short].into_iter().flatten()
    });
    let names = hosts
        .chain([context.username])
        .chain(POLICY.product_names.iter().copied());

    let mut covered = vec![false; text.len()];
    for name in names {
        let name: Vec<char> = name
            .nfc()
            .collect::<String>()
            .to_lowercase()
            .chars()
            .collect();
        if name.len() < MIN_NAME_LENGTH {
            continue;
        }
        for (start, window) in text.windows(name.len()).enumerate() {
            if window == name {
                let occurrence = covered.iter_mut().skip(start).take(name.len());
                occurrence.for_each(|mark| *mark = true);
            }
        }
    }
    covered.iter().filter(|mark| **mark).count() * 2 > text.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn broken(text: &str) -> Vec<BrokenRule> {
        broken_for(text, "operator", &[])
    }

    fn broken_for(text: &str, username: &str, hosts: &[&str]) -> Vec<BrokenRule> {
        let host_names: Vec<String> = hosts.iter().map(|&name| name.to_owned()).collect();
        let context = PasswordContext {
            username,
            host_names: &host_names,
        };
        check(&Password::new(text.to_owned()), &context)
            .err()
            .unwrap_or_default()
    }

    #[test]
    fn length_and_classes() {
        use BrokenRule::{Classes, Length};

        let cases: &[(&str, &[BrokenRule])] = &[
            ("", &[Length, Classes]),
            ("Gk7#mPq2x", &[Length]),
            ("Gk7#mPq2xv", &[]),
            ("gkxmpqhwxv", &[Classes]),
            ("gk7xmpq2xv", &[Classes]),
            ("gk7#mpq2xv", &[]),
            ("Gk7xmPq2xv", &[]),
            ("Gk#xmPq#xv", &[]),
            ("GK7#MPQ2XV", &[]),
            ("GK7XMPQ2XV", &[Classes]),
            // A space is a symbol.
            ("Gk xmPq xv", &[]),
            // Characters count, not bytes.
            ("Ñandú7ñññ", &[Length]),
            ("Ñandú7ññññ", &[]),
            // A letter and its accent are one character, because the NFC form counts.
            ("N\u{303}andu\u{301}7ñññ", &[Length]),
            // Letters without case are lower case.
            ("密码安全可靠房间窗户", &[Classes]),
            ("密码安全可靠房间窗户7#", &[]),
            ("密码安全可靠房间窗户7", &[Classes]),
            ("密码安全可靠房间窗户a7", &[Classes]),
            ("密码安全可靠房间窗户A7", &[]),
            // Numbers of every script are digits.
            ("mpqxv٧٨٩gh", &[Classes]),
            ("mPqxv٧٨٩gh", &[]),
            ("mpqxv٧٨#gh", &[]),
            // A title-case letter is a letter, in neither case.
            ("ǅmpqxvghkt", &[Classes]),
            // So are the pictures on a phone's keyboard symbols.
            ("mPqxvghk🔑t", &[]),
        ];

        for (text, expected) in cases {
            assert_eq!(broken(text), *expected, "{text:?}");
        }
    }

    #[test]
    fn a_passphrase_needs_no_classes() {
        use BrokenRule::Classes;

        let cases: &[(&str, &[BrokenRule])] = &[
            ("riverlampcoatmountai", &[]),
            ("riverlampcoatmounta", &[Classes]),
            ("abcdefghabcdefghabcd", &[]),
            ("abcdefgabcdefgabcdef", &[Classes]),
            ("29318 47561 90284 55013", &[]),
            ("密码安全可靠房间窗户密码安全可靠房间窗户", &[]),
        ];

        for (text, expected) in cases {
            assert_eq!(broken(text), *expected, "{text:?}");
        }
    }

    #[test]
    fn the_limit_is_in_bytes() {
        let longest = "abcdefgh".repeat(128);

        assert_eq!(longest.len(), 1024);
        assert_eq!(broken(&longest), []);
        assert_eq!(broken(&format!("{longest}a")), [BrokenRule::TooLong]);
        let signs = format!("abcdefgh{}", "安".repeat(339));
        assert_eq!(signs.len(), 1025);
        assert_eq!(broken(&signs), [BrokenRule::TooLong]);
    }

    #[test]
    fn common_passwords_are_refused_however_they_are_decorated() {
        use BrokenRule::{Classes, Common, Length};

        let cases: &[(&str, &[BrokenRule])] = &[
            ("Password1!", &[Common]),
            ("password", &[Length, Classes, Common]),
            ("PASSWORD2024!!", &[Common]),
            ("P@ssw0rd2024", &[Common]),
            ("Trustno1!!", &[Common]),
            ("Trustno1!99", &[Common]),
            ("Iloveyou 12 34 56 78 90 12 34", &[Common]),
            ("1234567890!", &[Classes, Common]),
            ("ПАРОЛЬ-2024", &[Common]),
            ("friend of emily", &[Classes, Common]),
            // Only the end is removed, and only digits and symbols.
            ("1!Password", &[]),
            ("Password1!a", &[]),
            ("Passwords7#Kx", &[]),
            // What is left is not on the list, or is nothing.
            ("29318 47561 90284 55013", &[]),
            ("Zq#7!29$48", &[]),
        ];

        for (text, expected) in cases {
            assert_eq!(broken(text), *expected, "{text:?}");
        }
    }

    #[test]
    fn names_may_not_be_most_of_it() {
        use BrokenRule::Names;

        let hosts = ["node7.example.net", "Backup-Host", "pve"];
        let cases: &[(&str, &[BrokenRule])] = &[
            // Half is allowed, more is not.
            ("gAbriel#5kxm", &[Names]),
            ("gAbriel#5kxmqz", &[]),
            ("Gabriel#GABRIEL", &[Names]),
            // The short and the full name of the host.
            ("Node7#Node7#x", &[Names]),
            ("Node7.Example.NET-Kx3", &[Names]),
            ("backup-host#A1", &[Names]),
            ("Backup-Hos#A1q", &[]),
            // Three letters do not count.
            ("PvePvePve#1", &[]),
            // The product, in any spelling.
            ("ProxMenux#7", &[Names]),
            ("ProxMenux Monitor 42", &[Names]),
            ("ProxMenuxMonitor#1", &[Names]),
            ("ProxMenux-Monitor-1", &[Names]),
            ("Monitor#7kx", &[]),
            // Together they cover more than each alone.
            ("Node7gabriel-K3x4z", &[Names]),
            // An overlap counts once.
            ("gabrielgabrie#1K4x", &[]),
        ];

        for (text, expected) in cases {
            assert_eq!(broken_for(text, "Gabriel", &hosts), *expected, "{text:?}");
        }
    }

    #[test]
    fn a_name_counts_in_either_normal_form() {
        let composed = "J\u{fc}rgen#J\u{fc}rgen1";
        let decomposed = "Ju\u{308}rgen#Ju\u{308}rgen1";

        for name in ["j\u{fc}rgen", "ju\u{308}rgen"] {
            assert_eq!(broken_for(composed, name, &[]), [BrokenRule::Names]);
            assert_eq!(broken_for(decomposed, name, &[]), [BrokenRule::Names]);
        }
        assert_eq!(broken_for(composed, "", &[""]), []);
    }

    #[test]
    fn all_broken_rules_are_told_at_once() {
        use BrokenRule::{Classes, Common, Length, Names, TooLong};

        let text = "operator";
        assert_eq!(broken(text), [Length, Classes, Common, Names]);
        let text = "operator".repeat(129);
        assert_eq!(broken(&text), [Classes, TooLong, Names]);
    }

    #[test]
    fn rules_have_stable_names_and_say_what_to_do() {
        use BrokenRule::{Classes, Common, Length, Names, TooLong};

        let rules = [Length, Classes, TooLong, Common, Names];
        assert_eq!(
            serde_json::to_string(&rules).unwrap(),
            r#"["length","classes","too_long","common","names"]"#,
        );
        assert_eq!(Length.to_string(), "Use at least 10 characters.");
        assert_eq!(
            Classes.to_string(),
            "Use at least 3 of lower case, upper case, digits and symbols, or a passphrase of at \
             least 20 characters, 8 of them different.",
        );
        assert_eq!(TooLong.to_string(), "Use at most 1024 bytes.");
        for rule in rules {
            let sentence = rule.to_string();
            assert!(
                sentence.ends_with('.') && !sentence.contains("  "),
                "{sentence}"
            );
        }
    }

    #[test]
    fn the_page_gets_the_numbers() {
        assert_eq!(
            serde_json::to_value(POLICY).unwrap(),
            serde_json::json!({
                "min_length": 10,
                "min_classes": 3,
                "passphrase_min_length": 20,
                "passphrase_min_distinct": 8,
                "max_bytes": 1024,
                "product_names": [
                    "proxmenux", "proxmenux-monitor", "proxmenux monitor", "proxmenuxmonitor",
                ],
            }),
        );
    }

    #[test]
    fn the_list_is_long_sorted_and_in_lower_case() {
        let words: Vec<&str> = COMMON.lines().collect();

        assert!(words.len() >= 10_000);
        assert!(words.is_sorted_by(|one, two| one < two));
        for word in words {
            assert!(!word.is_empty() && word.to_lowercase() == word, "{word:?}");
        }
    }

    #[test]
    fn every_word_of_the_list_is_found_and_nothing_between() {
        for word in COMMON.lines() {
            assert!(is_listed(word), "{word:?}");
        }
        let words: Vec<&str> = COMMON.lines().collect();
        for word in ["", "\n", "\u{10ffff}", "password\npassword1"] {
            assert!(!is_listed(word), "{word:?}");
        }
        for word in &words {
            let next = format!("{word}\u{0}");
            assert!(!is_listed(&next), "{next:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_policy_itself(text in ".*", username in ".*", host in ".*") {
            let broken = broken_for(&text, &username, &[&host]);

            let length = text.nfc().count();
            prop_assert_eq!(broken.contains(&BrokenRule::Length), length < 10);
        }

        #[test]
        fn a_listed_word_stays_common(
            index in 0..COMMON.lines().count(),
            ornament in "[0-9 !#$%&*.,:;_+-]{0,12}",
        ) {
            let word = COMMON.lines().nth(index).unwrap();
            let stem = word.trim_end_matches(|c| Class::of(c).is_ornament());
            let ornament = if is_listed(stem) { ornament } else { String::new() };
            let text = format!("{word}{ornament}");

            prop_assert!(is_common(&text));
            prop_assert!(is_common(&text.to_uppercase()) || !text.is_ascii());
        }
    }
}
