//! `time`: the host's clock, its zone, and the kernel's clock sources.
//!
//! | metric | type | labels |
//! | --- | --- | --- |
//! | `node_time_seconds` | gauge | |
//! | `node_time_zone_offset_seconds` | gauge | `time_zone`: its abbreviation |
//! | `node_time_clocksource_available_info`, `node_time_clocksource_current_info` | gauge, always 1 | `device`, `clocksource` |
//!
//! Clock sources from `/sys/devices/system/clocksource/clocksourceN/{available,current}_clocksource`; the zone is the
//! agent's own (`TZ`, `/etc/localtime`).
//!
//! Configuration: none.

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{CollectError, Collector, KernelFile, Roots, fields, trim};
use crate::model::Writer;

crate::section! {
    /// `collectors.time`.
    pub struct TimeConfig {}
}

/// The `time` collector.
pub struct Time {
    zone: TimeZone,
    sources: Vec<ClockSource>,
}

/// A device that the kernel keeps time by; there is one.
struct ClockSource {
    device: String,
    available: KernelFile,
    current: KernelFile,
}

impl Time {
    pub fn new(_: &TimeConfig, roots: &Roots) -> Time {
        let zone = TimeZone::system();
        let directory = roots.sys("devices/system/clocksource");
        let mut devices: Vec<String> = std::fs::read_dir(&directory)
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_prefix("clocksource").map(str::to_string))
            .collect();
        devices.sort();
        let source = |device: String| {
            let directory = directory.join(format!("clocksource{device}"));
            ClockSource {
                device,
                available: KernelFile::new(directory.join("available_clocksource")),
                current: KernelFile::new(directory.join("current_clocksource")),
            }
        };
        Time {
            zone: if zone.is_unknown() { TimeZone::UTC } else { zone },
            sources: devices.into_iter().map(source).collect(),
        }
    }
}

impl Collector for Time {
    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        // A clock before 1970 is a clock that is not set.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        out.gauge("node_time_seconds", "System time in seconds since epoch (1970).", []).put([], now.as_secs_f64());
        let zone = self.zone.to_offset_info(Timestamp::try_from(UNIX_EPOCH + now).unwrap_or_default());
        out.gauge("node_time_zone_offset_seconds", "System time zone offset in seconds.", ["time_zone"])
            .put([zone.abbreviation().as_bytes()], f64::from(zone.offset().seconds()));

        let mut result = Ok(());
        let help = "Available clocksources read from '/sys/devices/system/clocksource'.";
        let mut family = out.gauge("node_time_clocksource_available_info", help, ["device", "clocksource"]);
        for source in &mut self.sources {
            match source.available.read() {
                Ok(text) => fields(text).for_each(|name| {
                    family.put([source.device.as_bytes(), name], 1.0);
                }),
                Err(error) => result = result.and(Err(error)),
            }
        }
        let help = "Current clocksource read from '/sys/devices/system/clocksource'.";
        let mut family = out.gauge("node_time_clocksource_current_info", help, ["device", "clocksource"]);
        for source in &mut self.sources {
            match source.current.read() {
                Ok(text) => {
                    family.put([source.device.as_bytes(), trim(text)], 1.0);
                }
                Err(error) => result = result.and(Err(error)),
            }
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::{Runner, Tree, conforms, never_panics, starting};

    const GOOD: [(&str, &str); 2] = [
        ("sys/devices/system/clocksource/clocksource0/available_clocksource", "tsc hpet acpi_pm \n"),
        ("sys/devices/system/clocksource/clocksource0/current_clocksource", "tsc\n"),
    ];

    fn build(roots: &Roots) -> Time {
        Time::new(&TimeConfig::default(), roots)
    }

    #[test]
    fn the_clock_and_its_sources() {
        let tree = Tree::new(&GOOD);
        let lines = Runner::new(build(&tree.roots())).lines();
        let now: f64 = lines[0].strip_prefix("node_time_seconds ").unwrap().parse().unwrap();
        let expected = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        assert!((expected - now).abs() < 60.0, "{now}");
        assert!(lines[1].starts_with("node_time_zone_offset_seconds{time_zone=\""), "{lines:?}");
        assert_eq!(
            lines[2..],
            [
                "node_time_clocksource_available_info{device=\"0\",clocksource=\"tsc\"} 1",
                "node_time_clocksource_available_info{device=\"0\",clocksource=\"hpet\"} 1",
                "node_time_clocksource_available_info{device=\"0\",clocksource=\"acpi_pm\"} 1",
                "node_time_clocksource_current_info{device=\"0\",clocksource=\"tsc\"} 1",
            ]
        );
    }

    #[test]
    fn the_zone_has_the_offset_of_the_day() {
        let tree = Tree::new(&GOOD);
        let mut time = build(&tree.roots());
        time.zone = TimeZone::posix("EST5EDT4,M3.2.0,M11.1.0").unwrap();
        let lines = Runner::new(time).lines();
        let zone = starting(&lines, "node_time_zone_offset_seconds")[0].to_string();
        assert!(zone.ends_with("{time_zone=\"EST\"} -18000") || zone.ends_with("{time_zone=\"EDT\"} -14400"), "{zone}");
    }

    #[test]
    fn without_clock_sources_there_is_still_the_clock() {
        let tree = Tree::new::<&str>(&[]);
        assert_eq!(Runner::new(build(&tree.roots())).lines().len(), 2);
    }

    #[test]
    fn garbage_never_panics() {
        never_panics(&GOOD, build);
    }

    #[test]
    fn as_node_exporter() {
        conforms(&["sys/devices/system/clocksource"], |name| name.starts_with("node_time_clocksource"), build);
    }
}
