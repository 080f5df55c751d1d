//! Passwords: what somebody types, what a new one must be like ([`check`]), and how it is kept and
//! compared ([`PasswordHash`]).
//!
//! **Invariant:** every check of a password costs the same number of derivations whether it is
//! right or wrong, and [`verify_nothing`] costs as much where there is no account.

mod hash;
mod policy;

use std::fmt::{self, Debug, Formatter};

use serde::Deserialize;
use unicode_normalization::UnicodeNormalization as _;
use zeroize::Zeroizing;

pub use hash::{
    CreateHashError, ITERATIONS, ParseHashError, PasswordHash, Verification, verify_nothing,
};
pub use policy::{BrokenRule, POLICY, PasswordContext, PolicyRules, check};

pub(super) use hash::Comparison;

/// A password as somebody typed it: any Unicode, nothing trimmed.
#[derive(Clone, Deserialize)]
#[serde(from = "String")]
pub struct Password(Zeroizing<String>);

impl Password {
    /// Takes a text as it is.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// Returns the normal form that is hashed (Unicode Annex 15, NFC): two keyboards may send the
    /// same letters as different code points.
    pub(super) fn normalized(&self) -> Zeroizing<String> {
        // NFC makes UTF-8 at most three times as long, so no copy is left behind by growing.
        let mut text = Zeroizing::new(String::with_capacity(self.0.len() * 3));
        text.extend(self.0.nfc());
        text
    }

    /// Returns the texts that may stand behind a stored hash: as sent, then the normal form if it
    /// is another. The last one is always the normal form.
    pub(super) fn candidates(&self) -> Vec<Zeroizing<String>> {
        let normalized = self.normalized();
        if normalized == self.0 {
            vec![normalized]
        } else {
            vec![self.0.clone(), normalized]
        }
    }
}

impl From<String> for Password {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl Debug for Password {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_printed() {
        let password = Password::new("Winter-garden 7".to_owned());

        assert_eq!(format!("{password:?}"), "Password(..)");
    }

    #[test]
    fn candidates_end_with_the_normal_form() {
        let cases: &[(&str, &[&str])] = &[
            ("plain", &["plain"]),
            ("  not trimmed\t", &["  not trimmed\t"]),
            ("gr\u{fc}n", &["gr\u{fc}n"]),
            ("gru\u{308}n", &["gru\u{308}n", "gr\u{fc}n"]),
            ("\u{212b}", &["\u{212b}", "\u{c5}"]),
            ("", &[""]),
        ];

        for (text, expected) in cases {
            let password = Password::new((*text).to_owned());
            let candidates = password.candidates();

            let candidates: Vec<&str> = candidates.iter().map(|text| text.as_str()).collect();
            assert_eq!(candidates, *expected, "{text:?}");
        }
    }

    #[test]
    fn the_normal_form_never_outgrows_its_room() {
        // The worst growth that NFC knows: two bytes of UTF-8 become six.
        for text in ["\u{390}", "\u{1d160}", "\u{fb2c}", "\u{958}"] {
            let text = text.repeat(100);
            let password = Password::new(text.clone());

            assert!(password.normalized().len() <= text.len() * 3);
            assert!(password.normalized().capacity() >= text.len() * 3);
        }
    }

    #[test]
    fn a_password_is_read_from_json_as_it_is() {
        let password: Password = serde_json::from_str(r#"" a\u0000b ""#).unwrap();

        assert_eq!(password.0.as_str(), " a\0b ");
    }
}
