//! Sessions: listed, ended, and handed to the person who signed in.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::State;
use axum::http::header::HeaderName;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse as _, Response};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::cookies::Cookie;
use super::error::Error;
use super::extract::{Id, Json, NoFields};
use super::guard::AdmittedCaller;
use super::setup::Done;
use super::visit::{Presenter, Visit};
use crate::access::Used;
use crate::access::address::{Network, network_of};
use crate::access::audit::Event;
use crate::access::rfc3339;
use crate::access::sessions::{Factor, Session, SessionSecrets, device_name};
use crate::app::App;

/// Where the account is signed in.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SessionsAnswer {
    success: bool,
    sessions: Vec<ListedSession>,
}

/// One session.
#[derive(Debug, Serialize, ToSchema)]
struct ListedSession {
    /// The name by which it is ended.
    id: String,
    /// Whether it is the one that asks.
    current: bool,
    /// When the person signed in.
    #[schema(format = DateTime)]
    created_at: String,
    /// When it was last used.
    #[schema(format = DateTime)]
    last_seen_at: String,
    /// When it ends at the latest.
    #[schema(format = DateTime)]
    expires_at: String,
    /// From where it was last used.
    #[schema(value_type = String)]
    address: IpAddr,
    /// How near that is: `this_host`, `lan`, `tailnet` or `internet`.
    #[schema(value_type = String)]
    network: Network,
    /// What the browser calls itself.
    user_agent: String,
    /// The same for people: `Firefox on Linux`.
    device: String,
    /// What was proved: `pwd`, `otp`, `recovery`, `passkey`.
    #[schema(value_type = Vec<String>)]
    factors: Vec<Factor>,
}

/// How many sessions ended.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EndedAnswer {
    success: bool,
    message: &'static str,
    ended: usize,
}

/// Lists the live sessions, the one that asks first, then the last used first.
pub(super) async fn list(
    State(app): State<Arc<App>>,
    visit: Visit,
    caller: AdmittedCaller,
) -> Result<axum::Json<SessionsAnswer>, Error> {
    let access = visit.read(&app)?;
    let now = app.clock.now();
    let current = caller.session().map(|session| session.id.as_str());
    let live = access
        .sessions()
        .iter()
        .filter(|session| now < session.expires_at)
        .filter(|session| !app.is_idle(&session.id, &access, &visit.live, now));
    let mut sessions = Vec::from_iter(live.map(|session| {
        let (seen, from) = last_seen(&app, session);
        ListedSession {
            id: session.id.clone(),
            current: Some(session.id.as_str()) == current,
            created_at: rfc3339(session.created_at),
            last_seen_at: rfc3339(seen),
            expires_at: rfc3339(session.expires_at),
            address: from,
            network: network_of(from, &visit.live.on_link),
            device: device_name(&session.user_agent),
            user_agent: session.user_agent.clone(),
            factors: session.factors.clone(),
        }
    }));
    sessions.sort_by(|a, b| {
        let order = (b.current, &b.last_seen_at).cmp(&(a.current, &a.last_seen_at));
        order.then_with(|| a.id.cmp(&b.id))
    });
    Ok(axum::Json(SessionsAnswer {
        success: true,
        sessions,
    }))
}

fn last_seen(app: &App, session: &Session) -> (Timestamp, IpAddr) {
    match app.store.last_use(&Used::Session(session.id.clone())) {
        Some(used) if used.at >= session.last_seen_at => (used.at, used.from),
        _the_record_knows_better => (session.last_seen_at, session.last_address),
    }
}

/// Ends one session.
pub(super) async fn end(
    State(app): State<Arc<App>>,
    visit: Visit,
    Id(id): Id,
) -> Result<axum::Json<Done>, Error> {
    let wanted = id.clone();
    let ended = app
        .store
        .update(move |access| {
            let ended = access.end_sessions(|session| session.id == wanted);
            if ended.is_empty() {
                return Err(Error::SessionNotFound);
            }
            Ok(())
        })
        .await?;
    ended?;
    tell_ended(&app, &visit, [id]);
    Ok(Done::saying("The session has ended."))
}

/// Ends all sessions but the one that asks.
pub(super) async fn end_others(
    State(app): State<Arc<App>>,
    visit: Visit,
    caller: AdmittedCaller,
) -> Result<axum::Json<EndedAnswer>, Error> {
    let current = caller.session().map(|session| session.id.clone());
    let ended = app
        .store
        .update(move |access| {
            let others = |session: &Session| Some(&session.id) != current.as_ref();
            Ok::<_, std::convert::Infallible>(access.end_sessions(others))
        })
        .await?;
    let ended = ended.unwrap_or_default();
    let count = ended.len();
    tell_ended(&app, &visit, ended.into_iter().map(|session| session.id));
    Ok(axum::Json(EndedAnswer {
        success: true,
        message: "All other sessions have ended.",
        ended: count,
    }))
}

fn tell_ended(app: &App, visit: &Visit, ended: impl IntoIterator<Item = String>) {
    let user = user(app);
    for session in ended {
        let actor = visit.actor(user.as_deref());
        app.audit.write(&Event::SessionEnded { session }, &actor);
    }
}

/// Returns the account's name, for the audit log.
pub(super) fn user(app: &App) -> Option<String> {
    let access = app.store.read().ok()?;
    access.account().map(|account| account.username.to_owned())
}

/// Writes down what the account's person did.
pub(super) fn tell(app: &App, visit: &Visit, event: &Event) {
    app.audit.write(event, &visit.actor(user(app).as_deref()));
}

/// Ends the session that asks; the browser forgets its cookie.
pub(super) async fn logout(
    State(app): State<Arc<App>>,
    presenter: Presenter,
    caller: AdmittedCaller,
    Json(NoFields {}): Json<NoFields>,
) -> Result<Response, Error> {
    if let Some(session) = caller.session() {
        let id = session.id.clone();
        let user = user(&app);
        let ended = app
            .store
            .update(move |access| {
                access.end_sessions(|session| session.id == id);
                Ok::<_, std::convert::Infallible>(())
            })
            .await?;
        let Ok(()) = ended;
        let event = Event::SignedOut {
            session: session.id.clone(),
        };
        app.audit
            .write(&event, &presenter.visit.actor(user.as_deref()));
    }
    let mut headers = HeaderMap::new();
    Cookie::Resume.expire(&mut headers, &presenter.reach);
    if presenter.reach.is_https() {
        headers.insert(
            HeaderName::from_static("clear-site-data"),
            HeaderValue::from_static(r#""cache", "storage""#),
        );
    }
    Ok((headers, Done::saying("Signed out.")).into_response())
}

/// Gives a person the cookies that go with a new session.
pub(super) fn hand_over(
    headers: &mut HeaderMap,
    presenter: &Presenter,
    secrets: &SessionSecrets,
    device: Option<&str>,
) {
    Cookie::Resume.set(headers, &secrets.resume, &presenter.reach);
    if let Some(device) = device {
        Cookie::Device.set(headers, device, &presenter.reach);
    }
}
