//! `processes` and `collectors.processes`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::naming::GroupItems;
use crate::collect::search::Search;
use crate::yaml::{Faults, Node};

/// What of a command line looks like a secret: the value of a word that says so, and a password within a URL.
pub(super) const REDACT: &str = concat!(
    r"(?i)(?:pass(?:word|wd|phrase)?|token|secret|api[-_]?key|access[-_]?key|credentials?|authorization)",
    r"[=: ]+(?:(?:bearer|basic) )?(\S+)|://[^/\s:@]*:([^@\s]+)@"
);

crate::section! {
    check = check;
    /// `processes`: groups of processes and the top ones.
    pub struct ProcessesConfig {
        /// Whether groups (`namedprocess_namegroup_*`) and top processes (`watchfire_process_*`) are served.
        pub enabled: bool = true,
        /// Whether each birth, program executed and end is taken from the kernel, so that no process is missed however
        /// short it lives; needs CAP_NET_ADMIN.
        pub events: bool = true,
        /// How many processes are served by themselves: this many by CPU, by memory, by I/O and by open files.
        pub top: usize = 10,
        /// How long a process must have been at the top before it is served: on a host that builds or runs scripts, the
        /// top is full of processes that live for a second, and each would leave series in the history.
        pub top_after: Duration = Duration::from_secs(5),
        /// How long a process that left the top is still served, so that graphs are not confetti.
        pub top_grace: Duration = Duration::from_secs(30),
        /// Whether the top processes have their command line as a label; it may hold what is not for everybody.
        pub command_lines: bool = false,
        /// What of a command line is replaced by `[redacted]`: what the groups of this pattern match, or all that it
        /// matches if it has none.
        pub redact: Search = Search::fixed(REDACT),
        /// Whether proportional memory is read, in which a page counts by how many processes have it.
        pub smaps: bool = true,
        /// How often it is read of each process; it takes at most a thousandth of a CPU, and so longer if it is much.
        pub smaps_interval: Duration = Duration::from_secs(60),
        /// Which processes are a group, in process-exporter's words: its `process_names`, or its whole file. Without, a
        /// group for each name (`comm`), and one for all kernel threads.
        pub groups: GroupItems = GroupItems::default(),
        /// The same in a file of its own: process-exporter's.
        pub groups_file: Option<PathBuf> = None,
        /// Whether a process that is in no group itself is in the one of its parent, or of the parent's parent.
        pub children: bool = true,
        /// Whether a process is given its name again when it is read anew, not only when it executes a program: for those
        /// that change their own command line.
        pub recheck: bool = false,
        /// How many processes a group should have at least: groups that are shown from the start, and told of when fewer
        /// are there.
        pub wanted: BTreeMap<String, u32> = BTreeMap::new(),
        /// How many groups there may be; processes past that go to the group `other`.
        pub max_groups: usize = 200,
        /// After how many ticks a process is read again even though nothing shows that it has run. 1 reads all of every
        /// process in every tick.
        pub refresh_ticks: u32 = 15,
        /// How many files of processes stay open between ticks, one of each process. It spares the opening, which is
        /// four fifths of what a process that sleeps costs, and takes about 5 KiB of the kernel's memory; at most a
        /// quarter of the descriptors that the agent may have open is used.
        pub kept_files: usize = 1024,
    }
}

crate::section! {
    /// `collectors.processes`: counts of all processes and threads, as node_exporter gives them.
    pub struct ProcessesCollectorConfig {
        /// Whether `node_processes_threads_state` is served, which reads each thread of every process that has more
        /// than one.
        pub thread_states: bool = true,
        /// How old the counts of threads by state may be: threads are many, and reading them is dear.
        pub thread_states_interval: Duration = Duration::from_secs(15),
    }
}

impl ProcessesConfig {
    /// Makes relative paths start at `dir`, the directory of the configuration.
    pub fn resolve_paths(&mut self, dir: &Path) {
        if let Some(path) = &mut self.groups_file {
            *path = dir.join(&*path);
        }
    }

    /// Reads `groups_file` into `groups`. `node` is the section, for the place of its faults; `faults` must have been told
    /// of its file.
    pub fn read_groups_file(&mut self, node: Option<&Node>, faults: &mut Faults) {
        let (Some(path), Some(named)) = (&self.groups_file, node.and_then(|node| node.get("groups_file"))) else {
            return;
        };
        let items = GroupItems::read_file(path, named, faults);
        if self.groups.0.is_none() {
            self.groups = items;
        }
    }
}

fn check(section: &mut ProcessesConfig, node: &Node, faults: &mut Faults) {
    if let (Some(_), Some(file)) = (node.get("groups").filter(|groups| !groups.is_null()), &section.groups_file) {
        let at = node.get("groups_file").map_or(node.at, |node| node.at);
        faults.error(at, format!("groups are given here too: say them there or in {}", file.display()));
    }
    let mut bounds = |key: &str, value: usize, least: usize, most: usize| {
        if !(least..=most).contains(&value) {
            let at = node.entries().iter().find(|(k, _)| k.name == key).map_or(node.at, |(_, value)| value.at);
            faults.error(at, format!("{key} must be from {least} to {most}"));
        }
    };
    bounds("top", section.top, 0, 1000);
    bounds("max_groups", section.max_groups, 1, 100_000);
    bounds("refresh_ticks", section.refresh_ticks as usize, 1, 3600);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::Document;

    #[test]
    fn limits_are_checked_where_they_stand() {
        let mut faults = Faults::default();
        let text = "enabled: true\ntop: 5000\nmax_groups: 0\nrefresh_ticks: 5\n";
        let section: ProcessesConfig = Document::parse("w.yaml", text, &mut faults).read(&mut faults);
        assert_eq!(section.refresh_ticks, 5);
        let said = faults.to_string();
        assert!(said.contains("w.yaml:2:6: top must be from 0 to 1000"), "{said}");
        assert!(said.contains("w.yaml:3:13: max_groups must be from 1 to 100000"), "{said}");
    }
}
