//! Names that authenticators know things by: the credential's, and the account's.

use std::fmt;

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};
use webauthn_rs::prelude::Uuid;
use zeroize::Zeroizing;

use crate::access::digest::Digest;
use crate::access::jwt::SigningSecret;

/// The name that an authenticator gave a passkey (WebAuthn §4, credential ID).
///
/// ```
/// use proxmenux_monitor::access::passkeys::CredentialId;
///
/// assert!(CredentialId::parse("AAECAwQFBgcICQoLDA0ODw").is_ok());
/// assert!(CredentialId::parse("short").is_err());
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CredentialId(Vec<u8>);

/// The name is none that an authenticator may give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a credential's id has 16 to 1023 bytes, written in base64url without padding")]
pub struct ParseCredentialIdError;

impl CredentialId {
    /// Reads base64url without padding (RFC 4648 §5).
    pub fn parse(text: &str) -> Result<Self, ParseCredentialIdError> {
        let bytes = BASE64URL_NOPAD
            .decode(text.as_bytes())
            .map_err(|_no_base64url| ParseCredentialIdError)?;
        Self::from_bytes(bytes)
    }

    /// Takes the id over from an authenticator.
    pub(super) fn from_bytes(bytes: Vec<u8>) -> Result<Self, ParseCredentialIdError> {
        if !(16..=1023).contains(&bytes.len()) {
            return Err(ParseCredentialIdError);
        }
        Ok(Self(bytes))
    }

    /// Returns the id's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns sixteen hex digits that tell it from another in a list.
    pub(super) fn short(&self) -> String {
        Digest::of(&self.0).short()
    }
}

impl fmt::Debug for CredentialId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CredentialId({}..)", self.short())
    }
}

impl TryFrom<String> for CredentialId {
    type Error = ParseCredentialIdError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<CredentialId> for String {
    fn from(id: CredentialId) -> Self {
        BASE64URL_NOPAD.encode(&id.0)
    }
}

/// The name that authenticators know the account by (WebAuthn §5.4.3). It tells nobody who that
/// is, and differs between hosts, since several may be pages of one name behind a proxy: an
/// authenticator keeps one passkey for each pair of name and account.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UserHandle([u8; 16]);

impl UserHandle {
    /// Derives the handle of this host's account. As long as the secret stays the same, a passkey
    /// that is added again replaces the one on the authenticator that was removed here.
    pub(super) fn derive(secret: &SigningSecret) -> Self {
        let text = Zeroizing::new(format!("passkey user handle\n{}", secret.expose()));
        let digest = Digest::of(text.as_bytes());
        Self(digest.as_bytes().first_chunk().copied().unwrap_or_default())
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn to_uuid(self) -> Uuid {
        Uuid::from_bytes(self.0)
    }
}

impl fmt::Debug for UserHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UserHandle(..)")
    }
}

impl TryFrom<String> for UserHandle {
    type Error = ParseCredentialIdError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).unwrap_or_default();
        let bytes = bytes.try_into().map_err(|_length| ParseCredentialIdError)?;
        Ok(Self(bytes))
    }
}

impl From<UserHandle> for String {
    fn from(handle: UserHandle) -> Self {
        BASE64URL_NOPAD.encode(&handle.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_16_to_1023_bytes() {
        for (length, is_one) in [
            (0, false),
            (15, false),
            (16, true),
            (1023, true),
            (1024, false),
        ] {
            let bytes = vec![9; length];
            let text = BASE64URL_NOPAD.encode(&bytes);
            assert_eq!(CredentialId::parse(&text).is_ok(), is_one, "{length}");
            assert_eq!(CredentialId::from_bytes(bytes).is_ok(), is_one, "{length}");
        }
        for text in ["AAECAwQFBgcICQoLDA0ODw==", "AAECAwQFBgcICQoLDA0OD+", "ä"] {
            assert!(CredentialId::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_handle_follows_the_secret_and_tells_nothing_of_it() {
        let secret = |text: &str| SigningSecret::parse(&text.repeat(40)).unwrap();
        let handle = UserHandle::derive(&secret("a"));

        assert_eq!(handle, UserHandle::derive(&secret("a")));
        assert_ne!(handle, UserHandle::derive(&secret("b")));
        let digest = Digest::of("a".repeat(40).as_bytes());
        assert_ne!(handle.as_bytes(), &digest.as_bytes()[..16]);
    }
}
