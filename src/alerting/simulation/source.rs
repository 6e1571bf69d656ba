//! The alerts of the world, and how rules and others tell them.

use std::time::Duration;

use super::world::{RESEND, World};
use crate::alerting::core::Event;
use crate::alerting::view::PostedAlert;
use crate::model::{Labels, Timestamp};
use crate::rules::Alert;

/// For how long a resolved alert is told again.
const RETENTION: u64 = 900_000;

/// An alert of the world, and what rules, or others, do about it.
pub(super) struct Source {
    pub labels: Labels,
    /// As it is known to alerting: with the labels that every alert gets.
    pub known_as: Labels,
    pub starts_at: Timestamp,
    pub ends_at: Option<Timestamp>,
    pub ever_fired: bool,
    pub posted: bool,
    /// It was told since it changed, and since all were to be told again.
    pub told: bool,
    /// When it last changed, by the true time.
    pub changed: u64,
}

impl Source {
    pub fn new(i: u64) -> Source {
        let labels = Labels::from_pairs([
            ("alertname", ["Cpu", "Disk"][(i % 2) as usize]),
            ("team", ["a", "b", "c"][(i % 3) as usize]),
            ("severity", if i.is_multiple_of(4) { "page" } else { "info" }),
            ("instance", ["0", "1", "2", "3", "4", "5"][i as usize]),
        ]);
        let mut known_as = labels.builder();
        known_as.set("host", "h");
        Source {
            known_as: known_as.build(),
            labels,
            starts_at: Timestamp::default(),
            ends_at: Some(Timestamp::default()),
            ever_fired: false,
            posted: i % 3 == 1,
            told: false,
            changed: 0,
        }
    }

    /// It has to be told. As `rules/` does: what is resolved is told for 15 minutes.
    pub fn is_news(&self, clock: u64) -> bool {
        !self.told && self.ever_fired && (self.ends_at.is_none() || clock < self.changed + RETENTION)
    }
}

impl World {
    /// Tells what is news.
    pub(super) fn tell(&mut self) {
        let (clock, wall) = (self.clock, self.now().wall);
        let (mut rules, mut posted) = (Vec::new(), Vec::new());
        for source in self.sources.iter_mut().filter(|source| source.is_news(clock)) {
            source.told = true;
            let valid_for = Duration::from_millis(4 * RESEND);
            if source.posted {
                posted.push(PostedAlert {
                    labels: source.labels.clone(),
                    annotations: Labels::empty(),
                    starts_at: Some(source.starts_at.min(wall)),
                    ends_at: Some(source.ends_at.map_or(wall + valid_for, |end| end.min(wall))),
                    generator_url: String::new(),
                });
            } else {
                rules.push(Alert {
                    labels: source.labels.clone(),
                    annotations: Labels::empty(),
                    starts_at: source.starts_at,
                    ends_at: source.ends_at,
                    valid_for,
                    value: 1.0,
                    expr: String::new(),
                    threshold: None,
                    top: Vec::new(),
                    actions: Default::default(),
                });
            }
        }
        if !rules.is_empty() {
            self.handle(Event::Alerts(rules));
        }
        if !posted.is_empty() {
            let now = self.now();
            let Some(core) = &mut self.core else { return };
            let (refused, actions) = core.post(posted, now);
            assert_eq!(refused, 0);
            self.done(actions);
        }
    }
}
