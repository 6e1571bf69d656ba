//! The kernel's reports on processes: whether they are listened to, and whether they come.

use std::thread::JoinHandle;

use super::super::events::{AtExec, Events, Source, Status};
use crate::collect::Roots;

/// The kernel's reports.
#[derive(Default)]
pub(in crate::collect::process) struct Reports {
    state: State,
    /// Of each source, whether it has been said that it does not report.
    said: [bool; 2],
}

#[derive(Default)]
enum State {
    /// Nothing is reported, or nobody wants to know.
    #[default]
    Off,
    /// Being opened, by a thread of its own: that takes milliseconds, and a second where the kernel does not answer.
    Opening(JoinHandle<Events>),
    On(Box<Events>),
}

impl Reports {
    /// Begins to listen to what the kernel reports, from one of the next passes on: the first one has to be quick.
    pub fn listen(&mut self, at_exec: AtExec, roots: &Roots) {
        let roots = roots.clone();
        let open = move || Events::start(at_exec, &roots);
        match std::thread::Builder::new().name("process-events".to_string()).spawn(open) {
            Ok(opening) => self.state = State::Opening(opening),
            Err(error) => tracing::warn!(%error, "the kernel's reports on processes are not listened to: no thread"),
        }
    }

    /// The reports, once they are open.
    pub fn on(&mut self) -> Option<&mut Events> {
        match &mut self.state {
            State::On(events) => Some(events),
            _ => None,
        }
    }

    /// What they say of themselves; `None` where nobody listens.
    pub fn status(&self) -> Option<Status> {
        match &self.state {
            State::On(events) => Some(events.status()),
            _ => None,
        }
    }

    /// Takes the reports when they are open.
    pub fn take_opened(&mut self) {
        if let State::Opening(opening) = &self.state
            && opening.is_finished()
            && let State::Opening(opening) = std::mem::take(&mut self.state)
            && let Ok(events) = opening.join()
        {
            self.state = State::On(Box::new(events));
        }
    }

    /// Says once of each source that it does not report, or does not any more, and what that means.
    pub fn say_what_is_down(&mut self) {
        let Some(Status { connector, taskstats, .. }) = self.status() else { return };
        let sources = [
            ("connector", connector, "births of processes are not counted, and new programs are noticed a tick later"),
            ("taskstats", taskstats, "processes that live for less than a tick are not seen, and ends are not counted"),
        ];
        for ((source, state, consequence), said) in sources.into_iter().zip(&mut self.said) {
            if let Source::Down(why) = state
                && !std::mem::replace(said, true)
            {
                tracing::warn!(source, %why, "{consequence}");
            }
        }
    }
}
