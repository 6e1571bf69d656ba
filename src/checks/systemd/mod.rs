//! `systemd`: whether units are as they should be, asked over D-Bus as the collector `systemd` asks.
//!
//! | metric | type | labels |
//! | --- | --- | --- |
//! | `watchfire_check_unit_state` | gauge: 1 for the state that it is in | `unit`, `state` |
//! | `watchfire_check_unit_restarts_total` | counter: how often systemd has restarted it by itself; of services | `unit` |
//! | `watchfire_check_unit_result` | gauge: 1; how the last run went; of services | `unit`, `result` |
//! | `watchfire_check_units` | gauge: units that the check is about | |
//!
//! Those with `unit` are of the first hundred by name. Where nothing is said of states, a unit should be active; a
//! service of the type `oneshot`, which runs and ends, is well when its last run went well, whether it runs now or not.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::local::{Findings, Severity, span, things};
use super::{Families, Look, State, Verdict};
use crate::collect::Roots;
use crate::collect::systemd::{Peer, UnitStatus, matching, named};
use crate::glob::matches;
use crate::yaml::{Faults, Node};

crate::section! {
    check = check;
    /// Units of systemd.
    pub struct UnitConfig {
        /// The unit, or a pattern of loaded units (`web-*.service`); `.service` may be left out of a name.
        pub unit: String = String::new(),
        /// The states that are right (active, reloading, inactive, failed, activating, deactivating): where none is given
        /// active and reloading, and for services that run and end (`oneshot`) whatever follows a run that went well.
        pub states: Vec<String> = Vec::new(),
        /// Whether systemd is asked on its private socket (as root only) and not over the system bus.
        pub private: bool = false,
        /// What it means that a unit is in another state, or that there is none.
        pub severity: Severity = Severity(State::Critical),
    }
}

/// systemd's states of units that a check may name.
const STATES: [&str; 6] = ["active", "reloading", "inactive", "failed", "activating", "deactivating"];
/// What is right where nothing else is said.
const RIGHT: [&str; 2] = ["active", "reloading"];
/// How long systemd may take to answer: shorter than the time that checks usually have, so that the verdict says why.
const LIMIT: Duration = Duration::from_secs(8);
/// Units that have series of their own.
const MAX_SERIES: usize = 100;

fn check(config: &mut UnitConfig, node: &Node, faults: &mut Faults) {
    if config.unit.is_empty() {
        faults.error(node.at, "a systemd check needs a unit");
    }
    if !config.unit.contains('.') && !is_pattern(&config.unit) {
        config.unit.push_str(".service");
    }
    let listed = node.get("states").map_or(&[][..], Node::items);
    for (i, state) in config.states.iter().enumerate().filter(|(_, state)| !STATES.contains(&state.as_str())) {
        let at = listed.get(i).map_or(node.at, |n| n.at);
        faults.error(at, format!("{state:?} is no state of units: {}", STATES.join(", ")));
    }
}

/// Whether this stands for several units. Names themselves may hold a backslash (`dev-disk-by\x2duuid`), which alone
/// makes no pattern.
fn is_pattern(unit: &str) -> bool {
    unit.contains(['*', '?', '['])
}

impl UnitConfig {
    /// The check, of the host below these roots.
    pub fn build(&self, roots: &Roots) -> Arc<dyn Look> {
        Arc::new(UnitCheck { config: self.clone(), peer: Peer::new(roots, self.private, LIMIT) })
    }
}

struct UnitCheck {
    config: UnitConfig,
    peer: Peer,
}

impl Look for UnitCheck {
    fn look(&self, out: &mut Families) -> Verdict {
        let unit = &self.config.unit;
        let asked = match is_pattern(unit) {
            true => matching(&self.peer, |name| matches(unit.as_bytes(), name.as_bytes())),
            false => named(&self.peer, std::slice::from_ref(unit)),
        };
        match asked {
            Ok(units) => {
                write(&units, out);
                self.judge(&units, SystemTime::now())
            }
            Err(error) => Verdict::unknown(format!("systemd cannot be asked: {error}")),
        }
    }
}

impl UnitCheck {
    fn judge(&self, units: &[UnitStatus], now: SystemTime) -> Verdict {
        let mut findings = Findings::default();
        let bad = self.config.severity.0;
        for unit in units {
            match self.fault(unit, now) {
                Some(fault) if unit.active.is_empty() => findings.add(State::Unknown, || fault),
                Some(fault) => findings.add(bad, || fault),
                None => {}
            }
        }
        if units.is_empty() {
            findings.add(bad, || format!("no loaded unit matches {}", self.config.unit));
        }
        findings.verdict(|| match units {
            [unit] => format!("{} is {}", unit.name, described(unit)) + &lasting(unit, now),
            units => format!(
                "{} match {}, all as they should be",
                things(units.len() as u64, "unit", "units"),
                self.config.unit
            ),
        })
    }

    /// What is wrong with a unit, for people.
    fn fault(&self, unit: &UnitStatus, now: SystemTime) -> Option<String> {
        let name = &unit.name;
        let is_among = |states: &[&str]| states.contains(&unit.active.as_str());
        let states: Vec<&str> = self.config.states.iter().map(String::as_str).collect();
        let is_right = match (states.is_empty(), unit.kind.as_str()) {
            (false, _) => is_among(&states),
            (true, "oneshot") => unit.load == "loaded" && unit.active != "failed" && unit.result == "success",
            (true, _) => is_among(&RIGHT),
        };
        if is_right {
            return None;
        }
        Some(match (unit.load.as_str(), unit.active.as_str()) {
            (_, "") => format!("systemd does not tell the state of {name}"),
            ("not-found", _) => format!("{name} is not there: no unit file has this name"),
            ("masked", _) => format!("{name} is masked"),
            ("loaded", _) => format!("{name} is {}{}", described(unit), lasting(unit, now)),
            (load, _) => format!("{name} is {} ({load})", unit.active),
        })
    }
}

/// The state in words: `failed (exit-code)`, `activating (auto-restart, exit-code)`.
fn described(unit: &UnitStatus) -> String {
    let mut details = Vec::new();
    if !unit.sub.is_empty() && unit.sub != unit.active {
        details.push(unit.sub.as_str());
    }
    if !unit.result.is_empty() && unit.result != "success" {
        details.push(&unit.result);
    }
    if details.is_empty() { unit.active.clone() } else { format!("{} ({})", unit.active, details.join(", ")) }
}

/// For how long it has been so.
fn lasting(unit: &UnitStatus, now: SystemTime) -> String {
    let since = SystemTime::UNIX_EPOCH.checked_add(Duration::from_micros(unit.since));
    match since.and_then(|since| now.duration_since(since).ok()) {
        Some(age) if unit.since > 0 => format!(", for {}", span(age)),
        _ => String::new(),
    }
}

fn write(units: &[UnitStatus], out: &mut Families) {
    out.gauge("watchfire_check_units", "Units that the check is about.", &[], units.len() as f64);
    for unit in units.iter().take(MAX_SERIES) {
        let help = "Whether the unit is in this state: 1 for the one that it is in.";
        let is_known = STATES.contains(&unit.active.as_str()) || unit.active.is_empty();
        let rare = (!is_known).then_some(unit.active.as_str());
        for state in STATES.into_iter().chain(rare) {
            let labels = [("unit", unit.name.as_str()), ("state", state)];
            out.gauge("watchfire_check_unit_state", help, &labels, f64::from(u8::from(unit.active == state)));
        }
        if !unit.result.is_empty() {
            let labels = [("unit", unit.name.as_str()), ("result", unit.result.as_str())];
            out.gauge("watchfire_check_unit_result", "How the last run of the service went; always 1.", &labels, 1.0);
        }
        if let Some(restarts) = unit.restarts {
            let help = "How often systemd has restarted the service by itself.";
            out.counter("watchfire_check_unit_restarts_total", help, &[("unit", &unit.name)], restarts as f64);
        }
    }
}

#[cfg(test)]
mod tests;
