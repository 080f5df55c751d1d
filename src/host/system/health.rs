//! Judges how this host is: one word, one sentence, and the reasons with their figures.

use serde::Serialize;
use utoipa::ToSchema;

use super::disks::Disk;
use super::temperatures::Temperature;

/// A disk as full as this (in percent) needs attention.
const DISK_WARNING: f64 = 90.0;
/// A disk as full as this (in percent) is about to stop services.
const DISK_CRITICAL: f64 = 97.0;
/// With as much memory in use (in percent) the kernel may soon end programs.
const MEMORY_WARNING: f64 = 95.0;
/// More than this load for each processor means that work waits.
const LOAD_WARNING_PER_CORE: f64 = 4.0;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HealthStatus {
    /// Nothing needs attention.
    Healthy,
    /// Something should be looked at.
    Warning,
    /// Something is failing or about to.
    Critical,
}

/// What kind of thing is wrong; stable, for programs and for the page's own words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReasonCode {
    /// The root file system can't be written to.
    RootReadOnly,
    /// A sensor has reached its critical temperature.
    TemperatureCritical,
    /// A file system is nearly full.
    DiskFull,
    /// Nearly all memory is in use.
    MemoryFull,
    /// Far more work is waiting than the processors can do.
    LoadHigh,
}

/// One thing that is wrong, with its figures.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Reason {
    /// What is wrong.
    pub code: ReasonCode,
    /// How bad it is.
    pub status: HealthStatus,
    /// Which disk or sensor, if there are several.
    pub subject: Option<String>,
    /// What was measured: percent, degrees Celsius, or load.
    pub value: Option<f64>,
    /// The limit that it has reached.
    pub limit: Option<f64>,
}

/// How this host is.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Health {
    /// The worst of the reasons.
    pub status: HealthStatus,
    /// One English sentence. It names no disk and no figure, because strangers may read it.
    #[schema(example = "All is well.")]
    pub summary: String,
    /// All that is wrong, the worst first.
    pub reasons: Vec<Reason>,
}

/// What health is judged by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Signs<'a> {
    /// The file systems.
    pub(super) disks: &'a [Disk],
    /// The sensors.
    pub(super) temperatures: &'a [Temperature],
    /// Memory in use, in percent.
    pub(super) memory_usage: f64,
    /// The load over five minutes: long enough for a busy moment to pass.
    pub(super) load: f64,
    /// How many processors share it.
    pub(super) cores: u32,
}

/// Judges by the signs.
pub(super) fn judge(signs: Signs<'_>) -> Health {
    let mut reasons: Vec<Reason> = disk_reasons(signs.disks)
        .chain(temperature_reasons(signs.temperatures))
        .chain(memory_reason(signs.memory_usage))
        .chain(load_reason(signs.load, signs.cores))
        .collect();
    reasons.sort_by_key(|reason| (std::cmp::Reverse(reason.status), reason.code));

    let worst = reasons.first().map(|reason| reason.status);
    Health {
        status: worst.unwrap_or(HealthStatus::Healthy),
        summary: summary(&reasons),
        reasons,
    }
}

fn disk_reasons(disks: &[Disk]) -> impl Iterator<Item = Reason> {
    let read_only = disks
        .iter()
        .find(|disk| disk.mount == "/" && disk.read_only)
        .map(|disk| Reason {
            code: ReasonCode::RootReadOnly,
            status: HealthStatus::Critical,
            subject: Some(disk.mount.clone()),
            value: None,
            limit: None,
        });
    // What can't be written to can't fill up either.
    let writable = disks.iter().filter(|disk| !disk.read_only);
    read_only.into_iter().chain(writable.filter_map(|disk| {
        let (status, limit) = if disk.usage >= DISK_CRITICAL {
            (HealthStatus::Critical, DISK_CRITICAL)
        } else if disk.usage >= DISK_WARNING {
            (HealthStatus::Warning, DISK_WARNING)
        } else {
            return None;
        };
        Some(Reason {
            code: ReasonCode::DiskFull,
            status,
            subject: Some(disk.mount.clone()),
            value: Some(disk.usage),
            limit: Some(limit),
        })
    }))
}

fn temperature_reasons(temperatures: &[Temperature]) -> impl Iterator<Item = Reason> {
    temperatures.iter().filter_map(|temperature| {
        let critical = temperature.critical?;
        (temperature.celsius >= critical).then(|| Reason {
            code: ReasonCode::TemperatureCritical,
            status: HealthStatus::Critical,
            subject: Some(temperature.label.clone()),
            value: Some(temperature.celsius),
            limit: Some(critical),
        })
    })
}

fn memory_reason(usage: f64) -> Option<Reason> {
    (usage >= MEMORY_WARNING).then_some(Reason {
        code: ReasonCode::MemoryFull,
        status: HealthStatus::Warning,
        subject: None,
        value: Some(usage),
        limit: Some(MEMORY_WARNING),
    })
}

fn load_reason(load: f64, cores: u32) -> Option<Reason> {
    let limit = LOAD_WARNING_PER_CORE * f64::from(cores.max(1));
    (load > limit).then_some(Reason {
        code: ReasonCode::LoadHigh,
        status: HealthStatus::Warning,
        subject: None,
        value: Some(load),
        limit: Some(limit),
    })
}

/// Joins one phrase for each kind of reason to a sentence.
fn summary(reasons: &[Reason]) -> String {
    let mut phrases: Vec<&str> = reasons.iter().map(phrase).collect();
    phrases.dedup();
    let Some((last, others)) = phrases.split_last() else {
        return "All is well.".to_owned();
    };
    let joined = match others {
        [] => (*last).to_owned(),
        [..] => format!("{} and {last}", others.join(", ")),
    };
    let mut letters = joined.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    first.into_iter().chain(letters).chain(['.']).collect()
}

fn phrase(reason: &Reason) -> &'static str {
    match (reason.code, reason.status) {
        (ReasonCode::RootReadOnly, _) => "the system disk is read-only",
        (ReasonCode::TemperatureCritical, _) => "a temperature is critical",
        (ReasonCode::DiskFull, HealthStatus::Critical) => "a disk is full",
        (ReasonCode::DiskFull, HealthStatus::Healthy | HealthStatus::Warning) => {
            "a disk is nearly full"
        }
        (ReasonCode::MemoryFull, _) => "memory is nearly used up",
        (ReasonCode::LoadHigh, _) => "the load is very high",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(mount: &str, usage: f64) -> Disk {
        Disk {
            mount: mount.to_owned(),
            device: "/dev/sda1".to_owned(),
            filesystem: "ext4".to_owned(),
            total: 100,
            used: 50,
            usage,
            read_only: false,
        }
    }

    const WELL: Signs<'static> = Signs {
        disks: &[],
        temperatures: &[],
        memory_usage: 94.9,
        load: 16.0,
        cores: 4,
    };

    #[test]
    fn at_the_edge_all_is_well() {
        let health = judge(Signs {
            disks: &[disk("/", 89.9)],
            ..WELL
        });

        assert_eq!(health.status, HealthStatus::Healthy);
        assert_eq!(health.summary, "All is well.");
        assert!(health.reasons.is_empty());
    }

    #[test]
    fn disks_are_judged_by_how_full_they_are() {
        for (usage, status, limit) in [
            (90.0, HealthStatus::Warning, 90.0),
            (96.9, HealthStatus::Warning, 90.0),
            (97.0, HealthStatus::Critical, 97.0),
            (100.0, HealthStatus::Critical, 97.0),
        ] {
            let health = judge(Signs {
                disks: &[disk("/", 10.0), disk("/srv", usage)],
                ..WELL
            });

            assert_eq!(health.status, status, "{usage}");
            assert_eq!(
                health.reasons,
                [Reason {
                    code: ReasonCode::DiskFull,
                    status,
                    subject: Some("/srv".to_owned()),
                    value: Some(usage),
                    limit: Some(limit),
                }]
            );
        }
    }

    #[test]
    fn a_root_that_cannot_be_written_is_critical() {
        let root = Disk {
            read_only: true,
            ..disk("/", 99.0)
        };
        let medium = Disk {
            read_only: true,
            ..disk("/media", 100.0)
        };

        let health = judge(Signs {
            disks: &[root, medium],
            ..WELL
        });

        assert_eq!(health.status, HealthStatus::Critical);
        assert_eq!(health.reasons.len(), 1);
        assert_eq!(health.reasons[0].code, ReasonCode::RootReadOnly);
    }

    #[test]
    fn memory_and_load_warn() {
        let memory = judge(Signs {
            memory_usage: 95.0,
            ..WELL
        });
        assert_eq!(memory.status, HealthStatus::Warning);
        assert_eq!(memory.reasons[0].code, ReasonCode::MemoryFull);

        let load = judge(Signs { load: 16.1, ..WELL });
        assert_eq!(load.status, HealthStatus::Warning);
        assert_eq!(load.reasons[0].limit, Some(16.0));
    }

    #[test]
    fn a_sensor_is_judged_by_its_own_limit() {
        let sensor = |celsius, critical| Temperature {
            label: "nvme Composite".to_owned(),
            celsius,
            max: Some(70.0),
            critical,
        };
        let status = |temperature| {
            judge(Signs {
                temperatures: &[temperature],
                ..WELL
            })
            .status
        };

        assert_eq!(status(sensor(84.9, Some(85.0))), HealthStatus::Healthy);
        assert_eq!(status(sensor(85.0, Some(85.0))), HealthStatus::Critical);
        assert_eq!(status(sensor(120.0, None)), HealthStatus::Healthy);
    }

    #[test]
    fn the_worst_comes_first_and_the_sentence_tells_no_names() {
        let health = judge(Signs {
            disks: &[disk("/a", 91.0), disk("/secret", 98.0), disk("/c", 92.0)],
            memory_usage: 99.0,
            ..WELL
        });

        assert_eq!(health.status, HealthStatus::Critical);
        assert_eq!(health.reasons[0].subject.as_deref(), Some("/secret"));
        assert_eq!(
            health.summary,
            "A disk is full, a disk is nearly full and memory is nearly used up."
        );
    }
}
