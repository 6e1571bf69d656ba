//! `cpu_vulnerabilities`: known faults of the CPUs and what the kernel does about them, from
//! `/sys/devices/system/cpu/vulnerabilities`.
//!
//! | metric | type | labels |
//! | --- | --- | --- |
//! | `node_cpu_vulnerabilities_info` | gauge, always 1 | `codename`, `state`: `not affected`, `vulnerable`, `mitigation` or `unknown`, `mitigation`: how, in the kernel's words |
//!
//! Configuration: none.

use std::path::PathBuf;

use super::devices::{Reading, devices_if_any};
use super::{CollectError, Collector, Roots, fields};
use crate::model::Writer;

crate::section! {
    /// `collectors.cpu_vulnerabilities`.
    pub struct CpuVulnerabilitiesConfig {}
}

/// The `cpu_vulnerabilities` collector.
pub struct CpuVulnerabilities {
    folder: PathBuf,
    reading: Reading,
}

impl CpuVulnerabilities {
    pub fn new(_: &CpuVulnerabilitiesConfig, roots: &Roots) -> CpuVulnerabilities {
        CpuVulnerabilities { folder: roots.sys("devices/system/cpu/vulnerabilities"), reading: Reading::default() }
    }
}

impl Collector for CpuVulnerabilities {
    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        let help = "Details of each CPU vulnerability reported by sysfs. The value is always 1; the state and what is done \
                    about it are labels.";
        let labels = ["codename", "state", "mitigation"];
        let mut family = out.gauge("node_cpu_vulnerabilities_info", help, labels);
        for (name, path) in devices_if_any(&self.folder)? {
            if let Some(text) = self.reading.text(&path) {
                let (state, mitigation) = state(text);
                family.put([&name, state.as_bytes(), &mitigation], 1.0);
            }
        }
        self.reading.finish()
    }
}

/// The state and the mitigation of a line such as `Mitigation: Clear CPU buffers; SMT vulnerable`. One that begins with
/// none of the states' names (`KVM: Mitigation: VMX disabled`) is itself the mitigation.
fn state(text: &[u8]) -> (&'static str, Vec<u8>) {
    let begins = |state: &&str| text.get(..state.len()).is_some_and(|t| t.eq_ignore_ascii_case(state.as_bytes()));
    match ["not affected", "vulnerable", "mitigation", "unknown"].into_iter().find(begins) {
        Some("not affected") => ("not affected", Vec::new()),
        Some(state) => (state, fields(text).skip(1).collect::<Vec<_>>().join(&b' ')),
        None => ("unknown", text.to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::{Runner, Tree, conforms, never_panics};

    const FOLDER: &str = "sys/devices/system/cpu/vulnerabilities";

    fn build(roots: &Roots) -> CpuVulnerabilities {
        CpuVulnerabilities::new(&CpuVulnerabilitiesConfig::default(), roots)
    }

    #[test]
    fn each_has_a_state_and_a_mitigation() {
        let states = [
            ("Not affected", "not affected", ""),
            ("Vulnerable", "vulnerable", ""),
            ("Vulnerable: No microcode", "vulnerable", "No microcode"),
            ("Mitigation: Clear CPU buffers; SMT vulnerable", "mitigation", "Clear CPU buffers; SMT vulnerable"),
            ("Unknown: No mitigations", "unknown", "No mitigations"),
            ("KVM: Mitigation: VMX disabled", "unknown", "KVM: Mitigation: VMX disabled"),
            ("", "unknown", ""),
        ];
        for (text, state, mitigation) in states {
            let tree = Tree::new(&[(&*format!("{FOLDER}/mds"), &*format!("{text}\n"))]);
            let info = format!(
                "node_cpu_vulnerabilities_info{{codename=\"mds\",state=\"{state}\",mitigation=\"{mitigation}\"}} 1"
            );
            assert_eq!(Runner::new(build(&tree.roots())).lines(), [info]);
        }
    }

    #[test]
    fn a_kernel_that_knows_of_none_has_nothing_to_say() {
        assert!(Runner::new(build(&Tree::new::<&str>(&[]).roots())).lines().is_empty());
    }

    #[test]
    fn garbage_never_panics() {
        let files = [(&*format!("{FOLDER}/mds"), "Vulnerable\n"), (&*format!("{FOLDER}/l1tf"), "Mitigation: PTE\n")];
        never_panics(&files, build);
    }

    #[test]
    fn as_node_exporter() {
        conforms(&[FOLDER], |name| name == "node_cpu_vulnerabilities_info", build);
    }
}
