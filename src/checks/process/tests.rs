use std::process::{Command, Stdio};

use super::*;
use crate::checks::local::testing::{config, read, run, said};
use crate::collect::testing::Tree;

/// A host with a web server, its workers, a shell, a kernel thread and one that has ended.
fn host() -> Tree {
    let tree = Tree::new(&[
        ("proc/stat", "cpu 1\nbtime 1700000000\n"),
        ("root/etc/passwd", "root:x:0:0\nwww-data:x:33:33\n"),
        ("root/run/nginx.pid", "100\n"),
    ]);
    let web = "/system.slice/nginx.service";
    add(&tree, 2, "kthreadd", 'S', 5, "", 0, "/");
    add(&tree, 100, "nginx", 'S', 1000, "nginx: master process /usr/sbin/nginx\0", 0, web);
    add(&tree, 101, "nginx", 'S', 1100, "nginx: worker process\0\0\0", 33, web);
    add(&tree, 102, "nginx", 'R', 1100, "nginx: worker process\0", 33, &format!("{web}/workers"));
    add(&tree, 103, "nginx", 'Z', 1100, "", 33, web);
    add(&tree, 200, "bash", 'S', 2000, b"/bin/bash\0-c\0sleep \xff\0", 0, "/user.slice/session-1.scope");
    add(&tree, 300, "my-very-long-na", 'S', 3000, "/opt/my-very-long-name\0--x\0", 0, "/system.slice/my.service");
    tree
}

#[allow(clippy::too_many_arguments, reason = "a process has as many properties")]
fn add(tree: &Tree, pid: u32, name: &str, state: char, start: u64, command: impl AsRef<[u8]>, uid: u32, cgroup: &str) {
    let zeros = "0 ".repeat(6);
    let stat = format!("{pid} ({name}) {state} 1 1 1 0 -1 4194304 0 0 0 0 0 0 0 0 20 0 1 0 {start} 1000 10 {zeros}\n");
    tree.write(&format!("proc/{pid}/stat"), stat);
    let status =
        format!("Uid:\t{uid}\t{uid}\t{uid}\t{uid}\nvoluntary_ctxt_switches:\t1\nnonvoluntary_ctxt_switches:\t1\n");
    tree.write(&format!("proc/{pid}/status"), status);
    tree.write(&format!("proc/{pid}/cmdline"), command);
    tree.write(&format!("proc/{pid}/cgroup"), format!("0::{cgroup}\n"));
}

fn check(tree: &Tree, text: &str) -> Arc<dyn Look> {
    config::<ProcessConfig>(text).build(&tree.roots())
}

fn count(tree: &Tree, text: &str) -> String {
    run(&*check(tree, text)).1.first().and_then(|line| line.split(' ').nth(1)).unwrap_or_default().to_string()
}

#[test]
fn processes_are_found_by_each_of_their_properties() {
    let tree = host();
    for (text, expected) in [
        ("unit: nginx", "3"),
        ("unit: nginx.service", "3"),
        ("unit: ngin", "0"),
        ("name: nginx", "3"),
        ("name: my-very-long-name", "1"),
        ("name: my-very", "0"),
        ("name: nginx|ba.h", "4"),
        ("pattern: worker process$", "2"),
        ("pattern: .*", "5"),
        ("pattern: -c sleep", "1"),
        ("user: www-data", "2"),
        ("user: '33'", "2"),
        ("{unit: nginx, user: root}", "1"),
        ("{name: nginx, pattern: master}", "1"),
        ("pidfile: /run/nginx.pid", "1"),
        ("{pidfile: /run/nginx.pid, name: nginx}", "1"),
        ("{pidfile: /run/nginx.pid, name: bash}", "0"),
    ] {
        assert_eq!(count(&tree, text), expected, "{text}");
    }
}

#[test]
fn how_many_run_and_for_how_long_is_said() {
    let tree = host();
    let (verdict, lines) = run(&*check(&tree, "unit: nginx"));
    assert_eq!(lines, ["watchfire_check_processes 3", "watchfire_check_process_oldest_start_time_seconds 1700000010"]);
    assert_eq!(verdict.state, State::Ok);
    assert!(verdict.summary.starts_with("3 processes of unit nginx.service run, the oldest for "), "{verdict:?}");
    let wants = |text| said(&*check(&tree, text));
    assert_eq!(
        wants("{name: nginx, count: {max: 2}}"),
        (State::Critical, "3 processes of name nginx (at most 2 wanted)".to_string())
    );
    assert_eq!(
        wants("{pattern: '^cron', severity: warning}"),
        (State::Warning, "0 processes of command line ^cron (at least 1 wanted)".to_string())
    );
    assert_eq!(wants("{name: minerd, count: {max: 0}}").0, State::Ok, "none is wanted, and there is none");
    let missing = wants("user: nobody");
    assert_eq!(missing, (State::Unknown, "/etc/passwd knows no user \"nobody\"".to_string()));
}

#[test]
fn each_way_in_which_a_pidfile_is_wrong_is_told() {
    let tree = host();
    let of = |pidfile: &[u8]| {
        tree.write("root/run/p", pidfile);
        said(&*check(&tree, "{pidfile: /run/p, name: nginx}"))
    };
    assert_eq!(of(b" 101 \n5432\nmore\n").0, State::Ok, "the first line counts");
    for (text, said) in [
        (&b"4242"[..], "process 4242 of /run/p does not run"),
        (b"200", "process 200 of /run/p is another: bash (wanted: file /run/p, name nginx)"),
        (b"103", "process 103 of /run/p has ended, and its parent has not noticed"),
        (b"", "/run/p: \"\" is no process id"),
        (b"0", "/run/p: \"0\" is no process id"),
        (b"-1", "/run/p: \"-1\" is no process id"),
        (b"\xff\xfe", "/run/p: \"\u{fffd}\u{fffd}\" is no process id"),
    ] {
        assert_eq!(of(text), (State::Critical, said.to_string()));
    }
    tree.remove("root/run/p");
    let check = check(&tree, "pidfile: /run/p");
    assert_eq!(said(&*check), (State::Critical, "/run/p is missing".to_string()));
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, tree.path("root/run/p"), rustix::fs::FileType::Fifo, mode, 0).unwrap();
    assert_eq!(said(&*check), (State::Unknown, "cannot read /run/p: not a regular file".to_string()));
}

#[test]
fn an_id_that_is_anothers_by_now_is_noticed() {
    let tree = host();
    let check = check(&tree, "pidfile: /run/nginx.pid");
    assert_eq!(said(&*check).0, State::Ok);
    add(&tree, 100, "bash", 'S', 90_000, "bash\0", 0, "/");
    for _ in 0..2 {
        let reused = "the process of /run/nginx.pid has ended, and its id 100 is now another's: bash";
        assert_eq!(said(&*check), (State::Critical, reused.to_string()));
    }
    // Written anew, it means what it says.
    tree.remove("root/run/nginx.pid");
    assert_eq!(said(&*check).0, State::Critical);
    tree.write("root/run/nginx.pid", "100");
    assert_eq!(said(&*check).0, State::Ok);
}

#[test]
fn without_a_proc_nothing_is_known() {
    let tree = Tree::new::<&str>(&[]);
    let (state, summary) = said(&*check(&tree, "name: x"));
    assert!(state == State::Unknown && summary.contains("no such file"), "{summary}");
}

#[test]
fn a_process_of_this_host_is_found_and_its_end_noticed() {
    let mut child = Command::new("sleep").arg("4711.5").stdin(Stdio::null()).spawn().unwrap();
    let tree = Tree::new(&[("root/run/p", child.id().to_string())]);
    let roots = Roots { rootfs: tree.path("root"), ..Roots::default() };
    let checks = ["{pidfile: /run/p, pattern: 'sleep 4711'}", "pattern: '^sleep 4711\\.5$'"];
    let checks = checks.map(|text| config::<ProcessConfig>(text).build(&roots));
    // Until it has executed its program it is this one.
    let begun = std::time::Instant::now();
    while checks.iter().any(|check| said(&**check).0 != State::Ok) {
        assert!(begun.elapsed() < Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(10));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(checks.iter().all(|check| said(&**check).0 == State::Critical));
}

#[test]
fn nothing_that_a_pidfile_holds_panics() {
    let tree = host();
    let check = check(&tree, "pidfile: /run/nginx.pid");
    crate::fuzz::Fuzz::of(&["100\n", "4294967296\n"]).bytes(|text| {
        tree.write("root/run/nginx.pid", text);
        let _ = said(&*check);
    });
}

#[test]
fn wrong_keys_are_told() {
    for (text, fault) in [
        ("{}", "a process check needs a pidfile, unit, name, pattern or user"),
        ("{pidfile: /p, unit: u}", "pidfile and unit exclude each other"),
        ("pidfile: p", "pidfile must be a path from / on"),
        ("pattern: '('", "not a regular expression"),
        ("name: '('", "not a regular expression"),
        ("{name: a, count: {min: 3, max: 2}}", "min is above max"),
    ] {
        let (_, faults) = read::<ProcessConfig>(text);
        assert!(faults.contains(fault) && faults.matches("test:").count() == 1, "{text}: {faults}");
    }
}
