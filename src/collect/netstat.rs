//! `netstat`: the network stack's own counters, from `/proc/net/netstat`, `/proc/net/snmp` and `/proc/net/snmp6`.
//!
//! | metric | type | example |
//! | --- | --- | --- |
//! | `node_netstat_PROTOCOL_NAME` | untyped | `node_netstat_Tcp_RetransSegs`, `node_netstat_Udp6_InErrors` |
//!
//! Untyped, because some are counters, some are gauges and the files do not say which. `net/snmp6` is not there where
//! IPv6 is off; that is no failure.
//!
//! Configuration: `fields`, the pattern of `PROTOCOL_NAME`s to export.

use super::search::Search;
use super::{CollectError, Collector, KernelFile, Roots, fields, number};
use crate::model::{MetricType, Writer};

crate::section! {
    /// `collectors.netstat`.
    pub struct NetstatConfig {
        /// Which counters are exported, as PROTOCOL_NAME.
        pub fields: Search = Search::fixed(concat!(
            "^(.*_(InErrors|InErrs)|Ip_Forwarding|Ip(6|Ext)_(InOctets|OutOctets)|Icmp6?_(InMsgs|OutMsgs)",
            "|TcpExt_(Listen.*|Syncookies.*|TCPSynRetrans|TCPTimeouts|TCPOFOQueue|TCPRcvQDrop)",
            "|Tcp_(ActiveOpens|InSegs|OutSegs|OutRsts|PassiveOpens|RetransSegs|CurrEstab)",
            "|Udp6?_(InDatagrams|OutDatagrams|NoPorts|RcvbufErrors|SndbufErrors))$",
        )),
    }
}

/// The `netstat` collector.
pub struct Netstat {
    wanted: Search,
    tables: [(KernelFile, Vec<Table>); 2],
    snmp6: (KernelFile, Vec<Row>),
}

impl Netstat {
    pub fn new(config: &NetstatConfig, roots: &Roots) -> Netstat {
        let file = |path| KernelFile::new(roots.proc(path));
        Netstat {
            wanted: config.fields.clone(),
            tables: [(file("net/netstat"), Vec::new()), (file("net/snmp"), Vec::new())],
            snmp6: (file("net/snmp6"), Vec::new()),
        }
    }
}

impl Collector for Netstat {
    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        let mut result = Ok(());
        for (file, tables) in &mut self.tables {
            let written = file.read().map(|text| write_tables(text, tables, &self.wanted, out));
            result = result.and(flatten(written, file));
        }
        let (file, rows) = &mut self.snmp6;
        let written = file.read().map(|text| write_rows(text, rows, &self.wanted, out));
        match flatten(written, file) {
            Err(CollectError::NoData(_)) => result,
            other => result.and(other),
        }
    }
}

/// What is wrong with a file's text: the line from 1, and what.
type Fault = (usize, String);

fn flatten(written: Result<Result<(), Fault>, CollectError>, file: &KernelFile) -> Result<(), CollectError> {
    written?.map_err(|(line, what)| CollectError::parse(file.path(), line, what))
}

/// A family's name and help, made once.
struct Family {
    name: String,
    help: String,
}

impl Family {
    /// `None` when it is not wanted, or no metric can have this name.
    fn new(protocol: &[u8], name: &[u8], wanted: &Search) -> Option<Family> {
        let valid = |text: &[u8]| !text.is_empty() && text.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'_');
        if !valid(protocol) || !valid(name) {
            return None;
        }
        let (protocol, name) = (str::from_utf8(protocol).ok()?, str::from_utf8(name).ok()?);
        let key = format!("{protocol}_{name}");
        wanted
            .is_match(key.as_bytes())
            .then(|| Family { name: format!("node_netstat_{key}"), help: format!("Statistic {protocol}{name}.") })
    }

    fn write(&self, value: f64, out: &mut Writer) {
        out.family(MetricType::Untyped, &self.name, &self.help, []).put([], value);
    }
}

/// A protocol's line of names, kept: as long as it is the same, the values wanted are at the same places.
struct Table {
    header: Vec<u8>,
    /// Fields in the line, the protocol among them.
    columns: usize,
    /// In order of the column.
    wanted: Vec<(usize, Family)>,
}

impl Table {
    fn new(header: &[u8], wanted: &Search) -> Table {
        let mut names = fields(header);
        let protocol = names.next().unwrap_or_default();
        let protocol = protocol.strip_suffix(b":").unwrap_or(protocol);
        let wanted = names.enumerate().filter_map(|(i, n)| Some((i + 1, Family::new(protocol, n, wanted)?))).collect();
        Table { header: header.to_vec(), columns: fields(header).count(), wanted }
    }

    fn write(&self, values: &[u8], out: &mut Writer) -> Result<(), String> {
        let mut wanted = self.wanted.iter().peekable();
        let mut columns = 0;
        for (i, value) in fields(values).enumerate() {
            columns = i + 1;
            if let Some((_, family)) = wanted.next_if(|(column, _)| *column == i) {
                let value = number(value)
                    .ok_or_else(|| format!("{}: {:?} is not a number", family.name, String::from_utf8_lossy(value)))?;
                family.write(value, out);
            }
        }
        if columns != self.columns {
            return Err(format!("{} values under {} names", columns.saturating_sub(1), self.columns.saturating_sub(1)));
        }
        Ok(())
    }
}

/// Pairs of lines: `Tcp: name name ...` and `Tcp: value value ...`.
fn write_tables(text: &[u8], tables: &mut Vec<Table>, wanted: &Search, out: &mut Writer) -> Result<(), Fault> {
    let mut lines = text.split(|b| *b == b'\n').enumerate().filter(|(_, l)| !l.is_empty());
    let mut at = 0;
    while let Some((i, header)) = lines.next() {
        let Some((j, values)) = lines.next() else {
            return Err((i + 1, "a line of names without its line of values".to_string()));
        };
        if tables.get(at).is_none_or(|t| t.header != header) {
            tables.truncate(at);
            tables.push(Table::new(header, wanted));
        }
        if let Some(table) = tables.get(at) {
            table.write(values, out).map_err(|what| (j + 1, what))?;
        }
        at += 1;
    }
    tables.truncate(at);
    Ok(())
}

/// A line of `net/snmp6`, kept.
struct Row {
    key: Vec<u8>,
    /// `None` when it is not wanted.
    family: Option<Family>,
}

/// A line each: `Udp6InErrors 0`. The protocol ends with the first 6; a line without one is left out.
fn write_rows(text: &[u8], rows: &mut Vec<Row>, wanted: &Search, out: &mut Writer) -> Result<(), Fault> {
    let mut at = 0;
    for (i, line) in text.split(|b| *b == b'\n').enumerate() {
        let mut cells = fields(line);
        let (Some(key), Some(value)) = (cells.next(), cells.next()) else { continue };
        if rows.get(at).is_none_or(|row| row.key != key) {
            rows.truncate(at);
            let six = key.iter().position(|b| *b == b'6');
            let family = six.and_then(|s| key.split_at_checked(s + 1)).and_then(|(p, n)| Family::new(p, n, wanted));
            rows.push(Row { key: key.to_vec(), family });
        }
        if let Some(Row { family: Some(family), .. }) = rows.get(at) {
            let value =
                number(value).ok_or_else(|| (i + 1, format!("{}: not a number", String::from_utf8_lossy(key))))?;
            family.write(value, out);
        }
        at += 1;
    }
    rows.truncate(at);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::{Runner, Tree, conforms, never_panics};

    const NETSTAT: &str = "\
TcpExt: SyncookiesSent PruneCalled ListenDrops
TcpExt: 1 2 3
IpExt: InNoRoutes InOctets
IpExt: 4 6286396970
";
    const SNMP: &str = "\
Ip: Forwarding DefaultTTL
Ip: 1 64
Tcp: MaxConn ActiveOpens CurrEstab
Tcp: -1 3556 0
";
    const SNMP6: &str = "\
Ip6InReceives                   \t7
Ip6InOctets                     \t460
Icmp6InMsgs                     \t0
Udp6InErrors                    \t0
UdpLite6InErrors                \t8
";
    const LINES: [&str; 10] = [
        "node_netstat_TcpExt_SyncookiesSent 1",
        "node_netstat_TcpExt_ListenDrops 3",
        "node_netstat_IpExt_InOctets 6286396970",
        "node_netstat_Ip_Forwarding 1",
        "node_netstat_Tcp_ActiveOpens 3556",
        "node_netstat_Tcp_CurrEstab 0",
        "node_netstat_Ip6_InOctets 460",
        "node_netstat_Icmp6_InMsgs 0",
        "node_netstat_Udp6_InErrors 0",
        "node_netstat_UdpLite6_InErrors 8",
    ];

    fn tree() -> Tree {
        Tree::new(&[("proc/net/netstat", NETSTAT), ("proc/net/snmp", SNMP), ("proc/net/snmp6", SNMP6)])
    }

    fn runner(tree: &Tree, wanted: &str) -> Runner<Netstat> {
        let mut config = NetstatConfig::default();
        if !wanted.is_empty() {
            config.fields = Search::new(wanted).unwrap();
        }
        Runner::new(Netstat::new(&config, &tree.roots()))
    }

    #[test]
    fn the_fields_wanted_of_all_three_files() {
        let tree = tree();
        let mut runner = runner(&tree, "");
        assert_eq!(runner.lines(), LINES);
        assert_eq!(runner.lines(), LINES, "in the second run as in the first");
    }

    #[test]
    fn a_pattern_of_ones_own_chooses_others() {
        let expected = ["node_netstat_Ip_DefaultTTL 64", "node_netstat_Tcp_MaxConn -1"];
        assert_eq!(runner(&tree(), "^(Ip_DefaultTTL|Tcp_MaxConn)$").lines(), expected);
    }

    #[test]
    fn a_header_that_changes_moves_the_columns() {
        let tree = tree();
        let mut runner = runner(&tree, "^Ip_");
        assert_eq!(runner.lines(), ["node_netstat_Ip_Forwarding 1", "node_netstat_Ip_DefaultTTL 64"]);
        tree.write("proc/net/snmp", "Ip: DefaultTTL New Forwarding\nIp: 63 5 2\n");
        let expected = ["node_netstat_Ip_DefaultTTL 63", "node_netstat_Ip_New 5", "node_netstat_Ip_Forwarding 2"];
        assert_eq!(runner.lines(), expected);
    }

    #[test]
    fn without_ipv6_the_rest_is_served() {
        let tree = Tree::new(&[("proc/net/netstat", NETSTAT), ("proc/net/snmp", SNMP)]);
        assert_eq!(runner(&tree, "").lines(), LINES[..6]);
        let (_, result) = runner(&Tree::new::<&str>(&[]), "").run();
        assert!(matches!(result, Err(CollectError::NoData(_))));
    }

    #[test]
    fn what_is_wrong_is_named_and_the_other_files_are_served() {
        for (text, message) in [
            ("Ip: Forwarding\nIp: 1 2\n", "net/snmp:2: 2 values under 1 names"),
            ("Ip: Forwarding\nIp: x\n", "net/snmp:2: node_netstat_Ip_Forwarding: \"x\" is not a number"),
            ("Ip: Forwarding\n", "net/snmp:1: a line of names without its line of values"),
        ] {
            let tree = tree();
            tree.write("proc/net/snmp", text);
            let (lines, result) = runner(&tree, "").run();
            let error = result.unwrap_err().to_string();
            assert!(error.ends_with(message), "{error}");
            assert!(lines.len() >= 7, "{lines:?}");
        }
    }

    #[test]
    fn the_capture_of_node_exporter_gives_what_it_gives() {
        conforms(
            &["proc/net/netstat", "proc/net/snmp", "proc/net/snmp6"],
            |name| name.starts_with("node_netstat_"),
            |roots| Netstat::new(&NetstatConfig::default(), roots),
        );
    }

    #[test]
    fn damaged_files_never_panic() {
        let files = [("proc/net/netstat", NETSTAT), ("proc/net/snmp", SNMP), ("proc/net/snmp6", SNMP6)];
        never_panics(&files, |roots| Netstat::new(&NetstatConfig { fields: Search::fixed("") }, roots));
    }
}
