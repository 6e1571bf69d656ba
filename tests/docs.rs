//! The documentation is held against the program: `config.example.yaml` has every key with its default, and the README's
//! tables, snippets and flags are those of the code.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use regex::Regex;
use watchfire::collect::COLLECTORS;
use watchfire::config::{Config, ConfigFile};
use watchfire::http::Access;
use watchfire::model::parse_duration;
use watchfire::rules::{self, STOCK_RULES};
use watchfire::yaml::{Document, Faults, FromYaml, Node};

use common::snippets;

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> String {
    fs::read_to_string(repository().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn regex(text: &str) -> Regex {
    Regex::new(text).unwrap_or_else(|e| panic!("{e}"))
}

/// Loads a configuration that must be without fault or warning, but for programs that this host does not have.
fn load(path: &Path) -> ConfigFile {
    let config = Config::load(Some(path), |_| {}).unwrap_or_else(|faults| panic!("{faults}"));
    let said: Vec<String> = config.warnings.iter().map(|fault| fault.in_a_line()).collect();
    assert!(said.iter().all(|warning| warning.contains("no program")), "{said:#?}");
    config.file
}

fn parse(name: &str, text: &str) -> Node {
    let mut faults = Faults::default();
    let root = Document::parse(name, text, &mut faults).root;
    assert!(faults.is_empty(), "{faults}");
    root
}

/// The example with the keys behind a `#` in force.
fn uncommented() -> String {
    uncommented_but(&[])
}

/// The same, but for lines with one of these.
fn uncommented_but(left: &[&str]) -> String {
    let key = regex(r"^( *)# ( *(?:- |#|[a-z_0-9]+:(?: |$)).*)$");
    let line = |line: &str| match left.iter().any(|part| line.contains(part)) {
        true => format!("{line}\n"),
        false => key.replace(line, "$1$2").into_owned() + "\n",
    };
    read("config.example.yaml").lines().map(line).collect()
}

/// The paths of all keys of a document, as `FromYaml::key_paths` writes them, each with its line.
fn keys(node: &Node, path: &str, found: &mut Vec<(String, usize)>) {
    for item in node.items() {
        keys(item, &format!("{path}[]"), found);
    }
    for (key, value) in node.entries() {
        let below = if path.is_empty() { key.name.clone() } else { format!("{path}.{}", key.name) };
        // The routes below a route have the keys of a route.
        let below = below.replace("alerting.route.routes[].", "alerting.route.");
        // A header's name is the user's.
        let below = regex(r"\bhttp_headers\.[A-Za-z-]+\.").replace(&below, "http_headers.*.").into_owned();
        found.push((shown_once(&below), key.at.line as usize));
        keys(value, &below, found);
    }
}

/// The path of a key that may be shown at one of several places.
fn shown_once(path: &str) -> String {
    let path = regex(r"^alerting\..*\bhttp_config\.").replace(path, "http_config.").into_owned();
    let path = regex(r"^checks\[\]\..*\b(basic_auth|authorization|tls_config)\.")
        .replace(&path, "http_config.$1.")
        .into_owned();
    // Commands are limited in the same way wherever there are some.
    let path = regex(r"^(?:alerting\..*\bexec_configs\[\]|actions\[\])\.limits\.")
        .replace(&path, "checks[].limits.")
        .into_owned();
    // So are the keys of TLS, which mail and syslog have too.
    regex(r"^alerting\..*\b(?:smtp_)?tls_config\.").replace(&path, "http_config.tls_config.").into_owned()
}

fn all_key_paths() -> Vec<String> {
    let mut paths = Vec::new();
    ConfigFile::key_paths("", &mut paths);
    // How requests are made is the same wherever some are, and for the server of oauth2 as for all.
    let again = regex(r"\.oauth2\.(?:tls_config|proxy_|no_proxy)");
    paths.retain(|path| !again.is_match(path));
    paths.iter_mut().for_each(|path| *path = shown_once(path));
    paths
}

#[test]
fn the_example_holds_every_key_in_the_programs_order_and_says_why_one_would_change_it() {
    let text = uncommented();
    let root = parse("config.example.yaml", &text);
    let sections: Vec<&str> = root.entries().iter().map(|(key, _)| key.name.as_str()).collect();
    assert_eq!(sections, ConfigFile::KEYS);

    let mut found = Vec::new();
    keys(&root, "", &mut found);
    let known = all_key_paths();
    let missing: Vec<&String> = known.iter().filter(|path| !found.iter().any(|(p, _)| &p == path)).collect();
    assert!(missing.is_empty(), "not in config.example.yaml: {missing:#?}");

    // What all collectors have in common is explained once, above them.
    let common = regex(r"^collectors\.\w+\.(enabled|interval|timeout)$");
    let lines: Vec<&str> = text.lines().collect();
    let explained = |line: usize| line >= 2 && lines.get(line - 2).is_some_and(|l| l.trim_start().starts_with('#'));
    for (path, line) in found.iter().filter(|(p, _)| known.contains(p) && !common.is_match(p)) {
        assert!(explained(*line), "{path} has no comment above it: {:?}", lines.get(line - 1));
    }
}

#[test]
fn the_example_changes_nothing() {
    let path = repository().join("config.example.yaml");
    let (file, defaults) = (load(&path), ConfigFile::default());

    let debug = |file: &ConfigFile| format!("{file:#?}");
    // Whether, when and how long a collector runs is not set by default: the list of collectors says it.
    let said = regex(r"(enabled|interval|timeout): Some\(\s*[^()]*\)");
    let ours: Vec<String> = said.replace_all(&debug(&file), "$1: None").lines().map(str::to_string).collect();
    let theirs: Vec<String> = debug(&defaults).lines().map(str::to_string).collect();
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(ours, theirs, "config.example.yaml shows another value than the default");
    }
    assert_eq!(ours.len(), theirs.len());

    let root = parse("config.example.yaml", &read("config.example.yaml"));
    let collectors = root.get("collectors").expect("collectors");
    for info in COLLECTORS {
        let text = |key: &str| {
            let value = collectors.get(info.name).and_then(|c| c.get(key)).and_then(Node::as_str);
            value.unwrap_or_else(|| panic!("{}.{key} is not shown", info.name))
        };
        assert_eq!(text("enabled"), info.default.to_string(), "{}.enabled", info.name);
        assert_eq!(parse_duration(text("interval")), Ok(info.interval), "{}.interval", info.name);
        assert_eq!(parse_duration(text("timeout")), Ok(info.timeout()), "{}.timeout", info.name);
    }
}

#[test]
fn what_the_example_shows_behind_a_comment_can_be_used() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let rules = directory.path().join("rules");
    fs::create_dir(&rules).expect("rules");
    fs::write(rules.join("one.yml"), "groups: []\n").expect("a rule file");
    // Of the devices to keep and those to leave out, only one can be said; groups stand here or in a file, secrets and
    // certificates too.
    let secrets = ["username", "password", "credentials", "client_secret"];
    let for_all = ["slack_api_url", "slack_app_token", "mattermost_webhook_url", "rocketchat_token"];
    let more_for_all = [
        "rocketchat_token_id",
        "telegram_bot_token",
        "smtp_auth_password",
        "smtp_auth_secret",
        "opsgenie_api_key",
        "victorops_api_key",
    ];
    let in_files = secrets.iter().chain(&for_all).chain(&more_for_all).map(|key| format!(" {key}_file: "));
    let here = [
        " ca: ",
        " cert: ",
        " key: ",
        " bearer_token",
        " groups_file: ",
        " url_file: secrets/heartbeat",
        " config_file: alertmanager.yml",
    ]
    .map(str::to_string);
    let other: Vec<String> = in_files.chain(here).collect();
    for end in ["_include: ", "_exclude: "] {
        let left: Vec<&str> = other.iter().map(String::as_str).chain([end]).collect();
        let text = uncommented_but(&left);
        let path = directory.path().join("watchfire.yaml");
        fs::write(&path, text).expect("a configuration");
        load(&path);
    }
}

/// The part of the README under a heading.
fn section<'a>(readme: &'a str, heading: &str) -> &'a str {
    let start = readme.find(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("no section {heading:?}"));
    let text = &readme[start + 4..];
    text.find("\n## ").map_or(text, |end| &text[..end])
}

/// Fails with what should stand in the README where its rows beginning with `first` differ.
fn holds_exactly(readme: &str, wanted: &[String], first: &Regex) {
    let rows: Vec<&str> = readme.lines().filter(|line| first.is_match(line)).collect();
    assert!(rows == wanted, "the README should have these rows:\n{}\n", wanted.join("\n"));
}

#[test]
fn the_readme_lists_the_collectors_with_their_defaults() {
    let every = |seconds| match seconds {
        0 => "every tick".to_string(),
        60 => "1m".to_string(),
        s => format!("{s}s"),
    };
    let rows: Vec<String> = COLLECTORS
        .iter()
        .map(|info| {
            let default = if info.default { "on" } else { "off" };
            let options: Vec<String> = info.options.iter().map(|o| format!("`{}`", o.key)).collect();
            let (every, options) = (every(info.interval.as_secs()), options.join(", "));
            format!("| `{}` | {default} | {every} | {} | {} | {options} |", info.name, info.about, info.reads)
        })
        .collect();
    let readme = read("README.md");
    holds_exactly(section(&readme, "What is on by default"), &rows, &regex(r"^\| `[a-z_]+` \| (on|off) \|"));
}

#[test]
fn the_readme_lists_the_stock_rules() {
    let (host, label) = (regex(r"^\{\{ \$labels\.instance \}\}: "), regex(r"\{\{ \$labels\.(\w+) \}\}"));
    let root = parse("stock", STOCK_RULES);
    let groups = root.get("groups").expect("groups");
    let rules = groups.items().iter().flat_map(|group| group.get("rules").expect("rules").items());
    let rows: Vec<String> = rules
        .filter_map(|rule| {
            let text = |path: &[&str]| path.iter().try_fold(rule, |node, key| node.get(key)).and_then(Node::as_str);
            let (name, severity) = (text(&["alert"])?, text(&["labels", "severity"]).unwrap_or_default());
            let summary = host.replace(text(&["annotations", "summary"]).unwrap_or_default(), "");
            Some(format!("| `{name}` | {severity} | {} |", label.replace_all(&summary, "*$1*")))
        })
        .collect();
    let readme = read("README.md");
    holds_exactly(section(&readme, "What is on by default"), &rows, &regex(r"^\| `[A-Z]\w+` \|"));
}

#[test]
fn the_readmes_snippets_are_valid_files() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = |name: &str| directory.path().join(name);
    fs::create_dir(file("rules")).expect("rules");
    let key = rcgen::generate_simple_self_signed(["localhost".to_string()]).expect("a certificate");
    fs::write(file("server.crt"), key.cert.pem()).expect("a certificate");
    fs::write(file("server.key"), key.signing_key.serialize_pem()).expect("a key");
    fs::write(file("process-exporter.yml"), "process_names: [{comm: [bash]}]\n").expect("a file of process-exporter");
    let alertmanager = "route: {receiver: a}\nreceivers: [{name: a, webhook_configs: [{url: 'http://localhost/'}]}]\n";
    fs::write(file("alertmanager.yml"), alertmanager).expect("an Alertmanager's file");

    let snippets = snippets(&read("README.md"));
    for (name, text) in &snippets {
        let path = file(name);
        fs::write(&path, text).expect("a snippet");
        match name.as_str() {
            "watchfire.yaml" => drop(load(&path)),
            "web.yml" => drop(Access::load(&path).unwrap_or_else(|faults| panic!("{faults}"))),
            "prometheus.yml" => drop(parse(name, text)),
            test if test.ends_with(".test.yaml") => {
                let report = rules::unit::run_file(&path, &Default::default());
                assert!(report.passed() && !report.tests.is_empty(), "{report:#?}");
            }
            rules_file if rules_file.starts_with("rules/") => {
                let mut faults = Faults::default();
                assert!(!rules::read_file(name, text, &mut faults).is_empty() && faults.is_empty(), "{faults}");
            }
            other => panic!("the README shows a file that is not checked: {other}"),
        }
    }
    assert_eq!(snippets.len(), 16, "{:?}", snippets.iter().map(|(name, _)| name).collect::<Vec<_>>());
}

#[test]
fn the_readme_lists_every_sink_with_an_entry_that_is_enough() {
    let readme = read("README.md");
    let row = regex(r"(?m)^\| `(\w+_configs)` \| [^|`]+ \| `(\{.*\})` \|$");
    let rows: Vec<(String, String)> = row
        .captures_iter(section(&readme, "Tell people"))
        .map(|row| (row[1].to_string(), row[2].to_string()))
        .collect();
    let key = regex(r"^alerting\.receivers\[\]\.(\w+_configs)\b");
    let known: BTreeSet<String> =
        all_key_paths().iter().filter_map(|path| Some(key.captures(path)?[1].to_string())).collect();
    assert_eq!(rows.iter().map(|(key, _)| key.clone()).collect::<BTreeSet<_>>(), known);
    assert_eq!(rows.len(), known.len(), "one is there twice");

    let directory = tempfile::tempdir().expect("a temporary directory");
    for (key, entry) in &rows {
        let path = directory.path().join("watchfire.yaml");
        let global = "global: {smtp_smarthost: 'mail.example.org:587', smtp_from: w@example.org}";
        let receivers = format!("receivers: [{{name: a, {key}: [{entry}]}}]");
        fs::write(&path, format!("alerting:\n  {global}\n  route: {{receiver: a}}\n  {receivers}\n")).expect("a file");
        load(&path);
    }
}

#[test]
fn the_mistake_that_the_readme_shows_is_reported_as_it_shows_it() {
    let readme = read("README.md");
    let (name, text) = snippets(&readme).into_iter().find(|(name, _)| name.starts_with("rules/")).expect("a rule file");
    let mut faults = Faults::default();
    rules::read_file(&name, &text.replace("predict_linear", "predict_liner"), &mut faults);
    let said = faults.to_string();
    assert!(!said.is_empty() && readme.contains(&said), "the README should show:\n{said}");
}

/// What `watchfire ARGUMENTS --help` says.
fn help(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_watchfire")).args(arguments).arg("--help").output();
    let output = output.unwrap_or_else(|e| panic!("cannot run watchfire: {e}"));
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn flags_and_commands_that_the_readme_names_are_there() {
    let readme = read("README.md");
    let (all, check, test) = (help(&[]), help(&["check"]), help(&["test"]));
    let (silence, pool) = (help(&["silence"]), help(&["pool"]));
    let below = ["rules", "config"].map(|what| help(&["check", what])).concat()
        + &["rules", "notify", "route"].map(|what| help(&["test", what])).concat()
        + &["add", "list", "expire"].map(|what| help(&["silence", what])).concat()
        + &["list", "logs", "run", "cancel", "retry"].map(|what| help(&["pool", what])).concat();
    let everywhere =
        all.clone() + &below + &["query", "backtest", "alerts", "actions", "checks"].map(|what| help(&[what])).concat();
    let known: BTreeSet<&str> = regex(r"--[a-z][a-z.-]*").find_iter(&everywhere).map(|m| m.as_str()).collect();
    // Those of cargo, systemctl, promtool and a benchmark.
    let others = [
        "--release",
        "--bench",
        "--check",
        "--all-targets",
        "--now",
        "--real",
        "--alone",
        "--profile",
        "--lib",
        "--test",
        "--nocapture",
        // Those of curl, amtool and of a command in an example.
        "--data-urlencode",
        "--alertmanager.url",
        "--loud",
    ];
    for found in regex(r"--[a-z][a-z.-]*(NAME)?").find_iter(&readme) {
        let flag = found.as_str().trim_end_matches('.').replace("--no-", "--").replace("NAME", "cpu");
        assert!(others.contains(&&*flag) || known.contains(&*flag), "{} is not a flag", found.as_str());
    }
    for found in
        regex(r"watchfire (run|scrape|query|checks|check|test|backtest|alerts|actions|silence|pool)(?: (\w+))?")
            .captures_iter(&readme)
    {
        let (command, below) = (&found[1], found.get(2).map(|m| m.as_str()));
        assert!(all.contains(&format!("\n  {command} ")), "{command}");
        let group = match command {
            "test" => &test,
            "silence" => &silence,
            "pool" => &pool,
            _ => &check,
        };
        let below_is_there = below.is_none_or(|below| group.contains(&format!("\n  {below} ")));
        assert!(!["check", "test", "silence", "pool"].contains(&command) || below_is_there, "{command} {below:?}");
    }
}

#[test]
fn the_readme_names_every_benchmark_and_no_file_that_is_not_there() {
    let readme = read("README.md");
    for file in fs::read_dir(repository().join("benches")).expect("benches") {
        let path: PathBuf = file.expect("a file").path();
        if path.is_dir() {
            continue;
        }
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        assert!(readme.contains(&format!("`cargo bench --bench {name}`")), "the benchmark {name} is not in the README");
    }
    for link in regex(r"\]\(([^)#:]+)\)").captures_iter(&readme) {
        assert!(repository().join(&link[1]).exists(), "{}", &link[1]);
    }
    for anchor in regex(r"\]\(#([^)]+)\)").captures_iter(&readme) {
        let headings = readme.lines().filter_map(|line| line.strip_prefix("## "));
        let mut anchors = headings.map(|h| h.to_lowercase().replace(' ', "-").replace(',', ""));
        assert!(anchors.any(|a| a == anchor[1]), "{}", &anchor[1]);
    }
}
