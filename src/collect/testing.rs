//! What the collectors' tests share: trees of kernel files, runs, a property test, and the comparison with
//! node_exporter.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, LazyLock, Mutex};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tempfile::TempDir;

use super::{CollectError, Collector, Roots};
use crate::model::{Labels, Section, SeriesTable, Writer};

/// A temporary tree of kernel files: `proc/...`, `sys/...`, `udev/...`, `root/...`.
pub struct Tree {
    dir: TempDir,
}

impl Tree {
    pub fn new<T: AsRef<[u8]>>(files: &[(&str, T)]) -> Tree {
        let tree = Tree { dir: tempfile::tempdir().expect("a temporary directory") };
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

    /// Moves a file out of sight. A collector that has it open goes on reading it, as it would a procfs file.
    fn hide(&self, path: &str) {
        if self.path(path).exists() {
            std::fs::rename(self.path(path), self.path(&format!("{path}.hidden"))).expect("a file moved");
        }
    }

    /// Brings back what was hidden.
    fn restore(&self, path: &str) {
        let hidden = self.path(&format!("{path}.hidden"));
        if hidden.exists() {
            std::fs::rename(hidden, self.path(path)).expect("a file moved");
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

/// Runs a collector tick after tick, through one writer, as the sampler does.
pub struct Runner<C> {
    pub collector: C,
    writer: Writer,
}

impl<C: Collector> Runner<C> {
    pub fn new(collector: C) -> Runner<C> {
        Runner { collector, writer: Writer::new("test", Arc::new(SeriesTable::new(Labels::empty())), 100_000) }
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

/// What is done to one file of the capture.
#[derive(Clone, Debug)]
enum Damage {
    Missing,
    Cut(prop::sample::Index),
    Bytes(Vec<u8>),
    /// At these places, these bytes instead.
    Mutated(Vec<(prop::sample::Index, u8)>),
    /// Of the fields between white space, these replaced.
    Fields(Vec<(prop::sample::Index, &'static str)>),
    /// Lines in another order, some twice, some gone.
    Lines(Vec<prop::sample::Index>),
}

/// What a parser would rather not find in a field's place.
const EVIL_FIELDS: [&str; 12] = [
    "",
    "-1",
    "18446744073709551616",
    "1e999",
    "NaN",
    "0x10",
    ":",
    "=",
    "-",
    "\u{fffd}",
    "\\0",
    "99999999999999999999999",
];

fn damage() -> impl Strategy<Value = Damage> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        Just(Damage::Missing),
        index().prop_map(Damage::Cut),
        prop::collection::vec(any::<u8>(), 0..300).prop_map(Damage::Bytes),
        prop::collection::vec((index(), any::<u8>()), 1..8).prop_map(Damage::Mutated),
        prop::collection::vec((index(), prop::sample::select(&EVIL_FIELDS[..])), 1..6).prop_map(Damage::Fields),
        prop::collection::vec(index(), 0..12).prop_map(Damage::Lines),
    ]
}

impl Damage {
    /// The file's content now; `None` for no file.
    fn apply(&self, text: &[u8]) -> Option<Vec<u8>> {
        Some(match self {
            Damage::Missing => return None,
            Damage::Cut(at) => text[..at.index(text.len() + 1)].to_vec(),
            Damage::Bytes(bytes) => bytes.clone(),
            Damage::Mutated(places) => {
                let mut text = text.to_vec();
                for (at, byte) in places.iter().filter(|_| !text.is_empty()).collect::<Vec<_>>() {
                    let at = at.index(text.len());
                    text[at] = *byte;
                }
                text
            }
            Damage::Fields(places) => {
                let mut pieces: Vec<&[u8]> = text.split_inclusive(u8::is_ascii_whitespace).collect();
                let mut kept = Vec::new();
                for (at, field) in places.iter().filter(|_| !text.is_empty()) {
                    let at = at.index(pieces.len());
                    let end = pieces[at].last().filter(|b| b.is_ascii_whitespace());
                    kept.push((at, [field.as_bytes(), end.map(std::slice::from_ref).unwrap_or_default()].concat()));
                }
                for (at, piece) in &kept {
                    pieces[*at] = piece;
                }
                pieces.concat()
            }
            Damage::Lines(places) => {
                let lines: Vec<&[u8]> = text.split_inclusive(|b| *b == b'\n').collect();
                places.iter().filter(|_| !lines.is_empty()).flat_map(|at| at.get(&lines).to_vec()).collect()
            }
        })
    }
}

/// How many cases a property test tries: few in every run, as many as `WATCHFIRE_FUZZ_CASES` says in a long one.
pub fn cases() -> u32 {
    std::env::var("WATCHFIRE_FUZZ_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(96)
}

/// Runs a collector on damaged versions of `files` (path in the tree, a good capture): truncated, mutated, random,
/// reordered, missing. It is run on the good files, on damaged ones, and on the good ones again: there it must give
/// what it gave at first, and nowhere may it panic.
pub fn never_panics<C: Collector>(files: &[(&str, &str)], build: impl Fn(&Roots) -> C) {
    let tree = Tree::new(files);
    let names = |section: &Section| -> Vec<String> {
        lines(section).iter().filter_map(|l| Some(l.rsplit_once(' ')?.0.to_string())).collect()
    };
    // Nothing is written beside the sources when a case fails: the message has the whole case.
    let config = Config { cases: cases(), max_shrink_iters: 64, failure_persistence: None, ..Config::default() };
    let cases = prop::collection::vec((any::<prop::sample::Index>(), damage()), 1..4);
    let outcome = TestRunner::new(config).run(&cases, |damages| {
        let mut run = Runner::new(build(&tree.roots()));
        let good = run.section().0;
        for (which, damage) in &damages {
            let (path, text) = which.get(files);
            match damage.apply(text.as_bytes()) {
                Some(text) => tree.write(path, text),
                None => tree.hide(path),
            }
        }
        let _ = run.section();
        let _ = Runner::new(build(&tree.roots())).section();
        for (path, text) in files {
            tree.restore(path);
            tree.write(path, text);
        }
        prop_assert_eq!(names(&run.section().0), names(&good));
        Ok(())
    });
    if let Err(e) = outcome {
        panic!("{e}");
    }
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
