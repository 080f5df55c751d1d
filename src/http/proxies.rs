//! Proxies: what of a request is believed and why, whom to trust, and configurations to paste.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{Message, WebSocketUpgrade};
use axum::extract::{FromRequestParts as _, Query, Request, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::error::Error;
use super::extract::Json;
use super::sessions::tell;
use super::system::measure;
use super::terminal::TerminalFault;
use super::visit::Visit;
use crate::access::address::{Hop, HopVerdict, Network, hops, is_forwarding, parse_trusted};
use crate::access::audit::Event;
use crate::access::hosts::{named_host, websocket_origin_allowed};
use crate::access::rfc3339;
use crate::access::snippets::{Kind, Place, Snippet, snippet};
use crate::app::{App, TrustError};
use crate::config::TrustedFrom;
use crate::store::SettingsFileError;

/// The longest word that is said back.
const LONGEST_WORD: usize = 64;
/// For how long one is waited for.
const SOCKET_PATIENCE: Duration = Duration::from_secs(10);
/// The most that is shown of a header.
const MOST_SHOWN: usize = 512;

/// How this request came, and what of it is believed.
#[derive(Debug, Serialize, ToSchema)]
#[expect(clippy::struct_excessive_bools, reason = "facts of a request")]
pub(super) struct CheckAnswer {
    success: bool,
    /// The other end of the connection.
    #[schema(value_type = String)]
    peer: IpAddr,
    /// Whether it is trusted to speak for others.
    peer_trusted: bool,
    /// The client, as it was decided.
    #[schema(value_type = String)]
    address: IpAddr,
    /// How near it is: `this_host`, `lan`, `tailnet` or `internet`.
    #[schema(value_type = String)]
    network: Network,
    /// Whether the client's own connection is encrypted.
    https: bool,
    /// The host that was asked for.
    host: String,
    /// Whether this host goes by that name.
    host_allowed: bool,
    /// The one header in which a proxy is believed.
    header: &'static str,
    /// The forwarding headers that came.
    headers: Vec<ShownHeader>,
    /// The way of the request, from here to its client.
    chain: Vec<ShownHop>,
    /// The networks of trusted proxies.
    trusted_proxies: Vec<String>,
    /// Who decided that: `default`, `settings` or `option`.
    #[schema(value_type = String)]
    trusted_from: TrustedFrom,
    /// What to trust, so that the client of this request is seen.
    suggestion: Option<String>,
    /// Proxies of the last hour that are not trusted.
    seen: Vec<ShownProxy>,
    /// Where a page may try once, within a minute, whether a WebSocket comes through.
    socket: String,
}

/// A forwarding header.
#[derive(Debug, Serialize, ToSchema)]
struct ShownHeader {
    name: String,
    value: String,
    /// Whether it counts.
    believed: bool,
}

/// A stop of the request.
#[derive(Debug, Serialize, ToSchema)]
struct ShownHop {
    /// Its address, or what stands in its place.
    address: String,
    /// Whether it is a trusted proxy.
    trusted: bool,
    /// `connection`, `trusted_proxy`, `client`, `leftmost`, `not_an_address` or `untrusted_peer`.
    #[schema(value_type = String)]
    why: HopVerdict,
}

/// A proxy that is not trusted.
#[derive(Debug, Serialize, ToSchema)]
struct ShownProxy {
    #[schema(value_type = String)]
    address: IpAddr,
    #[schema(format = DateTime)]
    last_seen_at: String,
    requests: u64,
}

/// A network of proxies.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NetworkBody {
    /// An address, or a network in CIDR notation.
    network: String,
}

/// Whom to believe from now on.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TrustedAnswer {
    success: bool,
    message: &'static str,
    trusted_proxies: Vec<String>,
}

/// Which configuration.
#[derive(Deserialize)]
pub(super) struct SnippetQuery {
    kind: Option<String>,
    host: Option<String>,
    path: Option<String>,
}

/// A configuration to paste.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SnippetAnswer {
    success: bool,
    kind: &'static str,
    /// How to name the file.
    file_name: String,
    /// The text.
    snippet: String,
    /// What to do beside pasting it.
    notes: Vec<&'static str>,
}

/// Why a call about proxies came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ProxyFault {
    /// The network cannot be trusted.
    Network(String),
    /// An option of the server decides.
    SetByOption,
    /// The settings file is damaged, and how.
    Damaged(String),
    /// The network is not on the list.
    NotTrusted,
    /// A field of the question for a configuration is wrong, and why.
    Snippet(&'static str, String),
}

/// Says how this request came.
pub(super) async fn check(
    State(app): State<Arc<App>>,
    visit: Visit,
    uri: Uri,
    headers: HeaderMap,
) -> Result<axum::Json<CheckAnswer>, Error> {
    let now = app.clock.now();
    let ticket = app.socket_trials.issue(now);
    let ticket = ticket.map_err(|error| Error::Internal(error.into()))?;
    let (client, settings) = (&visit.client, &visit.live.settings);
    let believed = |name: &str| {
        client.peer_trusted
            && (name == settings.proxies.header.name()
                || matches!(name, "x-forwarded-proto" | "x-forwarded-host"))
    };
    let forwarding = headers
        .iter()
        .filter(|(name, _)| is_forwarding(name.as_str()));
    let shown = forwarding.map(|(name, value)| ShownHeader {
        name: name.to_string(),
        value: String::from_utf8_lossy(value.as_bytes())
            .chars()
            .take(MOST_SHOWN)
            .collect(),
        believed: believed(name.as_str()),
    });
    let chain = hops(client.peer, &headers, &settings.proxies).into_iter();
    let seen = app.proxies_seen.lately(now).into_iter();
    let authority = uri.authority().map(ToString::to_string);
    let host = named_host(&headers, authority.as_deref());
    Ok(axum::Json(CheckAnswer {
        success: true,
        peer: client.peer,
        peer_trusted: client.peer_trusted,
        address: client.address,
        network: client.network,
        https: client.https,
        host: host.unwrap_or_default().chars().take(MOST_SHOWN).collect(),
        host_allowed: visit.host_allowed,
        header: settings.proxies.header.name(),
        headers: shown.collect(),
        chain: chain.map(shown_hop).collect(),
        trusted_proxies: texts(&settings.proxies.trusted),
        trusted_from: settings.trusted_from,
        suggestion: (client.proxied && !client.peer_trusted)
            .then(|| IpNet::from(client.peer).to_string()),
        seen: seen
            .filter(|proxy| !settings.proxies.trusts(proxy.address))
            .map(|proxy| ShownProxy {
                address: proxy.address,
                last_seen_at: rfc3339(proxy.last_seen_at),
                requests: proxy.requests,
            })
            .collect(),
        socket: format!("ws/proxy-check?ticket={ticket}"),
    }))
}

/// Says back once what it is told, so that a page sees whether a WebSocket comes through.
pub(super) async fn say_back(
    State(app): State<Arc<App>>,
    visit: Visit,
    request: Request,
) -> Result<Response, Error> {
    let (mut parts, _no_body) = request.into_parts();
    // While the state cannot be trusted nothing answers but what must.
    let _trusted = visit.read(&app)?;
    let authority = parts.uri.authority().map(ToString::to_string);
    let allowed = &visit.live.settings.cors_origins;
    if !websocket_origin_allowed(&parts.headers, authority.as_deref(), allowed) {
        return Err(Error::ForeignOrigin);
    }
    let ticket = parts
        .uri
        .query()
        .and_then(|query| query.strip_prefix("ticket="));
    let ticket = ticket.ok_or(TerminalFault::TicketInvalid)?.to_owned();
    let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &())
        .await
        .map_err(|_plain_request| TerminalFault::UpgradeRequired)?;
    if !app.socket_trials.redeem(&ticket, app.clock.now()) {
        return Err(TerminalFault::TicketInvalid.into());
    }
    let upgrade = upgrade
        .max_message_size(LONGEST_WORD)
        .max_frame_size(LONGEST_WORD);
    Ok(upgrade.on_upgrade(|mut socket| async move {
        let word = tokio::time::timeout(SOCKET_PATIENCE, socket.recv()).await;
        if let Ok(Some(Ok(word @ Message::Text(_)))) = word {
            let _gone = socket.send(word).await;
        }
        let _gone = socket.send(Message::Close(None)).await;
    }))
}

fn shown_hop(hop: Hop) -> ShownHop {
    ShownHop {
        address: hop.address,
        trusted: matches!(hop.verdict, HopVerdict::TrustedProxy | HopVerdict::Leftmost),
        why: hop.verdict,
    }
}

/// Trusts the proxies of a network.
pub(super) async fn trust(
    State(app): State<Arc<App>>,
    visit: Visit,
    Json(body): Json<NetworkBody>,
) -> Result<axum::Json<TrustedAnswer>, Error> {
    let network = one_network(&body.network)?;
    let trusted = measure(&app, move |app| {
        app.change_trusted(|trusted| {
            if !trusted.contains(&network) {
                trusted.push(network);
            }
        })
    });
    let trusted = trusted.await??;
    let event = Event::ProxyTrusted {
        network: network.to_string(),
    };
    tell(&app, &visit, &event);
    Ok(axum::Json(TrustedAnswer {
        success: true,
        message: "What these proxies say of their clients is believed from now on.",
        trusted_proxies: texts(&trusted),
    }))
}

/// Trusts the proxies of a network no longer.
pub(super) async fn distrust(
    State(app): State<Arc<App>>,
    visit: Visit,
    Json(body): Json<NetworkBody>,
) -> Result<axum::Json<TrustedAnswer>, Error> {
    let network = one_network(&body.network)?;
    if !app.live().settings.proxies.trusted.contains(&network) {
        return Err(ProxyFault::NotTrusted.into());
    }
    let trusted = measure(&app, move |app| {
        app.change_trusted(|trusted| trusted.retain(|listed| *listed != network))
    });
    let trusted = trusted.await??;
    let event = Event::ProxyDistrusted {
        network: network.to_string(),
    };
    tell(&app, &visit, &event);
    Ok(axum::Json(TrustedAnswer {
        success: true,
        message: "These proxies are believed no longer.",
        trusted_proxies: texts(&trusted),
    }))
}

fn texts(networks: &[IpNet]) -> Vec<String> {
    networks.iter().map(ToString::to_string).collect()
}

fn one_network(text: &str) -> Result<IpNet, ProxyFault> {
    let networks = parse_trusted(text).map_err(|error| ProxyFault::Network(error.to_string()))?;
    match networks.as_slice() {
        [network] => Ok(*network),
        _none_or_many => Err(ProxyFault::Network("one network is needed".to_owned())),
    }
}

/// Returns a configuration for a proxy.
pub(super) async fn show_snippet(
    State(app): State<Arc<App>>,
    Query(query): Query<SnippetQuery>,
) -> Result<axum::Json<SnippetAnswer>, Error> {
    let kind = query.kind.as_deref().unwrap_or("nginx").parse::<Kind>();
    let kind = kind.map_err(|error| ProxyFault::Snippet("kind", error.to_string()))?;
    let place = Place::parse(query.host.as_deref(), query.path.as_deref())
        .map_err(|error| ProxyFault::Snippet(error.field(), error.to_string()))?;
    let Snippet {
        file_name,
        text,
        notes,
    } = snippet(kind, &place, app.upstream());
    Ok(axum::Json(SnippetAnswer {
        success: true,
        kind: kind.name(),
        file_name,
        snippet: text,
        notes,
    }))
}

impl ProxyFault {
    /// Returns the status and the code.
    pub(super) fn kind(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Network(_) => (StatusCode::BAD_REQUEST, "invalid_network"),
            Self::SetByOption => (StatusCode::CONFLICT, "set_by_option"),
            Self::Damaged(_) => (StatusCode::CONFLICT, "settings_damaged"),
            Self::NotTrusted => (StatusCode::NOT_FOUND, "network_not_trusted"),
            Self::Snippet(..) => (StatusCode::BAD_REQUEST, "invalid_snippet"),
        }
    }

    /// Returns the field at fault.
    pub(super) fn field(&self) -> Option<&'static str> {
        match self {
            Self::Network(_) | Self::NotTrusted => Some("network"),
            Self::Snippet(field, _) => Some(field),
            Self::SetByOption | Self::Damaged(_) => None,
        }
    }

    /// Returns the short text.
    pub(super) fn short(&self) -> &'static str {
        match self {
            Self::Network(_) | Self::Snippet(..) => "Invalid request",
            Self::SetByOption => "Set by an option",
            Self::Damaged(_) => "Settings damaged",
            Self::NotTrusted => "Not found",
        }
    }

    /// Returns a sentence for people that says what to do.
    pub(super) fn sentence(&self) -> String {
        match self {
            Self::Network(why) => format!("Write an address or a network in CIDR notation, such as 192.0.2.7: {why}."),
            Self::SetByOption => "The trusted proxies are set by an option or the environment of the server. Change them there.".to_owned(),
            Self::Damaged(why) => format!("Nothing was changed, since monitor.toml cannot be read: {why}. Mend it on the host, then try again."),
            Self::NotTrusted => "This network is not on the list.".to_owned(),
            Self::Snippet(field, why) => format!("The field `{field}` cannot be used: {why}."),
        }
    }
}

impl From<ProxyFault> for Error {
    fn from(fault: ProxyFault) -> Self {
        Self::Proxy(fault)
    }
}

impl From<TrustError> for Error {
    fn from(error: TrustError) -> Self {
        match error {
            TrustError::SetByOption => ProxyFault::SetByOption.into(),
            TrustError::Refused(error) => ProxyFault::Network(error.to_string()).into(),
            TrustError::File(SettingsFileError::Damaged(why)) => ProxyFault::Damaged(why).into(),
            TrustError::File(SettingsFileError::Store(error)) => error.into(),
        }
    }
}
