//! A drop-in for node_exporter: held against it on captured kernel files, and side by side on this host.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use regex::Regex;
use watchfire::collect::COLLECTORS;

use common::{Child, Metrics, Response, SOON, Setup, binary, eventually, free_port, peer, request};

#[test]
fn captured_kernel_files_give_what_node_exporter_gives_for_them() {
    let data = std::env::var_os("WATCHFIRE_CONFORMANCE")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/conformance")), PathBuf::from);
    if !data.join("node_exporter/expected.txt").exists() {
        eprintln!("skipped: no conformance data in {}", data.display());
        return;
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/node_exporter_fixtures.sh");
    let output = Command::new("bash").arg(script).arg(binary().get_program()).arg(data).output().expect("bash runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("100.0 %"), "{said}");
}

/// Off by default, and compared all the same where Debian's node_exporter has them.
const MORE: &[&str] = &[
    "buddyinfo",
    "cgroups",
    "interrupts",
    "ksmd",
    "lnstat",
    "meminfo_numa",
    "mountstats",
    "network_route",
    "processes",
    "qdisc",
    "slabinfo",
    "softirqs",
    "tcpstat",
    "zoneinfo",
];

/// What Debian's node_exporter (1.5) gives and 1.12, which is what we are held to, does not: a pattern of series, and why.
const OLDER: &[(&str, &str)] = &[
    ("^node_exporter_build_info", "describes node_exporter itself"),
    ("^node_scrape_collector_", "describes each one's own collectors"),
    ("^node_disk_.*device=\"zram", "compressed memory is left out by default since 1.6"),
];

/// Labels that later versions have added to a family.
const ADDED: &[(&str, &str)] = &[
    ("node_filesystem_", "device_error"),
    ("node_network_info", "adminstate"),
    ("node_disk_info", "rotational"),
    ("node_network_route_info", "table"),
    ("node_network_route_info", "type"),
];

/// Gauges that move all the time, by so much that a sample between two others need not lie between their values.
const RESTLESS: &str = "^node_(memory_|load|procs_|pressure_|time_seconds|timex_|entropy_|sockstat_|filefd_|processes_|tcp_|\
                        cpu_scaling|netstat_Tcp_CurrEstab|disk_io_now|hwmon_|thermal_|buddyinfo_|zoneinfo_|schedstat_|slabinfo_)";

/// A page: the type of each family, the value of each series.
#[derive(Default)]
struct Page {
    types: BTreeMap<String, String>,
    series: BTreeMap<String, f64>,
}

impl Page {
    fn of(text: &str) -> Page {
        let mut page = Page::default();
        for line in text.lines() {
            if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|l| l.split_once(' ')) {
                page.types.insert(name.to_string(), kind.to_string());
            } else if !line.starts_with('#')
                && let Some((series, value)) = line.rsplit_once(' ')
            {
                page.series.insert(sorted(series), value.parse().unwrap_or_else(|_| panic!("{line}")));
            }
        }
        page
    }
}

/// A series with its labels in order of name, without those that were added.
fn sorted(series: &str) -> String {
    let Some((name, labels)) = series.strip_suffix('}').and_then(|s| s.split_once('{')) else {
        return series.to_string();
    };
    let mut labels: Vec<&str> = labels.split_inclusive("\",").map(|l| l.trim_end_matches(',')).collect();
    labels.retain(|l| {
        !ADDED.iter().any(|(family, label)| name.starts_with(family) && l.starts_with(&format!("{label}=")))
    });
    labels.sort_unstable();
    format!("{name}{{{}}}", labels.join(","))
}

fn get(port: u16) -> Page {
    let page: Response = request(port, "GET", "/metrics", &[]).expect("a page");
    Page::of(&Metrics::of(&page).0)
}

#[test]
fn side_by_side_on_this_host_nothing_is_missing_and_the_values_are_the_same() {
    let Some(program) = peer("prometheus-node-exporter") else { return };
    let help = Command::new(&program).arg("--help").output().expect("it runs");
    let help = String::from_utf8_lossy(&[help.stdout, help.stderr].concat()).into_owned();
    let more = MORE.iter().map(|c| format!("--collector.{c}")).filter(|flag| help.contains(flag.as_str()));
    // Debian leaves the loopback interface out, node_exporter itself does not.
    let flags: Vec<String> = more.chain(["--collector.netdev.device-exclude=".to_string()]).collect();

    let theirs_port = free_port();
    let mut theirs = Child::spawn(
        Command::new(program)
            .arg(format!("--web.listen-address=127.0.0.1:{theirs_port}"))
            .args(&flags)
            .stdout(Stdio::null()),
    );
    eventually("node_exporter answers", SOON, || {
        assert!(theirs.ended().is_none(), "node_exporter has ended: {}", theirs.log());
        request(theirs_port, "GET", "/metrics", &[]).ok()
    });
    // Every collector at every tick, so that what one shows and the other is of the same moment.
    let intervals: Vec<String> = COLLECTORS.iter().map(|c| format!("{}: {{interval: 100ms}}", c.name)).collect();
    let config = format!("global: {{scrape_interval: 100ms}}\ncollectors: {{{}}}\n", intervals.join(", "));
    let setup = MORE
        .iter()
        .filter(|c| COLLECTORS.iter().any(|o| o.name == **c))
        .fold(Setup::new(&config), |setup, c| setup.flag(format!("--collector.{c}")));
    let agent = setup.start();

    let older: Vec<Regex> = OLDER.iter().map(|(pattern, _)| Regex::new(pattern).expect("a pattern")).collect();
    let restless = Regex::new(RESTLESS).expect("a pattern");
    let mut wrong: Option<BTreeSet<String>> = None;
    // A sample is taken now or a moment later: what differs in each of several rounds differs.
    for _ in 0..8 {
        std::thread::sleep(Duration::from_millis(300));
        let before = get(agent.port);
        let page = get(theirs_port);
        std::thread::sleep(Duration::from_millis(150));
        let after = get(agent.port);
        let mut now = BTreeSet::new();
        for (name, kind) in page.types.iter().filter(|(name, _)| name.starts_with("node_")) {
            let ours = after.types.get(name).or_else(|| before.types.get(name));
            if ours.is_some_and(|ours| ours != kind) {
                now.insert(format!("type of {name}: {}, theirs {kind}", ours.map_or("", |o| o)));
            }
        }
        for (series, value) in page.series.iter().filter(|(series, _)| series.starts_with("node_")) {
            let (Some(a), Some(b)) = (before.series.get(series), after.series.get(series)) else {
                now.insert(format!("missing: {series}"));
                continue;
            };
            let slack =
                if restless.is_match(series) { 0.25 * value.abs().max(a.abs()) + 50.0 } else { 1e-9 * value.abs() };
            let nan = value.is_nan() && a.is_nan();
            if !nan && !(a.min(*b) - slack..=a.max(*b) + slack).contains(value) {
                now.insert(format!("value of {series}"));
            }
        }
        now.retain(|w| {
            let series = w.rsplit(": ").next().unwrap_or(w).trim_start_matches("value of ");
            !older.iter().any(|o| o.is_match(series))
        });
        wrong = Some(wrong.map_or(now.clone(), |w| w.intersection(&now).cloned().collect()));
        if wrong.as_ref().is_some_and(BTreeSet::is_empty) {
            return;
        }
    }
    panic!("{:#?}", wrong.unwrap_or_default());
}
