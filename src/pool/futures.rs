//! What waits on the runtime.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::job::Control;
use super::outcome::{Outcome, Status};
use super::run::Bounds;
use super::task::{Answer, Waiting};
use super::threads::panic_message;
use crate::model::Timestamp;

/// Awaits a future to its end, its time limit or its cancellation; then it is dropped.
pub(super) async fn run(mut future: Waiting, bounds: &Bounds, control: &Control, waited: Duration) -> Outcome {
    let (started, began) = (Timestamp::now(), Instant::now());
    let answer: Result<Answer, Status> = tokio::select! {
        biased;
        // A panic is this task's end, and not that of the place it has.
        answer = poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
            Ok(poll) => poll.map(Ok),
            Err(panic) => Poll::Ready(Err(Status::Panicked(panic_message(&*panic)))),
        }) => answer,
        () = control.cancelled() => Err(Status::Cancelled),
        () = sleep(bounds.timeout) => Err(Status::TimedOut { limit: bounds.timeout }),
    };
    Outcome::of_answer(answer, started, waited, began.elapsed())
}
