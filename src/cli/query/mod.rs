//! `watchfire query`: asks a running agent, or any Prometheus.

mod answer;
mod spark;
mod table;

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::EXIT_INVALID;
use crate::model::{Timestamp, format_duration, parse_duration};
use crate::sinks::{HttpConfig, without_user};
use crate::yaml::{Document, Faults};
use answer::{Answer, Refusal};

/// Columns where nobody says how many there are.
const WIDTH: usize = 100;
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
    /// Who is asked: where the agent is reached.
    #[arg(long, value_name = "URL", default_value = "http://localhost:9100")]
    url: String,
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
    /// How long the answer may take.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = span)]
    timeout: Duration,
    /// A file with basic_auth, authorization or tls_config, as promtool takes it.
    #[arg(long = "http.config.file", value_name = "FILE")]
    http_config: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Output {
    Table,
    Json,
    Csv,
    Raw,
}

/// Why there is no answer.
struct Failure {
    /// What is said, in whole lines.
    text: String,
    status: u8,
}

impl Failure {
    fn invalid(text: impl Into<String>) -> Failure {
        Failure { text: text.into(), status: EXIT_INVALID }
    }

    fn other(text: impl Into<String>) -> Failure {
        Failure { text: text.into(), status: 1 }
    }
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
        let config = self.http_config.as_deref().map_or_else(|| Ok(HttpConfig::default()), load)?;
        let (path, form) = self.form(range);
        let url = format!("{}/{path}", self.url.trim_end_matches('/'));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|e| Failure::other(format!("watchfire: cannot start the runtime: {e}")))?;
        let (status, body) = runtime
            .block_on(config.post_form(&url, form, self.timeout))
            .map_err(|why| Failure::other(format!("watchfire: no answer from {why}{}", hint(&why))))?;
        Answer::read(status, &body).map_err(|refusal| self.explained(refusal))
    }

    fn explained(&self, refusal: Refusal) -> Failure {
        match refusal {
            Refusal::Query { message, place } => {
                let mut text = format!("watchfire: {message}");
                if let Some((line, column)) = place {
                    text += &pointed(&self.expr, line, column);
                }
                Failure::invalid(text)
            }
            Refusal::Other(why) => Failure::other(format!("watchfire: {}: {why}", without_user(&self.url))),
        }
    }

    fn print(&self, answer: &Answer, range: Range) -> Result<(), Failure> {
        for note in &answer.notes {
            eprintln!("watchfire: {note}");
        }
        let terminal = std::io::stdout().is_terminal();
        let width = terminal.then(width);
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

/// The columns of the terminal.
fn width() -> usize {
    let size = rustix::termios::tcgetwinsize(std::io::stdout());
    size.ok().map(|size| usize::from(size.ws_col)).filter(|width| *width > 0).unwrap_or(WIDTH)
}

/// What to try when nobody answers.
fn hint(why: &str) -> String {
    let hints = [
        ("refused", "Is the agent running, and does it listen there? --url says where to ask."),
        ("not an http or https URL", "--url is such as http://localhost:9100."),
        ("invalid HTTP version", "It does not speak HTTP; perhaps HTTPS: --url https://..."),
        ("InvalidContentType", "It does not speak TLS; perhaps plain HTTP: --url http://..."),
        ("UnknownIssuer", "In --http.config.file, tls_config.ca_file names who has signed its certificate."),
        ("CaUsedAsEndEntity", "Its certificate is one of an authority: a server's needs basicConstraints=CA:FALSE."),
    ];
    hints.into_iter().find(|(sign, _)| why.contains(sign)).map(|(_, hint)| format!("\n{hint}")).unwrap_or_default()
}

/// The line of the expression, and a mark below the place.
fn pointed(expr: &str, line: usize, column: usize) -> String {
    let Some(text) = line.checked_sub(1).and_then(|n| expr.lines().nth(n)) else { return String::new() };
    let number = line.to_string();
    let before: String =
        text.chars().take(column.saturating_sub(1)).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
    format!("\n    {number} | {text}\n    {:1$} | {before}^", "", number.len())
}

fn load(path: &Path) -> Result<HttpConfig, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|e| Failure::other(format!("watchfire: cannot read {}: {e}", path.display())))?;
    let mut faults = Faults::default();
    let mut config: HttpConfig = Document::parse(&path.display().to_string(), &text, &mut faults).read(&mut faults);
    if faults.has_errors() {
        return Err(Failure::invalid(faults.to_string()));
    }
    config.resolve_paths(path.parent().unwrap_or(Path::new("")));
    Ok(config)
}

fn span(text: &str) -> Result<Duration, String> {
    let span = parse_duration(text)?;
    if span.is_zero() { Err("must be longer than 0".to_string()) } else { Ok(span) }
}

/// RFC 3339, seconds since the epoch, or a duration before now.
fn time(text: &str) -> Result<Timestamp, String> {
    if let Some(ago) = text.strip_prefix('-').and_then(|ago| parse_duration(ago).ok()) {
        return Ok(Timestamp::now() - ago);
    }
    if let Some(seconds) = text.parse::<f64>().ok().filter(|s| s.is_finite()) {
        return Ok(Timestamp::from_secs_f64(seconds));
    }
    let parsed: Result<jiff::Timestamp, _> = text.parse();
    parsed.map(|at| Timestamp::from_millis(at.as_millisecond())).map_err(|_| {
        let ago = format_duration(Duration::from_secs(600));
        format!("not a time: write 2026-01-31T10:00:00Z, seconds since 1970, or how long ago: -{ago}")
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::fuzz::Fuzz;

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

    #[test]
    fn a_password_in_the_url_is_not_shown() {
        for url in ["http://me:hidden@web-1:9100", "me:hidden@web-1:9100", "http://me:hid/hidden@web-1"] {
            let flags = flags(&["up", "--url", url]).unwrap();
            let said = flags.explained(Refusal::Other("404".to_string())).text;
            assert!(said.contains("web-1") && !said.contains("hidden"), "{said}");
        }
        let Err(said) = flags(&["up", "--url", "me:hidden@web-1:9100"]).unwrap().ask(None) else { panic!("an answer") };
        assert!(
            said.text.contains("web-1:9100/api/v1/query: not an http") && !said.text.contains("hidden"),
            "{}",
            said.text
        );
    }

    #[test]
    fn the_place_of_a_mistake_is_marked() {
        assert_eq!(pointed("a +\n\tfoo(b)", 2, 2), "\n    2 | \tfoo(b)\n      | \t^");
        assert_eq!(pointed("a", 7, 1), "");
    }

    #[test]
    fn no_time_makes_it_panic() {
        Fuzz::of(&["2026-01-31T10:00:00Z", "-10m", "1435781451.781"]).texts(|text| {
            let _ = (time(text), span(text));
            pointed(text, text.len() % 5, text.len());
        });
    }
}
