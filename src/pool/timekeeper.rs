//! The one task of the runtime that does what is due: deadlines, further tries, scheduled runs.

use std::sync::{Arc, Weak};

use tokio::sync::Notify;
use tokio::time::sleep_until;

use super::shared::Shared;

/// Runs until the pool is stopped and nothing is left to do, or the pool is gone.
pub(super) async fn keep_time(shared: Weak<Shared>, clock: Arc<Notify>) {
    while let Some(pool) = shared.upgrade() {
        let Some(next) = pool.act() else { return };
        drop(pool);
        tokio::select! {
            () = clock.notified() => {}
            () = sleep_until(next) => {}
        }
    }
}
