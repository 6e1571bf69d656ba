//! What the checks of this host share.

mod accounts;
mod bounds;
mod findings;
mod paths;
mod pattern;
mod severity;
#[cfg(test)]
pub(super) mod testing;

pub use crate::yaml::Bytes;
pub use bounds::{CountBounds, SizeBounds};
pub use pattern::LinePattern;
pub use severity::Severity;

pub(super) use accounts::{group_id, name_of_user, user_id};
pub(super) use findings::Findings;
pub(super) use paths::{HostPattern, is_absent, open_regular};

use std::time::Duration;

/// A length of time for people, in its two largest units: `27 h`, `3 min 5 s`; days only from the third on, since limits
/// of a day or two are thought of in hours.
pub(super) fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    let (large, small, (large_unit, small_unit)) = match seconds {
        0..60 => return format!("{seconds} s"),
        60..3600 => (seconds / 60, seconds % 60, ("min", "s")),
        3600..259_200 => (seconds / 3600, seconds / 60 % 60, ("h", "min")),
        _ => (seconds / 86_400, seconds / 3600 % 24, ("d", "h")),
    };
    if small == 0 { format!("{large} {large_unit}") } else { format!("{large} {large_unit} {small} {small_unit}") }
}

/// A number of things: `1 file`, `3 files`.
pub(super) fn things(count: u64, one: &str, many: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {many}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_said_as_people_say_them() {
        for (seconds, text) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (125, "2 min 5 s"),
            (27 * 3600 + 59, "27 h"),
            (26 * 3600 + 120, "26 h 2 min"),
            (3 * 86_400, "3 d"),
            (4 * 86_400 + 7200, "4 d 2 h"),
        ] {
            assert_eq!(span(Duration::from_secs(seconds)), text);
        }
    }
}
