//! Bubbles on a real bus, to a stand-in for a desktop over another D-Bus library.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::super::notification::tests::example;
use super::super::testing::{Process, context, eventually, missing};
use super::*;
use crate::model::Labels;
use crate::yaml::Document;

/// A session of a user, in a directory.
struct Session {
    dir: TempDir,
    _bus: Process,
    _desktop: Process,
}

impl Session {
    /// Of this user, or of another.
    fn start(user: Option<u32>, capabilities: &[&str]) -> Option<Session> {
        let daemon = ["/usr/bin/dbus-daemon", "/bin/dbus-daemon"].into_iter().find(|p| Path::new(p).exists());
        let Some(daemon) = daemon else {
            missing("dbus-daemon");
            return None;
        };
        let mut modules = Command::new("/usr/bin/python3");
        modules.args(["-c", "import dbus.service; from gi.repository import GLib"]).stderr(Stdio::null());
        if !modules.status().is_ok_and(|status| status.success()) {
            missing("python3-dbus and python3-gi");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o777)).unwrap();
        // As a session's bus has it: what is not said of users lets in none but the bus's own.
        let config = format!(
            "<busconfig><type>session</type><listen>unix:path={}/bus</listen><auth>EXTERNAL</auth>\
             <policy context=\"default\"><allow send_destination=\"*\"/><allow receive_sender=\"*\"/><allow own=\"*\"/>\
             </policy></busconfig>",
            dir.path().display()
        );
        std::fs::write(dir.path().join("bus.conf"), config).unwrap();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/notifications.py");
        std::fs::copy(script, dir.path().join("notifications.py")).unwrap();
        let spawn = |program: &str, arguments: &[String], log: &str| {
            let mut command = Command::new(program);
            if let Some(user) = user {
                command.uid(user).gid(user);
            }
            let log = std::fs::File::create(dir.path().join(log)).unwrap();
            Process(command.args(arguments).current_dir("/").stdout(Stdio::null()).stderr(log).spawn().unwrap())
        };
        let at = |name: &str| dir.path().join(name).display().to_string();
        let bus = spawn(daemon, &[format!("--config-file={}", at("bus.conf")), "--nofork".to_string()], "bus.log");
        eventually("the bus listens", || dir.path().join("bus").exists().then_some(()));
        let mut arguments = vec![at("notifications.py"), format!("unix:path={}", at("bus")), at("seen")];
        arguments.extend(capabilities.iter().map(|c| c.to_string()));
        let desktop = spawn("/usr/bin/python3", &arguments, "desktop.log");
        eventually("the desktop is there", || {
            let said = std::fs::read_to_string(dir.path().join("desktop.log")).unwrap_or_default();
            said.contains("ready").then_some(())
        });
        Some(Session { dir, _bus: bus, _desktop: desktop })
    }

    fn sink(&self, more: &str) -> Arc<dyn Sink> {
        sink(&format!("bus: unix:path={}/bus\n{more}", self.dir.path().display()))
    }

    fn seen(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.dir.path().join("seen")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn read(yaml: &str) -> (DesktopConfig, String) {
    let mut faults = Faults::default();
    let config = Document::parse("desktop.yml", yaml, &mut faults).read(&mut faults);
    (config, faults.to_string())
}

fn sink(yaml: &str) -> Arc<dyn Sink> {
    let (config, faults) = read(&format!("summary: 'Platz läuft aus'\nbody: 'of <b>/</b>'\n{yaml}"));
    assert_eq!(faults, "");
    config.build(&context())
}

#[tokio::test]
async fn a_group_is_one_bubble_that_changes_with_it() {
    let Some(session) = Session::start(None, &["body-markup"]) else { return };
    let sink = session.sink("");
    let firing = example();
    let mut resolved = example();
    resolved.alerts.remove(0);
    let other = Notification { group_key: "{}:{alertname=\"Other\"}".to_string(), ..example() };
    assert_eq!(sink.deliver(&firing).await.unwrap().answer, "shown as 41");
    for (n, answer) in [(&firing, 41), (&other, 42), (&resolved, 41), (&firing, 43)] {
        assert_eq!(sink.deliver(n).await.unwrap().answer, format!("shown as {answer}"));
    }
    let seen = session.seen();
    let expected = json!({
        "app": "Watchfire", "replaces": 0, "icon": "dialog-error", "summary": "Platz läuft aus",
        "body": "of <b>/</b>", "actions": [], "urgency": ["Byte", 2], "category": "x-watchfire.alert", "expire": -1,
    });
    assert_eq!(seen[0], expected);
    let replaced: Vec<&Value> = seen.iter().map(|bubble| &bubble["replaces"]).collect();
    assert_eq!(replaced, [0, 41, 0, 41, 0]);
    assert_eq!((&seen[3]["urgency"], &seen[3]["icon"]), (&json!(["Byte", 0]), &json!("dialog-information")));

    let mut warning = example();
    warning.alerts.truncate(1);
    warning.alerts[0].labels = Labels::from_pairs([("severity", "warning")]);
    sink.deliver(&warning).await.unwrap();
    assert_eq!(session.seen()[5]["urgency"], json!(["Byte", 1]));
}

#[tokio::test]
async fn what_alerts_say_is_no_markup_for_a_desktop_that_has_it_and_plain_for_one_that_has_none() {
    for (capabilities, said) in [(&["body-markup"] as &[&str], "disk &lt;full&gt; &amp;"), (&[], "disk <full> &")] {
        let Some(session) = Session::start(None, capabilities) else { return };
        let (config, _) = read(&format!("bus: unix:path={}/bus\n", session.dir.path().display()));
        config.build(&context()).deliver(&example()).await.unwrap();
        let seen = session.seen();
        assert!(seen[0]["body"].as_str().unwrap().contains(said), "{}", seen[0]["body"]);
        assert!(seen[0]["summary"].as_str().unwrap().contains("DiskFull"), "{}", seen[0]["summary"]);
    }
}

#[tokio::test]
async fn root_shows_it_to_another_user_on_the_users_own_bus() {
    if !geteuid().is_root() {
        eprintln!("skipped: only root can act for another user");
        return;
    }
    let (nobody, _) = find_user("nobody").unwrap();
    let Some(session) = Session::start(Some(nobody.as_raw()), &[]) else { return };
    let error = session.sink("").deliver(&example()).await.unwrap_err();
    assert!(error.retry, "{error:?}");
    for user in ["nobody".to_string(), nobody.as_raw().to_string()] {
        session.sink(&format!("user: '{user}'\n")).deliver(&example()).await.unwrap();
    }
    assert_eq!(session.seen().len(), 2);
    assert!(geteuid().is_root());
}

#[tokio::test]
async fn without_a_bus_a_desktop_or_a_user_it_is_tried_again() {
    let error = sink("bus: unix:path=/no/such/bus").deliver(&example()).await.unwrap_err();
    assert!(error.retry && error.message.starts_with("cannot connect to /no/such/bus: "), "{error:?}");
    let error = sink("user: nobody-of-that-name").deliver(&example()).await.unwrap_err();
    assert!(error.retry && error.message == "there is no user nobody-of-that-name in /etc/passwd", "{error:?}");
    let Some(mut session) = Session::start(None, &[]) else { return };
    let _ = session._desktop.0.kill();
    let _ = session._desktop.0.wait();
    // The bus may not have noticed at once: then the call ends with the desktop.
    let error = session.sink("").deliver(&example()).await.unwrap_err();
    assert!(error.retry && ["ServiceUnknown", "NoReply"].iter().any(|e| error.message.contains(e)), "{error:?}");
}

#[test]
fn a_bus_that_cannot_be_one_is_said_when_it_is_read() {
    let (_, faults) = read("bus: /run/user/1000/bus");
    assert!(faults.contains("a bus is unix:path=/run/user/1000/bus"), "{faults}");
}
