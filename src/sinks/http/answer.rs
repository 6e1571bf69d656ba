//! How an answer is read: as a success, or as an error that says what the far side said, without secrets.

use std::borrow::Cow;
use std::time::Duration;

use reqwest::{Response, StatusCode, Url};

use super::super::payload::escape_as_go;
use super::super::{Delivered, DeliveryError, Reason};
use crate::model::Timestamp;

/// What the far side answered, with a status of success.
pub(crate) struct Answer {
    pub status: StatusCode,
    pub body: Vec<u8>,
    host: String,
    url: Url,
    /// What must not be shown when the answer quotes it.
    secrets: Vec<String>,
}

impl Answer {
    /// The far side has confirmed.
    pub fn delivered(&self) -> Delivered {
        Delivered { answer: self.status.to_string() }
    }

    /// The answer cannot be used, as a proxy's page for instance: that may pass. `with`: what it is.
    pub fn unusable(&self, with: &str) -> DeliveryError {
        let message = format!("{} answered {} with {with}", self.host, self.status);
        DeliveryError::passing(Reason::ServerError, message)
    }

    /// The far side has refused in spite of the status: it said `why`. `retry`: whether that may pass.
    pub fn refused(&self, retry: bool, why: &str) -> DeliveryError {
        let said = without_secrets(why, &self.url, &self.secrets);
        let message = format!("{} answered {}, but refused: {said}", self.host, self.status);
        let retry_after = retry_after_in_body(&self.body);
        DeliveryError { retry: retry || retry_after.is_some(), retry_after, reason: Reason::ClientError, message }
    }
}

/// The bytes of a successful answer that are read.
const MAX_ANSWER: usize = 1 << 20;

/// The bytes of another that are read: more than are shown, so that a secret that it quotes is not seen by half.
const MAX_REFUSAL: usize = 1 << 16;

/// The characters of an answer's body that an error message shows.
const SHOWN: usize = 200;

/// The answer, or what is wrong with it: 408, 429 and 5xx may pass, others last.
pub(super) async fn judge(
    host: String,
    url: Url,
    secrets: Vec<String>,
    mut response: Response,
) -> Result<Answer, DeliveryError> {
    let status = response.status();
    if status.is_success() {
        let body = beginning(&mut response, MAX_ANSWER).await;
        return Ok(Answer { status, body, host, url, secrets });
    }
    let retry_after = response.headers().get("Retry-After").and_then(|v| parse_retry_after(v.to_str().ok()?));
    let body = beginning(&mut response, MAX_REFUSAL).await;
    let retry_after = retry_after.or_else(|| retry_after_in_body(&body));
    let said = without_secrets(&String::from_utf8_lossy(&body), &url, &secrets);
    let mut message = format!("{host} answered {status}");
    if status.is_redirection() {
        message.push_str(", which is not followed: give the address it moved to");
    } else if !said.is_empty() {
        message.push_str(&format!(": {said}"));
    }
    let passing = status.is_server_error() || matches!(status.as_u16(), 408 | 429);
    let reason = if status.is_server_error() { Reason::ServerError } else { Reason::ClientError };
    Err(DeliveryError { retry: passing, retry_after, reason, message })
}

/// As much of the body as comes, and not much more than `max` bytes: that the rest is missing cannot make a failure of a
/// success, nor something else of a failure.
async fn beginning(response: &mut Response, max: usize) -> Vec<u8> {
    let mut body = Vec::new();
    while body.len() < max
        && let Ok(Some(bytes)) = response.chunk().await
    {
        body.extend_from_slice(&bytes);
    }
    body
}

/// Seconds, or an HTTP date (RFC 9110, 10.2.3).
fn parse_retry_after(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let at = jiff::fmt::rfc2822::parse(text.trim()).ok()?.timestamp().as_millisecond();
    let millis = at.saturating_sub(Timestamp::now().as_millis());
    Some(Duration::from_millis(u64::try_from(millis).unwrap_or(0)))
}

/// What Discord says beside the header, and Telegram instead of it: `{"retry_after": SECONDS}`, the latter's in
/// `parameters`; and what servers of Matrix say that do not know the header yet: `{"retry_after_ms": MILLISECONDS}`.
fn retry_after_in_body(body: &[u8]) -> Option<Duration> {
    let json: serde_json::Value = serde_json::from_slice(body).ok()?;
    if let Some(millis) = json.get("retry_after_ms").and_then(serde_json::Value::as_u64) {
        return Some(Duration::from_millis(millis));
    }
    let seconds = json.get("parameters").unwrap_or(&json).get("retry_after")?.as_f64()?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// The beginning of an answer's body on one line, without anything secret that it may quote.
fn without_secrets(body: &str, url: &Url, secrets: &[String]) -> String {
    let mut said = body.split_whitespace().collect::<Vec<_>>().join(" ");
    // First, as a secret may have some in it.
    said.retain(|c| !c.is_control());
    let whole = [url.as_str(), url.query().unwrap_or(""), url.path(), url.username(), url.password().unwrap_or("")];
    let whole = whole.into_iter().chain(secrets.iter().map(String::as_str)).filter(|part| part.len() > 1);
    // A token may stand alone, too; what is shorter is none, and might be any word.
    let segments = url.path_segments().into_iter().flatten().map(Cow::Borrowed);
    let tokens = segments.chain(url.query_pairs().map(|(_, value)| value)).filter(|token| token.len() >= 8);
    let mut hidden: Vec<String> = whole.map(Cow::Borrowed).chain(tokens).flat_map(|part| writings(&part)).collect();
    // The longest first: one may be a part of another.
    hidden.sort_unstable_by_key(|part| std::cmp::Reverse(part.len()));
    for part in hidden {
        said = said.replace(&part, "<secret>");
    }
    said.chars().take(SHOWN).collect()
}

/// How a text is written where requests have it: as it is, in JSON (as Go writes it, too), in forms and URLs.
fn writings(text: &str) -> Vec<String> {
    let json = serde_json::to_string(text).unwrap_or_default();
    let mut go = Vec::new();
    escape_as_go(json.as_bytes(), &mut go);
    let form: String = form_urlencoded::byte_serialize(text.as_bytes()).collect();
    let unquoted = |json: &str| json.get(1..json.len().saturating_sub(1)).unwrap_or_default().to_string();
    let path = form.replace('+', "%20");
    let mut all = vec![text.to_string(), unquoted(&String::from_utf8_lossy(&go)), unquoted(&json), form, path];
    for one in &mut all {
        // As what is searched.
        *one = one.split_whitespace().collect::<Vec<_>>().join(" ");
    }
    all.sort_unstable();
    all.dedup();
    all.retain(|one| one.len() > 1);
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::Fuzz;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        assert_eq!(parse_retry_after("120"), Some(Duration::from_secs(120)));
        assert_eq!(parse_retry_after("Fri, 31 Dec 1999 23:59:59 GMT"), Some(Duration::ZERO));
        let later = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(100);
        let date = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&later).unwrap();
        let parsed = parse_retry_after(&date).unwrap();
        assert!((98..=100).contains(&parsed.as_secs()), "{parsed:?}");
        assert_eq!(parse_retry_after("soon"), None);
    }

    #[test]
    fn retry_after_may_stand_in_the_body() {
        let discord = br#"{"message": "You are being rate limited.", "retry_after": 1.5, "global": false}"#;
        assert_eq!(retry_after_in_body(discord), Some(Duration::from_millis(1500)));
        let telegram = br#"{"ok":false,"error_code":429,"parameters":{"retry_after":7}}"#;
        assert_eq!(retry_after_in_body(telegram), Some(Duration::from_secs(7)));
        let matrix = br#"{"errcode":"M_LIMIT_EXCEEDED","error":"Too many","retry_after_ms":2500}"#;
        assert_eq!(retry_after_in_body(matrix), Some(Duration::from_millis(2500)));
        for none in [
            "",
            "{}",
            "[]",
            r#"{"retry_after":-1}"#,
            r#"{"retry_after_ms":"x"}"#,
            r#"{"retry_after":1e300}"#,
            r#"{"retry_after":"x"}"#,
        ] {
            assert_eq!(retry_after_in_body(none.as_bytes()), None, "{none}");
        }
    }

    #[test]
    fn what_an_answer_quotes_of_the_secrets_is_not_shown() {
        let url = Url::parse("https://me:pass@example.org/hook/TOKEN?key=abc").unwrap();
        let said = without_secrets("no /hook/TOKEN?key=abc\n for me, pass or hunter2", &url, &["hunter2".to_string()]);
        assert_eq!(said, "no <secret>?<secret> for <secret>, <secret> or <secret>");
        let url = Url::parse("https://example.org/T0/0123456789?key=abc%20defgh").unwrap();
        let said = without_secrets("token 0123456789 or abc defgh at T0", &url, &[]);
        assert_eq!(said, "token <secret> or <secret> at T0");
        let said = without_secrets("hunt\u{2}er2", &url, &["hunter2".to_string()]);
        assert_eq!(said, "<secret>", "though there is a control character in it");
    }

    #[test]
    fn no_answer_makes_it_panic() {
        Fuzz::of(&["120", "Fri, 31 Dec 1999 23:59:59 GMT"]).texts(|text| {
            let _ = parse_retry_after(text);
        });
        let url = Url::parse("https://me:pass@example.org/hook/TOKEN123?key=abc").unwrap();
        Fuzz::of(&["no /hook/TOKEN123?key=abc\n for me, pass or hunter2"]).texts(|text| {
            let said = without_secrets(text, &url, &["hunter2".to_string()]);
            assert!(said.chars().count() <= SHOWN && !said.contains("hunter2"), "{said}");
        });
    }
}
