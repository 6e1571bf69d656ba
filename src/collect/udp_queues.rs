//! `udp_queues`: memory of UDP datagrams that wait, from `/proc/net/udp` and `/proc/net/udp6`.
//!
//! | metric | type | labels |
//! | --- | --- | --- |
//! | `node_udp_queues` | gauge, bytes | `queue`: `tx` or `rx`; `ip`: `v4` or `v6` |
//!
//! The sum over all sockets. A file that is not there is a protocol that this kernel has not. No configuration keys.

use super::parse::hexadecimal;
use super::{CollectError, Collector, KernelFile, Roots, fields, lines, split_once};
use crate::model::Writer;

crate::section! {
    /// `collectors.udp_queues`.
    pub struct UdpQueuesConfig {}
}

/// The `udp_queues` collector.
pub struct UdpQueues {
    files: [(&'static str, KernelFile); 2],
}

impl UdpQueues {
    pub fn new(_: &UdpQueuesConfig, roots: &Roots) -> UdpQueues {
        UdpQueues {
            files: [("v4", KernelFile::new(roots.proc("net/udp"))), ("v6", KernelFile::new(roots.proc("net/udp6")))],
        }
    }
}

impl Collector for UdpQueues {
    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        const HELP: &str = "Number of allocated memory in the kernel for UDP datagrams in bytes.";
        let mut family = out.gauge("node_udp_queues", HELP, ["queue", "ip"]);
        let mut result = Err(CollectError::NoData("neither net/udp nor net/udp6 in procfs".to_string()));
        for (ip, file) in &mut self.files {
            let sums = match file.read() {
                Ok(text) => sum(text).map_err(|(line, what)| CollectError::parse(file.path(), line, what)),
                Err(CollectError::NoData(_)) => continue,
                Err(error) => Err(error),
            };
            let written = sums.map(|[tx, rx]| {
                family.put([b"tx", ip.as_bytes()], tx as f64);
                family.put([b"rx", ip.as_bytes()], rx as f64);
            });
            // What is wrong with one file outweighs that the other is well, and that outweighs that it is not there.
            result = match (result, written) {
                (Err(error), _) if !matches!(error, CollectError::NoData(_)) => Err(error),
                (_, written) => written,
            };
        }
        result
    }
}

/// The bytes that wait to be sent and to be received.
fn sum(text: &[u8]) -> Result<[u64; 2], (usize, String)> {
    let mut sums = [0u64; 2];
    // A line of headings comes first.
    for (i, line) in lines(text).enumerate().skip(1) {
        let queues = fields(line).nth(4).and_then(|f| split_once(f, b':'));
        let Some((tx, rx)) = queues.and_then(|(tx, rx)| Some((hexadecimal(tx)?, hexadecimal(rx)?))) else {
            return Err((i + 1, "expected tx_queue:rx_queue in the fifth field".to_string()));
        };
        sums = [sums[0].saturating_add(tx), sums[1].saturating_add(rx)];
    }
    Ok(sums)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::{Runner, Tree, conforms, never_panics};

    const CAPTURE: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
    0: 00000000:0016 00000000:0000 07 00000015:00000000 00:00000000 00000000     0        0 2740 1 ffff88003d3af3c0 0
10500: 00000000:0017 00000000:0000 07 00000001:00000300 00:00000000 00000000     0        0 2741 1 ffff88003d3af3c0 0
";
    const FILES: [(&str, &str); 2] = [("proc/net/udp", CAPTURE), ("proc/net/udp6", CAPTURE)];

    fn build(roots: &Roots) -> UdpQueues {
        UdpQueues::new(&UdpQueuesConfig::default(), roots)
    }

    #[test]
    fn the_queues_of_all_sockets_are_summed() {
        let tree = Tree::new(&FILES[..1]);
        let expected = ["node_udp_queues{queue=\"tx\",ip=\"v4\"} 22", "node_udp_queues{queue=\"rx\",ip=\"v4\"} 768"];
        assert_eq!(Runner::new(build(&tree.roots())).lines(), expected, "and a host without IPv6 is well");
    }

    #[test]
    fn a_wrong_file_is_named_and_the_other_is_served() {
        let tree = Tree::new(&[FILES[1], ("proc/net/udp", "heading\n 0: a b 07 zz:0\n")]);
        let (lines, error) = Runner::new(build(&tree.roots())).failure();
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(error.ends_with("net/udp:2: expected tx_queue:rx_queue in the fifth field"), "{error}");
        let (_, error) = Runner::new(build(&Tree::new::<&str>(&[]).roots())).failure();
        assert!(error.starts_with("no data:"), "{error}");
    }

    #[test]
    fn damaged_files_never_panic() {
        never_panics(&FILES, build);
    }

    #[test]
    fn as_node_exporter() {
        conforms(&["proc/net/udp"], |name| name == "node_udp_queues", build);
    }
}
