//! Refusals, in Alertmanager's two shapes.

use hyper::{Response, StatusCode};
use serde::Serialize;

use crate::http::reply::{Reply, reply};

/// Why a request is not done: the status, and the body.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::http) struct Refusal {
    status: u16,
    body: Vec<u8>,
}

/// What Alertmanager's framework says of requests that do not have the form they must have.
#[derive(Serialize)]
struct Coded<'a> {
    code: u32,
    message: &'a str,
}

/// The framework's codes for what a field is not.
pub(super) const NOT_OF_TYPE: u32 = 601;
pub(super) const REQUIRED: u32 = 602;
pub(super) const TOO_FEW: u32 = 612;

impl Refusal {
    /// What a handler says: a text.
    pub fn said(status: u16, text: impl AsRef<str>) -> Refusal {
        Refusal { status, body: super::json(&text.as_ref()) }
    }

    /// What the framework says: a code and a text.
    pub fn coded(status: u16, code: u32, message: impl AsRef<str>) -> Refusal {
        Refusal { status, body: super::json(&Coded { code, message: message.as_ref() }) }
    }

    /// A field that has to be there is not.
    pub fn required(field: &str) -> Refusal {
        Refusal::coded(422, REQUIRED, format!("{field} in body is required"))
    }

    /// The body is not the JSON that it has to be.
    pub fn unreadable(what: &str, why: &serde_json::Error) -> Refusal {
        Refusal::coded(400, 400, format!("parsing {what} body from \"\" failed, because {why}"))
    }
}

impl From<Refusal> for Response<Reply> {
    fn from(refusal: Refusal) -> Response<Reply> {
        let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        reply(status, "application/json", refusal.body)
    }
}
