//! The list of metrics that the linter of rules knows is held against the program: against what it samples here, what it
//! makes of captured kernel files, and the names in its sources. What is missing is said as the lines to be written.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;
use watchfire::exposition::parse::parse;
use watchfire::rules::lint::METRICS;

use common::{SOON, Setup, eventually, run};

/// Type and labels by name.
type List = BTreeMap<String, (String, BTreeSet<String>)>;

fn list() -> List {
    let lines = METRICS.lines().filter(|line| !line.starts_with('#'));
    let entries = lines.map(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        let [name, kind, labels] = words[..] else { panic!("not three words: {line:?}") };
        (name.to_string(), (kind.to_string(), labels.split(',').map(str::to_string).collect()))
    });
    entries.collect()
}

fn is_open(list: &List, name: &str) -> bool {
    list.keys().filter_map(|n| n.strip_suffix('*')).any(|beginning| name.starts_with(beginning))
}

/// The metrics of a page that are the agent's own and not in the list as they should be, as lines for it.
fn missing(page: &str, list: &List) -> Vec<String> {
    let families = parse(page.as_bytes()).unwrap_or_else(|e| panic!("{e:?}"));
    let mut lines = Vec::new();
    for family in &families {
        let ours =
            ["node_", "watchfire_", "namedprocess_", "process_", "scrape_"].iter().any(|p| family.name.starts_with(p));
        // node_exporter's own, and what a script writes.
        let theirs = ["node_exporter_build_info", "node_textfile_"].iter().any(|p| family.name.starts_with(p));
        if !ours || theirs {
            continue;
        }
        let labels: BTreeSet<String> =
            family.samples.iter().flat_map(|s| &s.labels).map(|(n, _)| n.to_string()).collect();
        let labels: BTreeSet<String> =
            labels.into_iter().filter(|l| !["job", "instance", "le", "quantile"].contains(&l.as_str())).collect();
        let kind = family.metric_type().as_str();
        let good = match list.get(family.name) {
            Some((k, known)) => k == kind && (known.contains("*") || labels.is_subset(known)),
            None => is_open(list, family.name),
        };
        if !good {
            let mut all = labels;
            all.extend(list.get(family.name).into_iter().flat_map(|(_, known)| known.clone()).filter(|l| l != "-"));
            let all: Vec<String> = all.into_iter().collect();
            lines.push(format!("{} {kind} {}", family.name, if all.is_empty() { "-".into() } else { all.join(",") }));
        }
    }
    lines
}

#[test]
fn the_list_is_sorted_and_has_each_name_once() {
    let names: Vec<&str> =
        METRICS.lines().filter(|l| !l.starts_with('#')).filter_map(|l| l.split(' ').next()).collect();
    let (metrics, open): (Vec<&str>, Vec<&str>) = names.iter().partition(|name| !name.ends_with('*'));
    assert!(metrics.is_sorted() && open.is_sorted(), "first the names, then the beginnings, each in order");
    assert_eq!(list().len(), names.len());
}

#[test]
fn whatever_is_sampled_is_in_the_list() {
    let list = list();
    let scraped = run(&["scrape"]);
    let mut lines = missing(&String::from_utf8_lossy(&scraped.stdout), &list);
    let agent = Setup::new("global: {scrape_interval: 200ms}\n").start();
    let page = eventually("rates and processes are there", SOON, || {
        let (rate, group) = ("watchfire_cpu_usage_ratio", "namedprocess_namegroup_num_procs");
        Some(agent.metrics()).filter(|m| [rate, group].iter().all(|name| m.families().contains(name)))
    });
    // What rules record is not the agent's own.
    lines.extend(missing(&page.0, &list));
    let data = std::env::var_os("WATCHFIRE_CONFORMANCE")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/conformance"), PathBuf::from);
    match fs::read_to_string(data.join("node_exporter/expected.txt")) {
        Ok(expected) => lines.extend(missing(&expected, &list)),
        Err(_) => eprintln!("skipped: there is no conformance data (WATCHFIRE_CONFORMANCE)"),
    }
    assert!(lines.is_empty(), "write into src/rules/lint/metrics.txt:\n{}", lines.join("\n"));
}

#[test]
fn whatever_the_sources_name_is_in_the_list() {
    let list = list();
    let name = Regex::new(r#""((?:node|watchfire|namedprocess)_[a-zA-Z0-9_]*)(["{])"#).expect("a pattern");
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    let mut lines = BTreeSet::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the sources") {
            let path = entry.expect("an entry").path();
            let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() && !["tests", "testdata", "fuzz"].contains(&&*file) {
                folders.push(path);
                continue;
            }
            if !file.ends_with(".rs") || file.contains("test") || path.components().any(|c| c.as_os_str() == "rules") {
                continue;
            }
            let text = fs::read_to_string(&path).expect("a source");
            let program = text.split("#[cfg(test)]").next().unwrap_or_default();
            for found in name.captures_iter(program) {
                let (name, end) = (&found[1], &found[2]);
                let beginning = end == "{" || name.ends_with('_');
                let known = match beginning {
                    true => is_open(&list, name),
                    false => list.contains_key(name) || is_open(&list, &format!("{name}_")) || name == "node_exporter",
                };
                if !known {
                    lines.insert(format!("{name}{} untyped *", if beginning { "*" } else { "" }));
                }
            }
        }
    }
    let lines: Vec<String> = lines.into_iter().collect();
    assert!(lines.is_empty(), "write into src/rules/lint/metrics.txt, with type and labels:\n{}", lines.join("\n"));
}
