//! `/api/v2/silences` and `/api/v2/silence/ID`.

use std::cmp::Reverse;

use serde::de::Unexpected;
use serde::{Deserialize, Serialize};

use super::error::{NOT_OF_TYPE, Refusal, TOO_FEW};
use super::time::{Given, Printed};
use super::{Brain, Params};
use crate::alerting::{MatchOp, Matcher, Silence, SilenceError, SilenceState};
use crate::model::Timestamp;

/// What Alertmanager says when there is none of an id.
const NOT_FOUND: &str = "silence not found";

/// A silence as it is answered; the keys in Alertmanager's order.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    id: &'a str,
    status: Status,
    updated_at: Printed,
    comment: &'a str,
    created_by: &'a str,
    ends_at: Printed,
    matchers: Vec<ShownMatcher<'a>>,
    starts_at: Printed,
}

#[derive(Serialize)]
struct Status {
    state: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownMatcher<'a> {
    is_equal: bool,
    is_regex: bool,
    name: &'a str,
    value: &'a str,
}

fn shown(silence: &Silence, now: Timestamp) -> Shown<'_> {
    Shown {
        id: &silence.id,
        status: Status {
            state: match silence.state(now) {
                SilenceState::Active => "active",
                SilenceState::Pending => "pending",
                SilenceState::Expired => "expired",
            },
        },
        updated_at: Printed(silence.updated_at),
        comment: &silence.comment,
        created_by: &silence.created_by,
        ends_at: Printed(silence.ends_at),
        matchers: silence.matchers.iter().map(shown_matcher).collect(),
        starts_at: Printed(silence.starts_at),
    }
}

fn shown_matcher(matcher: &Matcher) -> ShownMatcher<'_> {
    ShownMatcher {
        is_equal: matches!(matcher.op, MatchOp::Equal | MatchOp::Regex),
        is_regex: matches!(matcher.op, MatchOp::Regex | MatchOp::NotRegex),
        name: &matcher.name,
        value: &matcher.value,
    }
}

/// Those that have a matcher that is the same, for each that is asked for.
pub(super) async fn list<B: Brain>(brain: &B, params: &Params, now: Timestamp) -> Result<Vec<u8>, Refusal> {
    let wanted = params.filter()?;
    let same = |a: &Matcher, b: &Matcher| (&a.name, a.op, &a.value) == (&b.name, b.op, &b.value);
    let mut silences = brain.silences().await;
    silences.retain(|silence| wanted.iter().all(|w| silence.matchers.iter().any(|m| same(m, w))));
    // Active ones first, the next to end before others; then the next to begin; then what has ended, the last first.
    silences.sort_by_cached_key(|silence| {
        let state = silence.state(now);
        let (next, last) = match state {
            SilenceState::Active => (silence.ends_at, Timestamp::default()),
            SilenceState::Pending => (silence.starts_at, Timestamp::default()),
            SilenceState::Expired => (Timestamp::default(), silence.ends_at),
        };
        (state, next, Reverse(last), silence.id.clone())
    });
    Ok(super::json(&silences.iter().map(|silence| shown(silence, now)).collect::<Vec<_>>()))
}

pub(super) async fn one<B: Brain>(brain: &B, id: &str, now: Timestamp) -> Result<Vec<u8>, Refusal> {
    check_id(id)?;
    let silences = brain.silences().await;
    let found = silences.iter().find(|silence| silence.id.eq_ignore_ascii_case(id));
    found.map(|silence| super::json(&shown(silence, now))).ok_or_else(|| Refusal::said(404, NOT_FOUND))
}

pub(super) async fn expire<B: Brain>(brain: &B, id: &str) -> Result<(), Refusal> {
    check_id(id)?;
    brain.expire_silence(&id.to_ascii_lowercase()).await.map_err(|error| match error {
        SilenceError::Invalid(why) => Refusal::said(500, why),
        other => refused(other),
    })
}

fn check_id(id: &str) -> Result<(), Refusal> {
    let lengths = id.split('-').map(str::len);
    if lengths.eq([8, 4, 4, 4, 12]) && id.chars().all(|c| c == '-' || c.is_ascii_hexdigit()) {
        return Ok(());
    }
    Err(Refusal::coded(422, NOT_OF_TYPE, format!("silenceID in path must be of type uuid: {id:?}")))
}

fn refused(error: SilenceError) -> Refusal {
    match error {
        SilenceError::NotFound => Refusal::said(404, NOT_FOUND),
        SilenceError::Invalid(why) => Refusal::said(400, why),
        SilenceError::Gone => Refusal::said(503, SilenceError::Gone.to_string()),
    }
}

/// A silence of a body.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Posted {
    id: Option<String>,
    comment: Option<String>,
    created_by: Option<String>,
    ends_at: Option<Given>,
    matchers: Option<Vec<PostedMatcher>>,
    starts_at: Option<Given>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PostedMatcher {
    is_equal: Option<bool>,
    is_regex: Option<bool>,
    name: Option<String>,
    value: Option<String>,
}

#[derive(Serialize)]
struct Set {
    #[serde(rename = "silenceID")]
    id: String,
}

pub(super) async fn post<B: Brain>(brain: &B, body: &[u8], now: Timestamp) -> Result<Vec<u8>, Refusal> {
    let posted = if body.is_empty() { None } else { read(body)? };
    let silence = checked(posted.ok_or_else(|| Refusal::required("silence"))?, now)?;
    let id = brain.set_silence(silence).await.map_err(refused)?;
    Ok(super::json(&Set { id }))
}

fn read(body: &[u8]) -> Result<Option<Posted>, Refusal> {
    let unreadable = |why: serde_json::Error| Refusal::unreadable("silence", &why);
    // A list would be read as the fields in their order.
    if body.trim_ascii_start().starts_with(b"[") {
        return Err(unreadable(serde::de::Error::invalid_type(Unexpected::Seq, &"an object")));
    }
    serde_json::from_slice(body).map_err(unreadable)
}

fn checked(posted: Posted, now: Timestamp) -> Result<Silence, Refusal> {
    // In the order in which Alertmanager misses them.
    let comment = posted.comment.ok_or_else(|| Refusal::required("comment"))?;
    let created_by = posted.created_by.ok_or_else(|| Refusal::required("createdBy"))?;
    let ends_at = posted.ends_at.ok_or_else(|| Refusal::required("endsAt"))?.0.unwrap_or(Timestamp::MIN);
    let given = posted.matchers.ok_or_else(|| Refusal::required("matchers"))?;
    if given.is_empty() {
        return Err(Refusal::coded(422, TOO_FEW, "matchers in body should have at least 1 items"));
    }
    let mut matchers = Vec::with_capacity(given.len());
    let mut fault = None;
    for (i, matcher) in given.into_iter().enumerate() {
        let missing = |field: &str| Refusal::required(&format!("matchers.{i}.{field}"));
        let is_regex = matcher.is_regex.ok_or_else(|| missing("isRegex"))?;
        let name = matcher.name.ok_or_else(|| missing("name"))?;
        let value = matcher.value.ok_or_else(|| missing("value"))?;
        let op = match (matcher.is_equal.unwrap_or(true), is_regex) {
            (true, false) => MatchOp::Equal,
            (false, false) => MatchOp::NotEqual,
            (true, true) => MatchOp::Regex,
            (false, true) => MatchOp::NotRegex,
        };
        let read = match name.as_str() {
            "" => Err("invalid label name \"\"".to_string()),
            name => Matcher::new(name, op, &value),
        };
        match read {
            Ok(matcher) => matchers.push(matcher),
            Err(why) => fault = fault.or(Some(format!("silence invalid: invalid label matcher {i}: {why}"))),
        }
    }
    let starts_at = posted.starts_at.ok_or_else(|| Refusal::required("startsAt"))?.0.unwrap_or(now);
    if starts_at >= ends_at {
        return Err(Refusal::said(400, "Failed to create silence: start time must be before end time"));
    }
    if ends_at < now {
        return Err(Refusal::said(400, "Failed to create silence: end time can't be in the past"));
    }
    match fault {
        Some(fault) => Err(Refusal::said(400, fault)),
        None => Ok(Silence {
            id: posted.id.unwrap_or_default(),
            matchers,
            starts_at,
            ends_at,
            updated_at: now,
            created_by,
            comment,
        }),
    }
}
