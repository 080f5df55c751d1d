//! What every request passes first: who asks, whether a page of another site sends it, and the
//! headers that every answer carries.

use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::header::{self, HeaderName};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Version};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use futures_util::FutureExt as _;

use super::cookies::{Cookie, Reach};
use super::error::{Details, Error};
use super::leftover::Leftover;
use super::tls::{TlsFault, Way};
use crate::access::Access;
use crate::access::address::{Client, Transport, client};
use crate::access::attempts::Source;
use crate::access::audit::Actor;
use crate::access::digest::Digest;
use crate::access::hosts::{host_allowed, named_host, origin_allowed};
use crate::access::rights::Visitor;
use crate::access::sessions::Origin;
use crate::app::{App, Live};
use crate::derivations::Priority;
use crate::store::Lock;

/// Whom a connection comes from, put there by the server that accepted it.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// The other end's address, or that of whom a trusted proxy announced.
    pub address: IpAddr,
    /// Whether a trusted proxy announced it, by the PROXY protocol.
    pub announced: bool,
    /// Whether our own socket encrypts.
    pub transport: Transport,
}

/// Who asks, decided once for each request.
#[derive(Clone, Debug)]
pub(super) struct Visit {
    /// The client.
    pub(super) client: Client,
    /// Whether the request names this host by one of its own names.
    pub(super) host_allowed: bool,
    /// How the connection came to our own socket.
    pub(super) transport: Transport,
    /// What the owner had decided when the request came.
    pub(super) live: Arc<Live>,
    /// How the audit log calls the API token that was let in.
    pub(super) token: Option<String>,
}

impl Visit {
    /// Returns what open mode asks of a visitor.
    pub(super) fn visitor(&self) -> Visitor {
        if !self.client.is_private() && !self.live.settings.open_mode_public {
            Visitor::Outside
        } else if self.host_allowed {
            Visitor::Welcome
        } else {
            Visitor::StrangeHost
        }
    }

    /// Returns who did something, for the audit log: `user`, or the API token that acts in that name.
    pub(super) fn actor(&self, user: Option<&str>) -> Actor {
        Actor {
            address: Some(self.client.address),
            user: self.token.clone().or_else(|| user.map(str::to_owned)),
        }
    }

    /// Returns the rules, unless they cannot be trusted.
    pub(super) fn read(&self, app: &App) -> Result<Arc<Access>, Error> {
        app.store.read().map_err(|lock| self.locked(lock))
    }

    /// Tells private addresses what is wrong with a locked state, and others only that it is.
    pub(super) fn locked(&self, lock: Lock) -> Error {
        let details = if self.client.is_private() {
            Details::Shown
        } else {
            Details::Withheld
        };
        Error::Locked(lock, details)
    }
}

impl<S: Sync> FromRequestParts<S> for Visit {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Error> {
        let visit = parts.extensions.get::<Self>().cloned();
        visit.ok_or_else(|| anyhow::anyhow!("a request came around its first layer").into())
    }
}

/// Who presents a credential, from what browser and device.
#[derive(Clone, Debug)]
pub(super) struct Presenter {
    /// The request.
    pub(super) visit: Visit,
    /// What the browser calls itself.
    pub(super) user_agent: String,
    /// The digests of its device cookies.
    devices: Vec<Digest>,
    /// Where its cookies belong.
    pub(super) reach: Reach,
}

impl Presenter {
    /// Returns the device, if it is one that has signed in before.
    pub(super) fn known_device(&self, access: &Access, now: jiff::Timestamp) -> Option<Digest> {
        let mut devices = self.devices.iter();
        devices.find(|hash| access.knows_device(hash, now)).copied()
    }

    /// Returns what failures are counted by.
    pub(super) fn source(&self, device: Option<Digest>) -> Source {
        match device {
            Some(device) => Source::Device(*device.as_bytes()),
            None => Source::from(&self.visit.client),
        }
    }

    /// Returns the queue for derivations.
    pub(super) fn priority(&self, device: Option<Digest>) -> Priority {
        if device.is_some() || self.visit.client.is_loopback_privileged() {
            Priority::Known
        } else {
            Priority::Stranger
        }
    }

    /// Returns where a session starts.
    pub(super) fn origin(&self) -> Origin {
        Origin {
            address: self.visit.client.address,
            user_agent: self.user_agent.clone(),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Presenter {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let visit = Visit::from_request_parts(parts, state).await?;
        let agent = parts.headers.get(header::USER_AGENT);
        let agent = agent.map(|agent| String::from_utf8_lossy(agent.as_bytes()).into_owned());
        let reach = Reach::of(&parts.headers, visit.client.https);
        Ok(Self {
            user_agent: agent.unwrap_or_default(),
            devices: Cookie::Device
                .digests(&parts.headers, &reach)
                .take(4)
                .collect(),
            reach,
            visit,
        })
    }
}

/// The first layer: decides who asks, turns foreign pages away, and finishes every answer.
pub(super) async fn first(
    State(app): State<Arc<App>>,
    mut request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let live = app.live();
    let Some(peer) = request.extensions().get::<Peer>().copied() else {
        let error = anyhow::anyhow!("a connection came without its peer");
        return Error::from(error).into_response();
    };
    let authority = request.uri().authority().map(ToString::to_string);
    let authority = authority.as_deref();
    let headers = request.headers();
    let client = client_of(peer, headers, &live);
    let host_allowed = host_allowed(headers, authority, &client, &live.host_names);
    let wrong = wrong_from_the_start(&request, authority, &live)
        .map(Error::into_response)
        .or_else(|| encrypted_only(&app, &request, &client, authority));
    let transport = peer.transport;
    let insists = live.settings.hsts && app.tls.may_insist();
    let request_id = app.next_request_id();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let is_api = path.starts_with("/api/");
    let cors = cors_answer(headers, &live);
    let is_preflight = is_preflight(&method, headers, &cors);
    if client.proxied && !client.peer_trusted {
        app.proxies_seen.note(client.peer, app.clock.now());
    }
    request.extensions_mut().insert(Visit {
        client,
        host_allowed,
        transport: peer.transport,
        live,
        token: None,
    });

    let leftover = Leftover::of(&mut request);
    let mut response = match wrong {
        Some(answer) => answer,
        None if is_preflight => StatusCode::NO_CONTENT.into_response(),
        // One bad request cannot end the others on its connection.
        None => AssertUnwindSafe(next.run(request))
            .catch_unwind()
            .await
            .unwrap_or_else(|_panic| {
                Error::from(anyhow::anyhow!("a handler panicked")).into_response()
            }),
    };
    leftover.read_off().await;

    let status = response.status();
    finish(status, response.headers_mut(), is_api, &request_id);
    response.headers_mut().extend(cors);
    if transport == Transport::Tls {
        response
            .headers_mut()
            .insert(header::STRICT_TRANSPORT_SECURITY, insistence(insists));
    }
    let status = status.as_u16();
    let milliseconds = started.elapsed().as_millis();
    tracing::debug!(%method, path, status, client.ip = %client.address, request_id, milliseconds, "answered");
    response
}

/// Decides who the client is.
fn client_of(peer: Peer, headers: &HeaderMap, live: &Live) -> Client {
    let proxies = &live.settings.proxies;
    let client = client(
        peer.address,
        peer.transport,
        headers,
        proxies,
        &live.on_link,
    );
    if peer.announced {
        client.announced()
    } else {
        client
    }
}

/// While TLS is on, answers what comes without: people are led over, and programs are told, since
/// their token must not travel a second time.
fn encrypted_only(
    app: &App,
    request: &Request,
    client: &Client,
    authority: Option<&str>,
) -> Option<Response> {
    if client.https || !app.tls.is_on() {
        return None;
    }
    let path = request.uri().path();
    if path.starts_with("/.well-known/acme-challenge/") && app.acme.answers().is_some() {
        return None;
    }
    let is_status_of_trial =
        path == "/api/ssl/status" && matches!(*request.method(), Method::GET | Method::HEAD);
    if is_status_of_trial
        && app.tls.trial().is_some()
        && !request.headers().contains_key(header::AUTHORIZATION)
    {
        return None;
    }
    let is_for_people = !(path.starts_with("/api/") || path.starts_with("/ws/"))
        && matches!(*request.method(), Method::GET | Method::HEAD);
    let way = if client.proxied && !client.peer_trusted {
        Way::UntrustedProxy
    } else {
        Way::Direct
    };
    let host = named_host(request.headers(), authority);
    match host.filter(|_| is_for_people && way == Way::Direct) {
        Some(host) => redirect_to_https(&host, request),
        None => None,
    }
    .or_else(|| Some(Error::from(TlsFault::HttpsRequired(way)).into_response()))
}

/// Leads a browser over, for this time only (RFC 9110 §15.4.8).
fn redirect_to_https(host: &str, request: &Request) -> Option<Response> {
    let path = request
        .uri()
        .path_and_query()
        .map_or("/", |path| path.as_str());
    let place = HeaderValue::try_from(format!("https://{host}{path}")).ok()?;
    let mut response = StatusCode::TEMPORARY_REDIRECT.into_response();
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, place);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Some(response)
}

/// Tells browsers whether to come back by HTTPS only (RFC 6797 §6.1).
fn insistence(insists: bool) -> HeaderValue {
    HeaderValue::from_static(if insists {
        "max-age=31536000"
    } else {
        "max-age=0"
    })
}

/// Says what no route needs to look at: a request without one host, or sent by another site's page.
fn wrong_from_the_start(request: &Request, authority: Option<&str>, live: &Live) -> Option<Error> {
    let headers = request.headers();
    let hosts = headers.get_all(header::HOST).iter().count();
    if hosts > 1 || (hosts == 0 && request.version() == Version::HTTP_11) {
        return Some(Error::BadHost);
    }
    let is_foreign = changes_something(request.method())
        && !origin_allowed(headers, authority, &live.settings.cors_origins);
    is_foreign.then_some(Error::ForeignOrigin)
}

fn changes_something(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// Whether a browser asks, without the token, if a page of an allowed origin may send a request.
fn is_preflight(method: &Method, headers: &HeaderMap, cors: &HeaderMap) -> bool {
    *method == Method::OPTIONS
        && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
        && cors.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN)
}

/// Adds what every answer carries.
fn finish(status: StatusCode, headers: &mut HeaderMap, is_api: bool, request_id: &str) {
    const EVERYWHERE: [(HeaderName, &str); 6] = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("permissions-policy"),
            "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
        ),
    ];
    headers.reserve(2 * EVERYWHERE.len());
    for (name, value) in EVERYWHERE {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if status != StatusCode::METHOD_NOT_ALLOWED {
        // The router says what a path would take even to those who are turned away.
        headers.remove(header::ALLOW);
    }
    if is_api && !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    if !headers.contains_key(header::CONTENT_SECURITY_POLICY) {
        let nothing = "default-src 'none'; frame-ancestors 'none'; sandbox";
        headers.insert(
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static(nothing),
        );
    }
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert(HeaderName::from_static("x-request-id"), id);
    }
}

/// Returns the headers that let a page of an allowed other origin read an answer.
fn cors_answer(headers: &HeaderMap, live: &Live) -> HeaderMap {
    let mut answer = HeaderMap::new();
    if live.settings.cors_origins.is_empty() {
        return answer;
    }
    let Some(origin) = headers.get(header::ORIGIN) else {
        return answer;
    };
    answer.insert(header::VARY, HeaderValue::from_static("Origin"));
    let parsed = origin.to_str().ok();
    let parsed = parsed.and_then(|text| crate::access::hosts::Origin::parse(text).ok());
    if !parsed.is_some_and(|origin| live.settings.cors_origins.contains(&origin)) {
        return answer;
    }
    answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    answer.insert(
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static("authorization, content-type"),
    );
    answer.insert(
        header::ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static("GET, POST, PUT, DELETE"),
    );
    answer.insert(
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("cross-origin"),
    );
    answer
}
