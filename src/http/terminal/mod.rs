//! The terminal: tickets, the socket of a window, and the watch over those who hold one.
//!
//! A ticket is asked for with the token; with the ticket a window opens its socket. As long as the
//! shell runs, whether its holder still may have it is asked twice a second.

mod fault;
mod frames;
mod socket;
mod step_up;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::ws::{WebSocket, WebSocketUpgrade};
use axum::extract::{FromRequestParts as _, Request, State};
use axum::http::HeaderMap;
use axum::http::header::ORIGIN;
use axum::http::request::Parts;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::confirm::Presented;
use super::error::Error;
use super::extract::Json;
use super::guard::{AdmittedCaller, presented};
use super::passkeys::PresentedPasskey;
use super::proof::to_the_end;
use super::sessions::user;
use super::visit::{Presenter, Visit};
use crate::access::audit::{Actor, Event};
use crate::access::hosts::websocket_origin_allowed;
use crate::access::rights::{Caller, Door};
use crate::access::terminal::{Bearer, Holder, TerminalStep, Who};
use crate::access::{Use, Used};
use crate::app::App;
use crate::host::pty::Size;
use crate::store::State as Stored;
use crate::terminals::{
    self, Admission, Connection, End, Ended, MOST, OpenError, Place, Return, TicketError, tickets,
};

pub(super) use fault::TerminalFault;

/// The largest message that a window may send: a large paste.
const MOST_KEYS: usize = 1024 * 1024;
/// How often one looks whether a holder still may have a terminal.
const LOOK_EVERY: Duration = Duration::from_millis(400);
/// How often typing counts as a use of the session.
const NOTE_EVERY: Duration = Duration::from_secs(10);

/// What asks for a ticket.
#[derive(Deserialize, ToSchema)]
pub(super) struct TicketBody {
    /// The terminal to come back to; a new one if none is named.
    resume: Option<String>,
    /// The current password, to open a lock where two-factor is off.
    password: Option<String>,
    /// A code, where a second factor must be proved again; `totp_token` is taken too.
    #[serde(alias = "totp_token")]
    totp_code: Option<String>,
    /// A passkey, in place of both.
    passkey: Option<PresentedPasskey>,
}

/// A ticket for one socket.
#[derive(Serialize, ToSchema)]
pub(super) struct TicketAnswer {
    success: bool,
    /// What goes into the address of the socket.
    ticket: String,
    /// For how many seconds it is good.
    ttl_seconds: i64,
    /// The terminal that it opens.
    terminal_id: String,
}

/// How many terminals there are.
#[derive(Serialize, ToSchema)]
pub(super) struct HealthAnswer {
    success: bool,
    /// How many shells run.
    terminals: usize,
    /// How many may.
    most: usize,
}

/// Says how many terminals there are.
pub(super) async fn health(State(app): State<Arc<App>>) -> axum::Json<HealthAnswer> {
    axum::Json(HealthAnswer {
        success: true,
        terminals: app.terminals.count(),
        most: MOST,
    })
}

/// Gives a ticket to a terminal.
pub(super) async fn ticket(
    State(app): State<Arc<App>>,
    presenter: Presenter,
    caller: AdmittedCaller,
    headers: HeaderMap,
    Json(body): Json<TicketBody>,
) -> Result<axum::Json<TicketAnswer>, Error> {
    to_the_end(async move {
        let holder = holder(&app, &presenter.visit, &caller, &headers)?;
        let standing = match &body.resume {
            Some(id) => {
                let standing = app.terminals.standing(id, holder.who());
                Some(standing.ok_or(TicketError::Gone)?)
            }
            None => None,
        };
        let mut how = Return::Unasked;
        if let Some(session) = caller.session()
            && let Some(needed) = step_up::needed(&app, &presenter, session, standing)?
        {
            let offered = Presented {
                password: body.password,
                code: body.totp_code,
                passkey: body.passkey,
            };
            step_up::step_up(&app, &presenter, (session, &holder), offered, needed).await?;
            how = Return::Confirmed;
        }
        let now = app.clock.now();
        let (ticket, terminal_id) = match body.resume {
            Some(id) => {
                let ticket = app.terminals.ticket_to_running(holder, (&id, how), now)?;
                (ticket, id)
            }
            None => app.terminals.ticket_to_new(holder, now)?,
        };
        Ok(axum::Json(TicketAnswer {
            success: true,
            ticket,
            ttl_seconds: tickets::LIFETIME.as_secs(),
            terminal_id,
        }))
    })
    .await
}

/// Says by what somebody who was let in holds a terminal.
fn holder(
    app: &App,
    visit: &Visit,
    caller: &AdmittedCaller,
    headers: &HeaderMap,
) -> Result<Holder, Error> {
    let who = match &caller.0 {
        Caller::Session(session) => Who::Session(session.id.clone()),
        Caller::Token(token) => Who::Token(token.id.clone()),
        Caller::OpenMode => return Ok(Holder::open_mode(visit.client.address)),
        Caller::Anyone => return Err(anyhow::anyhow!("a terminal was asked for by nobody").into()),
    };
    let access = visit.read(app)?;
    let (hash, claims, secret) = presented(app, &access, headers)
        .ok_or_else(|| anyhow::anyhow!("who was let in presented nothing"))?;
    let bearer = Bearer {
        hash,
        claims,
        secret,
        address: visit.client.matched_address(),
    };
    Ok(Holder::bearer(who, bearer))
}

/// Opens the socket of a window.
pub(super) async fn connect(
    State(app): State<Arc<App>>,
    visit: Visit,
    caller: AdmittedCaller,
    request: Request,
) -> Result<Response, Error> {
    let (mut parts, _no_body) = request.into_parts();
    let access = visit.read(&app)?;
    if !is_own_page(&parts, &visit, access.door()) {
        return Err(Error::ForeignOrigin);
    }
    let ticket = parameter(&parts, "ticket").ok_or(TerminalFault::TicketInvalid)?;
    let ticket = ticket.to_owned();
    let size = size(&parts);
    let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &())
        .await
        .map_err(|_plain_request| TerminalFault::UpgradeRequired)?;
    let admission = app.terminals.redeem(&ticket, app.clock.now());
    let admission = admission.filter(|admission| {
        is_same(&caller, &admission.holder) && may_have(&app, &admission.holder) == Verdict::Yes
    });
    let admission = admission.ok_or(TerminalFault::TicketInvalid)?;
    let window = Window {
        app,
        visit,
        admission,
        size,
    };
    let upgrade = upgrade
        .max_message_size(MOST_KEYS)
        .max_frame_size(MOST_KEYS)
        .read_buffer_size(16 * 1024);
    Ok(upgrade.on_upgrade(move |socket| window.serve(socket)))
}

/// Whether the request comes from a page of ours, or from no page at all. Without a password
/// only the page gets a terminal.
fn is_own_page(parts: &Parts, visit: &Visit, door: Door) -> bool {
    let authority = parts.uri.authority().map(ToString::to_string);
    let allowed = &visit.live.settings.cors_origins;
    let is_said = parts.headers.contains_key(ORIGIN);
    websocket_origin_allowed(&parts.headers, authority.as_deref(), allowed)
        && (is_said || door != Door::Open)
}

/// A ticket needs no token; who sends one all the same must be the one whose ticket it is.
fn is_same(caller: &AdmittedCaller, holder: &Holder) -> bool {
    match (&caller.0, holder.who()) {
        (Caller::Session(session), Who::Session(id)) => session.id == *id,
        (Caller::Token(token), Who::Token(id)) => token.id == *id,
        (Caller::Session(_) | Caller::Token(_), _) => false,
        (Caller::Anyone | Caller::OpenMode, _) => true,
    }
}

fn parameter<'a>(parts: &'a Parts, name: &str) -> Option<&'a str> {
    let pairs = parts.uri.query().unwrap_or_default().split('&');
    let mut pairs = pairs.filter_map(|pair| pair.split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// The size that the window says it has; none if it says nothing that can be.
fn size(parts: &Parts) -> Option<Size> {
    let number = |name| parameter(parts, name)?.parse().ok();
    Size::new(number("cols")?, number("rows")?)
}

/// Whether a holder may have a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Yes,
    No,
    /// The state cannot be trusted, so nobody knows.
    Unknown,
}

fn may_have(app: &App, holder: &Holder) -> Verdict {
    let state = app.store.state();
    let Stored::Ready(access) = &*state else {
        return Verdict::Unknown;
    };
    let (now, live) = (app.clock.now(), app.live());
    let is_idle = holder
        .session()
        .is_some_and(|session| app.is_idle(session, access, &live, now));
    if access.keeps_terminal(holder, now) && !is_idle {
        Verdict::Yes
    } else {
        Verdict::No
    }
}

/// A window whose socket is being opened.
struct Window {
    app: Arc<App>,
    visit: Visit,
    admission: Admission,
    size: Option<Size>,
}

impl Window {
    async fn serve(self, socket: WebSocket) {
        match self.connect() {
            Ok(connection) => {
                let on_keys = self.note_use();
                socket::run(socket, connection, on_keys).await;
            }
            Err(error) => {
                tracing::warn!(terminal = self.admission.place.id(), "no terminal: {error}");
                socket::refuse(socket).await;
            }
        }
    }

    fn connect(&self) -> Result<Connection, OpenError> {
        let holder = &self.admission.holder;
        match &self.admission.place {
            Place::New(id) => {
                let size = self.size.unwrap_or_default();
                let on_end = self.on_end(id.clone());
                let opened = self
                    .app
                    .terminals
                    .open((id, holder.clone()), size, on_end)?;
                let terminal = id.clone();
                self.tell(TerminalStep::Opened { terminal });
                tokio::spawn(watch(Arc::clone(&self.app), id.clone(), holder.clone()));
                Ok(opened)
            }
            Place::Running(id, how) => {
                let back = self
                    .app
                    .terminals
                    .come_back((id, *how), holder.who(), self.size)?;
                let terminal = id.clone();
                self.tell(TerminalStep::Resumed { terminal });
                Ok(back)
            }
        }
    }

    fn actor(&self) -> Actor {
        let user = match self.admission.holder.who() {
            Who::Session(_) => user(&self.app),
            Who::Token(id) => {
                let access = self.app.store.read().ok();
                let token = access
                    .as_ref()
                    .and_then(|access| access.api_tokens().find_by_id(id));
                token.map(|token| format!("{}@api", token.name()))
            }
            Who::OpenMode(_) => None,
        };
        self.visit.actor(user.as_deref())
    }

    fn tell(&self, step: TerminalStep) {
        let holder = self.admission.holder.who().clone();
        let event = Event::Terminal { holder, step };
        self.app.audit.write(&event, &self.actor());
    }

    fn on_end(&self, terminal: String) -> terminals::OnEnd {
        let (app, actor) = (Arc::clone(&self.app), self.actor());
        let holder = self.admission.holder.who().clone();
        Box::new(move |Ended { reason, after }| {
            let step = TerminalStep::Closed {
                terminal,
                reason,
                seconds: after.as_secs(),
            };
            let event = Event::Terminal { holder, step };
            app.audit.write(&event, &actor);
        })
    }

    /// Who types uses the session: a person at work in a terminal is not idle.
    fn note_use(&self) -> impl FnMut() + use<> {
        let (app, from) = (Arc::clone(&self.app), self.visit.client.address);
        let session = self.admission.holder.session().map(str::to_owned);
        let mut noted: Option<Instant> = None;
        move || {
            let is_new = noted.is_none_or(|at| at.elapsed() >= NOTE_EVERY);
            if let (Some(session), true) = (&session, is_new) {
                noted = Some(Instant::now());
                app.store.note_use(Use {
                    what: Used::Session(session.clone()),
                    at: app.clock.now(),
                    from,
                    scope: None,
                });
            }
        }
    }
}

/// Looks after a terminal: ends it with its holder, and locks it when nobody types.
async fn watch(app: Arc<App>, terminal: String, holder: Holder) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let Some(standing) = app.terminals.standing(&terminal, holder.who()) else {
            return;
        };
        match may_have(&app, &holder) {
            Verdict::No => {
                app.terminals.end(&terminal, End::HolderGone);
                return;
            }
            Verdict::Unknown if standing.is_attached => app.terminals.suspend(&terminal),
            Verdict::Yes | Verdict::Unknown => {}
        }
        // Nobody could open the lock of a program's terminal, or of one without a password.
        let limit = app.live().settings.terminal_idle.0;
        let is_left = limit.is_some_and(|limit| standing.idle >= limit);
        if is_left && standing.is_attached && holder.session().is_some() {
            app.terminals.lock(&terminal);
        }
    }
}
