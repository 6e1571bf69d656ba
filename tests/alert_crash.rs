//! The agent is killed again and again while alerts fire and resolve and the sink fails half of the time: what was due
//! has arrived, all of it, and in order.
//!
//! `WATCHFIRE_KILLS=500 cargo test --release --test alert_crash -- --nocapture` kills it five hundred times and prints what
//! came of it; without the variable there are fewer.
//!
//! Two kinds of alerts say what is due. Those that are posted to the agent are due from the moment it has said 200. Those of
//! a rule change only once the sink has heard of the last change, so that one notification that is lost holds all that
//! would follow.

mod common;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use common::{Agent, Child, SOON, Server, Setup, eventually, post_json, request};
use serde_json::{Value, json};

/// Alerts of the rule.
const LEVELS: usize = 4;
/// Agents, each with a state and a sink of its own, that are killed at the same time.
const WORLDS: usize = 2;

struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

/// What the sink has heard of an alert, in order: its status, and since when it fires.
type Journal = BTreeMap<String, Vec<(String, String)>>;

/// A webhook that fails half of the time: it refuses, hangs up, or hangs up after it has taken the notification.
struct Sink {
    journal: Mutex<Journal>,
    requests: AtomicUsize,
    well: AtomicBool,
    random: Mutex<Random>,
}

impl Sink {
    fn start(seed: u64) -> (Arc<Sink>, Server) {
        let sink = Arc::new(Sink {
            journal: Mutex::default(),
            requests: AtomicUsize::new(0),
            well: AtomicBool::new(false),
            random: Mutex::new(Random(seed)),
        });
        let ours = sink.clone();
        (sink, Server::start(0, move |_, body| ours.answer(body)))
    }

    /// The status that a notification is answered with; none: it hangs up.
    fn answer(&self, body: &[u8]) -> Option<u16> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        let (mood, wait) = (random.below(10), random.below(300));
        drop(random);
        match if self.well.load(Ordering::Relaxed) { 9 } else { mood } {
            0 | 1 => Some(503),
            2 => None,
            3 => {
                thread::sleep(Duration::from_millis(wait));
                None
            }
            4 => {
                self.take(body);
                None
            }
            _ => {
                self.take(body);
                Some(200)
            }
        }
    }

    fn take(&self, body: &[u8]) {
        let json: Value = serde_json::from_slice(body).expect("a whole notification");
        let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        for alert in json["alerts"].as_array().expect("a list") {
            let text = |key: &str| alert[key].as_str().unwrap_or_default().to_string();
            let name = alert["labels"]["n"].as_str().expect("a name").to_string();
            journal.entry(name).or_default().push((text("status"), text("startsAt")));
        }
    }

    fn heard(&self, name: &str, status: &str) -> usize {
        let journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        journal.get(name).map_or(0, |all| {
            let mut starts: Vec<_> = all.iter().filter(|(s, _)| s == status).map(|(_, starts)| starts).collect();
            starts.dedup();
            starts.len()
        })
    }
}

struct World {
    random: Random,
    setup: Setup,
    sink: Arc<Sink>,
    _server: Server,
    /// How often each alert of the rule has changed: it fires when that is odd.
    changes: [usize; LEVELS],
    /// Posted alerts that the agent has said 200 to: firing, and resolved.
    posted: Vec<String>,
    ended: Vec<String>,
}

impl World {
    fn new(seed: u64) -> World {
        let (sink, server) = Sink::start(seed);
        let setup = Setup::new(&format!(
            "global: {{scrape_interval: 100ms, evaluation_interval: 100ms}}\nstock_rules: false\nhistory: {{persist: false}}\n\
             groups: [{{name: g, rules: [{{alert: Level, expr: level > 0}}]}}]\n\
             alerting:\n  flapping: {{times: 0}}\n  \
             route: {{receiver: web, group_by: ['...'], group_wait: 0s, group_interval: 1s, repeat_interval: 1000h}}\n  \
             receivers: [{{name: web, webhook_configs: [{{url: 'http://127.0.0.1:{}/', timeout: 2s}}]}}]\n",
            server.port
        ));
        let directory = setup.path("textfiles").display().to_string();
        let setup = setup
            .flag("--collector.disable-defaults")
            .flag("--collector.textfile")
            .flag(format!("--collector.textfile.directory={directory}"));
        let world = World {
            random: Random(seed ^ 1),
            setup,
            sink,
            _server: server,
            changes: [0; LEVELS],
            posted: Vec::new(),
            ended: Vec::new(),
        };
        world.write_levels();
        world
    }

    fn write_levels(&self) {
        let lines = self.changes.iter().enumerate().map(|(n, c)| format!("level{{n=\"{n}\"}} {}\n", c % 2));
        self.setup.write("textfiles/levels.prom", &lines.collect::<String>());
    }

    /// Whether the sink has heard of all changes of an alert of the rule.
    fn is_heard(&self, n: usize) -> bool {
        let (name, changes) = (n.to_string(), self.changes[n]);
        self.sink.heard(&name, "firing") >= changes.div_ceil(2) && self.sink.heard(&name, "resolved") >= changes / 2
    }

    /// Something happens: an alert of the rule changes, one is posted, one that was posted ends.
    fn happen(&mut self) {
        match self.random.below(3) {
            0 => {
                let n = self.random.below(LEVELS as u64) as usize;
                if self.is_heard(n) {
                    self.changes[n] += 1;
                    self.write_levels();
                }
            }
            1 => {
                let name = format!("p{}", self.posted.len());
                if self.post(&name, "2099-01-01T00:00:00Z") {
                    self.posted.push(name);
                }
            }
            _ => {
                if let Some(name) = self.posted.get(self.ended.len()).cloned()
                    && self.post(&name, "2026-01-01T00:00:01Z")
                {
                    self.ended.push(name);
                }
            }
        }
    }

    /// Whether the agent has said that it has the alert.
    fn post(&self, name: &str, ends: &str) -> bool {
        let labels = json!({"alertname": "Posted", "n": name});
        let alerts = json!([{"labels": labels, "startsAt": "2026-01-01T00:00:00Z", "endsAt": ends}]);
        post_json(self.setup.port, "/api/v2/alerts", &alerts.to_string()).is_ok_and(|answer| {
            // While it starts it cannot take any.
            assert!(matches!(answer.status, 200 | 503), "{}: {}", answer.status, answer.text());
            answer.status == 200
        })
    }

    /// One life of the agent.
    fn live(&mut self) {
        let mut child = Child::spawn(&mut self.setup.command());
        let until = Instant::now() + Duration::from_millis(self.random.below(900));
        while Instant::now() < until {
            if let Some(status) = child.ended() {
                panic!("the agent has ended with {status}: {}", child.log());
            }
            if request(self.setup.port, "GET", "/-/ready", &[]).is_ok() {
                self.happen();
            }
            thread::sleep(Duration::from_millis(self.random.below(40)));
        }
        child.kill();
    }

    /// The sink is well: all that was due has to come.
    fn check(&self, seed: u64) {
        self.sink.well.store(true, Ordering::Relaxed);
        // A start tries at once what waits.
        let agent: Agent = self.setup.start();
        let missing = || {
            let levels = (0..LEVELS).filter(|n| !self.is_heard(*n)).map(|n| format!("level {n}"));
            let of = |names: &[String], status: &'static str| {
                let unheard = names.iter().filter(|n| self.sink.heard(n, status) == 0);
                unheard.map(|n| format!("{n} {status}")).collect::<Vec<_>>()
            };
            levels.chain(of(&self.posted, "firing")).chain(of(&self.ended, "resolved")).collect::<Vec<_>>()
        };
        let deadline = Instant::now() + SOON * 2;
        while !missing().is_empty() {
            assert!(Instant::now() < deadline, "seed {seed}: the sink has not heard of {:?}", missing());
            thread::sleep(Duration::from_millis(50));
        }
        eventually("the queue is empty", SOON, || {
            agent.metrics().value("watchfire_notification_queue_length", &[]).filter(|v| *v == 0.0)
        });
        let journal = self.sink.journal.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, heard) in journal.iter() {
            let mut told: Vec<&(String, String)> = heard.iter().collect();
            // The same again is what "at least once" allows.
            told.dedup();
            for pair in told.windows(2) {
                let ((a, from), (b, again)) = (pair[0], pair[1]);
                let goes_on =
                    if a == "firing" { b == "resolved" && from == again } else { b == "firing" && from < again };
                assert!(goes_on, "seed {seed}: {name} was told out of order: {heard:?}");
            }
        }
    }
}

#[test]
fn the_sink_hears_of_all_that_was_due_however_often_the_agent_is_killed() {
    let kills: usize = std::env::var("WATCHFIRE_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(60);
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos() as u64;
    let began = Instant::now();
    let worlds: Vec<World> = thread::scope(|scope| {
        let run = |n: usize| {
            let seed = seed.wrapping_add(n as u64);
            let mut world = World::new(seed);
            for _ in 0..kills.div_ceil(WORLDS) {
                world.live();
            }
            world.check(seed);
            world
        };
        let running: Vec<_> = (0..WORLDS).map(|n| scope.spawn(move || run(n))).collect();
        running.into_iter().map(|one| one.join().expect("a world holds")).collect()
    });
    let sum = |of: &dyn Fn(&World) -> usize| worlds.iter().map(of).sum::<usize>();
    let due = sum(&|w| w.changes.iter().sum::<usize>() + w.posted.len() + w.ended.len());
    let requests = sum(&|w| w.sink.requests.load(Ordering::Relaxed));
    println!(
        "{} kills in {:.0?}: {due} notifications were due, {requests} tries, all of them have arrived in order",
        kills.div_ceil(WORLDS) * WORLDS,
        began.elapsed()
    );
    assert!(due > kills / 2, "hardly anything was due");
}
