//! See the crate's front page.

mod event;

pub use event::Alert;
