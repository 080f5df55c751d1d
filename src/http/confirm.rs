//! Confirming again: what a call of a signed-in person asks for before it changes something.

use std::sync::Arc;

use super::error::{BodyError, Error};
use super::passkeys::{self, Claim, PresentedPasskey};
use super::proof::{Claimed, prove};
use super::visit::Presenter;
use crate::access::Access;
use crate::access::audit::{Event, Purpose};
use crate::access::passwords::Password;
use crate::access::sessions::SessionIdentity;
use crate::access::sign_in::{CodeDemand, Confirmation, Proved};
use crate::app::App;

/// What was sent to confirm with.
#[derive(Default)]
pub(super) struct Presented {
    /// The current password.
    pub(super) password: Option<String>,
    /// A code of the app, or a backup code.
    pub(super) code: Option<String>,
    /// A passkey, in place of both.
    pub(super) passkey: Option<PresentedPasskey>,
}

impl Presented {
    /// Returns whether nothing at all was sent.
    pub(super) fn is_empty(&self) -> bool {
        let code = self.code.as_deref().unwrap_or_default();
        let password = self.password.as_deref().unwrap_or_default();
        password.is_empty() && self.passkey.is_none() && code.trim().is_empty()
    }
}

/// What a call asks for.
#[derive(Clone, Copy)]
pub(super) struct Demand {
    /// What it is for.
    pub(super) purpose: Purpose,
    /// Whether a session that proved the second factor lately is asked again.
    pub(super) code: CodeDemand,
    /// The field that holds the password.
    pub(super) field: &'static str,
}

impl Demand {
    /// Asks for the password, and for a code where two-factor is on and was not proved lately.
    pub(super) fn unless_lately(purpose: Purpose) -> Self {
        Self {
            purpose,
            code: CodeDemand::UnlessProvedLately,
            field: "password",
        }
    }

    /// Asks for the password, and for a code where two-factor is on.
    pub(super) fn always(purpose: Purpose) -> Self {
        Self {
            code: CodeDemand::Always,
            ..Self::unless_lately(purpose)
        }
    }

    /// The same with the password in another field.
    pub(super) fn in_field(self, field: &'static str) -> Self {
        Self { field, ..self }
    }
}

/// Checks what was sent. The result goes through [`change`], whose rule consumes the code and makes
/// sure that nothing has changed meanwhile.
pub(super) async fn confirm(
    app: &Arc<App>,
    presenter: &Presenter,
    session: &SessionIdentity,
    offered: Presented,
    demand: Demand,
) -> Result<Confirmation, Error> {
    if let Some(passkey) = &offered.passkey {
        let claim = Claim::Session(&session.id, demand.purpose);
        let proven = passkeys::prove(app, presenter, passkey, claim)?;
        return Ok(Confirmation {
            session: session.id.clone(),
            proved: Proved::Passkey {
                username: proven.username,
                assertion: proven.assertion,
            },
            demand: demand.code,
        });
    }
    let password = offered.password.filter(|password| !password.is_empty());
    let password = password.ok_or_else(|| missing(demand.field))?;
    let claimed = Claimed {
        username: None,
        password: Password::new(password),
        code: offered.code.filter(|code| !code.trim().is_empty()),
        purpose: demand.purpose,
        confirms: Some((session.id.clone(), demand.code)),
    };
    let proven = prove(app, presenter, claimed).await;
    let proven = proven.map_err(|refusal| refusal.at_confirmation(demand.field))?;
    Ok(Confirmation {
        session: session.id.clone(),
        proved: proven.proof.into(),
        demand: demand.code,
    })
}

/// Makes a change that was confirmed, by the rule that consumes what confirmed it.
pub(super) async fn change<T, E>(
    app: &Arc<App>,
    presenter: &Presenter,
    confirmation: Confirmation,
    mut rule: impl FnMut(&mut Access, &Confirmation) -> Result<T, E> + Send + 'static,
) -> Result<Result<T, E>, Error>
where
    T: Send + 'static,
    E: Send + 'static,
{
    let used_backup_code = confirmation.proved.has_backup_code();
    let user = confirmation.proved.username().to_owned();
    let changed = app
        .store
        .update(move |access| {
            let left = access.backup_codes_left();
            let value = rule(access, &confirmation)?;
            Ok((value, left))
        })
        .await?;
    Ok(changed.map(|(value, left)| {
        if used_backup_code {
            let left = left.saturating_sub(1);
            let actor = presenter.visit.actor(Some(&user));
            app.audit.write(&Event::BackupCodeUsed { left }, &actor);
        }
        value
    }))
}

/// Says that a field is missing that the call cannot do without.
pub(super) fn missing(field: &str) -> Error {
    Error::Body(BodyError::Malformed {
        field: Some(field.to_owned()),
        message: format!("The field `{field}` is missing."),
    })
}
