//! All printing and asking of the commands.

use std::io::{self, IsTerminal as _, Write as _};

use anyhow::Context as _;
use serde::Serialize;
use tracing_subscriber::EnvFilter;

use crate::access::profile::is_unprintable;
use crate::config::LogFormat;

/// The command was used wrongly: exit status 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct WrongUsage(pub(super) String);

/// Prints a line of a command's result.
#[expect(clippy::print_stdout, reason = "this is where commands print")]
pub(super) fn line(text: &str) {
    println!("{text}");
}

/// Prints text as it is.
pub(super) fn raw(bytes: &[u8]) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush())?;
    Ok(())
}

/// Prints a result for programs.
pub(super) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    line(&serde_json::to_string_pretty(value)?);
    Ok(())
}

/// Says beside a command's result what is not part of it.
#[expect(clippy::print_stderr, reason = "this is where commands print")]
pub(super) fn note(text: &str) {
    eprintln!("{text}");
}

/// Prints an error.
#[expect(clippy::print_stderr, reason = "this is where commands print")]
pub(super) fn error(text: &str) {
    eprintln!("error: {text}");
}

/// Whether a command may go ahead without asking.
#[derive(clap::Args, Clone, Copy, Debug)]
pub(super) struct Consent {
    /// Do it without asking
    #[arg(long, short)]
    yes: bool,
}

impl Consent {
    /// Asks, unless told not to. Without a terminal there is nobody to ask.
    pub(super) fn obtain(self, question: &str) -> anyhow::Result<()> {
        if self.yes {
            return Ok(());
        }
        ask(question, "--yes")
    }
}

/// Asks a question of which no is the answer unless somebody says yes; `option` says so beforehand.
pub(super) fn ask(question: &str, option: &str) -> anyhow::Result<()> {
    if !io::stdin().is_terminal() {
        let wrong = format!("{question} Nobody is there to answer: add {option}");
        return Err(WrongUsage(wrong).into());
    }
    raw(format!("{question} [y/N] ").as_bytes())?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).context("no answer")?;
    if matches!(answer.trim(), "y" | "Y" | "yes" | "Yes") {
        return Ok(());
    }
    anyhow::bail!("nothing was changed");
}

/// Starts the log on standard error.
pub(super) fn start_log(format: LogFormat, filter: &str) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_malformed| EnvFilter::new("info"));
    // What is wrong with a passkey's answer we say ourselves; its library would repeat the answer.
    let silent = ["webauthn_rs=off", "webauthn_rs_core=off"].map(str::parse);
    let filter = silent
        .into_iter()
        .flatten()
        .fold(filter, EnvFilter::add_directive);
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_ansi(io::stderr().is_terminal())
        // An error of the log itself would go to the same place, and panic there.
        .log_internal_errors(false)
        .with_writer(io::stderr);
    match format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
}

/// Prints columns, each as wide as its widest cell.
pub(super) fn table(heads: &[&str], rows: &[Vec<String>]) {
    let printable = |row: &Vec<String>| Vec::from_iter(row.iter().map(|cell| printable(cell)));
    let rows = Vec::from_iter(rows.iter().map(printable));
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        let widest = cells
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or_default();
        heads
            .get(column)
            .map_or(widest, |head| widest.max(head.len()))
    };
    let print = |cells: &mut dyn Iterator<Item = &str>| {
        let padded = cells
            .enumerate()
            .map(|(column, cell)| format!("{cell:<width$}", width = width(column)));
        line(Vec::from_iter(padded).join("  ").trim_end());
    };
    print(&mut heads.iter().copied());
    for row in &rows {
        print(&mut row.iter().map(String::as_str));
    }
}

/// Replaces what could steer the terminal or reorder the line: it may come from the state file.
fn printable(text: &str) -> String {
    let shown = |c: char| if is_unprintable(c) { '\u{fffd}' } else { c };
    text.chars().map(shown).collect()
}

/// Says how many there are of something whose plural ends in `s` or `ies`.
pub(super) fn count(number: usize, thing: &str) -> String {
    let stem = thing
        .strip_suffix('y')
        .filter(|stem| !stem.ends_with(['a', 'e', 'o', 'u']));
    match (number, stem) {
        (1, _) => format!("1 {thing}"),
        (_, Some(stem)) => format!("{number} {stem}ies"),
        (_, None) => format!("{number} {thing}s"),
    }
}
