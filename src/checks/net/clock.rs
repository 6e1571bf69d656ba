//! The time of one probe.

use std::future::Future;
use std::time::{Duration, Instant};

use super::super::families::Families;
use super::super::verdict::{State, Verdict};
use crate::model::format_duration;

/// At most so much of the limit is left unused, so that the probe itself says what it waited for before it is cut off.
const MARGIN: Duration = Duration::from_millis(50);

/// How long a probe has been at it, and how long it may be.
pub struct Clock {
    began: Instant,
    limit: Duration,
}

impl Clock {
    pub fn start(limit: Duration) -> Clock {
        Clock { began: Instant::now(), limit }
    }

    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// The time that is left.
    pub fn left(&self) -> Duration {
        self.limit.saturating_sub(MARGIN.min(self.limit / 20)).saturating_sub(self.elapsed())
    }

    /// Waits for something.
    ///
    /// # Errors
    /// What `doing` says was done, and that it took too long.
    pub async fn within<F: Future>(&self, doing: impl FnOnce() -> String, future: F) -> Result<F::Output, Verdict> {
        let left = self.left();
        // A far side that always has something more would never be waited for, and so have no end.
        let end = if left.is_zero() { None } else { tokio::time::timeout(left, future).await.ok() };
        match end {
            Some(output) => Ok(output),
            None => Err(Verdict::critical(format!("{}: no answer within {}", doing(), self.limit()))),
        }
    }

    /// The limit for people.
    pub fn limit(&self) -> String {
        format_duration(self.limit)
    }

    /// Ends the probe: writes what all of them have.
    pub fn end(&self, end: Result<Verdict, Verdict>, out: &mut Families) -> Verdict {
        let verdict = end.unwrap_or_else(|verdict| verdict);
        write_success(verdict.state == State::Ok, out);
        let seconds = self.elapsed().as_secs_f64();
        out.gauge("probe_duration_seconds", "How long the probe took.", &[], seconds);
        verdict
    }
}

/// Writes whether a probe found what it should.
pub fn write_success(success: bool, out: &mut Families) {
    out.gauge("probe_success", "Whether the probe found what it should.", &[], f64::from(u8::from(success)));
}

/// A time for people: `0.4 ms`, `12 ms`, `1.3 s`.
pub fn took(time: Duration) -> String {
    match time.as_secs_f64() {
        seconds if seconds < 0.001 => format!("{:.1} ms", seconds * 1e3),
        seconds if seconds < 1.0 => format!("{:.0} ms", seconds * 1e3),
        seconds => format!("{seconds:.1} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_as_people_tell_them() {
        for (micros, text) in [(40, "0.0 ms"), (420, "0.4 ms"), (12_300, "12 ms"), (1_340_000, "1.3 s")] {
            assert_eq!(took(Duration::from_micros(micros)), text);
        }
    }

    #[tokio::test]
    async fn a_probe_ends_before_it_is_cut_off() {
        let long = Clock::start(Duration::from_secs(10));
        assert!(long.left() <= Duration::from_millis(9950) && long.left() > Duration::from_secs(5));
        let clock = Clock::start(Duration::from_millis(200));
        let verdict = clock.within(|| "wait".to_string(), std::future::pending::<()>()).await.unwrap_err();
        assert_eq!(clock.left(), Duration::ZERO);
        assert_eq!(verdict, Verdict::critical("wait: no answer within 200ms"));
        let verdict = clock.within(|| "again".to_string(), std::future::ready(())).await.unwrap_err();
        assert_eq!(verdict, Verdict::critical("again: no answer within 200ms"), "though there is something");
    }
}
