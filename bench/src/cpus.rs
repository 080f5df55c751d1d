//! Which processors the servers run on, and which the load.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// How many processors a server gets.
const FOR_SERVERS: usize = 2;

/// The processors of this machine that we may use, shared out.
///
/// Servers get two. The load gets the others; on a machine with only two it shares them, which is
/// why the time that a server computes is reported beside what a client sees.
pub(crate) struct Cpus {
    all: CpuSet,
    servers: CpuSet,
    load: CpuSet,
}

impl Cpus {
    /// Shares out what this process may use.
    pub(crate) fn of_this_process() -> Self {
        let all = sched_getaffinity(None).unwrap_or_default();
        let usable = Vec::from_iter((0..CpuSet::MAX_CPU).filter(|cpu| all.is_set(*cpu)));
        let (servers, load) = match usable.split_at_checked(FOR_SERVERS) {
            Some((servers, load)) if !load.is_empty() => (set(servers), set(load)),
            Some(_) | None => (all, all),
        };
        Self { all, servers, load }
    }

    /// Returns how many there are.
    pub(crate) fn count(&self) -> u32 {
        self.all.count()
    }

    /// Returns how many the servers have.
    pub(crate) fn for_servers(&self) -> u32 {
        self.servers.count()
    }

    /// Returns how many the load has.
    pub(crate) fn for_load(&self) -> u32 {
        self.load.count()
    }

    /// Returns whether the load has processors of its own.
    pub(crate) fn are_shared(&self) -> bool {
        self.load.count() == self.all.count()
    }

    /// Does something on the servers' processors. A process that it starts stays there.
    pub(crate) fn as_server<T>(&self, work: impl FnOnce() -> T) -> T {
        let moved = sched_setaffinity(None, &self.servers);
        let result = work();
        let moved = moved.and_then(|()| sched_setaffinity(None, &self.load));
        if moved.is_err() {
            crate::table::progress("processes cannot be kept on processors of their own");
        }
        result
    }
}

fn set(cpus: &[usize]) -> CpuSet {
    let mut set = CpuSet::new();
    for cpu in cpus {
        set.set(*cpu);
    }
    set
}
