//! What is handed over to be written, and when: the tick thread's part.
//!
//! A *cycle* writes, a few series between any two ticks, every chunk that is in no file yet and then every head; when it
//! is through, the log before it is not needed any more. It begins with a log of its own, so the log that must be read
//! after a crash is never much older than two cycles.

use std::time::{Duration, Instant};

use super::frame::{self, Kind};
use super::record::{Cut, FileKind, FileName, put_chunk, put_cuts, put_head};
use super::restore::Found;
use super::ticks::{Mark, TickWriter};
use super::writer::{DiskWriter, Task};
use crate::history::series::Slot;
use crate::model::Labels;

/// From the beginning of a cycle to that of the next.
const CYCLE: Duration = Duration::from_secs(300);
/// How long a disk that failed is left alone.
const RETRY: Duration = Duration::from_secs(10);
/// Series that one slice of a cycle takes at least, and into how many slices a large cycle is cut.
const SLICE_SERIES: usize = 1_000;
const MOST_SLICES: usize = 128;
/// Bytes after which a slice ends early, for each of its series: when all chunks are written anew.
const SLICE_BYTES_PER_SERIES: usize = 512;
/// While more waits than this, a cycle waits too.
const BUSY: usize = 512 << 10;
/// What may wait before the disk is too slow, and for each series.
const MOST_WAITING: usize = 1 << 20;
const MOST_WAITING_PER_SERIES: usize = 400;
/// What the buffer of ticks keeps.
const SPARE: usize = 64 << 10;
/// A file of chunks that is larger is ended; a larger history has larger files.
const CHUNKS_BYTES: u64 = 1 << 20;
const MOST_CHUNKS_BYTES: u64 = 32 << 20;
/// A log that is larger is ended, and a larger one than its heads ends its cycle.
pub const LOG_BYTES: u64 = 16 << 20;
/// A file of which less than one in so many bytes is still needed is written anew.
const SPARSE: u64 = 8;
/// So are files of chunks that are smaller than this, once there are more of them than so many.
const SMALL_BYTES: u64 = CHUNKS_BYTES / 16;
const MANY_SMALL: usize = 16;
/// An agent that runs has seldom more logs than these; one that ends in a crash soon after each start, one more each time.
const MANY_LOGS: usize = 4;
/// For how long the start waits for these to be replaced.
const SETTLE: Duration = Duration::from_secs(5);

/// A file on the disk.
#[derive(Clone, Copy, Debug)]
pub struct KeptFile {
    pub name: FileName,
    pub bytes: u64,
}

/// The mark of a file of chunks in [`Chunk::file`](crate::history::chunk::Chunk::file): never zero, and not the same for
/// files that exist at the same time.
pub fn mark_of(name: FileName) -> u16 {
    (name.number % u64::from(u16::MAX)) as u16 + 1
}

/// Writes a history to the disk.
pub struct Journal {
    writer: DiskWriter,
    ticks: TickWriter,
    /// Frames of ticks that are not handed over yet.
    out: Vec<u8>,
    next_series: u64,
    next_file: u64,
    epoch: u32,
    cuts: Vec<Cut>,
    /// Everything that is on the disk, by number. The last of a kind is the one that is written, where there is one.
    files: Vec<KeptFile>,
    /// Those of them whose removal was handed over, and is done unless the disk fails.
    doomed: Vec<FileName>,
    log: Option<FileName>,
    chunks: Option<FileName>,
    cycle_began: Instant,
    /// The place of the series that the cycle has come to, and the number of its first log.
    cycle: Option<(usize, u64)>,
    /// Of the last cycle, and of the log since.
    heads_bytes: u64,
    log_bytes: u64,
    /// When the disk failed.
    failed: Option<Instant>,
    /// The number of the first file since all was begun anew.
    attempt: Option<u64>,
    /// How many there are, near enough.
    series: usize,
}

impl Journal {
    /// `found`: what is on the disk already.
    pub fn new(writer: DiskWriter, found: Found) -> Journal {
        let Found { files, cuts, next: next_file, .. } = found;
        let of_files = files.iter().map(|f| f.name.epoch).max().unwrap_or(0);
        let mut journal = Journal {
            writer,
            ticks: TickWriter::new(next_file),
            out: Vec::new(),
            next_series: 1,
            next_file,
            epoch: cuts.iter().map(|c| c.epoch).max().unwrap_or(0).max(of_files),
            cuts,
            files,
            doomed: Vec::new(),
            log: None,
            chunks: None,
            cycle_began: Instant::now(),
            cycle: None,
            heads_bytes: 0,
            log_bytes: 0,
            failed: None,
            attempt: None,
            series: 0,
        };
        journal.begin_cycle();
        journal
    }

    /// To be called once, after history has been read, by who may wait for the disk. Goes through the first cycle at once
    /// if many logs were found, so that they go however soon the agent is killed: in the few seconds between two crashes a
    /// cycle over many series does not come to its end.
    pub fn settle(&mut self, slots: &mut [Option<Box<Slot>>], series: usize) {
        self.series = series;
        self.thin_out(slots);
        if self.files.iter().filter(|file| file.name.kind == FileKind::Log).count() <= MANY_LOGS {
            return;
        }
        let (began, found) = (Instant::now(), self.writer.safe());
        let is_done = |journal: &Journal| journal.cycle.is_none() && journal.writer.safe() != found;
        while !is_done(self) && !self.writer.has_failed() && began.elapsed() < SETTLE {
            match self.cycle.is_some() && self.writer.waiting() < BUSY {
                true => self.write_slice(slots),
                false => std::thread::sleep(Duration::from_millis(1)),
            }
        }
    }

    /// Notes a sample that was appended.
    #[inline]
    pub fn sample(&mut self, mark: &mut Mark, labels: &Labels, time: i64, value: f64) {
        if self.failed.is_some() {
            return;
        }
        if mark.number == 0 {
            self.introduce(mark, labels);
        }
        self.ticks.sample(&mut self.out, mark, time, value);
    }

    /// Gives a series its number.
    #[cold]
    fn introduce(&mut self, mark: &mut Mark, labels: &Labels) {
        self.ticks.finish(&mut self.out);
        mark.number = self.next_series;
        mark.forget_base();
        self.next_series += 1;
        self.series += 1;
        let begin = frame::begin(&mut self.out, Kind::Head);
        put_head(&mut self.out, self.ticks.run(), mark.number, labels, None);
        frame::finish(&mut self.out, begin);
    }

    /// Another tick begins; what was noted so far is handed over.
    pub fn advance(&mut self) {
        self.flush();
        self.ticks.advance();
    }

    /// Hands over what was noted.
    pub fn flush(&mut self) {
        self.ticks.finish(&mut self.out);
        if self.out.is_empty() {
            return;
        }
        let mut out = std::mem::take(&mut self.out);
        self.append(FileKind::Log, &out);
        // The first tick of many series is many times as long as the next.
        out.shrink_to(SPARE.max(2 * out.len()));
        out.clear();
        self.out = out;
    }

    fn append(&mut self, kind: FileKind, bytes: &[u8]) {
        if self.failed.is_some() || bytes.is_empty() {
            return;
        }
        self.make_room(kind);
        let current = match kind {
            FileKind::Log => self.log,
            FileKind::Chunks => self.chunks,
        };
        if let Some(file) = self.files.iter_mut().find(|f| Some(f.name) == current) {
            file.bytes += bytes.len() as u64;
        }
        if kind == FileKind::Log {
            self.log_bytes += bytes.len() as u64;
        }
        let waiting = self.writer.append(kind, bytes);
        if waiting > MOST_WAITING + MOST_WAITING_PER_SERIES * self.series {
            self.writer.give_up(waiting);
        }
    }

    /// Begins a file where there is none to write to, or the one that is is large enough.
    fn make_room(&mut self, kind: FileKind) {
        let (current, most) = match kind {
            FileKind::Log => (self.log, LOG_BYTES),
            FileKind::Chunks => {
                let all: u64 = self.files.iter().map(|f| f.bytes).sum();
                (self.chunks, (all / 32).clamp(CHUNKS_BYTES, MOST_CHUNKS_BYTES))
            }
        };
        let bytes = current.and_then(|name| self.files.iter().find(|f| f.name == name)).map_or(u64::MAX, |f| f.bytes);
        if bytes >= most {
            self.open(kind);
        }
    }

    fn open(&mut self, kind: FileKind) -> FileName {
        let name = FileName { kind, number: self.next_file, epoch: self.epoch };
        self.next_file += 1;
        let mut head = Vec::new();
        let begin = frame::begin(&mut head, Kind::File);
        put_cuts(&mut head, &self.cuts);
        frame::finish(&mut head, begin);
        self.writer.push(Task::Open(name));
        self.writer.append(kind, &head);
        self.files.push(KeptFile { name, bytes: head.len() as u64 });
        match kind {
            FileKind::Log => self.log = Some(name),
            FileKind::Chunks => self.chunks = Some(name),
        }
        name
    }

    /// The samples after this time are forgotten: what is noted from here on goes to files that say so.
    pub fn cut(&mut self, time: i64) {
        self.flush();
        self.epoch = self.epoch.saturating_add(1);
        let oldest = self.files.iter().map(|f| f.name.epoch).min().unwrap_or(self.epoch);
        // Of cuts before the oldest file nothing is left to cut.
        self.cuts.retain(|cut| cut.epoch > oldest);
        self.cuts.push(Cut { epoch: self.epoch, time });
        self.chunks = None;
        if self.failed.is_none() {
            self.open(FileKind::Log);
        }
    }

    /// Between ticks: goes on with what is to be written, for a moment.
    pub fn work(&mut self, slots: &mut [Option<Box<Slot>>], series: usize, now: Instant) {
        self.series = series;
        if self.failed.is_none() && self.writer.has_failed() {
            self.failed = Some(now);
            self.out = Vec::new();
        }
        if let Some(since) = self.failed {
            if now.saturating_duration_since(since) < RETRY {
                return;
            }
            self.begin_anew(slots);
        }
        self.flush();
        let due = now.saturating_duration_since(self.cycle_began) >= CYCLE;
        let long = self.log_bytes > LOG_BYTES.max(2 * self.heads_bytes);
        if self.cycle.is_none() && (due || long) {
            self.cycle_began = now;
            self.begin_cycle();
            self.thin_out(slots);
        }
        if self.writer.waiting() < BUSY {
            self.write_slice(slots);
        }
    }

    fn begin_cycle(&mut self) {
        let doomed = std::mem::take(&mut self.doomed);
        self.files.retain(|file| !doomed.contains(&file.name));
        let log = self.open(FileKind::Log);
        self.cycle = Some((0, log.number));
        (self.heads_bytes, self.log_bytes) = (0, 0);
    }

    /// Marks the chunks of files that are hardly needed any more, or are small and many, to be written to a new one.
    fn thin_out(&self, slots: &mut [Option<Box<Slot>>]) {
        let needed = bytes_in_files(slots);
        let is_ended = |f: &&KeptFile| f.name.kind == FileKind::Chunks && Some(f.name) != self.chunks;
        let ended: Vec<&KeptFile> = self.files.iter().filter(is_ended).collect();
        let has_many_small = ended.iter().filter(|f| f.bytes < SMALL_BYTES).count() > MANY_SMALL;
        let is_sparse = |f: &&&KeptFile| {
            let needed = needed.get(&mark_of(f.name)).copied().unwrap_or(0);
            needed < f.bytes / SPARSE || (has_many_small && f.bytes < SMALL_BYTES)
        };
        let sparse: Vec<u16> = ended.iter().filter(is_sparse).map(|f| mark_of(f.name)).collect();
        if !sparse.is_empty() {
            let chunks = slots.iter_mut().flatten().flat_map(|slot| &mut slot.sealed);
            chunks.filter(|chunk| sparse.contains(&chunk.file)).for_each(|chunk| chunk.file = 0);
        }
    }

    fn write_slice(&mut self, slots: &mut [Option<Box<Slot>>]) {
        let Some((from, first_log)) = self.cycle else { return };
        let series = SLICE_SERIES.max(slots.len() / MOST_SLICES);
        let (mut chunks, mut heads) = (Vec::new(), Vec::new());
        let mut place = from;
        let mut file = 0;
        for slot in slots.iter_mut().skip(from).take(series) {
            place += 1;
            let Some(slot) = slot else { continue };
            let slot = &mut **slot;
            for chunk in slot.sealed.iter_mut().filter(|chunk| chunk.file == 0) {
                if file == 0 {
                    self.make_room(FileKind::Chunks);
                    file = self.chunks.map_or(0, mark_of);
                }
                let begin = frame::begin(&mut chunks, Kind::Chunk);
                put_chunk(&mut chunks, &slot.series.labels, chunk);
                frame::finish(&mut chunks, begin);
                chunk.file = file;
            }
            if slot.mark.number == 0 {
                slot.mark.number = self.next_series;
                self.next_series += 1;
            }
            slot.mark.forget_base();
            let begin = frame::begin(&mut heads, Kind::Head);
            put_head(&mut heads, self.ticks.run(), slot.mark.number, &slot.series.labels, Some(&slot.head));
            frame::finish(&mut heads, begin);
            if chunks.len() + heads.len() > SLICE_BYTES_PER_SERIES * series {
                break;
            }
        }
        self.heads_bytes += heads.len() as u64;
        // In this order: what a head does not have any more is in chunks.
        self.append(FileKind::Chunks, &chunks);
        self.append(FileKind::Log, &heads);
        if place < slots.len() {
            self.cycle = Some((place, first_log));
        } else {
            self.end_cycle(slots, first_log);
        }
    }

    /// Everything is in files that are newer than the log before this cycle.
    fn end_cycle(&mut self, slots: &mut [Option<Box<Slot>>], first_log: u64) {
        self.cycle = None;
        self.log_bytes = 0;
        self.writer.push(Task::Sync(self.chunks.map_or(self.next_file, |name| name.number)));
        let needed = bytes_in_files(slots);
        let mut size = 0;
        for file in &self.files {
            let keep = match file.name.kind {
                FileKind::Log => file.name.number >= first_log,
                FileKind::Chunks => Some(file.name) == self.chunks || needed.contains_key(&mark_of(file.name)),
            };
            if keep {
                size += file.bytes;
            } else {
                self.doomed.push(file.name);
                self.writer.push(Task::Remove(file.name));
            }
        }
        self.writer.metrics().size.set(i64::try_from(size).unwrap_or(i64::MAX));
    }

    /// The disk had failed: what is not on it for sure is written again, and ticks speak of series by new numbers.
    fn begin_anew(&mut self, slots: &mut [Option<Box<Slot>>]) {
        let safe = self.writer.safe();
        let lost = |file: u16| {
            let mut of_mark = self.files.iter().filter(|f| f.name.kind == FileKind::Chunks && mark_of(f.name) == file);
            !of_mark.any(|f| f.name.number < safe)
        };
        for slot in slots.iter_mut().flatten() {
            slot.mark = Mark::default();
            for chunk in &mut slot.sealed {
                if chunk.file != 0 && lost(chunk.file) {
                    chunk.file = 0;
                }
            }
        }
        self.failed = None;
        self.writer.restart();
        self.doomed.clear();
        if let Some(first) = self.attempt.replace(self.next_file).filter(|first| safe < *first) {
            // On a full disk there would be more of them with each attempt.
            let (kept, vain): (Vec<_>, Vec<_>) = self.files.drain(..).partition(|file| file.name.number < first);
            self.files = kept;
            vain.into_iter().for_each(|file| self.writer.push(Task::Remove(file.name)));
        }
        (self.log, self.chunks) = (None, None);
        self.ticks = TickWriter::new(self.next_file);
        self.out.clear();
        self.begin_cycle();
    }

    /// The last word: everything that was noted is on the disk when this returns, or cannot be.
    pub fn close(mut self) {
        self.flush();
        if self.failed.is_none() {
            self.writer.push(Task::Sync(self.writer.safe()));
        }
    }
}

/// Bytes of chunks by the marks of the files that they stand in.
fn bytes_in_files(slots: &[Option<Box<Slot>>]) -> hashbrown::HashMap<u16, u64> {
    let mut bytes = hashbrown::HashMap::new();
    for slot in slots.iter().flatten() {
        let labels = slot.series.labels.heap_size() as u64;
        for chunk in slot.sealed.iter().filter(|chunk| chunk.file != 0) {
            *bytes.entry(chunk.file).or_insert(0) += chunk.size() as u64 + labels;
        }
    }
    bytes
}
