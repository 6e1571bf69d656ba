//! `watchfire query`: asks a running agent, or any Prometheus.

mod spark;
pub(super) mod table;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::client::{Answer, Client, ClientFlags, Failure, Refusal, pointed, span, time};
use crate::model::Timestamp;

/// Steps of a range when none is given.
const STEPS: u64 = 100;

const EXAMPLES: &str = "\
Examples:
  watchfire query 'topk(5, watchfire_process_cpu_usage_ratio)'
  watchfire query --last 1h 'rate(node_network_receive_bytes_total[1m])'
  watchfire query --start 2026-01-31T10:00:00Z --end 2026-01-31T11:00:00Z --step 30s node_load1 --output csv
  watchfire query --url https://web-1:9100 --http.config.file client.yml up
  test \"$(watchfire query --output raw 'sum(node_filesystem_readonly)')\" = 0

Exit status: 0 when there is an answer, 2 when the query or a flag is wrong, 1 for any other failure.";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct QueryFlags {
    /// The expression, in PromQL.
    #[arg(value_name = "EXPR")]
    expr: String,
    /// Evaluate at this time instead of now: RFC 3339, seconds since 1970, or how long ago, such as -10m.
    #[arg(long, value_name = "TIME", value_parser = time, allow_hyphen_values = true)]
    time: Option<Timestamp>,
    /// Evaluate over the time that has just passed, such as 1h.
    #[arg(long, value_name = "DURATION", value_parser = span, conflicts_with_all = ["time", "start", "end"])]
    last: Option<Duration>,
    /// Evaluate over a range that begins here (see --time).
    #[arg(long, value_name = "TIME", value_parser = time, allow_hyphen_values = true, conflicts_with = "time")]
    start: Option<Timestamp>,
    /// And ends here [default: now].
    #[arg(long, value_name = "TIME", value_parser = time, allow_hyphen_values = true, requires = "start")]
    end: Option<Timestamp>,
    /// The distance of two evaluations of a range [default: a hundredth of it, at least 1s].
    #[arg(long, value_name = "DURATION", value_parser = span, conflicts_with = "time")]
    step: Option<Duration>,
    /// How the answer is printed: a table, Prometheus' JSON, a line a sample, or the values alone.
    #[arg(long, short, value_name = "FORMAT", default_value = "table")]
    output: Output,
    #[command(flatten)]
    client: ClientFlags,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Output {
    Table,
    Json,
    Csv,
    Raw,
}

pub fn run(flags: &QueryFlags) -> ExitCode {
    // Once: now is part of it.
    let range = flags.range();
    match flags.ask(range).and_then(|answer| flags.print(&answer, range)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{}", failure.text.trim_end());
            ExitCode::from(failure.status)
        }
    }
}

/// The range of a query, where there is one: start, end, step.
type Range = Option<(Timestamp, Timestamp, Duration)>;

impl QueryFlags {
    fn range(&self) -> Range {
        let end = self.end.unwrap_or_else(Timestamp::now);
        let start = self.start.or_else(|| Some(end - self.last?))?;
        let millis = u64::try_from(end.millis_since(start)).unwrap_or(0);
        let step = self.step.unwrap_or_else(|| Duration::from_secs(millis.div_ceil(STEPS * 1000).max(1)));
        Some((start, end, step))
    }

    fn form(&self, range: Range) -> (&'static str, String) {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("query", &self.expr);
        let seconds = |at: Timestamp| at.as_secs_f64().to_string();
        let path = match range {
            Some((start, end, step)) => {
                form.append_pair("start", &seconds(start)).append_pair("end", &seconds(end));
                form.append_pair("step", &step.as_secs_f64().to_string());
                "api/v1/query_range"
            }
            None => {
                if let Some(at) = self.time {
                    form.append_pair("time", &seconds(at));
                }
                "api/v1/query"
            }
        };
        (path, form.finish())
    }

    fn ask(&self, range: Range) -> Result<Answer, Failure> {
        if self.step.is_some() && range.is_none() {
            return Err(Failure::invalid("watchfire: --step goes with --last or --start"));
        }
        let (path, form) = self.form(range);
        let client = self.client.client()?;
        let (status, body) = client.ask(path, Some(form))?;
        Answer::read(status, &body).map_err(|refusal| self.explained(&client, refusal))
    }

    fn explained(&self, client: &Client, refusal: Refusal) -> Failure {
        match refusal {
            Refusal::Query { message, place } => {
                let mut text = format!("watchfire: {message}");
                if let Some((line, column)) = place {
                    text += &pointed(&self.expr, line, column);
                }
                Failure::invalid(text)
            }
            Refusal::Other(why) => client.failed(why),
        }
    }

    fn print(&self, answer: &Answer, range: Range) -> Result<(), Failure> {
        for note in &answer.notes {
            eprintln!("watchfire: {note}");
        }
        let terminal = std::io::stdout().is_terminal();
        let width = terminal.then(super::width);
        let text = match self.output {
            Output::Table => table::table(answer, range, width),
            Output::Json => format!("{}\n", answer.data),
            Output::Csv => table::csv(answer),
            Output::Raw => table::raw(answer),
        };
        match std::io::stdout().lock().write_all(text.as_bytes()) {
            // Whoever reads has enough.
            Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
            result => result.map_err(|e| Failure::other(format!("watchfire: cannot print: {e}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        query: QueryFlags,
    }

    fn flags(args: &[&str]) -> Result<QueryFlags, String> {
        let cli = Cli::try_parse_from(["query"].iter().chain(args));
        cli.map(|cli| cli.query).map_err(|e| e.to_string())
    }

    #[test]
    fn a_query_is_at_a_time_or_over_a_range() {
        let form = |args: &[&str]| {
            let flags = flags(args).unwrap();
            flags.form(flags.range())
        };
        assert_eq!(form(&["a + b"]), ("api/v1/query", "query=a+%2B+b".to_string()));
        assert_eq!(form(&["--time", "1.5", "a"]).1, "query=a&time=1.5");
        let (path, form) = form(&["a", "--start", "1970-01-01T00:00:00Z", "--end", "1000"]);
        assert_eq!((path, form.as_str()), ("api/v1/query_range", "query=a&start=0&end=1000&step=10"));
        let hour = flags(&["a", "--last", "1h"]).unwrap().range().unwrap();
        assert_eq!((hour.1.millis_since(hour.0), hour.2), (3_600_000, Duration::from_secs(36)));
        let ago = flags(&["a", "--time", "-10m"]).unwrap().time.unwrap();
        assert!((Timestamp::now().millis_since(ago) - 600_000).abs() < 60_000);
    }

    #[test]
    fn flags_that_contradict_each_other_are_refused() {
        for args in [&["a", "--last", "1h", "--time", "0"][..], &["a", "--end", "5"], &["a", "--time", "soon"], &[]] {
            assert!(flags(args).is_err(), "{args:?}");
        }
        assert!(flags(&["a", "--time", "soon"]).unwrap_err().contains("how long ago: -10m"));
    }
}
