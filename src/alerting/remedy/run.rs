//! Runs the command of an action.

use std::sync::Arc;
use std::time::Duration;

use super::config::ActionConfig;
use super::entry::{Result, Trigger};
use crate::pool::{Class, Outcome, Pool, Status};
use crate::sinks::{Notification, ToldCommand, secrets, tail};

/// The characters that are kept of what a command wrote.
const MAX_OUTPUT: usize = 1_000;

/// An action to be run.
#[derive(Clone, Debug)]
pub struct Order {
    /// Its row of the audit log.
    pub number: u64,
    pub action: Arc<ActionConfig>,
    pub trigger: Trigger,
    /// The one alert, as `exec` receivers get several.
    pub alert: Notification,
}

/// What came of it.
#[derive(Clone, PartialEq, Debug)]
pub struct Done {
    pub result: Result,
    /// How it ended: `exit 0`.
    pub said: String,
    /// How long the command ran; `None` where none was started.
    pub took: Option<Duration>,
    /// The end of what it wrote.
    pub output: String,
}

impl Done {
    /// The command was not run.
    pub fn not_run(why: impl std::fmt::Display) -> Done {
        Done { result: Result::Failed, said: format!("not run: {why}"), took: None, output: String::new() }
    }
}

/// Runs the command, once, to its end. `begun` is called when it begins: it may have to wait for a place.
pub async fn run(pool: Pool, order: Order, begun: impl FnOnce() + Send + 'static) -> Done {
    let action = &order.action;
    let (said, about) = (Arc::clone(action), order.alert.group_labels.clone());
    let name = format!("action:{}", action.name);
    let ActionConfig { command, env, directory, limits, .. } = &**action;
    let told = ToldCommand { command, env, directory: directory.as_deref(), limits };
    let task = told
        .of(&order.alert)
        .env("WATCHFIRE_ACTION", &action.name)
        .env("WATCHFIRE_TRIGGER", order.trigger.as_str())
        .name(&name)
        .id(&name)
        .once()
        .class(Class::Action)
        .timeout(action.timeout)
        .on_start(move || {
            tracing::info!(action = said.name, alert = %about, "action is run");
            begun();
        });
    match pool.submit(task) {
        Ok(handle) => {
            let outcome = handle.wait().await;
            done(action, &outcome)
        }
        Err(error) => Done::not_run(error),
    }
}

fn done(action: &ActionConfig, outcome: &Outcome) -> Done {
    let (result, said) = match &outcome.status {
        Status::Exited(code) => (if *code == 0 { Result::Ok } else { Result::Failed }, format!("exit {code}")),
        Status::TimedOut { .. } => (Result::Timeout, outcome.status.to_string()),
        // By somebody: when the agent ends, nobody waits for this any more, and the next start says so.
        Status::Cancelled if outcome.tries == 0 => (Result::Skipped, "it was cancelled".to_string()),
        Status::Cancelled => (Result::Interrupted, "it was cancelled".to_string()),
        status => (Result::Failed, status.to_string()),
    };
    let written: String = [&outcome.stdout, &outcome.stderr].map(|written| written.text()).concat();
    let took = outcome.started.map(|_| outcome.ran);
    Done { result, said, took, output: end_of(&secrets(&action.env).masked(&written)) }
}

/// The end of what was written, in its lines: whole ones as far as they go.
fn end_of(text: &str) -> String {
    let text = text.trim();
    let skip = text.chars().count().saturating_sub(MAX_OUTPUT);
    let kept: String = text.chars().skip(skip).collect();
    match kept.split_once('\n') {
        Some((_, lines)) if skip > 0 => format!("...\n{lines}"),
        None if skip > 0 => tail(text, MAX_OUTPUT),
        _ => kept,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use prometheus::Registry;

    use super::*;
    use crate::pool::{Handle, PoolConfig, Queued, Task};
    use crate::sinks::example;

    fn pool(config: PoolConfig) -> Pool {
        Pool::new(config, &Registry::new(), tokio::runtime::Handle::current()).unwrap()
    }

    fn order(script: &str, timeout: Duration) -> Order {
        let action = ActionConfig {
            name: "mend".to_string(),
            command: ["sh", "-c", script].map(String::from).to_vec(),
            timeout,
            env: BTreeMap::from([("TOKEN".to_string(), "hunter2".to_string())]),
            ..ActionConfig::default()
        };
        let alert = example().alone(&example().alerts[0]);
        Order { number: 7, action: Arc::new(action), trigger: Trigger::Repeat, alert }
    }

    async fn ran(script: &str, timeout: Duration) -> Done {
        run(pool(PoolConfig::default()), order(script, timeout), || ()).await
    }

    /// Cancels it as `watchfire pool cancel` does, as soon as the pool has it.
    async fn cancelled(pool: Pool, order: Order) -> Done {
        let running = tokio::spawn(run(pool.clone(), order, || ()));
        while pool.cancel_id("action:mend") == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        running.await.unwrap()
    }

    const LONG: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn the_alert_is_in_the_environment_and_on_standard_input_and_secrets_are_not_kept() {
        let script = "echo $WATCHFIRE_ACTION $WATCHFIRE_TRIGGER $WATCHFIRE_ALERTNAME $WATCHFIRE_INSTANCE $TOKEN; \
                      grep -c '\"alertname\":\"DiskFull\"'; echo trouble >&2";
        let done = ran(script, LONG).await;
        assert_eq!((done.result, done.said.as_str()), (Result::Ok, "exit 0"));
        assert_eq!(done.output, "mend repeat DiskFull a ***\n1\ntrouble");
        assert!(done.took.is_some_and(|took| took > Duration::ZERO));
    }

    #[tokio::test]
    async fn a_command_that_fails_or_hangs_or_is_not_there_has_failed_in_its_own_way() {
        let done = ran("echo no such unit >&2; exit 5", LONG).await;
        assert_eq!((done.result, done.said.as_str(), done.output.as_str()), (Result::Failed, "exit 5", "no such unit"));
        let done = ran("exec sleep 60", Duration::from_millis(50)).await;
        assert_eq!((done.result, done.said.as_str()), (Result::Timeout, "timed out after 50ms"));
        let done = ran("kill -KILL $$", LONG).await;
        assert_eq!((done.result, done.said.as_str()), (Result::Failed, "was killed by SIGKILL"));
    }

    #[tokio::test]
    async fn what_was_never_started_took_no_time() {
        let mut order = order("", LONG);
        Arc::make_mut(&mut order.action).command = vec!["/no/such/program".to_string()];
        let done = run(pool(PoolConfig::default()), order, || ()).await;
        assert_eq!((done.result, done.took), (Result::Failed, None), "{}", done.said);
        let stopped = pool(PoolConfig::default());
        stopped.shutdown(Queued::Cancel, Duration::ZERO).await;
        let done = run(stopped, self::order("true", LONG), || ()).await;
        assert_eq!((done.said.as_str(), done.took), ("not run: the pool is shutting down", None));
    }

    #[tokio::test]
    async fn what_somebody_cancels_is_not_taken_for_the_agents_end() {
        let done = cancelled(pool(PoolConfig::default()), order("sleep 60", LONG)).await;
        assert_eq!((done.result, done.said.as_str()), (Result::Interrupted, "it was cancelled"));

        let full = pool(PoolConfig { max_concurrent: 1, ..PoolConfig::default() });
        let others = [(); 2].map(|()| full.submit(Task::command(["sleep", "60"]).class(Class::Action)).unwrap());
        let done = cancelled(full, order("true", LONG)).await;
        assert_eq!((done.result, done.said.as_str(), done.took), (Result::Skipped, "it was cancelled", None));
        assert!(others.iter().all(Handle::cancel));
    }

    #[test]
    fn of_a_long_output_the_last_lines_are_kept() {
        let kept = end_of(&"line of some length\n".repeat(200));
        assert!(kept.starts_with("...\nline of") && kept.ends_with("length") && kept.len() < MAX_OUTPUT + 5, "{kept}");
        assert!(end_of(&"x".repeat(5_000)).starts_with("...x"));
        assert_eq!(end_of("\n a\nb \n"), "a\nb");
    }
}
