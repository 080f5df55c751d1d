//! Line 6: resident memory, idle and after many requests.

use std::thread;

use anyhow::ensure;

use crate::Plan;
use crate::load::{Load, Request};
use crate::probe::ask_once;
use crate::server::Server;
use crate::state::{Home, Shape};
use crate::table::{Bar, Measure, Row};
use crate::throughput::PROFILE;

const MEBIBYTE: f64 = 1024.0 * 1024.0;

/// Measures.
pub(crate) fn measure(plan: &Plan) -> anyhow::Result<Vec<Row>> {
    let home = Home::create(Shape::SMALL)?;
    let monitor = Server::monitor(plan, &home)?;
    let hello = Server::hello(plan, &home)?;
    let request = Request::get(PROFILE, home.sessions.first().map(String::as_str));
    for server in [&monitor, &hello] {
        let status = ask_once(server.address, &request)?;
        ensure!(status == 200, "an answer with status {status}");
    }
    let idle = settled(plan, &monitor, &hello)?;
    let load = Load::new()?;
    let requests = [request];
    for server in [&monitor, &hello] {
        load.for_count(&server.address.into(), &requests, plan.pace.many)?;
    }
    let busy = settled(plan, &monitor, &hello)?;
    let after = format!(
        "resident memory after {} requests / plain hello",
        plan.pace.many
    );
    Ok(vec![
        row("resident memory, idle / plain hello", idle, 20.0),
        row(&after, busy, 30.0),
    ])
}

fn row(what: &str, (monitor, hello): (Measure, Measure), most: f64) -> Row {
    let bar = Bar::FigureAtMost(Measure::Bytes(most * MEBIBYTE));
    Row::new(what, monitor).against(hello).must(bar)
}

/// Leaves both alone for a while and reads their memory.
fn settled(plan: &Plan, monitor: &Server, hello: &Server) -> anyhow::Result<(Measure, Measure)> {
    thread::sleep(plan.pace.settle);
    let [monitor, hello] = [monitor.resident()?, hello.resident()?];
    Ok((Measure::Bytes(monitor), Measure::Bytes(hello)))
}
