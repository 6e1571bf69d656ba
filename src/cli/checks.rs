//! `watchfire checks`: how the checks stand.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::api2::{OWN_API, ask_of, end, list, seconds, table, text, time};
use super::client::{ClientFlags, Failure};
use crate::model::{Age, Timestamp};
use crate::sinks::Question;
use crate::yaml::nearest;

const EXAMPLES: &str = "\
Examples:
  watchfire checks
  watchfire checks --failing                     only those that are not ok
  watchfire checks root-disk web
  watchfire pool logs check:root-disk            all that its last run has written

Exit status: 0 when there is an answer, 2 when a check is not there or a flag is wrong, 1 for any other failure.";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct ChecksFlags {
    /// Only these checks.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Only checks that are not ok, or late.
    #[arg(long)]
    failing: bool,
    /// Print what the API answers.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    client: ClientFlags,
}

pub fn run(flags: &ChecksFlags) -> ExitCode {
    end(flags.said())
}

impl ChecksFlags {
    fn said(&self) -> Result<String, Failure> {
        let client = self.client.client()?;
        let mut checks = list(&client, ask_of(&client, "api/checks", Question::Get, OWN_API)?)?;
        for name in &self.names {
            let names = || checks.iter().filter_map(|check| check["name"].as_str());
            if names().all(|known| known != name) {
                let hint = nearest(name, names()).map(|near| format!(", did you mean {near:?}?")).unwrap_or_default();
                return Err(Failure::invalid(format!("watchfire: no check is named {name:?}{hint}")));
            }
        }
        let wanted = |check: &Value| self.names.is_empty() || self.names.iter().any(|name| check["name"] == **name);
        checks.retain(|check| wanted(check) && (!self.failing || rank(check) < WAITING));
        if self.json {
            return Ok(format!("{}\n", Value::Array(checks)));
        }
        if checks.is_empty() {
            return Ok(if self.failing { "all checks are ok\n" } else { "no checks\n" }.to_string());
        }
        Ok(shown(checks, Timestamp::now(), std::io::stdout().is_terminal().then(super::width)))
    }
}

/// The rank of what has not run yet; what is worse comes before it.
const WAITING: usize = 4;

/// Where a check stands among others: the worst first.
fn rank(check: &Value) -> usize {
    match (check["state"].as_str().unwrap_or_default(), check["late"] == true) {
        ("critical", _) => 0,
        ("unknown", _) => 1,
        (_, true) => 2,
        ("warning", _) => 3,
        ("ok", _) => WAITING + 1,
        _ => WAITING,
    }
}

/// How long the last run took; of a stream, that it stays.
fn took(check: &Value) -> String {
    match &check["last_run"] {
        _ if check["stream"] == true => "stays".to_string(),
        Value::Null => String::new(),
        last => seconds(&last["ran"]),
    }
}

fn shown(mut checks: Vec<Value>, now: Timestamp, width: Option<usize>) -> String {
    // Those that stand alike stay in the order of the configuration.
    checks.sort_by_key(rank);
    let mut rows = vec![["CHECK", "STATE", "FOR", "LAST RUN", "TOOK", "SUMMARY"].map(str::to_string).to_vec()];
    let mut withheld = false;
    for check in &checks {
        let last = &check["last_run"];
        let late = if check["late"] == true { ", late" } else { "" };
        withheld |= last.is_object() && last["summary"].is_null();
        rows.push(vec![
            text(&check["name"]),
            format!("{}{late}", text(&check["state"])),
            Age(time(&check["since"]), now).to_string(),
            if last.is_null() { "never".to_string() } else { format!("{} ago", Age(time(&last["ended"]), now)) },
            took(check),
            text(&last["summary"]),
        ]);
    }
    let mut said = table(&rows, &[2, 3, 4], width);
    if withheld {
        said += "\nWhat commands say is told on the host itself, or to who has credentials (--http.config.file).\n";
    }
    said
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(name: &str, state: &str, late: bool, last: Value) -> Value {
        json!({"name": name, "state": state, "late": late, "since": "1970-01-01T00:00:10.000Z", "last_run": last})
    }

    #[test]
    fn the_worst_come_first_with_what_they_say() {
        let last = |summary: &str| json!({"ended": "1970-01-01T00:01:00.000Z", "ran": 0.0123, "summary": summary});
        let checks = vec![
            check("web", "ok", false, last("HTTP 200")),
            check("new", "waiting", false, Value::Null),
            check("old", "ok", true, last("fine")),
            check("root-disk", "critical", false, last("3 %\u{1b} free")),
        ];
        assert_eq!(
            shown(checks, Timestamp::from_millis(70_000), None),
            "CHECK      STATE       FOR  LAST RUN     TOOK  SUMMARY\n\
             root-disk  critical  1m 0s   10s ago  0.012 s  3 %\\u{1b} free\n\
             old        ok, late  1m 0s   10s ago  0.012 s  fine\n\
             new        waiting   1m 0s     never\n\
             web        ok        1m 0s   10s ago  0.012 s  HTTP 200\n"
        );
    }

    #[test]
    fn a_stream_took_no_time_but_stays() {
        let last = json!({"ended": "1970-01-01T00:01:00.000Z", "summary": "3 samples"});
        let mut gpu = check("gpu", "ok", false, last);
        gpu["stream"] = json!(true);
        let said = shown(vec![gpu], Timestamp::from_millis(70_000), None);
        assert!(said.ends_with("gpu    ok     1m 0s   10s ago  stays  3 samples\n"), "{said}");
    }

    #[test]
    fn what_is_not_told_is_said_to_be_so() {
        let last = json!({"ended": "1970-01-01T00:01:00.000Z", "ran": 0.0123});
        let said = shown(vec![check("web", "ok", false, last)], Timestamp::from_millis(70_000), None);
        assert!(said.ends_with("(--http.config.file).\n"), "{said}");
    }
}
