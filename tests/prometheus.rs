//! A real Prometheus scrapes the agent, and promtool reads what it serves.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{Metrics, Named, Prometheus, SOON, Setup, eventually, node_exporter_page, peer, request};

/// What Prometheus 2.42 and later ask for when nothing else is configured.
const ACCEPT: &str = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";

#[test]
fn prometheus_scrapes_it_every_second_and_its_numbers_are_those_of_proc() {
    let Some(program) = peer("prometheus") else { return };
    // Whoever starts a process chooses its name.
    let odd = Named::sleeping("we\"ird\\ é\n1");
    let setup = Setup::new("groups: [{name: t, rules: [{record: 'test:load1', expr: node_load1}]}]\n");
    setup.write("textfiles/test.prom", "# TYPE test_total counter\ntest_total{a=\"x \\\"y\\\" \\\\ \\n\"} 5\n");
    let directory = setup.path("textfiles").display().to_string();
    let agent = setup.flag(format!("--collector.textfile.directory={directory}")).start();
    let prometheus = Prometheus::start(program, &agent);
    eventually("ten scrapes", Duration::from_secs(60), || {
        prometheus.value("sum(count_over_time(up[5m]))").filter(|n| *n >= 10.0)
    });

    let target = &prometheus.targets()["activeTargets"][0];
    assert_eq!(target["health"], "up");
    assert_eq!(target["lastError"], "");
    assert_eq!(prometheus.value("min_over_time(up[5m])"), Some(1.0), "no scrape has failed");

    let proc = |file: &str| fs::read_to_string(Path::new("/proc").join(file)).expect("it is there on Linux");
    let field = |file: &str, key: &str| -> f64 {
        let text = proc(file);
        let line = text.lines().find_map(|l| l.strip_prefix(key)).unwrap_or_else(|| panic!("no {key} in {file}"));
        line.split_whitespace().next().and_then(|v| v.parse().ok()).expect("a number")
    };
    let value = |expr: &str| prometheus.value(expr).unwrap_or_else(|| panic!("{expr} has no value"));
    let cpus = proc("stat").lines().filter(|l| l.starts_with("cpu") && !l.starts_with("cpu ")).count();
    assert_eq!(value("node_memory_MemTotal_bytes"), field("meminfo", "MemTotal:") * 1024.0);
    assert_eq!(value("node_boot_time_seconds"), field("stat", "btime "));
    assert_eq!(value("count(node_cpu_seconds_total{mode=\"idle\"})"), cpus as f64);
    assert_eq!(value("node_filefd_maximum"), proc("sys/fs/file-max").trim().parse::<f64>().expect("a number"));
    let release = proc("sys/kernel/osrelease").trim().to_string();
    assert_eq!(value(&format!("node_uname_info{{release=\"{release}\"}}")), 1.0);
    // CPU time goes by as time does, in whatever mode; ticks are of 10 ms, and some kernels count only the busy ones.
    let rate = value("max(sum by (cpu) (rate(node_cpu_seconds_total[10s])))");
    assert!((0.01..1.3).contains(&rate), "{rate} seconds a second");
    let used = value("watchfire_memory_usage_ratio");
    let expected = 1.0 - field("meminfo", "MemAvailable:") / field("meminfo", "MemTotal:");
    assert!((used - expected).abs() < 0.2, "{used} is not near {expected}");
    assert!((value("time()") - value("node_time_seconds")).abs() < 5.0);
    let pids =
        fs::read_dir("/proc").unwrap().flatten().filter(|e| e.file_name().to_string_lossy().parse::<u32>().is_ok());
    let (processes, pids) = (value("sum(watchfire_processes)"), pids.count() as f64);
    assert!((processes - pids).abs() <= 20.0 + pids / 4.0, "{processes} processes served, {pids} counted");
    assert_eq!(value("test:load1 >= bool 0"), 1.0, "what rules record can be scraped");
    assert_eq!(value("test_total{a=\"x \\\"y\\\" \\\\ \\n\"}"), 5.0, "labels come through escaping unharmed");
    let group = r#"namedprocess_namegroup_num_procs{groupname="we\"ird\\ é\n1"}"#;
    assert_eq!(value(group), 1.0, "process {}", odd.id());
    // In OpenMetrics a counter's family has no `_total`.
    for (metric, kind) in [("node_cpu_seconds", "counter"), ("node_load1", "gauge")] {
        let metadata = prometheus.metadata(metric);
        assert_eq!(metadata[metric][0]["type"], kind, "{metadata}");
        assert_ne!(metadata[metric][0]["help"], "");
    }

    // What is not there any more ends in Prometheus too, at once.
    fs::remove_file(setup_file(&directory)).unwrap();
    eventually("a series that vanished is stale", SOON, || prometheus.value("test_total").is_none().then_some(()));

    let log = prometheus.log();
    let complaints: Vec<&str> = log
        .lines()
        .filter(|l| l.contains("level=warn") || l.contains("level=error") || l.contains("Scrape failed"))
        // About its own machine, not about what it scrapes.
        .filter(|l| !l.contains("fs_type") && !l.contains("NOTE:") && !l.contains("GOMAXPROCS"))
        .collect();
    assert_eq!(complaints, [""; 0]);
    for part in ["out of order", "out-of-order", "duplicate sample", "Duplicate sample"] {
        assert!(!log.contains(part), "{part}");
    }
}

fn setup_file(directory: &str) -> std::path::PathBuf {
    Path::new(directory).join("test.prom")
}

#[test]
fn a_server_gets_openmetrics_and_a_person_gets_the_text_format() {
    let agent = Setup::new("").start();
    let page = request(agent.port, "GET", "/metrics", &[("Accept", ACCEPT)]).unwrap();
    let kind = page.header("content-type").unwrap_or_default().to_string();
    assert!(kind.starts_with("application/openmetrics-text") && kind.contains("version=1.0.0"), "{kind}");
    assert!(page.text().ends_with("# EOF\n"));
    assert!(page.text().contains("\n# TYPE node_context_switches counter\n"), "the family without its suffix");

    let page = request(agent.port, "GET", "/metrics", &[]).unwrap();
    assert!(page.header("content-type").is_some_and(|t| t.starts_with("text/plain; version=0.0.4")));
    assert!(page.text().contains("\n# TYPE node_context_switches_total counter\n"));
    assert!(!page.text().contains("# EOF"));

    let head = request(agent.port, "HEAD", "/metrics", &[]).unwrap();
    assert_eq!((head.status, head.body.len()), (200, 0));
    let zipped = request(agent.port, "GET", "/metrics", &[("Accept-Encoding", "gzip")]).unwrap();
    assert_eq!(zipped.header("content-encoding"), Some("gzip"));
    assert_eq!(&zipped.body[..2], &[0x1f, 0x8b]);
    assert!(zipped.body.len() * 3 < page.body.len());
}

/// What `promtool check metrics` finds to say of a page: the metric and the complaint.
fn lint(page: &[u8]) -> BTreeSet<(String, String)> {
    let promtool = peer("promtool").expect("it was there a moment ago");
    let mut child = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin.write_all(page).expect("promtool reads");
    drop(stdin);
    let output = child.wait_with_output().expect("promtool ends");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    // 3: complaints about names and helps; 1: it could not be parsed.
    assert!(matches!(output.status.code(), Some(0 | 3)), "promtool cannot read the page: {said}");
    said.lines().filter_map(|l| l.split_once(' ')).map(|(m, c)| (m.to_string(), c.to_string())).collect()
}

/// Complaints that are accepted, each for its reason. Those about names that node_exporter gave need none: the test
/// asks promtool about node_exporter's own page.
const ACCEPTED: &[(&str, &str)] = &[
    // node_exporter has them by these names since 1.6 and 1.7; Debian's is older.
    ("node_netstat_TcpExt_TCPOFOQueue", "'snake_case'"),
    ("node_netstat_TcpExt_TCPRcvQDrop", "'snake_case'"),
];

#[test]
fn promtool_has_no_complaint_about_the_metrics_that_it_has_not_about_node_exporters() {
    if peer("promtool").is_none() {
        return;
    }
    let Some(node_exporter) = peer("prometheus-node-exporter") else { return };
    let agent = Setup::new("").start();
    // On a busy machine the first pass over processes ends later.
    agent.wait_for("namedprocess_namegroup_num_procs", &[], |_| true);
    let ours = lint(&agent.get("/metrics").body);

    let page = node_exporter_page(node_exporter, &["--collector.processes"]);
    let theirs = lint(&page.body);

    // process-exporter's names, which its dashboards ask for, have a package of their own; node_exporter's that this
    // host's node_exporter does not serve are not excused.
    let unexcused: Vec<_> = ours
        .iter()
        .filter(|c| !theirs.contains(c))
        .filter(|(metric, complaint)| !ACCEPTED.iter().any(|(m, part)| m == metric && complaint.contains(part)))
        .collect();
    assert!(unexcused.is_empty(), "{unexcused:#?}");
    let excused_for_nothing: Vec<_> =
        ACCEPTED.iter().filter(|(m, _)| !ours.iter().any(|(metric, _)| metric == m)).collect();
    assert!(excused_for_nothing.is_empty(), "{excused_for_nothing:?}");
}

#[test]
fn a_scrape_has_every_family_that_node_exporter_has_for_the_same_collectors() {
    let Some(node_exporter) = peer("prometheus-node-exporter") else { return };
    let agent = Setup::new("").start();
    let same = [
        "--collector.disable-defaults",
        "--collector.cpu",
        "--collector.loadavg",
        "--collector.meminfo",
        "--collector.stat",
        "--collector.vmstat",
        "--collector.pressure",
        "--collector.filefd",
        "--collector.processes",
        "--collector.diskstats",
        "--collector.filesystem",
        "--collector.netdev",
        "--collector.netclass",
        "--collector.netstat",
        "--collector.sockstat",
        "--collector.softnet",
        "--collector.uname",
        "--collector.os",
        "--collector.time",
        "--collector.textfile",
    ];
    let theirs = node_exporter_page(node_exporter, &same);
    let theirs = Metrics::of(&theirs);
    let missing = |ours: &Metrics| {
        let ours: BTreeSet<&str> = ours.families().into_iter().collect();
        let theirs =
            theirs.families().into_iter().filter(|f| f.starts_with("node_") && *f != "node_exporter_build_info");
        theirs.filter(|f| !ours.contains(f)).map(str::to_string).collect::<Vec<_>>()
    };
    // Collectors with a pace of their own come with their first run.
    let end = std::time::Instant::now() + SOON;
    while std::time::Instant::now() < end && !missing(&agent.metrics()).is_empty() {
        std::thread::sleep(Duration::from_millis(200));
    }
    let ours = agent.metrics();
    assert_eq!(missing(&ours), [""; 0]);
    for line in theirs.0.lines().filter(|l| l.starts_with("# TYPE node_") && !l.contains("exporter_build")) {
        assert!(ours.0.lines().any(|l| l == line), "{line}");
    }
}
