//! The whole pass, on trees that a test makes and on live processes.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::model::{Labels, Section, SeriesTable};

/// A process as a tree shows it.
#[derive(Clone, Debug)]
struct Shown {
    comm: Vec<u8>,
    state: char,
    flags: u64,
    start: u64,
    user: u64,
    system: u64,
    faults: u64,
    threads: u32,
    pages: u64,
    ran: u64,
    switches: u64,
    read: u64,
    written: u64,
    open: usize,
}

impl Default for Shown {
    fn default() -> Self {
        Shown {
            comm: b"web".to_vec(),
            state: 'S',
            flags: 0,
            start: 1000,
            user: 100,
            system: 50,
            faults: 7,
            threads: 1,
            pages: 3,
            ran: 5_000_000,
            switches: 9,
            read: 4096,
            written: 8192,
            open: 2,
        }
    }
}

/// A tree like /proc.
struct Tree(TempDir);

impl Tree {
    fn new() -> Tree {
        let tree = Tree(tempfile::tempdir().unwrap());
        tree.write("stat", "cpu 1 2 3\nbtime 1700000000\n");
        tree.write("meminfo", "MemTotal:       1000 kB\nMemFree: 1 kB\n");
        tree.write("sys/kernel/threads-max", "7801\n");
        tree.write("sys/kernel/pid_max", "123\n");
        tree
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), text).unwrap();
    }

    fn show(&self, pid: u32, p: &Shown) {
        let Shown { state, flags, start, user, system, faults, threads, pages, .. } = p;
        let rest = format!(
            ") {state} 1 1 1 0 -1 {flags} {faults} 0 {faults} 0 {user} {system} 0 0 20 0 {threads} 0 {start} 40960 {pages} 0 0\n"
        );
        self.write(&format!("{pid}/stat"), [format!("{pid} (").as_bytes(), &p.comm, rest.as_bytes()].concat());
        self.write(&format!("{pid}/schedstat"), format!("{} 100 3\n", p.ran));
        self.write(
            &format!("{pid}/status"),
            format!(
                "Name:\tx\nUid:\t0\t0\t0\t0\nVmSwap:\t 8 kB\nvoluntary_ctxt_switches:\t{0}\nnonvoluntary_ctxt_switches:\t{0}\n",
                p.switches
            ),
        );
        let io = format!("rchar: 1\nwchar: 1\nread_bytes: {}\nwrite_bytes: {}\n", p.read, p.written);
        self.write(&format!("{pid}/io"), io);
        self.write(&format!("{pid}/limits"), "Max open files            8   16   files\n");
        let fd = self.path(&format!("{pid}/fd"));
        let _ = fs::remove_dir_all(&fd);
        fs::create_dir(&fd).unwrap();
        (0..p.open).for_each(|n| fs::write(fd.join(n.to_string()), "").unwrap());
    }

    fn remove(&self, pid: u32) {
        fs::remove_dir_all(self.path(&pid.to_string())).unwrap();
    }
}

/// The pass with what it wrote last, by series.
struct Watch {
    processes: Processes,
    out: Writer,
    values: BTreeMap<String, f64>,
}

impl Watch {
    fn new(tree: &Tree, config: ProcessesConfig) -> Watch {
        Watch::on(Roots { procfs: tree.0.path().into(), ..Roots::default() }, config)
    }

    fn on(roots: Roots, config: ProcessesConfig) -> Watch {
        let node = ProcessesCollectorConfig::default();
        let out = Writer::new("processes", Arc::new(SeriesTable::new(Labels::empty())), 100_000);
        Watch { processes: Processes::new(&config, Some(&node), &roots), out, values: BTreeMap::new() }
    }

    fn tick(&mut self) -> Arc<Section> {
        self.processes.collect(&mut self.out).unwrap();
        self.finish()
    }

    fn finish(&mut self) -> Arc<Section> {
        let (section, stats) = self.out.finish();
        assert_eq!(stats.duplicates, 0);
        let name = |i| String::from_utf8_lossy(section.layout.prefix(i)).trim_end().to_string();
        self.values = section.values.iter().enumerate().map(|(i, value)| (name(i), *value)).collect();
        section
    }

    /// The value of a series; a group's family without its long prefix.
    fn get(&self, series: &str) -> Option<f64> {
        let group = format!("namedprocess_namegroup_{series}");
        self.values.get(series).or_else(|| self.values.get(&group)).copied()
    }

    fn cpu_user(&self, group: &str) -> Option<f64> {
        self.get(&format!("cpu_seconds_total{{groupname=\"{group}\",mode=\"user\"}}"))
    }
}

/// Everything is read in every tick.
fn eager() -> ProcessesConfig {
    ProcessesConfig { refresh_ticks: 1, ..ProcessesConfig::default() }
}

#[test]
fn a_group_has_all_that_its_processes_have() {
    let tree = Tree::new();
    tree.show(10, &Shown::default());
    tree.show(11, &Shown { state: 'D', threads: 4, start: 900, open: 6, ..Shown::default() });
    let mut watch = Watch::new(&tree, eager());
    watch.tick();
    for (series, value) in [
        ("num_procs{groupname=\"web\"}", 2.0),
        ("num_threads{groupname=\"web\"}", 5.0),
        ("memory_bytes{groupname=\"web\",memtype=\"resident\"}", 6.0 * rustix::param::page_size() as f64),
        ("memory_bytes{groupname=\"web\",memtype=\"virtual\"}", 81920.0),
        ("memory_bytes{groupname=\"web\",memtype=\"swapped\"}", 16384.0),
        ("open_filedesc{groupname=\"web\"}", 8.0),
        ("worst_fd_ratio{groupname=\"web\"}", 0.75),
        ("oldest_start_time_seconds{groupname=\"web\"}", 1700000009.0),
        ("states{groupname=\"web\",state=\"Sleeping\"}", 1.0),
        ("states{groupname=\"web\",state=\"Waiting\"}", 1.0),
        ("states{groupname=\"web\",state=\"Other\"}", 0.0),
        ("watchfire_processes{state=\"uninterruptible\"}", 1.0),
        ("watchfire_processes{state=\"zombie\"}", 0.0),
        ("node_processes_threads", 5.0),
        ("node_processes_pids", 2.0),
        ("node_processes_max_threads", 7801.0),
        ("node_processes_max_processes", 123.0),
        ("node_processes_state{state=\"D\"}", 1.0),
    ] {
        assert_eq!(watch.get(series), Some(value), "{series}");
    }
    assert_eq!(
        watch.get("node_processes_state{state=\"Z\"}"),
        None,
        "as node_exporter, a state without any is left out"
    );
}

#[test]
fn what_was_used_before_the_first_pass_does_not_count_and_what_a_newcomer_used_does() {
    let tree = Tree::new();
    tree.show(10, &Shown::default());
    let mut watch = Watch::new(&tree, eager());
    watch.tick();
    assert_eq!(watch.cpu_user("web"), Some(0.0));
    tree.show(10, &Shown { user: 130, ..Shown::default() });
    tree.show(11, &Shown { user: 7, read: 1, ..Shown::default() });
    watch.tick();
    assert_eq!(watch.cpu_user("web"), Some(0.37));
    assert_eq!(watch.get("read_bytes_total{groupname=\"web\"}"), Some(1.0));
    assert_eq!(watch.get("context_switches_total{groupname=\"web\",ctxswitchtype=\"voluntary\"}"), Some(9.0));
}

#[test]
fn a_group_keeps_its_counters_when_its_processes_end() {
    let tree = Tree::new();
    let mut watch = Watch::new(&tree, eager());
    watch.tick();
    tree.show(10, &Shown::default());
    watch.tick();
    tree.remove(10);
    watch.tick();
    assert_eq!(watch.cpu_user("web"), Some(1.0));
    assert_eq!(watch.get("num_procs{groupname=\"web\"}"), Some(0.0));
    assert_eq!(watch.get("oldest_start_time_seconds{groupname=\"web\"}"), None);
    assert!(watch.processes.is_empty());
}

#[test]
fn a_pid_that_is_given_out_again_is_another_process() {
    for config in [eager(), ProcessesConfig::default()] {
        let tree = Tree::new();
        tree.show(10, &Shown::default());
        let mut watch = Watch::new(&tree, config);
        watch.tick();
        tree.show(10, &Shown { start: 2000, user: 30, ran: 8, comm: b"db".to_vec(), ..Shown::default() });
        watch.tick();
        assert_eq!((watch.cpu_user("web"), watch.cpu_user("db")), (Some(0.0), Some(0.3)));
        assert_eq!(watch.get("num_procs{groupname=\"web\"}"), Some(0.0));
        // The same name: less than before is still all new.
        tree.show(10, &Shown { start: 3000, user: 5, ran: 9, comm: b"db".to_vec(), ..Shown::default() });
        watch.tick();
        assert_eq!(watch.cpu_user("db"), Some(0.35));
    }
}

#[test]
fn a_process_that_takes_another_name_counts_there_from_then_on() {
    let tree = Tree::new();
    tree.show(10, &Shown::default());
    let mut watch = Watch::new(&tree, eager());
    watch.tick();
    tree.show(10, &Shown { user: 160, comm: b"worker".to_vec(), ..Shown::default() });
    watch.tick();
    assert_eq!((watch.cpu_user("web"), watch.cpu_user("worker")), (Some(0.0), Some(0.6)));
}

#[test]
fn a_process_that_has_not_run_is_not_read_until_its_turn_comes() {
    let tree = Tree::new();
    tree.show(10, &Shown::default());
    let mut watch = Watch::new(&tree, ProcessesConfig { refresh_ticks: 4, ..ProcessesConfig::default() });
    watch.tick();
    tree.show(10, &Shown { written: 9000, pages: 9, ..Shown::default() });
    let memory = "memory_bytes{groupname=\"web\",memtype=\"resident\"}";
    let seen = |watch: &Watch| watch.get(memory) == Some(9.0 * rustix::param::page_size() as f64);
    let ticks: Vec<bool> = (0..4)
        .map(|_| {
            watch.tick();
            seen(&watch)
        })
        .collect();
    assert!(!ticks[0] && ticks[3], "{ticks:?}");
    // What has run is read at once, to the last file.
    tree.show(10, &Shown { ran: 5_000_001, switches: 10, written: 9000, ..Shown::default() });
    watch.tick();
    assert_eq!(watch.get("context_switches_total{groupname=\"web\",ctxswitchtype=\"voluntary\"}"), Some(1.0));
}

#[test]
fn without_schedstat_nothing_is_missed() {
    let tree = Tree::new();
    let mut watch = Watch::new(&tree, ProcessesConfig::default());
    for user in 1..20 {
        tree.show(10, &Shown { user, ..Shown::default() });
        tree.write("10/schedstat", "0 0 0\n");
        watch.tick();
        assert_eq!(watch.cpu_user("web"), Some((user - 1) as f64 / 100.0));
    }
}

#[test]
fn kernel_threads_are_one_group_and_only_stat_is_read() {
    let tree = Tree::new();
    let thread = Shown { flags: 2129984, state: 'I', pages: 0, ..Shown::default() };
    for (pid, comm) in [(2, "kthreadd"), (3, "kworker/0:1-events")] {
        tree.show(pid, &Shown { comm: comm.into(), ..thread.clone() });
        for file in ["status", "io", "limits"] {
            fs::remove_file(tree.path(&format!("{pid}/{file}"))).unwrap();
        }
    }
    let mut watch = Watch::new(&tree, ProcessesConfig::default());
    watch.tick();
    assert_eq!(watch.get("num_procs{groupname=\"kthreadd\"}"), Some(2.0));
    assert_eq!(watch.get("states{groupname=\"kthreadd\",state=\"Other\"}"), Some(2.0));
    assert_eq!(watch.get("read_bytes_total{groupname=\"kthreadd\"}"), None, "not known, so not 0");
    assert!(watch.values.iter().all(|(k, v)| !k.starts_with("watchfire_process_read_errors") || *v == 0.0));
}

#[test]
fn a_broken_stat_is_counted_and_stops_nobody() {
    let tree = Tree::new();
    tree.show(10, &Shown::default());
    tree.show(11, &Shown::default());
    let mut watch = Watch::new(&tree, eager());
    watch.tick();
    tree.write("11/stat", "11 (web) S 1");
    tree.write("12/stat", "");
    tree.show(13, &Shown::default());
    watch.tick();
    // Of 11 the last is known still; of 12 nothing.
    assert_eq!(watch.get("num_procs{groupname=\"web\"}"), Some(3.0));
    assert_eq!(watch.get("watchfire_process_read_errors_total{file=\"stat\"}"), Some(2.0));
    tree.show(11, &Shown { user: 101, ..Shown::default() });
    watch.tick();
    assert_eq!(watch.cpu_user("web"), Some(1.01), "13 since its birth, 11 since it was last read");
}

#[test]
fn what_is_not_for_us_is_counted_once_a_process() {
    if rustix::process::geteuid().is_root() {
        eprintln!("skipped: nothing is closed to root");
        return;
    }
    let tree = Tree::new();
    tree.show(10, &Shown::default());
    tree.show(11, &Shown { comm: b"db".to_vec(), ..Shown::default() });
    tree.show(12, &Shown::default());
    let mode = |name: &str, mode| fs::set_permissions(tree.path(name), fs::Permissions::from_mode(mode)).unwrap();
    mode("10/io", 0);
    mode("10/fd", 0);
    mode("11/io", 0);
    mode("12/stat", 0);
    let mut watch = Watch::new(&tree, ProcessesConfig { refresh_ticks: 2, ..ProcessesConfig::default() });
    for _ in 0..5 {
        watch.tick();
        for (file, count) in [("io", 2.0), ("fd", 1.0), ("stat", 1.0), ("status", 0.0)] {
            let series = format!("watchfire_process_read_errors_total{{file=\"{file}\"}}");
            assert_eq!(watch.get(&series), Some(count), "{file}");
        }
        assert_eq!(watch.get("num_procs{groupname=\"web\"}"), Some(1.0));
        assert_eq!(watch.get("read_bytes_total{groupname=\"db\"}"), None);
    }
    mode("12/stat", 0o644);
    watch.tick();
    watch.tick();
    assert_eq!(watch.get("num_procs{groupname=\"web\"}"), Some(2.0));
    assert_eq!(watch.cpu_user("web"), Some(0.0), "it was there all the time");
}

#[test]
fn a_tree_without_processes_has_counts_of_zero_and_one_that_is_not_there_has_none() {
    let tree = Tree::new();
    let mut watch = Watch::new(&tree, ProcessesConfig::default());
    watch.tick();
    assert_eq!(watch.get("node_processes_pids"), Some(0.0));
    let roots = Roots { procfs: tree.path("nowhere"), ..Roots::default() };
    let mut watch = Watch::on(roots, ProcessesConfig::default());
    assert!(matches!(watch.processes.collect(&mut watch.out), Err(CollectError::NoData(_))));
}

#[test]
fn a_limit_that_cannot_be_read_is_an_error_and_the_rest_is_served() {
    let tree = Tree::new();
    tree.show(10, &Shown::default());
    tree.write("sys/kernel/pid_max", "many\n");
    let mut watch = Watch::new(&tree, ProcessesConfig::default());
    let error = watch.processes.collect(&mut watch.out).unwrap_err().to_string();
    assert!(error.ends_with("sys/kernel/pid_max:1: not a number"), "{error}");
    watch.finish();
    assert_eq!(watch.get("node_processes_max_threads"), Some(7801.0));
    assert!(
        watch
            .get("watchfire_process_resident_memory_bytes{pid=\"10\",comm=\"web\",user=\"root\",groupname=\"web\"}")
            .is_some()
    );
}

/// The processes of node_exporter's own test tree, and what it gives for them.
#[test]
fn as_node_exporter_counts_them() {
    let tree = Tree::new();
    for (pid, stat) in [
        (1, "1 (systemd) S 0 1 1 0 -1 4194560 9061 9416027 94 2620 36 98 54406 13885 20 0 1 0 29 109604864 2507 0 1"),
        (10, "17 (khungtaskd) S 2 0 0 0 -1 2129984 0 0 0 0 14 0 0 0 20 0 1 0 24 0 0 0 0 0 0 0 0 0 2147483647 0 0"),
        (11, "11 (rcu_preempt) I 2 0 0 0 -1 2129984 0 0 0 0 0 346 0 0 -2 0 1 0 32 0 0 0 0 0 0 0 0 0 2147483647 0"),
    ] {
        tree.write(&format!("{pid}/stat"), stat);
    }
    tree.write("12/.missing_stat", "");
    let mut watch = Watch::new(&tree, ProcessesConfig { enabled: false, ..ProcessesConfig::default() });
    watch.tick();
    let expected = [
        ("node_processes_max_processes", 123.0),
        ("node_processes_max_threads", 7801.0),
        ("node_processes_pids", 3.0),
        ("node_processes_state{state=\"I\"}", 1.0),
        ("node_processes_state{state=\"S\"}", 2.0),
        ("node_processes_threads", 3.0),
    ];
    assert_eq!(watch.values.iter().map(|(k, v)| (k.as_str(), *v)).collect::<Vec<_>>(), expected);
}

#[test]
fn threads_are_counted_by_their_own_states() {
    let tree = Tree::new();
    tree.show(10, &Shown { threads: 3, ..Shown::default() });
    tree.show(20, &Shown { state: 'D', ..Shown::default() });
    for (process, thread, state) in [(10, 10, 'S'), (10, 11, 'R'), (10, 12, 'S'), (20, 20, 'D')] {
        let stat = format!("{thread} (web) {state} 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 3 0 9 40960 3 0 0\n");
        tree.write(&format!("{process}/task/{thread}/stat"), stat);
    }
    let mut watch = Watch::new(&tree, ProcessesConfig::default());
    watch.tick();
    for (state, count) in [("S", 2.0), ("R", 1.0), ("D", 1.0)] {
        let series = format!("node_processes_threads_state{{thread_state=\"{state}\"}}");
        assert_eq!(watch.get(&series), Some(count));
    }
}

#[test]
fn a_steady_tick_keeps_the_layout() {
    let tree = Tree::new();
    (10..40).for_each(|pid| tree.show(pid, &Shown::default()));
    let mut watch = Watch::new(&tree, ProcessesConfig { top_grace: Duration::from_secs(3600), ..eager() });
    watch.tick();
    let before = watch.tick();
    let after = watch.tick();
    assert!(Arc::ptr_eq(&before.layout, &after.layout));
}

/// A child that is ended with the test.
struct Running(Child);

impl Running {
    fn start(program: &str, arguments: &[&str]) -> Running {
        let child = Command::new(program).args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        Running(child.unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn live_processes_are_seen_to_work_and_to_end() {
    let mut watch = Watch::on(Roots::default(), ProcessesConfig { kept_files: 10_000, ..ProcessesConfig::default() });
    watch.tick();
    // A name that no other process has.
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("wf-test-burner");
    fs::copy("/bin/sh", &program).unwrap();
    let child = Running::start(program.to_str().unwrap(), &["-c", "while :; do :; done"]);
    let pid = child.0.id();
    let list = watch.processes.top();
    let mut ticks = 0;
    while watch.cpu_user("wf-test-burner").unwrap_or(0.0) < 0.1 {
        std::thread::sleep(Duration::from_millis(100));
        watch.tick();
        ticks += 1;
        assert!(ticks < 600, "{:?}", watch.values);
    }
    assert_eq!(watch.get("num_procs{groupname=\"wf-test-burner\"}"), Some(1.0));
    assert!(watch.get("memory_bytes{groupname=\"wf-test-burner\",memtype=\"resident\"}").unwrap() > 4096.0);
    assert!(watch.get("open_filedesc{groupname=\"wf-test-burner\"}").unwrap() >= 3.0);
    let listed = list.load().iter().find(|p| p.pid == pid).copied().unwrap();
    assert!(listed.cpu_ratio > 0.0 && listed.comm.as_bytes() == b"wf-test-burner");
    let ratio = format!("watchfire_process_cpu_usage_ratio{{pid=\"{pid}\",comm=\"wf-test-burner\"");
    assert!(watch.values.iter().any(|(k, v)| k.starts_with(&ratio) && *v > 0.0 && *v < 3.0));

    let used = watch.cpu_user("wf-test-burner").unwrap();
    drop(child);
    watch.tick();
    assert_eq!(watch.get("num_procs{groupname=\"wf-test-burner\"}"), Some(0.0));
    assert!(watch.cpu_user("wf-test-burner").unwrap() >= used);
    assert!(!watch.values.keys().any(|k| k.starts_with(&ratio)));
    assert!(watch.values.keys().any(|k| k.starts_with("node_processes_threads_state")));
}

fn shown() -> impl Strategy<Value = Shown> {
    let name = prop::sample::select(vec![&b"web"[..], b"db", b"a b", b"x) R 1 (", b"\xff\xfe", b"l\nf", b""]);
    let counts = (0u64..500, 0u64..500, any::<u64>(), 0u64..50, any::<u64>(), 0u64..1000);
    let rest = (prop::sample::select(vec!['R', 'S', 'D', 'Z', 'T', 'I', 'x']), 1u32..3, 1u64..4, 0u64..3, 0usize..3);
    (name, counts, rest).prop_map(|(comm, counts, (state, threads, start, ran, open))| {
        let (user, system, faults, switches, read, written) = counts;
        Shown {
            comm: comm.to_vec(),
            state,
            flags: 0,
            start,
            user,
            system,
            faults,
            threads,
            pages: open as u64,
            ran,
            switches,
            read,
            written,
            open,
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn whatever_processes_do_no_counter_goes_back(
        ticks in prop::collection::vec(prop::collection::btree_map(1u32..6, shown(), 0..5), 1..8),
        refresh_ticks in 1u32..4,
    ) {
        let tree = Tree::new();
        let mut watch = Watch::new(&tree, ProcessesConfig { refresh_ticks, max_groups: 3, ..ProcessesConfig::default() });
        let mut before = BTreeMap::new();
        for shown in ticks {
            for pid in 1..6 {
                match shown.get(&pid) {
                    Some(p) => tree.show(pid, p),
                    None if tree.path(&pid.to_string()).exists() => tree.remove(pid),
                    None => {}
                }
            }
            watch.tick();
            prop_assert_eq!(watch.get("node_processes_pids"), Some(shown.len() as f64));
            let in_groups: f64 = watch.values.iter()
                .filter(|(k, _)| k.starts_with("namedprocess_namegroup_num_procs"))
                .map(|(_, v)| *v)
                .sum();
            prop_assert_eq!(in_groups, shown.len() as f64);
            let counters = |(k, _): &(&String, &f64)| k.contains("_total");
            for (series, value) in watch.values.iter().filter(counters) {
                prop_assert!(before.get(series).is_none_or(|last| last <= value), "{} {}", series, value);
            }
            before = watch.values.clone();
        }
    }

    #[test]
    fn garbage_in_any_file_harms_nobody_else(
        files in prop::collection::vec(
            (prop::sample::select(vec!["stat", "status", "io", "limits", "schedstat", "fd"]),
                prop::collection::vec(any::<u8>(), 0..200)), 1..4),
        whole in any::<bool>(),
        more in prop::collection::vec("[0-9]{1,12}", 0..3),
    ) {
        let tree = Tree::new();
        tree.show(10, &Shown::default());
        tree.show(11, &Shown { comm: b"broken".to_vec(), ..Shown::default() });
        let mut watch = Watch::new(&tree, ProcessesConfig { refresh_ticks: 2, ..ProcessesConfig::default() });
        if whole {
            watch.tick();
        }
        for name in more.iter().filter(|name| !["10", "11"].contains(&name.trim_start_matches('0'))) {
            tree.write(&format!("{name}/stat"), b"");
        }
        for (file, text) in &files {
            let path = tree.path(&format!("11/{file}"));
            let _ = fs::remove_dir_all(&path);
            let _ = fs::remove_file(&path);
            fs::write(&path, text).unwrap();
        }
        for _ in 0..3 {
            watch.tick();
            prop_assert_eq!(watch.get("num_procs{groupname=\"web\"}"), Some(1.0));
        }
    }
}
