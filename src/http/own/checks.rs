//! `/api/checks`, and the checks on the page for people.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;

use crate::checks::{Ended, LastRun, Standing};
use crate::http::api2::json;
use crate::http::{FailingCheck, Overview};

#[derive(Serialize)]
struct Shown<'a> {
    name: &'a str,
    labels: BTreeMap<&'a str, &'a str>,
    /// `ok`, `warning`, `critical`, `unknown`, or `waiting` before the first run has ended.
    state: &'static str,
    /// Since when it is so; of what waits, since when the check is in force.
    since: String,
    /// Whether the last run is too old to say anything of now.
    late: bool,
    /// Whether its command stays: then runs are its results and its ends.
    stream: bool,
    /// Seconds between two runs.
    interval: f64,
    /// Seconds for one; a stream has no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<f64>,
    /// By how they ended.
    runs: BTreeMap<&'static str, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_run: Option<Last<'a>>,
}

#[derive(Serialize)]
struct Last<'a> {
    ended: String,
    /// Seconds; not of a stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    ran: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<&'a str>,
    /// Of a command that exited by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<i32>,
}

/// What a run has said. Of a command that is a line of its output; what the agent itself says is for everybody.
fn summary(last: &LastRun, sees_output: bool) -> Option<&str> {
    (sees_output || last.command.is_none()).then_some(last.verdict.summary.as_str())
}

fn shown(standing: &Standing, sees_output: bool, now: Instant) -> Shown<'_> {
    let last = standing.last.as_deref();
    Shown {
        name: &standing.name,
        labels: standing.labels.iter().collect(),
        state: last.map_or("waiting", |last| last.verdict.state.as_str()),
        since: last.map_or(standing.since, |last| last.since).to_string(),
        late: standing.is_late(now),
        stream: standing.stream,
        interval: standing.interval.as_secs_f64(),
        timeout: (!standing.stream).then_some(standing.timeout.as_secs_f64()),
        runs: Ended::ALL.iter().map(|ended| ended.as_str()).zip(standing.runs).collect(),
        last_run: last.map(|last| Last {
            ended: last.at.to_string(),
            ran: last.ran.map(|ran| ran.as_secs_f64()),
            summary: summary(last, sees_output),
            exit_code: last.command.and_then(|command| command.exit_code),
        }),
    }
}

pub(super) fn list(checks: &[Arc<Standing>], sees_output: bool) -> Vec<u8> {
    let now = Instant::now();
    json(&checks.iter().map(|standing| shown(standing, sees_output, now)).collect::<Vec<_>>())
}

/// Puts those that are not ok on the page.
pub(in crate::http) fn add(overview: &mut Overview, checks: &[Arc<Standing>], sees_output: bool) {
    let now = Instant::now();
    let failing = checks.iter().filter_map(|standing| {
        let Shown { name, state, late, .. } = shown(standing, sees_output, now);
        let last = standing.last.as_deref();
        let (state, since) = match (state, late) {
            // What it was when it last ran is not what it is.
            (_, true) => ("late", last.map_or(standing.since, |last| last.at)),
            ("ok" | "waiting", false) => return None,
            (state, false) => (state, last.map_or(standing.since, |last| last.since)),
        };
        let summary = last.and_then(|last| summary(last, sees_output)).unwrap_or_default();
        Some(FailingCheck { name: name.to_string(), state, since, summary: summary.to_string() })
    });
    overview.failing = failing.collect();
    // As State has them in order of number, unknown would come before critical.
    let rank = |state: &str| ["critical", "unknown", "late", "warning"].iter().position(|known| *known == state);
    overview.failing.sort_by_key(|check| rank(check.state));
    overview.checks = checks.len();
}
