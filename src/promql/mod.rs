//! PromQL over [`history`](crate::history), with the semantics of Prometheus 3.
//!
//! [`Query::parse`] checks types and plans, and refuses whatever could not be evaluated later; [`Query::instant`] and
//! [`Query::range`] evaluate. A query remembers which series its selectors found, so the rule that holds it pays for
//! finding them only when series of that metric come or go.
//!
//! ```text
//!     text -> syntax -> planner -> plan -> eval: select, window, calls, binary, aggregate
//! ```
//!
//! A range is evaluated step by step, but samples are read for many steps at once (`ahead`), and what a subquery has
//! given is kept for the next range that looks at it (`past`).

mod aggregate;
mod ahead;
mod annotations;
mod binary;
mod calls;
mod compared;
mod dates;
mod error;
mod eval;
mod functions;
mod group;
mod hash;
mod histogram;
mod math;
mod notation;
mod past;
mod plan;
mod planner;
mod query;
mod reads;
mod select;
mod shape;
mod slide;
mod syntax;
mod value;
mod window;

/// Bytes of stack with which a thread can parse, plan and evaluate every expression that is taken, in a build without
/// optimisation too.
pub const STACK: usize = 4 << 20;

#[cfg(test)]
mod tests;

pub use annotations::Annotations;
pub use compared::Compared;
pub use error::{EvalError, QueryError};
pub use math::almost_equal;
pub use notation::{Values, parse_metric};
pub use plan::Type;
pub use query::{EvalOptions, Query, SelectorInfo, pretty};
pub use reads::SharedReads;
pub use shape::{BinaryKind, Matching, Shape};
pub use syntax::selector_of;
pub use value::{RangeSeries, Sample, Value};
