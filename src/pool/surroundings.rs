//! What the commands of checks, actions and receivers have in common in the configuration: where they start, and what they
//! may use of the host.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::limits::{IoPriority, Limits};
use crate::section;
use crate::yaml::{Bytes, Faults, FromYaml, Node};

/// Makes the relative paths of a command start at `dir`, the directory of the configuration's file: that of its program,
/// and `directory`, which it starts in. A program without a slash is looked for in `PATH`.
pub fn resolve_command(command: &mut [String], directory: &mut Option<PathBuf>, dir: &Path) {
    if let Some(directory) = directory {
        *directory = dir.join(&*directory);
    }
    if let Some(program) = command.first_mut().filter(|program| program.contains('/')) {
        *program = dir.join(&*program).to_string_lossy().into_owned();
    }
}

section! {
    check = check;
    /// What a command may use of the host, and as whom.
    #[derive(PartialEq)]
    pub struct LimitsConfig {
        /// CPU time.
        pub cpu: Option<Duration> = None,
        /// Memory.
        pub memory: Option<Bytes> = None,
        /// Files that may be open.
        pub open_files: Option<u64> = None,
        /// Its niceness, from -20 to 19.
        pub nice: Option<i64> = None,
        /// Who waits for whom at the disks: realtime, best-effort or idle.
        pub io_class: Option<IoClass> = None,
        /// Within the class, from 0 (first) to 7.
        pub io_level: Option<u16> = None,
        /// The user it runs as.
        pub user: Option<String> = None,
        /// The group it runs as, in place of the user's own.
        pub group: Option<String> = None,
        /// Whether it can reach a network.
        pub network: bool = true,
    }
}

/// Scheduling classes of disk I/O; see ionice(1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IoClass {
    RealTime,
    BestEffort,
    Idle,
}

impl FromYaml for IoClass {
    fn from_yaml(node: &Node, faults: &mut Faults) -> Option<Self> {
        match node.as_str() {
            Some("realtime") => Some(IoClass::RealTime),
            Some("best-effort") => Some(IoClass::BestEffort),
            Some("idle") => Some(IoClass::Idle),
            _ => {
                faults.unexpected(node, "realtime, best-effort or idle");
                None
            }
        }
    }
}

fn check(limits: &mut LimitsConfig, node: &Node, faults: &mut Faults) {
    let at = |key: &str| node.place(key);
    if limits.cpu.is_some_and(|cpu| cpu.is_zero()) {
        faults.error(at("cpu"), "no CPU time at all: no command could run");
    }
    if limits.memory == Some(Bytes(0)) {
        faults.error(at("memory"), "no memory at all: no command could run");
    }
    if limits.nice.is_some_and(|nice| !(-20..=19).contains(&nice)) {
        faults.error(at("nice"), "niceness is from -20 to 19");
    }
    if limits.io_level.is_some_and(|level| level > 7) {
        faults.error(at("io_level"), "a level is from 0 to 7");
    }
    if limits.io_level.is_some() && matches!(limits.io_class, None | Some(IoClass::Idle)) {
        faults.error(at("io_level"), "only io_class: realtime and io_class: best-effort have levels");
    }
}

impl LimitsConfig {
    /// As the pool takes them.
    pub fn limits(&self) -> Limits {
        // ionice's own level where none is said.
        let level = self.io_level.and_then(|level| u8::try_from(level).ok()).unwrap_or(4);
        Limits {
            cpu: self.cpu,
            memory: self.memory.map(|memory| memory.0),
            open_files: self.open_files,
            nice: self.nice.and_then(|nice| i8::try_from(nice).ok()),
            io: self.io_class.map(|class| match class {
                IoClass::RealTime => IoPriority::RealTime(level),
                IoClass::BestEffort => IoPriority::BestEffort(level),
                IoClass::Idle => IoPriority::Idle,
            }),
            user: self.user.clone(),
            group: self.group.clone(),
            network: self.network,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::Document;

    fn read(text: &str) -> (LimitsConfig, String) {
        let mut faults = Faults::default();
        let limits = Document::parse("c.yaml", text, &mut faults).read(&mut faults);
        (limits, faults.to_string())
    }

    #[test]
    fn what_is_not_said_is_not_limited() {
        assert_eq!(LimitsConfig::default().limits(), Limits::default());
        let (limits, faults) = read("{nice: -5, io_class: best-effort, io_level: 7, user: nobody, network: false}\n");
        assert_eq!(faults, "");
        let limits = limits.limits();
        assert_eq!((limits.nice, limits.io, limits.network), (Some(-5), Some(IoPriority::BestEffort(7)), false));
        assert_eq!(limits.user.as_deref(), Some("nobody"));
    }

    #[test]
    fn limits_that_cannot_be_are_refused_where_they_stand() {
        let said = |text: &str| read(text).1;
        assert!(said("nice: 20\n").contains("c.yaml:1:7: niceness is from -20 to 19"));
        assert!(said("cpu: 0s\n").contains("no CPU time at all"));
        assert!(said("memory: 0\n").contains("no memory at all"));
        assert!(said("{io_class: idle, io_level: 3}\n").contains(":1:28: only io_class: realtime"));
        assert!(said("{io_class: realtime, io_level: 8}\n").contains("a level is from 0 to 7"));
        assert!(said("io_class: best\n").contains("expected realtime, best-effort or idle"));
    }
}
