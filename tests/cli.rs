//! The command line, as people and unit files use it.

mod common;

use std::process::{Command, Output, Stdio};
use std::{fs, io::Write};

use common::{Agent, Child, Metrics, SOON, Setup, binary, free_port, peer, run};

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn help_says_what_the_program_does_and_how_it_is_told() {
    let output = run(&["--help"]);
    assert!(output.status.success());
    let help = out(&output);
    for part in [
        "run",
        "scrape",
        "check",
        "alerts",
        "silence",
        "--config.file",
        "--web.listen-address",
        "--web.telemetry-path",
        "--web.config.file",
        "--storage.path",
        "--path.procfs",
        "--path.sysfs",
        "--path.rootfs",
        "--path.udev.data",
        "--log.level",
        "--log.format",
        "--collector.disable-defaults",
        "--collector.cpu",
        "--collector.textfile.directory",
        ":9100",
        "Without a configuration file",
    ] {
        assert!(help.contains(part), "{part} is not in\n{help}");
    }
    for line in help.lines() {
        assert!(line.chars().count() <= 120, "too wide: {line}");
    }
    let check = out(&run(&["check", "--help"]));
    for part in ["config", "rules", "metrics"] {
        assert!(check.contains(part), "{part} is not in\n{check}");
    }
}

#[test]
fn version_is_the_packages() {
    let output = run(&["--version"]);
    assert!(output.status.success());
    assert!(out(&output).starts_with(&format!("watchfire {}", env!("CARGO_PKG_VERSION"))), "{}", out(&output));
}

#[test]
fn a_flag_that_is_not_there_is_refused_and_the_nearest_is_named() {
    let output = run(&["--web.listen-adress=:1"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(err(&output).contains("--web.listen-address"), "{}", err(&output));
}

#[test]
fn scrape_prints_what_an_agent_would_serve_and_check_metrics_agrees() {
    let output = run(&["scrape"]);
    assert!(output.status.success(), "{}", err(&output));
    let page = Metrics(out(&output));
    for name in [
        "node_cpu_seconds_total",
        "node_memory_MemAvailable_bytes",
        "node_filesystem_avail_bytes",
        "node_uname_info",
        "node_network_receive_bytes_total",
        "namedprocess_namegroup_num_procs",
        "watchfire_memory_usage_ratio",
        "watchfire_cpu_usage_ratio",
        "watchfire_processes",
    ] {
        assert!(page.samples(name, &[]).next().is_some(), "{name} is missing");
    }
    let mut families = page.families();
    let all = families.len();
    families.sort_unstable();
    families.dedup();
    assert_eq!(families.len(), all, "a family comes twice");

    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("page");
    fs::write(&file, &output.stdout).unwrap();
    let checked = run(&["check", "metrics", &file.display().to_string()]);
    // 3: nothing but names that are node_exporter's and not as they should be.
    assert!(matches!(checked.status.code(), Some(0 | 3)), "{}", err(&checked));
    if let Some(promtool) = peer("promtool") {
        let page = fs::File::open(&file).unwrap();
        let said = Command::new(promtool).args(["check", "metrics"]).stdin(page).output().expect("promtool runs");
        assert!(matches!(said.status.code(), Some(0 | 3)), "promtool cannot parse it: {}", err(&said));
    }
}

#[test]
fn scrape_of_chosen_collectors_prints_no_other() {
    let output = run(&["scrape", "--collector.disable-defaults", "--collector.loadavg"]);
    assert!(output.status.success(), "{}", err(&output));
    let page = Metrics(out(&output));
    assert!(page.value("node_load1", &[]).is_some());
    assert!(page.samples("node_memory_MemTotal_bytes", &[]).next().is_none());
    assert_eq!(page.samples("node_scrape_collector_success", &[("collector", "loadavg")]).count(), 1);
}

#[test]
fn scrape_names_the_collectors_that_find_nothing_and_fails_where_all_of_them_do() {
    let empty = tempfile::tempdir().unwrap();
    let roots = ["procfs", "sysfs", "rootfs", "udev.data"].map(|r| format!("--path.{r}={}", empty.path().display()));
    let output = binary().arg("scrape").args(&roots).output().expect("it starts");
    let said = err(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("collector=meminfo") && said.contains(&format!("{}/meminfo", empty.path().display())),
        "{said}"
    );
    assert!(said.contains("nothing of the host could be read") && said.contains("--path.procfs"), "{said}");
    assert!(Metrics(out(&output)).value("node_time_seconds", &[]).is_some(), "what there is, is printed");

    fs::write(empty.path().join("loadavg"), "1.50 0.75 0.25 1/100 1234\n").unwrap();
    fs::write(empty.path().join("meminfo"), "rubbish\n").unwrap();
    let output = binary().arg("scrape").args(&roots).output().expect("it starts");
    let said = err(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("collector=vmstat") && !said.contains("collector=loadavg"), "{said}");
    assert_eq!(said.matches("collector=meminfo").count(), 1, "what fails is named once: {said}");
}

#[test]
fn check_config_accepts_what_is_right_and_counts_the_rules() {
    let setup = Setup::new("stock_rules: false\ngroups: [{name: g, rules: [{alert: A, expr: up == 0}]}]\n");
    let output = run(&["check", "config", &setup.config_file()]);
    assert!(output.status.success(), "{}", err(&output));
    assert!(out(&output).contains("1 rule"), "{}", out(&output));
    let output = run(&["check", "config", "/not/there.yaml"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(err(&output).contains("/not/there.yaml") && err(&output).contains("No such file"), "{}", err(&output));
}

#[test]
fn check_rules_names_file_line_and_column_of_every_fault() {
    let setup = Setup::new("");
    setup.write("good.yaml", "groups: [{name: g, rules: [{record: 'a:b', expr: sum(node_load1)}]}]\n");
    let text =
        "groups:\n- name: g\n  rules:\n  - alert: A\n    exp: up\n  - alert: B\n    expr: up = 1\n    for: 1 minute\n";
    setup.write("bad.yaml", text);
    let (good, bad) = (setup.path("good.yaml").display().to_string(), setup.path("bad.yaml").display().to_string());
    let output = run(&["check", "rules", &good]);
    assert!(output.status.success(), "{}", err(&output));
    let output = run(&["check", "rules", &good, &bad]);
    assert_eq!(output.status.code(), Some(2));
    let said = err(&output);
    for part in
        ["bad.yaml:5:5: unknown key \"exp\"", "did you mean \"expr\"?", "bad.yaml:7:", "up = 1", "bad.yaml:8:10:"]
    {
        assert!(said.contains(part), "{part} is not in\n{said}");
    }
    assert!(!said.contains("good.yaml"), "{said}");
    let stock = concat!(env!("CARGO_MANIFEST_DIR"), "/src/rules/stock.yaml");
    let output = run(&["check", "rules", stock]);
    assert!(output.status.success() && output.stderr.is_empty(), "{}", err(&output));
}

#[test]
fn check_metrics_reads_standard_input_and_names_the_line() {
    let check = |text: &str| {
        let mut child = binary()
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        child.stdin.take().expect("it is piped").write_all(text.as_bytes()).expect("it reads");
        child.wait_with_output().expect("it ends")
    };
    let good = check("# HELP a_total Things.\n# TYPE a_total counter\na_total{x=\"y\"} 1\n");
    assert!(good.status.success(), "{}", err(&good));
    let broken = check("# HELP a_total Things.\n# TYPE a_total counter\na_total{x=y} 1\n");
    assert!(!broken.status.success());
    assert!(err(&broken).contains(":3:"), "{}", err(&broken));
    let ugly = check("# HELP things Things.\n# TYPE things counter\nthings 1\n");
    assert!(!ugly.status.success());
    assert!((err(&ugly) + &out(&ugly)).contains("_total"), "{}", err(&ugly));
}

#[test]
fn without_a_file_the_agent_evaluates_the_stock_rules_and_keeps_its_state_in_the_home() {
    let home = tempfile::tempdir().unwrap();
    let port = free_port();
    let mut command = binary();
    command
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .env_remove("STATE_DIRECTORY")
        .env_remove("XDG_STATE_HOME")
        .env("HOME", home.path());
    let agent = Agent::start(&mut command, port);
    // Groups are evaluated every 15 s or more, each from a moment of its own on.
    let evaluated = |v| v > 0.0;
    agent.wait_for("watchfire_rule_evaluations_total", &[], evaluated);
    let metrics = agent.metrics();
    assert!(metrics.samples("watchfire_rule_evaluations_total", &[]).count() > 3, "one a group");
    assert!(metrics.samples("watchfire_rule_evaluation_failures_total", &[]).all(|(_, v)| v == 0.0));
    assert!(metrics.samples("node_scrape_collector_success", &[]).count() >= 19);
    let state = home.path().join(".local/state/watchfire");
    let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(state).unwrap());
    assert_eq!(mode & 0o777, 0o700, "what is in it is nobody else's business");
    let (code, log) = agent.terminate(SOON);
    assert_eq!(code, Some(0), "{log}");
    assert!(log.lines().all(|l| l.starts_with("time=") || l.starts_with('{')), "{log}");
    assert!(!log.contains("level=ERROR"), "{log}");
}

#[test]
fn the_flags_of_a_node_exporter_unit_file_are_understood() {
    let port = free_port();
    let setup = Setup::new("");
    let mut setup = setup
        .flag("--web.telemetry-path=/metrics")
        .flag("--path.procfs=/proc")
        .flag("--path.sysfs=/sys")
        .flag("--path.rootfs=/")
        .flag("--path.udev.data=/run/udev/data")
        .flag("--collector.textfile.directory=/var/lib/prometheus/node-exporter")
        .flag("--collector.processes")
        .flag("--no-collector.softnet")
        .flag("--log.level=info");
    setup.port = port;
    let agent = setup.start();
    // On a busy machine it is ready before the first pass over processes has ended.
    agent.wait_for("node_processes_state", &[], |_| true);
    let metrics = agent.metrics();
    assert!(metrics.value("node_load1", &[]).is_some());
    assert!(metrics.samples("node_softnet_processed_total", &[]).next().is_none());
}

#[test]
fn the_filters_of_a_node_exporter_unit_file_are_understood() {
    let scrape = |flags: &[&str]| {
        let collectors = ["netdev", "filesystem", "diskstats"].map(|c| format!("--collector.{c}"));
        let output = binary()
            .args(["scrape", "--collector.disable-defaults"])
            .args(collectors)
            .args(flags)
            .output()
            .expect("it starts");
        assert!(output.status.success(), "{flags:?}: {}", err(&output));
        Metrics(out(&output))
    };
    let all = scrape(&[]);
    assert_eq!(all.samples("node_network_receive_bytes_total", &[("device", "lo")]).count(), 1);
    let filtered = scrape(&[
        "--collector.netdev.device-exclude=^lo$",
        "--collector.filesystem.mount-points-exclude=^/",
        "--collector.filesystem.fs-types-exclude=^(tmpfs|proc)$",
        "--collector.diskstats.device-exclude=.",
    ]);
    assert_eq!(filtered.samples("node_network_receive_bytes_total", &[("device", "lo")]).count(), 0);
    assert_eq!(filtered.samples("node_filesystem_size_bytes", &[]).count(), 0);
    assert_eq!(filtered.samples("node_disk_reads_completed_total", &[]).count(), 0);
}

/// The flags of node_exporter 1.12 that a unit file on Linux may have, old spellings among them, each with a value where
/// it takes one. What excludes each other stands once.
const UNIT_FILE: &str = "
    --collector.arp.device-include=^eth --collector.arp.netlink --collector.bcache.priorityStats --collector.cpu.guest
    --collector.cpu.info --collector.cpu.info.flags-include=^aes$ --collector.cpu.info.bugs-include=^spectre
    --collector.diskstats.device-exclude=^ram --collector.ethtool.device-include=^eth
    --collector.ethtool.metrics-include=.* --collector.filesystem.mount-points-exclude=^/dev
    --collector.filesystem.fs-types-exclude=^proc$ --collector.filesystem.mount-timeout=5s
    --collector.filesystem.stat-workers=4 --collector.hwmon.chip-exclude=^x$ --collector.hwmon.sensor-exclude=^x$
    --collector.infiniband.device-exclude=^x$ --collector.interrupts.name-exclude=^x$
    --no-collector.interrupts.include-zeros --collector.ipvs.backend-labels=local_address,proto
    --collector.netclass.ignored-devices=^$ --collector.netclass.ignore-invalid-speed --collector.netclass.netlink
    --collector.netclass_rtnl.with-stats --collector.netdev.device-exclude=^lo$ --collector.netdev.address-info
    --collector.netdev.enable-detailed-metrics --collector.netdev.netlink --collector.netdev.label-ifalias
    --collector.netstat.fields=^Tcp --collector.ntp.server=127.0.0.1 --collector.ntp.server-port=123
    --collector.ntp.protocol-version=4 --collector.ntp.server-is-local --collector.ntp.ip-ttl=1
    --collector.ntp.max-distance=3.46608s --collector.ntp.local-offset-tolerance=1ms
    --collector.pcidevice.idsfile=/usr/share/misc/pci.ids --collector.pcidevice.names
    --collector.perf.cpus=0 --collector.perf.tracepoint=sched:sched_process_exec
    --collector.perf.disable-hardware-profilers --collector.perf.hardware-profilers=CpuCycles
    --collector.perf.disable-software-profilers --collector.perf.software-profilers=PageFault
    --collector.perf.disable-cache-profilers --collector.perf.cache-profilers=L1DataReadHit
    --collector.powersupply.ignored-supplies=^$ --collector.qdisc.fixtures= --collector.qdisk.device-include=^eth
    --collector.rapl.enable-zone-label --collector.runit.servicedir=/etc/service --collector.slabinfo.slabs-include=.*
    --collector.slabinfo.slabs-exclude=^x$ --collector.stat.softirq --collector.supervisord.url=http://localhost:9001/RPC2
    --collector.sysctl.include=fs.file-nr --collector.sysctl.include=kernel.threads-max
    --collector.sysctl.include-info=kernel.seccomp.actions_avail --collector.systemd.unit-include=.+
    --collector.systemd.unit-exclude=.+\\.slice --collector.systemd.private --collector.systemd.enable-task-metrics
    --collector.systemd.enable-restarts-metrics --collector.systemd.enable-start-time-metrics
    --collector.tapestats.ignored-devices=^$ --collector.textfile.directory=/nowhere --collector.vmstat.fields=^oom
    --collector.wifi.fixtures= --no-collector.cgroups --collector.dmmultipath --no-collector.drbd --no-collector.ethtool
    --collector.interrupts --collector.kernel_hung --collector.ntp --no-collector.logind --no-collector.runit
    --no-collector.supervisord --collector.nvmesubsystem --no-collector.perf --no-collector.systemd --collector.swap
    --collector.watchdog --collector.xfrm --no-collector.disable-defaults --web.telemetry-path=/metrics
    --no-web.disable-exporter-metrics --web.max-requests=40 --runtime.gomaxprocs=1 --no-web.systemd-socket
    --web.config.file= --log.level=info";

#[test]
fn no_flag_of_node_exporter_stops_the_start_and_the_log_says_what_those_without_meaning_do() {
    let setup = UNIT_FILE.split_whitespace().fold(Setup::new(""), |setup, flag| setup.flag(flag));
    let agent = setup.start();
    agent.wait_for("node_load1", &[], |_| true);
    let (code, log) = agent.terminate(SOON);
    assert_eq!(code, Some(0), "{log}");
    for flag in ["--collector.ntp", "--collector.wifi.fixtures", "--web.max-requests", "--collector.runit.servicedir"] {
        let line = log.lines().find(|l| l.contains(&format!("\"flag\":\"{flag}\"")));
        assert!(line.is_some_and(|l| l.contains("changes nothing here")), "{flag}: {log}");
    }
    assert!(!log.contains("--no-collector.logind"), "what is off and is not here needs no word: {log}");
}

#[test]
fn every_flag_of_the_node_exporter_that_is_installed_is_understood() {
    let Some(program) = peer("prometheus-node-exporter") else { return };
    let help = Command::new(program).arg("--help").output().expect("it runs");
    let help = String::from_utf8_lossy(&[help.stdout, help.stderr].concat()).into_owned();
    let line = regex::Regex::new(r#"(?m)^ {2,6}(?:-h, )?--([\w.-]+)(?:=("(.*)"|\S+))?"#).expect("a pattern");
    let mut flags = Vec::new();
    for found in line.captures_iter(&help) {
        let (name, value) = (&found[1], found.get(2).map(|v| v.as_str()));
        // Where to listen and what to print are this test's; what to include goes not with what to exclude.
        let left_out =
            ["help", "version", "web.listen-address", "web.systemd-socket", "log.format", "collector.disable-defaults"];
        if left_out.contains(&name) || name.starts_with("collector.") && name.ends_with("-include") {
            continue;
        }
        flags.push(match (value, found.get(3)) {
            (None, _) => format!("--{name}"),
            (_, Some(default)) => format!("--{name}={}", default.as_str().replace("\\\\", "\\")),
            // Those without a default show their own name in its place.
            (Some("COLLECTOR.PERF.TRACEPOINT"), _) => format!("--{name}=sched:sched_process_exec"),
            (Some(value), _) if value.starts_with("COLLECTOR.SYSCTL") => format!("--{name}=fs.file-nr"),
            (Some(value), _) if value.starts_with("COLLECTOR.") => format!("--{name}=^x$"),
            (Some(value), _) => format!("--{name}={value}"),
        });
    }
    assert!(flags.len() > 100, "{flags:?}");
    // What other tests look at, and would be slow here.
    let off = ["systemd", "perf", "ethtool"].map(|c| format!("--no-collector.{c}"));
    let agent = flags.iter().chain(&off).fold(Setup::new(""), |setup, flag| setup.flag(flag)).start();
    agent.wait_for("node_load1", &[], |_| true);
}

#[test]
fn a_socket_that_systemd_hands_over_is_listened_on() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("it is bound").port();
    let state = tempfile::tempdir().unwrap();
    // As systemd does: descriptor 3, and the process' own id in the environment.
    let mut command = Command::new("sh");
    command
        .args(["-c", "export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$@\" 3<&0 0</dev/null", "sh"])
        .arg(binary().get_program())
        .arg("--web.systemd-socket")
        .arg(format!("--storage.path={}", state.path().display()));
    let stdin = Stdio::from(std::os::fd::OwnedFd::from(listener));
    let agent = Agent::started(Child::spawn_with(&mut command, stdin), port);
    agent.wait_for("node_load1", &[], |_| true);
    let (code, log) = agent.terminate(SOON);
    assert_eq!(code, Some(0), "{log}");

    let refused = binary().arg("--web.systemd-socket").output().expect("it starts");
    assert_eq!(refused.status.code(), Some(1));
    assert!(err(&refused).contains("systemd has handed over no socket"), "{}", err(&refused));
}
