//! PromQL over [`history`](crate::history): the grammar is the `promql-parser` crate's, the evaluation ours, the
//! semantics those of Prometheus 3.
//!
//! [`Query::parse`] checks types and plans, and refuses whatever could not be evaluated later; [`Query::instant`] and
//! [`Query::range`] evaluate. A query remembers which series its selectors found, so the rule that holds it pays for
//! finding them only when series of that metric come or go.
//!
//! ```text
//!     text -> scan (places, limits) -> promql-parser -> plan -> eval: select, window, calls, binary, aggregate
//! ```

mod aggregate;
mod binary;
mod calls;
mod dates;
mod error;
mod eval;
mod functions;
mod group;
mod histogram;
mod math;
mod notation;
mod plan;
mod query;
mod scan;
mod select;
mod shape;
mod value;
mod window;

#[cfg(test)]
mod tests;

pub use error::{EvalError, QueryError};
pub use math::almost_equal;
pub use notation::{Values, parse_metric};
pub use plan::Type;
pub use query::{EvalOptions, Query, RangeRun, SelectorInfo};
pub use shape::{BinaryKind, Matching, Shape};
pub use value::{RangeSeries, Sample, Value};
