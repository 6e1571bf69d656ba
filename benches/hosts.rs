//! What one sampling costs on this host and on hosts of other sizes, beside node_exporter's scrape of the same.
//!
//! `cargo bench --bench hosts` measures this host, then grows trees of kernel files (`tests/common/trees.rs`), samples each
//! with the collectors that both programs run by default, has `prometheus-node-exporter` scraped on it, and prints the
//! CPU of both, the series, and the allocations of a sampling in the steady state. Files of a disk are not those of a
//! kernel: where it may (as root), it makes 5,000 real interfaces in a network namespace of its own and measures there
//! too. Arguments choose hosts by a part of their names: `cargo bench --bench hosts -- interfaces`.

mod common;

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

#[path = "../tests/common/trees.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod trees;

use common::{ALLOCATIONS, Counting, Running, cpu_seconds, get};
use trees::Host;
use watchfire::collect::process::ProcessesConfig;
use watchfire::collect::{COLLECTORS, CollectorsConfig, Roots, Sampler, Sampling};
use watchfire::exposition::{Format, Pages};
use watchfire::model::{Labels, SeriesTable, Timestamp};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// They speak of the machine that runs them, whatever the tree, or (process groups) have no counterpart.
const LEFT_OUT: [&str; 5] = ["timex", "uname", "textfile", "portable", "processes"];

/// With this argument the benchmark measures the running kernel's files, in the namespace that it has been started in.
const INSIDE: &str = "--inside-namespace";
const REAL: &str = "5,000 real veths";

fn main() {
    let peer = Peer::find();
    let wanted: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|w| name.contains(w.as_str()));
    if std::env::args().any(|a| a == INSIDE) {
        return measure(REAL, &Roots::default(), &[], peer.as_ref());
    }
    if peer.is_none() {
        println!("prometheus-node-exporter is not installed: no comparison");
    }
    println!("CPU of one sampling, every default collector and the text included");
    if wanted("this host") {
        measure("this host", &Roots::default(), &[], peer.as_ref());
    }
    for (name, grow) in [
        ("2 CPUs, 1 interface", (|_| {}) as fn(&Host)),
        ("64 CPUs", |h| h.cpus(64)),
        ("128 CPUs", |h| h.cpus(128)),
        ("256 CPUs", |h| h.cpus(256)),
        ("1,250 interfaces", |h| h.interfaces(1_250)),
        ("2,500 interfaces", |h| h.interfaces(2_500)),
        ("5,000 interfaces", |h| h.interfaces(5_000)),
        ("1,000 mounts", |h| h.mounts(1_000)),
    ] {
        if !wanted(name) {
            continue;
        }
        let host = Host::captured();
        grow(&host);
        let roots = Roots {
            procfs: host.path("proc"),
            sysfs: host.path("sys"),
            rootfs: host.path("root"),
            udev_data: host.path("udev"),
        };
        measure(name, &roots, &host.flags(), peer.as_ref());
    }
    if wanted(REAL) {
        real_interfaces();
    }
}

/// Makes 2,500 pairs of veth devices in a network namespace, and runs this program there.
fn real_interfaces() {
    let name = format!("watchfire-bench-{}", std::process::id());
    let ip = |args: &[&str]| {
        let status = Command::new("ip").args(args).stdout(Stdio::null()).stderr(Stdio::null()).status();
        status.is_ok_and(|s| s.success())
    };
    if !ip(&["netns", "add", &name]) {
        println!("  no network namespace can be made here: not measured on real interfaces");
        return;
    }
    let batch = std::env::temp_dir().join(&name);
    let pairs: String = (0..2_500).map(|n| format!("link add va{n} type veth peer name vb{n}\n")).collect();
    let made = std::fs::write(&batch, pairs).is_ok()
        && ip(&["-n", &name, "link", "set", "lo", "up"])
        && ip(&["-n", &name, "-batch", &batch.display().to_string()]);
    if made && let Ok(program) = std::env::current_exe() {
        // It has sysfs mounted anew, so that it shows the namespace's devices.
        let _ = Command::new("ip").args(["netns", "exec", &name]).arg(program).arg(INSIDE).status();
    } else {
        println!("  no veth devices can be made here: not measured on real interfaces");
    }
    let _ = std::fs::remove_file(batch);
    ip(&["netns", "del", &name]);
}

fn measure(name: &str, roots: &Roots, flags: &[String], peer: Option<&Peer>) {
    let names: Vec<&str> = COLLECTORS.iter().filter(|c| c.default).map(|c| c.name).collect();
    let names: Vec<&str> =
        names.into_iter().filter(|n| !LEFT_OUT.contains(n) && peer.is_none_or(|p| p.collectors.contains(*n))).collect();
    let mut config = CollectorsConfig::default();
    for info in COLLECTORS {
        if let Some(switch) = config.switch(info.name) {
            *switch = Some(names.contains(&info.name));
        }
    }
    let table = Arc::new(SeriesTable::new(Labels::empty()));
    let processes = ProcessesConfig { enabled: false, ..Default::default() };
    let mut sampler = Sampler::new(config.plan(&processes, roots), &table, 1_000_000);
    let pages = Pages::new();
    let mut sample = |sampling| {
        let snapshot = sampler.sample(Timestamp::now(), sampling);
        pages.encode(&snapshot, Format::Text).expect("a page");
        snapshot.len()
    };
    let mut series = 0;
    for _ in 0..3 {
        series = sample(Sampling::Once);
    }
    let runs = (400_000 / series.max(1)).clamp(5, 200) as u32;
    let (before, allocated) = (cpu_seconds(std::process::id()), ALLOCATIONS.load(Ordering::Relaxed));
    for _ in 0..runs {
        sample(Sampling::Once);
    }
    let ours = (cpu_seconds(std::process::id()) - before) / f64::from(runs);
    let allocations = (ALLOCATIONS.load(Ordering::Relaxed) - allocated) / u64::from(runs);
    print!("  {name:<20} {series:>7} series: {:>8.3} ms, {allocations} allocations", ours * 1e3);
    let Some(peer) = peer else {
        println!();
        return;
    };
    let theirs = peer.cpu_of_a_scrape(flags, &names, runs);
    println!("; node_exporter {:>8.3} ms; ratio {:.3} (aim 0.2)", theirs * 1e3, ours / theirs);
}

/// node_exporter, and the collectors that it has.
struct Peer {
    program: PathBuf,
    collectors: BTreeSet<String>,
}

impl Peer {
    fn find() -> Option<Peer> {
        let program = std::env::split_paths(&std::env::var_os("PATH")?)
            .map(|d| d.join("prometheus-node-exporter"))
            .find(|p| p.is_file())?;
        let help = Command::new(&program).arg("--help").output().ok()?;
        let help = String::from_utf8_lossy(&[help.stdout, help.stderr].concat()).into_owned();
        let flags = help.split_whitespace().filter_map(|w| w.strip_prefix("--collector."));
        let collectors = flags.filter(|f| !f.contains('.')).map(str::to_string).collect();
        Some(Peer { program, collectors })
    }

    fn cpu_of_a_scrape(&self, flags: &[String], collectors: &[&str], runs: u32) -> f64 {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port();
        let child = Command::new(&self.program)
            .args(["--collector.disable-defaults", "--web.disable-exporter-metrics", "--log.level=error"])
            .args(["--no-collector.netdev.netlink", "--no-collector.netclass.netlink"])
            .args(["--collector.netdev.device-exclude="])
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .args(collectors.iter().map(|name| format!("--collector.{name}")))
            .args(flags)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("node_exporter starts");
        let child = Running(child);
        let started = Instant::now();
        while !get(port) {
            assert!(started.elapsed() < Duration::from_secs(60), "node_exporter does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
        for _ in 0..2 {
            get(port);
        }
        let before = cpu_seconds(child.0.id());
        for _ in 0..runs {
            assert!(get(port), "node_exporter does not answer");
        }
        (cpu_seconds(child.0.id()) - before) / f64::from(runs)
    }
}
