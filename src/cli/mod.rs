//! The command line: one file a subcommand.

mod check;
mod filters;
mod flags;
mod logging;
mod run;
mod scrape;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use flags::{CollectorFlags, CommonFlags, PathFlags, RunFlags};
pub use logging::{LogFormat, LogLevel};

/// Exit status for a configuration or rules that are wrong, as clap uses it for flags that are.
const EXIT_INVALID: u8 = 2;

/// Makes this host observable and wakes the right person when it hurts.
///
/// Samples the host every second, serves Prometheus metrics on :9100/metrics, evaluates alerting rules over its own
/// history, and delivers alerts. Without a configuration file, embedded defaults hold: every ordinary collector, the
/// stock rules, alerts to the log.
#[derive(Parser)]
#[command(name = "watchfire", version, args_conflicts_with_subcommands = true, max_term_width = 110)]
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
    #[command(subcommand)]
    Check(check::Check),
}

/// Parses the command line and does what it says.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command {
        None => run::run(&cli.run),
        Some(Sub::Run(flags)) => run::run(&flags),
        Some(Sub::Scrape(flags)) => scrape::run(&flags),
        Some(Sub::Check(check)) => check.run(),
    }
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
        ])
        .unwrap();
        let mut file = crate::config::ConfigFile::default();
        cli.run.apply(&mut file);
        let on: Vec<_> = crate::collect::COLLECTORS.iter().filter(|c| file.collectors.is_enabled(c.name)).collect();
        assert_eq!(on.iter().map(|c| c.name).collect::<Vec<_>>(), ["cpu"]);
    }

    #[test]
    fn a_wrong_flag_is_named() {
        let error = Cli::try_parse_from(["watchfire", "--web.listen-adress=:1"]).err().unwrap().to_string();
        assert!(error.contains("--web.listen-address"), "{error}");
    }
}
