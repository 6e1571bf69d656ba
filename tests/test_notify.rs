//! `watchfire test notify`: a real alert through the real way.

mod common;

use std::time::Duration;

use common::{Agent, Behaviour, Receiver, Setup, run};

/// Runs it: exit status, output, errors.
fn notify(file: &str, args: &[&str]) -> (Option<i32>, String, String) {
    let output = run(&[&["test", "notify", "--config.file", file], args].concat());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn setup(web: &Receiver, dead: &Receiver) -> Setup {
    Setup::new(&format!(
        r#"
global: {{instance: 'web-1:9100', external_labels: {{site: north}}}}
stock_rules: false
alerting:
  route: {{receiver: nobody, group_by: [alertname], group_wait: 30s, routes: [{{receiver: web, matchers: [a="b"]}}]}}
  receivers:
  - {{name: nobody}}
  - {{name: web, webhook_configs: [{{url: '{}', http_config: {{basic_auth: {{username: u, password: hunter2}}}}}}]}}
  - name: on-call
    webhook_configs: [{{url: '{}', http_config: {{authorization: {{credentials: hunter3}}}}}}]
    exec_configs: [{{command: [/bin/sh, -c, 'cat >/dev/null; test "$WATCHFIRE_STATUS" = firing']}}]
"#,
        web.url("/hook/hunter4"),
        dead.url("/hook/hunter5"),
    ))
}

#[test]
fn a_receiver_is_told_that_an_alert_fires_and_ends_and_its_answers_are_shown() {
    let (web, dead) = (Receiver::start(), Receiver::start());
    let setup = setup(&web, &dead);
    let args = ["--receiver", "web", "DiskFull", "mountpoint=/", "--annotation", "summary=a = test"];
    let (code, out, err) = notify(&setup.config_file(), &args);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    let lines: Vec<&str> = out.lines().collect();
    assert!(
        lines[0].starts_with("web/webhook[0]  firing    delivered in ") && lines[0].ends_with(" ms: 200 OK"),
        "{out}"
    );
    assert!(lines[1].starts_with("web/webhook[0]  resolved  delivered in ") && lines.len() == 2, "{out}");
    let posts = web.posts();
    assert_eq!(posts.iter().map(|post| post.status()).collect::<Vec<_>>(), ["firing", "resolved"]);
    assert_ne!(posts[0].header("idempotency-key"), posts[1].header("idempotency-key"));
    let alert = posts[0].alerts("DiskFull")[0];
    let labels =
        [("instance", "web-1:9100"), ("job", "node"), ("mountpoint", "/"), ("severity", "warning"), ("site", "north")];
    for (name, value) in labels {
        assert_eq!(alert["labels"][name], value, "{name}");
    }
    assert_eq!(alert["annotations"]["summary"], "a = test");
    assert!(alert["annotations"]["description"].as_str().unwrap_or_default().contains("watchfire test notify"));
    assert_eq!(posts[0].json["externalURL"], "http://web-1:9100");
    assert!(!setup.path("state").exists(), "the agent's state is not touched");

    let (code, out, _) = notify(&setup.config_file(), &["--receiver=web", "--firing-only"]);
    assert_eq!((code, out.lines().count(), web.posts().len()), (Some(0), 1, 3), "{out}");
}

#[test]
fn what_fails_is_said_with_what_the_agent_would_do_and_no_secret() {
    let (web, dead) = (Receiver::start(), Receiver::start());
    dead.behave(Behaviour::Answer(403));
    let setup = setup(&web, &dead);
    let file = setup.config_file();
    let (code, out, err) = notify(&file, &["--all"]);
    assert_eq!((code, err.as_str()), (Some(1), ""));
    for part in [
        "nobody  has no sinks",
        "web/webhook[0]      resolved  delivered in",
        "on-call/webhook[0]  firing    FAILED after",
        "403",
        "will not pass by itself",
        "on-call/webhook[0]  resolved  not tried",
        "on-call/exec[0]     firing    delivered in",
        "on-call/exec[0]     resolved  FAILED after",
        "exited with code 1",
    ] {
        assert!(out.contains(part), "{part}: {out}");
    }
    assert!(!out.contains("hunter"), "{out}");

    dead.behave(Behaviour::Delay(Duration::from_secs(60)));
    let (code, out, _) = notify(&file, &["--receiver=on-call", "--timeout=300ms", "--firing-only"]);
    assert!(code == Some(1) && out.contains("no answer in time; it may pass"), "{out}");
}

#[test]
fn a_receiver_that_is_not_there_is_a_wrong_flag_and_all_are_named() {
    let (web, dead) = (Receiver::start(), Receiver::start());
    let setup = setup(&web, &dead);
    let file = setup.config_file();
    let (code, _, err) = notify(&file, &["--receiver=on-cal"]);
    assert_eq!(code, Some(2));
    let said =
        "watchfire: there is no receiver \"on-cal\", did you mean \"on-call\"?\nthere are: nobody, web, on-call\n";
    assert_eq!(err, said);
    for wrong in [&[][..], &["--all", "--receiver=web"], &["--all", "a=b", "a=c"], &["--all", "--annotation==x"]] {
        assert_eq!(notify(&file, wrong).0, Some(2), "{wrong:?}");
    }
    let broken = Setup::new("alerting: {route: {receiver: x}}\n");
    let (code, _, err) = notify(&broken.config_file(), &["--all"]);
    assert!(code == Some(2) && err.contains("the receiver \"x\" is not defined"), "{err}");
    assert!(web.posts().is_empty() && dead.posts().is_empty());
}

#[test]
fn it_can_be_sent_beside_a_running_agent() {
    let (web, dead) = (Receiver::start(), Receiver::start());
    let setup = setup(&web, &dead);
    let _agent: Agent = setup.start();
    assert_eq!(notify(&setup.config_file(), &["--receiver=web"]).0, Some(0));
}
