//! The `systemd` collector against a real message bus and a stand-in for systemd over another D-Bus library, held
//! against what node_exporter says of the same.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use common::{Agent, Child, Metrics, SOON, Setup, binary, eventually, node_exporter_page, peer};
use rustix::process::Signal;

const ALL: [&str; 5] = [
    "--collector.disable-defaults",
    "--collector.systemd",
    "--collector.systemd.enable-task-metrics",
    "--collector.systemd.enable-restarts-metrics",
    "--collector.systemd.enable-start-time-metrics",
];

/// systemd on a bus, in a directory.
struct Bus {
    setup: Setup,
    daemon: Child,
    systemd: Child,
}

/// Whether the programs are there that the tests need.
fn programs() -> Option<PathBuf> {
    let daemon = peer("dbus-daemon")?;
    let mut modules = Command::new("/usr/bin/python3");
    modules.args(["-c", "import dbus.server; from gi.repository import GLib"]).stderr(Stdio::null());
    if !modules.status().is_ok_and(|s| s.success()) {
        assert!(
            std::env::var_os("WATCHFIRE_REQUIRE_PEERS").is_none(),
            "python3-dbus and python3-gi are not installed, and peers are required"
        );
        eprintln!("skipped: python3-dbus and python3-gi are not installed");
        return None;
    }
    Some(daemon)
}

fn stand_in(mode: &str, at: &str) -> Child {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/systemd1.py");
    let child = Child::spawn(Command::new("/usr/bin/python3").args([script, mode, at]));
    eventually("systemd's stand-in is there", SOON, || child.log().contains("ready").then_some(()));
    child
}

impl Bus {
    fn start() -> Option<Bus> {
        let daemon = programs()?;
        let setup = Setup::new("collectors: {systemd: {enabled: true, interval: 0s}}\n");
        let socket = setup.path("bus");
        setup.write(
            "bus.conf",
            &format!(
                "<busconfig><type>custom</type><listen>unix:path={}</listen><auth>EXTERNAL</auth>\
                 <policy context=\"default\"><allow send_destination=\"*\"/><allow receive_sender=\"*\"/>\
                 <allow own=\"*\"/><allow user=\"*\"/></policy></busconfig>",
                socket.display()
            ),
        );
        let address = format!("unix:path={}", socket.display());
        let (daemon, systemd) = Bus::spawn(&daemon, &setup, &address);
        Some(Bus { setup, daemon, systemd })
    }

    fn spawn(daemon: &PathBuf, setup: &Setup, address: &str) -> (Child, Child) {
        let config = format!("--config-file={}", setup.path("bus.conf").display());
        let daemon = Child::spawn(Command::new(daemon).args([&config, "--nofork"]));
        eventually("the bus listens", SOON, || setup.path("bus").exists().then_some(()));
        (daemon, stand_in("bus", address))
    }

    fn address(&self) -> String {
        format!("unix:path={}", self.setup.path("bus").display())
    }

    /// What the agent gives with these flags.
    fn scrape(&self, flags: &[&str]) -> Metrics {
        let command = &mut binary();
        scrape(command.env("DBUS_SYSTEM_BUS_ADDRESS", self.address()), flags)
    }

    fn agent(&self) -> Agent {
        Agent::start(self.setup.command().env("DBUS_SYSTEM_BUS_ADDRESS", self.address()), self.setup.port)
    }
}

fn scrape(command: &mut Command, flags: &[&str]) -> Metrics {
    let output = command.arg("scrape").args(flags).output().expect("the binary starts");
    Metrics(String::from_utf8(output.stdout).expect("UTF-8"))
}

/// Series with their values, and types, of the names that begin with `node_systemd_`.
fn systemd_samples(page: &str) -> BTreeMap<String, f64> {
    let samples = page.lines().filter(|l| l.starts_with("node_systemd_")).map(|l| {
        let (series, value) = l.rsplit_once(' ').expect("series and value");
        (series.to_string(), value.parse().expect("a value"))
    });
    let types = page.lines().filter(|l| l.starts_with("# TYPE node_systemd_")).map(|l| (l.to_string(), 0.0));
    samples.chain(types).collect()
}

#[test]
fn units_as_node_exporter_sees_them() {
    let Some(bus) = Bus::start() else { return };
    let Some(node_exporter) = peer("prometheus-node-exporter") else { return };
    // It has the address from the environment only.
    let wrapper =
        format!("#!/bin/sh\nDBUS_SYSTEM_BUS_ADDRESS={} exec {} \"$@\"\n", bus.address(), node_exporter.display());
    bus.setup.write("node_exporter", &wrapper);
    let wrapper = bus.setup.path("node_exporter");
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).unwrap();

    // The first is the default, but for `target`, which Debian has added to it.
    for extra in [
        r"--collector.systemd.unit-exclude=.+\.(automount|device|mount|scope|slice)",
        "--collector.systemd.unit-include=.*(mount|ssh).*",
        "--collector.systemd.unit-exclude=.*service",
    ] {
        let flags: Vec<&str> = ALL.into_iter().chain([extra]).collect();
        let theirs = systemd_samples(&node_exporter_page(wrapper.clone(), &flags).text());
        assert!(theirs.len() > 15, "{theirs:?}");
        let mut ours = systemd_samples(&bus.scrape(&flags).0);
        // Version 1.5, which is what Debian has, did not know it yet.
        ours.retain(|series, _| !series.contains("node_systemd_virtualization_info"));
        let only = |a: &BTreeMap<_, _>, b: &BTreeMap<_, f64>| -> Vec<(String, f64)> {
            a.iter().filter(|(k, v)| b.get(*k) != Some(v)).map(|(k, v): (&String, &f64)| (k.clone(), *v)).collect()
        };
        assert_eq!((only(&theirs, &ours), only(&ours, &theirs)), (vec![], vec![]), "theirs and ours with {extra}");
    }
}

#[test]
fn what_a_user_asks_of_units() {
    let Some(bus) = Bus::start() else { return };
    let metrics = bus.scrape(&ALL);
    let state = |name, state| metrics.value("node_systemd_unit_state", &[("name", name), ("state", state)]);
    assert_eq!(state("backup.service", "failed"), Some(1.0));
    assert_eq!(state("ssh.service", "active"), Some(1.0));
    assert_eq!(state("ssh.service", "failed"), Some(0.0));
    // Counted, but not exported: not loaded.
    assert_eq!(state("masked.service", "inactive"), None);
    assert_eq!(metrics.value("node_systemd_units", &[("state", "inactive")]), Some(4.0));
    assert_eq!(metrics.value("node_systemd_virtualization_info", &[("virtualization_type", "kvm")]), Some(1.0));
    assert_eq!(metrics.value("node_systemd_system_running", &[]), Some(0.0));
    // No count and no limit.
    assert_eq!(metrics.value("node_systemd_unit_tasks_max", &[("name", "reloads.service")]), None);

    let old = bus.scrape(&[
        "--collector.disable-defaults",
        "--collector.systemd",
        "--collector.systemd.unit-whitelist=.*mount",
        "--collector.systemd.unit-blacklist=-.*",
    ]);
    let names: Vec<_> = old.samples("node_systemd_unit_state", &[("state", "failed")]).collect();
    assert_eq!(names, [(r#"name="srv-data.mount",state="failed",type="nfs4""#, 1.0)]);
    assert_eq!(old.samples("node_systemd_unit_start_time_seconds", &[]).count(), 0);
}

#[test]
fn systemds_own_socket_says_the_same() {
    let Some(bus) = Bus::start() else { return };
    fs::create_dir_all(bus.setup.path("root/run/systemd")).unwrap();
    let _systemd = stand_in("private", &bus.setup.path("root/run/systemd/private").display().to_string());
    let root = format!("--path.rootfs={}", bus.setup.path("root").display());
    let flags: Vec<&str> = ALL.into_iter().chain(["--collector.systemd.private", root.as_str()]).collect();
    let private = scrape(binary().env_remove("DBUS_SYSTEM_BUS_ADDRESS"), &flags);
    assert_eq!(systemd_samples(&private.0), systemd_samples(&bus.scrape(&ALL).0));
}

#[test]
fn a_bus_that_dies_and_comes_back() {
    let Some(mut bus) = Bus::start() else { return };
    let agent = bus.agent();
    let success = [("collector", "systemd")];
    agent.wait_for("node_scrape_collector_success", &success, |v| v == 1.0);
    bus.daemon.kill();
    agent.wait_for("node_scrape_collector_success", &success, |v| v == 0.0);
    agent.wait_for_log("cannot connect to");
    let metrics = agent.metrics();
    assert_eq!(metrics.samples("node_systemd_unit_state", &[]).count(), 0);
    assert_eq!(metrics.value("node_scrape_collector_success", &[("collector", "loadavg")]), Some(1.0));

    fs::remove_file(bus.setup.path("bus")).unwrap();
    let address = bus.address();
    let daemon = programs().expect("it was there before");
    (bus.daemon, bus.systemd) = Bus::spawn(&daemon, &bus.setup, &address);
    agent.wait_for("node_scrape_collector_success", &success, |v| v == 1.0);
    agent.wait_for("node_systemd_unit_state", &[("name", "backup.service"), ("state", "failed")], |v| v == 1.0);
}

#[test]
fn a_systemd_that_hangs_delays_nothing_and_is_told() {
    let Some(bus) = Bus::start() else { return };
    let agent = bus.agent();
    let success = [("collector", "systemd")];
    agent.wait_for("node_scrape_collector_success", &success, |v| v == 1.0);
    bus.systemd.signal(Signal::STOP);
    let ticks = || agent.metrics().value("watchfire_tick_duration_seconds_count", &[]).expect("ticks are counted");
    let before = ticks();
    agent.wait_for("node_scrape_collector_success", &success, |v| v == 0.0);
    agent.wait_for_log("no answer in time");
    assert!(ticks() >= before + 4.0, "the ticks stood still");
    bus.systemd.signal(Signal::CONT);
    agent.wait_for("node_scrape_collector_success", &success, |v| v == 1.0);
}
