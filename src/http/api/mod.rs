//! `/api/v1`, as Prometheus 3 answers: Grafana takes the agent as a data source, and promtool and other clients ask it.
//!
//! [`query`] and [`series`] run through [`work`]: on threads of their own, few at a time, with limits, over copies. What
//! is about rules and the host is made of views that are published after each tick. Errors have Prometheus' shape,
//! codes and, where that makes sense, words; what Prometheus has and an agent has not is 404.

mod chart;
mod config;
mod error;
mod host;
pub(super) mod json;
mod params;
mod query;
mod result;
mod rules;
mod series;
mod work;

use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ALLOW, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, ORIGIN, VARY,
};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Response, StatusCode};
use prometheus::Registry;
use serde::Serialize;

pub use config::{MAX_CONCURRENCY, QueryConfig};
pub(super) use result::Gzip;

use super::App;
use super::reply::{Reply, reply, streamed};
use super::scrape::{gzip_is_taken, worth_compressing};
use crate::yaml::Pattern;
use error::{ApiError, Kind};
use params::Params;
use work::Workers;

/// Where all of it is.
pub(super) const PREFIX: &str = "/api/v1";

/// Of a list that is cut short.
const TRUNCATED: &str = "results truncated due to limit";

const GET: &[Method] = &[Method::GET, Method::HEAD];
const GET_POST: &[Method] = &[Method::GET, Method::HEAD, Method::POST];

/// What answers a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Endpoint {
    Query,
    QueryRange,
    QueryExemplars,
    FormatQuery,
    Series,
    Labels,
    LabelValues,
    Rules,
    Alerts,
    Alertmanagers,
    Metadata,
    Targets,
    TargetsMetadata,
    ScrapePools,
    BuildInfo,
    RuntimeInfo,
    Config,
    Flags,
    Tsdb,
    WalReplay,
}

/// The path of label values, whose fourth part is a name.
const LABEL_VALUES: &str = "/api/v1/label/:name/values";

const ENDPOINTS: &[(&str, &[Method], Endpoint)] = &[
    ("/api/v1/query", GET_POST, Endpoint::Query),
    ("/api/v1/query_range", GET_POST, Endpoint::QueryRange),
    ("/api/v1/query_exemplars", GET_POST, Endpoint::QueryExemplars),
    ("/api/v1/format_query", GET_POST, Endpoint::FormatQuery),
    ("/api/v1/series", GET_POST, Endpoint::Series),
    ("/api/v1/labels", GET_POST, Endpoint::Labels),
    (LABEL_VALUES, GET, Endpoint::LabelValues),
    ("/api/v1/rules", GET, Endpoint::Rules),
    ("/api/v1/alerts", GET, Endpoint::Alerts),
    ("/api/v1/alertmanagers", GET, Endpoint::Alertmanagers),
    ("/api/v1/metadata", GET, Endpoint::Metadata),
    ("/api/v1/targets", GET, Endpoint::Targets),
    ("/api/v1/targets/metadata", GET, Endpoint::TargetsMetadata),
    ("/api/v1/scrape_pools", GET, Endpoint::ScrapePools),
    ("/api/v1/status/buildinfo", GET, Endpoint::BuildInfo),
    ("/api/v1/status/runtimeinfo", GET, Endpoint::RuntimeInfo),
    ("/api/v1/status/config", GET, Endpoint::Config),
    ("/api/v1/status/flags", GET, Endpoint::Flags),
    ("/api/v1/status/tsdb", GET, Endpoint::Tsdb),
    ("/api/v1/status/walreplay", GET, Endpoint::WalReplay),
];

/// An endpoint, and the name in the path where it has one.
struct Found {
    label: &'static str,
    methods: &'static [Method],
    endpoint: Endpoint,
    name: String,
}

impl Found {
    fn methods(&self) -> String {
        self.methods.iter().map(Method::as_str).collect::<Vec<_>>().join(", ")
    }
}

fn find(path: &str) -> Option<Found> {
    let name = path.strip_prefix("/api/v1/label/").and_then(|rest| rest.strip_suffix("/values"));
    let name = name.filter(|name| !name.contains('/'));
    let wanted = if name.is_some() { LABEL_VALUES } else { path };
    let (label, methods, endpoint) = ENDPOINTS.iter().find(|(path, _, _)| *path == wanted)?;
    let name = name.map(percent_decoded).unwrap_or_default();
    Some(Found { label, methods, endpoint: *endpoint, name })
}

/// The name under which requests to a path are counted.
pub(super) fn label(path: &str) -> Option<&'static str> {
    find(path).map(|found| found.label)
}

/// Whether it is one of these paths.
pub(super) fn owns(path: &str) -> bool {
    path.strip_prefix(PREFIX).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A part of a path as it is meant.
pub(super) fn percent_decoded(text: &str) -> String {
    // A plus is a plus in a path.
    let escaped = format!("={}", text.replace('+', "%2B").replace('&', "%26"));
    form_urlencoded::parse(escaped.as_bytes()).next().map(|(_, value)| value.into_owned()).unwrap_or_default()
}

/// The body of an answer.
enum Body {
    Whole(Vec<u8>),
    Pieces(Box<dyn Iterator<Item = Bytes> + Send>),
}

/// An answer whose data `write` writes.
fn data(write: impl FnOnce(&mut Vec<u8>)) -> Body {
    data_with_warnings(write, &[])
}

fn data_with_warnings(write: impl FnOnce(&mut Vec<u8>), warnings: &[String]) -> Body {
    let mut out = br#"{"status":"success","data":"#.to_vec();
    write(&mut out);
    result::notes(&mut out, warnings, &[]);
    out.push(b'}');
    Body::Whole(out)
}

fn json_data(value: &impl Serialize) -> Body {
    // Neither writing to memory nor these values can fail.
    data(|out| drop(serde_json::to_writer(out, value)))
}

/// Answers `/api/v1`.
pub(super) struct Api {
    workers: Workers,
    /// The longest that a query may take: answers must be written in time, too.
    longest: Duration,
}

impl Api {
    /// `answer_time`: how long making an answer may take in all. `connections`: how many the server takes.
    pub fn new(registry: &Registry, answer_time: Duration, connections: usize) -> prometheus::Result<Api> {
        // A little less, so that it is the query that is given up, in Prometheus' words.
        Ok(Api { workers: Workers::new(registry, connections)?, longest: answer_time / 10 * 9 })
    }

    /// Other limits from the next query on.
    pub fn set_limits(&self, config: QueryConfig) {
        self.workers.set(config);
    }

    /// `form`: the body of a POST.
    pub async fn answer<A: App>(
        &self,
        app: &A,
        request: &Parts,
        form: &[u8],
        cors: Option<&Pattern>,
    ) -> Response<Reply> {
        let mut response = match self.body(app, request, form).await {
            Ok(body) => success(body, &request.headers),
            Err(error) => reply(error.status(), "application/json", error.body()),
        };
        if response.status() == StatusCode::METHOD_NOT_ALLOWED
            && let Some(found) = find(request.uri.path())
            && let Ok(allowed) = HeaderValue::from_str(&found.methods())
        {
            response.headers_mut().insert(ALLOW, allowed);
        }
        if request.method == Method::OPTIONS {
            response = streamed(StatusCode::NO_CONTENT, std::iter::empty());
        }
        set_cors(response.headers_mut(), &request.headers, cors);
        response
    }

    /// Answers `/chart.png`, within the limits of queries.
    pub async fn chart<A: App>(&self, app: &A, request: &Parts) -> Response<Reply> {
        let params = Params::of(request.uri.query(), &[]);
        let deadline = Instant::now() + self.longest.min(self.workers.config().timeout);
        match chart::png(&self.workers, app.charts(), &params, deadline).await {
            Ok(picture) => reply(StatusCode::OK, "image/png", picture.to_vec()),
            Err(error) => reply(error.status(), "application/json", error.body()),
        }
    }

    async fn body<A: App>(&self, app: &A, request: &Parts, form: &[u8]) -> Result<Body, ApiError> {
        let path = request.uri.path();
        let Some(found) = find(path) else {
            return Err(ApiError::new(Kind::NotFound, format!("there is no {path} here")));
        };
        if request.method == Method::OPTIONS {
            return Ok(Body::Whole(Vec::new()));
        }
        if !found.methods.contains(&request.method) {
            return Err(ApiError::new(Kind::Method, format!("{} takes {}", found.label, found.methods())));
        }
        let form = if is_form(&request.headers) { form } else { &[] };
        let params = Params::of(request.uri.query(), form);
        let deadline = Instant::now() + self.longest.min(self.workers.config().timeout);
        let (about, latest) = (app.about(), app.latest());
        let latest = latest.as_deref();
        let history = || app.history().ok_or_else(|| ApiError::new(Kind::Unavailable, "the agent is still starting"));
        let workers = &self.workers;
        match found.endpoint {
            Endpoint::Query => query::instant(workers, history()?, &about, &params, deadline).await,
            Endpoint::QueryRange => query::range(workers, history()?, &about, &params, deadline).await,
            Endpoint::QueryExemplars => query::exemplars(&params),
            Endpoint::FormatQuery => query::format(&params),
            Endpoint::Series => series::series(workers, history()?, &params, deadline).await,
            Endpoint::Labels => series::label_names(workers, history()?, &params, deadline).await,
            Endpoint::LabelValues => series::label_values(workers, history()?, &found.name, &params, deadline).await,
            Endpoint::Tsdb => series::tsdb(workers, history()?, &params, deadline).await,
            Endpoint::Rules => rules::rules(&app.rules(), &params),
            Endpoint::Alerts => Ok(rules::alerts(&app.rules())),
            Endpoint::Alertmanagers => Ok(host::alertmanagers()),
            Endpoint::Metadata => host::metadata(latest, &params),
            Endpoint::Targets => Ok(host::targets(&about, latest, &params)),
            Endpoint::TargetsMetadata => host::targets_metadata(&about, latest, &params),
            Endpoint::ScrapePools => Ok(host::scrape_pools(&about)),
            Endpoint::BuildInfo => Ok(host::build_info()),
            Endpoint::RuntimeInfo => Ok(host::runtime_info(&about)),
            Endpoint::Config => Ok(host::config(&about)),
            Endpoint::Flags => Ok(host::flags(&about, workers)),
            Endpoint::WalReplay => Ok(host::wal_replay()),
        }
    }
}

/// Parameters in a body have this type; another's is not looked at.
fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|h| h.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

fn success(body: Body, headers: &HeaderMap) -> Response<Reply> {
    let gzip = gzip_is_taken(headers);
    let mut pieces: Box<dyn Iterator<Item = Bytes> + Send> = match body {
        Body::Whole(text) => Box::new(std::iter::once(Bytes::from(text))),
        Body::Pieces(pieces) => pieces,
    };
    let first = pieces.next().unwrap_or_default();
    let compressed = gzip && worth_compressing(&first);
    let all = std::iter::once(first).chain(pieces);
    let mut response = match compressed {
        true => streamed(StatusCode::OK, Gzip::new(all)),
        false => streamed(StatusCode::OK, all),
    };
    let set = response.headers_mut();
    set.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    set.append(VARY, HeaderValue::from_static("Accept-Encoding"));
    if compressed {
        set.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

/// Says to a browser which pages from elsewhere may read the answer: those whose origin `allowed` matches.
pub(super) fn set_cors(answer: &mut HeaderMap, request: &HeaderMap, allowed: Option<&Pattern>) {
    let Some(allowed) = allowed else { return };
    answer.append(VARY, HeaderValue::from_static("Origin"));
    let Some(origin) = request.get(ORIGIN) else { return };
    let allow = match origin.to_str() {
        _ if allowed.as_str() == ".*" => HeaderValue::from_static("*"),
        Ok(text) if allowed.is_match(text) => origin.clone(),
        _ => return,
    };
    answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allow);
    for (name, value) in [
        (ACCESS_CONTROL_ALLOW_HEADERS, "Accept, Authorization, Content-Type, Origin"),
        (ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, OPTIONS"),
        (ACCESS_CONTROL_EXPOSE_HEADERS, "Date"),
    ] {
        answer.insert(name, HeaderValue::from_static(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::Fuzz;

    #[test]
    fn paths_find_their_endpoints() {
        assert_eq!(label("/api/v1/query"), Some("/api/v1/query"));
        assert_eq!(label("/api/v1/label/job/values"), Some(LABEL_VALUES));
        for none in ["/api/v1", "/api/v1/", "/api/v1/label/values", "/api/v1/label/a/b/values", "/api/v1/write"] {
            assert_eq!(label(none), None, "{none}");
        }
        assert!(owns("/api/v1") && owns("/api/v1/x") && !owns("/api/v10") && !owns("/"));
        assert_eq!(find("/api/v1/label/a%20b+c/values").unwrap().name, "a b+c");
    }

    #[test]
    fn only_pages_of_an_origin_that_is_allowed_may_read() {
        let allowed = |pattern: Option<&str>, origin: &'static str| {
            let (mut answer, mut request) = (HeaderMap::new(), HeaderMap::new());
            request.insert(ORIGIN, HeaderValue::from_static(origin));
            let pattern = pattern.map(|p| Pattern::new(p).unwrap());
            set_cors(&mut answer, &request, pattern.as_ref());
            answer.get(ACCESS_CONTROL_ALLOW_ORIGIN).map(|v| v.to_str().unwrap().to_string())
        };
        assert_eq!(allowed(None, "https://a.example"), None);
        assert_eq!(allowed(Some(".*"), "https://a.example").as_deref(), Some("*"));
        let one = Some(r"https://(a|b)\.example");
        assert_eq!(allowed(one, "https://b.example").as_deref(), Some("https://b.example"));
        assert_eq!(allowed(one, "https://b.example.evil"), None);
    }

    #[test]
    fn no_path_makes_it_panic() {
        Fuzz::of(&["/api/v1/label/a%20b/values", "/api/v1/query_range", "/api/v1/status/tsdb"]).texts(|path| {
            let _ = (label(path), owns(path));
        });
    }
}
