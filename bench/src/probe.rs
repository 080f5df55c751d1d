//! A client that asks at a fixed rate and notes how long each answer takes.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};

use crate::load::{Answer, Request};

/// How often it asks.
pub(crate) const EVERY: Duration = Duration::from_millis(5);

/// Sends a request on a fresh connection, waits for the whole answer and returns its status.
pub(crate) fn ask_once(address: SocketAddr, request: &Request) -> anyhow::Result<u16> {
    ask(&mut TcpStream::connect(address)?, request)
}

/// Asks at a fixed rate for a time and returns how long each answer took, in seconds.
///
/// An answer is timed from when its request was due: where one is late, those that wait behind it
/// are late too, and count as that. A pause of our own before a request is not the server's.
pub(crate) fn latencies(
    address: SocketAddr,
    request: &Request,
    time: Duration,
) -> anyhow::Result<Vec<f64>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    ask(&mut stream, request)?;
    let mut latencies = Vec::new();
    let begun = Instant::now();
    let mut due = begun;
    while due < begun + time {
        let pause = due.saturating_duration_since(Instant::now());
        let from = if pause.is_zero() {
            due
        } else {
            thread::sleep(pause);
            Instant::now()
        };
        let status = ask(&mut stream, request)?;
        latencies.push(from.elapsed().as_secs_f64());
        ensure!(status == 200, "an answer with status {status}");
        due += EVERY;
    }
    Ok(latencies)
}

fn ask(stream: &mut TcpStream, request: &Request) -> anyhow::Result<u16> {
    stream.write_all(request.bytes())?;
    let mut received = Vec::new();
    let mut part = [0; 4096];
    loop {
        let length = stream.read(&mut part)?;
        if length == 0 {
            bail!("the server closed the connection");
        }
        received.extend_from_slice(part.get(..length).unwrap_or_default());
        if let Some(answer) = Answer::parse(&received)?
            && received.len() >= answer.length
        {
            return Ok(answer.status);
        }
    }
}
