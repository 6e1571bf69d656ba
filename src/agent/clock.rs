//! When ticks are due, and which time their samples carry.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::model::Timestamp;

/// One tick, as the clocks tell it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tick {
    /// The time that the samples carry: the grid's where the tick came in time, the wall clock's else.
    pub time: Timestamp,
    /// By how many milliseconds the wall clock was set since the last tick; zero as long as it just runs.
    pub jump_ms: i64,
    /// Ticks that were due since the last one and could not be held.
    pub missed: u64,
}

/// Ticks at equal distances on the monotonic clock.
///
/// A tick that comes within a hundredth of the interval of its place carries the exact time of that place, as a
/// Prometheus server does it: windows then hold the same number of samples every time, and the times cost no memory.
pub struct Grid {
    interval: Duration,
    next: Instant,
    last: Option<(Timestamp, Timestamp, Duration)>,
}

impl Grid {
    /// The first tick is due at `start`.
    pub fn new(interval: Duration, start: Instant) -> Grid {
        Grid { interval, next: start, last: None }
    }

    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// When the next tick is due.
    pub fn next(&self) -> Instant {
        self.next
    }

    /// Holds the tick that is due. `now`, `wall` and `uptime` are the same moment on three clocks; `uptime` also runs
    /// while the machine is suspended, so that waking up is not taken for a clock that was set.
    pub fn tick(&mut self, now: Instant, wall: Timestamp, uptime: Duration) -> Tick {
        let late = now.saturating_duration_since(self.next);
        let missed = (late.as_nanos() / self.interval.as_nanos().max(1)) as u64;
        self.next += self.interval * (missed as u32).saturating_add(1);

        let Some((last_time, last_wall, last_uptime)) = self.last else {
            self.last = Some((wall, wall, uptime));
            return Tick { time: wall, jump_ms: 0, missed };
        };
        let elapsed = uptime.saturating_sub(last_uptime).as_millis() as i64;
        let drift = wall.millis_since(last_wall) - elapsed;
        // Slewing moves a clock by half a millisecond a second; a setting that matters moves it by more than this.
        let jump_ms = if drift.abs() >= 500 { drift } else { 0 };
        let place = Timestamp::from_millis(
            last_time.as_millis() + jump_ms + (missed as i64 + 1) * self.interval.as_millis() as i64,
        );
        let tolerance = (self.interval.as_millis() as i64 / 100).max(2);
        let time = if wall.millis_since(place).abs() <= tolerance { place } else { wall };
        self.last = Some((time, wall, uptime));
        Tick { time, jump_ms, missed }
    }
}

/// The wall clock may be off by so much from one sample to the next: rates over a minute are then off by a twelfth.
pub const TOLERANCE_MS: i64 = 5_000;

/// Stretches of time between settings of the wall clock, as the samples in history carry them.
///
/// When the clock is set back, history forgets what is later than it shows. What is left may have been sampled just before
/// (somebody had set the clock forward, and back again) or long ago: then a counter would seem to have grown in a second by
/// what it grew in an hour.
pub struct Stretches {
    /// The time of the first sample of each, and how far the wall clock had been set by then.
    all: Vec<(Timestamp, i64)>,
    /// Milliseconds.
    set_by: i64,
}

impl Default for Stretches {
    fn default() -> Stretches {
        Stretches { all: vec![(Timestamp::MIN, 0)], set_by: 0 }
    }
}

impl Stretches {
    /// The clock was set, and the next sample carries `now`. Whether the samples before it are as old as their times say,
    /// so that history may go on from them when it was set back.
    pub fn clock_was_set(&mut self, now: Timestamp, jump_ms: i64) -> bool {
        self.set_by = self.set_by.saturating_add(jump_ms);
        self.all.retain(|(start, _)| *start < now);
        let before = self.all.last().map(|(_, set_by)| set_by.abs_diff(self.set_by));
        let follows = before.is_some_and(|off| off <= TOLERANCE_MS.unsigned_abs());
        if jump_ms < 0 && !follows {
            self.all.clear();
        }
        self.all.push((now, self.set_by));
        follows
    }
}

/// Time since boot, suspension included.
pub fn uptime() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    Duration::new(now.tv_sec.max(0) as u64, now.tv_nsec.clamp(0, 999_999_999) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);
    const T0: i64 = 1_700_000_000_000;

    /// Ticks that come at these milliseconds after the start, with the wall clock off by so much.
    fn ticks(moments: &[(u64, i64)]) -> Vec<(i64, i64, u64)> {
        let start = Instant::now();
        let mut grid = Grid::new(S, start);
        moments
            .iter()
            .map(|(ms, offset)| {
                let after = Duration::from_millis(*ms);
                let wall = Timestamp::from_millis(T0 + *ms as i64 + offset);
                let t = grid.tick(start + after, wall, Duration::from_secs(5000) + after);
                (t.time.as_millis() - T0, t.jump_ms, t.missed)
            })
            .collect()
    }

    #[test]
    fn small_jitter_stays_on_the_grid_and_does_not_add_up() {
        let moments: Vec<(u64, i64)> = (0..100).map(|i| (i * 1000 + i % 7, 0)).collect();
        for (i, (time, jump, missed)) in ticks(&moments).into_iter().enumerate() {
            assert_eq!((time, jump, missed), (i as i64 * 1000, 0, 0));
        }
    }

    #[test]
    fn a_late_tick_carries_its_real_time_and_missed_ones_are_counted() {
        assert_eq!(ticks(&[(0, 0), (1000, 0), (2300, 0), (3000, 0)])[2..], [(2300, 0, 0), (3000, 0, 0)]);
        assert_eq!(ticks(&[(0, 0), (1000, 0), (5200, 0), (6000, 0)])[2..], [(5200, 0, 3), (6000, 0, 0)]);
    }

    #[test]
    fn history_goes_on_after_a_clock_that_was_set_wrong_and_right_again_but_not_an_hour_back() {
        let at = Timestamp::from_millis;
        let (day, hour) = (86_400_000, 3_600_000);
        let mut clock = Stretches::default();
        clock.clock_was_set(at(T0 + day), day);
        assert!(clock.clock_was_set(at(T0 + 60_000), -day), "what is left is from just before");
        assert!(clock.clock_was_set(at(T0 + 58_000), -2_000), "two seconds are not worth forgetting all");
        assert!(!clock.clock_was_set(at(T0 - hour), -hour), "what is left is an hour older than it seems");
        assert!(clock.clock_was_set(at(T0 - hour + 58_000), -2_000), "it has gone on for a minute since");
    }

    #[test]
    fn a_clock_that_is_set_is_told_from_one_that_runs() {
        let hour = 3_600_000;
        assert_eq!(
            ticks(&[(0, 0), (1000, 0), (2000, -hour), (3000, -hour), (4000, 60_000), (5000, 60_000)]),
            [
                (0, 0, 0),
                (1000, 0, 0),
                (2000 - hour, -hour, 0),
                (3000 - hour, 0, 0),
                (64_000, hour + 60_000, 0),
                (65_000, 0, 0)
            ]
        );
    }
}
