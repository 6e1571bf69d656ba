//! `processes` and `collectors.processes`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::naming::GroupItems;
use crate::collect::search::Search;
use crate::model::format_duration;
use crate::yaml::{Faults, Node};

/// The longest time between two rounds over all threads: a quarter of an hour without any makes a name free.
const LONGEST_INTERVAL: Duration = Duration::from_secs(300);

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
        /// How often it is read of each process; it takes at most two thousandths of a CPU, and so longer if it is much.
        pub smaps_interval: Duration = Duration::from_secs(60),
        /// Whether what threads use is read too, and served by name: of processes with several threads.
        pub threads: bool = false,
        /// How often threads are read; each costs as much as a process.
        pub threads_interval: Duration = Duration::from_secs(5),
        /// Whether it is read where in the kernel threads wait, as often as that.
        pub wchan: bool = false,
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
        let at = node.place("groups_file");
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
    if section.threads_interval > LONGEST_INTERVAL {
        let at = node.place("threads_interval");
        faults.error(at, format!("threads_interval must be at most {}", format_duration(LONGEST_INTERVAL)));
    }
    if section.smaps_interval < Duration::from_secs(1) {
        let at = node.place("smaps_interval");
        faults.error(at, "smaps_interval must be at least 1s; smaps: false switches it off");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::Document;

    fn read(text: &str) -> (ProcessesConfig, String) {
        let mut faults = Faults::default();
        let section = Document::parse("w.yaml", text, &mut faults).read(&mut faults);
        (section, faults.to_string())
    }

    #[test]
    fn groups_are_a_list_of_items_or_a_file_of_process_exporter() {
        let list = "[{comm: [a]}, {name: '{{.Comm}}', exe: [b], cmdline: [c]}]";
        for text in [format!("groups: {list}\n"), format!("groups: {{process_names: {list}}}\n")] {
            let (section, said) = read(&text);
            assert_eq!((section.groups.0.map(|items| items.len()), said.as_str()), (Some(2), ""), "{text}");
        }
        let (section, said) = read("groups:\nwanted: {nginx: 2}\nchildren: false\nrecheck: true\n");
        assert!(section.groups.0.is_none() && said.is_empty() && !section.children && section.recheck);
        assert_eq!(section.wanted, BTreeMap::from([("nginx".to_string(), 2)]));
        assert_eq!(read("groups: []\n").0.groups.0.map(|items| items.len()), Some(0), "no process is in a group");
    }

    #[test]
    fn what_is_wrong_with_an_item_is_said_where_it_stands() {
        for (item, expected) in [
            ("{name: all}", "1:10: which processes? comm, exe or cmdline must say"),
            ("{comm: }", "1:10: which processes?"),
            ("{comm: bash}", "1:17: expected a list, found bash"),
            ("bash", "1:10: expected a mapping, found bash"),
            ("{comm: [bash], exec: [x]}", "1:25: unknown key \"exec\", did you mean \"exe\"?"),
            ("{cmdline: ['(']}", "1:21: not a regular expression: a parenthesis is not closed"),
            (
                "{cmdline: ['a', 'a(?=b)']}",
                "1:26: not a regular expression: (?=b) is not known (there is no look-around)",
            ),
            ("{cmdline: ['\\p{Nope}']}", "1:21: not a regular expression: Unicode property not found"),
            ("{comm: [a], name: 'x{{.Com}}'}", "1:32: template of the name: there is no .Com, only .Cgroups, .Comm,"),
            ("{comm: [a], name: '{{.Comm'}", "template of the name: "),
            ("{comm: [a], name: '{{lower .Comm}}'}", "1:31: template of the name: function \"lower\" not defined"),
            ("{comm: [a], name: [x]}", "1:28: expected a text, found a list"),
            ("{comm: []}", "1:17: warning: an empty comm is met by no process"),
            (
                "{comm: [prometheus-process-exporter]}",
                "1:18: warning: the kernel keeps 15 bytes of a program's name: \"prometheus-proc\"",
            ),
            (
                "{cmdline: ['(?P<a>.)'], name: '{{.Matches.a}}{{.Matches.b}}'}",
                "1:57: warning: nothing in cmdline captures \"b\"",
            ),
        ] {
            let said = read(&format!("groups: [{item}]\n")).1;
            assert!(said.contains(&format!("w.yaml:{expected}")) || said.contains(expected), "{item}\n{said}");
            assert_eq!(said.matches("w.yaml:").count(), 1, "{said}");
        }
    }

    #[test]
    fn a_file_of_groups_says_its_faults_itself() {
        let dir = tempfile::tempdir().unwrap();
        let load = |text: &str, groups: &str| {
            std::fs::write(dir.path().join("groups.yml"), groups).unwrap();
            let mut faults = Faults::default();
            let document = Document::parse("w.yaml", text, &mut faults);
            let mut section: ProcessesConfig = document.read(&mut faults);
            section.resolve_paths(dir.path());
            section.read_groups_file(Some(&document.root), &mut faults);
            // The next fault is one of the configuration again.
            faults.warn(Default::default(), "next");
            let said = faults.to_string().replace(&format!("{}/", dir.path().display()), "");
            assert!(said.contains("w.yaml: warning: next"), "{said}");
            (section.groups.0, said.replace("w.yaml: warning: next\n", ""))
        };
        let (items, said) = load("groups_file: groups.yml\n", "process_names:\n- comm: [a]\n");
        assert_eq!((items.map(|items| items.len()), said.as_str()), (Some(1), ""));
        for (text, groups, expected) in [
            ("groups_file: gone.yml\n", "", "w.yaml:1:14: cannot read the groups in gone.yml: No such file"),
            ("groups_file: .\n", "", "not a regular file"),
            (
                "groups_file: groups.yml\n",
                "process_names:\n- comm: [a]\n  cmd: [b]\n",
                "groups.yml:3:3: unknown key \"cmd\"",
            ),
            (
                "groups_file: groups.yml\n",
                "process_name: []\n",
                "groups.yml:1:1: unknown key \"process_name\", did you mean \"process_names\"?",
            ),
            ("groups_file: groups.yml\n", "", "w.yaml:1:14: warning: groups.yml has no process_names"),
            (
                "groups: [{comm: [a]}]\ngroups_file: groups.yml\n",
                "process_names: [{comm: [a]}]\n",
                "w.yaml:2:14: groups are given here too: say them there or in groups.yml",
            ),
        ] {
            let said = load(text, groups).1;
            assert!(
                said.contains(expected) && said.matches(".yaml:").count() + said.matches("groups.yml:").count() <= 2,
                "{text}{groups}\n{said}"
            );
        }
    }

    #[test]
    fn a_file_that_has_changed_makes_another_collector() {
        let dir = tempfile::tempdir().unwrap();
        let shown = |groups: &str| {
            std::fs::write(dir.path().join("g.yml"), groups).unwrap();
            let mut faults = Faults::default();
            let document = Document::parse("w.yaml", "groups_file: g.yml\n", &mut faults);
            let mut section: ProcessesConfig = document.read(&mut faults);
            section.resolve_paths(dir.path());
            section.read_groups_file(Some(&document.root), &mut faults);
            format!("{section:?}")
        };
        let before = shown("process_names: [{comm: [a]}]\n");
        assert_eq!(before, shown("process_names: [{comm: [a]}]\n"));
        for other in ["{comm: [b]}", "{comm: [a], name: x}", "{comm: [a], cmdline: [x]}", "{exe: [a]}"] {
            assert_ne!(before, shown(&format!("process_names: [{other}]\n")));
        }
    }

    #[test]
    fn limits_are_checked_where_they_stand() {
        let mut faults = Faults::default();
        let text = "enabled: true\ntop: 5000\nmax_groups: 0\nrefresh_ticks: 5\nthreads_interval: 6m\n";
        let section: ProcessesConfig = Document::parse("w.yaml", text, &mut faults).read(&mut faults);
        assert_eq!(section.refresh_ticks, 5);
        let said = faults.to_string();
        assert!(said.contains("w.yaml:2:6: top must be from 0 to 1000"), "{said}");
        assert!(said.contains("w.yaml:3:13: max_groups must be from 1 to 100000"), "{said}");
        assert!(said.contains("w.yaml:5:19: threads_interval must be at most 5m"), "{said}");
    }
}
