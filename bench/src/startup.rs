//! Line 5: from the start of the process to its first answer.

use std::time::{Duration, Instant};

use anyhow::ensure;

use crate::Plan;
use crate::load::Request;
use crate::probe::ask_once;
use crate::sample::Pairs;
use crate::server::Server;
use crate::state::{Home, Shape};
use crate::table::{Bar, Measure, Row};

const STATUS: &str = "/api/auth/status";
const API_TOKENS: u32 = 1000;

/// Measures.
pub(crate) fn measure(plan: &Plan) -> anyhow::Result<Vec<Row>> {
    let home = Home::create(Shape {
        api_tokens: API_TOKENS,
        ..Shape::SMALL
    })?;
    let mut times = Pairs::default();
    for _ in 0..plan.pace.starts {
        let ours = start(|| Server::monitor(plan, &home))?;
        let reference = start(|| Server::hello(plan, &home))?;
        times.add(ours, reference);
    }
    let row = Row::paired(
        "from exec to the first 200, with 1 000 API tokens / plain hello",
        Measure::Seconds,
        &times,
    );
    let bar = Measure::Seconds(Duration::from_millis(60).as_secs_f64());
    Ok(vec![row.must(Bar::FigureAtMost(bar))])
}

/// Returns how long it takes until a server answers, in seconds.
fn start(server: impl FnOnce() -> anyhow::Result<Server>) -> anyhow::Result<f64> {
    let begun = Instant::now();
    let server = server()?;
    let status = ask_once(server.address, &Request::get(STATUS, None))?;
    let took = begun.elapsed();
    ensure!(status == 200, "an answer with status {status}");
    Ok(took.as_secs_f64())
}
