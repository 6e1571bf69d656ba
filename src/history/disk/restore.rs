//! Reading what is on the disk: chunks first, then heads and ticks, of each whatever is later than what is there.
//!
//! Files of an earlier epoch are read up to the time to which the clock was set back after them. What is damaged is
//! passed over, said and counted.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use hashbrown::HashMap;

use super::frame::{Frames, Kind, MAGIC};
use super::journal::{KeptFile, mark_of};
use super::record::{Cut, FileKind, FileName, labels_of, take_chunk, take_cuts, take_head};
use super::ticks::{self, Known, Numbers};
use crate::history::chunk::Chunk;
use crate::history::head::{Head, Scratch};
use crate::history::retention::{cutoff_to_free, keep_of};
use crate::history::series::Slot;
use crate::history::{History, is_stale_marker};
use crate::model::{Series, SeriesTable, Timestamp};

/// No file that is ours is larger.
const MOST_BYTES: u64 = 256 << 20;
/// The first frame of a file is within so many bytes.
const HEAD_BYTES: u64 = 64 << 10;

/// What was found.
#[derive(Default, Debug)]
pub struct Found {
    pub files: Vec<KeptFile>,
    pub cuts: Vec<Cut>,
    /// The number of the next file; those that are left alone have theirs, too.
    pub next: u64,
    /// Bytes that could not be read, the torn ends of logs not among them.
    pub damaged: u64,
}

/// Reads the files in `dir` into a history that is empty.
pub fn restore(dir: &Path, history: &mut History, table: &SeriesTable, now: Timestamp) -> io::Result<Found> {
    let mut names: Vec<FileName> =
        std::fs::read_dir(dir)?.filter_map(|entry| FileName::parse(entry.ok()?.file_name().to_str()?)).collect();
    names.sort_unstable();
    let next = names.iter().map(|name| name.number).max().map_or(1, |n| n.saturating_add(1));
    let mut found = Found { next, ..Found::default() };
    for name in &names {
        if let Ok(bytes) = read(&dir.join(name.to_string()), HEAD_BYTES)
            && let Some((kind, payload)) = Frames::new(&bytes).next()
            && kind == Kind::File as u8
        {
            found.cuts.extend(take_cuts(payload));
        }
    }
    found.cuts.sort_unstable_by_key(|cut| cut.epoch);
    found.cuts.dedup();

    let mut restorer = Restorer {
        history,
        table,
        now,
        found,
        names: HashMap::new(),
        series: Vec::new(),
        bytes: 0,
        scratch: Scratch::default(),
    };
    let (chunks, logs): (Vec<FileName>, Vec<FileName>) = names.into_iter().partition(|n| n.kind == FileKind::Chunks);
    for name in chunks {
        restorer.file(dir, name, Restorer::chunks);
    }
    restorer.adopt_chunks();
    let mut numbers = (0, Numbers::new());
    for name in logs {
        restorer.file(dir, name, |restorer, name, frames| restorer.log(name, frames, &mut numbers));
    }
    restorer.finish();
    Ok(restorer.found)
}

fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A series that was found, with its chunks until they are adopted.
struct FoundSeries {
    series: Arc<Series>,
    chunks: Vec<Chunk>,
    /// Time of the last sample in chunks: from there on logs have it.
    floor: i64,
    /// Time of the first sample that came from a log.
    first: Option<i64>,
}

/// What is known of a name.
#[derive(Clone, Copy)]
struct Named {
    /// In [`Restorer::series`]; nothing as long as nothing was found that is kept, and for those that were refused.
    place: Option<usize>,
    /// What ends before this is not kept.
    cutoff: i64,
}

struct Restorer<'h> {
    history: &'h mut History,
    table: &'h SeriesTable,
    now: Timestamp,
    found: Found,
    /// By the labels as they stand in files.
    names: HashMap<Box<[u8]>, Named>,
    series: Vec<FoundSeries>,
    /// Memory that chunks take until they are adopted.
    bytes: usize,
    scratch: Scratch,
}

impl Restorer<'_> {
    /// Reads a file by `work`, which returns the time of the newest sample before the first damage.
    fn file(&mut self, dir: &Path, name: FileName, work: impl FnOnce(&mut Self, FileName, &mut Frames) -> Option<i64>) {
        let path = dir.join(name.to_string());
        let bytes = match read(&path, MOST_BYTES) {
            Ok(bytes) => bytes,
            Err(error) => {
                tracing::error!(file = %path.display(), %error, "a file of history cannot be read: it is left out");
                return;
            }
        };
        let mut frames = Frames::new(&bytes);
        let before = work(self, name, &mut frames);
        let has_nothing = (frames.lost + frames.tail) as usize == bytes.len();
        if has_nothing && bytes.starts_with(&MAGIC[..3]) && bytes.get(3).is_some_and(|version| *version > MAGIC[3]) {
            tracing::error!(file = %path.display(), "a later version wrote this file of history: it is left alone");
            return;
        }
        // Where the agent was killed there may be a torn end: that is no damage.
        if frames.lost > 0 {
            self.found.damaged += frames.lost;
            let around = before.map_or_else(|| "unknown".to_string(), |t| Timestamp::from_millis(t).to_string());
            tracing::error!(
                file = %path.display(),
                bytes = frames.lost,
                places = frames.places,
                around,
                "history is damaged: what cannot be read is left out"
            );
        }
        self.found.files.push(KeptFile { name, bytes: bytes.len() as u64 });
    }

    /// What was said later than this in a file was forgotten afterwards.
    fn limit(&self, name: FileName) -> i64 {
        let later = self.found.cuts.iter().filter(|cut| cut.epoch > name.epoch);
        later.map(|cut| cut.time).min().unwrap_or(i64::MAX)
    }

    /// The series of these labels, of which something was found that ends at `end`; nothing if that is not kept. Files
    /// have many series that are not kept any more: they take no place, or those that are would not find one.
    fn series(&mut self, labels: &[u8], end: i64) -> Option<usize> {
        if let Some(named) = self.names.get(labels)
            && (named.place.is_some() || end < named.cutoff)
        {
            return named.place.filter(|_| end >= named.cutoff);
        }
        // What no label set can be made of is not kept, whenever it ends.
        let mut named = Named { place: None, cutoff: i64::MAX };
        // History refuses what is too much. Here are also those that have nothing but a number.
        if self.series.len() / 2 < self.history.limits.max_series
            && let Some(labels) = labels_of(labels)
        {
            let keep = std::time::Duration::from_secs(keep_of(&self.history.keeps, &labels).into());
            named.cutoff = (self.now - self.history.limits.retention.max(keep)).as_millis();
            if end >= named.cutoff {
                named.place = Some(self.series.len());
                let series = self.table.intern(labels);
                self.series.push(FoundSeries { series, chunks: Vec::new(), floor: i64::MIN, first: None });
            }
        }
        self.names.insert(labels.into(), named);
        named.place
    }

    fn chunks(&mut self, name: FileName, frames: &mut Frames) -> Option<i64> {
        let limit = self.limit(name);
        let (mut newest, mut before) = (None, None);
        while let Some((kind, payload)) = frames.next() {
            if frames.lost > 0 {
                before = before.or(newest);
            }
            if kind != Kind::Chunk as u8 {
                continue;
            }
            let Some((labels, mut chunk)) = take_chunk(payload) else { continue };
            newest = newest.max(Some(chunk.end()));
            if chunk.start > limit {
                continue;
            }
            chunk.file = mark_of(name);
            if chunk.end() > limit {
                let Some(kept) = rewritten(chunk.iter().take_while(|(t, _)| *t <= limit)) else { continue };
                chunk = kept;
            }
            let place = self.series(labels, chunk.end());
            let Some(series) = place.and_then(|place| self.series.get_mut(place)) else { continue };
            self.bytes += chunk.size();
            series.chunks.push(chunk);
            let most = self.history.limits.max_bytes;
            if self.bytes > most.saturating_add(most / 4) {
                self.drop_oldest(most);
            }
        }
        before.or(newest)
    }

    /// Keeps the newest chunks, so many bytes.
    fn drop_oldest(&mut self, most: usize) {
        let chunks = self.series.iter().flat_map(|s| s.chunks.iter().map(|c| (c.end(), c.size())));
        let cutoff = cutoff_to_free(chunks, self.bytes.saturating_sub(most));
        for series in &mut self.series {
            series.chunks.retain(|chunk| chunk.end() >= cutoff);
        }
        self.bytes = self.series.iter().flat_map(|s| &s.chunks).map(Chunk::size).sum();
    }

    /// Puts the chunks into history, each series' in order and no time twice: after the clock was set back, and after a
    /// crash in the midst of rewriting, files have some of it twice.
    fn adopt_chunks(&mut self) {
        for place in 0..self.series.len() {
            let Some(found) = self.series.get_mut(place) else { continue };
            let mut chunks = std::mem::take(&mut found.chunks);
            if chunks.is_empty() {
                continue;
            }
            let series = found.series.clone();
            chunks.sort_by_key(|chunk| (chunk.start, std::cmp::Reverse(chunk.end())));
            let Some(slot) = adopted(self.history, &series) else { continue };
            let mut end = i64::MIN;
            for mut chunk in chunks {
                if chunk.end() <= end {
                    continue;
                }
                if chunk.start <= end {
                    let Some(rest) = rewritten(chunk.iter().filter(|(t, _)| *t > end)) else { continue };
                    chunk = rest;
                }
                end = chunk.end();
                slot.sealed.push_back(chunk);
            }
            slot.sealed.shrink_to_fit();
            slot.find_last();
            found.floor = slot.last.time;
        }
    }

    fn log(&mut self, name: FileName, frames: &mut Frames, (run, numbers): &mut (u64, Numbers)) -> Option<i64> {
        let limit = self.limit(name);
        let (mut newest, mut before) = (None, None);
        while let Some((kind, payload)) = frames.next() {
            if frames.lost > 0 {
                before = before.or(newest);
            }
            if kind == Kind::Head as u8 {
                let Some(head) = take_head(payload) else { continue };
                if head.run != *run {
                    numbers.clear();
                    *run = head.run;
                }
                // Ticks that are yet to come may speak of it.
                let Some(place) = self.series(head.labels, i64::MAX) else { continue };
                numbers.insert(head.number, Known::new(place));
                let samples = || Head::read(head.samples).into_iter().flatten().take_while(|(t, _)| *t <= limit);
                self.make_way(place, samples().next());
                if !self.put_head(place, head.samples, limit) {
                    samples().for_each(|(time, value)| self.append(place, time, value));
                }
            } else if kind == Kind::Ticks as u8 && ticks::run_of(payload) == *run {
                ticks::read(payload, numbers, |place, time, value| {
                    newest = newest.max(Some(time));
                    if time <= limit {
                        self.append(place, time, value);
                    }
                });
            }
        }
        before.or(newest)
    }

    /// A head that begins with this sample comes. When its log began, ticks were noted before the heads were; the head
    /// has these samples and those before them, so it takes their place.
    fn make_way(&mut self, place: usize, first: Option<(i64, f64)>) {
        let Some(found) = self.series.get_mut(place) else { return };
        let is_earlier = |(time, _): (i64, f64)| found.first.is_some_and(|first| time < first);
        if first.is_some_and(is_earlier)
            && let Some(Some(slot)) = self.history.slots.get_mut(found.series.id.index())
        {
            slot.forget_after(found.floor, &mut self.scratch);
            found.first = None;
        }
    }

    /// Puts a head back as it stood, which is much less work than to append its samples; false where that cannot be,
    /// because the series has samples in its own head or at these times, or there is something wrong with this one.
    fn put_head(&mut self, place: usize, samples: &[u8], limit: i64) -> bool {
        let Some(found) = self.series.get_mut(place) else { return false };
        let Some(head) = Head::restore(samples).filter(|head| head.last().0 <= limit) else { return false };
        let Some(slot) = adopted(self.history, &found.series) else { return false };
        if !slot.head.is_empty() || head.start() <= slot.last.time || is_stale_marker(head.last().1) {
            return false;
        }
        found.first.get_or_insert(head.start());
        slot.last = head.last().into();
        slot.head = head;
        true
    }

    /// Appends what is later than what the series has.
    #[inline]
    fn append(&mut self, place: usize, time: i64, value: f64) {
        let Some(found) = self.series.get_mut(place) else { return };
        let Some(slot) = adopted(self.history, &found.series) else { return };
        // What it has already is refused.
        if slot.append(time, value, &mut self.scratch).is_ok() && found.first.is_none() {
            found.first = Some(time);
        }
    }

    /// Counts what there is, and notes what must be ended if it does not go on.
    fn finish(&mut self) {
        let history = &mut *self.history;
        for slot in history.slots.iter().flatten() {
            let sealed: u64 = slot.sealed.iter().map(|chunk| u64::from(chunk.count)).sum();
            history.stats.samples += sealed + u64::from(slot.head.len());
            history.stats.chunks += slot.sealed.len();
            history.sealed_bytes += slot.sealed.iter().map(Chunk::size).sum::<usize>();
            history.last_snapshot = history.last_snapshot.max(Timestamp::from_millis(slot.last.time));
            if !slot.is_empty() && !is_stale_marker(slot.last.value) {
                history.restored.push((slot.series.clone(), slot.last.time));
            }
        }
        history.gc(self.now);
    }
}

/// The place of a series in history, made if there is none; nothing when there are too many.
#[inline]
fn adopted<'h>(history: &'h mut History, series: &Arc<Series>) -> Option<&'h mut Slot> {
    let is_there = matches!(history.slots.get(series.id.index()), Some(Some(_)));
    if !is_there && !history.insert(series) {
        return None;
    }
    history.slots.get_mut(series.id.index())?.as_deref_mut()
}

/// A chunk of these samples, which is in no file; nothing if there are none.
fn rewritten(samples: impl Iterator<Item = (i64, f64)>) -> Option<Chunk> {
    let mut head = Head::default();
    for (time, value) in samples {
        if head.fits(time) {
            head.push(time, value);
        }
    }
    (!head.is_empty()).then(|| head.seal(&mut Scratch::default()))
}
