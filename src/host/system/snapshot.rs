//! What the API tells of this machine: the small public answer and the full one.

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::disks::Disk;
use super::guests::Guest;
use super::health::{Health, HealthStatus};
use super::identity::Identity;
use super::network::NetworkInterface;
use super::processes::Process;
use super::rates::{gibibytes, percent};
use super::temperatures::{Temperature, main_temperature};
use super::{Picture, whole_seconds};

/// What anybody may know of this host.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct SystemInfo {
    /// The host name.
    #[schema(example = "pve")]
    pub hostname: String,
    /// How long the host has been up, for people.
    #[schema(example = "3d 4h 5m")]
    pub uptime: String,
    /// How long the host has been up.
    pub uptime_seconds: u64,
    /// The time of the answer.
    #[schema(value_type = String, format = DateTime)]
    pub timestamp: Timestamp,
    /// How the host is.
    pub health: HealthSummary,
}

/// How the host is, without the reasons.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct HealthSummary {
    /// In one word.
    pub status: HealthStatus,
    /// In one English sentence.
    #[schema(example = "All is well.")]
    pub summary: String,
}

/// Everything that is measured.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct SystemSnapshot {
    /// The host name.
    #[schema(example = "pve")]
    pub hostname: String,
    /// The host name without domain, as Proxmox calls its node.
    #[schema(example = "pve")]
    pub node: String,
    /// The time of the answer.
    #[schema(value_type = String, format = DateTime)]
    pub timestamp: Timestamp,
    /// How long the host has been up, for people.
    #[schema(example = "3d 4h 5m")]
    pub uptime: String,
    /// How long the host has been up.
    pub uptime_seconds: u64,
    /// Processor time in use, in percent.
    pub cpu_usage: f64,
    /// How many processors there are.
    pub cpu_cores: u32,
    /// Memory in use, in percent.
    pub memory_usage: f64,
    /// All memory, in GiB.
    pub memory_total: f64,
    /// Memory in use, in GiB.
    pub memory_used: f64,
    /// All swap, in GiB.
    pub swap_total: f64,
    /// Swap in use, in GiB.
    pub swap_used: f64,
    /// Swap in use, in percent.
    pub swap_usage: f64,
    /// The load over one, five and fifteen minutes.
    pub load_average: [f64; 3],
    /// The processor's temperature in degrees Celsius, or the highest there is; 0 without a sensor.
    pub temperature: f64,
    /// All temperatures.
    pub temperatures: Vec<Temperature>,
    /// The file systems on storage of this host.
    pub disks: Vec<Disk>,
    /// What the disks are doing.
    pub disk_io: DiskIo,
    /// The network interfaces, without those of guests.
    pub network: Vec<NetworkInterface>,
    /// The processes that use the processors most.
    pub processes: Vec<Process>,
    /// The Proxmox guests on this host.
    pub guests: Vec<Guest>,
    /// The kernel's version.
    pub kernel_version: String,
    /// The name of the operating system.
    #[schema(example = "Debian GNU/Linux 12 (bookworm)")]
    pub os: String,
    /// How the host is, and why.
    pub health: Health,
}

/// What the disks are doing together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct DiskIo {
    /// Bytes read per second.
    pub read_bytes_per_second: u64,
    /// Bytes written per second.
    pub written_bytes_per_second: u64,
}

impl SystemInfo {
    pub(super) fn new(identity: &Identity, picture: &Picture, now: Timestamp) -> Self {
        let uptime_seconds = picture.reading.uptime / 100;
        Self {
            hostname: identity.hostname.clone(),
            uptime: uptime(uptime_seconds),
            uptime_seconds,
            timestamp: whole_seconds(now),
            health: HealthSummary {
                status: picture.health.status,
                summary: picture.health.summary.clone(),
            },
        }
    }
}

impl SystemSnapshot {
    /// Fills in what the picture shows; the rest is for the caller.
    pub(super) fn new(identity: &Identity, picture: &Picture, now: Timestamp) -> Self {
        let uptime_seconds = picture.reading.uptime / 100;
        let memory = &picture.memory;
        Self {
            hostname: identity.hostname.clone(),
            node: identity.node.clone(),
            timestamp: whole_seconds(now),
            uptime: uptime(uptime_seconds),
            uptime_seconds,
            cpu_usage: picture.rates.cpu_usage,
            cpu_cores: picture.reading.cpu.cores,
            memory_usage: percent(memory.used(), memory.total),
            memory_total: gibibytes(memory.total),
            memory_used: gibibytes(memory.used()),
            swap_total: gibibytes(memory.swap_total),
            swap_used: gibibytes(memory.swap_used()),
            swap_usage: percent(memory.swap_used(), memory.swap_total),
            load_average: picture.load,
            temperature: main_temperature(&picture.temperatures),
            temperatures: picture.temperatures.clone(),
            disks: picture.disks.clone(),
            disk_io: DiskIo {
                read_bytes_per_second: picture.rates.disks_total.received,
                written_bytes_per_second: picture.rates.disks_total.sent,
            },
            network: Vec::new(),
            processes: Vec::new(),
            guests: Vec::new(),
            kernel_version: String::new(),
            os: String::new(),
            health: picture.health.clone(),
        }
    }
}

/// Writes seconds as days, hours and minutes, from the first that is not zero on.
fn uptime(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours) {
        (0, 0) => format!("{minutes}m"),
        (0, _) => format!("{hours}h {minutes}m"),
        (_, _) => format!("{days}d {hours}h {minutes}m"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uptime_is_short() {
        assert_eq!(uptime(0), "0m");
        assert_eq!(uptime(59 * 60 + 59), "59m");
        assert_eq!(uptime(3_600), "1h 0m");
        assert_eq!(uptime(273_900), "3d 4h 5m");
        assert_eq!(uptime(86_400), "1d 0h 0m");
    }
}
