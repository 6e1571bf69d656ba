//! `watchfire pool`: what the pool runs, and has run.

use std::collections::HashMap;
use std::fmt::Write;
use std::io::{IsTerminal, Write as _};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::api2::{OWN_API, ask_of, end, seconds, table, text, time};
use super::client::{Client, ClientFlags, Failure};
use super::query::table::printable;
use crate::model::{Age, Timestamp};
use crate::sinks::Question;

const LIST: &str = "\
Examples:
  watchfire pool list
  watchfire pool list --json

Exit status: 0 when there is an answer, 2 when a flag is wrong, 1 for any other failure.";

const RUN: &str = "\
Examples:
  watchfire pool run check:root-disk             not only when it is due
  watchfire pool run check:gpu                   a stream is started anew: what runs of it is ended before
  watchfire pool run check:root-disk && sleep 1 && watchfire pool logs check:root-disk

Exit status: 0 when all were begun, 2 when a flag is wrong, 1 when one is not there, runs already or is refused.";

const CANCEL: &str = "\
Examples:
  watchfire pool cancel check:backup             SIGTERM to it and all it has started, then SIGKILL
  watchfire pool cancel check:gpu                a stream stays stopped until watchfire pool run check:gpu, or a restart
  watchfire pool cancel '#17'                    a task without an id, by its number

Exit status: 0 when all were cancelled, 2 when a flag is wrong, 1 when nothing of an id runs or waits.";

const RETRY: &str = "\
Examples:
  watchfire pool retry check:backup

Exit status: 0 when all were begun, 2 when a flag is wrong, 1 when one is not there or cannot be run again.";

const LOGS: &str = "\
Examples:
  watchfire pool logs check:root-disk
  watchfire pool logs check:root-disk --json

Exit status: 0 when there is an answer, 2 when a flag is wrong, 1 when nothing is known of the id.";

#[derive(Subcommand)]
pub enum Pool {
    /// List what runs, waits, is on schedule and has ended.
    #[command(after_help = LIST)]
    List(Box<ListFlags>),
    /// Run now what is on schedule, and start streams anew.
    #[command(after_help = RUN)]
    Run(Box<ChangeFlags>),
    /// End what runs or waits.
    #[command(after_help = CANCEL)]
    Cancel(Box<ChangeFlags>),
    /// Run once more what has ended.
    #[command(after_help = RETRY)]
    Retry(Box<ChangeFlags>),
    /// Show the last run of a task: how it ended, what it wrote, and how those before it ended; of a stream, what it says.
    #[command(after_help = LOGS)]
    Logs(Box<LogsFlags>),
}

#[derive(Args, Debug)]
pub struct ListFlags {
    /// Print what the API answers.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    client: ClientFlags,
}

#[derive(Args, Debug)]
pub struct ChangeFlags {
    /// The ids of tasks, as watchfire pool list names them.
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
    #[command(flatten)]
    client: ClientFlags,
}

#[derive(Args, Debug)]
pub struct LogsFlags {
    /// The id of the task, as watchfire pool list names it.
    #[arg(value_name = "ID")]
    id: String,
    /// Print what the API answers.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    client: ClientFlags,
}

impl Pool {
    pub fn run(&self) -> ExitCode {
        end(match self {
            Pool::List(flags) => flags.said(),
            Pool::Run(flags) => flags.said("run", "runs"),
            Pool::Cancel(flags) => flags.said("cancel", "is being ended"),
            Pool::Retry(flags) => flags.said("retry", "runs once more"),
            Pool::Logs(flags) => flags.said(),
        })
    }
}

impl ListFlags {
    fn said(&self) -> Result<String, Failure> {
        let client = self.client.client()?;
        let view = ask(&client, "api/pool", Question::Get)?;
        if self.json {
            return Ok(format!("{view}\n"));
        }
        Ok(listed(&view, Timestamp::now(), std::io::stdout().is_terminal().then(super::width)))
    }
}

impl ChangeFlags {
    /// Asks for all, also where one is refused: what was done is printed, and what was not is said at the end.
    fn said(&self, what: &str, done: &str) -> Result<String, Failure> {
        let client = self.client.client()?;
        let mut refused: Vec<Failure> = Vec::new();
        let mut said = String::new();
        for id in &self.ids {
            match ask(&client, &format!("{}/{what}", path(id)), Question::Post) {
                // Writing to a string does not fail.
                Ok(_) => drop(writeln!(said, "{} {done}", printable(id))),
                Err(failure) => refused.push(failure),
            }
        }
        match refused.first().map(|failure| failure.status) {
            None => Ok(said),
            Some(status) => {
                // Whoever reads may have enough.
                let _ = std::io::stdout().lock().write_all(said.as_bytes());
                let texts: Vec<&str> = refused.iter().map(|failure| failure.text.as_str()).collect();
                Err(Failure { text: texts.join("\n"), status })
            }
        }
    }
}

impl LogsFlags {
    fn said(&self) -> Result<String, Failure> {
        let client = self.client.client()?;
        let task = ask(&client, &path(&self.id), Question::Get)?;
        Ok(if self.json { format!("{task}\n") } else { logs(&task, Timestamp::now()) })
    }
}

fn ask(client: &Client, path: &str, question: Question) -> Result<Value, Failure> {
    ask_of(client, path, question, OWN_API)
}

/// Where the API has a task. Ids have colons and blanks, and a slash if somebody wants.
fn path(id: &str) -> String {
    let mut path = "api/pool/".to_string();
    for byte in id.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'~' => path.push(byte.into()),
            // Writing to a string does not fail.
            _ => drop(write!(path, "%{byte:02X}")),
        }
    }
    path
}

fn items<'a>(view: &'a Value, key: &str) -> impl Iterator<Item = (&'a str, &'a Value)> {
    let items = view[key].as_array().into_iter().flatten();
    items.map(|item| (item["id"].as_str().unwrap_or_default(), item))
}

/// What is known of an id.
#[derive(Default)]
struct Row<'a> {
    now: Vec<String>,
    next: Option<Timestamp>,
    last: Option<&'a Value>,
    /// Before others in the list: what happens now, what went wrong, what comes next, what is over.
    rank: usize,
}

/// What a command that stays does now.
fn stays(stream: &Value, now: Timestamp) -> String {
    match stream["state"].as_str() {
        Some("runs") => format!("stays, for {}", Age(time(&stream["started"]), now)),
        Some("pauses") => format!("is started again in {}", Age(now, time(&stream["next"]).max(now))),
        Some("stopped") => "is stopped: pool run starts it".to_string(),
        _ => "waits for others to end".to_string(),
    }
}

fn listed(view: &Value, now: Timestamp, width: Option<usize>) -> String {
    let mut ids: HashMap<&str, Row<'_>> = HashMap::new();
    for (id, task) in items(view, "running") {
        ids.entry(id).or_default().now.push(format!("runs for {}", Age(time(&task["started"]), now)));
    }
    for (id, stream) in items(view, "streams") {
        ids.entry(id).or_default().now.push(stays(stream, now));
    }
    for (id, task) in items(view, "queued") {
        let what = match task["waits_for"].as_str() {
            Some("place") => "a place",
            Some("tasks") => "others",
            _ => "another try",
        };
        ids.entry(id).or_default().now.push(format!("waits for {what}, {}", seconds(&task["waited"])));
    }
    for (id, task) in items(view, "scheduled") {
        ids.entry(id).or_default().next = Some(time(&task["next"]));
    }
    for (id, task) in items(view, "ended") {
        ids.entry(id).or_default().last = Some(&task["last"]);
    }
    if ids.is_empty() {
        return "nothing runs, waits or has run\n".to_string();
    }
    let mut sorted: Vec<(&str, Row<'_>)> = ids.into_iter().collect();
    for (_, row) in &mut sorted {
        row.rank = match row {
            Row { now, .. } if !now.is_empty() => 0,
            Row { last: Some(last), .. } if last["success"] == false => 1,
            Row { next: Some(_), .. } => 2,
            _ => 3,
        };
    }
    sorted.sort_by(|(id, row), (other_id, other)| (row.rank, row.next, id).cmp(&(other.rank, other.next, other_id)));
    let mut rows = vec![["ID", "NOW", "NEXT RUN", "LAST RUN", "TOOK", "LAST RESULT"].map(str::to_string).to_vec()];
    for (id, Row { now: doing, next, last, .. }) in sorted {
        let next = next.filter(|next| *next < Timestamp::MAX);
        rows.push(vec![
            printable(id),
            doing.join(", "),
            next.map(|next| format!("in {}", Age(now, next))).unwrap_or_default(),
            last.map(|last| format!("{} ago", Age(time(&last["ended"]), now))).unwrap_or_default(),
            last.map(|last| seconds(&last["ran"])).unwrap_or_default(),
            last.map(|last| text(&last["text"])).unwrap_or_default(),
        ]);
    }
    table(&rows, &[2, 3, 4], width)
}

fn logs(task: &Value, now: Timestamp) -> String {
    let id = text(&task["id"]);
    let mut said = String::new();
    for task in task["running"].as_array().into_iter().flatten() {
        // Writing to a string does not fail.
        let _ = writeln!(said, "{id} runs for {}", Age(time(&task["started"]), now));
    }
    let streams: Vec<&Value> = task["streams"].as_array().into_iter().flatten().collect();
    for stream in &streams {
        // Writing to a string does not fail.
        let _ = writeln!(said, "{id} {}", stays(stream, now));
    }
    outputs(&mut said, &task["said"], true);
    let last = &task["last"];
    let is_withheld = streams.iter().any(|stream| stream["state"] == "runs") && task["said"].is_null();
    match (last.is_null(), streams.is_empty()) {
        (true, true) => return format!("{said}{id} has not ended yet\n"),
        (true, false) => {}
        (false, is_over) => {
            said += if is_over { "" } else { "\nits last end:\n" };
            said += &ended(&id, last, now);
            outputs(&mut said, last, !is_over);
        }
    }
    if is_withheld || (last.is_object() && last["stdout"].is_null()) {
        said += "\nWhat it wrote is told on the host itself, or to who has credentials (--http.config.file).\n";
    }
    let before = task["before"].as_array().filter(|before| !before.is_empty());
    if let Some(before) = before {
        said += "\nbefore:\n";
        before.iter().for_each(|run| said += &ended(&id, run, now));
    }
    said
}

/// What was written, as far as it is told: its beginning, or its end.
fn outputs(said: &mut String, written: &Value, is_end: bool) {
    for (name, cut) in [("stdout", "stdout_truncated"), ("stderr", "stderr_truncated")] {
        let Some(output) = written[name].as_str().filter(|output| !output.is_empty()) else { continue };
        let part = match written[cut] == true {
            true if is_end => ", its end",
            true => ", its beginning",
            false => "",
        };
        // Writing to a string does not fail.
        let _ = writeln!(said, "\n{name}{part}:");
        *said += &lines(output);
    }
}

/// A run in a line.
fn ended(id: &str, run: &Value, now: Timestamp) -> String {
    let ago = Age(time(&run["ended"]), now);
    let tries = match run["tries"].as_u64() {
        Some(tries @ 2..) => format!(", {tries} tries"),
        _ => String::new(),
    };
    format!("{id} {}, {ago} ago, after {}{tries}\n", text(&run["text"]), seconds(&run["ran"]))
}

/// A text of several lines, without what a terminal would act on.
fn lines(text: &str) -> String {
    let shown = |c: char| if c.is_control() && c != '\t' { c.escape_default().collect() } else { c.to_string() };
    text.lines().map(|line| format!("{}\n", line.chars().map(shown).collect::<String>())).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fuzz::Fuzz;

    fn run(success: bool, text: &str) -> Value {
        json!({"ended": "1970-01-01T00:01:00.000Z", "success": success, "text": text, "ran": 0.5, "tries": 1})
    }

    #[test]
    fn what_happens_now_and_what_went_wrong_come_first() {
        let view = json!({
            "running": [{"id": "check:backup", "started": "1970-01-01T00:01:00.000Z"}],
            "queued": [{"id": "#7", "waited": 2.0, "waits_for": "place"}],
            "scheduled": [
                {"id": "check:web", "next": "1970-01-01T00:01:12.000Z"},
                {"id": "check:disk", "next": "1970-01-01T00:01:20.000Z"},
                {"id": "check:backup", "next": null},
            ],
            "ended": [
                {"id": "check:web", "last": run(true, "exited with code 0")},
                {"id": "check:disk", "last": run(false, "exited with code 2")},
                {"id": "exec:ops", "last": run(true, "exited with code 0")},
            ],
        });
        assert_eq!(
            listed(&view, Timestamp::from_millis(70_000), None),
            "ID            NOW                         NEXT RUN  LAST RUN     TOOK  LAST RESULT\n\
             #7            waits for a place, 2.000 s\n\
             check:backup  runs for 10s\n\
             check:disk                                  in 10s   10s ago  0.500 s  exited with code 2\n\
             check:web                                    in 2s   10s ago  0.500 s  exited with code 0\n\
             exec:ops                                             10s ago  0.500 s  exited with code 0\n"
        );
        assert_eq!(listed(&json!({}), Timestamp::default(), None), "nothing runs, waits or has run\n");
    }

    #[test]
    fn logs_show_what_was_written_and_how_the_runs_before_ended() {
        let mut last = run(false, "exited with code 2");
        last["stdout"] = json!("one\n\ttwo\u{1b}[31m\n");
        last["stdout_truncated"] = json!(true);
        last["stderr"] = json!("");
        let task =
            json!({"id": "check:disk", "running": [], "last": last, "before": [run(true, "exited with code 0")]});
        assert_eq!(
            logs(&task, Timestamp::from_millis(70_000)),
            "check:disk exited with code 2, 10s ago, after 0.500 s\n\
             \n\
             stdout, its beginning:\n\
             one\n\
             \ttwo\\u{1b}[31m\n\
             \n\
             before:\n\
             check:disk exited with code 0, 10s ago, after 0.500 s\n"
        );
        let withheld = json!({"id": "check:disk", "last": run(true, "exited with code 0")});
        assert!(logs(&withheld, Timestamp::from_millis(70_000)).contains("--http.config.file"));
        assert_eq!(logs(&json!({"id": "a"}), Timestamp::default()), "a has not ended yet\n");
    }

    #[test]
    fn a_stream_shows_what_it_does_and_the_last_it_wrote() {
        let now = Timestamp::from_millis(70_000);
        let runs = json!({"id": "check:gpu", "state": "runs", "started": "1970-01-01T00:01:00.000Z"});
        let pauses = json!({"id": "check:ups", "state": "pauses", "next": "1970-01-01T00:01:14.000Z"});
        let stopped = json!({"id": "check:zfs", "state": "stopped"});
        let view = json!({"streams": [runs, pauses, stopped], "ended": [{"id": "check:ups", "last": run(false, "exited with code 1")}]});
        assert_eq!(
            listed(&view, now, None),
            "ID         NOW                             NEXT RUN  LAST RUN     TOOK  LAST RESULT\n\
             check:gpu  stays, for 10s\n\
             check:ups  is started again in 4s                     10s ago  0.500 s  exited with code 1\n\
             check:zfs  is stopped: pool run starts it\n"
        );
        let said = json!({"stdout": "gpu t=1\n", "stdout_truncated": true, "stderr": ""});
        let mut task = json!({"id": "check:gpu", "streams": [runs], "said": said, "last": null});
        let shown = "check:gpu stays, for 10s\n\nstdout, its end:\ngpu t=1\n";
        assert_eq!(logs(&task, now), shown);
        let withheld = json!({"id": "check:gpu", "streams": [runs], "last": null});
        assert!(logs(&withheld, now).contains("--http.config.file"));
        let mut last = run(false, "exited with code 1");
        last["stdout"] = json!("");
        last["stderr"] = json!("no driver\n");
        task["last"] = last;
        let end = "\nits last end:\ncheck:gpu exited with code 1, 10s ago, after 0.500 s\n\nstderr:\nno driver\n";
        assert_eq!(logs(&task, now), format!("{shown}{end}"));
    }

    #[test]
    fn an_id_is_one_part_of_the_path() {
        assert_eq!(path("check:root disk/ä?#%"), "api/pool/check%3Aroot%20disk%2F%C3%A4%3F%23%25");
    }

    #[test]
    fn no_text_makes_it_panic() {
        Fuzz::of(&["check:disk", "a/b c", "one\ttwo\u{1b}[31m\n"]).texts(|text| {
            path(text);
            lines(text);
        });
    }
}
