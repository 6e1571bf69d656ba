//! A chip's sensors: files named after a type, a number and what of it they say, such as `temp1_crit`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::collect::devices::{devices, metric_name_part};
use crate::collect::{number, split_once};
use crate::model::MetricType;

const TYPES: [&str; 14] = [
    "vrm",
    "beep_enable",
    "update_interval",
    "in",
    "cpu",
    "fan",
    "pwm",
    "temp",
    "curr",
    "power",
    "energy",
    "humidity",
    "intrusion",
    "freq",
];

/// Sensors' values are short; whatever is longer is none.
const MAX_VALUE: usize = 128;
/// More files than a chip has, counted with those of its device.
const MAX_FILES: usize = 4096;

/// A sensor: what each of its files says, by the part of the name behind the number.
pub(super) struct Sensor {
    kind: &'static str,
    elements: BTreeMap<String, Vec<u8>>,
}

/// A value as it is exported.
pub(super) struct Measure {
    pub metric: String,
    pub kind: MetricType,
    pub help: String,
    pub sensor: String,
    pub value: f64,
}

/// The sensors of a chip, by name. Older drivers have the files in the device's folder, not in the chip's.
pub(super) fn read(folder: &Path) -> BTreeMap<String, Sensor> {
    let mut sensors: BTreeMap<String, Sensor> = BTreeMap::new();
    let mut buffer = [0; MAX_VALUE];
    for folder in [folder.to_path_buf(), folder.join("device")] {
        // What has vanished since has no files.
        for (file, path) in devices(&folder).unwrap_or_default().into_iter().take(MAX_FILES) {
            let Some((kind, number, element)) = split(&file) else { continue };
            // Whatever hinders the reading of a sensor, the others have their values.
            let Some(text) = value(&path, &mut buffer) else { continue };
            let sensor = sensors.entry(format!("{kind}{number}"));
            let sensor = sensor.or_insert_with(|| Sensor { kind, elements: BTreeMap::new() });
            sensor.elements.insert(String::from_utf8_lossy(element).into_owned(), text.to_vec());
        }
    }
    sensors
}

/// Type, number (0 when there is none) and element of a file's name.
fn split(file: &[u8]) -> Option<(&'static str, u64, &[u8])> {
    let kind = *TYPES.iter().find(|t| {
        let rest = file.strip_prefix(t.as_bytes());
        rest.is_some_and(|rest| rest.first().is_none_or(u8::is_ascii_digit))
    })?;
    let rest = file.get(kind.len()..)?;
    let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    let (digits, element) = rest.split_at(digits);
    let number = if digits.is_empty() { 0 } else { str::from_utf8(digits).ok()?.parse().ok()? };
    match split_once(element, b'_') {
        Some((b"", element)) if !element.is_empty() => Some((kind, number, element)),
        None if element.is_empty() => Some((kind, number, element)),
        _ => None,
    }
}

/// With a single read: broken drivers answer EAGAIN for ever.
fn value<'b>(path: &Path, buffer: &'b mut [u8; MAX_VALUE]) -> Option<&'b [u8]> {
    let length = File::open(path).ok()?.read(buffer).ok()?;
    let text = buffer.get(..length)?;
    let start = text.iter().position(|b| *b != b'\n').unwrap_or(length);
    let end = text.iter().rposition(|b| *b != b'\n').map_or(start, |last| last + 1);
    text.get(start..end)
}

impl Sensor {
    pub fn label(&self) -> Option<&[u8]> {
        self.elements.get("label").map(Vec::as_slice)
    }

    /// Its values, in base units but where node_exporter has others.
    pub fn measures(&self, name: &str, mut each: impl FnMut(Measure)) {
        let gauge = MetricType::Gauge;
        let value = |element: &str| self.elements.get(element).and_then(|text| number(text));
        let mut plain = |metric: &str, help: &str, value: f64| {
            let (metric, help, sensor) = (metric.to_string(), help.to_string(), name.to_string());
            each(Measure { metric, kind: gauge, help, sensor, value });
        };
        match self.kind {
            "beep_enable" => {
                let on = self.elements.get("").is_some_and(|text| text == b"1");
                return plain("node_hwmon_beep_enabled", "Hardware beep enabled", f64::from(u8::from(on)));
            }
            "vrm" => {
                let metric = "node_hwmon_voltage_regulator_version";
                return value("").into_iter().for_each(|v| plain(metric, "Hardware voltage regulator", v));
            }
            "update_interval" => {
                let metric = "node_hwmon_update_interval_seconds";
                return value("")
                    .into_iter()
                    .for_each(|v| plain(metric, "Hardware monitor update interval", v * 0.001));
            }
            _ => {}
        }
        for (element, text) in self.elements.iter().filter(|(element, _)| *element != "label") {
            let Some(value) = number(text) else { continue };
            let sensor = match (self.kind, element.as_str(), self.label()) {
                ("freq", "input", Some(label)) => metric_name_part(label),
                // Which clock it is, is not known without a label.
                ("freq", "input", None) => continue,
                _ => name.to_string(),
            };
            let (suffix, kind, help, value) = unit(self.kind, element, value);
            let metric = format!("node_hwmon_{}{}{suffix}", self.kind, self.part(element));
            each(Measure { metric, kind, help, sensor, value });
        }
    }

    /// The element as part of the metric's name. `input` is the value itself, unless a file without an element is.
    fn part(&self, element: &str) -> String {
        match element {
            "" => String::new(),
            "input" if !self.elements.contains_key("") => String::new(),
            element => format!("_{}", metric_name_part(element.as_bytes())),
        }
    }
}

/// The end of the metric's name, its type and help, and the value in its unit, for what an element of a type of sensor
/// says. The kernel's units are in its Documentation/hwmon/sysfs-interface.rst.
fn unit(kind: &str, element: &str, value: f64) -> (&'static str, MetricType, String, f64) {
    use MetricType::{Counter, Gauge};
    match (kind, element) {
        (_, "fault" | "alarm") => ("", Gauge, format!("Hardware sensor {element} status ({kind})"), value),
        (_, "beep") => ("_enabled", Gauge, "Hardware monitor sensor has beeping enabled".to_string(), value),
        ("in" | "cpu", _) => ("_volts", Gauge, format!("Hardware monitor for voltage ({element})"), value * 0.001),
        ("temp", element) if element != "type" => {
            let element = if element.is_empty() { "input" } else { element };
            ("_celsius", Gauge, format!("Hardware monitor for temperature ({element})"), value * 0.001)
        }
        ("curr", _) => ("_amps", Gauge, format!("Hardware monitor for current ({element})"), value * 0.001),
        ("energy", _) => {
            ("_joule_total", Counter, format!("Hardware monitor for joules used so far ({element})"), value / 1e6)
        }
        ("power", "accuracy") => {
            ("", Gauge, "Hardware monitor power meter accuracy, as a ratio".to_string(), value / 1e6)
        }
        ("power", "average_interval" | "average_interval_min" | "average_interval_max") => {
            ("_seconds", Gauge, format!("Hardware monitor power usage update interval ({element})"), value * 0.001)
        }
        ("power", _) => ("_watt", Gauge, format!("Hardware monitor for power usage in watts ({element})"), value / 1e6),
        ("humidity", _) => {
            let help =
                "Hardware monitor for humidity, as a ratio (multiply with 100.0 to get the humidity as a percentage)";
            ("", Gauge, format!("{help} ({element})"), value / 1e6)
        }
        ("fan", "input" | "min" | "max" | "target") => {
            ("_rpm", Gauge, format!("Hardware monitor for fan revolutions per minute ({element})"), value)
        }
        ("freq", "input") => ("_freq_mhz", Gauge, "Hardware monitor for GPU frequency in MHz".to_string(), value / 1e6),
        _ => ("", Gauge, format!("Hardware monitor {kind} element {element}"), value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::Fuzz;

    #[test]
    fn names_of_files() {
        let cases = [
            ("temp1_input", Some(("temp", 1, "input"))),
            ("temp01_crit_alarm", Some(("temp", 1, "crit_alarm"))),
            ("pwm1", Some(("pwm", 1, ""))),
            ("beep_enable", Some(("beep_enable", 0, ""))),
            ("vrm", Some(("vrm", 0, ""))),
            ("in0_min", Some(("in", 0, "min"))),
            ("intrusion0_alarm", Some(("intrusion", 0, "alarm"))),
            ("temp1x", None),
            ("temp1_", None),
            ("temp_alarm", None),
            ("temp99999999999999999999_input", None),
            ("name", None),
        ];
        for (file, expected) in cases {
            let expected = expected.map(|(kind, number, element)| (kind, number, element.as_bytes()));
            assert_eq!(split(file.as_bytes()), expected, "{file}");
        }
    }

    #[test]
    fn no_files_name_makes_it_panic() {
        Fuzz::of(&["temp1_input", "in10_crit_alarm", "pwm1", "beep_enable"]).bytes(|name| {
            let _ = split(name);
        });
    }
}
