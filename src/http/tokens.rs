//! API tokens: made, listed, replaced, revoked.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::confirm::{Demand, Presented, change, confirm};
use super::error::{Error, TokenWishError};
use super::extract::{Id, Json};
use super::guard::AdmittedCaller;
use super::login::CodeNeeded;
use super::passkeys::PresentedPasskey;
use super::proof::{refused_late, to_the_end};
use super::sessions::{tell, user};
use super::setup::Done;
use super::visit::{Presenter, Visit};
use crate::access::audit::{Event, Purpose};
use crate::access::label::Label;
use crate::access::rights::Scope;
use crate::access::tokens::lifecycle::{
    Days, IssueError, IssuedToken, MAX_NETWORKS, Overlap, Revoked, RotateError, Rotated,
    TerminalRight, TokenWish, days_left, parse_network,
};
use crate::access::tokens::{ApiToken, Invalidation, Shown};
use crate::access::{Access, Used, rfc3339};
use crate::app::App;
use crate::token_memory::TokenRefused;

/// What a token is called if nobody says.
const USUAL_NAME: &str = "API Token";

/// What makes a token.
#[derive(Deserialize, ToSchema)]
pub(super) struct CreateBody {
    /// The current password.
    password: Option<String>,
    /// A code, if two-factor is on; `totp_code` is taken too.
    #[serde(alias = "totp_code")]
    totp_token: Option<String>,
    /// A passkey, in place of both.
    passkey: Option<PresentedPasskey>,
    /// Its name in the list: up to 64 characters; `API Token` if none is given.
    token_name: Option<String>,
    /// How far it reaches: `metrics`, `read_only` (the usual one), `operator` or `full_admin`.
    scope: Option<String>,
    /// For how many days it lives: 1 to 365 (the usual one).
    expires_in_days: Option<i64>,
    /// From where it may be used: addresses and networks in CIDR notation; none is everywhere.
    allowed_networks: Option<Vec<String>>,
    /// Whether it may open a terminal, which asks for `full_admin`.
    terminal: Option<bool>,
}

/// What makes a successor.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RotateBody {
    /// The current password.
    password: Option<String>,
    /// A code, if two-factor is on; `totp_token` is taken too.
    #[serde(alias = "totp_token")]
    totp_code: Option<String>,
    /// A passkey, in place of both.
    passkey: Option<PresentedPasskey>,
    /// For how many hours the old token goes on: 0 to 720, usually 24.
    overlap_hours: Option<i64>,
    /// For how many days the new one lives: 1 to 365 (the usual one).
    expires_in_days: Option<i64>,
}

/// A new token, shown once.
#[derive(Serialize, ToSchema)]
pub(super) struct IssuedAnswer {
    success: bool,
    message: &'static str,
    /// The token, for `Authorization: Bearer`.
    token: String,
    /// Its name.
    token_name: String,
    /// How long it lives, in words: `365 days`.
    expires_in: String,
    /// Its id in the list.
    id: String,
    /// How far it reaches.
    #[schema(value_type = String)]
    scope: Scope,
    /// When it ends.
    #[schema(format = DateTime)]
    expires_at: String,
    /// `…` and its last four characters.
    token_prefix: String,
    /// Its last four characters.
    last4: String,
    /// The id of the token that it replaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    replaces: Option<String>,
    /// When that one ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    old_ends_at: Option<String>,
}

/// The tokens there are.
#[derive(Serialize, ToSchema)]
pub(super) struct TokensAnswer {
    success: bool,
    tokens: Vec<ListedToken>,
}

/// One token, as far as its entry and the memory know it.
#[derive(Serialize, ToSchema)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "what old clients and the page read"
)]
struct ListedToken {
    /// The name by which it is revoked.
    id: String,
    /// What the owner called it.
    name: String,
    /// How far it reaches; `unknown` for an old entry that was never used.
    scope: String,
    /// Whether it may open a terminal.
    terminal: bool,
    /// `…` and the token's last four characters.
    token_prefix: Option<String>,
    /// The token's last four characters.
    last4: Option<String>,
    /// When it was made, as the entry has it.
    created_at: Option<String>,
    /// When it ends, as the entry has it.
    expires_at: Option<String>,
    /// Days until it ends, a begun one counted whole; 0 where it has ended.
    days_left: Option<i64>,
    /// When it was last used.
    last_used_at: Option<String>,
    /// From where it was last used.
    last_used_from: Option<String>,
    /// From where it may be used; none is everywhere.
    allowed_networks: Vec<String>,
    /// Whether its owner revoked it.
    revoked: bool,
    /// Whether it counts; null where the list cannot tell.
    valid: Option<bool>,
    /// Why it does not: `revoked`, `rotated`, `expired`, `secret_changed`.
    #[schema(value_type = Option<String>)]
    invalidation_reason: Option<Invalidation>,
    /// When it ends because a successor was made.
    #[schema(format = DateTime)]
    ends_at: Option<String>,
    /// The id of its successor.
    replaced_by: Option<String>,
    /// Whether it was used since the successor was made.
    used_since_rotation: bool,
    /// When it was last refused, since the server started.
    #[schema(format = DateTime)]
    last_refused_at: Option<String>,
    /// From where it was last refused.
    last_refused_from: Option<String>,
    /// Why: `revoked`, `rotated`, `expired`, `wrong_network`, `insufficient_scope`,
    /// `unknown_scope`, `secret_changed`.
    last_refused_reason: Option<&'static str>,
    /// Whether the Python program made it.
    legacy: bool,
}

/// Makes a token.
pub(super) async fn create(
    State(app): State<Arc<App>>,
    presenter: Presenter,
    caller: AdmittedCaller,
    Json(body): Json<CreateBody>,
) -> Result<Response, Error> {
    to_the_end(async move {
        let session = caller.session().ok_or(Error::NotProtected)?;
        let wish = wish_of(&body)?;
        let offered = Presented {
            password: body.password,
            code: body.totp_token,
            passkey: body.passkey,
        };
        let demand = Demand::always(Purpose::MakeToken);
        let confirmation = match confirm(&app, &presenter, session, offered, demand).await {
            Ok(confirmation) => confirmation,
            Err(Error::CodeRequired) => return Ok(CodeNeeded::to_make_a_token()),
            Err(error) => return Err(error),
        };
        let now = app.clock.now();
        let issued = change(
            &app,
            &presenter,
            confirmation,
            move |access, confirmation| access.issue_token(confirmation, wish.clone(), now),
        );
        let issued = issued.await?.map_err(|error| refused_issue(error, now))?;
        let event = Event::TokenCreated {
            token: issued.id.clone(),
            scope: issued.wish.scope.name(),
        };
        tell(&app, &presenter.visit, &event);
        let message = "Copy the token now: it is shown this once.";
        Ok(axum::Json(issued_answer(&issued, message)).into_response())
    })
    .await
}

/// Makes a successor of a token.
pub(super) async fn rotate(
    State(app): State<Arc<App>>,
    presenter: Presenter,
    caller: AdmittedCaller,
    Id(id): Id,
    Json(body): Json<RotateBody>,
) -> Result<Response, Error> {
    to_the_end(async move {
        let session = caller.session().ok_or(Error::NotProtected)?;
        let days = days_of(body.expires_in_days)?;
        let overlap = overlap_of(body.overlap_hours)?;
        let offered = Presented {
            password: body.password,
            code: body.totp_code,
            passkey: body.passkey,
        };
        let demand = Demand::always(Purpose::MakeToken);
        let confirmation = confirm(&app, &presenter, session, offered, demand).await?;
        let (now, old) = (app.clock.now(), id.clone());
        let rotated = change(&app, &presenter, confirmation, move |access, confirmation| {
            access.rotate_token(confirmation, (&old, overlap), days, now)
        });
        let Rotated {
            issued,
            old_ends_at,
        } = rotated.await?.map_err(|error| refused_rotation(error, now))?;
        let event = Event::TokenRotated {
            token: id.clone(),
            successor: issued.id.clone(),
        };
        tell(&app, &presenter.visit, &event);
        let message = "Copy the new token now: it is shown this once. The old one goes on until its last hour.";
        let mut answer = issued_answer(&issued, message);
        answer.replaces = Some(id);
        answer.old_ends_at = Some(rfc3339(old_ends_at));
        Ok(axum::Json(answer).into_response())
    })
    .await
}

/// Lists the tokens.
pub(super) async fn list(
    State(app): State<Arc<App>>,
    visit: Visit,
) -> Result<axum::Json<TokensAnswer>, Error> {
    let access = visit.read(&app)?;
    let tokens = access.api_tokens().iter();
    let tokens = tokens.map(|token| listed(&app, &access, token)).collect();
    Ok(axum::Json(TokensAnswer {
        success: true,
        tokens,
    }))
}

/// Revokes a token; its next request fails.
pub(super) async fn revoke(
    State(app): State<Arc<App>>,
    visit: Visit,
    caller: AdmittedCaller,
    Id(id): Id,
) -> Result<axum::Json<Done>, Error> {
    let wanted = id.clone();
    let revoked = app
        .store
        .update(move |access| access.revoke_token(&wanted))
        .await?;
    let revoked = revoked.map_err(|_unknown| Error::TokenNotFound)?;
    if revoked == Revoked::Now {
        let actor = visit.actor(name_of(&app, &caller).as_deref());
        app.audit.write(&Event::TokenRevoked { token: id }, &actor);
    }
    Ok(Done::saying("The token is revoked."))
}

/// Returns who asks, for the log: the account, or the token.
fn name_of(app: &App, caller: &AdmittedCaller) -> Option<String> {
    match caller.token() {
        Some(token) => Some(token.shown_user()),
        None => user(app),
    }
}

fn wish_of(body: &CreateBody) -> Result<TokenWish, TokenWishError> {
    let name = body.token_name.as_deref().map(str::trim);
    let name = name.filter(|name| !name.is_empty()).unwrap_or(USUAL_NAME);
    let name = Label::parse(name).map_err(TokenWishError::Name)?;
    let scope = match body.scope.as_deref() {
        Some(name) => Scope::parse(name).ok_or(TokenWishError::Scope)?,
        None => Scope::ReadOnly,
    };
    let terminal = match body.terminal {
        Some(true) if scope != Scope::FullAdmin => return Err(TokenWishError::Terminal),
        Some(true) => TerminalRight::Granted,
        Some(false) | None => TerminalRight::Withheld,
    };
    Ok(TokenWish {
        name,
        scope,
        days: days_of(body.expires_in_days)?,
        networks: networks_of(body.allowed_networks.as_deref().unwrap_or_default())?,
        terminal,
    })
}

fn days_of(days: Option<i64>) -> Result<Days, TokenWishError> {
    let Some(days) = days else {
        return Ok(Days::default());
    };
    let days = u16::try_from(days).ok().and_then(Days::new);
    days.ok_or(TokenWishError::Expiry)
}

fn overlap_of(hours: Option<i64>) -> Result<Overlap, TokenWishError> {
    let Some(hours) = hours else {
        return Ok(Overlap::default());
    };
    let hours = u16::try_from(hours).ok().and_then(Overlap::from_hours);
    hours.ok_or(TokenWishError::Overlap)
}

fn networks_of(texts: &[String]) -> Result<Vec<IpNet>, TokenWishError> {
    if texts.len() > MAX_NETWORKS {
        return Err(TokenWishError::Network);
    }
    let networks = texts.iter().map(|text| parse_network(text));
    let networks = networks.collect::<Option<Vec<_>>>();
    networks.ok_or(TokenWishError::Network)
}

fn refused_issue(error: IssueError, now: jiff::Timestamp) -> Error {
    match error {
        IssueError::Proof(refusal) => refused_late(refusal, now).at_confirmation("password"),
        IssueError::TerminalNeedsFullAdmin => TokenWishError::Terminal.into(),
        IssueError::Random(_) | IssueError::Unsigned => Error::Internal(error.into()),
    }
}

fn refused_rotation(error: RotateError, now: jiff::Timestamp) -> Error {
    match error {
        RotateError::Issue(error) => refused_issue(error, now),
        RotateError::Unknown(_) => Error::TokenNotFound,
        RotateError::NotReplaceable => TokenWishError::NotReplaceable.into(),
    }
}

fn issued_answer(issued: &IssuedToken, message: &'static str) -> IssuedAnswer {
    let last4 = issued.last_four().to_owned();
    let days = issued.wish.days.get();
    let unit = if days == 1 { "day" } else { "days" };
    IssuedAnswer {
        success: true,
        message,
        token: issued.token.to_string(),
        token_name: issued.wish.name.to_string(),
        expires_in: format!("{days} {unit}"),
        id: issued.id.clone(),
        scope: issued.wish.scope,
        expires_at: rfc3339(issued.expires_at),
        token_prefix: format!("…{last4}"),
        last4,
        replaces: None,
        old_ends_at: None,
    }
}

fn listed(app: &App, access: &Access, token: &ApiToken) -> ListedToken {
    let now = app.clock.now();
    let standing = access.standing(token, now);
    let seen = app.store.last_use(&Used::Token(token.token_hash));
    let learnt = seen.as_ref().and_then(|seen| seen.scope).map(Scope::name);
    let recorded = token.scope.as_deref().filter(|scope| *scope != "unknown");
    let last_used_at = seen.as_ref().map(|seen| rfc3339(seen.at));
    let last_used_at = last_used_at.or_else(|| text(token.last_used_at.as_ref()));
    let last_used_from = seen.map(|seen| seen.from.to_string());
    let last_refused = app.tokens.last_refusal(&token.token_hash);
    let end = token.expires_at();
    ListedToken {
        id: token.id(),
        name: token.name().to_owned(),
        scope: recorded.or(learnt).unwrap_or("unknown").to_owned(),
        terminal: token.terminal == Some(true),
        last4: token.token_prefix.as_ref().and_then(shown_last_four),
        token_prefix: text(token.token_prefix.as_ref()),
        created_at: text(token.created_at.as_ref()),
        expires_at: text(token.expires_at.as_ref()),
        days_left: end.map(|end| days_left(end, now).max(0)),
        used_since_rotation: is_used_since_rotation(token, last_used_at.as_deref()),
        last_used_at,
        last_used_from: last_used_from.or_else(|| text(token.last_used_from.as_ref())),
        allowed_networks: token.allowed_networks.clone().unwrap_or_default(),
        revoked: access.revocations().contains(&token.token_hash),
        valid: standing.is_valid(),
        invalidation_reason: standing.invalidation(),
        ends_at: token.ends_at.map(rfc3339),
        replaced_by: token.replaced_by.clone(),
        last_refused_at: last_refused.map(|TokenRefused { at, .. }| rfc3339(at)),
        last_refused_from: last_refused.map(|TokenRefused { from, .. }| from.to_string()),
        last_refused_reason: last_refused.map(|TokenRefused { reason, .. }| reason),
        legacy: token.is_legacy(),
    }
}

/// The Python program's entries begin with what all tokens begin with, which tells nothing.
fn shown_last_four(prefix: &Shown) -> Option<String> {
    let end = prefix.as_str()?.strip_prefix('…')?;
    Some(end.to_owned())
}

/// Returns what is only shown, where it is a text.
fn text(shown: Option<&Shown>) -> Option<String> {
    shown.and_then(Shown::as_str).map(str::to_owned)
}

fn is_used_since_rotation(token: &ApiToken, last_used_at: Option<&str>) -> bool {
    let used_at = last_used_at.and_then(|text| text.parse::<jiff::Timestamp>().ok());
    let rotated_at = token.rotated_at;
    used_at
        .zip(rotated_at)
        .is_some_and(|(used, rotated)| used > rotated)
}
