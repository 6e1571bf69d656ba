//! D-Bus, as much of it as is used here: calls of methods, and their answers.
//!
//! Own code, because that is all that is needed: the usual crate for it (zbus) brings 29 further crates, an executor and
//! threads of its own, for an agent that is to live in 13 MB.

mod connection;
mod wire;

pub use connection::{Address, Connection, Error};
pub use wire::{Body, Call, Hint, Kind, Malformed, Message, Value};
