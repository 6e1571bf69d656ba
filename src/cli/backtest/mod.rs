//! `watchfire backtest`: replays the history of a running agent through rules, and shows when each alert would have been
//! pending and firing.
//!
//! ```text
//!     flags, sources -> rules; facts, reader -> what the agent knows; rules::replay -> spans; report, bar, json
//! ```

mod bar;
mod clock;
mod facts;
mod json;
mod reader;
mod report;
mod samples;
mod sources;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};

use super::client::{Client, ClientFlags, Failure, span, time};
use crate::model::{Timestamp, format_duration, parse_duration};
use crate::rules::replay::{Needs, Replay, Replayed, longest_pause};
use facts::Facts;
use reader::Reader;
use sources::Sources;

/// How much is replayed where nothing is said of it.
const LONGEST_BY_DEFAULT: Duration = Duration::from_secs(6 * 3600);
/// Ticks that are read and replayed together.
const SLICE: u32 = 600;
/// What takes longer than this says how far it is.
const QUIET: Duration = Duration::from_secs(1);

const EXAMPLES: &str = "\
Examples:
  watchfire backtest rules/disk.yml --last 2h
  watchfire backtest --expr 'node_load1 > 4' --expr 'node_load1 > 6' --for 5m
  watchfire backtest --stock --start 2026-01-31T10:00:00Z --end 2026-01-31T12:00:00Z
  watchfire backtest --config.file watchfire.yaml --output json

In a timeline · is inactive, ▒ pending, █ firing, and a blank where the agent has no samples.

Exit status: 0 when the rules were replayed, whether they would have fired or not, 2 when a rule or a flag is wrong,
1 for any other failure.";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct BacktestFlags {
    #[command(flatten)]
    sources: Sources,
    /// Replay the time that has just passed, such as 1h [default: all that the agent remembers, 6h at most].
    #[arg(long, value_name = "DURATION", value_parser = span, conflicts_with_all = ["start", "end"])]
    last: Option<Duration>,
    /// Replay from here: RFC 3339, seconds since 1970, or how long ago, such as -10m.
    #[arg(long, value_name = "TIME", value_parser = time, allow_hyphen_values = true)]
    start: Option<Timestamp>,
    /// Up to here [default: now].
    #[arg(long, value_name = "TIME", value_parser = time, allow_hyphen_values = true, requires = "start")]
    end: Option<Timestamp>,
    /// List the rules that were never pending too, and all alerts of a rule.
    #[arg(long)]
    all: bool,
    /// How the result is printed: a table with timelines, or JSON.
    #[arg(long, short, value_name = "FORMAT", default_value = "table")]
    output: Output,
    #[command(flatten)]
    client: ClientFlags,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Output {
    Table,
    Json,
}

/// What a replay came to.
pub struct Backtest {
    pub url: String,
    /// What was asked about; where it begins has been asked for, or was chosen.
    pub start: Timestamp,
    pub end: Timestamp,
    /// Times in which there are ticks, from the first to the last of each, in order.
    pub covered: Vec<(Timestamp, Timestamp)>,
    pub ticks: usize,
    pub rules: Vec<Replayed>,
    /// What is to be known of it.
    pub notes: Vec<String>,
}

pub fn run(flags: &BacktestFlags) -> ExitCode {
    match flags.replay().and_then(|backtest| flags.print(&backtest)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{}", failure.text.trim_end());
            ExitCode::from(failure.status)
        }
    }
}

impl BacktestFlags {
    fn replay(&self) -> Result<Backtest, Failure> {
        let mut loaded = self.sources.load()?;
        let client = self.client.client()?;
        let mut facts = Facts::ask(&client)?;
        if let Some(config) = loaded.config.take() {
            facts.take_over(&config);
        }
        let now = Timestamp::now();
        let end = self.end.map_or(now, |end| end.min(now));
        let by_default = || facts.retention.min(LONGEST_BY_DEFAULT);
        let start = self.start.unwrap_or_else(|| end - self.last.unwrap_or_else(by_default));
        if start >= end {
            return Err(Failure::invalid(format!("watchfire: nothing lies between --start {start} and --end {end}")));
        }
        let needs = Needs::of(&loaded.groups, facts.evaluation_interval, facts.rule_query_offset, facts.lookback);
        let first_evaluation = start - needs.warm_up();
        let from = first_evaluation - needs.furthest().unwrap_or(Duration::MAX);
        let from = from.max(end - facts.retention.saturating_mul(2)).min(first_evaluation);
        let mut reader = Reader::new(&client, facts.scrape_interval);
        let ticks = reader.ticks(from, end)?;
        let Some(first) = ticks.iter().copied().find(|tick| *tick >= start) else {
            return Err(nothing_there(&client, &ticks, start, end));
        };
        // All that is remembered begins where something is.
        let start = if self.last.is_none() && self.start.is_none() { first } else { start };
        let reads_back_to = ticks.first().copied().unwrap_or(first);

        let settings = facts.settings(client.url());
        let replay = Replay::new(loaded.groups, &needs, settings, facts.scrape_interval, facts.recorders.clone());
        let mut replay = replay.map_err(|why| Failure::other(format!("watchfire: {why}")))?;
        let mut progress = Progress::new();
        let mut after = reads_back_to - Duration::from_millis(1);
        for slice in ticks.chunks(SLICE as usize) {
            let Some(until) = slice.last().copied() else { continue };
            for (n, read) in needs.reads().iter().enumerate() {
                let reach = read.reach.map_or(Timestamp::MIN, |reach| first_evaluation - reach);
                let after = after.max(reach);
                reader.read(n, &read.selector, after, until, |labels, points| replay.take(labels, points))?;
            }
            for tick in slice {
                if *tick >= first_evaluation {
                    replay.tick(*tick, *tick >= start);
                } else {
                    replay.fill(*tick);
                }
            }
            replay.forget();
            after = until;
            progress.show(until.millis_since(reads_back_to), end.millis_since(reads_back_to));
        }
        progress.done();

        let shown: Vec<Timestamp> = ticks.into_iter().filter(|tick| *tick >= start).collect();
        let pause = longest_pause(facts.scrape_interval);
        let mut notes = Vec::new();
        let is_late = |at: Timestamp, wanted: Timestamp| at > wanted + pause;
        if is_late(first, start) {
            notes.push(lacks(&facts, first, start, end));
        }
        if is_late(reads_back_to, start - needs.depth()) {
            notes.push(format!(
                "nothing is remembered from before {}: rules that look back, here up to {}, may have given something else \
                 shortly after it",
                clock::local(reads_back_to),
                format_duration(needs.depth())
            ));
        }
        Ok(Backtest {
            url: client.url().to_string(),
            start,
            end: end.max(first),
            covered: covered(&shown, pause),
            ticks: shown.len(),
            rules: replay.finish(),
            notes,
        })
    }

    fn print(&self, backtest: &Backtest) -> Result<(), Failure> {
        let terminal = std::io::stdout().is_terminal();
        let text = match self.output {
            Output::Table => {
                for note in &backtest.notes {
                    eprintln!("watchfire: {note}");
                }
                let look = report::Look {
                    width: if terminal { super::width() } else { super::WIDTH },
                    colours: terminal,
                    all: self.all,
                    zone: jiff::tz::TimeZone::system(),
                };
                report::report(backtest, &look)
            }
            Output::Json => format!("{}\n", json::json(backtest)),
        };
        match std::io::stdout().lock().write_all(text.as_bytes()) {
            // Whoever reads has enough.
            Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
            result => result.map_err(|e| Failure::other(format!("watchfire: cannot print: {e}"))),
        }
    }
}

fn nothing_there(client: &Client, ticks: &[Timestamp], start: Timestamp, end: Timestamp) -> Failure {
    let before = ticks.last().map(|last| format!("; its last one before that is of {}", clock::local(*last)));
    client.failed(format!(
        "the agent has no samples between {} and {}{}",
        clock::local(start),
        clock::local(end),
        before.unwrap_or_default()
    ))
}

/// That history does not reach back as far as was asked, and what to do.
fn lacks(facts: &Facts, first: Timestamp, start: Timestamp, end: Timestamp) -> String {
    let rounded = |from: Timestamp| {
        let seconds = u64::try_from(end.millis_since(from)).unwrap_or(0).div_ceil(1000);
        format_duration(Duration::from_secs(seconds))
    };
    let (there, asked) = (rounded(first), rounded(start));
    let why = if facts.retention < Duration::from_millis(u64::try_from(end.millis_since(start)).unwrap_or(0)) {
        format!("raise history.retention, which is {}", format_duration(facts.retention))
    } else {
        "the agent has not run for longer, or history.max_bytes leaves no room for more".to_string()
    };
    format!("history reaches back to {} ({there}), not {asked}: {why}", clock::local(first))
}

/// Ticks without a pause between them.
fn covered(ticks: &[Timestamp], pause: Duration) -> Vec<(Timestamp, Timestamp)> {
    let together = ticks.chunk_by(|a, b| *b <= *a + pause);
    together.filter_map(|ticks| Some((*ticks.first()?, *ticks.last()?))).collect()
}

/// Says on a terminal how far it is.
struct Progress {
    began: Instant,
    terminal: bool,
    shown: bool,
}

impl Progress {
    fn new() -> Progress {
        Progress { began: Instant::now(), terminal: std::io::stderr().is_terminal(), shown: false }
    }

    fn show(&mut self, done: i64, of: i64) {
        if self.terminal && self.began.elapsed() > QUIET {
            eprint!("\rreplaying: {:3} %", done.saturating_mul(100) / of.max(1));
            self.shown = true;
        }
    }

    fn done(&self) {
        if self.shown {
            eprint!("\r{:20}\r", "");
        }
    }
}
