//! How subcommands ask a running agent: where it is, with which credentials, and what is said when it does not answer.

mod answer;
mod time;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use tokio::runtime::Runtime;

use super::EXIT_INVALID;
use crate::sinks::{HttpClient, HttpConfig, Question, without_user};
use crate::yaml::{Document, Faults};

pub use answer::{Answer, Point, Refusal, Result as QueryResult, Series, success};
pub use time::{span, time};

/// Who is asked, and how.
#[derive(Args, Debug)]
pub struct ClientFlags {
    /// Who is asked: where the agent is reached.
    #[arg(long, value_name = "URL", default_value = "http://localhost:9100")]
    pub url: String,
    /// How long an answer may take.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = span)]
    timeout: Duration,
    /// A file with basic_auth, authorization, oauth2, tls_config or a proxy, as promtool takes it.
    #[arg(long = "http.config.file", value_name = "FILE")]
    http_config: Option<PathBuf>,
}

/// Why there is no answer.
#[derive(Debug)]
pub struct Failure {
    /// What is said, in whole lines.
    pub text: String,
    pub status: u8,
}

impl Failure {
    pub fn invalid(text: impl Into<String>) -> Failure {
        Failure { text: text.into(), status: EXIT_INVALID }
    }

    pub fn other(text: impl Into<String>) -> Failure {
        Failure { text: text.into(), status: 1 }
    }
}

/// Asks one agent, again and again.
pub struct Client {
    url: String,
    http: HttpClient,
    runtime: Runtime,
}

impl ClientFlags {
    pub fn client(&self) -> Result<Client, Failure> {
        let config = self.http_config.as_deref().map_or_else(|| Ok(HttpConfig::default()), load)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|e| Failure::other(format!("watchfire: cannot start the runtime: {e}")))?;
        Ok(Client {
            url: self.url.trim_end_matches('/').to_string(),
            http: HttpClient::new(&config, self.timeout),
            runtime,
        })
    }
}

impl Client {
    /// Who is asked, as it may be shown.
    pub fn url(&self) -> &str {
        without_user(&self.url)
    }

    /// The status and the answer to a POST of the form, or without one to a GET.
    pub fn ask(&self, path: &str, form: Option<String>) -> Result<(u16, Vec<u8>), Failure> {
        self.send(path, form.map_or(Question::Get, Question::Form))
    }

    /// The status and the answer.
    pub fn send(&self, path: &str, question: Question) -> Result<(u16, Vec<u8>), Failure> {
        let url = format!("{}/{path}", self.url);
        let asked = self.runtime.block_on(self.http.ask(&url, question));
        asked.map_err(|why| Failure::other(format!("watchfire: no answer from {why}{}", hint(&why))))
    }

    /// A failure that names who was asked.
    pub fn failed(&self, why: impl std::fmt::Display) -> Failure {
        Failure::other(format!("watchfire: {}: {why}", self.url()))
    }
}

/// What to try when nobody answers.
fn hint(why: &str) -> String {
    let hints = [
        ("refused", "Is the agent running, and does it listen there? --url says where to ask."),
        ("not an http or https URL", "--url is such as http://localhost:9100."),
        ("invalid HTTP version", "It does not speak HTTP; perhaps HTTPS: --url https://..."),
        ("InvalidContentType", "It does not speak TLS; perhaps plain HTTP: --url http://..."),
        ("UnknownIssuer", "In --http.config.file, tls_config.ca_file names who has signed its certificate."),
        (
            "CaUsedAsEndEntity",
            "Its certificate signs itself: name that very one as tls_config.ca_file in --http.config.file.",
        ),
    ];
    hints.into_iter().find(|(sign, _)| why.contains(sign)).map(|(_, hint)| format!("\n{hint}")).unwrap_or_default()
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

/// The line of an expression, and a mark below the place.
pub fn pointed(expr: &str, line: usize, column: usize) -> String {
    let Some(text) = line.checked_sub(1).and_then(|n| expr.lines().nth(n)) else { return String::new() };
    let number = line.to_string();
    let before: String =
        text.chars().take(column.saturating_sub(1)).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
    format!("\n    {number} | {text}\n    {:1$} | {before}^", "", number.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::Fuzz;

    #[test]
    fn the_place_of_a_mistake_is_marked() {
        assert_eq!(pointed("a +\n\tfoo(b)", 2, 2), "\n    2 | \tfoo(b)\n      | \t^");
        assert_eq!(pointed("a", 7, 1), "");
    }

    #[test]
    fn a_password_in_the_url_is_not_shown() {
        for url in ["http://me:hidden@web-1:9100", "me:hidden@web-1:9100", "http://me:hid/hidden@web-1"] {
            let flags = ClientFlags { url: url.to_string(), timeout: Duration::from_secs(1), http_config: None };
            let client = flags.client().unwrap();
            let said = client.failed("404").text;
            assert!(said.contains("web-1") && !said.contains("hidden"), "{said}");
            if !url.contains("://") {
                let said = client.ask("api/v1/query", None).unwrap_err().text;
                assert!(said.contains("web-1:9100/api/v1/query: not an http"), "{said}");
                assert!(said.contains("such as http://localhost:9100") && !said.contains("hidden"), "{said}");
            }
        }
    }

    #[test]
    fn no_place_makes_it_panic() {
        Fuzz::of(&["a +\n\tfoo(b)", "rate(x[5m])"]).texts(|text| {
            pointed(text, text.len() % 5, text.len());
        });
    }
}
