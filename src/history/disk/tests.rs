//! What outlives the agent, with real files.

mod damage;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus::Registry;
use tempfile::TempDir;

use super::*;
use crate::history::{HistoryLimits, Keep, Matcher, is_stale_marker};
use crate::model::{Labels, Series, Snapshot, Writer};

const LIMITS: HistoryLimits =
    HistoryLimits { retention: Duration::from_secs(7200), max_bytes: 1 << 24, max_series: 10_000 };
/// Seconds since the epoch at which tests begin.
const T0: i64 = 1_700_000_000;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis((T0 + seconds) * 1000)
}

/// An agent's history on a directory, over as many starts as one likes.
struct Run {
    table: Arc<SeriesTable>,
    writer: Writer,
    history: History,
    metrics: DiskMetrics,
    /// As `persist` is told it: a second a tick.
    clock: Instant,
}

impl Run {
    fn start(dir: &Path, now: i64) -> Run {
        Run::with(dir, now, LIMITS, Vec::new())
    }

    fn with(dir: &Path, now: i64, limits: HistoryLimits, keeps: Vec<Keep>) -> Run {
        let table = Arc::new(SeriesTable::new(Labels::empty()));
        let metrics = DiskMetrics::register(&Registry::new()).unwrap();
        let mut history = History::new(limits);
        history.set_keeps(keeps);
        history.open(&Place { dir: dir.join("history"), metrics: metrics.clone() }, &table, at(now));
        let writer = Writer::new("test", table.clone(), 100_000);
        Run { table, writer, history, metrics, clock: Instant::now() }
    }

    fn tick(&mut self, time: i64, samples: &[(&str, f64)]) {
        let mut family = self.writer.gauge("m", "", ["d"]);
        for (d, v) in samples {
            family.put([d.as_bytes()], *v);
        }
        let (section, _) = self.writer.finish();
        self.history.append_snapshot(&Snapshot { time: at(time), sections: vec![section], ..Snapshot::empty() });
        self.clock += Duration::from_secs(1);
        self.history.persist(self.clock);
        // Here an hour takes a moment: the disk has not the time that it has else.
        while self.metrics.unwritten.get() > 100_000 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn series(&self, labels: &[(&str, &str)]) -> Arc<Series> {
        self.table.intern(Labels::from_pairs(labels.iter().copied()))
    }

    /// Everything that it has, staleness markers too, to the bit.
    fn contents(&self) -> Contents {
        let mut all: Vec<_> = self
            .history
            .slots
            .iter()
            .flatten()
            .map(|slot| {
                let sealed = slot.sealed.iter().flat_map(|chunk| chunk.iter());
                let samples = sealed.chain(slot.head.iter()).map(|(t, v)| (t / 1000 - T0, v.to_bits()));
                (slot.series.labels.to_string(), samples.collect())
            })
            .collect();
        all.sort();
        all
    }

    fn values(&self, device: &str) -> Vec<(i64, f64)> {
        let name = format!("m{{d=\"{device}\"}}");
        let found = self.contents().into_iter().find(|(labels, _)| *labels == name);
        found.into_iter().flat_map(|(_, samples)| samples).map(|(t, bits)| (t, f64::from_bits(bits))).collect()
    }

    /// Waits until the disk has it, and dies without a last word.
    fn kill(self) {
        let Run { mut history, .. } = self;
        // What is handed over is written, whatever becomes of the agent; nothing more is handed over.
        drop(history.journal.take());
    }
}

/// Values of several kinds: constant, counting, in hundredths, of all bits, seldom changing.
fn samples(t: i64) -> Vec<(&'static str, f64)> {
    let noise = (t.wrapping_mul(0x5851_f42d_4c95_7f2d) >> 20) as f64;
    vec![
        ("constant", 7.0),
        ("counter", (t * 4096) as f64),
        ("cpu", (t * 37) as f64 / 100.0),
        ("noise", noise / 3.0),
        ("seldom", (t / 100) as f64),
        ("nan", if t % 50 < 25 { f64::NAN } else { -0.0 }),
    ]
}

type Contents = Vec<(String, Vec<(i64, u64)>)>;

/// Says where two histories begin to differ, which are too long to be shown.
#[track_caller]
fn assert_same(got: &Contents, expected: &Contents, when: &str) {
    let names = |all: &Contents| all.iter().map(|(name, samples)| (name.clone(), samples.len())).collect::<Vec<_>>();
    for ((name, got), (_, expected)) in got.iter().zip(expected) {
        let differ = got.iter().zip(expected).find(|(got, expected)| got != expected);
        assert!(differ.is_none(), "{when}: {name}: {differ:?}");
    }
    assert_eq!(names(got), names(expected), "{when}");
}

fn files(dir: &Path) -> Vec<(String, u64)> {
    let entries = std::fs::read_dir(dir.join("history")).unwrap().flatten();
    let mut files: Vec<_> =
        entries.map(|e| (e.file_name().to_string_lossy().into_owned(), e.metadata().unwrap().len())).collect();
    files.sort();
    files
}

#[test]
fn everything_is_there_after_a_crash_to_the_bit_wherever_in_a_cycle_it_comes() {
    for ticks in [1, 2, 17, 299, 300, 301, 302, 650, 2500] {
        let dir = tempfile::tempdir().unwrap();
        let mut run = Run::start(dir.path(), 0);
        for t in 1..=ticks {
            run.tick(t, &samples(t));
            if t % 30 == 0 {
                let rule = run.series(&[("__name__", "rule")]);
                run.history.append(&rule, at(t - 5), t as f64);
            }
        }
        run.history.persist(run.clock);
        let before = run.contents();
        run.kill();
        let run = Run::start(dir.path(), ticks);
        assert_same(&run.contents(), &before, &format!("{ticks} ticks"));
        assert_eq!(run.metrics.damaged.get(), 0);
    }
}

#[test]
fn history_goes_on_over_many_starts_with_gaps_where_the_agent_was_down() {
    let dir = tempfile::tempdir().unwrap();
    let mut expected = Vec::new();
    for round in 0..20 {
        let mut run = Run::start(dir.path(), round * 100);
        for t in round * 100..round * 100 + 50 {
            run.tick(t, &[("a", t as f64 * 1.5)]);
            expected.push((t, t as f64 * 1.5));
        }
        run.kill();
    }
    let mut run = Run::start(dir.path(), 2000);
    assert!(run.values("a") == expected);
    for t in 2000..2700 {
        run.tick(t, &[("a", t as f64 * 1.5)]);
    }
    run.kill();
    assert!(files(dir.path()).len() < 6, "old logs go: {:?}", files(dir.path()));
    assert_eq!(Run::start(dir.path(), 2700).values("a").len(), expected.len() + 700);
}

#[test]
fn an_agent_that_is_killed_right_after_each_start_does_not_fill_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let names: Vec<String> = (0..3000).map(|i| format!("s{i}")).collect();
    let mut most = (0, 0);
    for start in 0..30 {
        let mut run = Run::start(dir.path(), start * 2);
        let all: Vec<(&str, f64)> = names.iter().map(|name| (name.as_str(), start as f64)).collect();
        run.tick(start * 2, &all);
        run.kill();
        let files = files(dir.path());
        most = (files.len().max(most.0), files.iter().map(|(_, bytes)| bytes).sum::<u64>().max(most.1));
    }
    assert!(most.0 <= 8 && most.1 < 2 << 20, "files and bytes: {most:?}");
    let run = Run::start(dir.path(), 60);
    let expected: Vec<_> = (0..30).map(|start| (start * 2, start as f64)).collect();
    assert!(["s0", "s1500", "s2999"].iter().all(|name| run.values(name) == expected));
}

#[test]
fn small_files_of_many_starts_become_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut most = 0;
    for start in 0..60 {
        let mut run = Run::start(dir.path(), start * 2);
        let brief = format!("brief{start}");
        run.tick(start * 2, &[("a", start as f64), (&brief, 1.0)]);
        run.tick(start * 2 + 1, &[("a", start as f64)]);
        run.kill();
        most = most.max(files(dir.path()).len());
    }
    assert!(most < 25, "{most} files");
    let run = Run::start(dir.path(), 120);
    assert_eq!(run.values("a").len(), 120);
    assert!((0..60).all(|start| run.values(&format!("brief{start}")).len() == 2));
}

#[test]
fn series_that_are_not_kept_any_more_take_no_place_from_those_that_are() {
    let week = || vec![Keep { matchers: vec![Matcher::equal("d", "seldom")], reach: Duration::from_secs(7 * 86_400) }];
    let limits = HistoryLimits { retention: Duration::from_secs(600), max_series: 40, ..LIMITS };
    let dir = tempfile::tempdir().unwrap();
    let mut run = Run::with(dir.path(), 0, limits, week());
    for t in 1..=4000i64 {
        let brief = format!("brief{}", t / 50);
        run.tick(t, &[("seldom", (t / 100) as f64), (&brief, t as f64), ("lives", t as f64)]);
        if t % 60 == 0 {
            run.history.gc(at(t));
            run.table.sweep();
        }
    }
    run.history.gc(at(4000));
    let before = run.contents();
    run.kill();
    let run = Run::with(dir.path(), 4000, limits, week());
    let names = |all: &Contents| all.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&run.contents()), names(&before));
    assert_eq!((run.values("seldom").len(), run.values("brief79").len()), (4000, 51), "with the marker of its end");
}

#[test]
fn series_come_and_go_and_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut run = Run::start(dir.path(), 0);
    for t in 1..=1000i64 {
        let mut now = samples(t);
        let brief = format!("brief{}", t / 10);
        now.push((brief.as_str(), t as f64));
        if t / 200 % 2 == 0 {
            now.push(("wave", t as f64));
        }
        run.tick(t, &now);
        if t % 60 == 0 {
            run.history.gc(at(t));
            run.table.sweep();
        }
    }
    let before = run.contents();
    run.kill();
    assert_same(&Run::start(dir.path(), 1000).contents(), &before, "after the restart");
}

#[test]
fn what_is_not_given_any_more_after_a_restart_is_ended() {
    let dir = tempfile::tempdir().unwrap();
    let mut run = Run::start(dir.path(), 0);
    (1..=10).for_each(|t| run.tick(t, &[("lives", 1.0), ("dies", 1.0)]));
    let rule = run.series(&[("__name__", "offset_rule")]);
    run.history.append(&rule, at(-50), 1.0);
    run.history.persist(run.clock);
    run.kill();
    let mut run = Run::start(dir.path(), 20);
    for t in 20..=35 {
        run.tick(t, &[("lives", 1.0)]);
    }
    // A rule may be evaluated in the past.
    let rule = run.series(&[("__name__", "offset_rule")]);
    run.history.append(&rule, at(-30), 2.0);
    run.history.end_silent(at(35));
    run.history.persist(run.clock);
    let last = |d| run.values(d).last().copied().unwrap();
    assert_eq!(last("lives"), (35, 1.0));
    assert!(last("dies").0 == 35 && is_stale_marker(last("dies").1));
    assert_eq!(run.history.get(rule.id).unwrap().last().value, 2.0);
    let before = run.contents();
    run.kill();
    assert_same(&Run::start(dir.path(), 35).contents(), &before, "the markers outlive the agent too");
}

#[test]
fn when_the_clock_is_set_back_the_disk_forgets_what_memory_forgets() {
    for (ticks, back) in [(700, 650), (700, 100), (2500, 1000), (2500, 2499), (310, 5)] {
        let dir = tempfile::tempdir().unwrap();
        let mut run = Run::start(dir.path(), 0);
        (1..=ticks).for_each(|t| run.tick(t, &samples(t)));
        (back..back + 3).for_each(|t| run.tick(t, &samples(-t)));
        let before = run.contents();
        run.kill();
        let mut run = Run::start(dir.path(), back + 3);
        assert_same(&run.contents(), &before, &format!("{ticks} ticks, then back to {back}"));
        // And again, with cycles in between.
        (back + 3..back + 700).for_each(|t| run.tick(t, &samples(-t)));
        run.tick(back + 1, &samples(0));
        let before = run.contents();
        run.kill();
        assert_same(&Run::start(dir.path(), back + 1).contents(), &before, "after the restart");
    }
}

#[test]
fn a_clock_that_was_set_back_while_the_agent_was_down_forgets_what_is_later_too() {
    let dir = tempfile::tempdir().unwrap();
    let mut run = Run::start(dir.path(), 0);
    (1..=7000).for_each(|t| run.tick(t, &[("a", t as f64)]));
    run.kill();
    let mut run = Run::start(dir.path(), 3400);
    run.tick(3400, &[("a", -1.0)]);
    assert_eq!(run.values("a")[3398..], [(3399, 3399.0), (3400, -1.0)]);
    run.kill();
    let run = Run::start(dir.path(), 3401);
    assert_eq!(run.values("a")[3398..], [(3399, 3399.0), (3400, -1.0)]);
}

#[test]
fn what_is_forgotten_as_a_whole_does_not_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut run = Run::start(dir.path(), 0);
    (1..=700).for_each(|t| run.tick(t, &samples(t)));
    run.history.forget_all();
    (300..320).for_each(|t| run.tick(t, &[("a", t as f64)]));
    run.history.gc(at(320));
    let before = run.contents();
    assert_eq!(before.len(), 1);
    run.kill();
    assert_same(&Run::start(dir.path(), 320).contents(), &before, "after the restart");
}

#[test]
fn a_clock_that_jumps_a_day_forward_leaves_a_gap_and_old_files_go() {
    let dir = tempfile::tempdir().unwrap();
    let mut run = Run::start(dir.path(), 0);
    (1..=3000).for_each(|t| run.tick(t, &samples(t)));
    let day = 86_400;
    (day..day + 10).for_each(|t| run.tick(t, &samples(t)));
    run.history.gc(at(day + 10));
    let before = run.values("cpu");
    run.kill();
    let mut run = Run::start(dir.path(), day + 10);
    // A head that goes on has some that are older than what is kept: these may be there or not.
    let kept = |values: &[(i64, f64)]| values.iter().filter(|(t, _)| *t >= day).copied().collect::<Vec<_>>();
    assert_eq!((kept(&run.values("cpu")), kept(&before).len()), (kept(&before), 10));
    for t in day + 10..day + 700 {
        run.tick(t, &samples(t));
        if t % 60 == 0 {
            run.history.gc(at(t));
        }
    }
    run.kill();
    let size: u64 = files(dir.path()).iter().map(|(_, bytes)| bytes).sum();
    assert!(size < 60_000, "{:?}", files(dir.path()));
}

#[test]
fn old_files_are_deleted_and_a_long_kept_series_moves_on() {
    let week = Keep { matchers: vec![Matcher::equal("d", "seldom")], reach: Duration::from_secs(7 * 86_400) };
    let limits = HistoryLimits { retention: Duration::from_secs(600), ..LIMITS };
    let dir = tempfile::tempdir().unwrap();
    let mut sizes = Vec::new();
    let names: Vec<String> = (0..200).map(|i| format!("noise{i}")).collect();
    for round in 0..4i64 {
        let mut run = Run::with(dir.path(), round * 3000, limits, vec![week.clone()]);
        for t in round * 3000 + 1..=round * 3000 + 3000 {
            let noise = |i: i64| ((t * 7919 + i).wrapping_mul(0x5851_f42d_4c95_7f2d) >> 12) as f64 / 3.0;
            let mut all: Vec<(&str, f64)> = names.iter().zip(0..).map(|(n, i)| (n.as_str(), noise(i))).collect();
            all.push(("seldom", (t / 100) as f64));
            run.tick(t, &all);
            if t % 60 == 0 {
                run.history.gc(at(t));
            }
        }
        run.kill();
        sizes.push(files(dir.path()).iter().map(|(_, bytes)| bytes).sum::<u64>());
    }
    let run = Run::with(dir.path(), 12_000, limits, vec![week]);
    let kept = run.values("seldom");
    assert_eq!((kept.len(), kept[0]), (12_000, (1, 0.0)));
    assert!(run.values("noise1")[0].0 > 10_000, "the others are kept for ten minutes, and the chunk they end in");
    // 200 series of 8 bytes a second for ten minutes are a megabyte.
    assert!(sizes.iter().all(|size| *size < 8 << 20), "{sizes:?}");
}

#[test]
fn a_second_agent_on_the_same_directory_leaves_it_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = Run::start(dir.path(), 0);
    let mut second = Run::start(dir.path(), 0);
    assert!(second.history.journal.is_none());
    for t in 1..=5 {
        first.tick(t, &[("a", 1.0)]);
        second.tick(t, &[("a", 2.0)]);
    }
    let before = first.contents();
    first.kill();
    second.kill();
    assert_same(&Run::start(dir.path(), 5).contents(), &before, "after the restart");
}

/// Ticks until the disk has failed, or works again.
#[track_caller]
fn until(run: &mut Run, t: &mut i64, up: i64) {
    for _ in 0..2000 {
        run.tick(*t, &samples(*t));
        *t += 1;
        if run.metrics.up.get() == up {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("the disk is not {up}");
}

#[test]
fn a_directory_that_is_removed_comes_back_with_all_there_is() {
    let dir = tempfile::tempdir().unwrap();
    let mut run = Run::start(dir.path(), 0);
    let mut t = 1;
    (0..1500).for_each(|_| {
        run.tick(t, &samples(t));
        t += 1;
    });
    std::fs::remove_dir_all(dir.path().join("history")).unwrap();
    until(&mut run, &mut t, 0);
    until(&mut run, &mut t, 1);
    let before = run.contents();
    run.kill();
    assert_same(&Run::start(dir.path(), t).contents(), &before, "after the restart");
}

/// A file system of so many bytes; nothing where one cannot be had.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount(size: &str) -> Option<SmallDisk> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "none"])
            .arg(dir.path())
            .output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(SmallDisk(dir));
        }
        eprintln!("skipped: a small file system takes the right to mount one");
        None
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(self.0.path()).output();
    }
}

#[test]
fn a_full_disk_costs_nothing_that_is_in_memory_once_there_is_room_again() {
    let Some(disk) = SmallDisk::mount("1m") else { return };
    let ballast = disk.0.path().join("ballast");
    let mut run = Run::start(disk.0.path(), 0);
    let mut t = 1;
    until(&mut run, &mut t, 1);
    let mut full = std::fs::File::create(&ballast).unwrap();
    while std::io::Write::write_all(&mut full, &[0; 4096]).is_ok() {}
    drop(full);
    until(&mut run, &mut t, 0);
    (0..1000).for_each(|_| {
        run.tick(t, &samples(t));
        t += 1;
    });
    assert_eq!(run.metrics.up.get(), 0);
    assert_eq!(run.values("counter").len() as i64, t - 1, "it is all in memory");
    assert!(files(disk.0.path()).len() < 10, "tries leave nothing behind: {:?}", files(disk.0.path()));
    std::fs::remove_file(&ballast).unwrap();
    until(&mut run, &mut t, 1);
    let before = run.contents();
    run.kill();
    assert_same(&Run::start(disk.0.path(), t).contents(), &before, "after the restart");
}
