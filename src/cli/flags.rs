//! Flags of the agent, as node_exporter and Prometheus name theirs. A flag beats the configuration file.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use super::foreign::ForeignFlags;
use super::logging::{LogFormat, LogLevel};
use super::options::Options;
use crate::agent;
use crate::collect::{COLLECTORS, CollectorsConfig, Roots};
use crate::config::ConfigFile;
use crate::http::{ExternalUrl, ListenAddress, MAX_CONCURRENCY, check_telemetry_path};
use crate::model::parse_duration;
use crate::yaml::Pattern;

/// Where the kernel's files are.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Paths")]
pub struct PathFlags {
    /// Mount point of procfs.
    #[arg(long = "path.procfs", value_name = "DIR", default_value = "/proc")]
    pub procfs: PathBuf,
    /// Mount point of sysfs.
    #[arg(long = "path.sysfs", value_name = "DIR", default_value = "/sys")]
    pub sysfs: PathBuf,
    /// Where the host's root filesystem is seen; in a container, where it is mounted.
    #[arg(long = "path.rootfs", value_name = "DIR", default_value = "/")]
    pub rootfs: PathBuf,
    /// udev's data directory.
    #[arg(long = "path.udev.data", value_name = "DIR", default_value = "/run/udev/data")]
    pub udev_data: PathBuf,
}

impl PathFlags {
    pub fn roots(&self) -> Roots {
        Roots {
            procfs: self.procfs.clone(),
            sysfs: self.sysfs.clone(),
            rootfs: self.rootfs.clone(),
            udev_data: self.udev_data.clone(),
        }
    }
}

/// What both the agent and a single sampling take.
#[derive(Args, Clone, Debug)]
pub struct CommonFlags {
    /// The configuration file. Without one, defaults hold, as config.example.yaml shows them.
    #[arg(long = "config.file", value_name = "FILE", display_order = 0)]
    pub config_file: Option<PathBuf>,
    /// Log at this level and above.
    #[arg(long = "log.level", value_name = "LEVEL", default_value = "info", ignore_case = true)]
    pub log_level: LogLevel,
    /// How log lines are written, on standard error.
    #[arg(long = "log.format", value_name = "FORMAT", default_value = "logfmt", ignore_case = true)]
    pub log_format: LogFormat,
    // Those below have headings of their own, which would go on to what follows them.
    #[command(flatten)]
    pub paths: PathFlags,
    #[command(flatten)]
    pub collectors: CollectorFlags,
}

/// What the agent takes.
#[derive(Args, Clone, Debug)]
pub struct RunFlags {
    /// Where to listen; without a host, on all addresses; may be given several times [default: :9100].
    #[arg(long = "web.listen-address", value_name = "HOST:PORT")]
    pub listen_address: Vec<ListenAddress>,
    /// Take the sockets that systemd hands over (a unit of type .socket) instead of listening on addresses.
    #[arg(long = "web.systemd-socket")]
    pub systemd_socket: bool,
    #[arg(long = "no-web.systemd-socket", hide = true, overrides_with = "systemd_socket")]
    no_systemd_socket: bool,
    /// Where people reach the agent, for links in notifications [default: http://HOST:PORT].
    #[arg(long = "web.external-url", value_name = "URL")]
    pub external_url: Option<ExternalUrl>,
    /// Where metrics are served [default: /metrics].
    #[arg(long = "web.telemetry-path", value_name = "PATH", value_parser = telemetry_path)]
    pub telemetry_path: Option<String>,
    /// TLS and passwords: a file in the format of Prometheus' exporters.
    // An empty name is none, as node_exporter has it by default.
    #[arg(long = "web.config.file", value_name = "FILE", value_parser = OsStringValueParser::new().map(PathBuf::from))]
    pub web_config_file: Option<PathBuf>,
    /// Web pages that may read the API from a browser: a regular expression for their origins [default: none].
    #[arg(long = "web.cors.origin", value_name = "REGEX", value_parser = Pattern::new)]
    pub cors_origin: Option<Pattern>,
    /// When a query over HTTP is given up [default: 10s].
    #[arg(long = "query.timeout", value_name = "DURATION", value_parser = positive_duration)]
    pub query_timeout: Option<Duration>,
    /// How many samples a query may load [default: 5000000].
    #[arg(long = "query.max-samples", value_name = "N", value_parser = at_least_one)]
    pub query_max_samples: Option<usize>,
    /// How many queries are evaluated at a time [default: 2].
    #[arg(long = "query.max-concurrency", value_name = "N", value_parser = concurrency)]
    pub query_max_concurrency: Option<usize>,
    /// How old the newest sample of a series may be to be found by a query or a rule [default: 5m].
    #[arg(long = "query.lookback-delta", value_name = "DURATION", value_parser = positive_duration)]
    pub query_lookback_delta: Option<Duration>,
    /// Where alert states and undelivered notifications are kept [default: $STATE_DIRECTORY, else
    /// $XDG_STATE_HOME/watchfire, else ~/.local/state/watchfire].
    #[arg(long = "storage.path", value_name = "DIR")]
    pub storage_path: Option<PathBuf>,
    #[command(flatten)]
    pub foreign: ForeignFlags,
    #[command(flatten)]
    pub common: CommonFlags,
}

impl RunFlags {
    /// Where the agent's configuration comes from.
    pub fn source(&self) -> agent::Source {
        let flags = self.clone();
        agent::Source {
            config_file: self.common.config_file.clone(),
            roots: self.common.paths.roots(),
            flags: Box::new(move |file| flags.apply(file)),
        }
    }

    /// Puts the flags over what the file says.
    pub fn apply(&self, file: &mut ConfigFile) {
        self.common.collectors.apply(&mut file.collectors);
        if !self.listen_address.is_empty() {
            file.web.listen_addresses.clone_from(&self.listen_address);
            let mut seen = Vec::new();
            file.web.listen_addresses.retain(|a| {
                !seen.contains(a) && {
                    seen.push(a.clone());
                    true
                }
            });
        }
        if self.systemd_socket || self.no_systemd_socket {
            file.web.systemd_socket = self.systemd_socket;
        }
        if self.external_url.is_some() {
            file.web.external_url.clone_from(&self.external_url);
        }
        if let Some(path) = &self.telemetry_path {
            file.web.telemetry_path.clone_from(path);
        }
        if let Some(path) = self.web_config_file.as_ref().filter(|path| !path.as_os_str().is_empty()) {
            file.web.config_file = Some(path.clone());
        }
        if self.cors_origin.is_some() {
            file.web.cors_origin.clone_from(&self.cors_origin);
        }
        self.query_timeout.inspect(|timeout| file.query.timeout = *timeout);
        self.query_max_samples.inspect(|samples| file.query.max_samples = *samples);
        self.query_max_concurrency.inspect(|queries| file.query.max_concurrency = *queries);
        self.query_lookback_delta.inspect(|delta| file.query.lookback_delta = *delta);
        if self.storage_path.is_some() {
            file.storage.path.clone_from(&self.storage_path);
        }
    }
}

fn telemetry_path(path: &str) -> Result<String, String> {
    check_telemetry_path(path).map(|()| path.to_string())
}

fn positive_duration(text: &str) -> Result<Duration, String> {
    let duration = parse_duration(text)?;
    if duration.is_zero() { Err("must be longer than 0".to_string()) } else { Ok(duration) }
}

fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|n| *n > 0).ok_or_else(|| "must be a whole number from 1 on".to_string())
}

fn concurrency(text: &str) -> Result<usize, String> {
    let number = at_least_one(text)?;
    if number > MAX_CONCURRENCY { Err(format!("must be at most {MAX_CONCURRENCY}")) } else { Ok(number) }
}

/// Above the flags of collectors. Those that switch one off would double the list, so they stand here.
const HEADING: &str = "Collectors (--no-collector.NAME switches one off)";

/// `--collector.NAME` and `--no-collector.NAME` for every collector, `--collector.disable-defaults`, and the collectors' own options.
#[derive(Clone, Default, Debug)]
pub struct CollectorFlags {
    disable_defaults: bool,
    switches: Vec<(&'static str, bool)>,
    options: Options,
}

impl CollectorFlags {
    pub fn apply(&self, config: &mut CollectorsConfig) {
        if self.disable_defaults {
            for info in COLLECTORS {
                if let Some(switch) = config.switch(info.name) {
                    switch.get_or_insert(false);
                }
            }
        }
        for (name, on) in &self.switches {
            if let Some(switch) = config.switch(name) {
                *switch = Some(*on);
            }
        }
        self.options.apply(config);
    }
}

impl FromArgMatches for CollectorFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = |id: &str| matches.value_source(id) == Some(ValueSource::CommandLine);
        let mut flags = CollectorFlags { disable_defaults: given("collector.disable-defaults"), ..Default::default() };
        for info in COLLECTORS {
            for (id, on) in [(info.flag, true), (info.no_flag, false)] {
                if given(id) {
                    flags.switches.push((info.name, on));
                }
            }
        }
        flags.options = Options::of(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for CollectorFlags {
    fn augment_args(command: Command) -> Command {
        let flag = |id: &'static str| Arg::new(id).long(id).action(ArgAction::SetTrue).help_heading(HEADING);
        let mut command = command.arg(
            flag("collector.disable-defaults")
                .help("Run only the collectors given by name, here or by enabled: true in the file; process groups have a switch of their own, processes.enabled in the file"),
        );
        let mut collectors = COLLECTORS.to_vec();
        collectors.sort_by_key(|info| info.name);
        for info in collectors {
            let default = if info.default { "on" } else { "off" };
            command = command
                .arg(flag(info.flag).help(format!("{} [default: {default}]", info.about.trim_end_matches('.'))))
                .arg(flag(info.no_flag).hide(true).overrides_with(info.flag));
        }
        Options::augment(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}
