//! The public key of a passkey, kept as a JSON Web Key (RFC 7517): readable without any library.

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};
use webauthn_rs::prelude::{
    COSEAlgorithm, COSEEC2Key, COSEKey, COSEKeyType, COSERSAKey, ECDSACurve,
};

/// The public key that a passkey's signatures are checked with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Jwk", into = "Jwk")]
pub struct PublicKey(Kind);

/// The algorithms that passkeys are asked for; RSA is that of older Windows machines.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Es256 { x: [u8; 32], y: [u8; 32] },
    Es384 { x: [u8; 48], y: [u8; 48] },
    Rs256 { n: Box<[u8; 256]>, e: [u8; 3] },
}

/// The key is of a kind that passkeys are not asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a public key of ES256, ES384 or RS256 with 2048 bits")]
pub struct UnsupportedKey;

impl PublicKey {
    /// Takes the key over from the library, which has checked that it is one.
    pub(super) fn from_cose(key: &COSEKey) -> Result<Self, UnsupportedKey> {
        let kind = match (key.type_, &key.key) {
            (COSEAlgorithm::ES256, COSEKeyType::EC_EC2(key))
                if key.curve == ECDSACurve::SECP256R1 =>
            {
                let (x, y) = (exactly(&key.x)?, exactly(&key.y)?);
                Kind::Es256 { x, y }
            }
            (COSEAlgorithm::ES384, COSEKeyType::EC_EC2(key))
                if key.curve == ECDSACurve::SECP384R1 =>
            {
                let (x, y) = (exactly(&key.x)?, exactly(&key.y)?);
                Kind::Es384 { x, y }
            }
            (COSEAlgorithm::RS256, COSEKeyType::RSA(key)) => {
                let n = Box::new(exactly(&key.n)?);
                Kind::Rs256 { n, e: key.e }
            }
            (_other, _key) => return Err(UnsupportedKey),
        };
        Ok(Self(kind))
    }

    /// Returns the key as the library wants it.
    pub(super) fn to_cose(&self) -> COSEKey {
        let elliptic = |curve, x: &[u8], y: &[u8]| {
            let (x, y) = (x.to_vec(), y.to_vec());
            COSEKeyType::EC_EC2(COSEEC2Key { curve, x, y })
        };
        let (type_, key) = match &self.0 {
            Kind::Es256 { x, y } => (COSEAlgorithm::ES256, elliptic(ECDSACurve::SECP256R1, x, y)),
            Kind::Es384 { x, y } => (COSEAlgorithm::ES384, elliptic(ECDSACurve::SECP384R1, x, y)),
            Kind::Rs256 { n, e } => {
                let (n, e) = (n.to_vec(), *e);
                (COSEAlgorithm::RS256, COSEKeyType::RSA(COSERSAKey { n, e }))
            }
        };
        COSEKey { type_, key }
    }
}

fn exactly<const N: usize>(bytes: &[u8]) -> Result<[u8; N], UnsupportedKey> {
    bytes.try_into().map_err(|_length| UnsupportedKey)
}

/// The members of RFC 7518 §6.2.1 and §6.3.1; which of them there are depends on `kty`.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Jwk {
    kty: String,
    alg: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    crv: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    x: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    y: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    n: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    e: String,
}

impl Jwk {
    fn elliptic(alg: &str, crv: &str, x: &[u8], y: &[u8]) -> Self {
        Self {
            kty: "EC".to_owned(),
            alg: alg.to_owned(),
            crv: crv.to_owned(),
            x: BASE64URL_NOPAD.encode(x),
            y: BASE64URL_NOPAD.encode(y),
            ..Self::default()
        }
    }
}

impl From<PublicKey> for Jwk {
    fn from(key: PublicKey) -> Self {
        match key.0 {
            Kind::Es256 { x, y } => Self::elliptic("ES256", "P-256", &x, &y),
            Kind::Es384 { x, y } => Self::elliptic("ES384", "P-384", &x, &y),
            Kind::Rs256 { n, e } => Self {
                kty: "RSA".to_owned(),
                alg: "RS256".to_owned(),
                n: BASE64URL_NOPAD.encode(n.as_slice()),
                e: BASE64URL_NOPAD.encode(&e),
                ..Self::default()
            },
        }
    }
}

impl TryFrom<Jwk> for PublicKey {
    type Error = UnsupportedKey;

    fn try_from(jwk: Jwk) -> Result<Self, UnsupportedKey> {
        let names = (jwk.kty.as_str(), jwk.alg.as_str(), jwk.crv.as_str());
        let kind = match names {
            ("EC", "ES256", "P-256") => Kind::Es256 {
                x: decoded(&jwk.x)?,
                y: decoded(&jwk.y)?,
            },
            ("EC", "ES384", "P-384") => Kind::Es384 {
                x: decoded(&jwk.x)?,
                y: decoded(&jwk.y)?,
            },
            ("RSA", "RS256", "") => Kind::Rs256 {
                n: Box::new(decoded(&jwk.n)?),
                e: decoded(&jwk.e)?,
            },
            _other => return Err(UnsupportedKey),
        };
        let key = Self(kind);
        // Members of the other kind would be lost when the file is written.
        let counted = |jwk: &Jwk| [&jwk.x, &jwk.y, &jwk.n, &jwk.e].map(String::is_empty);
        if counted(&jwk) != counted(&key.clone().into()) {
            return Err(UnsupportedKey);
        }
        Ok(key)
    }
}

fn decoded<const N: usize>(text: &str) -> Result<[u8; N], UnsupportedKey> {
    let bytes = BASE64URL_NOPAD
        .decode(text.as_bytes())
        .map_err(|_no_base64url| UnsupportedKey)?;
    exactly(&bytes)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(jwk: &Value) -> Option<PublicKey> {
        serde_json::from_value(jwk.clone()).ok()
    }

    fn keys() -> [Value; 3] {
        let text = |length: usize| BASE64URL_NOPAD.encode(&vec![7; length]);
        [
            json!({ "kty": "EC", "alg": "ES256", "crv": "P-256", "x": text(32), "y": text(32) }),
            json!({ "kty": "EC", "alg": "ES384", "crv": "P-384", "x": text(48), "y": text(48) }),
            json!({ "kty": "RSA", "alg": "RS256", "n": text(256), "e": "AQAB" }),
        ]
    }

    #[test]
    fn a_key_is_written_as_it_was_read() {
        for jwk in keys() {
            let key = read(&jwk).unwrap();
            assert_eq!(serde_json::to_value(&key).unwrap(), jwk);
            assert_eq!(PublicKey::from_cose(&key.to_cose()), Ok(key));
        }
    }

    #[test]
    fn a_key_that_is_not_quite_one_is_refused() {
        for jwk in keys() {
            for member in jwk.as_object().unwrap().keys() {
                for wrong in [json!(""), json!("AAAAAA"), json!("no base64url!"), json!(1)] {
                    let mut spoilt = jwk.clone();
                    spoilt[member] = wrong;
                    assert_eq!(read(&spoilt), None, "{spoilt}");
                }
                let mut missing = jwk.clone();
                missing.as_object_mut().unwrap().remove(member);
                assert_eq!(read(&missing), None, "{missing}");
            }
            for more in ["d", "use", "x5c"] {
                let mut spoilt = jwk.clone();
                spoilt[more] = json!("AAAA");
                assert_eq!(read(&spoilt), None, "{spoilt}");
            }
        }
        let [mut both, _, rsa] = keys();
        both["n"] = rsa["n"].clone();
        assert_eq!(read(&both), None);
    }

    #[test]
    fn a_key_of_another_algorithm_is_refused() {
        let [jwk, ..] = keys();
        let mut key = read(&jwk).unwrap().to_cose();
        key.type_ = COSEAlgorithm::ES384;
        assert_eq!(PublicKey::from_cose(&key), Err(UnsupportedKey));
        key.type_ = COSEAlgorithm::EDDSA;
        assert_eq!(PublicKey::from_cose(&key), Err(UnsupportedKey));
    }
}
