//! The end of what a shell has written, for whoever comes back to it.

use std::collections::VecDeque;

/// How much is kept.
pub(super) const MOST: usize = 256 * 1024;
/// How far a line break is looked for at the beginning of what is left.
const NEAR: usize = 4096;

/// The last [`MOST`] bytes of text; it never begins in the middle of a character.
#[derive(Debug, Default)]
pub(super) struct Scrollback {
    kept: VecDeque<u8>,
    is_cut: bool,
}

impl Scrollback {
    /// Keeps more text; the oldest makes room.
    pub(super) fn push(&mut self, text: &str) {
        let bytes = text.as_bytes();
        let newest = bytes.get(bytes.len().saturating_sub(MOST)..);
        let newest = newest.unwrap_or_default();
        let excess = (self.kept.len() + newest.len()).saturating_sub(MOST);
        self.kept.drain(..excess.min(self.kept.len()));
        self.kept.extend(newest);
        self.is_cut |= excess > 0 || newest.len() < bytes.len();
        while self.kept.front().is_some_and(|byte| is_inside(*byte)) {
            self.kept.pop_front();
        }
    }

    /// Returns what is kept. Where the beginning is lost, it starts with a line if one is near: in
    /// the middle of one it might start in the middle of an escape sequence.
    pub(super) fn text(&self) -> String {
        let near = self.kept.iter().take(NEAR).position(|byte| *byte == b'\n');
        let start = near.filter(|_| self.is_cut).map_or(0, |at| at + 1);
        let (front, back) = self.kept.as_slices();
        let bytes = [front, back].concat();
        let kept = bytes.get(start..).unwrap_or_default();
        String::from_utf8_lossy(kept).into_owned()
    }
}

/// Whether a byte goes on with a character (RFC 3629 §3).
fn is_inside(byte: u8) -> bool {
    byte & 0b1100_0000 == 0b1000_0000
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_newest_is_kept_and_begins_with_a_whole_character() {
        for character in ["a", "é", "€", "𝄞"] {
            let mut scrollback = Scrollback::default();
            scrollback.push("x");
            for _ in 0..MOST {
                scrollback.push(character);
            }
            scrollback.push("end");

            let text = scrollback.text();

            assert!(
                text.len() <= MOST && text.len() > MOST - 4,
                "{}",
                text.len()
            );
            assert!(text.ends_with(&format!("{character}end")));
            assert!(text.starts_with(character), "{character}");
        }
    }

    #[test]
    fn one_large_piece_leaves_its_end() {
        let mut scrollback = Scrollback::default();
        scrollback.push("before");
        scrollback.push(&"€".repeat(MOST));

        let text = scrollback.text();

        assert!(text.len() <= MOST && text.len() > MOST - 3);
        assert!(text.chars().all(|c| c == '€'));
    }

    #[test]
    fn what_has_lost_its_beginning_starts_with_a_line() {
        let mut scrollback = Scrollback::default();
        scrollback.push("first\nsecond");
        assert_eq!(scrollback.text(), "first\nsecond", "nothing is lost");

        scrollback.push(&"y".repeat(MOST - 9));

        assert!(scrollback.text().starts_with("secondyyy"), "not with st");
    }

    proptest! {
        #[test]
        fn it_is_always_an_end_of_all_that_came(pieces in prop::collection::vec((any::<char>(), 0_usize..90_000), 0..12)) {
            let mut scrollback = Scrollback::default();
            let mut all = String::new();
            for (character, times) in pieces {
                let piece = character.to_string().repeat(times);
                scrollback.push(&piece);
                all += &piece;
            }

            let text = scrollback.text();

            prop_assert!(all.ends_with(&text));
            prop_assert!(text.len() <= MOST);
            prop_assert!(all.len() > MOST || text == all);
        }
    }
}
