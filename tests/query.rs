//! `watchfire query`, against a running agent.

mod common;

use serde_json::Value;

use common::{SOON, Setup, eventually, run};

#[test]
fn people_ask_an_agent_at_the_terminal() {
    let rules =
        "stock_rules: false\ngroups: [{name: g, rules: [{alert: A, expr: vector(1)}, {alert: B, expr: vector(1)}]}]\n";
    let agent = Setup::new(rules).start();
    let url = format!("http://127.0.0.1:{}", agent.port);
    let ask = |args: &[&str]| {
        let output = run(&[&["query", "--url", &url], args].concat());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    eventually("both alerts, and some seconds", SOON, || {
        let said = ask(&["-o", "raw", "count(ALERTS) + on() count_over_time(up[1m]) > bool 4"]).1;
        (said == "1\n").then_some(())
    });
    let (code, out, err) = ask(&["ALERTS"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines.len(), 4, "{out}");
    assert!(lines[0].starts_with("ALERTS{alertstate=\"firing\""), "labels that all have are said once: {out}");
    assert!(lines[1].starts_with("alertname") && lines[1].ends_with("VALUE"), "{out}");
    let (code, out, _) = ask(&["--last", "3s", "--step", "1s", "sum(up)"]);
    assert!(code == Some(0) && out.contains("LAST") && out.contains('▁'), "{out}");
    assert_eq!(ask(&["-o", "raw", "1 + 1"]).1, "2\n");
    assert!(ask(&["-o", "csv", "up"]).1.starts_with("__name__,instance,job,timestamp,value\nup,"));
    let json: Value = serde_json::from_str(&ask(&["-o", "json", "up"]).1).expect("JSON");
    assert_eq!(json["resultType"], "vector");

    let (code, out, err) = ask(&["rat(up[5m])"]);
    assert_eq!((code, out.as_str()), (Some(2), ""));
    assert!(err.contains("unknown function rat()") && err.contains("    1 | rat(up[5m])\n      | ^"), "{err}");
    let nobody = run(&["query", "--url", "http://127.0.0.1:1", "up"]);
    let said = String::from_utf8_lossy(&nobody.stderr).into_owned();
    assert!(nobody.status.code() == Some(1) && said.contains("no answer from 127.0.0.1:1"), "{said}");
    assert_eq!(run(&["query", "--step", "5s", "up"]).status.code(), Some(2));
}

#[test]
fn credentials_come_from_a_file() {
    let setup = Setup::new("stock_rules: false\n");
    // The hash of "secret".
    setup.write("web.yml", "basic_auth_users: {ada: $2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW}\n");
    setup.write("client.yml", "basic_auth: {username: ada, password_file: password}\n");
    setup.write("password", "secret\n");
    let setup = {
        let web = setup.path("web.yml");
        setup.flag(format!("--web.config.file={}", web.display()))
    };
    let child = common::Child::spawn(&mut setup.command());
    let url = format!("http://127.0.0.1:{}", setup.port);
    let client = setup.path("client.yml").display().to_string();
    let ask = |args: &[&str]| run(&[&["query", "--url", &url, "-o", "raw", "1"], args].concat());
    eventually("it answers who has the password", SOON, || {
        (ask(&["--http.config.file", &client]).stdout == b"1\n").then_some(())
    });
    let refused = ask(&[]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(1) && said.contains("401") && said.contains("--http.config.file"), "{said}");
    drop(child);
}
