//! What is left when the agent is killed.

use std::ffi::OsString;
use std::process::Stdio;

use super::leaks::{INNER, again};
use super::*;

/// Set in the process that is the guard.
const GUARD: &str = "WATCHFIRE_TEST_GUARD";

/// The command line that has this test binary be the guard.
fn guard_argv() -> Vec<OsString> {
    let program = again(module_path!(), "the_guard_ends_what_is_left_of_a_killed_agents_commands");
    let mut argv: Vec<OsString> = ["env", &format!("{GUARD}=1")].map(OsString::from).to_vec();
    argv.push(program.get_program().to_owned());
    argv.extend(program.get_args().map(OsString::from));
    argv
}

fn guards_of(agent: u32) -> Vec<String> {
    let children = std::fs::read_to_string(format!("/proc/{agent}/task/{agent}/children")).unwrap_or_default();
    let mut pids: Vec<String> = children.split_whitespace().map(str::to_owned).collect();
    for task in std::fs::read_dir(format!("/proc/{agent}/task")).into_iter().flatten().flatten() {
        let children = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
        pids.extend(children.split_whitespace().map(str::to_owned));
    }
    pids.sort();
    pids.dedup();
    pids.retain(|pid| {
        std::fs::read(format!("/proc/{pid}/environ")).is_ok_and(|env| String::from_utf8_lossy(&env).contains(GUARD))
    });
    pids
}

#[test]
fn the_guard_ends_what_is_left_of_a_killed_agents_commands() {
    const NAME: &str = "the_guard_ends_what_is_left_of_a_killed_agents_commands";
    if std::env::var_os(GUARD).is_some() {
        crate::pool::guard::run().unwrap();
        return;
    }
    let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    if std::env::var_os(INNER).is_some() {
        runtime().block_on(async {
            let pool = pool(3);
            pool.with_guard(guard_argv()).unwrap();
            // The first child has the fate of the command, the second is its own master and ignores all it can.
            let script = "sh -c 'trap \"\" TERM HUP; echo $$ > child.part; mv child.part child; sleep 1000' & wait";
            let dir = std::env::var_os("WATCHFIRE_TEST_DIR").unwrap();
            pool.submit(sh(script).current_dir(&dir)).unwrap();
            let ended = pool.submit(sh("setsid sleep 60 > /dev/null 2>&1 & echo $!; sleep 0.2")).unwrap().wait().await;
            std::fs::write(std::path::Path::new(&dir).join("stranger"), ended.stdout.text().as_bytes()).unwrap();
            tokio::time::sleep(LONG).await;
        });
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut agent =
        again(module_path!(), NAME).env("WATCHFIRE_TEST_DIR", dir.path()).stdout(Stdio::null()).spawn().unwrap();
    let read = |name: &str| {
        let text = std::fs::read_to_string(dir.path().join(name)).ok()?;
        (!text.trim().is_empty()).then(|| text.trim().to_owned())
    };
    runtime().block_on(async {
        until("all run", || read("child").is_some() && read("stranger").is_some()).await;
        let (child, stranger) = (read("child").unwrap(), read("stranger").unwrap());
        let agent_id = agent.id();
        until("the guard watches", || guards_of(agent_id).len() == 1).await;
        let guard = guards_of(agent_id).remove(0);
        assert!(alive(&child) && alive(&stranger));
        // As a service manager may, it tells all to end; the guard does not until the agent has.
        let pid = rustix::process::Pid::from_raw(guard.parse().unwrap()).unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(alive(&guard));
        agent.kill().unwrap();
        agent.wait().unwrap();
        until("it is gone", || !alive(&child)).await;
        until("the guard is gone", || !alive(&guard)).await;
        assert!(alive(&stranger), "a daemon that left its group is nobody's business");
        let stranger = rustix::process::Pid::from_raw(stranger.parse().unwrap()).unwrap();
        rustix::process::kill_process(stranger, rustix::process::Signal::KILL).unwrap();
    });
}

#[test]
fn a_guard_that_is_killed_is_replaced_and_a_pool_that_is_shut_down_leaves_none() {
    const NAME: &str = "a_guard_that_is_killed_is_replaced_and_a_pool_that_is_shut_down_leaves_none";
    super::leaks::alone(module_path!(), NAME, || {
        super::leaks::leaves_nothing(async |pool: Pool| {
            pool.with_guard(guard_argv()).unwrap();
            let me = std::process::id();
            assert_eq!(guards_of(me).len(), 0, "none before there is something to guard");
            pool.submit(sh("true")).unwrap().wait().await;
            until("there is a guard", || guards_of(me).len() == 1).await;
            let first = guards_of(me).remove(0);
            pool.submit(sh("true")).unwrap().wait().await;
            assert_eq!(guards_of(me), std::slice::from_ref(&first), "one is enough");
            let pid = rustix::process::Pid::from_raw(first.parse().unwrap()).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
            // The first command after its end; it takes a moment to end.
            while !guards_of(me).iter().any(|guard| *guard != first) {
                pool.submit(sh("true")).unwrap().wait().await;
            }
        });
    });
}

#[tokio::test]
async fn without_a_guard_that_can_be_started_commands_run() {
    let pool = pool(1);
    pool.with_guard(["no-such-guard"]).unwrap();
    for _ in 0..5 {
        assert!(pool.submit(sh("true")).unwrap().wait().await.success());
    }
    pool.shutdown(Queued::Cancel, Duration::ZERO).await;
}
