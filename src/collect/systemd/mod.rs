//! `systemd`: the units of systemd and how they are, asked over D-Bus.
//!
//! | metric | type | labels | switched by |
//! | --- | --- | --- | --- |
//! | `node_systemd_version` | gauge | `version` | |
//! | `node_systemd_virtualization_info` | gauge, always 1 | `virtualization_type` | |
//! | `node_systemd_units` | gauge: how many units are in a state | `state` | |
//! | `node_systemd_unit_state` | gauge: 1 for the state that it is in | `name`, `state`, `type` | |
//! | `node_systemd_service_restart_total` | counter | `name` | `enable_restarts_metrics` |
//! | `node_systemd_unit_start_time_seconds` | gauge, seconds since 1970; 0 when not active | `name` | `enable_start_time_metrics` |
//! | `node_systemd_unit_tasks_current`, `_max` | gauge; absent without a count or limit | `name` | `enable_task_metrics` |
//! | `node_systemd_timer_last_trigger_seconds` | gauge, seconds since 1970 | `name` | |
//! | `node_systemd_socket_accepted_connections_total` | counter | `name` | |
//! | `node_systemd_socket_current_connections`, `_refused_connections_total` | gauge, as node_exporter has it | `name` | |
//! | `node_systemd_system_running` | gauge: whether `systemctl is-system-running` says `running` | | |
//!
//! The units are those that are loaded and that the patterns leave; `node_systemd_units` counts all. What is asked:
//! `ListUnits` and `Version`, `Virtualization`, `SystemState` of `org.freedesktop.systemd1.Manager`, and properties of
//! the units' objects, many at a time. It is asked on the bus that `DBUS_SYSTEM_BUS_ADDRESS` names, else on
//! `/run/dbus/system_bus_socket` below the root; root asks `/run/systemd/private` where there is no bus.
//!
//! Configuration: `unit_include`, `unit_exclude`, `private`, `enable_restarts_metrics`, `enable_start_time_metrics`,
//! `enable_task_metrics`.

mod bus;
mod peer;
mod units;

use std::collections::BTreeMap;
use std::time::Duration;

pub use self::peer::Peer;
pub use self::units::{UnitStatus, matching, named};

use self::bus::{Answer, Property};
use super::{CollectError, Collector, Roots};
use crate::dbus::{Malformed, Message};
use crate::model::{MetricType, Writer};
use crate::yaml::Pattern;

crate::section! {
    /// `collectors.systemd`.
    pub struct SystemdConfig {
        /// The whole name of the units that are exported, as long as `unit_exclude` leaves them: name those you watch.
        pub unit_include: Pattern = Pattern::fixed(".+"),
        /// The whole name of units left out: by default the kinds that there are many of and that seldom fail.
        pub unit_exclude: Pattern = Pattern::fixed(".+\\.(automount|device|mount|scope|slice)"),
        /// Whether systemd is asked on its private socket (as root only) and not over the system bus.
        pub private: bool = false,
        /// Whether the restarts of services are exported: worth it where services restart themselves unseen.
        pub enable_restarts_metrics: bool = false,
        /// Whether the time at which each unit was started is exported.
        pub enable_start_time_metrics: bool = false,
        /// Whether the tasks of services and their limit are exported.
        pub enable_task_metrics: bool = false,
    }
}

/// How long all of a run may take: shorter than the collector's timeout, so that the failure says why.
const LIMIT: Duration = Duration::from_secs(8);
/// systemd had neither `SystemState` nor `LastTriggerUSec` before.
const FIRST_WITH_SYSTEM_STATE: f64 = 212.0;
const STATES: [&str; 5] = ["active", "activating", "deactivating", "inactive", "failed"];
const MANAGER: &str = "/org/freedesktop/systemd1";

/// The `systemd` collector.
pub struct Systemd {
    config: SystemdConfig,
    peer: Peer,
}

/// One of the answer to `ListUnits`.
struct Unit {
    name: String,
    load_state: String,
    active_state: String,
    path: String,
}

impl Systemd {
    pub fn new(config: &SystemdConfig, roots: &Roots) -> Systemd {
        Systemd { config: config.clone(), peer: Peer::new(roots, config.private, LIMIT) }
    }

    /// What is asked of a unit.
    fn properties_of<'u>(&self, unit: &'u Unit, version: f64, mut ask: impl FnMut(Asked, Property<'u>)) {
        let mut get = |asked, interface, name| ask(asked, Property { path: &unit.path, interface, name });
        if self.config.enable_start_time_metrics && unit.active_state == "active" {
            get(Asked::Start, "Unit", "ActiveEnterTimestamp");
        }
        match unit.name.rsplit_once('.').map(|(_, kind)| kind) {
            Some("service") => {
                get(Asked::Type, "Service", "Type");
                if self.config.enable_restarts_metrics {
                    get(Asked::Restarts, "Service", "NRestarts");
                }
                if self.config.enable_task_metrics {
                    get(Asked::Tasks, "Service", "TasksCurrent");
                    get(Asked::TasksMax, "Service", "TasksMax");
                }
            }
            Some("mount") => get(Asked::Type, "Mount", "Type"),
            Some("timer") if version >= FIRST_WITH_SYSTEM_STATE => get(Asked::Trigger, "Timer", "LastTriggerUSec"),
            Some("socket") => {
                get(Asked::Accepted, "Socket", "NAccepted");
                get(Asked::Connections, "Socket", "NConnections");
                get(Asked::Refused, "Socket", "NRefused");
            }
            _ => {}
        }
    }
}

/// What is asked of units; each but the type is a family.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Asked {
    Type,
    Restarts,
    Start,
    Tasks,
    TasksMax,
    Trigger,
    Accepted,
    Connections,
    Refused,
}

/// The families of numbers: what is asked, type, name, help.
const FAMILIES: [(Asked, MetricType, &str, &str); 8] = [
    (
        Asked::Restarts,
        MetricType::Counter,
        "node_systemd_service_restart_total",
        "How often systemd has restarted the service by itself.",
    ),
    (
        Asked::Start,
        MetricType::Gauge,
        "node_systemd_unit_start_time_seconds",
        "When the unit was started, in seconds since 1970; 0 when it is not active.",
    ),
    (Asked::Tasks, MetricType::Gauge, "node_systemd_unit_tasks_current", "Tasks of the systemd unit now."),
    (Asked::TasksMax, MetricType::Gauge, "node_systemd_unit_tasks_max", "Tasks that the systemd unit may have."),
    (
        Asked::Trigger,
        MetricType::Gauge,
        "node_systemd_timer_last_trigger_seconds",
        "When the timer was last triggered, in seconds since 1970.",
    ),
    (
        Asked::Accepted,
        MetricType::Counter,
        "node_systemd_socket_accepted_connections_total",
        "Connections that the socket unit has accepted.",
    ),
    (
        Asked::Connections,
        MetricType::Gauge,
        "node_systemd_socket_current_connections",
        "Connections that the socket unit has now.",
    ),
    (
        Asked::Refused,
        MetricType::Gauge,
        "node_systemd_socket_refused_connections_total",
        "Connections that the socket unit has refused.",
    ),
];

impl Collector for Systemd {
    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        let mut bus = self.peer.connect()?;
        let manager = |name| Property { path: MANAGER, interface: "Manager", name };
        let answers = bus.properties(&["Version", "Virtualization", "SystemState"].map(manager))?;
        let text = |i: usize| match answers.get(i) {
            Some(Some(Answer::Text(text))) => Some(text.as_str()),
            _ => None,
        };
        let (version, shown) = version(text(0).unwrap_or(""));
        out.gauge("node_systemd_version", "Detected systemd version", ["version"]).put([shown.as_bytes()], version);
        let virtualization = match text(1) {
            None => "unknown",
            Some("") => "none",
            Some(kind) => kind,
        };
        out.gauge("node_systemd_virtualization_info", "Detected virtualization technology", ["virtualization_type"])
            .put([virtualization.as_bytes()], 1.0);

        let mut units = bus.list_units(read_units)?;
        write_summary(&units, out);
        let config = &self.config;
        units.retain(|u| {
            config.unit_include.is_match(&u.name) && !config.unit_exclude.is_match(&u.name) && u.load_state == "loaded"
        });
        // systemd's order is that of a hash table; ours stays.
        units.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let (mut asked, mut wanted) = (Vec::new(), Vec::new());
        for (i, unit) in units.iter().enumerate() {
            self.properties_of(unit, version, |what, property| {
                asked.push((what, i));
                wanted.push(property);
            });
        }
        let answers = bus.properties(&wanted)?;
        let mut given: BTreeMap<(Asked, usize), Answer> =
            asked.into_iter().zip(answers).filter_map(|(k, v)| Some((k, v?))).collect();
        if self.config.enable_start_time_metrics {
            for (i, _) in units.iter().enumerate().filter(|(_, u)| u.active_state != "active") {
                given.insert((Asked::Start, i), Answer::Number(0));
            }
        }
        write_units(&units, &given, out);
        if version < FIRST_WITH_SYSTEM_STATE {
            return Ok(());
        }
        let state = text(2).ok_or_else(|| CollectError::Other("systemd does not tell its SystemState".to_string()))?;
        out.gauge(
            "node_systemd_system_running",
            "Whether the system is operational (see 'systemctl is-system-running')",
            [],
        )
        .put([], f64::from(u8::from(state == "running")));
        Ok(())
    }
}

/// The answer to `ListUnits`.
fn read_units(message: &mut Message<'_>) -> Result<Vec<Unit>, Malformed> {
    if message.signature != b"a(ssssssouso)" {
        return Err(Malformed("ListUnits is of another type"));
    }
    let body = &mut message.body;
    let end = body.array_end()?;
    let mut units = Vec::new();
    while body.position() < end {
        body.align(8)?;
        let name = body.string()?.to_string();
        body.string()?; // What it is, for people.
        let load_state = body.string()?.to_string();
        let active_state = body.string()?.to_string();
        body.string()?; // Its state as its kind has them.
        body.string()?; // The unit that it follows.
        let path = body.string()?.to_string();
        body.u32()?;
        body.string()?;
        body.string()?;
        units.push(Unit { name, load_state, active_state, path });
    }
    Ok(units)
}

fn write_summary(units: &[Unit], out: &mut Writer) {
    let mut counts: BTreeMap<&str, u32> = STATES.iter().map(|s| (*s, 0)).collect();
    for unit in units {
        *counts.entry(&unit.active_state).or_default() += 1;
    }
    let mut family = out.gauge("node_systemd_units", "Summary of systemd unit states", ["state"]);
    for (state, count) in counts {
        family.put([state.as_bytes()], count.into());
    }
}

fn write_units(units: &[Unit], given: &BTreeMap<(Asked, usize), Answer>, out: &mut Writer) {
    let mut family = out.gauge("node_systemd_unit_state", "Systemd unit", ["name", "state", "type"]);
    for (i, unit) in units.iter().enumerate() {
        let kind = match given.get(&(Asked::Type, i)) {
            Some(Answer::Text(kind)) => kind.as_str(),
            _ => "",
        };
        for state in STATES {
            let labels = [unit.name.as_bytes(), state.as_bytes(), kind.as_bytes()];
            family.put(labels, f64::from(u8::from(unit.active_state == state)));
        }
    }
    for (what, kind, name, help) in FAMILIES {
        let mut family = out.family(kind, name, help, ["name"]);
        for ((_, i), answer) in given.range((what, 0)..=(what, usize::MAX)) {
            let (Some(unit), Answer::Number(number)) = (units.get(*i), answer) else { continue };
            let value = match what {
                // No limit, or nothing counts.
                Asked::Tasks | Asked::TasksMax if *number == u64::MAX => continue,
                // From microseconds.
                Asked::Start | Asked::Trigger => *number as f64 / 1e6,
                _ => *number as f64,
            };
            family.put([unit.name.as_bytes()], value);
        }
    }
}

/// The number in a version as systemd tells it (`252.38-1~deb12u1`, `v249.11`), and that text; 0 and nothing when there
/// is none of at least three digits.
fn version(text: &str) -> (f64, &str) {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        rest = rest.get(start..).unwrap_or("");
        let whole = digits(rest);
        if whole >= 3 {
            let fraction = rest.get(whole..).and_then(|r| r.strip_prefix('.')).map_or(0, digits);
            let length = if fraction > 0 { whole + 1 + fraction } else { whole };
            return (rest.get(..length).and_then(|n| n.parse().ok()).unwrap_or(0.0), text);
        }
        rest = rest.get(whole..).unwrap_or("");
    }
    (0.0, "")
}

#[cfg(test)]
mod tests;
