//! `uname`: which kernel runs, and on what host.
//!
//! | metric | type | labels |
//! | --- | --- | --- |
//! | `node_uname_info` | gauge, always 1 | `sysname`, `release`, `version`, `machine`, `nodename`, `domainname` |
//!
//! From uname(2); from `/proc/sys/kernel` where procfs is not the running kernel's own, without `machine`, which stands
//! in none of its files.
//!
//! Configuration: none.

use super::{CollectError, Collector, KernelFile, Roots, trim};
use crate::model::Writer;

crate::section! {
    /// `collectors.uname`.
    pub struct UnameConfig {}
}

const LABELS: [&str; 6] = ["sysname", "release", "version", "machine", "nodename", "domainname"];

/// The `uname` collector.
pub struct Uname {
    /// sysname, release, version, nodename, domainname; `None` where the running kernel is asked.
    captured: Option<[KernelFile; 5]>,
}

impl Uname {
    pub fn new(_: &UnameConfig, roots: &Roots) -> Uname {
        let files = ["ostype", "osrelease", "version", "hostname", "domainname"];
        let captured = || files.map(|f| KernelFile::new(roots.proc("sys/kernel").join(f)));
        Uname { captured: (!roots.is_live()).then(captured) }
    }
}

fn put(out: &mut Writer, values: [&[u8]; 6]) {
    out.gauge("node_uname_info", "Labeled system information as provided by the uname system call.", LABELS)
        .put(values, 1.0);
}

impl Collector for Uname {
    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        match &mut self.captured {
            None => {
                let u = rustix::system::uname();
                let values = [u.sysname(), u.release(), u.version(), u.machine(), u.nodename(), u.domainname()];
                put(out, values.map(|v| v.to_bytes()));
            }
            Some([sysname, release, version, nodename, domainname]) => {
                let (sysname, release) = (trim(sysname.read()?), trim(release.read()?));
                let (version, nodename) = (trim(version.read()?), trim(nodename.read()?));
                put(out, [sysname, release, version, b"", nodename, trim(domainname.read()?)]);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::{Runner, Tree, never_panics};

    const GOOD: [(&str, &str); 5] = [
        ("proc/sys/kernel/ostype", "Linux\n"),
        ("proc/sys/kernel/osrelease", "6.12.1\n"),
        ("proc/sys/kernel/version", "#1 SMP\n"),
        ("proc/sys/kernel/hostname", "web1\n"),
        ("proc/sys/kernel/domainname", "(none)\n"),
    ];

    fn build(roots: &Roots) -> Uname {
        Uname::new(&UnameConfig::default(), roots)
    }

    #[test]
    fn the_running_kernel() {
        let lines = Runner::new(build(&Roots::default())).lines();
        let machine = format!("machine=\"{}\"", std::env::consts::ARCH);
        assert!(lines.len() == 1 && lines[0].contains("sysname=\"Linux\"") && lines[0].contains(&machine), "{lines:?}");
    }

    #[test]
    fn a_captured_kernel() {
        let lines = Runner::new(build(&Tree::new(&GOOD).roots())).lines();
        let expected = "node_uname_info{sysname=\"Linux\",release=\"6.12.1\",version=\"#1 SMP\",machine=\"\",\
            nodename=\"web1\",domainname=\"(none)\"} 1";
        assert_eq!(lines, [expected]);
    }

    #[test]
    fn garbage_never_panics() {
        never_panics(&GOOD, build);
    }
}
