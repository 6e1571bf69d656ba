//! What is left of commands that cannot be ended.
//!
//! A process that waits in the kernel for a dead disk does not end when it is killed, and one that has become another
//! user (sudo) cannot be killed by an agent without CAP_KILL. Neither holds up the pool: the outcome is known when it was
//! tried. But what has left something that lives is not run again before that has ended, or it would add up; only
//! notifications are.

use std::sync::{Arc, Weak};
use std::time::Duration;

use rustix::process::Pid;
use tokio::time::sleep;

use super::child::Child;
use super::group;
use super::shared::Shared;
use super::task::Class;

/// How often what is left of a group is looked for.
const LOOK: Duration = Duration::from_secs(1);

/// Why something cannot be ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Keeper {
    /// It was killed, and does not come back from a system call.
    Kernel,
    /// It may not be signalled.
    OtherUser,
}

impl Keeper {
    pub(super) const ALL: [Keeper; 2] = [Keeper::Kernel, Keeper::OtherUser];

    /// The value of the label `reason`.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Keeper::Kernel => "kernel",
            Keeper::OtherUser => "user",
        }
    }

    /// As the end of a sentence.
    fn text(self) -> &'static str {
        match self {
            Keeper::Kernel => "does not end even when killed: the kernel holds it",
            Keeper::OtherUser => {
                "runs on: it has become another user's, and the agent may not end it (that takes CAP_KILL)"
            }
        }
    }
}

/// What lives on of a command.
pub(super) struct Remains {
    pub(super) leader: Pid,
    /// Unless it has been reaped, and only others of its group live.
    pub(super) child: Option<Child>,
    pub(super) keeper: Keeper,
}

impl Remains {
    /// Waits until it has ended at last.
    pub(super) async fn end(self) {
        if let Some(child) = self.child {
            // That somebody else took its status is no concern here.
            let _lost = child.exited().await;
            child.kill_all();
            child.reap();
        }
        while group::lives(self.leader) {
            sleep(LOOK).await;
        }
    }
}

/// An entry in the books, which goes when the remains do.
struct Entry {
    shared: Weak<Shared>,
    id: Option<Arc<str>>,
    keeper: Keeper,
}

impl Drop for Entry {
    fn drop(&mut self) {
        let Some(shared) = self.shared.upgrade() else { return };
        shared.metrics.unkillable(self.keeper, -1);
        if let Some(id) = &self.id {
            let mut state = shared.state();
            if let Some(left) = state.living.get_mut(id) {
                *left = left.saturating_sub(1);
                if *left == 0 {
                    state.living.remove(id);
                }
            }
        }
    }
}

impl Shared {
    /// Enters into the books what lives on of a task, and waits for its end in what is returned.
    pub(super) fn keep_books(
        self: &Arc<Self>,
        name: &str,
        id: Option<&Arc<str>>,
        class: Class,
        remains: Remains,
    ) -> impl Future<Output = ()> + Send + use<> {
        let Remains { leader, keeper, .. } = &remains;
        tracing::error!(task = name, pid = %leader, "a command {}", keeper.text());
        self.metrics.unkillable(*keeper, 1);
        let id = id.filter(|_| class != Class::Sink).cloned();
        if let Some(id) = &id {
            *self.state().living.entry(Arc::clone(id)).or_default() += 1;
        }
        let entry = Entry { shared: Arc::downgrade(self), id, keeper: *keeper };
        async move {
            remains.end().await;
            drop(entry);
        }
    }
}
