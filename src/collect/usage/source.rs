//! Where in a section the numbers stand that gauges are derived from, and the rates of counters among them.

use std::sync::Arc;
use std::time::Instant;

use crate::collect::Sampling;
use crate::collect::window::Window;
use crate::model::{Layout, METRIC_NAME, Section};

/// The families that one source derives from, at most.
pub const COLUMNS: usize = 8;

/// The positions in a section of what is derived from, kept as long as its layout stands.
#[derive(Default)]
pub struct Source {
    layout: Option<Arc<Layout>>,
    pub entries: Vec<Entry>,
}

/// A group of positions that give one value each tick: a device's columns, or the whole section's.
#[derive(Default)]
pub struct Entry {
    pub labels: Vec<Vec<u8>>,
    positions: [Option<usize>; COLUMNS],
    /// Of columns that rates are made of: the counters that they are differences from, and the last rates.
    base: [Option<f64>; COLUMNS],
    rates: [Option<f64>; COLUMNS],
}

impl Source {
    /// Looks the positions up anew when the layout has changed; whether it had. Series of the families `names` that agree
    /// in the labels `by` make one entry, with a position for each name.
    pub fn update(&mut self, section: &Section, names: &[&str], by: &[&str]) -> bool {
        if self.layout.as_ref().is_some_and(|l| Arc::ptr_eq(l, &section.layout)) {
            return false;
        }
        let mut entries: Vec<Entry> = Vec::new();
        let mut index = hashbrown::HashMap::<Vec<Vec<u8>>, usize>::new();
        let mut before: hashbrown::HashMap<Vec<Vec<u8>>, Entry> =
            std::mem::take(&mut self.entries).into_iter().map(|e| (e.labels.clone(), e)).collect();
        for (position, series) in section.layout.series().iter().enumerate() {
            let Some(series) = series else { continue };
            let Some(column) = names.iter().position(|n| *n == series.labels.get(METRIC_NAME)) else { continue };
            let labels: Vec<Vec<u8>> = by.iter().map(|n| series.labels.get(n).as_bytes().to_vec()).collect();
            let entry = *index.entry(labels.clone()).or_insert_with(|| {
                let known = before.remove(&labels).unwrap_or_default();
                entries.push(Entry { labels, positions: [None; COLUMNS], ..known });
                entries.len() - 1
            });
            if let Some(slot) = entries.get_mut(entry).and_then(|e| e.positions.get_mut(column)) {
                *slot = Some(position);
            }
        }
        self.entries = entries;
        self.layout = Some(section.layout.clone());
        true
    }
}

impl Entry {
    pub fn value(&self, section: &Section, column: usize) -> Option<f64> {
        section.values.get((*self.positions.get(column)?)?).copied()
    }

    /// A counter's increase per second over the last window.
    pub fn rate(&self, column: usize) -> Option<f64> {
        self.rates.get(column).copied().flatten()
    }

    /// The increase per second of several counters together; of those that there are.
    pub fn rate_of(&self, columns: &[usize]) -> Option<f64> {
        columns.iter().filter_map(|c| self.rate(*c)).reduce(|a, b| a + b)
    }
}

/// A source of counters, with their rates.
#[derive(Default)]
pub struct Rates {
    source: Source,
    /// The last section, and when it was new: it stays the same as long as its collector does not run again.
    current: Option<(Arc<Section>, Instant)>,
    window: Window,
}

impl Rates {
    /// Whether the section's layout is another than the last one's.
    pub fn is_new(&self, section: &Section) -> bool {
        !self.source.layout.as_ref().is_some_and(|l| Arc::ptr_eq(l, &section.layout))
    }

    /// The entries with the rates of now.
    pub fn update(&mut self, section: &Arc<Section>, names: &[&str], by: &[&str], sampling: Sampling) -> &[Entry] {
        self.source.update(section, names, by);
        let now = match &self.current {
            Some((current, at)) if Arc::ptr_eq(current, section) => *at,
            _ => self.current.insert((section.clone(), Instant::now())).1,
        };
        let step = self.window.step(now, sampling);
        for entry in &mut self.source.entries {
            let counters: [_; COLUMNS] = std::array::from_fn(|column| entry.value(section, column));
            if let Some(seconds) = step.seconds {
                for ((rate, now), base) in entry.rates.iter_mut().zip(counters).zip(entry.base) {
                    // A counter that went back was reset: its rate is known again at the next tick.
                    let more = now.zip(base).map(|(now, base)| now - base).filter(|more| *more >= 0.0);
                    *rate = more.map(|more| more / seconds);
                }
            }
            if step.restart {
                entry.base = counters;
            }
        }
        &self.source.entries
    }
}
