//! `filesystem`: how full the mounted filesystems are, from statfs(2) on the mounts of `/proc/1/mountinfo`
//! (`/proc/self/mountinfo` where another process' is hidden).
//!
//! | metric | type | labels |
//! | --- | --- | --- |
//! | `node_filesystem_size_bytes`, `_free_bytes`, `_avail_bytes` | gauge | `device`, `mountpoint`, `fstype`, `device_error` |
//! | `node_filesystem_files`, `node_filesystem_files_free` | gauge | the same |
//! | `node_filesystem_purgeable_bytes` | gauge, always 0: only macOS has such space | the same |
//! | `node_filesystem_readonly`, `node_filesystem_device_error` | gauge | the same |
//! | `node_filesystem_mount_info` | gauge, always 1 | `device`, `major`, `minor`, `mountpoint` |
//!
//! Filesystems that may hang (network, FUSE) are asked on threads of their own. A tick waits 100 ms for the
//! answers and no longer: a slow one keeps its last numbers, and one that has not answered for `mount_timeout` has
//! `node_filesystem_device_error` 1 with the label `device_error="mountpoint timeout"`, until it answers; the log
//! names it once.
//!
//! Configuration: `mount_points_include`, `mount_points_exclude`, `fs_types_include`, `fs_types_exclude`,
//! `mount_timeout`, `stat_workers`.

pub(super) mod mounts;
mod probe;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::mounts::Mount;
use self::probe::{Answer, Probe, Probes, StatFs, Usage};
use super::search::{Filter, Search, check_pair};
use super::{CollectError, Collector, KernelFile, Roots};
use crate::model::Writer;
use crate::yaml::{Faults, Node};

const MOUNT_POINTS_EXCLUDE: &str =
    "^/(dev|proc|run/credentials/.+|sys|var/lib/docker/.+|var/lib/containers/storage/.+)($|/)";

const FS_TYPES_EXCLUDE: &str = concat!(
    "^(autofs|binfmt_misc|bpf|cgroup2?|configfs|debugfs|devpts|devtmpfs|fusectl|hugetlbfs|iso9660|mqueue|nsfs|overlay",
    "|proc|procfs|pstore|rpc_pipefs|securityfs|selinuxfs|squashfs|erofs|sysfs|tracefs)$",
);

crate::section! {
    check = |section: &mut FilesystemConfig, node: &Node, faults: &mut Faults| {
        check_pair(
            ("mount_points_include", &section.mount_points_include),
            ("mount_points_exclude", &section.mount_points_exclude, &Search::fixed(MOUNT_POINTS_EXCLUDE)),
            node,
            faults,
        );
        check_pair(
            ("fs_types_include", &section.fs_types_include),
            ("fs_types_exclude", &section.fs_types_exclude, &Search::fixed(FS_TYPES_EXCLUDE)),
            node,
            faults,
        );
    };
    /// `collectors.filesystem`.
    pub struct FilesystemConfig {
        /// The only mount points exported; not together with `mount_points_exclude`.
        pub mount_points_include: Option<Search> = None,
        /// Mount points left out.
        pub mount_points_exclude: Search = Search::fixed(MOUNT_POINTS_EXCLUDE),
        /// The only types of filesystems exported; not together with `fs_types_exclude`.
        pub fs_types_include: Option<Search> = None,
        /// Types of filesystems left out.
        pub fs_types_exclude: Search = Search::fixed(FS_TYPES_EXCLUDE),
        /// How long a mount may take to answer before it is reported as hanging.
        pub mount_timeout: Duration = Duration::from_secs(5),
        /// How many filesystems that may hang are asked at a time (1 to 64): more where many mounts may be dead at once.
        pub stat_workers: usize = 16,
    }
}

/// More mounts than are worth a series each; the writer's own limit is lower.
const MAX_MOUNTS: usize = 10_000;

/// How long a tick waits for the filesystems that may hang, all together.
const PATIENCE: Duration = Duration::from_millis(100);

const LABELS: [&str; 4] = ["device", "mountpoint", "fstype", "device_error"];

/// Name, help, and which number it is.
type Family = (&'static str, &'static str, fn(&Usage) -> f64);

const FAMILIES: [Family; 6] = [
    ("node_filesystem_size_bytes", "Filesystem size in bytes.", |u| u.size),
    ("node_filesystem_free_bytes", "Filesystem free space in bytes.", |u| u.free),
    ("node_filesystem_avail_bytes", "Filesystem space available to non-root users in bytes.", |u| u.available),
    ("node_filesystem_files", "Filesystem total file nodes.", |u| u.files),
    ("node_filesystem_files_free", "Filesystem total free file nodes.", |u| u.files_free),
    // node_exporter has it on Linux too.
    (
        "node_filesystem_purgeable_bytes",
        "Filesystem space available including purgeable space (MacOS specific).",
        |_| 0.0,
    ),
];

/// The `filesystem` collector.
pub struct Filesystem {
    /// Of the first process and, where that may not be read, of the agent itself.
    tables: [KernelFile; 2],
    roots: Roots,
    mount_points: Filter,
    fs_types: Filter,
    timeout: Duration,
    statfs: StatFs,
    probes: Probes,
    timed_out: Arc<str>,
    /// The table's text that `mounts` was made of.
    text: Vec<u8>,
    /// The number of the table's first line that is none.
    fault: Option<usize>,
    mounts: Vec<Watched>,
}

/// A mount that is exported, and what is known of it.
struct Watched {
    mount: Mount,
    /// For one that may hang.
    probe: Option<Arc<Probe>>,
    /// `None` until there is a first one.
    answer: Option<Answer>,
    /// It has not answered for `mount_timeout`, which was said.
    hangs: bool,
}

impl Filesystem {
    pub fn new(config: &FilesystemConfig, roots: &Roots) -> Filesystem {
        Filesystem::with_statfs(config, roots, Arc::new(probe::statfs))
    }

    fn with_statfs(config: &FilesystemConfig, roots: &Roots, statfs: StatFs) -> Filesystem {
        let filter =
            |include: &Option<Search>, exclude: &Search| Filter { include: include.clone(), exclude: exclude.clone() };
        Filesystem {
            tables: ["1/mountinfo", "self/mountinfo"].map(|path| KernelFile::new(roots.proc(path))),
            roots: roots.clone(),
            mount_points: filter(&config.mount_points_include, &config.mount_points_exclude),
            fs_types: filter(&config.fs_types_include, &config.fs_types_exclude),
            timeout: config.mount_timeout,
            probes: Probes::new(statfs.clone(), config.stat_workers),
            statfs,
            timed_out: "mountpoint timeout".into(),
            text: Vec::new(),
            fault: None,
            mounts: Vec::new(),
        }
    }

    /// Reads the table of mounts, and where it has changed, makes the list anew. What is wrong with a line of it, if
    /// anything; the other lines count.
    fn read_mounts(&mut self) -> Result<Option<CollectError>, CollectError> {
        let [first, own] = &mut self.tables;
        let (table, text) = match first.read() {
            Ok(text) => (0, text),
            Err(error) => (1, own.read().map_err(|_| error)?),
        };
        if text != self.text {
            self.text.clear();
            self.text.extend_from_slice(text);
            self.list_mounts();
        }
        let (fault, file) = (self.fault, self.tables.get(table));
        Ok(fault.zip(file).map(|(line, file)| CollectError::parse(file.path(), line, "not a mount")))
    }

    /// Makes the list of mounts from the table's text. Those that stay keep what is known of them.
    fn list_mounts(&mut self) {
        let (mounts, fault) = mounts::parse(&self.text, &self.roots);
        self.fault = fault;
        let mut known: HashMap<Mount, Watched> = self.mounts.drain(..).map(|w| (w.mount.clone(), w)).collect();
        let mut places: HashMap<[Vec<u8>; 3], usize> = HashMap::new();
        for mount in mounts {
            if !self.mount_points.wants(&mount.mountpoint) || !self.fs_types.wants(&mount.fstype) {
                continue;
            }
            let series = [mount.device.clone(), mount.mountpoint.clone(), mount.fstype.clone()];
            let place = *places.entry(series).or_insert(self.mounts.len());
            if place >= MAX_MOUNTS {
                break;
            }
            if self.mounts.get(place).is_some_and(|w| w.mount == mount) {
                continue;
            }
            let watched = known.remove(&mount).unwrap_or_else(|| Watched {
                probe: mount.may_hang().then(|| Probe::new(&mount.path)),
                mount,
                answer: None,
                hangs: false,
            });
            match self.mounts.get_mut(place) {
                // Mounted over another of the same name: only the upper one can be seen.
                Some(lower) => *lower = watched,
                None => self.mounts.push(watched),
            }
        }
    }

    /// Asks all mounts.
    fn ask(&mut self) {
        self.probes.ask(self.mounts.iter().filter_map(|w| w.probe.as_ref()), PATIENCE);
        let now = Instant::now();
        for watched in &mut self.mounts {
            let Some(probe) = &watched.probe else {
                watched.answer = Some(probe::ask(&self.statfs, &watched.mount.path));
                continue;
            };
            let hangs = probe.asked().is_some_and(|asked| now.duration_since(asked) >= self.timeout);
            watched.answer = if hangs { Some(Err(self.timed_out.clone())) } else { probe.last() };
            watched.log_change(hangs);
        }
    }
}

impl Watched {
    /// Says once that the mount hangs, and once that it is back.
    fn log_change(&mut self, hangs: bool) {
        if std::mem::replace(&mut self.hangs, hangs) == hangs {
            return;
        }
        let [mountpoint, device, fstype] =
            [&self.mount.mountpoint, &self.mount.device, &self.mount.fstype].map(|text| String::from_utf8_lossy(text));
        if hangs {
            tracing::warn!(%mountpoint, %device, %fstype, "mount does not answer: left out until it does");
        } else {
            tracing::info!(%mountpoint, %device, %fstype, "mount answers again");
        }
    }

    fn labels<'w>(&'w self, error: &'w str) -> [&'w [u8]; 4] {
        [&self.mount.device, &self.mount.mountpoint, &self.mount.fstype, error.as_bytes()]
    }
}

impl Collector for Filesystem {
    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        let fault = self.read_mounts()?;
        self.ask();

        let answered = || self.mounts.iter().filter_map(|w| Some((w, w.answer.as_ref()?)));
        let help = "Whether an error occurred while getting statistics for the given device.";
        let mut family = out.gauge("node_filesystem_device_error", help, LABELS);
        for (watched, answer) in answered() {
            let error = answer.as_ref().err().map_or("", |e| &**e);
            family.put(watched.labels(error), f64::from(answer.is_err()));
        }
        let mut family = out.gauge("node_filesystem_readonly", "Filesystem read-only status.", LABELS);
        for (watched, answer) in answered() {
            let error = answer.as_ref().err().map_or("", |e| &**e);
            family.put(watched.labels(error), f64::from(watched.mount.readonly));
        }
        let good = || answered().filter_map(|(w, answer)| Some((w, answer.as_ref().ok()?)));
        for (name, help, number) in FAMILIES {
            let mut family = out.gauge(name, help, LABELS);
            for (watched, usage) in good() {
                family.put(watched.labels(""), number(usage));
            }
        }
        let labels = ["device", "major", "minor", "mountpoint"];
        let mut family = out.gauge("node_filesystem_mount_info", "Filesystem mount information.", labels);
        for (Watched { mount, .. }, _) in good() {
            family.put([&mount.device, &mount.major, &mount.minor, &mount.mountpoint], 1.0);
        }
        fault.map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::Path;
    use std::sync::Mutex;

    use super::*;
    use crate::collect::testing::{Runner, Tree, logged, never_panics, starting};

    const MOUNTS: &str = "29 1 259:2 / / rw,relatime shared:1 - ext4 /dev/dm-2 rw,errors=remount-ro\n\
        25 29 0:23 / /proc rw,relatime - proc proc rw\n\
        31 26 0:26 / /dev/shm rw,nosuid - tmpfs tmpfs rw\n\
        48 45 260:3 / /boot ro,relatime shared:92 - ext2 /dev/sda3 rw\n\
        49 45 260:3 / /boot ro,relatime shared:92 - ext2 /dev/sda3 rw\n\
        194 21 0:42 / /mnt/dead rw - nfs4 server:/dead rw,vers=4.0\n\
        195 21 0:43 / /mnt/well\\040done rw - nfs4 server:/well rw,vers=4.0\n";

    const USAGE: Usage = Usage { size: 1000.0, free: 500.0, available: 400.0, files: 100.0, files_free: 50.0 };

    fn tree() -> Tree {
        Tree::new(&[("proc/1/mountinfo", MOUNTS)])
    }

    fn build(
        tree: &Tree,
        timeout: Duration,
        statfs: impl Fn(&Path) -> io::Result<Usage> + Send + Sync + 'static,
    ) -> Filesystem {
        let config = FilesystemConfig { mount_timeout: timeout, ..FilesystemConfig::default() };
        Filesystem::with_statfs(&config, &tree.roots(), Arc::new(statfs))
    }

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn how_full_the_mounts_are() {
        let tree = tree();
        let mut run = Runner::new(build(&tree, HOUR, |path| match path.ends_with("boot") {
            true => Err(rustix::io::Errno::ACCESS.into()),
            false => Ok(USAGE),
        }));
        let lines = run.lines();
        let root = "device=\"/dev/dm-2\",mountpoint=\"/\",fstype=\"ext4\",device_error=\"\"";
        for (name, value) in [
            ("device_error", 0),
            ("readonly", 0),
            ("size_bytes", 1000),
            ("free_bytes", 500),
            ("avail_bytes", 400),
            ("files", 100),
            ("files_free", 50),
            ("purgeable_bytes", 0),
        ] {
            let line = format!("node_filesystem_{name}{{{root}}} {value}");
            assert!(lines.contains(&line), "{line}\n{lines:#?}");
        }
        let boot = "device=\"/dev/sda3\",mountpoint=\"/boot\",fstype=\"ext2\",device_error=\"permission denied\"";
        assert_eq!(
            lines.iter().filter(|l| l.contains("/boot")).collect::<Vec<_>>(),
            [&format!("node_filesystem_device_error{{{boot}}} 1"), &format!("node_filesystem_readonly{{{boot}}} 1")]
        );
        assert_eq!(
            starting(&lines, "node_filesystem_mount_info"),
            [
                "node_filesystem_mount_info{device=\"/dev/dm-2\",major=\"259\",minor=\"2\",mountpoint=\"/\"} 1",
                "node_filesystem_mount_info{device=\"server:/dead\",major=\"0\",minor=\"42\",mountpoint=\"/mnt/dead\"} 1",
                "node_filesystem_mount_info{device=\"server:/well\",major=\"0\",minor=\"43\",mountpoint=\"/mnt/well done\"} 1",
            ]
        );
    }

    #[test]
    fn the_own_table_where_that_of_the_first_process_is_hidden() {
        let tree = Tree::new(&[("proc/self/mountinfo", MOUNTS)]);
        assert_eq!(
            starting(&Runner::new(build(&tree, HOUR, |_| Ok(USAGE))).lines(), "node_filesystem_files{").len(),
            4
        );
        let empty = Tree::new::<&str>(&[]);
        let error = Runner::new(build(&empty, HOUR, |_| Ok(USAGE))).failure().1;
        assert!(error.starts_with("no data:") && error.contains("1/mountinfo"), "{error}");
    }

    #[test]
    fn what_is_mounted_later_is_seen_and_a_bad_line_is_named() {
        let tree = tree();
        let mut run = Runner::new(build(&tree, HOUR, |_| Ok(USAGE)));
        assert_eq!(starting(&run.lines(), "node_filesystem_files{").len(), 4);
        tree.write("proc/1/mountinfo", format!("{MOUNTS}50 29 8:1 / /data rw - xfs /dev/sdb1 rw\nrubbish\n"));
        for _ in 0..2 {
            let (lines, error) = run.failure();
            assert_eq!(starting(&lines, "node_filesystem_files{").len(), 5);
            assert!(error.ends_with("mountinfo:9: not a mount"), "{error}");
        }
        tree.write("proc/1/mountinfo", "");
        assert!(run.lines().is_empty());
    }

    #[test]
    fn one_dead_mount_is_reported_the_others_are_served_and_it_comes_back() {
        let gate = Arc::new(Mutex::new(()));
        let dead = gate.lock().unwrap();
        let tree = tree();
        let inside = gate.clone();
        let mut run = Runner::new(build(&tree, Duration::from_millis(300), move |path| {
            if path.ends_with("dead") {
                drop(inside.lock());
            }
            Ok(USAGE)
        }));
        let mut lines = Vec::new();
        let log = logged(|| {
            assert_eq!(starting(&run.lines(), "node_filesystem_size_bytes").len(), 3);
            std::thread::sleep(Duration::from_millis(300));
            lines = run.lines();
            run.lines();
        });
        assert!(log.lines().count() == 1 && log.contains("WARN") && log.contains("mountpoint=/mnt/dead"), "{log}");
        assert_eq!(starting(&lines, "node_filesystem_size_bytes").len(), 3);
        let error = "node_filesystem_device_error{device=\"server:/dead\",mountpoint=\"/mnt/dead\",fstype=\"nfs4\",\
            device_error=\"mountpoint timeout\"} 1";
        assert!(lines.iter().any(|l| l == error), "{lines:#?}");

        drop(dead);
        let log = logged(|| {
            let end = Instant::now() + Duration::from_secs(20);
            while starting(&run.lines(), "node_filesystem_size_bytes").len() < 4 {
                assert!(Instant::now() < end, "it never came back");
                std::thread::sleep(Duration::from_millis(5));
            }
            assert!(!run.lines().iter().any(|l| l.contains("mountpoint timeout")));
        });
        assert!(log.lines().count() == 1 && log.contains("INFO") && log.contains("mountpoint=/mnt/dead"), "{log}");
    }

    #[test]
    fn a_slow_mount_keeps_its_last_numbers() {
        let gate = Arc::new(Mutex::new(()));
        let tree = tree();
        let inside = gate.clone();
        let mut run = Runner::new(build(&tree, HOUR, move |path| {
            if path.ends_with("dead") {
                drop(inside.lock());
            }
            Ok(USAGE)
        }));
        while starting(&run.lines(), "node_filesystem_size_bytes").len() < 4 {}
        let slow = gate.lock().unwrap();
        for _ in 0..3 {
            assert_eq!(starting(&run.lines(), "node_filesystem_size_bytes").len(), 4);
        }
        drop(slow);
    }

    #[test]
    fn the_hosts_own_root() {
        let lines = Runner::new(Filesystem::new(&FilesystemConfig::default(), &Roots::default())).lines();
        assert!(!starting(&lines, "node_filesystem_device_error").is_empty());
    }

    #[test]
    fn garbage_never_panics() {
        let config = FilesystemConfig::default();
        never_panics(&[("proc/1/mountinfo", MOUNTS)], |roots| {
            Filesystem::with_statfs(&config, roots, Arc::new(|_: &Path| Ok(USAGE)))
        });
    }
}
