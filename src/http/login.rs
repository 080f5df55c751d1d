//! Signing in, and picking a session up again after a reload.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::cookies::{Cookie, Reach};
use super::error::{Error, Stage};
use super::extract::{Json, NoFields};
use super::passkeys;
use super::proof::{Claimed, ProofRefusal, Proven, prove, refused_late, to_the_end};
use super::sessions::hand_over;
use super::visit::{Presenter, Visit};
use crate::access::audit::{Event, Method, Purpose};
use crate::access::digest::Digest;
use crate::access::passkeys::{PasskeySignInError, UsePasskeyError};
use crate::access::passwords::Password;
use crate::access::rights::{Door, Refusal};
use crate::access::sessions::{Factor, Session};
use crate::access::sign_in::{Arrival, SecondFactor, SignInError, SignedIn};
use crate::access::{Access, Use, Used};
use crate::app::App;
use crate::store::{Kept, StoreError};

/// What signs in.
#[derive(Deserialize, ToSchema)]
pub(super) struct LoginBody {
    /// The user name.
    username: String,
    /// The password.
    password: String,
    /// Six digits of the authenticator app, or a backup code; only asked for with two-factor on.
    totp_token: Option<String>,
}

/// A session.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SessionAnswer {
    success: bool,
    /// The session token, for `Authorization: Bearer`.
    token: String,
    message: &'static str,
    /// How many backup codes are left, where one was used.
    #[serde(skip_serializing_if = "Option::is_none")]
    backup_codes_left: Option<usize>,
    /// True where the session lives in memory only, since the state could not be written.
    #[serde(skip_serializing_if = "Option::is_none")]
    kept_in_memory: Option<bool>,
}

impl SessionAnswer {
    /// Answers with a token.
    pub(super) fn new(token: &str, message: &'static str) -> Self {
        Self {
            success: true,
            token: token.to_owned(),
            message,
            backup_codes_left: None,
            kept_in_memory: None,
        }
    }
}

/// The password was right, and a code is asked for.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CodeNeeded {
    success: bool,
    requires_totp: bool,
    code: &'static str,
    message: &'static str,
}

impl CodeNeeded {
    fn to_sign_in() -> Response {
        Self::answer(
            "totp_required",
            "Enter a code from the authenticator app or a backup code.",
        )
    }

    /// Asks for a code to make an API token, which old clients expect as a success.
    pub(super) fn to_make_a_token() -> Response {
        Self::answer(
            "code_required",
            "Enter a code from the authenticator app or a backup code too.",
        )
    }

    fn answer(code: &'static str, message: &'static str) -> Response {
        let answer = Self {
            success: false,
            requires_totp: true,
            code,
            message,
        };
        axum::Json(answer).into_response()
    }
}

/// Opens a session for a right password and, where it is on, the second factor.
pub(super) async fn login(
    State(app): State<Arc<App>>,
    presenter: Presenter,
    Json(body): Json<LoginBody>,
) -> Result<Response, Error> {
    to_the_end(async move {
        let claimed = Claimed {
            username: Some(body.username),
            password: Password::new(body.password),
            code: body.totp_token.filter(|code| !code.trim().is_empty()),
            purpose: Purpose::SignIn,
            confirms: None,
        };
        let mut outcome = attempt(&app, &presenter, claimed.clone()).await?;
        if matches!(outcome, Err(ProofRefusal::Changed)) {
            // Another sign-in made the hash stronger meanwhile; against that one it may hold.
            outcome = attempt(&app, &presenter, claimed).await?;
        }
        match outcome {
            Ok(response) => Ok(response),
            Err(refusal) => at_sign_in(refusal),
        }
    })
    .await
}

async fn attempt(
    app: &Arc<App>,
    presenter: &Presenter,
    claimed: Claimed,
) -> Result<Result<Response, ProofRefusal>, Error> {
    match prove(app, presenter, claimed).await {
        Ok(proven) => sign_in(app, presenter, proven).await,
        Err(refusal) => Ok(Err(refusal)),
    }
}

/// Says a refusal to somebody who signs in. A code that is merely missing is no failure.
fn at_sign_in(refusal: ProofRefusal) -> Result<Response, Error> {
    Err(match refusal {
        ProofRefusal::CodeRequired => {
            return Ok(CodeNeeded::to_sign_in());
        }
        ProofRefusal::WrongPassword
        | ProofRefusal::Changed
        | ProofRefusal::NotProtected
        | ProofRefusal::SessionEnded => Error::InvalidCredentials,
        ProofRefusal::WrongCode(skew) => Error::WrongCode { skew },
        ProofRefusal::CodeAlreadyUsed(retry_after) => Error::CodeAlreadyUsed {
            stage: Stage::SignIn,
            retry_after,
        },
        ProofRefusal::TooMany(refusal, address) => Error::TooManyAttempts { refusal, address },
        ProofRefusal::Busy => Error::Busy,
        ProofRefusal::Locked(error) => error,
    })
}

/// Opens the session. A full disk does not keep the owner out, unless a backup code would then
/// count twice.
async fn sign_in(
    app: &Arc<App>,
    presenter: &Presenter,
    proven: Proven,
) -> Result<Result<Response, ProofRefusal>, Error> {
    let now = app.clock.now();
    let Proven { proof, device } = proven;
    let user = proof.username.clone();
    let must_be_durable = matches!(proof.second, Some(SecondFactor::BackupCode(_)));
    let arrival = Arrival {
        origin: presenter.origin(),
        device,
    };
    let change = move |access: &mut Access| access.sign_in(&proof, &arrival, now);
    let signed_in = if must_be_durable {
        let signed_in = app.store.update(change).await;
        signed_in.map(|outcome| outcome.map(|signed_in| (signed_in, Kept::OnDisk)))
    } else {
        app.store.update_or_keep(change).await
    };
    let signed_in = signed_in.map_err(|error| at_storage(presenter, error))?;
    match signed_in {
        Ok((signed_in, kept)) => Ok(Ok(answer(app, presenter, &user, (signed_in, kept)))),
        Err(SignInError::Proof(refusal)) => Ok(Err(refused_late(refusal, now))),
        Err(SignInError::Session(error)) => Err(Error::Internal(error.into())),
    }
}

/// Opens a session for what a passkey proved. A full disk does not keep the owner out.
pub(super) async fn open_with_passkey(
    app: &Arc<App>,
    presenter: &Presenter,
    proven: passkeys::Proven,
) -> Result<Result<Response, UsePasskeyError>, Error> {
    let now = app.clock.now();
    let arrival = Arrival {
        origin: presenter.origin(),
        device: proven.device,
    };
    let (assertion, user) = (proven.assertion, proven.username);
    let opened = app
        .store
        .update_or_keep(move |access| access.sign_in_with_passkey(&assertion, &arrival, now));
    let opened = opened.await.map_err(|error| at_storage(presenter, error))?;
    match opened {
        Ok(opened) => Ok(Ok(answer(app, presenter, &user, opened))),
        Err(PasskeySignInError::Use(refusal)) => Ok(Err(refusal)),
        Err(PasskeySignInError::Session(error)) => Err(Error::Internal(error.into())),
    }
}

fn at_storage(presenter: &Presenter, error: StoreError) -> Error {
    match &error {
        StoreError::Locked(lock) => presenter.visit.locked(lock.clone()),
        StoreError::Full
        | StoreError::Gone
        | StoreError::Busy
        | StoreError::Failed(_)
        | StoreError::Stopping => Error::from(error),
    }
}

fn answer(
    app: &App,
    presenter: &Presenter,
    user: &str,
    (signed_in, kept): (SignedIn, Kept),
) -> Response {
    let actor = presenter.visit.actor(Some(user));
    let event = Event::SignedIn {
        method: strongest(&signed_in.factors),
        session: signed_in.secrets.id.clone(),
    };
    app.audit.write(&event, &actor);
    if let Some(left) = signed_in.backup_codes_left {
        app.audit.write(&Event::BackupCodeUsed { left }, &actor);
    }
    let mut answer = SessionAnswer::new(&signed_in.secrets.token, "Signed in.");
    answer.backup_codes_left = signed_in.backup_codes_left;
    if kept == Kept::InMemory {
        answer.kept_in_memory = Some(true);
        answer.message = "Signed in. The state could not be written, so this session ends when the server stops.";
    }
    let mut headers = HeaderMap::new();
    let device = signed_in.device.as_deref().map(String::as_str);
    hand_over(&mut headers, presenter, &signed_in.secrets, device);
    (headers, axum::Json(answer)).into_response()
}

fn strongest(factors: &[Factor]) -> Method {
    if factors.contains(&Factor::Passkey) {
        Method::Passkey
    } else if factors.contains(&Factor::Recovery) {
        Method::BackupCode
    } else if factors.contains(&Factor::Otp) {
        Method::Code
    } else {
        Method::Password
    }
}

/// Finds the session by its cookie of plain HTTP, for a person who comes over to HTTPS while that is
/// being tried.
fn plain_cookie_on_trial<'a>(
    app: &App,
    access: &'a Access,
    headers: &'a HeaderMap,
    reach: &Reach,
) -> Option<(&'a Session, &'a [u8])> {
    if !reach.is_https() || app.tls.trial().is_none() {
        return None;
    }
    let mut cookies = Cookie::Resume
        .values(headers, &reach.over_plain_http())
        .take(8);
    cookies.find_map(|value| {
        let session = access.sessions().find_by_resume(&Digest::of(value))?;
        app.tls
            .admits_plain_cookie(&session.id)
            .then_some((session, value))
    })
}

/// Gives the token of the session that the resume cookie belongs to.
pub(super) async fn resume(
    State(app): State<Arc<App>>,
    visit: Visit,
    headers: HeaderMap,
    body: Result<Json<NoFields>, Error>,
) -> Result<Response, Error> {
    let access = visit.read(&app)?;
    if access.door() == Door::NotConfigured {
        return Err(Refusal::SetupRequired.into());
    }
    let Json(NoFields {}) = body?;
    let now = app.clock.now();
    let reach = Reach::of(&headers, visit.client.https);
    let mut cookies = Cookie::Resume.values(&headers, &reach).take(8);
    let found = cookies.find_map(|value| {
        let session = access.sessions().find_by_resume(&Digest::of(value))?;
        Some((session, value))
    });
    let found = found.or_else(|| plain_cookie_on_trial(&app, &access, &headers, &reach));
    let (session, cookie) = found.ok_or(Error::NoSession)?;
    let is_over = session.expires_at <= now;
    if is_over || app.is_idle(&session.id, &access, &visit.live, now) {
        return Err(Error::NoSession);
    }
    let (Some(account), Some(secret)) = (access.account(), access.signing_secret()) else {
        return Err(Error::NoSession);
    };
    let token = session
        .token(account.username, secret)
        .map_err(|error| Error::Internal(error.into()))?;
    // Another secret or name gives another token, which is not this session's.
    if Digest::of(token.as_bytes()) != session.token_hash {
        return Err(Error::NoSession);
    }
    app.store.note_use(Use {
        what: Used::Session(session.id.clone()),
        at: now,
        from: visit.client.address,
        scope: None,
    });
    let event = Event::SessionResumed {
        session: session.id.clone(),
    };
    app.audit
        .write(&event, &visit.actor(Some(account.username)));
    let mut answer = HeaderMap::new();
    let left = session.expires_at.duration_since(now);
    let cookie = String::from_utf8_lossy(cookie);
    Cookie::Resume.set_for(&mut answer, &cookie, &reach, left);
    let body = SessionAnswer::new(&token, "Session resumed.");
    Ok((answer, axum::Json(body)).into_response())
}
