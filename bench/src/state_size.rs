//! Line 2: the same requests with a state of any size, and what a revocation costs in memory.

use crate::Plan;
use crate::load::{CONNECTIONS, Load, Request};
use crate::sample::Pairs;
use crate::server::Server;
use crate::state::{Home, Shape};
use crate::table::{Bar, Measure, Row};
use crate::throughput::{PROFILE, round};

const MANY_REVOCATIONS: u32 = 1_000_000;

/// With what the requests are made.
#[derive(Clone, Copy)]
enum With {
    Sessions,
    ApiTokens,
}

/// A state to compare with the small one.
struct Variant {
    what: &'static str,
    shape: Shape,
    with: With,
}

const VARIANTS: &[Variant] = &[
    Variant {
        what: "the same state twice: the noise of this line",
        shape: Shape::SMALL,
        with: With::Sessions,
    },
    Variant {
        what: "10 000 revocations / none",
        shape: Shape {
            revocations: 10_000,
            ..Shape::SMALL
        },
        with: With::Sessions,
    },
    Variant {
        what: "1 000 000 revocations / none",
        shape: Shape {
            revocations: MANY_REVOCATIONS,
            ..Shape::SMALL
        },
        with: With::Sessions,
    },
    Variant {
        what: "1 000 API tokens / 1",
        shape: Shape {
            api_tokens: 1000,
            ..Shape::SMALL
        },
        with: With::ApiTokens,
    },
    Variant {
        what: "100 000 API tokens / 1",
        shape: Shape {
            api_tokens: 100_000,
            ..Shape::SMALL
        },
        with: With::ApiTokens,
    },
    Variant {
        what: "200 sessions / 1",
        shape: Shape {
            sessions: 200,
            ..Shape::SMALL
        },
        with: With::Sessions,
    },
];

/// A server with its state.
struct Stand {
    home: Home,
    server: Server,
}

impl Stand {
    fn new(plan: &Plan, shape: Shape) -> anyhow::Result<Self> {
        let home = Home::create(shape)?;
        let server = Server::monitor(plan, &home)?;
        Ok(Self { home, server })
    }

    /// Returns a request for each connection, each with a token of its own as far as there are
    /// so many.
    fn requests(&self, with: With) -> Vec<Request> {
        let tokens = match with {
            With::Sessions => &self.home.sessions,
            With::ApiTokens => &self.home.api_tokens,
        };
        let last = tokens.iter().rev().take(CONNECTIONS);
        last.map(|token| Request::get(PROFILE, Some(token)))
            .collect()
    }
}

/// Measures. Only the servers of one comparison run at a time.
pub(crate) fn measure(plan: &Plan) -> anyhow::Result<Vec<Row>> {
    let load = Load::new()?;
    let small = Stand::new(plan, Shape::SMALL)?;
    let mut rows = Vec::new();
    for variant in VARIANTS {
        let large = Stand::new(plan, variant.shape)?;
        let (ours, reference) = (large.requests(variant.with), small.requests(variant.with));
        let mut rates = Pairs::default();
        let mut costs = Pairs::default();
        for _ in 0..plan.pace.rounds {
            let large = round(plan, &load, &large.server, &ours)?;
            let small = round(plan, &load, &small.server, &reference)?;
            rates.add(large.rate, small.rate);
            costs.add(large.cost, small.cost);
        }
        let row = Row::paired(variant.what, Measure::PerSecond, &rates);
        rows.push(row.must(Bar::RatioAtLeast(0.95)));
        let what = "– processor time of the server a request";
        rows.push(Row::paired(what, Measure::Seconds, &costs));
        if variant.shape.revocations == MANY_REVOCATIONS {
            let grown = large.server.resident()? - small.server.resident()?;
            let each = Measure::Bytes(grown / f64::from(MANY_REVOCATIONS));
            let bar = Bar::FigureAtMost(Measure::Bytes(100.0));
            rows.push(Row::new("– memory a revocation", each).must(bar));
        }
    }
    Ok(rows)
}
