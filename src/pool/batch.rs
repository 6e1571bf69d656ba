//! Many tasks at once, a few at a time.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::handle::Handle;
use super::outcome::Outcome;
use super::supervisor::{Pool, SubmitError};
use super::task::Task;

/// Says that its task has ended, however it did: also when it is dropped unrun.
struct Tell(mpsc::UnboundedSender<()>);

impl Drop for Tell {
    fn drop(&mut self) {
        // Nobody listens any more when the whole was given up.
        let _ = self.0.send(());
    }
}

/// A task that was submitted, or the outcome of one that was not.
enum Submitted {
    Taken(Handle),
    Refused(Arc<Outcome>),
}

impl Pool {
    /// Runs the task that `make` makes of each input, at most so many of them at a time (the pool may allow fewer), and
    /// gives the outcomes in the order of the inputs. A full queue is waited for; what the pool refuses otherwise has the
    /// outcome [`Status::Refused`](super::Status::Refused). Dropped, it submits no more; what runs goes on.
    pub async fn map<I>(
        &self,
        inputs: impl IntoIterator<Item = I>,
        at_most: usize,
        mut make: impl FnMut(I) -> Task,
    ) -> Vec<Arc<Outcome>> {
        let (ended, mut ends) = mpsc::unbounded_channel();
        let mut submitted = Vec::new();
        let mut open = 0;
        for input in inputs {
            if open >= at_most.max(1) {
                // The sender is held here, so there is no other end than that of a task.
                let _ended = ends.recv().await;
                open -= 1;
            }
            let tell = Tell(ended.clone());
            let task = make(input).then(move |_| drop(tell));
            submitted.push(self.submit_patiently(task).await);
            open += 1;
        }
        let mut outcomes = Vec::with_capacity(submitted.len());
        for task in submitted {
            outcomes.push(match task {
                Submitted::Taken(handle) => handle.wait().await,
                Submitted::Refused(outcome) => outcome,
            });
        }
        outcomes
    }

    /// Runs these tasks, as [`Pool::map`] does.
    pub async fn batch(&self, tasks: impl IntoIterator<Item = Task>, at_most: usize) -> Vec<Arc<Outcome>> {
        self.map(tasks, at_most, |task| task).await
    }

    async fn submit_patiently(&self, task: Task) -> Submitted {
        let mut task = Box::new(task);
        loop {
            // Made before the try, so that no place that gets free in between is missed.
            let freed = self.shared.freed.notified();
            match self.try_submit(task) {
                Ok(handle) => return Submitted::Taken(handle),
                Err((SubmitError::QueueFull { .. }, back)) => task = back,
                Err((error, back)) => return Submitted::Refused(self.shared.refuse(*back, error)),
            }
            freed.await;
        }
    }
}
