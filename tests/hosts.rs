//! Hosts of every size and shape that this machine is not, as trees of kernel files.

mod common;

use std::time::Duration;

use common::trees::Host;
use common::{Metrics, SOON, Setup, binary, eventually};

/// `watchfire scrape` of the host.
fn scrape(host: &Host, flags: &[&str]) -> Metrics {
    let output = binary().arg("scrape").args(host.flags()).args(flags).output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Metrics(String::from_utf8(output.stdout).expect("text"))
}

fn count(metrics: &Metrics, name: &str) -> usize {
    metrics.samples(name, &[]).count()
}

#[test]
fn a_machine_of_256_cpus() {
    let host = Host::captured();
    host.cpus(256);
    let metrics = scrape(&host, &["--collector.interrupts", "--collector.softirqs"]);
    assert_eq!(count(&metrics, "node_cpu_seconds_total"), 256 * 8);
    assert_eq!(metrics.value("node_cpu_seconds_total", &[("cpu", "255"), ("mode", "user")]), Some(12.55));
    assert_eq!(count(&metrics, "node_softnet_processed_total"), 256);
    assert_eq!(count(&metrics, "node_schedstat_running_seconds_total"), 256);
    assert_eq!(count(&metrics, "node_cpu_core_throttles_total"), 128, "once a core");
    assert_eq!(count(&metrics, "node_cpu_scaling_frequency_hertz"), 256);
    assert_eq!(count(&metrics, "node_softirqs_functions_total"), 256 * 10);
    assert_eq!(metrics.samples("node_interrupts_total", &[("type", "LOC")]).count(), 256);
    assert_eq!(metrics.value("node_interrupts_total", &[("type", "LOC"), ("cpu", "254")]), Some(274_311.0));
}

#[test]
fn a_host_with_5000_network_interfaces_within_its_file_descriptors() {
    let host = Host::captured();
    host.interfaces(5_000);
    // Where few files may be open, as many services have it, it does with fewer.
    let mut setup =
        Setup::new("global: {scrape_interval: 500ms}\ncollectors: {netclass: {interval: 500ms, timeout: 60s}}\n");
    for flag in host.flags() {
        setup = setup.flag(flag);
    }
    let agent = setup.start();
    let all = eventually("all interfaces are there", SOON, || {
        let metrics = agent.metrics();
        (count(&metrics, "node_network_mtu_bytes") == 5_001).then_some(metrics)
    });
    assert!(count(&all, "node_network_receive_bytes_total") >= 5_001);
    assert_eq!(all.value("node_network_receive_bytes_total", &[("device", "veth1387")]), Some(4_999.0));
    let open = std::fs::read_dir(format!("/proc/{}/fd", agent.id())).expect("its descriptors").count();
    assert!(open < 600, "{open} file descriptors are open");

    // Some go, and one takes the name of another.
    host.remove("sys/class/net/veth0000");
    host.remove("sys/class/net/veth1387");
    eventually("what is gone is gone in the next run", SOON, || {
        let metrics = agent.metrics();
        (count(&metrics, "node_network_mtu_bytes") == 4_999).then_some(())
    });
}

#[test]
fn a_host_with_1000_mounts() {
    let host = Host::captured();
    host.mounts(1_000);
    let metrics = scrape(&host, &[]);
    assert_eq!(count(&metrics, "node_filesystem_size_bytes"), 1_000);
    assert_eq!(metrics.value("node_filesystem_device_error", &[("mountpoint", "/data/0999")]), Some(0.0));
}

#[test]
fn a_container_without_sysfs_has_what_procfs_says() {
    let host = Host::captured();
    host.remove("sys");
    let metrics = scrape(&host, &[]);
    for name in
        ["node_load1", "node_memory_MemTotal_bytes", "node_cpu_seconds_total", "node_network_receive_bytes_total"]
    {
        assert!(count(&metrics, name) > 0, "{name}");
    }
    assert_eq!(metrics.value("node_scrape_collector_success", &[("collector", "netclass")]), Some(0.0));
    assert_eq!(count(&metrics, "node_network_mtu_bytes"), 0);
}

/// With `hidepid=2` others' processes are not there for whoever is not root: process 1 neither, whose mounts are the
/// host's.
#[test]
fn where_others_processes_are_hidden_the_rest_is_served() {
    let host = Host::captured();
    let mounts = host.read("proc/1/mountinfo");
    host.remove("proc/1");
    host.write("proc/self/mountinfo", &mounts);
    let metrics = scrape(&host, &[]);
    assert_eq!(count(&metrics, "node_filesystem_size_bytes"), 1);
    assert!(count(&metrics, "node_load1") == 1 && count(&metrics, "node_cpu_seconds_total") > 0);
}

#[test]
fn a_tree_that_shrinks_while_it_is_read_stops_nothing() {
    let host = Host::captured();
    host.cpus(64);
    let mut setup = Setup::new("global: {scrape_interval: 100ms}\n");
    for flag in host.flags() {
        setup = setup.flag(flag);
    }
    let agent = setup.start();
    let cpus = |count_is: usize| {
        eventually("the CPUs that are there are served", SOON, || {
            (agent.metrics().samples("node_cpu_seconds_total", &[("mode", "idle")]).count() == count_is).then_some(())
        });
    };
    cpus(64);
    host.cpus(2);
    cpus(2);
    std::thread::sleep(Duration::from_millis(300));
    host.cpus(8);
    cpus(8);
}
