//! What the tests of the network collectors share: captured trees, sampling, mutated captures, conformance.

use std::path::PathBuf;
use std::sync::Arc;

use proptest::prelude::*;

use super::{CollectError, Collector, Roots};
use crate::model::{Labels, SeriesTable, Writer};

/// A tree of captured files, with `proc` and `sys` in it.
pub struct Tree(tempfile::TempDir);

impl Tree {
    pub fn new(files: &[(&str, &str)]) -> Tree {
        let tree = Tree(tempfile::tempdir().unwrap());
        for (path, content) in files {
            tree.put(path, content);
        }
        tree
    }

    pub fn put(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    pub fn roots(&self) -> Roots {
        Roots {
            procfs: self.path("proc"),
            sysfs: self.path("sys"),
            rootfs: self.path(""),
            udev_data: self.path("udev"),
        }
    }
}

/// A collector with its writer.
pub struct Sampler<C> {
    pub collector: C,
    writer: Writer,
}

impl<C: Collector> Sampler<C> {
    pub fn new(collector: C) -> Sampler<C> {
        let table = Arc::new(SeriesTable::new(Labels::empty()));
        Sampler { collector, writer: Writer::new("test", table, 100_000) }
    }

    /// One run: sample lines as they are served, and how it went.
    pub fn run(&mut self) -> (Vec<String>, Result<(), CollectError>) {
        let (lines, _, result) = self.run_with_types();
        (lines, result)
    }

    /// One run, with `name type` of the families beside the lines.
    pub fn run_with_types(&mut self) -> (Vec<String>, Vec<String>, Result<(), CollectError>) {
        let result = self.collector.collect(&mut self.writer);
        let (section, _) = self.writer.finish();
        let lines = (0..section.layout.len())
            .filter(|i| section.layout.series()[*i].is_some())
            .map(|i| format!("{}{}", String::from_utf8_lossy(section.layout.prefix(i)), section.values[i]))
            .collect();
        let types = section.layout.families().map(|(f, _)| format!("{} {}", f.name, f.kind.as_str())).collect();
        (lines, types, result)
    }

    /// One run that must do well.
    pub fn lines(&mut self) -> Vec<String> {
        let (lines, result) = self.run();
        result.unwrap();
        lines
    }
}

/// The capture cut short, with bytes changed, with lines dropped or doubled, or nothing of it at all.
pub fn damaged(capture: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let changes = proptest::collection::vec((0..capture.len(), any::<u8>()), 1..8);
    let lines = proptest::collection::vec(0..capture.lines().count(), 0..12);
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..300),
        (0..=capture.len()).prop_map(|n| capture.as_bytes()[..n].to_vec()),
        changes.prop_map(|changes| {
            let mut text = capture.as_bytes().to_vec();
            changes.into_iter().for_each(|(at, byte)| text[at] = byte);
            text
        }),
        lines.prop_map(|picked| {
            let lines: Vec<_> = capture.lines().collect();
            picked.into_iter().map(|i| lines[i]).collect::<Vec<_>>().join("\n").into_bytes()
        }),
    ]
}

/// The fixtures of node_exporter's own end-to-end test and what it gives for them, where they are there: the folder
/// that holds `proc` and `sys`, and the expected text. Says so where they are not.
pub fn conformance() -> Option<(tempfile::TempDir, String)> {
    let root = std::env::var_os("WATCHFIRE_CONFORMANCE")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/conformance"), PathBuf::from);
    let from = root.join("node_exporter");
    let Ok(expected) = std::fs::read_to_string(from.join("expected.txt")) else {
        eprintln!("skipped: no conformance data in {}", from.display());
        return None;
    };
    let dir = tempfile::tempdir().unwrap();
    let unpacked = std::process::Command::new("tar")
        .arg("-xzf")
        .arg(from.join("fixtures.tar.gz"))
        .arg("-C")
        .arg(dir.path())
        .status()
        .is_ok_and(|s| s.success());
    if !unpacked {
        eprintln!("skipped: tar cannot unpack the fixtures");
    }
    unpacked.then_some((dir, expected))
}

/// Holds one run against the expected exposition: every series and type whose name `wanted` takes.
pub fn assert_conforms<C: Collector>(sampler: &mut Sampler<C>, expected: &str, wanted: fn(&str) -> bool) {
    let (lines, types, result) = sampler.run_with_types();
    result.unwrap();
    let parse = |line: &str| {
        let (series, value) = line.rsplit_once(' ').unwrap();
        (sorted_labels(series), value.parse::<f64>().unwrap())
    };
    let name_of = |line: &str| line.split(['{', ' ']).next().unwrap_or_default().to_string();
    let mut got: Vec<_> = lines.iter().filter(|l| wanted(&name_of(l))).map(|l| parse(l)).collect();
    let mut want: Vec<_> = expected.lines().filter(|l| !l.starts_with('#') && wanted(&name_of(l))).map(parse).collect();
    got.sort_by(|a, b| a.partial_cmp(b).unwrap());
    want.sort_by(|a, b| a.partial_cmp(b).unwrap());
    assert!(!want.is_empty());
    assert_eq!(got, want);
    for line in expected.lines().filter_map(|l| l.strip_prefix("# TYPE ")).filter(|l| wanted(&name_of(l))) {
        assert!(types.iter().any(|t| t == line), "{line} is not among {types:?}");
    }
}

/// `name{labels}` with the labels in order; values in these captures hold no commas.
fn sorted_labels(series: &str) -> String {
    let Some((name, labels)) = series.split_once('{') else { return series.to_string() };
    let mut labels: Vec<_> = labels.trim_end_matches('}').split(',').collect();
    labels.sort_unstable();
    format!("{name}{{{}}}", labels.join(","))
}
