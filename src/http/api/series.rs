//! `series`, `labels`, `label/NAME/values`, `status/tsdb`: what there is in history.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::PoisonError;
use std::time::Instant;

use super::error::{ApiError, Kind};
use super::params::{Params, unescape_name};
use super::work::{Stop, Workers};
use super::{Body, TRUNCATED, data_with_warnings, json};
use crate::history::{Matcher, SeriesRef, SharedHistory, visit};
use crate::model::{Labels, METRIC_NAME, Timestamp};

/// Most that one may ask for in each list of `status/tsdb`.
const MAX_TOP: usize = 10_000;

/// The series that pass a selector of the request and have samples in its time.
struct Selection {
    selectors: Vec<Vec<Matcher>>,
    start: Timestamp,
    end: Timestamp,
}

impl Selection {
    fn of(params: &Params) -> Result<Selection, ApiError> {
        let (start, end) = params.span()?;
        let selectors = params.selectors().map_err(|why| ApiError::parameter("match[]", why))?;
        Ok(Selection { selectors, start, end })
    }

    fn visit(
        &self,
        history: &SharedHistory,
        stop: &Stop,
        deadline: Instant,
        mut take: impl FnMut(SeriesRef<'_>),
    ) -> Result<(), ApiError> {
        for matchers in &self.selectors {
            let over = || stop.is_set() || Instant::now() > deadline;
            let within = |series: &SeriesRef<'_>| {
                series.last().time >= self.start.as_millis() && series.first_time() <= self.end.as_millis()
            };
            let seen = visit(history, matchers, over, |series| {
                if within(&series) {
                    take(series);
                }
            });
            if !seen {
                return Err(ApiError::new(Kind::Timeout, "query timed out"));
            }
        }
        Ok(())
    }
}

pub(super) async fn series(
    workers: &Workers,
    history: SharedHistory,
    params: &Params,
    deadline: Instant,
) -> Result<Body, ApiError> {
    if params.all("match[]").next().is_none() {
        return Err(ApiError::bad_data("no match[] parameter provided"));
    }
    let limit = params.limit("limit")?;
    let selection = Selection::of(params)?;
    let work = move |stop: &Stop| {
        let mut found = BTreeSet::new();
        selection.visit(&history, stop, deadline, |series| {
            found.insert(series.labels().clone());
        })?;
        Ok(found)
    };
    let (found, _) = workers.run(deadline, work).await?;
    Ok(limited(found, limit, |out, labels: Labels| json::labels(out, &labels)))
}

pub(super) async fn label_names(
    workers: &Workers,
    history: SharedHistory,
    params: &Params,
    deadline: Instant,
) -> Result<Body, ApiError> {
    let limit = params.limit("limit")?;
    let selection = Selection::of(params)?;
    let work = move |stop: &Stop| {
        let mut names = BTreeSet::new();
        if selection.selectors.is_empty() {
            let history = history.read().unwrap_or_else(PoisonError::into_inner);
            names.extend(history.label_names().map(str::to_string));
        }
        selection.visit(&history, stop, deadline, |series| {
            for (name, _) in series.labels().iter().filter(|(name, _)| !names.contains(*name)).collect::<Vec<_>>() {
                names.insert(name.to_string());
            }
        })?;
        Ok(names)
    };
    let (names, _) = workers.run(deadline, work).await?;
    Ok(limited(names, limit, |out, name: String| json::string(out, &name)))
}

pub(super) async fn label_values(
    workers: &Workers,
    history: SharedHistory,
    name: &str,
    params: &Params,
    deadline: Instant,
) -> Result<Body, ApiError> {
    let name = unescape_name(name);
    if name.is_empty() {
        return Err(ApiError::bad_data(format!("invalid label name: {name:?}")));
    }
    let limit = params.limit("limit")?;
    let selection = Selection::of(params)?;
    let work = move |stop: &Stop| {
        let mut values = BTreeSet::new();
        if selection.selectors.is_empty() {
            let history = history.read().unwrap_or_else(PoisonError::into_inner);
            values.extend(history.label_values(&name).map(str::to_string));
        }
        selection.visit(&history, stop, deadline, |series| {
            let value = series.labels().get(&name);
            if !value.is_empty() && !values.contains(value) {
                values.insert(value.to_string());
            }
        })?;
        Ok(values)
    };
    let (values, _) = workers.run(deadline, work).await?;
    Ok(limited(values, limit, |out, value: String| json::string(out, &value)))
}

/// A list of at most so many; that there are more is a warning.
fn limited<T>(found: BTreeSet<T>, limit: Option<usize>, item: impl FnMut(&mut Vec<u8>, T)) -> Body {
    let limit = limit.unwrap_or(usize::MAX);
    let warnings = if found.len() > limit { vec![TRUNCATED.to_string()] } else { Vec::new() };
    data_with_warnings(|out| json::array(out, found.into_iter().take(limit), item), &warnings)
}

/// How many series there are of what.
#[derive(Default)]
struct Counts {
    series: usize,
    first: i64,
    last: i64,
    by_metric: HashMap<String, usize>,
    by_pair: HashMap<String, usize>,
    values: BTreeMap<String, HashSet<String>>,
}

pub(super) async fn tsdb(
    workers: &Workers,
    history: SharedHistory,
    params: &Params,
    deadline: Instant,
) -> Result<Body, ApiError> {
    let top = match params.get("limit") {
        "" => 10,
        text => match text.parse::<usize>() {
            Ok(top) if top > MAX_TOP => return Err(ApiError::bad_data(format!("limit must not exceed {MAX_TOP}"))),
            Ok(top) if top > 0 => top,
            _ => return Err(ApiError::bad_data("limit must be a positive number")),
        },
    };
    let work = move |stop: &Stop| {
        let mut counts = Counts { first: i64::MAX, last: i64::MIN, ..Counts::default() };
        let everything = Selection { selectors: vec![Vec::new()], start: Timestamp::MIN, end: Timestamp::MAX };
        everything.visit(&history, stop, deadline, |series| {
            counts.series += 1;
            counts.first = counts.first.min(series.first_time());
            counts.last = counts.last.max(series.last().time);
            for (name, value) in series.labels().iter() {
                if name == METRIC_NAME {
                    *counts.by_metric.entry(value.to_string()).or_default() += 1;
                }
                *counts.by_pair.entry(format!("{name}={value}")).or_default() += 1;
                counts.values.entry(name.to_string()).or_default().insert(value.to_string());
            }
        })?;
        let chunks = history.read().unwrap_or_else(PoisonError::into_inner).stats().chunks;
        Ok((counts, chunks))
    };
    let ((counts, chunks), _) = workers.run(deadline, work).await?;
    let list = |entries: Vec<(&str, usize)>| {
        let mut entries = entries;
        entries.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        entries.truncate(top);
        let entries = entries.into_iter().map(|(name, value)| serde_json::json!({"name": name, "value": value}));
        entries.collect::<Vec<_>>()
    };
    let of = |counts: &HashMap<String, usize>| list(counts.iter().map(|(name, n)| (name.as_str(), *n)).collect());
    let by_label = |size: fn(&HashSet<String>) -> usize| {
        list(counts.values.iter().map(|(name, values)| (name.as_str(), size(values))).collect())
    };
    let head = serde_json::json!({
        "headStats": {
            "numSeries": counts.series,
            "numLabelPairs": counts.by_pair.len(),
            "chunkCount": chunks,
            "minTime": counts.first,
            "maxTime": counts.last,
        },
        "seriesCountByMetricName": of(&counts.by_metric),
        "labelValueCountByLabelName": by_label(HashSet::len),
        "memoryInBytesByLabelName": by_label(|values| values.iter().map(String::len).sum()),
        "seriesCountByLabelValuePair": of(&counts.by_pair),
    });
    Ok(super::json_data(&head))
}
