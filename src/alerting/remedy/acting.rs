//! The actions that the pool has: what happens to them, in the order in which it does.

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::run::{Done, Order, run};
use crate::alerting::core::Event;
use crate::pool::Pool;

/// Actions that were handed to the pool and have not ended.
pub struct Acting {
    tasks: JoinSet<(u64, Done)>,
    /// One that has ended; that it began is told first.
    ended: Option<(u64, Done)>,
    /// Each tells its number when the pool begins it. There are never more of these than actions.
    tell: mpsc::UnboundedSender<u64>,
    told: mpsc::UnboundedReceiver<u64>,
}

impl Acting {
    pub fn new() -> Acting {
        let (tell, told) = mpsc::unbounded_channel();
        Acting { tasks: JoinSet::new(), ended: None, tell, told }
    }

    /// Hands an action to the pool.
    pub fn order(&mut self, pool: Pool, order: Order) {
        let (number, tell) = (order.number, self.tell.clone());
        let begun = move || {
            // Once the agent ends, nobody hears it.
            let _ = tell.send(number);
        };
        self.tasks.spawn(async move { (number, run(pool, order, begun).await) });
    }

    /// What happens next: [`Event::Begun`] or [`Event::Done`]. May be dropped while it waits.
    pub async fn next(&mut self) -> Event {
        loop {
            if let Ok(number) = self.told.try_recv() {
                return Event::Begun(number);
            }
            if let Some((number, done)) = self.ended.take() {
                return Event::Done(number, done);
            }
            tokio::select! {
                Some(number) = self.told.recv() => return Event::Begun(number),
                // To wait for a command does not panic.
                Some(ended) = self.tasks.join_next() => self.ended = ended.ok(),
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty() && self.ended.is_none()
    }

    /// Waits for none of them any more.
    pub async fn leave(&mut self) {
        self.tasks.shutdown().await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use prometheus::Registry;

    use super::super::{ActionConfig, Trigger};
    use super::*;
    use crate::pool::{Class, PoolConfig, Task};
    use crate::sinks::example;

    #[tokio::test]
    async fn an_action_has_begun_when_the_pool_has_a_place_for_it_and_that_is_told_before_its_end() {
        let config = PoolConfig { max_concurrent: 1, ..PoolConfig::default() };
        let pool = Pool::new(config, &Registry::new(), tokio::runtime::Handle::current()).unwrap();
        let others = [(); 2].map(|()| pool.submit(Task::command(["sleep", "60"]).class(Class::Action)).unwrap());
        let command = vec!["true".to_string()];
        let action = Arc::new(ActionConfig { name: "mend".to_string(), command, ..ActionConfig::default() });
        let alert = example().alone(&example().alerts[0]);
        let mut acting = Acting::new();
        acting.order(pool, Order { number: 7, action, trigger: Trigger::Firing, alert });
        let waits = tokio::time::timeout(Duration::from_millis(100), acting.next()).await;
        assert!(waits.is_err() && !acting.is_empty(), "{waits:?}");
        assert!(others.iter().all(|other| other.cancel()));
        // Both are there by then.
        while acting.tasks.try_join_next().map(|ended| acting.ended = ended.ok()).is_none() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(matches!(acting.next().await, Event::Begun(7)));
        assert!(matches!(acting.next().await, Event::Done(7, _)) && acting.is_empty());
    }
}
