//! `conntrack`: netfilter's connection tracking, from `/proc/sys/net/netfilter/nf_conntrack_{count,max}` and
//! `/proc/net/stat/nf_conntrack`.
//!
//! | metric | type |
//! | --- | --- |
//! | `node_nf_conntrack_entries`, `node_nf_conntrack_entries_limit` | gauge |
//! | `node_nf_conntrack_stat_{found,invalid,ignore,insert,insert_failed,drop,early_drop,search_restart}` | gauge |
//!
//! The statistics are sums over all CPUs, of counters of 32 bits; node_exporter calls them gauges. Nothing is there
//! where connections are not tracked, and no statistics where the kernel is built without
//! `CONFIG_NF_CONNTRACK_PROCFS`.
//!
//! Configuration: none.

use super::{CollectError, Collector, KernelFile, Roots, fields, lines};
use crate::model::Writer;

crate::section! {
    /// `collectors.conntrack`.
    pub struct ConntrackConfig {}
}

/// Column of the file, name, help.
const STATISTICS: [(usize, &str, &str); 8] = [
    (2, "node_nf_conntrack_stat_found", "Number of searched entries which were successful."),
    (4, "node_nf_conntrack_stat_invalid", "Number of packets seen which can not be tracked."),
    (5, "node_nf_conntrack_stat_ignore", "Number of packets seen which are already connected to a conntrack entry."),
    (8, "node_nf_conntrack_stat_insert", "Number of entries inserted into the list."),
    (9, "node_nf_conntrack_stat_insert_failed", "Number of entries for which list insertion was attempted but failed."),
    (10, "node_nf_conntrack_stat_drop", "Number of packets dropped due to conntrack failure."),
    (
        11,
        "node_nf_conntrack_stat_early_drop",
        "Number of dropped conntrack entries to make room for new ones, if maximum table size was reached.",
    ),
    (
        16,
        "node_nf_conntrack_stat_search_restart",
        "Number of conntrack table lookups which had to be restarted due to hashtable resizes.",
    ),
];

const COLUMNS: usize = 17;
/// Without the last, `search_restart`, which came with Linux 2.6.35.
const MIN_COLUMNS: usize = 16;

/// The `conntrack` collector.
pub struct Conntrack {
    count: KernelFile,
    limit: KernelFile,
    statistics: KernelFile,
}

impl Conntrack {
    pub fn new(_: &ConntrackConfig, roots: &Roots) -> Conntrack {
        let file = |path| KernelFile::new(roots.proc(path));
        Conntrack {
            count: file("sys/net/netfilter/nf_conntrack_count"),
            limit: file("sys/net/netfilter/nf_conntrack_max"),
            statistics: file("net/stat/nf_conntrack"),
        }
    }
}

impl Collector for Conntrack {
    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        let count = self.count.number()?;
        let help = "Number of currently allocated flow entries for connection tracking.";
        out.gauge("node_nf_conntrack_entries", help, []).put([], count);
        let limit = self.limit.number()?;
        let help = "Maximum size of connection tracking table.";
        out.gauge("node_nf_conntrack_entries_limit", help, []).put([], limit);

        let sums = match self.statistics.read() {
            Ok(text) => sum(text),
            Err(CollectError::NoData(_)) => return Ok(()),
            Err(error) => return Err(error),
        };
        let sums = sums.map_err(|(line, what)| CollectError::parse(self.statistics.path(), line, what))?;
        for (column, name, help) in STATISTICS {
            if let Some(sum) = sums.get(column) {
                out.gauge(name, help, []).put([], *sum as f64);
            }
        }
        Ok(())
    }
}

/// The sums of the columns over the lines, one a CPU, below the line of names.
fn sum(text: &[u8]) -> Result<[u64; COLUMNS], (usize, String)> {
    let mut sums = [0; COLUMNS];
    for (i, line) in lines(text).enumerate().skip(1) {
        let mut columns = 0;
        for (sum, field) in sums.iter_mut().zip(fields(line)) {
            columns += 1;
            let number = std::str::from_utf8(field).ok().and_then(|f| u64::from_str_radix(f, 16).ok());
            let number = number.ok_or_else(|| (i + 1, format!("column {columns} is not a hexadecimal number")))?;
            *sum = number.saturating_add(*sum);
        }
        if columns < MIN_COLUMNS {
            return Err((i + 1, format!("{columns} columns, expected at least {MIN_COLUMNS}")));
        }
    }
    Ok(sums)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::{Runner, Tree, conforms, never_panics, starting};

    const GOOD: [(&str, &str); 3] = [
        ("proc/sys/net/netfilter/nf_conntrack_count", "123\n"),
        ("proc/sys/net/netfilter/nf_conntrack_max", "65536\n"),
        (
            "proc/net/stat/nf_conntrack",
            "entries  clashres found new invalid ignore delete chainlength insert insert_failed drop early_drop \
             icmp_error  expect_new expect_create expect_delete search_restart\n\
             0000007b  00000000 00000001 00000000 00000002 00000003 00000000 00000000 00000004 00000005 00000006 \
             00000007 00000000  00000000 00000000 00000000 00000008\n\
             0000007b  00000000 00000010 00000000 00000020 00000030 00000000 00000000 00000040 00000050 00000060 \
             00000070 00000000  00000000 00000000 00000000 00000080\n",
        ),
    ];

    fn build(roots: &Roots) -> Conntrack {
        Conntrack::new(&ConntrackConfig::default(), roots)
    }

    #[test]
    fn entries_their_limit_and_statistics_of_all_cpus() {
        let tree = Tree::new(&GOOD);
        let mut run = Runner::new(build(&tree.roots()));
        let expected = [
            "node_nf_conntrack_entries 123",
            "node_nf_conntrack_entries_limit 65536",
            "node_nf_conntrack_stat_found 17",
            "node_nf_conntrack_stat_invalid 34",
            "node_nf_conntrack_stat_ignore 51",
            "node_nf_conntrack_stat_insert 68",
            "node_nf_conntrack_stat_insert_failed 85",
            "node_nf_conntrack_stat_drop 102",
            "node_nf_conntrack_stat_early_drop 119",
            "node_nf_conntrack_stat_search_restart 136",
        ];
        assert_eq!(run.lines(), expected);
    }

    #[test]
    fn what_the_kernel_does_not_track_is_absent() {
        let tree = Tree::new(&GOOD[..2]);
        assert_eq!(Runner::new(build(&tree.roots())).lines().len(), 2);
        let without = Tree::new::<&str>(&[]);
        let (lines, error) = Runner::new(build(&without.roots())).failure();
        assert!(lines.is_empty() && error.starts_with("no data:"), "{error}");
    }

    #[test]
    fn a_bad_line_is_named_and_the_entries_are_served() {
        let tree = Tree::new(&GOOD);
        for (line, said) in [("0 1 2", "3 columns, expected at least 16"), ("0 x", "column 2 is not a hexadecimal")] {
            tree.write("proc/net/stat/nf_conntrack", format!("entries\n{line}\n"));
            let (lines, error) = Runner::new(build(&tree.roots())).failure();
            assert_eq!(starting(&lines, "node_nf_conntrack_entries").len(), 2);
            assert!(error.contains(&format!("nf_conntrack:2: {said}")), "{error}");
        }
    }

    #[test]
    fn garbage_never_panics() {
        never_panics(&GOOD, build);
    }

    #[test]
    fn as_node_exporter() {
        let paths = ["proc/sys/net/netfilter", "proc/net/stat/nf_conntrack"];
        conforms(&paths, |name| name.starts_with("node_nf_conntrack_"), build);
    }
}
