//! Errors: of a query's text, and of its evaluation.

use std::fmt;

/// Why an expression is refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QueryError {
    pub message: String,
    /// Where in the expression, in bytes from its start, when that is known.
    pub offset: Option<usize>,
    /// Line and column of the offset, both from 1, the column in characters.
    pub position: Option<(usize, usize)>,
}

impl QueryError {
    pub(super) fn new(message: impl Into<String>) -> QueryError {
        QueryError { message: message.into(), offset: None, position: None }
    }

    pub(super) fn at(message: impl Into<String>, text: &str, offset: usize) -> QueryError {
        let before = text.get(..offset).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
        QueryError { message: message.into(), offset: Some(offset), position: Some((line, column)) }
    }
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.position {
            Some((line, column)) => write!(f, "{line}:{column}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for QueryError {}

/// Why an evaluation gave no result.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum EvalError {
    /// The deadline of [`EvalOptions`](super::EvalOptions) has passed.
    TimedOut,
    /// Nobody wants the result any more, as [`EvalOptions`](super::EvalOptions) says.
    Canceled,
    /// More samples held at once than [`EvalOptions`](super::EvalOptions) allows, which is so many.
    TooManySamples(usize),
    /// More memory than [`EvalOptions`](super::EvalOptions) allows, which is so many bytes.
    TooMuchMemory(usize),
    /// The data is not such that the expression has a meaning: vectors that do not match one to one, for instance.
    Failed(String),
}

impl EvalError {
    pub(super) fn failed(message: impl Into<String>) -> EvalError {
        EvalError::Failed(message.into())
    }
}

impl fmt::Display for EvalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EvalError::TimedOut => f.write_str("query timed out in expression evaluation (limit: timeout)"),
            EvalError::Canceled => f.write_str("query was canceled in expression evaluation"),
            EvalError::TooManySamples(limit) => write!(
                f,
                "query processing would load too many samples into memory in query execution: more than {limit} \
                 (limit: max_samples)"
            ),
            EvalError::TooMuchMemory(limit) => write!(
                f,
                "query processing would take too much memory in query execution: more than {limit} bytes (limit: \
                 max_bytes)"
            ),
            EvalError::Failed(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for EvalError {}
