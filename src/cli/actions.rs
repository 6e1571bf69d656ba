//! `watchfire actions`: what was run because of alerts, and what was not.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::api2::{ask, end, list, table, text, time};
use super::client::{ClientFlags, Failure};
use super::query::table::printable;
use crate::model::{Age, Timestamp};
use crate::sinks::Question;

const EXAMPLES: &str = "\
Examples:
  watchfire actions                              what was run last, and what came of it
  watchfire actions --last 1 --json              with the command, the alert's labels and the output's end

Exit status: 0 when there is an answer, 2 when a flag is wrong, 1 for any other failure.";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct ActionsFlags {
    /// How many, the newest first.
    #[arg(long, value_name = "NUMBER", default_value_t = 20)]
    last: usize,
    /// Print what the API answers.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    client: ClientFlags,
}

pub fn run(flags: &ActionsFlags) -> ExitCode {
    end(flags.said())
}

impl ActionsFlags {
    fn said(&self) -> Result<String, Failure> {
        let client = self.client.client()?;
        let answer = ask(&client, &format!("api/actions?last={}", self.last), Question::Get)?;
        if self.json {
            return Ok(format!("{answer}\n"));
        }
        let width = std::io::stdout().is_terminal().then(super::width);
        Ok(actions(&list(&client, answer)?, Timestamp::now(), width))
    }
}

/// The name of an alert, and what tells it from others of its name.
fn alert(labels: &Value) -> String {
    let labels = labels.as_object().into_iter().flatten();
    let (mut name, mut others) = (String::new(), Vec::new());
    for (label, value) in labels {
        let value = printable(value.as_str().unwrap_or_default());
        match label.as_str() {
            "alertname" => name = value,
            "instance" | "job" | "severity" => {}
            _ => others.push(format!("{label}={value}")),
        }
    }
    others.insert(0, name);
    others.join(" ")
}

fn actions(rows: &[Value], now: Timestamp, width: Option<usize>) -> String {
    if rows.is_empty() {
        return "nothing was run\n".to_string();
    }
    let names = ["AGE", "ACTION", "ON", "RESULT", "TOOK", "ALERT", "SAID"];
    let mut lines = vec![names.map(str::to_string).to_vec()];
    for row in rows {
        lines.push(vec![
            Age(time(&row["at"]), now).to_string(),
            text(&row["action"]),
            text(&row["trigger"]),
            text(&row["result"]).replace('_', " "),
            row["seconds"].as_f64().map_or(String::new(), |seconds| format!("{seconds:.2} s")),
            alert(&row["alert"]),
            text(&row["said"]),
        ]);
    }
    table(&lines, &[0, 4], width)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn actions_are_a_table_with_what_came_of_each() {
        let rows = [
            json!({
                "number": 8, "at": "1970-01-01T00:01:00Z", "action": "restart-nginx", "trigger": "firing",
                "alert": {"alertname": "NginxDown", "instance": "h:1", "port": "80"}, "command": ["x"], "result": "skipped",
                "said": "3 runs in the last hour are the limit",
            }),
            json!({
                "number": 7, "at": "1970-01-01T00:00:10Z", "action": "restart-nginx", "trigger": "repeat",
                "alert": {"alertname": "NginxDown"}, "command": ["x"], "result": "ok", "said": "exit 0", "seconds": 1.234,
            }),
        ];
        assert_eq!(
            actions(&rows, Timestamp::from_millis(70_000), None).lines().collect::<Vec<_>>(),
            [
                "   AGE  ACTION         ON      RESULT     TOOK  ALERT              SAID",
                "   10s  restart-nginx  firing  skipped          NginxDown port=80  3 runs in the last hour are the limit",
                "1m 0s  restart-nginx  repeat  ok       1.23 s  NginxDown          exit 0",
            ]
            .map(|line| line.replacen("   ", "  ", usize::from(!line.starts_with('1'))))
        );
        assert_eq!(actions(&[], Timestamp::default(), None), "nothing was run\n");
    }
}
