//! What an entry of the token list is worth, as far as the list can tell without the token.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::{ApiToken, Shown};
use crate::access::Access;
use crate::access::jwt::SigningSecret;

/// Whether a listed token counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It does.
    Valid,
    /// It does, unless the secret was changed after it was signed: the entry does not say.
    Unproven,
    /// It does not.
    Invalid(Invalidation),
}

/// Why a listed token does not count any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Invalidation {
    /// Its owner revoked it.
    Revoked,
    /// Another took its place, and its last hour is over.
    Rotated,
    /// Its time is over.
    Expired,
    /// It was signed with an earlier secret.
    SecretChanged,
}

impl Standing {
    /// Returns true or false, or nothing where the list cannot tell.
    pub fn is_valid(self) -> Option<bool> {
        match self {
            Self::Valid => Some(true),
            Self::Unproven => None,
            Self::Invalid(_) => Some(false),
        }
    }

    /// Returns why it does not count.
    pub fn invalidation(self) -> Option<Invalidation> {
        match self {
            Self::Invalid(reason) => Some(reason),
            Self::Valid | Self::Unproven => None,
        }
    }
}

impl ApiToken {
    /// Returns when it ends, as the entry has it; the signed claim decides. A time of the Python
    /// program without a zone is taken for UTC.
    pub fn expires_at(&self) -> Option<Timestamp> {
        let text = self.expires_at.as_ref().and_then(Shown::as_str)?;
        let without_zone = || {
            TimeZone::UTC
                .to_timestamp(text.parse::<DateTime>().ok()?)
                .ok()
        };
        text.parse().ok().or_else(without_zone)
    }

    /// Returns whether the Python program made it: ours say whether they may open a terminal.
    pub fn is_legacy(&self) -> bool {
        self.terminal.is_none()
    }
}

impl Access {
    /// Says what an entry of the list is worth.
    pub fn standing(&self, token: &ApiToken, now: Timestamp) -> Standing {
        let is_over = |end: Option<Timestamp>| end.is_some_and(|end| end <= now);
        if is_over(token.ends_at) {
            return Standing::Invalid(Invalidation::Rotated);
        }
        if self.revoked.contains(&token.token_hash) {
            return Standing::Invalid(Invalidation::Revoked);
        }
        if is_over(token.expires_at()) {
            return Standing::Invalid(Invalidation::Expired);
        }
        let secret = self.signing_secret().map(SigningSecret::fingerprint);
        match (&token.signed_with, secret) {
            (Some(signed_with), Some(secret)) if *signed_with == secret => Standing::Valid,
            (Some(_), Some(_)) | (_, None) => Standing::Invalid(Invalidation::SecretChanged),
            (None, Some(_)) => Standing::Unproven,
        }
    }
}
