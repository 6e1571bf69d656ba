//! What a query evaluates to.

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
