//! A row of the audit log: what was decided about an action for an alert, and what came of it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::alerting::core::Mono;
use crate::model::format_duration;

/// Why an action is looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// An alert begins to fire.
    Firing,
    /// It has ended.
    Resolved,
    /// It has fired on for the time after which the action is repeated.
    Repeat,
}

impl Trigger {
    pub fn as_str(self) -> &'static str {
        match self {
            Trigger::Firing => "firing",
            Trigger::Resolved => "resolved",
            Trigger::Repeat => "repeat",
        }
    }
}

/// Where an action stands, or how it ended.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Result {
    /// It will be run when what it waits for is over, if it is still wanted then; or when the pool has a place for it.
    Waiting,
    Running,
    /// The command ended well.
    Ok,
    /// It did not, or could not be started.
    Failed,
    Timeout,
    /// It was not run.
    Skipped,
    DryRun,
    /// It was cancelled while it ran, or the agent ended.
    Interrupted,
}

impl Result {
    /// Those in which an action ends.
    pub const ENDS: [Result; 6] =
        [Result::Ok, Result::Failed, Result::Timeout, Result::Skipped, Result::DryRun, Result::Interrupted];

    pub fn as_str(self) -> &'static str {
        match self {
            Result::Waiting => "waiting",
            Result::Running => "running",
            Result::Ok => "ok",
            Result::Failed => "failed",
            Result::Timeout => "timeout",
            Result::Skipped => "skipped",
            Result::DryRun => "dry_run",
            Result::Interrupted => "interrupted",
        }
    }

    /// Whether a command was started, or would have been.
    fn counts(self) -> bool {
        !matches!(self, Result::Waiting | Result::Skipped)
    }
}

/// A row of the audit log.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// When the command was started; where it was not, when that was decided. By the wall clock, in milliseconds.
    pub at: i64,
    /// The action; of an `exec` receiver its target.
    pub action: String,
    /// The labels of the alert; of an `exec` receiver those that all alerts of the notification share.
    pub alert: BTreeMap<String, String>,
    /// What it was for: the alert's fingerprint; of an `exec` receiver the lane of the queue.
    pub(in crate::alerting) subject: String,
    pub command: Vec<String>,
    pub trigger: Trigger,
    pub result: Result,
    /// How it ended, or why it is not run: `exit 0`, `3 runs in the last hour are the limit`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub said: String,
    /// How long the command ran, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took: Option<u64>,
    /// The end of what it wrote.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub output: String,
    /// It was handed to the pool, which has not begun it as far as is known.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(in crate::alerting) ordered: bool,
    /// The same as `at` by the monotonic clock.
    #[serde(skip)]
    pub(in crate::alerting) since: Mono,
}

/// The most characters of a line that is told with an alert.
const MAX_LINE: usize = 200;

impl Entry {
    /// Whether a command was started, or would have been, or may have been.
    pub(in crate::alerting) fn counts(&self) -> bool {
        self.ordered || self.result.counts()
    }

    /// What is told with the alert.
    pub(in crate::alerting) fn line(&self) -> String {
        let Entry { action, said, .. } = self;
        let line = match self.result {
            Result::Waiting if self.ordered => format!("{action}: {said}"),
            Result::Waiting => format!("{action}: {NOT_YET}: {said}"),
            Result::Running => format!("{action}: {STARTED}"),
            Result::Skipped => format!("{action}: not run: {said}"),
            Result::DryRun => format!("{action}: dry run, would have run {}", self.command.join(" ")),
            Result::Interrupted => format!("{action}: interrupted: {said}"),
            Result::Timeout => format!("{action}: {said}"),
            Result::Ok | Result::Failed => {
                let took = self.took.map_or(String::new(), |took| format!(" after {}", seconds(took)));
                let why = if self.result == Result::Failed { last_line(&self.output) } else { "" };
                let why = if why.is_empty() { String::new() } else { format!(": {why}") };
                format!("{action}: {said}{took}{why}")
            }
        };
        match line.char_indices().nth(MAX_LINE) {
            Some((end, _)) => format!("{}...", line.get(..end).unwrap_or_default()),
            None => line,
        }
    }
}

const STARTED: &str = "started";
const NOT_YET: &str = "not yet run";
/// What is said of an action that the pool has not begun.
pub(in crate::alerting) const NO_PLACE: &str = "waits for a place";

/// Whether a line says of an action that more is to come, and the next of it takes its place.
pub(in crate::alerting) fn provisional(line: &str, action: &str) -> bool {
    let rest = line.strip_prefix(action).and_then(|rest| rest.strip_prefix(": "));
    rest.is_some_and(|rest| [STARTED, NO_PLACE].contains(&rest) || rest.starts_with(NOT_YET))
}

fn last_line(text: &str) -> &str {
    text.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default()
}

/// Milliseconds as people read how long something took: `0.05 s`, `1.2 s`, `2m10s`.
fn seconds(millis: u64) -> String {
    match millis {
        0..1_000 => format!("{:.2} s", millis as f64 / 1e3),
        1_000..100_000 => format!("{:.1} s", millis as f64 / 1e3),
        _ => format_duration(Duration::from_secs(millis / 1000)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(result: Result, said: &str, took: Option<u64>, output: &str) -> Entry {
        Entry {
            at: 0,
            action: "restart-nginx".into(),
            alert: BTreeMap::new(),
            subject: String::new(),
            command: ["systemctl", "restart", "nginx"].map(String::from).to_vec(),
            trigger: Trigger::Firing,
            result,
            said: said.into(),
            took,
            output: output.into(),
            ordered: false,
            since: Mono::default(),
        }
    }

    #[test]
    fn a_line_says_what_was_done_and_what_came_of_it() {
        let line = |result, said, took, output| entry(result, said, took, output).line();
        assert_eq!(line(Result::Ok, "exit 0", Some(1234), "done\n"), "restart-nginx: exit 0 after 1.2 s");
        assert_eq!(
            line(Result::Failed, "exit 1", Some(52), "a\n no such unit \n\n"),
            "restart-nginx: exit 1 after 0.05 s: no such unit"
        );
        assert_eq!(
            line(Result::Timeout, "timed out after 30s", Some(30_000), ""),
            "restart-nginx: timed out after 30s"
        );
        let limit = "3 runs in the last hour are the limit";
        assert_eq!(line(Result::Skipped, limit, None, ""), format!("restart-nginx: not run: {limit}"));
        let dry = "restart-nginx: dry run, would have run systemctl restart nginx";
        assert_eq!(line(Result::DryRun, "", None, ""), dry);
        assert_eq!(line(Result::Failed, "exit 1", None, &"é".repeat(300)).chars().count(), MAX_LINE + 3);
    }

    #[test]
    fn a_line_of_what_is_not_over_gives_way_to_the_next() {
        for result in [Result::Running, Result::Waiting] {
            assert!(provisional(&entry(result, "silenced", None, "").line(), "restart-nginx"));
        }
        let ordered = Entry { ordered: true, ..entry(Result::Waiting, NO_PLACE, None, "") };
        assert!(ordered.line() == "restart-nginx: waits for a place" && provisional(&ordered.line(), "restart-nginx"));
        let ended = entry(Result::Ok, "exit 0", Some(1), "").line();
        assert!(!provisional(&ended, "restart-nginx") && !provisional("restart: started", "restart-nginx"));
    }

    #[test]
    fn times_read_as_people_say_them() {
        assert_eq!([0, 52, 1_234, 99_999, 130_000].map(seconds), ["0.00 s", "0.05 s", "1.2 s", "100.0 s", "2m10s"]);
    }
}
