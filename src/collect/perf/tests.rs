use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::*;
use crate::collect::testing::{Runner, SERIES, Tree, never_panics_of_many, starting};
use crate::yaml::{Document, Faults};

/// A kernel that gives each counter of each CPU a count, or refuses it.
#[derive(Clone, Default)]
struct Fake(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// By type and config: why a counter is refused.
    refused: BTreeMap<(u32, u64), Errno>,
    refuse_all: Option<Errno>,
    opened: Vec<(u32, u64, u32)>,
}

impl Counters for Fake {
    type Counter = u64;

    fn open(&self, kind: u32, config: u64, cpu: u32) -> io::Result<u64> {
        let mut state = self.0.lock().unwrap();
        match state.refuse_all.or(state.refused.get(&(kind, config)).copied()) {
            Some(errno) => Err(errno.into()),
            None => {
                state.opened.push((kind, config, cpu));
                Ok(u64::from(kind) * 1_000_000 + (config & 0xff) * 1000 + u64::from(cpu))
            }
        }
    }

    fn read(&self, counter: &u64) -> io::Result<u64> {
        Ok(*counter)
    }
}

fn config(text: &str) -> Result<PerfConfig, String> {
    let mut faults = Faults::default();
    let config = Document::parse("p.yaml", text, &mut faults).read(&mut faults);
    if faults.is_empty() { Ok(config) } else { Err(faults.to_string()) }
}

fn tree() -> Tree {
    Tree::new(&[
        ("sys/devices/system/cpu/online", "0-1\n"),
        ("sys/kernel/tracing/events/sched/sched_process_exec/id", "311\n"),
        ("proc/sys/kernel/perf_event_paranoid", "2\n"),
    ])
}

fn perf(tree: &Tree, text: &str) -> (Runner<Perf<Fake>>, Fake) {
    let fake = Fake::default();
    (Runner::new(Perf::with(Some(fake.clone()), &config(text).unwrap(), &tree.roots())), fake)
}

#[test]
fn every_profiler_on_every_cpu() {
    let tree = tree();
    let (mut run, fake) = perf(&tree, "tracepoint: sched:sched_process_exec\n");
    let lines = run.lines();
    assert_eq!(lines.len(), 2 * (9 + 5 + 16 + 1));
    let expected = [
        "node_perf_cpucycles_total{cpu=\"0\"} 0",
        "node_perf_instructions_total{cpu=\"1\"} 1001",
        "node_perf_context_switches_total{cpu=\"0\"} 1003000",
        "node_perf_cache_ll_read_misses_total{cpu=\"1\"} 3002001",
        "node_perf_sched_sched_process_exec{cpu=\"1\"} 2055001",
    ];
    for expected in expected {
        assert!(lines.iter().any(|l| l == expected), "{expected}: {lines:#?}");
    }
    // They stay open.
    run.lines();
    let opened = &fake.0.lock().unwrap().opened;
    assert_eq!(opened.len(), lines.len());
    // Last level cache, read, miss: as perf_event_open(2) puts them together.
    assert!(opened.contains(&(3, 0x1_0002, 0)), "{opened:?}");
}

#[test]
fn chosen_profilers_and_cpus() {
    let text = "cpus: '1'\ndisable_cache_profilers: true\nhardware_profilers: [CpuInstr, CpuCycles]\n\
                software_profilers: MajorFault\n";
    let tree = tree();
    let (mut run, _) = perf(&tree, text);
    assert_eq!(
        run.lines(),
        [
            "node_perf_cpucycles_total{cpu=\"1\"} 1",
            "node_perf_instructions_total{cpu=\"1\"} 1001",
            "node_perf_major_faults_total{cpu=\"1\"} 1006001",
        ]
    );
}

#[test]
fn what_a_virtual_machine_does_not_count_is_absent() {
    let tree = tree();
    let (mut run, fake) = perf(&tree, "disable_cache_profilers: true\n");
    fake.0.lock().unwrap().refused = (0..10).map(|config| ((0, config), Errno::NOENT)).collect();
    let lines = run.lines();
    assert_eq!(lines.len(), 2 * 5);
    assert!(starting(&lines, "node_perf_cpucycles").is_empty());
}

#[test]
fn without_permission_it_says_which_and_tries_again() {
    let tree = tree();
    let (mut run, fake) = perf(&tree, "");
    fake.0.lock().unwrap().refuse_all = Some(Errno::ACCESS);
    let (lines, error) = run.failure();
    assert!(lines.is_empty());
    assert!(error.starts_with("node_perf_cpucycles_total: perf_event_open: Permission denied"), "{error}");
    assert!(error.contains("CAP_PERFMON") && error.ends_with("(it is 2)"), "{error}");
    fake.0.lock().unwrap().refuse_all = None;
    assert_eq!(run.lines().len(), 2 * 30);
}

#[test]
fn without_any_counter_there_is_no_data() {
    let tree = tree();
    let (mut run, fake) = perf(&tree, "disable_software_profilers: true\n");
    fake.0.lock().unwrap().refuse_all = Some(Errno::NOENT);
    assert!(matches!(run.run().1, Err(CollectError::NoData(_))));
}

#[test]
fn a_tracepoint_that_is_not_there_is_named_and_the_others_are_served() {
    let tree = tree();
    let (mut run, _) = perf(&tree, "tracepoint: [sched:none, sched:sched_process_exec]\n");
    for _ in 0..2 {
        let (lines, error) = run.failure();
        assert!(error.starts_with("no tracepoint sched:none, or tracefs is not mounted"), "{error}");
        assert_eq!(starting(&lines, "node_perf_sched_").len(), 2);
    }
}

#[test]
fn cpus_come_and_go() {
    let tree = tree();
    let (mut run, fake) = perf(&tree, "disable_hardware_profilers: true\ndisable_cache_profilers: true\n");
    assert_eq!(run.lines().len(), 2 * 5);
    tree.write("sys/devices/system/cpu/online", "0\n");
    assert_eq!(run.lines().len(), 5);
    tree.write("sys/devices/system/cpu/online", "0-2\n");
    assert_eq!(run.lines().len(), 3 * 5);
    assert_eq!(fake.0.lock().unwrap().opened.len(), 4 * 5);
}

#[test]
fn more_counters_than_files_may_be_open_are_refused() {
    let tree = tree();
    tree.write("sys/devices/system/cpu/online", "0-65535\n");
    if getrlimit(Resource::Nofile).current.is_none_or(|limit| limit > 2 * 30 * 65_536) {
        eprintln!("skipped: as many files as that may be open here");
        return;
    }
    let (lines, error) = perf(&tree, "").0.failure();
    assert!(lines.is_empty() && error.contains("raise LimitNOFILE"), "{error}");
}

#[test]
fn slips_in_the_configuration_are_named() {
    let cases = [
        ("hardware_profilers: CpuCicles\n", "no profiler \"CpuCicles\"; there are CpuCycles, CpuInstr"),
        ("cache_profilers: [LLReadMiss, PageFault]\n", "p.yaml:1:31: no profiler \"PageFault\""),
        ("tracepoint: ../../etc:passwd\n", "is no tracepoint"),
        ("cpus: 3-1\n", "\"3-1\" is no list of CPUs, such as 0-3,8"),
        ("cpus: 0-3:0\n", "is no list of CPUs"),
    ];
    for (text, expected) in cases {
        let fault = config(text).unwrap_err();
        assert!(fault.contains(expected), "{fault}");
    }
    let list = config("cpus: 1-10:5,0\n").unwrap().cpus.unwrap();
    assert_eq!(list.0, [0, 1, 6]);
    assert_eq!(config("cpus: ''\n").unwrap().cpus, None, "all of them");
}

#[test]
fn a_captured_tree_has_no_counters() {
    let mut run = Runner::new(Perf::new(&PerfConfig::default(), &tree().roots()));
    assert!(matches!(run.run().1, Err(CollectError::NoData(_))));
}

#[test]
fn garbage_never_panics() {
    let files = [
        ("sys/devices/system/cpu/online", "0-1,3\n"),
        ("sys/kernel/tracing/events/sched/sched_process_exec/id", "311\n"),
        ("proc/sys/kernel/perf_event_paranoid", "2\n"),
    ];
    let config = config("tracepoint: sched:sched_process_exec\n").unwrap();
    never_panics_of_many(SERIES, &files, |roots| Perf::with(Some(Fake::default()), &config, roots));
}

#[test]
fn the_running_kernel_counts() {
    let text = "disable_hardware_profilers: true\ndisable_cache_profilers: true\n";
    let mut run = Runner::new(Perf::new(&config(text).unwrap(), &Roots::default()));
    let switches = |lines: &[String]| -> f64 {
        let counts = starting(lines, "node_perf_context_switches_total").into_iter();
        counts.map(|l| l.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    };
    let (lines, result) = run.run();
    if let Err(error) = result {
        eprintln!("skipped: the kernel does not permit it here: {error}");
        return;
    }
    let before = switches(&lines);
    // Each sleep is a switch.
    (0..20).for_each(|_| std::thread::sleep(std::time::Duration::from_millis(1)));
    let after = switches(&run.lines());
    assert!(after >= before + 20.0, "{before} {after}");
}
