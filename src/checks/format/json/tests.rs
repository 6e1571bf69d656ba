use std::sync::Arc;

use super::super::Format;
use super::super::testing::{read as read_given, read_text, sample};
use super::*;
use crate::fuzz::Fuzz;
use crate::model::Labels;
use crate::yaml::Document;

fn faults_of(yaml: &str) -> (JsonConfig, String) {
    let mut faults = Faults::default();
    let config = Document::parse("c.yaml", yaml, &mut faults).read(&mut faults);
    (config, faults.to_string())
}

fn format(yaml: &str) -> Format {
    let (config, faults) = faults_of(yaml);
    assert_eq!(faults, "");
    Format::Json(config)
}

const DOCUMENT: &str = r#"{
    "status": "yellow", "up": true, "load": "0.75", "none": null, "version": {"major": 3},
    "disks": [{"name": "sda", "used": 5, "ok": true}, {"name": "sdb", "used": 7.5, "ok": false}, {"name": "sdc"}],
    "queues": {"in": {"length": 3, "dead": {"length": 1}}, "out": {"length": 0}}
}"#;

#[test]
fn values_at_paths_become_metrics() {
    let yaml = "metrics:\n\
                - {name: up, help: Whether it is up., path: $.up}\n\
                - {name: load, path: load, type: untyped, labels: {site: berlin, major: $.version.major}}\n\
                - {name: nothing, path: $.none}\n\
                - {name: nowhere, path: $.no.where}\n";
    let (verdict, samples) = read_text(&format(yaml), 0, DOCUMENT);
    assert_eq!(verdict, Verdict::ok("2 samples"));
    assert_eq!(samples, [sample("up", "", "1"), sample("load", "major=\"3\",site=\"berlin\"", "0.75")]);
}

#[test]
fn each_item_of_a_list_or_an_object_is_a_sample_with_labels_of_its_own() {
    let yaml = "metrics:\n\
                - {name: disk_used_bytes, each: $.disks, path: $.used, labels: {disk: $.name, place: $key}}\n\
                - {name: disk_ok, each: '$.disks[*]', path: ok, labels: {disk: $.name}}\n\
                - {name: queue_length, type: counter, each: queues, path: length, labels: {queue: $key}}\n";
    let (verdict, samples) = read_text(&format(yaml), 0, DOCUMENT);
    assert_eq!(verdict, Verdict::ok("6 samples"));
    let expected = [
        sample("disk_used_bytes", "disk=\"sda\",place=\"0\"", "5"),
        sample("disk_used_bytes", "disk=\"sdb\",place=\"1\"", "7.5"),
        sample("disk_ok", "disk=\"sda\"", "1"),
        sample("disk_ok", "disk=\"sdb\"", "0"),
        sample("queue_length", "queue=\"in\"", "3"),
        sample("queue_length", "queue=\"out\"", "0"),
    ];
    assert_eq!(samples, expected);
}

#[test]
fn the_state_is_what_the_document_says_unless_the_command_failed() {
    let format = format("state: {path: $.status, ok: [green, 1], warning: [yellow]}\n");
    let said = |code, document: &str| read_text(&format, code, document).0;
    assert_eq!(said(0, DOCUMENT), Verdict::new(State::Warning, "$.status is \"yellow\""));
    assert_eq!(said(0, r#"{"status": "green"}"#).state, State::Ok);
    assert_eq!(said(0, r#"{"status": 1}"#).state, State::Ok);
    assert_eq!(said(0, r#"{"status": "red"}"#), Verdict::critical("$.status is \"red\""));
    assert_eq!(said(0, r#"{"status": {}}"#), Verdict::critical("$.status is an object"));
    assert_eq!(said(0, "{}"), Verdict::unknown("nothing at $.status says how things stand"));
    assert_eq!(said(2, r#"{"status": "green"}"#).state, State::Critical);
    let given = Given { stdout: b"", stderr: b"no connection\n", truncated: false, code: 7 };
    assert_eq!(read_given(&format, given).0, Verdict::critical("exited with code 7: no connection"));
}

#[test]
fn what_cannot_be_read_is_unknown_and_named() {
    let yaml = "metrics: [{name: m, path: $.a}, {name: n, each: $.l, path: $.v, labels: {x: $.x}}]\n";
    let said = |document: &str| {
        let (verdict, samples) = read_text(&format(yaml), 0, document);
        assert!(verdict.state == State::Unknown && samples.is_empty(), "{document}");
        verdict.summary
    };
    assert_eq!(said("{\n\"a\": 1,\n}"), "standard output is not JSON: trailing comma at line 3 column 1");
    assert!(said("").contains("not JSON"));
    assert_eq!(said(r#"{"a": "much"}"#), "m: $.a is \"much\", not a number");
    assert_eq!(said(r#"{"a": []}"#), "m: $.a is a list, not a number");
    assert_eq!(said(r#"{"a": 1, "l": [{"v": 1, "x": {}}]}"#), "n: $.x is an object, which is no text for a label");
    assert!(said(&"[".repeat(100_000)).contains("not JSON"));
}

#[test]
fn faults_of_the_mapping_are_said_with_their_places() {
    let said = |yaml: &str| faults_of(yaml).1;
    assert!(said("{}").contains("neither state nor metrics"));
    assert!(said("state: {path: a}\n").contains(":1:8: ok is missing"));
    assert!(said("state: {path: 'a[*]', ok: [x]}\n").contains("the state is one value"));
    assert!(said("metrics: [{path: a}]\n").contains("name is missing"));
    assert!(said("metrics: [{name: a-b, path: a}]\n").contains(":1:18: \"a-b\" cannot be a metric's name"));
    assert!(said("metrics: [{name: a, path: 'a[*]'}]\n").contains(":1:27: leads to several values"));
    assert!(said("metrics: [{name: a, path: 'a['}]\n").contains("not a path"));
    assert!(said("metrics: [{name: a, path: a, type: histogram}]\n").contains("gauge, counter or untyped"));
    assert!(said("metrics: [{name: a, path: a, labels: {x: $key}}]\n").contains("without each there is none"));
    assert!(
        said("metrics: [{name: a, path: a, labels: {__x: y}}]\n").contains(":1:39: \"__x\" cannot be a label name")
    );
    assert!(said("metrics: [{name: a, path: a, labels: {x: '$.*'}}]\n").contains("a label has one value"));
    assert!(said("metrics: [{nam: a}]\n").contains("did you mean \"name\"?"));
}

#[test]
fn no_output_makes_it_panic() {
    let yaml = "state: {path: $.status, ok: [green]}\n\
                metrics:\n\
                - {name: load, path: load, labels: {major: $.version.major}}\n\
                - {name: disk, each: $.disks, path: $.used, labels: {disk: $.name, place: $key}}\n\
                - {name: all, each: '$.queues[*].dead', path: $}\n";
    let (config, faults) = faults_of(yaml);
    assert_eq!(faults, "");
    Fuzz::of(&[DOCUMENT]).bytes(|stdout| {
        let mut families = Families::new(Arc::new(Labels::from_pairs([("check", "c")])));
        read(&config, &Given { stdout, stderr: b"", truncated: false, code: 0 }, &mut families);
    });
}
