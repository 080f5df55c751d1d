//! Turns counters that only grow into percentages and bytes per second.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::procfs::{Cpu, Traffic};

/// Counters closer together than this (in hundredths of a second) give no fair rate, so the last rates stand.
const SHORTEST_WINDOW: u64 = 100;

/// All counters at one moment.
#[derive(Debug, Clone, Default)]
pub(super) struct Reading {
    /// The moment: hundredths of a second since the start of the host.
    pub(super) uptime: u64,
    /// The processors.
    pub(super) cpu: Cpu,
    /// Each network interface.
    pub(super) network: BTreeMap<String, Traffic>,
    /// The interfaces whose traffic is the host's: what passes a bridge passes a card too and would count twice.
    pub(super) cards: BTreeSet<String>,
    /// Each whole disk; what passes a partition or a volume passes a disk too.
    pub(super) disks: BTreeMap<String, Traffic>,
}

/// What the counters say about the time between two readings.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Rates {
    /// Share of the processors' time in which they had work, in percent.
    pub(super) cpu_usage: f64,
    /// Bytes per second of each interface.
    pub(super) network: BTreeMap<String, Traffic>,
    /// Bytes per second of the host's cards together.
    pub(super) network_total: Traffic,
    /// Bytes per second of the disks together.
    pub(super) disks_total: Traffic,
}

/// Keeps the last reading, so that the next one gives rates.
#[derive(Debug)]
pub(super) struct Meter {
    last: Arc<Reading>,
    rates: Rates,
}

impl Meter {
    /// Begins at `first`; until the next reading the processors' share is that since the start of the host.
    pub(super) fn new(first: Arc<Reading>) -> Self {
        let cpu_usage = cpu_usage(&Reading::default(), &first);
        Self {
            last: first,
            rates: Rates {
                cpu_usage,
                ..Rates::default()
            },
        }
    }

    /// Returns the rates from the last reading to this one.
    pub(super) fn observe(&mut self, reading: &Arc<Reading>) -> &Rates {
        if reading.uptime >= self.last.uptime.saturating_add(SHORTEST_WINDOW) {
            self.rates = rates(&self.last, reading);
            self.last = Arc::clone(reading);
        }
        &self.rates
    }
}

fn rates(earlier: &Reading, later: &Reading) -> Rates {
    let hundredths = later.uptime.saturating_sub(earlier.uptime);
    let network = per_second(&earlier.network, &later.network, hundredths);
    let total = |name: &&String| later.cards.is_empty() || later.cards.contains(*name);
    let network_total = sum(network.iter().filter(|(name, _)| total(name)));
    let disks = per_second(&earlier.disks, &later.disks, hundredths);
    Rates {
        cpu_usage: cpu_usage(earlier, later),
        network_total,
        disks_total: sum(disks.iter()),
        network,
    }
}

fn cpu_usage(earlier: &Reading, later: &Reading) -> f64 {
    let (earlier, later) = (earlier.cpu.times, later.cpu.times);
    // The kernel's idle time may step back a little.
    let total = later.total.saturating_sub(earlier.total);
    let busy = later.busy.saturating_sub(earlier.busy).min(total);
    percent(busy, total)
}

/// A device that has just appeared has no rate yet; one whose counters began anew has the least.
fn per_second(
    earlier: &BTreeMap<String, Traffic>,
    later: &BTreeMap<String, Traffic>,
    hundredths: u64,
) -> BTreeMap<String, Traffic> {
    let rate = |bytes: u64| bytes.saturating_mul(100) / hundredths.max(1);
    later
        .iter()
        .map(|(name, now)| {
            let then = earlier.get(name).unwrap_or(now);
            let traffic = Traffic {
                received: rate(now.received.saturating_sub(then.received)),
                sent: rate(now.sent.saturating_sub(then.sent)),
            };
            (name.clone(), traffic)
        })
        .collect()
}

fn sum<'a>(rates: impl Iterator<Item = (&'a String, &'a Traffic)>) -> Traffic {
    rates.fold(Traffic::default(), |sum, (_, traffic)| Traffic {
        received: sum.received.saturating_add(traffic.received),
        sent: sum.sent.saturating_add(traffic.sent),
    })
}

/// Returns `part` of `whole` in percent, to one decimal; none of nothing.
pub(super) fn percent(part: u64, whole: u64) -> f64 {
    tenths(part, 1000, whole)
}

/// Returns a ratio that another program has measured in percent, to one decimal; 0 for what is no number.
pub(super) fn percent_of_ratio(ratio: f64) -> f64 {
    if ratio.is_finite() {
        (ratio * 1000.0).round() / 10.0
    } else {
        0.0
    }
}

/// Returns `bytes` in GiB, to one decimal.
pub(super) fn gibibytes(bytes: u64) -> f64 {
    tenths(bytes, 10, 1 << 30)
}

/// Returns a tenth of `part * scale / whole`, rounded before it is divided.
fn tenths(part: u64, scale: u128, whole: u64) -> f64 {
    if whole == 0 {
        return 0.0;
    }
    let whole = u128::from(whole);
    let rounded = (u128::from(part) * scale + whole / 2) / whole;
    f64::from(u32::try_from(rounded).unwrap_or(u32::MAX)) / 10.0
}

#[cfg(test)]
#[expect(
    clippy::float_cmp,
    reason = "figures with one decimal come out exactly"
)]
mod tests {
    use super::super::procfs::CpuTimes;
    use super::*;

    fn reading(uptime: u64, busy: u64, total: u64, bytes: u64) -> Arc<Reading> {
        let traffic = Traffic {
            received: bytes,
            sent: bytes / 2,
        };
        let names = ["eno1", "vmbr0"];
        Arc::new(Reading {
            uptime,
            cpu: Cpu {
                times: CpuTimes { busy, total },
                cores: 1,
            },
            network: names.map(|name| (name.to_owned(), traffic)).into(),
            cards: ["eno1".to_owned()].into(),
            disks: [("sda".to_owned(), traffic), ("sdb".to_owned(), traffic)].into(),
        })
    }

    #[test]
    fn rates_are_taken_over_the_time_between() {
        let mut meter = Meter::new(reading(1_000, 100, 1_000, 5_000));

        let rates = meter.observe(&reading(1_500, 150, 1_200, 15_000));

        assert_eq!(rates.cpu_usage, 25.0);
        assert_eq!(rates.network["vmbr0"].received, 2_000);
        assert_eq!(rates.network["vmbr0"].sent, 1_000);
        assert_eq!(rates.network_total.received, 2_000);
        assert_eq!(rates.disks_total.received, 4_000);
    }

    #[test]
    fn readings_too_close_together_change_nothing() {
        let mut meter = Meter::new(reading(1_000, 0, 1_000, 0));
        let fair = meter.observe(&reading(1_200, 100, 1_200, 2_000)).clone();

        let hasty = meter.observe(&reading(1_210, 110, 1_210, 9_999_999));

        assert_eq!(*hasty, fair);
    }

    #[test]
    fn before_the_second_reading_the_processors_have_their_average() {
        let mut meter = Meter::new(reading(1_000, 250, 1_000, 7));

        let rates = meter.observe(&reading(1_001, 251, 1_001, 8));

        assert_eq!(rates.cpu_usage, 25.0);
        assert_eq!(rates.network_total, Traffic::default());
    }

    #[test]
    fn counters_that_begin_anew_give_no_rate() {
        let mut meter = Meter::new(reading(1_000, 100, 1_000, 5_000));

        let rates = meter.observe(&reading(2_000, 50, 900, 10));

        assert_eq!(rates.cpu_usage, 0.0);
        assert_eq!(rates.network_total, Traffic::default());
    }

    #[test]
    fn without_cards_all_interfaces_count() {
        let mut later = Arc::unwrap_or_clone(reading(1_100, 0, 0, 100));
        later.cards.clear();
        let mut meter = Meter::new(reading(1_000, 0, 0, 0));

        let rates = meter.observe(&Arc::new(later));

        assert_eq!(rates.network_total.received, 200);
    }

    #[test]
    fn figures_have_one_decimal() {
        assert_eq!(percent(1, 3), 33.3);
        assert_eq!(percent(2, 3), 66.7);
        assert_eq!(percent(5, 0), 0.0);
        assert_eq!(gibibytes(33_285_996_544), 31.0);
        assert_eq!(gibibytes(1_610_612_736), 1.5);
    }
}
