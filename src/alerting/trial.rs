//! A trial of receivers: one alert fires and ends, and goes the whole way of an alert to one receiver, whatever the routes
//! say, with no state but in memory. Each sink is tried once for each.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::config::{AlertingConfig, GroupBy};
use super::core::{Core, Ended, Event, Now};
use super::flapping::FlappingConfig;
use super::plan::{Plan, Target};
use super::queue::Attempt;
use super::route::Route;
use super::service::{Options, Sinks, sinks};
use crate::model::Timestamp;
use crate::pool::Pool;
use crate::rules::Alert;
use crate::sinks::{Delivered, DeliveryError, Reason, SinkContext, Status};

/// How long an alert holds that nobody tells again: longer than the trial, in the time of the core.
const HOLDS: Duration = Duration::from_secs(24 * 3600);

/// Receivers that can be tried.
pub struct Trial {
    plan: Plan,
    sinks: Sinks,
}

/// What came of one try.
#[derive(Debug)]
pub struct Tried {
    pub target: Target,
    /// What was told: that the alert fires, or that it has ended.
    pub status: Status,
    /// `None`: it was not tried, because the same sink has not taken that the alert fires.
    pub result: Option<Result<Delivered, DeliveryError>>,
    pub took: Duration,
}

impl Trial {
    /// With sinks and texts as the agent has them.
    pub fn new(config: &AlertingConfig, options: Options, pool: Pool) -> Trial {
        let context = SinkContext { pool, texts: config.templates.texts(), charts: options.charts };
        let plan = Plan::new(config, options.external_labels, &options.external_url);
        Trial { plan, sinks: sinks(config, &context) }
    }

    /// The names of the receivers, in the order of the configuration.
    pub fn receivers(&self) -> &[String] {
        &self.plan.receivers
    }

    /// A receiver's sinks, in the order in which they are told.
    pub fn targets(&self, receiver: &str) -> impl Iterator<Item = &Target> {
        self.plan.recipients.get(receiver).into_iter().flatten().map(|recipient| &*recipient.target)
    }

    /// Lets an alert fire and, if wanted, end. Each try has `limit`; `tell` hears of each as it ends.
    pub async fn run(&self, receiver: &str, mut alert: Alert, ends: bool, limit: Duration, tell: impl Fn(Tried)) {
        let plan = self.only(receiver);
        let interval = plan.root.group_interval;
        alert.valid_for = HOLDS;
        let seed = RandomState::new().hash_one(Timestamp::now());
        let begin = Now { mono: Duration::ZERO, wall: Timestamp::now() };
        let (mut core, _) = Core::restore(plan, seed, begin, |_| Vec::new());

        let fires = core.handle(Event::Alerts(vec![alert.clone()]), begin);
        let failed = self.deliver(&mut core, fires.attempts, begin, limit, &tell).await;
        if !ends {
            return;
        }
        // The end of a group is told when its interval has passed. The core has no clock: it has passed.
        let wall = Timestamp::now().max(alert.starts_at + Duration::from_millis(1));
        alert.ends_at = Some(wall);
        let end = Now { mono: interval.saturating_mul(2), wall };
        let ended = core.handle(Event::Alerts(vec![alert]), end);
        // Where it did not arrive that the alert fires, that is what would be tried now.
        let (again, attempts): (Vec<_>, Vec<_>) = ended.attempts.into_iter().partition(|a| failed.contains(&a.target));
        for attempt in again.into_iter().filter(|attempt| self.hears_of_ends(&attempt.target)) {
            tell(Tried { target: attempt.target, status: Status::Resolved, result: None, took: Duration::ZERO });
        }
        self.deliver(&mut core, attempts, end, limit, &tell).await;
    }

    /// Whether a sink is told that alerts have ended.
    fn hears_of_ends(&self, target: &Target) -> bool {
        self.plan.recipients.values().flatten().any(|recipient| *recipient.target == *target && recipient.send_resolved)
    }

    /// The plan with one route, that leads to this receiver, and nothing that holds a notification back.
    fn only(&self, receiver: &str) -> Plan {
        let mut plan = self.plan.clone();
        // Grouped as where alerts go to it, so that its texts look as they will.
        let group_by = route_to(&plan.root, receiver)
            .map_or_else(|| GroupBy::Labels(vec!["alertname".to_string()]), |route| route.group_by.clone());
        // No group of the agent has this key: no incident of a real alert is taken for this one's, and ended with it.
        plan.root = Arc::new(Route { key: "{test}".to_string(), ..Route::to(receiver, group_by) });
        plan.recipients.retain(|name, _| name == receiver);
        plan.recipients.values_mut().flatten().for_each(|recipient| recipient.rate = None);
        plan.inhibit_rules.clear();
        plan.flapping = FlappingConfig::default();
        plan
    }

    /// Tries what the core wants delivered, all at once; the sinks that did not take it.
    async fn deliver(
        &self,
        core: &mut Core,
        attempts: Vec<Attempt>,
        now: Now,
        limit: Duration,
        tell: &impl Fn(Tried),
    ) -> BTreeSet<Target> {
        let mut failed = BTreeSet::new();
        let mut running = JoinSet::new();
        for attempt in attempts {
            let status = attempt.notification.status();
            let Some(sink) = self.sinks.get(&attempt.target).cloned() else { continue };
            let since = Instant::now();
            running.spawn(async move {
                let delivery = timeout(limit, sink.deliver(&attempt.notification)).await;
                let late = || DeliveryError::passing(Reason::Timeout, "no answer in time");
                (delivery.unwrap_or_else(|_| Err(late())), since.elapsed(), status, attempt)
            });
        }
        while let Some(ended) = running.join_next().await {
            let Ok((result, took, status, attempt)) = ended else { continue };
            if result.is_err() {
                failed.insert(attempt.target.clone());
            }
            tell(Tried { target: attempt.target.clone(), status, result: Some(result.clone()), took });
            // What it would have tried again is left.
            core.handle(Event::Ended(Ended { attempt, result: result.map(drop) }), now);
        }
        failed
    }
}

/// The first route that leads to a receiver.
fn route_to<'a>(route: &'a Route, receiver: &str) -> Option<&'a Route> {
    let below = || route.routes.iter().chain(&route.beside).find_map(|route| route_to(route, receiver));
    if route.receiver == receiver { Some(route) } else { below() }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::model::Labels;
    use crate::sinks::testing::{context, far_side};
    use crate::yaml::{Document, Faults};

    fn trial(text: &str) -> Trial {
        let mut faults = Faults::default();
        let config: AlertingConfig = Document::parse("t.yaml", text, &mut faults).read(&mut faults);
        assert!(!faults.has_errors(), "{faults}");
        let options = Options {
            external_labels: Labels::from_pairs([("site", "north")]),
            external_url: "http://web-1:9100".to_string(),
            charts: None,
            actions: Vec::new(),
            checks: crate::alerting::ChecksSaid::default(),
        };
        Trial::new(&config, options, context().pool)
    }

    fn alert() -> Alert {
        Alert {
            labels: Labels::from_pairs([("alertname", "Test"), ("severity", "info")]),
            annotations: Labels::empty(),
            starts_at: Timestamp::now(),
            ends_at: None,
            valid_for: Duration::ZERO,
            value: 1.0,
            expr: String::new(),
            threshold: None,
            top: Vec::new(),
            actions: Arc::default(),
        }
    }

    async fn told(trial: &Trial, receiver: &str, ends: bool) -> Vec<(String, &'static str, Option<bool>)> {
        let all = Mutex::new(Vec::new());
        let tell = |tried: Tried| {
            let result = tried.result.map(|result| result.is_ok());
            all.lock().unwrap().push((tried.target.to_string(), tried.status.as_str(), result));
        };
        trial.run(receiver, alert(), ends, Duration::from_secs(10), tell).await;
        let mut all = all.into_inner().unwrap();
        all.sort();
        all
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_alert_fires_and_ends_at_each_sink_of_a_receiver_whatever_holds_others_back() {
        let (address, seen) = far_side(vec![(200, Vec::new(), "")]).await;
        let trial = trial(&format!(
            "route: {{receiver: a, group_by: [severity], routes: [{{receiver: b, matchers: [x=y]}}]}}\n\
             receivers: [{{name: a}}, {{name: b, rate_limit: {{notifications: 1, per: 1h}}, webhook_configs: [{{url: 'http://{address}'}}],\n\
             log_configs: [{{send_resolved: false, path: /dev/null}}]}}]\n\
             inhibit_rules: [{{target_matchers: [alertname=Test], source_matchers: [alertname=Test]}}]\n"
        ));
        let said = told(&trial, "b", true).await;
        let expected = [("b/log[0]", "firing"), ("b/webhook[0]", "firing"), ("b/webhook[0]", "resolved")];
        assert_eq!(said, expected.map(|(target, status)| (target.to_string(), status, Some(true))));
        let posts: Vec<serde_json::Value> =
            seen.lock().unwrap().iter().map(|seen| serde_json::from_slice(&seen.body).unwrap()).collect();
        assert_eq!((&posts[0]["status"], &posts[1]["status"]), (&"firing".into(), &"resolved".into()));
        assert_eq!(posts[0]["groupKey"], "{test}:{severity=\"info\"}");
        assert_eq!(posts[0]["commonLabels"]["site"], "north");
        assert!(told(&trial, "a", true).await.is_empty());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_end_is_not_told_to_a_sink_that_did_not_take_the_beginning() {
        let (address, seen) = far_side(vec![(400, Vec::new(), "")]).await;
        let trial = trial(&format!(
            "route: {{receiver: a}}\nreceivers: [{{name: a, webhook_configs: [{{url: 'http://{address}'}}, {{url: 'http://{address}', send_resolved: false}}]}}]\n"
        ));
        let said = told(&trial, "a", true).await;
        let expected = [("a/webhook[0]", "firing", Some(false)), ("a/webhook[0]", "resolved", None)];
        assert_eq!(said[..2], expected.map(|(target, status, result)| (target.to_string(), status, result)));
        assert_eq!((said.len(), seen.lock().unwrap().len()), (3, 2), "the second is not told of ends in any case");
        assert_eq!(told(&trial, "a", false).await.len(), 2);
    }
}
