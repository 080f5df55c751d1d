//! HTTP/1.1 over bare sockets: as much as measuring takes.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::tls_client::TlsClient;

/// How many connections a load keeps open.
pub(crate) const CONNECTIONS: usize = 64;
/// How long a server is loaded before it is measured.
pub(crate) const WARM_UP: Duration = Duration::from_millis(200);

/// A request as it goes over the wire.
#[derive(Clone, Debug)]
pub(crate) struct Request(Vec<u8>);

impl Request {
    /// Asks for a path, with a bearer token if there is one.
    pub(crate) fn get(path: &str, token: Option<&str>) -> Self {
        let mut head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n");
        if let Some(token) = token {
            let _infallible = write!(head, "Authorization: Bearer {token}\r\n");
        }
        head.push_str("\r\n");
        Self(head.into_bytes())
    }

    /// Sends JSON to a path, with one more header, such as `X-Forwarded-For: 192.0.2.1`.
    pub(crate) fn post(path: &str, header: &str, body: &serde_json::Value) -> Self {
        let body = body.to_string();
        Self(
            format!(
                "POST {path} HTTP/1.1\r\nHost: localhost\r\n{header}\r\n\
                 Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            )
            .into_bytes(),
        )
    }

    /// Returns the bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// An answer as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: u16,
    /// The length of the head.
    head: usize,
    /// The length of head and body.
    pub(crate) length: usize,
}

impl Answer {
    /// Reads the head of an answer; none if it is not all there yet.
    pub(crate) fn parse(received: &[u8]) -> anyhow::Result<Option<Self>> {
        const END: &[u8] = b"\r\n\r\n";
        let Some(end) = received.windows(END.len()).position(|four| four == END) else {
            return Ok(None);
        };
        let head = received.get(..end).unwrap_or_default();
        let head = std::str::from_utf8(head).context("the head is no text")?;
        let status = head.get(9..12).context("no status line")?.parse()?;
        let mut fields = head.split("\r\n").filter_map(|line| line.split_once(": "));
        let length = fields.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        let (_name, length) = length.context("an answer without a length")?;
        let head = end + END.len();
        Ok(Some(Self {
            status,
            head,
            length: head + length.parse::<usize>()?,
        }))
    }
}

/// A connection that is kept open.
pub(crate) struct Connection<S = TcpStream> {
    stream: S,
    received: Vec<u8>,
}

impl Connection {
    /// Connects.
    pub(crate) async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self::over(stream))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Takes what is connected.
    fn over(stream: S) -> Self {
        Self {
            stream,
            received: Vec::with_capacity(4096),
        }
    }

    /// Sends a request, receives the whole answer and returns its status.
    pub(crate) async fn exchange(&mut self, request: &Request) -> anyhow::Result<u16> {
        Ok(self.ask(request).await?.status)
    }

    /// Sends a request and returns the JSON that answers it, which must be a 200.
    pub(crate) async fn fetch(&mut self, request: &Request) -> anyhow::Result<serde_json::Value> {
        let answer = self.ask(request).await?;
        let body = self.received.get(answer.head..).unwrap_or_default();
        let text = String::from_utf8_lossy(body);
        ensure!(answer.status == 200, "status {}: {text}", answer.status);
        Ok(serde_json::from_slice(body)?)
    }

    async fn ask(&mut self, request: &Request) -> anyhow::Result<Answer> {
        self.stream.write_all(&request.0).await?;
        self.received.clear();
        loop {
            if self.stream.read_buf(&mut self.received).await? == 0 {
                bail!("the server closed the connection");
            }
            if let Some(answer) = Answer::parse(&self.received)?
                && self.received.len() >= answer.length
            {
                return Ok(answer);
            }
        }
    }
}

/// Where a load goes, and how it gets there.
#[derive(Clone)]
pub(crate) enum Target {
    /// Over bare sockets.
    Plain(SocketAddr),
    /// Encrypted.
    Tls(SocketAddr, TlsClient),
}

impl From<SocketAddr> for Target {
    fn from(address: SocketAddr) -> Self {
        Self::Plain(address)
    }
}

/// What comes over [`CONNECTIONS`] connections, each of which asks again as soon as it is
/// answered. One thread does it all.
pub(crate) struct Load {
    runtime: tokio::runtime::Runtime,
}

impl Load {
    /// Prepares the thread.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        Ok(Self { runtime })
    }

    /// Loads a server for a time. Each connection sends one of `requests`, over and over; every
    /// answer must be a 200.
    pub(crate) fn for_time(
        &self,
        target: &Target,
        requests: &[Request],
        time: Duration,
    ) -> anyhow::Result<Loaded> {
        let start = Instant::now() + WARM_UP;
        let end = start + time;
        let done = self.run(target, requests, move |_sent| {
            let now = Instant::now();
            if now >= end {
                Turn::Stop
            } else if now >= start {
                Turn::Count
            } else {
                Turn::Ignore
            }
        })?;
        Ok(Loaded {
            rate: f64::from(done.counted) / time.as_secs_f64(),
            sent: done.sent,
        })
    }

    /// Sends at least as many requests as asked for.
    pub(crate) fn for_count(
        &self,
        target: &Target,
        requests: &[Request],
        count: u32,
    ) -> anyhow::Result<()> {
        let each = count.div_ceil(u32::try_from(CONNECTIONS)?);
        self.run(target, requests, move |sent| {
            if sent < each { Turn::Count } else { Turn::Stop }
        })?;
        Ok(())
    }

    fn run(
        &self,
        target: &Target,
        requests: &[Request],
        turn: impl Fn(u32) -> Turn + Copy + Send + 'static,
    ) -> anyhow::Result<Done> {
        ensure!(!requests.is_empty(), "nothing to send");
        self.runtime.block_on(async {
            let mut clients = JoinSet::new();
            for request in requests.iter().cycle().take(CONNECTIONS).cloned() {
                clients.spawn(client(target.clone(), request, turn));
            }
            let mut all = Done::default();
            while let Some(client) = clients.join_next().await {
                let done = client??;
                all.sent += done.sent;
                all.counted += done.counted;
            }
            Ok(all)
        })
    }
}

/// What a server did under load.
pub(crate) struct Loaded {
    /// Requests a second, once it was warm.
    pub(crate) rate: f64,
    /// How many requests there were in all.
    pub(crate) sent: u32,
}

#[derive(Default)]
struct Done {
    sent: u32,
    counted: u32,
}

/// What becomes of an answer.
enum Turn {
    /// It comes too early to count.
    Ignore,
    /// It counts.
    Count,
    /// It was the last one and does not count.
    Stop,
}

async fn client(
    target: Target,
    request: Request,
    turn: impl Fn(u32) -> Turn,
) -> anyhow::Result<Done> {
    match target {
        Target::Plain(address) => {
            let connection = Connection::open(address).await?;
            go_on(connection, &request, turn).await
        }
        Target::Tls(address, tls) => {
            let connection = Connection::over(tls.connect(address).await?);
            go_on(connection, &request, turn).await
        }
    }
}

async fn go_on<S: AsyncRead + AsyncWrite + Unpin>(
    mut connection: Connection<S>,
    request: &Request,
    turn: impl Fn(u32) -> Turn,
) -> anyhow::Result<Done> {
    let mut done = Done::default();
    loop {
        let status = connection.exchange(request).await?;
        ensure!(status == 200, "an answer with status {status}");
        let turn = turn(done.sent);
        done.sent += 1;
        match turn {
            Turn::Ignore => {}
            Turn::Count => done.counted += 1,
            Turn::Stop => return Ok(done),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_when_its_head_is_there() {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nx: y\r\n\r\nhello";
        let expected = Answer {
            status: 200,
            head: whole.len() - 5,
            length: whole.len(),
        };

        assert_eq!(Answer::parse(whole).unwrap(), Some(expected));
        assert_eq!(Answer::parse(&whole[..whole.len() - 6]).unwrap(), None);
        assert!(Answer::parse(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
