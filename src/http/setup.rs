//! First launch: a first password, going without, and taking that back.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::error::Error;
use super::extract::Json;
use super::login::SessionAnswer;
use super::proof::{tell_rate_limit, to_the_end};
use super::sessions::hand_over;
use super::visit::Presenter;
use crate::access::Access;
use crate::access::audit::{Event, Method, Purpose};
use crate::access::passwords::{self, BrokenRule, Password, PasswordContext};
use crate::access::profile::UserName;
use crate::access::rights::Door;
use crate::access::setup::{SetUpError, SetupRefusal, SetupVisitor, may_set_up};
use crate::access::sign_in::Arrival;
use crate::app::App;

/// What sets a first password.
#[derive(Deserialize, ToSchema)]
pub(super) struct SetupBody {
    /// The one user name, 1 to 64 characters; it cannot be changed later.
    username: String,
    /// The password.
    password: String,
    /// The claim code, from outside the private networks.
    claim_code: Option<String>,
}

/// What goes without a password, or takes that back.
#[derive(Deserialize, ToSchema)]
pub(super) struct ClaimBody {
    /// The claim code, from outside the private networks.
    claim_code: Option<String>,
}

/// Nobody needs a password from now on.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DeclinedAnswer {
    success: bool,
    message: &'static str,
    auth_declined: bool,
}

/// It is done.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Done {
    success: bool,
    message: &'static str,
}

impl Done {
    /// Answers with a sentence.
    pub(super) fn saying(message: &'static str) -> axum::Json<Self> {
        axum::Json(Self {
            success: true,
            message,
        })
    }
}

/// Sets the first password and signs its person in.
pub(super) async fn set_up(
    State(app): State<Arc<App>>,
    presenter: Presenter,
    body: Result<Json<SetupBody>, Error>,
) -> Result<Response, Error> {
    refuse_if_protected(&app, &presenter)?;
    let Json(body) = body?;
    to_the_end(async move {
        permit(&app, &presenter, body.claim_code.as_deref())?;
        let username = UserName::parse(&body.username).map_err(Error::UserName)?;
        let password = Password::new(body.password);
        check_policy(&app, username.as_str(), &password).map_err(|rules| Error::WeakPassword {
            field: "password",
            rules,
        })?;
        let priority = presenter.priority(None);
        let hash = app.derivations.hash(priority, password).await;
        let hash = hash.map_err(|_busy| Error::Busy)?;
        let hash = hash.map_err(|error| Error::Internal(error.into()))?;
        let now = app.clock.now();
        let user = username.clone();
        let arrival = Arrival {
            origin: presenter.origin(),
            device: None,
        };
        let signed_in = app
            .store
            .update(move |access| access.set_up(user.clone(), hash.clone(), &arrival, now))
            .await?
            .map_err(set_up_error)?;
        let actor = presenter.visit.actor(Some(username.as_str()));
        app.audit.write(&Event::SetUp, &actor);
        let mut headers = HeaderMap::new();
        let device = signed_in.device.as_deref().map(String::as_str);
        hand_over(&mut headers, &presenter, &signed_in.secrets, device);
        let answer = SessionAnswer::new(&signed_in.secrets.token, "The password is set.");
        Ok((headers, axum::Json(answer)).into_response())
    })
    .await
}

/// Records that the owner goes without a password.
pub(super) async fn decline(
    State(app): State<Arc<App>>,
    presenter: Presenter,
    body: Result<Json<ClaimBody>, Error>,
) -> Result<axum::Json<DeclinedAnswer>, Error> {
    refuse_if_protected(&app, &presenter)?;
    let Json(body) = body?;
    permit(&app, &presenter, body.claim_code.as_deref())?;
    let declined = app.store.update(Access::decline).await?;
    declined.map_err(set_up_error)?;
    app.audit
        .write(&Event::Declined, &presenter.visit.actor(None));
    Ok(axum::Json(DeclinedAnswer {
        success: true,
        message: "This dashboard goes without a password. You can set one at any time.",
        auth_declined: true,
    }))
}

/// Takes "continue without protection" back, so that set-up comes first again.
pub(super) async fn enable(
    State(app): State<Arc<App>>,
    presenter: Presenter,
    body: Result<Json<ClaimBody>, Error>,
) -> Result<axum::Json<Done>, Error> {
    refuse_if_protected(&app, &presenter)?;
    let Json(body) = body?;
    permit(&app, &presenter, body.claim_code.as_deref())?;
    let taken_back = app.store.update(Access::take_back_decline).await?;
    taken_back.map_err(set_up_error)?;
    app.audit
        .write(&Event::DeclineTakenBack, &presenter.visit.actor(None));
    Ok(Done::saying("Set a password up now."))
}

/// Says first of all that there is nothing to set up, whatever the body is.
fn refuse_if_protected(app: &App, presenter: &Presenter) -> Result<(), Error> {
    let access = presenter.visit.read(app)?;
    match access.door() {
        Door::Protected => Err(Error::AlreadyConfigured),
        Door::NotConfigured | Door::Open => Ok(()),
    }
}

/// Applies the rule of set-up. A wrong claim code counts as a failure.
fn permit(app: &Arc<App>, presenter: &Presenter, claim_code: Option<&str>) -> Result<(), Error> {
    let visit = &presenter.visit;
    let visitor = SetupVisitor {
        is_private: visit.client.is_private(),
        host_allowed: visit.host_allowed,
        claim_code: claim_code.filter(|code| !code.is_empty()),
    };
    let code = app.claim_code.current();
    let setting = visit.live.settings.setup;
    let decide = || may_set_up(setting, visitor, code.as_ref()).map_err(Error::SetUp);
    if visitor.claim_code.is_none() {
        return decide();
    }
    let now = app.clock.now();
    let held = app.limits.begin(&presenter.source(None), now);
    let held = held.map_err(|refusal| {
        tell_rate_limit(app, presenter, None, (refusal.reason, now));
        let address = visit.client.address;
        Error::TooManyAttempts { refusal, address }
    })?;
    let outcome = decide();
    if matches!(outcome, Err(Error::SetUp(SetupRefusal::CodeWrong))) {
        let _penalty_is_told_at_the_next_try = held.fail(now);
        let event = Event::Failed {
            method: Method::ClaimCode,
            purpose: Purpose::SetUp,
        };
        app.audit.write(&event, &visit.actor(None));
    }
    outcome
}

/// Judges a new password for `username` on this host.
pub(super) fn check_policy(
    app: &App,
    username: &str,
    password: &Password,
) -> Result<(), Vec<BrokenRule>> {
    let identity = app.system.identity();
    let context = PasswordContext {
        username,
        host_names: &identity.names,
    };
    passwords::check(password, &context)
}

fn set_up_error(error: SetUpError) -> Error {
    match error {
        SetUpError::AlreadyConfigured => Error::AlreadyConfigured,
        SetUpError::NotDeclined => Error::NotDeclined,
        SetUpError::Session(error) => Error::Internal(error.into()),
        SetUpError::Random(error) => Error::Internal(error.into()),
    }
}
