//! How a connection arrives: announced by a proxy or not, encrypted or not.
//!
//! Both are told by the first bytes, which are looked at without being taken.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use proxy_header::{Error, ParseConfig, ProxyHeader};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

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
    let stream = match app.tls.config() {
        Some(config) if is_tls(&stream).await? => {
            let accepted = TlsAcceptor::from(config).accept(stream);
            Stream::Tls(Box::new(timeout(HANDSHAKE, accepted).await??))
        }
        Some(_) | None => Stream::Plain(stream),
    };
    Ok(Arrival {
        address,
        announced,
        stream,
    })
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
