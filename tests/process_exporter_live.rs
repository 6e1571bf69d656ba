//! In place of process-exporter, on live processes: both watch the same ones, of which some work, some fork, some end and
//! one has several threads, and serve the same series with the same values.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child as Running, Command, Stdio};
use std::time::Duration;

use regex::Regex;
use tempfile::TempDir;

use common::{Child, Metrics, SOON, Setup, eventually, free_port, peer, request};

/// Shells under names of their own, and what they run.
const SHELLS: &[(&str, &str)] = &[
    ("wfpe-quiet", "read line"),
    ("wfpe-busy", "while :; do i=0; while [ $i -lt 2000 ]; do i=$((i+1)); done; echo $i >> busy.out; done"),
    ("wfpe-fork", "while :; do sleep 0.03; done"),
    ("wfpe-leave", "while :; do i=0; while [ $i -lt 2000 ]; do i=$((i+1)); done; sleep 0.05; done"),
    ("wfpe-born", "i=0; while [ $i -lt 50000 ]; do i=$((i+1)); done; read line"),
];

/// Threads that sleep, that wait for each other, and one that works at times.
const THREADS: &str = r#"
import ctypes, threading, time
def named(name, work):
    def run():
        ctypes.CDLL(None).prctl(15, name.encode(), 0, 0, 0)
        work()
    threading.Thread(target=run, daemon=True).start()
def nap():
    while True: time.sleep(0.02)
def work():
    while True:
        end = time.monotonic() + 0.03
        while time.monotonic() < end: pass
        with open("threads.out", "a") as out: out.write("x" * 5000)
        time.sleep(0.05)
for n in range(3): named("nap", nap)
named("worker", work)
threading.Event().wait()
"#;

/// Groups of which processes end while they are watched: what these used last, process-exporter does not see, and of
/// those that live from one scrape to the next nothing.
const WITH_ENDS: &str = "groupname=\"wfpe-(fork|leave)\"";

/// What is there, but not as process-exporter has it: a pattern of its series, and why.
const DIFFERENT: &[(&str, &str)] = &[
    (
        "_oldest_start_time_seconds\\{groupname=\"wfpe-leave\"\\} -62135596800",
        "of a group without processes it says the year 1: left out here",
    ),
    (
        "memtype=\"proportional",
        "changes whenever any process maps or leaves a library: compared with slack, once it is known",
    ),
];

/// What is served here alone: a pattern of our series that are 0, and why.
const OURS: &[(&str, &str)] = &[
    (
        "_thread_(count|cpu|io|major|minor|context)",
        "names that no thread has any more stay, so that counters do not go back",
    ),
    ("_threads_wchan", "places where no thread waits any more stay, so that graphs are not confetti"),
];

/// A process of the test; killed with it.
struct Started(Running);

impl Started {
    fn shell(dir: &Path, name: &str) -> Started {
        let script = SHELLS.iter().find(|(shell, _)| *shell == name).expect("a script").1;
        Started::run(dir, Command::new(dir.join(name)).args(["-c", script]))
    }

    fn run(dir: &Path, command: &mut Command) -> Started {
        let command = command.current_dir(dir).stdin(Stdio::piped()).stdout(Stdio::null());
        Started(command.spawn().expect("it starts"))
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a page serves of the test's groups.
#[derive(Default)]
struct Page {
    types: BTreeMap<String, String>,
    series: BTreeMap<String, f64>,
}

impl Page {
    fn of(port: u16) -> Page {
        let text = Metrics::of(&request(port, "GET", "/metrics", &[]).expect("a page")).0;
        let mut page = Page::default();
        for line in text.lines() {
            if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|l| l.split_once(' ')) {
                page.types.insert(name.to_string(), kind.to_string());
            } else if line.starts_with("namedprocess_namegroup_")
                && line.contains("groupname=\"wfpe-")
                && let Some((series, value)) = line.rsplit_once(' ')
            {
                page.series.insert(sorted(series), value.parse().unwrap_or_else(|_| panic!("{line}")));
            }
        }
        page
    }

    /// The type of a series.
    fn kind(&self, series: &str) -> Option<&str> {
        self.types.get(series.split('{').next()?).map(String::as_str)
    }
}

/// A series with its labels in order of name.
fn sorted(series: &str) -> String {
    let Some((name, labels)) = series.strip_suffix('}').and_then(|s| s.split_once('{')) else {
        return series.to_string();
    };
    let mut labels: Vec<&str> = labels.split_inclusive("\",").map(|l| l.trim_end_matches(',')).collect();
    labels.sort_unstable();
    format!("{name}{{{}}}", labels.join(","))
}

/// What both say at one moment: theirs is between our two.
struct Moment {
    before: Page,
    theirs: Page,
    after: Page,
}

impl Moment {
    fn now(ours: u16, theirs: u16) -> Moment {
        let before = Page::of(ours);
        let theirs = Page::of(theirs);
        // More than one tick later.
        std::thread::sleep(Duration::from_millis(250));
        Moment { before, theirs, after: Page::of(ours) }
    }

    /// What differs, since a moment from which on counters are compared.
    fn differences(&self, since: &Moment) -> BTreeSet<String> {
        let patterns = |list: &[(&str, &str)]| list.iter().map(|(p, _)| regex(p)).collect::<Vec<_>>();
        let (different, ours_alone, with_ends) = (patterns(DIFFERENT), patterns(OURS), regex(WITH_ENDS));
        let mut wrong = BTreeSet::new();
        for (series, value) in &self.theirs.series {
            let (kind, our_kind) = (self.theirs.kind(series), self.after.kind(series));
            if kind != our_kind {
                wrong.insert(format!("type of {series}: {our_kind:?}, theirs {kind:?}"));
            }
            let is_different = different.iter().any(|d| d.is_match(&format!("{series} {value}")));
            let at = |page: &Page| page.series.get(series).copied();
            let (Some(before), Some(after)) = (at(&self.before), at(&self.after)) else {
                if !is_different {
                    wrong.insert(format!("missing: {series}"));
                }
                continue;
            };
            let first = |page: &Page| at(page).unwrap_or(0.0);
            let (value, least, most) = match kind {
                Some("counter") => {
                    let least = before - first(&since.after);
                    let least = if with_ends.is_match(series) { f64::NEG_INFINITY } else { least };
                    (value - first(&since.theirs), least, after - first(&since.before))
                }
                _ => (*value, before.min(after), before.max(after)),
            };
            let slack = match is_different {
                true => 0.3 * value.abs() + 500_000.0,
                // The kernel divides CPU time into user and system anew at each look, in ticks of its clock.
                false if series.contains("cpu_seconds_total") => 0.021,
                false => 1e-6,
            };
            if !(least - slack..=most + slack).contains(&value) {
                wrong.insert(format!("value of {series}"));
            }
        }
        for (series, value) in self.after.series.iter().filter(|(s, _)| !self.theirs.series.contains_key(*s)) {
            let is_gone = *value == 0.0 || self.after.kind(series) == Some("counter");
            if !(is_gone && ours_alone.iter().any(|o| o.is_match(series))) {
                wrong.insert(format!("not theirs: {series}"));
            }
        }
        wrong
    }
}

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a pattern")
}

/// Both, watching the groups of a configuration.
struct Both {
    ours: common::Agent,
    theirs: Child,
    theirs_port: u16,
}

impl Both {
    fn start(program: PathBuf, config: &Path) -> Both {
        let theirs_port = free_port();
        let mut theirs = Child::spawn(
            Command::new(program)
                .arg("-config.path")
                .arg(config)
                .arg(format!("-web.listen-address=127.0.0.1:{theirs_port}"))
                .stdout(Stdio::null()),
        );
        let setup = Setup::new(&format!(
            "global: {{scrape_interval: 100ms}}\nprocesses: {{groups_file: {}, smaps_interval: 1s, threads: true, \
             threads_interval: 0s, wchan: true, refresh_ticks: 1}}\n",
            config.display()
        ));
        let ours = setup.start();
        // On a busy machine the first pass over processes ends later.
        ours.wait_for("namedprocess_namegroup_thread_count", &[], |_| true);
        eventually("process-exporter answers", SOON, || {
            assert!(theirs.ended().is_none(), "process-exporter has ended: {}", theirs.log());
            request(theirs_port, "GET", "/metrics", &[]).ok()
        });
        Both { ours, theirs, theirs_port }
    }

    fn moment(&self) -> Moment {
        Moment::now(self.ours.port, self.theirs_port)
    }

    /// Compares until all agrees: a sample is taken now or a moment later, so that what differs in each of several rounds
    /// differs.
    fn compare(&self, what: &str, since: &Moment) -> Moment {
        let mut wrong: Option<BTreeSet<String>> = None;
        let mut moment = self.moment();
        for _ in 0..20 {
            let now = moment.differences(since);
            let left = wrong.map_or(now.clone(), |wrong| wrong.intersection(&now).cloned().collect());
            if left.is_empty() {
                return moment;
            }
            wrong = Some(left);
            moment = self.moment();
        }
        let shown = |wrong: &String| {
            let series = wrong.split_once(": ").or(wrong.split_once("of ")).map_or("", |(_, series)| series);
            let of = |page: &Page| page.series.get(series).copied();
            let values = |m: &Moment| [of(&m.before), of(&m.theirs), of(&m.after)];
            format!("{wrong}: ours, theirs, ours {:?}; at first {:?}", values(&moment), values(since))
        };
        let shown: Vec<String> = wrong.unwrap_or_default().iter().map(shown).collect();
        panic!("{what}:\n{}\n{}", shown.join("\n"), self.theirs.log());
    }
}

/// A folder with the programs, and the configuration of both.
fn programs() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut paths = Vec::new();
    for (name, _) in SHELLS {
        let path = dir.path().join(name);
        fs::copy("/bin/sh", &path).expect("a copy of the shell");
        paths.push(path.display().to_string());
    }
    let script = dir.path().join("wfpe-threads.py");
    fs::write(&script, THREADS).expect("a script");
    let config = dir.path().join("process-exporter.yml");
    let items = format!(
        "process_names:\n- {{name: '{{{{.ExeBase}}}}', exe: [{}]}}\n- {{name: wfpe-threads, cmdline: ['{}']}}\n",
        paths.join(", "),
        script.display()
    );
    fs::write(&config, items).expect("a configuration");
    (dir, config)
}

#[test]
fn all_that_process_exporter_serves_of_live_processes_is_served_with_its_values() {
    let Some(program) = peer("prometheus-process-exporter") else { return };
    let (dir, config) = programs();
    let dir = dir.path();
    let mut running: Vec<Started> =
        ["wfpe-quiet", "wfpe-busy", "wfpe-fork"].iter().map(|name| Started::shell(dir, name)).collect();
    let (first, second) = (Started::shell(dir, "wfpe-leave"), Started::shell(dir, "wfpe-leave"));
    let python = peer("python3");
    if let Some(python) = &python {
        running.push(Started::run(dir, Command::new(python).arg(dir.join("wfpe-threads.py"))));
    }
    std::thread::sleep(Duration::from_millis(500));

    let both = Both::start(program, &config);
    let start = both.moment();
    assert!(start.theirs.series.len() > 80, "{:#?}", start.theirs.series);
    if python.is_some() {
        let naps = "namedprocess_namegroup_thread_count{groupname=\"wfpe-threads\",threadname=\"nap\"}";
        assert_eq!([&start.after, &start.theirs].map(|page| page.series.get(naps)), [Some(&3.0); 2]);
    }
    std::thread::sleep(Duration::from_millis(500));
    both.compare("at work", &start);

    drop(first);
    running.push(Started::shell(dir, "wfpe-born"));
    std::thread::sleep(Duration::from_millis(700));
    let now = both.compare("after one has ended and one was born", &start);
    let value = |page: &Page, series: &str| page.series.get(&format!("namedprocess_namegroup_{series}")).copied();
    let born = |page: &Page| value(page, "cpu_seconds_total{groupname=\"wfpe-born\",mode=\"user\"}");
    assert!(born(&now.theirs) > Some(0.0), "what one used that was born meanwhile counts");

    drop(second);
    std::thread::sleep(Duration::from_millis(700));
    let now = both.compare("after the last of a group has ended", &start);
    let left = |page: &Page| value(page, "num_procs{groupname=\"wfpe-leave\"}");
    assert_eq!([left(&now.theirs), left(&now.after)], [Some(0.0); 2]);
}
