//! What goes wrong with a request, in Prometheus' words and codes.

use hyper::StatusCode;

use super::json;
use crate::promql::{EvalError, QueryError};

/// The kinds of errors, as `errorType` names them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    BadData,
    Execution,
    Timeout,
    Canceled,
    Internal,
    NotFound,
    Unavailable,
    /// Prometheus has no word for it: its router answers.
    Method,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::BadData | Kind::Method => "bad_data",
            Kind::Execution => "execution",
            Kind::Timeout => "timeout",
            Kind::Canceled => "canceled",
            Kind::Internal => "internal",
            Kind::NotFound => "not_found",
            Kind::Unavailable => "unavailable",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Kind::BadData => StatusCode::BAD_REQUEST,
            Kind::Method => StatusCode::METHOD_NOT_ALLOWED,
            Kind::Execution => StatusCode::UNPROCESSABLE_ENTITY,
            Kind::Timeout | Kind::Canceled | Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Kind::NotFound => StatusCode::NOT_FOUND,
        }
    }
}

/// Why a request is not answered with data.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct ApiError {
    pub kind: Kind,
    pub message: String,
}

impl ApiError {
    pub fn new(kind: Kind, message: impl Into<String>) -> ApiError {
        ApiError { kind, message: message.into() }
    }

    pub fn bad_data(message: impl Into<String>) -> ApiError {
        ApiError::new(Kind::BadData, message)
    }

    /// A parameter is not as it should be.
    pub fn parameter(name: &str, why: impl std::fmt::Display) -> ApiError {
        ApiError::bad_data(format!("invalid parameter {name:?}: {why}"))
    }

    /// An expression is not one.
    pub fn expression(name: &str, error: &QueryError) -> ApiError {
        ApiError::parameter(name, parse_error(error))
    }

    pub fn status(&self) -> StatusCode {
        self.kind.status()
    }

    pub fn body(&self) -> Vec<u8> {
        let mut out = br#"{"status":"error","errorType":"#.to_vec();
        json::string(&mut out, self.kind.name());
        out.extend_from_slice(br#","error":"#);
        json::string(&mut out, &self.message);
        out.push(b'}');
        out
    }
}

/// `1:5: parse error: why`, by which clients find the place.
pub(super) fn parse_error(error: &QueryError) -> String {
    let message = error.message.strip_prefix("parse error: ").unwrap_or(&error.message);
    match error.position {
        Some((line, column)) => format!("{line}:{column}: parse error: {message}"),
        None => format!("unknown position: parse error: {message}"),
    }
}

impl From<EvalError> for ApiError {
    fn from(error: EvalError) -> ApiError {
        let kind = match error {
            EvalError::TimedOut => Kind::Timeout,
            EvalError::Canceled => Kind::Canceled,
            EvalError::TooManySamples(_) | EvalError::TooMuchMemory(_) | EvalError::Failed(_) => Kind::Execution,
        };
        ApiError::new(kind, error.to_string())
    }
}
