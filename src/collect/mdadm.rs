//! `mdadm`: software RAID, from `/proc/mdstat` and `/sys/block/mdN/md/`.
//!
//! | metric | type | labels | from |
//! | --- | --- | --- | --- |
//! | `node_md_state` | gauge | `device`, `state`: `active`, `inactive`, `recovering`, `resync`, `check` | mdstat |
//! | `node_md_disks` | gauge | `device`, `state`: `active`, `failed`, `spare` | mdstat |
//! | `node_md_disks_required`, `node_md_blocks`, `node_md_blocks_synced` | gauge | `device` | mdstat |
//! | `node_md_raid_disks`, `node_md_degraded` | gauge | `device` | `md/raid_disks`, `md/degraded` |
//!
//! Of an array that is being reshaped no state is 1. What waits for another resync has 0 blocks synced.
//!
//! Configuration: none.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::gathered::{Gathered, Label};
use super::sysfs::{Attributes, names_if_any};
use super::{CollectError, Collector, KernelFile, Roots, fields, first_field, number, split_once};
use crate::model::Writer;

crate::section! {
    /// `collectors.mdadm`.
    pub struct MdadmConfig {}
}

/// What mdstat says is going on in an array, and the state's label. The first that fits counts; `None` for what no label
/// stands for.
const ACTIONS: [(&[u8], Option<&str>); 4] =
    [(b"recovery", Some("recovering")), (b"reshape", None), (b"check", Some("check")), (b"resync", Some("resync"))];

const STATES: [&str; 5] = ["active", "inactive", "recovering", "resync", "check"];

/// The `mdadm` collector.
pub struct Mdadm {
    mdstat: KernelFile,
    block: PathBuf,
    attributes: Attributes,
}

/// What mdstat tells of an array.
#[derive(Default, PartialEq, Debug)]
struct Array<'t> {
    name: &'t [u8],
    state: Option<&'t [u8]>,
    active: f64,
    required: f64,
    failed: usize,
    spare: usize,
    blocks: f64,
    synced: f64,
}

impl Mdadm {
    pub fn new(_: &MdadmConfig, roots: &Roots) -> Mdadm {
        Mdadm {
            mdstat: KernelFile::new(roots.proc("mdstat")),
            block: roots.sys("block"),
            attributes: Attributes::default(),
        }
    }

    /// What sysfs has of an array.
    fn attributes(&mut self, folder: &Path, device: Label, out: &mut Gathered) {
        // While it is reshaped: `NEW (OLD)`.
        let disks = self.attributes.text(&folder.join("raid_disks"));
        if let Some(disks) = out.keep(disks).flatten().and_then(|text| number(first_field(text))) {
            out.gauge("node_md_raid_disks", "Number of raid disks on device.", &[device], disks);
            // Levels without redundancy have no such file, and lack no disk.
            let degraded = out.keep(self.attributes.number(&folder.join("degraded"))).flatten().unwrap_or(0.0);
            out.gauge("node_md_degraded", "Number of degraded disks on device.", &[device], degraded);
        }
    }
}

impl Collector for Mdadm {
    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        let mut gathered = Gathered::default();
        let text = self.mdstat.read()?;
        let (arrays, fault) = parse(text);
        for array in &arrays {
            array.write(&mut gathered);
        }
        if let Some((line, what)) = fault {
            gathered.keep(Err::<(), _>(CollectError::parse(self.mdstat.path(), line, what)));
        }
        // A container may have /proc without /sys.
        let devices = gathered.keep(names_if_any(&self.block)).unwrap_or_default();
        for name in devices.iter().filter(|n| n.as_bytes().starts_with(b"md")) {
            let folder = self.block.join(name).join("md");
            self.attributes(&folder, ("device", name.as_bytes()), &mut gathered);
        }
        gathered.write(out)
    }
}

impl Array<'_> {
    fn write(&self, out: &mut Gathered) {
        let device = ("device", self.name);
        for state in STATES {
            let is = f64::from(self.state == Some(state.as_bytes()));
            let labels = [device, ("state", state.as_bytes())];
            out.gauge("node_md_state", "Indicates the state of md-device.", &labels, is);
        }
        for (state, count) in [("active", self.active), ("failed", self.failed as f64), ("spare", self.spare as f64)] {
            let labels = [device, ("state", state.as_bytes())];
            out.gauge("node_md_disks", "Number of active/failed/spare disks of device.", &labels, count);
        }
        out.gauge("node_md_disks_required", "Total number of disks of device.", &[device], self.required);
        out.gauge("node_md_blocks", "Total number of blocks on device.", &[device], self.blocks);
        out.gauge("node_md_blocks_synced", "Number of blocks synced on device.", &[device], self.synced);
    }
}

/// The arrays of mdstat; and of the first that could not be read, the line and what is wrong with it.
fn parse(text: &[u8]) -> (Vec<Array<'_>>, Option<(usize, String)>) {
    let mut arrays = Vec::new();
    let mut fault = None;
    let mut rest = text.split(|b| *b == b'\n').enumerate().peekable();
    while let Some((i, title)) = rest.next() {
        let about_all = [&b"Personalities"[..], b"unused"].iter().any(|word| title.starts_with(word));
        if about_all || is_indented(title) || first_field(title).is_empty() {
            continue;
        }
        let mut details = Vec::new();
        while let Some((_, line)) = rest.next_if(|(_, line)| is_indented(line)) {
            details.push(line);
        }
        match Array::parse(title, &details) {
            Ok(array) => arrays.push(array),
            Err(what) => {
                let name = String::from_utf8_lossy(first_field(title));
                fault.get_or_insert((i + 1, format!("{name}: {what}")));
            }
        }
    }
    (arrays, fault)
}

fn is_indented(line: &[u8]) -> bool {
    line.first().is_some_and(|b| matches!(b, b' ' | b'\t'))
}

impl<'t> Array<'t> {
    /// From its line with name, state, level and disks, and those below it.
    fn parse(title: &'t [u8], details: &[&[u8]]) -> Result<Array<'t>, &'static str> {
        let mut words = fields(title);
        let (Some(name), Some(b":"), Some(state)) = (words.next(), words.next(), words.next()) else {
            return Err("not name, colon and state");
        };
        let (status, progress) = details.split_first().ok_or("no line below it")?;
        let blocks = number(first_field(status)).ok_or("no number of blocks")?;
        let counts = |what: &[u8]| memchr::memmem::find_iter(title, what).count();
        let has = |what: &[u8]| counts(what) > 0;

        let mut array = Array { name, state: Some(state), blocks, synced: blocks, ..Array::default() };
        (array.failed, array.spare) = (counts(b"(F)"), counts(b"(S)"));
        if has(b"raid0") || has(b"linear") {
            // Without redundancy, all disks that it names are needed.
            array.required = counts(b"[") as f64;
            array.active = array.required;
        } else if state != b"inactive" {
            (array.required, array.active) = fields(status).find_map(disks).ok_or("no numbers of disks")?;
        }
        for line in progress {
            let Some((_, label)) = ACTIONS.iter().find(|(word, _)| memchr::memmem::find(line, word).is_some()) else {
                continue;
            };
            array.state = label.map(str::as_bytes);
            // `resync=DELAYED`, PENDING and REMOTE have no numbers.
            array.synced = fields(line).find_map(synced).unwrap_or(0.0);
            break;
        }
        Ok(array)
    }
}

/// `[2/1]`: disks required and active.
fn disks(field: &[u8]) -> Option<(f64, f64)> {
    let (required, active) = split_once(field.strip_prefix(b"[")?.strip_suffix(b"]")?, b'/')?;
    Some((number(required)?, number(active)?))
}

/// `(16775552/195310144)`: blocks that are in sync, of all.
fn synced(field: &[u8]) -> Option<f64> {
    let (synced, _) = split_once(field.strip_prefix(b"(")?.strip_suffix(b")")?, b'/')?;
    number(synced)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::{Runner, Tree, conforms, never_panics, starting};
    use crate::fuzz::Fuzz;

    const MDSTAT: &str = "Personalities : [raid1] [raid6] [raid5] [raid4]\n\
        md6 : active raid1 sdb2[2](F) sdc[1](S) sda2[0]\n      195310144 blocks [2/1] [U_]\n      \
        bitmap: 0/30 pages [0KB], 65536KB chunk\n      \
        [=>...................]  recovery =  8.5% (16775552/195310144) finish=17.0min speed=259783K/sec\n\n\
        md7 : active raid5 sda[0] sdb[1] sdc[2]\n      1000 blocks super 1.2 level 5, 512k chunk [3/3] [UUU]\n      \
        [>....................]  reshape =  1.0% (10/1000) finish=1.0min speed=1K/sec\n\n\
        unused devices: <none>\n";
    const FILES: [(&str, &str); 4] = [
        ("proc/mdstat", MDSTAT),
        ("sys/block/md6/md/raid_disks", "2\n"),
        ("sys/block/md6/md/degraded", "1\n"),
        ("sys/block/md7/md/raid_disks", "4 (3)\n"),
    ];

    fn build(roots: &Roots) -> Mdadm {
        Mdadm::new(&MdadmConfig::default(), roots)
    }

    #[test]
    fn an_array_that_recovers_and_one_that_is_reshaped() {
        let lines = Runner::new(build(&Tree::new(&FILES).roots())).lines();
        let holds: Vec<_> = starting(&lines, "node_md_state").into_iter().filter(|l| l.ends_with(" 1")).collect();
        assert_eq!(holds, ["node_md_state{device=\"md6\",state=\"recovering\"} 1"]);
        let expected = [
            "node_md_disks{device=\"md6\",state=\"active\"} 1",
            "node_md_disks{device=\"md6\",state=\"failed\"} 1",
            "node_md_disks{device=\"md6\",state=\"spare\"} 1",
            "node_md_disks{device=\"md7\",state=\"active\"} 3",
            "node_md_disks{device=\"md7\",state=\"failed\"} 0",
            "node_md_disks{device=\"md7\",state=\"spare\"} 0",
            "node_md_disks_required{device=\"md6\"} 2",
            "node_md_disks_required{device=\"md7\"} 3",
            "node_md_blocks{device=\"md6\"} 195310144",
            "node_md_blocks{device=\"md7\"} 1000",
            "node_md_blocks_synced{device=\"md6\"} 16775552",
            "node_md_blocks_synced{device=\"md7\"} 10",
            "node_md_raid_disks{device=\"md6\"} 2",
            "node_md_raid_disks{device=\"md7\"} 4",
            "node_md_degraded{device=\"md6\"} 1",
            "node_md_degraded{device=\"md7\"} 0",
        ];
        assert_eq!(lines[10..], expected);
    }

    #[test]
    fn an_array_that_makes_no_sense_is_named_and_the_others_are_served() {
        let tree = Tree::new(&[(
            "proc/mdstat",
            "md1 : active raid1 sda[0]\n      7 blocks\nmd2 : inactive sda[0](S)\n 8 blocks\n",
        )]);
        let (lines, error) = Runner::new(build(&tree.roots())).failure();
        assert_eq!(starting(&lines, "node_md_blocks{"), ["node_md_blocks{device=\"md2\"} 8"]);
        assert!(error.ends_with("mdstat:1: md1: no numbers of disks"), "{error}");
        let tree = Tree::new::<&str>(&[]);
        assert!(Runner::new(build(&tree.roots())).failure().1.starts_with("no data:"));
    }

    #[test]
    fn garbage_never_panics() {
        never_panics(&FILES, build);
    }

    #[test]
    fn as_node_exporter() {
        conforms(&["proc/mdstat", "sys/block"], |name| name.starts_with("node_md_"), build);
    }

    #[test]
    fn no_list_of_arrays_makes_it_panic() {
        Fuzz::of(&[FILES[0].1]).bytes(|text| assert!(parse(text).0.len() <= text.len()));
    }
}
