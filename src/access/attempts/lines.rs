//! Which refusals get a line in the log, so that the jail sees them and the disk does not fill.

use std::collections::HashMap;
use std::mem;

use ipnet::IpNet;
use jiff::SignedDuration;

use super::moment::Moment;
use super::record::minutes;

/// How many refusals a log line stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeated {
    /// Their number, itself included: 1 where nothing was left out.
    pub refusals: u64,
}

/// How many refusals have a log line each, in [`LINE_WINDOW`].
pub(super) const FREE_LINES: usize = 10;
const LINE_WINDOW: SignedDuration = minutes(10);
const LINE_PAUSE: SignedDuration = SignedDuration::from_secs(10);

/// Most networks whose lines are counted, in each of two generations.
const MAX_THROTTLES: usize = 10_000;

/// Which refusals were logged of late, within a bound.
///
/// Whoever is not refused again while [`MAX_THROTTLES`] others are is forgotten.
#[derive(Debug, Default)]
pub(super) struct Lines {
    young: HashMap<IpNet, Throttle>,
    old: HashMap<IpNet, Throttle>,
}

impl Lines {
    /// Returns how many refusals of `network` a line written now stands for, if one is due.
    pub(super) fn pass(
        &mut self,
        network: IpNet,
        refusals: u64,
        free: usize,
        now: Moment,
    ) -> Option<u64> {
        if !self.young.contains_key(&network) {
            if self.young.len() >= MAX_THROTTLES {
                self.old = mem::take(&mut self.young);
            }
            let throttle = self.old.remove(&network).unwrap_or(Throttle {
                opened: now,
                lines: 0,
                last: now,
                withheld: 0,
            });
            self.young.insert(network, throttle);
        }
        self.young.get_mut(&network)?.pass(refusals, free, now)
    }
}

#[derive(Clone, Copy, Debug)]
struct Throttle {
    opened: Moment,
    lines: usize,
    last: Moment,
    withheld: u64,
}

impl Throttle {
    /// Returns how many refusals a line written now stands for, or withholds these.
    fn pass(&mut self, refusals: u64, free: usize, now: Moment) -> Option<u64> {
        if now.since(self.opened) >= LINE_WINDOW {
            self.opened = now;
            self.lines = 0;
        }
        if self.lines >= free && now.since(self.last) < LINE_PAUSE {
            self.withheld = self.withheld.saturating_add(refusals);
            return None;
        }
        self.lines = self.lines.saturating_add(1);
        self.last = now;
        Some(mem::take(&mut self.withheld).saturating_add(refusals))
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::super::Attempts;
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millisecond(1_800_000_000_000 + millis).unwrap()
    }

    fn line(attempts: &mut Attempts, address: &str, millis: i64) -> Option<u64> {
        let line = attempts.refusal_line(address.parse().unwrap(), at(millis));
        line.map(|line| line.refusals)
    }

    #[test]
    fn ten_refusals_have_a_line_each_then_there_is_one_every_ten_seconds() {
        let mut attempts = Attempts::new();
        for second in 0..10 {
            assert_eq!(line(&mut attempts, "192.0.2.1", second * 100), Some(1));
        }
        for withheld in 0..90 {
            assert_eq!(
                line(&mut attempts, "192.0.2.1", 1_000 + withheld * 100),
                None
            );
        }
        assert_eq!(
            line(&mut attempts, "192.0.2.1", 10_899),
            None,
            "10 s after the tenth line"
        );
        assert_eq!(line(&mut attempts, "192.0.2.1", 10_900), Some(92));
        assert_eq!(line(&mut attempts, "192.0.2.1", 20_899), None);
        assert_eq!(line(&mut attempts, "192.0.2.1", 40_000), Some(2));
        assert_eq!(
            line(&mut attempts, "192.0.2.2", 40_000),
            Some(1),
            "an address of its own"
        );
    }

    #[test]
    fn after_ten_minutes_there_are_ten_lines_again() {
        let mut attempts = Attempts::new();
        for _ in 0..10 {
            assert_eq!(line(&mut attempts, "192.0.2.1", 0), Some(1));
        }
        assert_eq!(line(&mut attempts, "192.0.2.1", 599_000), Some(1));
        assert_eq!(line(&mut attempts, "192.0.2.1", 599_999), None);
        assert_eq!(line(&mut attempts, "192.0.2.1", 600_000), Some(2));
        for _ in 0..9 {
            assert_eq!(line(&mut attempts, "192.0.2.1", 600_000), Some(1));
        }
        assert_eq!(line(&mut attempts, "192.0.2.1", 600_000), None);
    }

    #[test]
    fn a_network_of_ipv6_does_not_fill_the_disk() {
        let mut attempts = Attempts::new();
        let mut lines = 0;
        let mut refusals = 0;
        for subnet in 0..5_000_u16 {
            for host in 1..4 {
                let address = Ipv6Addr::new(0x2001, 0xdb8, 7, subnet, 0, 0, 0, host);
                if let Some(line) = attempts.refusal_line(address.into(), at(0)) {
                    lines += 1;
                    refusals += line.refusals;
                }
            }
        }
        assert_eq!((lines, refusals), (200, 200));
        let later = line(&mut attempts, "2001:db8:7:1::1", 10_000);
        assert_eq!(later, Some(15_000 - 200 + 1), "none is lost");

        let mut lines = 0;
        for host in 1..100 {
            let address = Ipv6Addr::new(0x2001, 0xdb8, 8, 0, 0, 0, 0, host);
            lines += usize::from(attempts.refusal_line(address.into(), at(0)).is_some());
        }
        assert_eq!(lines, 10, "a /64 is one address");
    }

    #[test]
    fn ipv4_is_the_same_mapped_or_not() {
        let mut attempts = Attempts::new();
        for _ in 0..5 {
            assert_eq!(line(&mut attempts, "192.0.2.1", 0), Some(1));
            assert_eq!(line(&mut attempts, "::ffff:192.0.2.1", 0), Some(1));
        }
        assert_eq!(line(&mut attempts, "192.0.2.1", 0), None);
    }

    #[test]
    fn memory_is_bounded_and_the_busy_are_kept() {
        let mut attempts = Attempts::new();
        for _ in 0..11 {
            line(&mut attempts, "192.0.2.1", 0);
        }
        for number in 0..100_000_u32 {
            let stranger = IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + number));
            attempts.refusal_line(stranger, at(0));
            if number % 5_000 == 0 {
                assert_eq!(line(&mut attempts, "192.0.2.1", 0), None);
            }
            let kept = attempts.lines.young.len() + attempts.lines.old.len();
            assert!(kept <= 2 * MAX_THROTTLES);
        }
    }

    proptest! {
        #[test]
        fn lines_stand_for_all_refusals_and_are_few(pauses in prop::collection::vec(0_i64..15_000, 1..300)) {
            let mut attempts = Attempts::new();
            let mut now = 0;
            let mut written: Vec<(i64, u64)> = Vec::new();
            for (index, pause) in pauses.iter().enumerate() {
                now += pause;
                if let Some(refusals) = line(&mut attempts, "192.0.2.1", now) {
                    written.push((now, refusals));
                    let stood_for: u64 = written.iter().map(|(_, refusals)| refusals).sum();
                    prop_assert_eq!(stood_for, index as u64 + 1);
                }
            }
            // In ten minutes: ten, and one for each ten seconds, of two windows at worst.
            for (start, _) in &written {
                let window = start..&(start + 600_000);
                let lines = written.iter().filter(|(at, _)| window.contains(&at)).count();
                prop_assert!(lines <= 10 + 60 + 10, "{}", lines);
            }
        }
    }
}
