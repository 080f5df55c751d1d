//! Names that people give to things: a token, a passkey.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::profile::is_unprintable;

/// The longest name.
const MAX_CHARACTERS: usize = 64;

/// A name that somebody gave to a thing, to know it by in a list.
///
/// ```
/// use proxmenux_monitor::access::label::Label;
///
/// assert_eq!(Label::parse("  ha-bridge ")?.as_str(), "ha-bridge");
/// assert!(Label::parse("two\nlines").is_err());
/// # Ok::<(), proxmenux_monitor::access::label::ParseLabelError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Label(String);

/// Why a text is no name for a thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseLabelError {
    /// It is empty, or nothing but spaces.
    #[error("the name is empty")]
    Empty,
    /// It is longer than 64 characters.
    #[error("the name is longer than {MAX_CHARACTERS} characters")]
    TooLong,
    /// It holds a control character.
    #[error("the name holds a control character")]
    ControlCharacter,
}

impl Label {
    /// Reads a name, without the spaces around it.
    pub fn parse(text: &str) -> Result<Self, ParseLabelError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(ParseLabelError::Empty);
        }
        if text.chars().count() > MAX_CHARACTERS {
            return Err(ParseLabelError::TooLong);
        }
        if text.chars().any(is_unprintable) {
            return Err(ParseLabelError::ControlCharacter);
        }
        Ok(Self(text.to_owned()))
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Label {
    type Error = ParseLabelError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<Label> for String {
    fn from(label: Label) -> Self {
        label.0
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_to_64_characters_and_no_control_character() {
        for (text, outcome) in [
            ("a", Ok("a")),
            (" Küche ", Ok("Küche")),
            ("", Err(ParseLabelError::Empty)),
            (" \t ", Err(ParseLabelError::Empty)),
            ("a\u{7}b", Err(ParseLabelError::ControlCharacter)),
            ("a\u{202e}b", Err(ParseLabelError::ControlCharacter)),
            ("\u{200b}", Err(ParseLabelError::ControlCharacter)),
        ] {
            let parsed = Label::parse(text);
            assert_eq!(
                parsed.as_ref().map(Label::as_str),
                outcome.as_ref().copied(),
                "{text:?}"
            );
        }
        assert!(Label::parse(&"ä".repeat(64)).is_ok());
        assert_eq!(Label::parse(&"ä".repeat(65)), Err(ParseLabelError::TooLong));
    }
}
