//! Connections: accepted, bounded, timed, and ended without cutting an answer off.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tower::ServiceExt as _;

use super::visit::Peer;
use crate::access::address::Transport;

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
/// The most headers of a request.
const MAX_HEADERS: usize = 100;
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
    pub async fn run(self, router: Router, stop: impl Future<Output = ()>) {
        let graceful = Arc::new(GracefulShutdown::new());
        let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        let accepting = self.listeners.into_iter().map(|listener| {
            let accept = accept(
                listener,
                router.clone(),
                Arc::clone(&graceful),
                Arc::clone(&places),
            );
            tokio::spawn(accept)
        });
        let accepting = Vec::from_iter(accepting);
        stop.await;
        for task in accepting {
            task.abort();
            let _aborted = task.await;
        }
        let Some(graceful) = Arc::into_inner(graceful) else {
            return;
        };
        if tokio::time::timeout(DRAIN, graceful.shutdown())
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

async fn accept(
    listener: TcpListener,
    router: Router,
    graceful: Arc<GracefulShutdown>,
    places: Arc<Semaphore>,
) {
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
        let serve = serve(stream, address, router.clone(), graceful.watcher());
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

async fn serve(stream: TcpStream, address: SocketAddr, router: Router, watcher: Watcher) {
    let _best_effort = stream.set_nodelay(true);
    let _best_effort = rustix::net::sockopt::set_tcp_user_timeout(&stream, UNREAD_PATIENCE);
    let peer = Peer {
        address: address.ip(),
        transport: Transport::Plain,
    };
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer);
        router.clone().oneshot(request)
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS);
    let connection = http.serve_connection(TokioIo::new(stream), service);
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(client.ip = %address.ip(), %error, "a connection ended early");
    }
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
