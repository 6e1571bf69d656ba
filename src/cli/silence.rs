//! `watchfire silence`: keeps alerts from being told for a time.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::api2::{ask, end, filter, list, matchers, table, text, time};
use super::client::{self, Client, ClientFlags, Failure, span};
use crate::alerting::{MatchOp, Matcher};
use crate::model::{Age, Timestamp};
use crate::sinks::Question;

const ADD: &str = "\
Examples:
  watchfire silence add DiskFull --duration 2h --comment 'cleaning up'     a word alone is the name of an alert
  watchfire silence add 'alertname=~\"Disk.*\"' mountpoint=/data -d 1d -c 'the new disk comes tomorrow'
  watchfire silence add instance=web-1:9100 --start 2026-01-31T22:00:00Z --end 2026-02-01T02:00:00Z -c maintenance

Exit status: 0 when it is set, 2 when a matcher, a time or a flag is wrong, 1 for any other failure.";

const EXPIRE: &str = "\
Examples:
  watchfire silence expire d6c5a9d0-5c3a-4c60-813b-4e3cff83a4f9
  watchfire silence expire --all                 every silence there is
  watchfire silence expire --all DiskFull        those that have this very matcher

Exit status: 0 when they have ended, 2 when an ID or a flag is wrong, 1 for any other failure.";

const LIST: &str = "\
Examples:
  watchfire silence list
  watchfire silence list alertname=DiskFull      those that have this very matcher
  watchfire silence list --expired --json

Exit status: 0 when there is an answer, 2 when a matcher or a flag is wrong, 1 for any other failure.";

#[derive(Subcommand)]
pub enum Silence {
    /// Silence alerts that match all of the matchers; prints the new silence's ID.
    #[command(after_help = ADD)]
    Add(Box<AddFlags>),
    /// End silences.
    #[command(after_help = EXPIRE)]
    Expire(Box<ExpireFlags>),
    /// List silences that are active or begin later.
    #[command(after_help = LIST)]
    List(Box<ListFlags>),
}

#[derive(Args, Debug)]
pub struct AddFlags {
    /// What the labels of alerts must match: name=value, !=, =~ or !~ with a regular expression.
    #[arg(value_name = "MATCHER", required = true)]
    matchers: Vec<String>,
    /// How long it lasts.
    #[arg(long, short, value_name = "DURATION", default_value = "1h", value_parser = span, conflicts_with = "end")]
    duration: Duration,
    /// When it begins [default: now]: RFC 3339 or seconds since 1970.
    #[arg(long, value_name = "TIME", value_parser = client::time)]
    start: Option<Timestamp>,
    /// When it ends, instead of a duration.
    #[arg(long, value_name = "TIME", value_parser = client::time)]
    end: Option<Timestamp>,
    /// Why: for those who wonder later.
    #[arg(long, short, value_name = "TEXT")]
    comment: String,
    /// Who sets it [default: the user who runs this].
    #[arg(long, short, value_name = "NAME")]
    author: Option<String>,
    #[command(flatten)]
    client: ClientFlags,
}

#[derive(Args, Debug)]
pub struct ExpireFlags {
    /// The IDs of silences; with --all, matchers.
    #[arg(value_name = "ID", required_unless_present = "all")]
    which: Vec<String>,
    /// End all silences that have the matchers, and without matchers every one.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    client: ClientFlags,
}

#[derive(Args, Debug)]
pub struct ListFlags {
    /// Only silences that have these very matchers.
    #[arg(value_name = "MATCHER")]
    matchers: Vec<String>,
    /// List those that have ended instead, as long as they are remembered.
    #[arg(long)]
    expired: bool,
    /// Print what the API answers.
    #[arg(long, conflicts_with = "quiet")]
    json: bool,
    /// Print IDs alone.
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    client: ClientFlags,
}

impl Silence {
    pub fn run(&self) -> ExitCode {
        end(match self {
            Silence::Add(flags) => flags.said(),
            Silence::Expire(flags) => flags.said(),
            Silence::List(flags) => flags.said(),
        })
    }
}

impl AddFlags {
    fn said(&self) -> Result<String, Failure> {
        let matchers = matchers(&self.matchers)?;
        let now = Timestamp::now();
        let (starts_at, ends_at) = self.times(now)?;
        if self.comment.trim().is_empty() {
            return Err(Failure::invalid("watchfire: --comment is empty: say why, for those who wonder later"));
        }
        let silence = json!({
            "matchers": matchers.iter().map(as_json).collect::<Vec<_>>(),
            "startsAt": starts_at.to_string(),
            "endsAt": ends_at.to_string(),
            "createdBy": self.author.clone().unwrap_or_else(user),
            "comment": self.comment,
        });
        let client = self.client.client()?;
        let answer = ask(&client, "api/v2/silences", Question::Json(silence.to_string()))?;
        match answer["silenceID"].as_str() {
            Some(id) => Ok(format!("{id}\n")),
            None => Err(client.failed("the answer names no silence")),
        }
    }

    fn times(&self, now: Timestamp) -> Result<(Timestamp, Timestamp), Failure> {
        let starts_at = self.start.unwrap_or(now);
        let ends_at = self.end.unwrap_or(starts_at + self.duration);
        if ends_at <= starts_at {
            return Err(Failure::invalid(format!(
                "watchfire: it would end ({ends_at}) before it begins ({starts_at})"
            )));
        }
        if ends_at <= now {
            return Err(Failure::invalid(format!("watchfire: its end, {ends_at}, has passed")));
        }
        Ok((starts_at, ends_at))
    }
}

fn as_json(matcher: &Matcher) -> Value {
    json!({
        "name": matcher.name,
        "value": matcher.value,
        "isRegex": matches!(matcher.op, MatchOp::Regex | MatchOp::NotRegex),
        "isEqual": matches!(matcher.op, MatchOp::Equal | MatchOp::Regex),
    })
}

/// Who runs this.
pub fn user() -> String {
    let name = |variable: &str| std::env::var(variable).ok().filter(|name| !name.is_empty());
    // Of sudo, who is behind it.
    let found = name("SUDO_USER").or_else(|| name("USER")).or_else(|| name("LOGNAME"));
    let uid = rustix::process::getuid().as_raw().to_string();
    found.or_else(|| account(&uid)).unwrap_or_else(|| format!("uid {uid}"))
}

/// The name of the account with this number, as `/etc/passwd` has it: services and containers have no `$USER`.
fn account(uid: &str) -> Option<String> {
    let text = std::fs::read_to_string("/etc/passwd").ok()?;
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid).then(|| name.to_string())
    })
}

impl ExpireFlags {
    fn said(&self) -> Result<String, Failure> {
        let matchers = if self.all { matchers(&self.which)? } else { Vec::new() };
        let client = self.client.client()?;
        let ids: Vec<String> = match self.all {
            true => silences(&client, &matchers, false)?.iter().map(|silence| text(&silence["id"])).collect(),
            false => self.which.clone(),
        };
        for id in &ids {
            if !id.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-') {
                let how = "watchfire silence list names IDs; --all takes matchers";
                return Err(Failure::invalid(format!("watchfire: {id:?} is not the ID of a silence\n{how}")));
            }
        }
        for id in &ids {
            ask(&client, &format!("api/v2/silence/{id}"), Question::Delete)
                .map_err(|failure| Failure { text: format!("{} ({id})", failure.text), ..failure })?;
        }
        Ok(match (ids.len(), self.all) {
            (0, _) => "no silence is active or begins later\n".to_string(),
            (_, true) => ids.iter().map(|id| format!("{id}\n")).collect(),
            // As amtool: whoever names them knows them.
            (_, false) => String::new(),
        })
    }
}

/// Those that have ended, or those that have not.
fn silences(client: &Client, matchers: &[Matcher], expired: bool) -> Result<Vec<Value>, Failure> {
    let mut all = list(client, ask(client, &filter("api/v2/silences", matchers, &[]), Question::Get)?)?;
    all.retain(|silence| (silence["status"]["state"] == "expired") == expired);
    Ok(all)
}

impl ListFlags {
    fn said(&self) -> Result<String, Failure> {
        let matchers = matchers(&self.matchers)?;
        let client = self.client.client()?;
        let silences = silences(&client, &matchers, self.expired)?;
        if self.json {
            return Ok(format!("{}\n", Value::from(silences)));
        }
        if self.quiet {
            return Ok(silences.iter().map(|silence| text(&silence["id"]) + "\n").collect());
        }
        let width = std::io::stdout().is_terminal().then(super::width);
        Ok(shown(&silences, Timestamp::now(), width))
    }
}

fn shown(silences: &[Value], now: Timestamp, width: Option<usize>) -> String {
    if silences.is_empty() {
        return "no silences\n".to_string();
    }
    let names = ["ID", "STATE", "WHEN", "AUTHOR", "MATCHERS", "COMMENT"];
    let mut rows = vec![names.map(str::to_string).to_vec()];
    for silence in silences {
        let (starts_at, ends_at) = (time(&silence["startsAt"]), time(&silence["endsAt"]));
        let when = match silence["status"]["state"].as_str() {
            Some("pending") => format!("begins in {}", Age(now, starts_at)),
            Some("expired") => format!("ended {} ago", Age(ends_at, now)),
            _ => format!("ends in {}", Age(now, ends_at)),
        };
        let matchers = silence["matchers"].as_array().into_iter().flatten().map(matcher).collect::<Vec<_>>().join(" ");
        rows.push(vec![
            text(&silence["id"]),
            text(&silence["status"]["state"]),
            when,
            text(&silence["createdBy"]),
            matchers,
            text(&silence["comment"]),
        ]);
    }
    table(&rows, &[], width)
}

/// A matcher of an answer as people write it.
fn matcher(matcher: &Value) -> String {
    let op = match (matcher["isEqual"].as_bool().unwrap_or(true), matcher["isRegex"].as_bool().unwrap_or(false)) {
        (true, false) => "=",
        (false, false) => "!=",
        (true, true) => "=~",
        (false, true) => "!~",
    };
    format!("{}{op}\"{}\"", text(&matcher["name"]), text(&matcher["value"]))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(subcommand)]
        silence: Silence,
    }

    fn add(args: &[&str]) -> Result<AddFlags, String> {
        let cli = Cli::try_parse_from(["silence", "add"].iter().chain(args)).map_err(|e| e.to_string())?;
        match cli.silence {
            Silence::Add(flags) => Ok(*flags),
            _ => Err("another subcommand".to_string()),
        }
    }

    #[test]
    fn a_silence_lasts_for_a_duration_or_until_its_end() {
        let now = Timestamp::from_millis(1_000_000);
        let times = |args: &[&str]| add(args).unwrap().times(now).map_err(|failure| failure.text);
        let at = Timestamp::from_millis;
        assert_eq!(times(&["a=b", "-c", "x"]), Ok((now, now + Duration::from_secs(3600))));
        assert_eq!(times(&["a=b", "-c", "x", "-d", "5m", "--start", "2000"]), Ok((at(2_000_000), at(2_300_000))));
        assert_eq!(times(&["a=b", "-c", "x", "--end", "1970-01-01T01:00:00Z"]), Ok((now, at(3_600_000))));
        assert!(
            times(&["a=b", "-c", "x", "--start", "3000", "--end", "2000"]).unwrap_err().contains("before it begins")
        );
        assert!(times(&["a=b", "-c", "x", "--start", "0", "--end", "999"]).unwrap_err().contains("has passed"));
    }

    #[test]
    fn a_silence_of_nothing_or_without_a_reason_is_refused() {
        for args in
            [&["-c", "x"][..], &["a=b"], &["a=b", "-c", "x", "-d", "0s"], &["a=b", "-c", "x", "-d", "1h", "--end", "5"]]
        {
            assert!(add(args).is_err(), "{args:?}");
        }
        let empty = add(&["a=b", "-c", " "]).unwrap().said().unwrap_err();
        assert!(empty.status == 2 && empty.text.contains("say why"), "{}", empty.text);
    }

    #[test]
    fn silences_are_a_table_that_says_when() {
        let silence = |state: &str, starts_at: &str, ends_at: &str| {
            json!({
                "id": "d6c5", "status": {"state": state}, "startsAt": starts_at, "endsAt": ends_at, "createdBy": "ada",
                "comment": "a\nb",
                "matchers": [
                    {"name": "a", "value": "x", "isRegex": false},
                    {"name": "b", "value": "y", "isRegex": true, "isEqual": false},
                ],
            })
        };
        let list = [
            silence("active", "1970-01-01T00:00:00Z", "1970-01-01T01:00:00.000Z"),
            silence("pending", "1970-01-01T00:02:00Z", "1970-01-01T01:00:00Z"),
            silence("expired", "1970-01-01T00:00:00Z", "1970-01-01T00:00:30Z"),
        ];
        let said = shown(&list, Timestamp::from_millis(60_000), None);
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(
            lines,
            [
                "ID    STATE    WHEN             AUTHOR  MATCHERS      COMMENT",
                "d6c5  active   ends in 59m 0s   ada     a=\"x\" b!~\"y\"  a\\nb",
                "d6c5  pending  begins in 1m 0s  ada     a=\"x\" b!~\"y\"  a\\nb",
                "d6c5  expired  ended 30s ago    ada     a=\"x\" b!~\"y\"  a\\nb",
            ]
        );
        assert_eq!(shown(&[], Timestamp::default(), None), "no silences\n");
    }
}
