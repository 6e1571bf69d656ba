//! The key `stream` of a check.

use std::time::Duration;

use crate::pool::{Backoff, Tick};
use crate::section;
use crate::yaml::{Faults, FromYaml, Node};

/// The longest pause before a command is started again.
const LONGEST: Duration = Duration::from_secs(5 * 60);

section! {
    check = check;
    /// `checks[].stream`: a command that stays and says something again and again.
    #[derive(PartialEq)]
    pub struct StreamConfig {
        /// How it is asked to say something.
        pub signal: StreamSignal = StreamSignal::None,
        /// The pause after an end; it doubles when there is one after the other.
        pub restart_delay: Duration = Duration::from_secs(1),
    }
}

/// How a command is asked to say something; the names are those of Telegraf's execd.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StreamSignal {
    /// It speaks by itself.
    None,
    /// An empty line on its standard input.
    Stdin,
    Hup,
    Usr1,
    Usr2,
}

impl StreamSignal {
    const ALL: [(&'static str, StreamSignal); 5] = [
        ("none", StreamSignal::None),
        ("stdin", StreamSignal::Stdin),
        ("sighup", StreamSignal::Hup),
        ("sigusr1", StreamSignal::Usr1),
        ("sigusr2", StreamSignal::Usr2),
    ];
}

impl FromYaml for StreamSignal {
    fn from_yaml(node: &Node, faults: &mut Faults) -> Option<Self> {
        let text = node.as_str();
        let is = |name: &str| text.is_some_and(|text| text.eq_ignore_ascii_case(name));
        let found = StreamSignal::ALL.into_iter().find(|(name, _)| is(name)).map(|(_, signal)| signal);
        if found.is_none() {
            faults.unexpected(node, "none, stdin, sighup, sigusr1 or sigusr2");
        }
        found
    }
}

fn check(stream: &mut StreamConfig, node: &Node, faults: &mut Faults) {
    let at = node.place("restart_delay");
    if stream.restart_delay.is_zero() {
        faults.error(at, "must be longer than 0: a command that ends at once would be started without end");
    } else if stream.restart_delay > LONGEST {
        faults.error(at, "longer than 5m, the longest pause there is");
    }
}

impl StreamConfig {
    /// How the pool asks for a result every `interval`.
    pub(super) fn tick(&self, interval: Duration) -> Tick {
        match self.signal {
            StreamSignal::None => Tick::None,
            StreamSignal::Stdin => Tick::Newline(interval),
            StreamSignal::Hup => Tick::Hup(interval),
            StreamSignal::Usr1 => Tick::Usr1(interval),
            StreamSignal::Usr2 => Tick::Usr2(interval),
        }
    }

    /// The pauses after one end after the other.
    pub(super) fn pauses(&self) -> Backoff {
        Backoff { first: self.restart_delay, longest: LONGEST }
    }
}
