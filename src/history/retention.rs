//! How long samples are kept: as long as everything is, longer where a rule looks further back, and less when all takes
//! more memory than it may.

use std::sync::Arc;
use std::time::Duration;

use super::series::{Delta, Slot};
use super::{History, Matcher, index, size_of_series};
use crate::model::{Labels, Series, Timestamp};

/// Series that a rule looks back on for so long.
#[derive(Clone, Debug)]
pub struct Keep {
    pub matchers: Vec<Matcher>,
    pub reach: Duration,
}

/// For how many seconds a series of these labels is looked back on.
pub(super) fn keep_of(keeps: &[Keep], labels: &Labels) -> u32 {
    let matching = keeps.iter().filter(|keep| keep.matchers.iter().all(|m| m.matches_labels(labels)));
    matching.map(|keep| seconds(keep.reach)).max().unwrap_or(0)
}

fn seconds(reach: Duration) -> u32 {
    u32::try_from(reach.as_millis().div_ceil(1000)).unwrap_or(u32::MAX)
}

/// The time before which chunks of that many bytes end; each chunk is given by its end and its size.
pub(super) fn cutoff_to_free(chunks: impl Iterator<Item = (i64, usize)>, bytes: usize) -> i64 {
    let mut chunks: Vec<(i64, usize)> = chunks.collect();
    chunks.sort_unstable();
    let mut freed = 0;
    for (end, size) in &chunks {
        freed += size;
        if freed >= bytes {
            return end.saturating_add(1);
        }
    }
    chunks.last().map_or(i64::MIN, |(end, _)| end.saturating_add(1))
}

/// What [`History::gc`] forgot before its time, because there was too much.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shortage {
    /// Samples before this are gone.
    pub cutoff: Timestamp,
}

impl History {
    /// What rules look further back on than the retention, from now on.
    pub fn set_keeps(&mut self, keeps: Vec<Keep>) {
        for slot in self.slots.iter_mut().flatten() {
            slot.keep = 0;
        }
        for keep in &keeps {
            let ids: Vec<_> = self.select(&keep.matchers).iter().map(|s| s.series().id).collect();
            for id in ids {
                if let Some(Some(slot)) = self.slots.get_mut(id.index()) {
                    slot.keep = slot.keep.max(seconds(keep.reach));
                }
            }
        }
        self.keeps = keeps;
    }

    /// Forgets what is older than it is kept and, while there is too much, what is oldest; then the series that have no
    /// samples left. To be called about once a minute. What was forgotten before its time is returned.
    pub fn gc(&mut self, now: Timestamp) -> Option<Shortage> {
        let retention = self.limits.retention;
        self.forget_before(|slot| slot.cutoff(now, retention));
        self.count_other_bytes();
        let excess = (self.sealed_bytes + self.other_bytes).saturating_sub(self.limits.max_bytes);
        let mut shortage = None;
        if excess > 0 {
            // A tenth more than must be, so that this is not every minute's work.
            let chunks = self.slots.iter().flatten().flat_map(|s| s.sealed.iter().map(|c| (c.end(), c.size())));
            let cutoff = cutoff_to_free(chunks, excess + self.limits.max_bytes / 10);
            self.forget_before(|_| cutoff);
            self.count_other_bytes();
            shortage = Some(Shortage { cutoff: Timestamp::from_millis(cutoff) });
        }
        self.stats.bytes = self.sealed_bytes + self.other_bytes;
        self.stats.oldest = self.slots.iter().flatten().filter_map(|slot| slot.first()).min();
        shortage
    }

    pub(super) fn count_other_bytes(&mut self) {
        let slots = self.slots.iter().flatten();
        self.other_bytes = self.slots.capacity() * size_of::<Option<Box<Slot>>>()
            + slots.map(|s| s.overhead() + size_of_series(&s.series)).sum::<usize>();
    }

    /// Forgets what lies before the time that `cutoff` says for each series.
    fn forget_before(&mut self, cutoff: impl Fn(&Slot) -> i64) {
        self.version = index::next_generation();
        let mut total = Delta::default();
        let mut gone: Vec<Arc<Series>> = Vec::new();
        for entry in &mut self.slots {
            let Some(slot) = entry else { continue };
            let delta = slot.forget_before(cutoff(slot));
            total.chunks += delta.chunks;
            total.bytes += delta.bytes;
            total.samples += delta.samples;
            if slot.is_empty() {
                gone.push(slot.series.clone());
                *entry = None;
            }
        }
        self.stats.chunks -= total.chunks;
        self.stats.samples -= total.samples;
        self.sealed_bytes -= total.bytes;
        if !gone.is_empty() {
            self.stats.series -= gone.len();
            self.index.remove(gone.iter().map(|s| (s.id, &s.labels)));
        }
    }
}
