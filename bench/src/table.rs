//! The table: what was measured, against what, and whether it meets its bar.

use std::fmt;
use std::io::Write as _;
use std::time::Duration;

use crate::cpus::Cpus;
use crate::sample::Pairs;

/// A figure with its unit.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Measure {
    /// Requests a second.
    PerSecond(f64),
    /// Bytes a second.
    BytesPerSecond(f64),
    /// A time, in seconds.
    Seconds(f64),
    /// A size, in bytes.
    Bytes(f64),
}

impl Measure {
    fn value(self) -> f64 {
        match self {
            Self::PerSecond(value)
            | Self::BytesPerSecond(value)
            | Self::Seconds(value)
            | Self::Bytes(value) => value,
        }
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MEBIBYTE: f64 = 1024.0 * 1024.0;
        match *self {
            Self::PerSecond(value) => write!(f, "{value:.0}/s"),
            Self::BytesPerSecond(value) => write!(f, "{:.0} MB/s", value / 1e6),
            Self::Seconds(value) if value < 1e-3 => write!(f, "{:.1} µs", value * 1e6),
            Self::Seconds(value) => write!(f, "{:.2} ms", value * 1e3),
            Self::Bytes(value) if value.abs() < 10_000.0 => write!(f, "{value:.0} B"),
            Self::Bytes(value) => write!(f, "{:.1} MiB", value / MEBIBYTE),
        }
    }
}

/// What a row must reach.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bar {
    /// The ratio is at least this.
    RatioAtLeast(f64),
    /// The ratio is at most this.
    RatioAtMost(f64),
    /// The figure is at most this.
    FigureAtMost(Measure),
    /// The figure is at least this.
    FigureAtLeast(Measure),
}

impl Bar {
    fn is_met(self, figure: Measure, ratio: Option<f64>) -> bool {
        match self {
            Self::RatioAtLeast(bar) => ratio.is_some_and(|ratio| ratio >= bar),
            Self::RatioAtMost(bar) => ratio.is_some_and(|ratio| ratio <= bar),
            Self::FigureAtMost(bar) => figure.value() <= bar.value(),
            Self::FigureAtLeast(bar) => figure.value() >= bar.value(),
        }
    }
}

impl fmt::Display for Bar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RatioAtLeast(bar) => write!(f, "≥ {bar:.2} ×"),
            Self::RatioAtMost(bar) => write!(f, "≤ {bar:.2} ×"),
            Self::FigureAtMost(bar) => write!(f, "≤ {bar}"),
            Self::FigureAtLeast(bar) => write!(f, "≥ {bar}"),
        }
    }
}

/// One row.
#[derive(Debug)]
pub(crate) struct Row {
    what: String,
    figure: Option<Measure>,
    reference: Option<Measure>,
    ratio: Option<f64>,
    bar: Option<Bar>,
}

impl Row {
    /// Says what was measured, without a reference.
    pub(crate) fn new(what: impl Into<String>, figure: Measure) -> Self {
        Self {
            what: what.into(),
            figure: Some(figure),
            reference: None,
            ratio: None,
            bar: None,
        }
    }

    /// Says what was measured in pairs with its reference.
    pub(crate) fn paired(what: impl Into<String>, unit: fn(f64) -> Measure, pairs: &Pairs) -> Self {
        Self {
            reference: Some(unit(pairs.reference())),
            ratio: Some(pairs.ratio()),
            ..Self::new(what, unit(pairs.figure()))
        }
    }

    /// Says that something could not be measured, and why.
    pub(crate) fn not_measured(what: &str, error: &anyhow::Error) -> Self {
        Self {
            what: format!("{what}: NOT MEASURED: {error:#}"),
            figure: None,
            reference: None,
            ratio: None,
            bar: None,
        }
    }

    /// Compares the figure with `reference`.
    pub(crate) fn against(mut self, reference: Measure) -> Self {
        self.ratio = self.figure.map(|figure| figure.value() / reference.value());
        self.reference = Some(reference);
        self
    }

    /// Shows `reference` beside the figure, which is no share of it.
    pub(crate) fn beside(mut self, reference: Measure) -> Self {
        self.reference = Some(reference);
        self
    }

    /// Sets what the row must reach.
    pub(crate) fn must(mut self, bar: Bar) -> Self {
        self.bar = Some(bar);
        self
    }

    fn cells(&self, line: u8) -> [String; COLUMNS] {
        let verdict = self.figure.zip(self.bar);
        let verdict = verdict.map(|(figure, bar)| bar.is_met(figure, self.ratio));
        let verdict = verdict.map(|is_met| if is_met { "yes" } else { "NO" });
        [
            line.to_string(),
            self.what.clone(),
            shown(self.figure),
            shown(self.reference),
            shown(self.ratio.map(|ratio| format!("{ratio:.3}"))),
            shown(self.bar),
            shown(verdict),
        ]
    }
}

fn shown(value: Option<impl fmt::Display>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

const COLUMNS: usize = 7;
const HEADS: [&str; COLUMNS] = ["#", "what", "figure", "reference", "ratio", "bar", "met"];

/// All rows.
pub(crate) struct Table {
    machine: String,
    rows: Vec<[String; COLUMNS]>,
}

impl Table {
    /// Starts a table for this machine.
    pub(crate) fn new(cpus: &Cpus) -> Self {
        let load = if cpus.are_shared() {
            "the load shares them with the server"
        } else {
            "two for the server, the others for the load"
        };
        Self {
            machine: format!("{} cores, {load}", cpus.count()),
            rows: vec![HEADS.map(str::to_owned)],
        }
    }

    /// Adds the rows of a line.
    pub(crate) fn add(&mut self, line: u8, rows: &[Row]) {
        self.rows.extend(rows.iter().map(|row| row.cells(line)));
    }

    /// Prints the table.
    pub(crate) fn print(&self, took: Duration) {
        let mut text = format!("{}; took {} s\n\n", self.machine, took.as_secs());
        let mut widths = [0; COLUMNS];
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.chars().count().max(*width);
            }
        }
        for row in &self.rows {
            let cells = row.iter().zip(widths);
            let cells = cells.map(|(cell, width)| format!("{cell:<width$}"));
            text.push_str(Vec::from_iter(cells).join("  ").trim_end());
            text.push('\n');
        }
        let _nobody_reads = std::io::stdout().write_all(text.as_bytes());
    }
}

/// Says what is being done.
pub(crate) fn progress(text: &str) {
    let _nobody_reads = writeln!(std::io::stderr(), "bench: {text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_can_be_missed() {
        let slow = Row::new("what", Measure::PerSecond(89.0)).against(Measure::PerSecond(100.0));
        let cells = slow.must(Bar::RatioAtLeast(0.9)).cells(1);

        assert_eq!(cells[4..], ["0.890", "≥ 0.90 ×", "NO"]);
    }

    #[test]
    fn a_bar_of_the_figure_needs_no_reference() {
        let small = Row::new("what", Measure::Bytes(20.0 * 1024.0 * 1024.0));
        let bar = Bar::FigureAtMost(Measure::Bytes(20.0 * 1024.0 * 1024.0));
        let cells = small.must(bar).cells(8);

        assert_eq!(cells[2..], ["20.0 MiB", "", "", "≤ 20.0 MiB", "yes"]);
    }

    #[test]
    fn a_reference_beside_the_figure_makes_no_ratio() {
        let slow = Row::new("what", Measure::BytesPerSecond(49e6));
        let slow = slow.beside(Measure::BytesPerSecond(98e6));
        let bar = Bar::FigureAtLeast(Measure::BytesPerSecond(50e6));
        let cells = slow.must(bar).cells(12);

        assert_eq!(cells[2..], ["49 MB/s", "98 MB/s", "", "≥ 50 MB/s", "NO"]);
    }
}
