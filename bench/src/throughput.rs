//! Line 1: requests a second, against a plain route of the same stack.

use crate::Plan;
use crate::computed;
use crate::load::{Load, Request, Target};
use crate::sample::Pairs;
use crate::server::Server;
use crate::state::{Home, Shape};
use crate::table::{Bar, Measure, Row};

/// What is asked for.
pub(crate) const PROFILE: &str = "/api/auth/profile";

/// Measures.
pub(crate) fn measure(plan: &Plan) -> anyhow::Result<Vec<Row>> {
    let home = Home::create(Shape::SMALL)?;
    let monitor = Server::monitor(plan, &home)?;
    let hello = Server::hello(plan, &home)?;
    let load = Load::new()?;
    let token = home.sessions.first().map(String::as_str);
    let requests = [Request::get(PROFILE, token)];
    let mut rates = Pairs::default();
    let mut costs = Pairs::default();
    let mut loads = Pairs::default();
    for _ in 0..plan.pace.rounds {
        let ours = round(plan, &load, &monitor, &requests)?;
        let reference = round(plan, &load, &hello, &requests)?;
        rates.add(ours.rate, reference.rate);
        costs.add(ours.cost, reference.cost);
        loads.add(ours.load_cost, reference.load_cost);
    }
    Ok(vec![
        Row::paired(
            "authenticated profile, 64 connections / plain hello",
            Measure::PerSecond,
            &rates,
        )
        .must(Bar::RatioAtLeast(0.90)),
        Row::paired(
            "– processor time of the server a request",
            Measure::Seconds,
            &costs,
        ),
        Row::paired(
            "– processor time of the load a request",
            Measure::Seconds,
            &loads,
        ),
    ])
}

/// One server in one round.
pub(crate) struct Round {
    /// Requests a second.
    pub(crate) rate: f64,
    /// How long the server computed for each request, in seconds.
    pub(crate) cost: f64,
    /// How long the load did.
    load_cost: f64,
}

/// Loads a server for as long as a round takes.
pub(crate) fn round(
    plan: &Plan,
    load: &Load,
    server: &Server,
    requests: &[Request],
) -> anyhow::Result<Round> {
    let servers = std::slice::from_ref(server);
    round_at(plan, load, (&server.address.into(), servers), requests)
}

/// Loads what several servers do together, for as long as a round takes.
pub(crate) fn round_at(
    plan: &Plan,
    load: &Load,
    (target, servers): (&Target, &[Server]),
    requests: &[Request],
) -> anyhow::Result<Round> {
    let (before, load_before) = (computed_by(servers)?, computed::by_this_thread());
    let measured = load.for_time(target, requests, plan.pace.load)?;
    let sent = f64::from(measured.sent);
    Ok(Round {
        rate: measured.rate,
        cost: (computed_by(servers)? - before) / sent,
        load_cost: (computed::by_this_thread() - load_before) / sent,
    })
}

/// Returns how long servers have computed, in seconds.
pub(crate) fn computed_by(servers: &[Server]) -> anyhow::Result<f64> {
    servers.iter().map(Server::computed).sum()
}
