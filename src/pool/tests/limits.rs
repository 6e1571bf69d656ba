//! Limits, as they look from inside the command.

use super::leaks::alone;
use super::rights::is_root_or_skipped;
use super::*;

fn limits(change: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Limits::default();
    change(&mut limits);
    limits
}

/// What a script prints under limits, line by line.
async fn says(script: &str, limits: Limits) -> Vec<String> {
    let outcome = outcome(sh(script).limits(limits)).await;
    assert!(outcome.success(), "{} {}", outcome.status, outcome.stderr.text());
    outcome.stdout.text().lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn a_command_that_uses_up_its_cpu_time_is_ended_by_the_kernel() {
    let cpu = limits(|limits| limits.cpu = Some(Duration::from_millis(300)));
    let outcome = outcome(sh("ulimit -t; while :; do :; done").limits(cpu)).await;
    assert_eq!(outcome.status.to_string(), "was killed by SIGXCPU: it had used up its CPU time");
    assert_eq!(outcome.stdout.text(), "1\n", "in whole seconds");
    // The kernel looks at the limit at its ticks, and tells the time apart more finely.
    assert!(outcome.usage.user + outcome.usage.system >= Duration::from_millis(800), "{:?}", outcome.usage);
}

#[tokio::test]
async fn a_command_gets_no_more_memory_than_its_limit() {
    let memory = || limits(|limits| limits.memory = Some(64 << 20));
    let large = Task::command(["dd", "if=/dev/zero", "of=/dev/null", "bs=256M", "count=1"]).limits(memory());
    let refused = outcome(large).await;
    assert!(matches!(refused.status, Status::Exited(1)), "{}", refused.status);
    assert!(refused.stderr.text().contains("memory exhausted"), "{}", refused.stderr.text());
    let small = Task::command(["dd", "if=/dev/zero", "of=/dev/null", "bs=16M", "count=1"]).limits(memory());
    assert!(outcome(small).await.success());
}

#[tokio::test]
async fn a_command_can_open_only_so_many_files() {
    let few = limits(|limits| limits.open_files = Some(20));
    assert_eq!(says("ulimit -Sn; ulimit -Hn", few).await, ["20", "20"]);
}

#[tokio::test]
async fn a_command_can_be_nice_to_others() {
    let own: i32 = says("nice", Limits::default()).await[0].parse().unwrap();
    let nice = limits(|limits| limits.nice = Some(15));
    assert_eq!(says("nice", nice).await, ["15"]);
    assert_ne!(own, 15);
    let idle = limits(|limits| limits.io = Some(IoPriority::Idle));
    assert_eq!(says("ionice", idle).await, ["idle"]);
    let last = limits(|limits| limits.io = Some(IoPriority::BestEffort(7)));
    assert_eq!(says("ionice", last).await, ["best-effort: prio 7"]);
}

#[tokio::test]
async fn the_session_of_a_nice_command_is_nice_to_other_sessions() {
    let session = || says("cat /proc/self/autogroup 2>/dev/null || echo none", limits(|limits| limits.nice = Some(15)));
    if session().await == ["none"] {
        return eprintln!("skipped: this kernel does not schedule by sessions");
    }
    // Without privileges the kernel takes one such wish every tenth of a second, of the whole host.
    let mut said = session().await;
    for _ in 0..20 {
        if said[0].ends_with(" nice 15") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(110)).await;
        said = session().await;
    }
    panic!("{said:?}");
}

#[tokio::test]
async fn a_command_runs_as_another_user_with_his_groups_and_his_home_and_dies_with_the_agent_all_the_same() {
    if !is_root_or_skipped("run commands as other users") {
        return;
    }
    let script = "id -un; id -gn; id -G; echo $HOME; grep ^CapEff /proc/self/status | tr -s '\\t' ' '; echo $USER_HOME";
    let games = limits(|limits| limits.user = Some("games".into()));
    let said = says(script, games.clone()).await;
    assert_eq!(said[..3], ["games", "games", "60"]);
    assert!(said[3].starts_with("/usr/"), "{said:?}");
    assert_eq!(said[4], "CapEff: 0000000000000000");
    assert!(says("exec setpriv --dump", games.clone()).await.contains(&"Parent death signal: KILL".to_owned()));
    let own_home = sh("echo $HOME").env("HOME", "/elsewhere").limits(games);
    assert_eq!(outcome(own_home).await.stdout.text(), "/elsewhere\n");
    let group = limits(|limits| (limits.user, limits.group) = (Some("games".into()), Some("daemon".into())));
    assert_eq!(says("id -un; id -gn", group).await, ["games", "daemon"]);
    let only_group = limits(|limits| limits.group = Some("1".into()));
    assert_eq!(says("id -u; id -g; id -G", only_group).await, ["0", "1", "1"]);
    let numbers = limits(|limits| (limits.user, limits.group) = (Some("77777".into()), Some("88888".into())));
    assert_eq!(says("id -u; id -G", numbers).await, ["77777", "88888"]);
}

#[test]
fn the_agents_files_in_proc_are_its_own_again_when_a_command_has_become_another_user() {
    if !is_root_or_skipped("run commands as other users") {
        return;
    }
    let test = "the_agents_files_in_proc_are_its_own_again_when_a_command_has_become_another_user";
    // Other tests' threads become other users too, and for good.
    alone(module_path!(), test, || {
        let games = limits(|limits| limits.user = Some("games".into()));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        assert_eq!(runtime.block_on(says("id -un", games)), ["games"]);
        // SAFETY: it takes no pointer.
        assert_eq!(unsafe { libc::prctl(libc::PR_GET_DUMPABLE) }, 1);
    });
}

#[tokio::test]
async fn a_user_that_is_not_there_is_named_and_the_command_not_started() {
    let nobody = limits(|limits| limits.user = Some("no-such-user".into()));
    let outcome = outcome(sh("true").limits(nobody)).await;
    let expected =
        "could not be started: \"sh\": cannot limit it (user): there is no user \"no-such-user\" on this host";
    assert_eq!(outcome.status.to_string(), expected);
}

const INTERFACES: &str = "tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '; cat /sys/class/net/lo/operstate >&2";

#[tokio::test]
async fn a_command_without_a_network_has_not_even_the_loopback() {
    let offline = limits(|limits| limits.network = false);
    let outcome = outcome(sh(&format!("{INTERFACES}; id -u")).limits(offline)).await;
    if matches!(&outcome.status, Status::NotStarted(error) if error.step == StartStep::Limit("network")) {
        return eprintln!("skipped: {}", outcome.status);
    }
    assert!(outcome.success(), "{outcome:?}");
    let own = rustix::process::geteuid().as_raw().to_string();
    assert_eq!(outcome.stdout.text().lines().filter(|line| *line != "lo").collect::<Vec<_>>(), [own]);
    let ping = sh("exec 3<>/dev/tcp/127.0.0.1/1").limits(limits(|limits| limits.network = false));
    assert!(!super::outcome(ping).await.success());
}

fn as_nobody(test: &str, inner: impl Future<Output = ()>) {
    super::rights::as_nobody(module_path!(), test, None, inner);
}

#[test]
fn without_privileges_the_network_is_taken_away_through_a_user_namespace() {
    as_nobody("without_privileges_the_network_is_taken_away_through_a_user_namespace", async {
        let offline = limits(|limits| limits.network = false);
        let script =
            "id -u; id -g; tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '; grep ^CapEff /proc/self/status >&2";
        let outcome = outcome(sh(script).limits(offline)).await;
        if matches!(&outcome.status, Status::NotStarted(error) if error.step == StartStep::Limit("network")) {
            return eprintln!("skipped: this kernel gives no user namespaces to everybody: {}", outcome.status);
        }
        let stdout = outcome.stdout.text();
        let said: Vec<&str> = stdout.lines().filter(|line| *line != "lo").collect();
        assert_eq!(said, ["65534", "65534"], "{outcome:?}");
        assert!(outcome.stderr.text().contains("0000000000000000"), "{outcome:?}");
    });
}

#[test]
fn without_privileges_another_user_is_refused_by_name_and_ones_own_is_not() {
    as_nobody("without_privileges_another_user_is_refused_by_name_and_ones_own_is_not", async {
        let other = outcome(sh("true").limits(limits(|limits| limits.user = Some("games".into())))).await;
        let Status::NotStarted(error) = &other.status else { panic!("{}", other.status) };
        assert_eq!((error.step.clone(), error.source.raw_os_error()), (StartStep::Limit("group"), Some(libc::EPERM)));
        let own = limits(|limits| (limits.user, limits.group) = (Some("65534".into()), Some("65534".into())));
        assert!(outcome(sh("true").limits(own)).await.success());
        let first = outcome(sh("true").limits(limits(|limits| limits.nice = Some(-20)))).await;
        let Status::NotStarted(error) = &first.status else { panic!("{}", first.status) };
        assert_eq!(error.step, StartStep::Limit("nice"));
    });
}

#[test]
fn without_free_processes_a_start_fails_and_the_pool_recovers() {
    // Root may have more processes than the limit.
    as_nobody("without_free_processes_a_start_fails_and_the_pool_recovers", async {
        let pool = pool(1);
        assert!(pool.submit(sh("true")).unwrap().wait().await.success());
        let limits = rustix::process::getrlimit(rustix::process::Resource::Nproc);
        let none = rustix::process::Rlimit { current: Some(0), ..limits };
        rustix::process::setrlimit(rustix::process::Resource::Nproc, none).unwrap();
        let outcome = pool.submit(sh("true")).unwrap().wait().await;
        let Status::NotStarted(error) = &outcome.status else { panic!("{}", outcome.status) };
        assert_eq!((error.step.clone(), error.source.raw_os_error()), (StartStep::Process, Some(libc::EAGAIN)));
        let call = pool.submit(Task::call("x", |_| Ok(Vec::new()))).unwrap().wait().await;
        let Status::NotStarted(error) = &call.status else { panic!("{}", call.status) };
        assert_eq!((error.step.clone(), error.source.raw_os_error()), (StartStep::Worker, Some(libc::EAGAIN)));
        rustix::process::setrlimit(rustix::process::Resource::Nproc, limits).unwrap();
        assert!(pool.submit(sh("true")).unwrap().wait().await.success());
        assert!(pool.submit(Task::call("x", |_| Ok(Vec::new()))).unwrap().wait().await.success());
        pool.shutdown(Queued::Cancel, Duration::ZERO).await;
    });
}
