//! Commands in control groups of their own, and the pool as interfaces show it.

use std::path::{Path, PathBuf};

use super::*;
use crate::pool::cgroup::ControlGroups;

/// A control group of this test's own; `None` where there is none to be had.
struct Delegated(PathBuf);

impl Delegated {
    fn new(name: &str) -> Option<Delegated> {
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
        let at = mounts.lines().find(|line| line.split(' ').nth(2) == Some("cgroup2"))?.split(' ').nth(1)?;
        let dir = Path::new(at).join(format!("watchfire-test-{name}-{}", std::process::id()));
        match std::fs::create_dir(&dir) {
            Ok(()) => Some(Delegated(dir)),
            Err(error) => {
                if super::rights::is_root_or_skipped("make control groups") {
                    eprintln!("skipped: no control group: {error}");
                }
                None
            }
        }
    }

    fn groups(&self) -> usize {
        let entries = std::fs::read_dir(&self.0).unwrap().flatten();
        entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).count()
    }
}

impl Drop for Delegated {
    fn drop(&mut self) {
        std::fs::remove_dir(&self.0).unwrap();
    }
}

#[tokio::test]
async fn no_process_gets_out_of_a_commands_control_group_and_no_group_stays() {
    let Some(delegated) = Delegated::new("contained") else { return };
    let pool = pool(2);
    pool.shared.spawners.contain(ControlGroups::at(delegated.0.clone()).unwrap());
    let limits = || Limits { memory: Some(64 << 20), ..Limits::default() };
    let script = "setsid sleep 1000 > /dev/null 2>&1 & echo $!; sleep 0.1; grep ^0: /proc/self/cgroup";
    let outcome = pool.submit(sh(script).limits(limits())).unwrap().wait().await;
    assert!(outcome.success(), "{outcome:?}");
    let stdout = outcome.stdout.text();
    let (daemon, group) = stdout.trim().split_once('\n').unwrap();
    assert!(group.contains("watchfire-command-"), "{group}");
    until("what left the process group is killed, too", || !alive(daemon)).await;
    // A group is removed at once or, when a process takes its time to end, by the next.
    until("they are gone", || {
        ControlGroups::at(delegated.0.clone()).unwrap().make(1 << 20);
        delegated.groups() == 0
    })
    .await;
    let plain = pool.submit(sh("grep ^0: /proc/self/cgroup")).unwrap().wait().await;
    assert!(!plain.stdout.text().contains("watchfire-command-"), "what is not limited needs none");
    let cancelled = pool.submit(sh("setsid sleep 1000 & sleep 1000").limits(limits())).unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    cancelled.cancel();
    cancelled.wait().await;
    pool.shutdown(Queued::Cancel, Duration::ZERO).await;
    until("they are gone", || {
        ControlGroups::at(delegated.0.clone()).unwrap().make(1 << 20);
        delegated.groups() == 0
    })
    .await;
}

#[tokio::test]
async fn groups_that_a_killed_agent_left_are_emptied_and_removed() {
    let Some(delegated) = Delegated::new("left") else { return };
    let left = delegated.0.join("watchfire-command-1-0");
    std::fs::create_dir(&left).unwrap();
    let mut orphan = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    std::fs::write(left.join("cgroup.procs"), orphan.id().to_string()).unwrap();
    let groups = ControlGroups::at(delegated.0.clone()).unwrap();
    assert!(!orphan.wait().unwrap().success());
    drop(groups.make(1 << 20));
    assert_eq!(delegated.groups(), 0);
}

#[tokio::test]
async fn groups_of_another_agent_that_lives_are_left_alone() {
    let Some(delegated) = Delegated::new("shared") else { return };
    let dir = tempfile::tempdir().unwrap();
    // The other agent: a process of the same name.
    let program = dir.path().join(std::env::current_exe().unwrap().file_name().unwrap());
    std::os::unix::fs::symlink("/bin/sleep", &program).unwrap();
    let mut agent = std::process::Command::new(&program).arg("1000").spawn().unwrap();
    let theirs = delegated.0.join(format!("watchfire-command-{}-0", agent.id()));
    std::fs::create_dir(&theirs).unwrap();
    let mut command = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    std::fs::write(theirs.join("cgroup.procs"), command.id().to_string()).unwrap();
    let groups = ControlGroups::at(delegated.0.clone()).unwrap();
    drop(groups.make(1 << 20));
    tokio::time::sleep(Duration::from_millis(100)).await;
    let is_left_alone = theirs.exists() && command.try_wait().unwrap().is_none();
    agent.kill().unwrap();
    agent.wait().unwrap();
    assert!(is_left_alone);
    let groups = ControlGroups::at(delegated.0.clone()).unwrap();
    assert!(!command.wait().unwrap().success(), "now nobody else sees to them");
    drop(groups.make(1 << 20));
    assert_eq!(delegated.groups(), 0);
}

#[tokio::test]
async fn a_command_that_takes_more_memory_than_its_group_may_have_is_ended_with_all_it_started() {
    let Some(delegated) = Delegated::new("memory") else { return };
    // In the tree of version 1 the controller may be taken.
    let controllers = std::fs::read_to_string(delegated.0.join("cgroup.controllers")).unwrap();
    if !controllers.split_whitespace().any(|controller| controller == "memory") {
        return eprintln!("skipped: no controller of memory for this group, only {controllers:?}");
    }
    std::fs::write(delegated.0.join("cgroup.subtree_control"), "+memory").unwrap();
    let pool = pool(1);
    pool.shared.spawners.contain(ControlGroups::at(delegated.0.clone()).unwrap());
    let script = "sleep 1000 & echo $!; exec dd if=/dev/zero of=/dev/null bs=256M count=1";
    let limits = Limits { memory: Some(64 << 20), ..Limits::default() };
    let outcome = pool.submit(sh(script).limits(limits)).unwrap().wait().await;
    assert!(matches!(outcome.status, Status::Signaled(libc::SIGKILL)), "{}", outcome.status);
    assert!(!alive(outcome.stdout.text().trim()));
    pool.shutdown(Queued::Cancel, Duration::ZERO).await;
    until("it is gone", || {
        ControlGroups::at(delegated.0.clone()).unwrap().make(1 << 20);
        delegated.groups() == 0
    })
    .await;
}

#[tokio::test]
async fn the_view_shows_what_runs_waits_is_scheduled_and_has_ended() {
    let pool = pool(1);
    pool.submit(sh("echo hello; exit 3").id("done")).unwrap().wait().await;
    let running = pool.submit(Task::command(["sleep", "1000"]).id("long")).unwrap();
    let waiting = pool.submit(sh("true").priority(5)).unwrap();
    let blocked = pool.submit(sh("true").after(&[&running]).id("next")).unwrap();
    let every = Schedule::Every { interval: Duration::from_secs(3600), jitter: Duration::from_secs(60) };
    pool.schedule("hourly", every, || sh("true")).unwrap();
    pool.schedule("follows", Schedule::After("hourly".into()), || sh("true")).unwrap();
    let cron = Schedule::Cron(Cron::new("30 6 * * mon", Some("Europe/Berlin")).unwrap());
    pool.schedule("mondays", cron, || sh("true")).unwrap();
    let stream = Stream::new(sh("exec sleep 1000").id("stays"), Framing::Lines, |_| {});
    pool.stream(stream).unwrap();

    let view = serde_json::to_value(pool.view()).unwrap();
    let list = |key: &str, field: &str| -> Vec<String> {
        let all = view[key].as_array().unwrap();
        all.iter().map(|one| one[field].as_str().map_or_else(|| one[field].to_string(), str::to_owned)).collect()
    };
    assert_eq!((list("running", "id"), list("running", "lane")), (vec!["long".into()], vec!["command".into()]));
    assert_eq!(list("queued", "id"), [waiting.id().to_string(), "next".into()]);
    assert_eq!(list("queued", "waits_for"), ["place", "tasks"]);
    assert_eq!(list("queued", "class"), ["check", "check"]);
    assert_eq!(list("scheduled", "id")[2], "follows", "it has no time");
    let mut schedules = list("scheduled", "schedule");
    schedules.sort();
    assert_eq!(schedules, ["30 6 * * mon (Europe/Berlin)", "after hourly", "every 1h and up to 1m later"]);
    assert!(view["scheduled"][2]["next"].is_null() && view["scheduled"][0]["next"].is_string());
    assert_eq!(list("streams", "id"), ["stays"]);
    assert_eq!(list("ended", "id"), ["done"]);
    let last = &view["ended"][0]["last"];
    assert_eq!((&last["text"], &last["code"]), (&"exited with code 3".into(), &3.into()));
    let log = serde_json::to_value(LogView::from(&pool.latest("done").unwrap())).unwrap();
    assert_eq!((&log["stdout"], &log["status"]), (&"hello\n".into(), &"exited".into()));
    assert!(log["minor_faults"].as_u64() > Some(0) && log["major_faults"].is_u64(), "{log}");

    assert_eq!(pool.cancel_id("none"), 0);
    assert_eq!(pool.cancel_id(&waiting.id()), 1);
    assert_eq!((pool.cancel_id("next"), pool.cancel_id("long"), pool.cancel_id("stays")), (1, 1, 1));
    assert!(matches!(blocked.wait().await.status, Status::Cancelled));
    running.wait().await;
    pool.shutdown(Queued::Cancel, Duration::ZERO).await;
}

#[tokio::test]
async fn what_has_an_id_can_be_run_once_more() {
    let pool = pool(1);
    let dir = tempfile::tempdir().unwrap();
    let count = || std::fs::read_to_string(dir.path().join("runs")).unwrap_or_default().lines().count();
    let task = sh("echo x >> runs").current_dir(dir.path()).id("a");
    pool.submit(task).unwrap().wait().await;
    assert!(pool.retry("a").unwrap().wait().await.success());
    assert!(pool.retry("a").unwrap().wait().await.success());
    assert_eq!(count(), 3);
    pool.submit(Task::call("once", |_| Ok(Vec::new())).id("b")).unwrap().wait().await;
    assert_eq!(pool.retry("b").map(|handle| handle.number()), Err(RunError::Once));
    assert_eq!(pool.retry("c").map(|handle| handle.number()), Err(RunError::Unknown));
    let at = crate::model::Timestamp::now() + Duration::from_secs(3600);
    let path = dir.path().to_owned();
    pool.schedule("d", Schedule::At(at), move || sh("echo x >> runs").current_dir(&path)).unwrap();
    assert!(pool.retry("d").unwrap().wait().await.success());
    assert_eq!(count(), 4);
}
