//! Units as checks ask for them: by name, or all that a pattern wants.

use super::bus::{Answer, Bus, Property};
use super::peer::Peer;
use super::read_units;
use crate::collect::CollectError;

/// How a unit is.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct UnitStatus {
    pub name: String,
    /// `loaded`, `not-found`, `masked`, ...
    pub load: String,
    /// `active`, `inactive`, `failed`, ...
    pub active: String,
    /// Its state as its kind has them: `running`, `exited`, `auto-restart`, ...
    pub sub: String,
    /// When `active` changed, in microseconds since 1970; 0 when it never has.
    pub since: u64,
    /// Of a service: `simple`, `oneshot`, ...
    pub kind: String,
    /// Of a service: how its last run went, `success`, `exit-code`, ...
    pub result: String,
    /// Of a service: how often systemd has restarted it by itself.
    pub restarts: Option<u64>,
}

/// The units of these names, loaded or not, in the order of the names.
pub fn named(peer: &Peer, names: &[String]) -> Result<Vec<UnitStatus>, CollectError> {
    let mut bus = peer.connect()?;
    let mut units = Vec::new();
    for name in names {
        let path = bus.load_unit(name)?;
        units.push((name.clone(), path));
    }
    ask(&mut bus, units)
}

/// The loaded units that are wanted by their names, in the order of these.
pub fn matching(peer: &Peer, wanted: impl Fn(&str) -> bool) -> Result<Vec<UnitStatus>, CollectError> {
    let mut bus = peer.connect()?;
    let units = bus.list_units(read_units)?;
    let wanted = units.into_iter().filter(|unit| unit.load_state == "loaded" && wanted(&unit.name));
    let mut units: Vec<(String, String)> = wanted.map(|unit| (unit.name, unit.path)).collect();
    units.sort_unstable();
    ask(&mut bus, units)
}

/// Asks for the states of units, which come with the paths of their objects.
fn ask(bus: &mut Bus, units: Vec<(String, String)>) -> Result<Vec<UnitStatus>, CollectError> {
    const OF_UNITS: [&str; 4] = ["LoadState", "ActiveState", "SubState", "StateChangeTimestamp"];
    const OF_SERVICES: [&str; 3] = ["Type", "Result", "NRestarts"];
    let mut wanted = Vec::new();
    for (name, path) in &units {
        let of_services = if name.ends_with(".service") { &OF_SERVICES[..] } else { &[] };
        wanted.extend(OF_UNITS.map(|name| Property { path, interface: "Unit", name }));
        wanted.extend(of_services.iter().map(|name| Property { path, interface: "Service", name }));
    }
    let mut answers = bus.properties(&wanted)?.into_iter();
    let mut next = || answers.next().flatten();
    let statuses = units.iter().map(|(name, _)| {
        let mut status = UnitStatus {
            name: name.clone(),
            load: text(next()),
            active: text(next()),
            sub: text(next()),
            since: number(next()).unwrap_or(0),
            ..UnitStatus::default()
        };
        if name.ends_with(".service") {
            (status.kind, status.result, status.restarts) = (text(next()), text(next()), number(next()));
        }
        status
    });
    Ok(statuses.collect())
}

fn text(answer: Option<Answer>) -> String {
    match answer {
        Some(Answer::Text(text)) => text,
        _ => String::new(),
    }
}

fn number(answer: Option<Answer>) -> Option<u64> {
    match answer {
        Some(Answer::Number(number)) => Some(number),
        _ => None,
    }
}
