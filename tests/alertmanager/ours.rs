//! Our side: the routing core in simulated time.

use std::time::Duration;

use watchfire::alerting::{
    Actions, AlertingConfig, Core, Ended, Event, MatchOp, Matcher, Now, Plan, PostedAlert, Silence,
};
use watchfire::model::{Labels, Timestamp};
use watchfire::sinks::webhook_version_4;
use watchfire::yaml::{Document, Faults};

use super::SCALE;
use super::cases::Case;
use super::payload::Message;
use super::script::{AGE, LENGTH, Script, Step, labels};
use super::theirs::filled;

struct World {
    config: AlertingConfig,
    core: Core,
    /// Seconds by the wall clock when it began.
    epoch: f64,
    /// For how many of Alertmanager's seconds the core had been running then.
    born: f64,
    /// Alertmanager's seconds since then.
    clock: f64,
    /// The identifiers of silences, by their numbers.
    silences: Vec<String>,
    told: Vec<Message>,
}

fn config(case: &Case) -> AlertingConfig {
    let mut faults = Faults::default();
    // Damping is ours alone.
    let text = format!("{}flapping: {{times: 0}}\n", filled(case, "http://hook.example", SCALE));
    let config: AlertingConfig = Document::parse(case.name, &text, &mut faults).read(&mut faults);
    assert!(!faults.has_errors(), "{faults}");
    config
}

/// Plays a script; what would have come at the webhooks. Alertmanager forgets empty groups at times that count from its
/// start, which is `late` seconds more before the script's beginning than [`AGE`].
pub fn play(case: &Case, script: &Script, late: f64) -> Vec<Message> {
    let epoch = Timestamp::now().as_secs_f64();
    let config = config(case);
    let mut plan = Plan::new(&config, Labels::empty(), "http://host.example:9093");
    plan.sweep_interval = plan.sweep_interval.mul_f64(SCALE);
    let born = AGE + late;
    let (core, _) = Core::restore(plan, 1, now(epoch, born, -born), |_| Vec::new());
    let mut world = World { config, core, epoch, born, clock: -born, silences: Vec::new(), told: Vec::new() };
    for (at, step) in &script.steps {
        world.until(*at);
        world.step(step);
    }
    world.until(f64::from(LENGTH));
    world.told
}

fn now(epoch: f64, born: f64, clock: f64) -> Now {
    let mono = Duration::from_secs_f64((clock + born) * SCALE);
    Now { mono, wall: Timestamp::from_secs_f64(epoch + clock * SCALE) }
}

impl World {
    fn now(&self) -> Now {
        now(self.epoch, self.born, self.clock)
    }

    fn wall(&self, at: f64) -> Timestamp {
        now(self.epoch, self.born, at).wall
    }

    /// Goes to a time, waking the core when it wants to be.
    fn until(&mut self, clock: f64) {
        while let Some(due) =
            self.core.next_due().map(|due| due.as_secs_f64() / SCALE - self.born).filter(|due| *due <= clock)
        {
            // Times are in whole milliseconds: never too early.
            self.clock = self.clock.max(due + 1e-6);
            self.handle(Event::Time);
        }
        self.clock = clock;
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Tell(alerts) => {
                let alert = |(which, starts, ends): &(usize, f64, Option<f64>)| PostedAlert {
                    labels: Labels::from_pairs(labels(*which)),
                    annotations: Labels::from_pairs([("summary", format!("alert {which}"))]),
                    starts_at: Some(self.wall(*starts)),
                    ends_at: ends.map(|ends| self.wall(ends)),
                    generator_url: "http://host.example:9093/graph?g0.expr=up&g0.tab=1".to_string(),
                };
                let alerts = alerts.iter().map(alert).collect();
                let (_, actions) = self.core.post(alerts, self.now());
                self.act(actions);
            }
            Step::Silence(_, matchers, from, to) => {
                let matcher = |(name, value, is_regex, is_equal): &(&str, &str, bool, bool)| {
                    let op = match (is_regex, is_equal) {
                        (false, true) => MatchOp::Equal,
                        (false, false) => MatchOp::NotEqual,
                        (true, true) => MatchOp::Regex,
                        (true, false) => MatchOp::NotRegex,
                    };
                    Matcher::new(name, op, value).expect("a matcher")
                };
                let silence = Silence {
                    id: String::new(),
                    matchers: matchers.iter().map(matcher).collect(),
                    starts_at: self.wall(*from),
                    ends_at: self.wall(*to),
                    updated_at: self.wall(self.clock),
                    created_by: "test".to_string(),
                    comment: "test".to_string(),
                };
                let (id, actions) = self.core.set_silence(silence, self.now());
                self.silences.push(id.expect("a silence"));
                self.act(actions);
            }
            Step::Expire(number) => {
                let id = self.silences[*number].clone();
                // One that has expired by itself is an error here and there.
                let (_, actions) = self.core.expire_silence(&id, self.now());
                self.act(actions);
            }
        }
    }

    /// How many alerts the webhook with this path takes at a time.
    fn max_alerts(&self, receiver: &str, index: usize) -> usize {
        let receiver = self.config.receivers.iter().find(|r| r.name == receiver).expect("a receiver");
        receiver.webhook_configs[index].max_alerts
    }

    fn handle(&mut self, event: Event) {
        let actions = self.core.handle(event, self.now());
        self.act(actions);
    }

    fn act(&mut self, actions: Actions) {
        for attempt in actions.attempts {
            let notification = attempt.notification.as_ref();
            let path = format!("/{}/{}", attempt.target.receiver, attempt.target.index);
            let payload =
                webhook_version_4(notification, self.max_alerts(&attempt.target.receiver, attempt.target.index));
            let json = serde_json::from_slice(&payload).expect("JSON");
            let epoch = self.epoch;
            self.told.push(Message::new(self.clock, &path, json, |seconds| (seconds - epoch) / SCALE));
            self.handle(Event::Ended(Ended { attempt, result: Ok(()) }));
        }
    }
}
