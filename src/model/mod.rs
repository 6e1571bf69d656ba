//! The data model: what a sample is, from the collector that writes it to the chunk that keeps it.
//!
//! A collector writes *samples* through a [`Writer`] into a [`Section`]: a [`Layout`] (families, series, their
//! text prefixes), which changes only when the host does, and beside it the values of this tick. A [`Snapshot`]
//! is the list of the sections of one tick; it is immutable and shared by reference.
//!
//! Series identity lives in the [`SeriesTable`]: each label set is built once and becomes a small integer, the
//! [`SeriesId`], by which `history/` appends.

mod labels;
mod process;
mod signal;
mod snapshot;
mod table;
mod time;
mod writer;

pub use labels::{Labels, LabelsBuilder, METRIC_NAME, escape_label_value};
pub use process::TopProcess;
pub use signal::signal_name;
pub use snapshot::{Family, Layout, MetricType, Section, Snapshot};
pub use table::{Series, SeriesId, SeriesTable};
pub use time::{Age, Timestamp, format_duration, parse_duration};
pub use writer::{FamilyWriter, Writer, WriterStats};
