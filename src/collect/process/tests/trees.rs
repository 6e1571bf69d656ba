//! What the pass gives for a tree that a test makes.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use super::*;

#[test]
fn memory_counts_in_pages_as_large_as_the_kernel_has_them() {
    let tree = Tree::new();
    tree.show(10, &Shown::default());
    let mut watch = Watch::new(&tree, eager());
    watch.processes.pass.page_size = 65536;
    watch.tick();
    assert_eq!(watch.get("memory_bytes{groupname=\"web\",memtype=\"resident\"}"), Some(3.0 * 65536.0));
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
    // Nothing is closed to root.
    as_nobody(denied_files_are_counted_once);
}

fn denied_files_are_counted_once() {
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
            .get("watchfire_process_resident_memory_bytes{pid=\"10\",comm=\"web\",user=\"root\",groupname=\"web\",cgroup=\"\",unit=\"\",container=\"\"}")
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
fn with_too_many_threads_to_read_their_states_are_not_told_at_all() {
    let tree = Tree::new();
    tree.show(10, &Shown::default());
    tree.show(11, &Shown { threads: 100_000, ..Shown::default() });
    tree.write("10/task/10/stat", "");
    let mut watch = Watch::new(&tree, ProcessesConfig::default());
    watch.tick();
    assert_eq!(watch.get("node_processes_threads"), Some(100_001.0));
    assert!(!watch.values.keys().any(|k| k.starts_with("node_processes_threads_state")));
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

#[test]
fn the_rates_of_a_tick_cover_all_of_the_time_since_the_last_whatever_was_asked_for_in_between() {
    const PAUSE: Duration = Duration::from_millis(80);
    for (threads, config) in [(1, ProcessesConfig::default()), (4, ProcessesConfig::default()), (1, eager())] {
        let tree = Tree::new();
        let idle = Shown { threads, ..Shown::default() };
        let busy = Shown { user: 103, system: 52, ran: 55_000_000, read: 1_004_096, ..idle.clone() };
        tree.show(10, &idle);
        let mut watch = Watch::new(&tree, config);
        let list = watch.processes.top();
        let mut run = |sampling| {
            watch.sample(sampling);
            let labels =
                "{pid=\"10\",comm=\"web\",user=\"root\",groupname=\"web\",cgroup=\"\",unit=\"\",container=\"\"}";
            let of = |name: &str| watch.get(&format!("watchfire_process_{name}{labels}")).unwrap();
            assert!((of("cpu_usage_ratio") - f64::from(list.load()[0].cpu_ratio)).abs() < 1e-4);
            [of("cpu_usage_ratio"), of("io_read_bytes_per_second"), of("io_written_bytes_per_second")]
        };
        let began = std::time::Instant::now();
        assert_eq!(run(Sampling::Tick), [0.0; 3]);
        tree.show(10, &busy);
        assert_eq!(run(Sampling::Request), [0.0; 3], "moments after a tick: the last rates");
        std::thread::sleep(PAUSE);
        let asked = run(Sampling::Request);
        std::thread::sleep(PAUSE);
        let tick = run(Sampling::Tick);
        let window = began.elapsed().as_secs_f64();
        let covers = |rate: f64, used: f64| rate >= 0.999 * used / window && rate <= used / (2.0 * PAUSE.as_secs_f64());
        assert!(covers(tick[0], 0.05) && covers(tick[1], 1e6) && tick[2] == 0.0, "{threads}: {tick:?} in {window}");
        assert!(asked[0] > tick[0] && asked[1] > tick[1], "over a shorter time: {asked:?} {tick:?}");
        assert_eq!(run(Sampling::Request), tick);
        std::thread::sleep(PAUSE);
        assert_eq!(run(Sampling::Tick), [0.0; 3], "what a tick has counted does not count again");
    }
}

#[test]
fn numbers_that_cannot_be_do_no_harm() {
    let tree = Tree::new();
    let most = u64::MAX;
    tree.write("stat", format!("btime {most}\n"));
    tree.show(10, &Shown { start: most, user: most, system: most, pages: most, ran: most, ..Shown::default() });
    tree.show(11, &Shown { threads: u32::MAX, read: most, written: most, faults: most, ..Shown::default() });
    let mut watch = Watch::new(&tree, eager());
    for _ in 0..2 {
        watch.tick();
        tree.show(11, &Shown { user: most, system: most, read: 0, ..Shown::default() });
    }
    assert_eq!(watch.get("num_procs{groupname=\"web\"}"), Some(2.0));
    assert_eq!(watch.get("oldest_start_time_seconds{groupname=\"web\"}"), Some(most as f64));
}
