use super::*;
use crate::sinks::notification::tests::example;
use crate::sinks::{CheckSaid, Details, TopProcess};

fn fill(text: &str, n: &Notification) -> String {
    let texts = Texts::default();
    texts.plain(&Text::new(text), &texts.data(n)).unwrap()
}

/// What an operator may be woken by.
fn woken() -> Notification {
    let mut n = example();
    for alert in &mut n.alerts {
        alert.expr = "1 - node_filesystem_avail_bytes / node_filesystem_size_bytes > 0.9".into();
        alert.details = Details {
            threshold: Some(0.9),
            top: vec![TopProcess { pid: 812, name: "mysqld".into(), cpu: 1.25, memory: 1_610_612_736 }],
            flapping: Some(7),
            actions: vec!["restart-nginx: exit 0 after 1.2 s".into()],
            check: None,
        };
    }
    n
}

/// The same of a check, which has said something that could be taken for markup.
fn woken_by_a_check() -> Notification {
    let mut n = woken();
    for alert in &mut n.alerts {
        alert.labels = crate::model::Labels::from_pairs([("alertname", "CheckFailing"), ("check", "disk")]);
        let summary = "<b>/</b> & <https://x|y> 99% used".into();
        alert.details.check = Some(CheckSaid { state: "critical".into(), summary });
    }
    n
}

#[test]
fn what_a_check_said_is_told_as_text_by_all_that_tell_of_alerts() {
    let texts = Texts::default();
    let n = woken_by_a_check();
    let said = "disk: critical - <b>/</b> & <https://x|y> 99% used";
    for list in ["__text_alert_list", "__text_alert_list_slack"] {
        let list = fill(&format!("{{{{ template {list:?} .Alerts.Firing }}}}"), &n);
        assert!(list.lines().any(|line| line == format!("Check {said}")), "{list}");
    }
    let list = fill("{{ template \"__text_alert_list_markdown\" .Alerts.Firing }}", &n);
    assert!(list.lines().any(|line| line == format!("- Check {said}")), "{list}");
    let line = fill("{{ template \"syslog.default.message\" . }}", &n);
    assert!(line.contains(&format!("; {said}; restart-nginx")), "{line}");
    for (name, start) in [
        ("telegram.default.message", "Check disk: critical - "),
        ("matrix.default.html", "<li>Check disk: critical - "),
        ("email.default.html", "disk: <strong>critical</strong> - "),
    ] {
        let html = texts.html(&Text::new(format!("{{{{ template {name:?} . }}}}")), &texts.data(&n)).unwrap();
        let escaped = "&lt;b&gt;/&lt;/b&gt; &amp; &lt;https://x|y&gt; 99% used";
        assert!(html.contains(&format!("{start}{escaped}")) && !html.contains("<https"), "{name}: {html}");
    }
    assert_eq!(fill("{{ (index .Alerts 0).Check.Name }} {{ (index .Alerts 0).Check.State }}", &n), "disk critical");
}

#[test]
fn the_list_says_what_an_operator_asks_first() {
    let said = fill("{{ template \"__text_alert_list\" .Alerts.Firing }}", &woken());
    for line in [
        "FIRING DiskFull (page)",
        "disk <full> & \"loud\"",
        "Value: 97% (threshold 90%)",
        "Flapping: began to fire 7 times of late",
        "Action: restart-nginx: exit 0 after 1.2 s",
        "Labels: instance=a",
        "Busiest: mysqld (pid 812) 125% CPU, 1.5GiB",
        "Graph: http://host:9100/chart.png?expr=1+-+node_filesystem",
    ] {
        assert!(said.lines().any(|l| l.starts_with(line)), "{line} is not in\n{said}");
    }
    let said = fill("{{ template \"__text_alert_list\" .Alerts.Resolved }}", &woken());
    assert!(said.contains("Time: lasted 30s, from 14 Nov") && !said.contains("mysqld"), "{said}");
}

/// The names that Alertmanager's own files define: users' templates and pasted configurations call them.
const NAMES: [&str; 58] = [
    "__alertmanager",
    "__alertmanagerURL",
    "__description",
    "__subject",
    "__text_alert_list",
    "__text_alert_list_markdown",
    "discord.default.content",
    "discord.default.message",
    "discord.default.title",
    "email.default.html",
    "email.default.subject",
    "jira.default.description",
    "jira.default.priority",
    "jira.default.summary",
    "mattermost.default.color",
    "mattermost.default.fallback",
    "mattermost.default.text",
    "mattermost.default.title",
    "mattermost.default.titlelink",
    "mattermost.default.username",
    "msteams.default.summary",
    "msteams.default.text",
    "msteams.default.title",
    "msteamsv2.default.text",
    "msteamsv2.default.title",
    "opsgenie.default.description",
    "opsgenie.default.message",
    "opsgenie.default.source",
    "pagerduty.default.client",
    "pagerduty.default.clientURL",
    "pagerduty.default.description",
    "pushover.default.message",
    "pushover.default.title",
    "pushover.default.url",
    "rocketchat.default.alias",
    "rocketchat.default.emoji",
    "rocketchat.default.iconurl",
    "rocketchat.default.text",
    "rocketchat.default.title",
    "rocketchat.default.titlelink",
    "slack.default.callbackid",
    "slack.default.fallback",
    "slack.default.footer",
    "slack.default.iconemoji",
    "slack.default.iconurl",
    "slack.default.pretext",
    "slack.default.text",
    "slack.default.title",
    "slack.default.titlelink",
    "slack.default.username",
    "sns.default.message",
    "sns.default.subject",
    "telegram.default.message",
    "victorops.default.entity_display_name",
    "victorops.default.monitoring_tool",
    "victorops.default.state_message",
    "webex.default.message",
    "wechat.default.message",
];

/// The names that only sinks of this program have.
const OWN: [&str; 11] = [
    "email.default.text",
    "ntfy.default.title",
    "ntfy.default.message",
    "gotify.default.title",
    "gotify.default.message",
    "matrix.default.text",
    "matrix.default.html",
    "desktop.default.summary",
    "desktop.default.body",
    "syslog.default.message",
    "journald.default.message",
];

#[test]
fn every_name_of_alertmanager_is_there_and_works_for_one_alert_and_for_many() {
    let texts = Texts::default();
    let mut many = woken();
    many.alerts = many.alerts.iter().cycle().take(500).cloned().collect();
    let mut bare = woken();
    for alert in &mut bare.alerts {
        (alert.labels, alert.annotations) = (crate::model::Labels::empty(), crate::model::Labels::empty());
        (alert.details, alert.value, alert.expr) = (Details::default(), f64::NAN, String::new());
    }
    for n in [woken(), woken_by_a_check(), example(), many, bare] {
        let data = texts.data(&n);
        for name in NAMES.iter().chain(&OWN).filter(|name| !name.starts_with("__text_alert_list")) {
            let text = Text::new(format!("{{{{ template {name:?} . }}}}"));
            for filled in [texts.plain(&text, &data).unwrap(), texts.html(&text, &data).unwrap()] {
                assert!(!filled.contains("no value") && !filled.contains("failed"), "{name}: {filled}");
                assert!(filled.len() < 40_000, "{name}: {} bytes", filled.len());
            }
        }
        let list = Text::new("{{ template \"pagerduty.default.instances\" .Alerts.Firing }}");
        assert!(texts.plain(&list, &data).unwrap().contains("FIRING"));
    }
    assert!(NAMES.iter().chain(&OWN).all(|name| embedded().has(name)));
}

#[test]
fn the_default_texts_of_all_sinks_call_templates_that_are_there() {
    use crate::sinks::ReceiverConfig;
    use crate::yaml::Document;

    let keys = ReceiverConfig::KEYS.iter().filter(|key| key.ends_with("_configs"));
    let yaml: String = keys.map(|key| format!("{key}: [{{}}]\n")).collect();
    // Addresses that are missing are no matter here.
    let receiver: ReceiverConfig =
        Document::parse("a.yaml", &yaml, &mut Faults::default()).read(&mut Faults::default());
    let shown = format!("{receiver:?}").replace("\\\"", "\"");
    let called: Vec<&str> = shown.split("template \"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(called.len() > 30, "{shown}");
    for name in called {
        assert!(embedded().has(name), "{name}");
    }
}

#[test]
fn short_texts_fit_into_the_services_that_take_little() {
    let mut n = woken();
    n.alerts = n.alerts.iter().cycle().take(40).cloned().collect();
    for alert in &mut n.alerts {
        alert.annotations = crate::model::Labels::from_pairs([("summary", "a long story ".repeat(50))]);
    }
    let message = fill("{{ template \"pushover.default.message\" . }}", &n);
    assert!(message.chars().count() <= 1024 && message.ends_with("and 36 more"), "{message}");
    assert!(fill("{{ template \"pushover.default.title\" . }}", &n).chars().count() <= 250);
    assert_eq!(fill("{{ template \"syslog.default.message\" . }}", &n).lines().count(), 1);
}

#[test]
fn a_subject_says_status_alert_host_and_what_tells_it_from_others() {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let mut n = woken();
    assert_eq!(fill("{{ template \"__subject\" . }}", &n), format!("[FIRING:1] DiskFull on {host} (page)"));
    n.alerts.remove(0);
    assert_eq!(fill("{{ template \"__subject\" . }}", &n), format!("[RESOLVED] DiskFull on {host} (page)"));
}

#[test]
fn a_subject_has_the_severity_first_and_nothing_that_says_no_more() {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let mut n = woken();
    n.alerts.truncate(1);
    let disk = [("alertname", "DiskFull"), ("device", "/dev/sda1"), ("fstype", "ext4"), ("mountpoint", "/var")];
    n.alerts[0].labels = crate::model::Labels::from_pairs(disk.into_iter().chain([("severity", "critical")]));
    assert_eq!(fill("{{ template \"__subject\" . }}", &n), format!("[FIRING:1] DiskFull on {host} (critical, /var)"));
    n.alerts[0].labels = crate::model::Labels::from_pairs([("alertname", "DiskFull"), ("fstype", "ext4")]);
    assert_eq!(fill("{{ template \"__subject\" . }}", &n), format!("[FIRING:1] DiskFull on {host}"));
}

#[test]
fn of_a_storm_three_are_told_in_full_some_in_a_line_and_the_rest_is_counted() {
    let mut n = woken();
    n.alerts.truncate(1);
    n.alerts = n.alerts.iter().cycle().take(30).cloned().collect();
    for (i, alert) in n.alerts.iter_mut().enumerate() {
        alert.annotations = crate::model::Labels::from_pairs([("message", format!("disk {i} is full").as_str())]);
    }
    for list in ["__text_alert_list", "__text_alert_list_slack", "__text_alert_list_markdown"] {
        let said = fill(&format!("{{{{ template {list:?} .Alerts.Firing }}}}"), &n);
        let count = |part: &str| said.matches(part).count();
        assert_eq!((count("Time: since"), count("Busiest"), count(" is full")), (3, 1, 20), "{said}");
        assert!(said.contains("FIRING DiskFull (page): disk 19 is full; 97% (threshold 90%); since"), "{said}");
        assert!(said.trim_end().ends_with("and 10 more"), "{said}");
    }
}

#[test]
fn of_a_storm_a_mail_tells_no_more() {
    let texts = Texts::default();
    let mut n = woken();
    n.alerts.truncate(1);
    n.alerts = n.alerts.iter().cycle().take(30).cloned().collect();
    let html = texts.html(&Text::new("{{ template \"email.default.html\" . }}"), &texts.data(&n)).unwrap();
    let count = |part: &str| html.matches(part).count();
    assert_eq!((count("<table"), count("; since "), count("and 10 more firing")), (3, 17, 1), "{html}");
}

#[test]
fn an_alert_from_elsewhere_is_told_with_what_it_says_and_its_own_link() {
    let mut n = woken();
    n.alerts.truncate(1);
    let alert = &mut n.alerts[0];
    alert.labels = crate::model::Labels::from_pairs([("alertname", "BackupFailed")]);
    alert.annotations = crate::model::Labels::from_pairs([("message", "rsync exited with 23")]);
    (alert.expr, alert.value, alert.details) = (String::new(), f64::NAN, Details::default());
    alert.generator_url = "http://backup.example/jobs/7".into();
    assert!(fill("{{ template \"__short\" . }}", &n).starts_with("rsync exited with 23; since "));
    assert!(fill("{{ template \"__log\" . }}", &n).starts_with("FIRING BackupFailed: rsync exited with 23; since "));
    let said = fill("{{ template \"__body_slack\" . }}", &n);
    assert!(said.contains("<http://backup.example/jobs/7|Graph>"), "{said}");
    n.alerts[0].annotations = crate::model::Labels::empty();
    assert!(fill("{{ template \"__short\" . }}", &n).starts_with("BackupFailed; since "));
}

#[test]
fn a_mail_shows_what_came_from_outside_as_text_and_the_chart_only_when_there_is_one() {
    let texts = Texts::default();
    let mut n = woken();
    for alert in &mut n.alerts {
        let evil = "<script>alert(1)</script>";
        alert.annotations =
            crate::model::Labels::from_pairs([("summary", evil), ("runbook_url", "javascript:alert(1)")]);
    }
    let html = texts.html(&Text::new("{{ template \"email.default.html\" . }}"), &texts.data(&n)).unwrap();
    assert!(html.contains("&lt;script&gt;alert(1)&lt;/script&gt;") && !html.contains("<script"), "{html}");
    assert!(html.contains("href=\"#ZgotmplZ\"") && !html.contains("javascript"), "{html}");
    assert!(!html.contains("cid:chart"), "{html}");
}

#[test]
fn a_message_whose_template_fails_becomes_a_plain_list_and_a_word_that_fails_is_an_error() {
    let texts = Texts::default();
    let data = texts.data(&woken());
    let text = Text::new("{{ range .Alerts }}{{ .Nope }}{{ end }}");
    let sent = texts.plain(&text, &data).unwrap();
    assert!(sent.contains("Value: 97% (threshold 90%)"), "{sent}");
    let note = "(template failed: 1:23: can't evaluate field Nope in type template.Alert)";
    assert!(sent.contains(note), "{sent}");
    let html = texts.html(&text, &data).unwrap();
    assert!(html.starts_with("<pre>[FIRING:1]") && html.contains("disk &lt;full&gt;"), "{html}");
    let error = texts.plain(&Text::new("#{{ .CommonLabels.team.x }}"), &data).unwrap_err();
    assert!(!error.retry && error.message.contains("fails: 1:"), "{error}");
}

#[test]
fn an_alert_has_a_link_to_its_chart() {
    let said = fill("{{ range .Alerts.Firing }}{{ .ChartURL }}{{ end }}", &woken());
    let wanted = "http://host:9100/chart.png?expr=1+-+node_filesystem_avail_bytes+%2F+node_filesystem_size_bytes+%3E+0.9&\
                  at=1700000060.000&start=1700000000.500&threshold=0.9&l.alertname=DiskFull&l.instance=a&l.severity=page";
    assert_eq!(said, wanted);
}

#[test]
fn the_embedded_templates_call_none_that_is_not_there() {
    assert_eq!(embedded().missing(), []);
}

mod alertmanager {
    use serde::Deserialize;

    use super::*;
    use crate::model::Labels;
    use crate::sinks::NotifiedAlert;

    #[derive(Deserialize)]
    struct Peer {
        files: Vec<File>,
        cases: Vec<Case>,
    }

    #[derive(Deserialize)]
    struct File {
        name: String,
        text: String,
    }

    #[derive(Deserialize)]
    struct Case {
        template: String,
        #[serde(default)]
        html: bool,
        #[serde(default)]
        error: bool,
        output: String,
    }

    /// The alerts of testdata/generate.go.
    fn notification() -> Notification {
        let starts_at = Timestamp::from_millis(1_700_000_000_500);
        let alert = |instance: &str, mount: &str, ends_at: Option<i64>| NotifiedAlert {
            labels: Labels::from_pairs([
                ("alertname", "DiskFull"),
                ("instance", instance),
                ("severity", "page"),
                ("Name", "odd"),
                ("mountpoint", mount),
            ]),
            annotations: Labels::from_pairs([
                ("summary", "disk <full> & \"loud\", it's +5%"),
                ("description", &format!("at {instance}")),
                ("runbook_url", "https://runbooks.example.org/disk full?x=1&y=é#top"),
                ("evil", "javascript:alert(1)"),
                ("relative", "//host/a b?q='x'"),
                ("bold", "<b>bold</b> &amp; <i title=\"a>b\">x</i> 1 < 2 <!-- c --> end"),
                ("color", "#c62828"),
                ("css", "expression(alert(1))"),
                ("lines", "a\nb\tc \u{2028} </script>"),
                ("encoded", "a%20b+c%zz"),
                ("set", "a.png 1x, javascript:b 2x, /c d.png 3x"),
            ]),
            starts_at,
            ends_at: ends_at.map(|after| Timestamp::from_millis(starts_at.as_millis() + after)),
            value: 0.97,
            generator_url: "http://host:9100/graph?g0.expr=up&g0.tab=1".into(),
            expr: "up".into(),
            details: Details::default(),
        };
        Notification {
            alerts: vec![
                alert("web-1.example.com:9100", "/var", None),
                alert("web-2.example.com:9100", "/a <b>", None),
                alert("db-1:9100", "/var", Some(93_784_250)),
            ],
            ..example()
        }
    }

    /// Scripts are escaped a little harder than there.
    fn alike(output: &str) -> String {
        let marks = "()[]{}=;:,.".chars();
        marks.fold(output.replace("\\/", "/"), |text, c| text.replace(&format!("\\u{:04x}", c as u32), &c.to_string()))
    }

    #[test]
    fn every_template_gives_what_alertmanager_gives() {
        let peer: Peer = serde_json::from_str(include_str!("testdata/alertmanager.json")).unwrap();
        let mut set = Set::new(functions());
        for file in &peer.files {
            set.add(&format!("/templates/{}", file.name), &file.name, &file.text).unwrap();
        }
        let data = data::of(&notification());
        let mut wrong = Vec::new();
        for case in &peer.cases {
            let kind = if case.html { Kind::Html } else { Kind::Text };
            let ours = Template::parse("", &case.template, functions()).and_then(|t| run(&t, &set, &data, kind));
            match (&ours, case.error) {
                (Err(_), true) => {}
                (Ok(output), false) if alike(output) == alike(&case.output) => {}
                // What Go's HTML refuses since it could be read in two ways is escaped here, the safer way.
                (Ok(_), true) if case.html => {}
                _ => wrong.push(format!(
                    "{kind:?} {}\n  there {:?} {:?}\n  here  {ours:?}",
                    case.template, case.error, case.output
                )),
            }
        }
        assert!(peer.cases.len() > 700);
        assert!(wrong.is_empty(), "{} of {} differ\n{}", wrong.len(), peer.cases.len(), wrong.join("\n"));
    }
}
