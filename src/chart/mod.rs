//! Pictures of what alerts are about.
//!
//! ```text
//!     Subject -> read: the expression's subject over the last hour, from a copy of history -> Figure
//!             -> draw: plotters, on a canvas of our own -> png
//! ```
//!
//! A [`Drawer`] does it when it is asked, for messages and over HTTP, and keeps the last pictures.
//!
//! An alert's expression gives something only while the condition holds. What is drawn is the side of it that is compared
//! ([`Query::compared`](crate::promql::Query::compared)), which goes on below the threshold.

mod axes;
mod canvas;
mod draw;
mod drawer;
mod letters;
mod png;
mod read;
mod unit;

pub use drawer::{Drawer, Png, Settings};
pub use read::Subject;

#[cfg(test)]
mod tests;
