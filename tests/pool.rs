//! The pool as its users see it: the commands that show and steer it, and what is left when the agent is killed.

mod common;

use std::fs;
use std::path::Path;
use std::time::Duration;

use common::{Agent, SOON, Setup, eventually, request, run};
use rustix::process::Signal;
use serde_json::Value;

/// Long enough for any end on a busy machine, and far shorter than what is to be ended.
const WITHIN: Duration = Duration::from_secs(60);

/// A check whose command waits for another process, under the control of nobody, and says which that is.
fn forking(setup: &Setup) -> String {
    let script = format!("sleep 1000 & echo $! > {0}/child.part; mv {0}/child.part {0}/child; wait", dir(setup));
    format!("checks:\n- {{name: forks, command: [sh, -c, '{script}'], format: exit, interval: 1h, timeout: 50m}}\n")
}

fn dir(setup: &Setup) -> String {
    setup.path("").display().to_string().trim_end_matches('/').to_string()
}

fn child_of(setup: &Setup) -> u32 {
    eventually("the command has started another", SOON, || {
        fs::read_to_string(setup.path("child")).ok()?.trim().parse().ok()
    })
}

/// The state and the parent of a process; `None` when there is none of that number.
fn stat(pid: u32) -> Option<(String, u32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit(')').next()?.split_whitespace();
    Some((fields.next()?.to_string(), fields.next()?.parse().ok()?))
}

/// Whether something of a process is left. One that has ended and that init has not reaped is init's.
fn is_left(pid: u32) -> bool {
    stat(pid).is_some_and(|(state, parent)| !(state == "Z" && parent == 1))
}

fn all_processes() -> Vec<u32> {
    let entries = fs::read_dir("/proc").expect("/proc").flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// The guards that this agent has started.
fn guards_of(agent: u32) -> Vec<u32> {
    let is_guard =
        |pid: u32| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "watchfire-guard\n");
    all_processes()
        .into_iter()
        .filter(|pid| stat(*pid).is_some_and(|(_, parent)| parent == agent) && is_guard(*pid))
        .collect()
}

/// What the descriptors of a process lead to.
fn descriptors(pid: u32) -> Vec<String> {
    let links = fs::read_dir(Path::new("/proc").join(pid.to_string()).join("fd"));
    let links = links.into_iter().flatten().flatten();
    links.filter_map(|link| Some(fs::read_link(link.path()).ok()?.to_string_lossy().into_owned())).collect()
}

fn guard_of(agent: &Agent) -> u32 {
    eventually("there is a guard", SOON, || guards_of(agent.id()).pop())
}

#[test]
fn nothing_of_a_check_outlives_an_agent_that_is_killed() {
    let setup = Setup::new("checks: []\n");
    let agent = setup.start();
    assert_eq!(guards_of(agent.id()), [0; 0], "there is nothing to guard yet");
    setup.write("watchfire.yaml", &forking(&setup));
    assert_eq!(agent.reload().status, 200, "{}", agent.log());
    let child = child_of(&setup);
    let (guard, (_, command)) = (guard_of(&agent), stat(child).expect("it runs"));
    let pipes: Vec<String> = descriptors(child).into_iter().filter(|to| to.starts_with("pipe:")).collect();
    assert!(!pipes.is_empty(), "{:?}", descriptors(child));
    let held = descriptors(guard);
    assert!(!held.iter().any(|to| to.starts_with("pipe:") || to.starts_with("socket:")), "the guard holds {held:?}");

    agent.kill();
    for (what, pid) in [("what the command started", child), ("the command", command), ("the guard", guard)] {
        eventually(&format!("{what} is gone"), WITHIN, || (!is_left(pid)).then_some(()));
    }
    for pid in all_processes() {
        let held = descriptors(pid);
        assert!(
            !held.iter().any(|to| pipes.contains(to)),
            "process {pid} still has an end of the command's pipes: {held:?}"
        );
    }
}

#[test]
fn an_agent_that_is_told_to_end_leaves_neither_its_commands_nor_the_guard() {
    let setup = Setup::new("checks: []\n");
    setup.write("watchfire.yaml", &forking(&setup));
    let agent = setup.start();
    let child = child_of(&setup);
    let guard = guard_of(&agent);
    let (_, command) = stat(child).expect("it runs");
    let (code, log) = agent.terminate(WITHIN);
    assert_eq!(code, Some(0), "{log}");
    assert_eq!([child, command, guard].map(is_left), [false; 3]);
}

#[test]
fn a_guard_that_somebody_starts_by_hand_says_who_starts_it() {
    let output = run(&["guard"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("the agent starts the guard itself"), "{said}");
}

/// Runs a subcommand against the agent: its exit code and all that it says.
fn ask(agent: &Agent, args: &[&str]) -> (Option<i32>, String) {
    let url = format!("--url=http://127.0.0.1:{}", agent.port);
    let output = run(&[args, &[&url]].concat());
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

fn ask_for(agent: &Agent, args: &[&str], part: &str) -> String {
    eventually(&format!("watchfire {} says {part:?}", args.join(" ")), SOON, || {
        let (code, said) = ask(agent, args);
        assert_eq!(code, Some(0), "{said}");
        said.contains(part).then_some(said)
    })
}

#[test]
fn people_see_how_checks_stand_read_what_they_wrote_and_run_and_end_them() {
    let script = "echo \"DISK CRITICAL: 3 % free | used=97%\"; echo the rest; echo a complaint >&2; exit 2";
    let agent = Setup::new(&format!(
        "checks:\n\
         - {{name: root disk, command: [sh, -c, '{script}'], format: nagios, interval: 1h}}\n\
         - {{name: fine, command: ['true'], format: exit, interval: 1h}}\n\
         - {{name: long, command: [sleep, '1000'], format: exit, interval: 1h, timeout: 50m}}\n"
    ))
    .start();
    let said = ask_for(&agent, &["checks", "--failing"], "DISK CRITICAL: 3 % free");
    assert!(said.starts_with("CHECK ") && said.contains("\nroot disk  critical") && !said.contains("fine"), "{said}");
    let said = ask_for(&agent, &["checks"], "fine       ok");
    assert!(said.find("root disk") < said.find("long") && said.find("long") < said.find("fine"), "{said}");
    let (code, said) = ask(&agent, &["checks", "fien"]);
    assert!(code == Some(2) && said.contains("did you mean \"fine\"?"), "{said}");
    let all: Value = serde_json::from_str(&ask(&agent, &["checks", "--json", "fine"]).1).expect("JSON");
    assert_eq!((&all[0]["state"], all.as_array().map(Vec::len)), (&"ok".into(), Some(1)), "{all}");

    let said = ask_for(&agent, &["pool", "logs", "check:root disk"], "exited with code 2");
    for part in ["\nstdout:\nDISK CRITICAL: 3 % free | used=97%\nthe rest\n", "\nstderr:\na complaint\n"] {
        assert!(said.contains(part), "{said}");
    }
    assert_eq!(ask(&agent, &["pool", "run", "check:fine", "check:root disk"]).0, Some(0));
    ask_for(&agent, &["pool", "logs", "check:root disk"], "\nbefore:\ncheck:root disk exited with code 2");
    assert_eq!(ask(&agent, &["pool", "retry", "check:fine"]), (Some(0), "check:fine runs once more\n".to_string()));
    ask_for(&agent, &["pool", "list"], "check:long       runs for");
    let (code, said) = ask(&agent, &["pool", "run", "check:long"]);
    assert!(code == Some(1) && said.contains("it runs already"), "{said}");
    let (code, said) = ask(&agent, &["pool", "run", "check:none", "check:fine"]);
    assert!(code == Some(1) && said.contains("check:none") && said.contains("check:fine runs"), "{said}");
    assert_eq!(ask(&agent, &["pool", "cancel", "check:long"]), (Some(0), "check:long is being ended\n".to_string()));
    ask_for(&agent, &["pool", "logs", "check:long"], "check:long was cancelled");
    let (code, said) = ask(&agent, &["pool", "cancel", "check:long"]);
    assert!(code == Some(1) && said.contains("nothing with the id \"check:long\" runs or waits"), "{said}");

    let page = agent.get("/").text();
    assert!(page.contains("1 of 3 is not ok") && page.contains("DISK CRITICAL: 3 % free"), "{page}");
    // What a proxy passes on comes from anywhere.
    let from_elsewhere =
        |path| request(agent.port, "GET", path, &[("X-Forwarded-For", "192.0.2.7")]).expect("an answer").text();
    for path in ["/", "/api/checks", "/api/pool", "/api/pool/check%3Aroot%20disk"] {
        let said = from_elsewhere(path);
        assert!(
            said.contains("root disk") && !said.contains("3 % free") && !said.contains("a complaint"),
            "{path}: {said}"
        );
    }
    let refused = request(agent.port, "POST", "/api/pool/check%3Afine/run", &[("X-Forwarded-For", "192.0.2.7")]);
    assert_eq!(refused.expect("an answer").status, 403);
    agent.signal(Signal::TERM);
}
