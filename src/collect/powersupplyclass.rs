//! `powersupplyclass`: batteries, chargers and mains, from `/sys/class/power_supply/SUPPLY/`.
//!
//! | metric | type | file |
//! | --- | --- | --- |
//! | `node_power_supply_capacity`, `_online`, `_present`, `_cyclecount`, `_time_to_empty_seconds` and so on | gauge | see `NUMBERS` |
//! | `node_power_supply_info` | gauge, always 1 | those of `LABELS` that are there, as labels |
//!
//! All are labelled `power_supply`. Volts, amperes, watts, and their products with hours, are without prefix; temperatures
//! are degrees Celsius.
//!
//! Configuration: `ignored_supplies`.

use std::path::PathBuf;

use super::devices::{Reading, devices};
use super::search::Search;
use super::{CollectError, Collector, Roots};
use crate::model::Writer;

crate::section! {
    /// `collectors.powersupplyclass`.
    pub struct PowersupplyclassConfig {
        /// Power supplies left out, such as those of mice and headsets.
        pub ignored_supplies: Search = Search::fixed("^$"),
    }
}

/// The file, what it is exported as, and what the kernel's unit is of the metric's: percent, seconds and states; micro;
/// tenths of a degree.
const NUMBERS: [(&str, &str, f64); 49] = [
    ("authentic", "authentic", 1.0),
    ("calibrate", "calibrate", 1.0),
    ("capacity", "capacity", 1.0),
    ("capacity_alert_max", "capacity_alert_max", 1.0),
    ("capacity_alert_min", "capacity_alert_min", 1.0),
    ("cycle_count", "cyclecount", 1.0),
    ("online", "online", 1.0),
    ("present", "present", 1.0),
    ("time_to_empty_now", "time_to_empty_seconds", 1.0),
    ("time_to_full_now", "time_to_full_seconds", 1.0),
    ("current_boot", "current_boot", 1e6),
    ("current_max", "current_max", 1e6),
    ("current_now", "current_ampere", 1e6),
    ("energy_empty", "energy_empty", 1e6),
    ("energy_empty_design", "energy_empty_design", 1e6),
    ("energy_full", "energy_full", 1e6),
    ("energy_full_design", "energy_full_design", 1e6),
    ("energy_now", "energy_watthour", 1e6),
    ("voltage_boot", "voltage_boot", 1e6),
    ("voltage_max", "voltage_max", 1e6),
    ("voltage_max_design", "voltage_max_design", 1e6),
    ("voltage_min", "voltage_min", 1e6),
    ("voltage_min_design", "voltage_min_design", 1e6),
    ("voltage_now", "voltage_volt", 1e6),
    ("voltage_ocv", "voltage_ocv", 1e6),
    ("charge_control_limit", "charge_control_limit", 1e6),
    ("charge_control_limit_max", "charge_control_limit_max", 1e6),
    ("charge_counter", "charge_counter", 1e6),
    ("charge_empty", "charge_empty", 1e6),
    ("charge_empty_design", "charge_empty_design", 1e6),
    ("charge_full", "charge_full", 1e6),
    ("charge_full_design", "charge_full_design", 1e6),
    ("charge_now", "charge_ampere", 1e6),
    ("charge_term_current", "charge_term_current", 1e6),
    ("constant_charge_current", "constant_charge_current", 1e6),
    ("constant_charge_current_max", "constant_charge_current_max", 1e6),
    ("constant_charge_voltage", "constant_charge_voltage", 1e6),
    ("constant_charge_voltage_max", "constant_charge_voltage_max", 1e6),
    ("precharge_current", "precharge_current", 1e6),
    ("input_current_limit", "input_current_limit", 1e6),
    ("power_now", "power_watt", 1e6),
    ("temp", "temp_celsius", 10.0),
    ("temp_alert_max", "temp_alert_max_celsius", 10.0),
    ("temp_alert_min", "temp_alert_min_celsius", 10.0),
    ("temp_ambient", "temp_ambient_celsius", 10.0),
    ("temp_ambient_max", "temp_ambient_max_celsius", 10.0),
    ("temp_ambient_min", "temp_ambient_min_celsius", 10.0),
    ("temp_max", "temp_max_celsius", 10.0),
    ("temp_min", "temp_min_celsius", 10.0),
];

/// The files that are labels of `node_power_supply_info`.
const LABELS: [&str; 11] = [
    "capacity_level",
    "charge_type",
    "health",
    "manufacturer",
    "model_name",
    "serial_number",
    "status",
    "technology",
    "type",
    "usb_type",
    "scope",
];

/// The `powersupplyclass` collector.
pub struct Powersupplyclass {
    class: PathBuf,
    ignored: Search,
    reading: Reading,
}

impl Powersupplyclass {
    pub fn new(config: &PowersupplyclassConfig, roots: &Roots) -> Powersupplyclass {
        let class = roots.sys("class/power_supply");
        Powersupplyclass { class, ignored: config.ignored_supplies.clone(), reading: Reading::default() }
    }
}

impl Collector for Powersupplyclass {
    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        let reading = &mut self.reading;
        let supplies: Vec<_> = devices(&self.class)?
            .into_iter()
            .filter(|(name, _)| !self.ignored.is_match(name))
            .map(|(name, folder)| {
                (name, reading.numbers(&folder, NUMBERS.map(|n| n.0)), reading.texts(&folder, LABELS))
            })
            .collect();
        for (i, (_, metric, unit)) in NUMBERS.iter().enumerate() {
            let help = format!("{metric} value of /sys/class/power_supply/<power_supply>.");
            let metric = format!("node_power_supply_{metric}");
            let mut family = out.gauge(&metric, &help, ["power_supply"]);
            for (name, numbers, _) in &supplies {
                if let Some(number) = numbers[i] {
                    family.put([name], number / unit);
                }
            }
        }
        let mut info = out.gauge("node_power_supply_info", "info of /sys/class/power_supply/<power_supply>.", []);
        for (name, _, texts) in &supplies {
            let mut labels: Vec<(&[u8], &[u8])> = vec![(b"power_supply", name)];
            let texts = LABELS.iter().zip(texts).filter_map(|(label, text)| Some((label.as_bytes(), text.as_deref()?)));
            labels.extend(texts.filter(|(_, text)| !text.is_empty()));
            info.put_labels("", &labels, 1.0);
        }
        self.reading.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::{Runner, Tree, conforms, never_panics};

    const FILES: [(&str, &str); 9] = [
        ("sys/class/power_supply/AC/online", "1\n"),
        ("sys/class/power_supply/AC/type", "Mains\n"),
        ("sys/class/power_supply/BAT1/capacity", "81\n"),
        ("sys/class/power_supply/BAT1/voltage_now", "11660000\n"),
        ("sys/class/power_supply/BAT1/current_now", "-450000\n"),
        ("sys/class/power_supply/BAT1/temp", "312\n"),
        ("sys/class/power_supply/BAT1/status", "Discharging\n"),
        ("sys/class/power_supply/BAT1/serial_number", "\n"),
        ("sys/class/power_supply/hidpp_battery_0/online", "1\n"),
    ];

    fn run(tree: &Tree) -> Runner<Powersupplyclass> {
        let config = PowersupplyclassConfig { ignored_supplies: Search::fixed("^hidpp") };
        Runner::new(Powersupplyclass::new(&config, &tree.roots()))
    }

    #[test]
    fn what_a_supply_says_in_units_without_prefix() {
        let tree = Tree::new(&FILES);
        let mut run = run(&tree);
        for _ in 0..2 {
            assert_eq!(
                run.lines(),
                [
                    "node_power_supply_capacity{power_supply=\"BAT1\"} 81",
                    "node_power_supply_online{power_supply=\"AC\"} 1",
                    "node_power_supply_current_ampere{power_supply=\"BAT1\"} -0.45",
                    "node_power_supply_voltage_volt{power_supply=\"BAT1\"} 11.66",
                    "node_power_supply_temp_celsius{power_supply=\"BAT1\"} 31.2",
                    "node_power_supply_info{power_supply=\"AC\",type=\"Mains\"} 1",
                    "node_power_supply_info{power_supply=\"BAT1\",status=\"Discharging\"} 1",
                ]
            );
        }
    }

    #[test]
    fn a_wrong_number_is_named_and_the_others_are_served() {
        let tree = Tree::new(&FILES);
        tree.write("sys/class/power_supply/BAT1/capacity", "full\n");
        let (lines, error) = run(&tree).failure();
        assert_eq!(lines.len(), 6);
        assert!(error.ends_with("BAT1/capacity: \"full\" is no number"), "{error}");
    }

    #[test]
    fn garbage_never_panics() {
        never_panics(&FILES, |roots| Powersupplyclass::new(&PowersupplyclassConfig::default(), roots));
    }

    #[test]
    fn as_node_exporter() {
        conforms(
            &["sys/class/power_supply"],
            |name| name.starts_with("node_power_supply_"),
            |roots| Powersupplyclass::new(&PowersupplyclassConfig::default(), roots),
        );
    }
}
