//! The places of each lane, and who waits for one.

use super::config::PoolConfig;
use super::job::{Job, Ticket};
use super::queue::FairQueue;
use super::task::{Class, Lane};

/// A place that a task has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Seat {
    /// One of those that the configuration allows.
    Ordinary,
    /// The one more that only a task of this class can have ([`Class::has_spare`]). When it is given back, only that class
    /// can have it again: were it counted with the others, a flood of notifications would keep everybody else out.
    Spare(Class),
}

/// The places of a lane. As long as somebody waits, all that he could have are taken.
struct LaneState {
    // Boxed: the nodes of the queue's trees are half empty as a rule.
    queue: FairQueue<Box<Job>>,
    taken: usize,
    /// Those whose spare place is taken.
    spares_taken: Vec<Class>,
}

impl LaneState {
    fn has_spare(&self, class: Class) -> bool {
        class.has_spare() && !self.spares_taken.contains(&class)
    }

    fn take(&mut self, seat: Seat) -> Seat {
        match seat {
            Seat::Ordinary => self.taken += 1,
            Seat::Spare(class) => self.spares_taken.push(class),
        }
        seat
    }
}

/// All lanes.
pub(super) struct Lanes([LaneState; Lane::ALL.len()]);

impl Lanes {
    pub(super) fn new() -> Lanes {
        Lanes(Lane::ALL.map(|_| LaneState { queue: FairQueue::new(), taken: 0, spares_taken: Vec::new() }))
    }

    fn lane(&self, lane: Lane) -> &LaneState {
        let Lanes([command, thread, future]) = self;
        match lane {
            Lane::Command => command,
            Lane::Thread => thread,
            Lane::Future => future,
        }
    }

    fn lane_mut(&mut self, lane: Lane) -> &mut LaneState {
        let Lanes([command, thread, future]) = self;
        match lane {
            Lane::Command => command,
            Lane::Thread => thread,
            Lane::Future => future,
        }
    }

    /// Whether there is a place for somebody who has just come.
    pub(super) fn is_free(&self, config: &PoolConfig, lane: Lane, class: Class) -> bool {
        let places = config.places(lane);
        let lane = self.lane(lane);
        lane.taken < places || lane.has_spare(class)
    }

    /// Takes a place for somebody who has just come, if there is one for him.
    pub(super) fn take(&mut self, config: &PoolConfig, ticket: Ticket) -> Option<Seat> {
        let lane = self.lane_mut(ticket.lane);
        if lane.taken < config.places(ticket.lane) {
            Some(lane.take(Seat::Ordinary))
        } else {
            lane.has_spare(ticket.class).then(|| lane.take(Seat::Spare(ticket.class)))
        }
    }

    /// Takes a place for the next who waits, if there is one for him.
    pub(super) fn next(&mut self, config: &PoolConfig, lane: Lane) -> Option<(Seat, Box<Job>)> {
        let places = config.places(lane);
        let lane = self.lane_mut(lane);
        if lane.taken < places {
            let job = lane.queue.pop()?;
            Some((lane.take(Seat::Ordinary), job))
        } else {
            let (class, job) = Class::ALL.into_iter().find_map(|class| {
                let job = if lane.has_spare(class) { lane.queue.pop_of(class) } else { None };
                Some((class, job?))
            })?;
            Some((lane.take(Seat::Spare(class)), job))
        }
    }

    pub(super) fn give_back(&mut self, lane: Lane, seat: Seat) {
        let lane = self.lane_mut(lane);
        match seat {
            Seat::Ordinary => lane.taken = lane.taken.saturating_sub(1),
            Seat::Spare(class) => lane.spares_taken.retain(|taken| *taken != class),
        }
    }

    pub(super) fn push(&mut self, job: Box<Job>) {
        self.lane_mut(job.ticket.lane).queue.push(job.ticket, job);
    }

    pub(super) fn remove(&mut self, ticket: Ticket) -> Option<Box<Job>> {
        self.lane_mut(ticket.lane).queue.remove(ticket)
    }

    /// How many of a class wait.
    pub(super) fn waiting(&self, lane: Lane, class: Class) -> usize {
        self.lane(lane).queue.len(class)
    }

    pub(super) fn nobody_waits(&self) -> bool {
        self.0.iter().all(|lane| lane.queue.is_empty())
    }

    /// All who wait, lane by lane.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Job> {
        self.0.iter().flat_map(|lane| lane.queue.iter()).map(|job| &**job)
    }

    /// Takes all who wait.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Box<Job>> {
        self.0.iter_mut().flat_map(|lane| lane.queue.drain())
    }
}
