//! The command line: one file a subcommand.

mod actions;
mod alerts;
mod api2;
mod backtest;
mod check;
mod checks;
mod client;
mod flags;
mod foreign;
mod guard;
mod logging;
mod options;
mod pool;
mod query;
mod run;
mod scrape;
mod silence;
mod test;

use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Parser, Subcommand};

use crate::agent;

pub use flags::{CollectorFlags, CommonFlags, PathFlags, RunFlags};
pub use logging::{LogFormat, LogLevel};

/// Exit status for a configuration or rules that are wrong, as clap uses it for flags that are.
const EXIT_INVALID: u8 = 2;

/// Below the help of the whole.
const AFTER_HELP: &str = "\
Examples:
  watchfire                                      every default, on http://localhost:9100/
  watchfire --config.file=watchfire.yaml         with a configuration; SIGHUP has it read again
  watchfire check config watchfire.yaml          what is wrong with it
  watchfire test rules rules/*.test.yaml         whether rules fire when they should
  watchfire test route --config.file=watchfire.yaml DiskFull severity=critical
                                                 where such an alert goes, and when
  watchfire test notify --config.file=watchfire.yaml --receiver=mail
                                                 whether a receiver is told
  watchfire backtest rules/disk.yml --last 2h    when they would have fired
  watchfire alerts                               what fires now
  watchfire silence add DiskFull -d 2h -c cleaning
  watchfire checks                               how the checks stand
  watchfire scrape --collector.disable-defaults --collector.meminfo

Exit status: 0 when all is well, 1 for a failure, 2 when flags, configuration or rules are wrong.";

/// Makes this host observable and wakes the right person when it hurts.
///
/// Samples the host every second, serves Prometheus metrics on :9100/metrics, evaluates alerting rules over its own
/// history, and delivers alerts. Without a configuration file, defaults hold: every ordinary collector, the stock rules,
/// alerts to the log.
#[derive(Parser)]
#[command(name = "watchfire", version, args_conflicts_with_subcommands = true, max_term_width = 110, after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Option<Sub>,
    #[command(flatten)]
    run: RunFlags,
}

#[derive(Subcommand)]
enum Sub {
    /// Run the agent (what happens without a subcommand).
    Run(Box<RunFlags>),
    /// Sample the host once, print the metrics, exit.
    Scrape(Box<CommonFlags>),
    /// Say what is wrong with a configuration, rule files or metrics, with file, line and column.
    ///
    /// Exit status: 0 when nothing is, 2 when something is, 3 for metrics that are readable but not as they should be.
    #[command(subcommand)]
    Check(check::Check),
    /// Ask a running agent: evaluate an expression now or over a range.
    Query(Box<query::QueryFlags>),
    /// List alerts that fire, and notifications that are not delivered, of a running agent or an Alertmanager.
    Alerts(Box<alerts::AlertsFlags>),
    /// List what a running agent has run because of alerts, and what came of it.
    Actions(Box<actions::ActionsFlags>),
    /// Keep alerts of a running agent from being told for a time: add, list and end silences.
    #[command(subcommand)]
    Silence(silence::Silence),
    /// List the checks of a running agent: how they stand, since when, and what they say.
    Checks(Box<checks::ChecksFlags>),
    /// What a running agent runs and has run: list it, show what it wrote, run, end or repeat it.
    #[command(subcommand)]
    Pool(pool::Pool),
    /// Replay the agent's own history through rules: when would each alert have been pending and firing?
    Backtest(Box<backtest::BacktestFlags>),
    /// Run unit tests of rules, show where an alert goes, send a test alert.
    #[command(subcommand)]
    Test(test::Test),
    /// End what commands have started when the agent is killed; the agent starts it.
    #[command(name = agent::GUARD, hide = true)]
    Guard,
}

/// Parses the command line and does what it says.
pub fn main() -> ExitCode {
    // Without the command line as a whole, which takes megabytes to make: this stays as long as the agent.
    if std::env::args_os().skip(1).eq([agent::GUARD]) {
        return guard::run();
    }
    let cli = Cli::try_parse().unwrap_or_else(|error| explained(error).exit());
    match cli.command {
        None => run::run(&cli.run),
        Some(Sub::Run(flags)) => run::run(&flags),
        Some(Sub::Scrape(flags)) => scrape::run(&flags),
        Some(Sub::Check(check)) => check.run(),
        Some(Sub::Query(flags)) => query::run(&flags),
        Some(Sub::Alerts(flags)) => alerts::run(&flags),
        Some(Sub::Actions(flags)) => actions::run(&flags),
        Some(Sub::Silence(silence)) => silence.run(),
        Some(Sub::Checks(flags)) => checks::run(&flags),
        Some(Sub::Pool(pool)) => pool.run(),
        Some(Sub::Backtest(flags)) => backtest::run(&flags),
        Some(Sub::Test(test)) => test.run(),
        Some(Sub::Guard) => guard::run(),
    }
}

/// Columns where nobody says how many there are.
const WIDTH: usize = 100;

/// The columns of the terminal.
fn width() -> usize {
    let size = rustix::termios::tcgetwinsize(std::io::stdout());
    size.ok().map(|size| usize::from(size.ws_col)).filter(|width| *width > 0).unwrap_or(WIDTH)
}

/// Adds what to do where clap's message leaves it open.
fn explained(mut error: clap::Error) -> clap::Error {
    let subcommand = match error.get(ContextKind::InvalidSubcommand) {
        Some(ContextValue::String(name)) if error.kind() == ErrorKind::ArgumentConflict => name.clone(),
        _ => return error,
    };
    let tip = format!("flags stand behind the subcommand: watchfire {subcommand} --FLAG ...");
    error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    error
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_flags_are_consistent_and_an_old_unit_file_keeps_working() {
        Cli::command().debug_assert();
        let cli = Cli::try_parse_from([
            "watchfire",
            "--web.listen-address=127.0.0.1:9100",
            "--path.rootfs=/host",
            "--no-collector.softnet",
            "--collector.textfile.directory=/var/lib/node",
            "--collector.disable-defaults",
            "--collector.cpu",
            "--no-collector.ntp",
            "--web.external-url=https://a.example/web-1/",
            "--web.max-requests=40",
            "--web.disable-exporter-metrics",
            "--runtime.gomaxprocs=1",
        ])
        .unwrap();
        let mut file = crate::config::ConfigFile::default();
        cli.run.apply(&mut file);
        let on: Vec<_> = crate::collect::COLLECTORS.iter().filter(|c| file.collectors.is_enabled(c.name)).collect();
        assert_eq!(on.iter().map(|c| c.name).collect::<Vec<_>>(), ["cpu"]);
        assert_eq!(file.web.external_url.unwrap().as_str(), "https://a.example/web-1");
    }

    #[test]
    fn flags_before_a_subcommand_are_sent_behind_it() {
        let error = Cli::try_parse_from(["watchfire", "--config.file=x.yaml", "scrape"]).err().map(explained).unwrap();
        assert!(error.to_string().contains("watchfire scrape --FLAG"), "{error}");
    }

    #[test]
    fn a_wrong_path_of_the_metrics_is_a_wrong_flag() {
        let error = Cli::try_parse_from(["watchfire", "--web.telemetry-path=metrics"]).err().unwrap();
        assert!(error.exit_code() == 2 && error.to_string().contains("is not a path"), "{error}");
    }

    #[test]
    fn a_wrong_flag_is_named() {
        let error = Cli::try_parse_from(["watchfire", "--web.listen-adress=:1"]).err().unwrap().to_string();
        assert!(error.contains("--web.listen-address"), "{error}");
    }
}
