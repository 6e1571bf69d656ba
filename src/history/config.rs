//! The section `history` of the configuration.

use std::time::Duration;

use super::HistoryLimits;
use crate::yaml::{Faults, Node};

crate::section! {
    check = check;
    /// How much the agent remembers for its rules.
    pub struct HistoryConfig {
        /// Samples older than this are forgotten, but for those of series that a rule looks further back on.
        pub retention: Duration = Duration::from_secs(2 * 3600),
        /// Memory that samples may take, in bytes; past it the oldest are forgotten earlier.
        pub max_bytes: usize = 64 << 20,
        /// Series that are kept; what is beyond is dropped and counted.
        pub max_series: usize = 50_000,
        /// Whether it is kept on the disk too, and is there again after a restart.
        pub persist: bool = true,
    }
}

fn check(history: &mut HistoryConfig, node: &Node, faults: &mut Faults) {
    let at = |key: &str| node.place(key);
    if history.retention < Duration::from_secs(60) {
        faults.error(at("retention"), "shorter than 1m: rules would have nothing to look back on");
    }
    if history.max_bytes < 1 << 20 {
        faults.error(at("max_bytes"), "less than 1048576 (1 MiB): rules would have nothing to look back on");
    }
    if history.max_series == 0 {
        faults.error(at("max_series"), "0 series: rules would have nothing to look at");
    }
}

impl HistoryConfig {
    pub fn limits(&self) -> HistoryLimits {
        HistoryLimits { retention: self.retention, max_bytes: self.max_bytes, max_series: self.max_series }
    }
}

impl Default for HistoryLimits {
    /// Those of the default configuration.
    fn default() -> Self {
        HistoryConfig::default().limits()
    }
}
