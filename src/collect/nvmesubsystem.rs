//! `nvmesubsystem`: the subsystems of NVMe over fabrics and the controllers that lead to each, from
//! `/sys/class/nvme-subsystem/`.
//!
//! | metric | type | labels |
//! | --- | --- | --- |
//! | `node_nvmesubsystem_info` | gauge, always 1 | `subsystem`, `nqn`, `model`, `serial`, `iopolicy` |
//! | `node_nvmesubsystem_namespace_info` | gauge, always 1 | `subsystem`, `device`: the block device |
//! | `node_nvmesubsystem_paths`, `node_nvmesubsystem_paths_live` | gauge | `subsystem` |
//! | `node_nvmesubsystem_path_state` | gauge, 1 for the state that holds | `subsystem`, `controller`, `transport`, `state`: `live`, `connecting`, `resetting`, `dead`, `unknown` |
//!
//! A controller that is new or being deleted is in none of the states, as node_exporter has it.
//!
//! Configuration: none.

use std::path::{Path, PathBuf};

use super::devices::{Reading, devices, devices_if_any};
use super::gathered::{Gathered, Label};
use super::{CollectError, Collector, Roots};
use crate::model::Writer;

crate::section! {
    /// `collectors.nvmesubsystem`.
    pub struct NvmesubsystemConfig {}
}

/// The files of a subsystem, and the labels of its info.
const TEXTS: [(&str, &str); 4] =
    [("subsysnqn", "nqn"), ("model", "model"), ("serial", "serial"), ("iopolicy", "iopolicy")];

const STATES: [&str; 5] = ["live", "connecting", "resetting", "dead", "unknown"];
/// States of a controller that have no series.
const PASSING: [&str; 3] = ["new", "deleting", "deleting (no IO)"];

/// The `nvmesubsystem` collector.
pub struct Nvmesubsystem {
    class: PathBuf,
    reading: Reading,
}

impl Nvmesubsystem {
    pub fn new(_: &NvmesubsystemConfig, roots: &Roots) -> Nvmesubsystem {
        Nvmesubsystem { class: roots.sys("class/nvme-subsystem"), reading: Reading::default() }
    }

    fn subsystem(&mut self, subsystem: Label, folder: &Path, out: &mut Gathered) -> Result<(), CollectError> {
        let texts = TEXTS.map(|(file, label)| {
            (label, self.reading.text(&folder.join(file)).map(<[u8]>::to_vec).unwrap_or_default())
        });
        let labels: Vec<Label> = std::iter::once(subsystem).chain(texts.iter().map(|(n, v)| (*n, &**v))).collect();
        let help = "Non-numeric information about an NVMe subsystem.";
        out.gauge("node_nvmesubsystem_info", help, &labels, 1.0);

        let (mut paths, mut live) = (0.0, 0.0);
        for (name, folder) in devices_if_any(folder)? {
            match Member::of(&name) {
                Some(Member::Namespace) => {
                    let help = "Maps an NVMe namespace block device to its subsystem.";
                    let labels = [subsystem, ("device", &*name)];
                    out.gauge("node_nvmesubsystem_namespace_info", help, &labels, 1.0);
                }
                Some(Member::Controller) => {
                    paths += 1.0;
                    live += f64::from(u8::from(self.controller([subsystem, ("controller", &name)], &folder, out)));
                }
                None => {}
            }
        }
        let help = "Number of controller paths for an NVMe subsystem.";
        out.gauge("node_nvmesubsystem_paths", help, &[subsystem], paths);
        let help = "Number of controller paths in live state for an NVMe subsystem.";
        out.gauge("node_nvmesubsystem_paths_live", help, &[subsystem], live);
        Ok(())
    }

    /// Writes a controller's state; whether it is live.
    fn controller(&mut self, [subsystem, controller]: [Label; 2], folder: &Path, out: &mut Gathered) -> bool {
        let [state, transport] = self.reading.texts(folder, ["state", "transport"]).map(Option::unwrap_or_default);
        let known = |names: &[&'static str]| names.iter().copied().find(|name| name.as_bytes() == state);
        let holds = known(&STATES).or_else(|| known(&PASSING)).unwrap_or("unknown");
        for state in STATES {
            let labels = [subsystem, controller, ("transport", &*transport), ("state", state.as_bytes())];
            let help = "Current NVMe controller path state (1 for the current state, 0 for all others).";
            out.gauge("node_nvmesubsystem_path_state", help, &labels, f64::from(u8::from(state == holds)));
        }
        holds == "live"
    }
}

impl Collector for Nvmesubsystem {
    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        let mut gathered = Gathered::default();
        for (name, folder) in devices(&self.class)? {
            if name.starts_with(b"nvme-subsys") {
                let done = self.subsystem(("subsystem", &name), &folder, &mut gathered);
                gathered.keep(done);
            }
        }
        gathered.write(out)?;
        self.reading.finish()
    }
}

/// What a subsystem's folder has a link to.
#[derive(PartialEq, Debug)]
enum Member {
    /// `nvme0`
    Controller,
    /// `nvme0n1`; not `nvme0c1n1`, which is one path to it.
    Namespace,
}

impl Member {
    fn of(name: &[u8]) -> Option<Member> {
        let digits = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_digit);
        let mut numbers = name.strip_prefix(b"nvme")?.splitn(2, |b| *b == b'n');
        match (numbers.next(), numbers.next()) {
            (Some(controller), None) if digits(controller) => Some(Member::Controller),
            (Some(controller), Some(namespace)) if digits(controller) && digits(namespace) => Some(Member::Namespace),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::{Runner, Tree, never_panics};

    const FILES: [(&str, &str); 11] = [
        ("sys/class/nvme-subsystem/nvme-subsys0/subsysnqn", "nqn.2014-08.org.example:one\n"),
        ("sys/class/nvme-subsystem/nvme-subsys0/model", "Array   \n"),
        ("sys/class/nvme-subsystem/nvme-subsys0/serial", "S1\n"),
        ("sys/class/nvme-subsystem/nvme-subsys0/iopolicy", "numa\n"),
        ("sys/class/nvme-subsystem/nvme-subsys0/nvme0/state", "live\n"),
        ("sys/class/nvme-subsystem/nvme-subsys0/nvme0/transport", "tcp\n"),
        ("sys/class/nvme-subsystem/nvme-subsys0/nvme1/state", "deleting (no IO)\n"),
        ("sys/class/nvme-subsystem/nvme-subsys0/nvme1/transport", "tcp\n"),
        ("sys/class/nvme-subsystem/nvme-subsys0/nvme0n1/size", "8\n"),
        ("sys/class/nvme-subsystem/nvme-subsys0/nvme0c0n1/size", "8\n"),
        ("sys/class/nvme-subsystem/other/model", "x\n"),
    ];

    fn build(roots: &Roots) -> Nvmesubsystem {
        Nvmesubsystem::new(&NvmesubsystemConfig::default(), roots)
    }

    #[test]
    fn paths_by_subsystem_and_their_states() {
        let state = |controller: &str, state: &str, value: u8| {
            format!(
                "node_nvmesubsystem_path_state{{subsystem=\"nvme-subsys0\",controller=\"{controller}\",\
                 transport=\"tcp\",state=\"{state}\"}} {value}"
            )
        };
        let mut expected = vec![
            "node_nvmesubsystem_info{subsystem=\"nvme-subsys0\",nqn=\"nqn.2014-08.org.example:one\",model=\"Array\",\
             serial=\"S1\",iopolicy=\"numa\"} 1"
                .to_string(),
        ];
        expected.extend(STATES.map(|s| state("nvme0", s, u8::from(s == "live"))));
        expected.extend(STATES.map(|s| state("nvme1", s, 0)));
        expected.extend(
            [
                "namespace_info{subsystem=\"nvme-subsys0\",device=\"nvme0n1\"} 1",
                "paths{subsystem=\"nvme-subsys0\"} 2",
                "paths_live{subsystem=\"nvme-subsys0\"} 1",
            ]
            .map(|line| format!("node_nvmesubsystem_{line}")),
        );
        assert_eq!(Runner::new(build(&Tree::new(&FILES).roots())).lines(), expected);
    }

    #[test]
    fn a_state_that_nobody_knows_is_unknown() {
        let tree = Tree::new(&FILES);
        tree.write("sys/class/nvme-subsystem/nvme-subsys0/nvme0/state", "sleeping\n");
        let lines = Runner::new(build(&tree.roots())).lines();
        let of_state = |state: &str| lines.iter().find(|l| l.contains("\"nvme0\"") && l.contains(state)).unwrap();
        assert!(of_state("\"unknown\"").ends_with(" 1") && of_state("\"live\"").ends_with(" 0"), "{lines:#?}");
    }

    #[test]
    fn which_folders_are_controllers_and_which_namespaces() {
        assert_eq!(Member::of(b"nvme10"), Some(Member::Controller));
        assert_eq!(Member::of(b"nvme1n12"), Some(Member::Namespace));
        for name in ["nvme", "nvme-subsys0", "nvme0c1n1", "nvme0n", "nvmen1", "nvme0n1p1", "power", "nvme0n1n2"] {
            assert_eq!(Member::of(name.as_bytes()), None, "{name}");
        }
    }

    #[test]
    fn a_host_without_subsystems_has_no_data() {
        let (lines, error) = Runner::new(build(&Tree::new::<&str>(&[]).roots())).failure();
        assert!(lines.is_empty() && error.starts_with("no data: "), "{error}");
    }

    #[test]
    fn garbage_never_panics() {
        never_panics(&FILES, build);
    }
}
