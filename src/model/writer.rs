//! How a collector writes: plainly, every tick, in the same order; the writer remembers the last tick.
//!
//! As long as the series at this place is the one that stood here in the last tick, only the number is stored:
//! nothing is hashed, nothing allocated. From the first place that differs on, a new [`Layout`] is built, which takes
//! over from the old one whatever it still finds there.

use std::sync::Arc;

use hashbrown::HashSet;

use super::snapshot::slice_by_ends;
use super::{
    Family, LabelsBuilder, Layout, METRIC_NAME, MetricType, Section, SeriesId, SeriesTable, escape_label_value,
};

/// How far ahead in the old layout a rebuild looks for a series before it asks the table.
const LOOK_AHEAD: usize = 8;

/// Counts of one run of a collector.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct WriterStats {
    /// Samples refused because the collector's limit of series was reached.
    pub dropped: usize,
    /// Samples that repeat an earlier series of the same run, and are not served.
    pub duplicates: usize,
}

/// Takes one collector's samples, tick after tick.
pub struct Writer {
    name: &'static str,
    table: Arc<SeriesTable>,
    limit: usize,
    exposed: bool,
    layout: Arc<Layout>,
    values: Vec<f64>,
    /// Families of `layout` that have been begun in this run.
    families: usize,
    building: Option<Builder>,
    dropped: usize,
}

impl Writer {
    /// A writer for the collector `name`, with at most `limit` series.
    pub fn new(name: &'static str, table: Arc<SeriesTable>, limit: usize) -> Writer {
        Writer {
            name,
            table,
            limit,
            exposed: true,
            layout: Arc::default(),
            values: Vec::new(),
            families: 0,
            building: None,
            dropped: 0,
        }
    }

    /// At most `limit` series from the next run on.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// A writer whose samples only history keeps.
    pub fn hidden(mut self) -> Writer {
        self.exposed = false;
        self
    }

    /// Samples written in this run so far.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Begins a family whose series differ by the labels `names`. A family without a sample is not served.
    pub fn family<'w, const N: usize>(
        &'w mut self,
        kind: MetricType,
        name: &'w str,
        help: &'w str,
        names: [&'w str; N],
    ) -> FamilyWriter<'w, N> {
        FamilyWriter { writer: self, kind, name, help, names, begun: false }
    }

    /// Begins a gauge family.
    pub fn gauge<'w, const N: usize>(
        &'w mut self,
        name: &'w str,
        help: &'w str,
        names: [&'w str; N],
    ) -> FamilyWriter<'w, N> {
        self.family(MetricType::Gauge, name, help, names)
    }

    /// Begins a counter family.
    pub fn counter<'w, const N: usize>(
        &'w mut self,
        name: &'w str,
        help: &'w str,
        names: [&'w str; N],
    ) -> FamilyWriter<'w, N> {
        self.family(MetricType::Counter, name, help, names)
    }

    /// Ends the run: the section of this tick. The writer is ready for the next run.
    pub fn finish(&mut self) -> (Arc<Section>, WriterStats) {
        if self.building.is_none() && self.values.len() != self.layout.len() {
            self.diverge();
        }
        let mut stats = WriterStats { dropped: self.dropped, duplicates: 0 };
        if let Some(builder) = self.building.take() {
            self.layout = Arc::new(builder.finish());
        }
        if self.layout.prefix_ends.len() != self.layout.series.len() {
            debug_assert!(false, "a layout's arrays are of one length");
        }
        stats.duplicates = self.layout.series.iter().filter(|s| s.is_none()).count();
        let section = Section {
            name: self.name,
            layout: self.layout.clone(),
            values: self.values.as_slice().into(),
            exposed: self.exposed,
        };
        self.values.clear();
        self.families = 0;
        self.dropped = 0;
        (Arc::new(section), stats)
    }

    /// Starts to build a new layout from what was written so far, which is as in the last tick.
    #[cold]
    fn diverge(&mut self) -> &mut Builder {
        self.building.insert(Builder::from_prefix(self.layout.clone(), self.values.len(), self.families))
    }

    #[inline]
    fn begin_family(&mut self, kind: MetricType, name: &str, help: &str) {
        let position = self.values.len();
        if self.building.is_none() {
            let start = if self.families == 0 { 0 } else { self.layout.families[self.families - 1].1 as usize };
            let same = position == start
                && self.layout.families.get(self.families).is_some_and(|(f, _)| f.kind == kind && *f.name == *name);
            if same {
                self.families += 1;
                return;
            }
            self.diverge();
        }
        if let Some(builder) = &mut self.building {
            builder.begin_family(kind, name, help);
        }
    }

    #[inline]
    fn put<'a>(&mut self, pieces: impl Iterator<Item = &'a [u8]> + Clone, names: Names<'_, '_>, value: f64) {
        let position = self.values.len();
        if position >= self.limit {
            self.dropped += 1;
            return;
        }
        if self.building.is_none() {
            let end = self.layout.families[self.families - 1].1 as usize;
            if position < end && key_is(self.layout.key(position), pieces.clone()) {
                self.values.push(value);
                return;
            }
            self.diverge();
        }
        if let Some(builder) = &mut self.building {
            builder.put(pieces, names, &self.table);
            self.values.push(value);
        }
    }
}

/// The label names of a sample: the family's, or its own.
#[derive(Clone, Copy)]
enum Names<'n, 's> {
    Family(&'n [&'s str]),
    /// Each piece after the suffix is in turn a name and a value.
    InPieces,
}

/// Writes the samples of one family.
pub struct FamilyWriter<'w, const N: usize> {
    writer: &'w mut Writer,
    kind: MetricType,
    name: &'w str,
    help: &'w str,
    names: [&'w str; N],
    begun: bool,
}

impl<const N: usize> FamilyWriter<'_, N> {
    #[inline]
    fn begin(&mut self) {
        if !self.begun {
            self.begun = true;
            self.writer.begin_family(self.kind, self.name, self.help);
        }
    }

    /// A sample with the values of the family's labels, in their order. Bytes that are not UTF-8 are replaced.
    #[inline]
    pub fn put(&mut self, values: [&[u8]; N], value: f64) -> &mut Self {
        if self.writer.values.len() < self.writer.limit {
            self.begin();
        }
        let pieces = std::iter::once(&b""[..]).chain(values.iter().copied());
        self.writer.put(pieces, Names::Family(&self.names), value);
        self
    }

    /// A sample of a series that is named after the family and `suffix` (`_bucket`, `_sum`, `_count`, or none), with
    /// labels of its own.
    pub fn put_labels(&mut self, suffix: &str, labels: &[(&[u8], &[u8])], value: f64) -> &mut Self {
        if self.writer.values.len() < self.writer.limit {
            self.begin();
        }
        let pieces = std::iter::once(suffix.as_bytes()).chain(labels.iter().flat_map(|(n, v)| [*n, *v]));
        self.writer.put(pieces, Names::InPieces, value);
        self
    }
}

/// A piece as it is compared and kept: longer ones are cut.
fn clip(piece: &[u8]) -> &[u8] {
    &piece[..piece.len().min(u16::MAX as usize)]
}

#[inline]
fn key_is<'a>(mut key: &[u8], pieces: impl Iterator<Item = &'a [u8]>) -> bool {
    for piece in pieces {
        let piece = clip(piece);
        let Some((length, rest)) = key.split_first_chunk::<2>() else { return false };
        if u16::from_le_bytes(*length) as usize != piece.len() || !rest.starts_with(piece) {
            return false;
        }
        key = &rest[piece.len()..];
    }
    key.is_empty()
}

/// Builds a layout, with the old one beside it to take series from.
struct Builder {
    old: Arc<Layout>,
    /// Where in the old layout the next series is expected.
    cursor: usize,
    new: Layout,
    seen: HashSet<SeriesId>,
}

impl Builder {
    fn from_prefix(old: Arc<Layout>, positions: usize, families: usize) -> Builder {
        let mut new = Layout {
            families: old.families[..families].to_vec(),
            series: old.series[..positions].to_vec(),
            prefixes: Vec::with_capacity(old.prefixes.len()),
            prefix_ends: old.prefix_ends[..positions].to_vec(),
            keys: Vec::with_capacity(old.keys.len()),
            key_ends: old.key_ends[..positions].to_vec(),
        };
        new.prefixes.extend_from_slice(&old.prefixes[..new.prefix_ends.last().map_or(0, |e| *e as usize)]);
        new.keys.extend_from_slice(&old.keys[..new.key_ends.last().map_or(0, |e| *e as usize)]);
        let seen = new.series.iter().flatten().map(|s| s.id).collect();
        let mut builder = Builder { old, cursor: positions, new, seen };
        builder.close_family();
        builder
    }

    fn close_family(&mut self) {
        let end = self.new.series.len() as u32;
        if let Some(last) = self.new.families.last_mut() {
            last.1 = last.1.min(end);
        }
    }

    fn begin_family(&mut self, kind: MetricType, name: &str, help: &str) {
        let end = self.new.series.len() as u32;
        self.new.families.push((Family { name: name.into(), kind, help: help.into() }, end));
        // The old family of this name, where it is near, is where the old series are.
        let mut start = 0;
        for (family, old_end) in &self.old.families {
            if start as usize >= self.cursor && *family.name == *name {
                self.cursor = start as usize;
                break;
            }
            start = *old_end;
        }
    }

    fn put<'a>(&mut self, pieces: impl Iterator<Item = &'a [u8]> + Clone, names: Names<'_, '_>, table: &SeriesTable) {
        for piece in pieces.clone() {
            let piece = clip(piece);
            self.new.keys.extend_from_slice(&(piece.len() as u16).to_le_bytes());
            self.new.keys.extend_from_slice(piece);
        }
        let key_start = self.new.key_ends.last().map_or(0, |e| *e as usize);
        self.new.key_ends.push(self.new.keys.len() as u32);
        let Some((family, end)) = self.new.families.last_mut() else { return };
        *end += 1;
        let name = family.name.clone();

        if let Some(old) = self.find_old(key_start, &name) {
            self.cursor = old + 1;
            let series = self.old.series[old].clone();
            if series.as_ref().is_some_and(|s| self.seen.insert(s.id)) {
                self.new.series.push(series);
                self.new.prefixes.extend_from_slice(slice_by_ends(&self.old.prefixes, &self.old.prefix_ends, old));
                self.new.prefix_ends.push(self.new.prefixes.len() as u32);
                return;
            }
        }

        let mut pieces = pieces.map(|p| String::from_utf8_lossy(clip(p)));
        let suffix = pieces.next().unwrap_or_default();
        let full_name = format!("{name}{suffix}");
        let pairs: Vec<(String, String)> = match names {
            Names::Family(names) => {
                names.iter().map(|n| (*n).to_string()).zip(pieces.map(|v| v.into_owned())).collect()
            }
            Names::InPieces => {
                let mut pairs = Vec::new();
                while let (Some(n), Some(v)) = (pieces.next(), pieces.next()) {
                    pairs.push((n.into_owned(), v.into_owned()));
                }
                pairs
            }
        };
        let mut labels = LabelsBuilder::default();
        labels.set(METRIC_NAME, &full_name);
        for (n, v) in &pairs {
            labels.set(n, v);
        }
        let series = table.intern_sampled(labels);
        if self.seen.insert(series.id) {
            self.new.series.push(Some(series));
            let out = &mut self.new.prefixes;
            out.extend_from_slice(full_name.as_bytes());
            for (i, (n, v)) in pairs.iter().enumerate() {
                out.push(if i == 0 { b'{' } else { b',' });
                out.extend_from_slice(n.as_bytes());
                out.extend_from_slice(b"=\"");
                out.extend_from_slice(escape_label_value(v).as_bytes());
                out.push(b'"');
            }
            out.extend_from_slice(if pairs.is_empty() { b" " } else { b"} " });
        } else {
            self.new.series.push(None);
        }
        self.new.prefix_ends.push(self.new.prefixes.len() as u32);
    }

    /// The position in the old layout, near the cursor and in the same family, of the key that was just written.
    fn find_old(&self, key_start: usize, family: &str) -> Option<usize> {
        let key = &self.new.keys[key_start..];
        let found = (self.cursor..self.old.len().min(self.cursor + LOOK_AHEAD)).find(|i| self.old.key(*i) == key)?;
        let index = self.old.families.partition_point(|(_, end)| *end as usize <= found);
        (*self.old.families.get(index)?.0.name == *family).then_some(found)
    }

    fn finish(mut self) -> Layout {
        self.new.families.dedup_by(|later, earlier| later.1 == earlier.1 && later.0.name == earlier.0.name);
        let new = &mut self.new;
        new.families.shrink_to_fit();
        new.series.shrink_to_fit();
        new.prefixes.shrink_to_fit();
        new.prefix_ends.shrink_to_fit();
        new.keys.shrink_to_fit();
        new.key_ends.shrink_to_fit();
        self.new
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Labels;

    fn writer() -> Writer {
        Writer::new("test", Arc::new(SeriesTable::new(Labels::from_pairs([("job", "node")]))), 1000)
    }

    fn write(w: &mut Writer, devices: &[&str], value: f64) -> Arc<Section> {
        let mut f = w.gauge("up_ratio", "Help.", ["device"]);
        for d in devices {
            f.put([d.as_bytes()], value);
        }
        w.counter("errors_total", "Errors.", []).put([], value);
        w.finish().0
    }

    fn lines(s: &Section) -> Vec<String> {
        (0..s.layout.len())
            .map(|i| format!("{}{}", String::from_utf8_lossy(s.layout.prefix(i)), s.values[i]))
            .filter(|l| l.contains(' '))
            .collect()
    }

    #[test]
    fn a_steady_run_keeps_the_layout() {
        let mut w = writer();
        let a = write(&mut w, &["sda", "sdb"], 1.0);
        let b = write(&mut w, &["sda", "sdb"], 2.0);
        assert!(Arc::ptr_eq(&a.layout, &b.layout));
        assert_eq!(lines(&b), ["up_ratio{device=\"sda\"} 2", "up_ratio{device=\"sdb\"} 2", "errors_total 2"]);
    }

    #[test]
    fn what_comes_and_goes_keeps_the_identity_of_the_rest() {
        let mut w = writer();
        let runs: &[&[&str]] =
            &[&["a", "b", "c"], &["b", "c"], &["a", "b", "c", "d"], &["d"], &[], &["c", "b", "a"], &["a"], &["a", "b"]];
        let mut ids: std::collections::HashMap<String, SeriesId> = Default::default();
        let mut keep = Vec::new();
        for devices in runs {
            let s = write(&mut w, devices, 1.0);
            let expected: Vec<String> = devices
                .iter()
                .map(|d| format!("up_ratio{{device=\"{d}\"}} 1"))
                .chain(["errors_total 1".into()])
                .collect();
            assert_eq!(lines(&s), expected);
            let ranges: Vec<_> = s.layout.families().map(|(f, r)| (f.name.to_string(), r.len())).collect();
            assert_eq!(ranges.last(), Some(&("errors_total".to_string(), 1)), "{ranges:?}");
            assert_eq!(ranges.iter().map(|(_, n)| n).sum::<usize>(), s.layout.len());
            for (i, series) in s.layout.series().iter().enumerate() {
                let series = series.as_ref().unwrap();
                let line = String::from_utf8_lossy(s.layout.prefix(i)).into_owned();
                assert_eq!(*ids.entry(line).or_insert(series.id), series.id);
            }
            keep.push(s);
        }
    }

    #[test]
    fn duplicates_are_written_once() {
        let mut w = writer();
        for _ in 0..2 {
            let mut f = w.gauge("m", "H", ["d"]);
            f.put([b"x"], 1.0).put([b"x"], 2.0).put([b"y"], 3.0);
            let (s, stats) = w.finish();
            assert_eq!(lines(&s), ["m{d=\"x\"} 1", "m{d=\"y\"} 3"]);
            assert_eq!(stats.duplicates, 1);
        }
    }

    #[test]
    fn past_the_limit_samples_are_dropped_and_counted() {
        let mut w = Writer::new("test", Arc::new(SeriesTable::new(Labels::empty())), 2);
        for _ in 0..2 {
            w.gauge("a", "", ["n"]).put([b"1"], 1.0).put([b"2"], 1.0).put([b"3"], 1.0);
            w.gauge("b", "", []).put([], 1.0);
            let (s, stats) = w.finish();
            assert_eq!((s.values.len(), stats.dropped), (2, 2));
            assert_eq!(s.layout.families().count(), 1);
        }
    }

    #[test]
    fn labels_of_their_own_and_bytes_that_are_not_text() {
        let mut w = writer();
        w.family(MetricType::Histogram, "h", "H", []).put_labels("_bucket", &[(b"le", b"+Inf")], 3.0).put_labels(
            "_sum",
            &[],
            1.5,
        );
        w.gauge("g", "", ["comm"]).put([b"a\"\xff\n"], 1.0);
        let (s, _) = w.finish();
        assert_eq!(lines(&s), ["h_bucket{le=\"+Inf\"} 3", "h_sum 1.5", "g{comm=\"a\\\"\u{fffd}\\n\"} 1"]);
        assert_eq!(s.layout.series()[0].as_ref().unwrap().labels.to_string(), "h_bucket{job=\"node\", le=\"+Inf\"}");
    }
}
