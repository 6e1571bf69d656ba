//! `watchfire test route`: where an alert with given labels goes, and when.

use std::fmt::Write;
use std::io::{IsTerminal, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::super::EXIT_INVALID;
use super::super::client::time;
use super::super::query::table::printable;
use super::{Invalid, label_set, load};
use crate::alerting::{GroupBy, Inhibition, Matcher, Path, Plan, Stand, Step, Times};
use crate::model::{Labels, Timestamp, format_duration};

const EXAMPLES: &str = "\
Examples:
  watchfire test route --config.file watchfire.yaml DiskFull severity=critical
  watchfire test route --config.file watchfire.yaml severity=info --time 2026-01-31T03:00:00Z
  watchfire test route --config.file watchfire.yaml          the whole tree
  watchfire test route --config.file watchfire.yaml team=db --verify.receivers on-call,mail

The alert is told from the routes with a ●, comes by those with a ○, and is refused by those with
a ×, for the reason behind them. External labels of the configuration are added.

Exit status: 0 when there is an answer, 1 when the receivers are not those of --verify.receivers,
2 when the configuration, a label or a flag is wrong.";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct RouteFlags {
    /// Labels of the alert; a word alone is its name.
    #[arg(value_name = "LABEL=VALUE")]
    labels: Vec<String>,
    /// The configuration file. Without one, alerts go to the log.
    #[arg(long = "config.file", value_name = "FILE")]
    config_file: Option<PathBuf>,
    /// When it fires: now, RFC 3339, seconds since 1970, or how long ago, such as -10m.
    #[arg(long, value_name = "TIME", default_value = "now", value_parser = moment, allow_hyphen_values = true)]
    time: Timestamp,
    /// The receivers that should be told, in order, with commas between.
    #[arg(long = "verify.receivers", value_name = "NAMES", value_delimiter = ',', requires = "labels")]
    verify: Option<Vec<String>>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

fn moment(text: &str) -> Result<Timestamp, String> {
    // Nothing here knows parts of a second.
    let whole = |at: Timestamp| Timestamp::from_millis(at.as_millis().div_euclid(1000).saturating_mul(1000));
    if text == "now" { Ok(whole(Timestamp::now())) } else { time(text) }
}

pub fn run(flags: &RouteFlags) -> ExitCode {
    match flags.shown() {
        Ok(receivers) if flags.verify.as_ref().is_none_or(|wanted| *wanted == receivers) => ExitCode::SUCCESS,
        Ok(receivers) => {
            let wanted = flags.verify.iter().flatten().cloned().collect::<Vec<_>>().join(",");
            eprintln!("watchfire: it goes to {}, not to {wanted}", receivers.join(","));
            ExitCode::FAILURE
        }
        Err(Invalid) => ExitCode::from(EXIT_INVALID),
    }
}

impl RouteFlags {
    /// Prints the way; the receivers that are told.
    fn shown(&self) -> Result<Vec<String>, Invalid> {
        let config = load(self.config_file.as_deref())?;
        let labels = label_set(&self.labels)?;
        let labels = (!self.labels.is_empty()).then_some(&labels);
        let plan = Plan::new(&config.file.alerting, config.file.global.external_labels.clone(), "");
        let path = Path::of(&plan, labels, self.time);
        let shown = match self.json {
            true => serde_json::to_string_pretty(&as_json(&plan, &path, self.time)).unwrap_or_default() + "\n",
            false => Page { plan: &plan, at: self.time, colours: std::io::stdout().is_terminal() }.of(&path),
        };
        // Who reads may have seen enough.
        let _ = std::io::stdout().lock().write_all(shown.as_bytes());
        Ok(path.receivers)
    }
}

/// The sinks of a receiver: `webhook[0]`.
fn sinks(plan: &Plan, receiver: &str) -> Vec<String> {
    let all = plan.recipients.get(receiver).into_iter().flatten();
    all.map(|recipient| format!("{}[{}]", recipient.target.integration, recipient.target.index)).collect()
}

/// How often what fires is told again by a route.
fn repeated(plan: &Plan, step: &Step) -> Duration {
    let resend = plan.recipients.get(&step.route.receiver).into_iter().flatten().filter_map(|r| r.resend).min();
    resend.map_or(step.route.repeat_interval, |resend| resend.min(step.route.repeat_interval))
}

fn all_of(matchers: &[Matcher]) -> String {
    let all: Vec<String> = matchers.iter().map(|matcher| printable(&matcher.to_string())).collect();
    if all.is_empty() { "every alert".to_string() } else { all.join(", ") }
}

/// What is printed for people.
struct Page<'a> {
    plan: &'a Plan,
    at: Timestamp,
    colours: bool,
}

const BOLD: &str = "1";
const DIM: &str = "2";
const YELLOW: &str = "33";

impl Page<'_> {
    fn paint(&self, colour: &str, text: &str) -> String {
        if self.colours && !text.is_empty() { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_string() }
    }

    fn of(&self, path: &Path) -> String {
        let mut out = String::new();
        if let Some(labels) = &path.labels {
            let muted: Vec<&Step> = taken(path).into_iter().filter(|step| step.muted).collect();
            let receivers = printable(&path.receivers.join(", "));
            let _ = writeln!(out, "{} goes to {}", printable(&labels.to_string()), self.paint(BOLD, &receivers));
            for step in muted {
                let said = format!("but {} is told nothing at {}", printable(&step.route.receiver), self.at);
                let _ = writeln!(out, "{}", self.paint(YELLOW, &said));
            }
            out.push('\n');
        }
        self.step(&path.root, path.labels.as_ref(), "", "", &mut out);
        if let Some(beside) = &path.beside {
            out.push_str("beside it, whatever the routes say:\n");
            self.step(beside, path.labels.as_ref(), "", "", &mut out);
        }
        if !path.inhibitions.is_empty() {
            out.push('\n');
            path.inhibitions.iter().for_each(|found| self.inhibition(found, path.labels.as_ref(), &mut out));
        }
        out
    }

    /// A route and those below it. `first`: what stands before its line, `others`: before those that follow.
    fn step(&self, step: &Step, labels: Option<&Labels>, first: &str, others: &str, out: &mut String) {
        let route = &step.route;
        let goes_on = if route.goes_on { ", continue" } else { "" };
        let what = format!("{} → {}{goes_on}", all_of(&route.matchers), printable(&route.receiver));
        let branch = |text: &str| self.paint(DIM, text);
        let line = match (&step.stand, labels) {
            (Stand::Taken, _) => self.paint(BOLD, &format!("● {what}")),
            (Stand::Passed, _) => format!("○ {what}"),
            (Stand::Refused(matcher), Some(labels)) => {
                let which = if route.matchers.len() > 1 { format!("{matcher}: ") } else { String::new() };
                let why = match labels.get(&matcher.name) {
                    "" => format!("({which}there is no {})", matcher.name),
                    value => format!("({which}{} is {value:?})", matcher.name),
                };
                self.paint(DIM, &format!("× {what}   {}", printable(&why)))
            }
            (Stand::Unreached, _) => self.paint(DIM, &format!("  {what}")),
            (Stand::Open | Stand::Refused(_), _) => what,
        };
        let _ = writeln!(out, "{}{line}", branch(first));
        if matches!(step.stand, Stand::Taken | Stand::Open) {
            let bar = if step.below.is_empty() { "    " } else { "│   " };
            for detail in self.details(step, labels) {
                let _ = writeln!(out, "{}{detail}", branch(&format!("{others}{bar}")));
            }
        }
        for (place, below) in step.below.iter().enumerate() {
            let last = place + 1 == step.below.len();
            let (first, next) = if last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            self.step(below, labels, &format!("{others}{first}"), &format!("{others}{next}"), out);
        }
    }

    /// When a route tells what to whom.
    fn details(&self, step: &Step, labels: Option<&Labels>) -> Vec<String> {
        let route = &step.route;
        let sinks = sinks(self.plan, &route.receiver);
        let sinks = if sinks.is_empty() { "no sinks: nothing is told".to_string() } else { sinks.join(", ") };
        let by = match &route.group_by {
            GroupBy::All => "each alert on its own".to_string(),
            GroupBy::Labels(names) if names.is_empty() => "all alerts together".to_string(),
            GroupBy::Labels(names) => format!("grouped by {}", printable(&names.join(", "))),
        };
        let group = labels.map(|labels| format!(": {}", printable(&route.group_labels(labels).to_string())));
        let wait = match route.group_wait {
            Duration::ZERO => "at once".to_string(),
            wait => format!("{} after it fires", format_duration(wait)),
        };
        let (changes, again) = (format_duration(route.group_interval), format_duration(repeated(self.plan, step)));
        let when = format!("told {wait}, changes of its group every {changes}, again every {again} while it fires");
        let times = step.times.iter().map(|times| self.times(times));
        [sinks, by + &group.unwrap_or_default(), when].into_iter().chain(times).collect()
    }

    fn times(&self, times: &Times) -> String {
        let name = printable(&times.name);
        let kind = if times.mutes { "muted in" } else { "active in" };
        let now = if times.holds { "it is that time" } else { "it is not that time" };
        let until = match times.until {
            Some(until) => format!(" until {until}"),
            None => " for the next week".to_string(),
        };
        let said = format!("{kind} {name}: {now}{until}");
        if times.holds == times.mutes { self.paint(YELLOW, &said) } else { said }
    }

    fn inhibition(&self, found: &Inhibition, labels: Option<&Labels>, out: &mut String) {
        let rule = &found.rule;
        let (source, target) = (all_of(&rule.source), all_of(&rule.target));
        let Some(labels) = labels else {
            let equal = match rule.equal.is_empty() {
                true => String::new(),
                false => format!(", where both have the same {}", printable(&rule.equal.join(" and "))),
            };
            let _ = writeln!(out, "while {source} fires, {target} is not told{equal}");
            return;
        };
        let equal = rule.equal.iter().map(|name| match labels.get(name) {
            "" => format!("no {name}"),
            value => format!("{name}={value:?}"),
        });
        let equal: Vec<String> = equal.map(|text| printable(&text)).collect();
        let with = if equal.is_empty() { String::new() } else { format!(" with {}", equal.join(" and ")) };
        if found.is_target {
            let _ = writeln!(out, "it is not told while {source}{with} fires");
        }
        if found.is_source {
            let _ = writeln!(out, "while it fires, {target}{with} is not told");
        }
    }
}

/// The routes from which the alert is told.
fn taken(path: &Path) -> Vec<&Step> {
    fn add<'a>(step: &'a Step, all: &mut Vec<&'a Step>) {
        if step.stand == Stand::Taken {
            all.push(step);
        }
        step.below.iter().for_each(|below| add(below, all));
    }
    let mut all = Vec::new();
    add(&path.root, &mut all);
    path.beside.iter().for_each(|beside| add(beside, &mut all));
    all
}

fn as_json(plan: &Plan, path: &Path, at: Timestamp) -> Value {
    let labels = path.labels.as_ref();
    json!({
        "labels": labels.map(pairs),
        "time": at.to_string(),
        "receivers": labels.map(|_| &path.receivers),
        "route": step_json(plan, &path.root, labels),
        "forwarding": path.beside.as_ref().map(|beside| step_json(plan, beside, labels)),
        "inhibit_rules": path.inhibitions.iter().map(|found| json!({
            "source_matchers": texts(&found.rule.source),
            "target_matchers": texts(&found.rule.target),
            "equal": found.rule.equal,
            "is_source": labels.map(|_| found.is_source),
            "is_target": labels.map(|_| found.is_target),
        })).collect::<Vec<_>>(),
    })
}

fn pairs(labels: &Labels) -> Value {
    labels.iter().map(|(name, value)| (name.to_string(), Value::from(value))).collect::<serde_json::Map<_, _>>().into()
}

fn texts(matchers: &[Matcher]) -> Vec<String> {
    matchers.iter().map(Matcher::to_string).collect()
}

fn step_json(plan: &Plan, step: &Step, labels: Option<&Labels>) -> Value {
    let route = &step.route;
    let (result, refused_by) = match &step.stand {
        Stand::Taken => (Some("taken"), None),
        Stand::Passed => (Some("passed"), None),
        Stand::Refused(matcher) => (Some("refused"), Some(matcher.to_string())),
        Stand::Unreached => (Some("unreached"), None),
        Stand::Open => (None, None),
    };
    let group_by = match &route.group_by {
        GroupBy::All => vec!["...".to_string()],
        GroupBy::Labels(names) => names.clone(),
    };
    let group = labels.filter(|_| step.stand == Stand::Taken).map(|labels| route.group_labels(labels));
    let times = |mutes: bool| -> Vec<Value> {
        let of_kind = step.times.iter().filter(|times| times.mutes == mutes);
        let shown = |times: &Times| json!({"name": times.name, "holds": times.holds, "until": times.until.map(|until| until.to_string())});
        of_kind.map(shown).collect()
    };
    json!({
        "matchers": texts(&route.matchers),
        "receiver": route.receiver,
        "continue": route.goes_on,
        "result": result,
        "refused_by": refused_by,
        "sinks": sinks(plan, &route.receiver),
        "group_by": group_by,
        "group_labels": group.as_ref().map(pairs),
        "group_key": group.as_ref().map(|group| route.group_key(group)),
        "group_wait": format_duration(route.group_wait),
        "group_interval": format_duration(route.group_interval),
        "repeat_interval": format_duration(repeated(plan, step)),
        "muted": step.muted,
        "mute_time_intervals": times(true),
        "active_time_intervals": times(false),
        "routes": step.below.iter().map(|below| step_json(plan, below, labels)).collect::<Vec<_>>(),
    })
}
