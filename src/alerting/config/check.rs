//! What the parts of the configuration cannot say of themselves: who refers to whom.

use std::collections::BTreeSet;
use std::time::Duration;

use super::AlertingConfig;
use crate::sinks::SinkConfig;
use crate::yaml::{Faults, Node, Value, nearest};

/// Checks the section as a whole.
pub(super) fn check(config: &mut AlertingConfig, node: &Node, faults: &mut Faults) {
    let mut names = BTreeSet::new();
    let receivers = node.get("receivers");
    for (receiver, at) in config.receivers.iter_mut().zip(receivers.map(Node::items).unwrap_or_default()) {
        receiver.inherit(&config.global, at, faults);
        let resending = receiver.entries().iter().filter(|(_, _, sink)| sink.resend().is_some()).count();
        if resending > 0 && resending < receiver.entries().len() {
            let message = "beside alertmanager_configs all sinks of a receiver are told changes within seconds: give \
                           the others a receiver of their own, and a route with continue to each";
            faults.warn(at.at, message);
        }
    }
    if let Some(heartbeat) = &mut config.heartbeat {
        heartbeat.inherit(&config.global);
    }
    for forwarding in &mut config.alertmanagers {
        forwarding.inherit(&config.global, node, faults);
    }
    for receiver in receivers.map(Node::items).unwrap_or_default() {
        let named = receiver.get("name");
        match named.and_then(Node::as_str) {
            None | Some("") => faults.error(receiver.at, "a receiver needs a name"),
            Some(AlertingConfig::FORWARDING_RECEIVER) if !config.alertmanagers.is_empty() => {
                let message = "this name is that of the receiver which stands for alertmanagers: take another";
                faults.error(named.map_or(receiver.at, |n| n.at), message);
            }
            Some(name) if !names.insert(name) => {
                faults.error(named.map_or(receiver.at, |n| n.at), format!("there are two receivers named {name:?}"));
            }
            Some(_) => {}
        }
    }
    let intervals = interval_names(node, faults);
    let Some(route) = node.get("route").filter(|route| !route.is_null()) else {
        if let Some(receivers) = receivers.filter(|r| !r.items().is_empty()) {
            faults.error(receivers.at, "receivers without a route are never told: add a route that names one");
        }
        return;
    };
    if config.route.is_none() {
        // It is not a mapping, which has been said.
        return;
    }
    let mut used = BTreeSet::new();
    check_root(route, faults);
    check_route(route, &names, &mut used, faults);
    check_times(route, &intervals, faults);
    for receiver in receivers.map(Node::items).unwrap_or_default() {
        if let Some(named) = receiver.get("name")
            && let Some(name) = named.as_str().filter(|name| !used.contains(name))
        {
            faults.warn(named.at, format!("no route leads to the receiver {name:?}"));
        }
    }
}

fn check_root(route: &Node, faults: &mut Faults) {
    if route.get("receiver").is_none_or(|named| named.is_null() || named.as_str() == Some("")) {
        faults.error(route.at, "the root route needs a receiver: every alert must go somewhere");
    }
    for key in ["matchers", "match", "match_re", "continue", "mute_time_intervals", "active_time_intervals"] {
        // An empty one, which generated files have, says nothing.
        if let Some((key, _)) = route.entries().iter().find(|(k, value)| k.name == key && says_something(value)) {
            let why = if key.name.ends_with("_time_intervals") { "always tells" } else { "takes every alert" };
            faults.error(key.at, format!("the root route {why}, so it cannot have {:?}", key.name));
        }
    }
}

fn says_something(node: &Node) -> bool {
    match &node.value {
        Value::Null => false,
        Value::Scalar { text, .. } => text != "false",
        Value::Sequence(items) => !items.is_empty(),
        Value::Mapping(entries) => !entries.is_empty(),
    }
}

/// The names of all time intervals; that each is there once is checked.
fn interval_names<'a>(node: &'a Node, faults: &mut Faults) -> BTreeSet<&'a str> {
    let mut names = BTreeSet::new();
    let keys = ["time_intervals", "mute_time_intervals"];
    for interval in keys.into_iter().filter_map(|key| node.get(key)).flat_map(Node::items) {
        if let Some(named) = interval.get("name")
            && let Some(name) = named.as_str()
            && !names.insert(name)
        {
            faults.error(named.at, format!("there are two time intervals named {name:?}"));
        }
    }
    names
}

/// Checks that the time intervals that a node and those below it name are there.
fn check_times(route: &Node, intervals: &BTreeSet<&str>, faults: &mut Faults) {
    let keys = ["mute_time_intervals", "active_time_intervals"];
    for named in keys.into_iter().filter_map(|key| route.get(key)).flat_map(Node::items) {
        if let Some(name) = named.as_str().filter(|name| !intervals.contains(name)) {
            let hint = known_names(name, intervals, "there are no time_intervals");
            faults.error(named.at, format!("the time interval {name:?} is not defined, {hint}"));
        }
    }
    for below in route.get("routes").map(Node::items).unwrap_or_default() {
        check_times(below, intervals, faults);
    }
}

/// What to say of a name that is none of these.
fn known_names(name: &str, names: &BTreeSet<&str>, none: &str) -> String {
    match nearest(name, names.iter().copied()) {
        Some(near) => format!("did you mean {near:?}?"),
        None if names.is_empty() => none.to_string(),
        None => format!("there are: {}", names.iter().copied().collect::<Vec<_>>().join(", ")),
    }
}

/// Checks a node and those below it; `used` collects the receivers that are named.
fn check_route<'a>(route: &'a Node, names: &BTreeSet<&str>, used: &mut BTreeSet<&'a str>, faults: &mut Faults) {
    if let Some(named) = route.get("receiver")
        && let Some(name) = named.as_str().filter(|name| !name.is_empty())
    {
        used.insert(name);
        if !names.contains(name) {
            let hint = known_names(name, names, "there are no receivers");
            faults.error(named.at, format!("the receiver {name:?} is not defined, {hint}"));
        }
    }
    for key in ["group_interval", "repeat_interval"] {
        if let Some(value) = route.get(key)
            && value.as_str().is_some_and(|text| crate::model::parse_duration(text) == Ok(Duration::ZERO))
        {
            faults.error(value.at, format!("{key} cannot be 0"));
        }
    }
    for below in route.get("routes").map(Node::items).unwrap_or_default() {
        check_route(below, names, used, faults);
    }
}
