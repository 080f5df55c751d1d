//! Measures the release binary against references on the same machine and prints one table.

mod bare;
mod certificate;
mod computed;
mod cpus;
mod derivation;
mod handshakes;
mod hello;
mod load;
mod memory;
mod nginx;
mod probe;
mod sample;
mod server;
mod size;
mod startup;
mod state;
mod state_size;
mod storm;
mod table;
mod terminal;
mod throughput;
mod tls;
mod tls_client;
mod window;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;

use cpus::Cpus;
use table::{Row, Table};

/// Measures the release binary against references on the same machine
#[derive(Parser)]
struct Arguments {
    /// The binary to measure
    #[arg(
        long,
        default_value = "target/release/proxmenux-monitor",
        value_name = "FILE"
    )]
    binary: PathBuf,
    /// Short rounds: shows that everything works, not how fast
    #[arg(long)]
    quick: bool,
    /// The nginx of line 13
    #[arg(
        long,
        default_value = ".tools/debian/usr/sbin/nginx",
        value_name = "FILE"
    )]
    nginx: PathBuf,
    /// Only these lines of the table, repeatable
    #[arg(long, value_name = "NUMBER")]
    line: Vec<u8>,
    /// Serves the plain route that the binary is compared with, keeping its files there
    #[arg(long, hide = true, value_name = "DIR")]
    serve_hello: Option<PathBuf>,
}

/// What every measurement needs to know.
struct Plan {
    binary: PathBuf,
    nginx: PathBuf,
    cpus: Cpus,
    pace: Pace,
}

/// How long the measurements take.
struct Pace {
    /// How often each pair is measured.
    rounds: u32,
    /// How long each is loaded in a round.
    load: Duration,
    /// How long latencies are collected in a round.
    probe: Duration,
    /// How many storms of each kind there are.
    storms: u16,
    /// How many keys are typed in a round.
    keys: u32,
    /// How many derivations each library does.
    derivations: u32,
    /// How often a server is started.
    starts: u32,
    /// How many requests "many requests" are.
    many: u32,
    /// How long a server is left alone before its memory is read.
    settle: Duration,
}

impl Pace {
    fn full() -> Self {
        Self {
            rounds: 9,
            load: Duration::from_secs(3),
            probe: Duration::from_secs(10),
            storms: 3,
            keys: 500,
            derivations: 21,
            starts: 20,
            many: 1_000_000,
            settle: Duration::from_secs(5),
        }
    }

    fn quick() -> Self {
        Self {
            rounds: 3,
            load: Duration::from_millis(500),
            probe: Duration::from_secs(2),
            storms: 2,
            keys: 100,
            derivations: 3,
            starts: 3,
            many: 20_000,
            settle: Duration::from_secs(1),
        }
    }
}

type Measurement = fn(&Plan) -> anyhow::Result<Vec<Row>>;

const LINES: &[(u8, &str, Measurement)] = &[
    (1, "requests a second", throughput::measure),
    (2, "size of the state", state_size::measure),
    (3, "one derivation", derivation::measure),
    (4, "a storm of sign-ins", storm::measure),
    (5, "start", startup::measure),
    (6, "memory", memory::measure),
    (8, "size of the binary", size::measure),
    (12, "the terminal", terminal::measure),
    (13, "TLS beside nginx", tls::measure),
];

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(directory) = &arguments.serve_hello {
        return match hello::serve(directory) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                table::progress(&format!("the plain route is not served: {error:#}"));
                ExitCode::FAILURE
            }
        };
    }
    let begun = Instant::now();
    let (table, failures) = run(&arguments);
    table.print(begun.elapsed());
    if failures == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Takes each measurement; one that cannot be taken is told in its row and spoils no other.
fn run(arguments: &Arguments) -> (Table, u32) {
    let pace = if arguments.quick {
        Pace::quick()
    } else {
        Pace::full()
    };
    let plan = Plan {
        binary: arguments.binary.clone(),
        nginx: arguments.nginx.clone(),
        cpus: Cpus::of_this_process(),
        pace,
    };
    let mut table = Table::new(&plan.cpus);
    let mut failures = 0;
    for (line, what, measure) in LINES {
        if !arguments.line.is_empty() && !arguments.line.contains(line) {
            continue;
        }
        table::progress(&format!("measuring line {line}: {what}"));
        match measure(&plan) {
            Ok(rows) => table.add(*line, &rows),
            Err(error) => {
                failures += 1;
                table.add(*line, &[Row::not_measured(what, &error)]);
            }
        }
    }
    (table, failures)
}
