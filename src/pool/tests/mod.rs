//! What the pool promises, tried with real commands.

mod contained;
mod ends;
mod faults;
mod floods;
mod guard;
mod lanes;
mod leaks;
mod limits;
mod order;
pub(super) mod rights;
mod schedule;
mod streams;
mod unkillable;
mod wishes;

use std::time::Duration;

use prometheus::Registry;

use super::*;

/// Far longer than anything here takes, on a machine that is busy with other tests.
const LONG: Duration = Duration::from_secs(30);

fn config(max_concurrent: usize) -> PoolConfig {
    PoolConfig { max_concurrent, timeout: LONG, kill_grace: Duration::from_secs(5), ..PoolConfig::default() }
}

fn pool(max_concurrent: usize) -> Pool {
    pool_with(config(max_concurrent), &Registry::new())
}

fn pool_with(config: PoolConfig, registry: &Registry) -> Pool {
    Pool::new(config, registry, tokio::runtime::Handle::current()).expect("a fresh registry takes the instruments")
}

fn sh(script: &str) -> Task {
    Task::command(["sh", "-c", script])
}

/// Runs one task in a pool of its own.
async fn outcome(task: Task) -> std::sync::Arc<Outcome> {
    pool(1).submit(task).expect("there is room").wait().await
}

/// Whether a process exists that is not a zombie.
fn alive(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.rsplit(')').next().is_some_and(|rest| !rest.trim_start().starts_with('Z')))
}

/// Waits until `condition` holds.
async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + LONG;
    while !condition() {
        assert!(std::time::Instant::now() < deadline, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// The value of one of the pool's counters or gauges, over all classes.
fn metric(registry: &Registry, name: &str) -> f64 {
    let families = registry.gather();
    let family = families.iter().find(|family| family.name() == name).unwrap_or_else(|| panic!("{name} is not there"));
    family.get_metric().iter().map(|metric| metric.get_counter().value() + metric.get_gauge().value()).sum()
}
