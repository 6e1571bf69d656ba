//! The stock rules on processes: each against a real process that misbehaves so, and one beside it that comes near.
//!
//! The rules' text is the stock file's; only times are cut, one by one, to what a test can wait for.

mod common;

use std::fs;
use std::io::{PipeWriter, Write};
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use common::{Agent, Child, Receiver, SOON, Setup, eventually};
use serde_json::Value;
use tempfile::TempDir;
use watchfire::rules::STOCK_RULES;

/// A text with these of its times replaced. Each must stand in it.
fn hurried(text: &str, times: &[(&str, &str)]) -> String {
    times.iter().fold(text.to_string(), |text, (time, short)| {
        assert!(text.contains(time), "there is no {time} (any more) in\n{text}");
        text.replace(time, short)
    })
}

/// The text of a stock rule.
fn stock_rule(alertname: &str) -> &'static str {
    let start = STOCK_RULES.find(&format!("      - alert: {alertname}\n")).expect("a stock rule");
    STOCK_RULES[start..].split("\n\n").next().expect("its text").trim_end()
}

/// The file of this name that the README shows where it is about processes.
fn shown_in_the_readme(name: &str) -> String {
    let readme = include_str!("../README.md");
    let section = readme.split("\n## ").find(|section| section.starts_with("Watch a process\n")).expect("the section");
    let start = section.find(&format!("```yaml\n# {name}\n")).expect("a file") + "```yaml\n".len();
    section[start..].split("```").next().expect("its text").to_string()
}

/// An agent with rules, and who is told.
struct Watch {
    agent: Agent,
    web: Receiver,
    /// The rule that is looked at.
    alertname: &'static str,
}

impl Watch {
    /// With one stock rule, evaluated at every tick, and configuration beside it.
    fn start(alertname: &'static str, times: &[(&str, &str)], more: &str) -> Watch {
        let rule = hurried(stock_rule(alertname), times);
        let groups = format!("groups:\n- name: hurried\n  interval: 1s\n  rules:\n{rule}\n{more}");
        Watch::configured(alertname, &groups, &[])
    }

    /// With rules in this configuration and these files beside it. Alerts of groups whose name does not begin with `wf-` (nor is the
    /// README's), which other processes of this machine may raise, are told nobody.
    fn configured(alertname: &'static str, config: &str, files: &[(&str, &str)]) -> Watch {
        let web = Receiver::start();
        let told = format!(
            "global: {{instance: this-host}}\nstock_rules: false\n{config}\nalerting:\n  route:\n    receiver: nobody\n    \
             group_by: [alertname, groupname]\n    group_wait: 0s\n    group_interval: 1s\n    \
             routes: [{{matchers: ['groupname=~\"wf-.*|shop\"'], receiver: web}}]\n  \
             receivers: [{{name: nobody}}, {{name: web, webhook_configs: [{{url: '{}'}}]}}]\n",
            web.url("/")
        );
        let setup = Setup::new(&told);
        files.iter().for_each(|(name, text)| setup.write(name, text));
        Watch { agent: setup.start(), web, alertname }
    }

    /// The alerts of a group with this status that were told so far.
    fn told(&self, group: &str, status: &str) -> Vec<Value> {
        let posts = self.web.posts();
        let alerts = posts.iter().flat_map(|post| post.alerts(self.alertname));
        let of_group = alerts.filter(|a| a["labels"]["groupname"] == group && a["status"] == status);
        of_group.cloned().collect()
    }

    /// Waits until the alert fires for this group. It must have these labels, and this in its texts.
    fn fires(&self, group: &str, labels: &[(&str, &str)], said: &str) {
        let what = format!("{} fires for {group}", self.alertname);
        let alert = eventually(&what, SOON, || self.told(group, "firing").into_iter().next());
        let mut expected = serde_json::json!({
            "alertname": self.alertname, "groupname": group, "job": "node", "instance": "this-host", "severity": "warning"
        });
        labels.iter().for_each(|(name, value)| expected[*name] = (*value).into());
        assert_eq!(alert["labels"], expected);
        let text = |name: &str| alert["annotations"][name].as_str().unwrap_or_default().to_string();
        let (summary, description) = (text("summary"), text("description"));
        assert!(summary.starts_with("this-host: ") && summary.contains(group), "{summary}");
        assert!(description.contains(said), "{said:?} is not in {description:?}");
        println!("{summary}\n    {description}");
    }

    /// Waits until the alert fires for the README's group, with this in its summary.
    fn tells(&self, said: &str) {
        let what = format!("{} fires", self.alertname);
        let alert = eventually(&what, SOON, || self.told("shop", "firing").into_iter().next());
        let summary = alert["annotations"]["summary"].as_str().unwrap_or_default();
        assert!(summary.starts_with(said), "{summary}");
    }

    fn resolves(&self, group: &str) {
        let what = format!("{} is resolved for {group}", self.alertname);
        eventually(&what, SOON, || (!self.told(group, "resolved").is_empty()).then_some(()));
    }

    /// It was not told of this group so far.
    fn leaves_alone(&self, group: &str) {
        assert_eq!(self.told(group, "firing"), Vec::<Value>::new(), "{} is told of {group}", self.alertname);
    }

    /// Waits until so many processes of the group are seen.
    fn sees(&self, group: &str, processes: f64) {
        self.agent.wait_for("namedprocess_namegroup_num_procs", &[("groupname", group)], |v| v == processes);
    }
}

/// Programs under other names, so that their processes are groups of their own.
struct Stage(TempDir);

impl Stage {
    fn new() -> Stage {
        Stage(tempfile::tempdir().expect("a temporary directory"))
    }

    /// A program under another name: its path.
    fn named(&self, name: &str, program: &str) -> String {
        let link = self.0.path().join(name);
        symlink(fs::canonicalize(program).expect("it is there on every Linux"), &link).expect("a link");
        link.display().to_string()
    }

    /// A shell under this name that runs a script.
    fn shell(&self, name: &str, script: &str) -> Child {
        Child::spawn(Command::new(self.named(name, "/bin/sh")).args(["-c", script]))
    }

    fn sleeper(&self, name: &str) -> Child {
        Child::spawn(Command::new(self.named(name, "/bin/sleep")).arg("100"))
    }

    /// A shell under this name that runs a script, and what writes to its standard input.
    fn fed(&self, name: &str, script: &str) -> (Child, PipeWriter) {
        let (input, writer) = std::io::pipe().expect("a pipe");
        let mut command = Command::new(self.named(name, "/bin/sh"));
        (Child::spawn_with(command.args(["-c", script]), input.into()), writer)
    }
}

/// Shell: 128 KiB in `c`, to be added to `x`.
const CHUNK: &str = "c=0123456789abcdef; for i in 1 2 3 4 5 6 7 8 9 10 11 12 13; do c=\"$c$c\"; done; x=; n=0";

/// Writes a line ten times a second until it is dropped.
struct Pace {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Pace {
    fn of(mut writers: Vec<PipeWriter>) -> Pace {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let write = move || {
            while !stopped.load(Ordering::Relaxed) {
                writers.retain_mut(|writer| writer.write_all(b"\n").is_ok());
                thread::sleep(Duration::from_millis(100));
            }
        };
        Pace { stop, thread: Some(thread::spawn(write)) }
    }
}

impl Drop for Pace {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

#[test]
fn too_few_of_what_is_wanted() {
    let wanted = "processes: {wanted: {wf-pair: 2, wf-never: 1, wf-enough: 1}}\n";
    let watch = Watch::start("ProcessGroupBelowWanted", &[("for: 2m", "for: 2s")], wanted);
    let (stage, other) = (Stage::new(), Stage::new());
    let _enough = stage.sleeper("wf-enough");
    let _one = stage.sleeper("wf-pair");
    watch.fires("wf-pair", &[("severity", "critical")], "the number of processes of wf-pair has been 1,");
    watch.fires("wf-never", &[("severity", "critical")], "the number of processes of wf-never has been 0,");
    let _another = other.sleeper("wf-pair");
    watch.resolves("wf-pair");
    watch.leaves_alone("wf-enough");
}

#[test]
fn a_group_that_has_been_there_and_is_gone() {
    let times = [("65 * 60", "8"), ("offset 65m", "offset 8s"), ("> 3600", "> 2"), ("[5m]", "[3s]")];
    let watch = Watch::start("ProcessGroupDisappeared", &times, "processes: {wanted: {wf-expendable: 0}}\n");
    let (stage, other) = (Stage::new(), Stage::new());
    let (gone, expendable) = (stage.sleeper("wf-gone"), stage.sleeper("wf-expendable"));
    let (_one, half) = (stage.sleeper("wf-fewer"), other.sleeper("wf-fewer"));
    for (group, processes) in [("wf-gone", 1.0), ("wf-expendable", 1.0), ("wf-fewer", 2.0)] {
        watch.sees(group, processes);
    }
    thread::sleep(Duration::from_secs(9));
    drop((gone, expendable, half));
    watch.fires("wf-gone", &[], "wf-gone had been running for hours");
    watch.resolves("wf-gone");
    watch.leaves_alone("wf-fewer");
    watch.leaves_alone("wf-expendable");
}

#[test]
fn crashes_again_and_again() {
    let times = [("[20m]", "[20s]"), ("[6m]", "[6s]"), ("for: 10m", "for: 10s"), ("within 20 minutes", "within 20 s")];
    let watch = Watch::start("ProcessCrashLoop", &times, "");
    if !watch.agent.is_told("crashes_again_and_again") {
        return;
    }
    let stage = Stage::new();
    let [crasher, failing, burst] = ["wf-crasher", "wf-failing", "wf-burst"].map(|name| stage.named(name, "/bin/sh"));
    let supervisor = stage.shell(
        "wf-supervisor",
        &format!(
            "ulimit -c 0
            for i in 1 2 3 4 5; do {burst} -c 'kill -SEGV $$'; done
            while :; do {crasher} -c 'kill -SEGV $$'; {failing} -c 'exit 1'; sleep 1; done"
        ),
    );
    watch.fires("wf-crasher", &[("reason", "SIGSEGV")], "processes of wf-crasher were ended by SIGSEGV within 20 s");
    drop(supervisor);
    watch.resolves("wf-crasher");
    watch.leaves_alone("wf-failing");
    watch.leaves_alone("wf-burst");
}

#[test]
fn fails_as_often_as_it_is_started() {
    let times = [
        ("[20m]", "[20s]"),
        ("[6m]", "[6s]"),
        ("30 * 60", "10"),
        ("offset 30m", "offset 10s"),
        ("> 3600", "> 2"),
        ("> 10 * 60", "> 5"),
        ("for: 10m", "for: 5s"),
    ];
    let wanted = "processes: {wanted: {wf-wanted: 1, wf-server: 1}}\n";
    let watch = Watch::start("ProcessRestartLoop", &times, wanted);
    if !watch.agent.is_told("fails_as_often_as_it_is_started") {
        return;
    }
    let stage = Stage::new();
    // A sleep that is told no time fails.
    let [wanted, settled, build] = ["wf-wanted", "wf-settled", "wf-build"].map(|name| stage.named(name, "/bin/sleep"));
    let _server = stage.shell("wf-server", "while :; do (exit 3); sleep 1; done");
    let _builds = stage.shell("wf-builds", &format!("while :; do {build} x; sleep 0.5; done"));
    let _one = stage.shell("wf-first", &format!("while :; do {wanted} x; sleep 1; done"));
    let second = stage.shell("wf-second", &format!("{settled} 10; while :; do {settled} x; sleep 1; done"));
    watch.fires("wf-wanted", &[("reason", "exit-code")], "processes of wf-wanted ended with an error");
    watch.fires("wf-settled", &[("reason", "exit-code")], "none has lasted");
    // It goes on for as long as it loops: longer than the rule can look back.
    thread::sleep(Duration::from_secs(10));
    assert_eq!(watch.told("wf-settled", "resolved"), Vec::<Value>::new());
    drop(second);
    watch.resolves("wf-settled");
    watch.leaves_alone("wf-server");
    watch.leaves_alone("wf-build");
}

/// A cgroup of the test's own, of either version, in which no more than this memory may be used.
struct MemoryLimit(PathBuf);

impl MemoryLimit {
    fn new(bytes: u64) -> std::io::Result<MemoryLimit> {
        let root = Path::new("/sys/fs/cgroup");
        let (parent, files) = match root.join("memory").exists() {
            true => (root.join("memory"), ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"]),
            false => (root.to_path_buf(), ["memory.max", "memory.swap.max"]),
        };
        let limit = MemoryLimit(parent.join(format!("watchfire-test-{}", std::process::id())));
        fs::create_dir(&limit.0)?;
        fs::write(limit.0.join(files[0]), bytes.to_string())?;
        // Not every kernel counts swap.
        let _ = fs::write(limit.0.join(files[1]), if files[1] == "memory.swap.max" { 0 } else { bytes }.to_string());
        Ok(limit)
    }
}

impl Drop for MemoryLimit {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn killed_for_lack_of_memory() {
    let watch = Watch::start("ProcessOomKilled", &[("[5m]", "[10s]"), ("five minutes", "ten seconds")], "");
    if !watch.agent.is_told("killed_for_lack_of_memory") {
        return;
    }
    let limit = match MemoryLimit::new(64 << 20) {
        Ok(limit) => limit,
        Err(error) => return eprintln!("killed_for_lack_of_memory: skipped, no memory cgroup can be made: {error}"),
    };
    let stage = Stage::new();
    drop(stage.sleeper("wf-killed"));
    let eater = stage.named("wf-eater", "/bin/sh");
    let script = format!(
        "echo $$ > {}/cgroup.procs && exec {eater} -c 'x=0123456789abcdef; while :; do x=\"$x$x\"; done'",
        limit.0.display()
    );
    let mut child = stage.shell("wf-limited", &script);
    child.wait(SOON);
    watch.fires("wf-eater", &[("reason", "oom-kill")], "wf-eater has lost 1 of its processes so within ten seconds");
    watch.resolves("wf-eater");
    watch.leaves_alone("wf-killed");
}

#[test]
fn takes_more_and_more_memory() {
    let times = [
        ("[1h:1m]", "[8s:1s]"),
        ("[5m]", "[2s]"),
        ("[15m]", "[2s]"),
        ("offset 45m", "offset 6s"),
        ("offset 30m", "offset 4s"),
        ("offset 15m", "offset 2s"),
        ("2 * 3600", "8"),
        ("for: 30m", "for: 2s"),
    ];
    // Proportional memory is read once a minute at most.
    let watch = Watch::start("ProcessMemoryLeak", &times, "processes: {smaps: false}\n");
    let stage = Stage::new();
    let (_leaking, one) = stage.fed("wf-leaking", &format!("{CHUNK}; while read l; do x=\"$x$c\"; done"));
    let often = "while read l; do x=\"$x$c\"; n=$((n+1)); if [ $n = 15 ]; then x=; n=0; fi; done";
    let (_emptied, other) = stage.fed("wf-emptied", &format!("{CHUNK}; {often}"));
    let _pace = Pace::of(vec![one, other]);
    watch.fires("wf-leaking", &[], "wf-leaking has been growing steadily");
    watch.leaves_alone("wf-emptied");
}

#[test]
fn has_hardly_a_descriptor_left() {
    let watch = Watch::start("ProcessFileDescriptorsLow", &[("for: 5m", "for: 2s")], "");
    let stage = Stage::new();
    let open = |most: u32| (3..=most).map(|n| format!("exec {n}</dev/null; ")).collect::<String>();
    let limited = |name: &str, most: u32| {
        let shell = stage.named(name, "/bin/sh");
        let script = format!("ulimit -n 10; {shell} -c '{}read x'; true", open(most));
        let (input, writer) = std::io::pipe().expect("a pipe");
        let mut command = Command::new("/bin/sh");
        // What cargo leaves open for those it starts would count.
        let nothing_else = || {
            // SAFETY: a system call with numbers alone.
            unsafe { libc::close_range(3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC as i32) };
            Ok(())
        };
        // SAFETY: it makes one system call, and uses no memory.
        unsafe { command.pre_exec(nothing_else) };
        (Child::spawn_with(command.args(["-c", &script]), input.into()), writer)
    };
    let (full, _frugal) = (limited("wf-full", 9), limited("wf-frugal", 8));
    watch.fires("wf-full", &[], "A process of wf-full uses 100% of the open files it may have");
    watch.leaves_alone("wf-frugal");
    drop(full);
    watch.resolves("wf-full");
}

/// A process of this name that waits, again and again, for so long without a break and in a way that no signal but SIGKILL
/// ends (state D): for a child that it has made by vfork. Both end with the test.
struct Uninterruptible(libc::pid_t);

impl Uninterruptible {
    fn start(name: &std::ffi::CStr, time: Duration) -> Uninterruptible {
        let pause = libc::timespec { tv_sec: time.as_secs() as i64, tv_nsec: time.subsec_nanos().into() };
        // SAFETY: between fork and its end the child makes system calls alone, on memory of its own.
        let pid = unsafe { libc::fork() };
        assert!(pid >= 0, "a process is born");
        if pid == 0 {
            // SAFETY: system calls with numbers, and with pointers to what lives as long as the process. CLONE_VFORK without
            // CLONE_VM is a fork whose parent waits: the grandchild has a stack of its own.
            unsafe {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                libc::prctl(libc::PR_SET_NAME, name.as_ptr());
                loop {
                    let flags = libc::CLONE_VFORK | libc::SIGCHLD;
                    if libc::syscall(libc::SYS_clone, flags as libc::c_ulong, 0, 0, 0, 0) == 0 {
                        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                        libc::nanosleep(&pause, std::ptr::null_mut());
                        libc::_exit(0);
                    }
                    libc::waitpid(-1, std::ptr::null_mut(), 0);
                }
            }
        }
        Uninterruptible(pid)
    }
}

impl Drop for Uninterruptible {
    fn drop(&mut self) {
        // SAFETY: numbers alone; nobody else waits for this child, whose pid is therefore still its own.
        unsafe {
            libc::kill(self.0, libc::SIGKILL);
            libc::waitpid(self.0, std::ptr::null_mut(), 0);
        }
    }
}

#[test]
fn waits_in_the_kernel_without_end() {
    let watch = Watch::start("ProcessStuckInKernel", &[("> 5 * 60", "> 3")], "");
    let stuck = Uninterruptible::start(c"wf-stuck", Duration::from_secs(100));
    let _busy = Uninterruptible::start(c"wf-busy", Duration::from_millis(500));
    watch.fires("wf-stuck", &[], "A process of wf-stuck has been waiting in the kernel (state D) for ");
    drop(stuck);
    watch.resolves("wf-stuck");
    watch.leaves_alone("wf-busy");
}

#[test]
fn does_not_wait_for_its_children() {
    let watch = Watch::start("ProcessZombiesNotReaped", &[("[15m]", "[3s]"), ("for: 15m", "for: 2s")], "");
    let stage = Stage::new();
    // Children end when the shell has become a sleep, which knows nothing of them.
    let careless = |name: &str, children: usize| {
        let sleep = stage.named(name, "/bin/sleep");
        let born = "sleep 0.5 & ".repeat(children);
        stage.shell(&format!("{name}.0"), &format!("{born} exec {sleep} 100"))
    };
    let (many, _few) = (careless("wf-careless", 25), careless("wf-sloppy", 15));
    watch.fires("wf-careless", &[], " children of wf-careless have ended");
    watch.leaves_alone("wf-sloppy");
    drop(many);
    watch.resolves("wf-careless");
}

#[test]
fn begins_to_loop_after_having_idled() {
    let times = [
        ("[5m]", "[4s]"),
        ("offset 30m", "offset 5s"),
        ("2 * 3600", "8"),
        ("for: 1h", "for: 6s"),
        // A machine that tests seldom has a whole CPU to spare.
        ("> 0.9", "> 0.05"),
        ("< 0.1", "< 0.01"),
    ];
    let watch = Watch::start("ProcessRunawayCpu", &times, "");
    let stage = Stage::new();
    let (looping, mut begin) = stage.fed("wf-looping", "ulimit -t 100; read x; while :; do :; done");
    watch.sees("wf-looping", 1.0);
    thread::sleep(Duration::from_secs(9));
    begin.write_all(b"\n").expect("it reads");
    watch.fires("wf-looping", &[], "wf-looping had been idle; for over an hour");
    // By now it has looped for longer than the rule looks back.
    drop(looping);
    watch.resolves("wf-looping");
}

#[test]
fn the_examples_of_the_readme() {
    let config = shown_in_the_readme("watchfire.yaml");
    let times = [
        ("[1h]", "[5s]"),
        ("> 7200", "> 3"),
        ("for: 15m", "for: 1s"),
        ("[5m]", "[5s]"),
        ("for: 10m", "for: 1s"),
        // A machine that tests seldom has a CPU to spare.
        ("> 1.5", "> 0.02"),
    ];
    let rules = hurried(&shown_in_the_readme("rules/processes.yml"), &times);
    let mut watch = Watch::configured("ShopLeaks", &config, &[("rules/processes.yml", &rules)]);
    let stage = Stage::new();
    let java = stage.named("java", "/bin/sh");
    let (input, line) = std::io::pipe().expect("a pipe");
    let work = "while read l; do x=\"$x$c\"; i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; done";
    let script = format!("ulimit -c 0; {CHUNK}; {work}; kill -SEGV $$");
    let shop = ["-c", &script, "-jar", "/srv/shop.jar"];
    let _shop = Child::spawn_with(Command::new(&java).args(shop), input.into());
    let _other = Child::spawn(Command::new(&java).args(["-c", "sleep 100; true", "-jar", "/srv/till.jar"]));
    watch.sees("shop", 1.0);
    let pace = Pace::of(vec![line]);
    watch.tells("shop grows by ");
    watch.alertname = "ShopIsSlow";
    watch.tells("shop uses 0.");
    if watch.agent.is_told("the_examples_of_the_readme") {
        watch.alertname = "ShopCrashed";
        assert!(watch.told("shop", "firing").is_empty());
        drop(pace);
        watch.tells("shop has ended: SIGSEGV");
    }
    watch.agent.wait_for("watchfire_process_group_wanted_processes", &[("groupname", "nginx")], |v| v == 3.0);
}
