//! What somebody types into the field for the second factor.

use std::fmt::{self, Debug, Formatter};

use zeroize::Zeroizing;

/// Longer texts are not looked at.
const MAX_BYTES: usize = 64;

/// A code as typed: six digits are the app's, eight letters or digits are a backup code.
///
/// Spaces and hyphens count for nothing, nor do the invisible characters and the dashes that
/// phones put in their place.
///
/// ```
/// use proxmenux_monitor::access::totp::Code;
///
/// assert!(matches!(Code::parse("123 456")?, Code::Totp(_)));
/// assert!(matches!(Code::parse("abcd-2345")?, Code::Backup(_)));
///
/// assert!(Code::parse("12345").is_err());
/// # Ok::<(), proxmenux_monitor::access::totp::ParseCodeError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Code {
    /// Six digits of an authenticator app.
    Totp(TotpCode),
    /// A backup code.
    Backup(BackupCode),
}

/// Six digits of an authenticator app.
///
/// ```
/// use proxmenux_monitor::access::totp::TotpCode;
///
/// assert!(TotpCode::parse("123-456").is_ok());
/// assert!(TotpCode::parse("ABCD-2345").is_err());
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct TotpCode(Zeroizing<String>);

/// A backup code in the form in which it was handed out, `XXXX-XXXX`.
///
/// ```
/// use proxmenux_monitor::access::totp::BackupCode;
///
/// assert!(BackupCode::parse("abcd 2345").is_ok());
/// assert!(BackupCode::parse("123456").is_err());
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct BackupCode(Zeroizing<String>);

/// The text is neither six digits nor a backup code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("neither six digits nor a backup code")]
pub struct ParseCodeError;

impl Code {
    /// Reads a code of either kind.
    pub fn parse(text: &str) -> Result<Self, ParseCodeError> {
        TotpCode::parse(text)
            .map(Self::Totp)
            .or_else(|ParseCodeError| BackupCode::parse(text).map(Self::Backup))
    }
}

impl TotpCode {
    /// Reads six digits.
    pub fn parse(text: &str) -> Result<Self, ParseCodeError> {
        let text = visible(text)?;
        if text.len() != 6 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(ParseCodeError);
        }
        Ok(Self(text))
    }

    pub(super) fn digits(&self) -> &str {
        &self.0
    }
}

impl BackupCode {
    /// Reads eight letters or digits in either case.
    pub fn parse(text: &str) -> Result<Self, ParseCodeError> {
        let text = visible(text)?;
        if text.len() != 8 || !text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(ParseCodeError);
        }
        let (first, second) = text.split_at(4);
        let mut code = Zeroizing::new(format!("{first}-{second}"));
        code.make_ascii_uppercase();
        Ok(Self(code))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

fn visible(text: &str) -> Result<Zeroizing<String>, ParseCodeError> {
    if text.len() > MAX_BYTES {
        return Err(ParseCodeError);
    }
    let mut visible = Zeroizing::new(String::with_capacity(text.len()));
    visible.extend(text.chars().filter(|c| !is_separator(*c)));
    Ok(visible)
}

fn is_separator(character: char) -> bool {
    let is_invisible = matches!(
        character,
        '\u{00ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}'
    );
    let is_dash = matches!(character, '-' | '\u{2010}'..='\u{2015}' | '\u{2212}');
    is_invisible || is_dash || character.is_whitespace()
}

impl Debug for TotpCode {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("TotpCode(..)")
    }
}

impl Debug for BackupCode {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("BackupCode(..)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn six_digits_are_the_app_s() {
        for text in [
            "123456",
            " 123 456 ",
            "123-456",
            "1 2 3 4 5 6",
            "123\u{a0}456",
            "123\u{202f}456",
            "123\u{2009}456\n",
            "\u{200e}123456\u{200b}",
            "123\u{2011}456",
            "123\u{2013}456",
            "\u{2066}123456\u{2069}",
            "\u{feff}123456",
            "123\u{ad}456",
            "\u{202d}123456\u{202c}",
            "123\u{2212}456",
        ] {
            let Ok(Code::Totp(code)) = Code::parse(text) else {
                panic!("{text:?} is a code of the app");
            };
            assert_eq!(code.digits(), "123456", "{text:?}");
        }
    }

    #[test]
    fn eight_letters_or_digits_are_a_backup_code() {
        for text in [
            "ABCD-2345",
            "abcd2345",
            "aBcD 2345",
            "a b c d 2 3 4 5",
            "ABCD\u{2014}2345",
        ] {
            let Ok(Code::Backup(code)) = Code::parse(text) else {
                panic!("{text:?} is a backup code");
            };
            assert_eq!(code.as_str(), "ABCD-2345", "{text:?}");
        }
        // The older program used all letters and digits.
        for (text, expected) in [("IO01-0O1I", "IO01-0O1I"), ("12345678", "1234-5678")] {
            assert_eq!(BackupCode::parse(text).unwrap().as_str(), expected);
        }
    }

    #[test]
    fn other_texts_are_no_code() {
        let padded = format!("{}123456", " ".repeat(59));
        for text in [
            "",
            " ",
            "-",
            "12345",
            "1234567",
            "123456789",
            "12345a",
            "abcdef",
            "ABCD-234",
            "ABCD-23456",
            "ABCD_2345",
            "ABCD-234\u{c4}",
            "\u{661}\u{662}\u{663}\u{664}\u{665}\u{666}",
            "\u{ff11}23456",
            "12345\0",
            "+12345",
            "123.456",
            &padded,
        ] {
            assert_eq!(Code::parse(text), Err(ParseCodeError), "{text:?}");
        }
        let shorter = format!("{}123456", " ".repeat(58));
        assert!(TotpCode::parse(&shorter).is_ok());
    }

    #[test]
    fn a_code_is_never_printed() {
        assert_eq!(
            format!("{:?} {:?}", Code::parse("123456"), Code::parse("ABCD2345")),
            "Ok(Totp(TotpCode(..))) Ok(Backup(BackupCode(..)))",
        );
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_parser(text in ".*") {
            match Code::parse(&text) {
                Ok(Code::Totp(code)) => prop_assert_eq!(code.digits().len(), 6),
                Ok(Code::Backup(code)) => prop_assert_eq!(code.as_str().len(), 9),
                Err(ParseCodeError) => {}
            }
        }

        #[test]
        fn every_app_code_is_read(code in "[0-9]{6}", at in 0_usize..=6, space in "[ \u{a0}-]{0,9}") {
            let (start, end) = code.split_at(at);
            let read = TotpCode::parse(&format!("{start}{space}{end}")).unwrap();
            prop_assert_eq!(read.digits(), code);
        }

        #[test]
        fn every_backup_code_is_read(code in "[A-Z0-9]{4}-[A-Z0-9]{4}") {
            let read = BackupCode::parse(&code.to_lowercase().replace('-', "")).unwrap();
            prop_assert_eq!(read.as_str(), code);
        }
    }
}
