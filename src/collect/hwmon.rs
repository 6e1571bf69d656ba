//! `hwmon`: what hardware sensors measure, from `/sys/class/hwmon/hwmonN/`, as lm-sensors shows it.
//!
//! | metric | type | labels |
//! | --- | --- | --- |
//! | `node_hwmon_chip_names` | gauge, always 1 | `chip`, `chip_name` |
//! | `node_hwmon_sensor_label` | gauge, always 1 | `chip`, `sensor`, `label` |
//! | `node_hwmon_temp_celsius`, `_in_volts`, `_curr_amps`, `_power_watt`, `_fan_rpm`, `_freq_freq_mhz`, `_humidity` | gauge | `chip`, `sensor` |
//! | `node_hwmon_energy_joule_total` | counter | `chip`, `sensor` |
//! | their limits and states, such as `node_hwmon_temp_crit_celsius`, `node_hwmon_fan_alarm` | gauge | `chip`, `sensor` |
//!
//! A chip is named after its device, which stays the same when modules are loaded in another order, and not after its
//! number. A sensor that gives nothing at the moment is left out.
//!
//! Configuration: `chip_include`, `chip_exclude`, `sensor_include`, `sensor_exclude`.

mod chips;
mod sensors;

use std::collections::BTreeMap;
use std::path::PathBuf;

use self::chips::Chip;
use self::sensors::Sensor;
use super::search::{Filter, Search, check_pair};
use super::{CollectError, Collector, Roots};
use crate::model::{MetricType, Writer};
use crate::yaml::{Faults, Node};

/// No chip and no sensor is named so.
const NONE: &str = "^$";

crate::section! {
    check = |section: &mut HwmonConfig, node: &Node, faults: &mut Faults| {
        let none = Search::fixed(NONE);
        let chips = (("chip_include", &section.chip_include), ("chip_exclude", &section.chip_exclude, &none));
        let sensors = (("sensor_include", &section.sensor_include), ("sensor_exclude", &section.sensor_exclude, &none));
        check_pair(chips.0, chips.1, node, faults);
        check_pair(sensors.0, sensors.1, node, faults);
    };
    /// `collectors.hwmon`.
    pub struct HwmonConfig {
        /// The only chips exported, by the label `chip`; not together with `chip_exclude`.
        pub chip_include: Option<Search> = None,
        /// Chips left out, such as ones that are slow to read or of no use.
        pub chip_exclude: Search = Search::fixed(NONE),
        /// The only sensors exported, as `CHIP;SENSOR`; not together with `sensor_exclude`.
        pub sensor_include: Option<Search> = None,
        /// Sensors left out, as `CHIP;SENSOR`, such as `platform_coretemp_0;temp3`.
        pub sensor_exclude: Search = Search::fixed(NONE),
    }
}

/// The `hwmon` collector.
pub struct Hwmon {
    class: PathBuf,
    chips: Filter,
    sensors: Filter,
}

/// Families by name: type, help, and by chip and sensor the values.
#[derive(Default)]
struct Families(BTreeMap<String, (MetricType, String, Vec<Row>)>);

struct Row {
    chip: String,
    sensor: String,
    value: f64,
}

impl Hwmon {
    pub fn new(config: &HwmonConfig, roots: &Roots) -> Hwmon {
        Hwmon {
            class: roots.sys("class/hwmon"),
            chips: Filter { include: config.chip_include.clone(), exclude: config.chip_exclude.clone() },
            sensors: Filter { include: config.sensor_include.clone(), exclude: config.sensor_exclude.clone() },
        }
    }

    fn wanted(&self, chip: &Chip) -> bool {
        self.chips.wants(chip.name.as_bytes())
    }

    fn sensors(&self, chip: &Chip) -> BTreeMap<String, Sensor> {
        let mut sensors = sensors::read(&chip.folder);
        sensors.retain(|name, _| self.sensors.wants(format!("{};{name}", chip.name).as_bytes()));
        sensors
    }
}

impl Collector for Hwmon {
    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        let chips: Vec<Chip> = chips::list(&self.class)?.into_iter().filter(|chip| self.wanted(chip)).collect();
        let read: Vec<_> = chips.iter().map(|chip| (chip, self.sensors(chip))).collect();

        let help = "Annotation metric for human-readable chip names";
        let mut names = out.gauge("node_hwmon_chip_names", help, ["chip", "chip_name"]);
        for chip in chips.iter().filter(|chip| !chip.readable_name.is_empty()) {
            names.put([chip.name.as_bytes(), chip.readable_name.as_bytes()], 1.0);
        }
        let help = "Label for given chip and sensor";
        let mut labels = out.gauge("node_hwmon_sensor_label", help, ["chip", "sensor", "label"]);
        for (chip, sensors) in &read {
            for (name, sensor) in sensors {
                if let Some(label) = sensor.label() {
                    labels.put([chip.name.as_bytes(), name.as_bytes(), label], 1.0);
                }
            }
        }
        let mut families = Families::default();
        for (chip, sensors) in &read {
            for (name, sensor) in sensors {
                sensor.measures(name, |measure| {
                    let family = families.0.entry(measure.metric);
                    let (_, _, rows) = family.or_insert_with(|| (measure.kind, measure.help, Vec::new()));
                    rows.push(Row { chip: chip.name.clone(), sensor: measure.sensor, value: measure.value });
                });
            }
        }
        for (metric, (kind, help, rows)) in &families.0 {
            let mut family = out.family(*kind, metric, help, ["chip", "sensor"]);
            for row in rows {
                family.put([row.chip.as_bytes(), row.sensor.as_bytes()], row.value);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
