//! The dashboards: every query of every panel against a real Prometheus that scrapes the agent, and the JSON itself.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use common::{Prometheus, Receiver, Setup, eventually, peer};
use serde_json::Value;

const FILES: [&str; 4] = ["host.json", "processes.json", "alerts.json", "checks.json"];

fn load(file: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("dashboards").join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{file}: {e}"))
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Panels with queries, those in collapsed rows too.
fn panels(dashboard: &Value) -> Vec<&Value> {
    let all = list(dashboard, "panels").iter().flat_map(|p| std::iter::once(p).chain(list(p, "panels")));
    all.filter(|p| p["type"] != "row").collect()
}

fn kernel_file_has(file: &str, part: &str) -> bool {
    fs::read_to_string(Path::new("/proc").join(file)).is_ok_and(|text| text.contains(part))
}

fn any_disk() -> bool {
    let names = fs::read_dir("/sys/block").map(|dir| dir.flatten().map(|e| e.file_name()).collect::<Vec<_>>());
    let ignored = |name: &str| ["ram", "loop", "fd"].iter().any(|prefix| name.starts_with(prefix));
    let listed = |name: &str| kernel_file_has("diskstats", &format!(" {name} "));
    names.is_ok_and(|names| names.iter().filter_map(|n| n.to_str()).any(|n| !ignored(n) && listed(n)))
}

/// Whether a folder of the host has another in which this file is.
fn below(folder: &str, file: &str) -> bool {
    fs::read_dir(folder).is_ok_and(|dir| dir.flatten().any(|entry| entry.path().join(file).exists()))
}

/// Whether there is a cgroup with such a file, of version 2 or of this controller of version 1.
fn any_cgroup(file: &str, controller: &str, file_of_1: &str) -> bool {
    match Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        true => below("/sys/fs/cgroup", file),
        false => below(&format!("/sys/fs/cgroup/{controller}"), file_of_1),
    }
}

/// What a host must have for the metrics of a panel that begin so.
type Need = (&'static str, fn() -> bool);

/// All other metrics are there on every Linux host.
const NEEDS: &[Need] = &[
    ("node_pressure_cpu_waiting", || Path::new("/proc/pressure/cpu").exists()),
    ("node_pressure_memory", || Path::new("/proc/pressure/memory").exists()),
    ("node_pressure_io", || Path::new("/proc/pressure/io").exists()),
    ("watchfire_cpu_pressure", || Path::new("/proc/pressure/cpu").exists()),
    ("watchfire_memory_pressure", || Path::new("/proc/pressure/memory").exists()),
    ("watchfire_io_pressure", || Path::new("/proc/pressure/io").exists()),
    ("node_disk_", any_disk),
    ("watchfire_disk_busy", any_disk),
    ("watchfire_disk_queue", any_disk),
    ("watchfire_filesystem_errors", || below("/sys/fs/ext4", "errors_count")),
    ("watchfire_cgroup_cpu_usage", || any_cgroup("cpu.stat", "cpuacct", "cpuacct.usage")),
    ("watchfire_cgroup_cpu_periods", || any_cgroup("cpu.max", "cpu", "cpu.stat")),
    ("watchfire_cgroup_memory", || any_cgroup("memory.current", "memory", "memory.usage_in_bytes")),
    ("watchfire_cgroup_memory_swap", || any_cgroup("memory.swap.current", "memory", "memory.stat")),
    ("watchfire_cgroup_oom", || any_cgroup("memory.events", "memory", "memory.oom_control")),
    ("watchfire_cgroup_io", || any_cgroup("io.stat", "blkio", "blkio.throttle.io_service_bytes_recursive")),
    ("watchfire_cgroup_pids", || any_cgroup("pids.current", "pids", "pids.current")),
    ("watchfire_cgroup_pressure", || any_cgroup("cpu.pressure", "unified", "cpu.pressure")),
    ("node_vmstat_oom_kill", || kernel_file_has("vmstat", "oom_kill")),
    ("node_vmstat_pswp", || kernel_file_has("vmstat", "pswpin")),
    ("node_vmstat_pgmajfault", || kernel_file_has("vmstat", "pgmajfault")),
    ("node_netstat_TcpExt_", || kernel_file_has("net/netstat", "TcpExt")),
];

fn host_has(metric: &str) -> bool {
    NEEDS.iter().all(|(prefix, there)| !metric.starts_with(prefix) || there())
}

/// Queries that return nothing on a healthy host that is at rest: panel, query, and why.
const MAY_BE_EMPTY: &[(&str, &str, &str)] = &[
    ("Time per operation", "A", "drawn only while the disk is read"),
    ("Time per operation", "B", "drawn only while the disk is written"),
    ("Disk latency", "A", "drawn only while the disk is read"),
    ("Disk latency", "B", "drawn only while the disk is written"),
    ("In use", "C", "not every host has swap"),
    ("In use", "F", "virtual machines do not know the speed of their links"),
    ("Links in use", "A", "virtual machines do not know the speed of their links"),
    ("Hardware errors", "A", "virtual disks do not count their errors"),
    ("Hardware errors", "B", "not every kernel has machine checks"),
    ("Hardware errors", "C", "only memory with ECC counts its errors"),
    ("Hardware errors", "D", "only memory with ECC counts its errors"),
    ("I/O by service", "A", "a cgroup that does no I/O has no such counter"),
    ("I/O by service", "B", "a cgroup that does no I/O has no such counter"),
    ("Services at their limits", "A", "few services have a CPU limit"),
    ("Services at their limits", "B", "few services have a memory limit"),
    ("Ends by reason", "A", "not every kernel reports on processes, nor to everybody"),
    ("Failures by group", "A", "drawn only while processes fail"),
    ("Births and programs executed", "A", "not every kernel reports on processes, nor to everybody"),
    ("Memory of ended processes", "A", "not every kernel reports on processes, nor to everybody"),
    ("Longest wait in the kernel", "A", "drawn once a process has waited for a second"),
    ("Zombies by parent", "A", "drawn once there has been a zombie"),
    ("Next certificate expires in", "A", "no check here is shown a certificate"),
    ("Certificates", "A", "no check here is shown a certificate"),
    ("Memory of commands", "A", "a command that takes less than the agent has no number"),
];

/// Names of metrics in a query: words with an underscore that are neither functions nor labels.
fn metrics(expr: &str) -> BTreeSet<String> {
    let words = expr.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'));
    let families = ["node_", "watchfire_", "namedprocess_", "process_"];
    words.filter(|w| families.iter().any(|f| w.starts_with(f))).map(str::to_string).collect()
}

/// The query as Grafana sends it, for this instance.
fn substituted(expr: &str, instance: &str) -> String {
    let values = [
        ("$__rate_interval", "10s"),
        ("$__interval", "1s"),
        ("$__range", "5m"),
        ("$instance", instance),
        ("$job", "node"),
        ("$groupname", ".*"),
    ];
    let expr = values.iter().fold(expr.to_string(), |expr, (name, value)| expr.replace(name, value));
    assert!(!expr.contains('$'), "a variable that is not declared here: {expr}");
    expr
}

/// Whether a number is among the samples, of an instant query or a range query.
fn has_number(result: &[Value]) -> bool {
    let number = |sample: &Value| sample[1].as_str().is_some_and(|v| v != "NaN");
    result.iter().any(|series| number(&series["value"]) || list(series, "values").iter().any(number) || number(series))
}

/// A query of a panel, or of annotations.
struct Query<'a> {
    panel: &'a str,
    kind: &'a str,
    reference: &'a str,
    instant: bool,
    expr: &'a str,
    legend: &'a str,
}

/// All queries of a panel.
fn panel_queries(panel: &Value) -> Vec<Query<'_>> {
    let queries = list(panel, "targets").iter().map(|target| {
        let text = |key: &str| target[key].as_str().unwrap_or_default();
        Query {
            panel: panel["title"].as_str().unwrap_or_default(),
            kind: panel["type"].as_str().unwrap_or_default(),
            reference: text("refId"),
            instant: target["instant"] == true,
            expr: text("expr"),
            legend: text("legendFormat"),
        }
    });
    queries.collect()
}

/// All queries of a dashboard, those of annotations too.
fn queries(dashboard: &Value) -> Vec<Query<'_>> {
    let annotations = list(&dashboard["annotations"], "list").iter().filter_map(|a| {
        let expr = a["expr"].as_str()?;
        Some(Query { panel: "annotations", kind: "", reference: "", instant: false, expr, legend: "" })
    });
    annotations.chain(panels(dashboard).into_iter().flat_map(panel_queries)).collect()
}

impl Query<'_> {
    /// What a graph or a table would show.
    fn ask(&self, prometheus: &Prometheus, instance: &str) -> Result<Vec<Value>, String> {
        let query = substituted(self.expr, instance);
        let result = if self.instant { prometheus.query(&query) } else { prometheus.query_range(&query) };
        result.map_err(|e| format!("{} {}: {query}: {e}", self.panel, self.reference))
    }

    /// What is wrong with the answer, if anything.
    fn complaint(&self, prometheus: &Prometheus, instance: &str) -> Option<String> {
        let result = match self.ask(prometheus, instance) {
            Ok(result) => result,
            Err(error) => return Some(error),
        };
        let what = format!("{} {}: {}", self.panel, self.reference, self.expr);
        if self.kind == "stat" && result.len() > 1 {
            return Some(format!("{what}: {} numbers where there is room for one", result.len()));
        }
        let excused =
            MAY_BE_EMPTY.iter().any(|(panel, reference, _)| *panel == self.panel && *reference == self.reference)
                || !metrics(self.expr).iter().all(|m| host_has(m));
        (!has_number(&result) && !excused).then(|| format!("{what}: returns nothing"))
    }

    /// The names of this moment's series in the legend.
    fn legends(&self, prometheus: &Prometheus, instance: &str) -> Vec<String> {
        let result = prometheus.query(&substituted(self.expr, instance)).unwrap_or_default();
        let name = |series: &Value| {
            let labels = series["metric"].as_object().into_iter().flatten();
            labels.fold(self.legend.to_string(), |name, (label, value)| {
                name.replace(&format!("{{{{{label}}}}}"), value.as_str().unwrap_or_default())
            })
        };
        result.iter().map(name).collect()
    }
}

fn variables_without_values(dashboard: &Value, prometheus: &Prometheus, instance: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    for variable in list(&dashboard["templating"], "list").iter().filter(|v| v["type"] == "query") {
        let query = variable["query"]["query"].as_str().expect("a query");
        let inner = query.strip_prefix("label_values(").and_then(|q| q.strip_suffix(')')).expect("label_values");
        let (selector, label) = inner.rsplit_once(',').expect("a selector and a label");
        let values = prometheus.label_values(&substituted(selector, instance), label.trim());
        if values.as_ref().is_ok_and(|v| v.is_empty()) || values.is_err() {
            complaints.push(format!("variable {}: {query}: {values:?}", variable["name"]));
        }
    }
    complaints
}

/// Two lines of a graph by one name could not be told apart.
fn legends_that_repeat(dashboard: &Value, prometheus: &Prometheus, instance: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    for panel in panels(dashboard).into_iter().filter(|p| p["type"] == "timeseries" || p["type"] == "state-timeline") {
        let mut seen = BTreeSet::new();
        for name in panel_queries(panel).iter().flat_map(|q| q.legends(prometheus, instance)) {
            if name.contains("{{") || name == "__auto" {
                complaints.push(format!("{}: the legend says {name:?}", panel["title"]));
            } else if !seen.insert(name.clone()) {
                complaints.push(format!("{}: two lines are named {name:?}", panel["title"]));
            }
        }
    }
    complaints
}

/// Grafana makes one row of what has the same labels in all queries of a table. The metric's name is one of them.
fn tables_that_do_not_merge(dashboard: &Value, prometheus: &Prometheus, instance: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    for panel in panels(dashboard).into_iter().filter(|p| p["type"] == "table" && list(p, "targets").len() > 1) {
        let mut columns = BTreeSet::new();
        for query in panel_queries(panel) {
            for series in query.ask(prometheus, instance).unwrap_or_default() {
                let labels = series["metric"].as_object().into_iter().flatten();
                columns.insert(labels.map(|(name, _)| name.clone()).collect::<Vec<_>>());
            }
        }
        if columns.len() != 1 || columns.iter().flatten().any(|c| c == "__name__") {
            complaints.push(format!("{}: the queries' labels differ: {columns:?}", panel["title"]));
        }
    }
    complaints
}

#[test]
fn every_query_of_every_panel_returns_something_on_a_host_that_has_the_data() {
    let Some(program) = peer("prometheus") else { return };
    let web = Receiver::start();
    let config = format!(
        r#"
groups:
- name: test
  interval: 1s
  rules:
  - {{alert: Fires, expr: test_level > 0, labels: {{severity: warning}}}}
  - {{alert: WillFire, expr: vector(1), for: 1h, labels: {{severity: warning}}}}
processes: {{wanted: {{prometheus: 1}}}}
checks:
- {{name: fine, command: ['true'], format: exit, interval: 1s, timeout: 1s}}
- {{name: bad, command: ['false'], format: exit, interval: 1s, timeout: 1s}}
- {{name: near, tcp: {{target: '{}'}}, interval: 1s, timeout: 1s}}
alerting:
  route: {{receiver: all, group_wait: 0s, group_interval: 1s}}
  receivers: [{{name: all, webhook_configs: [{{url: '{}'}}], exec_configs: [{{command: ['true']}}]}}]
"#,
        web.url("").trim_start_matches("http://"),
        web.url("/")
    );
    let setup = Setup::new(&config);
    setup.write("textfiles/level.prom", "test_level 0\n");
    let directory = setup.path("textfiles").display().to_string();
    let agent = setup
        .clone()
        .flag(format!("--collector.textfile.directory={directory}"))
        // By name, so that it does not matter how many cgroups there are.
        .flag("--collector.cgroup")
        .start();
    let prometheus = Prometheus::start(program, &agent);
    // A rate needs a sample before: the alert fires when Prometheus already looks.
    eventually("some scrapes", Duration::from_secs(60), || {
        prometheus.value("sum(count_over_time(up[5m]))").filter(|n| *n >= 5.0)
    });
    setup.write("textfiles/level.prom", "test_level 1\n");
    eventually("enough data, and alerts", Duration::from_secs(60), || {
        prometheus.value("count(ALERTS{alertstate=\"firing\"})")?;
        prometheus.value("count(ALERTS{alertstate=\"pending\"})")?;
        prometheus.value("sum(count_over_time(up[5m]))").filter(|n| *n >= 16.0)
    });

    let instance = format!("127.0.0.1:{}", agent.port);
    let mut complaints = Vec::new();
    let mut asked = 0;
    let mut excuses: Vec<_> = MAY_BE_EMPTY.iter().collect();
    for file in FILES {
        let dashboard = load(file);
        complaints.extend(variables_without_values(&dashboard, &prometheus, &instance));
        for query in queries(&dashboard) {
            asked += 1;
            excuses.retain(|(panel, reference, _)| (*panel, *reference) != (query.panel, query.reference));
            complaints.extend(query.complaint(&prometheus, &instance));
        }
        complaints.extend(legends_that_repeat(&dashboard, &prometheus, &instance));
        complaints.extend(tables_that_do_not_merge(&dashboard, &prometheus, &instance));
    }
    assert!(asked > 80, "only {asked} queries were found");
    assert!(excuses.is_empty(), "excuses for queries that are not there: {excuses:?}");
    assert!(complaints.is_empty(), "of {asked} queries {}:\n{}", complaints.len(), complaints.join("\n"));
}

/// Where a panel is.
fn place(panel: &Value) -> [u64; 4] {
    ["x", "y", "w", "h"]
        .map(|k| panel["gridPos"][k].as_u64().unwrap_or_else(|| panic!("{}: no gridPos", panel["title"])))
}

#[test]
fn the_json_is_what_grafana_imports() {
    for file in FILES {
        let dashboard = load(file);
        assert!(dashboard["schemaVersion"].as_u64().is_some_and(|v| v >= 36), "{file}");
        assert!(dashboard.get("id").is_none_or(Value::is_null), "{file}: an id is of one Grafana, not of all");
        for key in ["uid", "title", "description"] {
            assert!(dashboard[key].as_str().is_some_and(|s| !s.is_empty()), "{file}: {key}");
        }
        let variables: BTreeMap<_, _> = list(&dashboard["templating"], "list")
            .iter()
            .map(|v| (v["name"].as_str().unwrap_or_default(), v))
            .collect();
        assert_eq!(variables["datasource"]["type"], "datasource", "{file}");
        assert_eq!(variables["datasource"]["query"], "prometheus", "{file}");
        for name in ["job", "instance"] {
            assert_eq!(variables[name]["datasource"]["uid"], "${datasource}", "{file}: {name}");
        }

        let mut ids = BTreeSet::new();
        let all: Vec<&Value> = list(&dashboard, "panels").iter().collect();
        for (i, panel) in all.iter().enumerate() {
            let title = panel["title"].as_str().filter(|t| !t.is_empty()).unwrap_or_else(|| panic!("{file}: no title"));
            assert!(ids.insert(panel["id"].as_u64().expect("an id")), "{file}, {title}: its id is another panel's");
            let [x, y, w, h] = place(panel);
            assert!(x + w <= 24 && w > 0 && h > 0, "{file}, {title}: outside of the grid");
            for other in &all[..i] {
                let [ox, oy, ow, oh] = place(other);
                let apart = x >= ox + ow || ox >= x + w || y >= oy + oh || oy >= y + h;
                assert!(apart, "{file}: {title} covers {}", other["title"]);
            }
        }
        // As nothing covers anything, what is as large as the whole leaves no gap.
        let bottom = all.iter().map(|p| place(p)).map(|[_, y, _, h]| y + h).max().unwrap_or(0);
        let area: u64 = all.iter().map(|p| place(p)).map(|[_, _, w, h]| w * h).sum();
        assert_eq!(area, 24 * bottom, "{file}: there are gaps between the panels");
        for panel in panels(&dashboard) {
            let title = &panel["title"];
            assert!(panel["description"].as_str().is_some_and(|d| !d.is_empty()), "{file}, {title}: no description");
            if panel["type"] == "stat" || panel["type"] == "timeseries" {
                let unit = &panel["fieldConfig"]["defaults"]["unit"];
                assert!(unit.as_str().is_some_and(|u| !u.is_empty()), "{file}, {title}: no unit");
            }
            assert!(!list(panel, "targets").is_empty(), "{file}, {title}: no query");
            let mut references = BTreeSet::new();
            for target in list(panel, "targets") {
                assert_eq!(target["datasource"]["uid"], "${datasource}", "{file}, {title}");
                assert_eq!(target["datasource"]["type"], "prometheus", "{file}, {title}");
                assert!(references.insert(target["refId"].as_str().expect("a refId")), "{file}, {title}: refId");
                let expr = target["expr"].as_str().expect("an expr");
                assert!(expr.contains("instance=~\"$instance\""), "{file}, {title}: not of the selected host: {expr}");
            }
        }
    }
}

#[test]
fn links_between_the_dashboards_lead_to_one_that_is_there() {
    let uids: BTreeSet<String> =
        FILES.iter().map(|f| load(f)["uid"].as_str().unwrap_or_default().to_string()).collect();
    assert_eq!(uids.len(), FILES.len(), "each has a uid of its own");
    for file in FILES {
        let dashboard = load(file);
        let own = dashboard["uid"].as_str().unwrap_or_default();
        let mut linked = BTreeSet::new();
        // Links of the dashboard, of panels and of fields.
        let text = dashboard.to_string();
        for (at, _) in text.match_indices("/d/") {
            let uid: String = text[at + 3..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
            assert!(uids.contains(&uid), "{file}: a link to {uid}, which is none of ours");
            linked.insert(uid);
        }
        for other in uids.iter().filter(|u| *u != own) {
            assert!(linked.contains(other), "{file}: no link to {other}");
        }
        for link in list(&dashboard, "links") {
            assert_eq!((&link["includeVars"], &link["keepTime"]), (&Value::Bool(true), &Value::Bool(true)), "{file}");
        }
    }
}
