//! YAML with positions: every fault of a file in one go, each with file, line, column and the line itself.
//!
//! A file is parsed into a tree of [`Node`]s (by the event parser inside the YAML crate: anchors, aliases and merge
//! keys are resolved, within limits), and the parts of the configuration read themselves from it through [`FromYaml`].
//! A part declares its section with [`section!`](crate::section): the field, its default, its comment and its type stand
//! in one place; unknown keys, wrong types and missing values become [`Faults`], never the end of the reading.
//!
//! ```
//! use std::time::Duration;
//! use watchfire::yaml::{Document, Faults};
//!
//! watchfire::section! {
//!     /// An example.
//!     pub struct Example {
//!         /// How often.
//!         pub interval: Duration = Duration::from_secs(1),
//!         /// Who is told.
//!         pub receivers: Vec<String> = Vec::new(),
//!     }
//! }
//!
//! let mut faults = Faults::default();
//! let document = Document::parse("example.yaml", "intervall: 5s\nreceivers: 7\n", &mut faults);
//! let example: Example = document.read(&mut faults);
//! assert_eq!(example.interval, Duration::from_secs(1));
//! assert_eq!(faults.to_string(), "\
//! example.yaml:1:1: unknown key \"intervall\", did you mean \"interval\"?
//!     1 | intervall: 5s
//!       | ^
//! example.yaml:2:12: expected a list, found 7
//!     2 | receivers: 7
//!       |            ^
//! ");
//! ```

mod bytes;
mod fault;
mod file;
mod node;
mod print;
mod read;
mod section;

pub use bytes::Bytes;
pub use fault::{Fault, Faults, Reference, Severity, nearest};
pub use file::read_text;
pub use node::{Document, Key, Node, Position, Source, Value};
pub use read::{FromYaml, KeyInfo, Pattern, Secret, Section, read_field};
