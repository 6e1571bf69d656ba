//! History over restarts of the real binary: killed again and again, cut short, on a full disk.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{SOON, Setup, eventually};
use prometheus::Registry;
use watchfire::history::{DiskMetrics, History, HistoryLimits, Place};
use watchfire::model::{Labels, SeriesTable, Timestamp};

/// Ticks and rules as fast as they may be, and rules that say how much history there is.
const FAST: &str = "\
global: {scrape_interval: 100ms, evaluation_interval: 100ms}
stock_rules: false
groups:
- name: g
  rules:
  - {record: points, expr: 'count_over_time(up[1h])'}
  - {record: gone, expr: 'count(mark{job=\"node\"})'}
";

/// What is in a store: by series, times and values to the bit.
type Contents = BTreeMap<String, Vec<(i64, u64)>>;

/// What a killed agent has left behind, which a kill does not damage.
fn contents(state: &Path) -> Contents {
    let (all, damaged) = read_copy(state);
    assert_eq!(damaged, 0, "a kill damages nothing");
    all
}

/// Reads a copy of what an agent has left behind: it, and how many bytes are damaged.
fn read_copy(state: &Path) -> (Contents, u64) {
    let copy = tempfile::tempdir().expect("a temporary directory");
    let dir = copy.path().join("history");
    fs::create_dir(&dir).expect("a directory");
    for entry in fs::read_dir(state.join("history")).expect("the store is there").flatten() {
        fs::copy(entry.path(), dir.join(entry.file_name())).expect("a copy");
    }
    let metrics = DiskMetrics::register(&Registry::new()).expect("a fresh registry");
    let mut history = History::new(HistoryLimits::default());
    let table = Arc::new(SeriesTable::new(Labels::empty()));
    history.open(&Place { dir, metrics: metrics.clone() }, &table, Timestamp::now());
    let mut all = Contents::new();
    for series in history.select(&[]) {
        let mut points = Vec::new();
        series.read(Timestamp::MIN, Timestamp::MAX, &mut points);
        let samples = points.iter().map(|p| (p.time, p.value.to_bits())).collect();
        all.insert(series.labels().to_string(), samples);
    }
    (all, metrics.damaged.get())
}

#[test]
fn an_agent_that_is_killed_fifty_times_at_any_moment_has_lost_nothing_that_was_written() {
    let setup = Setup::new(FAST);
    let mut before = Contents::new();
    let mut seed = std::process::id().wrapping_mul(2_654_435_761);
    let mut kills = 0;
    let began = Instant::now();
    while kills < 50 {
        let agent = setup.start();
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        std::thread::sleep(Duration::from_millis(u64::from(seed >> 16) % 400));
        agent.kill();
        kills += 1;
        let now = contents(&setup.path("state"));
        for (series, samples) in &now {
            let in_order = samples.windows(2).all(|w| w[0].0 < w[1].0);
            assert!(in_order, "after {kills} kills {series} has a time twice");
        }
        for (series, samples) in &before {
            let kept = now.get(series).is_some_and(|now| now.starts_with(samples));
            assert!(kept, "after {kills} kills {series} has lost some of its {} samples", samples.len());
        }
        before = now;
    }
    let up = before.iter().find(|(series, _)| series.starts_with("up{")).map_or(0, |(_, samples)| samples.len());
    assert!(up >= 50, "{up} ticks in {:?}", began.elapsed());
    // And a query sees what is in the files.
    let agent = setup.start();
    agent.wait_for("points", &[], |points| points >= up as f64);
}

#[test]
fn a_process_that_has_died_while_the_agent_was_down_is_ended_soon_after() {
    let setup = Setup::new(FAST);
    setup.write("textfiles/a.prom", "mark 1\n");
    let directory = setup.path("textfiles").display().to_string();
    let setup = setup.flag(format!("--collector.textfile.directory={directory}"));
    let agent = setup.start();
    agent.wait_for("gone", &[], |v| v == 1.0);
    agent.kill();
    fs::remove_file(setup.path("textfiles/a.prom")).expect("it is there");
    let agent = setup.start();
    agent.wait_for("gone", &[], |v| v == 1.0);
    eventually("what nobody gives any more is ended", SOON, || {
        agent.metrics().value("gone", &[]).is_none().then_some(())
    });
}

#[test]
fn an_orderly_end_and_a_switch_that_leaves_the_disk_alone() {
    let setup = Setup::new(&format!("{FAST}history: {{persist: false}}\n"));
    let agent = setup.start();
    agent.wait_for("points", &[], |v| v > 3.0);
    assert_eq!(agent.metrics().value("watchfire_history_storage_up", &[]), None);
    agent.terminate(SOON);
    assert!(!setup.path("state/history").exists());

    setup.write("watchfire.yaml", FAST);
    let agent = setup.start();
    let points = agent.wait_for("points", &[], |v| v > 3.0);
    agent.terminate(SOON);
    let agent = setup.start();
    agent.wait_for("points", &[], |v| v > points);
    assert!(agent.log().contains("history read from the disk"), "{}", agent.log());
}

#[test]
fn damage_is_said_with_the_file_and_costs_little() {
    let setup = Setup::new(FAST);
    let agent = setup.start();
    agent.wait_for("points", &[], |v| v > 20.0);
    agent.kill();
    let whole = contents(&setup.path("state"));
    let log = fs::read_dir(setup.path("state/history")).expect("the store is there").flatten();
    let log = log.map(|e| e.path()).find(|p| p.extension().is_some_and(|e| e == "log")).expect("a log");
    let mut bytes = fs::read(&log).expect("it can be read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(&log, bytes).expect("it can be written");
    let agent = setup.start();
    let said = agent.wait_for_log("history is damaged");
    assert!(said.contains(&log.display().to_string()), "{said}");
    agent.wait_for("watchfire_history_damaged_bytes_total", &[], |bytes| bytes > 0.0);
    agent.kill();
    let (after, _) = read_copy(&setup.path("state"));
    let lost: usize =
        whole.iter().filter(|(series, samples)| after.get(*series).is_none_or(|now| !now.starts_with(samples))).count();
    assert!(lost <= whole.len() / 10, "{lost} of {} series have lost something", whole.len());
}

#[test]
fn a_directory_of_history_that_cannot_be_used_is_said_and_stops_nothing() {
    let setup = Setup::new(FAST);
    setup.write("state/history", "a file, no directory");
    let agent = setup.start();
    agent.wait_for("points", &[], |v| v > 3.0);
    let said = agent.wait_for_log("history cannot be kept on the disk");
    assert!(said.contains("state/history"), "{said}");
    assert_eq!(agent.metrics().value("watchfire_history_storage_up", &[]), Some(0.0));
}

#[test]
fn a_rule_that_looks_back_further_than_memory_allows_is_named_when_it_loads() {
    let rule = "- name: long\n  rules:\n  - {record: week, expr: 'min_over_time({__name__=~\"node_.+\"}[1y])'}\n  \
                - {record: free, expr: 'min_over_time(node_memory_MemFree_bytes[1w])'}\n";
    let setup = Setup::new(&FAST.replace("100ms", "1s").replace("groups:\n", &format!("groups:\n{rule}")));
    let agent = setup.start();
    let said = agent.wait_for_log("looks further back than history.max_bytes allows");
    let line = said.lines().find(|l| l.contains("looks further back")).expect("it is there");
    assert!(line.contains("long/week") && line.contains("node_.+") && line.contains("max_bytes"), "{line}");
    agent.wait_for("free", &[], |v| v > 0.0);
    assert!(!said.contains("long/free"), "one series for a week fits");
}
