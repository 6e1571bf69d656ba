//! Alertmanager's `global`: what holds for all routes and sinks that do not say otherwise.

use std::path::PathBuf;
use std::time::Duration;

use super::address::Address;
use super::http::{HttpConfig, one_of};
use crate::section;
use crate::yaml::{Faults, Node, Secret};

section! {
    check = check;
    /// What holds for all routes and receivers that do not say otherwise.
    pub struct GlobalConfig {
        /// An alert that is not told again for so long counts as resolved, the rule having been taken away for instance.
        pub resolve_timeout: Duration = Duration::from_secs(5 * 60),
        /// How requests are made.
        pub http_config: HttpConfig = HttpConfig::default(),
        /// Where PagerDuty takes events.
        pub pagerduty_url: Address = Address::fixed("https://events.pagerduty.com/v2/enqueue"),
        /// Where Opsgenie takes alerts.
        pub opsgenie_api_url: Address = Address::fixed("https://api.opsgenie.com/"),
        /// The key of an integration at Opsgenie.
        pub opsgenie_api_key: Option<Secret> = None,
        /// A file that holds it; read for every notification.
        pub opsgenie_api_key_file: Option<PathBuf> = None,
        /// Where VictorOps takes alerts.
        pub victorops_api_url: Address =
            Address::fixed("https://alert.victorops.com/integrations/generic/20131114/alert/"),
        /// The key of the integration at VictorOps.
        pub victorops_api_key: Option<Secret> = None,
        /// A file that holds it; read for every notification.
        pub victorops_api_key_file: Option<PathBuf> = None,
        /// Where Jira's API is: `https://example.atlassian.net/rest/api/3`.
        pub jira_api_url: Option<Address> = None,
    }
}

fn check(global: &mut GlobalConfig, node: &Node, faults: &mut Faults) {
    let mut one = |key: &str, value: bool, file: bool| one_of(node, faults, key, &format!("{key}_file"), value, file);
    one("opsgenie_api_key", global.opsgenie_api_key.is_some(), global.opsgenie_api_key_file.is_some());
    one("victorops_api_key", global.victorops_api_key.is_some(), global.victorops_api_key_file.is_some());
}
