use std::path::PathBuf;
use std::time::Instant;

use prometheus::Registry;

use super::super::board::Ended;
use super::super::verdict::State;
use super::*;
use crate::pool::{PoolConfig, Queued};
use crate::yaml::{Document, Faults};

/// For what takes moments on an idle machine.
const LONG: Duration = Duration::from_secs(60);

struct Setup {
    runner: Runner,
    pool: Pool,
    dir: tempfile::TempDir,
}

impl Setup {
    fn new() -> Setup {
        let pool = Pool::new(PoolConfig::default(), &Registry::new(), tokio::runtime::Handle::current()).unwrap();
        let runner = Runner::new(pool.clone(), Roots::default());
        Setup { runner, pool, dir: tempfile::tempdir().unwrap() }
    }

    fn set(&self, yaml: &str) {
        let mut faults = Faults::default();
        let checks: Checks = Document::parse("c.yaml", yaml, &mut faults).read(&mut faults);
        assert!(!faults.has_errors(), "{faults}");
        self.runner.set(&checks);
    }

    fn standing(&self, name: &str) -> Option<Arc<Standing>> {
        self.runner.board().all().into_iter().find(|standing| *standing.name == *name)
    }

    /// Runs a check now, and waits for its end.
    async fn run(&self, name: &str) -> Arc<Standing> {
        let runs = |standing: &Standing| standing.runs.iter().sum::<u64>();
        let before = runs(&self.standing(name).unwrap());
        let begun = Instant::now();
        loop {
            // It may have begun by itself.
            let _ = self.pool.run_now(&task_id(name));
            tokio::time::sleep(Duration::from_millis(20)).await;
            let standing = self.standing(name).unwrap();
            if runs(&standing) > before {
                return standing;
            }
            assert!(begun.elapsed() < LONG, "{name} does not end");
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    async fn end(self) {
        self.pool.shutdown(Queued::Cancel, Duration::from_secs(1)).await;
    }
}

fn state(standing: &Standing) -> (Ended, String) {
    let last = standing.last.as_ref().unwrap();
    let ended = Ended::ALL.into_iter().zip(standing.runs).find(|(_, runs)| *runs > 0).map(|(ended, _)| ended).unwrap();
    (ended, last.verdict.summary.clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_command_writes_stands_on_the_board() {
    let setup = Setup::new();
    setup.set(
        "- name: disk\n  command: [/bin/sh, -c, 'echo \"DISK WARNING|/=$SIZE;80\"; exit 1']\n  format: nagios\n  \
         env: {SIZE: 90B}\n  labels: {team: ops}\n  interval: 1h\n",
    );
    let standing = setup.run("disk").await;
    assert_eq!(state(&standing), (Ended::With(State::Warning), "DISK WARNING".to_string()));
    assert_eq!(standing.labels.to_string(), "{check=\"disk\", team=\"ops\"}");
    let last = standing.last.as_ref().unwrap();
    assert_eq!(last.command.map(|used| used.exit_code), Some(Some(1)));
    assert!(last.ran > Some(Duration::ZERO) && standing.found(Instant::now()).len() == 2);
    setup.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_hangs_is_critical_and_what_cannot_be_started_or_is_killed_is_unknown() {
    let setup = Setup::new();
    setup.set(
        "- {name: hangs, command: [/bin/sleep, '60'], format: exit, timeout: 200ms, interval: 1h}\n\
         - {name: missing, command: [/nowhere/check], format: exit, interval: 1h}\n\
         - {name: killed, command: [/bin/sh, -c, 'kill -SEGV $$'], format: nagios, interval: 1h}\n",
    );
    assert_eq!(state(&*setup.run("hangs").await), (Ended::Timeout, "timed out after 200ms".to_string()));
    let (ended, summary) = state(&*setup.run("missing").await);
    assert_eq!(ended, Ended::Failed);
    assert!(summary.starts_with("could not be started: \"/nowhere/check\""), "{summary}");
    assert_eq!(state(&*setup.run("killed").await), (Ended::Failed, "was killed by SIGSEGV".to_string()));
    let states =
        ["hangs", "missing", "killed"].map(|name| setup.standing(name).unwrap().last.as_ref().unwrap().verdict.state);
    assert_eq!(states, [State::Critical, State::Unknown, State::Unknown]);
    setup.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_with_a_long_interval_runs_at_once_when_it_is_new() {
    let setup = Setup::new();
    setup.set("- {name: a, command: ['true'], format: exit, interval: 1d}\n");
    let begun = Instant::now();
    while setup.standing("a").is_none_or(|standing| standing.last.is_none()) {
        assert!(begun.elapsed() < LONG);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    setup.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_is_not_ok_is_tried_again_before_it_counts() {
    let setup = Setup::new();
    let mark = setup.path("mark");
    let script = format!("[ -e {0} ] || {{ touch {0}; exit 1; }}", mark.display());
    setup.set(&format!("- {{name: a, command: [/bin/sh, -c, '{script}'], format: exit, retries: 1, interval: 1h}}\n"));
    let standing = setup.run("a").await;
    assert_eq!(state(&standing).0, Ended::With(State::Ok));
    setup.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_is_not_ok_by_what_it_wrote_is_tried_again_too() {
    let setup = Setup::new();
    let mark = setup.path("mark");
    let script = format!("[ -e {0} ] && echo up || {{ touch {0}; echo \"no exposition\"; }}; true", mark.display());
    let script = script.replace("echo up", "echo \"shop_up 1\"");
    let text =
        format!("- {{name: a, command: [/bin/sh, -c, '{script}'], format: prometheus, retries: 1, interval: 1h}}\n");
    setup.set(&text);
    let standing = setup.run("a").await;
    assert_eq!(state(&standing).0, Ended::With(State::Ok), "{}", state(&standing).1);
    setup.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_that_is_changed_while_it_runs_does_not_run_beside_what_it_was() {
    let setup = Setup::new();
    let mark = setup.path("mark");
    let marks = || std::fs::read_to_string(&mark).unwrap_or_default();
    let set = |script: &str| {
        let script = script.replace("MARK", &mark.display().to_string());
        setup.set(&format!(
            "- {{name: a, command: [/bin/sh, -c, '{script}'], format: exit, interval: 1h, timeout: 1m}}\n"
        ));
    };
    let until = async |what: &str| {
        let begun = Instant::now();
        while !marks().contains(what) {
            assert!(begun.elapsed() < LONG, "{}", marks());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    set("trap \"sleep 0.5; echo ends >> MARK; exit 0\" TERM; sleep 1000 & echo old >> MARK; wait");
    until("old").await;
    set("echo new >> MARK");
    until("new").await;
    assert_eq!(marks(), "old\nends\nnew\n");
    setup.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_new_checks_are_all_run_soon_though_the_queue_is_short() {
    let setup = Setup::new();
    setup.pool.reconfigure(PoolConfig { max_concurrent: 1, queue: 3, ..PoolConfig::default() });
    let check = |n: usize| format!("- {{name: c{n}, command: [sleep, \"0.02\"], format: exit, interval: 1h}}\n");
    setup.set(&(0..40).map(check).collect::<String>());
    let begun = Instant::now();
    while setup.runner.board().all().iter().any(|standing| standing.last.is_none()) {
        assert!(begun.elapsed() < LONG);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    setup.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_on_schedule_runs_when_the_clock_says_so_and_not_before() {
    let setup = Setup::new();
    let schedule = "{cron: '30 3 * * *', location: UTC}";
    setup.set(&format!("- {{name: a, command: ['true'], format: exit, schedule: {schedule}}}\n"));
    let next = setup.pool.view().scheduled[0].next.clone().unwrap();
    assert!(next.contains("T03:30:00"), "{next}");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(setup.standing("a").unwrap().last.is_none());
    assert_eq!(state(&*setup.run("a").await).0, Ended::With(State::Ok), "when somebody asks");
    setup.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_cannot_speak_for_the_agent() {
    let setup = Setup::new();
    let script = "echo \"shop_up 1\"; echo \"up 1\"; echo \"watchfire_rules_failed 0\"";
    setup.set(&format!("- {{name: a, command: [/bin/sh, -c, '{script}'], format: prometheus, interval: 1h}}\n"));
    let standing = setup.run("a").await;
    let (ended, said) = state(&standing);
    assert!(ended == Ended::With(State::Warning) && said.contains("(up is a name of the agent's own"), "{said}");
    assert_eq!(standing.found(Instant::now()).iter().map(|family| &*family.name).collect::<Vec<_>>(), ["shop_up"]);
    setup.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_reload_what_is_the_same_goes_on_what_changed_begins_anew_and_what_is_gone_ends() {
    let setup = Setup::new();
    let same = "- {name: same, command: ['true'], format: exit, interval: 1h}\n";
    let pid = setup.path("pid");
    let gone = format!(
        "- {{name: gone, command: [/bin/sh, -c, 'echo $$ > {}; exec sleep 600'], format: exit, timeout: 10m, interval: 1h}}\n",
        pid.display()
    );
    setup.set(&format!("{same}- {{name: changed, command: ['true'], format: exit, interval: 1h}}\n{gone}"));
    setup.run("same").await;
    setup.run("changed").await;
    let begun = Instant::now();
    let running = loop {
        match std::fs::read_to_string(&pid).ok().and_then(|text| text.trim().parse::<u32>().ok()) {
            Some(pid) => break pid,
            None => assert!(begun.elapsed() < LONG, "it does not begin"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };

    setup.set(&format!("# moved\n- {{name: changed, command: ['false'], format: exit, interval: 1h}}\n{same}"));
    let names: Vec<_> = setup.runner.board().all().iter().map(|standing| standing.name.to_string()).collect();
    assert_eq!(names, ["changed", "same"]);
    assert!(setup.standing("same").unwrap().last.is_some());
    let standing = setup.run("changed").await;
    assert!(standing.runs[0] >= 1 && standing.runs[2] >= 1, "what was counted goes on: {:?}", standing.runs);
    let begun = Instant::now();
    while PathBuf::from(format!("/proc/{running}")).exists() {
        assert!(begun.elapsed() < LONG, "the run of what is gone goes on");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    setup.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn probes_and_looks_say_how_it_is_and_what_they_found_also_when_it_is_not_well() {
    let setup = Setup::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (open, file) = (listener.local_addr().unwrap(), setup.path("file"));
    std::fs::write(&file, "here").unwrap();
    setup.set(&format!(
        "- {{name: open, tcp: {{target: '{open}'}}, interval: 1h}}\n\
         - {{name: file, file: {{path: {}}}, interval: 1h}}\n\
         - {{name: missing, file: {{path: /nowhere/at/all}}, interval: 1h}}\n",
        file.display()
    ));
    for (name, ended) in [("open", State::Ok), ("file", State::Ok), ("missing", State::Critical)] {
        let standing = setup.run(name).await;
        let (state, summary) = state(&standing);
        assert_eq!(state, Ended::With(ended), "{name}: {summary}");
        let last = standing.last.as_ref().unwrap();
        assert!(last.command.is_none() && last.ran > Some(Duration::ZERO) && !summary.is_empty(), "{name}");
        assert!(!standing.found(Instant::now()).is_empty(), "{name} has found nothing");
    }
    drop(listener);
    setup.end().await;
}
