//! Which group a process belongs to by its name, user, cgroup and command line, as process-exporter has it.
//!
//! The items of `processes.groups` are tried in their order, and the first that a process meets names its group; one that
//! meets none has no name. All selectors of an item must hold. What that asks of a process (its command line, its user,
//! its cgroups) is read only when an item needs it.
//!
//! Other than process-exporter:
//! - Bytes that are not UTF-8 are U+FFFD in names, where it ends with a panic; in regular expressions they are the same
//!   to both.
//! - Of two paths in `exe` that end in the same program, both count, where it keeps the last.
//! - A process on which the template fails (`slice .Comm 0 9` of a short name) is as one that meets no item, and is
//!   counted, where it lands in the group of whatever had been printed by then.
//! - The first 64 KiB of a command line are looked at, where it reads 1 MiB, and a name ends after 1 KiB.

mod command;
mod config;
mod name;
mod pattern;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

pub use config::{GroupItem, GroupItems};
pub use name::GroupName;
pub use pattern::CommandPattern;

pub(super) use command::LONGEST_COMMAND;

use crate::template::{Map, TemplateError, Value};
use command::{CommandLine, base, lossy};

/// The longest name of a group, in bytes; what is beyond is cut off. It stands in some twenty series, and may be made of
/// a whole command line.
const LONGEST_NAME: usize = 1 << 10;

/// What is asked of a process to name it.
pub(super) trait Facts {
    fn pid(&self) -> u32;

    /// Its name without parentheses; of a kernel thread the whole.
    fn comm(&self) -> &[u8];

    /// When it began, since 1970.
    fn started(&self) -> Duration;

    /// /proc/PID/cmdline, of which no more than the first [`LONGEST_COMMAND`] bytes are looked at; empty for a kernel
    /// thread.
    fn cmdline(&mut self) -> &[u8];

    /// The name of the effective user, its number where it has none.
    fn username(&mut self) -> &str;

    /// /proc/PID/cgroup.
    fn cgroups(&mut self) -> &[u8];
}

/// The rules by which processes get their names.
pub(super) struct Naming {
    /// `None`: by `comm`.
    rules: Option<Vec<Rule>>,
    needs_cmdline: bool,
    needs_cgroups: bool,
    failures: u64,
}

impl Naming {
    pub fn new(items: &GroupItems) -> Naming {
        let items = items.0.as_deref();
        let any = |needs: fn(&GroupItem) -> bool| items.unwrap_or_default().iter().any(needs);
        Naming {
            needs_cmdline: any(|item| {
                item.exe.is_some() || item.cmdline.is_some() || item.name.uses("ExeBase") || item.name.uses("ExeFull")
            }),
            needs_cgroups: any(|item| item.name.uses("Cgroups")),
            rules: items.map(|items| items.iter().map(|item| Rule { item: item.clone(), said: false }).collect()),
            failures: 0,
        }
    }

    /// Whether there are no items: a process' name is its `comm`.
    pub fn is_by_comm(&self) -> bool {
        self.rules.is_none()
    }

    /// Whether the command line of any process may be asked for; so too below.
    pub fn needs_cmdline(&self) -> bool {
        self.needs_cmdline
    }

    pub fn needs_cgroups(&self) -> bool {
        self.needs_cgroups
    }

    /// How often a template failed on a process.
    pub fn failures(&self) -> u64 {
        self.failures
    }

    /// The name of the process' group, which may be empty; `None` where it meets no item, or the template of the one that
    /// it meets fails.
    pub fn name(&mut self, facts: &mut dyn Facts) -> Option<String> {
        let Some(rules) = &mut self.rules else { return Some(lossy(facts.comm())) };
        let mut command = None;
        for (place, rule) in rules.iter_mut().enumerate() {
            if !rule.is_met(facts, &mut command) {
                continue;
            }
            match rule.name(facts, &mut command) {
                Ok(name) => return Some(cut(name)),
                Err(error) => {
                    self.failures += 1;
                    if !rule.said {
                        rule.said = true;
                        let (item, pid, name) = (place + 1, facts.pid(), rule.item.name.text());
                        tracing::warn!(
                            item,
                            name,
                            pid,
                            %error,
                            "the name of a process' group cannot be made: such processes count as if they met no item"
                        );
                    }
                    return None;
                }
            }
        }
        None
    }
}

/// An item, and whether it has been said that its template failed.
struct Rule {
    item: GroupItem,
    said: bool,
}

/// The command line, read with the first look at it.
fn read<'a>(command: &'a mut Option<CommandLine>, facts: &mut dyn Facts) -> &'a CommandLine {
    command.get_or_insert_with(|| CommandLine::new(facts.cmdline()))
}

impl Rule {
    fn is_met(&self, facts: &mut dyn Facts, command: &mut Option<CommandLine>) -> bool {
        let GroupItem { comm, exe, cmdline, .. } = &self.item;
        if let Some(names) = comm
            && !names.iter().any(|name| name.as_bytes() == facts.comm())
        {
            return false;
        }
        if let Some(programs) = exe {
            let Some(first) = read(command, facts).first() else { return false };
            let last = base(first);
            if !programs.iter().any(|program| program == if program.contains('/') { first } else { last }) {
                return false;
            }
        }
        match cmdline {
            // An empty list is met by all; nothing need be read for it.
            Some(patterns) if !patterns.is_empty() => {
                let line = read(command, facts).joined();
                patterns.iter().all(|pattern| pattern.is_match(line))
            }
            _ => true,
        }
    }

    fn name(&self, facts: &mut dyn Facts, command: &mut Option<CommandLine>) -> Result<String, TemplateError> {
        self.item.name.make(|variable| match variable {
            "Cgroups" => Value::List(cgroup_paths(facts.cgroups()).into()),
            "Comm" => lossy(facts.comm()).into(),
            "Username" => facts.username().into(),
            "PID" => Value::Int(facts.pid().into()),
            "StartTime" => start_time(facts.started()),
            "Matches" => {
                let mut entries = BTreeMap::new();
                for pattern in self.item.cmdline.iter().flatten() {
                    pattern.captures(read(command, facts).joined(), &mut entries);
                }
                Value::Map(Arc::new(Map { entries, of_strings: true, missing_is_nil: true }))
            }
            // Without a command line, they are what the kernel calls the process.
            _ => match (read(command, facts).first(), variable) {
                (None, _) => lossy(facts.comm()).into(),
                (Some(first), "ExeFull") => first.into(),
                (Some(first), _) => base(first).into(),
            },
        })
    }
}

/// The paths in the lines of /proc/PID/cgroup, `HIERARCHY:CONTROLLERS:PATH`; none at all where a line is another.
fn cgroup_paths(text: &[u8]) -> Vec<Value> {
    let path = |line: &str| {
        let mut parts = line.splitn(3, ':');
        parts.next()?.parse::<u64>().ok()?;
        parts.nth(1).map(Value::from)
    };
    lossy(text).lines().map(path).collect::<Option<_>>().unwrap_or_default()
}

/// A Go time in UTC.
fn start_time(since_1970: Duration) -> Value {
    let (seconds, nanos) = (i64::try_from(since_1970.as_secs()).unwrap_or(i64::MAX), since_1970.subsec_nanos() as i32);
    let at = Timestamp::new(seconds, nanos).unwrap_or_default();
    Value::Time(Arc::new(at.to_zoned_datetime(TimeZone::UTC)))
}

fn cut(mut name: String) -> String {
    if name.len() > LONGEST_NAME {
        name.truncate((0..=LONGEST_NAME).rev().find(|at| name.is_char_boundary(*at)).unwrap_or(0));
    }
    name
}
