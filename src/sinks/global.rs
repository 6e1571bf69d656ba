//! Alertmanager's `global`: what holds for all routes and sinks that do not say otherwise.

use std::time::Duration;

use super::http::HttpConfig;
use crate::section;

section! {
    /// What holds for all routes and receivers that do not say otherwise.
    pub struct GlobalConfig {
        /// An alert that is not told again for so long counts as resolved, the rule having been taken away for instance.
        pub resolve_timeout: Duration = Duration::from_secs(5 * 60),
        /// How requests are made.
        pub http_config: HttpConfig = HttpConfig::default(),
    }
}
