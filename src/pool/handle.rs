//! The handle of a submitted task.

use std::sync::Arc;
use std::time::Duration;

use super::capture::Chunks;
use super::job::{Control, Dependency, Ticket};
use super::outcome::Outcome;
use super::supervisor::Pool;

/// A submitted task. Dropping it does not cancel the task, which goes on under the pool's care.
pub struct Handle {
    pub(super) pool: Pool,
    pub(super) ticket: Ticket,
    pub(super) id: Option<Arc<str>>,
    pub(super) control: Arc<Control>,
}

impl Handle {
    /// The task's number, unique in its pool.
    pub fn number(&self) -> u64 {
        self.ticket.number
    }

    /// The id under which the task's results are kept, or one made of its number.
    pub fn id(&self) -> Arc<str> {
        self.ticket.id(self.id.as_ref())
    }

    /// Waits for the end of the task. May be called again and from several places; all see the same outcome.
    pub async fn wait(&self) -> Arc<Outcome> {
        self.control.ended().await
    }

    /// Waits for the end of the task, but at most this long: `None` when it has not ended by then. It goes on.
    pub async fn wait_timeout(&self, limit: Duration) -> Option<Arc<Outcome>> {
        tokio::time::timeout(limit, self.wait()).await.ok()
    }

    /// The outcome if there is one yet.
    pub fn outcome(&self) -> Option<Arc<Outcome>> {
        self.control.outcome().cloned()
    }

    /// The output of a command as it comes, from now on; it ends with the task, after its last try. What came before is
    /// in the outcome.
    pub fn output(&self) -> Chunks {
        self.control.tap.chunks()
    }

    /// Cancels the task: one that waits leaves the queue at once, one that runs is ended as by its time limit. `false`
    /// when it had ended already. The outcome says [`Status::Cancelled`](super::Status::Cancelled), unless the task ended
    /// first.
    pub fn cancel(&self) -> bool {
        self.pool.cancel(self.ticket)
    }

    pub(super) fn dependency(&self, success: bool) -> Dependency {
        Dependency {
            pool: self.pool.identity(),
            number: self.ticket.number,
            id: self.id(),
            control: Arc::clone(&self.control),
            success,
        }
    }
}
