//! Names: the one that signs in, and the one that is shown.

use std::fmt;

use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization as _;

use super::Access;

/// The name that signs in: chosen once, at set-up.
///
/// ```
/// use proxmenux_monitor::access::profile::UserName;
///
/// assert!(UserName::parse("owner").is_ok());
/// assert!(UserName::parse(" owner").is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UserName(String);

/// Why a text is no user name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseUserNameError {
    /// It is empty.
    #[error("the user name is empty")]
    Empty,
    /// It is longer than 64 characters.
    #[error("the user name is longer than 64 characters")]
    TooLong,
    /// It holds a control character.
    #[error("the user name holds a control character")]
    ControlCharacter,
    /// It begins or ends with a space.
    #[error("the user name begins or ends with a space")]
    OuterSpace,
}

const MAX_CHARACTERS: usize = 64;

impl UserName {
    /// Checks a name for set-up and brings it into the composed form (NFC).
    pub fn parse(text: &str) -> Result<Self, ParseUserNameError> {
        let name: String = text.nfc().collect();
        if name.is_empty() {
            return Err(ParseUserNameError::Empty);
        }
        if name.trim() != name {
            return Err(ParseUserNameError::OuterSpace);
        }
        if name.chars().count() > MAX_CHARACTERS {
            return Err(ParseUserNameError::TooLong);
        }
        if name.chars().any(is_unprintable) {
            return Err(ParseUserNameError::ControlCharacter);
        }
        Ok(Self(name))
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for UserName {
    type Error = ParseUserNameError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<UserName> for String {
    fn from(name: UserName) -> Self {
        name.0
    }
}

/// The name that is shown; empty shows the user name.
///
/// ```
/// use proxmenux_monitor::access::profile::DisplayName;
///
/// assert_eq!(DisplayName::parse("  Home  ").unwrap().as_str(), Some("Home"));
/// assert_eq!(DisplayName::parse("").unwrap().as_str(), None);
/// assert!(DisplayName::parse("two\nlines").is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DisplayName(Option<String>);

/// Why a text is no display name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseDisplayNameError {
    /// It is longer than 64 characters.
    #[error("the display name is longer than 64 characters")]
    TooLong,
    /// It holds a control character.
    #[error("the display name holds a control character")]
    ControlCharacter,
}

impl DisplayName {
    /// Trims and checks a name.
    pub fn parse(text: &str) -> Result<Self, ParseDisplayNameError> {
        let name: String = text.trim().nfc().collect();
        if name.chars().count() > MAX_CHARACTERS {
            return Err(ParseDisplayNameError::TooLong);
        }
        if name.chars().any(is_unprintable) {
            return Err(ParseDisplayNameError::ControlCharacter);
        }
        Ok(Self((!name.is_empty()).then_some(name)))
    }

    /// Returns the name, if there is one.
    pub fn as_str(&self) -> Option<&str> {
        self.0.as_deref()
    }
}

/// Control characters, and those that reorder or hide the text around them (Unicode Bidi controls).
/// Returns whether a character shows nothing, or changes how those around it are shown.
pub fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2060}' | '\u{feff}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// What is shown of the account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile<'a> {
    /// The name that signs in; none without an account.
    pub username: Option<&'a str>,
    /// The name that is shown, if one was chosen.
    pub display_name: Option<&'a str>,
}

impl Access {
    /// Returns what is shown of the account.
    pub fn profile(&self) -> Profile<'_> {
        Profile {
            username: self.account().map(|account| account.username),
            display_name: self.display_name.as_deref(),
        }
    }

    /// Changes the name that is shown.
    pub fn set_display_name(&mut self, name: DisplayName) {
        self.display_name = name.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_names_have_edges() {
        for (text, outcome) in [
            ("a", Ok(())),
            ("señor Ñ", Ok(())),
            ("", Err(ParseUserNameError::Empty)),
            (" ", Err(ParseUserNameError::OuterSpace)),
            ("owner ", Err(ParseUserNameError::OuterSpace)),
            ("ow\u{0}ner", Err(ParseUserNameError::ControlCharacter)),
            ("ow\u{202e}ner", Err(ParseUserNameError::ControlCharacter)),
            (&"ñ".repeat(64), Ok(())),
            (&"ñ".repeat(65), Err(ParseUserNameError::TooLong)),
        ] {
            assert_eq!(UserName::parse(text).map(|_| ()), outcome, "{text:?}");
        }
    }

    #[test]
    fn user_names_are_composed() {
        let decomposed = UserName::parse("n\u{303}").unwrap();
        assert_eq!(decomposed.as_str(), "ñ");
    }

    #[test]
    fn display_names_have_edges() {
        assert!(DisplayName::parse(&"x".repeat(64)).is_ok());
        assert_eq!(
            DisplayName::parse(&"x".repeat(65)),
            Err(ParseDisplayNameError::TooLong)
        );
        assert_eq!(
            DisplayName::parse("a\u{7f}b"),
            Err(ParseDisplayNameError::ControlCharacter)
        );
    }
}
