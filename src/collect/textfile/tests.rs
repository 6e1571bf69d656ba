use super::*;
use crate::collect::testing::{self, Runner, Tree, conforms, logged, never_panics};

const GOOD: &str = "\
# HELP jobs_total Jobs.
# TYPE jobs_total counter
jobs_total{queue=\"a\\\"b\"} 3
# TYPE h histogram
h_bucket{le=\"+Inf\"} 2
h_sum 1.5
h_count 2
";

fn runner(directories: &[PathBuf]) -> Runner<Textfile> {
    let directory = Directories(directories.iter().map(|d| d.display().to_string()).collect());
    Runner::new(Textfile::new(&TextfileConfig { directory }, &Roots::default()))
}

/// Lines, without those about the files' times.
fn samples(runner: &mut Runner<Textfile>) -> Vec<String> {
    let mut lines = runner.lines();
    lines.retain(|l| !l.starts_with("node_textfile_mtime_seconds"));
    lines
}

#[test]
fn without_a_directory_there_is_nothing_and_no_error() {
    assert_eq!(runner(&[]).lines(), ["node_textfile_scrape_error 0"]);
}

#[test]
fn prom_files_are_served_with_their_types_and_times_and_others_are_not() {
    let tree = Tree::new(&[("t/a.prom", GOOD), ("t/b.txt", "b 1\n"), ("t/c.prom.1234", "c 1\n")]);
    let mut runner = runner(&[tree.path("t")]);
    for _ in 0..2 {
        let (section, result) = runner.section();
        let lines = testing::lines(&section);
        let types: Vec<_> = section.layout.families().map(|(f, _)| format!("{} {}", f.name, f.kind.as_str())).collect();
        result.unwrap();
        assert_eq!(lines[..4], ["jobs_total{queue=\"a\\\"b\"} 3", "h_bucket{le=\"+Inf\"} 2", "h_sum 1.5", "h_count 2"]);
        let modified = fs::metadata(tree.path("t/a.prom")).unwrap().mtime();
        let path = tree.path("t/a.prom").display().to_string();
        assert_eq!(lines[4], format!("node_textfile_mtime_seconds{{file=\"{path}\"}} {modified}"));
        assert_eq!(lines[5..], ["node_textfile_scrape_error 0"]);
        assert_eq!(types[..2], ["jobs_total counter", "h histogram"]);
    }
}

#[test]
fn a_change_an_addition_and_a_removal_are_seen_in_the_next_run() {
    let tree = Tree::new(&[("t/b.prom", "b 1\n")]);
    let mut runner = runner(&[tree.path("t")]);
    assert_eq!(samples(&mut runner)[0], "b 1");
    tree.write("t/b.prom", "b 22\n");
    assert_eq!(samples(&mut runner)[0], "b 22");
    tree.write("t/a.prom", "a 1\n");
    assert_eq!(samples(&mut runner)[..2], ["a 1", "b 22"]);
    fs::remove_file(tree.path("t/b.prom")).unwrap();
    assert_eq!(samples(&mut runner), ["a 1", "node_textfile_scrape_error 0"]);
}

#[test]
fn a_broken_file_is_refused_alone_and_named_once() {
    let tree = Tree::new(&[("t/a.prom", "a 1\n"), ("t/b.prom", "ok 1\nb{x=1} 1\n")]);
    let mut runner = runner(&[tree.path("t")]);
    let log = logged(|| {
        for _ in 0..3 {
            assert_eq!(samples(&mut runner), ["a 1", "node_textfile_scrape_error 1"]);
        }
    });
    assert_eq!(log.lines().count(), 1, "{log}");
    assert!(log.contains("t/b.prom:2:5: expected a value in double quotes, found '1'"), "{log}");
    assert!(!runner.lines().iter().any(|l| l.contains("b.prom")), "no time of a file that is not served");
    let log = logged(|| {
        tree.write("t/b.prom", "b{y=1} 11\n");
        samples(&mut runner);
        tree.write("t/b.prom", "b 1\n");
        assert_eq!(samples(&mut runner), ["a 1", "b 1", "node_textfile_scrape_error 0"]);
    });
    assert_eq!(log.lines().count(), 1, "told again when it has changed: {log}");
}

#[test]
fn timestamps_are_refused() {
    let tree = Tree::new(&[("t/a.prom", "a 1\nb 1 1441205977284\n")]);
    let log = logged(|| assert_eq!(samples(&mut runner(&[tree.path("t")])), ["node_textfile_scrape_error 1"]));
    assert!(log.contains("t/a.prom:2: timestamps are not supported in textfiles"), "{log}");
}

#[test]
fn what_is_no_regular_file_is_refused_without_a_hang() {
    let tree = Tree::new(&[("t/a.prom", "a 1\n")]);
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, tree.path("t/fifo.prom"), rustix::fs::FileType::Fifo, mode, 0).unwrap();
    fs::create_dir(tree.path("t/folder.prom")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", tree.path("t/zero.prom")).unwrap();
    std::os::unix::fs::symlink("nowhere", tree.path("t/lost.prom")).unwrap();
    std::os::unix::fs::symlink("../real", tree.path("t/link.prom")).unwrap();
    tree.write("real", "real 1\n");
    let mut runner = runner(&[tree.path("t")]);
    let log = logged(|| {
        for _ in 0..2 {
            assert_eq!(samples(&mut runner), ["a 1", "real 1", "node_textfile_scrape_error 1"]);
        }
    });
    for name in ["fifo", "folder", "zero"] {
        assert!(log.contains(&format!("{name}.prom: not a regular file")), "{log}");
    }
    assert_eq!(log.lines().count(), 4, "the dangling link too, each once: {log}");
}

#[test]
fn a_directory_that_cannot_be_read_is_an_error_and_the_others_are_served() {
    let tree = Tree::new(&[("t/a.prom", "a 1\n")]);
    let mut runner = runner(&[tree.path("missing"), tree.path("t")]);
    let log = logged(|| {
        for _ in 0..2 {
            assert_eq!(samples(&mut runner), ["a 1", "node_textfile_scrape_error 1"]);
        }
    });
    assert_eq!(log.matches("cannot read the textfile directory").count(), 1, "{log}");
    tree.write("missing/b.prom", "b 1\n");
    assert_eq!(samples(&mut runner), ["b 1", "a 1", "node_textfile_scrape_error 0"]);
}

#[test]
fn families_of_one_name_are_merged_and_disagreements_are_settled_for_the_first() {
    let help = |help: &str, value: &str| format!("# HELP m {help}\n# TYPE m gauge\nm{{f=\"{value}\"}} 1\n");
    for (a, b, lines, error) in [
        (help("H.", "a"), help("H.", "b"), 2, false),
        (help("H.", "a"), help("", "b"), 2, false),
        (help("", "a"), help("H.", "b"), 2, false),
        (help("H.", "a"), help("Other.", "b"), 1, true),
        (help("H.", "a"), "# TYPE m counter\nm{f=\"b\"} 1\n".to_string(), 1, true),
    ] {
        let tree = Tree::new(&[("t/a.prom", &a), ("t/b.prom", &b)]);
        let mut runner = runner(&[tree.path("t")]);
        for _ in 0..2 {
            let mut got = samples(&mut runner);
            assert_eq!(got.pop().unwrap(), format!("node_textfile_scrape_error {}", u8::from(error)), "{a}{b}");
            assert_eq!(got.len(), lines, "{a}{b}");
        }
    }
}

#[test]
fn a_family_without_help_says_where_it_is_from() {
    let (merged, _) = families::merge(&[
        ("d/a.prom", &parse(b"m 1\n").unwrap().iter().map(Kept::new).collect::<Vec<_>>()),
        ("d/b.prom", &parse(b"m{a=\"b\"} 1\n").unwrap().iter().map(Kept::new).collect::<Vec<_>>()),
    ]);
    assert_eq!(&*merged[0].help, "Metric read from d/a.prom, d/b.prom");
}

#[test]
fn a_directory_may_be_one_or_many() {
    use crate::yaml::Document;
    for (text, expected) in [("directory: /a", vec!["/a"]), ("directory: [/a, /b/*]", vec!["/a", "/b/*"])] {
        let mut faults = Faults::default();
        let config: TextfileConfig = Document::parse("test", text, &mut faults).read(&mut faults);
        assert_eq!(config.directory.0, expected);
        assert_eq!(faults.to_string(), "");
    }
}

#[test]
fn the_capture_of_node_exporter_gives_what_it_gives() {
    conforms(
        &["textfile"],
        |name| name.starts_with("testmetric") || name == "node_textfile_scrape_error",
        |roots| {
            let directory = Directories(vec![roots.root("textfile/two_metric_files").display().to_string()]);
            Textfile::new(&TextfileConfig { directory }, roots)
        },
    );
}

/// node_exporter's own captures of textfiles, each a folder and what it gives for it beside it.
fn captures() -> Option<tempfile::TempDir> {
    let base = std::env::var_os("WATCHFIRE_CONFORMANCE")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/conformance"), PathBuf::from);
    let archive = base.join("node_exporter/fixtures.tar.gz");
    if !archive.exists() {
        eprintln!("skipped: no {}", archive.display());
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut tar = std::process::Command::new("tar");
    assert!(tar.arg("xzf").arg(archive).arg("-C").arg(dir.path()).arg("textfile").status().unwrap().success());
    Some(dir)
}

#[test]
fn each_capture_of_textfiles_gives_what_node_exporter_gives() {
    let Some(dir) = captures() else { return };
    for entry in fs::read_dir(dir.path().join("textfile")).unwrap() {
        let path = entry.unwrap().path();
        if !path.is_dir() {
            continue;
        }
        // Empty labels are the same as none: node_exporter adds them, since its client library wants them.
        let normal = |line: &str| -> String {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = series.trim_end_matches('}').split_once('{').unwrap_or((series, ""));
            let mut labels: Vec<_> = labels.split(',').filter(|l| !l.ends_with("=\"\"")).collect();
            labels.sort_unstable();
            format!("{name}{{{}}} {}", labels.join(","), value.parse::<f64>().unwrap())
        };
        let expected = fs::read_to_string(path.with_extension("out")).unwrap();
        let mut expected: Vec<_> = expected
            .lines()
            .filter(|l| !l.starts_with('#') && !l.starts_with("node_textfile_mtime"))
            // Its client library makes up a sum and a count where a summary has none.
            .filter(|l| !(l.contains("handler=\"foo\"") && l.contains("_seconds_")))
            .map(normal)
            .collect();
        let mut got: Vec<_> = samples(&mut runner(std::slice::from_ref(&path))).iter().map(|l| normal(l)).collect();
        expected.sort_unstable();
        got.sort_unstable();
        assert_eq!(got, expected, "{}", path.display());
    }
}

#[test]
fn damaged_files_never_panic() {
    never_panics(&[("root/t/a.prom", "a 1\n"), ("root/t/b.prom", GOOD)], |roots| {
        let directory = Directories(vec![roots.root("t").display().to_string()]);
        Textfile::new(&TextfileConfig { directory }, roots)
    });
}
