//! One tick's samples: immutable sections over layouts that change only when the host does.

use std::sync::Arc;
use std::time::Instant;

use super::{Series, Timestamp};

/// A metric family's type, as the exposition formats name it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum MetricType {
    Counter,
    Gauge,
    Histogram,
    Summary,
    Untyped,
}

impl MetricType {
    /// The word of the `# TYPE` line.
    pub fn as_str(self) -> &'static str {
        match self {
            MetricType::Counter => "counter",
            MetricType::Gauge => "gauge",
            MetricType::Histogram => "histogram",
            MetricType::Summary => "summary",
            MetricType::Untyped => "untyped",
        }
    }
}

/// A metric family: name, type and help.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Family {
    pub name: Box<str>,
    pub kind: MetricType,
    pub help: Box<str>,
}

/// What one collector reports, without the numbers: families in the order of writing, and the series of each.
#[derive(Debug, Default)]
pub struct Layout {
    /// Each family with the end of its series; it starts where the one before ends.
    pub(super) families: Vec<(Family, u32)>,
    /// By position: the series, or `None` where it is a duplicate of an earlier one and must not be served.
    pub(super) series: Vec<Option<Arc<Series>>>,
    /// By position: the sample line up to and with the space before the value; empty for a duplicate.
    pub(super) prefixes: Vec<u8>,
    pub(super) prefix_ends: Vec<u32>,
    /// What the writer compares by: suffix and label values as they came, length-prefixed.
    pub(super) keys: Vec<u8>,
    pub(super) key_ends: Vec<u32>,
}

impl Layout {
    /// Families, each with the range of its positions.
    pub fn families(&self) -> impl Iterator<Item = (&Family, std::ops::Range<usize>)> + '_ {
        let mut start = 0;
        self.families.iter().map(move |(family, end)| {
            let range = start..*end as usize;
            start = *end as usize;
            (family, range)
        })
    }

    /// Positions, duplicates included: as many as there are values.
    pub fn len(&self) -> usize {
        self.series.len()
    }

    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// By position; `None` for a duplicate.
    pub fn series(&self) -> &[Option<Arc<Series>>] {
        &self.series
    }

    /// `name{labels} ` of a position in the text format; empty for a duplicate, which must not be printed.
    pub fn prefix(&self, position: usize) -> &[u8] {
        slice_by_ends(&self.prefixes, &self.prefix_ends, position)
    }

    pub(super) fn key(&self, position: usize) -> &[u8] {
        slice_by_ends(&self.keys, &self.key_ends, position)
    }
}

pub(super) fn slice_by_ends<'a>(bytes: &'a [u8], ends: &[u32], i: usize) -> &'a [u8] {
    let start = if i == 0 { 0 } else { ends.get(i - 1).copied().unwrap_or(0) as usize };
    let end = ends.get(i).copied().unwrap_or(0) as usize;
    bytes.get(start..end).unwrap_or(&[])
}

/// What one collector reported in one run.
#[derive(Debug)]
pub struct Section {
    /// The collector's name.
    pub name: &'static str,
    pub layout: Arc<Layout>,
    /// By position of the layout.
    pub values: Box<[f64]>,
    /// False for what only history keeps (`up`, `scrape_duration_seconds`).
    pub exposed: bool,
}

/// The samples of one tick.
#[derive(Debug)]
pub struct Snapshot {
    /// The tick's time, on the grid of the scrape interval.
    pub time: Timestamp,
    /// When the sampling began, for the age of the snapshot.
    pub taken: Instant,
    pub sections: Vec<Arc<Section>>,
}

impl Snapshot {
    pub fn empty() -> Snapshot {
        Snapshot { time: Timestamp::default(), taken: Instant::now(), sections: Vec::new() }
    }

    /// Values in all sections.
    pub fn len(&self) -> usize {
        self.sections.iter().map(|s| s.values.len()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
