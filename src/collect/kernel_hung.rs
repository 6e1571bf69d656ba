//! `kernel_hung`: tasks that the kernel's watchdog found hung since boot, from `/proc/sys/kernel/hung_task_detect_count`.
//!
//! | metric | type |
//! | --- | --- |
//! | `node_kernel_hung_tasks_total` | counter |
//!
//! Not there before Linux 6.13, or in a kernel without the watchdog (`CONFIG_DETECT_HUNG_TASK`).
//!
//! Configuration: none.

use super::{CollectError, Collector, KernelFile, Roots};
use crate::model::Writer;

crate::section! {
    /// `collectors.kernel_hung`.
    pub struct KernelHungConfig {}
}

/// The `kernel_hung` collector.
pub struct KernelHung {
    file: KernelFile,
}

impl KernelHung {
    pub fn new(_: &KernelHungConfig, roots: &Roots) -> KernelHung {
        KernelHung { file: KernelFile::new(roots.proc("sys/kernel/hung_task_detect_count")) }
    }
}

impl Collector for KernelHung {
    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        let tasks = self.file.number()?;
        let help = "Total number of tasks that have been detected as hung since the system booted.";
        out.counter("node_kernel_hung_tasks_total", help, []).put([], tasks);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::{Runner, Tree, conforms, never_panics};

    const GOOD: [(&str, &str); 1] = [("proc/sys/kernel/hung_task_detect_count", "42\n")];

    fn build(roots: &Roots) -> KernelHung {
        KernelHung::new(&KernelHungConfig::default(), roots)
    }

    #[test]
    fn hung_tasks_where_the_kernel_counts_them() {
        let tree = Tree::new(&GOOD);
        let mut run = Runner::new(build(&tree.roots()));
        assert_eq!(run.lines(), ["node_kernel_hung_tasks_total 42"]);
        let older = Tree::new::<&str>(&[]);
        let (lines, error) = Runner::new(build(&older.roots())).failure();
        assert!(lines.is_empty() && error.starts_with("no data:"), "{error}");
    }

    #[test]
    fn garbage_never_panics() {
        never_panics(&GOOD, build);
    }

    #[test]
    fn as_node_exporter() {
        conforms(&["proc/sys/kernel/hung_task_detect_count"], |n| n.starts_with("node_kernel_hung_"), build);
    }
}
