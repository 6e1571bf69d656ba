//! What the collectors' tests share: trees of kernel files, runs, damaged files, and the comparison with
//! node_exporter.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, LazyLock, Mutex};

use rustix::fs::{Timespec, Timestamps, futimens};
use tempfile::TempDir;

use super::{CollectError, Collector, Roots};
use crate::fuzz::{self, Corpus, Random};
use crate::model::{Labels, Section, SeriesTable, Writer};

/// A temporary tree of kernel files: `proc/...`, `sys/...`, `udev/...`, `root/...`.
pub struct Tree {
    dir: TempDir,
}

impl Tree {
    pub fn new<T: AsRef<[u8]>>(files: &[(&str, T)]) -> Tree {
        Tree::with(tempfile::tempdir().expect("a temporary directory"), files)
    }

    /// A tree that is in no disk's way, where there is a file system in memory.
    fn in_memory<T: AsRef<[u8]>>(files: &[(&str, T)]) -> Tree {
        match tempfile::tempdir_in("/dev/shm") {
            Ok(dir) => Tree::with(dir, files),
            Err(_) => Tree::new(files),
        }
    }

    fn with<T: AsRef<[u8]>>(dir: TempDir, files: &[(&str, T)]) -> Tree {
        let tree = Tree { dir };
        for (path, text) in files {
            tree.write(path, text);
        }
        tree
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    /// Writes a file, and the directories above it.
    pub fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().expect("a file in the tree")).expect("directories");
        std::fs::write(path, text).expect("a file");
    }

    /// Removes a file; one that is not there is none too many.
    pub fn remove(&self, path: &str) {
        if let Err(e) = std::fs::remove_file(self.path(path)) {
            assert_eq!(e.kind(), std::io::ErrorKind::NotFound, "{path}");
        }
    }

    /// How many descriptors of this process are open below the tree.
    pub fn open_files(&self) -> usize {
        let descriptors = std::fs::read_dir("/proc/self/fd").expect("the test runs on Linux");
        let targets = descriptors.filter_map(|d| std::fs::read_link(d.ok()?.path()).ok());
        targets.filter(|target| target.starts_with(self.dir.path())).count()
    }

    pub fn roots(&self) -> Roots {
        roots_in(self.dir.path(), "root", "udev")
    }
}

fn roots_in(dir: &Path, root: &str, udev: &str) -> Roots {
    Roots { procfs: dir.join("proc"), sysfs: dir.join("sys"), rootfs: dir.join(root), udev_data: dir.join(udev) }
}

/// Series that a collector may have in a test.
pub const SERIES: usize = 100_000;

/// Runs a collector tick after tick, through one writer, as the sampler does.
pub struct Runner<C> {
    pub collector: C,
    writer: Writer,
}

impl<C: Collector> Runner<C> {
    pub fn new(collector: C) -> Runner<C> {
        Runner { collector, writer: Writer::new("test", Arc::new(SeriesTable::new(Labels::empty())), SERIES) }
    }

    /// One run: what was written, and the outcome.
    pub fn section(&mut self) -> (Arc<Section>, Result<(), CollectError>) {
        let result = self.collector.collect(&mut self.writer);
        (self.writer.finish().0, result)
    }

    /// One run: its samples as the text format prints them, and the outcome.
    pub fn run(&mut self) -> (Vec<String>, Result<(), CollectError>) {
        let (section, result) = self.section();
        (lines(&section), result)
    }

    /// One run that succeeds: its samples as the text format prints them.
    pub fn lines(&mut self) -> Vec<String> {
        let (section, result) = self.section();
        result.expect("a run that succeeds");
        lines(&section)
    }

    /// One run that fails: its samples, and the error's text.
    pub fn failure(&mut self) -> (Vec<String>, String) {
        let (section, result) = self.section();
        (lines(&section), result.expect_err("a run that fails").to_string())
    }
}

/// A section's samples as the text format prints them, in the order of writing.
pub fn lines(section: &Section) -> Vec<String> {
    (0..section.layout.len())
        .filter(|i| !section.layout.prefix(*i).is_empty())
        .map(|i| format!("{}{}", String::from_utf8_lossy(section.layout.prefix(i)), section.values[i]))
        .collect()
}

/// The lines that begin with `start`.
pub fn starting<'l>(lines: &'l [String], start: &str) -> Vec<&'l str> {
    lines.iter().map(String::as_str).filter(|l| l.starts_with(start)).collect()
}

/// What is logged while `run` runs.
pub fn logged(run: impl FnOnce()) -> String {
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);
    impl std::io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).finish();
    tracing::subscriber::with_default(subscriber, run);
    String::from_utf8(log.0.lock().unwrap().clone()).unwrap()
}

/// Cases that a collector goes through before it is made anew.
const STEPS: u64 = 8;

/// A file of the tree, open for its damage: what is written is there at once, and most cases touch one or two files.
struct Target<'f> {
    path: &'f str,
    good: &'f [u8],
    file: File,
    now: Vec<u8>,
    hidden: bool,
}

impl Target<'_> {
    fn write(&mut self, text: &[u8], clock: &mut i64) {
        self.file.write_all_at(text, 0).expect("a file written");
        if text.len() < self.now.len() {
            self.file.set_len(text.len() as u64).expect("a file cut off");
        }
        // The file system's own clock may stand still between two writes, and some collectors go by it.
        *clock += 1;
        let time = Timespec { tv_sec: *clock, tv_nsec: 0 };
        futimens(&self.file, &Timestamps { last_access: time, last_modification: time }).expect("a file's time");
        self.now.clear();
        self.now.extend_from_slice(text);
    }
}

/// A tree whose files are damaged and made good again.
struct Damaged<'f> {
    tree: Tree,
    targets: Vec<Target<'f>>,
    corpus: Corpus,
    changed: Vec<usize>,
    clock: i64,
    text: Vec<u8>,
}

impl<'f> Damaged<'f> {
    fn new(files: &[(&'f str, &'f str)]) -> Damaged<'f> {
        let tree = Tree::in_memory(files);
        std::fs::create_dir(tree.path("hidden")).expect("a directory");
        let target = |(path, text): &(&'f str, &'f str)| {
            let file = File::options().write(true).open(tree.path(path)).expect("a file");
            Target { path, good: text.as_bytes(), file, now: text.as_bytes().to_vec(), hidden: false }
        };
        let targets = files.iter().map(target).collect();
        let good: Vec<&str> = files.iter().map(|(_, text)| *text).collect();
        Damaged { tree, targets, corpus: Corpus::of(&good), changed: Vec::new(), clock: 1 << 30, text: Vec::new() }
    }

    /// Damages a file: its content, or there is none any more. A collector that has it open goes on reading it, as it
    /// would a procfs file.
    fn damage(&mut self, which: usize, random: &mut Random) {
        let target = &mut self.targets[which];
        self.changed.push(which);
        if !target.hidden && random.once_in(24) {
            let hidden = self.tree.path("hidden").join(which.to_string());
            std::fs::rename(self.tree.path(target.path), hidden).expect("a file moved");
            target.hidden = true;
            return;
        }
        self.text.clone_from(&target.now);
        match random.below(16) {
            0 => self.corpus.make(random, &mut self.text),
            _ => self.corpus.damage(random, &mut self.text),
        }
        target.write(&self.text, &mut self.clock);
    }

    fn restore(&mut self) {
        for which in self.changed.drain(..) {
            let target = &mut self.targets[which];
            if target.hidden {
                let hidden = self.tree.path("hidden").join(which.to_string());
                std::fs::rename(hidden, self.tree.path(target.path)).expect("a file moved");
                target.hidden = false;
            }
            if target.now != target.good {
                target.write(target.good, &mut self.clock);
            }
        }
    }

    fn length(&self) -> usize {
        self.targets.iter().map(|target| target.now.len()).sum()
    }
}

/// Shows what the files hold when a collector panics.
impl Drop for Damaged<'_> {
    fn drop(&mut self) {
        for target in self.targets.iter().filter(|_| std::thread::panicking()) {
            if target.hidden || target.now != target.good {
                let start = &target.now[..target.now.len().min(4096)];
                let place = if target.hidden { " (moved away)" } else { "" };
                eprintln!("fuzz: {}{place}: b\"{}\"", target.path, start.escape_ascii());
            }
        }
    }
}

/// Runs a collector on damaged versions of `files` (path in the tree, a good capture), as many as [`crate::fuzz`] says.
///
/// The collector is run on the good files, on damaged ones again and again, in between a new one on them, and on the good
/// ones at last: there it must give what it gave at first, if one file alone was damaged; what it read of one because
/// another had changed it may keep. Nowhere may it panic, take more memory or give more samples than files of that length
/// can be worth.
#[track_caller]
pub fn never_panics<C: Collector>(files: &[(&str, &str)], build: impl Fn(&Roots) -> C) {
    never_panics_of_many(0, files, build);
}

/// The same for a collector whose files may stand for `more` samples however short they are: a list of CPUs, `0-65535`.
#[track_caller]
pub fn never_panics_of_many<C: Collector>(more: usize, files: &[(&str, &str)], build: impl Fn(&Roots) -> C) {
    let mut damaged = Damaged::new(files);
    let roots = damaged.tree.roots();
    let first = Runner::new(build(&roots)).section().0;
    let (good, samples) = (prefixes(&first), first.values.len());
    fuzz::run(STEPS, |random| {
        let alone = (files.len() == 1 || random.once_in(2)).then(|| random.below(files.len()));
        let mut run = Runner::new(build(&roots));
        let _ = run.section();
        let mut before = 0;
        for _ in 0..STEPS {
            for _ in 0..=random.below(2) {
                let which = alone.unwrap_or_else(|| random.below(files.len()));
                damaged.damage(which, random);
            }
            let (now, anew) = (damaged.length(), random.once_in(4));
            // A writer makes room for as much as there was in its last run.
            let length = if anew { now } else { now.max(std::mem::replace(&mut before, now)) };
            let section = fuzz::bounded(fuzz::allowed(length + more), || {
                if anew { Runner::new(build(&roots)).section().0 } else { run.section().0 }
            });
            let most = 10 * samples + 2 * length + more;
            assert!(section.values.len() <= most, "{} samples of {length} bytes", section.values.len());
            if random.once_in(2) {
                damaged.restore();
            }
        }
        damaged.restore();
        if alone.is_some() {
            let last = prefixes(&run.section().0);
            let series =
                |text: &[u8]| -> BTreeSet<String> { String::from_utf8_lossy(text).lines().map(Into::into).collect() };
            let differ = || series(&last).symmetric_difference(&series(&good)).cloned().collect::<Vec<_>>();
            assert!(last == good, "other series than at first: {:#?}", differ());
        }
    });
}

/// The series of a section, as text.
fn prefixes(section: &Section) -> Vec<u8> {
    (0..section.layout.len()).flat_map(|i| [section.layout.prefix(i), b"\n"]).flatten().copied().collect()
}

/// A series: its name and labels, as a set.
type Series = (String, Vec<(String, String)>);

static LABEL: LazyLock<regex::Regex> =
    LazyLock::new(|| regex::Regex::new(r#"([a-zA-Z_0-9]+)="((?:\\.|[^"\\])*)""#).expect("a regular expression"));

/// An exposition, reduced to types and values.
#[derive(Default)]
struct Exposition {
    types: BTreeMap<String, String>,
    values: BTreeMap<Series, f64>,
}

impl Exposition {
    fn add(&mut self, line: &str) {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("name and type");
            self.types.insert(name.to_string(), kind.to_string());
        } else if !line.is_empty() && !line.starts_with('#') {
            let (series, value) = line.rsplit_once(' ').expect("series and value");
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let mut labels: Vec<_> =
                LABEL.captures_iter(labels).map(|c| (c[1].to_string(), c[2].to_string())).collect();
            labels.sort();
            self.values.insert((name.to_string(), labels), value.parse().expect("a value"));
        }
    }

    fn of_section(section: &Section) -> Exposition {
        let mut exposition = Exposition::default();
        for (family, _) in section.layout.families() {
            exposition.add(&format!("# TYPE {} {}", family.name, family.kind.as_str()));
        }
        lines(section).iter().for_each(|l| exposition.add(l));
        exposition
    }
}

/// Holds a collector against node_exporter: on its captured kernel files, of which `paths` are needed, the families
/// that `belongs` picks must be the same series, types and values.
///
/// The captures are in `$WATCHFIRE_CONFORMANCE`, or beside the repository; where they are not, the test is skipped.
pub fn conforms<C: Collector>(paths: &[&str], belongs: impl Fn(&str) -> bool, build: impl FnOnce(&Roots) -> C) {
    let base = std::env::var_os("WATCHFIRE_CONFORMANCE")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/conformance"), PathBuf::from);
    let base = base.join("node_exporter");
    let Ok(expected) = std::fs::read_to_string(base.join("expected.txt")) else {
        eprintln!("skipped: no conformance data in {}", base.display());
        return;
    };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut tar = Command::new("tar");
    tar.arg("xzf").arg(base.join("fixtures.tar.gz")).arg("-C").arg(dir.path()).args(paths);
    assert!(tar.status().expect("tar").success(), "{tar:?}");

    // Where the captures lay when node_exporter read them, for labels that are paths.
    let expected = expected.replace("collector/fixtures/sys", &format!("{}/sys", dir.path().display()));

    let roots = Roots { rootfs: dir.path().to_path_buf(), ..roots_in(dir.path(), "", "udev/data") };
    let mut run = Runner::new(build(&roots));
    let (section, result) = run.section();
    result.expect("a run that succeeds");

    let mut wanted = Exposition::default();
    let name = |line: &str| -> String {
        let line = line.strip_prefix("# TYPE ").unwrap_or(line);
        line.split(['{', ' ']).next().unwrap_or("").to_string()
    };
    expected.lines().filter(|l| belongs(&name(l))).for_each(|l| wanted.add(l));
    let mut got = Exposition::of_section(&section);
    got.types.retain(|name, _| belongs(name));
    got.values.retain(|(name, _), _| belongs(name));
    assert!(!wanted.values.is_empty(), "no expected series");
    assert_eq!(got.types, wanted.types);
    let only = |a: &Exposition, b: &Exposition| -> Vec<Series> {
        a.values.keys().filter(|k| !b.values.contains_key(*k)).cloned().collect()
    };
    assert_eq!((only(&wanted, &got), only(&got, &wanted)), (vec![], vec![]), "missing, and only here");
    for (series, value) in &wanted.values {
        let own = got.values[series];
        assert!((own - value).abs() <= 1e-9 * value.abs(), "{series:?}: {own}, expected {value}");
    }
}
