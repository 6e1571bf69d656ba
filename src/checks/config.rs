//! The configuration section `checks`: a list, each item of one kind.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::dns::DnsCheck;
use super::file::FileConfig;
use super::format::json::JsonConfig;
use super::format::{Format, FormatName};
use super::http::HttpCheck;
use super::icmp::IcmpCheck;
use super::local::Bytes;
use super::log::LogConfig;
use super::process::ProcessConfig;
use super::stream::StreamConfig;
use super::systemd::UnitConfig;
use super::tcp::TcpCheck;
use crate::model::{Labels, Timestamp, format_duration};
use crate::pool::Cron;
use crate::pool::{LimitsConfig, resolve_command};
use crate::section;
use crate::yaml::{Faults, FromYaml, Node, Secret, Value};

/// What else would burden the host more than it tells of it.
const MIN_INTERVAL: Duration = Duration::from_secs(1);
/// A name is a label's value and what people type.
const MAX_NAME: usize = 128;

section! {
    check = check;
    /// `checks[]`.
    pub struct CheckConfig {
        /// Its name: the label `check`.
        pub name: String = String::new(),
        /// A program and its arguments; no shell is involved.
        pub command: Vec<String> = Vec::new(),
        /// How the command's output is read.
        pub format: Option<FormatName> = None,
        /// What is read of a JSON document.
        pub json: Option<JsonConfig> = None,
        /// The command stays, and says something again and again.
        pub stream: Option<StreamConfig> = None,
        /// A request over HTTP.
        pub http: Option<Box<HttpCheck>> = None,
        /// A connection, and what is said over it.
        pub tcp: Option<Box<TcpCheck>> = None,
        /// A question to a name server.
        pub dns: Option<Box<DnsCheck>> = None,
        /// Echo requests, as ping sends them.
        pub icmp: Option<Box<IcmpCheck>> = None,
        /// Files: their age, size, number, content.
        pub file: Option<Box<FileConfig>> = None,
        /// Processes: whether they run, and how many.
        pub process: Option<Box<ProcessConfig>> = None,
        /// Units of systemd and their states.
        pub systemd: Option<Box<UnitConfig>> = None,
        /// Log files that are followed: what stands in them.
        pub log: Option<Box<LogConfig>> = None,
        /// How often it runs; of a stream, how often a result is expected.
        pub interval: Duration = Duration::from_secs(60),
        /// When it runs, in place of an interval.
        pub schedule: Option<ScheduleConfig> = None,
        /// How long a run may take; when not set, no longer than to the next.
        pub timeout: Duration = Duration::from_secs(10),
        /// How often a run that is not ok is tried again before it counts.
        pub retries: u32 = 0,
        /// How long a warning or critical state stays when later runs are better. When not set, ten minutes for what is
        /// seen once (lines of a log, a changed checksum), else no time.
        pub keep_failing_for: Option<Duration> = None,
        /// Labels of all its metrics.
        pub labels: Labels = Labels::empty(),
        /// Environment variables for the command, beside PATH, HOME, LANG and TZ.
        pub env: BTreeMap<String, Secret> = BTreeMap::new(),
        /// The directory that the command starts in.
        pub directory: Option<PathBuf> = None,
        /// The bytes that are read of the command's output.
        pub output_limit: Bytes = Bytes(1 << 20),
        /// What the command may use of the host, and as whom.
        pub limits: LimitsConfig = LimitsConfig::default(),
    }
}

section! {
    check = check_schedule;
    /// When a check runs, by the clock and the calendar.
    pub struct ScheduleConfig {
        /// An expression as in crontab(5): minute, hour, day of the month, month, day of the week.
        pub cron: String = String::new(),
        /// The time zone that it is meant in; when not set, that of the host.
        pub location: Option<String> = None,
    }
}

fn check_schedule(schedule: &mut ScheduleConfig, node: &Node, faults: &mut Faults) {
    if let Err(fault) = schedule.cron() {
        let key = if fault.contains("time zone") { "location" } else { "cron" };
        faults.error(node.place(key), fault);
    }
}

/// Runs that are looked ahead to, to find the longest time between two: with one every minute, three days.
const AHEAD: usize = 5000;
const YEAR: Duration = Duration::from_secs(366 * 86_400);

impl ScheduleConfig {
    /// # Errors
    /// What is wrong with it.
    pub fn cron(&self) -> Result<Cron, String> {
        let zone = self.location.as_deref().filter(|zone| *zone != "Local");
        Cron::new(&self.cron, zone)
    }

    /// The longest time between two runs that are to come.
    fn longest_interval(&self, now: Timestamp) -> Option<Duration> {
        let cron = self.cron().ok()?;
        let moments = std::iter::successors(cron.next(now), |at| cron.next(*at)).take(AHEAD).enumerate();
        let moments = moments.take_while(|(number, at)| *number < 3 || *at <= now + YEAR);
        let moments: Vec<Timestamp> = moments.map(|(_, at)| at).collect();
        let longest = moments.windows(2).filter_map(|pair| Some(pair.last()?.millis_since(*pair.first()?))).max();
        longest.and_then(|millis| u64::try_from(millis).ok()).map(Duration::from_millis)
    }
}

/// How long that is bad which a run sees once: longer than rules wait, and long enough to be read.
const KEEP: Duration = Duration::from_secs(600);

impl CheckConfig {
    /// Whether a run sees only what has come since the one before.
    fn is_told_once(&self) -> bool {
        let checksum = self.file.as_ref().and_then(|file| file.checksum.as_ref());
        self.log.is_some() || checksum.is_some_and(|checksum| checksum.sha256.is_none())
    }

    /// How long a bad state stays when later runs are better.
    pub fn keep_failing_for(&self) -> Duration {
        self.keep_failing_for.unwrap_or(if self.is_told_once() { KEEP } else { Duration::ZERO })
    }
}

/// The keys that say what is checked: each check has one of them.
const KINDS: [&str; 9] = ["command", "http", "tcp", "dns", "icmp", "file", "process", "systemd", "log"];

/// Keys that only shape a command.
const OF_COMMANDS: [&str; 7] = ["format", "json", "stream", "env", "directory", "output_limit", "limits"];

fn check(check: &mut CheckConfig, node: &Node, faults: &mut Faults) {
    let at = |key: &str| node.place(key);
    if let Some(fault) = name_fault(&check.name) {
        faults.error(at("name"), fault);
    }
    let kinds: Vec<&str> = KINDS.into_iter().filter(|kind| node.get(kind).is_some_and(|n| !n.is_null())).collect();
    match *kinds {
        [_] => {}
        [] => faults.error(node.at, format!("nothing to check: it has none of {}", KINDS.join(", "))),
        [.., last] => faults.error(at(last), format!("{}: a check has one of them", kinds.join(" and "))),
    }
    match kinds.contains(&"command") {
        true => check_command(check, node, faults),
        false if kinds.is_empty() => {}
        false => {
            for key in OF_COMMANDS.into_iter().filter(|key| node.get(key).is_some()) {
                faults.error(at(key), format!("{key} is for a command, and there is none"));
            }
        }
    }
    if let Some(schedule) = &check.schedule {
        for key in ["interval", "stream"].into_iter().filter(|key| node.get(key).is_some()) {
            faults.error(at(key), format!("schedule says when it runs: take {key} or schedule away"));
        }
        // It is late when it has not run for three times as long.
        check.interval = schedule.longest_interval(Timestamp::now()).unwrap_or(check.interval);
    }
    if check.interval < MIN_INTERVAL {
        faults.error(at("interval"), "shorter than 1s, the least that makes sense");
    }
    if check.stream.is_some() {
        // Its results are there when they come.
        check.timeout = Duration::ZERO;
        check_stream(check, node, faults);
    } else {
        check_times(check, node, faults);
    }
    if check.labels.has(CHECK) {
        faults.error(at("labels"), "the label check is the check's name");
    }
}

fn check_times(check: &mut CheckConfig, node: &Node, faults: &mut Faults) {
    let at = |key: &str| node.place(key);
    if node.get("timeout").is_none() {
        check.timeout = check.timeout.min(check.interval);
    }
    if check.timeout.is_zero() {
        faults.error(at("timeout"), "must be longer than 0: no run would be in time");
    } else if check.timeout > check.interval {
        let (timeout, interval) = (format_duration(check.timeout), format_duration(check.interval));
        let text =
            format!("a run may take {timeout}, longer than the {interval} until the next, which is then left out");
        faults.warn(at("timeout"), text);
    }
    if check.retries > 0 && check.is_told_once() {
        faults.error(at("retries"), "what has changed since the last run is seen once: a second try would not see it");
    }
}

/// What has no meaning for a command that does not end.
fn check_stream(check: &CheckConfig, node: &Node, faults: &mut Faults) {
    if let Some(timeout) = node.get("timeout") {
        faults
            .error(timeout.at, "a stream does not end: take timeout away; without a result for 3 intervals it is late");
    }
    if let Some(retries) = node.get("retries") {
        faults.error(retries.at, "a stream is started again whenever it ends: take retries away");
    }
    if let (Some(name), Some(format)) = (check.format, node.get("format"))
        && name.needs_exit_code()
    {
        let written = format.as_str().unwrap_or_default();
        let text = format!("{written} needs an exit code, and a stream does not end: influx, prometheus or json");
        faults.error(format.at, text);
    }
}

fn check_command(check: &CheckConfig, node: &Node, faults: &mut Faults) {
    let at = |key: &str| node.place(key);
    if check.command.first().is_none_or(String::is_empty) {
        faults.error(at("command"), "expected a list of the program and its arguments");
    }
    if node.get("format").is_none_or(Node::is_null) {
        faults.error(at("command"), format!("format is missing: {}", FormatName::NAMES));
    }
    let is_json = check.format == Some(FormatName::Json);
    if is_json && node.get("json").is_none() {
        faults.error(at("format"), "json is missing: what becomes metrics, or the state");
    } else if check.json.is_some() && check.format.is_some() && !is_json {
        faults.error(at("json"), "json is for the format json");
    }
}

fn name_fault(name: &str) -> Option<String> {
    if name.is_empty() {
        Some("name is missing: what the check is to be called".to_string())
    } else if name.chars().count() > MAX_NAME {
        Some(format!("the name is longer than {MAX_NAME} characters"))
    } else if name.trim() != name || name.chars().any(char::is_control) {
        Some(format!("the name {name:?} begins or ends with a blank, or has a control character"))
    } else {
        None
    }
}

/// The label that holds a check's name.
pub const CHECK: &str = "check";

/// A check as it is configured.
#[derive(Clone, Debug)]
pub struct Check {
    pub config: CheckConfig,
    /// Of all that stands in the file, secrets included: one that is the same after a reload goes on where it was.
    pub fingerprint: u64,
}

impl Check {
    /// The labels of all its metrics.
    pub fn labels(&self) -> Arc<Labels> {
        let mut labels = self.config.labels.builder();
        labels.set(CHECK, &self.config.name);
        Arc::new(labels.build())
    }

    /// How the command's output is read; `None` for a check without a command.
    pub fn format(&self) -> Option<Format> {
        Some(match self.config.format? {
            FormatName::Nagios => Format::Nagios,
            FormatName::Prometheus => Format::Prometheus,
            FormatName::Json => Format::Json(self.config.json.clone().unwrap_or_default()),
            FormatName::Influx => Format::Influx,
            FormatName::Exit => Format::Exit,
        })
    }
}

/// `checks`.
#[derive(Clone, Default, Debug)]
pub struct Checks(pub Vec<Check>);

impl Checks {
    /// Makes relative paths start at `dir`.
    pub fn resolve_paths(&mut self, dir: &Path) {
        for Check { config, .. } in &mut self.0 {
            resolve_command(&mut config.command, &mut config.directory, dir);
            config.http.iter_mut().for_each(|http| http.resolve_paths(dir));
            config.tcp.iter_mut().for_each(|tcp| tcp.resolve_paths(dir));
            config.dns.iter_mut().for_each(|dns| dns.resolve_paths(dir));
        }
    }
}

impl FromYaml for Checks {
    fn from_yaml(node: &Node, faults: &mut Faults) -> Option<Self> {
        let Value::Sequence(items) = &node.value else {
            faults.unexpected(node, "a list");
            return None;
        };
        let mut names: HashMap<String, u32> = HashMap::new();
        let mut checks = Vec::with_capacity(items.len());
        for item in items {
            let Some(config) = CheckConfig::from_yaml(item, faults) else { continue };
            if let Some(line) = names.get(&config.name).filter(|_| !config.name.is_empty()) {
                let at = item.place("name");
                faults.error(at, format!("the check {:?} is there already, in line {line}", config.name));
            } else {
                names.insert(config.name.clone(), item.at.line);
            }
            checks.push(Check { config, fingerprint: fingerprint(item) });
        }
        Some(Checks(checks))
    }

    fn key_paths(path: &str, paths: &mut Vec<String>) {
        Vec::<CheckConfig>::key_paths(path, paths);
    }
}

/// What stands at a node, wherever in the file that is.
fn fingerprint(node: &Node) -> u64 {
    fn feed(value: &Value, hasher: &mut DefaultHasher) {
        std::mem::discriminant(value).hash(hasher);
        match value {
            Value::Null => {}
            Value::Scalar { text, plain, .. } => (text, plain).hash(hasher),
            Value::Sequence(items) => {
                items.len().hash(hasher);
                items.iter().for_each(|item| feed(&item.value, hasher));
            }
            Value::Mapping(entries) => {
                entries.len().hash(hasher);
                for (key, value) in entries {
                    key.name.hash(hasher);
                    feed(&value.value, hasher);
                }
            }
        }
    }
    let mut hasher = DefaultHasher::new();
    feed(&node.value, &mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::Fuzz;
    use crate::yaml::Document;

    fn read(text: &str) -> (Checks, String) {
        let mut faults = Faults::default();
        let checks = Document::parse("c.yaml", text, &mut faults).read(&mut faults);
        (checks, faults.to_string())
    }

    const DISK: &str = "- {name: disk, command: [check_disk, -w, 10%], format: nagios}\n";

    #[test]
    fn a_check_has_a_name_a_kind_and_defaults() {
        let (checks, faults) = read(DISK);
        assert_eq!((faults.as_str(), checks.0.len()), ("", 1));
        let config = &checks.0[0].config;
        assert_eq!((config.interval, config.timeout), (Duration::from_secs(60), Duration::from_secs(10)));
        assert!(matches!(checks.0[0].format(), Some(Format::Nagios)));
        assert_eq!(checks.0[0].labels().to_string(), "{check=\"disk\"}");
    }

    #[test]
    fn faults_are_said_where_they_stand() {
        let said = |text: &str| read(text).1;
        assert!(said("- {command: [x], format: exit}\n").contains("c.yaml:1:3: name is missing"));
        assert!(said("- {name: ' a', command: [x], format: exit}\n").contains(":1:10: the name \" a\" begins"));
        assert!(
            said(&format!("- {{name: {}, command: [x], format: exit}}\n", "n".repeat(200))).contains("longer than 128")
        );
        assert!(said("- {name: a}\n").contains("c.yaml:1:3: nothing to check: it has none of command"));
        let two = "- {name: a, command: [x], format: exit, tcp: {target: 'a:1'}}\n";
        assert!(said(two).contains(":1:46: command and tcp: a check has one of them"), "{}", said(two));
        let other = "- {name: a, tcp: {target: 'a:1'}, format: exit}\n";
        assert!(said(other).contains(":1:43: format is for a command, and there is none"), "{}", said(other));
        let once = "- {name: a, retries: 1, log: {path: /l, patterns: [{name: p, match: x}]}}\n";
        assert!(said(once).contains(":1:22: what has changed since the last run is seen once"), "{}", said(once));
        assert!(said("- {name: a, command: [x]}\n").contains(":1:22: format is missing: nagios, prometheus"));
        assert!(said("- {name: a, command: [], format: exit}\n").contains(":1:22: expected a list of the program"));
        assert!(said("- {name: a, command: [x], format: xml}\n").contains(":1:35: unknown format \"xml\""));
        assert!(said("- {name: a, command: [x], format: json}\n").contains(":1:35: json is missing"));
        let json = "- {name: a, command: [x], format: exit, json: {metrics: [{name: m, path: p}]}}\n";
        assert!(said(json).contains(":1:47: json is for the format json"));
        assert!(said("- {name: a, command: [x], format: exit, interval: 500ms}\n").contains("shorter than 1s"));
        assert!(said("- {name: a, command: [x], format: exit, timeout: 0s}\n").contains("must be longer than 0"));
        assert!(said("- {name: a, command: [x], format: exit, labels: {check: b}}\n").contains("the label check is"));
        assert!(said("- {name: a, command: [x], format: exit, labels: {a-b: c}}\n").contains("cannot be a label name"));
        let cron = |schedule: &str| said(&format!("- {{name: a, command: [x], format: exit, schedule: {schedule}}}\n"));
        assert_eq!(cron("{cron: '30 3 * * *', location: Europe/Vienna}"), "");
        assert!(cron("{cron: '30 25 * * *'}").contains(":1:58: hour: "), "{}", cron("{cron: '30 25 * * *'}"));
        assert!(cron("{cron: '@daily', location: Europe/Wien}").contains("there is no time zone \"Europe/Wien\""));
        assert!(cron("{cron: '@daily'}, interval: 1h").contains("schedule says when it runs: take interval or"));
        assert!(said("- {name: a, comand: [x]}\n").contains("did you mean \"command\"?"));
        assert!(said("name: a\n").contains("expected a list"));
    }

    #[test]
    fn a_name_that_is_there_twice_is_said_with_the_line_of_the_first() {
        let (_, faults) = read(&format!("{DISK}{DISK}"));
        assert!(faults.contains("c.yaml:2:10: the check \"disk\" is there already, in line 1"), "{faults}");
    }

    #[test]
    fn a_timeout_longer_than_the_interval_is_a_warning_and_never_a_default() {
        let (checks, faults) = read("- {name: a, command: [x], format: exit, interval: 5s, timeout: 6s}\n");
        assert!(
            faults.contains("c.yaml:1:64: warning: a run may take 6s, longer than the 5s until the next"),
            "{faults}"
        );
        assert_eq!(checks.0.len(), 1);
        let (checks, faults) = read("- {name: a, command: [x], format: exit, interval: 5s}\n");
        assert_eq!((faults.as_str(), checks.0.first().map(|c| c.config.timeout)), ("", Some(Duration::from_secs(5))));
    }

    #[test]
    fn a_schedule_counts_as_its_longest_pause() {
        let interval = |cron: &str| {
            let text =
                format!("- {{name: a, command: [x], format: exit, schedule: {{cron: '{cron}', location: UTC}}}}\n");
            read(&text).0.0[0].config.interval.as_secs()
        };
        assert_eq!([interval("@hourly"), interval("30 3 * * *")], [3600, 86_400]);
        assert_eq!(interval("0 0 1 * *"), 31 * 86_400);
        assert!(interval("@yearly") >= 365 * 86_400);
        assert_eq!(interval("*/10 9-17 * * 1-5"), 86_400 * 2 + 15 * 3600 + 10 * 60, "from Friday 17:50 to Monday 9:00");
    }

    #[test]
    fn relative_paths_start_at_the_files_directory_and_bare_programs_do_not() {
        let program = |command: &str| {
            let (mut checks, _) = read(&format!("- {{name: a, command: [{command}], format: exit, directory: d}}\n"));
            checks.resolve_paths(Path::new("/etc/watchfire"));
            assert_eq!(checks.0[0].config.directory.as_deref(), Some(Path::new("/etc/watchfire/d")));
            checks.0[0].config.command[0].clone()
        };
        assert_eq!(program("df"), "df");
        assert_eq!(program("checks/disk.sh"), "/etc/watchfire/checks/disk.sh");
        assert_eq!(program("/bin/df"), "/bin/df");
    }

    #[test]
    fn a_check_is_the_same_wherever_it_stands_and_another_when_anything_changes() {
        let of = |text: &str| read(text).0.0.iter().map(|check| check.fingerprint).collect::<Vec<_>>();
        let other = "- {name: other, command: [x], format: exit, env: {TOKEN: a}}\n";
        assert_eq!(of(DISK)[0], of(&format!("{other}\n{DISK}"))[1]);
        assert_ne!(of(DISK), of(&DISK.replace("10%", "20%")));
        assert_ne!(of(other), of(&other.replace("TOKEN: a", "TOKEN: b")), "a secret");
        assert!(!format!("{:?}", read(other).0).contains("\"a\""));
    }

    #[test]
    fn no_file_makes_it_panic() {
        let json = "- {name: j, command: [x], format: json, json: {state: {path: $.a, ok: [b]}, metrics: [{name: m, each: \
                    a, path: b, type: counter, labels: {c: $key}}]}, limits: {cpu: 5s, nice: 10, io_class: idle}}\n";
        Fuzz::of(&[DISK, json]).heap(64 << 20).texts(|text| {
            read(text);
        });
    }
}
