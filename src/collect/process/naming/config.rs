//! `processes.groups`, and the files that `processes.groups_file` names: process-exporter's `process_names`.

use std::path::Path;

use super::name::GroupName;
use super::pattern::CommandPattern;
use crate::yaml::{Document, Faults, FromYaml, Node, Value, read_text};

/// Bytes that the kernel keeps of a program's name.
const COMM_BYTES: usize = 15;

crate::section! {
    check = check;
    /// Which processes are meant, and how their group is called; all that is said must hold.
    pub struct GroupItem {
        /// The group's name, a Go template: `{{.Comm}}`, `{{.ExeBase}}`, `{{.ExeFull}}`, `{{.Username}}`, `{{.PID}}`,
        /// `{{.StartTime}}`, `{{.Cgroups}}`, and `{{.Matches.NAME}}` of what `cmdline` captures as `(?P<NAME>...)`.
        pub name: GroupName = GroupName::default(),
        /// Names of programs, of which one must be the process' (`comm`), 15 bytes at most.
        pub comm: Option<Vec<String>> = None,
        /// Programs of which one must be the first word of the command line: the whole of it where a slash is in it,
        /// else its last part.
        pub exe: Option<Vec<String>> = None,
        /// Regular expressions that must all be found in the command line, its words joined by spaces.
        pub cmdline: Option<Vec<CommandPattern>> = None,
    }
}

fn check(item: &mut GroupItem, node: &Node, faults: &mut Faults) {
    if ["comm", "exe", "cmdline"].iter().all(|key| node.get(key).is_none_or(Node::is_null)) {
        faults.error(node.at, "which processes? comm, exe or cmdline must say");
    }
    for (key, list) in [("comm", &item.comm), ("exe", &item.exe)] {
        if let (Some([]), Some(node)) = (list.as_deref(), node.get(key))
            && node.items().is_empty()
        {
            faults.warn(node.at, format!("an empty {key} is met by no process"));
        }
    }
    for name in node.get("comm").map_or(&[][..], Node::items) {
        // Those of kernel threads may be longer.
        let text = name.as_str().unwrap_or("");
        if text.len() > COMM_BYTES && !text.contains('/') {
            let kept = String::from_utf8_lossy(text.as_bytes().get(..COMM_BYTES).unwrap_or(&[])).into_owned();
            faults.warn(name.at, format!("the kernel keeps {COMM_BYTES} bytes of a program's name: {kept:?}"));
        }
    }
    let Some(name) = node.get("name") else { return };
    for (capture, line, column) in item.name.captures() {
        if !item.cmdline.iter().flatten().any(|pattern| pattern.names().any(|name| name == capture)) {
            let at = faults.place(name, line, column);
            faults.warn(at, format!("nothing in cmdline captures {capture:?}: (?P<{capture}>...)"));
        }
    }
}

crate::section! {
    /// A configuration file of process-exporter.
    pub struct GroupsFile {
        /// The items, of which the first that a process meets names its group.
        pub process_names: Vec<GroupItem> = Vec::new(),
    }
}

/// `processes.groups`: process-exporter's `process_names`, or its whole file; none for groups by `comm`.
#[derive(Clone, Default, Debug)]
pub struct GroupItems(pub Option<Vec<GroupItem>>);

impl FromYaml for GroupItems {
    fn from_yaml(node: &Node, faults: &mut Faults) -> Option<Self> {
        let items = match &node.value {
            Value::Mapping(_) => GroupsFile::from_yaml(node, faults)?.process_names,
            _ => Vec::from_yaml(node, faults)?,
        };
        Some(GroupItems(Some(items)))
    }

    fn key_paths(path: &str, paths: &mut Vec<String>) {
        Vec::<GroupItem>::key_paths(path, paths);
    }
}

impl GroupItems {
    /// Reads a file of process-exporter. What is wrong with the file as a whole is said at `named`, where it was named;
    /// `faults` must have been told of that file.
    pub(in crate::collect::process) fn read_file(path: &Path, named: &Node, faults: &mut Faults) -> GroupItems {
        let text = match read_text(path) {
            Ok(text) => text,
            Err(error) => {
                faults.error(named.at, format!("cannot read the groups in {}: {error}", path.display()));
                return GroupItems::default();
            }
        };
        // They name their own file.
        let mut within = Faults::default();
        let document = Document::parse(&path.display().to_string(), &text, &mut within);
        let mut items: GroupItems = document.read(&mut within);
        if within.is_empty() && items.0.as_ref().is_none_or(Vec::is_empty) {
            faults.warn(named.at, format!("{} has no process_names: no process is in a group", path.display()));
        }
        items.0.get_or_insert_default();
        faults.extend(within);
        items
    }
}
