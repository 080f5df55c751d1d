//! Line 13: the monitor's own TLS, beside nginx that takes the TLS off in front of it.

use anyhow::Context as _;

use crate::Plan;
use crate::certificate::Certificate;
use crate::handshakes::Handshakes;
use crate::load::{Load, Request, Target};
use crate::nginx;
use crate::sample::Pairs;
use crate::server::Server;
use crate::state::{Home, Shape};
use crate::table::{Measure, Row};
use crate::throughput::{PROFILE, computed_by, round_at};
use crate::tls_client::TlsClient;

/// A monitor that is reached over TLS.
struct Way {
    /// Who works there, those who are spoken to first.
    servers: Vec<Server>,
    target: Target,
    requests: [Request; 1],
}

impl Way {
    /// The first of `servers` is spoken to; it answers from the state in `home`.
    fn to(servers: Vec<Server>, home: &Home, tls: &TlsClient) -> anyhow::Result<Self> {
        let door = servers.first().context("nobody to speak to")?;
        let token = home.sessions.first().map(String::as_str);
        Ok(Self {
            target: Target::Tls(door.address, tls.clone()),
            requests: [Request::get(PROFILE, token)],
            servers,
        })
    }
}

/// Measures. Both ways show the same certificate.
pub(crate) fn measure(plan: &Plan) -> anyhow::Result<Vec<Row>> {
    let (home, behind) = (Home::create(Shape::SMALL)?, Home::create(Shape::SMALL)?);
    let certificate = Certificate::create(&home)?;
    certificate.serve_in(&home)?;
    let tls = TlsClient::trusting(certificate.der.clone())?;
    let own = Way::to(vec![Server::monitor(plan, &home)?], &home, &tls)?;
    let upstream = Server::monitor(plan, &behind)?;
    let nginx = nginx::start(plan, &behind, &certificate, upstream.address)?;
    let by_nginx = Way::to(vec![nginx, upstream], &behind, &tls)?;
    let mut rows = handshakes(plan, &own, &by_nginx)?;
    rows.extend(requests(plan, &own, &by_nginx)?);
    Ok(rows)
}

fn handshakes(plan: &Plan, own: &Way, by_nginx: &Way) -> anyhow::Result<Vec<Row>> {
    let load = Handshakes::new(plan)?;
    let (mut rates, mut costs) = (Pairs::default(), Pairs::default());
    let round = |way: &Way| {
        let before = computed_by(&way.servers)?;
        let shaken = load.for_time(&way.target, plan.pace.load)?;
        let cost = (computed_by(&way.servers)? - before) / f64::from(shaken.all);
        anyhow::Ok((shaken.rate, cost))
    };
    for _ in 0..plan.pace.rounds {
        let (ours, reference) = (round(own)?, round(by_nginx)?);
        rates.add(ours.0, reference.0);
        costs.add(ours.1, reference.1);
    }
    Ok(vec![
        Row::paired(
            "full TLS 1.3 handshakes, each a new connection / nginx",
            Measure::PerSecond,
            &rates,
        ),
        Row::paired(
            "– processor time of the server a handshake / nginx",
            Measure::Seconds,
            &costs,
        ),
    ])
}

fn requests(plan: &Plan, own: &Way, by_nginx: &Way) -> anyhow::Result<Vec<Row>> {
    let load = Load::new()?;
    let (mut rates, mut costs) = (Pairs::default(), Pairs::default());
    let round = |way: &Way| round_at(plan, &load, (&way.target, &way.servers), &way.requests);
    for _ in 0..plan.pace.rounds {
        let (ours, reference) = (round(own)?, round(by_nginx)?);
        rates.add(ours.rate, reference.rate);
        costs.add(ours.cost, reference.cost);
    }
    Ok(vec![
        Row::paired(
            "authenticated profile over TLS, 64 connections / through nginx",
            Measure::PerSecond,
            &rates,
        ),
        Row::paired(
            "– processor time of the server a request / nginx and the server behind it",
            Measure::Seconds,
            &costs,
        ),
    ])
}
