use std::fs;
use std::path::PathBuf;

use prometheus::Registry;

use super::*;
use crate::checks::verdict::State;
use crate::checks::{Checks, Runner, Standing};
use crate::collect::Roots;
use crate::exposition::families;
use crate::model::{Labels, SeriesTable, Writer};
use crate::pool::{PoolConfig, Queued};
use crate::yaml::{Document, Faults};

/// For what takes moments on an idle machine.
const LONG: Duration = Duration::from_secs(60);

fn read(yaml: &str) -> (Checks, String) {
    let mut faults = Faults::default();
    let checks = Document::parse("c.yaml", yaml, &mut faults).read(&mut faults);
    (checks, faults.to_string())
}

struct Setup {
    runner: Runner,
    pool: Pool,
    dir: tempfile::TempDir,
}

impl Setup {
    fn new() -> Setup {
        let pool = Pool::new(PoolConfig::default(), &Registry::new(), tokio::runtime::Handle::current()).unwrap();
        Setup { runner: Runner::new(pool.clone(), Roots::default()), pool, dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A check named `s` whose script is this; `$OUT` is what [`Setup::say`] writes into.
    fn check(&self, script: &str, more: &str) -> String {
        let (path, out, pids) = (self.path("script"), self.path("out"), self.path("pids"));
        let begin = format!("echo $$ >> {}\n[ -e \"$OUT\" ] || mkfifo \"$OUT\"\n", pids.display());
        fs::write(&path, begin + script).unwrap();
        let (path, out) = (path.display(), out.display());
        format!("- {{name: s, command: [/bin/sh, {path}], env: {{OUT: {out}}}, interval: 1s, {more}}}\n")
    }

    fn set(&self, yaml: &str) {
        let (checks, faults) = read(yaml);
        assert_eq!(faults, "");
        self.runner.set(&checks);
    }

    /// Has the stream say this at once.
    async fn say(&self, text: &str) {
        let (path, text) = (self.path("out"), text.to_string());
        until("it reads", || path.exists()).await;
        tokio::task::spawn_blocking(move || fs::write(path, text)).await.unwrap().unwrap();
    }

    fn pids(&self) -> Vec<u32> {
        let text = fs::read_to_string(self.path("pids")).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }

    fn standing(&self) -> Arc<Standing> {
        self.runner.board().all().into_iter().find(|standing| *standing.name == *"s").unwrap()
    }

    /// Waits until the check is in this state and says this, and gives what it has found.
    async fn is(&self, state: State, says: &str) -> Vec<String> {
        let begun = Instant::now();
        loop {
            let standing = self.standing();
            let said = standing.last.as_ref().map(|last| (last.verdict.state, last.verdict.summary.clone()));
            if said.as_ref().is_some_and(|(is, said)| *is == state && said.contains(says)) {
                return samples(&standing);
            }
            assert!(begun.elapsed() < LONG, "not {state:?} with {says:?}, but {said:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn end(self) {
        self.pool.shutdown(Queued::Cancel, Duration::from_secs(1)).await;
        assert_eq!(self.pids().iter().filter(|pid| runs(**pid)).count(), 0, "a process is left");
    }
}

async fn until(what: &str, is: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is() {
        assert!(begun.elapsed() < LONG, "{what}: not within a minute");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Whether a process runs: one that was killed may wait for whoever has inherited it to take note.
fn runs(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

fn samples(standing: &Standing) -> Vec<String> {
    let kept = standing.found(Instant::now());
    let (merged, _) = families::merge(&[("s", kept)]);
    let mut writer = Writer::new("checks", Arc::new(SeriesTable::new(Labels::empty())), 100_000);
    families::write(&merged, |_| kept, &mut writer);
    let (section, _) = writer.finish();
    let line = |i: usize| format!("{}{}", String::from_utf8_lossy(section.layout.prefix(i)), section.values[i]);
    (0..section.layout.len()).map(line).collect()
}

/// Says whatever is written into its pipe, and stays.
const ECHO: &str = "while :; do cat \"$OUT\"; done\n";

#[test]
fn what_has_no_meaning_for_a_stream_is_said_where_it_stands() {
    let said = |text: &str| read(&format!("- {{name: s, {text}}}\n")).1;
    assert_eq!(said("command: [x], format: influx, stream: {}"), "");
    assert_eq!(said("command: [x], format: prometheus, stream: {signal: SIGUSR1, restart_delay: 5s}"), "");
    let stream = |text: &str| said(&format!("command: [x], stream: {{}}, {text}"));
    assert!(stream("format: influx, timeout: 5s").contains("c.yaml:1:64: a stream does not end: take timeout away"));
    assert!(stream("format: influx, retries: 1").contains(":1:64: a stream is started again whenever it ends"));
    assert!(stream("format: nagios").contains(":1:47: nagios needs an exit code, and a stream does not end: influx"));
    assert!(stream("format: exit").contains(":1:47: exit needs an exit code"));
    assert!(stream("format: json").contains(":1:47: json is missing"));
    assert!(said("tcp: {target: 'a:1'}, stream: {}").contains("stream is for a command, and there is none"));
    let key = |text: &str| said(&format!("command: [x], format: influx, stream: {{{text}}}"));
    assert!(key("signal: SIGKILL").contains(":1:60: expected none, stdin, sighup, sigusr1 or sigusr2"));
    assert!(key("restart_delay: 0s").contains(":1:67: must be longer than 0"));
    assert!(key("restart_delay: 1h").contains(":1:67: longer than 5m"));
    assert!(key("singal: none").contains("did you mean \"signal\"?"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn points_are_gathered_and_one_that_is_wrong_is_named_and_takes_no_other_with_it() {
    let setup = Setup::new();
    setup.set(&setup.check(ECHO, "format: influx, labels: {team: ops}, output_limit: 1KiB, stream: {}"));
    setup.say("# of two devices\ngpu,i=0 temp=40,load=1\n\ngpu,i=1 temp=50\n").await;
    let first = setup.is(State::Ok, "3 samples").await;
    assert!(first.contains(&"gpu_temp{i=\"0\",check=\"s\",team=\"ops\"} 40".to_string()), "{first:?}");
    setup.say("gpu,i=0 temp=41\n").await;
    let second = setup.is(State::Ok, "3 samples").await;
    assert_eq!(second.len(), 3);
    until("it is replaced", || samples(&setup.standing()).iter().any(|line| line.ends_with("ops\"} 41"))).await;
    setup.say("oops\ngpu,i=1 temp=51\n").await;
    let third = setup.is(State::Unknown, "line 6: expected a blank and fields behind \"oops\", in \"oops\"").await;
    assert!(third.iter().any(|line| line.ends_with("} 51")), "what is right counts: {third:?}");
    setup.say(&format!("gpu,i=1 temp={}\n", "1".repeat(2000))).await;
    setup.is(State::Unknown, "line 8: longer than output_limit").await;
    // Nothing of the first device comes any more.
    let begun = Instant::now();
    while samples(&setup.standing()).len() != 1 {
        assert!(begun.elapsed() < LONG);
        setup.say("gpu,i=1 temp=52\n").await;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    assert_eq!(setup.is(State::Ok, "1 sample").await, ["gpu_temp{i=\"1\",check=\"s\",team=\"ops\"} 52"]);
    setup.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_or_block_takes_the_place_of_that_before_and_the_last_of_a_burst_counts() {
    let setup = Setup::new();
    let json = "json: {state: {path: s, ok: [up]}, metrics: [{name: a, path: a}]}";
    setup.set(&setup.check(ECHO, &format!("format: json, {json}, output_limit: 50B, stream: {{}}")));
    setup.say("{\"s\": \"up\", \"a\": 1}\n{\"s\": \"up\", \"a\": 2}\n").await;
    assert_eq!(setup.is(State::Ok, "up").await, ["a{check=\"s\"} 2"]);
    assert_eq!(setup.standing().runs.iter().sum::<u64>(), 1, "they came at once");
    setup.say("{\"s\": \"down\", \"a\": 3}\n").await;
    assert_eq!(setup.is(State::Critical, "down").await, ["a{check=\"s\"} 3"]);
    setup.say("nonsense\n").await;
    assert!(setup.is(State::Unknown, "line 4: standard output is not JSON").await.is_empty());
    setup.say(&format!("{{\"s\": \"{}\"}}\n", "x".repeat(100))).await;
    assert!(
        setup.is(State::Unknown, "line 5: more than 50 bytes on standard output: raise output_limit").await.is_empty()
    );

    setup.set(&setup.check(ECHO, "format: prometheus, stream: {}"));
    until("the other listens", || setup.pids().len() == 2).await;
    setup.say("# TYPE b gauge\nb{c=\"1\"} 1\nb{c=\"2\"} 2\n\n").await;
    assert_eq!(setup.is(State::Ok, "2 samples").await.len(), 2);
    setup.say("b{c=\"1\"} 5\n# EOF\n").await;
    assert_eq!(setup.is(State::Ok, "1 sample").await, ["b{c=\"1\",check=\"s\"} 5"]);
    setup.say("b x\n\n").await;
    assert!(setup.is(State::Unknown, "block 3: standard output, line 1, column 3: expected a number").await.is_empty());
    setup.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_series_than_a_check_may_have_are_said_to_be_too_many() {
    let setup = Setup::new();
    let script = "seq -f 'm,n=%g value=1' 1 10010; exec sleep 1000\n";
    setup.set(&setup.check(script, "format: influx, stream: {}"));
    assert_eq!(setup.is(State::Warning, "no room for another series: 10000 are the most").await.len(), 10_000);
    setup.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_ends_is_critical_until_it_speaks_again() {
    let setup = Setup::new();
    let mark = setup.path("mark");
    let script = format!(
        "echo m value=1\nwhile [ ! -e {0} ]; do sleep 0.01; done\nrm {0}\necho one >&2\necho no driver >&2\nexit 3\n",
        mark.display()
    );
    setup.set(&setup.check(&script, "format: influx, stream: {restart_delay: 2s}"));
    assert_eq!(setup.is(State::Ok, "1 sample").await, ["m{check=\"s\"} 1"]);
    assert_eq!(setup.standing().last.as_ref().unwrap().command, Some(CommandUse::default()));
    fs::write(&mark, "").unwrap();
    let found = setup.is(State::Critical, "ended: exited with code 3: no driver; started again in 2s").await;
    assert!(found.is_empty(), "what it said says nothing of now: {found:?}");
    let used = setup.standing().last.as_ref().unwrap().command.unwrap();
    assert!(used.exit_code == Some(3) && used.cpu.is_some());
    assert_eq!(setup.is(State::Ok, "1 sample").await.len(), 1);
    assert_eq!((setup.pids().len(), setup.standing().runs), (2, [2, 0, 0, 0, 0, 1]));
    setup.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_cannot_be_started_is_unknown_and_one_that_says_nothing_is_late() {
    let setup = Setup::new();
    setup.set("- {name: s, command: [/nowhere/watch], format: influx, stream: {}, interval: 1s}\n");
    setup.is(State::Unknown, "could not be started: \"/nowhere/watch\"").await;
    setup.is(State::Unknown, "tried again in 2s").await;
    setup.set("- {name: s, command: [/bin/sleep, '1000'], format: influx, stream: {}, interval: 1s}\n");
    assert!(!setup.standing().is_late(Instant::now()));
    let later = Instant::now() + Duration::from_millis(3100);
    assert!(setup.standing().is_late(later) && setup.standing().last.is_none());
    setup.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_asked_by_an_empty_line_answers_at_once_and_every_interval() {
    let setup = Setup::new();
    let script = "n=0; while read line; do n=$((n + 1)); echo \"asked value=$n\"; done\n";
    setup.set(&setup.check(script, "format: influx, stream: {signal: STDIN}"));
    setup.is(State::Ok, "1 sample").await;
    until("it is asked again", || samples(&setup.standing()) == ["asked{check=\"s\"} 3"]).await;
    assert_eq!(setup.pids().len(), 1);
    setup.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_leaves_a_stream_alone_that_is_the_same_and_ends_all_of_one_that_changed_or_is_gone() {
    let setup = Setup::new();
    let script = format!("sh -c 'echo $$ >> {}; exec sleep 1000' &\n{ECHO}", setup.path("pids").display());
    let check = setup.check(&script, "format: influx, stream: {}");
    setup.set(&check);
    setup.say("m value=1\n").await;
    setup.is(State::Ok, "1 sample").await;
    until("both run", || setup.pids().len() == 2).await;
    setup.set(&format!("# moved\n\n{check}"));
    setup.say("m value=2\n").await;
    until("it goes on", || samples(&setup.standing()) == ["m{check=\"s\"} 2"]).await;
    let old = setup.pids();
    assert_eq!(old.len(), 2);

    setup.set(&check.replace("interval: 1s", "interval: 2s"));
    assert!(setup.standing().last.is_none(), "what it was before has found");
    until("it is started anew", || setup.pids().len() == 4).await;
    assert!(!runs(old[0]), "the old one had ended before");
    until("all of it is gone", || !old.iter().any(|pid| runs(*pid))).await;
    setup.say("m value=3\n").await;
    assert_eq!(setup.is(State::Ok, "1 sample").await, ["m{check=\"s\"} 3"]);

    setup.set("[]");
    until("it is gone", || setup.pids().iter().all(|pid| !runs(*pid)) && setup.pool.view().streams.is_empty()).await;
    assert!(setup.runner.board().all().is_empty() && setup.pool.latest("check:s").is_none());
    setup.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_stopped_by_hand_is_unknown_until_it_is_started() {
    let setup = Setup::new();
    let check = setup.check("echo m value=1\nexec sleep 1000\n", "format: influx, stream: {}");
    setup.set(&check);
    setup.is(State::Ok, "1 sample").await;
    assert!(setup.pool.restart("check:s"));
    until("it has begun anew", || setup.pids().len() == 2).await;
    assert_eq!(setup.pool.cancel_id("check:s"), 1);
    let says = "stopped by hand: watchfire pool run 'check:s' starts it again";
    assert!(setup.is(State::Unknown, says).await.is_empty());
    setup.set(&check);
    assert_eq!(setup.standing().runs[Ended::ALL.len() - 1], 1, "to be started anew is no failure");
    assert!(setup.pool.restart("check:s"));
    setup.is(State::Ok, "1 sample").await;
    setup.end().await;
}
