//! The result for people: a block for each alert that was pending or firing, with a line and a timeline for each of its
//! label sets.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use jiff::tz::TimeZone;

use super::Backtest;
use super::bar::{Axis, Cell};
use super::clock::Clock;
use crate::cli::query::table::{cut, printable, widths};
use crate::model::{Labels, Timestamp, format_duration};
use crate::rules::replay::{Instance, Replayed, Stage};
use crate::rules::{AlertingSpec, RuleSpec};

/// Label sets of one alert that are shown unless all are asked for.
const SHOWN: usize = 10;
/// Columns left of a timeline.
const INDENT: usize = 2;
/// Columns of a timeline, at least.
const NARROWEST: usize = 20;
/// What an agent that samples every second lets a rule take.
const BUDGET: Duration = Duration::from_millis(500);

const HEADINGS: [&str; 8] = ["", "FIRING", "TIMES", "LONGEST", "PENDING", "FIRST", "LAST", "WORST"];

/// How it is to look.
pub struct Look {
    pub width: usize,
    pub colours: bool,
    /// Nothing is left out.
    pub all: bool,
    pub zone: TimeZone,
}

pub fn report(backtest: &Backtest, look: &Look) -> String {
    let clock = Clock::new(backtest.start, backtest.end, look.zone.clone());
    let mut alerts: Vec<(&Replayed, &AlertingSpec)> = backtest
        .rules
        .iter()
        .filter_map(|rule| match &*rule.spec {
            RuleSpec::Alerting(alert) => Some((rule, alert)),
            RuleSpec::Recording(_) => None,
        })
        .collect();
    // What fired most comes first, and else the order of the files.
    alerts.sort_by_key(|(rule, _)| std::cmp::Reverse((total(rule, Stage::Firing), total(rule, Stage::Pending))));
    let active: Vec<_> = alerts.iter().filter(|(rule, _)| !rule.instances.is_empty()).collect();

    let mut out = heading(backtest, &clock);
    let everywhere = of_the_host(active.iter().flat_map(|(rule, _)| &rule.instances));
    if !everywhere.is_empty() {
        let _ = writeln!(out, "{}", printable(&everywhere.to_string()));
    }
    let blocks: Vec<Block<'_>> =
        active.iter().map(|(rule, alert)| Block::of(rule, alert, &everywhere, look, &clock)).collect();
    let rows: Vec<Vec<String>> = std::iter::once(HEADINGS.map(str::to_string).to_vec())
        .chain(blocks.iter().flat_map(|block| block.rows.iter().map(|(row, _)| row.clone())))
        .collect();
    let mut widths = widths(&rows);
    let others: usize = widths.iter().skip(1).map(|width| width + 2).sum();
    if let Some(first) = widths.first_mut() {
        *first = (*first).min(look.width.saturating_sub(others + INDENT).max(8));
    }
    let axis =
        Axis { start: backtest.start, end: backtest.end, columns: look.width.saturating_sub(INDENT).max(NARROWEST) };
    if !blocks.is_empty() {
        let _ = writeln!(out, "\n{:INDENT$}{}", "", line(&rows[0], &widths));
        let _ = writeln!(out, "{:INDENT$}{}", "", axis.scale(&clock));
    }
    for block in &blocks {
        let _ = writeln!(out, "\n{}", block.title);
        for (row, instance) in &block.rows {
            let _ = writeln!(out, "{:INDENT$}{}", "", line(row, &widths));
            let bar = bar(&axis.cells(&backtest.covered, &instance.spans), look.colours);
            let _ = writeln!(out, "{:INDENT$}{bar}", "");
        }
        if block.more > 0 {
            let _ = writeln!(out, "{:INDENT$}... and {} more (--all shows them)", "", block.more);
        }
    }
    out.push('\n');
    troubles(backtest, &clock, &mut out);
    quiet(&alerts, look.all, &mut out);
    summary(&alerts, &mut out);
    out
}

fn heading(backtest: &Backtest, clock: &Clock) -> String {
    let length = u64::try_from(backtest.end.millis_since(backtest.start)).unwrap_or(0).div_ceil(1000);
    format!(
        "{} to {} ({}), {} ticks of {}\n",
        clock.whole(backtest.start),
        clock.whole(backtest.end),
        format_duration(Duration::from_secs(length)),
        backtest.ticks,
        backtest.url
    )
}

/// One alerting rule with its label sets, as text.
struct Block<'b> {
    title: String,
    rows: Vec<(Vec<String>, &'b Instance)>,
    /// Label sets that are not shown.
    more: usize,
}

impl<'b> Block<'b> {
    fn of(rule: &'b Replayed, alert: &AlertingSpec, everywhere: &Labels, look: &Look, clock: &Clock) -> Block<'b> {
        let shared = common(&rule.instances, everywhere);
        let mut title = printable(&alert.alert);
        if !shared.is_empty() {
            let _ = write!(title, " {}", printable(&shared.to_string()));
        }
        for (word, time) in [("for", alert.hold), ("keep_firing_for", alert.keep_firing)] {
            if !time.is_zero() {
                let _ = write!(title, "  {word} {}", format_duration(time));
            }
        }
        let mut instances: Vec<&Instance> = rule.instances.iter().collect();
        instances.sort_by_key(|i| std::cmp::Reverse((i.total(Stage::Firing), i.total(Stage::Pending))));
        let shown = if look.all { instances.len() } else { SHOWN };
        let more = instances.len().saturating_sub(shown);
        let left_out = usize::from(rule.left_out > 0);
        let row = |instance: &'b Instance| {
            let own = instance
                .labels
                .iter()
                .filter(|(name, _)| *name != "alertname" && !shared.has(name) && !everywhere.has(name));
            let own = Labels::from_pairs(own);
            (row(&own, instance, clock), instance)
        };
        Block { title, rows: instances.into_iter().take(shown).map(row).collect(), more: more + left_out }
    }
}

fn row(own: &Labels, instance: &Instance, clock: &Clock) -> Vec<String> {
    let time = |d: Duration| if d.is_zero() { "-".to_string() } else { format_duration(rounded(d)) };
    let at = |at: Option<Timestamp>| at.map_or("-".to_string(), |at| clock.time(at));
    let labels = if own.is_empty() { String::new() } else { printable(&own.to_string()) };
    let fired = instance.fired > 0;
    vec![
        labels,
        if fired { format_duration(rounded(instance.total(Stage::Firing))) } else { "-".to_string() },
        if fired { instance.fired.to_string() } else { "-".to_string() },
        time(instance.longest(if fired { Stage::Firing } else { Stage::Pending })),
        time(instance.total(Stage::Pending)),
        at(instance.spans.first().map(|span| span.from)),
        at(instance.spans.last().map(|span| span.to)),
        instance.worst.map_or("-".to_string(), |(value, _)| short(value)),
    ]
}

/// Whole seconds, where it is a second or more.
fn rounded(d: Duration) -> Duration {
    if d < Duration::from_secs(1) { d } else { Duration::from_secs_f64(d.as_secs_f64().round()) }
}

/// A number in as many digits as people read.
fn short(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() || size == 0.0 {
        return value.to_string();
    }
    if !(1e-4..1e15).contains(&size) {
        return format!("{value:.3e}");
    }
    let digits = (4 - size.log10().floor() as i64).clamp(0, 8) as usize;
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_string() } else { text }
}

fn line(row: &[String], widths: &[usize]) -> String {
    let mut line = String::new();
    for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
        let cell = cut(cell, *width);
        line += &if column == 0 { format!("{cell:<width$}") } else { format!("  {cell:>width$}") };
    }
    line.trim_end().to_string()
}

fn bar(cells: &[Cell], colours: bool) -> String {
    let mut out = String::new();
    for run in cells.chunk_by(|a, b| a == b) {
        let text: String = run.iter().map(|cell| cell.sign()).collect();
        let colour = match run.first() {
            Some(Cell::Firing) if colours => "\x1b[31m",
            Some(Cell::Pending) if colours => "\x1b[33m",
            _ => "",
        };
        let end = if colour.is_empty() { "" } else { "\x1b[0m" };
        let _ = write!(out, "{colour}{text}{end}");
    }
    if colours { out } else { out.trim_end().to_string() }
}

/// The labels that all have with the same value, without those of `said`.
fn common<'i>(instances: impl IntoIterator<Item = &'i Instance>, said: &Labels) -> Labels {
    let mut instances = instances.into_iter();
    let Some(first) = instances.next() else { return Labels::empty() };
    let mut same: BTreeMap<&str, &str> =
        first.labels.iter().filter(|(name, _)| *name != "alertname" && !said.has(name)).collect();
    for instance in instances {
        same.retain(|name, value| instance.labels.get(name) == *value);
    }
    Labels::from_pairs(same)
}

/// The labels of the host, which nearly all have and nobody needs to read again and again.
fn of_the_host<'i>(instances: impl Iterator<Item = &'i Instance> + Clone) -> Labels {
    let value = |name: &str| {
        let mut values = instances.clone().map(|instance| instance.labels.get(name)).filter(|value| !value.is_empty());
        let first = values.next()?;
        values.all(|value| value == first).then_some(first)
    };
    Labels::from_pairs(["instance", "job"].into_iter().filter_map(|name| Some((name, value(name)?))))
}

fn total(rule: &Replayed, stage: Stage) -> Duration {
    rule.instances.iter().map(|instance| instance.total(stage)).sum()
}

/// Rules that failed, or took longer than they may.
fn troubles(backtest: &Backtest, clock: &Clock, out: &mut String) {
    for rule in &backtest.rules {
        let name = printable(&format!("{}/{}", rule.group, rule.spec.name()));
        if let Some(trouble) = &rule.trouble {
            let _ = writeln!(
                out,
                "{name}: an error at {} of {} evaluations, at {} for the first time: {}",
                trouble.times,
                rule.evaluations,
                clock.time(trouble.first),
                printable(&trouble.error)
            );
        }
        if rule.slowest > BUDGET {
            let _ = writeln!(
                out,
                "{name}: one evaluation took {:.1?}: an agent that samples every second gives it up after {BUDGET:?}",
                rule.slowest
            );
        }
    }
}

/// The rules that were never pending.
fn quiet(alerts: &[(&Replayed, &AlertingSpec)], all: bool, out: &mut String) {
    let quiet: Vec<String> =
        alerts.iter().filter(|(rule, _)| rule.instances.is_empty()).map(|(_, a)| printable(&a.alert)).collect();
    let rules = if quiet.len() == 1 { "1 rule was" } else { &format!("{} rules were", quiet.len()) };
    if !quiet.is_empty() {
        let names = if all { format!(": {}", quiet.join(", ")) } else { " (--all names them)".to_string() };
        let _ = writeln!(out, "{rules} never pending{names}");
    }
}

fn summary(alerts: &[(&Replayed, &AlertingSpec)], out: &mut String) {
    let times = |rule: &Replayed| rule.instances.iter().map(|instance| instance.fired).sum::<usize>();
    let fired = alerts.iter().filter(|(rule, _)| times(rule) > 0).count();
    let all: usize = alerts.iter().map(|(rule, _)| times(rule)).sum();
    let rules = if alerts.len() == 1 { "1 rule".to_string() } else { format!("{} rules", alerts.len()) };
    let _ = match all {
        0 => writeln!(out, "0 of {rules} would have fired"),
        1 => writeln!(out, "{fired} of {rules} would have fired, once"),
        _ => writeln!(out, "{fired} of {rules} would have fired, {all} times in all"),
    };
}
