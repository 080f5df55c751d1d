//! What this machine is and does now.
//!
//! Everything is read from `/proc` and `/sys`, so a look costs about a millisecond; only the list of Proxmox guests
//! needs a program. In the background [`System::record`] reads a handful of counters once a minute; processes, disks
//! and sensors are looked at only when somebody asks, and guests only with the full picture.
//!
//! **Invariant:** all calls may block for as long as a local disk takes to answer, so an async caller makes them where
//! blocking is allowed. File systems of other hosts are never asked.

#[cfg(test)]
mod fixture;

mod disks;
mod guests;
mod health;
mod history;
mod identity;
mod network;
mod processes;
mod procfs;
mod rates;
mod snapshot;
mod temperatures;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use jiff::Timestamp;

pub use self::disks::Disk;
pub use self::guests::{Guest, GuestKind, parse_guests};
pub use self::health::{Health, HealthStatus, Reason, ReasonCode};
pub use self::history::{History, INTERVAL_SECONDS};
pub use self::identity::{Identity, is_on_link};
pub use self::network::NetworkInterface;
pub use self::processes::Process;
pub use self::snapshot::{DiskIo, HealthSummary, SystemInfo, SystemSnapshot};
pub use self::temperatures::Temperature;

use self::guests::Guests;
use self::health::Signs;
use self::history::{Point, Points};
use self::processes::Processes;
use self::procfs::Memory;
use self::rates::{Meter, Rates, Reading, percent};

/// Two pictures closer together than this (in hundredths of a second) are one: strangers may ask as often as they like.
const FRESH: u64 = 100;

/// This machine.
#[derive(Debug)]
pub struct System {
    sources: Sources,
    kernel_version: String,
    os: String,
    identity: ArcSwap<Identity>,
    guests: Arc<Guests>,
    state: Mutex<State>,
}

/// Where the kernel and the operating system keep their texts.
#[derive(Debug, Clone)]
struct Sources {
    proc: PathBuf,
    sys: PathBuf,
    etc: PathBuf,
}

/// What is carried from one look to the next.
#[derive(Debug)]
struct State {
    live: Meter,
    minute: Meter,
    picture: Option<Arc<Picture>>,
    processes: Processes,
    history: Points,
}

/// All that is measured at one moment but processes and guests.
#[derive(Debug)]
struct Picture {
    reading: Arc<Reading>,
    rates: Rates,
    memory: Memory,
    load: [f64; 3],
    disks: Vec<Disk>,
    temperatures: Vec<Temperature>,
    health: Health,
}

impl System {
    /// Looks at this machine for the first time.
    pub fn new() -> Self {
        let root = Path::new("/");
        Self::with_sources(Sources {
            proc: root.join("proc"),
            sys: root.join("sys"),
            etc: root.join("etc"),
        })
    }

    fn with_sources(sources: Sources) -> Self {
        let first = Arc::new(sources.reading());
        if first.uptime == 0 {
            tracing::warn!(
                proc = %sources.proc.display(),
                "the figures of this host can't be read, they will all be zero"
            );
        }
        let state = State {
            live: Meter::new(Arc::clone(&first)),
            minute: Meter::new(first),
            picture: None,
            processes: Processes::default(),
            history: Points::default(),
        };
        Self {
            kernel_version: rustix::system::uname()
                .release()
                .to_string_lossy()
                .into_owned(),
            os: sources.operating_system(),
            identity: ArcSwap::from_pointee(sources.identity()),
            guests: Arc::new(Guests::new("pvesh")),
            state: Mutex::new(state),
            sources,
        }
    }

    /// Returns this host's names and networks, at most a minute old.
    pub fn identity(&self) -> Arc<Identity> {
        self.identity.load_full()
    }

    /// Returns what strangers may know: that the host is up, and how it is.
    pub fn info(&self, now: Timestamp) -> SystemInfo {
        let picture = self.picture(&mut self.state());
        SystemInfo::new(&self.identity(), &picture, now)
    }

    /// Returns the full picture. The first call waits for Proxmox's list of guests, where there is Proxmox.
    pub fn sample(&self, now: Timestamp) -> SystemSnapshot {
        let identity = self.identity();
        let (picture, processes) = {
            let mut state = self.state();
            let picture = self.picture(&mut state);
            let Reading { uptime, cpu, .. } = &*picture.reading;
            let processes = state
                .processes
                .busiest(&self.sources.proc, *uptime, cpu.cores);
            (picture, processes)
        };
        let addresses = network::addresses(&interfaces());
        let network = network::interfaces(
            &self.sources.sys,
            &picture.reading,
            &picture.rates,
            &addresses,
        );
        let mut snapshot = SystemSnapshot::new(&identity, &picture, now);
        snapshot.kernel_version.clone_from(&self.kernel_version);
        snapshot.os.clone_from(&self.os);
        snapshot.network = network;
        snapshot.processes = processes;
        snapshot.guests = self.guests.on_node(&identity.node);
        snapshot
    }

    /// Adds the minute that ends `now` to the history. To be called every [`INTERVAL_SECONDS`].
    pub fn record(&self, now: Timestamp) {
        let reading = Arc::new(self.sources.reading());
        let memory = self.sources.memory();
        {
            let mut state = self.state();
            // What is shown live is never an average over more than the last minute.
            state.live.observe(&reading);
            let rates = state.minute.observe(&reading).clone();
            state.history.push(Point {
                at: whole_seconds(now),
                cpu_usage: rates.cpu_usage,
                memory_usage: percent(memory.used(), memory.total),
                network_received: rates.network_total.received,
                network_sent: rates.network_total.sent,
                disk_read: rates.disks_total.received,
                disk_written: rates.disks_total.sent,
            });
        }
        self.identity.store(Arc::new(self.sources.identity()));
    }

    /// Returns the last hour.
    pub fn history(&self) -> History {
        self.state().history.history()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic leaves at worst a rate that is off.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a picture that is fresh.
    fn picture(&self, state: &mut State) -> Arc<Picture> {
        let uptime = self.sources.uptime();
        if let Some(picture) = &state.picture
            && uptime < picture.reading.uptime.saturating_add(FRESH)
        {
            return Arc::clone(picture);
        }
        let reading = Arc::new(self.sources.reading());
        let rates = state.live.observe(&reading).clone();
        let picture = Arc::new(self.sources.picture(reading, rates));
        state.picture = Some(Arc::clone(&picture));
        picture
    }
}

impl Default for System {
    fn default() -> Self {
        Self::new()
    }
}

impl Sources {
    fn proc(&self, file: &str) -> String {
        fs::read_to_string(self.proc.join(file)).unwrap_or_default()
    }

    fn etc(&self, file: &str) -> String {
        fs::read_to_string(self.etc.join(file)).unwrap_or_default()
    }

    fn uptime(&self) -> u64 {
        procfs::parse_uptime(&self.proc("uptime")).unwrap_or_default()
    }

    fn reading(&self) -> Reading {
        let network = procfs::parse_network(&self.proc("net/dev"));
        let mut disks = procfs::parse_disks(&self.proc("diskstats"));
        // Only what hangs on a bus: no partition, volume, RAID or memory disk, whose traffic would count twice or not
        // at all.
        disks.retain(|name, _| {
            let name = name.replace('/', "!");
            self.sys.join("block").join(name).join("device").exists()
        });
        Reading {
            uptime: self.uptime(),
            cpu: procfs::parse_cpu(&self.proc("stat")),
            cards: network::cards(&self.sys, &network),
            network,
            disks,
        }
    }

    fn memory(&self) -> Memory {
        let arcstats = fs::read_to_string(self.proc.join("spl/kstat/zfs/arcstats")).ok();
        procfs::parse_memory(&self.proc("meminfo"), arcstats.as_deref())
    }

    fn picture(&self, reading: Arc<Reading>, rates: Rates) -> Picture {
        let memory = self.memory();
        let load = procfs::parse_load(&self.proc("loadavg")).unwrap_or_default();
        let disks = disks::disks(&self.proc("self/mountinfo"), disks::room);
        let temperatures = temperatures::temperatures(&self.sys);
        let health = health::judge(Signs {
            disks: &disks,
            temperatures: &temperatures,
            memory_usage: percent(memory.used(), memory.total),
            load: load[1],
            cores: reading.cpu.cores,
        });
        Picture {
            reading,
            rates,
            memory,
            load,
            disks,
            temperatures,
            health,
        }
    }

    fn identity(&self) -> Identity {
        let hostname = identity::kernel_hostname();
        Identity::new(&hostname, &self.etc("hosts"), &interfaces())
    }

    /// Reads os-release(5).
    fn operating_system(&self) -> String {
        self.etc("os-release")
            .lines()
            .find_map(|line| line.strip_prefix("PRETTY_NAME="))
            .map_or_else(
                || "Linux".to_owned(),
                |name| name.trim_matches(['"', '\'']).to_owned(),
            )
    }
}

fn interfaces() -> Vec<if_addrs::Interface> {
    if_addrs::get_if_addrs().unwrap_or_else(|error| {
        tracing::warn!(%error, "the addresses of this host can't be read");
        Vec::new()
    })
}

/// Drops the fraction: nobody reads it.
fn whole_seconds(now: Timestamp) -> Timestamp {
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

#[cfg(test)]
#[expect(
    clippy::float_cmp,
    reason = "figures with one decimal come out exactly"
)]
mod tests {
    use super::fixture::Tree;
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// A host that has been up for three days, four hours and five minutes.
    fn recorded() -> (Tree, System) {
        let tree = Tree::new(&[
            ("proc/uptime", "273900.00 100.00\n"),
            (
                "proc/stat",
                "cpu 100 0 100 800 0 0 0 0 0 0\ncpu0 100 0 100 800\n",
            ),
            (
                "proc/meminfo",
                "MemTotal: 8388608 kB\nMemAvailable: 2097152 kB\nSwapTotal: 4194304 kB\nSwapFree: 4194304 kB\n",
            ),
            ("proc/loadavg", "0.10 0.20 0.30 1/2 3\n"),
            (
                "proc/net/dev",
                "h\nh\neno1: 1000 0 0 0 0 0 0 0 500 0 0 0 0 0 0 0\n",
            ),
            (
                "proc/diskstats",
                "8 0 sda 1 1 8 1 1 1 8 1 0 1 1\n8 1 sda1 1 1 8 1 1 1 8 1 0 1 1\n253 0 dm-0 1 1 8 1 1 1 8 1 0 1 1\n",
            ),
            (
                "proc/self/mountinfo",
                "27 1 253:1 / / rw - ext4 /dev/mapper/pve-root rw\n",
            ),
            (
                "proc/1/stat",
                "1 (init) S 0 1 1 0 -1 0 0 0 0 0 5 5 0 0 20 0 1 0 0 0 0 0\n",
            ),
            ("sys/class/net/eno1/device/vendor", ""),
            ("sys/class/net/eno1/operstate", "up\n"),
            ("sys/block/sda/device/model", ""),
            ("sys/block/dm-0/dm/name", ""),
            ("sys/class/hwmon/hwmon0/name", "k10temp\n"),
            ("sys/class/hwmon/hwmon0/temp1_input", "45500\n"),
            ("sys/class/hwmon/hwmon0/temp1_label", "Tctl\n"),
            (
                "etc/os-release",
                "NAME=x\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n",
            ),
        ]);
        let system = System::with_sources(Sources {
            proc: tree.path().join("proc"),
            sys: tree.path().join("sys"),
            etc: tree.path().join("etc"),
        });
        (tree, system)
    }

    /// Ten seconds later half the time was work, and a disk and a card were busy.
    fn ten_seconds_later(tree: &Tree) {
        tree.write("proc/uptime", "273910.00 100.00\n");
        tree.write(
            "proc/stat",
            "cpu 600 0 100 1300 0 0 0 0 0 0\ncpu0 600 0 100 1300\n",
        );
        tree.write(
            "proc/net/dev",
            "h\nh\neno1: 21000 0 0 0 0 0 0 0 10500 0 0 0 0 0 0 0\n",
        );
        tree.write(
            "proc/diskstats",
            "8 0 sda 1 1 208 1 1 1 408 1 0 1 1\n8 1 sda1 1 1 208 1 1 1 408 1 0 1 1\n253 0 dm-0 1 1 208 1 1 1 408 1 0 1 1\n",
        );
    }

    #[test]
    fn a_recorded_host_is_shown_in_full() {
        let (tree, system) = recorded();
        ten_seconds_later(&tree);

        let snapshot = system.sample(at(1_700_000_000));

        assert_eq!(snapshot.uptime, "3d 4h 5m");
        assert_eq!(snapshot.uptime_seconds, 273_910);
        assert_eq!((snapshot.cpu_usage, snapshot.cpu_cores), (50.0, 1));
        assert_eq!(
            (
                snapshot.memory_usage,
                snapshot.memory_total,
                snapshot.memory_used
            ),
            (75.0, 8.0, 6.0)
        );
        assert_eq!(
            (snapshot.swap_usage, snapshot.swap_total, snapshot.swap_used),
            (0.0, 4.0, 0.0)
        );
        assert_eq!(snapshot.load_average, [0.1, 0.2, 0.3]);
        assert_eq!(snapshot.temperature, 45.5);
        assert_eq!(snapshot.disks[0].device, "/dev/mapper/pve-root");
        assert_eq!(snapshot.network[0].rx_bytes_per_second, 2_000);
        assert_eq!(snapshot.network[0].tx_bytes_per_second, 1_000);
        // 200 and 400 sectors in ten seconds, on one disk: its partition and the volume on it don't count again.
        assert_eq!(snapshot.disk_io.read_bytes_per_second, 10_240);
        assert_eq!(snapshot.disk_io.written_bytes_per_second, 20_480);
        assert_eq!(snapshot.processes[0].name, "init");
        assert_eq!(snapshot.os, "Debian GNU/Linux 12 (bookworm)");
        assert_eq!(snapshot.guests, []);
    }

    #[test]
    fn what_is_asked_twice_at_once_is_measured_once() {
        let (tree, system) = recorded();
        ten_seconds_later(&tree);
        let first = system.sample(at(0));
        tree.write("proc/loadavg", "9.00 9.00 9.00 1/2 3\n");

        assert_eq!(system.sample(at(0)).load_average, first.load_average);

        tree.write("proc/uptime", "273911.00 100.00\n");
        assert_eq!(system.sample(at(0)).load_average, [9.0, 9.0, 9.0]);
    }

    #[test]
    fn strangers_learn_little() {
        let (_tree, system) = recorded();

        let info = serde_json::to_value(system.info(at(1_700_000_000))).unwrap();

        let mut keys: Vec<_> = info.as_object().unwrap().keys().collect();
        keys.sort();
        assert_eq!(
            keys,
            [
                "health",
                "hostname",
                "timestamp",
                "uptime",
                "uptime_seconds"
            ]
        );
        assert_eq!(info["timestamp"], "2023-11-14T22:13:20Z");
        let mut keys: Vec<_> = info["health"].as_object().unwrap().keys().collect();
        keys.sort();
        assert_eq!(keys, ["status", "summary"]);
    }

    #[test]
    fn each_record_is_a_point_over_its_whole_minute() {
        let (tree, system) = recorded();
        ten_seconds_later(&tree);
        // A page that looks in between doesn't shorten the minute.
        system.sample(at(10));
        tree.write("proc/uptime", "273920.00 100.00\n");

        system.record(at(20));

        let history = system.history();
        assert_eq!(history.timestamps, [at(20)]);
        assert_eq!(history.cpu_usage, [50.0]);
        assert_eq!(history.memory_usage, [75.0]);
        assert_eq!(history.network_rx_bytes_per_second, [1_000]);
        assert_eq!(history.disk_written_bytes_per_second, [10_240]);
    }

    #[test]
    fn a_host_without_figures_shows_zeros() {
        let tree = Tree::new(&[("proc/nothing", "")]);
        let system = System::with_sources(Sources {
            proc: tree.path().join("proc"),
            sys: tree.path().join("sys"),
            etc: tree.path().join("etc"),
        });

        let snapshot = system.sample(at(0));

        assert_eq!(snapshot.uptime, "0m");
        assert_eq!(snapshot.cpu_usage, 0.0);
        assert_eq!(snapshot.os, "Linux");
    }

    #[test]
    fn this_host_keeps_to_the_bounds() {
        let system = System::new();
        std::thread::sleep(std::time::Duration::from_millis(1_100));

        let snapshot = system.sample(at(0));

        assert!(!snapshot.hostname.is_empty());
        assert!(snapshot.uptime_seconds > 0);
        assert!(snapshot.cpu_cores > 0);
        for percent in [
            snapshot.cpu_usage,
            snapshot.memory_usage,
            snapshot.swap_usage,
        ] {
            assert!((0.0..=100.0).contains(&percent), "{percent}");
        }
        assert!(snapshot.memory_total > 0.0);
        assert!(snapshot.memory_used <= snapshot.memory_total);
        assert_eq!(snapshot.disks[0].mount, "/");
        for disk in &snapshot.disks {
            assert!(disk.used <= disk.total, "{disk:?}");
            assert!((0.0..=100.0).contains(&disk.usage), "{disk:?}");
        }
        assert!(!snapshot.processes.is_empty() && snapshot.processes.len() <= 5);
        for process in &snapshot.processes {
            assert!((0.0..=100.0).contains(&process.cpu_usage), "{process:?}");
        }
        assert!(!system.identity().names.is_empty());
    }
}
