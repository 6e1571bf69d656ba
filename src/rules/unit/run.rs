//! One test: a history of its own, evaluated step by step.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::iter::Peekable;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use prometheus::Registry;

use super::diff::difference;
use super::file::{AlertTest, At, ExprTest, Test, TestFile};
use super::{Failure, Options, RuleFile, TestReport};
use crate::history::{History, HistoryLimits};
use crate::model::{Labels, Series, SeriesTable, Timestamp, format_duration};
use crate::promql::{EvalOptions, Query, Value, Values, almost_equal};
use crate::rules::rule::ALERT_NAME;
use crate::rules::{RuleEngine, Settings, State, read_file};
use crate::yaml::Faults;

/// Evaluations of a test: half a year of them at the interval of a minute.
const MAX_EVALUATIONS: u128 = 300_000;

/// Samples of a test.
const MAX_SAMPLES: u64 = 20_000_000;

/// Remarks of a test.
const MAX_REMARKS: usize = 20;

pub fn run(name: String, test: &At<Test>, file: &TestFile, rules: &[RuleFile], options: &Options) -> TestReport {
    let mut report = TestReport { name, failures: Vec::new(), remarks: Vec::new(), dump: None };
    let end = test.value.end();
    if end.as_millis() / file.evaluation_interval.as_millis().max(1) > MAX_EVALUATIONS {
        report.fail(
            test,
            format!(
                "until {} there are more than {MAX_EVALUATIONS} evaluations every {}: let it end sooner, or make the \
                 evaluation_interval longer",
                format_duration(end),
                format_duration(file.evaluation_interval)
            ),
        );
        return report;
    }
    let samples = test.value.input_series.iter().map(|s| s.values.total()).fold(0, u64::saturating_add);
    if samples > MAX_SAMPLES {
        report.fail(test, format!("its series have {samples} samples: more than {MAX_SAMPLES} are not read"));
        return report;
    }
    match Bench::new(&test.value, file, rules) {
        Ok(mut bench) => {
            bench.run(test, &mut report);
            report.dump = options.dump.then(|| bench.dump());
        }
        Err(error) => report.fail(test, error),
    }
    report
}

impl TestReport {
    fn fail<T>(&mut self, place: &At<T>, message: impl Into<String>) {
        self.failures.push(Failure { at: place.at, message: message.into(), diff: Vec::new() });
    }
}

impl Test {
    /// The latest time that it looks at, since its start.
    fn end(&self) -> Duration {
        let alerts = self.alert_rule_test.iter().map(|t| t.value.eval_time);
        let expressions = self.promql_expr_test.iter().map(|t| t.value.eval_time);
        alerts.chain(expressions).max().unwrap_or_default()
    }
}

/// A series on its way into history.
struct Feed {
    series: Arc<Series>,
    values: Peekable<Values>,
    /// Of the next value.
    time: Timestamp,
}

/// The parts of an agent that a test needs.
struct Bench<'t> {
    file: &'t TestFile,
    start: Timestamp,
    interval: Duration,
    feeds: Vec<Feed>,
    history: RwLock<History>,
    engine: RuleEngine,
}

impl<'t> Bench<'t> {
    fn new(test: &Test, file: &'t TestFile, rules: &[RuleFile]) -> Result<Bench<'t>, String> {
        let table = Arc::new(SeriesTable::new(Labels::empty()));
        // What is wrong with the rule files was said when they were read.
        let mut faults = Faults::of_known_keys();
        let mut groups: Vec<_> =
            rules.iter().flat_map(|rules| read_file(&rules.name, &rules.text, &mut faults)).collect();
        let place = |name: &str| file.group_eval_order.iter().position(|n| n.value == name).unwrap_or(0);
        groups.sort_by_key(|group| place(&group.name));
        let settings = Settings {
            interval: file.evaluation_interval,
            external_labels: test.external_labels.0.clone(),
            external_url: test.external_url.clone(),
            slack: Duration::ZERO,
            ..Settings::default()
        };
        let engine = RuleEngine::new(groups, settings, table.clone(), &Registry::new()).map_err(|e| e.to_string())?;
        let limits = HistoryLimits { retention: Duration::MAX, max_bytes: usize::MAX, max_series: usize::MAX };
        let start = test.start_timestamp.0;
        let mut bench = Bench {
            file,
            start,
            interval: if test.interval.is_zero() { file.evaluation_interval } else { test.interval },
            feeds: Vec::new(),
            history: RwLock::new(History::new(limits)),
            engine,
        };
        // Of two series with the same labels the later stands.
        let mut places: HashMap<&Labels, usize> = HashMap::new();
        for input in &test.input_series {
            let feed = Feed {
                series: table.intern(input.series.0.clone()),
                values: input.values.clone().peekable(),
                time: start,
            };
            match places.entry(&input.series.0) {
                Entry::Vacant(entry) => {
                    entry.insert(bench.feeds.len());
                    bench.feeds.push(feed);
                }
                Entry::Occupied(entry) => {
                    if let Some(earlier) = bench.feeds.get_mut(*entry.get()) {
                        *earlier = feed;
                    }
                }
            }
        }
        Ok(bench)
    }

    /// Evaluates the groups at every interval up to the end; looks at the alerts on the way, and at expressions then.
    fn run(&mut self, test: &At<Test>, report: &mut TestReport) {
        let step = self.file.evaluation_interval;
        let mut alerts: Vec<&At<AlertTest>> = test.value.alert_rule_test.iter().collect();
        alerts.sort_by_key(|t| t.value.eval_time);
        let mut alerts = alerts.into_iter().peekable();
        let end = test.value.end();
        let mut since = Duration::ZERO;
        while since <= end {
            let now = self.start + since;
            self.append_until(now);
            self.engine.evaluate_all(&self.history, now, since);
            let failures = self.engine.failures();
            let failed: Vec<String> = failures
                .map(|(group, rule, error)| {
                    format!("at {} the rule {group}/{rule} fails: {error}", format_duration(since))
                })
                .collect();
            for remark in self.engine.rule_errors().into_iter().take(MAX_REMARKS) {
                if failed.is_empty() && report.remarks.len() < MAX_REMARKS && !report.remarks.contains(&remark) {
                    report.remarks.push(remark);
                }
            }
            if !failed.is_empty() {
                failed.into_iter().for_each(|message| report.fail(test, message));
                return;
            }
            let next = since.saturating_add(step);
            while let Some(test) = alerts.next_if(|t| t.value.eval_time < next) {
                self.check_alerts(test, report);
            }
            since = next;
        }
        self.append_until(Timestamp::MAX);
        for test in &test.value.promql_expr_test {
            self.check_expression(test, report);
        }
    }

    /// Has the samples up to a time appended, and none of later ones: a rule must not see what is to come.
    fn append_until(&mut self, now: Timestamp) {
        let history = self.history.get_mut().unwrap_or_else(PoisonError::into_inner);
        for feed in &mut self.feeds {
            while feed.time <= now
                && let Some(value) = feed.values.next()
            {
                if let Some(value) = value {
                    history.append(&feed.series, feed.time, value);
                }
                feed.time = feed.time + self.interval;
            }
        }
    }

    fn check_alerts(&self, test: &At<AlertTest>, report: &mut TestReport) {
        let AlertTest { eval_time, alertname, exp_alerts } = &test.value;
        let expected = exp_alerts.iter().map(|alert| {
            let mut labels = alert.exp_labels.0.builder();
            labels.set(ALERT_NAME, alertname);
            (labels.build(), alert.exp_annotations.0.clone())
        });
        let active = self.engine.active_alerts().into_iter();
        let firing = active.filter(|(labels, alert)| {
            labels.get(ALERT_NAME) == alertname && matches!(alert.state, State::Firing { .. })
        });
        let mut expected: Vec<_> = expected.collect();
        let mut got: Vec<_> = firing.map(|(labels, alert)| (labels, alert.annotations)).collect();
        let show = |labels: &Labels, annotations: &Labels| {
            let annotations = annotations.iter().map(|(name, text)| format!("    {name}: {text}"));
            std::iter::once(labels.to_string()).chain(annotations).collect()
        };
        if let Some(diff) = difference(&mut expected, &mut got, |a, b| a == b, show) {
            let message = format!("alert {alertname} at {} is not as expected", format_duration(*eval_time));
            report.failures.push(Failure { at: test.at, message, diff });
        }
    }

    fn check_expression(&self, test: &At<ExprTest>, report: &mut TestReport) {
        let ExprTest { expr, eval_time, exp_samples } = &test.value;
        let at = format_duration(*eval_time);
        let text = expr.text.trim();
        let place = expr.node.as_ref().map_or(test.at, |node| node.at);
        let mut got = match self.evaluate(&expr.text, *eval_time) {
            Ok(samples) => samples,
            Err(error) => {
                let message = format!("expr {text:?} at {at}: {error}");
                return report.failures.push(Failure { at: place, message, diff: Vec::new() });
            }
        };
        let mut expected: Vec<_> = exp_samples.iter().map(|s| (s.labels.0.clone(), s.value.0)).collect();
        let fuzzy = self.file.fuzzy_compare;
        let show = |labels: &Labels, value: &f64| vec![format!("{labels} {}", shown(*value))];
        if let Some(diff) = difference(&mut expected, &mut got, |a, b| equal(*a, *b, fuzzy), show) {
            let message = format!("expr {text:?} at {at} is not as expected");
            report.failures.push(Failure { at: place, message, diff });
        }
    }

    fn evaluate(&self, expr: &str, since: Duration) -> Result<Vec<(Labels, f64)>, String> {
        let query = Query::parse(expr).map_err(|e| e.to_string())?;
        let options = EvalOptions { subquery_step: self.file.evaluation_interval, ..EvalOptions::default() };
        let history = self.history.read().unwrap_or_else(PoisonError::into_inner);
        match query.instant(&history, self.start + since, &options).map_err(|e| e.to_string())? {
            Value::Vector(samples) => Ok(samples.into_iter().map(|s| (s.labels, s.value)).collect()),
            Value::Scalar(value) => Ok(vec![(Labels::empty(), value)]),
            _ => Err("the result is neither an instant vector nor a scalar".into()),
        }
    }

    /// All series with all their samples, a line each.
    fn dump(&self) -> String {
        let history = self.history.read().unwrap_or_else(PoisonError::into_inner);
        let mut lines: Vec<String> = history
            .all()
            .map(|series| {
                let mut points = Vec::new();
                series.read(Timestamp::MIN, Timestamp::MAX, &mut points);
                let samples = points
                    .iter()
                    .map(|p| format!(" {}@{}", shown(p.value), Timestamp::from_millis(p.time).as_secs_f64()));
                format!("{} =>{}\n", series.labels(), samples.collect::<String>())
            })
            .collect();
        lines.sort_unstable();
        lines.concat()
    }
}

/// Exactly, or if `fuzzy` in the first six digits. NaN is as good as any other NaN.
fn equal(a: f64, b: f64, fuzzy: bool) -> bool {
    a == b || (a.is_nan() && b.is_nan()) || (fuzzy && almost_equal(a, b, 1e-6))
}

/// A number in as few digits as tell it from others.
fn shown(value: f64) -> String {
    match value {
        f64::INFINITY => "+Inf".to_string(),
        f64::NEG_INFINITY => "-Inf".to_string(),
        value if value.abs() < 1e15 => value.to_string(),
        value => format!("{value:?}"),
    }
}
