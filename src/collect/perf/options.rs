//! The values of the configuration: profilers, tracepoints and CPUs by name.

use std::fmt;

use super::events::{Event, GROUPS};
use crate::collect::cpulist;
use crate::yaml::{Faults, FromYaml, Node, Value};

/// Profilers of one group; all of them when none is named.
#[derive(Clone, Debug, Default)]
pub struct Chosen<const GROUP: usize>(Vec<&'static str>);

impl<const GROUP: usize> Chosen<GROUP> {
    const EVENTS: &'static [Event] = GROUPS[GROUP];

    pub(super) fn events(&self) -> Vec<&'static Event> {
        Self::EVENTS.iter().filter(|event| self.0.is_empty() || self.0.contains(&event.name)).collect()
    }
}

impl<const GROUP: usize> FromYaml for Chosen<GROUP> {
    fn from_yaml(node: &Node, faults: &mut Faults) -> Option<Self> {
        let named = |text: &str| Self::EVENTS.iter().map(|event| event.name).find(|name| *name == text);
        let read = |text: &str| {
            let known: Vec<&str> = Self::EVENTS.iter().map(|event| event.name).collect();
            named(text).ok_or_else(|| format!("no profiler {text:?}; there are {}", known.join(", ")))
        };
        one_or_many(node, faults, "the name of a profiler", read).map(Chosen)
    }
}

/// Tracepoints, one or a list.
#[derive(Clone, Debug, Default)]
pub struct Tracepoints(pub(super) Vec<Tracepoint>);

/// A tracepoint by the kernel's names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tracepoint {
    pub(super) subsystem: String,
    pub(super) event: String,
}

impl fmt::Display for Tracepoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.subsystem, self.event)
    }
}

impl FromYaml for Tracepoints {
    fn from_yaml(node: &Node, faults: &mut Faults) -> Option<Self> {
        // They become parts of a path and of a metric's name.
        let is_name = |name: &&str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        let read = |text: &str| {
            let parts = text.split_once(':').filter(|(subsystem, event)| is_name(subsystem) && is_name(event));
            let (subsystem, event) =
                parts.ok_or_else(|| format!("{text:?} is no tracepoint, such as sched:sched_process_exec"))?;
            Ok(Tracepoint { subsystem: subsystem.to_string(), event: event.to_string() })
        };
        one_or_many(node, faults, "a tracepoint, such as sched:sched_process_exec", read).map(Tracepoints)
    }
}

/// CPUs, in the order of their numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuList(pub(super) Vec<u32>);

impl FromYaml for CpuList {
    fn from_yaml(node: &Node, faults: &mut Faults) -> Option<Self> {
        let Some(text) = node.as_str() else {
            faults.unexpected(node, "CPUs, such as 0-3,8");
            return None;
        };
        // No list: all of them, as the default of node_exporter's flag is written.
        if text.is_empty() {
            return None;
        }
        let list = CpuList::parse(text);
        if list.is_none() {
            faults.error(node.at, format!("{text:?} is no list of CPUs, such as 0-3,8 or 0-63:8"));
        }
        list
    }
}

impl CpuList {
    fn parse(text: &str) -> Option<CpuList> {
        // However often a list names the same CPUs, it is no longer than there are.
        let mut wanted = vec![false; cpulist::MAX_CPUS as usize];
        for part in text.split(',') {
            let (part, stride) = match part.split_once(':') {
                Some((part, stride)) => (part, stride.parse().ok().filter(|n| *n > 0)?),
                None => (part, 1),
            };
            let (first, last) = cpulist::range(part.as_bytes()).filter(|(first, last)| first <= last)?;
            for cpu in (first..=last).step_by(stride) {
                if let Some(cell) = wanted.get_mut(cpu as usize) {
                    *cell = true;
                }
            }
        }
        Some(CpuList((0..).zip(wanted).filter_map(|(cpu, wanted)| wanted.then_some(cpu)).collect()))
    }
}

/// Reads a value, or a list of them.
fn one_or_many<T>(
    node: &Node,
    faults: &mut Faults,
    expected: &str,
    read: impl Fn(&str) -> Result<T, String>,
) -> Option<Vec<T>> {
    let nodes = match &node.value {
        Value::Sequence(nodes) => nodes.as_slice(),
        _ => std::slice::from_ref(node),
    };
    let mut values = Vec::with_capacity(nodes.len());
    for node in nodes {
        match node.as_str().map(&read) {
            Some(Ok(value)) => values.push(value),
            Some(Err(error)) => faults.error(node.at, error),
            None => faults.unexpected(node, expected),
        }
    }
    (values.len() == nodes.len()).then_some(values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::{Fuzz, bounded};

    #[test]
    fn a_list_that_names_the_same_cpus_again_and_again_takes_no_more_memory() {
        let text = "0-65535,".repeat(1000) + "1";
        assert_eq!(bounded(2 << 20, || CpuList::parse(&text)).map(|list| list.0.len()), Some(65_536));
    }

    #[test]
    fn no_list_of_cpus_makes_it_panic() {
        // A range may name all CPUs that there can be.
        Fuzz::of(&["0-3,8", "0-63:8,1"]).heap(4 << 20).texts(|text| {
            let _ = CpuList::parse(text);
        });
    }
}
