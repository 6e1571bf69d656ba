//! `filefd`: open files of the whole host, from `/proc/sys/fs/file-nr`.
//!
//! | metric | type |
//! | --- | --- |
//! | `node_filefd_allocated`, `node_filefd_maximum` | gauge |
//!
//! Configuration: none.

use super::{CollectError, Collector, KernelFile, Roots, fields, number};
use crate::model::Writer;

crate::section! {
    /// `collectors.filefd`.
    pub struct FilefdConfig {}
}

/// The `filefd` collector.
pub struct Filefd {
    file: KernelFile,
}

impl Filefd {
    pub fn new(_: &FilefdConfig, roots: &Roots) -> Filefd {
        Filefd { file: KernelFile::new(roots.proc("sys/fs/file-nr")) }
    }
}

impl Collector for Filefd {
    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        // The second field, free handles, is 0 since Linux 2.6.
        let found = {
            let mut found = fields(self.file.read()?).map(number);
            (found.next(), found.next(), found.next())
        };
        let (Some(Some(allocated)), Some(_), Some(Some(maximum))) = found else {
            return Err(CollectError::parse(self.file.path(), 1, "not three numbers"));
        };
        out.gauge("node_filefd_allocated", "File descriptor statistics: allocated.", []).put([], allocated);
        out.gauge("node_filefd_maximum", "File descriptor statistics: maximum.", []).put([], maximum);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::{Runner, Tree, conforms, never_panics};

    const GOOD: &str = "1024\t0\t1631329\n";

    fn build(roots: &Roots) -> Filefd {
        Filefd::new(&FilefdConfig::default(), roots)
    }

    #[test]
    fn allocated_and_maximum() {
        let tree = Tree::new(&[("proc/sys/fs/file-nr", GOOD)]);
        let mut run = Runner::new(build(&tree.roots()));
        assert_eq!(run.lines(), ["node_filefd_allocated 1024", "node_filefd_maximum 1631329"]);
        tree.write("proc/sys/fs/file-nr", "1 2");
        assert!(run.failure().1.ends_with("file-nr:1: not three numbers"));
    }

    #[test]
    fn garbage_never_panics() {
        never_panics(&[("proc/sys/fs/file-nr", GOOD)], build);
    }

    #[test]
    fn as_node_exporter() {
        conforms(&["proc/sys/fs/file-nr"], |name| name.starts_with("node_filefd"), build);
    }
}
