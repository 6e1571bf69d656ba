//! `thermal_zone`: temperatures and cooling devices, from `/sys/class/thermal`.
//!
//! | metric | type | labels | file |
//! | --- | --- | --- | --- |
//! | `node_thermal_zone_temp` | gauge, degrees Celsius | `zone`, `type` | `thermal_zoneN/temp` |
//! | `node_cooling_device_cur_state`, `node_cooling_device_max_state` | gauge, the driver's steps | `name`, `type` | `cooling_deviceN/{cur,max}_state` |
//!
//! A zone that is switched off, or whose sensor gives nothing at the moment, is left out. The state of a cooling device
//! may be -1: its driver does not know it.
//!
//! Configuration: none.

use std::path::PathBuf;

use super::devices::{Reading, numbered};
use super::{CollectError, Collector, Roots};
use crate::model::Writer;

crate::section! {
    /// `collectors.thermal_zone`.
    pub struct ThermalZoneConfig {}
}

/// The `thermal_zone` collector.
pub struct ThermalZone {
    class: PathBuf,
    reading: Reading,
}

impl ThermalZone {
    pub fn new(_: &ThermalZoneConfig, roots: &Roots) -> ThermalZone {
        ThermalZone { class: roots.sys("class/thermal"), reading: Reading::default() }
    }
}

impl Collector for ThermalZone {
    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        let mut temp = out.gauge("node_thermal_zone_temp", "Zone temperature in Celsius", ["zone", "type"]);
        for (zone, folder) in numbered(&self.class, "thermal_zone")? {
            let [kind, mode] = self.reading.texts(&folder, ["type", "mode"]);
            let Some(kind) = kind.filter(|_| mode.as_deref() != Some(b"disabled")) else { continue };
            if let Some(millidegrees) = self.reading.number(&folder.join("temp")) {
                temp.put([&zone, &kind], millidegrees / 1000.0);
            }
        }
        let mut cooling = Vec::new();
        for (name, folder) in numbered(&self.class, "cooling_device")? {
            let [kind] = self.reading.texts(&folder, ["type"]);
            let states = self.reading.numbers(&folder, ["cur_state", "max_state"]);
            cooling.extend(kind.map(|kind| (name, kind, states)));
        }
        let families = [
            ("node_cooling_device_cur_state", "Current throttle state of the cooling device"),
            ("node_cooling_device_max_state", "Maximum throttle state of the cooling device"),
        ];
        for (i, (metric, help)) in families.into_iter().enumerate() {
            let mut family = out.gauge(metric, help, ["name", "type"]);
            for (name, kind, states) in &cooling {
                if let Some(state) = states[i] {
                    family.put([name, kind], state);
                }
            }
        }
        self.reading.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::{Runner, Tree, conforms, never_panics};

    const FILES: [(&str, &str); 9] = [
        ("sys/class/thermal/thermal_zone10/type", "x86_pkg_temp\n"),
        ("sys/class/thermal/thermal_zone10/temp", "49925\n"),
        ("sys/class/thermal/thermal_zone2/type", "acpitz\n"),
        ("sys/class/thermal/thermal_zone2/temp", "-5000\n"),
        ("sys/class/thermal/thermal_zone2/mode", "enabled\n"),
        ("sys/class/thermal/thermal_zone3/type", "iwlwifi_1\n"),
        ("sys/class/thermal/cooling_device0/type", "intel_powerclamp\n"),
        ("sys/class/thermal/cooling_device0/cur_state", "-1\n"),
        ("sys/class/thermal/cooling_device0/max_state", "50\n"),
    ];

    fn build(roots: &Roots) -> ThermalZone {
        ThermalZone::new(&ThermalZoneConfig::default(), roots)
    }

    #[test]
    fn temperatures_by_zone_and_states_by_cooling_device() {
        let tree = Tree::new(&FILES);
        let mut run = Runner::new(build(&tree.roots()));
        let mut expected = vec![
            "node_thermal_zone_temp{zone=\"2\",type=\"acpitz\"} -5",
            "node_thermal_zone_temp{zone=\"10\",type=\"x86_pkg_temp\"} 49.925",
            "node_cooling_device_cur_state{name=\"0\",type=\"intel_powerclamp\"} -1",
            "node_cooling_device_max_state{name=\"0\",type=\"intel_powerclamp\"} 50",
        ];
        assert_eq!(run.lines(), expected);
        tree.write("sys/class/thermal/thermal_zone2/mode", "disabled\n");
        expected.remove(0);
        assert_eq!(run.lines(), expected);
    }

    #[test]
    fn a_zone_that_is_no_number_is_named_and_the_others_are_served() {
        let tree = Tree::new(&FILES);
        tree.write("sys/class/thermal/thermal_zone2/temp", "cold\n");
        let (lines, error) = Runner::new(build(&tree.roots())).failure();
        assert_eq!(lines.len(), 3);
        assert!(error.ends_with("thermal_zone2/temp: \"cold\" is no number"), "{error}");
    }

    #[test]
    fn garbage_never_panics() {
        never_panics(&FILES, build);
    }

    #[test]
    fn as_node_exporter() {
        let belongs = |name: &str| name.starts_with("node_thermal_zone_") || name.starts_with("node_cooling_device_");
        conforms(&["sys/class/thermal", "sys/devices/virtual/thermal"], belongs, build);
    }
}
