//! Nothing is left behind. Each of these runs in a process of its own, where nothing but the pool opens descriptors or
//! starts processes and threads.

use std::process::{Command, Stdio};

use super::*;

/// Set in the process that a test starts to run itself in.
pub(super) const INNER: &str = "WATCHFIRE_TEST_INNER";

/// This very test binary, asked for one test only.
pub(super) fn again(module: &str, test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let name = format!("{}::{test}", module.split_once("::").unwrap().1);
    command.args(["--exact", &name, "--nocapture", "--test-threads=1"]).env(INNER, "1");
    command
}

/// Runs `inner` in a process of its own.
pub(super) fn alone(module: &str, test: &str, inner: impl FnOnce()) {
    if std::env::var_os(INNER).is_some() {
        return inner();
    }
    let output = again(module, test).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}{}", String::from_utf8_lossy(&output.stderr));
}

/// What a process can leak: descriptors, threads, children (zombies included).
#[derive(PartialEq, Debug)]
struct Held {
    descriptors: usize,
    threads: usize,
    children: Vec<String>,
}

fn held() -> Held {
    let count = |dir: &str| std::fs::read_dir(dir).unwrap().count();
    let me = std::process::id().to_string();
    let children = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let stat = std::fs::read_to_string(entry.ok()?.path().join("stat")).ok()?;
        let parent = stat.rsplit(')').next()?.split_whitespace().nth(1)? == me;
        parent.then_some(stat)
    });
    Held { descriptors: count("/proc/self/fd"), threads: count("/proc/self/task"), children: children.collect() }
}

/// Runs `use_pool` with a pool and expects everything to be given back when the pool is shut down.
pub(super) fn leaves_nothing<F: Future<Output = ()>>(use_pool: impl FnOnce(Pool) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let before = held();
    runtime.block_on(async {
        let pool = pool(8);
        use_pool(pool.clone()).await;
        pool.shutdown(Queued::Cancel, Duration::ZERO).await;
        assert_eq!(held().children, before.children, "nothing is left when shutdown returns");
        // The thread that started commands goes when it finds that nobody needs it.
        until("the thread ends", || held().threads == before.threads).await;
        assert_eq!(held(), before);
    });
}

#[test]
fn ends_of_every_kind_leave_no_descriptor_no_zombie_and_no_thread() {
    alone(module_path!(), "ends_of_every_kind_leave_no_descriptor_no_zombie_and_no_thread", || {
        leaves_nothing(async |pool: Pool| {
            let short = Duration::from_millis(100);
            let tasks = || {
                [
                    sh("echo x; exit 3"),
                    sh("kill -SEGV $$"),
                    sh("sleep 1000 & exit 0"),
                    sh("exec >&- 2>&- <&-; sleep 0.05"),
                    sh("trap '' TERM; while :; do sleep 0.02; done").timeout(short).kill_grace(short),
                    Task::command(["cat", "/dev/zero"]).timeout(short),
                    Task::command(["no-such-command"]),
                    Task::command(["/etc"]),
                    Task::command(["true"]).current_dir("/no/such/place"),
                    Task::command(["true"]).stdin(vec![0; 1_000_000]),
                ]
            };
            let handles: Vec<Handle> = (0..4).flat_map(|_| tasks()).map(|task| pool.submit(task).unwrap()).collect();
            for handle in handles {
                handle.wait().await;
            }
        });
    });
}

#[test]
fn the_first_process_of_a_container_is_left_no_orphans_to_reap() {
    alone(module_path!(), "the_first_process_of_a_container_is_left_no_orphans_to_reap", || {
        // Orphans come to this process, as they do to the first one of a container.
        rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
        leaves_nothing(async |pool: Pool| {
            for script in ["sleep 1000 & exit 0", "sh -c 'true & exec sleep 0.01'", "(sleep 0 &); sleep 0.02"] {
                assert!(pool.submit(sh(script)).unwrap().wait().await.success());
            }
        });
    });
}

#[test]
fn shutting_down_in_the_midst_of_a_flood_leaves_nothing() {
    alone(module_path!(), "shutting_down_in_the_midst_of_a_flood_leaves_nothing", || {
        leaves_nothing(async |pool: Pool| {
            for _ in 0..200 {
                pool.submit(sh("sleep 1000 & sleep 1000 & wait")).unwrap();
            }
            tokio::time::sleep(Duration::from_millis(30)).await;
        });
    });
}

/// Bytes that the whole process has taken from the allocator.
#[cfg(target_env = "gnu")]
fn taken() -> usize {
    // SAFETY: it takes no pointer.
    unsafe { libc::mallinfo2() }.uordblks
}

#[cfg(target_env = "gnu")]
#[test]
fn a_thousand_runs_take_no_memory_that_they_do_not_give_back() {
    async fn round(pool: &Pool, number: usize) {
        let short = Duration::from_millis(2);
        let tasks = [
            sh("echo out; echo err >&2; exit 1").retries(1, Backoff::fixed(short)).id(format!("{}", number % 5)),
            Task::command(["sleep", "1000"]).timeout(short).kill_grace(short),
            Task::command(["no-such-command"]).id("missing").on_start(|| {}).then(|_| {}),
            Task::call("x", |_| Ok(vec![0; 100])).id("call"),
            Task::future("x", async { Err("no".into()) }).deadline(LONG),
        ];
        let handles = tasks.map(|task| pool.submit(task).unwrap());
        let last = pool.submit(sh("true").after(&handles.iter().collect::<Vec<_>>())).unwrap();
        last.wait().await;
    }
    alone(module_path!(), "a_thousand_runs_take_no_memory_that_they_do_not_give_back", || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let pool = pool(4);
            // What has grown by then stays, and the allocator has kept something back for each size.
            for number in 0..150 {
                round(&pool, number).await;
            }
            let before = taken();
            for number in 0..170 {
                round(&pool, number).await;
            }
            let more = taken().saturating_sub(before);
            println!("{more} bytes more");
            assert!(more < 60_000, "{more} bytes after a thousand runs");
            pool.shutdown(Queued::Cancel, Duration::ZERO).await;
        });
    });
}

#[test]
fn without_free_descriptors_a_start_fails_and_the_pool_recovers() {
    alone(module_path!(), "without_free_descriptors_a_start_fails_and_the_pool_recovers", || {
        leaves_nothing(async |pool: Pool| {
            assert!(pool.submit(Task::command(["true"])).unwrap().wait().await.success());
            let mut hoard = Vec::new();
            let limits = rustix::process::getrlimit(rustix::process::Resource::Nofile);
            let few = rustix::process::Rlimit { current: Some(64), ..limits };
            rustix::process::setrlimit(rustix::process::Resource::Nofile, few).unwrap();
            while let Ok(file) = std::fs::File::open("/dev/null") {
                hoard.push(file);
            }
            for spare in 0..7 {
                let outcome = pool.submit(Task::command(["true"])).unwrap().wait().await;
                match &outcome.status {
                    Status::NotStarted(error) => assert_eq!(error.source.raw_os_error(), Some(libc::EMFILE)),
                    status => assert!(outcome.success() && spare >= 6, "with {spare} free: {status}"),
                }
                hoard.pop();
            }
            drop(hoard);
            assert!(pool.submit(Task::command(["true"])).unwrap().wait().await.success());
        });
    });
}

#[test]
fn commands_do_not_survive_the_agents_sudden_death() {
    const NAME: &str = "commands_do_not_survive_the_agents_sudden_death";
    if std::env::var_os(INNER).is_some() {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let pool = pool(3);
            let script = "echo $$ > $NAME.part; mv $NAME.part $NAME; trap '' TERM HUP PIPE; exec sleep 1000";
            for name in ["a", "b", "c"] {
                let dir = std::env::var_os("WATCHFIRE_TEST_DIR").unwrap();
                pool.submit(sh(script).env("NAME", name).current_dir(dir)).unwrap();
            }
            tokio::time::sleep(LONG).await;
        });
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut agent =
        again(module_path!(), NAME).env("WATCHFIRE_TEST_DIR", dir.path()).stdout(Stdio::null()).spawn().unwrap();
    let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).map(|pid| pid.trim().to_owned());
    let wait = |what: &str, condition: &dyn Fn() -> bool| {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(until(what, condition));
    };
    wait("all run", &|| ["a", "b", "c"].iter().all(|name| read(name).is_ok()));
    let pids = ["a", "b", "c"].map(|name| read(name).unwrap());
    assert!(pids.iter().all(|pid| alive(pid)));
    agent.kill().unwrap();
    agent.wait().unwrap();
    wait("all are gone", &|| !pids.iter().any(|pid| alive(pid)));
}

#[test]
fn a_command_has_none_of_the_capabilities_that_the_agent_was_given() {
    const FILE: &str = "WATCHFIRE_TEST_FILE";
    if let Some(file) = std::env::var_os(FILE) {
        // This is an agent with an ambient capability: it may read what belongs to root.
        std::fs::read(&file).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let caps = outcome(sh("grep -E '^Cap(Prm|Eff|Amb)' /proc/self/status")).await;
            let caps = caps.stdout.text();
            assert_eq!(caps.lines().count(), 3, "{caps}");
            for line in caps.lines() {
                assert_eq!(line.split_whitespace().nth(1), Some("0000000000000000"), "{caps}");
            }
            let cat = outcome(Task::command([std::ffi::OsString::from("cat"), file])).await;
            assert!(!cat.success() && cat.stderr.text().contains("denied"), "{cat:?}");
        });
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("of-root");
    std::fs::write(&file, "secret").unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    // As systemd does it for a unit with User= and AmbientCapabilities=; only root can.
    let as_unit = |program: &Command| {
        let mut unit = Command::new("setpriv");
        unit.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all,+dac_read_search"])
            .args(["--ambient-caps=-all,+dac_read_search", "--"])
            .arg(program.get_program())
            .args(program.get_args())
            .env(INNER, "1")
            .env(FILE, &file);
        unit
    };
    let mut read = Command::new("cat");
    read.arg(&file);
    if !as_unit(&read).output().is_ok_and(|output| output.status.success()) {
        if super::rights::is_root_or_skipped("give a process capabilities") {
            eprintln!("skipped: this root has no CAP_DAC_READ_SEARCH to give");
        }
        return;
    }
    let output = as_unit(&again(module_path!(), "a_command_has_none_of_the_capabilities_that_the_agent_was_given"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}{}", String::from_utf8_lossy(&output.stderr));
}
