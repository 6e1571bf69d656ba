//! `checks`: how the checks stand and what their last runs have found.
//!
//! | metric | type | labels, besides `check` and those configured |
//! | --- | --- | --- |
//! | `watchfire_check_state` | gauge: 0 ok, 1 warning, 2 critical, 3 unknown | |
//! | `watchfire_check_success` | gauge: 1 when the state is ok | |
//! | `watchfire_check_duration_seconds` | gauge: of the last run | |
//! | `watchfire_check_last_run_timestamp_seconds` | gauge: when the last run ended | |
//! | `watchfire_check_interval_seconds`, `watchfire_check_timeout_seconds` | gauge | |
//! | `watchfire_check_runs_total` | counter | `result`: ok, warning, critical, unknown, timeout, failed |
//! | `watchfire_check_cpu_seconds_total` | counter: of a command's runs | |
//! | `watchfire_check_exit_code`, `watchfire_check_max_rss_bytes` | gauge: of a command's last run | |
//! | what the checks find | | |
//!
//! What a check has found is served until its next run, and no longer when that is long overdue. It is there only when
//! there are checks. A stream's runs are its results, which take no time, and the ends of its command.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::board::{Board, CommandUse, Ended, LastRun, Standing};
use super::verdict::State;
use crate::collect::{CollectError, Collector, LaneKind, Planned};
use crate::exposition::families::{self, Kept, Merged};
use crate::model::{MetricType, Writer};

/// A metric that every check has.
struct Own {
    name: &'static str,
    kind: MetricType,
    help: &'static str,
    value: fn(&Standing) -> Option<f64>,
}

const RUNS: &str = "watchfire_check_runs_total";

const OWN: [Own; 9] = [
    Own {
        name: "watchfire_check_state",
        kind: MetricType::Gauge,
        help: "What the check's last run says: 0 ok, 1 warning, 2 critical, 3 unknown.",
        value: |standing| last(standing, |run| Some(f64::from(run.verdict.state as u8))),
    },
    Own {
        name: "watchfire_check_success",
        kind: MetricType::Gauge,
        help: "Whether the check's last run was ok.",
        value: |standing| last(standing, |run| Some(f64::from(u8::from(run.verdict.state == State::Ok)))),
    },
    Own {
        name: "watchfire_check_duration_seconds",
        kind: MetricType::Gauge,
        help: "How long the check's last run took.",
        value: |standing| last(standing, |run| run.ran.map(seconds)),
    },
    Own {
        name: "watchfire_check_last_run_timestamp_seconds",
        kind: MetricType::Gauge,
        help: "When the check's last run ended; until the first has, when the check was put in force.",
        value: |standing| {
            let at = standing.last.as_ref().map_or(standing.since, |run| run.at);
            Some(at.as_secs_f64())
        },
    },
    Own {
        name: "watchfire_check_interval_seconds",
        kind: MetricType::Gauge,
        help: "How often the check runs.",
        value: |standing| Some(standing.interval.as_secs_f64()),
    },
    Own {
        name: "watchfire_check_timeout_seconds",
        kind: MetricType::Gauge,
        help: "How long a run of the check may take.",
        value: |standing| Some(standing.timeout.as_secs_f64()),
    },
    Own {
        name: "watchfire_check_exit_code",
        kind: MetricType::Gauge,
        help: "The exit code of the check's command.",
        value: |standing| command(standing, |used| used.exit_code.map(f64::from)),
    },
    Own {
        name: "watchfire_check_cpu_seconds_total",
        kind: MetricType::Counter,
        help: "CPU time that the check's command has used in all its runs.",
        value: |standing| command(standing, |_| Some(seconds(standing.cpu))),
    },
    Own {
        name: "watchfire_check_max_rss_bytes",
        kind: MetricType::Gauge,
        help: "The most memory that a process of the check's command had resident in the last run; absent where that is less than the \
               agent itself has had, which the kernel counts in.",
        value: |standing| command(standing, |used| used.max_rss.map(|bytes| bytes as f64)),
    },
];

fn last(standing: &Standing, value: impl Fn(&LastRun) -> Option<f64>) -> Option<f64> {
    standing.last.as_deref().and_then(value)
}

fn command(standing: &Standing, value: impl Fn(&CommandUse) -> Option<f64>) -> Option<f64> {
    last(standing, |run| run.command.as_ref().and_then(&value))
}

/// To the microsecond: digits behind that are noise, and cost memory in history.
fn seconds(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1e6
}

/// The `checks` collector.
pub struct ChecksCollector {
    board: Arc<Board>,
    /// As they stood when `merged` was made, or in the same shape.
    standings: Vec<Arc<Standing>>,
    merged: Vec<Merged>,
    /// What is not served because another check gives it otherwise.
    conflict: Option<String>,
}

impl ChecksCollector {
    /// How it is to be run.
    pub fn plan(board: Arc<Board>) -> Planned {
        Planned {
            name: "checks",
            collector: Box::new(ChecksCollector { board, standings: Vec::new(), merged: Vec::new(), conflict: None }),
            made_from: String::new(),
            interval: Duration::ZERO,
            timeout: Duration::from_millis(500),
            // It copies memory, and blocks nowhere.
            lane: LaneKind::Shared,
            wanted: false,
            top: None,
        }
    }

    fn merge(&mut self) {
        let found: Vec<_> = self.standings.iter().map(|s| (&*s.name, s.found_last())).collect();
        let (merged, conflicts) = families::merge(&found);
        self.conflict = conflicts.first().map(|conflict| {
            let check = found.get(conflict.file).map_or("", |(name, _)| name);
            let more = match conflicts.len() {
                1 => String::new(),
                n => format!(" (and {} more)", n - 1),
            };
            format!("check {check}: not served: {}{more}", conflict.text)
        });
        self.merged = merged;
        // Nobody but the agent says how a check stands.
        self.merged.retain(|family| family.name() != RUNS && OWN.iter().all(|own| own.name != family.name()));
    }

    fn write_own(&self, out: &mut Writer) {
        let labels: Vec<Vec<(&[u8], &[u8])>> = self
            .standings
            .iter()
            .map(|standing| standing.labels.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect())
            .collect();
        for own in &OWN {
            let mut family = match own.kind {
                MetricType::Counter => out.counter(own.name, own.help, []),
                _ => out.gauge(own.name, own.help, []),
            };
            for (standing, labels) in self.standings.iter().zip(&labels) {
                if let Some(value) = (own.value)(standing) {
                    family.put_labels("", labels, value);
                }
            }
        }
        let mut family = out.counter(RUNS, "Runs of the check, by what became of them.", []);
        for (standing, mut labels) in self.standings.iter().zip(labels) {
            for (ended, runs) in Ended::ALL.iter().zip(standing.runs) {
                labels.push((b"result", ended.as_str().as_bytes()));
                family.put_labels("", &labels, runs as f64);
                labels.pop();
            }
        }
    }
}

impl Collector for ChecksCollector {
    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        let now = Instant::now();
        let before = std::mem::replace(&mut self.standings, self.board.all());
        if !same_shape(&before, &self.standings) {
            self.merge();
        }
        self.write_own(out);
        families::write(&self.merged, |i| self.standings.get(i).map_or(&[], |standing| standing.found(now)), out);
        self.conflict.clone().map_or(Ok(()), |conflict| Err(CollectError::Other(conflict)))
    }
}

/// Whether the checks have found other numbers at most: then what belongs together is as it was.
fn same_shape(before: &[Arc<Standing>], now: &[Arc<Standing>]) -> bool {
    let alike = |a: &[Kept], b: &[Kept]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.is_like(b));
    let same = |a: &Arc<Standing>, b: &Arc<Standing>| {
        Arc::ptr_eq(a, b) || a.name == b.name && alike(a.found_last(), b.found_last())
    };
    before.len() == now.len() && before.iter().zip(now).all(|(a, b)| same(a, b))
}

#[cfg(test)]
mod tests {
    use super::super::board::{Placed, Report, Ticket};
    use super::super::families::Families;
    use super::super::verdict::Verdict;
    use super::*;
    use crate::model::{Labels, Section, SeriesTable};

    struct Setup {
        board: Arc<Board>,
        tickets: Vec<Ticket>,
        collector: ChecksCollector,
        writer: Writer,
        result: Result<(), CollectError>,
    }

    fn labels(name: &str) -> Arc<Labels> {
        Arc::new(Labels::from_pairs([("check", name), ("team", "ops")]))
    }

    impl Setup {
        fn new(names: &[&str]) -> Setup {
            let board = Arc::new(Board::default());
            let standing = |name: &&str| {
                let interval = Duration::from_secs(60);
                Placed::New(Standing::new((*name).into(), labels(name), interval, Duration::from_secs(10)))
            };
            let tickets = board.set(names.iter().map(standing).collect());
            let (standings, merged, conflict) = (Vec::new(), Vec::new(), None);
            let collector = ChecksCollector { board: board.clone(), standings, merged, conflict };
            let writer = Writer::new("checks", Arc::new(SeriesTable::new(Labels::empty())), 100_000);
            Setup { board, tickets, collector, writer, result: Ok(()) }
        }

        fn ran(&self, check: usize, state: State, command: Option<CommandUse>, find: impl FnOnce(&mut Families)) {
            let ticket = &self.tickets[check];
            let mut families = Families::new(self.board.all()[check].labels.clone());
            find(&mut families);
            let (ended, verdict) = (Ended::With(state), Verdict::new(state, ""));
            let ran = Some(Duration::from_millis(250));
            self.board.record(ticket, Report { ended, verdict, ran, command, families });
        }

        fn section(&mut self) -> Arc<Section> {
            self.result = self.collector.collect(&mut self.writer);
            self.writer.finish().0
        }

        /// The samples whose names begin so, without their times.
        fn lines(&mut self, beginning: &str) -> Vec<String> {
            let section = self.section();
            let line = |i| format!("{}{}", String::from_utf8_lossy(section.layout.prefix(i)), section.values[i]);
            (0..section.layout.len()).map(line).filter(|line| line.starts_with(beginning)).collect()
        }
    }

    #[test]
    fn a_check_says_how_it_stands_from_the_start_and_what_it_found_after_its_first_run() {
        let mut setup = Setup::new(&["disk"]);
        let of = |name: &str, value: &str| format!("watchfire_check_{name}{{check=\"disk\",team=\"ops\"}} {value}");
        assert_eq!(setup.lines("watchfire_check_").len(), 3 + 6);
        assert_eq!(setup.lines("watchfire_check_interval"), [of("interval_seconds", "60")]);
        assert_eq!(setup.lines("watchfire_check_state"), [""; 0]);

        let used = CommandUse { exit_code: Some(1), cpu: Some(Duration::from_micros(1500)), max_rss: Some(4096) };
        setup.ran(0, State::Warning, Some(used), |out| out.gauge("free_bytes", "Free.", &[("mount", "/")], 7.0));
        assert_eq!(setup.lines("watchfire_check_state"), [of("state", "1")]);
        assert_eq!(setup.lines("watchfire_check_success"), [of("success", "0")]);
        assert_eq!(setup.lines("watchfire_check_duration"), [of("duration_seconds", "0.25")]);
        assert_eq!(setup.lines("watchfire_check_exit"), [of("exit_code", "1")]);
        assert_eq!(setup.lines("watchfire_check_cpu"), [of("cpu_seconds_total", "0.0015")]);
        assert_eq!(setup.lines("watchfire_check_max"), [of("max_rss_bytes", "4096")]);
        let runs = setup.lines("watchfire_check_runs_total");
        assert_eq!(runs.len(), 6);
        assert!(runs[1].ends_with("result=\"warning\"} 1") && runs[0].ends_with("result=\"ok\"} 0"), "{runs:?}");
        assert_eq!(setup.lines("free"), ["free_bytes{mount=\"/\",check=\"disk\",team=\"ops\"} 7"]);
    }

    #[test]
    fn families_of_one_name_are_one_and_only_other_shapes_are_merged_anew() {
        let mut setup = Setup::new(&["a", "b"]);
        let find = |value: f64| move |out: &mut Families| out.gauge("found", "Found.", &[], value);
        setup.ran(0, State::Ok, None, find(1.0));
        setup.ran(1, State::Ok, None, |out| {
            out.gauge("other", "Other.", &[], 3.0);
            out.gauge("found", "Found.", &[], 2.0);
        });
        let section = setup.section();
        let families: Vec<_> =
            section.layout.families().map(|(family, range)| (family.name.clone(), range.len())).collect();
        assert!(families.contains(&("found".into(), 2)) && families.contains(&("other".into(), 1)), "{families:?}");

        setup.ran(0, State::Ok, None, find(5.0));
        let next = setup.section();
        assert!(Arc::ptr_eq(&section.layout, &next.layout), "only numbers have changed");
        let before = setup.collector.standings.clone();
        assert!(same_shape(&before, &setup.board.all()));
        setup.ran(1, State::Critical, None, |_| ());
        assert!(!same_shape(&before, &setup.board.all()));
        assert_eq!(setup.lines("found").len(), 1);
        assert_eq!(setup.lines("other"), [""; 0]);
    }

    #[test]
    fn what_two_checks_do_not_agree_about_is_a_failure_and_the_first_is_served() {
        let mut setup = Setup::new(&["a", "b"]);
        setup.ran(0, State::Ok, None, |out| out.gauge("found", "Found.", &[], 1.0));
        setup.ran(1, State::Ok, None, |out| out.counter("found", "Found.", &[], 2.0));
        assert_eq!(setup.lines("found"), ["found{check=\"a\",team=\"ops\"} 1"]);
        let said = setup.result.as_ref().map_err(ToString::to_string).err();
        assert_eq!(said.as_deref(), Some("check b: not served: found is a counter here and a gauge in a"));
        setup.ran(1, State::Ok, None, |_| ());
        setup.section();
        assert!(setup.result.is_ok());
    }

    #[test]
    fn a_check_cannot_say_how_it_or_others_stand() {
        let mut setup = Setup::new(&["a"]);
        setup.ran(0, State::Critical, None, |out| {
            out.gauge("watchfire_check_state", "Mine.", &[("check", "b")], 0.0);
            out.counter(RUNS, "Mine.", &[], 9.0);
        });
        assert_eq!(setup.lines("watchfire_check_state"), ["watchfire_check_state{check=\"a\",team=\"ops\"} 2"]);
        assert_eq!(setup.lines(RUNS).len(), 6);
    }
}
