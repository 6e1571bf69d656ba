//! Reads samples from the agent, as they were taken, in answers of a bearable size.
//!
//! The answer to `selector[range]` at a time has the samples later than the beginning of the range, up to that time: asked
//! at successive times, each range as long as the distance to the time before, there is no sample twice and none missing.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use super::samples::{Samples, samples};
use super::{Client, Failure};
use crate::cli::client::{Answer, Refusal};
use crate::history::Point;
use crate::model::{Labels, Timestamp};

/// Samples that an answer should have, at most.
const WANTED: usize = 200_000;
/// Samples that are read in all: some hundred megabytes in memory, compressed.
const MOST: usize = 300_000_000;

pub struct Reader<'c> {
    client: &'c Client,
    /// The distance of two samples, in milliseconds.
    interval: i64,
    /// How much time of each selector is asked for at once, in milliseconds.
    lengths: HashMap<usize, i64>,
    read: usize,
}

impl<'c> Reader<'c> {
    pub fn new(client: &'c Client, interval: Duration) -> Reader<'c> {
        let interval = i64::try_from(interval.as_millis()).unwrap_or(i64::MAX).max(1);
        Reader { client, interval, lengths: HashMap::new(), read: 0 }
    }

    /// When the host was sampled, later than `after` and up to `until`.
    pub fn ticks(&mut self, after: Timestamp, until: Timestamp) -> Result<Vec<Timestamp>, Failure> {
        let mut ticks = BTreeSet::new();
        self.read(usize::MAX, "{__name__=\"up\"}", after, until, |_, points| {
            ticks.extend(points.into_iter().map(|p| Timestamp::from_millis(p.time)));
        })?;
        Ok(ticks.into_iter().collect())
    }

    /// Reads the samples of a selector, later than `after` and up to `until`. `number` tells selectors apart.
    pub fn read(
        &mut self,
        number: usize,
        selector: &str,
        after: Timestamp,
        until: Timestamp,
        mut take: impl FnMut(Labels, Vec<Point>),
    ) -> Result<(), Failure> {
        let mut after = after.as_millis();
        let until = until.as_millis();
        while after < until {
            let length = *self.lengths.entry(number).or_insert(self.interval.saturating_mul(60));
            let length = length.min(until.saturating_sub(after));
            let to = after.saturating_add(length);
            let (found, next) = match self.ask(selector, length, to)? {
                Some(found) => {
                    let count: usize = found.iter().map(|(_, points)| points.len()).sum();
                    self.read = self.read.saturating_add(count);
                    after = to;
                    (
                        found,
                        if count > WANTED {
                            length / 2
                        } else if count < WANTED / 3 {
                            length * 2
                        } else {
                            length
                        },
                    )
                }
                None if length > self.interval * 2 => (Vec::new(), length / 2),
                None => {
                    return Err(self.client.failed(format!("{selector} has more samples than the agent answers with")));
                }
            };
            self.lengths.insert(number, next.max(self.interval));
            if self.read > MOST {
                let why = format!("more than {MOST} samples are to be read: ask for less time, or about fewer series");
                return Err(self.client.failed(why));
            }
            found.into_iter().for_each(|(labels, points)| take(labels, points));
        }
        Ok(())
    }

    /// Nothing if that is more than the agent answers with.
    fn ask(&self, selector: &str, length: i64, at: i64) -> Result<Option<Vec<Samples>>, Failure> {
        let seconds = at.div_euclid(1000);
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("query", &format!("{selector}[{length}ms]"));
        form.append_pair("time", &format!("{seconds}.{:03}", at.rem_euclid(1000)));
        let (status, body) = self.client.ask("api/v1/query", Some(form.finish()))?;
        if let Some(found) = samples(&body) {
            return Ok(Some(found));
        }
        match Answer::read(status, &body) {
            // Too many samples, too much memory, too long.
            Err(Refusal::Other(_)) if matches!(status, 422 | 503) => Ok(None),
            Err(Refusal::Other(why)) => Err(self.client.failed(why)),
            Err(Refusal::Query { message, .. }) => Err(self.client.failed(format!("{selector}: {message}"))),
            Ok(_) => Err(self.client.failed(format!("the answer to {selector} is not that of a range of samples"))),
        }
    }
}
