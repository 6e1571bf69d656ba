//! What a chart shows, read from history: the subject of the alert's expression over the last hour, series by series.

use std::time::{Duration, Instant};

use super::unit::{Unit, unit};
use crate::history::{History, SharedHistory, Wanted, excerpt};
use crate::model::{Labels, METRIC_NAME, Timestamp};
use crate::promql::{EvalOptions, Query, RangeSeries, Type, Value};

/// How much of the past is shown.
const SPAN: Duration = Duration::from_secs(3600);
/// The least that is shown, where history is shorter.
const LEAST_SPAN_MS: i64 = 60_000;
/// The last millisecond of the year 9999.
const LAST_TIME: i64 = 253_402_300_799_999;
/// Values of a series, about.
const POINTS: i64 = 720;
/// Series that are drawn in colours.
pub const MOST_OWN: usize = 6;
/// Series of others that are drawn behind them, if there are no more.
const MOST_OTHERS: usize = 10;

/// What a chart is asked for.
#[derive(Clone, PartialEq, Debug)]
pub struct Subject {
    /// The alert's labels; series whose labels contradict them are others'.
    pub labels: Labels,
    /// The rule's expression.
    pub expr: String,
    /// What it compares with; for `None`, what the expression says of it.
    pub threshold: Option<f64>,
    /// Since when the alert fires; `None` where nothing does.
    pub starts_at: Option<Timestamp>,
    /// When it stopped.
    pub ends_at: Option<Timestamp>,
    /// Up to when.
    pub at: Timestamp,
}

/// A chart's data.
#[derive(Clone, PartialEq, Debug)]
pub struct Figure {
    pub unit: Unit,
    /// The expression that is drawn.
    pub drawn: String,
    pub threshold: Option<f64>,
    pub from: Timestamp,
    pub until: Timestamp,
    /// Those of the alert, at most [`MOST_OWN`].
    pub own: Vec<Line>,
    /// How many more there are of the alert.
    pub more: usize,
    pub others: Vec<Line>,
}

/// A series, in pieces: between them it had no value.
#[derive(Clone, PartialEq, Debug)]
pub struct Line {
    pub labels: Labels,
    /// Milliseconds and values, which are finite.
    pub pieces: Vec<Vec<(i64, f64)>>,
}

impl Line {
    fn of(series: &RangeSeries, step: i64) -> Line {
        let mut pieces: Vec<Vec<(i64, f64)>> = Vec::new();
        // Beyond this the axis itself cannot be reckoned with.
        for point in series.points.iter().filter(|p| p.value.abs() < 1e300) {
            let follows =
                |piece: &Vec<(i64, f64)>| piece.last().is_some_and(|(t, _)| point.time - t <= step + step / 2);
            match pieces.last_mut().filter(|piece| follows(piece)) {
                Some(piece) => piece.push((point.time, point.value)),
                None => pieces.push(vec![(point.time, point.value)]),
            }
        }
        Line { labels: series.labels.without_name(), pieces }
    }

    pub fn values(&self) -> impl Iterator<Item = f64> + '_ {
        self.pieces.iter().flatten().map(|(_, value)| *value)
    }

    /// The last time and value that it has.
    pub fn last(&self) -> Option<(i64, f64)> {
        self.pieces.last()?.last().copied()
    }
}

/// Reads it, over a copy of what the expression looks at. `None` where there is nothing to show, where it is not an
/// expression that can be drawn, or where `options` or `over` say that it has taken enough.
pub fn figure(
    history: &SharedHistory,
    subject: &Subject,
    options: &EvalOptions,
    over: impl Fn() -> bool,
) -> Option<Figure> {
    let whole = Query::parse(&subject.expr).ok()?;
    let compared = whole.compared();
    let query = Query::parse(&compared.subject).ok()?;
    if !matches!(query.value_type(), Type::Vector | Type::Scalar) {
        return None;
    }
    let threshold = subject.threshold.or(compared.threshold).filter(|t| t.abs() < 1e300);
    let until = Some(subject.at.as_millis()).filter(|at| (0..=LAST_TIME).contains(at))?;
    let anywhere = query.text().contains('@') || query.is_contextual();
    let earliest = Timestamp::from_millis(until) - SPAN;
    let selectors = query.selectors();
    let wanted = selectors.iter().map(|selector| Wanted {
        matchers: selector.matchers,
        after: if anywhere { Timestamp::MIN } else { earliest - selector.reach - options.lookback },
    });
    let wanted: Vec<Wanted<'_>> = wanted.collect();
    let over = || over() || options.deadline.is_some_and(|deadline| Instant::now() > deadline);
    let part = excerpt(history, &wanted, over)?;
    let from = begin(&part, earliest.as_millis(), until);
    // From the end backwards, so that the last value is that of the alert.
    let step = step(until - from);
    let from = until - (until - from) / step * step;
    let range = (Timestamp::from_millis(from), Timestamp::from_millis(until));
    let value = query.range(&part, range.0, range.1, Duration::from_millis(step.unsigned_abs()), options).ok()?;
    let Value::Matrix(series) = value else { return None };
    let lines = series.iter().map(|s| Line::of(s, step)).filter(|line| !line.pieces.is_empty());
    let (mut own, mut others): (Vec<Line>, Vec<Line>) = lines.partition(|line| belongs(&line.labels, &subject.labels));
    if own.is_empty() {
        std::mem::swap(&mut own, &mut others);
    }
    if own.is_empty() {
        return None;
    }
    let more = own.len().saturating_sub(MOST_OWN);
    if more > 0 {
        // Those that are worst, in the sense of the expression.
        let badness = |line: &Line| {
            let last = line.last().map_or(f64::NEG_INFINITY, |(_, value)| value);
            if whole.asks_for_less() { last } else { -last }
        };
        own.sort_by(|a, b| badness(a).total_cmp(&badness(b)));
    }
    own.truncate(MOST_OWN);
    others.truncate(if others.len() > MOST_OTHERS { 0 } else { MOST_OTHERS });
    Some(Figure {
        unit: unit(&query),
        drawn: compared.subject,
        threshold,
        from: range.0,
        until: range.1,
        own,
        more,
        others,
    })
}

/// Where the chart begins: an hour before its end, or where history does.
fn begin(part: &History, earliest: i64, until: i64) -> i64 {
    let first = part.all().map(|series| series.first_time()).min().unwrap_or(earliest);
    first.clamp(earliest, (until - LEAST_SPAN_MS).max(earliest))
}

/// Milliseconds between two values: whole seconds.
fn step(span: i64) -> i64 {
    (span / POINTS + 999).div_euclid(1000).max(1) * 1000
}

/// Whether a series is the alert's: none of its labels is another there.
fn belongs(series: &Labels, alert: &Labels) -> bool {
    series.iter().all(|(name, value)| name == METRIC_NAME || !alert.has(name) || alert.get(name) == value)
}
