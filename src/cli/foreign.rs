//! Flags of node_exporter's that have no meaning here. Unit files have them all the same, and keep working: each is taken,
//! and the log says what became of it.

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

/// What follows a flag.
#[derive(Clone, Copy, PartialEq)]
enum Takes {
    Nothing,
    Value,
}

use Takes::{Nothing, Value};

/// Collectors that are not here, and what there is in their place.
const COLLECTORS: &[(&str, &str, &str)] = &[
    (
        "collector.logind",
        "no-collector.logind",
        "there is no collector logind; a script for the textfile collector can count sessions",
    ),
    (
        "collector.ntp",
        "no-collector.ntp",
        "there is no collector ntp; timex says how far the clock is off and whether anything keeps it right",
    ),
    ("collector.runit", "no-collector.runit", "there is no collector runit; process groups say what runs"),
    (
        "collector.supervisord",
        "no-collector.supervisord",
        "there is no collector supervisord; process groups say what runs",
    ),
];

const NO_SUCH_COLLECTOR: &str = "its collector is not here";
const FIXTURES: &str = "it is for node_exporter's own tests";

/// The other flags, and why they change nothing.
const FLAGS: &[(&str, Takes, &str)] = &[
    ("web.max-requests", Value, "web.max_connections limits what is served at a time"),
    ("web.disable-exporter-metrics", Nothing, "the rules need the agent's own metrics"),
    ("no-web.disable-exporter-metrics", Nothing, "the agent's own metrics are served in any case"),
    ("runtime.gomaxprocs", Value, "the agent has few threads"),
    ("collector.qdisc.fixtures", Value, FIXTURES),
    ("collector.wifi.fixtures", Value, FIXTURES),
    ("collector.ntp.server", Value, NO_SUCH_COLLECTOR),
    ("collector.ntp.server-port", Value, NO_SUCH_COLLECTOR),
    ("collector.ntp.protocol-version", Value, NO_SUCH_COLLECTOR),
    ("collector.ntp.server-is-local", Nothing, NO_SUCH_COLLECTOR),
    ("no-collector.ntp.server-is-local", Nothing, NO_SUCH_COLLECTOR),
    ("collector.ntp.ip-ttl", Value, NO_SUCH_COLLECTOR),
    ("collector.ntp.max-distance", Value, NO_SUCH_COLLECTOR),
    ("collector.ntp.local-offset-tolerance", Value, NO_SUCH_COLLECTOR),
    ("collector.runit.servicedir", Value, NO_SUCH_COLLECTOR),
    ("collector.supervisord.url", Value, NO_SUCH_COLLECTOR),
    // Every switch of node_exporter has a form that says no.
    ("no-collector.disable-defaults", Nothing, "collectors are at their defaults in any case"),
];

/// Those that were given, each with why it changes nothing.
#[derive(Clone, Default, Debug)]
pub struct ForeignFlags {
    /// Of collectors that somebody wants and does not get.
    missed: Vec<(&'static str, &'static str)>,
    idle: Vec<(&'static str, &'static str)>,
}

impl ForeignFlags {
    /// Says which were given. That a collector is off which is not here needs no word.
    pub fn log(&self) {
        for (flag, why) in &self.missed {
            tracing::warn!(flag = format!("--{flag}"), "this flag of node_exporter's changes nothing here: {why}");
        }
        for (flag, why) in &self.idle {
            tracing::info!(flag = format!("--{flag}"), "this flag of node_exporter's changes nothing here: {why}");
        }
    }
}

impl FromArgMatches for ForeignFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = |flag: &str| matches.value_source(flag) == Some(ValueSource::CommandLine);
        let missed = COLLECTORS.iter().filter(|(flag, ..)| given(flag)).map(|(flag, _, why)| (*flag, *why));
        let idle = FLAGS.iter().filter(|(flag, ..)| given(flag)).map(|(flag, _, why)| (*flag, *why));
        Ok(ForeignFlags { missed: missed.collect(), idle: idle.collect() })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for ForeignFlags {
    fn augment_args(command: Command) -> Command {
        let plain = |flag: &'static str| Arg::new(flag).long(flag).hide(true).action(ArgAction::SetTrue);
        let command = COLLECTORS
            .iter()
            .fold(command, |command, (on, off, _)| command.arg(plain(on)).arg(plain(off).overrides_with(*on)));
        FLAGS.iter().fold(command, |command, (flag, takes, _)| {
            let arg = plain(flag);
            command.arg(if *takes == Value { arg.action(ArgAction::Append) } else { arg })
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}
