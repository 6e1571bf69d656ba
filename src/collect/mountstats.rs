//! `mountstats`: each NFS mount's own numbers, from `/proc/self/mountstats`, with the server's address from
//! `/proc/self/mountinfo`.
//!
//! | metric | type | line |
//! | --- | --- | --- |
//! | `node_mountstats_nfs_mountpoint_info` | gauge, always 1 | `device ... mounted on ...` |
//! | `node_mountstats_nfs_age_seconds_total` | counter, seconds | `age:` |
//! | `node_mountstats_nfs_read_bytes_total` and so on, see `BYTES` | counter | `bytes:` |
//! | `node_mountstats_nfs_event_*_total`, see `EVENTS` | counter | `events:` |
//! | `node_mountstats_nfs_transport_*`, see `TRANSPORT` | counter, gauge | `xprt:` |
//! | `node_mountstats_nfs_operations_*_total`, see `OPERATION` | counter | below `per-op statistics` |
//!
//! All are labelled `export`, `protocol` and `mountaddr`; the info also `mountpoint`, transports `transport` (from 0, as
//! `nconnect` makes several), operations `operation`. An export that is mounted twice over one connection shows the
//! same numbers twice; they are served once, with an info for each mount.
//!
//! No configuration keys.

mod families;

use std::collections::BTreeSet;

use families::{BYTES, EVENTS, Family, OPERATION, TRANSPORT};

use super::{CollectError, Collector, KernelFile, Roots, fields, lines, number};
use crate::model::Writer;

crate::section! {
    /// `collectors.mountstats`.
    pub struct MountstatsConfig {}
}

/// The `mountstats` collector.
pub struct Mountstats {
    stats: KernelFile,
    info: KernelFile,
}

/// What is wrong with a text: the line from 1, and what.
type Fault = (usize, String);

/// More mounts, and more operations or transports of one, than any host has; what lies beyond is not looked at.
const MAX_MOUNTS: usize = 10_000;
const MAX_ROWS: usize = 256;

/// An NFS mount.
#[derive(Debug, Default)]
struct Mount {
    export: String,
    mount_point: String,
    address: String,
    /// The first transport's.
    protocol: String,
    /// Whether its numbers are served: not of a second mount over the same connection.
    first: bool,
    age: Option<f64>,
    bytes: Vec<f64>,
    events: Vec<f64>,
    /// In the order of [`TRANSPORT`].
    transports: Vec<Vec<f64>>,
    operations: Vec<(String, Vec<f64>)>,
}

impl Mountstats {
    pub fn new(_: &MountstatsConfig, roots: &Roots) -> Mountstats {
        let file = |path| KernelFile::new(roots.proc(path));
        Mountstats { stats: file("self/mountstats"), info: file("self/mountinfo") }
    }
}

impl Collector for Mountstats {
    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        let mut mounts = Vec::new();
        let read = read_mounts(self.stats.read()?, addresses(self.info.read()?), &mut mounts);
        let mut seen = BTreeSet::new();
        for mount in &mut mounts {
            mount.first = seen.insert((mount.export.clone(), mount.protocol.clone(), mount.address.clone()));
        }
        write(&mounts, out);
        read.map_err(|(line, what)| CollectError::parse(self.stats.path(), line, what))
    }
}

/// The address of each mount's server, empty for what has none; the kernel lists mounts in the same order in both files.
fn addresses(mountinfo: &[u8]) -> impl Iterator<Item = &[u8]> {
    lines(mountinfo).map(|line| {
        let options = fields(line).last().unwrap_or_default();
        options.split(|b| *b == b',').find_map(|option| option.strip_prefix(b"addr=")).unwrap_or_default()
    })
}

fn read_mounts<'t>(
    text: &[u8],
    mut addresses: impl Iterator<Item = &'t [u8]>,
    mounts: &mut Vec<Mount>,
) -> Result<(), Fault> {
    let mut result = Ok(());
    // Whether the lines are those of an NFS mount.
    let mut inside = false;
    let text_of = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    for (i, line) in text.split(|b| *b == b'\n').enumerate() {
        let cells: Vec<&[u8]> = fields(line).take(64).collect();
        if let [b"device", export, b"mounted", b"on", mount_point, b"with", b"fstype", kind, ..] = cells[..] {
            let address = text_of(addresses.next().unwrap_or_default());
            inside = matches!(kind, b"nfs" | b"nfs4") && mounts.len() < MAX_MOUNTS;
            if inside {
                let (export, mount_point) = (text_of(export), text_of(mount_point));
                mounts.push(Mount { export, mount_point, address, ..Mount::default() });
            }
        } else if cells.first() == Some(&&b"no"[..]) || cells.first() == Some(&&b"device"[..]) {
            // `no device mounted on ...`
            addresses.next();
            inside = false;
        } else if let (true, Some(mount)) = (inside, mounts.last_mut())
            && let Err(what) = mount.read_line(&cells)
            && result.is_ok()
        {
            result = Err((i + 1, what));
        }
    }
    result
}

/// The numbers of the cells; what is wrong, if they are not at least `least`.
fn numbers(name: &[u8], cells: &[&[u8]], least: usize) -> Result<Vec<f64>, String> {
    let read: Option<Vec<f64>> = cells.iter().map(|cell| number(cell)).collect();
    read.filter(|n| n.len() >= least)
        .ok_or_else(|| format!("{} expected {least} numbers", String::from_utf8_lossy(name)))
}

impl Mount {
    fn read_line(&mut self, cells: &[&[u8]]) -> Result<(), String> {
        let Some((name, rest)) = cells.split_first() else { return Ok(()) };
        match *name {
            b"age:" => self.age = numbers(name, rest, 1)?.first().copied(),
            b"bytes:" => self.bytes = numbers(name, rest, BYTES.len())?,
            b"events:" => self.events = numbers(name, rest, EVENTS.len())?,
            b"xprt:" if self.transports.len() < MAX_ROWS => self.read_transport(rest)?,
            // Operations are in capitals: `READ: 1298 ...`.
            _ if self.operations.len() < MAX_ROWS && name.first().is_some_and(u8::is_ascii_uppercase) => {
                let Some(operation) = name.strip_suffix(b":") else { return Ok(()) };
                let mut values = numbers(name, rest, OPERATION.len())?;
                // Whole numbers up to 2^64, of which the time is the remainder: a kernel that counts below 0 does not
                // make a leap of 600 million years.
                const MANTISSA: u64 = 1 << 53;
                for (i, cell) in rest.iter().enumerate().take(OPERATION.len()).skip(5) {
                    let whole = str::from_utf8(cell).ok().and_then(|t| t.parse::<u64>().ok());
                    if let (Some(whole), Some(value)) = (whole, values.get_mut(i)) {
                        *value = (whole % MANTISSA) as f64 / 1000.0;
                    }
                }
                self.operations.push((String::from_utf8_lossy(operation).into_owned(), values));
            }
            _ => {}
        }
        Ok(())
    }

    /// A transport's numbers: port, bind, (connect, connect time, idle: not of UDP), sends and so on. Slots and queues
    /// came with `statvers=1.1`; before, and over RDMA, they are 0, as node_exporter has them.
    fn read_transport(&mut self, cells: &[&[u8]]) -> Result<(), String> {
        const CONNECTION: usize = 3;
        let Some((protocol, rest)) = cells.split_first() else { return Err("xprt: expected a protocol".to_string()) };
        let (least, udp) = match *protocol {
            b"tcp" | b"rdma" => (10, false),
            b"udp" => (7, true),
            // `local`, of a transport within the host, has numbers that mean something else.
            _ => return Ok(()),
        };
        let mut values = numbers(b"xprt:", rest, least)?;
        if udp {
            values.splice(2..2, [0.0; CONNECTION]);
        } else if *protocol == b"rdma" {
            values.truncate(least);
        }
        values.resize(13, 0.0);
        if self.transports.is_empty() {
            self.protocol = String::from_utf8_lossy(protocol).into_owned();
        }
        self.transports.push(values);
        Ok(())
    }

    fn labels(&self) -> [&[u8]; 3] {
        [self.export.as_bytes(), self.protocol.as_bytes(), self.address.as_bytes()]
    }
}

fn write(mounts: &[Mount], out: &mut Writer) {
    const LABELS: [&str; 3] = ["export", "protocol", "mountaddr"];
    let [e, p, a] = LABELS;
    let mut info =
        out.gauge("node_mountstats_nfs_mountpoint_info", "Info metric for an NFS mountpoint.", [e, p, a, "mountpoint"]);
    for mount in mounts {
        let [e, p, a] = mount.labels();
        info.put([e, p, a, mount.mount_point.as_bytes()], 1.0);
    }
    let first = || mounts.iter().filter(|m| m.first);
    let mut age = out.counter("node_mountstats_nfs_age_seconds_total", "The age of the NFS mount in seconds.", LABELS);
    for mount in first() {
        if let Some(seconds) = mount.age {
            age.put(mount.labels(), seconds);
        }
    }
    type Numbers = fn(&Mount) -> &[f64];
    let tables: [(&[Option<Family>], Numbers); 2] = [(&BYTES, |m| &m.bytes), (&EVENTS, |m| &m.events)];
    for (families, numbers) in tables {
        for (i, family) in exported(families) {
            let mut family = out.family(family.kind, family.name, family.help, LABELS);
            for mount in first() {
                if let Some(value) = numbers(mount).get(i) {
                    family.put(mount.labels(), *value);
                }
            }
        }
    }
    for (i, family) in exported(&TRANSPORT) {
        let mut family = out.family(family.kind, family.name, family.help, [e, p, a, "transport"]);
        for mount in first() {
            let [e, p, a] = mount.labels();
            for (transport, values) in mount.transports.iter().enumerate() {
                if let Some(value) = values.get(i) {
                    family.put([e, p, a, itoa::Buffer::new().format(transport).as_bytes()], *value);
                }
            }
        }
    }
    for (i, family) in exported(&OPERATION) {
        let mut family = out.family(family.kind, family.name, family.help, [e, p, a, "operation"]);
        for mount in first() {
            let [e, p, a] = mount.labels();
            for (operation, values) in &mount.operations {
                if let Some(value) = values.get(i) {
                    family.put([e, p, a, operation.as_bytes()], *value);
                }
            }
        }
    }
}

fn exported(families: &[Option<Family>]) -> impl Iterator<Item = (usize, &Family)> {
    families.iter().enumerate().filter_map(|(i, family)| Some((i, family.as_ref()?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::{Runner, Tree, conforms, never_panics, starting};

    const STATS: &str = "\
device sysfs mounted on /sys with fstype sysfs
device 10.0.0.1:/srv mounted on /mnt/a with fstype nfs4 statvers=1.1
\topts:\trw,vers=4.2
\tage:\t13968
\tevents:\t52 226 0 0 1 13 398 0 0 331 0 47 0 0 77 0 0 77 0 0 0 0 0 0 0 0 0
\tbytes:\t1207640230 0 0 0 1210214218 0 295483 0
\txprt:\ttcp 832 0 1 0 11 6428 6428 0 12154 0 24 26 5726
\txprt:\ttcp 833 0 2 0 12 6429 6428 0 12154 0 24 26 5726
\tper-op statistics
\t        READ: 1298 1298 0 207680 1210292152 18446743919241604546 79386 79407 3

device 10.0.0.1:/srv mounted on /mnt/b with fstype nfs4 statvers=1.1
\tage:\t13968
\txprt:\ttcp 832 0 1 0 11 6428 6428 0 12154 0 24 26 5726
device 10.0.0.1:/old mounted on /mnt/c with fstype nfs statvers=1.0
\txprt:\tudp 832 5 100 99 1 7 8
";
    const INFO: &str = "\
16 21 0:16 / /sys rw shared:7 - sysfs sysfs rw
194 21 0:42 / /mnt/a rw shared:144 - nfs4 10.0.0.1:/srv rw,vers=4.2,addr=10.0.0.1,local_lock=none
195 21 0:42 / /mnt/b rw shared:144 - nfs4 10.0.0.1:/srv rw,vers=4.2,addr=10.0.0.1
196 21 0:43 / /mnt/c rw shared:145 - nfs 10.0.0.1:/old rw,vers=3,addr=10.0.0.2
";
    const FILES: [(&str, &str); 2] = [("proc/self/mountstats", STATS), ("proc/self/mountinfo", INFO)];

    fn build(roots: &Roots) -> Mountstats {
        Mountstats::new(&MountstatsConfig::default(), roots)
    }

    #[test]
    fn a_mount_has_its_numbers_and_a_second_one_over_its_connection_only_an_info() {
        let lines = Runner::new(build(&Tree::new(&FILES).roots())).lines();
        let of = |name: &str| starting(&lines, &format!("node_mountstats_nfs_{name}"));
        assert_eq!(of("mountpoint_info").len(), 3);
        let labels = "{export=\"10.0.0.1:/srv\",protocol=\"tcp\",mountaddr=\"10.0.0.1\"";
        assert_eq!(of("age_seconds_total"), [format!("node_mountstats_nfs_age_seconds_total{labels}}} 13968")]);
        let connects = of("transport_connect_total");
        assert!(connects[1].ends_with(",transport=\"1\"} 2"), "{connects:?}");
        assert_eq!(of("event_vfs_getdents_total")[0].rsplit(' ').next(), Some("0"));
        assert_eq!(of("operations_response_time_seconds_total")[0].rsplit(' ').next(), Some("79.386"));
        let queued = of("operations_queue_time_seconds_total")[0].rsplit(' ').next();
        assert_eq!(queued, Some("9007044786793.922"));
    }

    #[test]
    fn udp_has_no_connection_and_an_old_kernel_no_slots() {
        let lines = Runner::new(build(&Tree::new(&FILES).roots())).lines();
        for (name, value) in
            [("bind_total", "5"), ("connect_total", "0"), ("sends_total", "100"), ("receives_total", "99")]
        {
            let line = starting(&lines, &format!("node_mountstats_nfs_transport_{name}"))
                .into_iter()
                .find(|l| l.contains("udp"));
            let line = line.unwrap_or_default();
            assert_eq!(line.rsplit(' ').next(), Some(value), "{name}");
            assert!(line.contains("mountaddr=\"10.0.0.2\""), "{line}");
        }
    }

    #[test]
    fn a_wrong_line_is_named_and_the_others_are_served() {
        let tree = Tree::new(&FILES);
        tree.write("proc/self/mountstats", STATS.replace("age:\t13968\n\tevents", "age:\told\n\tevents"));
        let (lines, error) = Runner::new(build(&tree.roots())).failure();
        assert!(error.ends_with("self/mountstats:4: age: expected 1 numbers"), "{error}");
        assert_eq!(starting(&lines, "node_mountstats_nfs_read_bytes_total").len(), 1);
    }

    #[test]
    fn damaged_files_never_panic() {
        never_panics(&FILES, build);
    }

    #[test]
    fn as_node_exporter() {
        conforms(&["proc/self", "proc/10"], |name| name.starts_with("node_mountstats_"), build);
    }
}
