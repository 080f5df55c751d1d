//! What a window sends as text: keys to type, or a word to the terminal itself.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::host::pty::Size;

/// The answer to a `ping`.
pub(super) const PONG: &str = r#"{"type":"pong"}"#;

/// What a text says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// To be typed as it is.
    Keys,
    /// The window has another size.
    Resize(Size),
    /// Whether somebody is there.
    Ping,
    /// How many bytes of output are shown.
    Shown(u64),
    /// A word to the terminal that makes no sense.
    Malformed,
}

#[derive(Deserialize)]
struct Kind<'a> {
    #[serde(rename = "type", borrow)]
    kind: &'a RawValue,
}

#[derive(Deserialize)]
struct Resize {
    cols: u16,
    rows: u16,
}

#[derive(Deserialize)]
struct Shown {
    bytes: u64,
}

impl Frame {
    /// Tells keys from words: a JSON object with a `type` that we know is a word.
    pub(super) fn of(text: &str) -> Self {
        if !text.trim_ascii_start().starts_with('{') {
            return Self::Keys;
        }
        let Ok(Kind { kind }) = serde_json::from_str(text) else {
            return Self::Keys;
        };
        match serde_json::from_str::<String>(kind.get()).as_deref() {
            Ok("resize") => serde_json::from_str(text)
                .ok()
                .and_then(|Resize { cols, rows }| Size::new(cols, rows))
                .map_or(Self::Malformed, Self::Resize),
            Ok("ping") => Self::Ping,
            Ok("ack") => serde_json::from_str(text)
                .map_or(Self::Malformed, |Shown { bytes }| Self::Shown(bytes)),
            Ok(_) | Err(_) => Self::Keys,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_are_told_from_keys() {
        let size = |columns, rows| Frame::Resize(Size::new(columns, rows).unwrap());
        for (text, frame) in [
            (r#"{"type":"resize","cols":120,"rows":40}"#, size(120, 40)),
            (
                r#" {"rows":1,"type":"resize","cols":1000,"x":{}} "#,
                size(1000, 1),
            ),
            (r#"{"type":"ping"}"#, Frame::Ping),
            (r#"{"type":"p\u0069ng","more":[1]}"#, Frame::Ping),
            (r#"{"type":"ack","bytes":70000}"#, Frame::Shown(70_000)),
            (r#"{"type":"resize"}"#, Frame::Malformed),
            (r#"{"type":"resize","cols":0,"rows":24}"#, Frame::Malformed),
            (
                r#"{"type":"resize","cols":1001,"rows":24}"#,
                Frame::Malformed,
            ),
            (
                r#"{"type":"resize","cols":70000,"rows":24}"#,
                Frame::Malformed,
            ),
            (r#"{"type":"resize","cols":-1,"rows":24}"#, Frame::Malformed),
            (
                r#"{"type":"resize","cols":"80","rows":24}"#,
                Frame::Malformed,
            ),
            (
                r#"{"type":"resize","cols":8.5,"rows":24}"#,
                Frame::Malformed,
            ),
            (
                r#"{"type":"resize","cols":1,"cols":2,"rows":3}"#,
                Frame::Malformed,
            ),
            (r#"{"type":"ack"}"#, Frame::Malformed),
            (r#"{"type":"ack","bytes":-1}"#, Frame::Malformed),
            (r#"{"type":"ack","bytes":1e99}"#, Frame::Malformed),
            (r#"{"type":"other"}"#, Frame::Keys),
            (r#"{"type":7}"#, Frame::Keys),
            (r#"{"type":"ping""#, Frame::Keys),
            (r#"{"type":"ping"} x"#, Frame::Keys),
            (r#"["type","ping"]"#, Frame::Keys),
            (r#"{"ls":1}"#, Frame::Keys),
            ("{", Frame::Keys),
            ("ls\r", Frame::Keys),
            ("", Frame::Keys),
        ] {
            assert_eq!(Frame::of(text), frame, "{text}");
        }
        let deep = format!(r#"{{"type":"ping","x":{}"#, "[".repeat(100_000));
        assert_eq!(Frame::of(&deep), Frame::Keys);
    }

    proptest! {
        #[test]
        fn what_is_no_object_is_typed(text in "[^{ \t\r\n\u{c}]\\PC*") {
            prop_assert_eq!(Frame::of(&text), Frame::Keys);
        }

        #[test]
        fn no_text_panics(text in "\\{\"type\":\"(ping|ack|resize)\"\\PC*\\}") {
            let _any_frame = Frame::of(&text);
        }
    }
}
