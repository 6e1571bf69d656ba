//! The handle of a submitted task.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::outcome::{Outcome, Status};
use super::supervisor::Pool;
use super::task::Class;

/// A submitted task. Dropping it does not cancel the task, which goes on under the pool's care.
pub struct Handle {
    pub(super) pool: Pool,
    pub(super) number: u64,
    pub(super) class: Class,
    pub(super) outcome: watch::Receiver<Option<Arc<Outcome>>>,
}

impl Handle {
    /// The task's number, unique in its pool.
    pub fn id(&self) -> u64 {
        self.number
    }

    /// Waits for the end of the task. May be called again and from several places; all see the same outcome.
    pub async fn wait(&self) -> Arc<Outcome> {
        let mut outcome = self.outcome.clone();
        match outcome.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(outcome)) => Arc::clone(outcome),
            // The runtime has been shut down and took the task with it.
            Ok(None) | Err(_) => Arc::new(Outcome::without_run(Status::Cancelled, Duration::ZERO)),
        }
    }

    /// Waits for the end of the task, but at most this long: `None` when it has not ended by then. It goes on.
    pub async fn wait_timeout(&self, limit: Duration) -> Option<Arc<Outcome>> {
        tokio::time::timeout(limit, self.wait()).await.ok()
    }

    /// The outcome if there is one yet.
    pub fn outcome(&self) -> Option<Arc<Outcome>> {
        self.outcome.borrow().clone()
    }

    /// Cancels the task: one that waits leaves the queue at once, one that runs is ended as by its time limit. `false`
    /// when it had ended already. The outcome says [`Status::Cancelled`], unless the command ended first.
    pub fn cancel(&self) -> bool {
        self.pool.cancel(self.class, self.number)
    }
}
