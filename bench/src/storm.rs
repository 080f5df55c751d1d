//! Line 4: what others notice of 200 clients that try passwords, and what memory it takes.

use std::collections::BTreeMap;
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{anyhow, ensure};
use proxmenux_monitor::access::passwords::ITERATIONS;
use serde_json::json;
use tokio::task::JoinSet;

use crate::Plan;
use crate::load::{Connection, Request};
use crate::probe;
use crate::sample::percentile;
use crate::server::Server;
use crate::state::{Home, Shape, USER};
use crate::table::{Bar, Measure, Row, progress};
use crate::throughput::PROFILE;

const CLIENTS: u16 = 200;
/// How many wrong passwords come from one address, so that the limiter lets all of them through.
const FROM_ONE_ADDRESS: u16 = 4;
const MOST_MEMORY: Measure = Measure::Bytes(10.0 * 1024.0 * 1024.0);
const BAR: Bar = Bar::RatioAtMost(3.0);
const UNAUTHORIZED: u16 = 401;

/// How the clients behave.
#[derive(Clone, Copy)]
struct Variant {
    what: &'static str,
    addresses: Addresses,
    /// How long a client waits between an answer and its next try.
    pause: Duration,
}

/// From where the tries come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Addresses {
    /// Each client has a network of its own, and leaves an address before it is penalised.
    Own,
    /// All share one, which the limiter soon refuses.
    One,
}

const VARIANTS: &[Variant] = &[
    Variant {
        what: "200 networks, 10 tries a second each",
        addresses: Addresses::Own,
        pause: Duration::from_millis(100),
    },
    Variant {
        what: "one address, which the limiter refuses",
        addresses: Addresses::One,
        pause: Duration::from_millis(100),
    },
    Variant {
        what: "200 networks, each try at once after the last",
        addresses: Addresses::Own,
        pause: Duration::ZERO,
    },
];

/// Measures. Each storm meets a server of its own, so that each shows what memory it takes.
pub(crate) fn measure(plan: &Plan) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for variant in VARIANTS {
        rows.extend(weather(plan, *variant)?);
    }
    Ok(rows)
}

/// Measures one kind of storm.
fn weather(plan: &Plan, variant: Variant) -> anyhow::Result<Vec<Row>> {
    let home = Home::create(Shape {
        iterations: ITERATIONS,
        ..Shape::SMALL
    })?;
    let monitor = Server::monitor(plan, &home)?;
    let hello = Server::hello(plan, &home)?;
    let request = Request::get(PROFILE, home.sessions.first().map(String::as_str));
    let (mut quiet, mut stormy) = (Noticed::default(), Noticed::default());
    let mut tries = Tries::new();
    let servers = (&monitor, &hello);
    Noticed::default().probe(plan, servers, &request)?;
    let before = monitor.resident()?;
    let mut most = before;
    for round in 0..plan.pace.storms {
        quiet.probe(plan, servers, &request)?;
        let storm = Storm::start(monitor.address, variant, round);
        let probed = stormy.probe(plan, servers, &request);
        most = most.max(monitor.resident()?);
        for (status, count) in storm.end()? {
            *tries.entry(status).or_default() += count;
        }
        probed?;
    }
    tell(variant, &tries);
    ensure!(tries.contains_key(&UNAUTHORIZED), "no password was checked");
    let what = format!("storm from {}: p99 of a profile / quiet", variant.what);
    Ok(vec![
        Row::new(what, p99(&stormy.monitor))
            .against(p99(&quiet.monitor))
            .must(BAR),
        Row::new("– p99 of a process beside it / quiet", p99(&stormy.hello))
            .against(p99(&quiet.hello)),
        Row::new("– memory grows by", Measure::Bytes(most - before))
            .must(Bar::FigureAtMost(MOST_MEMORY)),
    ])
}

/// Says how the tries were answered.
fn tell(variant: Variant, tries: &Tries) {
    let counts = tries.iter();
    let counts = counts.map(|(status, count)| format!("{count} × {status}"));
    let counts = Vec::from_iter(counts).join(", ");
    progress(&format!("{}: answers {counts}", variant.what));
}

/// What clients at a fixed rate notice: how long each answer took, in seconds.
#[derive(Default)]
struct Noticed {
    monitor: Vec<f64>,
    hello: Vec<f64>,
}

impl Noticed {
    /// Asks the measured server, and at the same time one that the storm does not touch: what
    /// that one loses is the machine's doing.
    fn probe(
        &mut self,
        plan: &Plan,
        (monitor, hello): (&Server, &Server),
        request: &Request,
    ) -> anyhow::Result<()> {
        let time = plan.pace.probe;
        let (ours, beside) = thread::scope(|scope| {
            let beside = scope.spawn(|| probe::latencies(hello.address, request, time));
            let ours = probe::latencies(monitor.address, request, time);
            (ours, beside.join())
        });
        self.monitor.extend(ours?);
        self.hello
            .extend(beside.map_err(|_panic| anyhow!("a probe ended"))??);
        Ok(())
    }
}

fn p99(latencies: &[f64]) -> Measure {
    Measure::Seconds(percentile(latencies, 99))
}

/// How many tries were answered with which status.
type Tries = BTreeMap<u16, u32>;

/// A thread of clients that try passwords until told to end.
struct Storm {
    is_over: Arc<AtomicBool>,
    clients: thread::JoinHandle<anyhow::Result<Tries>>,
}

impl Storm {
    fn start(address: SocketAddr, variant: Variant, round: u16) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&is_over);
        let clients = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(all_clients(address, variant, round, &until))
        });
        Self { is_over, clients }
    }

    fn end(self) -> anyhow::Result<Tries> {
        self.is_over.store(true, Ordering::Relaxed);
        let tries = self.clients.join();
        tries.map_err(|_panic| anyhow!("the storm ended early"))?
    }
}

async fn all_clients(
    address: SocketAddr,
    variant: Variant,
    round: u16,
    is_over: &Arc<AtomicBool>,
) -> anyhow::Result<Tries> {
    let mut clients = JoinSet::new();
    // Who stormed before is not who storms now.
    let first = round * CLIENTS;
    for number in first..first + CLIENTS {
        clients.spawn(client(address, variant, number, Arc::clone(is_over)));
    }
    let mut tries = Tries::new();
    while let Some(client) = clients.join_next().await {
        for (status, count) in client?? {
            *tries.entry(status).or_default() += count;
        }
    }
    Ok(tries)
}

async fn client(
    address: SocketAddr,
    variant: Variant,
    number: u16,
    is_over: Arc<AtomicBool>,
) -> anyhow::Result<Tries> {
    // Not all in the same moment, once there is a pause.
    tokio::time::sleep(variant.pause * u32::from(number % CLIENTS) / u32::from(CLIENTS)).await;
    let mut connection = Connection::open(address).await?;
    let mut tries = Tries::new();
    let mut failures = 0;
    while !is_over.load(Ordering::Relaxed) {
        let from = match variant.addresses {
            Addresses::Own => own_address(number, failures / FROM_ONE_ADDRESS),
            Addresses::One => own_address(0, 0),
        };
        let status = connection.exchange(&wrong_password(from)).await?;
        failures += u16::from(status == UNAUTHORIZED);
        *tries.entry(status).or_default() += 1;
        tokio::time::sleep(variant.pause).await;
    }
    Ok(tries)
}

/// Returns an address of a client's own /48, in a /64 that it uses for a few tries only. The
/// networks are those of documentation (RFC 3849).
fn own_address(client: u16, network: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, client, network, 0, 0, 0, 1)
}

fn wrong_password(from: Ipv6Addr) -> Request {
    let body = json!({ "username": USER, "password": "not the password" });
    Request::post(
        "/api/auth/login",
        &format!("X-Forwarded-For: {from}"),
        &body,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_share_no_network() {
        assert_eq!(own_address(1, 2).to_string(), "2001:db8:1:2::1");
        assert_ne!(own_address(1, 0), own_address(0, 1));
    }
}
