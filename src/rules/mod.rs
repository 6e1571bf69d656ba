//! See the crate's front page.

mod alert;
mod event;

pub use event::Alert;
