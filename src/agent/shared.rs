//! What the tick thread and the server have in common.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, mpsc};
use std::time::Instant;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::tick::Command;
use crate::alerting::Alerting;
use crate::chart::Drawer;
use crate::checks::Board;
use crate::history::SharedHistory;
use crate::http::{self, About, App, MAX_AGE, Overview};
use crate::model::{Labels, Section, Snapshot};
use crate::pool::Pool;
use crate::rules::{ActiveAlert, GroupView, State};

/// Reads the configuration again; blocks on files.
pub trait Reloader: Send + Sync + 'static {
    fn reload_blocking(&self) -> Result<(), String>;
}

impl dyn Reloader {
    /// Off the runtime's threads.
    pub async fn reload(self: Arc<Self>) -> Result<(), String> {
        tokio::task::spawn_blocking(move || self.reload_blocking()).await.map_err(|e| e.to_string())?
    }
}

/// The agent as the server sees it.
pub struct Shared {
    /// The last snapshot; waiters see each new one.
    latest: watch::Sender<Option<Arc<Snapshot>>>,
    commands: Mutex<mpsc::Sender<Command>>,
    ready: AtomicBool,
    stopped: AtomicBool,
    reloader: OnceLock<Arc<dyn Reloader>>,
    /// For the page; written by the tick thread, held for moments.
    overview: Mutex<Overview>,
    /// For the page too, which makes texts of them when somebody looks at it: they may be thousands.
    alerts: Mutex<Arc<Alerts>>,
    /// Set once the tick thread has one.
    history: OnceLock<SharedHistory>,
    charts: Arc<Drawer>,
    rules: ArcSwap<Vec<Arc<GroupView>>>,
    /// Set when the agent has one.
    alerting: OnceLock<Alerting>,
    pool: OnceLock<Pool>,
    checks: OnceLock<Arc<Board>>,
    about: ArcSwap<About>,
}

/// Alerts that are pending or firing.
#[derive(Default)]
pub struct Alerts {
    pub active: Vec<(Labels, ActiveAlert)>,
    /// The labels of this host stand above all of them.
    pub target: Labels,
}

impl Shared {
    pub fn new(commands: mpsc::Sender<Command>) -> Shared {
        Shared {
            latest: watch::Sender::new(None),
            commands: Mutex::new(commands),
            ready: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            reloader: OnceLock::new(),
            overview: Mutex::default(),
            alerts: Mutex::default(),
            history: OnceLock::new(),
            charts: Arc::default(),
            rules: ArcSwap::default(),
            alerting: OnceLock::new(),
            pool: OnceLock::new(),
            checks: OnceLock::new(),
            about: ArcSwap::default(),
        }
    }

    /// Queries and charts look at this history from now on.
    pub fn set_history(&self, history: SharedHistory) {
        self.charts.set_history(history.clone());
        let _ = self.history.set(history);
    }

    /// Clients may ask of alerts from now on.
    pub fn set_alerting(&self, alerting: Alerting) {
        let _ = self.alerting.set(alerting);
    }

    /// Clients may ask what the pool runs, and how the checks stand, from now on.
    pub fn set_checks(&self, pool: Pool, checks: Arc<Board>) {
        let _ = self.pool.set(pool);
        let _ = self.checks.set(checks);
    }

    /// Changes what clients are told of the agent.
    pub fn update_about(&self, update: impl Fn(&mut About)) {
        self.about.rcu(|about| {
            let mut about = About::clone(about);
            update(&mut about);
            about
        });
    }

    /// Shows the rules as they stand now.
    pub fn show_rules(&self, rules: Vec<Arc<GroupView>>) {
        self.rules.store(Arc::new(rules));
    }

    pub fn set_reloader(&self, reloader: Arc<dyn Reloader>) {
        let _ = self.reloader.set(reloader);
    }

    /// Serves this snapshot from now on.
    pub fn publish(&self, snapshot: Arc<Snapshot>) {
        self.latest.send_replace(Some(snapshot));
    }

    /// Serves the last snapshot with another last section, that of the rules, from now on.
    pub fn publish_rules(&self, rules: Arc<Section>) {
        self.latest.send_if_modified(|latest| {
            let Some(snapshot) = latest else { return false };
            let mut sections = snapshot.sections.clone();
            sections.pop();
            sections.push(rules);
            *snapshot = Arc::new(Snapshot { time: snapshot.time, taken: snapshot.taken, sections });
            true
        });
    }

    /// Whether the last snapshot will do for those who wait for another, with time left to serve it; if so, they get it.
    pub fn renew(&self) -> bool {
        let fresh = self.latest.borrow().as_ref().is_some_and(|s| s.taken.elapsed() <= MAX_AGE / 2);
        if fresh {
            self.latest.send_modify(|_| {});
        }
        fresh
    }

    /// The agent samples, evaluates and delivers.
    pub fn started(&self) {
        self.ready.store(true, Ordering::Relaxed);
    }

    /// No tick comes any more: who waits for one is answered without.
    pub fn stopping(&self) {
        self.ready.store(false, Ordering::Relaxed);
        self.stopped.store(true, Ordering::Relaxed);
        self.latest.send_modify(|_| {});
    }

    /// Shows these alerts on the page.
    pub fn show_alerts(&self, alerts: Alerts) {
        *self.alerts.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(alerts);
    }

    /// Changes what the page shows.
    pub fn update_overview(&self, update: impl FnOnce(&mut Overview)) {
        update(&mut self.overview.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl App for Shared {
    fn history(&self) -> Option<SharedHistory> {
        self.history.get().cloned()
    }

    fn charts(&self) -> Arc<Drawer> {
        self.charts.clone()
    }

    fn rules(&self) -> Arc<Vec<Arc<GroupView>>> {
        self.rules.load_full()
    }

    fn alerting(&self) -> Option<Alerting> {
        self.alerting.get().cloned()
    }

    fn pool(&self) -> Option<Pool> {
        self.pool.get().cloned()
    }

    fn checks(&self) -> Option<Arc<Board>> {
        self.checks.get().cloned()
    }

    fn about(&self) -> Arc<About> {
        self.about.load_full()
    }

    fn latest(&self) -> Option<Arc<Snapshot>> {
        self.latest.borrow().clone()
    }

    async fn sample(&self) -> Option<Arc<Snapshot>> {
        let asked_at = Instant::now();
        let mut snapshots = self.latest.subscribe();
        let asked = self.commands.lock().unwrap_or_else(PoisonError::into_inner).send(Command::Sample);
        asked.ok()?;
        // The next to come may be an old one with what the rules have made of it.
        let mut fresh = false;
        let will_do = |s: &Option<Arc<Snapshot>>| {
            fresh = s.as_ref().is_some_and(|s| s.taken >= asked_at || s.taken.elapsed() <= MAX_AGE / 2);
            fresh || self.stopped.load(Ordering::Relaxed)
        };
        let found = snapshots.wait_for(will_do).await.ok()?.clone();
        found.filter(|_| fresh)
    }

    fn ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    async fn reload(&self) -> Result<(), String> {
        match self.reloader.get() {
            Some(reloader) => reloader.clone().reload().await,
            None => Err("the agent is still starting".to_string()),
        }
    }

    fn overview(&self) -> Overview {
        let alerts = self.alerts.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut overview = self.overview.lock().unwrap_or_else(PoisonError::into_inner).clone();
        overview.alerts = alerts.active.iter().map(|(labels, alert)| shown(labels, alert, &alerts.target)).collect();
        overview.alerts.sort_by(|a, b| (a.state, &a.name, &a.labels).cmp(&(b.state, &b.name, &b.labels)));
        overview
    }
}

/// An alert as the page shows it.
fn shown(labels: &Labels, alert: &ActiveAlert, target: &Labels) -> http::ActiveAlert {
    let others = labels.iter().filter(|(n, v)| !matches!(*n, "alertname" | "severity") && target.get(n) != *v);
    let others = Labels::from_pairs(others);
    http::ActiveAlert {
        name: labels.get("alertname").to_string(),
        severity: labels.get("severity").to_string(),
        state: if alert.state == State::Pending { "pending" } else { "firing" },
        since: alert.active_at.wall,
        summary: alert.annotations.get("summary").to_string(),
        labels: if others.is_empty() { String::new() } else { others.to_string() },
        all_labels: labels.clone(),
        note: "",
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::model::Timestamp;

    #[tokio::test]
    async fn a_request_during_a_long_tick_waits_for_the_sampling_that_it_asked_for() {
        let before = Instant::now().checked_sub(Duration::from_secs(2)).unwrap();
        let (commands, inbox) = mpsc::channel();
        let shared = Arc::new(Shared::new(commands));
        let request = tokio::spawn({
            let shared = shared.clone();
            async move { shared.sample().await }
        });
        tokio::task::yield_now().await;
        assert!(matches!(inbox.try_recv(), Ok(Command::Sample)));
        // The tick that was under way: it had sampled before.
        shared.publish(Arc::new(Snapshot { taken: before, ..Snapshot::empty() }));
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(!request.is_finished());
        let asked_for = Arc::new(Snapshot::empty());
        shared.publish(asked_for.clone());
        let given = tokio::time::timeout(Duration::from_secs(5), request).await.unwrap().unwrap();
        assert!(given.is_some_and(|given| Arc::ptr_eq(&given, &asked_for)));
    }

    #[tokio::test]
    async fn who_waits_when_the_agent_stops_is_not_given_an_old_sampling_for_a_new_one() {
        let (commands, _inbox) = mpsc::channel();
        let shared = Arc::new(Shared::new(commands));
        let taken = Instant::now().checked_sub(Duration::from_secs(60)).unwrap();
        shared.publish(Arc::new(Snapshot { taken, ..Snapshot::empty() }));
        let request = tokio::spawn({
            let shared = shared.clone();
            async move { shared.sample().await }
        });
        tokio::task::yield_now().await;
        assert!(!request.is_finished());
        shared.stopping();
        let given = tokio::time::timeout(Duration::from_secs(5), request).await.unwrap().unwrap();
        assert!(given.is_none());
    }

    #[test]
    fn who_waits_for_a_sampling_gets_the_one_that_a_tick_has_just_made() {
        let shared = Shared::new(mpsc::channel().0);
        assert!(!shared.renew(), "there is none");
        let taken_ago = |age: Duration| {
            let taken = Instant::now().checked_sub(age).unwrap();
            Arc::new(Snapshot { time: Timestamp::default(), taken, sections: Vec::new() })
        };
        shared.publish(taken_ago(Duration::from_secs(2)));
        let mut waits = shared.latest.subscribe();
        assert!(!shared.renew() && !waits.has_changed().unwrap(), "too old to serve");
        shared.publish(taken_ago(Duration::ZERO));
        waits.mark_unchanged();
        assert!(shared.renew() && waits.has_changed().unwrap());
    }
}
