//! Pictures over a small history: what somebody who looks at them sees.

use std::f64::consts::TAU;
use std::sync::{Arc, RwLock};

use jiff::tz::TimeZone;

use super::draw::draw;
use super::png::decode;
use super::read::{Figure, Line, figure};
use super::*;
use crate::fuzz::Fuzz;
use crate::history::{History, HistoryLimits, SharedHistory};
use crate::model::{Labels, SeriesTable, Timestamp};
use crate::promql::EvalOptions;

const WIDTH: usize = 1600;
const END: i64 = 1_700_000_000_000;
const WHITE: [u8; 3] = [255; 3];
const ALARM: [u8; 3] = [0xc9, 0x2a, 0x2a];
const BLUE: [u8; 3] = [0x00, 0x72, 0xb2];

fn at(seconds_before: i64) -> Timestamp {
    Timestamp::from_millis(END - seconds_before * 1000)
}

/// Seconds before the end, and the value then; `None` for nothing.
type Values = fn(i64) -> Option<f64>;

/// An hour of these series, a sample every second.
fn history(series: &[(&[(&str, &str)], Values)]) -> SharedHistory {
    let table = SeriesTable::new(Labels::empty());
    let mut history = History::new(HistoryLimits::default());
    for (labels, values) in series {
        let series = table.intern(Labels::from_pairs(labels.iter().copied()));
        for before in (0..=3600).rev() {
            match values(before) {
                Some(value) => _ = history.append(&series, at(before), value),
                None => history.mark_stale(&series, at(before)),
            }
        }
    }
    Arc::new(RwLock::new(history))
}

pub(super) fn subject(expr: &str, labels: &[(&str, &str)]) -> Subject {
    let named = [("alertname", "HighUse"), ("instance", "web-1:9100")].iter().chain(labels);
    Subject {
        labels: Labels::from_pairs(named.copied()),
        expr: expr.to_string(),
        threshold: None,
        starts_at: Some(at(600)),
        ends_at: None,
        at: at(0),
    }
}

fn read(history: &SharedHistory, subject: &Subject) -> Option<Figure> {
    figure(history, subject, &EvalOptions::default(), || false)
}

/// The picture of a subject: its file and its pixels.
fn picture(history: &SharedHistory, subject: &Subject) -> (Vec<u8>, Vec<[u8; 3]>) {
    let file = draw(subject, &read(history, subject).unwrap(), &TimeZone::UTC).unwrap();
    if let Some(dir) = std::env::var_os("CHARTS_DIR") {
        let name = format!("{:08x}.png", crc32fast::hash(&file));
        std::fs::write(std::path::Path::new(&dir).join(name), &file).unwrap();
    }
    let (width, pixels) = decode(&file);
    assert_eq!((width as usize, pixels.len()), (WIDTH, WIDTH * 720));
    (file, pixels)
}

fn wave(before: i64) -> f64 {
    0.5 + 0.35 * (before as f64 / 900.0 * TAU).sin() + 0.05 * (before as f64 / 7.0).sin()
}

/// How many pixels of a row have a colour.
fn in_row(pixels: &[[u8; 3]], row: usize, color: [u8; 3]) -> usize {
    pixels[row * WIDTH..(row + 1) * WIDTH].iter().filter(|p| **p == color).count()
}

/// The rows of which many pixels have a colour.
fn rows_of(pixels: &[[u8; 3]], color: [u8; 3], many: usize) -> Vec<usize> {
    (0..pixels.len() / WIDTH).filter(|row| in_row(pixels, *row, color) > many).collect()
}

pub(super) fn up() -> SharedHistory {
    history(&[(&[("__name__", "use_ratio"), ("instance", "web-1:9100")], |before| Some(wave(before)))])
}

#[test]
fn a_picture_shows_the_series_below_the_threshold_too() {
    let history = up();
    let subject = subject("use_ratio > 0.8", &[]);
    let figure = read(&history, &subject).unwrap();
    assert_eq!((figure.drawn.as_str(), figure.threshold), ("use_ratio", Some(0.8)));
    assert_eq!((figure.from, figure.until), (at(3600), at(0)));
    assert_eq!(figure.own[0].pieces.len(), 1);
    let (file, pixels) = picture(&history, &subject);
    assert!(file.len() < 60_000, "{} bytes", file.len());
    let blue = pixels.iter().filter(|p| **p == BLUE).count();
    assert!((5_000..100_000).contains(&blue), "{blue}");
    assert!(pixels.iter().filter(|p| **p == WHITE).count() > pixels.len() / 2);
}

#[test]
fn the_same_data_gives_the_same_bytes() {
    let subject = subject("use_ratio > 0.8", &[]);
    assert_eq!(picture(&up(), &subject).0, picture(&up(), &subject).0);
}

#[test]
fn the_threshold_is_a_dashed_line_at_its_value() {
    let history = history(&[(&[("__name__", "use_ratio")], |before| Some(before as f64 / 3600.0))]);
    // The axis goes from 0 % to 100 %, from row 616 to 128.
    for threshold in [0.25, 0.5, 0.75] {
        let mut subject = subject(&format!("use_ratio > {threshold}"), &[]);
        subject.starts_at = None;
        let (_, pixels) = picture(&history, &subject);
        let rows = rows_of(&pixels, ALARM, 500);
        let expected = 616.0 - threshold * (616.0 - 128.0);
        assert!(
            !rows.is_empty() && rows.iter().all(|row| (*row as f64 - expected).abs() <= 2.0),
            "{rows:?} {expected}"
        );
        assert!(rows.iter().all(|row| in_row(&pixels, *row, ALARM) < 1100), "dashed");
    }
}

#[test]
fn the_label_of_the_threshold_hides_no_line() {
    // Just above the threshold at first, where the label would stand.
    let history = history(&[(&[("__name__", "use_ratio")], |before| Some(if before > 2700 { 0.945 } else { 0.2 }))]);
    let mut subject = subject("use_ratio", &[]);
    subject.starts_at = None;
    let blue = |subject: &Subject| in_row(&picture(&history, subject).1, 616 - (0.945 * 488.0) as usize, BLUE);
    let without = blue(&subject);
    subject.threshold = Some(0.9);
    assert!(without > 250 && blue(&subject) == without, "{} of {without}", blue(&subject));
}

#[test]
fn the_time_in_which_the_alert_fires_is_shaded() {
    let history = up();
    let mut subject = subject("use_ratio > 0.8", &[]);
    let shade = |pixels: &[[u8; 3]]| rows_of(pixels, [250, 236, 236], 40).len();
    assert!(shade(&picture(&history, &subject).1) > 300);
    (subject.starts_at, subject.ends_at) = (Some(at(1800)), Some(at(900)));
    assert!(shade(&picture(&history, &subject).1) > 300);
    subject.starts_at = None;
    assert_eq!(shade(&picture(&history, &subject).1), 0);
}

#[test]
fn series_of_other_alerts_stand_behind_and_are_left_out_where_they_are_many() {
    let disk = |device: &'static str| [("__name__", "busy_ratio"), ("device", device)];
    let (a, b) = (disk("sda"), disk("sdb"));
    let history = history(&[(&a, |t| Some(wave(t))), (&b, |t| Some(wave(t + 300) / 2.0))]);
    let figure = read(&history, &subject("busy_ratio > 0.7", &[("device", "sda"), ("severity", "page")])).unwrap();
    assert_eq!((figure.own.len(), figure.others.len()), (1, 1));
    assert_eq!(figure.own[0].labels.get("device"), "sda");
    picture(&history, &subject("busy_ratio > 0.7", &[("device", "sda")]));
    let figure = read(&history, &subject("busy_ratio > 0.7", &[])).unwrap();
    assert_eq!((figure.own.len(), figure.others.len()), (2, 0), "an alert without that label is of both");
    picture(&history, &subject("busy_ratio > 0.7", &[]));

    let names: Vec<String> = (0..30).map(|n| n.to_string()).collect();
    let labels: Vec<_> = names.iter().map(|n| [("__name__", "busy_ratio"), ("cpu", n.as_str())]).collect();
    let values = |n: usize| -> Values { if n == 29 { |_| Some(0.9) } else { |_| Some(0.5) } };
    let many: Vec<(&[(&str, &str)], Values)> = labels.iter().zip(0..).map(|(l, n)| (l.as_slice(), values(n))).collect();
    let many = self::history(&many);
    let figure = read(&many, &subject("busy_ratio > 0.7", &[("cpu", "7")])).unwrap();
    assert_eq!((figure.own.len(), figure.others.len()), (1, 0));
    let figure = read(&many, &subject("busy_ratio > 0.7", &[])).unwrap();
    assert_eq!((figure.own.len(), figure.more), (6, 24));
    assert_eq!(figure.own[0].labels.get("cpu"), "29", "the worst first");
    picture(&many, &subject("busy_ratio > 0.7", &[]));
}

#[test]
fn where_there_is_no_value_the_line_is_broken() {
    let history = history(&[(&[("__name__", "temp_celsius")], |before| match before {
        1000..1500 => None,
        2000..2100 => Some(f64::NAN),
        2500..2600 => Some(f64::INFINITY),
        before => Some(60.0 + 20.0 * wave(before)),
    })]);
    let subject = subject("temp_celsius > 75", &[]);
    assert_eq!(read(&history, &subject).unwrap().own[0].pieces.len(), 4);
    picture(&history, &subject);
}

#[test]
fn of_what_is_absent_it_is_shown_until_when_it_was_there() {
    let history = history(&[(&[("__name__", "up"), ("job", "db")], |before| (before > 700).then_some(1.0))]);
    let figure = read(&history, &subject("absent(up{job=\"db\"})", &[("job", "db")])).unwrap();
    assert_eq!(figure.threshold, None);
    let (last, _) = figure.own[0].last().unwrap();
    assert!((END - 710_000..=END - 700_000).contains(&last), "{}", END - last);
    picture(&history, &subject("absent(up{job=\"db\"})", &[("job", "db")]));
}

#[test]
fn a_history_of_minutes_fills_the_picture() {
    let history =
        history(&[(&[("__name__", "free_bytes")], |before| (before <= 180).then_some(5e9 + before as f64 * 1e7))]);
    let subject = subject("free_bytes < 4e9", &[]);
    let figure = read(&history, &subject).unwrap();
    assert!((at(185)..=at(175)).contains(&figure.from), "{:?}", figure.until.millis_since(figure.from));
    assert!(figure.own[0].values().count() > 150, "each second");
    picture(&history, &subject);
}

#[test]
fn where_there_is_nothing_to_show_there_is_no_picture() {
    let history = up();
    for expr in
        ["nothing > 5", "absent(nothing)", "no expression (", "", "\"text\"", "use_ratio[5m]", "use_ratio * NaN > 1"]
    {
        assert_eq!(read(&history, &subject(expr, &[])), None, "{expr}");
    }
    for at in [Timestamp::MIN, Timestamp::MAX, Timestamp::from_millis(-1)] {
        assert_eq!(read(&history, &Subject { at, ..subject("use_ratio > 0.8", &[]) }), None);
    }
    let stop = figure(&history, &subject("use_ratio > 0.8", &[]), &EvalOptions::default(), || true);
    assert_eq!(stop, None, "nobody wants it any more");
}

#[test]
fn values_of_any_size_and_texts_in_any_letters_can_be_drawn() {
    use unit::Unit::{Bytes, Plain, Ratio, Seconds};
    for (low, high, unit) in [
        (0.0, 0.0, Plain),
        (-5.0, -5.0, Bytes),
        (1e-300, 1e299, Ratio),
        (-1e299, 1e299, Seconds),
        (5e-324, 1e-323, Plain),
        (1e15, 1e15 + 1.0, Bytes),
    ] {
        let line = Line { labels: Labels::empty(), pieces: vec![vec![(END - 60_000, low), (END, high)]] };
        let figure = Figure {
            unit,
            drawn: String::new(),
            threshold: Some(high),
            from: at(60),
            until: at(0),
            own: vec![line.clone(), line.clone()],
            more: 1,
            others: vec![line],
        };
        assert!(draw(&subject("x", &[]), &figure, &TimeZone::UTC).is_some());
    }
    let history = up();
    let figure = read(&history, &subject("use_ratio", &[])).unwrap();
    let canvas = canvas::Canvas::new(40, 40).unwrap();
    Fuzz::of(&["диск полон", "磁盘已满 🔥", "e\u{301}\u{202e}\u{0}", "a\nb\tc"]).texts(|text| {
        let letters = canvas.letters();
        let fitted = letters.fit(text, letters::Weight::Medium, 20.0, 30.0);
        letters.draw(&fitted, letters::Weight::Regular, 20.0, (0.0, 0.0), |_, _, _| {});
    });
    for text in ["磁盘已满 🔥 e\u{301}\u{202e}\u{0}", &"длинный ".repeat(1000)] {
        let mut subject = subject(text, &[]);
        subject.labels = Labels::from_pairs([("alertname", text), ("instance", text)]);
        let mut figure = figure.clone();
        figure.own =
            vec![Line { labels: Labels::from_pairs([("a", text)]), ..figure.own[0].clone() }, figure.own[0].clone()];
        assert!(draw(&subject, &figure, &TimeZone::UTC).is_some(), "{text:?}");
    }
}
