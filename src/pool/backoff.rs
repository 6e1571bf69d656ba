//! The pause before another try.

use std::time::Duration;

/// How long to wait before a task is tried again: from `first`, doubled at each try, to `longest`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Backoff {
    /// Before the second try.
    pub first: Duration,
    /// Before any try.
    pub longest: Duration,
}

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(5 * 60) }
    }
}

impl Backoff {
    /// The same pause before every try.
    pub fn fixed(pause: Duration) -> Backoff {
        Backoff { first: pause, longest: pause }
    }

    /// The pause after so many tries (from 1).
    pub(super) fn pause(&self, tries: u32) -> Duration {
        self.first.saturating_mul(2_u32.saturating_pow(tries.saturating_sub(1))).min(self.longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_up_to_the_longest() {
        let seconds = |backoff: Backoff| [1, 2, 3, 9, 100].map(|tries| backoff.pause(tries).as_secs());
        assert_eq!(seconds(Backoff::default()), [1, 2, 4, 256, 300]);
        assert_eq!(seconds(Backoff::fixed(Duration::from_secs(7))), [7; 5]);
    }
}
