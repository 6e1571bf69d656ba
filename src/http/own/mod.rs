//! The agent's own API beside those of Prometheus and Alertmanager: how the checks stand, and what the pool runs.
//!
//! | path | methods | what |
//! | --- | --- | --- |
//! | `/api/checks` | GET | all checks, in the order of the configuration |
//! | `/api/pool` | GET | what runs, waits, is on schedule and has ended |
//! | `/api/pool/ID` | GET | the same of one id; its last run with the outputs, those before in short; the last that a stream wrote |
//! | `/api/pool/ID/run` | POST | runs what is on schedule now; starts a stream anew |
//! | `/api/pool/ID/cancel` | POST | ends what runs or waits; a stream is stopped until `run` |
//! | `/api/pool/ID/retry` | POST | runs once more what has ended, whether on schedule or not |
//!
//! Times are RFC 3339, durations seconds. What changes something is allowed from the machine itself or with credentials,
//! as in `/api/v2`, and so is the sight of what commands have written ([`Access::may_see_output`]). Command lines and
//! environments, where passwords are given to commands, are shown to nobody: the configuration has them.
//!
//! [`Access::may_see_output`]: super::Access::may_see_output

mod checks;
mod pool;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};

use super::api::{percent_decoded, set_cors};
use super::api2::{READ, Refusal, found_at, name_in, refused, success};
use super::reply::{Reply, streamed};
use crate::checks::Board;
use crate::pool::Pool;
use crate::yaml::Pattern;

pub(super) use checks::add as add_checks;

/// What answers a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Endpoint {
    Checks,
    Pool,
    Task,
    Run,
    Cancel,
    Retry,
}

const CHANGE: &[Method] = &[Method::POST];

/// A `:id` stands for any one part of a path.
const ENDPOINTS: &[(&str, &[Method], Endpoint)] = &[
    ("/api/checks", READ, Endpoint::Checks),
    ("/api/pool", READ, Endpoint::Pool),
    ("/api/pool/:id", READ, Endpoint::Task),
    ("/api/pool/:id/run", CHANGE, Endpoint::Run),
    ("/api/pool/:id/cancel", CHANGE, Endpoint::Cancel),
    ("/api/pool/:id/retry", CHANGE, Endpoint::Retry),
];

struct Found {
    label: &'static str,
    methods: &'static [Method],
    endpoint: Endpoint,
    id: String,
}

fn find(path: &str) -> Option<Found> {
    ENDPOINTS.iter().find_map(|(label, methods, endpoint)| {
        // Ids have colons and blanks, and a slash if somebody wants.
        let id = percent_decoded(name_in(label, path)?);
        Some(Found { label, methods, endpoint: *endpoint, id })
    })
}

/// The name under which requests to a path are counted.
pub(super) fn label(path: &str) -> Option<&'static str> {
    find(path).map(|found| found.label)
}

/// Whether it is one of these paths.
pub(super) fn owns(path: &str) -> bool {
    let below = |prefix: &str| path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    below("/api/checks") || below("/api/pool")
}

/// What there is to tell of.
pub(super) struct Parties {
    pub pool: Pool,
    pub checks: Arc<Board>,
}

/// What whoever asks may do.
pub(super) struct Rights {
    /// Why he may change nothing, if so.
    pub change: Result<(), &'static str>,
    pub sees_output: bool,
}

/// Answers a request; no body is read. `parties`: `None` while the agent starts.
pub(super) fn answer(
    parties: Option<&Parties>,
    rights: &Rights,
    request: &Parts,
    cors: Option<&Pattern>,
) -> Response<Reply> {
    let mut response = match data(parties, rights, request) {
        Ok(Some(json)) => success(json, &request.headers),
        Ok(None) => streamed(StatusCode::OK, std::iter::empty()),
        Err(response) => *response,
    };
    set_cors(response.headers_mut(), &request.headers, cors);
    response
}

fn data(parties: Option<&Parties>, rights: &Rights, request: &Parts) -> Result<Option<Vec<u8>>, Box<Response<Reply>>> {
    let found = found_at(request, find(request.uri.path()), |found| found.methods)?;
    if found.methods == CHANGE
        && let Err(why) = rights.change
    {
        return Err(refused(Refusal::said(403, why.trim_end())));
    }
    let Some(Parties { pool, checks }) = parties else {
        return Err(refused(Refusal::said(503, "the agent is still starting")));
    };
    let answered = match found.endpoint {
        Endpoint::Checks => Ok(Some(checks::list(&checks.all(), rights.sees_output))),
        Endpoint::Pool => Ok(Some(pool::all(pool))),
        Endpoint::Task => pool::one(pool, &found.id, rights.sees_output).map(Some),
        Endpoint::Run => pool::run(pool, &found.id).map(|()| None),
        Endpoint::Cancel => pool::cancel(pool, &found.id).map(|()| None),
        Endpoint::Retry => pool::retry(pool, &found.id).map(|()| None),
    };
    answered.map_err(refused)
}
