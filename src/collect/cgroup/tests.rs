use super::*;
use crate::collect::testing::{Runner, Tree, never_panics, starting};

const CPU_STAT: &str = "usage_usec 12500000\nuser_usec 10000000\nsystem_usec 2500000\nnr_periods 50\nnr_throttled 5\n\
    throttled_usec 250000\n";
const PRESSURE: &str = "some avg10=0.00 avg60=0.00 avg300=0.00 total=3000000\n\
    full avg10=0.00 avg60=0.00 avg300=0.00 total=1000000\n";

/// A service of version 2, with all that the kernel says of one.
const V2: [(&str, &str); 15] = [
    ("sys/fs/cgroup/cgroup.controllers", "cpu io memory pids\n"),
    ("sys/fs/cgroup/cgroup.stat", "nr_descendants 2\nnr_dying_descendants 0\n"),
    ("sys/fs/cgroup/system.slice/pids.current", "9\n"),
    ("sys/fs/cgroup/system.slice/a.service/cpu.stat", CPU_STAT),
    ("sys/fs/cgroup/system.slice/a.service/memory.current", "10485760\n"),
    ("sys/fs/cgroup/system.slice/a.service/memory.max", "20971520\n"),
    ("sys/fs/cgroup/system.slice/a.service/memory.swap.current", "4096\n"),
    ("sys/fs/cgroup/system.slice/a.service/memory.stat", "anon 1\ninactive_file 485760\nactive_file 7\n"),
    (
        "sys/fs/cgroup/system.slice/a.service/memory.events",
        "low 0\nhigh 0\nmax 7\noom 3\noom_kill 2\noom_group_kill 1\n",
    ),
    (
        "sys/fs/cgroup/system.slice/a.service/io.stat",
        "8:0 rbytes=100 wbytes=200 rios=3 wios=4 dbytes=5 dios=6\n254:1 \n8:16 rbytes=1 wbytes=2 rios=3 wios=4\n",
    ),
    ("sys/fs/cgroup/system.slice/a.service/pids.current", "7\n"),
    ("sys/fs/cgroup/system.slice/a.service/pids.max", "max\n"),
    ("sys/fs/cgroup/system.slice/a.service/cpu.pressure", PRESSURE),
    ("sys/fs/cgroup/system.slice/a.service/memory.pressure", PRESSURE),
    ("sys/fs/cgroup/system.slice/a.service/io.pressure", PRESSURE),
];

/// The same service in the hierarchies of version 1, with the unified one beside them.
const V1: [(&str, &str); 15] = [
    ("sys/fs/cgroup/cpu/system.slice/a.service/cpu.stat", "nr_periods 50\nnr_throttled 5\nthrottled_time 250000000\n"),
    ("sys/fs/cgroup/cpuacct/system.slice/a.service/cpuacct.usage", "12500000000\n"),
    ("sys/fs/cgroup/cpuacct/system.slice/a.service/cpuacct.stat", "user 1000\nsystem 250\n"),
    ("sys/fs/cgroup/memory/system.slice/a.service/memory.usage_in_bytes", "10485760\n"),
    ("sys/fs/cgroup/memory/system.slice/a.service/memory.limit_in_bytes", "20971520\n"),
    (
        "sys/fs/cgroup/memory/system.slice/a.service/memory.stat",
        "inactive_file 1\ntotal_inactive_file 485760\ntotal_swap 4096\n",
    ),
    ("sys/fs/cgroup/memory/system.slice/a.service/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"),
    (
        "sys/fs/cgroup/blkio/system.slice/a.service/blkio.throttle.io_service_bytes_recursive",
        "8:0 Read 100\n8:0 Write 200\n8:0 Sync 300\n8:0 Total 300\n8:16 Read 1\n8:16 Write 2\nTotal 303\n",
    ),
    (
        // Without `_recursive`, as older kernels have it.
        "sys/fs/cgroup/blkio/system.slice/a.service/blkio.throttle.io_serviced",
        "8:0 Read 3\n8:0 Write 4\n8:16 Read 3\n8:16 Write 4\nTotal 14\n",
    ),
    ("sys/fs/cgroup/pids/system.slice/a.service/pids.current", "7\n"),
    ("sys/fs/cgroup/pids/system.slice/a.service/pids.max", "max\n"),
    ("sys/fs/cgroup/unified/system.slice/a.service/cpu.pressure", PRESSURE),
    ("sys/fs/cgroup/unified/system.slice/a.service/memory.pressure", PRESSURE),
    ("sys/fs/cgroup/unified/system.slice/a.service/io.pressure", PRESSURE),
    ("sys/fs/cgroup/pids/system.slice/pids.current", "9\n"),
];

fn build(roots: &Roots) -> Cgroup {
    asked_for(&CgroupConfig::default(), roots)
}

/// One that somebody has switched on by name.
fn asked_for(config: &CgroupConfig, roots: &Roots) -> Cgroup {
    let mut cgroup = Cgroup::new(config, roots);
    cgroup.asked_for();
    cgroup
}

fn of_service() -> Vec<String> {
    let samples = [
        "cpu_usage_seconds_total 12.5",
        "cpu_user_seconds_total 10",
        "cpu_system_seconds_total 2.5",
        "cpu_periods_total 50",
        "cpu_throttled_periods_total 5",
        "cpu_throttled_seconds_total 0.25",
        "memory_usage_bytes 10485760",
        "memory_limit_bytes 20971520",
        "memory_swap_bytes 4096",
        "memory_working_set_bytes 10000000",
        "oom_kills_total 2",
        "io_read_bytes_total 101",
        "io_written_bytes_total 202",
        "io_read_operations_total 6",
        "io_write_operations_total 8",
        "pids 7",
        "pressure_cpu_waiting_seconds_total 3",
        "pressure_cpu_stalled_seconds_total 1",
        "pressure_memory_waiting_seconds_total 3",
        "pressure_memory_stalled_seconds_total 1",
        "pressure_io_waiting_seconds_total 3",
        "pressure_io_stalled_seconds_total 1",
    ];
    let labels = r#"{cgroup="/system.slice/a.service",slice="system.slice",unit="a.service",container=""}"#;
    samples.iter().filter_map(|s| s.split_once(' ')).map(|(n, v)| format!("watchfire_cgroup_{n}{labels} {v}")).collect()
}

#[test]
fn a_service_reads_the_same_in_both_versions() {
    for (version, tree) in [("v2", Tree::new(&V2)), ("v1", Tree::new(&V1))] {
        let mut lines = Runner::new(build(&tree.roots())).lines();
        let slice = r#"watchfire_cgroup_pids{cgroup="/system.slice",slice="system.slice",unit="",container=""} 9"#;
        assert!(lines.iter().any(|l| l == slice), "{version}: {lines:?}");
        assert_eq!(starting(&lines, "watchfire_cgroups"), ["watchfire_cgroups 2", "watchfire_cgroups_dropped 0"]);
        lines.retain(|l| l.contains("a.service"));
        assert_eq!(lines, of_service(), "{version}");
    }
}

#[test]
fn no_limit_is_no_series() {
    let tree = Tree::new(&V1);
    for none in ["9223372036854771712\n", "9223372036854710272\n"] {
        tree.write("sys/fs/cgroup/memory/system.slice/a.service/memory.limit_in_bytes", none);
        let lines = Runner::new(build(&tree.roots())).lines();
        assert!(starting(&lines, "watchfire_cgroup_memory_limit_bytes").is_empty(), "{none}");
    }
    tree.write("sys/fs/cgroup/pids/system.slice/a.service/pids.max", "4915\n");
    let lines = Runner::new(build(&tree.roots())).lines();
    assert_eq!(starting(&lines, "watchfire_cgroup_pids_limit").len(), 1);
}

fn names(lines: &[String]) -> Vec<String> {
    let start = "watchfire_cgroup_pids{cgroup=\"";
    starting(lines, start).iter().filter_map(|l| Some(l[start.len()..].split_once('"')?.0.to_string())).collect()
}

#[test]
fn cgroups_come_and_go() {
    let tree = Tree::new(&V2);
    let mut run = Runner::new(build(&tree.roots()));
    assert_eq!(names(&run.lines()), ["/system.slice", "/system.slice/a.service"]);

    // As long as the kernel counts as many, nobody looks.
    tree.write("sys/fs/cgroup/system.slice/b.service/pids.current", "1\n");
    assert_eq!(names(&run.lines()).len(), 2);
    tree.write("sys/fs/cgroup/cgroup.stat", "nr_descendants 3\nnr_dying_descendants 0\n");
    assert_eq!(names(&run.lines()), ["/system.slice", "/system.slice/a.service", "/system.slice/b.service"]);

    std::fs::remove_dir_all(tree.path("sys/fs/cgroup/system.slice/a.service")).unwrap();
    tree.write("sys/fs/cgroup/cgroup.stat", "nr_descendants 2\nnr_dying_descendants 1\n");
    assert_eq!(names(&run.lines()), ["/system.slice", "/system.slice/b.service"]);
}

/// A cgroup of this machine, made and removed by the test.
struct Real(std::path::PathBuf);

impl Drop for Real {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

#[test]
fn a_real_cgroup_comes_is_replaced_and_goes() {
    let roots = Roots::default();
    let Some(hierarchies) = Hierarchies::find(&roots) else { return eprintln!("skipped: no cgroups here") };
    let name = format!("watchfire-test-{}.service", std::process::id());
    let parent = hierarchies.base.join(if hierarchies.is_v2() { "" } else { "memory" });
    let real = Real(parent.join(&name));
    let make = || std::fs::create_dir(&real.0);

    let config = CgroupConfig { include: Some(Search::new(&name).unwrap()), ..CgroupConfig::default() };
    let mut run = Runner::new(asked_for(&config, &roots));
    assert_eq!(run.lines(), ["watchfire_cgroups 0", "watchfire_cgroups_dropped 0"]);
    if let Err(e) = make() {
        return eprintln!("skipped: cannot make {}: {e}", real.0.display());
    }
    let there = run.lines();
    let unit = format!("unit=\"{name}\"");
    assert!(there.iter().any(|l| l.contains(&unit)), "{there:?}");
    assert_eq!(run.lines().len(), there.len());

    std::fs::remove_dir(&real.0).unwrap();
    make().unwrap();
    assert_eq!(run.lines().len(), there.len(), "another one by the same name is read at once");
    std::fs::remove_dir(&real.0).unwrap();
    assert!(!run.lines().iter().any(|l| l.contains(&unit)));
    assert_eq!(run.lines(), ["watchfire_cgroups 0", "watchfire_cgroups_dropped 0"]);
}

#[test]
fn patterns_pick_by_path_whatever_is_above() {
    let tree = Tree::new(&V2);
    tree.write("sys/fs/cgroup/system.slice/tmp.mount/pids.current", "0\n");
    let with = |include: Option<&'static str>, exclude: &'static str| {
        let config = CgroupConfig {
            include: include.map(Search::fixed),
            exclude: Search::fixed(exclude),
            ..CgroupConfig::default()
        };
        names(&Runner::new(asked_for(&config, &tree.roots())).lines())
    };
    assert_eq!(names(&Runner::new(build(&tree.roots())).lines()), ["/system.slice", "/system.slice/a.service"]);
    assert_eq!(with(None, "^$").len(), 3);
    assert_eq!(with(Some(r"\.service$"), "^$"), ["/system.slice/a.service"]);
    assert_eq!(with(Some("/system"), r"\.(service|mount)$"), ["/system.slice"]);
}

/// A container host of version 2: services, and 500 containers in pods.
fn container_host() -> Tree {
    let tree = Tree::new(&V2);
    let service: Vec<_> = V2.iter().filter_map(|(p, t)| Some((p.rsplit_once("a.service/")?.1, *t))).collect();
    for i in 0..500 {
        let pod = format!("kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{:03}.slice", i / 2);
        for (file, text) in &service {
            tree.write(&format!("sys/fs/cgroup/{pod}/cri-containerd-{i:012x}{:052}.scope/{file}", 0), text);
        }
        tree.write(&format!("sys/fs/cgroup/{pod}/pids.current"), "2\n");
    }
    tree
}

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

#[test]
fn of_many_containers_the_shallowest_cgroups_are_kept_and_the_rest_is_counted() {
    let tree = container_host();
    let lines = Runner::new(build(&tree.roots())).lines();
    // 2 of systemd, 2 slices of Kubernetes, 250 pods, 500 containers.
    assert_eq!(starting(&lines, "watchfire_cgroups"), ["watchfire_cgroups 200", "watchfire_cgroups_dropped 554"]);
    assert!(lines.iter().any(|l| l.contains("/system.slice/a.service")), "what lies higher comes first");
    assert!(lines.len() <= 200 * FAMILIES.len() + 2, "{}", lines.len());

    let config = CgroupConfig { max_cgroups: 1000, ..CgroupConfig::default() };
    let before = open_files();
    let mut run = Runner::new(asked_for(&config, &tree.roots()));
    let lines = run.lines();
    // Other tests open files at the same time.
    assert!(open_files() < before + 256 + 100, "{} files are open, {before} were", open_files());
    assert_eq!(starting(&lines, "watchfire_cgroups"), ["watchfire_cgroups 754", "watchfire_cgroups_dropped 0"]);
    let usage = starting(&lines, "watchfire_cgroup_cpu_usage_seconds_total");
    assert_eq!(usage.len(), 501);
    assert!(usage.iter().any(|l| l.contains(r#"container="0000000001f3""#)), "the last of them");
    let began = Instant::now();
    run.section().1.unwrap();
    eprintln!("a run over 754 cgroups, {} series: {:?}", lines.len(), began.elapsed());

    let only = CgroupConfig { include: Some(Search::fixed(r"\.scope$")), max_cgroups: 500, ..config };
    let lines = Runner::new(asked_for(&only, &tree.roots())).lines();
    assert_eq!(starting(&lines, "watchfire_cgroups"), ["watchfire_cgroups 500", "watchfire_cgroups_dropped 0"]);
}

#[test]
fn a_host_of_many_is_counted_and_no_more_until_somebody_asks_for_them() {
    let tree = container_host();
    let unasked = |config: &CgroupConfig| Runner::new(Cgroup::new(config, &tree.roots())).lines();
    assert_eq!(unasked(&CgroupConfig::default()), ["watchfire_cgroups 0", "watchfire_cgroups_dropped 754"]);
    let lines = unasked(&CgroupConfig { max_cgroups_unasked: 1000, ..CgroupConfig::default() });
    assert!(lines.contains(&"watchfire_cgroups 200".to_string()));
    let few = Tree::new(&V2);
    let lines = Runner::new(Cgroup::new(&CgroupConfig::default(), &few.roots())).lines();
    assert!(lines.iter().any(|l| l.contains("a.service")), "a host of few has them without asking");
}

#[test]
fn one_bad_file_is_named_and_holds_up_no_other() {
    let tree = Tree::new(&V2);
    tree.write("sys/fs/cgroup/system.slice/a.service/memory.current", "much\n");
    let (lines, error) = Runner::new(build(&tree.roots())).failure();
    assert!(error.ends_with("system.slice/a.service/memory.current: \"much\" is no number"), "{error}");
    assert_eq!(starting(&lines, "watchfire_cgroup_cpu_usage_seconds_total").len(), 1);
    tree.write("sys/fs/cgroup/system.slice/a.service/cpu.stat", "usage_usec 1\nuser_usec -\n");
    tree.write("sys/fs/cgroup/system.slice/a.service/memory.current", "1\n");
    let (_, error) = Runner::new(build(&tree.roots())).failure();
    assert!(error.contains("cpu.stat:2: "), "{error}");
}

#[test]
fn without_cgroups_there_is_no_data() {
    let (lines, error) = Runner::new(build(&Tree::new::<&str>(&[]).roots())).failure();
    assert!(lines.is_empty() && error.starts_with("no data:"), "{error}");
}

#[test]
fn garbage_never_panics() {
    never_panics(&V2, build);
    never_panics(&V1, build);
}

/// On the machine that the tests run on: what is exported is what the kernel's files say.
#[test]
fn the_real_tree_of_this_machine() {
    let roots = Roots::default();
    let Some(hierarchies) = Hierarchies::find(&roots) else {
        eprintln!("skipped: no cgroups here");
        return;
    };
    let (section, result) = Runner::new(build(&roots)).section();
    // Cgroups of others may go while they are read, which is no failure.
    result.unwrap();
    let lines = crate::collect::testing::lines(&section);
    let (folder, file) = if hierarchies.is_v2() { ("", "memory.events") } else { ("memory", "memory.oom_control") };
    let kills = starting(&lines, "watchfire_cgroup_oom_kills_total");
    for line in &kills {
        let at = hierarchies.base.join(folder).join(&line.split('"').nth(1).unwrap()[1..]).join(file);
        // One that has gone since says nothing any more.
        let Ok(text) = std::fs::read_to_string(&at) else { continue };
        let said = text.lines().find_map(|l| l.strip_prefix("oom_kill ")).unwrap();
        assert_eq!(line.rsplit_once(' ').unwrap().1, said, "{line}");
    }
    let counted = starting(&lines, "watchfire_cgroups ");
    eprintln!("{counted:?}, {} with memory, {} series", kills.len(), lines.len());
}
