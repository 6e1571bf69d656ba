//! All connections: how many there may be, and how long each may take for what it is doing.
//!
//! Every connection has a [`Slot`] that knows its phase. One task, the [`reaper`](Connections::reap), closes those that
//! are too long in theirs; so neither a client that sends one byte a second nor one that reads one byte a second holds
//! anything beyond its time. When all places are taken, a connection without a request in work makes room for a new one,
//! the longest waiting first: a real client sends its request at once, so that `/metrics` answers while slow clients
//! queue.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// A connection younger than this is not closed in favour of another: its request may be on the way.
const GRACE: Duration = Duration::from_millis(250);
/// An answer that the client has not taken after this time makes room for other clients when there is no more.
const SLOW: Duration = Duration::from_secs(1);
/// How long a closed connection waits for the client to close its side too.
const LINGER: Duration = Duration::from_secs(1);

/// What a connection is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// TLS handshake or a request's header is being read.
    Header,
    /// Between two requests.
    Idle,
    /// A request is being answered, or its answer written.
    Busy,
    /// Closed by us, not yet by the client.
    Lingering,
}

/// How long a connection may stay in each phase.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub connections: usize,
    pub header: Duration,
    pub idle: Duration,
    pub write: Duration,
}

impl Limits {
    fn of(&self, phase: Phase) -> Duration {
        match phase {
            Phase::Header => self.header,
            Phase::Idle => self.idle,
            Phase::Busy => self.write,
            Phase::Lingering => LINGER,
        }
    }
}

/// One connection's state.
#[derive(Debug)]
pub(super) struct Slot {
    /// A lock of its own: taken for a few instructions on each read and flush, and by the reaper once a while.
    state: Mutex<State>,
    close: Notify,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    since: Instant,
    /// Requests whose answers have not been handed over to the connection; more than one only in HTTP/2.
    in_work: u32,
    /// In HTTP/2, bytes that arrive are not the beginning of a request.
    multiplexed: bool,
}

impl State {
    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.since = Instant::now();
    }
}

impl Slot {
    fn new() -> Slot {
        let state = State { phase: Phase::Header, since: Instant::now(), in_work: 0, multiplexed: false };
        Slot { state: Mutex::new(state), close: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection speaks HTTP/2.
    pub fn multiplexed(&self) {
        self.state().multiplexed = true;
    }

    /// Bytes have come.
    pub fn received(&self) {
        let mut state = self.state();
        if state.phase == Phase::Idle && !state.multiplexed {
            state.enter(Phase::Header);
        }
    }

    /// All that was written has gone to the kernel.
    pub fn flushed(&self) {
        let mut state = self.state();
        if state.phase == Phase::Busy && state.in_work == 0 {
            state.enter(Phase::Idle);
        }
    }

    /// The connection is closed on our side.
    pub fn closing(&self) {
        let mut state = self.state();
        if state.phase != Phase::Lingering {
            state.enter(Phase::Lingering);
        }
    }

    /// True while the next request is not complete yet, or there has been none.
    pub fn is_waiting(&self) -> bool {
        self.state().phase == Phase::Header
    }

    /// True from a complete request until its answer has gone to the kernel.
    pub fn is_answering(&self) -> bool {
        self.state().phase == Phase::Busy
    }

    /// A request is complete and being answered until the guard is dropped.
    pub fn begin_request(self: &Arc<Self>) -> InWork {
        let mut state = self.state();
        state.in_work += 1;
        state.enter(Phase::Busy);
        InWork(self.clone())
    }

    /// Ends when the connection shall be closed at once.
    pub async fn closed(&self) {
        self.close.notified().await;
    }

    fn overdue(&self, now: Instant, limits: &Limits) -> bool {
        let state = self.state();
        now.saturating_duration_since(state.since) > limits.of(state.phase)
    }

    /// How readily this one makes room for another: smaller first; `None`: not at all.
    fn dispensable(&self, now: Instant) -> Option<(u8, Instant)> {
        let state = self.state();
        let age = now.saturating_duration_since(state.since);
        let rank = match state.phase {
            Phase::Lingering => 0,
            Phase::Header if age > GRACE => 1,
            Phase::Idle => 2,
            Phase::Busy if state.in_work == 0 && age > SLOW => 3,
            Phase::Header | Phase::Busy => return None,
        };
        Some((rank, state.since))
    }
}

/// Held while a request is answered, in the end by the answer's body.
#[derive(Debug)]
pub(super) struct InWork(Arc<Slot>);

impl Drop for InWork {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.in_work = state.in_work.saturating_sub(1);
        // HTTP/2 gives no sign of its own that an answer has been written.
        if state.multiplexed && state.in_work == 0 {
            state.enter(Phase::Idle);
        }
    }
}

/// The table of all connections.
#[derive(Debug)]
pub(super) struct Connections {
    limits: Limits,
    /// One lock for the table: taken when a connection comes or goes, and by the reaper.
    open: Mutex<Open>,
    /// A first connection has come: wakes the reaper.
    arrived: Notify,
}

#[derive(Default, Debug)]
struct Open {
    slots: HashMap<u64, Arc<Slot>>,
    next: u64,
}

impl Connections {
    pub fn new(limits: Limits) -> Connections {
        Connections { limits, open: Mutex::default(), arrived: Notify::new() }
    }

    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a new connection; `None` when all are taken by requests in work.
    pub fn admit(self: &Arc<Self>) -> Option<Admitted> {
        let mut open = self.open();
        if open.slots.len() >= self.limits.connections {
            let now = Instant::now();
            let candidates = open.slots.iter().filter_map(|(id, slot)| Some((slot.dispensable(now)?, *id)));
            let (_, id) = candidates.min()?;
            if let Some(slot) = open.slots.remove(&id) {
                slot.close.notify_one();
            }
        }
        let id = open.next;
        open.next += 1;
        let slot = Arc::new(Slot::new());
        open.slots.insert(id, slot.clone());
        self.arrived.notify_one();
        Some(Admitted { id, slot, connections: self.clone() })
    }

    /// Connections that are open.
    pub fn len(&self) -> usize {
        self.open().slots.len()
    }

    /// Closes what takes too long, for ever.
    pub async fn reap(&self) {
        let limits = &self.limits;
        let shortest = limits.header.min(limits.idle).min(limits.write);
        let pause = (shortest / 4).clamp(Duration::from_millis(10), Duration::from_secs(1));
        loop {
            while self.len() == 0 {
                self.arrived.notified().await;
            }
            tokio::time::sleep(pause).await;
            let now = Instant::now();
            self.open().slots.values().filter(|s| s.overdue(now, limits)).for_each(|s| s.close.notify_one());
        }
    }
}

/// A place in the table, given back when dropped.
#[derive(Debug)]
pub(super) struct Admitted {
    id: u64,
    pub slot: Arc<Slot>,
    connections: Arc<Connections>,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.connections.open().slots.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connections(limit: usize) -> Arc<Connections> {
        let second = Duration::from_secs(1);
        Arc::new(Connections::new(Limits { connections: limit, header: second, idle: 3 * second, write: 2 * second }))
    }

    fn since(slot: &Slot, ago: Duration) {
        slot.state().since = Instant::now().checked_sub(ago).unwrap();
    }

    #[test]
    fn a_full_table_makes_room_of_what_makes_no_request() {
        let all = connections(3);
        let (busy, idle, slow) = (all.admit().unwrap(), all.admit().unwrap(), all.admit().unwrap());
        let _request = busy.slot.begin_request();
        drop(idle.slot.begin_request());
        idle.slot.flushed();
        assert_eq!(idle.slot.state().phase, Phase::Idle);
        since(&slow.slot, Duration::from_millis(500));
        let first = all.admit().expect("in place of the one that is slow to send");
        let second = all.admit().expect("in place of the idle one");
        assert_eq!(all.open().slots.keys().copied().max(), Some(4));
        assert!(all.admit().is_none(), "what has only just connected is left its time");
        drop((slow, idle));
        assert_eq!(all.len(), 3, "those that were closed give nothing back");
        drop((first, second, busy));
        assert_eq!(all.len(), 0);
    }

    #[test]
    fn each_phase_has_its_own_time() {
        let all = connections(1);
        let limits = *all.limits();
        let place = all.admit().unwrap();
        let slot = &place.slot;
        let lasts = |slot: &Slot, millis: u64| {
            since(slot, Duration::from_millis(millis - 50));
            let before = slot.overdue(Instant::now(), &limits);
            since(slot, Duration::from_millis(millis + 50));
            !before && slot.overdue(Instant::now(), &limits)
        };
        assert!(lasts(slot, 1000), "the header");
        let request = slot.begin_request();
        slot.flushed();
        assert!(lasts(slot, 2000), "the answer");
        drop(request);
        assert!(lasts(slot, 2000), "its writing");
        slot.flushed();
        assert!(lasts(slot, 3000), "the wait for the next request");
        slot.received();
        slot.received();
        assert!(lasts(slot, 1000), "the next header");
        slot.closing();
        assert!(lasts(slot, 1000), "the client's closing");
    }
}
