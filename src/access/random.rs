//! Randomness from the kernel: the source of every secret here.

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use zeroize::Zeroizing;

/// The kernel gave no randomness.
#[derive(Debug, thiserror::Error)]
#[error("no randomness from the kernel: {0}")]
pub struct RandomError(#[from] getrandom::Error);

/// Returns `N` random bytes.
pub fn bytes<const N: usize>() -> Result<Zeroizing<[u8; N]>, RandomError> {
    let mut bytes = Zeroizing::new([0; N]);
    getrandom::fill(bytes.as_mut_slice())?;
    Ok(bytes)
}

/// Returns `N` random bytes as URL-safe Base64 without padding (RFC 4648 §5).
pub fn base64url<const N: usize>() -> Result<Zeroizing<String>, RandomError> {
    Ok(Zeroizing::new(
        BASE64URL_NOPAD.encode(bytes::<N>()?.as_slice()),
    ))
}

/// Returns `N` random bytes in hex: names of things, not secrets.
pub fn hex<const N: usize>() -> Result<String, RandomError> {
    Ok(HEXLOWER.encode(bytes::<N>()?.as_slice()))
}

/// Returns `LEN` letters drawn evenly from `alphabet`.
///
/// Bytes that would favour the first letters are thrown away.
pub fn letters<const LEN: usize>(alphabet: &[u8]) -> Result<Zeroizing<String>, RandomError> {
    let size = u8::try_from(alphabet.len()).unwrap_or(u8::MAX).max(1);
    let fair = u8::MAX - (u8::MAX % size);
    let mut text = Zeroizing::new(String::with_capacity(LEN));
    while text.len() < LEN {
        for byte in bytes::<32>()?.iter().filter(|byte| **byte < fair) {
            if text.len() < LEN
                && let Some(letter) = alphabet.get(usize::from(byte % size))
            {
                text.push(char::from(*letter));
            }
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_come_from_the_alphabet_and_all_of_it() {
        let text = letters::<4000>(b"ABCDEFGHJKLMNPQRSTUVWXYZ").unwrap();

        assert_eq!(text.len(), 4000);
        for letter in "ABCDEFGHJKLMNPQRSTUVWXYZ".chars() {
            let seen = text.chars().filter(|seen| *seen == letter).count();
            assert!((60..300).contains(&seen), "{letter}: {seen}");
        }
    }

    #[test]
    fn two_draws_differ() {
        assert_ne!(base64url::<48>().unwrap(), base64url::<48>().unwrap());
        assert_eq!(base64url::<48>().unwrap().len(), 64);
    }
}
