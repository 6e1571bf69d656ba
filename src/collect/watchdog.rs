//! `watchdog`: watchdog timers, from `/sys/class/watchdog/DEVICE/`.
//!
//! | metric | type | file |
//! | --- | --- | --- |
//! | `node_watchdog_bootstatus`, `_fw_version`, `_nowayout`, `_access_cs0` | gauge | the file of that name |
//! | `node_watchdog_timeleft_seconds`, `_timeout_seconds`, `_pretimeout_seconds` | gauge | `timeleft`, `timeout`, `pretimeout` |
//! | `node_watchdog_info` | gauge, always 1 | `options`, `identity`, `state`, `status`, `pretimeout_governor`, as labels |
//!
//! All are labelled `name`. Which of the files there are depends on the driver, and on `CONFIG_WATCHDOG_SYSFS`.
//!
//! Configuration: none.

use std::path::PathBuf;

use super::devices::{Reading, devices};
use super::{CollectError, Collector, Roots};
use crate::model::Writer;

crate::section! {
    /// `collectors.watchdog`.
    pub struct WatchdogConfig {}
}

/// The file, and what it is exported as.
const NUMBERS: [(&str, &str); 7] = [
    ("bootstatus", "node_watchdog_bootstatus"),
    ("fw_version", "node_watchdog_fw_version"),
    ("nowayout", "node_watchdog_nowayout"),
    ("timeleft", "node_watchdog_timeleft_seconds"),
    ("timeout", "node_watchdog_timeout_seconds"),
    ("pretimeout", "node_watchdog_pretimeout_seconds"),
    ("access_cs0", "node_watchdog_access_cs0"),
];

/// The files that are labels of `node_watchdog_info`.
const LABELS: [&str; 5] = ["options", "identity", "state", "status", "pretimeout_governor"];

/// The `watchdog` collector.
pub struct Watchdog {
    class: PathBuf,
    reading: Reading,
}

impl Watchdog {
    pub fn new(_: &WatchdogConfig, roots: &Roots) -> Watchdog {
        Watchdog { class: roots.sys("class/watchdog"), reading: Reading::default() }
    }
}

impl Collector for Watchdog {
    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        let reading = &mut self.reading;
        let read: Vec<_> = devices(&self.class)?
            .into_iter()
            .map(|(name, folder)| {
                (name, reading.numbers(&folder, NUMBERS.map(|n| n.0)), reading.texts(&folder, LABELS))
            })
            .collect();
        for (i, (file, metric)) in NUMBERS.iter().enumerate() {
            let help = format!("Value of /sys/class/watchdog/<watchdog>/{file}");
            let mut family = out.gauge(metric, &help, ["name"]);
            for (name, numbers, _) in &read {
                if let Some(value) = numbers[i] {
                    family.put([name], value);
                }
            }
        }
        let [options, identity, state, status, governor] = LABELS;
        let labels = ["name", options, identity, state, status, governor];
        let mut info = out.gauge("node_watchdog_info", "Info of /sys/class/watchdog/<watchdog>", labels);
        for (name, _, texts) in &read {
            let [options, identity, state, status, governor] = texts.each_ref().map(|t| t.as_deref().unwrap_or(b""));
            info.put([name, options, identity, state, status, governor], 1.0);
        }
        self.reading.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::{Runner, Tree, conforms, never_panics};

    const FILES: [(&str, &str); 4] = [
        ("sys/class/watchdog/watchdog0/identity", "iTCO_wdt\n"),
        ("sys/class/watchdog/watchdog0/state", "active\n"),
        ("sys/class/watchdog/watchdog0/timeout", "30\n"),
        ("sys/class/watchdog/watchdog0/fw_version", "0\n"),
    ];

    fn build(roots: &Roots) -> Watchdog {
        Watchdog::new(&WatchdogConfig::default(), roots)
    }

    #[test]
    fn what_the_driver_says_is_exported() {
        let tree = Tree::new(&FILES);
        let mut run = Runner::new(build(&tree.roots()));
        for _ in 0..2 {
            assert_eq!(
                run.lines(),
                [
                    "node_watchdog_fw_version{name=\"watchdog0\"} 0",
                    "node_watchdog_timeout_seconds{name=\"watchdog0\"} 30",
                    "node_watchdog_info{name=\"watchdog0\",options=\"\",identity=\"iTCO_wdt\",state=\"active\",\
                     status=\"\",pretimeout_governor=\"\"} 1",
                ]
            );
        }
    }

    #[test]
    fn a_host_without_watchdogs_has_no_data() {
        let (lines, error) = Runner::new(build(&Tree::new::<&str>(&[]).roots())).failure();
        assert!(lines.is_empty() && error.starts_with("no data:"), "{error}");
    }

    #[test]
    fn garbage_never_panics() {
        never_panics(&FILES, build);
    }

    #[test]
    fn as_node_exporter() {
        conforms(&["sys/class/watchdog"], |name| name.starts_with("node_watchdog_"), build);
    }
}
