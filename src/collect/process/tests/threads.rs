//! The threads of groups.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

/// Clock ticks since boot that no host has been up for: of a thread that is born during a test.
const BORN_NOW: u64 = 1 << 60;

impl Tree {
    /// Shows a thread; `wchan`: where it waits.
    fn show_thread(&self, pid: u32, tid: u32, thread: &Shown, wchan: &str) {
        self.show_at(&format!("{pid}/task/{tid}"), thread);
        self.write(&format!("{pid}/task/{tid}/wchan"), wchan);
    }

    /// A process `web` with these threads, of which the first is the main one.
    fn show_with_threads(&self, pid: u32, threads: &[(&str, u64)]) {
        let count = threads.len() as u32;
        self.show(pid, &Shown { threads: count, ..Shown::default() });
        self.write(&format!("{pid}/wchan"), "0");
        for (tid, (comm, used)) in (pid..).zip(threads) {
            self.show_thread(pid, tid, &thread(comm, *used), "0");
        }
    }
}

/// A thread that has used so much of everything.
fn thread(comm: &str, used: u64) -> Shown {
    Shown {
        comm: comm.as_bytes().to_vec(),
        user: used,
        system: used,
        faults: used,
        switches: used,
        read: used,
        written: used,
        ran: used + 1,
        threads: 2,
        ..Shown::default()
    }
}

fn config() -> ProcessesConfig {
    ProcessesConfig { threads: true, wchan: true, threads_interval: Duration::ZERO, ..eager() }
}

impl Watch {
    fn of_thread(&self, family: &str, thread: &str, more: &str) -> Option<f64> {
        self.get(&format!("thread_{family}{{groupname=\"web\",threadname=\"{thread}\"{more}}}"))
    }

    fn count(&self, thread: &str) -> Option<f64> {
        self.of_thread("count", thread, "")
    }

    fn user(&self, thread: &str) -> Option<f64> {
        self.of_thread("cpu_seconds_total", thread, ",mode=\"user\"")
    }

    fn unread(&self) -> Option<f64> {
        self.get("watchfire_process_threads_unread")
    }
}

#[test]
fn threads_are_served_by_group_and_name_with_what_they_use() {
    let tree = Tree::new();
    tree.show_with_threads(10, &[("main", 100), ("work", 100), ("work", 100)]);
    let mut watch = Watch::new(&tree, config());
    watch.tick();
    assert_eq!([watch.count("main"), watch.count("work")], [Some(1.0), Some(2.0)]);
    assert_eq!(watch.user("work"), Some(0.0), "what was used before is not ours to count");
    tree.show_with_threads(10, &[("main", 150), ("work", 120), ("work", 103)]);
    watch.tick();
    assert_eq!([watch.user("main"), watch.user("work")], [Some(0.5), Some(0.23)]);
    for (family, more) in [
        ("io_bytes_total", ",iomode=\"read\""),
        ("io_bytes_total", ",iomode=\"write\""),
        ("context_switches_total", ",ctxswitchtype=\"voluntary\""),
        ("context_switches_total", ",ctxswitchtype=\"nonvoluntary\""),
        ("minor_page_faults_total", ""),
    ] {
        assert_eq!(watch.of_thread(family, "work", more), Some(23.0), "{family}{more}");
    }
    assert_eq!(watch.of_thread("major_page_faults_total", "work", ""), Some(23.0));
}

#[test]
fn context_switches_of_a_group_are_those_of_all_threads_and_do_not_go_back_when_one_ends() {
    let tree = Tree::new();
    let main = |switches| Shown { threads: 3, switches, ..Shown::default() };
    tree.show_with_threads(10, &[("main", 9), ("a", 1000), ("b", 1000)]);
    let mut watch = Watch::new(&tree, config());
    watch.tick();
    tree.show(10, &main(13));
    tree.show_thread(10, 10, &thread("main", 13), "0");
    tree.show_thread(10, 11, &thread("a", 1020), "0");
    watch.tick();
    let switches = "context_switches_total{groupname=\"web\",ctxswitchtype=\"voluntary\"}";
    assert_eq!(watch.get(switches), Some(24.0));
    fs::remove_dir_all(tree.path("10/task/11")).unwrap();
    tree.show_thread(10, 13, &Shown { start: BORN_NOW, ..thread("c", 5) }, "0");
    watch.tick();
    assert_eq!(watch.get(switches), Some(29.0), "a new thread counts from its birth");
    assert_eq!([watch.count("a"), watch.count("b"), watch.count("c")], [Some(0.0), Some(1.0), Some(1.0)]);
    assert_eq!([watch.user("a"), watch.user("c")], [Some(0.2), Some(0.05)]);
}

#[test]
fn a_renamed_thread_moves_with_what_it_uses_from_then_on() {
    let tree = Tree::new();
    tree.show_with_threads(10, &[("main", 1), ("idle", 100)]);
    let mut watch = Watch::new(&tree, config());
    watch.tick();
    tree.show_with_threads(10, &[("main", 1), ("idle", 110)]);
    watch.tick();
    tree.show_with_threads(10, &[("main", 1), ("busy", 130)]);
    watch.tick();
    assert_eq!([watch.user("idle"), watch.user("busy")], [Some(0.1), Some(0.2)]);
    assert_eq!([watch.count("idle"), watch.count("busy")], [Some(0.0), Some(1.0)]);
    // By another thread, while it sleeps: it is seen all the same, if later.
    tree.show_with_threads(10, &[("main", 1), ("lazy", 130)]);
    (0..12).for_each(|_| drop(watch.tick()));
    assert_eq!([watch.count("busy"), watch.count("lazy")], [Some(0.0), Some(1.0)]);
}

#[test]
fn states_and_places_count_processes_and_threads_as_process_exporter_does() {
    let tree = Tree::new();
    tree.show_with_threads(10, &[("main", 1), ("a", 1), ("b", 1)]);
    tree.write("10/wchan", "poll");
    tree.show_thread(10, 10, &thread("main", 1), "poll");
    tree.show_thread(10, 11, &Shown { state: 'D', ..thread("a", 1) }, "disk_wait");
    tree.show_thread(10, 12, &Shown { state: 'R', ..thread("b", 1) }, "0");
    tree.show(20, &Shown::default());
    tree.write("20/wchan", "poll");
    let mut watch = Watch::new(&tree, config());
    watch.tick();
    let states = |watch: &Watch| {
        ["Running", "Sleeping", "Waiting"].map(|s| watch.get(&format!("states{{groupname=\"web\",state=\"{s}\"}}")))
    };
    let place = |watch: &Watch, place| watch.get(&format!("threads_wchan{{groupname=\"web\",wchan=\"{place}\"}}"));
    assert_eq!(states(&watch), [Some(1.0), Some(3.0), Some(1.0)], "the main thread counts twice");
    assert_eq!([place(&watch, "poll"), place(&watch, "disk_wait")], [Some(3.0), Some(1.0)]);
    assert_eq!(watch.count("web"), None, "process-exporter has no name for the only thread of a process");
    // The process ends: so do its threads, though the next round is not due.
    let mut watch = Watch::new(&tree, ProcessesConfig { threads_interval: Duration::from_secs(100), ..config() });
    watch.tick();
    tree.remove(10);
    watch.tick();
    assert_eq!(states(&watch), [Some(0.0), Some(1.0), Some(0.0)]);
    assert_eq!([place(&watch, "poll"), place(&watch, "disk_wait")], [Some(1.0), Some(0.0)]);
    assert_eq!([watch.count("main"), watch.count("a")], [Some(0.0), Some(0.0)]);
}

#[test]
fn without_the_switch_nothing_of_threads_is_read_or_served() {
    let tree = Tree::new();
    tree.show_with_threads(10, &[("main", 1), ("a", 1)]);
    let mut watch = Watch::new(&tree, eager());
    watch.tick();
    assert!(!watch.values.keys().any(|k| k.contains("_thread_") || k.contains("wchan") || k.contains("unread")));
    let mut watch = Watch::new(&tree, ProcessesConfig { threads: false, ..config() });
    watch.tick();
    assert!(watch.count("main").is_none() && watch.unread().is_some());
}

#[test]
fn a_process_with_more_threads_than_can_be_read_is_left_out_and_its_threads_counted() {
    let tree = Tree::new();
    // Its folder of threads is not even there.
    tree.show(5, &Shown { threads: 100_000, ..Shown::default() });
    tree.show_with_threads(10, &[("main", 1), ("a", 1)]);
    let mut watch = Watch::new(&tree, config());
    watch.tick();
    assert_eq!(watch.unread(), Some(100_000.0));
    assert_eq!([watch.count("main"), watch.count("a")], [Some(1.0), Some(1.0)]);
    assert_eq!(watch.get("num_threads{groupname=\"web\"}"), Some(100_002.0));
    // One that grew since its `stat` was read.
    (20..10_030).for_each(|tid| fs::create_dir_all(tree.path(&format!("10/task/{tid}"))).unwrap());
    tree.remove(5);
    watch.tick();
    assert_eq!((watch.unread(), watch.count("main")), (Some(10_012.0), Some(0.0)));
}

#[test]
fn what_is_not_for_the_agent_is_left_out() {
    let tree = Tree::new();
    tree.show_with_threads(10, &[("main", 1), ("a", 1)]);
    for file in ["10/task/10/io", "10/task/11/io", "10/task/11/status"] {
        fs::remove_file(tree.path(file)).unwrap();
    }
    let mut watch = Watch::new(&tree, config());
    watch.tick();
    assert_eq!(watch.of_thread("io_bytes_total", "main", ",iomode=\"read\""), None);
    let switches = |name| watch.of_thread("context_switches_total", name, ",ctxswitchtype=\"voluntary\"");
    assert_eq!([switches("main"), switches("a")], [Some(0.0), None]);
    assert_eq!(watch.user("a"), Some(0.0));
}

#[test]
fn some_thousand_live_threads_are_read_in_bounded_time() {
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let ended = Arc::new(std::sync::Mutex::new(ended));
    let threads: Vec<_> = (0..2000)
        .map(|_| {
            let ended = ended.clone();
            let thread = std::thread::Builder::new().name("wf-test-many".to_string()).stack_size(16 << 10);
            thread.spawn(move || drop(ended.lock().map(|ended| ended.recv()))).unwrap()
        })
        .collect();
    let mut watch = Watch::on(Roots::default(), ProcessesConfig { groups: own(), ..config() });
    let began = std::time::Instant::now();
    watch.tick();
    let first = began.elapsed();
    let group = |family: &str| format!("{family}{{groupname=\"wf-test-self\",threadname=\"wf-test-many\"}}");
    assert_eq!(watch.get(&group("thread_count")), Some(2000.0));
    assert!(first < Duration::from_secs(10), "{first:?}");
    assert!(watch.processes.heap_size() < 1 << 20, "{}", watch.processes.heap_size());
    drop(end);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    watch.tick();
    assert_eq!(watch.get(&group("thread_count")), Some(0.0));
    assert!(watch.processes.heap_size() < 100 << 10, "{}", watch.processes.heap_size());
}

/// This program alone, as the group `wf-test-self`.
fn own() -> GroupItems {
    let program = std::env::current_exe().unwrap();
    let text = format!("groups: [{{name: wf-test-self, exe: ['{}']}}]\n", program.display());
    let mut faults = crate::yaml::Faults::default();
    let section: ProcessesConfig = crate::yaml::Document::parse("w.yaml", &text, &mut faults).read(&mut faults);
    section.groups
}

fn shown_thread() -> impl Strategy<Value = Shown> {
    let name = prop::sample::select(vec![&b"a"[..], b"b", b"a) R 1 (", b"\xff", b"", b"other"]);
    (name, 0u64..1000, any::<u64>(), prop::sample::select(vec![1000, BORN_NOW, BORN_NOW + 1]), any::<char>()).prop_map(
        |(comm, used, bytes, start, state)| Shown {
            comm: comm.to_vec(),
            start,
            read: bytes,
            state: if state.is_ascii_alphabetic() { state } else { 'S' },
            ..thread("", used)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn whatever_threads_do_no_counter_goes_back_and_each_is_counted_once(
        rounds in prop::collection::vec(prop::collection::btree_map(11u32..16, shown_thread(), 1..5), 1..8),
        noise in prop::collection::vec(any::<u8>(), 0..100),
        broken in prop::sample::select(vec!["wchan", "schedstat", "status", "io"]),
    ) {
        let tree = Tree::new();
        let mut watch = Watch::new(&tree, config());
        let mut before = BTreeMap::new();
        for threads in rounds {
            let count = threads.len() as u32 + 1;
            tree.show(10, &Shown { threads: count, ..Shown::default() });
            let _ = fs::remove_dir_all(tree.path("10/task"));
            tree.show_thread(10, 10, &thread("main", 1), "0");
            for (tid, thread) in &threads {
                tree.show_thread(10, *tid, thread, "futex");
            }
            tree.write(&format!("10/task/{}/{broken}", threads.keys().next().unwrap()), &noise);
            watch.tick();
            let counted: f64 = watch.values.iter().filter(|(k, _)| k.contains("_thread_count")).map(|(_, v)| v).sum();
            prop_assert_eq!(counted, f64::from(count));
            for (series, value) in watch.values.iter().filter(|(k, _)| k.contains("_total")) {
                prop_assert!(before.get(series).is_none_or(|last| last <= value), "{} {}", series, value);
            }
            before = watch.values.clone();
        }
    }
}
