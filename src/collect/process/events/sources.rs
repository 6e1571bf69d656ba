//! Both sources, and where what they report goes.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

use super::connector::{Connector, Event};
use super::ledger::Ledger;
use super::tasks::Tasks;
use super::taskstats::Taskstats;
use super::texts::{Text, Texts};
use super::{Batch, Source, Status, Totals};
use crate::collect::Roots;

/// Bytes that may wait in each socket: tens of thousands of reports.
const SOCKET_BYTES: usize = 16 << 20;
/// Reports that are read in one go, so that a storm cannot keep anybody busy for ever.
const MOST: usize = 50_000;
/// Programs executed between two passes of which each process is told.
const MOST_EXECS: usize = 65_536;

/// What to wait for.
pub(super) struct Waitable {
    pub births: Option<Arc<OwnedFd>>,
    pub ends: Option<Arc<OwnedFd>>,
}

/// Both sources, and what has come from them.
pub(super) struct Sources {
    connector: Result<Connector, Arc<str>>,
    taskstats: Result<Taskstats, Arc<str>>,
    tasks: Tasks,
    ledger: Ledger,
    pub texts: Texts,
    execs: Vec<u32>,
    totals: Totals,
    lost: bool,
    /// When all that had been reported of ends had been received.
    emptied: Instant,
}

impl Sources {
    pub fn open(roots: &Roots) -> Sources {
        Sources::open_sized(roots, SOCKET_BYTES)
    }

    /// `size`: bytes that may wait in each socket.
    pub fn open_sized(roots: &Roots, size: usize) -> Sources {
        let taskstats = Taskstats::open(size, roots);
        // Taskstats tell more of ends.
        let connector = Connector::open(size, taskstats.is_err());
        Sources {
            connector: connector.map_err(Arc::from),
            taskstats: taskstats.map_err(Arc::from),
            tasks: Tasks::default(),
            ledger: Ledger::default(),
            texts: Texts::default(),
            execs: Vec::new(),
            totals: Totals::default(),
            lost: false,
            emptied: Instant::now(),
        }
    }

    /// The sockets that are worth waiting for: one that has failed would always be ready.
    pub fn waitable(&self) -> Waitable {
        Waitable {
            births: self.connector.as_ref().ok().map(|source| source.socket.waitable()),
            ends: self.taskstats.as_ref().ok().map(|source| source.socket.waitable()),
        }
    }

    /// Receives what has been reported of forks and execs; `executed` takes the processes that executed a program.
    pub fn receive_births(&mut self, executed: &mut Vec<u32>) {
        let Ok(connector) = &mut self.connector else { return };
        let (totals, texts) = (&mut self.totals, &mut self.texts);
        let before = executed.len();
        let received = connector.receive(MOST, |event| match event {
            Event::Fork { parent, child } => {
                totals.forks += 1;
                texts.fork(parent, child);
            }
            Event::Exec { pid } => {
                totals.execs += 1;
                executed.push(pid);
            }
            Event::Exit { pid } => {
                totals.exits += 1;
                texts.take(pid);
            }
        });
        match received {
            Ok(0) => {}
            Ok(lost) => {
                totals.connector_lost += lost;
                self.lost = true;
            }
            Err(error) => {
                self.connector = Err(error.to_string().into());
                self.lost = true;
            }
        }
        let new = executed.get(before..).unwrap_or_default();
        let room = MOST_EXECS.saturating_sub(self.execs.len());
        self.lost |= new.len() > room;
        self.execs.extend(new.iter().take(room));
    }

    /// Receives what has been reported of ends.
    pub fn receive_ends(&mut self) {
        let Ok(taskstats) = &mut self.taskstats else { return };
        let now = Instant::now();
        let (totals, texts, tasks, ledger) = (&mut self.totals, &mut self.texts, &mut self.tasks, &mut self.ledger);
        let emptied = self.emptied;
        let received = taskstats.receive(MOST, |report| {
            if let Some(mut exit) = tasks.ended(report) {
                totals.exits += 1;
                let Text { cmdline, cgroup } = texts.take(exit.pid);
                (exit.cmdline, exit.cgroup) = (cmdline, cgroup);
                ledger.add(exit, emptied);
            }
        });
        match received {
            Ok((lost, read)) => {
                if read < MOST {
                    self.emptied = now;
                }
                if lost > 0 {
                    totals.taskstats_lost += lost;
                    self.lost = true;
                    self.tasks.clear();
                }
            }
            Err(error) => {
                self.taskstats = Err(error.to_string().into());
                self.lost = true;
                if let Ok(connector) = &self.connector {
                    // Where even that fails, ends are not counted, and that is all.
                    let _ = connector.want_exits(true);
                }
            }
        }
    }

    pub fn begin_pass(&mut self, execs: &mut Vec<u32>) {
        self.ledger.begin_pass();
        execs.clear();
        execs.append(&mut self.execs);
        self.execs.shrink_to(1024);
        execs.sort_unstable();
        execs.dedup();
    }

    pub fn end_pass(&mut self, listed: Instant, into: &mut Batch) {
        into.exits.clear();
        self.ledger.end_pass(listed, &mut into.exits);
        into.lost = std::mem::take(&mut self.lost);
        self.texts.end_pass();
    }

    /// Nobody can empty the sockets in time.
    pub fn close(&mut self, why: &str) {
        self.connector = self.connector.as_ref().err().cloned().map_or_else(|| Err(why.into()), Err);
        self.taskstats = self.taskstats.as_ref().err().cloned().map_or_else(|| Err(why.into()), Err);
    }

    pub fn status(&self) -> Status {
        let source = |why: Option<&Arc<str>>| why.map_or(Source::Up, |why| Source::Down(why.clone()));
        Status {
            connector: source(self.connector.as_ref().err()),
            taskstats: source(self.taskstats.as_ref().err()),
            totals: self.totals,
        }
    }
}
