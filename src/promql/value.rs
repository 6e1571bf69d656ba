//! What a query evaluates to.

use super::error::EvalError;
use crate::history::Point;
use crate::model::{Labels, Timestamp};

/// One element of an instant vector.
#[derive(Clone, PartialEq, Debug)]
pub struct Sample {
    pub labels: Labels,
    pub value: f64,
    /// The time of evaluation.
    pub time: Timestamp,
}

/// One series of a range vector.
#[derive(Clone, PartialEq, Debug)]
pub struct RangeSeries {
    pub labels: Labels,
    /// In order of time.
    pub points: Vec<Point>,
}

/// The result of a query.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    Scalar(f64),
    String(String),
    Vector(Vec<Sample>),
    Matrix(Vec<RangeSeries>),
}

impl Value {
    /// The elements of what the plan knows to be a vector; those of a scalar are itself, at the time of evaluation.
    pub(super) fn into_vector(self, now: i64) -> Result<Vec<Sample>, EvalError> {
        match self {
            Value::Vector(v) => Ok(v),
            Value::Scalar(value) => {
                Ok(vec![Sample { labels: Labels::empty(), value, time: Timestamp::from_millis(now) }])
            }
            Value::String(_) | Value::Matrix(_) => Err(EvalError::failed("expected an instant vector")),
        }
    }

    /// The number of what the plan knows to be a scalar.
    pub(super) fn into_scalar(self) -> Result<f64, EvalError> {
        match self {
            Value::Scalar(v) => Ok(v),
            _ => Err(EvalError::failed("expected a scalar")),
        }
    }
}
