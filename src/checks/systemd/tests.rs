//! Against the stand-in for systemd of `tests/systemd.rs`, at a socket of its own.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use super::*;
use crate::checks::local::testing::{config, read, run, said};
use crate::collect::testing::{Tree, starting};

/// systemd's stand-in; it ends with the test.
struct StandIn {
    child: Child,
    tree: Tree,
}

impl Drop for StandIn {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl StandIn {
    fn start() -> Option<StandIn> {
        let mut modules = Command::new("/usr/bin/python3");
        modules.args(["-c", "import dbus.server; from gi.repository import GLib"]).stderr(Stdio::null());
        if !modules.status().is_ok_and(|s| s.success()) {
            let is_required = std::env::var_os("WATCHFIRE_REQUIRE_PEERS").is_some();
            assert!(!is_required, "python3-dbus and python3-gi are not installed, and peers are required");
            eprintln!("skipped: python3-dbus and python3-gi are not installed");
            return None;
        }
        let tree = Tree::new(&[("root/run/systemd/empty", "")]);
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/systemd1.py");
        let socket = tree.path("root/run/systemd/private");
        let mut command = Command::new("/usr/bin/python3");
        let mut child =
            command.args([script, "private"]).arg(socket).stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let said: Vec<String> = log.lines().map_while(Result::ok).take(1).collect();
        assert_eq!(said, ["ready"]);
        Some(StandIn { child, tree })
    }

    fn check(&self, keys: &str) -> Arc<dyn Look> {
        config::<UnitConfig>(&format!("{{private: true, {keys}}}")).build(&self.tree.roots())
    }

    fn said(&self, keys: &str) -> (State, String) {
        said(&*self.check(keys))
    }
}

#[test]
fn a_unit_that_is_active_is_well_and_its_numbers_are_given() {
    let Some(systemd) = StandIn::start() else { return };
    let (verdict, lines) = run(&*systemd.check("unit: ssh"));
    assert_eq!(verdict.state, State::Ok);
    assert!(verdict.summary.starts_with("ssh.service is active (running), for "), "{verdict:?}");
    assert_eq!(lines[0], "watchfire_check_units 1");
    let state =
        |state: &str, value| format!("watchfire_check_unit_state{{unit=\"ssh.service\",state=\"{state}\"}} {value}");
    let states = starting(&lines, "watchfire_check_unit_state");
    assert_eq!(states.len(), 6);
    assert!(
        states.contains(&state("active", 1).as_str()) && states.contains(&state("failed", 0).as_str()),
        "{states:?}"
    );
    assert!(lines.contains(&"watchfire_check_unit_restarts_total{unit=\"ssh.service\"} 3".to_string()), "{lines:?}");
    let result = "watchfire_check_unit_result{unit=\"ssh.service\",result=\"success\"} 1";
    assert!(lines.contains(&result.to_string()), "{lines:?}");
}

#[test]
fn each_way_in_which_a_unit_is_not_as_it_should_be_is_told() {
    let Some(systemd) = StandIn::start() else { return };
    for (keys, state, said) in [
        ("unit: backup", State::Critical, "backup.service is failed (exit-code)"),
        ("unit: apt-daily", State::Ok, "apt-daily.service is inactive (dead)"),
        ("unit: 'systemd-fsck@dev-disk-by\\x2duuid-7A0E\\x2d1.service'", State::Ok, "is active (exited)"),
        ("unit: reloads.service", State::Ok, "reloads.service is reloading (reload), for "),
        ("unit: slow-start", State::Critical, "slow-start.service is activating (start)"),
        ("{unit: slow-start, states: [active, activating]}", State::Ok, "slow-start.service is activating (start)"),
        ("{unit: ssh, states: [inactive], severity: warning}", State::Warning, "ssh.service is active (running), for "),
        ("unit: masked", State::Critical, "masked.service is masked"),
        ("unit: gone", State::Critical, "gone.service is not there: no unit file has this name"),
        ("unit: fstrim.timer", State::Ok, "fstrim.timer is active (waiting), for "),
        ("unit: unheard-of.timer", State::Unknown, "systemd does not tell the state of unheard-of.timer"),
    ] {
        let keys = keys.trim_matches(['{', '}']);
        let (is, summary) = systemd.said(keys);
        assert!(is == state && summary.contains(said), "{keys}: {is:?} {summary}");
    }
}

#[test]
fn a_pattern_is_about_all_loaded_units_that_it_matches() {
    let Some(systemd) = StandIn::start() else { return };
    let (verdict, lines) = run(&*systemd.check("unit: '*.service'"));
    assert_eq!(verdict.state, State::Critical);
    for name in
        ["backup.service is failed (exit-code)", "slow-start.service is activating", "stops.service is deactivating"]
    {
        assert!(verdict.summary.contains(name), "{verdict:?}");
    }
    assert_eq!(lines[0], "watchfire_check_units 9", "neither the masked nor the one that is gone");
    assert_eq!(
        systemd.said("unit: '[sg]*.so?ket', severity: warning"),
        (State::Warning, "no loaded unit matches [sg]*.so?ket".to_string())
    );
    let all = systemd.said("unit: '*.socket'");
    assert_eq!(all, (State::Ok, "2 units match *.socket, all as they should be".to_string()));
}

#[test]
fn a_systemd_that_cannot_be_asked_is_unknown() {
    let tree = Tree::new::<&str>(&[]);
    let check = config::<UnitConfig>("{unit: ssh, private: true}").build(&tree.roots());
    let (state, summary) = said(&*check);
    assert_eq!(state, State::Unknown);
    assert!(summary.starts_with("systemd cannot be asked: no data: ") && summary.contains("no such file"), "{summary}");
}

#[test]
fn a_new_state_of_a_later_systemd_has_a_series() {
    let mut out = Families::new(Arc::new(crate::model::Labels::empty()));
    write(&[UnitStatus { name: "a.service".into(), active: "refreshing".into(), ..UnitStatus::default() }], &mut out);
    assert_eq!(out.into_kept().iter().map(|family| family.len()).collect::<Vec<_>>(), [1, 7]);
}

#[test]
fn wrong_keys_are_told() {
    for (text, fault) in [
        ("{}", "a systemd check needs a unit"),
        ("{unit: ssh, states: [active, running]}", "\"running\" is no state of units"),
        ("{unit: ssh, state: active}", "unknown key \"state\""),
    ] {
        let (_, faults) = read::<UnitConfig>(text);
        assert!(faults.contains(fault) && faults.matches("test:").count() == 1, "{text}: {faults}");
    }
}
