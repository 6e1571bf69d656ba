//! `watchfire test notify`: sends a test alert to receivers, and says what the far side answered.

use std::fmt::Write;
use std::io::{IsTerminal, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{ArgGroup, Args};
use prometheus::Registry;
use tokio::runtime::Builder;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::super::client::span;
use super::super::query::table::printable;
use super::super::silence::user;
use super::super::{EXIT_INVALID, LogFormat, LogLevel, logging};
use super::{Invalid, label_set, labels, load};
use crate::agent::{OfAlerts, instance_name};
use crate::alerting::{ChecksSaid, Options, Trial, Tried};
use crate::chart::Drawer;
use crate::config::Config;
use crate::history::{History, HistoryLimits};
use crate::http::{Access, ExternalUrl};
use crate::model::{Labels, Timestamp, format_duration};
use crate::pool::{Pool, Queued};
use crate::rules::Alert;
use crate::sinks::{Delivered, DeliveryError};
use crate::yaml::nearest;

const EXAMPLES: &str = "\
Examples:
  watchfire test notify --config.file watchfire.yaml --receiver on-call
  watchfire test notify --config.file watchfire.yaml --all --firing-only
  watchfire test notify --receiver log DiskFull mountpoint=/ --annotation 'summary=a test'

The labels alertname, severity, job and instance are set where they are not given. Receivers are
told whatever routes, silences and time intervals say. With the labels of a real alert, its end
may end that one too, at sinks that know alerts by their labels.

Exit status: 0 when all was delivered, 1 when something was not, 2 when the configuration or a
flag is wrong or there is no such receiver.";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES, group = ArgGroup::new("who").required(true).args(["receiver", "all"]))]
pub struct NotifyFlags {
    /// Labels of the alert; a word alone is its name.
    #[arg(value_name = "LABEL=VALUE")]
    labels: Vec<String>,
    /// The configuration file. Without one, alerts go to the log.
    #[arg(long = "config.file", value_name = "FILE")]
    config_file: Option<PathBuf>,
    /// Who is told; may be repeated.
    #[arg(long, value_name = "NAME", conflicts_with = "all")]
    receiver: Vec<String>,
    /// Tell every receiver there is.
    #[arg(long)]
    all: bool,
    /// A text of the alert, beside summary and description, or instead of them; may be repeated.
    #[arg(long, value_name = "NAME=TEXT")]
    annotation: Vec<String>,
    /// Leave it at that the alert fires: its end is not told.
    #[arg(long)]
    firing_only: bool,
    /// How long a try may take.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = span)]
    timeout: Duration,
}

pub fn run(flags: &NotifyFlags) -> ExitCode {
    // What sinks find worth a warning.
    logging::init(LogLevel::Warn, LogFormat::Logfmt);
    match flags.told() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(Invalid) => ExitCode::from(EXIT_INVALID),
    }
}

impl NotifyFlags {
    /// Whether all was delivered.
    fn told(&self) -> Result<bool, Invalid> {
        let config = load(self.config_file.as_deref())?;
        let alert = self.alert(&config)?;
        let runtime = match Builder::new_multi_thread().worker_threads(2).enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                eprintln!("watchfire: cannot start the runtime: {error}");
                return Ok(false);
            }
        };
        let delivered = runtime.block_on(self.tell(&config, alert));
        // What does not end in its time is not waited for.
        runtime.shutdown_background();
        delivered
    }

    async fn tell(&self, config: &Config, alert: Alert) -> Result<bool, Invalid> {
        let pool = match Pool::new(config.file.pool, &Registry::new(), tokio::runtime::Handle::current()) {
            Ok(pool) => pool,
            Err(error) => {
                eprintln!("watchfire: {error}");
                return Ok(false);
            }
        };
        let options = Options {
            external_labels: config.file.global.external_labels.clone(),
            external_url: external_url(config),
            charts: Some(Arc::new(OfAlerts(Arc::new(drawer())))),
            // A test mends nothing.
            actions: Vec::new(),
            checks: ChecksSaid::default(),
        };
        let trial = Arc::new(Trial::new(&config.file.alerting, options, pool.clone()));
        let receivers = self.receivers(trial.receivers())?;
        let all = receivers.iter().flat_map(|receiver| trial.targets(receiver));
        let width = all.map(|target| target.to_string().chars().count()).max().unwrap_or(0);
        let (told, mut outcomes) = mpsc::unbounded_channel();
        let mut running = JoinSet::new();
        for receiver in receivers {
            if trial.targets(&receiver).next().is_none() {
                println!("{}  has no sinks: nothing is told", printable(&receiver));
                continue;
            }
            let (trial, alert, told) = (Arc::clone(&trial), alert.clone(), told.clone());
            let (ends, limit) = (!self.firing_only, self.timeout);
            running.spawn(async move {
                // Who hears of it goes last.
                trial.run(&receiver, alert, ends, limit, |tried| drop(told.send(tried))).await;
            });
        }
        drop(told);
        let colours = std::io::stdout().is_terminal();
        let mut delivered = true;
        while let Some(tried) = outcomes.recv().await {
            delivered &= matches!(tried.result, Some(Ok(_)));
            let mut out = std::io::stdout().lock();
            // Who reads may have gone; the alert is sent all the same.
            let _ = out.write_all(line(&tried, width, colours).as_bytes()).and_then(|()| out.flush());
        }
        while let Some(ended) = running.join_next().await {
            if let Err(error) = ended {
                eprintln!("watchfire: a sink failed, which is a fault of it: {error}");
                delivered = false;
            }
        }
        pool.shutdown(Queued::Cancel, Duration::from_secs(2)).await;
        Ok(delivered)
    }

    /// The receivers to tell.
    fn receivers(&self, known: &[String]) -> Result<Vec<String>, Invalid> {
        if self.all {
            return Ok(known.to_vec());
        }
        let mut wanted: Vec<String> = Vec::new();
        for name in &self.receiver {
            if !known.contains(name) {
                let near = nearest(name, known.iter().map(String::as_str));
                let hint = near.map(|near| format!(", did you mean {near:?}?")).unwrap_or_default();
                eprintln!("watchfire: there is no receiver {name:?}{hint}\nthere are: {}", known.join(", "));
                return Err(Invalid);
            }
            if !wanted.contains(name) {
                wanted.push(name.clone());
            }
        }
        Ok(wanted)
    }

    fn alert(&self, config: &Config) -> Result<Alert, Invalid> {
        let given = label_set(&self.labels)?;
        let mut all = given.builder();
        let instance = instance(config);
        let defaults = [
            ("alertname", "TestAlert"),
            ("severity", "warning"),
            ("job", &config.file.global.job),
            ("instance", &instance),
        ];
        for (name, value) in defaults.into_iter().filter(|(name, _)| !given.has(name)) {
            all.set(name, value);
        }
        let now = Timestamp::now();
        let host = rustix::system::uname();
        let by = format!("{}@{}", user(), host.nodename().to_string_lossy());
        let description = format!("{by} has sent it with watchfire test notify at {now}, to see whether it arrives.");
        let mut texts = Labels::from_pairs([
            ("summary", "this is a test: nothing is wrong"),
            ("description", description.as_str()),
        ])
        .builder();
        let annotations = labels(&self.annotation).map_err(|why| {
            eprintln!("watchfire: --annotation: {}", why.replace("label", "text"));
            Invalid
        })?;
        for (name, text) in &annotations {
            texts.set(name, text);
        }
        Ok(Alert {
            labels: all.build(),
            annotations: texts.build(),
            starts_at: now,
            ends_at: None,
            valid_for: Duration::ZERO,
            value: VALUE,
            expr: curve(now),
            threshold: Some(THRESHOLD),
            top: Vec::new(),
            actions: Arc::default(),
        })
    }
}

/// What the alert's value is said to be, and what it is compared with.
const VALUE: f64 = 0.97;
const THRESHOLD: f64 = 0.9;

/// An expression that has that value at this moment and comes up from below the threshold. No rule and no series are
/// behind it, so that its picture can be drawn here, and by a running agent, to which messages link.
fn curve(now: Timestamp) -> String {
    let seconds = now.as_millis().div_euclid(1000);
    format!("{VALUE} * exp(vector((time() - {seconds}) / 9000)) > {THRESHOLD}")
}

/// Draws over no history.
fn drawer() -> Drawer {
    let drawer = Drawer::default();
    drawer.set_history(Arc::new(History::new(HistoryLimits::default()).into()));
    drawer
}

/// Where links lead: to the agent that has this configuration.
fn external_url(config: &Config) -> String {
    let web = &config.file.web;
    let tls = || web.config_file.as_deref().is_some_and(|file| Access::load(file).is_ok_and(|web| web.has_tls()));
    let url = web.external_url.clone().unwrap_or_else(|| ExternalUrl::of(&instance(config), tls()));
    url.as_str().to_string()
}

/// The agent's label `instance`, as it would have it.
fn instance(config: &Config) -> String {
    instance_name(config, config.file.web.listen_addresses.first().map(|address| address.port))
}

/// A try, as it is shown.
fn line(tried: &Tried, width: usize, colours: bool) -> String {
    let paint =
        |colour: &str, text: &str| if colours { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_string() };
    let took = took(tried.took);
    let mut out = String::new();
    let _ = write!(out, "{:width$}  {:8}  ", printable(&tried.target.to_string()), tried.status.as_str());
    let _ = match &tried.result {
        Some(Ok(Delivered { answer })) if answer.is_empty() => {
            writeln!(out, "{} in {took}", paint("32", "delivered"))
        }
        Some(Ok(Delivered { answer })) => {
            writeln!(out, "{} in {took}: {}", paint("32", "delivered"), printable(answer))
        }
        Some(Err(error)) => {
            let failed = paint("31", "FAILED");
            writeln!(out, "{failed} after {took}: {}; {}", printable(&error.message), outlook(error))
        }
        None => writeln!(out, "{}: it does not know that the alert fires", paint("33", "not tried")),
    };
    out
}

/// What the agent would do after this failure.
fn outlook(error: &DeliveryError) -> String {
    match (error.retry, error.retry_after) {
        (true, Some(after)) => {
            format!("the agent would try again when the {} that it asks for have passed", format_duration(after))
        }
        (true, None) => "it may pass: the agent would try again until it is delivered".to_string(),
        (false, _) => "will not pass by itself: the agent would try a few times more, and give it up".to_string(),
    }
}

fn took(time: Duration) -> String {
    match time.as_millis() {
        ms @ 0..10_000 => format!("{ms} ms"),
        ms => format!("{} s", ms / 1000),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::alerting::Target;
    use crate::chart::Subject;
    use crate::sinks::{Reason, Status};

    #[test]
    fn there_is_a_picture_to_send() {
        let now = Timestamp::now();
        let subject = Subject {
            labels: Labels::from_pairs([("alertname", "TestAlert")]),
            expr: curve(now),
            threshold: Some(THRESHOLD),
            starts_at: Some(now),
            ends_at: None,
            at: now,
        };
        let deadline = Instant::now() + Duration::from_secs(60);
        let picture = drawer().picture_now(&subject, deadline, Default::default());
        assert!(picture.is_some_and(|png| png.starts_with(b"\x89PNG")));
    }

    fn tried(status: Status, result: Option<Result<Delivered, DeliveryError>>) -> Tried {
        let target = Target { receiver: "ops".to_string(), integration: "email".to_string(), index: 0 };
        Tried { target, status, result, took: Duration::from_millis(12) }
    }

    #[test]
    fn each_try_is_a_line_with_the_answer_or_why_it_failed_and_what_the_agent_would_do() {
        let said = |result| line(&tried(Status::Firing, result), 14, false);
        let delivered = |answer: &str| Some(Ok(Delivered { answer: answer.to_string() }));
        assert_eq!(
            said(delivered("200 OK\x1b[2J")),
            "ops/email[0]    firing    delivered in 12 ms: 200 OK\\u{1b}[2J\n"
        );
        assert_eq!(said(delivered("")), "ops/email[0]    firing    delivered in 12 ms\n");
        let failed = |retry, retry_after| {
            said(Some(Err(DeliveryError { retry, retry_after, reason: Reason::Other, message: "no".to_string() })))
        };
        assert!(
            failed(false, None).contains("FAILED after 12 ms: no; will not pass by itself"),
            "{}",
            failed(false, None)
        );
        assert!(failed(true, Some(Duration::from_secs(90))).contains("when the 1m30s that it asks for have passed"));
        assert!(failed(true, None).contains("try again until it is delivered"));
        assert!(line(&tried(Status::Resolved, None), 0, true).contains("not tried"));
        assert_eq!(
            (took(Duration::from_millis(9_999)), took(Duration::from_millis(10_500))),
            ("9999 ms".into(), "10 s".into())
        );
    }
}
