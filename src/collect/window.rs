//! The time that rates are taken over: from the last tick to now, whatever was sampled for requests in between.
//!
//! History so has rates over all of the time between its samples, and nobody who asks for `/metrics` shortens them.

use std::time::{Duration, Instant};

use super::Sampling;

/// The shortest time that a rate is taken over: below it the kernel's clock ticks (10 ms) are noise.
pub(super) const SHORTEST: Duration = Duration::from_millis(75);

/// When the counters were read that rates are differences from.
#[derive(Default, Debug)]
pub(super) struct Window {
    base: Option<Instant>,
}

/// What a sampling means for rates.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Step {
    /// Seconds since the base; 0 when there is none.
    pub elapsed: f64,
    /// The same where rates can be taken over it; else the last rates hold.
    pub seconds: Option<f64>,
    /// Whether the counters of now are the base from now on.
    pub restart: bool,
}

impl Window {
    /// Of counters that were read at `now`.
    pub fn step(&mut self, now: Instant, sampling: Sampling) -> Step {
        let elapsed = self.base.map(|base| now.saturating_duration_since(base));
        let seconds = elapsed.filter(|e| *e >= SHORTEST).map(|e| e.as_secs_f64());
        let restart = elapsed.is_none() || seconds.is_some() && sampling != Sampling::Request;
        if restart {
            self.base = Some(now);
        }
        Step { elapsed: elapsed.unwrap_or_default().as_secs_f64(), seconds, restart }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_taken_from_tick_to_tick_and_never_over_moments() {
        use Sampling::{Request, Tick};
        let start = Instant::now();
        let mut window = Window::default();
        for (milliseconds, sampling, seconds, restart) in [
            (0, Tick, None, true),
            (10, Request, None, false),
            (600, Request, Some(0.6), false),
            (990, Request, Some(0.99), false),
            (1000, Tick, Some(1.0), true),
            (1050, Tick, None, false),
            (2000, Tick, Some(1.0), true),
            (1990, Tick, None, false),
        ] {
            let step = window.step(start + Duration::from_millis(milliseconds), sampling);
            assert_eq!((step.seconds, step.restart), (seconds, restart), "{milliseconds} ms");
        }
    }
}
