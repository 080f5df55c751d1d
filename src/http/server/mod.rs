//! Connections: accepted, bounded, timed, and ended without cutting an answer off.

mod arrival;

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tower::ServiceExt as _;

use super::visit::Peer;
use crate::access::address::Transport;
use crate::app::App;
use arrival::{Arrival, Stream};

/// How many connections are served at once; more wait in the kernel.
const MOST_CONNECTIONS: usize = 4096;
/// How many of them one address may have, so that it cannot keep the others out. A proxy on this
/// host speaks for many.
const MOST_OF_ONE_PEER: usize = 512;
/// How many wait in the kernel.
const BACKLOG: u32 = 1024;
/// How long a client may take to send a request's head, or sit idle between two.
const HEAD_PATIENCE: Duration = Duration::from_secs(30);
/// How long a client may leave an answer unread before its connection is given up.
const UNREAD_PATIENCE: u32 = 30_000;
/// How much of a request's head is buffered, so about the largest one.
const MAX_HEAD: usize = 32 * 1024;
/// The same in the unit of HTTP/2.
const MAX_HEAD_LIST: u32 = 32 * 1024;
/// The most headers of a request.
const MAX_HEADERS: usize = 100;
/// How many requests one connection of HTTP/2 may have under way.
const MAX_STREAMS: u32 = 64;
/// How often a silent connection of HTTP/2 is asked whether it lives, and how long it has to answer.
const ALIVE: Duration = Duration::from_secs(20);
/// How long answers may take once the server stops.
const DRAIN: Duration = Duration::from_secs(9);
/// How long to wait where the process has no file descriptor left.
const PAUSE: Duration = Duration::from_millis(50);

/// Listening sockets and the routes behind them.
pub struct Server {
    listeners: Vec<TcpListener>,
}

impl Server {
    /// Opens a socket for each address; `[::]` takes IPv4 too.
    pub fn bind(addresses: &[SocketAddr]) -> io::Result<Self> {
        let listeners = addresses.iter().map(|address| listen(*address));
        Ok(Self {
            listeners: listeners.collect::<io::Result<_>>()?,
        })
    }

    /// Takes sockets that somebody else opened.
    pub fn from_listeners(listeners: Vec<std::net::TcpListener>) -> io::Result<Self> {
        let listeners = listeners.into_iter().map(|listener| {
            listener.set_nonblocking(true)?;
            TcpListener::from_std(listener)
        });
        Ok(Self {
            listeners: listeners.collect::<io::Result<_>>()?,
        })
    }

    /// Returns the addresses that are listened on.
    pub fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        self.listeners.iter().map(TcpListener::local_addr).collect()
    }

    /// Serves until `stop`, then lets the answers that are under way go out.
    pub async fn run(self, app: &Arc<App>, router: Router, stop: impl Future<Output = ()>) {
        let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        let (stopping, stopped) = watch::channel(());
        let (open, mut all_closed) = mpsc::channel(1);
        let accepting = self.listeners.into_iter().map(|listener| {
            let behind = Behind {
                app: Arc::clone(app),
                router: router.clone(),
                stopped: stopped.clone(),
                open: open.clone(),
            };
            tokio::spawn(accept(listener, behind, Arc::clone(&places)))
        });
        let accepting = Vec::from_iter(accepting);
        drop(open);
        stop.await;
        for task in accepting {
            task.abort();
            let _aborted = task.await;
        }
        drop(stopping);
        if tokio::time::timeout(DRAIN, all_closed.recv())
            .await
            .is_err()
        {
            tracing::warn!("some connections did not end in time and were cut");
        }
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => {
            let socket = TcpSocket::new_v6()?;
            rustix::net::sockopt::set_ipv6_v6only(&socket, false)?;
            socket
        }
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// What lies behind a listening socket.
#[derive(Clone)]
struct Behind {
    app: Arc<App>,
    router: Router,
    /// Its sender goes when the server stops.
    stopped: watch::Receiver<()>,
    /// Each connection holds one; nothing is ever sent.
    #[expect(dead_code, reason = "held until it is dropped")]
    open: mpsc::Sender<Infallible>,
}

async fn accept(listener: TcpListener, behind: Behind, places: Arc<Semaphore>) {
    let peers = Peers::default();
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors or memory: others may end meanwhile. A client that is gone
                // already costs only the pause.
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let Some(of_peer) = peers.admit(address.ip()) else {
            continue;
        };
        let serve = serve(stream, address, behind.clone());
        tokio::spawn(async move {
            serve.await;
            drop((place, of_peer));
        });
    }
}

/// How many connections each address has on one socket.
#[derive(Clone, Default)]
struct Peers(Arc<Mutex<HashMap<IpAddr, usize>>>);

impl Peers {
    /// Counts a connection until what is returned is dropped; none if the address has too many.
    fn admit(&self, address: IpAddr) -> Option<OfPeer> {
        let address = address.to_canonical();
        let mut counts = self.lock();
        let count = counts.entry(address).or_default();
        if *count >= MOST_OF_ONE_PEER && !address.is_loopback() {
            return None;
        }
        *count += 1;
        drop(counts);
        Some(OfPeer {
            peers: self.clone(),
            address,
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection of an address.
struct OfPeer {
    peers: Peers,
    address: IpAddr,
}

impl Drop for OfPeer {
    fn drop(&mut self) {
        let mut counts = self.peers.lock();
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

async fn serve(stream: TcpStream, address: SocketAddr, mut behind: Behind) {
    let _best_effort = stream.set_nodelay(true);
    let _best_effort = rustix::net::sockopt::set_tcp_user_timeout(&stream, UNREAD_PATIENCE);
    let arrived = tokio::select! {
        arrived = arrival::receive(stream, address, &behind.app) => arrived,
        // Who has not asked for anything yet need not be waited for.
        _server_stops = behind.stopped.changed() => return,
    };
    let Arrival {
        address: client,
        announced,
        stream,
    } = match arrived {
        Ok(arrival) => arrival,
        Err(error) => {
            tracing::debug!(client.ip = %address.ip(), %error, "a connection ended before it began");
            return;
        }
    };
    let peer = |transport| Peer {
        address: client,
        announced,
        transport,
    };
    let ended = match stream {
        Stream::Plain(stream) => speak_http1(stream, peer(Transport::Plain), behind).await,
        Stream::Tls(stream) => {
            let peer = peer(Transport::Tls);
            let (_, session) = stream.get_ref();
            match session.alpn_protocol() {
                Some(b"h2") => speak_http2(*stream, peer, behind).await,
                Some(_) | None => speak_http1(*stream, peer, behind).await,
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(client.ip = %address.ip(), %error, "a connection ended early");
    }
}

/// Answers the requests of one connection by HTTP/1.1 (RFC 9112), which may become a WebSocket.
async fn speak_http1<I>(stream: I, peer: Peer, mut behind: Behind) -> hyper::Result<()>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS);
    let service = service_fn(|request| answer(&behind.router, peer, request));
    let connection = http.serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection.with_upgrades());
    tokio::select! {
        ended = connection.as_mut() => return ended,
        _server_stops = behind.stopped.changed() => {}
    }
    connection.as_mut().graceful_shutdown();
    connection.await
}

/// Answers the requests of one connection by HTTP/2 (RFC 9113).
async fn speak_http2<I>(stream: I, peer: Peer, mut behind: Behind) -> hyper::Result<()>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut http = http2::Builder::new(TokioExecutor::new());
    http.timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEAD_LIST)
        .keep_alive_interval(ALIVE)
        .keep_alive_timeout(ALIVE);
    let router = behind.router.clone();
    let service = service_fn(move |request| answer(&router, peer, request));
    let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        ended = connection.as_mut() => return ended,
        _server_stops = behind.stopped.changed() => {}
    }
    connection.as_mut().graceful_shutdown();
    connection.await
}

/// Answers one request, which carries along whom its connection comes from.
fn answer(
    router: &Router,
    peer: Peer,
    request: hyper::Request<Incoming>,
) -> impl Future<Output = Result<Response, Infallible>> + use<> {
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(peer);
    router.clone().oneshot(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_cannot_keep_the_others_out() {
        let peers = Peers::default();
        let busy: IpAddr = "192.0.2.9".parse().unwrap();
        let mut held = Vec::from_iter((0..MOST_OF_ONE_PEER).map(|_| peers.admit(busy)));
        assert!(held.iter().all(Option::is_some));

        assert!(peers.admit(busy).is_none());
        assert!(peers.admit("192.0.2.10".parse().unwrap()).is_some());
        held.pop();
        assert!(peers.admit(busy).is_some());
        drop(held);
        assert!(peers.lock().is_empty());
    }
}
