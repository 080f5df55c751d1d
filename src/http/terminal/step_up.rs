//! What a person proves again before a terminal opens.

use std::sync::Arc;

use super::super::confirm::{Demand, Presented, change, confirm};
use super::super::error::Error;
use super::super::proof::{prove_code, refused_late};
use super::super::sessions::tell;
use super::super::visit::Presenter;
use super::fault::{StepUp, TerminalFault};
use crate::access::audit::{Event, Purpose};
use crate::access::sessions::SessionIdentity;
use crate::access::sign_in::SecondFactor;
use crate::access::terminal::{Holder, TerminalStep};
use crate::app::App;
use crate::terminals::Standing;

/// Returns what a session must prove before it gets a terminal, if anything.
pub(super) fn needed(
    app: &App,
    presenter: &Presenter,
    session: &SessionIdentity,
    standing: Option<Standing>,
) -> Result<Option<StepUp>, Error> {
    let access = presenter.visit.read(app)?;
    let limit = presenter.visit.live.settings.terminal_idle.0;
    let is_locked = standing.is_some_and(|standing| {
        standing.is_locked || limit.is_some_and(|limit| standing.idle >= limit)
    });
    let by_code = access.second_factor().is_some();
    let is_stale = access.asks_for_step_up(&session.id, app.clock.now());
    Ok(match (is_locked || is_stale, by_code) {
        (false, _) => None,
        (true, true) => Some(StepUp::Code),
        (true, false) => Some(StepUp::Password),
    })
}

/// Checks what was sent to prove it, and consumes it; without anything, says what is needed.
pub(super) async fn step_up(
    app: &Arc<App>,
    presenter: &Presenter,
    (session, holder): (&SessionIdentity, &Holder),
    offered: Presented,
    needed: StepUp,
) -> Result<(), Error> {
    if offered.is_empty() {
        let event = Event::Terminal {
            holder: holder.who().clone(),
            step: TerminalStep::Refused {
                reason: needed.reason(),
            },
        };
        tell(app, &presenter.visit, &event);
        return Err(TerminalFault::StepUpRequired(needed).into());
    }
    let has_password = offered
        .password
        .as_ref()
        .is_some_and(|text| !text.is_empty());
    match offered.code {
        Some(code) if needed == StepUp::Code && !has_password && offered.passkey.is_none() => {
            by_code(app, presenter, session, &code).await
        }
        code => by_confirmation(app, presenter, session, Presented { code, ..offered }).await,
    }
}

/// The session has proved the password before: a code by itself is the second factor.
async fn by_code(
    app: &Arc<App>,
    presenter: &Presenter,
    session: &SessionIdentity,
    code: &str,
) -> Result<(), Error> {
    let proof = prove_code(app, presenter, code, Purpose::OpenTerminal).await;
    let proof = proof.map_err(|refusal| refusal.at_confirmation("totp_code"))?;
    let is_backup_code = matches!(proof.second, SecondFactor::BackupCode(_));
    let (now, session) = (app.clock.now(), session.id.clone());
    let stepped_up = app.store.update(move |access| {
        access.step_up(&session, &proof, now)?;
        Ok(access.backup_codes_left())
    });
    let stepped_up = stepped_up.await?;
    let left = stepped_up.map_err(|error| refused_late(error, now).at_confirmation("totp_code"))?;
    if is_backup_code {
        tell(app, &presenter.visit, &Event::BackupCodeUsed { left });
    }
    Ok(())
}

async fn by_confirmation(
    app: &Arc<App>,
    presenter: &Presenter,
    session: &SessionIdentity,
    offered: Presented,
) -> Result<(), Error> {
    let demand = Demand::always(Purpose::OpenTerminal);
    let confirmation = confirm(app, presenter, session, offered, demand).await?;
    let now = app.clock.now();
    let confirmed = change(app, presenter, confirmation, move |access, confirmation| {
        access.confirm(confirmation, now).map(drop)
    });
    let confirmed = confirmed.await?;
    confirmed.map_err(|error| refused_late(error, now).at_confirmation("password"))
}
