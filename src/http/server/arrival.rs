//! How a connection arrives: announced by a proxy or not, encrypted or not.
//!
//! Both are told by the first bytes, which are looked at without being taken.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use proxy_header::{Error, ParseConfig, ProxyHeader};
use rustls::ServerConfig;
use rustls::server::{Acceptor, ClientHello};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use crate::acme::ACME_TLS;
use crate::app::App;

/// How long a client may be silent after it has connected.
const SILENCE: Duration = Duration::from_secs(30);
/// How long a proxy's announcement and a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// The first byte of a TLS record that holds a handshake (RFC 8446 §5.1).
const TLS_HANDSHAKE: u8 = 0x16;
/// The longest announcement that is read: an address, and a proxy's notes to it.
const LONGEST_ANNOUNCEMENT: usize = 2048;
/// How long to wait for the rest of one.
const PAUSE: Duration = Duration::from_millis(5);
/// How announcements begin, in the first and the second version of the PROXY protocol.
const ANNOUNCEMENTS: [&[u8]; 2] = [b"PROXY ", b"\r\n\r\n\0\r\nQUIT\n"];

/// A connection that is ready for HTTP.
pub(super) struct Arrival {
    /// The other end, or whom a trusted proxy announced.
    pub(super) address: IpAddr,
    /// Whether a proxy announced it.
    pub(super) announced: bool,
    /// The bytes.
    pub(super) stream: Stream,
}

/// The bytes of a connection.
pub(super) enum Stream {
    /// As they come.
    Plain(TcpStream),
    /// Encrypted.
    Tls(Box<TlsStream<TcpStream>>),
}

/// Finds out how a connection arrives.
pub(super) async fn receive(
    mut stream: TcpStream,
    address: SocketAddr,
    app: &App,
) -> io::Result<Arrival> {
    let peer = address.ip().to_canonical();
    let live = app.live();
    let mut arrival = (peer, false);
    if live.settings.proxy_protocol && live.settings.proxies.trusts(peer) {
        let announced = timeout(SILENCE, announced(&mut stream, peer)).await??;
        if let Some(address) = announced {
            arrival = (address, true);
        }
    }
    let (address, announced) = arrival;
    let config = app.tls.config();
    let stream = if (config.is_some() || app.acme.answers().is_some()) && is_tls(&stream).await? {
        let stream = timeout(HANDSHAKE, shake_hands(stream, config, app)).await??;
        Stream::Tls(Box::new(stream))
    } else {
        Stream::Plain(stream)
    };
    Ok(Arrival {
        address,
        announced,
        stream,
    })
}

/// Encrypts a connection. One by which an authority only asks whether a name leads here ends with
/// its handshake, and as an error.
async fn shake_hands(
    stream: TcpStream,
    config: Option<Arc<ServerConfig>>,
    app: &App,
) -> io::Result<TlsStream<TcpStream>> {
    let hello = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
    if let Some(name) = name_asked_about(&hello.client_hello()) {
        let config = app.acme.challenge_config(&name);
        let config = config.ok_or(io::ErrorKind::PermissionDenied)?;
        hello.into_stream(config).await?.shutdown().await?;
        return Err(io::ErrorKind::ConnectionAborted.into());
    }
    let config = config.ok_or(io::ErrorKind::Unsupported)?;
    hello.into_stream(config).await
}

/// Returns the name that an authority asks about, if this is an authority (RFC 8737 §3).
fn name_asked_about(hello: &ClientHello<'_>) -> Option<String> {
    let mut offered = hello.alpn()?;
    let asks = offered.any(|protocol| protocol == ACME_TLS);
    asks.then(|| hello.server_name().unwrap_or_default().to_owned())
}

/// Returns whether the client begins with a TLS handshake.
async fn is_tls(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0];
    let seen = timeout(SILENCE, stream.peek(&mut first)).await??;
    Ok(seen == 1 && first == [TLS_HANDSHAKE])
}

/// Takes the announcement of a proxy off the stream, if it begins with one. One that names nobody
/// stands for the proxy itself, which is then no more this host than whom it could have named.
async fn announced(stream: &mut TcpStream, peer: IpAddr) -> io::Result<Option<IpAddr>> {
    let mut seen = vec![0; LONGEST_ANNOUNCEMENT];
    let started = tokio::time::Instant::now();
    loop {
        let length = stream.peek(&mut seen).await?;
        let text = seen.get(..length).unwrap_or_default();
        if !ANNOUNCEMENTS
            .iter()
            .any(|start| start.starts_with(text) || text.starts_with(start))
            || text.is_empty()
        {
            return Ok(None);
        }
        match ProxyHeader::parse(text, ParseConfig::default()) {
            Ok((header, taken)) => {
                let source = header
                    .proxied_address()
                    .map_or(peer, |address| address.source.ip().to_canonical());
                let mut rest = vec![0; taken];
                stream.read_exact(&mut rest).await?;
                return Ok(Some(source));
            }
            Err(Error::BufferTooShort)
                if length < LONGEST_ANNOUNCEMENT && started.elapsed() < HANDSHAKE =>
            {
                tokio::time::sleep(PAUSE).await;
            }
            Err(_malformed) => return Err(io::ErrorKind::InvalidData.into()),
        }
    }
}
