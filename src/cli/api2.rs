//! Alertmanager's API, as `watchfire alerts` and `watchfire silence` ask it, and the agent's own, as `watchfire checks` and
//! `watchfire pool` do.

use std::io::Write;
use std::process::ExitCode;

use serde_json::Value;

use super::client::{Client, Failure};
use super::query::table::{GAP, cut, printable, widths};
use crate::alerting::{Matcher, parse_matchers};
use crate::model::Timestamp;
use crate::sinks::Question;

/// Whose API it is that the agent alone has.
pub const OWN_API: &str = "the agent's API";

const ALERTMANAGERS_API: &str = "Alertmanager's API";

/// Asks, and gives the JSON of a good answer; nothing where there is none in it.
pub fn ask(client: &Client, path: &str, question: Question) -> Result<Value, Failure> {
    ask_of(client, path, question, ALERTMANAGERS_API)
}

/// The same of another API.
pub fn ask_of(client: &Client, path: &str, question: Question, api: &str) -> Result<Value, Failure> {
    let (status, body) = client.send(path, question)?;
    if (200..300).contains(&status) {
        if body.iter().all(u8::is_ascii_whitespace) {
            return Ok(Value::Null);
        }
        return serde_json::from_slice(&body).map_err(|_| client.failed(format!("the answer is not that of {api}")));
    }
    let failure = client.failed(refusal(status, &body, api));
    // What was asked is wrong.
    Err(if matches!(status, 400 | 422) { Failure::invalid(failure.text) } else { failure })
}

/// Why there is no good answer.
fn refusal(status: u16, body: &[u8], api: &str) -> String {
    let json: Option<Value> = serde_json::from_slice(body).ok();
    let said = json.as_ref().and_then(|json| json.as_str().or_else(|| json["message"].as_str()));
    let text = String::from_utf8_lossy(body);
    let said = printable(said.unwrap_or_else(|| text.lines().next().unwrap_or_default().trim()));
    match status {
        401 | 403 => format!("{status}: {said} (--http.config.file names credentials)"),
        // With what it is that is not there.
        404 if json.is_none() => format!("{status}, and no answer of {api}: {said}"),
        _ if said.is_empty() => status.to_string(),
        _ => said,
    }
}

/// Matchers as amtool takes them: a word alone is the name of an alert.
pub fn matchers(texts: &[String]) -> Result<Vec<Matcher>, Failure> {
    let mut all = Vec::new();
    let mut named = 0;
    for text in texts {
        let is_word = !text.is_empty() && !text.contains(['=', '~', '{']);
        let read = match is_word {
            true => Matcher::new("alertname", crate::alerting::MatchOp::Equal, text).map(|matcher| vec![matcher]),
            false => parse_matchers(text),
        };
        let read = read.map_err(|why| Failure::invalid(format!("watchfire: {why}")))?;
        if read.is_empty() {
            return Err(Failure::invalid(format!("watchfire: {text:?} is not a matcher: write name=\"value\"")));
        }
        named += usize::from(is_word);
        all.extend(read);
    }
    if named > 1 {
        let names: Vec<&str> =
            texts.iter().map(String::as_str).filter(|text| !text.contains(['=', '~', '{'])).collect();
        let names = names.join("|");
        return Err(Failure::invalid(format!("watchfire: no alert has two names: write 'alertname=~\"{names}\"'")));
    }
    Ok(all)
}

/// The query of a request that filters by matchers; `more`: other parameters.
pub fn filter(path: &str, matchers: &[Matcher], more: &[(&str, &str)]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for matcher in matchers {
        query.append_pair("filter", &matcher.to_string());
    }
    query.extend_pairs(more);
    let query = query.finish();
    if query.is_empty() { path.to_string() } else { format!("{path}?{query}") }
}

/// The items of an answer that is a list.
pub fn list(client: &Client, answer: Value) -> Result<Vec<Value>, Failure> {
    match answer {
        Value::Array(items) => Ok(items),
        _ => Err(client.failed("the answer is no list")),
    }
}

/// A text of an answer, as it may be shown; nothing where there is none.
pub fn text(value: &Value) -> String {
    printable(value.as_str().unwrap_or_default())
}

/// A point in time of an answer.
pub fn time(value: &Value) -> Timestamp {
    let parsed: Option<jiff::Timestamp> = value.as_str().and_then(|text| text.parse().ok());
    // Beyond what there is: for ever.
    parsed.map_or(Timestamp::MAX, |at| Timestamp::from_millis(at.as_millisecond()))
}

/// A time in seconds of an answer, to a thousandth.
pub fn seconds(value: &Value) -> String {
    format!("{:.3} s", value.as_f64().unwrap_or_default())
}

/// Rows below a line of names; those of the columns in `numbers` to the right. The last column is cut where the width is
/// at its end.
pub fn table(rows: &[Vec<String>], numbers: &[usize], width: Option<usize>) -> String {
    let mut widths = widths(rows);
    if let (Some(width), Some((last, others))) = (width, widths.split_last_mut()) {
        let used: usize = others.iter().map(|w| w + GAP.len()).sum();
        // A little is shown in any case.
        *last = (*last).min(width.saturating_sub(used).max(20));
    }
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let cell = cut(cell, *width);
            line += &if numbers.contains(&column) {
                format!("{cell:>width$}{GAP}")
            } else {
                format!("{cell:<width$}{GAP}")
            };
        }
        out += line.trim_end();
        out.push('\n');
    }
    out
}

/// The end of a command: what it says goes to standard output, or why it failed to standard error.
pub fn end(said: Result<String, Failure>) -> ExitCode {
    let printed = said.and_then(|text| match std::io::stdout().lock().write_all(text.as_bytes()) {
        // Whoever reads has enough.
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        result => result.map_err(|e| Failure::other(format!("watchfire: cannot print: {e}"))),
    });
    match printed {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{}", failure.text.trim_end());
            ExitCode::from(failure.status)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::Fuzz;

    fn read(texts: &[&str]) -> Result<Vec<String>, String> {
        let texts: Vec<String> = texts.iter().map(ToString::to_string).collect();
        matchers(&texts).map(|all| all.iter().map(Matcher::to_string).collect()).map_err(|failure| failure.text)
    }

    #[test]
    fn a_word_alone_is_the_name_of_an_alert() {
        assert_eq!(read(&["DiskFull", "team=db"]).unwrap(), [r#"alertname="DiskFull""#, r#"team="db""#]);
        assert_eq!(read(&["a!=b,c=~\"d|e\""]).unwrap(), [r#"a!="b""#, r#"c=~"d|e""#]);
        assert!(read(&["A", "B"]).unwrap_err().contains("write 'alertname=~\"A|B\"'"));
        assert!(read(&["a=~("]).unwrap_err().contains("regular expression"));
        assert!(read(&[""]).unwrap_err().contains("is not a matcher"));
    }

    #[test]
    fn a_refusal_is_said_in_the_words_of_who_refuses() {
        let said = |status, body: &[u8]| refusal(status, body, ALERTMANAGERS_API);
        assert_eq!(said(400, b"\"start time must be before end time\"\n"), "start time must be before end time");
        assert_eq!(
            said(422, br#"{"code":602,"message":"comment in body is required"}"#),
            "comment in body is required"
        );
        assert_eq!(said(404, b"\"silence not found\""), "silence not found");
        assert_eq!(said(403, b"\"Refused: no.\""), "403: Refused: no. (--http.config.file names credentials)");
        assert_eq!(said(404, b"404 page not found\n"), "404, and no answer of Alertmanager's API: 404 page not found");
        assert_eq!(said(500, b""), "500");
    }

    #[test]
    fn the_last_column_is_cut_at_the_width() {
        let rows = [["NAME", "N", "TEXT"], ["a", "10", "a long text that goes on and on"]];
        let rows = rows.map(|row| row.map(str::to_string).to_vec());
        assert_eq!(table(&rows, &[1], None), "NAME   N  TEXT\na     10  a long text that goes on and on\n");
        assert_eq!(table(&rows, &[1], Some(32)), "NAME   N  TEXT\na     10  a long text that goes…\n");
    }

    #[test]
    fn no_answer_makes_it_panic() {
        Fuzz::of(&[r#"{"code":602,"message":"x"}"#, "\"x\"", "<html>"]).bytes(|body| {
            refusal(400, body, OWN_API);
        });
        Fuzz::of(&["DiskFull", "a=~\"b\",c!=d", "{a=b}"]).texts(|text| {
            let _ = matchers(&[text.to_string()]).map(|all| filter("x", &all, &[("a", text)]));
        });
    }
}
