//! JSON Web Tokens (RFC 7519): HS256 and nothing else, signed and verified with the state's secret.
//!
//! What a token says is believed only after its MAC, issuer and audience hold. Whether it still
//! counts (expiry, revocation, a live session) is decided by [`super::sessions`] and
//! [`super::tokens`], which know `now` and the state.

use std::fmt;

use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::signature::{self, Signer, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Validation};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::digest::Digest;
use super::random::{self, RandomError};

const ISSUER: &str = "proxmenux-monitor";
const AUDIENCE: &str = "api";

/// A header in the key order of PyJWT, so that equal claims give the token that the Python
/// program would have given.
const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

/// The key that signs every token: `jwt_secret` of the state file.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningSecret {
    text: Zeroizing<String>,
    fingerprint: String,
}

/// The text is too short to be a signing key.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a signing secret has at least {} characters",
    SigningSecret::MIN_CHARACTERS
)]
pub struct ParseSecretError;

impl SigningSecret {
    const MIN_CHARACTERS: usize = 32;

    /// Makes a secret of 48 random bytes in URL-safe Base64.
    pub fn generate() -> Result<Self, RandomError> {
        Ok(Self::of(random::base64url::<48>()?))
    }

    /// Takes over an existing secret, whose UTF-8 bytes are the key.
    ///
    /// ```
    /// use proxmenux_monitor::access::jwt::SigningSecret;
    ///
    /// assert!(SigningSecret::parse("0123456789abcdef0123456789abcdef").is_ok());
    /// assert!(SigningSecret::parse("too short").is_err());
    /// ```
    pub fn parse(text: &str) -> Result<Self, ParseSecretError> {
        if text.chars().count() < Self::MIN_CHARACTERS {
            return Err(ParseSecretError);
        }
        Ok(Self::of(Zeroizing::new(text.to_owned())))
    }

    fn of(text: Zeroizing<String>) -> Self {
        let fingerprint = Digest::of(text.as_bytes()).short();
        Self { text, fingerprint }
    }

    /// Returns the secret's text, for the state file and nothing else.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// Returns sixteen hex digits that tell this secret from another (`signed_with`).
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningSecret(..)")
    }
}

/// What a token is for: the claim `typ`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenType {
    /// A person's signed-in browser.
    Session,
    /// A program's access.
    Api,
}

/// The claims that we write and read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Always `proxmenux-monitor`.
    pub iss: String,
    /// Always `api`.
    pub aud: String,
    /// The account; decides only for sessions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// When it was issued, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iat: Option<i64>,
    /// Before when it may be used, when that is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nbf: Option<i64>,
    /// When it ends, in seconds since 1970.
    pub exp: i64,
    /// Its own random name; tokens of the Python program have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
    /// What it is for; tokens of the Python program do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub typ: Option<TokenType>,
    /// The name that the owner gave an API token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_name: Option<String>,
    /// How far an API token reaches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// Whether an API token may open a terminal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terminal: Option<bool>,
    /// How a session's person proved who they are (RFC 8176).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amr: Option<Vec<String>>,
}

impl Claims {
    /// Starts the claims of a token that we issue.
    pub fn issued(typ: TokenType, jti: String, issued_at: i64, expires_at: i64) -> Self {
        Self {
            iss: ISSUER.to_owned(),
            aud: AUDIENCE.to_owned(),
            username: None,
            iat: Some(issued_at),
            nbf: None,
            exp: expires_at,
            jti: Some(jti),
            typ: Some(typ),
            token_name: None,
            scope: None,
            terminal: None,
            amr: None,
        }
    }

    /// Returns whether the token's own times allow `now` (seconds since 1970): not expired, with
    /// no leeway, and not issued more than a minute in the future.
    pub fn is_current(&self, now: i64) -> bool {
        now < self.exp
            && self.nbf.is_none_or(|start| start <= now)
            && self.iat.is_none_or(|issued| issued <= now + 60)
    }
}

/// The token is not one of ours: malformed, another algorithm, another key, issuer or audience.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a token of this monitor")]
pub struct ForeignToken;

/// Signs `claims`; the same claims and secret always give the same token.
pub fn sign(claims: &Claims, secret: &SigningSecret) -> Result<Zeroizing<String>, ForeignToken> {
    provide_hmac();
    let body = serde_json::to_vec(claims).map_err(|_unserialisable| ForeignToken)?;
    let mut token = Zeroizing::new(format!(
        "{}.{}",
        BASE64URL_NOPAD.encode(HEADER.as_bytes()),
        BASE64URL_NOPAD.encode(&body),
    ));
    let key = EncodingKey::from_secret(secret.expose().as_bytes());
    let mac = jsonwebtoken::crypto::sign(token.as_bytes(), &key, Algorithm::HS256)
        .map_err(|_unsigned| ForeignToken)?;
    token.push('.');
    token.push_str(&mac);
    Ok(token)
}

/// Returns what `token` says if `secret` signed it for us.
pub fn verify(token: &str, secret: &SigningSecret) -> Result<Claims, ForeignToken> {
    provide_hmac();
    let key = DecodingKey::from_secret(secret.expose().as_bytes());
    let data = jsonwebtoken::decode::<Claims>(token, &key, &validation())
        .map_err(|_refused| ForeignToken)?;
    // RFC 7515 §4.1.11: what a header calls critical must be understood; we know of nothing.
    if data.header.kid.is_some() || data.header.crit.is_some() {
        return Err(ForeignToken);
    }
    Ok(data.claims)
}

/// Times are judged by [`Claims::is_current`], against the caller's clock and not the library's.
fn validation() -> Validation {
    let mut validation = Validation::new(Algorithm::HS256);
    validation.set_required_spec_claims(&["iss", "aud", "exp"]);
    validation.set_issuer(&[ISSUER]);
    validation.set_audience(&[AUDIENCE]);
    validation.leeway = 0;
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation
}

/// Gives the library the one MAC that it may use. Its provider is one for the process; a second
/// installation changes nothing.
fn provide_hmac() {
    static PROVIDER: CryptoProvider = CryptoProvider {
        signer_factory: |algorithm, key| Ok(Box::new(HmacSha256::new(*algorithm, key.as_bytes())?)),
        verifier_factory: |algorithm, key| {
            let key = key.try_get_as_bytes()?;
            Ok(Box::new(HmacSha256::new(*algorithm, key)?))
        },
        key_utils: KeyUtils::new_unimplemented(),
    };
    let _already_there = PROVIDER.install_default();
}

struct HmacSha256(Hmac<Sha256>);

impl HmacSha256 {
    fn new(algorithm: Algorithm, key: &[u8]) -> Result<Self, Error> {
        if algorithm != Algorithm::HS256 {
            return Err(ErrorKind::InvalidAlgorithm.into());
        }
        Hmac::new_from_slice(key)
            .map(Self)
            .map_err(|_length| ErrorKind::InvalidKeyFormat.into())
    }
}

impl Signer<Vec<u8>> for HmacSha256 {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, signature::Error> {
        let mac = self.0.clone().chain_update(message);
        Ok(mac.finalize().into_bytes().to_vec())
    }
}

impl Verifier<Vec<u8>> for HmacSha256 {
    fn verify(&self, message: &[u8], mac: &Vec<u8>) -> Result<(), signature::Error> {
        let expected = self.0.clone().chain_update(message);
        expected
            .verify_slice(mac)
            .map_err(|_differs| signature::Error::new())
    }
}

impl JwtSigner for HmacSha256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

impl JwtVerifier for HmacSha256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret() -> SigningSecret {
        SigningSecret::parse("a secret of at least thirty-two characters").unwrap()
    }

    fn claims() -> Claims {
        let mut claims = Claims::issued(TokenType::Session, "id".to_owned(), 1000, 2000);
        claims.username = Some("owner".to_owned());
        claims
    }

    /// Signs any header and body, as a forger who knows the secret could.
    fn forge(header: &str, body: &str, secret: &str) -> String {
        let signed = format!(
            "{}.{}",
            BASE64URL_NOPAD.encode(header.as_bytes()),
            BASE64URL_NOPAD.encode(body.as_bytes())
        );
        let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes())
            .unwrap()
            .chain_update(signed.as_bytes())
            .finalize()
            .into_bytes();
        format!("{signed}.{}", BASE64URL_NOPAD.encode(&mac))
    }

    #[test]
    fn what_is_signed_verifies_and_is_the_same_each_time() {
        let token = sign(&claims(), &secret()).unwrap();

        assert_eq!(verify(&token, &secret()), Ok(claims()));
        assert_eq!(token, sign(&claims(), &secret()).unwrap());
        assert!(token.starts_with("eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9."));
    }

    #[test]
    fn forgeries_are_foreign() {
        let good = r#"{"iss":"proxmenux-monitor","aud":"api","exp":2000}"#;
        let hs256 = r#"{"alg":"HS256","typ":"JWT"}"#;
        let key = secret();
        assert!(verify(&forge(hs256, good, key.expose()), &key).is_ok());

        let forged = [
            forge(r#"{"alg":"none"}"#, good, key.expose()),
            forge(r#"{"alg":"HS512","typ":"JWT"}"#, good, key.expose()),
            forge(r#"{"alg":"RS256","typ":"JWT"}"#, good, key.expose()),
            forge(r#"{"alg":"hs256","typ":"JWT"}"#, good, key.expose()),
            forge(r#"{"typ":"JWT"}"#, good, key.expose()),
            forge(
                r#"{"alg":"HS256","kid":"../../etc/passwd"}"#,
                good,
                key.expose(),
            ),
            forge(r#"{"alg":"HS256","crit":["x"]}"#, good, key.expose()),
            forge(hs256, good, "another secret of thirty-two characters"),
            forge(hs256, r#"{"aud":"api","exp":2000}"#, key.expose()),
            forge(
                hs256,
                r#"{"iss":"proxmenux-monitor","exp":2000}"#,
                key.expose(),
            ),
            forge(
                hs256,
                r#"{"iss":"proxmenux-monitor","aud":"api"}"#,
                key.expose(),
            ),
            forge(hs256, r#"{"iss":"x","aud":"api","exp":2000}"#, key.expose()),
            forge(
                hs256,
                r#"{"iss":"proxmenux-monitor","aud":"x","exp":2000}"#,
                key.expose(),
            ),
            forge(
                hs256,
                r#"{"iss":"proxmenux-monitor","aud":"api","exp":"2000"}"#,
                key.expose(),
            ),
            forge(
                hs256,
                r#"{"iss":"proxmenux-monitor","aud":"api","exp":2000,"typ":"x"}"#,
                key.expose(),
            ),
            String::new(),
            "..".to_owned(),
            "a.b.c".to_owned(),
        ];
        for token in forged {
            assert_eq!(verify(&token, &key), Err(ForeignToken), "{token}");
        }
    }

    #[test]
    fn a_token_without_its_mac_is_foreign() {
        let token = sign(&claims(), &secret()).unwrap();
        let (signed, _) = token.rsplit_once('.').unwrap();

        assert_eq!(verify(&format!("{signed}."), &secret()), Err(ForeignToken));
        assert_eq!(verify(signed, &secret()), Err(ForeignToken));
    }

    #[test]
    fn times_have_no_leeway() {
        let mut claims = claims();

        assert!(claims.is_current(1999));
        assert!(!claims.is_current(2000));
        assert!(claims.is_current(940), "a clock that is a minute behind");
        assert!(!claims.is_current(939));
        claims.nbf = Some(1500);
        assert!(!claims.is_current(1499));
    }
}
