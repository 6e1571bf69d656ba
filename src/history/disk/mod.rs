//! History over a restart: files under the storage directory, written as ticks come and read at the start.
//!
//! Two kinds of files, both rows of checksummed [frames](frame): *chunks* hold what is sealed and does not change any
//! more; a *log* holds the heads as they stood, and after them what each tick appended, in a few bytes for what changed.
//! The [journal] decides, on the tick thread, what is written when; the [writer], a thread of its own, writes it and is
//! waited for by nobody; [restore] reads it all.
//!
//! A process that is killed loses nothing that was handed to the kernel; a machine that loses its power, the seconds that
//! the kernel had not written. What is in memory decides: when the disk was full or gone, everything is written anew.

mod frame;
mod journal;
mod record;
mod restore;
#[cfg(test)]
mod tests;
mod ticks;
mod writer;

use std::path::{Path, PathBuf};
use std::time::Instant;

pub use journal::Journal;
pub use ticks::Mark;
pub use writer::DiskMetrics;

use super::History;
use crate::model::{SeriesTable, Timestamp};
use writer::DiskWriter;

/// Where a history is kept.
#[derive(Clone)]
pub struct Place {
    pub dir: PathBuf,
    pub metrics: DiskMetrics,
}

impl History {
    /// Reads what is on the disk into this history, which is empty, and writes to the disk from now on.
    ///
    /// A directory that cannot be used is said in the log; the history is then in memory only.
    pub fn open(&mut self, place: &Place, table: &SeriesTable, now: Timestamp) {
        let began = Instant::now();
        match self.attach(place, table, now) {
            Ok(()) => {
                let stats = self.stats();
                let newest = Some(self.newest()).filter(|newest| *newest > Timestamp::MIN);
                tracing::info!(
                    series = stats.series,
                    samples = stats.samples,
                    until = newest.map(|t| t.to_string()),
                    took_ms = began.elapsed().as_millis() as u64,
                    "history read from the disk"
                );
            }
            Err(error) => {
                place.metrics.errors.inc();
                tracing::error!(
                    dir = %place.dir.display(),
                    %error,
                    "history cannot be kept on the disk, and is in memory only until the agent is started again"
                );
            }
        }
    }

    fn attach(&mut self, place: &Place, table: &SeriesTable, now: Timestamp) -> std::io::Result<()> {
        let handle = writer::take_directory(&place.dir)?;
        let found = restore::restore(Path::new(&place.dir), self, table, now)?;
        place.metrics.damaged.inc_by(found.damaged);
        let writer = DiskWriter::start(&place.dir, handle, found.next, place.metrics.clone())?;
        let mut journal = Journal::new(writer, found);
        journal.settle(&mut self.slots, self.stats.series);
        self.journal = Some(journal);
        Ok(())
    }

    /// Goes on writing to the disk what is to be written, for a moment. To be called once a tick, when there is time.
    pub fn persist(&mut self, now: Instant) {
        if let Some(journal) = &mut self.journal {
            journal.work(&mut self.slots, self.stats.series, now);
        }
    }

    /// Writes what is not written yet, and waits for it.
    pub fn close(&mut self) {
        if let Some(journal) = self.journal.take() {
            journal.close();
        }
    }

    /// Ends the series that were not stale when history was read and have no sample since: nobody gives them any more.
    pub fn end_silent(&mut self, now: Timestamp) {
        for (series, last) in std::mem::take(&mut self.restored) {
            if self.get(series.id).is_some_and(|s| s.last().time == last) {
                self.mark_stale(&series, now);
            }
        }
    }
}
