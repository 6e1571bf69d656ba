//! `nfs`: what this host asked of NFS servers, from `/proc/net/rpc/nfs`.
//!
//! | metric | type | labels |
//! | --- | --- | --- |
//! | `node_nfs_packets_total` | counter | `protocol`: `udp` or `tcp` |
//! | `node_nfs_connections_total` | counter | |
//! | `node_nfs_rpcs_total`, `node_nfs_rpc_retransmissions_total`, `node_nfs_rpc_authentication_refreshes_total` | counter | |
//! | `node_nfs_requests_total` | counter | `proto`: `2`, `3` or `4`; `method` |
//!
//! The file is there when the NFS client is loaded. No configuration keys.

use super::{CollectError, Collector, KernelFile, Roots, fields, lines, number};
use crate::model::{MetricType, Writer};

crate::section! {
    /// `collectors.nfs`.
    pub struct NfsConfig {}
}

/// The procedures of NFS version 2, in the order in which the kernel numbers them; for the client and the server.
pub(super) const METHODS_2: [&str; 18] = [
    "Null", "GetAttr", "SetAttr", "Root", "Lookup", "ReadLink", "Read", "WrCache", "Write", "Create", "Remove",
    "Rename", "Link", "SymLink", "MkDir", "RmDir", "ReadDir", "FsStat",
];
/// The same of version 3.
pub(super) const METHODS_3: [&str; 22] = [
    "Null",
    "GetAttr",
    "SetAttr",
    "Lookup",
    "Access",
    "ReadLink",
    "Read",
    "Write",
    "Create",
    "MkDir",
    "SymLink",
    "MkNod",
    "Remove",
    "RmDir",
    "Rename",
    "Link",
    "ReadDir",
    "ReadDirPlus",
    "FsStat",
    "FsInfo",
    "PathConf",
    "Commit",
];
/// The client's procedures of version 4, by node_exporter's names and in its order.
const METHODS_4: [&str; 59] = [
    "Null",
    "Read",
    "Write",
    "Commit",
    "Open",
    "OpenConfirm",
    "OpenNoattr",
    "OpenDowngrade",
    "Close",
    "Setattr",
    "FsInfo",
    "Renew",
    "SetClientID",
    "SetClientIDConfirm",
    "Lock",
    "Lockt",
    "Locku",
    "Access",
    "Getattr",
    "Lookup",
    "LookupRoot",
    "Remove",
    "Rename",
    "Link",
    "Symlink",
    "Create",
    "Pathconf",
    "StatFs",
    "ReadLink",
    "ReadDir",
    "ServerCaps",
    "DelegReturn",
    "GetACL",
    "SetACL",
    "FsLocations",
    "ReleaseLockowner",
    "Secinfo",
    "FsidPresent",
    "ExchangeID",
    "CreateSession",
    "DestroySession",
    "Sequence",
    "GetLeaseTime",
    "ReclaimComplete",
    "GetDeviceInfo",
    "LayoutGet",
    "LayoutCommit",
    "LayoutReturn",
    "SecinfoNoName",
    "TestStateID",
    "FreeStateID",
    "GetDeviceList",
    "BindConnToSession",
    "DestroyClientID",
    "Seek",
    "Allocate",
    "DeAllocate",
    "LayoutStats",
    "Clone",
];

/// The `nfs` collector.
pub struct Nfs {
    file: KernelFile,
}

impl Nfs {
    pub fn new(_: &NfsConfig, roots: &Roots) -> Nfs {
        Nfs { file: KernelFile::new(roots.proc("net/rpc/nfs")) }
    }
}

impl Collector for Nfs {
    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        let written = write(self.file.read()?, out);
        written.map_err(|(line, what)| CollectError::parse(self.file.path(), line, what))
    }
}

fn write(text: &[u8], out: &mut Writer) -> Result<(), Fault> {
    let net = numbers(text, "net")?;
    let help = "Total network packets of the NFS client (sent and received) by protocol type.";
    put_labelled(out, ("node_nfs_packets_total", help, "protocol"), &net, &[("udp", 1), ("tcp", 2)]);
    const CONNECTIONS: Scalar =
        (3, MetricType::Counter, "node_nfs_connections_total", "Total number of TCP connections of the NFS client.");
    const RPC: [Scalar; 3] = [
        (0, MetricType::Counter, "node_nfs_rpcs_total", "Total number of RPCs performed."),
        (1, MetricType::Counter, "node_nfs_rpc_retransmissions_total", "Number of RPC transmissions performed again."),
        (
            2,
            MetricType::Counter,
            "node_nfs_rpc_authentication_refreshes_total",
            "Number of RPC authentication refreshes performed.",
        ),
    ];
    put_scalars(out, &net, &[CONNECTIONS]);
    put_scalars(out, &numbers(text, "rpc")?, &RPC);
    let counts = [numbers(text, "proc2")?, numbers(text, "proc3")?, numbers(text, "proc4")?];
    let mut family = out.counter("node_nfs_requests_total", "Number of NFS procedures invoked.", ["proto", "method"]);
    for ((proto, methods), counts) in [("2", &METHODS_2[..]), ("3", &METHODS_3), ("4", &METHODS_4)].iter().zip(&counts)
    {
        for (i, method) in methods.iter().enumerate() {
            // How many follow comes first. What this kernel's client does not know, it has not invoked: 0, as in
            // node_exporter.
            let count = counts.get(i + 1).copied().unwrap_or(0.0);
            family.put([proto.as_bytes(), method.as_bytes()], count);
        }
    }
    Ok(())
}

/// What is wrong with a text: the line from 1, and what.
pub(super) type Fault = (usize, String);

/// The numbers of the line that begins with `key`; none when there is no such line.
pub(super) fn numbers(text: &[u8], key: &str) -> Result<Vec<f64>, Fault> {
    /// More than any line of these files has.
    const MAX: usize = 256;
    for (i, line) in lines(text).enumerate() {
        let mut cells = fields(line);
        if cells.next() == Some(key.as_bytes()) {
            let read: Option<Vec<f64>> = cells.take(MAX).map(number).collect();
            return read.ok_or_else(|| (i + 1, format!("{key}: expected numbers")));
        }
    }
    Ok(Vec::new())
}

/// A number's place in its line, and the family without labels that it is.
pub(super) type Scalar = (usize, MetricType, &'static str, &'static str);

pub(super) fn put_scalars(out: &mut Writer, numbers: &[f64], scalars: &[Scalar]) {
    for (at, kind, name, help) in scalars {
        if let Some(value) = numbers.get(*at) {
            out.family(*kind, name, help, []).put([], *value);
        }
    }
}

/// Writes a family of counters (name, help, label) whose label values stand at places in a line.
pub(super) fn put_labelled(
    out: &mut Writer,
    (name, help, label): (&str, &str, &str),
    numbers: &[f64],
    places: &[(&str, usize)],
) {
    let mut family = out.counter(name, help, [label]);
    for (label, at) in places {
        if let Some(value) = numbers.get(*at) {
            family.put([label.as_bytes()], *value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::{Runner, Tree, conforms, never_panics, starting};

    const CAPTURE: &str = "net 70 71 69 45\nrpc 1218785755 374636 1218815394\nproc3 22 0 1 2 3 4\nproc4 3 98 51 54\n";
    const FILES: [(&str, &str); 1] = [("proc/net/rpc/nfs", CAPTURE)];

    fn build(roots: &Roots) -> Nfs {
        Nfs::new(&NfsConfig::default(), roots)
    }

    #[test]
    fn packets_rpcs_and_requests() {
        let lines = Runner::new(build(&Tree::new(&FILES).roots())).lines();
        let expected = [
            "node_nfs_packets_total{protocol=\"udp\"} 71",
            "node_nfs_packets_total{protocol=\"tcp\"} 69",
            "node_nfs_connections_total 45",
            "node_nfs_rpcs_total 1218785755",
            "node_nfs_rpc_retransmissions_total 374636",
            "node_nfs_rpc_authentication_refreshes_total 1218815394",
        ];
        assert_eq!(lines[..6], expected);
        for line in ["{proto=\"3\",method=\"Access\"} 4", "{proto=\"4\",method=\"Write\"} 54"] {
            assert!(lines.contains(&format!("node_nfs_requests_total{line}")), "{lines:?}");
        }
        let of_2 = starting(&lines, "node_nfs_requests_total{proto=\"2\"");
        assert!(of_2.len() == 18 && of_2.iter().all(|l| l.ends_with(" 0")), "a version that is not built in: {of_2:?}");
    }

    #[test]
    fn a_wrong_line_is_named() {
        let tree = Tree::new(&[("proc/net/rpc/nfs", "net 1 2 3 4\nrpc 1 x\n")]);
        let (lines, error) = Runner::new(build(&tree.roots())).failure();
        assert!(lines.len() == 3 && error.ends_with("net/rpc/nfs:2: rpc: expected numbers"), "{error}");
    }

    #[test]
    fn damaged_files_never_panic() {
        never_panics(&FILES, build);
    }

    #[test]
    fn as_node_exporter() {
        conforms(&["proc/net/rpc/nfs"], |name| name.starts_with("node_nfs_"), build);
    }
}
