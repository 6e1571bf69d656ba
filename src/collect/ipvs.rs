//! `ipvs`: the kernel's load balancer, from `/proc/net/ip_vs_stats` and `/proc/net/ip_vs`.
//!
//! | metric | type | labels |
//! | --- | --- | --- |
//! | `node_ipvs_connections_total`, `_incoming_packets_total`, `_outgoing_packets_total` | counter | |
//! | `node_ipvs_incoming_bytes_total`, `_outgoing_bytes_total` | counter, bytes | |
//! | `node_ipvs_backend_connections_active`, `_connections_inactive`, `_weight` | gauge | those of `backend_labels` |
//!
//! Backends that differ in no label wanted are summed.
//!
//! Configuration: `backend_labels`.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::parse::hexadecimal;
use super::{CollectError, Collector, KernelFile, Roots, fields, lines, number};
use crate::model::Writer;
use crate::yaml::{Faults, Node};

/// Of a backend, in the order in which they are exported.
const LABELS: [&str; 6] = ["local_address", "local_port", "remote_address", "remote_port", "proto", "local_mark"];

crate::section! {
    check = |section: &mut IpvsConfig, node: &Node, faults: &mut Faults| {
        for label in split_labels(&section.backend_labels).filter(|l| !LABELS.contains(l)) {
            faults.error(node.at, format!("backend_labels: {label:?} is none of {}", LABELS.join(", ")));
        }
    };
    /// `collectors.ipvs`.
    pub struct IpvsConfig {
        /// The labels of backends, with commas between them; fewer make fewer series where there are many backends.
        pub backend_labels: String = LABELS.join(","),
    }
}

fn split_labels(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').filter(|label| !label.is_empty())
}

/// More backends than anybody has; what lies beyond is not looked at.
const MAX_BACKENDS: usize = 100_000;

/// The `ipvs` collector.
pub struct Ipvs {
    /// Of [`LABELS`].
    wanted: [bool; LABELS.len()],
    stats: KernelFile,
    services: KernelFile,
}

/// A backend's values of the labels wanted; empty for the others.
type Key = [String; LABELS.len()];

/// Active and inactive connections, and the weight.
type Sums = [f64; 3];

impl Ipvs {
    pub fn new(config: &IpvsConfig, roots: &Roots) -> Ipvs {
        Ipvs {
            wanted: LABELS.map(|label| split_labels(&config.backend_labels).any(|l| l == label)),
            stats: KernelFile::new(roots.proc("net/ip_vs_stats")),
            services: KernelFile::new(roots.proc("net/ip_vs")),
        }
    }

    fn write_backends(&self, backends: &BTreeMap<Key, Sums>, out: &mut Writer) {
        let families = [
            ("node_ipvs_backend_connections_active", "The current active connections by local and remote address."),
            ("node_ipvs_backend_connections_inactive", "The current inactive connections by local and remote address."),
            ("node_ipvs_backend_weight", "The current backend weight by local and remote address."),
        ];
        for (i, (name, help)) in families.into_iter().enumerate() {
            let mut family = out.gauge(name, help, []);
            for (key, sums) in backends {
                let labels = LABELS.iter().zip(key).zip(self.wanted).filter(|(_, wanted)| *wanted);
                let labels: Vec<(&[u8], &[u8])> = labels.map(|((n, v), _)| (n.as_bytes(), v.as_bytes())).collect();
                family.put_labels("", &labels, sums[i]);
            }
        }
    }
}

impl Collector for Ipvs {
    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        let text = self.stats.read()?;
        write_totals(text, out).map_err(|(line, what)| CollectError::parse(self.stats.path(), line, what))?;
        let mut backends = BTreeMap::new();
        let read = read_backends(self.services.read()?, &self.wanted, &mut backends);
        self.write_backends(&backends, out);
        read.map_err(|(line, what)| CollectError::parse(self.services.path(), line, what))
    }
}

fn write_totals(text: &[u8], out: &mut Writer) -> Result<(), (usize, String)> {
    const FAMILIES: [(&str, &str); 5] = [
        ("node_ipvs_connections_total", "The total number of connections made."),
        ("node_ipvs_incoming_packets_total", "The total number of incoming packets."),
        ("node_ipvs_outgoing_packets_total", "The total number of outgoing packets."),
        ("node_ipvs_incoming_bytes_total", "The total amount of incoming data."),
        ("node_ipvs_outgoing_bytes_total", "The total amount of outgoing data."),
    ];
    // Two lines of headings come first.
    let line = lines(text).nth(2).unwrap_or_default();
    let numbers: Option<Vec<u64>> = fields(line).take(FAMILIES.len()).map(hexadecimal).collect();
    let numbers = numbers.filter(|n| n.len() == FAMILIES.len());
    let numbers = numbers.ok_or_else(|| (3, "expected five numbers with the base 16".to_string()))?;
    for ((name, help), value) in FAMILIES.into_iter().zip(numbers) {
        out.counter(name, help, []).put([], value as f64);
    }
    Ok(())
}

/// Sums the backends of the table; the first line that cannot be read is the fault.
fn read_backends(
    text: &[u8],
    wanted: &[bool; LABELS.len()],
    backends: &mut BTreeMap<Key, Sums>,
) -> Result<(), (usize, String)> {
    let mut result = Ok(());
    let mut fail = |i: usize, what: &str| {
        if result.is_ok() {
            result = Err((i + 1, what.to_string()));
        }
    };
    let mut service = None;
    // Three lines of headings come first.
    for (i, line) in lines(text).enumerate().skip(3) {
        let cells: Vec<&[u8]> = fields(line).take(8).collect();
        match cells[..] {
            [b"->", remote, _, weight, active, inactive] => {
                let Some((proto, local, mark)) = &service else { continue };
                let read = address(remote).zip(number(weight)).zip(number(active)).zip(number(inactive));
                let Some((((remote, weight), active), inactive)) = read else {
                    fail(i, "expected an address, a weight and two counts");
                    continue;
                };
                let (local_address, local_port): &(String, String) = local;
                let values = [local_address, local_port, &remote.0, &remote.1, proto, mark];
                let mut key = Key::default();
                for ((cell, value), _) in key.iter_mut().zip(values).zip(wanted).filter(|(_, wanted)| **wanted) {
                    cell.clone_from(value);
                }
                if backends.len() >= MAX_BACKENDS && !backends.contains_key(&key) {
                    continue;
                }
                let sums = backends.entry(key).or_insert([0.0; 3]);
                for (sum, value) in sums.iter_mut().zip([active, inactive, weight]) {
                    *sum += value;
                }
            }
            [b"FWM", mark, ..] => {
                let mark = String::from_utf8_lossy(mark).into_owned();
                service = Some(("FWM".to_string(), (String::new(), "0".to_string()), mark));
            }
            [proto, local, ..] if matches!(proto, b"TCP" | b"UDP" | b"SCTP") => {
                service =
                    address(local).map(|local| (String::from_utf8_lossy(proto).into_owned(), local, String::new()));
                if service.is_none() {
                    fail(i, "expected an address and a port");
                }
            }
            // The heading of the backends' columns is the third line; anything else is of a later kernel.
            _ => service = None,
        }
    }
    result
}

/// `C0A80016:0CEA`, or `[2001:0db8:...]:0050`, as people write them.
fn address(text: &[u8]) -> Option<(String, String)> {
    let (host, port) = text.split_at_checked(text.len().checked_sub(5)?)?;
    let port = u16::try_from(hexadecimal(port.strip_prefix(b":")?)?).ok()?;
    let host = match host.strip_prefix(b"[").and_then(|h| h.strip_suffix(b"]")) {
        Some(v6) => str::from_utf8(v6).ok()?.parse::<Ipv6Addr>().ok()?.to_canonical().to_string(),
        None if host.len() == 8 => Ipv4Addr::from(u32::try_from(hexadecimal(host)?).ok()?).to_string(),
        None => return None,
    };
    Some((host, port.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::{Runner, Tree, conforms, never_panics, starting};
    use crate::yaml::Document;

    const STATS: &str = "   Total Incoming Outgoing         Incoming         Outgoing\n   Conns  Packets  Packets            Bytes\
        \u{20}           Bytes\n 16AA370 E33656E5        0     51D8C8883AB3                0\n\n Conns/s\n 4\n";
    const SERVICES: &str = "\
IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
TCP  C0A80016:0CEA wlc
  -> C0A85216:0CEA      Tunnel  100    248        2
  -> C0A85318:0CEA      Tunnel  50     8          0
UDP  [2001:0DB8:0000:0000:0000:0000:0000:0001]:0035 rr
  -> [2001:0DB8:0000:0000:0000:0000:0000:0002]:0035      Route   1      3          4
FWM  10001000 wlc
  -> C0A8321A:0CEA      Tunnel  20     64         1
";
    const FILES: [(&str, &str); 2] = [("proc/net/ip_vs_stats", STATS), ("proc/net/ip_vs", SERVICES)];

    fn build(roots: &Roots) -> Ipvs {
        Ipvs::new(&IpvsConfig::default(), roots)
    }

    #[test]
    fn totals_and_backends() {
        let lines = Runner::new(build(&Tree::new(&FILES).roots())).lines();
        assert_eq!(lines[..2], ["node_ipvs_connections_total 23765872", "node_ipvs_incoming_packets_total 3811989221"]);
        let active = starting(&lines, "node_ipvs_backend_connections_active");
        for labels in [
            "{local_address=\"192.168.0.22\",local_port=\"3306\",remote_address=\"192.168.83.24\",remote_port=\"3306\",\
             proto=\"TCP\",local_mark=\"\"} 8",
            "{local_address=\"2001:db8::1\",local_port=\"53\",remote_address=\"2001:db8::2\",remote_port=\"53\",\
             proto=\"UDP\",local_mark=\"\"} 3",
            "{local_address=\"\",local_port=\"0\",remote_address=\"192.168.50.26\",remote_port=\"3306\",\
             proto=\"FWM\",local_mark=\"10001000\"} 64",
        ] {
            assert!(active.iter().any(|l| l.ends_with(labels)), "{labels}: {active:?}");
        }
    }

    #[test]
    fn fewer_labels_sum_the_backends() {
        let config = IpvsConfig { backend_labels: "proto,local_address".to_string() };
        let lines = Runner::new(Ipvs::new(&config, &Tree::new(&FILES).roots())).lines();
        let weights = starting(&lines, "node_ipvs_backend_weight");
        assert_eq!(weights.len(), 3);
        assert!(
            weights.iter().any(|l| l.ends_with("{local_address=\"192.168.0.22\",proto=\"TCP\"} 150")),
            "{weights:?}"
        );
        let mut faults = Faults::default();
        Document::parse("t.yaml", "backend_labels: proto,port\n", &mut faults).read::<IpvsConfig>(&mut faults);
        assert!(faults.to_string().contains("\"port\" is none of local_address"), "{faults}");
    }

    #[test]
    fn a_wrong_line_is_named_and_the_others_are_served() {
        let tree = Tree::new(&FILES);
        tree.write("proc/net/ip_vs", SERVICES.replace("C0A85216:0CEA ", "C0A85216 "));
        let (lines, error) = Runner::new(build(&tree.roots())).failure();
        assert!(error.ends_with("net/ip_vs:5: expected an address, a weight and two counts"), "{error}");
        assert_eq!(starting(&lines, "node_ipvs_backend_weight").len(), 3);
    }

    #[test]
    fn damaged_files_never_panic() {
        never_panics(&FILES, build);
    }

    #[test]
    fn as_node_exporter() {
        conforms(&["proc/net/ip_vs", "proc/net/ip_vs_stats"], |name| name.starts_with("node_ipvs_"), build);
    }
}
