//! Clients that do nothing but shake hands, each time on a connection of its own.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::bail;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;

use crate::Plan;
use crate::load::{CONNECTIONS, Target, WARM_UP};
use crate::tls_client::TlsClient;

/// [`CONNECTIONS`] clients, on all processors of the load: a handshake costs a client more than the
/// server, since it checks two signatures and makes none.
pub(crate) struct Handshakes {
    runtime: tokio::runtime::Runtime,
}

/// What a server did.
pub(crate) struct Shaken {
    /// Handshakes a second, once it was warm.
    pub(crate) rate: f64,
    /// How many there were in all.
    pub(crate) all: u32,
}

impl Handshakes {
    /// Prepares the threads.
    pub(crate) fn new(plan: &Plan) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(usize::try_from(plan.cpus.for_load())?)
            .enable_all()
            .build()?;
        Ok(Self { runtime })
    }

    /// Loads a server for a time.
    pub(crate) fn for_time(&self, target: &Target, time: Duration) -> anyhow::Result<Shaken> {
        let Target::Tls(address, tls) = target else {
            bail!("nobody shakes hands there");
        };
        let start = Instant::now() + WARM_UP;
        let end = start + time;
        self.runtime.block_on(async {
            let mut clients = JoinSet::new();
            for _ in 0..CONNECTIONS {
                clients.spawn(client(*address, tls.clone(), (start, end)));
            }
            let (mut all, mut counted) = (0, 0);
            while let Some(client) = clients.join_next().await {
                let (its_all, its_counted) = client??;
                all += its_all;
                counted += its_counted;
            }
            Ok(Shaken {
                rate: f64::from(counted) / time.as_secs_f64(),
                all,
            })
        })
    }
}

/// Returns how many handshakes there were, and how many within the time.
async fn client(
    address: SocketAddr,
    tls: TlsClient,
    (start, end): (Instant, Instant),
) -> anyhow::Result<(u32, u32)> {
    let (mut all, mut counted) = (0, 0);
    loop {
        shake_hands(address, &tls).await?;
        all += 1;
        let now = Instant::now();
        if now >= end {
            return Ok((all, counted));
        }
        counted += u32::from(now >= start);
    }
}

/// Shakes hands and says good-bye. The handshake is over for the server too once it says the same: it
/// has checked the client's last word.
async fn shake_hands(address: SocketAddr, tls: &TlsClient) -> anyhow::Result<()> {
    let mut stream = tls.connect(address).await?;
    stream.shutdown().await?;
    let mut nothing = [0; 64];
    match stream.read(&mut nothing).await {
        Ok(0) => Ok(()),
        Ok(_) => bail!("the server spoke first"),
        Err(error) if is_end(&error) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Whether the server has closed the connection without the word that TLS has for it.
fn is_end(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset
    )
}
