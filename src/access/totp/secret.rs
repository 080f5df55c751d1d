//! The shared secret of an authenticator app.

use std::fmt::{self, Debug, Formatter};
use std::ops::RangeInclusive;

use data_encoding::BASE32_NOPAD;
use serde::{Deserialize, Serialize, Serializer};
use subtle::ConstantTimeEq as _;
use totp_rs::Builder;
use zeroize::Zeroizing;

use super::{STEP_SECONDS, TotpCode};
use crate::access::random::{self, RandomError};

/// The shortest secret that was ever handed out: sixteen characters of Base32. RFC 4226 §4 asks for
/// more, and new ones have it.
const MIN_BYTES: usize = 10;

/// The length of a new one: 32 characters of Base32.
const NEW_BYTES: usize = 20;

/// The secret that an authenticator app shares with this host.
///
/// It is read in the ways in which people copy it (either case, spaces, hyphens, padding), and
/// written back as it was read.
///
/// ```
/// use proxmenux_monitor::access::totp::TotpSecret;
///
/// let secret = TotpSecret::parse("jbsw y3dp-ehpk 3pxp")?;
/// assert_eq!(secret.expose(), "JBSWY3DPEHPK3PXP");
///
/// assert!(TotpSecret::parse("JBSWY3DP").is_err());
/// # Ok::<(), proxmenux_monitor::access::totp::ParseSecretError>(())
/// ```
#[derive(Clone, Deserialize)]
#[serde(try_from = "String")]
pub struct TotpSecret {
    text: Zeroizing<String>,
    key: Zeroizing<Vec<u8>>,
}

/// Why a text is not a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseSecretError {
    /// It holds a character that Base32 does not have, or ends in the middle of a byte.
    #[error("the secret is not in Base32")]
    NotBase32,
    /// It has less than 80 bits.
    #[error("the secret is shorter than {} bits", MIN_BYTES * 8)]
    TooShort,
}

impl TotpSecret {
    /// Reads a secret in Base32 (RFC 4648 §6).
    pub fn parse(text: &str) -> Result<Self, ParseSecretError> {
        let mut digits = Zeroizing::new(String::with_capacity(text.len()));
        let visible = text.chars().filter(|c| !c.is_whitespace() && *c != '-');
        digits.extend(visible.map(|c| c.to_ascii_uppercase()));
        let digits = digits.trim_end_matches('=');

        let Ok(key) = BASE32_NOPAD.decode(digits.as_bytes()) else {
            return Err(ParseSecretError::NotBase32);
        };
        let key = Zeroizing::new(key);
        if key.len() < MIN_BYTES {
            return Err(ParseSecretError::TooShort);
        }
        Ok(Self {
            text: Zeroizing::new(text.to_owned()),
            key,
        })
    }

    /// Draws a secret of 160 bits, as RFC 4226 §4 recommends.
    pub fn generate() -> Result<Self, RandomError> {
        let key = random::bytes::<NEW_BYTES>()?;
        Ok(Self {
            text: Zeroizing::new(BASE32_NOPAD.encode(key.as_slice())),
            key: Zeroizing::new(key.to_vec()),
        })
    }

    /// Returns the secret in upper-case Base32 without padding, to be shown to its owner.
    pub fn expose(&self) -> String {
        BASE32_NOPAD.encode(&self.key)
    }

    /// Returns the steps whose code this is. All of them are computed and compared in constant
    /// time, whether or not one fits.
    pub(super) fn matching_steps(&self, code: &TotpCode, steps: RangeInclusive<i64>) -> Vec<i64> {
        let totp = Builder::new()
            .with_secret(self.key.as_slice())
            .with_step_duration(STEP_SECONDS.unsigned_abs())
            .with_skew(0)
            .build_noncompliant(); // It refuses short secrets otherwise.
        steps
            .filter(|step| {
                // There are no steps before 1970.
                u64::try_from(step.saturating_mul(STEP_SECONDS))
                    .is_ok_and(|time| totp.check(code.digits(), time).is_some())
            })
            .collect()
    }
}

impl TryFrom<String> for TotpSecret {
    type Error = ParseSecretError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&Zeroizing::new(text))
    }
}

impl Serialize for TotpSecret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl Debug for TotpSecret {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("TotpSecret(..)")
    }
}

impl PartialEq for TotpSecret {
    fn eq(&self, other: &Self) -> bool {
        self.key.ct_eq(&other.key).into()
    }
}

impl Eq for TotpSecret {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_secret_is_read_as_people_copy_it() {
        let canonical = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
        for text in [
            "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ",
            "gezdgnbvgy3tqojqgezdgnbvgy3tqojq",
            "GEZD GNBV GY3T QOJQ GEZD GNBV GY3T QOJQ",
            " GEZD-GNBV-GY3T-QOJQ-gezd-gnbv-gy3t-qojq\n",
            "GEZD\u{a0}GNBVGY3TQOJQGEZDGNBVGY3TQOJQ",
        ] {
            let secret = TotpSecret::parse(text).unwrap();
            assert_eq!(secret.expose(), canonical, "{text:?}");
            assert_eq!(secret.key.as_slice(), b"12345678901234567890");
        }
    }

    #[test]
    fn padding_is_optional() {
        for text in [
            "GEZDGNBVGY3TQOJQGE======",
            "GEZDGNBVGY3TQOJQGE",
            "GEZDGNBVGY3TQOJQGE==",
        ] {
            let secret = TotpSecret::parse(text).unwrap();
            assert_eq!(secret.expose(), "GEZDGNBVGY3TQOJQGE", "{text:?}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        use ParseSecretError::{NotBase32, TooShort};

        for (text, expected) in [
            ("", TooShort),
            ("====", TooShort),
            ("JBSWY3DP", TooShort),
            ("JBSWY3DPEHPK3PX", NotBase32),
            ("JBSWY3DPEHPK2", TooShort),
            ("JBSWY3DPEHPK3PX0", NotBase32),
            ("JBSWY3DPEHPK3PX1", NotBase32),
            ("JBSWY3DPEHPK3PXP=A", NotBase32),
            ("JBSWY3DPEHPK3PXP_", NotBase32),
            ("JBSWY3DPEHPK3PXPÄ", NotBase32),
            // One character more than whole bytes, and bits that belong to none.
            ("JBSWY3DPEHPK3PXPJ", NotBase32),
            ("JBSWY3DPEHPK3PXPJB", NotBase32),
        ] {
            assert_eq!(TotpSecret::parse(text).unwrap_err(), expected, "{text:?}");
        }
        assert_eq!(TooShort.to_string(), "the secret is shorter than 80 bits");
    }

    #[test]
    fn a_secret_of_eighty_bits_is_long_enough() {
        assert!(TotpSecret::parse("JBSWY3DPEHPK3PXP").is_ok());
    }

    #[test]
    fn a_secret_is_written_as_it_was_read_and_never_printed() {
        let json = r#""jbsw y3dp-ehpk 3pxp""#;
        let secret: TotpSecret = serde_json::from_str(json).unwrap();

        assert_eq!(serde_json::to_string(&secret).unwrap(), json);
        assert_eq!(format!("{secret:?}"), "TotpSecret(..)");
        let error = serde_json::from_str::<TotpSecret>(r#""JBSWY3DPEHPK3PX0""#).unwrap_err();
        assert!(!error.to_string().contains("JBSW"), "{error}");
    }

    #[test]
    fn secrets_are_equal_by_their_bytes() {
        let secret = TotpSecret::parse("JBSWY3DPEHPK3PXP").unwrap();

        assert_eq!(secret, TotpSecret::parse("jbswy3dp ehpk3pxp").unwrap());
        assert_ne!(secret, TotpSecret::parse("JBSWY3DPEHPK3PXQ").unwrap());
    }

    proptest! {
        #[test]
        fn every_secret_survives_its_text(
            key in proptest::collection::vec(any::<u8>(), 10..80),
            width in 1_usize..9,
        ) {
            let text = data_encoding::BASE32.encode(&key).to_ascii_lowercase();
            let groups: Vec<&[u8]> = text.as_bytes().chunks(width).collect();
            let text = String::from_utf8(groups.join(&b' ')).unwrap();
            let secret = TotpSecret::parse(&text).unwrap();
            prop_assert_eq!(secret.key.as_slice(), &key);
        }

        #[test]
        fn no_text_breaks_the_parser(text in ".*") {
            if let Ok(secret) = TotpSecret::parse(&text) {
                prop_assert_eq!(TotpSecret::parse(&secret.expose()).unwrap(), secret);
            }
        }
    }
}
