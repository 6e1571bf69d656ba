//! `nfsd`: what the NFS server of this host does, from `/proc/net/rpc/nfsd`.
//!
//! | metric | type | line |
//! | --- | --- | --- |
//! | `node_nfsd_reply_cache_hits_total`, `_misses_total`, `_nocache_total` | counter | `rc` |
//! | `node_nfsd_file_handles_stale_total` | counter | `fh` |
//! | `node_nfsd_disk_bytes_read_total`, `_written_total` | counter, bytes | `io` |
//! | `node_nfsd_server_threads` | gauge | `th` |
//! | `node_nfsd_read_ahead_cache_size_blocks`, `_not_found_total` | gauge, counter | `ra` |
//! | `node_nfsd_packets_total`, by `proto` (`udp`, `tcp`); `node_nfsd_connections_total` | counter | `net` |
//! | `node_nfsd_server_rpcs_total`; `node_nfsd_rpc_errors_total`, by `error` (`fmt`, `auth`, `cInt`) | counter | `rpc` |
//! | `node_nfsd_requests_total`, by `proto` (2, 3, 4) and `method` | counter | `proc2`, `proc3`, `proc4ops`, `wdeleg_getattr` |
//!
//! The file is there when the NFS server is loaded. No configuration keys.

use super::nfs::{Fault, METHODS_2, METHODS_3, Scalar, numbers, put_labelled, put_scalars};
use super::{CollectError, Collector, KernelFile, Roots};
use crate::model::{MetricType, Writer};

crate::section! {
    /// `collectors.nfsd`.
    pub struct NfsdConfig {}
}

/// The operations of version 4 that are exported, with their numbers in the protocol.
const OPERATIONS_4: [(&str, usize); 35] = [
    ("Access", 3),
    ("Close", 4),
    ("Commit", 5),
    ("Create", 6),
    ("DelegPurge", 7),
    ("DelegReturn", 8),
    ("GetAttr", 9),
    ("GetFH", 10),
    ("Link", 11),
    ("Lock", 12),
    ("Lockt", 13),
    ("Locku", 14),
    ("Lookup", 15),
    ("LookupRoot", 16),
    ("Nverify", 17),
    ("Open", 18),
    ("OpenAttr", 19),
    ("OpenConfirm", 20),
    ("OpenDgrd", 21),
    ("PutFH", 22),
    ("Read", 25),
    ("ReadDir", 26),
    ("ReadLink", 27),
    ("Remove", 28),
    ("Rename", 29),
    ("Renew", 30),
    ("RestoreFH", 31),
    ("SaveFH", 32),
    ("SecInfo", 33),
    ("SetAttr", 34),
    ("SetClientID", 35),
    ("SetClientIDConfirm", 36),
    ("Verify", 37),
    ("Write", 38),
    ("RelLockOwner", 39),
];

/// The numbers without labels, by their line.
const SCALARS: [(&str, &[Scalar]); 7] = {
    use MetricType::{Counter, Gauge};
    [
        (
            "rc",
            &[
                (0, Counter, "node_nfsd_reply_cache_hits_total", "Replies given again: the client had lost the first."),
                (1, Counter, "node_nfsd_reply_cache_misses_total", "Operations whose reply is kept."),
                (2, Counter, "node_nfsd_reply_cache_nocache_total", "Operations whose reply need not be kept."),
            ],
        ),
        ("fh", &[(0, Counter, "node_nfsd_file_handles_stale_total", "Stale file handles that clients came with.")]),
        (
            "io",
            &[
                (0, Counter, "node_nfsd_disk_bytes_read_total", "Total NFSd bytes read."),
                (1, Counter, "node_nfsd_disk_bytes_written_total", "Total NFSd bytes written."),
            ],
        ),
        ("th", &[(0, Gauge, "node_nfsd_server_threads", "NFSd kernel threads that are running.")]),
        (
            "ra",
            &[
                (0, Gauge, "node_nfsd_read_ahead_cache_size_blocks", "How large the read ahead cache is in blocks."),
                // Behind the ten depths at which something was found.
                (11, Counter, "node_nfsd_read_ahead_cache_not_found_total", "Reads not found in the read ahead cache."),
            ],
        ),
        ("net", &[(3, Counter, "node_nfsd_connections_total", "Total number of NFSd TCP connections.")]),
        ("rpc", &[(0, Counter, "node_nfsd_server_rpcs_total", "Total number of NFSd RPCs.")]),
    ]
};

/// The `nfsd` collector.
pub struct Nfsd {
    file: KernelFile,
}

impl Nfsd {
    pub fn new(_: &NfsdConfig, roots: &Roots) -> Nfsd {
        Nfsd { file: KernelFile::new(roots.proc("net/rpc/nfsd")) }
    }
}

impl Collector for Nfsd {
    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        let written = write(self.file.read()?, out);
        written.map_err(|(line, what)| CollectError::parse(self.file.path(), line, what))
    }
}

fn write(text: &[u8], out: &mut Writer) -> Result<(), Fault> {
    for (key, scalars) in SCALARS {
        put_scalars(out, &numbers(text, key)?, scalars);
    }
    let help = "Total NFSd network packets (sent and received) by protocol type.";
    put_labelled(out, ("node_nfsd_packets_total", help, "proto"), &numbers(text, "net")?, &[("udp", 1), ("tcp", 2)]);
    let errors = ("node_nfsd_rpc_errors_total", "Total number of NFSd RPC errors by error type.", "error");
    put_labelled(out, errors, &numbers(text, "rpc")?, &[("fmt", 2), ("auth", 3), ("cInt", 4)]);

    let (proc2, proc3) = (numbers(text, "proc2")?, numbers(text, "proc3")?);
    let (operations, delegated) = (numbers(text, "proc4ops")?, numbers(text, "wdeleg_getattr")?);
    let help = "Total number NFSd Requests by method and protocol.";
    let mut family = out.counter("node_nfsd_requests_total", help, ["proto", "method"]);
    // How many follow comes first in each line. What this kernel's server does not know was not asked of it: 0, as in
    // node_exporter, which leaves out Null.
    let mut put = |proto: &str, method: &str, numbers: &[f64], at: usize| {
        family.put([proto.as_bytes(), method.as_bytes()], numbers.get(at).copied().unwrap_or(0.0));
    };
    for (i, method) in METHODS_2.iter().enumerate().skip(1) {
        put("2", method, &proc2, i + 1);
    }
    for (i, method) in METHODS_3.iter().enumerate().skip(1) {
        put("3", method, &proc3, i + 1);
    }
    for (method, number) in OPERATIONS_4 {
        put("4", method, &operations, number + 1);
    }
    put("4", "WdelegGetattr", &delegated, 0);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::{Runner, Tree, conforms, never_panics};

    const CAPTURE: &str = "rc 0 6 18622\nfh 1 0 0 0 0\nio 157286400 72864\nth 8 0 0.000 0.000\nnet 972 55 917 1\n\
        rpc 18628 3 1 2 0\nproc3 22 2 112 0 2719\nproc4ops 72 0 0 0 1098 2\n";
    const FILES: [(&str, &str); 1] = [("proc/net/rpc/nfsd", CAPTURE)];

    fn build(roots: &Roots) -> Nfsd {
        Nfsd::new(&NfsdConfig::default(), roots)
    }

    #[test]
    fn threads_errors_and_requests() {
        let lines = Runner::new(build(&Tree::new(&FILES).roots())).lines();
        for line in [
            "node_nfsd_server_threads 8",
            "node_nfsd_file_handles_stale_total 1",
            "node_nfsd_packets_total{proto=\"tcp\"} 917",
            "node_nfsd_rpc_errors_total{error=\"auth\"} 2",
            "node_nfsd_requests_total{proto=\"3\",method=\"GetAttr\"} 112",
            "node_nfsd_requests_total{proto=\"4\",method=\"Access\"} 1098",
            "node_nfsd_requests_total{proto=\"4\",method=\"WdelegGetattr\"} 0",
        ] {
            assert!(lines.iter().any(|l| l == line), "{line}: {lines:?}");
        }
        assert!(!lines.iter().any(|l| l.contains("read_ahead")), "no such line: {lines:?}");
    }

    #[test]
    fn damaged_files_never_panic() {
        never_panics(&FILES, build);
    }

    #[test]
    fn as_node_exporter() {
        conforms(&["proc/net/rpc/nfsd"], |name| name.starts_with("node_nfsd_"), build);
    }
}
