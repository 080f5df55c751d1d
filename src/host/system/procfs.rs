//! Reads the counters and figures that the kernel shows as text under `/proc` (proc(5)).

use std::collections::BTreeMap;

/// The size of a sector in `/proc/diskstats`, whatever the device's own is (kernel, `iostats.rst`).
const SECTOR_BYTES: u64 = 512;

/// Processor time since the start, in clock ticks over all processors.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct CpuTimes {
    /// Time in which a processor had work.
    pub(super) busy: u64,
    /// All time.
    pub(super) total: u64,
}

/// What `/proc/stat` says of the processors.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Cpu {
    /// Time of all processors together.
    pub(super) times: CpuTimes,
    /// How many processors there are.
    pub(super) cores: u32,
}

/// Main memory and swap, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Memory {
    /// All of it.
    pub(super) total: u64,
    /// What programs could still have without swapping.
    pub(super) available: u64,
    /// All swap.
    pub(super) swap_total: u64,
    /// Swap not in use.
    pub(super) swap_free: u64,
}

impl Memory {
    /// Returns what is in use.
    pub(super) fn used(&self) -> u64 {
        self.total.saturating_sub(self.available)
    }

    /// Returns the swap that is in use.
    pub(super) fn swap_used(&self) -> u64 {
        self.swap_total.saturating_sub(self.swap_free)
    }
}

/// Bytes that went through a device since it appeared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Traffic {
    /// Received, or read.
    pub(super) received: u64,
    /// Sent, or written.
    pub(super) sent: u64,
}

/// Reads `/proc/stat`.
pub(super) fn parse_cpu(text: &str) -> Cpu {
    let mut cpu = Cpu::default();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        match words.next() {
            Some("cpu") => cpu.times = parse_cpu_times(words),
            Some(name) if name.starts_with("cpu") => cpu.cores += 1,
            // The lines of the processors come first.
            Some(_) | None => break,
        }
    }
    cpu
}

/// Adds up user, nice, system, idle, iowait, irq, softirq, steal; guest time is part of user time.
fn parse_cpu_times<'a>(words: impl Iterator<Item = &'a str>) -> CpuTimes {
    let mut times = CpuTimes::default();
    for (column, ticks) in words.map_while(|word| word.parse::<u64>().ok()).enumerate() {
        let is_idle = matches!(column, 3 | 4);
        let is_counted_already = column >= 8;
        if is_counted_already {
            break;
        }
        times.total += ticks;
        if !is_idle {
            times.busy += ticks;
        }
    }
    times
}

/// Reads `/proc/meminfo`, and `/proc/spl/kstat/zfs/arcstats` where there is ZFS.
///
/// The kernel counts the cache of ZFS as used, although it shrinks when programs need memory; here it counts as
/// available, down to the least that ZFS keeps.
pub(super) fn parse_memory(meminfo: &str, arcstats: Option<&str>) -> Memory {
    let mut memory = Memory::default();
    for line in meminfo.lines() {
        let Some((key, value)) = line.split_once(':') else {
            continue;
        };
        let field = match key {
            "MemTotal" => &mut memory.total,
            "MemAvailable" => &mut memory.available,
            "SwapTotal" => &mut memory.swap_total,
            "SwapFree" => &mut memory.swap_free,
            _ => continue,
        };
        let kibibytes = value.split_ascii_whitespace().next();
        *field = kibibytes
            .and_then(|n| n.parse::<u64>().ok())
            .unwrap_or_default()
            .saturating_mul(1024);
    }
    let shrinkable = arcstats.map_or(0, parse_shrinkable_arc);
    memory.available = memory
        .available
        .saturating_add(shrinkable)
        .min(memory.total);
    memory
}

/// Returns by how many bytes the cache of ZFS could shrink.
fn parse_shrinkable_arc(arcstats: &str) -> u64 {
    let value = |name: &str| {
        arcstats.lines().find_map(|line| {
            let mut words = line.split_ascii_whitespace();
            (words.next()? == name).then(|| words.nth(1)?.parse::<u64>().ok())?
        })
    };
    let size = value("size").unwrap_or_default();
    size.saturating_sub(value("c_min").unwrap_or(size))
}

/// Reads `/proc/net/dev`: the traffic of each interface, the loopback left out.
pub(super) fn parse_network(text: &str) -> BTreeMap<String, Traffic> {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .filter_map(|(name, counters)| {
            let mut counters = counters.split_ascii_whitespace();
            let received = counters.next()?.parse().ok()?;
            let sent = counters.nth(7)?.parse().ok()?;
            Some((name.trim().to_owned(), Traffic { received, sent }))
        })
        .filter(|(name, _)| name != "lo")
        .collect()
}

/// Reads `/proc/diskstats`: the traffic of each block device, partitions among them.
pub(super) fn parse_disks(text: &str) -> BTreeMap<String, Traffic> {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace().skip(2);
            let name = words.next()?.to_owned();
            let sectors_read: u64 = words.nth(2)?.parse().ok()?;
            let sectors_written: u64 = words.nth(3)?.parse().ok()?;
            let traffic = Traffic {
                received: sectors_read.saturating_mul(SECTOR_BYTES),
                sent: sectors_written.saturating_mul(SECTOR_BYTES),
            };
            Some((name, traffic))
        })
        .collect()
}

/// Reads `/proc/loadavg`: the load over one, five and fifteen minutes.
pub(super) fn parse_load(text: &str) -> Option<[f64; 3]> {
    let mut words = text.split_ascii_whitespace();
    let mut next = || words.next()?.parse::<f64>().ok().filter(|n| n.is_finite());
    Some([next()?, next()?, next()?])
}

/// Reads `/proc/uptime`, in hundredths of a second: it goes on when the clock jumps, so rates are taken over it.
pub(super) fn parse_uptime(text: &str) -> Option<u64> {
    let (seconds, hundredths) = text.split_ascii_whitespace().next()?.split_once('.')?;
    let seconds: u64 = seconds.parse().ok()?;
    let hundredths: u64 = hundredths.parse().ok()?;
    Some(seconds * 100 + hundredths)
}

/// One process, as `/proc/<pid>/stat` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Process {
    /// Its short name, as the kernel keeps it.
    pub(super) name: String,
    /// The processor time that it used, in clock ticks.
    pub(super) ticks: u64,
    /// When it began, in clock ticks since the start of the host.
    pub(super) started: u64,
}

/// Reads `/proc/<pid>/stat`.
///
/// The name stands in parentheses and may itself hold any of them, so the last one ends it.
pub(super) fn parse_process(text: &str) -> Option<Process> {
    let (head, tail) = text.rsplit_once(')')?;
    let (_, name) = head.split_once('(')?;
    // `tail` begins with the third column, the state.
    let mut columns = tail.split_ascii_whitespace();
    let user: u64 = columns.nth(11)?.parse().ok()?;
    let system: u64 = columns.next()?.parse().ok()?;
    let started = columns.nth(6)?.parse().ok()?;
    Some(Process {
        name: name.to_owned(),
        ticks: user + system,
        started,
    })
}

/// Reads the resident memory, in bytes, in `/proc/<pid>/status`; the kernel's own threads have none.
pub(super) fn parse_resident(text: &str) -> u64 {
    text.lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|value| value.split_ascii_whitespace().next()?.parse::<u64>().ok())
        .unwrap_or_default()
        .saturating_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_is_idle_and_guests_count_once() {
        let text = "cpu  100 20 30 400 50 6 7 8 90 10\n\
                    cpu0 50 10 15 200 25 3 3 4 45 5\n\
                    cpu1 50 10 15 200 25 3 4 4 45 5\n\
                    intr 5 0\nctxt 4\nbtime 1700000000\n";

        let cpu = parse_cpu(text);

        assert_eq!(cpu.cores, 2);
        assert_eq!(cpu.times.total, 100 + 20 + 30 + 400 + 50 + 6 + 7 + 8);
        assert_eq!(cpu.times.busy, 100 + 20 + 30 + 6 + 7 + 8);
    }

    #[test]
    fn an_old_kernel_shows_fewer_columns() {
        let cpu = parse_cpu("cpu  1 2 3 4\ncpu0 1 2 3 4\n");

        assert_eq!(cpu.times, CpuTimes { busy: 6, total: 10 });
    }

    const MEMINFO: &str = "MemTotal:       32000 kB\nMemFree:         1000 kB\nMemAvailable:    8000 kB\n\
                           SwapTotal:       4000 kB\nSwapFree:        3000 kB\n";

    #[test]
    fn memory_is_in_bytes() {
        let memory = parse_memory(MEMINFO, None);

        assert_eq!(memory.total, 32_000 * 1024);
        assert_eq!(memory.used(), 24_000 * 1024);
        assert_eq!(memory.swap_total, 4_000 * 1024);
        assert_eq!(memory.swap_used(), 1_000 * 1024);
    }

    #[test]
    fn the_cache_of_zfs_is_available_down_to_its_least() {
        let arcstats = "13 1 0x01 147 39984 4 5\nname                            type data\n\
                        c_min                           4    2048000\n\
                        size                            4    10240000\n";

        let memory = parse_memory(MEMINFO, Some(arcstats));

        assert_eq!(memory.available, 8_000 * 1024 + 10_240_000 - 2_048_000);
    }

    #[test]
    fn available_memory_never_exceeds_all_of_it() {
        let arcstats = "c_min 4 0\nsize 4 99999999999\n";

        let memory = parse_memory(MEMINFO, Some(arcstats));

        assert_eq!(memory.available, memory.total);
    }

    #[test]
    fn interfaces_are_read_without_the_loopback() {
        let text = "Inter-|   Receive                                                |  Transmit\n \
            face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs\n    \
            lo:    3193      29    0    0    0     0          0         0     3193      29    0 0 0 0 0 0\n  \
            eno1: 282813286    8894    0    0    0     0          0         0   618093    5286 0 0 0 0 0 0\n\
            vmbr0:7 1 0 0 0 0 0 0 9 1 0 0 0 0 0 0\n";

        let network = parse_network(text);

        assert_eq!(network.len(), 2);
        assert_eq!(
            network["eno1"],
            Traffic {
                received: 282_813_286,
                sent: 618_093
            }
        );
        assert_eq!(
            network["vmbr0"],
            Traffic {
                received: 7,
                sent: 9
            }
        );
    }

    #[test]
    fn disk_traffic_is_in_bytes() {
        let text = " 254       0 vda 32633 8732 3651826 9000 20157 27372 2934608 6249 0 6588 16031 0 0 0 0 1 2\n   \
            8       1 sda1 1 2 3 4 5 6 7 8 9 10 11\n";

        let disks = parse_disks(text);

        assert_eq!(disks["vda"].received, 3_651_826 * 512);
        assert_eq!(disks["vda"].sent, 2_934_608 * 512);
        assert_eq!(disks["sda1"].sent, 7 * 512);
    }

    #[test]
    fn load_and_uptime_are_read() {
        assert_eq!(
            parse_load("0.52 1.50 10.25 2/345 6789\n"),
            Some([0.52, 1.5, 10.25])
        );
        assert_eq!(parse_load("0.52 nan 1"), None);
        assert_eq!(parse_uptime("350735.47 234388.90\n"), Some(35_073_547));
        assert_eq!(parse_uptime("garbage"), None);
    }

    #[test]
    fn a_process_may_have_parentheses_in_its_name() {
        let text = "4242 (a) R 1 (b)) S 1 4242 4242 0 -1 4194560 1 2 3 4 150 50 7 8 20 0 1 0 9876 1000 25 \
                    18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0\n";

        let process = parse_process(text).unwrap();

        assert_eq!(process.name, "a) R 1 (b)");
        assert_eq!(process.ticks, 200);
        assert_eq!(process.started, 9876);
    }

    #[test]
    fn resident_memory_is_in_bytes() {
        assert_eq!(
            parse_resident("Name:\tsh\nVmRSS:\t    1540 kB\n"),
            1540 * 1024
        );
        assert_eq!(parse_resident("Name:\tkworker/0:1\n"), 0);
    }
}
