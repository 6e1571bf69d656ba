//! What the log says of targets that fail: that it begins, now and then that it lasts, that it is over. A line for every
//! try of every group would bury what matters; those are said at the level `debug`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::core::{Ending, Report};
use super::plan::Target;
use crate::model::format_duration;

/// How often it is said that a target still fails.
const REMINDER: Duration = Duration::from_secs(10 * 60);

/// The targets that fail.
#[derive(Default)]
pub(super) struct Outages(BTreeMap<Target, Outage>);

/// From the first try that fails until all that failed has been delivered. Times are since the run began.
struct Outage {
    since: Duration,
    /// When it was last said.
    said: Duration,
    failed_tries: u64,
    /// The lanes of the queue whose first notification has failed.
    lanes: BTreeSet<String>,
}

/// What a report is in the course of an outage.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum News {
    /// Nothing that has not been said.
    None,
    Begins,
    /// It has lasted so long, with so many failed tries.
    Lasts(Duration, u64),
    Over(Duration, u64),
}

impl Outages {
    pub fn news(&mut self, report: &Report, now: Duration) -> News {
        match &report.ending {
            Ending::Retried(_) => self.failed(report, now),
            Ending::Delivered => self.over(report, now),
            // What was given up will not be delivered, so it is not waited for. It has a line of its own.
            Ending::GivenUp(_) => {
                if let Some(outage) = self.0.get_mut(&report.target) {
                    outage.failed_tries += 1;
                }
                self.over(report, now);
                News::None
            }
            Ending::NoTarget(_) => {
                self.0.remove(&report.target);
                News::None
            }
            Ending::TooMany(_) => News::None,
        }
    }

    fn failed(&mut self, report: &Report, now: Duration) -> News {
        let begins = !self.0.contains_key(&report.target);
        let outage = self.0.entry(report.target.clone()).or_insert_with(|| Outage {
            since: now,
            said: now,
            failed_tries: 0,
            lanes: BTreeSet::new(),
        });
        outage.failed_tries += 1;
        outage.lanes.insert(report.lane.clone());
        if begins {
            return News::Begins;
        }
        if now.saturating_sub(outage.said) < REMINDER {
            return News::None;
        }
        outage.said = now;
        News::Lasts(now.saturating_sub(outage.since), outage.failed_tries)
    }

    fn over(&mut self, report: &Report, now: Duration) -> News {
        let Some(outage) = self.0.get_mut(&report.target) else { return News::None };
        outage.lanes.remove(&report.lane);
        if !outage.lanes.is_empty() {
            return News::None;
        }
        let news = News::Over(now.saturating_sub(outage.since), outage.failed_tries);
        self.0.remove(&report.target);
        news
    }

    /// Says in the log what people have to know.
    pub fn say(&mut self, report: &Report, now: Duration) {
        let news = self.news(report, now);
        let target = report.target.to_string();
        let alerts = report.alerts.as_str();
        let shown = |lasted: Duration| format_duration(Duration::from_secs(lasted.as_secs()));
        match (&report.ending, news) {
            (Ending::Delivered, News::Over(lasted, failed_tries)) => {
                let lasted = shown(lasted);
                tracing::info!(target, lasted, failed_tries, "notifications are delivered again");
            }
            (Ending::Delivered, _) => tracing::debug!(target, alerts, "notification delivered"),
            (Ending::Retried(error), News::Begins) if error.retry => {
                tracing::warn!(target, alerts, %error, "a notification failed and is tried until it goes well");
            }
            (Ending::Retried(error), News::Begins) => {
                tracing::warn!(target, alerts, %error, "a notification was refused and is tried a few more times");
            }
            (Ending::Retried(error), News::Lasts(lasted, failed_tries)) => {
                let lasted = shown(lasted);
                tracing::warn!(target, alerts, %error, lasted, failed_tries, "notifications still fail");
            }
            (Ending::Retried(error), _) => {
                tracing::debug!(target, alerts, %error, "a notification failed and is tried again");
            }
            (Ending::GivenUp(error), _) => {
                tracing::error!(target, alerts, %error, "a notification was refused and is given up: `watchfire alerts --undelivered` shows it");
            }
            (Ending::NoTarget(count), _) => {
                tracing::warn!(
                    target,
                    alerts,
                    count,
                    "notifications for a receiver that is no longer configured are given up"
                );
            }
            (Ending::TooMany(count), _) => {
                tracing::error!(
                    target,
                    alerts,
                    count,
                    "too many notifications of one group wait: the oldest are given up"
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sinks::{DeliveryError, Reason};

    fn report(receiver: &str, lane: &str, ending: Ending) -> Report {
        let target = Target { receiver: receiver.to_string(), integration: "webhook".to_string(), index: 0 };
        Report { target, lane: lane.to_string(), alerts: String::new(), ending }
    }

    fn failed() -> Ending {
        Ending::Retried(DeliveryError::passing(Reason::Other, "refused"))
    }

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn an_outage_is_said_when_it_begins_every_ten_minutes_and_when_all_is_delivered() {
        let mut outages = Outages::default();
        let mut news = |lane: &str, ending: Ending, at: u64| outages.news(&report("r", lane, ending), seconds(at));
        assert_eq!(news("a", Ending::Delivered, 0), News::None);
        assert_eq!(news("a", failed(), 100), News::Begins);
        assert_eq!(news("b", failed(), 101), News::None);
        assert_eq!(news("a", failed(), 699), News::None);
        assert_eq!(news("a", failed(), 700), News::Lasts(seconds(600), 4));
        assert_eq!(news("b", failed(), 1299), News::None);
        assert_eq!(news("b", failed(), 1300), News::Lasts(seconds(1200), 6));
        assert_eq!(news("a", Ending::Delivered, 1400), News::None, "b still waits");
        assert_eq!(news("b", Ending::Delivered, 1401), News::Over(seconds(1301), 6));
        assert_eq!(news("b", Ending::Delivered, 1402), News::None);
        assert_eq!(news("b", failed(), 1500), News::Begins);
    }

    #[test]
    fn every_target_has_its_own_and_what_is_given_up_or_gone_is_not_waited_for() {
        let mut outages = Outages::default();
        let given_up = || Ending::GivenUp(DeliveryError::lasting(Reason::ClientError, "404"));
        let mut news = |to: &str, lane: &str, ending: Ending| outages.news(&report(to, lane, ending), seconds(1));
        assert_eq!(news("r", "a", failed()), News::Begins);
        assert_eq!(news("s", "a", failed()), News::Begins);
        assert_eq!(news("r", "b", failed()), News::None);
        assert_eq!(news("r", "a", given_up()), News::None);
        assert_eq!(news("r", "b", Ending::Delivered), News::Over(seconds(0), 3));
        assert_eq!(news("s", "", Ending::NoTarget(1)), News::None);
        assert_eq!(news("s", "a", failed()), News::Begins);
    }
}
