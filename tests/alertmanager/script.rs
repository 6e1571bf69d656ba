//! What happens in the course of a case, from a seed.

use std::fmt;

use super::cases::{Case, With};
use super::ours;
use super::payload::difference;

/// How long a case takes, in seconds of Alertmanager's.
pub const LENGTH: u32 = 60;

/// How long Alertmanager runs before a script begins.
pub const AGE: f64 = 8.0;

/// The alerts that there are; those from the tenth on are the same once more, with a label that says so.
const ALERTS: [&[(&str, &str)]; 10] = [
    &[("alertname", "Disk"), ("instance", "a"), ("job", "node"), ("severity", "page"), ("team", "db")],
    &[("alertname", "Disk"), ("instance", "b"), ("job", "node"), ("severity", "page"), ("team", "db")],
    &[("alertname", "Disk"), ("instance", "c"), ("severity", "warning"), ("team", "web")],
    &[("alertname", "Cpu"), ("cluster", "x"), ("instance", "a"), ("severity", "warning"), ("team", "web")],
    &[("alertname", "Cpu"), ("instance", "b"), ("severity", "info")],
    &[("alertname", "HostDown"), ("cluster", "x"), ("instance", "a"), ("severity", "critical")],
    &[("alertname", "HostDown"), ("instance", "b"), ("severity", "critical")],
    &[("alertname", "Mem"), ("cluster", "x"), ("instance", "a"), ("severity", "page"), ("team", "db")],
    &[("alertname", "Mem"), ("instance", "Z 9"), ("note", "q\"uo\\te"), ("severity", "page"), ("team", "w<b>")],
    &[("alertname", "Net"), ("severity", "info"), ("unit", "°C & \u{1f525}")],
];

/// The labels of an alert.
pub fn labels(which: usize) -> Vec<(&'static str, &'static str)> {
    let mut labels = ALERTS[which % ALERTS.len()].to_vec();
    labels.extend([[].as_slice(), &[("zone", "b")], &[("zone", "c")]][which / ALERTS.len()]);
    labels
}

/// How often an alert can come back as another.
const LIVES: usize = 3;

/// What silences match, in Alertmanager's API: name, value, whether it is a regular expression, whether it is to match.
pub type SilenceMatcher = (&'static str, &'static str, bool, bool);
const SILENCES: [&[SilenceMatcher]; 5] = [
    &[("alertname", "Disk", false, true)],
    &[("instance", "a|b", true, true), ("severity", "critical", false, false)],
    &[("team", "db", false, true), ("alertname", "M.*", true, true)],
    &[("severity", "page", false, true), ("cluster", "x", false, false)],
    &[("alertname", "Disk|Cpu", true, false), ("severity", ".+", true, true)],
];

#[derive(Clone, Debug)]
pub enum Step {
    /// Alerts as they stand: which, since when, since when not any more.
    Tell(Vec<(usize, f64, Option<f64>)>),
    /// A silence, by its number; from when to when.
    Silence(usize, &'static [SilenceMatcher], f64, f64),
    Expire(usize),
}

/// Steps with their times in Alertmanager's seconds since the beginning.
#[derive(Clone, Debug)]
pub struct Script {
    pub seed: u64,
    pub steps: Vec<(f64, Step)>,
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.steps.iter().try_for_each(|(at, step)| writeln!(f, "  {at:5.1} {step:?}"))
    }
}

pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

impl Script {
    /// One whose outcome does not depend on delays of a third of a second, nor on how quickly Alertmanager starts.
    pub fn robust(case: &Case) -> Script {
        let first = case.name.bytes().fold(0, |sum: u64, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)));
        for seed in (first + case.skip..).take(2000) {
            let script = Script::random(case, seed);
            let told = ours::play(case, &script, 0.0);
            let mut random = Random::new(seed);
            if told.len() > 6
                && (0..8).all(|_| {
                    let late = random.below(10) as f64 / 10.0;
                    difference(&ours::play(case, &script.late(&mut random), late), &told).is_none()
                })
            {
                return script;
            }
        }
        panic!("{}: no script is robust", case.name);
    }

    /// The same with each step a little late.
    fn late(&self, random: &mut Random) -> Script {
        let late = |(at, step): &(f64, Step)| (at + random.below(4) as f64 / 10.0, step.clone());
        Script { seed: self.seed, steps: self.steps.iter().map(late).collect() }
    }

    fn random(case: &Case, seed: u64) -> Script {
        let mut random = Random::new(seed);
        // Since when each fires, and when it was told last.
        let mut since: [Option<(f64, f64)>; ALERTS.len()] = [None; ALERTS.len()];
        let mut lives = [0; ALERTS.len()];
        let suppresses = ["inhibit_rules", "time_intervals"].iter().any(|key| case.config.contains(key));
        let (mut steps, mut silences) = (Vec::new(), 0);
        let mut at = 0.5;
        while at < f64::from(LENGTH - 6) {
            if case.with == With::Silences && random.below(4) == 0 {
                if silences > 0 && random.below(3) == 0 {
                    steps.push((at, Step::Expire(random.below(silences) as usize)));
                } else {
                    let which = SILENCES[random.below(SILENCES.len() as u64) as usize];
                    // Alertmanager takes no silence that begins earlier than now.
                    let from = at + [1.0, 1.0, 8.5][random.below(3) as usize];
                    let to = from + [6.0, 15.0, 500.0][random.below(3) as usize];
                    steps.push((at, Step::Silence(silences as usize, which, from, to)));
                    silences += 1;
                }
            } else {
                let mut told = Vec::new();
                for _ in 0..1 + random.below(3) {
                    let n = random.below(ALERTS.len() as u64) as usize;
                    let which = n + lives[n] * ALERTS.len();
                    if told.iter().any(|(told, _, _)| told % ALERTS.len() == n) || lives[n] == LIVES {
                        continue;
                    }
                    match since[n] {
                        None => {
                            since[n] = Some((at, at));
                            told.push((which, at, None));
                        }
                        // It is told again, and lasts longer for it. Of one that may have timed out nobody tells the end.
                        Some((began, last))
                            if case.with == With::Timeouts && (at - last > 4.0 || random.below(2) == 0) =>
                        {
                            since[n] = Some((began, at));
                            told.push((which, began, None));
                        }
                        Some((began, _)) => {
                            since[n] = None;
                            told.push((which, began, Some(at)));
                            if suppresses || case.with == With::Silences {
                                lives[n] += 1;
                            }
                        }
                    }
                }
                steps.push((at, Step::Tell(told)));
            }
            at = ((at + 0.7 + random.below(30) as f64 / 10.0) * 10.0).round() / 10.0;
        }
        Script { seed, steps }
    }
}
