//! What happens in the world of its own: alerts change, clocks jump, sinks refuse, the agent is stopped or gets another
//! configuration, people do things.

use std::collections::BTreeSet;
use std::time::Duration;

use super::world::{Flight, World};
use crate::alerting::core::Event;
use crate::alerting::matcher::{MatchOp, Matcher};
use crate::alerting::plan::Target;
use crate::alerting::view::Silence;

impl World {
    /// One of the things that happen.
    pub(super) fn happen(&mut self) {
        let what = self.random.below(32);
        self.say(|| format!("happens {what}"));
        match what {
            0..18 => self.change(),
            18 => {
                self.skew += i64::try_from(self.random.below(7_200_000)).unwrap() - 3_600_000;
                self.counts.clock_jumps += 1;
            }
            19..21 => {
                let targets: Vec<Target> =
                    self.plan().recipients.values().flatten().map(|recipient| (*recipient.target).clone()).collect();
                let target = self.random.one_of(&targets).clone();
                self.refusing.insert(target, self.clock + 600_000);
            }
            21 if self.core.is_some() => self.crash(),
            22 if self.core.is_some() && self.stopping.is_none() => {
                self.counts.stops += 1;
                self.stopping = Some((self.clock + 10_000, BTreeSet::new()));
                self.handle(Event::Stop);
            }
            23..25 if self.stopping.is_none() => {
                if self.replans && self.random.once_in(3) {
                    self.second_plan = !self.second_plan;
                    self.replanned = true;
                }
                self.counts.reloads += 1;
                let plan = self.plan().clone();
                // What is under way to a target that goes is broken off.
                let flights = std::mem::take(&mut self.flights);
                let (kept, gone): (Vec<Flight>, Vec<Flight>) =
                    flights.into_iter().partition(|flight| plan.has(&flight.attempt.target));
                self.flights = kept;
                self.left_alone.retain(|target, _| plan.has(target));
                for flight in gone {
                    if self.random.once_in(2) {
                        self.arrive(flight.attempt);
                    }
                }
                self.handle(Event::Plan(Box::new(plan)));
            }
            25..28 if self.silences_are_set && self.stopping.is_none() => self.silence(),
            28 if self.stopping.is_none() => self.expire(),
            29..32 if self.stopping.is_none() => self.try_again(),
            _ => {}
        }
    }

    /// An alert begins to fire, or ends.
    fn change(&mut self) {
        let wall = self.now().wall;
        // One in particular, so that some flap.
        let place = if self.random.once_in(3) { 0 } else { self.random.below(self.sources.len() as u64) };
        let source = &mut self.sources[place as usize];
        match source.ends_at {
            Some(_) => (source.starts_at, source.ends_at, source.ever_fired) = (wall, None, true),
            None => source.ends_at = Some(wall.max(source.starts_at)),
        }
        source.told = false;
        source.changed = self.clock;
    }

    fn silence(&mut self) {
        let now = self.now();
        let (name, value) = *self.random.one_of(&[("team", "a"), ("team", "b"), ("instance", "0"), ("instance", "3")]);
        let starts_at = now.wall + Duration::from_millis(self.random.below(20_000));
        let mut silence = Silence {
            id: String::new(),
            matchers: vec![Matcher::new(name, MatchOp::Equal, value).unwrap()],
            starts_at,
            ends_at: starts_at + Duration::from_millis(1 + self.random.below(60_000)),
            updated_at: now.wall,
            created_by: String::new(),
            comment: String::new(),
        };
        let Some(core) = &mut self.core else { return };
        let (id, actions) = core.set_silence(silence.clone(), now);
        silence.id = id.unwrap();
        self.silences.push(silence);
        if !self.done(actions) {
            self.silences.pop();
        }
    }

    fn expire(&mut self) {
        let now = self.now();
        let place = self.random.below(4) as usize;
        let (Some(core), Some(silence)) = (&mut self.core, self.silences.get_mut(place)) else { return };
        let (expired, actions) = core.expire_silence(&silence.id, now);
        expired.unwrap();
        let before = silence.clone();
        *silence = core.view_silences().into_iter().find(|s| s.id == before.id).unwrap();
        assert!(silence.ends_at <= now.wall);
        if !self.done(actions) {
            self.silences[place] = before;
        }
    }

    fn try_again(&mut self) {
        let now = self.now();
        let Some(core) = &mut self.core else { return };
        let Some(dead) = core.view_undelivered().into_iter().find(|undelivered| undelivered.given_up.is_some()) else {
            return;
        };
        let actions = if self.random.once_in(4) {
            core.discard(dead.number).1
        } else {
            self.counts.tried_again += 1;
            core.retry(dead.number, now).1
        };
        self.done(actions);
    }
}
