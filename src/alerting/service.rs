//! The shell around [`Core`]: a clock, the store, sinks and tasks.
//!
//! One task owns the core; alerts, outcomes and reloads reach it as messages, so nothing of it is locked. What it wants
//! stored is handed to the store, and no sink is called before the store has taken it.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use prometheus::Registry;
use tokio::runtime;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{self, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};

use super::config::AlertingConfig;
use super::core::{Actions, Core, Deed, Ended, Event, Now, TABLES};
use super::heartbeat::Heartbeat;
use super::metrics::Metrics;
use super::outage::Outages;
use super::plan::{Plan, Target};
use super::queue::Attempt;
use super::remedy::{Acting, ActionConfig, Entry, Result as ActionResult};
use super::said::ChecksSaid;
use super::view::{AlertView, GroupView, PostedAlert, Silence, SilenceError, Undelivered};
use crate::model::{Labels, Timestamp};
use crate::pool::Pool;
use crate::rules::Alert;
use crate::sinks::{Charts, DeliveryError, Reason, Sink, SinkContext};
use crate::state::{Store, StoredRows, Unseen};

/// Batches of alerts that may wait for the task: it waits for nothing but the store, and that not for long.
const BACKLOG: usize = 256;
/// A disk that hangs delays a delivery by this much and no more; then it is made from memory.
const STORE_LIMIT: Duration = Duration::from_secs(2);
/// Once it hangs, the deliveries that follow do not wait for as long, each after the other; until it answers again.
const STORE_HANGS_LIMIT: Duration = Duration::from_millis(50);

/// What alerting needs beside its section of the configuration.
#[derive(Clone, Default)]
pub struct Options {
    /// `global.external_labels`: added to every alert that does not have them.
    pub external_labels: Labels,
    /// Where people find this agent: `http://HOST:9100`.
    pub external_url: String,
    /// Draws pictures of what alerts are about.
    pub charts: Option<Arc<dyn Charts>>,
    /// What is run when alerts fire or end.
    pub actions: Vec<ActionConfig>,
    /// Tells what the checks say that alerts are about.
    pub checks: ChecksSaid,
}

/// Alerting as the agent sees it. Clones are the same.
#[derive(Clone)]
pub struct Alerting {
    commands: mpsc::Sender<Command>,
    metrics: Metrics,
    pool: Pool,
    heartbeat: Heartbeat,
}

pub(super) type Sinks = BTreeMap<Target, Arc<dyn Sink>>;

/// What is asked of the core, and how the answer goes back once what the core did is stored.
type Question = Box<dyn FnOnce(&mut Core, Now) -> (Actions, Box<dyn FnOnce() + Send>) + Send>;

enum Command {
    Alerts(Vec<Alert>),
    Ask(Question),
    Reload(Box<Plan>, Sinks),
    Stop { grace: Duration, done: oneshot::Sender<usize> },
}

impl Alerting {
    /// Begins to deliver, with what is left in the store from before. The tasks run on `runtime`.
    ///
    /// # Errors
    /// When the instruments are registered already.
    pub fn start(
        config: &AlertingConfig,
        options: Options,
        store: Store,
        pool: Pool,
        registry: &Registry,
        runtime: &runtime::Handle,
    ) -> prometheus::Result<Alerting> {
        let metrics = Metrics::register(registry)?;
        let context = SinkContext { pool, texts: config.templates.texts(), charts: options.charts.clone() };
        let plan = Plan::new(config, options.external_labels, &options.external_url)
            .acting(&options.actions)
            .citing(options.checks);
        metrics.begin(&plan);
        let heartbeat = Heartbeat::new(registry);
        heartbeat.configure(config.heartbeat.as_ref(), config.route.as_ref(), runtime)?;
        let (commands, inbox) = mpsc::channel(BACKLOG);
        let began = Instant::now();
        let seed = RandomState::new().hash_one(Timestamp::now());
        let unseen = store.unseen(&TABLES);
        let (core, first) = match unseen {
            None => Core::restore(plan, seed, now(began), |table| store.load_text(table)),
            Some(_) => Core::unread(plan, seed, now(began)),
        };
        let service = Service {
            core,
            began,
            unseen,
            sinks: sinks(config, &context),
            store,
            store_hangs: false,
            pool: context.pool.clone(),
            metrics: metrics.clone(),
            outages: Outages::default(),
            heartbeat: heartbeat.clone(),
            inbox,
            running: JoinSet::new(),
            attempts: HashMap::new(),
            acting: Acting::new(),
        };
        runtime.spawn(service.run(first));
        Ok(Alerting { commands, metrics, pool: context.pool, heartbeat })
    }

    /// Takes what rules tell. Never waits. Alerts that come together are grouped together.
    pub fn receive(&self, alerts: Vec<Alert>) {
        if alerts.is_empty() {
            return;
        }
        alerts.iter().for_each(|alert| self.metrics.received(alert.is_resolved()));
        let sent = self.commands.try_send(Command::Alerts(alerts));
        if let Err(Command::Alerts(alerts)) = sent.map_err(mpsc::error::TrySendError::into_inner) {
            tracing::error!(alerts = alerts.len(), "alerting is too busy to take alerts; rules tell of them again");
            self.metrics.dropped(alerts.len());
        }
    }

    /// Asks the core; `None` once the agent ends. What it did in answer is stored by then.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Core, Now) -> (T, Actions) + Send + 'static,
    ) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        let question: Question = Box::new(move |core, now| {
            let (said, actions) = question(core, now);
            // Who asked may have gone.
            (actions, Box::new(move || drop(reply.send(said))))
        });
        self.commands.send(Command::Ask(question)).await.ok()?;
        answer.await.ok()
    }

    /// The alerts that are known, in order of their fingerprints.
    pub async fn alerts(&self) -> Vec<AlertView> {
        self.ask(|core, now| (core.view_alerts(now), Actions::default())).await.unwrap_or_default()
    }

    /// The groups of alerts, by their labels and receivers.
    pub async fn groups(&self) -> Vec<GroupView> {
        self.ask(|core, now| (core.view_groups(now), Actions::default())).await.unwrap_or_default()
    }

    /// The silences; ended ones are among them for five days.
    pub async fn silences(&self) -> Vec<Silence> {
        self.ask(|core, _| (core.view_silences(), Actions::default())).await.unwrap_or_default()
    }

    /// Sets a silence, a new one if its identifier is empty. Gives the identifier, which is a new one too where the change
    /// of a known silence would alter what was silenced so far.
    ///
    /// # Errors
    /// When it makes no sense, is not known, or the agent ends.
    pub async fn set_silence(&self, silence: Silence) -> Result<String, SilenceError> {
        self.ask(move |core, now| core.set_silence(silence, now)).await.unwrap_or(Err(SilenceError::Gone))
    }

    /// Ends a silence now.
    ///
    /// # Errors
    /// When it is not known, or the agent ends.
    pub async fn expire_silence(&self, id: &str) -> Result<(), SilenceError> {
        let id = id.to_string();
        self.ask(move |core, now| core.expire_silence(&id, now)).await.unwrap_or(Err(SilenceError::Gone))
    }

    /// Takes alerts from elsewhere on the host. `false`: some were refused because too many are known, or the agent ends.
    pub async fn post(&self, alerts: Vec<PostedAlert>) -> bool {
        let now = Timestamp::now();
        alerts.iter().for_each(|alert| self.metrics.received(alert.ends_at.is_some_and(|end| end <= now)));
        self.ask(move |core, now| core.post(alerts, now)).await == Some(0)
    }

    /// The notifications that were given up, and then those that wait to be confirmed, the oldest of each first.
    pub async fn undelivered(&self) -> Vec<Undelivered> {
        self.ask(|core, _| (core.view_undelivered(), Actions::default())).await.unwrap_or_default()
    }

    /// The audit log of actions, the newest first, with the rows' numbers.
    pub async fn actions(&self) -> Vec<(u64, Entry)> {
        self.ask(|core, _| (core.view_actions(), Actions::default())).await.unwrap_or_default()
    }

    /// Puts a notification that was given up into the queue again. `false`: there is none of this number, or its target is
    /// no longer configured.
    pub async fn retry(&self, number: u64) -> bool {
        self.ask(move |core, now| core.retry(number, now)).await.unwrap_or(false)
    }

    /// Throws away a notification that was given up. `false`: there is none of this number.
    pub async fn discard(&self, number: u64) -> bool {
        self.ask(move |core, _| core.discard(number)).await.unwrap_or(false)
    }

    /// The names of the receivers, in the order of the configuration.
    pub async fn receivers(&self) -> Vec<String> {
        self.ask(|core, _| (core.receivers(), Actions::default())).await.unwrap_or_default()
    }

    /// False once the task that delivers has ended: after a stop, or because it panicked.
    pub fn is_running(&self) -> bool {
        !self.commands.is_closed()
    }

    /// Puts another configuration in force. What waits for a receiver that is no longer there is given up.
    pub async fn reload(&self, config: &AlertingConfig, options: Options) {
        let plan = Plan::new(config, options.external_labels, &options.external_url)
            .acting(&options.actions)
            .citing(options.checks);
        self.metrics.begin(&plan);
        let context =
            SinkContext { pool: self.pool.clone(), texts: config.templates.texts(), charts: options.charts.clone() };
        let command = Command::Reload(Box::new(plan), sinks(config, &context));
        let runtime = runtime::Handle::current();
        if let Err(error) = self.heartbeat.configure(config.heartbeat.as_ref(), config.route.as_ref(), &runtime) {
            tracing::error!(%error, "the heartbeat cannot be measured: none is sent");
        }
        // It fails only after a stop, when no configuration matters any more.
        let _ = self.commands.send(command).await;
    }

    /// Stops: all that is due is tried a last time, whatever its backoff, and has `grace` to end. What is not delivered
    /// stays in the store for the next start; how many notifications that are is the result.
    pub async fn shutdown(&self, grace: Duration) -> usize {
        self.heartbeat.stop();
        let (done, left) = oneshot::channel();
        match self.commands.send(Command::Stop { grace, done }).await {
            Ok(()) => left.await.unwrap_or(0),
            Err(_) => 0,
        }
    }
}

/// What delivers to each target.
pub(super) fn sinks(config: &AlertingConfig, context: &SinkContext) -> Sinks {
    let mut sinks = Sinks::new();
    let (_, receivers) = config.effective();
    for receiver in &receivers {
        for (integration, index, config) in receiver.entries() {
            let target = Target { receiver: receiver.name.clone(), integration: integration.into(), index };
            sinks.insert(target, config.build(context));
        }
    }
    sinks
}

fn now(began: Instant) -> Now {
    Now { mono: began.elapsed(), wall: Timestamp::now() }
}

/// What turns out to lie in the store.
async fn found(unseen: &mut Option<Unseen>) -> Option<StoredRows> {
    unseen.as_mut()?.rows().await
}

struct Service {
    core: Core,
    began: Instant,
    sinks: Sinks,
    store: Store,
    /// What lies in the store from before and could not be read at the start.
    unseen: Option<Unseen>,
    /// It did not answer in time the last time.
    store_hangs: bool,
    /// Where actions are run.
    pool: Pool,
    metrics: Metrics,
    outages: Outages,
    heartbeat: Heartbeat,
    inbox: mpsc::Receiver<Command>,
    running: JoinSet<Result<(), DeliveryError>>,
    /// What each running task tries, and since when.
    attempts: HashMap<task::Id, Running>,
    /// Actions under way.
    acting: Acting,
}

/// A delivery under way.
struct Running {
    attempt: Attempt,
    since: Instant,
    task: task::AbortHandle,
}

type Finished = Result<(task::Id, Result<(), DeliveryError>), task::JoinError>;

impl Service {
    async fn run(mut self, first: Actions) {
        self.act(first).await;
        loop {
            let due = self.core.next_due().map(|due| self.began + due);
            tokio::select! {
                command = self.inbox.recv() => match command {
                    Some(Command::Alerts(mut alerts)) => {
                        self.heartbeat.hear(&mut alerts);
                        self.handle(Event::Alerts(alerts)).await;
                    }
                    Some(Command::Ask(question)) => self.answer(question).await,
                    Some(Command::Reload(plan, sinks)) => {
                        self.sinks = sinks;
                        self.give_up_on_gone();
                        self.handle(Event::Plan(plan)).await;
                    }
                    Some(Command::Stop { grace, done }) => {
                        let left = self.stop(grace).await;
                        // Who asked may have gone.
                        let _ = done.send(left);
                        return;
                    }
                    // Nobody can tell or ask anything any more: a crash, as far as deliveries go.
                    None => return,
                },
                Some(finished) = self.running.join_next_with_id() => self.finished(finished).await,
                event = self.acting.next() => self.handle(event).await,
                rows = found(&mut self.unseen), if self.unseen.is_some() => self.take_over(rows).await,
                () = sleep_until(due.unwrap_or(self.began)), if due.is_some() => self.handle(Event::Time).await,
            }
        }
    }

    /// Tries a last time what is due, and lets deliveries end; the number of notifications that are left.
    async fn stop(&mut self, grace: Duration) -> usize {
        let deadline = Instant::now() + grace;
        // What was told before the stop still counts.
        while let Ok(command) = self.inbox.try_recv() {
            match command {
                Command::Alerts(mut alerts) => {
                    self.heartbeat.hear(&mut alerts);
                    self.handle(Event::Alerts(alerts)).await;
                }
                Command::Ask(question) => self.answer(question).await,
                Command::Reload(..) | Command::Stop { .. } => {}
            }
        }
        self.handle(Event::Stop).await;
        while Instant::now() < deadline && !(self.running.is_empty() && self.acting.is_empty()) {
            tokio::select! {
                Some(finished) = self.running.join_next_with_id() => self.finished(finished).await,
                event = self.acting.next() => self.handle(event).await,
                () = sleep_until(deadline) => {}
            }
        }
        self.running.shutdown().await;
        // The pool ends their commands; the next start says that they were interrupted.
        self.acting.leave().await;
        // Who ends the agent wants to know that it is on the disk.
        let _ = timeout(STORE_LIMIT, self.store.settled()).await;
        self.core.waiting()
    }

    /// Ends deliveries to targets that are gone: should one come back with the next configuration, nothing older may arrive
    /// after what it is told then.
    fn give_up_on_gone(&mut self) {
        let sinks = &self.sinks;
        self.attempts.retain(|_, running| {
            let kept = sinks.contains_key(&running.attempt.target);
            if !kept {
                running.task.abort();
            }
            kept
        });
    }

    async fn finished(&mut self, finished: Finished) {
        let (id, result) = match finished {
            Ok((id, result)) => (id, result),
            Err(error) => (
                error.id(),
                Err(DeliveryError::passing(Reason::Other, format!("the sink failed, which is a fault of it: {error}"))),
            ),
        };
        let Some(Running { attempt, since, .. }) = self.attempts.remove(&id) else { return };
        self.metrics.tried(&attempt.target, since.elapsed());
        self.handle(Event::Ended(Ended { attempt, result })).await;
    }

    async fn handle(&mut self, event: Event) {
        let actions = self.core.handle(event, now(self.began));
        self.act(actions).await;
    }

    /// Takes over what lies in the store from before.
    async fn take_over(&mut self, rows: Option<StoredRows>) {
        // Without rows, the store has ended.
        let (Some(unseen), Some(rows)) = (self.unseen.take(), rows) else { return };
        tracing::info!(
            rows = rows.values().map(Vec::len).sum::<usize>(),
            "the store can be read: alerting takes over what is left in it from before"
        );
        let mut actions = self.core.handle(Event::Read(rows), now(self.began));
        // What changes of the old rows is written with the first of the new ones, in one transaction.
        self.store.write(std::mem::take(&mut actions.batch));
        unseen.taken_over();
        self.act(actions).await;
    }

    async fn answer(&mut self, question: Question) {
        let (actions, reply) = question(&mut self.core, now(self.began));
        let changed = !actions.batch.is_empty();
        self.act(actions).await;
        if changed {
            self.settle().await;
        }
        reply();
    }

    /// Waits until the store has all rows, but not for long.
    async fn settle(&mut self) {
        let limit = if self.store_hangs { STORE_HANGS_LIMIT } else { STORE_LIMIT };
        let hangs = timeout(limit, self.store.settled()).await.is_err();
        match (self.store_hangs, hangs) {
            (false, true) => {
                tracing::error!("the store does not answer; what happens meanwhile is known in memory only");
            }
            (true, false) => tracing::info!("the store answers again"),
            _ => {}
        }
        self.store_hangs = hangs;
    }

    async fn act(&mut self, actions: Actions) {
        let since_start = self.began.elapsed();
        for report in &actions.endings {
            self.metrics.ended(&report.target, &report.ending);
            self.outages.say(report, since_start);
        }
        if actions.refused > 0 {
            tracing::error!(alerts = actions.refused, "too many alerts are known: refused");
            self.metrics.dropped(actions.refused);
        }
        for deed in &actions.deeds {
            self.metrics.acted(deed);
            say(deed);
        }
        actions.suppressed.iter().for_each(|(why, alerts)| self.metrics.suppressed(*why, *alerts));
        self.metrics.dead_letters(self.core.dead_letters());
        let queues = self
            .core
            .queues()
            .map(|(target, waiting, oldest)| (target, waiting, oldest.map(|since| (self.began + since).into_std())));
        self.metrics.stand(self.core.alerts(), queues);
        self.store.write(actions.batch);
        if actions.attempts.is_empty() && actions.orders.is_empty() {
            return;
        }
        self.settle().await;
        for order in actions.orders {
            self.acting.order(self.pool.clone(), order);
        }
        for attempt in actions.attempts {
            let sink = self.sinks.get(&attempt.target).cloned();
            let notification = Arc::clone(&attempt.notification);
            let delivery = async move {
                match sink {
                    Some(sink) => sink.deliver(&notification).await.map(drop),
                    None => Err(DeliveryError::lasting(Reason::Other, "it is no longer configured")),
                }
            };
            let task = self.running.spawn(delivery);
            self.attempts.insert(task.id(), Running { attempt, since: Instant::now(), task });
        }
    }
}

/// What became of an action, for the log.
fn say(deed: &Deed) {
    match deed.result {
        _ if deed.delivers => {}
        ActionResult::Ok | ActionResult::DryRun => tracing::info!(action = deed.action, "{}", deed.line),
        _ => tracing::warn!(action = deed.action, "{}", deed.line),
    }
}

#[cfg(test)]
mod peer;
#[cfg(test)]
mod tests;
