//! The exposition formats: from a [`Snapshot`](crate::model::Snapshot) to what `/metrics` answers.
//!
//! [`Pages`] is the front: it lays the sections of a snapshot out as one page (families merged by name and sorted, each
//! series once), keeps that layout for as long as the collectors' own layouts stay as they are, and writes the page in
//! the [`Format`] that the client asked for. Because every series carries its text prefix since it was first seen, a
//! page is a copy of prefixes and a print of numbers.
//!
//! [`copy_registry`] goes the other way: it writes the agent's own instruments, which live in a `prometheus::Registry`,
//! into the model as one more collector.

pub mod families;
pub mod lint;
pub mod parse;

mod negotiate;
mod page;
mod protobuf;
mod registry;
mod text;
mod value;

#[cfg(test)]
mod peer_tests;

pub use negotiate::{Format, Preferences};
pub use page::{Keep, LeftOut, Pages};
pub use registry::copy_registry;
pub use value::write_value;
