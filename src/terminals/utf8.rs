//! Bytes that arrive in pieces, as text: characters stay whole, and what is none becomes U+FFFD.

/// How many bytes of a character can be there before the last one comes.
const MOST_BEGUN: usize = 3;

/// Makes text of pieces: all of them together are what [`String::from_utf8_lossy`] makes of all
/// bytes together.
#[derive(Debug, Default)]
pub(super) struct Utf8Decoder {
    /// The beginning of a character whose rest has not come yet.
    begun: Vec<u8>,
}

impl Utf8Decoder {
    /// Takes the next piece; returns the text that is complete with it.
    pub(super) fn decode(&mut self, piece: &[u8]) -> String {
        let mut text = String::with_capacity(piece.len() + MOST_BEGUN);
        let mut rest = piece;
        while !self.begun.is_empty() && !rest.is_empty() {
            // A byte at a time, three at most, until the character is whole or is none.
            let (next, after) = rest.split_at(1);
            self.begun.extend_from_slice(next);
            rest = after;
            let begun = std::mem::take(&mut self.begun);
            self.take(&begun, &mut text);
        }
        self.take(rest, &mut text);
        text
    }

    /// Returns what is left when nothing follows.
    pub(super) fn finish(&mut self) -> Option<char> {
        let begun = std::mem::take(&mut self.begun);
        (!begun.is_empty()).then_some(char::REPLACEMENT_CHARACTER)
    }

    fn take(&mut self, bytes: &[u8], text: &mut String) {
        let mut chunks = bytes.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            text.push_str(chunk.valid());
            let invalid = chunk.invalid();
            if invalid.is_empty() {
                continue;
            }
            if chunks.peek().is_none() && is_begun(invalid) {
                self.begun.extend_from_slice(invalid);
            } else {
                text.push(char::REPLACEMENT_CHARACTER);
            }
        }
    }
}

/// Whether more bytes could make a character of this.
fn is_begun(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> String {
        let mut decoder = Utf8Decoder::default();
        let mut text = String::new();
        for piece in pieces {
            text += &decoder.decode(piece);
        }
        text.extend(decoder.finish());
        text
    }

    #[test]
    fn every_cut_through_every_kind_of_character_gives_the_whole() {
        let bytes = "aé€𝄞|\u{fffd}".as_bytes();
        let broken = b"\xff\xc3\x28\xe2\x82\xf0\x9f\x92\xe2\x82\xac\xed\xa0\x80\xf4\x90\x80\x80\xc0\x80\xf0\x9f";
        for bytes in [bytes, broken] {
            let whole = String::from_utf8_lossy(bytes);
            for cut in 0..=bytes.len() {
                for second in cut..=bytes.len() {
                    let pieces = [&bytes[..cut], &bytes[cut..second], &bytes[second..]];
                    assert_eq!(decode(pieces), whole, "{cut} {second}");
                }
            }
            assert_eq!(decode(bytes.chunks(1)), whole);
        }
    }

    #[test]
    fn a_whole_character_does_not_wait() {
        let mut decoder = Utf8Decoder::default();
        assert_eq!(decoder.decode(b"\xe2\x82"), "");
        assert_eq!(decoder.decode(b"\xac"), "€");
        assert_eq!(decoder.finish(), None);
    }

    /// Bytes among which characters, and halves of them, are frequent.
    fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            any::<char>().prop_map(|c| c.to_string().into_bytes()),
            any::<char>().prop_map(|c| {
                let mut bytes = c.to_string().into_bytes();
                bytes.pop();
                bytes
            }),
            prop::collection::vec(any::<u8>(), 0..4),
            Just(b"\xf0\x9f".to_vec()),
        ];
        prop::collection::vec(piece, 0..20).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn pieces_give_what_the_whole_gives(bytes in any_bytes(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8)) {
            let mut places = Vec::from_iter(cuts.iter().map(|cut| cut.index(bytes.len() + 1)));
            places.extend([0, bytes.len()]);
            places.sort_unstable();
            let pieces = places.windows(2).map(|pair| &bytes[pair[0]..pair[1]]);

            prop_assert_eq!(decode(pieces), String::from_utf8_lossy(&bytes));
        }
    }
}
