//! Temperatures, as the kernel's sensors show them under `/sys/class/hwmon` (kernel, `hwmon/sysfs-interface.rst`).

use std::fs;
use std::path::Path;

use serde::Serialize;
use utoipa::ToSchema;

/// Chips that measure the processor, and the sensor of each that speaks for the whole of it.
const PROCESSORS: [(&str, &str); 5] = [
    ("coretemp", "Package id 0"),
    ("k10temp", "Tctl"),
    ("zenpower", "Tdie"),
    ("cpu_thermal", ""),
    ("k10temp", "Tdie"),
];

/// One sensor, in degrees Celsius.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Temperature {
    /// The chip and, where it has several sensors, which.
    #[schema(example = "coretemp Package id 0")]
    pub label: String,
    /// What it measures now.
    pub celsius: f64,
    /// Above this the maker wants more cooling.
    pub max: Option<f64>,
    /// From this on there is damage, or the device switches itself off.
    pub critical: Option<f64>,
}

/// Returns all sensors under `sys`, in a stable order.
pub(super) fn temperatures(sys: &Path) -> Vec<Temperature> {
    let mut found = Vec::new();
    for chip in folders(&sys.join("class/hwmon"), "hwmon") {
        let name = line(&chip.join("name")).unwrap_or_default();
        // Asking a sleeping disk for its temperature may wake it or keep it from sleeping (kernel, `drivetemp.rst`).
        if name != "drivetemp" {
            found.extend(chip_temperatures(&chip, &name));
        }
    }
    if found.is_empty() {
        found = zone_temperatures(sys);
    }
    found.sort_by(|a: &Temperature, b| a.label.cmp(&b.label));
    found
}

/// Returns the processor's temperature, else the highest there is; 0 without any sensor.
pub(super) fn main_temperature(temperatures: &[Temperature]) -> f64 {
    let processor = PROCESSORS.iter().find_map(|(chip, sensor)| {
        temperatures.iter().find(|temperature| {
            temperature
                .label
                .strip_prefix(chip)
                .is_some_and(|rest| rest.trim_start().starts_with(sensor))
        })
    });
    processor.map_or_else(
        || {
            let all = temperatures.iter().map(|temperature| temperature.celsius);
            all.fold(0.0, f64::max)
        },
        |temperature| temperature.celsius,
    )
}

fn chip_temperatures(chip: &Path, name: &str) -> Vec<Temperature> {
    let Ok(entries) = fs::read_dir(chip) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| {
            let file = entry.file_name().into_string().ok()?;
            let sensor = file.strip_suffix("_input")?;
            let number = sensor.strip_prefix("temp")?;
            let attribute = |what: &str| chip.join(format!("{sensor}_{what}"));
            let label = line(&attribute("label")).unwrap_or_else(|| number.to_owned());
            Some(Temperature {
                label: format!("{name} {label}"),
                celsius: celsius(&attribute("input"))?,
                max: celsius(&attribute("max")).filter(is_limit),
                critical: celsius(&attribute("crit")).filter(is_limit),
            })
        })
        .collect()
}

/// Small boards without sensor chips show thermal zones instead.
fn zone_temperatures(sys: &Path) -> Vec<Temperature> {
    folders(&sys.join("class/thermal"), "thermal_zone")
        .into_iter()
        .filter_map(|zone| {
            Some(Temperature {
                label: line(&zone.join("type"))?,
                celsius: celsius(&zone.join("temp"))?,
                max: None,
                critical: None,
            })
        })
        .collect()
}

fn folders(parent: &Path, prefix: &str) -> Vec<std::path::PathBuf> {
    let Ok(entries) = fs::read_dir(parent) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .map(|entry| entry.path())
        .collect()
}

fn line(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    Some(text.trim().to_owned()).filter(|line| !line.is_empty())
}

/// Reads thousandths of a degree.
fn celsius(path: &Path) -> Option<f64> {
    let thousandths: i32 = line(path)?.parse().ok()?;
    Some(f64::from(thousandths) / 1000.0)
}

/// Chips without a limit show 0, or a number that nothing on earth reaches.
#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "`Option::filter` hands a reference"
)]
fn is_limit(celsius: &f64) -> bool {
    (20.0..200.0).contains(celsius)
}

#[cfg(test)]
#[expect(
    clippy::float_cmp,
    reason = "figures with one decimal come out exactly"
)]
mod tests {
    use super::super::fixture::Tree;
    use super::*;

    #[test]
    fn sensors_have_labels_and_limits() {
        let tree = Tree::new(&[
            ("class/hwmon/hwmon0/name", "nvme\n"),
            ("class/hwmon/hwmon0/temp1_input", "38850\n"),
            ("class/hwmon/hwmon0/temp1_label", "Composite\n"),
            ("class/hwmon/hwmon0/temp1_max", "81850\n"),
            ("class/hwmon/hwmon0/temp1_crit", "84850\n"),
            ("class/hwmon/hwmon1/name", "coretemp\n"),
            ("class/hwmon/hwmon1/temp1_input", "51000\n"),
            ("class/hwmon/hwmon1/temp1_label", "Package id 0\n"),
            ("class/hwmon/hwmon1/temp1_crit", "0\n"),
            ("class/hwmon/hwmon2/name", "drivetemp\n"),
            ("class/hwmon/hwmon2/temp1_input", "90000\n"),
            ("class/hwmon/hwmon3/name", "acpitz\n"),
            ("class/hwmon/hwmon3/temp1_input", "-5000\n"),
            ("class/hwmon/hwmon3/temp1_max", "65261850\n"),
        ]);

        let found = temperatures(tree.path());

        let labels: Vec<_> = found.iter().map(|t| t.label.as_str()).collect();
        assert_eq!(
            labels,
            ["acpitz 1", "coretemp Package id 0", "nvme Composite"]
        );
        assert_eq!(found[0].celsius, -5.0);
        assert_eq!(found[0].max, None);
        assert_eq!(found[1].critical, None);
        assert_eq!(
            (found[2].celsius, found[2].max, found[2].critical),
            (38.85, Some(81.85), Some(84.85))
        );
        assert_eq!(main_temperature(&found), 51.0);
    }

    #[test]
    fn a_small_board_shows_its_zones() {
        let tree = Tree::new(&[
            ("class/thermal/thermal_zone0/type", "soc-thermal\n"),
            ("class/thermal/thermal_zone0/temp", "47000\n"),
            ("class/thermal/cooling_device0/type", "fan\n"),
        ]);

        let found = temperatures(tree.path());

        assert_eq!(found.len(), 1);
        assert_eq!(main_temperature(&found), 47.0);
    }

    #[test]
    fn without_a_processor_the_highest_counts() {
        let sensor = |label: &str, celsius| Temperature {
            label: label.to_owned(),
            celsius,
            max: None,
            critical: None,
        };

        assert_eq!(
            main_temperature(&[sensor("nvme Composite", 38.0), sensor("acpitz 1", 41.0)]),
            41.0
        );
        assert_eq!(main_temperature(&[]), 0.0);
    }
}
