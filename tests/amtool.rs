//! Debian's amtool, against the agent: what people do with an Alertmanager, they do with the agent. And a Prometheus that
//! sends its alerts here.

mod common;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use common::{Agent, Prometheus, SOON, Setup, eventually, peer, post_json, request};

const CONFIG: &str = r#"
stock_rules: false
groups:
- name: g
  interval: 1s
  rules:
  - {alert: Own, expr: vector(1.5), labels: {severity: page, team: web}, annotations: {summary: 'ours, {{ $value }}'}}
alerting:
  global: {resolve_timeout: 10m}
  route:
    receiver: everybody
    group_by: [alertname]
    group_wait: 30s
    routes:
    - {matchers: ['team="db"'], receiver: db, continue: true}
    - {match_re: {team: 'd.*'}, receiver: night, group_by: ['...']}
  receivers:
  - name: everybody
    webhook_configs:
    - {url: 'http://user:hidden1@127.0.0.1:1/hidden2', timeout: 3s, http_config: {basic_auth: {username: u, password: hidden3}}}
  - {name: db, webhook_configs: [{url_file: /run/hidden4}], log_configs: [{}]}
  - name: night
"#;

/// An agent, and amtool told to speak with it.
struct Amtool {
    program: PathBuf,
    agent: Agent,
    setup: Setup,
}

impl Amtool {
    fn start() -> Option<Amtool> {
        let program = peer("amtool")?;
        let setup = Setup::new(CONFIG);
        Some(Amtool { program, agent: setup.start(), setup })
    }

    fn run(&self, args: &[&str]) -> (bool, String, String) {
        let output = Command::new(&self.program)
            .arg(format!("--alertmanager.url=http://127.0.0.1:{}", self.agent.port))
            .args(args)
            .env("HOME", self.setup.path(""))
            .output()
            .expect("amtool runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.success(), text(&output.stdout), text(&output.stderr))
    }

    /// What it prints; it is content and warns of nothing.
    fn says(&self, args: &[&str]) -> String {
        let (good, out, err) = self.run(args);
        assert!(good && err.is_empty(), "{args:?}: {out}{err}");
        out
    }

    fn json(&self, args: &[&str]) -> Value {
        let said = self.says(&[&["-o", "json"], args].concat());
        serde_json::from_str(&said).unwrap_or_else(|e| panic!("{args:?}: {e}: {said}"))
    }

    /// The names of the alerts that a query lists.
    fn alerts(&self, args: &[&str]) -> Vec<String> {
        let list = self.json(&[&["alert", "query"], args].concat());
        let mut names: Vec<String> = list
            .as_array()
            .expect("a list")
            .iter()
            .map(|a| a["labels"]["alertname"].as_str().expect("a name").to_string())
            .collect();
        names.sort();
        names
    }
}

#[test]
fn amtool_adds_and_queries_alerts() {
    let Some(amtool) = Amtool::start() else { return };
    eventually("the agent's own alert is there", SOON, || (amtool.alerts(&[]) == ["Own"]).then_some(()));
    amtool.says(&[
        "alert",
        "add",
        "Backup",
        "team=db",
        "host=db1",
        "--annotation=summary=no backup",
        "--generator-url=http://b/",
    ]);
    amtool.says(&["alert", "add", "alertname=Other", "team=none", "--end=2990-01-01T00:00:00Z"]);
    for (args, listed) in [
        (&[][..], &["Backup", "Other", "Own"][..]),
        (&["Backup"], &["Backup"]),
        (&["alertname=~B.*|Ow.*"], &["Backup", "Own"]),
        (&["team!=db"], &["Other", "Own"]),
        (&["team=~\"db|none\"", "alertname!~O.*"], &["Backup"]),
        (&["--receiver=db"], &["Backup"]),
        (&["--receiver=n.*"], &["Backup"]),
        (&["--inhibited"], &[]),
        (&["--silenced"], &[]),
        (&["--active"], &["Backup", "Other", "Own"]),
    ] {
        assert_eq!(amtool.alerts(args), listed, "{args:?}");
    }
    let list = amtool.json(&["alert", "query", "Backup"]);
    assert_eq!(list[0]["annotations"]["summary"], "no backup");
    assert_eq!(list[0]["generatorURL"], "http://b/");
    let simple = amtool.says(&["alert", "query"]);
    assert!(simple.contains("Alertname") && simple.contains("no backup") && simple.contains("ours, 1.5"), "{simple}");
    let extended = amtool.says(&["-o", "extended", "alert", "query", "Backup"]);
    assert!(
        extended.contains(r#"alertname="Backup" host="db1" team="db""#) && extended.contains("active"),
        "{extended}"
    );
    // It ends.
    amtool.says(&["alert", "add", "Other", "team=none", "--end=2020-01-01T00:00:00Z"]);
    assert_eq!(amtool.alerts(&["Other"]), [""; 0]);
    let (good, _, err) = amtool.run(&["alert", "query", "Backup", "a=~("]);
    assert!(!good && err.contains("regular expression"), "{err}");
}

#[test]
fn amtool_adds_updates_imports_and_expires_silences() {
    let Some(amtool) = Amtool::start() else { return };
    amtool.says(&["alert", "add", "Backup", "team=db"]);
    let add = ["silence", "add", "Backup", "team=~d.|x", "--duration=2h", "--comment=it is known", "--author=ada"];
    let id = amtool.says(&add).trim().to_string();
    eventually("the alert is silenced", SOON, || amtool.alerts(&["--active", "Backup"]).is_empty().then_some(()));
    assert_eq!(amtool.alerts(&["--silenced"]), ["Backup"]);
    let silenced = amtool.json(&["alert", "query", "--silenced"]);
    assert_eq!(
        (&silenced[0]["status"]["state"], &silenced[0]["status"]["silencedBy"][0]),
        (&"suppressed".into(), &id.as_str().into())
    );
    let simple = amtool.says(&["silence", "query"]);
    assert!([&id, "it is known", "ada", r#"team=~"d.|x""#].iter().all(|part| simple.contains(*part)), "{simple}");
    assert_eq!(amtool.says(&["silence", "query", "-q"]).trim(), id);
    assert_eq!(amtool.says(&["silence", "query", "-q", "alertname=Backup"]).trim(), id);
    assert_eq!(amtool.says(&["silence", "query", "-q", "alertname=Other"]), "");
    assert_eq!(amtool.says(&["silence", "query", "-q", "--within=1h"]), "");
    assert_eq!(amtool.says(&["silence", "query", "-q", "--within=3h", "--created-by=ada"]).trim(), id);

    // A longer one is the same one.
    amtool.says(&["silence", "update", &id, "-d", "5h", "-c", "it takes longer"]);
    assert_eq!(amtool.says(&["silence", "query", "-q"]).trim(), id);
    assert_eq!(amtool.says(&["silence", "query", "-q", "--within=3h"]), "");
    let saved = amtool.says(&["-o", "json", "silence", "query"]);
    assert!(saved.contains("it takes longer"), "{saved}");

    amtool.says(&["silence", "expire", &id]);
    assert_eq!(amtool.says(&["silence", "query", "-q"]), "");
    assert_eq!(amtool.says(&["silence", "query", "-q", "--expired"]).trim(), id);
    eventually("the alert is told of again", SOON, || {
        (amtool.alerts(&["--active", "Backup"]) == ["Backup"]).then_some(())
    });

    let file = amtool.setup.path("silences.json");
    fs::write(&file, &saved).expect("a file is written");
    amtool.says(&["silence", "import", "--force", &file.display().to_string()]);
    let imported = amtool.json(&["silence", "query"]);
    assert_eq!((imported.as_array().map(Vec::len), &imported[0]["comment"]), (Some(1), &"it takes longer".into()));
    assert_ne!(imported[0]["id"], id.as_str());

    let later = amtool.says(&[
        "silence",
        "add",
        "a=b",
        "--start=2990-01-01T00:00:00Z",
        "--end=2991-01-01T00:00:00Z",
        "-c",
        "x",
    ]);
    let list = amtool.json(&["silence", "query", "a=b"]);
    assert_eq!((&list[0]["id"], &list[0]["status"]["state"]), (&later.trim().into(), &"pending".into()));
    let (good, _, err) = amtool.run(&["silence", "add", "a=", "-c", "x"]);
    assert!(!good && err.contains("must not match the empty string"), "{err}");
    let (good, _, err) = amtool.run(&["silence", "expire", "d6c5a9d0-0000-4000-8000-000000000000"]);
    assert!(!good && err.contains("404"), "{err}");
}

#[test]
fn amtool_shows_the_configuration_and_tests_its_routes() {
    let Some(amtool) = Amtool::start() else { return };
    let config = amtool.says(&["config", "show"]);
    assert!(config.contains("resolve_timeout: 10m") && config.contains("match_re:"), "{config}");
    assert!(!config.contains("hidden"), "{config}");
    // Which this amtool prints as addresses in its memory.
    assert!(amtool.says(&["-o", "extended", "config", "show"]).contains("goVersion"));
    assert_eq!(amtool.json(&["config", "show"])["cluster"]["status"], "disabled");
    assert!(amtool.says(&["cluster", "show"]).contains("disabled"));
    let tree = amtool.says(&["config", "routes", "show"]);
    for part in
        ["default-route  receiver: everybody", r#"{team="db"}  continue: true  receiver: db"#, "receiver: night"]
    {
        assert!(tree.contains(part), "{part} is not in\n{tree}");
    }
    for (labels, receivers) in [(&["team=db"][..], "db,night"), (&["team=dx"], "night"), (&["a=b"], "everybody")] {
        assert_eq!(amtool.says(&[&["config", "routes", "test"], labels].concat()).trim(), receivers);
    }
    amtool.says(&["config", "routes", "test", "--verify.receivers=db,night", "team=db"]);
    // What it shows is a file that Alertmanager takes.
    let file = amtool.setup.path("shown.yml");
    fs::write(&file, &config).expect("a file is written");
    let checked = amtool.says(&["check-config", &file.display().to_string()]);
    assert!(checked.contains("SUCCESS") && checked.contains("3 receivers"), "{checked}");
}

/// Every sink that Debian's Alertmanager has, with keys that it does not know and secrets of all kinds.
const SINKS: &str = r#"
stock_rules: false
alerting:
  global:
    slack_api_url: http://127.0.0.1:1/hidden
    opsgenie_api_key: hidden
    opsgenie_api_url: http://u:hidden@127.0.0.1:1/
    victorops_api_key: hidden
    telegram_bot_token: hidden
    telegram_api_url: http://u:hidden@127.0.0.1:1
    smtp_from: agent@example.org
    smtp_smarthost: 127.0.0.1:1
    smtp_auth_password: hidden
    http_config:
      proxy_url: http://u:hidden@127.0.0.1:1
      no_proxy: example.org
      http_headers: {X-Key: {secrets: [hidden]}}
  route: {receiver: all}
  receivers:
  - name: all
    webhook_configs:
    - {url: 'http://127.0.0.1:1/hidden', timeout: 3s}
    - url_file: /run/url
      http_config:
        basic_auth: {username_file: /run/user, password: hidden}
        tls_config: {ca_file: /run/ca.pem, cert_file: /run/cert.pem, key_file: /run/key.pem, min_version: TLS12, max_version: TLS13}
    - url: http://127.0.0.1:1/
      http_config: {oauth2: {client_id: me, client_secret: hidden, token_url: 'http://127.0.0.1:1/t', proxy_url: 'http://u:hidden@127.0.0.1:1', no_proxy: x, endpoint_params: {a: hidden}}}
    slack_configs:
    - {channel: '#x', fields: [{title: a, value: b, short: true}], actions: [{type: button, text: a, url: 'http://x/'}]}
    - {api_url_file: /run/slack, message_text: 'a: {{ .Status }}'}
    discord_configs: [{webhook_url: 'http://127.0.0.1:1/hidden', username: me}, {webhook_url_file: /run/discord}]
    telegram_configs: [{chat_id: -5, message_thread_id: 3}, {chat_id_file: /run/chat, bot_token_file: /run/token}]
    webex_configs: [{room_id: r, http_config: {authorization: {credentials: hidden}}}]
    pushover_configs: [{user_key: hidden, token: hidden, ttl: 1h, retry: 90s}, {user_key_file: /run/u, token_file: /run/t}]
    pagerduty_configs:
    - {routing_key: hidden, details: {a: '{{ .Status }}'}, images: [{src: 'http://x/'}], links: [{href: 'http://x/'}]}
    - {service_key_file: /run/service}
    opsgenie_configs: [{tags: a, responders: [{name: ops, type: team}]}, {api_key_file: /run/key}]
    victorops_configs: [{routing_key: r, custom_fields: {a: b}}]
    email_configs: [{to: a@example.org, headers: {Subject: "{{ .Status }}: \"x\""}, tls_config: {server_name: mail}}]
    sns_configs:
    - {topic_arn: 'arn:aws:sns:us-east-1:123456789012:t', sigv4: {region: us-east-1, access_key: a, secret_key: hidden}}
    exec_configs: [{command: [x]}]
    ntfy_configs: [{topic: hidden}]
"#;

#[test]
fn amtool_reads_the_configuration_whatever_sinks_are_in_it() {
    let Some(program) = peer("amtool") else { return };
    let setup = Setup::new(SINKS);
    let agent = setup.start();
    let config = agent.get("/api/v2/status").json()["config"]["original"].as_str().expect("a text").to_string();
    assert!(!config.contains("hidden"), "{config}");
    setup.write("shown.yml", &config);
    let output = Command::new(program).arg("check-config").arg(setup.path("shown.yml")).output().expect("amtool runs");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() && said.contains("SUCCESS"), "{said}\n{config}");
    for (sink, count) in [("webhook", 3), ("slack", 2), ("discord", 2), ("telegram", 2), ("pushover", 2), ("email", 1)]
    {
        let list = config.split_once(&format!("{sink}_configs:")).expect("the sink is there").1;
        let list = list.split("_configs:").next().unwrap_or_default();
        assert_eq!(list.matches("  - ").count().min(count), count, "{sink}: {list}");
    }
}

#[test]
fn what_curl_posts_from_this_machine_is_taken_and_from_elsewhere_not() {
    let agent = Setup::new("stock_rules: false\n").start();
    let body = r#"[{"labels":{"alertname":"Cron","job":"backup"},"annotations":{"summary":"failed"}}]"#;
    let posted = post_json(agent.port, "/api/v2/alerts", body).expect("an answer");
    assert_eq!((posted.status, posted.text().as_str()), (200, ""));
    let list = agent.get("/api/v2/alerts").json();
    assert_eq!((&list[0]["labels"]["alertname"], list.as_array().map(Vec::len)), (&"Cron".into(), Some(1)));
    let proxied = [("X-Forwarded-For", "192.0.2.7"), ("Content-Type", "application/json")];
    let refused = request(agent.port, "POST", "/api/v2/alerts", &proxied).expect("an answer");
    assert!(refused.status == 403 && refused.text().contains("--web.config.file"), "{}", refused.text());
    let page = [("Origin", "https://evil.example"), ("Content-Type", "application/json")];
    let refused = request(agent.port, "POST", "/api/v2/silences", &page).expect("an answer");
    assert!(refused.status == 403 && refused.text().contains("another site"), "{}", refused.text());
    agent.wait_for("watchfire_http_requests_total", &[("handler", "/api/v2/alerts"), ("code", "403")], |n| n == 1.0);
}

#[test]
fn a_prometheus_sends_its_alerts_to_the_agent() {
    let Some(program) = peer("prometheus") else { return };
    let setup = Setup::new("stock_rules: false\n");
    let agent = setup.start();
    // Prometheus tells again only after a minute, and at its start it has yet to find who is to be told.
    let rules =
        "groups: [{name: g, interval: 1s, rules: [{alert: Far, expr: vector(1), for: 8s, labels: {team: db}}]}]\n";
    setup.write("prometheus.rules.yml", rules);
    let more = format!(
        "rule_files: ['{}']\nalerting: {{alertmanagers: [{{static_configs: [{{targets: ['127.0.0.1:{}']}}]}}]}}\n",
        setup.path("prometheus.rules.yml").display(),
        agent.port
    );
    let _prometheus = Prometheus::start_with(program, &agent, &more);
    let alert = eventually("the alert arrives", SOON, || {
        let list = agent.get("/api/v2/alerts?filter=alertname%3DFar").json();
        list.get(0).cloned()
    });
    assert_eq!((&alert["labels"]["team"], &alert["status"]["state"]), (&"db".into(), &"active".into()));
    assert!(alert["generatorURL"].as_str().is_some_and(|url| url.contains("/graph?g0.expr=vector")), "{alert}");
}
