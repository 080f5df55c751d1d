//! Proving who one is with a passkey: the limiter and the audit that passwords have, for signing
//! in and for every confirmation.

use std::sync::Arc;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::super::error::{BodyError, Error};
use super::super::proof::tell_rate_limit;
use super::super::visit::Presenter;
use super::fault::PasskeyFault;
use crate::access::Access;
use crate::access::audit::{Event, Method, Purpose};
use crate::access::digest::Digest;
use crate::access::passkeys::ceremony::finish_assertion;
use crate::access::passkeys::{Assertion, PasskeyError};
use crate::app::App;
use crate::passkey_ceremonies::Owner;

/// What a passkey answered, and to what.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct PresentedPasskey {
    /// The ceremony that was begun.
    pub(super) ceremony: String,
    /// What `navigator.credentials.get` gave, as `toJSON` writes it.
    #[schema(value_type = Object)]
    pub(super) credential: Value,
}

/// What a passkey is to prove.
#[derive(Clone, Copy)]
pub(in crate::http) enum Claim<'a> {
    /// Who signs in.
    SignIn,
    /// That the person of a session is there, who confirms something.
    Session(&'a str, Purpose),
}

/// A claim that held.
pub(in crate::http) struct Proven {
    /// What the rules take.
    pub(in crate::http) assertion: Assertion,
    /// The account.
    pub(in crate::http) username: String,
    /// The device, if it is one that has signed in before.
    pub(in crate::http) device: Option<Digest>,
}

/// Checks what a passkey answered. The limiter is asked first; the ceremony is over whatever comes
/// of it.
pub(in crate::http) fn prove(
    app: &Arc<App>,
    presenter: &Presenter,
    shown: &PresentedPasskey,
    claim: Claim<'_>,
) -> Result<Proven, Error> {
    let now = app.clock.now();
    let access = presenter.visit.read(app)?;
    let device = presenter.known_device(&access, now);
    let username = access.account().map(|account| account.username.to_owned());
    let source = presenter.source(device);
    let begun = app.limits.begin(&source, now);
    let held = begun.map_err(|refusal| {
        let told = (refusal.reason, now);
        tell_rate_limit(app, presenter, username.as_deref(), told);
        Error::TooManyAttempts {
            refusal,
            address: presenter.visit.client.address,
        }
    })?;
    let owner = match claim {
        Claim::SignIn => Owner::source(&source),
        Claim::Session(id, _) => Owner::session(id),
    };
    let waiting = app
        .passkeys
        .end_assertion(&shown.ceremony, &owner, now)
        .ok_or(PasskeyFault::CeremonyExpired)?;
    let proved = finish_assertion(waiting, &shown.credential, access.passkeys());
    match (proved, username) {
        (Ok(assertion), Some(username)) => Ok(Proven {
            assertion,
            username,
            device,
        }),
        (Err(PasskeyError::Malformed), _) => Err(malformed("credential")),
        (Ok(_), None) => Err(claim.refused()),
        (Err(error), username) => {
            let _penalty_is_told_at_the_next_try = held.fail(now);
            tell(error);
            let event = Event::Failed {
                method: Method::Passkey,
                purpose: claim.purpose(),
            };
            let actor = presenter.visit.actor(username.as_deref());
            app.audit.write(&event, &actor);
            Err(claim.refused())
        }
    }
}

impl Claim<'_> {
    fn purpose(self) -> Purpose {
        match self {
            Self::SignIn => Purpose::SignIn,
            Self::Session(_, purpose) => purpose,
        }
    }

    /// Says that it did not hold.
    pub(super) fn refused(self) -> Error {
        match self {
            Self::SignIn => PasskeyFault::Refused.into(),
            Self::Session(..) => Error::Reauthentication {
                field: "passkey",
                skew: None,
            },
        }
    }
}

/// Returns whose ceremony one is that begins without a session.
pub(super) fn source(presenter: &Presenter, access: &Access, now: Timestamp) -> Owner {
    let device = presenter.known_device(access, now);
    Owner::source(&presenter.source(device))
}

/// Tells the operator, beside the audit log's line, why a passkey was refused.
fn tell(error: PasskeyError) {
    if error == PasskeyError::CounterWentBack {
        tracing::warn!("{error}: there may be a copy of it");
    } else {
        tracing::info!("a passkey was refused: {error}");
    }
}

pub(super) fn malformed(field: &str) -> Error {
    Error::Body(BodyError::Malformed {
        field: Some(field.to_owned()),
        message: format!("The field `{field}` is not what a browser answers."),
    })
}
