//! The section `query` of the configuration.

use std::time::Duration;

use crate::yaml::{Faults, Node};

crate::section! {
    check = check;
    /// What queries over HTTP may take.
    pub struct QueryConfig {
        /// A query that takes longer is given up; at most nine twentieths of `web.write_timeout`.
        pub timeout: Duration = Duration::from_secs(10),
        /// Samples that one query may hold at once; each takes 16 bytes.
        pub max_samples: usize = 5_000_000,
        /// Memory that these and the labels which a query makes may take, in bytes.
        pub max_bytes: usize = 128 << 20,
        /// Queries evaluated at a time; others wait.
        pub max_concurrency: usize = 2,
        /// How old the newest sample of a series may be to be found; holds for rules too.
        pub lookback_delta: Duration = Duration::from_secs(300),
    }
}

/// More would be threads that only wait for a CPU.
pub const MAX_CONCURRENCY: usize = 64;

fn check(query: &mut QueryConfig, node: &Node, faults: &mut Faults) {
    let at = |key: &str| node.place(key);
    if query.timeout.is_zero() {
        faults.error(at("timeout"), "0: no query would have an answer");
    }
    if query.max_samples == 0 {
        faults.error(at("max_samples"), "0 samples: no query would have an answer");
    }
    if query.max_bytes == 0 {
        faults.error(at("max_bytes"), "0 bytes: no query would have an answer");
    }
    if !(1..=MAX_CONCURRENCY).contains(&query.max_concurrency) {
        faults.error(at("max_concurrency"), format!("must be from 1 to {MAX_CONCURRENCY}"));
    }
    if query.lookback_delta.is_zero() {
        faults.error(at("lookback_delta"), "0: no series would be found");
    }
}
