//! See the crate's front page.

pub mod lint;
pub mod parse;
