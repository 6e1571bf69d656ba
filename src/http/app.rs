//! What the server needs from the agent.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use crate::alerting::Alerting;
use crate::chart::Drawer;
use crate::checks::Board;
use crate::history::SharedHistory;
use crate::model::{Labels, Snapshot, Timestamp};
use crate::pool::Pool;
use crate::rules::GroupView;

/// The agent, as the server sees it.
pub trait App: Send + Sync + 'static {
    /// The last snapshot; `None` before the first tick has ended.
    fn latest(&self) -> Option<Arc<Snapshot>>;

    /// Has the host sampled now, and gives the result; that of a tick which is under way will do if it has begun within
    /// the last second. `None` when no sampling comes any more.
    ///
    /// Called for at most one request at a time, whatever the number of those that wait; dropped without harm when that
    /// request's client goes away.
    fn sample(&self) -> impl Future<Output = Option<Arc<Snapshot>>> + Send;

    /// True once the agent samples, evaluates and delivers; false again while it stops.
    fn ready(&self) -> bool;

    /// Reads the configuration again and puts it in force; the error says, in several lines, what is wrong with it, and
    /// then the old one stays.
    fn reload(&self) -> impl Future<Output = Result<(), String>> + Send;

    /// What the page for people shows.
    fn overview(&self) -> Overview;

    /// What queries look at; `None` while the agent starts.
    fn history(&self) -> Option<SharedHistory>;

    /// What draws pictures of alerts.
    fn charts(&self) -> Arc<Drawer>;

    /// The rules as they stood when they were evaluated last.
    fn rules(&self) -> Arc<Vec<Arc<GroupView>>>;

    /// Who routes and delivers alerts; `None` while the agent starts.
    fn alerting(&self) -> Option<Alerting>;

    /// What runs commands and checks; `None` while the agent starts.
    fn pool(&self) -> Option<Pool>;

    /// How the checks stand; `None` while the agent starts.
    fn checks(&self) -> Option<Arc<Board>>;

    /// What clients of the API ask about the agent itself.
    fn about(&self) -> Arc<About>;
}

/// The agent's settings, as far as clients ask for them.
#[derive(Clone, Default, Debug)]
pub struct About {
    /// The labels `job` and `instance` of this host.
    pub target: Labels,
    pub telemetry_path: String,
    pub scrape_interval: Duration,
    pub evaluation_interval: Duration,
    pub rule_query_offset: Duration,
    /// How long history remembers.
    pub retention: Duration,
    pub started: Timestamp,
    /// When the configuration in force was loaded, and whether the last one to be loaded was valid.
    pub config_loaded: Timestamp,
    pub config_valid: bool,
    /// What alerting adds to the labels of alerts.
    pub external_labels: Labels,
    /// The section `alerting` in force as an alertmanager.yml, without secrets.
    pub alertmanager_config: Arc<str>,
}

/// The agent's state at a glance.
#[derive(Clone, Default, Debug)]
pub struct Overview {
    /// The host's name.
    pub host: String,
    pub started: Timestamp,
    pub collectors: Vec<CollectorState>,
    /// Pending and firing alerts, the most important first.
    pub alerts: Vec<ActiveAlert>,
    pub undelivered: Undelivery,
    /// Checks that are not ok, the worst first.
    pub failing: Vec<FailingCheck>,
    /// All checks.
    pub checks: usize,
}

/// A check that is not ok.
#[derive(Clone, Default, Debug)]
pub struct FailingCheck {
    pub name: String,
    /// `warning`, `critical`, `unknown`, or `late` when it does not run.
    pub state: &'static str,
    pub since: Timestamp,
    /// What its last run said; empty where that is not for whoever asks.
    pub summary: String,
}

/// Notifications that are not delivered.
#[derive(Clone, Copy, Default, Debug)]
pub struct Undelivery {
    /// Those that have failed and are tried again.
    pub failed: usize,
    /// Those that were given up.
    pub dead: usize,
}

/// One collector's last run.
#[derive(Clone, Default, Debug)]
pub struct CollectorState {
    pub name: String,
    pub took: Duration,
    pub series: usize,
    /// Why the last run failed; `None` when it did not.
    pub error: Option<String>,
    /// It failed only in that what the collector reads is not there.
    pub no_data: bool,
}

/// A pending or firing alert.
#[derive(Clone, Default, Debug)]
pub struct ActiveAlert {
    pub name: String,
    pub severity: String,
    /// `pending` or `firing`.
    pub state: &'static str,
    pub since: Timestamp,
    pub summary: String,
    /// The labels that tell it from others of its name, as text.
    pub labels: String,
    pub all_labels: Labels,
    /// Why nobody is told of it: `silenced`, for instance; may be empty.
    pub note: &'static str,
}
