//! `info`: labels of the series that describe a target, such as `target_info`, put on the series of that target.

use std::collections::BTreeMap;

use hashbrown::{HashMap, HashSet};

use crate::history::{Matcher, Point};
use crate::model::{Labels, METRIC_NAME};
use crate::promql::error::EvalError;
use crate::promql::eval::{Eval, unique};
use crate::promql::plan::{Call, Extra, InfoSelector};
use crate::promql::value::Sample;

/// A target: by its instance and its job, each as the series has it, or `""`.
type Target = (Box<str>, Box<str>);

fn target(labels: &Labels) -> Target {
    (labels.get("instance").into(), labels.get("job").into())
}

/// Labels that say what a series is, not what its target is.
fn is_metadata(name: &str) -> bool {
    matches!(name, METRIC_NAME | "__type__" | "__unit__")
}

impl Eval<'_> {
    pub(super) fn info(&mut self, call: &Call, now: i64) -> Result<Vec<Sample>, EvalError> {
        let vector = self.vector_argument(call, 0, now)?;
        let Extra::Info(selector) = &call.extra else { return Ok(vector) };
        let is_info = |s: &Sample| selector.name.iter().all(|m| m.matches(s.labels.metric_name()));
        let asked = asked(vector.iter().filter(|s| !is_info(s)));
        let found = if asked.is_empty() { Vec::new() } else { self.info_series(selector, now)? };
        let by_target = by_target(found.iter().filter(|(labels, _)| asked.contain(labels)))?;
        let mut out = Vec::with_capacity(vector.len());
        for mut s in vector {
            if is_info(&s) {
                out.push(s);
                continue;
            }
            let series = by_target.get(&target(&s.labels)).filter(|_| !asked.is_empty());
            let Some(series) = series else {
                // A selector that asks for a label asks for a series that has it.
                if selector.data.iter().all(|m| m.matches("")) {
                    out.push(s);
                }
                continue;
            };
            s.labels = joined(&s.labels, series, &selector.data)?;
            self.built(&s.labels)?;
            out.push(s);
        }
        unique(out)
    }

    fn info_series(&mut self, selector: &InfoSelector, now: i64) -> Result<Vec<(Labels, Point)>, EvalError> {
        let matchers: Vec<Matcher> = selector.name.iter().chain(&selector.data).cloned().collect();
        self.newest_of(&matchers, selector.shift, now)
    }
}

/// The instances and jobs that series are asked for: apart for those that have both, and either alone.
#[derive(Default)]
struct Asked {
    /// By whether there is an instance, and whether there is a job.
    sets: HashMap<(bool, bool), [HashSet<Box<str>>; 2]>,
}

fn asked<'s>(vector: impl Iterator<Item = &'s Sample>) -> Asked {
    let mut out = Asked::default();
    for s in vector {
        let (instance, job) = target(&s.labels);
        if instance.is_empty() && job.is_empty() {
            continue;
        }
        let [instances, jobs] = out.sets.entry((!instance.is_empty(), !job.is_empty())).or_default();
        instances.insert(instance);
        jobs.insert(job);
    }
    out
}

impl Asked {
    fn is_empty(&self) -> bool {
        self.sets.is_empty()
    }

    fn contain(&self, labels: &Labels) -> bool {
        let (instance, job) = target(labels);
        let sets = self.sets.get(&(!instance.is_empty(), !job.is_empty()));
        sets.is_some_and(|[instances, jobs]| instances.contains(&instance) && jobs.contains(&job))
    }
}

/// Of each target and metric name the newest series.
type ByTarget<'f> = HashMap<Target, BTreeMap<&'f str, &'f (Labels, Point)>>;

fn by_target<'f>(found: impl Iterator<Item = &'f (Labels, Point)>) -> Result<ByTarget<'f>, EvalError> {
    let mut out: ByTarget<'f> = HashMap::new();
    for series in found {
        let (labels, point) = series;
        let of_target = out.entry(target(labels)).or_default();
        match of_target.get(labels.metric_name()) {
            Some((_, other)) if other.time > point.time => {}
            Some((other_labels, other)) if other.time == point.time => {
                return Err(EvalError::Failed(format!(
                    "found duplicate series for info metric: existing {other_labels} @ {}, new {labels} @ {}",
                    other.time, point.time
                )));
            }
            _ => {
                of_target.insert(labels.metric_name(), series);
            }
        }
    }
    Ok(out)
}

/// The labels, and of the series those that the selector names, or all where it names none.
fn joined(labels: &Labels, series: &BTreeMap<&str, &(Labels, Point)>, data: &[Matcher]) -> Result<Labels, EvalError> {
    let mut added: BTreeMap<&str, &str> = BTreeMap::new();
    for (name, value) in series.values().flat_map(|(labels, _)| labels.iter()) {
        if is_metadata(name) || !(data.is_empty() || data.iter().any(|m| *m.name == *name)) {
            continue;
        }
        if added.get(name).is_some_and(|other| *other != value) {
            return Err(EvalError::Failed(format!("conflicting label: {name}")));
        }
        if !labels.has(name) {
            added.insert(name, value);
        }
    }
    let mut builder = labels.builder();
    for (name, value) in added {
        builder.set(name, value);
    }
    Ok(builder.build())
}
