//! The `exec` sink: runs a command for each notification, through `pool/`.
//!
//! The command gets the webhook's JSON on standard input, and in its environment:
//!
//! | variable | what |
//! | --- | --- |
//! | `WATCHFIRE_STATUS` | `firing` while one alert of the group fires, else `resolved` |
//! | `WATCHFIRE_RECEIVER` | the receiver's name |
//! | `WATCHFIRE_ID` | the same at every try of one notification |
//! | `WATCHFIRE_GROUP_KEY` | the group |
//! | `WATCHFIRE_FIRING`, `WATCHFIRE_RESOLVED` | how many alerts of the notification fire, are resolved |
//! | `WATCHFIRE_ALERTNAME`, `WATCHFIRE_SEVERITY`, `WATCHFIRE_INSTANCE` | labels: those that all alerts share, else the first alert's |
//! | `WATCHFIRE_SUMMARY`, `WATCHFIRE_DESCRIPTION` | annotations, in the same way |
//! | `WATCHFIRE_VALUE` | the first alert's value |
//! | `WATCHFIRE_THRESHOLD` | what the first alert's value is compared with; empty where that is not one number |
//! | `WATCHFIRE_FLAPPING` | how often the first alert has begun to fire of late, where that is often; else empty |
//! | `WATCHFIRE_STARTS_AT`, `WATCHFIRE_ENDS_AT` | the first alert's times (RFC 3339); the second is empty while it fires |
//! | `WATCHFIRE_EXTERNAL_URL` | where people find the agent |
//!
//! Exit code 0 confirms the notification. Code 75 (`EX_TEMPFAIL` of sysexits.h), a time-out, a full pool, being killed and
//! a host that lacks what a start takes (processes, memory, descriptors) are tried again until they go well. Any other
//! code, and a command that is not there or cannot be executed, is tried a few more times and then given up, as a webhook
//! that answers 400 is.
//!
//! How often it may be run, and whether it is run at all, is decided by `alerting/` before a delivery is tried: what
//! comes too early waits, and is then told together. Each run is in the audit log of actions.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::message::check_timeout;
use super::{
    Delivered, Delivery, DeliveryError, Notification, Reason, Sink, SinkConfig, SinkContext, webhook_version_4,
};
use crate::pool::{
    Class, LimitsConfig, Outcome, Pool, Secrets, StartError, StartStep, Status as Ended, Task, resolve_command,
};
use crate::section;
use crate::yaml::{Faults, Node};

/// How long a command may run where the configuration does not say.
const TIMEOUT: Duration = Duration::from_secs(30);

section! {
    check = check;
    /// A command for each notification.
    pub struct ExecConfig {
        /// The program and its arguments; no shell is involved.
        pub command: Vec<String> = Vec::new(),
        /// How long it may run; then it and all it started is killed, and the notification tried again.
        pub timeout: Duration = TIMEOUT,
        /// Environment variables for it, beside PATH, HOME, LANG, TZ and those that describe the notification.
        pub env: BTreeMap<String, String> = BTreeMap::new(),
        /// The directory that it starts in; by default the agent's.
        pub directory: Option<PathBuf> = None,
        /// What it may use of the host, and as whom.
        pub limits: LimitsConfig = LimitsConfig::default(),
        /// Whether it is run for resolved alerts too.
        pub send_resolved: bool = true,
        /// How long after a run for a group it is not run for that group again: what comes meanwhile waits.
        pub cool_down: Duration = Duration::ZERO,
        /// How often it is run in an hour at most, what failed included; what is over waits. 0: no limit.
        pub max_per_hour: usize = 0,
        /// Whether it is only said, in the log and in the audit log, what would have been run.
        pub dry_run: bool = false,
    }
}

/// How often a command may be run.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct RunLimits {
    /// The least time between two runs for the same alert or group.
    pub cool_down: Duration,
    /// The most runs in any hour; 0: no limit.
    pub max_per_hour: usize,
    /// It is decided and told, but nothing is run.
    pub dry_run: bool,
}

/// A week: what was run longer ago is not remembered for this.
const LONGEST_COOL_DOWN: Duration = Duration::from_secs(7 * 24 * 3600);
/// More than one a second is no limit.
const MOST_PER_HOUR: usize = 3600;

impl RunLimits {
    /// Those of a run that takes back what another has done, which neither comes too early nor is one too many.
    pub(crate) fn of_answer(self) -> RunLimits {
        RunLimits { cool_down: Duration::ZERO, max_per_hour: 0, ..self }
    }

    /// Says what is wrong with them; `node` is where they stand.
    pub(crate) fn check(&self, node: &Node, faults: &mut Faults) {
        let at = |key: &str| node.place(key);
        if self.cool_down > LONGEST_COOL_DOWN {
            faults.error(at("cool_down"), "cool_down is longer than 7d");
        }
        if self.max_per_hour > MOST_PER_HOUR {
            faults.error(at("max_per_hour"), format!("max_per_hour is more than {MOST_PER_HOUR}; 0 is no limit"));
        }
    }
}

fn check(config: &mut ExecConfig, node: &Node, faults: &mut Faults) {
    if config.command.first().is_none_or(String::is_empty) {
        let at = node.place("command");
        faults.error(at, "exec_configs needs a command: a list of the program and its arguments");
    }
    check_timeout(node, faults, &mut config.timeout, TIMEOUT);
    config.run_limits().check(node, faults);
}

impl ExecConfig {
    fn run_limits(&self) -> RunLimits {
        RunLimits { cool_down: self.cool_down, max_per_hour: self.max_per_hour, dry_run: self.dry_run }
    }
}

impl SinkConfig for ExecConfig {
    fn send_resolved(&self) -> bool {
        self.send_resolved
    }

    fn resolve_paths(&mut self, dir: &Path) {
        resolve_command(&mut self.command, &mut self.directory, dir);
    }

    fn command(&self) -> Option<(&[String], RunLimits)> {
        Some((&self.command, self.run_limits()))
    }

    fn build(&self, context: &SinkContext) -> Arc<dyn Sink> {
        Arc::new(ExecSink::new(self, context.pool.clone()))
    }
}

/// sysexits.h: "temporary failure; user is invited to retry".
const EX_TEMPFAIL: i32 = 75;
/// Linux takes at most 128 KiB for one variable; a summary needs less.
const MAX_VALUE: usize = 16 * 1024;
/// The characters of the command's standard error that an error message shows.
const TAIL: usize = 400;

struct ExecSink {
    config: ExecConfig,
    pool: Pool,
}

impl ExecSink {
    fn new(config: &ExecConfig, pool: Pool) -> ExecSink {
        ExecSink { config: config.clone(), pool }
    }

    async fn run(&self, notification: &Notification) -> Result<Delivered, DeliveryError> {
        let name = format!("exec:{}", notification.receiver);
        let ExecConfig { command, env, directory, limits, .. } = &self.config;
        let told = ToldCommand { command, env, directory: directory.as_deref(), limits };
        let task = told.of(notification).name(&name).id(&name).once().class(Class::Sink).timeout(self.config.timeout);
        let handle = self
            .pool
            .submit(task)
            .map_err(|e| DeliveryError::passing(Reason::Other, format!("{name} was not run: {e}")))?;
        let outcome = handle.wait().await;
        judge(&name, &outcome, &secrets(&self.config.env))
    }
}

impl Sink for ExecSink {
    fn deliver<'a>(&'a self, notification: &'a Notification) -> Delivery<'a> {
        Box::pin(self.run(notification))
    }
}

/// A command that is told of notifications.
pub(crate) struct ToldCommand<'c> {
    pub command: &'c [String],
    pub env: &'c BTreeMap<String, String>,
    pub directory: Option<&'c Path>,
    pub limits: &'c LimitsConfig,
}

impl ToldCommand<'_> {
    /// One run of it: JSON on standard input, variables in the environment beside its own.
    pub(crate) fn of(&self, notification: &Notification) -> Task {
        let mut task =
            Task::command(self.command).stdin(webhook_version_4(notification, 0)).limits(self.limits.limits());
        if let Some(directory) = self.directory {
            task = task.current_dir(directory);
        }
        for (variable, value) in self.env {
            task = task.secret_env(variable, value);
        }
        for (variable, value) in environment(notification) {
            task = task.env(variable, value);
        }
        task
    }
}

/// The values of the variables that a command was given: they may be secrets.
pub(crate) fn secrets(env: &BTreeMap<String, String>) -> Secrets {
    Secrets::of(env.values().map(String::as_str))
}

/// What the command's end means for the notification.
fn judge(name: &str, outcome: &Outcome, secrets: &Secrets) -> Result<Delivered, DeliveryError> {
    let tail = tail(&secrets.masked(&outcome.stderr.text()), TAIL);
    let said = if tail.is_empty() { String::new() } else { format!("; it wrote: {tail}") };
    let message = format!("{name} {}{said}", outcome.status);
    match &outcome.status {
        Ended::Exited(0) | Ended::Succeeded => Ok(Delivered { answer: outcome.status.to_string() }),
        Ended::Exited(EX_TEMPFAIL) => Err(DeliveryError::passing(Reason::ServerError, message)),
        Ended::Exited(_) => Err(DeliveryError::lasting(Reason::ClientError, message)),
        Ended::TimedOut { .. } => Err(DeliveryError::passing(Reason::Timeout, message)),
        Ended::NotStarted(error) if !lacks_resources(error) => Err(DeliveryError::lasting(Reason::Other, message)),
        // It was not the command that refused.
        Ended::Signaled(_)
        | Ended::NotStarted(_)
        | Ended::Cancelled
        | Ended::Lost(_)
        | Ended::Failed(_)
        | Ended::Panicked(_)
        | Ended::Late { .. }
        | Ended::Skipped { .. }
        | Ended::Refused(_) => Err(DeliveryError::passing(Reason::Other, message)),
    }
}

/// Whether a command was not started for lack of processes, memory or descriptors: just then alerts have to go out.
fn lacks_resources(error: &StartError) -> bool {
    match &error.step {
        StartStep::Pipes | StartStep::Thread | StartStep::Worker | StartStep::Process | StartStep::Prepare => true,
        StartStep::Execute => matches!(
            error.source.kind(),
            ErrorKind::OutOfMemory | ErrorKind::WouldBlock | ErrorKind::ExecutableFileBusy
        ),
        StartStep::Arguments | StartStep::Directory(_) | StartStep::Search(_) | StartStep::Limit(_) => false,
    }
}

fn environment(n: &Notification) -> Vec<(&'static str, String)> {
    let (labels, annotations) = (n.common_labels(), n.common_annotations());
    let first = n.alerts.first();
    let label = |name: &str| match (labels.get(name), first) {
        ("", Some(alert)) => alert.labels.get(name).to_string(),
        (value, _) => value.to_string(),
    };
    let annotation = |name: &str| match (annotations.get(name), first) {
        ("", Some(alert)) => alert.annotations.get(name).to_string(),
        (value, _) => value.to_string(),
    };
    let mut all = vec![
        ("WATCHFIRE_STATUS", n.status().as_str().to_string()),
        ("WATCHFIRE_RECEIVER", n.receiver.clone()),
        ("WATCHFIRE_ID", n.id.clone()),
        ("WATCHFIRE_GROUP_KEY", n.group_key.clone()),
        ("WATCHFIRE_FIRING", n.count(super::Status::Firing).to_string()),
        ("WATCHFIRE_RESOLVED", n.count(super::Status::Resolved).to_string()),
        ("WATCHFIRE_ALERTNAME", label("alertname")),
        ("WATCHFIRE_SEVERITY", label("severity")),
        ("WATCHFIRE_INSTANCE", label("instance")),
        ("WATCHFIRE_SUMMARY", annotation("summary")),
        ("WATCHFIRE_DESCRIPTION", annotation("description")),
        ("WATCHFIRE_VALUE", first.map_or(String::new(), |a| a.value.to_string())),
        ("WATCHFIRE_THRESHOLD", first.and_then(|a| a.details.threshold).map_or(String::new(), |t| t.to_string())),
        ("WATCHFIRE_FLAPPING", first.and_then(|a| a.details.flapping).map_or(String::new(), |n| n.to_string())),
        ("WATCHFIRE_STARTS_AT", first.map_or(String::new(), |a| a.starts_at.to_string())),
        ("WATCHFIRE_ENDS_AT", first.and_then(|a| a.ends_at).map_or(String::new(), |t| t.to_string())),
        ("WATCHFIRE_EXTERNAL_URL", n.external_url.clone()),
    ];
    for (_, value) in &mut all {
        // A NUL byte would end it, and a longer one would not start the command.
        value.retain(|c| c != '\0');
        if value.len() > MAX_VALUE {
            let end = (0..=MAX_VALUE).rev().find(|end| value.is_char_boundary(*end));
            value.truncate(end.unwrap_or(0));
        }
    }
    all
}

/// The end of what a command wrote, on one line: at most so many characters.
pub(crate) fn tail(text: &str, most: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let skip = line.chars().count().saturating_sub(most);
    if skip == 0 { line } else { format!("...{}", line.chars().skip(skip).collect::<String>()) }
}

#[cfg(test)]
mod tests {
    use prometheus::Registry;

    use super::super::notification::tests::example;
    use super::*;
    use crate::pool::PoolConfig;

    async fn run(script: &str, timeout: Duration) -> Result<Delivered, DeliveryError> {
        let pool = Pool::new(PoolConfig::default(), &Registry::new(), tokio::runtime::Handle::current()).unwrap();
        let config = ExecConfig {
            command: ["sh", "-c", script].map(String::from).to_vec(),
            timeout,
            env: BTreeMap::from([("ROOM".to_string(), "cellar".to_string())]),
            ..ExecConfig::default()
        };
        ExecSink::new(&config, pool).deliver(&example()).await
    }

    const LONG: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn the_command_gets_the_alert_in_its_environment_and_as_json() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().display().to_string();
        run(&format!("env > {out}/env; cat > {out}/json"), LONG).await.unwrap();
        let env = std::fs::read_to_string(dir.path().join("env")).unwrap();
        for line in [
            "WATCHFIRE_STATUS=firing",
            "WATCHFIRE_RECEIVER=ops.team",
            "WATCHFIRE_ALERTNAME=DiskFull",
            "WATCHFIRE_SEVERITY=page",
            "WATCHFIRE_INSTANCE=a",
            "WATCHFIRE_SUMMARY=disk <full> & \"loud\"",
            "WATCHFIRE_FIRING=1",
            "WATCHFIRE_RESOLVED=1",
            "WATCHFIRE_VALUE=0.97",
            "WATCHFIRE_ENDS_AT=",
            "ROOM=cellar",
        ] {
            assert!(env.lines().any(|l| l == line), "{line} is not in\n{env}");
        }
        assert_eq!(std::fs::read(dir.path().join("json")).unwrap(), webhook_version_4(&example(), 0));
    }

    #[tokio::test]
    async fn the_command_starts_in_its_directory_and_within_its_limits() {
        let pool = Pool::new(PoolConfig::default(), &Registry::new(), tokio::runtime::Handle::current()).unwrap();
        let command = ["sh", "-c", "pwd >&2; ulimit -n >&2; exit 1"].map(String::from).to_vec();
        let limits = LimitsConfig { open_files: Some(99), ..LimitsConfig::default() };
        let mut config = ExecConfig { command, directory: Some("usr".into()), limits, ..ExecConfig::default() };
        config.resolve_paths(Path::new("/"));
        let error = ExecSink::new(&config, pool).deliver(&example()).await.unwrap_err();
        assert!(error.message.ends_with("it wrote: /usr 99"), "{error}");
    }

    #[tokio::test]
    async fn a_temporary_failure_is_tried_again_and_another_code_is_not_for_ever() {
        let error = run("echo 'the line is\n busy' >&2; exit 75", LONG).await.unwrap_err();
        assert!(error.retry);
        assert_eq!(error.message, "exec:ops.team exited with code 75; it wrote: the line is busy");
        let error = run("exit 3", LONG).await.unwrap_err();
        assert!(!error.retry);
        assert_eq!(error.message, "exec:ops.team exited with code 3");
    }

    #[tokio::test]
    async fn a_command_that_prints_its_variables_gives_no_secret_away() {
        let error = run("echo \"the $ROOM's door, in /cellars\" >&2; exit 1", LONG).await.unwrap_err();
        assert!(error.message.ends_with("it wrote: the ***'s door, in /***s"), "{error}");
    }

    #[tokio::test]
    async fn a_command_that_hangs_is_killed_and_tried_again() {
        let error = run("exec sleep 60", Duration::from_millis(50)).await.unwrap_err();
        assert!(error.retry && error.reason == Reason::Timeout, "{error:?}");
        assert!(error.message.contains("timed out"), "{error}");
    }

    #[tokio::test]
    async fn a_command_that_is_not_there_is_named() {
        let pool = Pool::new(PoolConfig::default(), &Registry::new(), tokio::runtime::Handle::current()).unwrap();
        let config = ExecConfig { command: vec!["/no/such/pager".to_string()], ..ExecConfig::default() };
        let error = ExecSink::new(&config, pool).deliver(&example()).await.unwrap_err();
        assert!(!error.retry);
        assert!(error.message.contains("/no/such/pager"), "{error}");
    }

    #[test]
    fn a_host_that_lacks_processes_or_memory_is_no_reason_to_give_up() {
        let passes = |step: StartStep, errno: i32| {
            let source = Arc::new(std::io::Error::from_raw_os_error(errno));
            lacks_resources(&StartError { program: "page".into(), step, source })
        };
        assert!(passes(StartStep::Process, libc::EAGAIN) && passes(StartStep::Pipes, libc::EMFILE));
        assert!(passes(StartStep::Execute, libc::ENOMEM) && passes(StartStep::Execute, libc::EAGAIN));
        assert!(!passes(StartStep::Execute, libc::EACCES) && !passes(StartStep::Execute, libc::ENOEXEC));
        assert!(!passes(StartStep::Search("/bin".into()), libc::ENOENT));
    }

    #[test]
    fn the_threshold_and_the_flapping_are_there_where_they_are_known() {
        let mut n = example();
        let of = |n: &Notification, name: &str| environment(n).into_iter().find(|(known, _)| *known == name).unwrap().1;
        assert_eq!((of(&n, "WATCHFIRE_THRESHOLD"), of(&n, "WATCHFIRE_FLAPPING")), (String::new(), String::new()));
        n.alerts[0].details.threshold = Some(0.9);
        n.alerts[0].details.flapping = Some(6);
        assert_eq!((of(&n, "WATCHFIRE_THRESHOLD").as_str(), of(&n, "WATCHFIRE_FLAPPING").as_str()), ("0.9", "6"));
    }

    #[test]
    fn long_values_and_nul_bytes_do_not_keep_the_command_from_starting() {
        let mut n = example();
        n.receiver = format!("a\0{}", "é".repeat(20_000));
        let env = environment(&n);
        let receiver = &env.iter().find(|(name, _)| *name == "WATCHFIRE_RECEIVER").unwrap().1;
        assert!(receiver.len() <= MAX_VALUE && !receiver.contains('\0'));
    }

    #[test]
    fn of_a_long_output_the_end_is_shown() {
        let shown = tail(&format!("{} the end", "x".repeat(1000)), TAIL);
        assert!(shown.starts_with("...x") && shown.ends_with("x the end") && shown.chars().count() == TAIL + 3);
    }
}
