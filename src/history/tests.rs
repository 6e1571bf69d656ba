//! What a history promises, from the outside.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::model::{Labels, SeriesTable, Writer};

const LIMITS: HistoryLimits =
    HistoryLimits { retention: Duration::from_secs(3600), max_bytes: 1 << 24, max_series: 10_000 };

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds * 1000)
}

struct World {
    table: Arc<SeriesTable>,
    writer: Writer,
    history: History,
}

impl World {
    fn new(limits: HistoryLimits) -> World {
        let table = Arc::new(SeriesTable::new(Labels::empty()));
        World { writer: Writer::new("test", table.clone(), 100_000), table, history: History::new(limits) }
    }

    fn tick(&mut self, time: i64, samples: &[(&str, f64)]) {
        let mut family = self.writer.gauge("m", "", ["d"]);
        for (d, v) in samples {
            family.put([d.as_bytes()], *v);
        }
        let (section, _) = self.writer.finish();
        self.history.append_snapshot(&Snapshot { time: at(time), sections: vec![section], ..Snapshot::empty() });
    }

    fn values(&self, device: &str) -> Vec<(i64, f64)> {
        let mut out = Vec::new();
        for s in self.history.select(&[Matcher::equal("d", device)]) {
            s.read(Timestamp::MIN, Timestamp::MAX, &mut out);
        }
        out.iter().map(|p| (p.time / 1000, p.value)).collect()
    }
}

#[test]
fn a_tick_is_kept_and_windows_are_open_at_their_start() {
    let mut w = World::new(LIMITS);
    for t in 1..=2000 {
        w.tick(t, &[("a", t as f64), ("b", 7.0)]);
    }
    let series = w.history.select(&[Matcher::equal("d", "a")]);
    let mut out = Vec::new();
    series[0].read(at(100), at(103), &mut out);
    assert_eq!(out.iter().map(|p| p.value).collect::<Vec<_>>(), [101.0, 102.0, 103.0]);
    assert_eq!(series[0].newest(at(0), at(1500)).unwrap().value, 1500.0);
    assert_eq!(series[0].newest(at(2000), at(2001)), None);
    assert_eq!(w.values("b").len(), 2000);
    assert_eq!(w.history.stats().samples, 4000);
}

#[test]
fn a_series_that_vanishes_is_marked_stale_and_can_come_back() {
    let mut w = World::new(LIMITS);
    w.tick(1, &[("a", 1.0), ("b", 1.0)]);
    w.tick(2, &[("a", 1.0)]);
    let b = |w: &World, t| w.history.select(&[Matcher::equal("d", "b")])[0].newest(at(t - 300), at(t)).map(|p| p.value);
    assert_eq!((b(&w, 1), b(&w, 2), b(&w, 10)), (Some(1.0), None, None));
    w.tick(3, &[("a", 1.0), ("b", 5.0)]);
    assert_eq!((b(&w, 1), b(&w, 2), b(&w, 3)), (Some(1.0), None, Some(5.0)));
    assert_eq!(w.values("b"), [(1, 1.0), (3, 5.0)]);
}

#[test]
fn a_collector_that_reports_nothing_any_more_leaves_its_series_stale() {
    let mut w = World::new(LIMITS);
    w.tick(1, &[("a", 1.0)]);
    w.history.append_snapshot(&Snapshot { time: at(2), ..Snapshot::empty() });
    w.history.append_snapshot(&Snapshot { time: at(3), ..Snapshot::empty() });
    assert!(is_stale_marker(w.history.select(&[])[0].last().value));
    assert_eq!(w.history.stats().samples, 2);
}

#[test]
fn old_late_and_surplus_samples_are_refused_and_counted() {
    let mut w = World::new(HistoryLimits { max_series: 1, ..LIMITS });
    let a = w.table.intern(Labels::from_pairs([("d", "a")]));
    let b = w.table.intern(Labels::from_pairs([("d", "b")]));
    assert_eq!(w.history.append(&a, at(5), 1.0), Appended::Stored);
    assert_eq!(w.history.append(&a, at(5), 1.0), Appended::Duplicate);
    assert_eq!(w.history.append(&a, at(4), 1.0), Appended::OutOfOrder);
    assert_eq!(w.history.append(&b, at(5), 1.0), Appended::TooManySeries);
    let s = w.history.stats();
    assert_eq!((s.appended, s.duplicates, s.out_of_order, s.dropped_series, s.series), (1, 1, 1, 1, 1));
}

#[test]
fn what_is_older_than_the_retention_goes_and_frees_its_series() {
    let mut w = World::new(LIMITS);
    w.tick(1, &[("gone", 1.0), ("a", 0.0)]);
    for t in 2..=8000 {
        w.tick(t, &[("a", t as f64 * 0.37 + (t % 7) as f64)]);
    }
    w.history.gc(at(8000));
    let values = w.values("a");
    assert!(values[0].0 >= 8000 - 3600 - 1800 && values[0].0 <= 8000 - 3600, "{:?}", values[0]);
    assert_eq!(values.last().unwrap().0, 8000);
    assert_eq!(w.history.stats().samples, values.len() as u64);
    assert!(w.history.select(&[Matcher::equal("d", "gone")]).is_empty());
    w.table.sweep();
    assert_eq!(w.table.len(), 1);
    w.history.gc(at(100_000));
    assert_eq!(w.history.stats().series, 0);
    assert_eq!((w.history.stats().samples, w.history.stats().chunks), (0, 0));
}

#[test]
fn past_its_bytes_the_oldest_samples_go_first() {
    let limit = 100_000;
    let mut w = World::new(HistoryLimits { max_bytes: limit, ..LIMITS });
    for t in 1..=3000i64 {
        let noise = |k: i64| ((t * 7919 + k) % 1009) as f64 / 3.0;
        let names: Vec<String> = (0..20).map(|i| i.to_string()).collect();
        let samples: Vec<(&str, f64)> = names.iter().zip(0..).map(|(n, k)| (n.as_str(), noise(k))).collect();
        w.tick(t, &samples);
        if t % 60 == 0 {
            w.history.gc(at(t));
            assert!(w.history.stats().bytes <= limit, "{}", w.history.stats().bytes);
        }
    }
    let values = w.values("3");
    assert!(values.len() > 100 && values[0].0 > 1000);
    assert_eq!(values.last().unwrap().0, 3000);
}

#[test]
fn series_are_found_by_their_labels() {
    let mut w = World::new(LIMITS);
    w.tick(1, &[("a", 1.0), ("b", 1.0), ("", 1.0)]);
    let found = |m: &[Matcher]| -> Vec<String> {
        w.history.select(m).iter().map(|s| s.labels().get("d").to_string()).collect()
    };
    assert_eq!(found(&[]), ["", "a", "b"]);
    assert_eq!(found(&[Matcher::regex("d", "a|b").unwrap()]), ["a", "b"]);
    assert_eq!(found(&[Matcher::regex("d", "a?").unwrap()]), ["", "a"]);
    assert_eq!(found(&[Matcher::equal("__name__", "m"), Matcher::not_equal("d", "a")]), ["", "b"]);
    assert_eq!(found(&[Matcher::equal("d", "")]), [""]);
    assert_eq!(found(&[Matcher::equal("d", "a"), Matcher::not_regex("d", "a").unwrap()]).len(), 0);
    assert_eq!(found(&[Matcher::equal("x", "a")]).len(), 0);
}

#[test]
fn the_generation_changes_with_the_series_of_a_metric_only() {
    let mut w = World::new(LIMITS);
    let of_m = [Matcher::equal("__name__", "m")];
    w.tick(1, &[("a", 1.0)]);
    let before = w.history.generation(&of_m);
    let other = w.table.intern(Labels::from_pairs([("__name__", "other")]));
    w.history.append(&other, at(1), 1.0);
    w.tick(2, &[("a", 2.0)]);
    assert_eq!(w.history.generation(&of_m), before);
    w.tick(3, &[("a", 2.0), ("b", 1.0)]);
    assert_ne!(w.history.generation(&of_m), before);
}

#[test]
fn after_the_clock_was_set_back_sampling_goes_on() {
    let mut w = World::new(LIMITS);
    for t in 1..=5000 {
        w.tick(t, &[("a", t as f64)]);
    }
    w.tick(2000, &[("a", 1.0)]);
    w.tick(2001, &[("a", 2.0)]);
    let values = w.values("a");
    assert_eq!(values[1998..], [(1999, 1999.0), (2000, 1.0), (2001, 2.0)]);
    assert_eq!(w.history.stats().samples, values.len() as u64);
}

#[test]
fn of_what_a_rule_looks_further_back_on_more_is_kept_and_it_gives_way_first() {
    let keep =
        |d: &str, days: u64| Keep { matchers: vec![Matcher::equal("d", d)], reach: Duration::from_secs(days * 86_400) };
    let mut w = World::new(LIMITS);
    w.history.set_keeps(vec![keep("long", 1)]);
    let tick = |w: &mut World, t: i64| {
        let noise = (t * 7919 % 1009) as f64 / 3.0;
        w.tick(t, &[("long", noise), ("short", noise)]);
    };
    for t in 1..=20_000 {
        tick(&mut w, t);
        if t % 60 == 0 {
            assert_eq!(w.history.gc(at(t)), None);
        }
    }
    assert_eq!(w.values("long")[0].0, 1);
    assert!(w.values("short")[0].0 > 20_000 - 3600 - 1800);

    // A rule that comes later finds what there is, and one that goes leaves nothing behind.
    w.history.set_keeps(vec![keep("short", 1)]);
    w.history.gc(at(20_000));
    let first = w.values("short")[0].0;
    assert!(w.values("long")[0].0 > 20_000 - 3600 - 1800);
    (20_001..=30_000).for_each(|t| tick(&mut w, t));
    w.history.gc(at(30_000));
    assert_eq!(w.values("short")[0].0, first);

    // When bytes run out, the oldest go: what is kept longest.
    let bytes = w.history.stats().bytes;
    w.history.set_limits(HistoryLimits { max_bytes: bytes - bytes / 10, ..LIMITS });
    let shortage = w.history.gc(at(30_000)).expect("there is too much");
    assert!(w.values("short")[0].0 > first && shortage.cutoff > at(first));
    assert!(w.values("long")[0].0 < 30_000 - 3600, "the ordinary time is not touched");
    assert_eq!(
        w.history.stats().oldest,
        Some((at(w.values("short")[0].0)).as_millis().min(at(w.values("long")[0].0).as_millis()))
    );
}

#[test]
fn a_week_of_one_series_costs_no_more_than_a_megabyte() {
    let mut w = World::new(LIMITS);
    let week = 7 * 86_400;
    let reach = Duration::from_secs(week as u64);
    w.history.set_keeps(vec![Keep { matchers: vec![Matcher::regex("d", "mem.*").unwrap()], reach }]);
    let series = w.table.intern(Labels::from_pairs([("__name__", "m"), ("d", "memfree")]));
    let mut value = 8e9;
    for t in 0..=week {
        value += ((t * 7919 % 1009) - 504) as f64 * 4096.0;
        w.history.append(&series, at(t), value);
        if t % 600 == 0 {
            w.history.gc(at(t));
        }
    }
    let mut out = Vec::new();
    w.history.get(series.id).unwrap().read(at(0), at(week), &mut out);
    assert_eq!(out.len() as i64, week, "the window is open at its start");
    assert!(w.history.stats().bytes < 1_300_000, "{}", w.history.stats().bytes);
}

#[test]
fn of_a_long_range_what_matters_is_seen_after_samples_have_gone_and_come_too() {
    let mut w = World::new(LIMITS);
    let check = |w: &World| {
        let series = w.history.select(&[Matcher::equal("d", "a")]);
        let (mut all, mut kept) = (Vec::new(), Vec::new());
        series[0].read(Timestamp::MIN, Timestamp::MAX, &mut all);
        let count = series[0].read_thinned(Timestamp::MIN, Timestamp::MAX, Thinning::Least, &mut kept);
        assert_eq!(count, all.len());
        assert!(kept.len() < all.len() / 2, "{} of {}", kept.len(), all.len());
        let least = |points: &[Point]| points.iter().map(|p| p.value).reduce(least);
        assert_eq!(least(&kept), least(&all));
        kept.clear();
        series[0].read_thinned(Timestamp::MIN, Timestamp::MAX, Thinning::Ends, &mut kept);
        assert_eq!((kept.first(), kept.last()), (all.first(), all.last()));
    };
    let value = |t: i64| (t * 7919 % 100_003) as f64;
    for t in 1..=8000 {
        w.tick(t, &[("a", value(t))]);
    }
    check(&w);
    w.history.gc(at(8000));
    check(&w);
    // The clock is set back, and what comes then is less.
    for t in 7900..=9000 {
        w.tick(t, &[("a", -value(t))]);
    }
    check(&w);
    w.history.gc(at(9500));
    check(&w);
}
