//! `/api/v2`, as Alertmanager answers: amtool, Grafana and whatever else speaks with an Alertmanager speak with the agent;
//! and `/api/notifications`, what is not delivered.
//!
//! | path | methods | what |
//! | --- | --- | --- |
//! | `/api/v2/status` | GET | version, and the configuration in force as an alertmanager.yml |
//! | `/api/v2/receivers` | GET | their names |
//! | `/api/v2/alerts` | GET, POST | alerts that are active; alerts from elsewhere on the host |
//! | `/api/v2/alerts/groups` | GET | the same by group |
//! | `/api/v2/silences` | GET, POST | all silences; a new one, or a change of one |
//! | `/api/v2/silence/ID` | GET, DELETE | one silence; its end |
//! | `/api/notifications` | GET | notifications that wait or were given up |
//! | `/api/notifications/NUMBER` | DELETE | forgets one that was given up |
//! | `/api/notifications/NUMBER/retry` | POST | puts one that was given up back into the queue |
//!
//! What changes something is allowed from the machine itself or with credentials. Errors have Alertmanager's codes and
//! shape: a text where its handlers refuse, an object with a code where its framework does. The agent is asked through
//! the trait [`Brain`].

mod alerts;
mod brain;
mod error;
mod notifications;
mod silences;
mod status;
#[cfg(test)]
mod tests;
mod time;

use bytes::Bytes;
use hyper::header::{ALLOW, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, VARY};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Response, StatusCode};
use serde::{Serialize, Serializer};

pub(super) use brain::Brain;
pub(super) use error::Refusal;

use super::About;
use super::api::{Gzip, set_cors};
use super::reply::{Reply, reply, streamed};
use super::scrape::{gzip_is_taken, worth_compressing};
use crate::alerting::{Matcher, parse_matchers};
use crate::model::{Labels, Timestamp};
use crate::yaml::Pattern;

/// What answers a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Endpoint {
    Status,
    Receivers,
    Alerts,
    AlertGroups,
    Silences,
    Silence,
    Notifications,
    Notification,
    Retry,
}

pub(super) const READ: &[Method] = &[Method::GET, Method::HEAD];
const READ_POST: &[Method] = &[Method::GET, Method::HEAD, Method::POST];
const READ_DELETE: &[Method] = &[Method::GET, Method::HEAD, Method::DELETE];

/// A `:name` stands for any one part of a path.
const ENDPOINTS: &[(&str, &[Method], Endpoint)] = &[
    ("/api/v2/status", READ, Endpoint::Status),
    ("/api/v2/receivers", READ, Endpoint::Receivers),
    ("/api/v2/alerts", READ_POST, Endpoint::Alerts),
    ("/api/v2/alerts/groups", READ, Endpoint::AlertGroups),
    ("/api/v2/silences", READ_POST, Endpoint::Silences),
    ("/api/v2/silence/:id", READ_DELETE, Endpoint::Silence),
    ("/api/notifications", READ, Endpoint::Notifications),
    ("/api/notifications/:number", &[Method::DELETE], Endpoint::Notification),
    ("/api/notifications/:number/retry", &[Method::POST], Endpoint::Retry),
];

/// An endpoint, and the part of the path that is a name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Found {
    pub label: &'static str,
    methods: &'static [Method],
    endpoint: Endpoint,
    name: String,
}

fn find(path: &str) -> Option<Found> {
    ENDPOINTS.iter().find_map(|(label, methods, endpoint)| {
        let name = name_in(label, path)?.to_string();
        Some(Found { label, methods, endpoint: *endpoint, name })
    })
}

/// Whether a path is such a one, and what stands in it for the `:name`.
pub(super) fn name_in<'p>(label: &str, path: &'p str) -> Option<&'p str> {
    let (mut wanted, mut given) = (label.split('/'), path.split('/'));
    let mut name = "";
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return Some(name),
            (Some(part), Some(here)) if part.starts_with(':') && !here.is_empty() => name = here,
            (Some(part), Some(here)) if part == here => {}
            _ => return None,
        }
    }
}

/// The name under which requests to a path are counted.
pub(super) fn label(path: &str) -> Option<&'static str> {
    find(path).map(|found| found.label)
}

/// Whether it is one of these paths.
pub(super) fn owns(path: &str) -> bool {
    let below = |prefix: &str| path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    below("/api/v2") || below("/api/notifications")
}

/// What a path leads to, for a method that is for it; else the answer, as to OPTIONS, which any origin may ask.
pub(in crate::http) fn found_at<F>(
    request: &Parts,
    found: Option<F>,
    methods: impl Fn(&F) -> &'static [Method],
) -> Result<F, Box<Response<Reply>>> {
    let Some(found) = found else {
        return Err(refused(Refusal::coded(404, 404, format!("path {} was not found", request.uri.path()))));
    };
    if request.method == Method::OPTIONS {
        return Err(Box::new(streamed(StatusCode::NO_CONTENT, std::iter::empty())));
    }
    match methods(&found) {
        methods if methods.contains(&request.method) => Ok(found),
        methods => Err(not_allowed(&request.method, methods)),
    }
}

/// Looks at a request before its body is read; the error is the answer. `may_change`: whether who asks may change
/// something, and if not, why.
pub(super) fn admit(
    request: &Parts,
    may_change: impl FnOnce() -> Result<(), &'static str>,
) -> Result<Found, Box<Response<Reply>>> {
    let found = found_at(request, find(request.uri.path()), |found| found.methods)?;
    if READ.contains(&request.method) {
        return Ok(found);
    }
    if let Err(why) = may_change() {
        return Err(refused(Refusal::said(403, why.trim_end())));
    }
    // A page from elsewhere cannot send this type unasked, so a browser is no way around what is allowed.
    if matches!(found.endpoint, Endpoint::Alerts | Endpoint::Silences) {
        let given = request.headers.get(CONTENT_TYPE).and_then(|h| h.to_str().ok()).unwrap_or_default();
        let kind = given.split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case("application/json") {
            let message = format!("unsupported media type {given:?}, only [application/json] are allowed");
            return Err(refused(Refusal::coded(415, 415, message)));
        }
    }
    Ok(found)
}

/// The answer to a method that a path does not take.
pub(super) fn not_allowed(method: &Method, allowed: &[Method]) -> Box<Response<Reply>> {
    let methods = allowed.iter().map(Method::as_str).collect::<Vec<_>>().join(",");
    let mut response =
        refused(Refusal::coded(405, 405, format!("method {method} is not allowed, but [{methods}] are")));
    if let Ok(allowed) = HeaderValue::from_str(&methods) {
        response.headers_mut().insert(ALLOW, allowed);
    }
    response
}

pub(super) fn refused(refusal: Refusal) -> Box<Response<Reply>> {
    Box::new(refusal.into())
}

/// Answers a request that was admitted. `brain`: `None` while the agent starts.
pub(super) async fn answer<B: Brain>(
    found: &Found,
    brain: Option<B>,
    about: &About,
    request: &Parts,
    body: &[u8],
    cors: Option<&Pattern>,
) -> Response<Reply> {
    let answered = match brain {
        None => Err(Refusal::said(503, "the agent is still starting")),
        Some(brain) => data(found, &brain, about, request, body).await,
    };
    let mut response = match answered {
        Ok(Some(json)) => success(json, &request.headers),
        // As Alertmanager confirms: with nothing.
        Ok(None) => streamed(StatusCode::OK, std::iter::empty()),
        Err(refusal) => refusal.into(),
    };
    set_cors(response.headers_mut(), &request.headers, cors);
    response
}

async fn data<B: Brain>(
    found: &Found,
    brain: &B,
    about: &About,
    request: &Parts,
    body: &[u8],
) -> Result<Option<Vec<u8>>, Refusal> {
    let params = Params::of(request.uri.query());
    let now = Timestamp::now();
    match (found.endpoint, &request.method) {
        (Endpoint::Status, _) => Ok(Some(status::status(about))),
        (Endpoint::Receivers, _) => {
            let names = brain.receivers().await;
            Ok(Some(json(&names.iter().map(|name| Name { name }).collect::<Vec<_>>())))
        }
        (Endpoint::Alerts, &Method::POST) => alerts::post(brain, body, now).await.map(|()| None),
        (Endpoint::Alerts, _) => alerts::list(brain, &params, now).await.map(Some),
        (Endpoint::AlertGroups, _) => alerts::groups(brain, &params, now).await.map(Some),
        (Endpoint::Silences, &Method::POST) => silences::post(brain, body, now).await.map(Some),
        (Endpoint::Silences, _) => silences::list(brain, &params, now).await.map(Some),
        (Endpoint::Silence, &Method::DELETE) => silences::expire(brain, &found.name).await.map(|()| None),
        (Endpoint::Silence, _) => silences::one(brain, &found.name, now).await.map(Some),
        (Endpoint::Notifications, _) => Ok(Some(notifications::list(brain).await)),
        (Endpoint::Notification, _) => notifications::discard(brain, &found.name).await.map(|()| None),
        (Endpoint::Retry, _) => notifications::retry(brain, &found.name).await.map(|()| None),
    }
}

/// Parameters of the query, by name.
struct Params(Vec<(String, String)>);

impl Params {
    fn of(query: Option<&str>) -> Params {
        let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        Params(pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect())
    }

    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The last one given, as Alertmanager takes it; `None` where it is empty, too.
    fn get<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.all(name).last().filter(|value| !value.is_empty())
    }

    /// Whether something is to be shown; it is where nothing is said. What is none of the words for yes means no.
    fn shows(&self, name: &str) -> bool {
        const YES: [&str; 10] = ["1", "true", "yes", "ok", "y", "on", "selected", "checked", "t", "enabled"];
        self.get(name).is_none_or(|value| YES.iter().any(|yes| value.eq_ignore_ascii_case(yes)))
    }

    /// The matchers of all `filter`s.
    fn filter(&self) -> Result<Vec<Matcher>, Refusal> {
        let mut all = Vec::new();
        for text in self.all("filter") {
            match parse_matchers(text) {
                Ok(matchers) if matchers.is_empty() => {
                    return Err(Refusal::said(400, format!("bad matcher format: {text}")));
                }
                Ok(matchers) => all.extend(matchers),
                Err(why) => return Err(Refusal::said(400, format!("bad matcher format: {why}"))),
            }
        }
        Ok(all)
    }

    /// The regular expression for names of receivers, where there is one.
    fn receiver(&self) -> Result<Option<Pattern>, Refusal> {
        let pattern = self.get("receiver").map(Pattern::new).transpose();
        pattern.map_err(|why| Refusal::said(400, format!("failed to parse receiver param: {why}")))
    }
}

/// `{"name":"..."}`, as receivers stand everywhere.
#[derive(Serialize)]
struct Name<'a> {
    name: &'a str,
}

/// Labels as an object.
struct Map<'a>(&'a Labels);

impl Serialize for Map<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.0.iter())
    }
}

pub(super) fn json(value: &impl Serialize) -> Vec<u8> {
    let mut out = Vec::new();
    // Neither writing to memory nor these values can fail.
    let _ = serde_json::to_writer(&mut out, value);
    out.push(b'\n');
    out
}

pub(super) fn success(body: Vec<u8>, headers: &HeaderMap) -> Response<Reply> {
    let body = Bytes::from(body);
    let compressed = gzip_is_taken(headers) && worth_compressing(&body);
    let mut response = match compressed {
        true => streamed(StatusCode::OK, Gzip::new(std::iter::once(body))),
        false => reply(StatusCode::OK, "application/json", body),
    };
    let set = response.headers_mut();
    set.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    set.append(VARY, HeaderValue::from_static("Accept-Encoding"));
    if compressed {
        set.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}
