//! The processes that use the processors most; looked for only when somebody wants to see them.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use serde::Serialize;
use utoipa::ToSchema;

use super::procfs::{self, parse_process, parse_resident};
use super::rates::percent;

/// How many are shown.
const SHOWN: usize = 5;

/// Looks closer together than this (in hundredths of a second) show the last result.
const SHORTEST_WINDOW: u64 = 100;

/// `USER_HZ` (proc(5), time(7)): fixed on every architecture of Debian.
const TICKS_PER_SECOND: u64 = 100;

/// A program at work.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Its short name, as the kernel keeps it.
    pub name: String,
    /// Its share of all processors' time, in percent; since the last look, or since it began.
    pub cpu_usage: f64,
    /// The memory that it has in use, in bytes.
    pub memory: u64,
}

/// What was seen at the last look.
#[derive(Debug, Default)]
pub(super) struct Processes {
    looked_at: u64,
    seen: HashMap<u32, Seen>,
    busiest: Vec<Process>,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    ticks: u64,
    /// Tells a process from a later one with the same number.
    started: u64,
}

impl Processes {
    /// Returns the busiest ones. `uptime` is in hundredths of a second.
    pub(super) fn busiest(&mut self, proc: &Path, uptime: u64, cores: u32) -> Vec<Process> {
        let is_recent = uptime < self.looked_at.saturating_add(SHORTEST_WINDOW);
        if !is_recent || self.seen.is_empty() {
            self.look(proc, uptime, cores);
        }
        self.busiest.clone()
    }

    fn look(&mut self, proc: &Path, uptime: u64, cores: u32) {
        let ticks_now = uptime.saturating_mul(TICKS_PER_SECOND) / 100;
        let ticks_then = self.looked_at.saturating_mul(TICKS_PER_SECOND) / 100;
        let mut seen = HashMap::with_capacity(self.seen.len());
        let mut shares: Vec<(u64, u64, u32, String)> = Vec::new();
        for (pid, process) in all(proc) {
            let procfs::Process {
                name,
                ticks,
                started,
            } = process;
            let earlier = self.seen.get(&pid).filter(|seen| seen.started == started);
            let (used, since) = earlier.map_or((ticks, started), |seen| {
                (ticks.saturating_sub(seen.ticks), ticks_then)
            });
            let available = ticks_now.saturating_sub(since).max(1) * u64::from(cores.max(1));
            // In millionths, so that they can be put in order.
            let share = used.min(available).saturating_mul(1_000_000) / available;
            shares.push((share, ticks, pid, name));
            seen.insert(pid, Seen { ticks, started });
        }
        shares.sort_unstable_by(|a, b| b.cmp(a));
        shares.truncate(SHOWN);

        self.busiest = shares
            .into_iter()
            .map(|(share, _, pid, name)| Process {
                pid,
                name,
                cpu_usage: percent(share, 1_000_000),
                memory: resident(proc, pid),
            })
            .collect();
        self.seen = seen;
        self.looked_at = uptime;
    }
}

fn all(proc: &Path) -> impl Iterator<Item = (u32, procfs::Process)> {
    let entries = fs::read_dir(proc).into_iter().flatten().flatten();
    entries.filter_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        // Names need not be UTF-8; a process may be gone by now.
        let stat = fs::read(entry.path().join("stat")).ok()?;
        Some((pid, parse_process(&String::from_utf8_lossy(&stat))?))
    })
}

fn resident(proc: &Path, pid: u32) -> u64 {
    let status = fs::read(proc.join(pid.to_string()).join("status"));
    status.map_or(0, |status| {
        parse_resident(&String::from_utf8_lossy(&status))
    })
}

#[cfg(test)]
#[expect(
    clippy::float_cmp,
    reason = "figures with one decimal come out exactly"
)]
mod tests {
    use super::super::fixture::Tree;
    use super::*;

    fn stat(pid: u32, name: &str, ticks: u64, started: u64) -> String {
        format!("{pid} ({name}) S 1 1 1 0 -1 0 0 0 0 0 {ticks} 0 0 0 20 0 1 0 {started} 0 0 0\n")
    }

    fn tree(processes: &[(u32, &str, u64, u64)]) -> Tree {
        let tree = Tree::new(&[("uptime", "")]);
        for &(pid, name, ticks, started) in processes {
            tree.write(&format!("{pid}/stat"), &stat(pid, name, ticks, started));
            tree.write(&format!("{pid}/status"), "VmRSS: 100 kB\n");
        }
        tree
    }

    // A tick is a hundredth of a second, so uptimes and ticks are in one unit here.

    #[test]
    fn at_first_the_share_is_that_of_its_life() {
        let tree = tree(&[(1, "init", 10, 0), (7, "young", 200, 800)]);

        let busiest = Processes::default().busiest(tree.path(), 1_000, 2);

        assert_eq!(busiest[0].name, "young");
        assert_eq!(busiest[0].cpu_usage, 50.0);
        assert_eq!(busiest[0].memory, 102_400);
        assert_eq!(busiest[1].cpu_usage, 0.5);
    }

    #[test]
    fn then_it_is_that_since_the_last_look() {
        let mut processes = Processes::default();
        processes.busiest(
            tree(&[(1, "init", 900, 0), (7, "busy", 0, 0)]).path(),
            1_000,
            1,
        );

        let later = tree(&[(1, "init", 900, 0), (7, "busy", 100, 0)]);
        let busiest = processes.busiest(later.path(), 1_400, 1);

        assert_eq!(busiest[0].name, "busy");
        assert_eq!(busiest[0].cpu_usage, 25.0);
        assert_eq!(busiest[1].cpu_usage, 0.0);
    }

    #[test]
    fn a_number_used_again_is_another_process() {
        let mut processes = Processes::default();
        processes.busiest(tree(&[(7, "old", 5_000, 0)]).path(), 10_000, 1);

        let busiest = processes.busiest(tree(&[(7, "new", 50, 10_100)]).path(), 10_200, 1);

        assert_eq!(busiest[0].name, "new");
        assert_eq!(busiest[0].cpu_usage, 50.0);
    }

    #[test]
    fn only_the_busiest_are_shown() {
        let all: Vec<_> = (1..=9).map(|pid| (pid, "x", u64::from(pid), 0)).collect();

        let busiest = Processes::default().busiest(tree(&all).path(), 1_000, 1);

        let pids: Vec<_> = busiest.iter().map(|process| process.pid).collect();
        assert_eq!(pids, [9, 8, 7, 6, 5]);
    }

    #[test]
    fn looks_close_together_give_one_answer() {
        let mut processes = Processes::default();
        let first = processes.busiest(tree(&[(1, "a", 10, 0)]).path(), 1_000, 1);

        let second = processes.busiest(tree(&[(2, "b", 10, 0)]).path(), 1_050, 1);

        assert_eq!(first, second);
    }
}
