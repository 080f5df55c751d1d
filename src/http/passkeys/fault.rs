//! What a client sees when something about passkeys is refused.

use axum::http::StatusCode;

use super::super::error::Error;
use crate::access::label::ParseLabelError;
use crate::access::passkeys::{AddPasskeyError, MAX_PASSKEYS, Unavailable};
use crate::access::rights::Refusal;

/// Why a call about passkeys came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) enum PasskeyFault {
    /// There are none at this page's address.
    Unavailable(Unavailable),
    /// Nothing waits for this answer, or not any more.
    CeremonyExpired,
    /// What signs in proves nothing.
    Refused,
    /// What the browser made is no passkey for this site.
    Rejected,
    /// The name cannot be used.
    Name(ParseLabelError),
    /// There are as many as there may be.
    TooMany,
    /// There is no such passkey.
    NotFound,
}

impl PasskeyFault {
    /// Returns the status and the code.
    pub(in crate::http) fn kind(self) -> (StatusCode, &'static str) {
        match self {
            Self::Unavailable(_) => (StatusCode::BAD_REQUEST, "passkeys_unavailable"),
            Self::CeremonyExpired => (StatusCode::BAD_REQUEST, "ceremony_expired"),
            Self::Refused => (StatusCode::UNAUTHORIZED, "passkey_refused"),
            Self::Rejected => (StatusCode::BAD_REQUEST, "passkey_rejected"),
            Self::Name(_) => (StatusCode::BAD_REQUEST, "invalid_passkey_name"),
            Self::TooMany => (StatusCode::BAD_REQUEST, "too_many_passkeys"),
            Self::NotFound => (StatusCode::NOT_FOUND, "passkey_not_found"),
        }
    }

    /// Returns the field at fault.
    pub(in crate::http) fn field(self) -> Option<&'static str> {
        matches!(self, Self::Name(_)).then_some("name")
    }

    /// Returns the short text.
    pub(in crate::http) fn short(self) -> &'static str {
        match self {
            Self::Unavailable(_) => "No passkeys here",
            Self::CeremonyExpired => "Start again",
            Self::Refused => "Passkey refused",
            Self::Rejected => "Passkey rejected",
            Self::Name(_) => "Invalid name",
            Self::TooMany => "Too many passkeys",
            Self::NotFound => "Not found",
        }
    }

    /// Returns a sentence for people that says what to do.
    pub(in crate::http) fn sentence(self) -> String {
        match self {
            Self::Unavailable(Unavailable::Address) => "Passkeys belong to a host name. Open the dashboard by its name over HTTPS instead of by its address.".to_owned(),
            Self::Unavailable(Unavailable::NotHttps) => "Passkeys need HTTPS. Turn it on, or open the dashboard through a proxy that has it.".to_owned(),
            Self::CeremonyExpired => "This took longer than five minutes, or was begun elsewhere. Start again.".to_owned(),
            Self::Refused => "This passkey does not open this dashboard. Use another one, or the password.".to_owned(),
            Self::Rejected => "The browser did not make a passkey that can be used here. Try again, or with another device.".to_owned(),
            Self::Name(error) => format!("Choose another name: {error}."),
            Self::TooMany => format!("There are {MAX_PASSKEYS} passkeys already. Remove one first."),
            Self::NotFound => "There is no such passkey; the list shows which there are.".to_owned(),
        }
    }
}

impl From<PasskeyFault> for Error {
    fn from(fault: PasskeyFault) -> Self {
        Self::Passkey(fault)
    }
}

impl From<Unavailable> for PasskeyFault {
    fn from(why: Unavailable) -> Self {
        Self::Unavailable(why)
    }
}

impl From<AddPasskeyError> for Error {
    fn from(error: AddPasskeyError) -> Self {
        match error {
            AddPasskeyError::SessionEnded => Refusal::InvalidToken.into(),
            AddPasskeyError::TooMany => PasskeyFault::TooMany.into(),
            AddPasskeyError::AlreadyThere => PasskeyFault::Rejected.into(),
        }
    }
}
