//! Lines, patterns, bounds and verdicts.

use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::checks::local::testing::as_nobody;

#[test]
fn lines_that_match_are_counted_from_the_end_of_the_file_on() {
    let world =
        World::unseen(&[("app.log", "ERROR old\n")], "path: /app.log, patterns: [{name: errors, match: ERROR}]");
    assert_eq!(world.said(), (State::Ok, "1 file followed from here on".to_string()));
    world.append("app.log", "INFO a\nERROR b\nERROR c\nERR");
    let (verdict, lines) = run(&world.check);
    assert_eq!(verdict, Verdict::ok("3 new lines in 1 file: 2 errors"));
    assert_eq!(
        lines,
        [
            "watchfire_check_log_matches_total{pattern=\"errors\"} 2",
            "watchfire_check_log_lines_total 3",
            "watchfire_check_log_bytes_total 23",
            "watchfire_check_log_cut_lines_total 0",
            "watchfire_check_log_rotations_total 0",
            "watchfire_check_log_lag_bytes 3",
            "watchfire_check_log_files 1",
        ]
    );
    assert_eq!(world.said().1, "0 new lines in 1 file: no match", "the last line is not complete");
    world.append("app.log", "OR d\n");
    assert_eq!(world.run("matches_total"), ["watchfire_check_log_matches_total{pattern=\"errors\"} 3"]);
}

#[test]
fn a_file_that_ends_within_a_line_is_begun_behind_that_line() {
    let world = World::new(&[("a.log", "ERROR beg")], "path: /a.log, patterns: [{name: e, match: ERROR|un}]");
    world.append("a.log", "un\nERROR\n");
    assert_eq!(world.lines(), 1);
}

#[test]
fn a_file_may_be_read_from_its_beginning() {
    let world = World::unseen(&[("a.log", "1\n2\n")], &format!("path: /a.log, start: beginning, {ANY}"));
    assert_eq!(world.lines(), 2);
}

#[test]
fn named_groups_become_labels_and_are_bounded() {
    let keys = "path: /a.log, max_label_sets: 3, \
        patterns: [{name: http, match: '^(?P<method>[A-Z]+) (?P<path>\\S*) (?P<status>\\d)(\\d\\d)', except: ' /health '}]";
    let world = World::new(&[("a.log", "")], keys);
    world.append("a.log", "GET / 200\nGET / 204\nPOST /\"x\" 500\nGET /health 200\nnothing\n");
    let all = world.run("matches_total");
    let series = |method: &str, path: &str, status: &str, value: u32| {
        format!(
            "watchfire_check_log_matches_total{{pattern=\"http\",method=\"{method}\",path=\"{path}\",status=\"{status}\"}} {value}"
        )
    };
    assert_eq!(all, [series("GET", "/", "2", 2), series("POST", "/\\\"x\\\"", "5", 1)]);
    for i in 0..50 {
        world.append("a.log", format!("GET /{i} 404\n"));
    }
    world.append("a.log", "GET / 200\n");
    let all = world.run("matches_total");
    assert_eq!(all.len(), 4, "{all:?}");
    assert!(all.contains(&series("GET", "/", "2", 3)), "{all:?}");
    assert!(all.contains(&series("other", "other", "other", 49)), "{all:?}");
}

#[test]
fn a_long_value_of_a_label_is_cut() {
    let world = World::new(&[("a.log", "")], "path: /a.log, patterns: [{name: x, match: '(?P<word>\\S+)'}]");
    world.append("a.log", format!("{}\n", "ü".repeat(300)));
    let all = world.run("matches_total");
    assert!(all[0].contains(&format!("\"{}\"", "ü".repeat(100))), "{all:?}");
}

#[test]
fn enough_matches_in_a_run_are_an_alarm() {
    let keys = "path: '/*.log', patterns: [{name: oom, match: Out of memory}, {name: slow, match: slow}], \
        critical: {pattern: oom}, warning: [{pattern: slow, at_least: 3}, {at_least: 5}]";
    let world = World::new(&[("a.log", ""), ("b.log", "")], keys);
    world.append("a.log", "slow\nslow\n");
    assert_eq!(world.said(), (State::Ok, "2 new lines in 2 files: 2 slow".to_string()));
    world.append("a.log", "slow\nslow\nslow\n");
    let slow = "3 lines match slow since the last run (limit 3), last in /a.log";
    assert_eq!(world.said(), (State::Warning, slow.to_string()));
    world.append("b.log", "x Out of memory\n");
    let oom = "1 line matches oom since the last run (limit 1), last in /b.log";
    assert_eq!(world.said(), (State::Critical, oom.to_string()));
    assert_eq!(world.said().0, State::Ok, "nothing since");
    world.append("b.log", "Out of memory, slow\nslow\nslow\nslow\n");
    let summary = world.said().1;
    assert!(summary.contains("match oom") || summary.contains("matches oom"), "{summary}");
    assert!(summary.contains("4 lines match slow") && summary.contains("5 lines match a pattern"), "{summary}");
}

#[test]
fn lines_of_any_bytes_are_lines() {
    let keys = "path: /a.log, patterns: [{name: e, match: 'caf. (?P<n>\\d+)$'}]";
    let world = World::new(&[("a.log", "")], keys);
    world.append("a.log", b"caf\xe9 1\n\xff\xfe\n\ncaf\xe9 1\r\n\0\0\0caf\xc3\xa9 1\n");
    assert_eq!(world.run("matches_total"), ["watchfire_check_log_matches_total{pattern=\"e\",n=\"1\"} 3"]);
}

#[test]
fn of_a_line_that_is_too_long_the_beginning_is_looked_at() {
    let keys = "path: /a.log, max_line: 64, max_per_run: 1MiB, \
        patterns: [{name: begin, match: ^begin}, {name: end, match: end}]";
    let world = World::new(&[("a.log", "")], keys);
    let long = format!("begin {} end", "x".repeat(300_000));
    world.append("a.log", format!("{long}\n{}\n", "y".repeat(64)));
    assert_eq!(world.value("cut_lines_total"), 1);
    world.append("a.log", &long);
    assert_eq!(world.value("cut_lines_total"), 2, "it need not be complete");
    world.append("a.log", &long);
    world.append("a.log", "\nend\n");
    let (_, lines) = run(&world.check);
    assert!(lines.contains(&"watchfire_check_log_matches_total{pattern=\"begin\"} 2".to_string()), "{lines:?}");
    assert!(lines.contains(&"watchfire_check_log_matches_total{pattern=\"end\"} 1".to_string()), "{lines:?}");
    assert!(lines.contains(&"watchfire_check_log_lines_total 4".to_string()), "{lines:?}");
    assert!(lines.contains(&"watchfire_check_log_lag_bytes 0".to_string()), "{lines:?}");
}

#[test]
fn a_flood_is_read_in_pieces_and_takes_nothing_from_the_others() {
    let keys = format!("path: '/*.log', max_per_run: 1MiB, {ANY}");
    let world = World::new(&[("flood.log", ""), ("quiet.log", ""), ("zlast.log", "")], &keys);
    let line = format!("{}\n", "x".repeat(99));
    world.append("flood.log", line.repeat(50_000));
    world.append("quiet.log", "a\n");
    world.append("zlast.log", "b\n");
    let began = Instant::now();
    let (verdict, lines) = run(&world.check);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(verdict.summary.ends_with("MiB still to be read"), "{verdict:?}");
    let value = |lines: &[String], family: &str| -> u64 {
        starting(lines, &format!("watchfire_check_log_{family} "))[0].rsplit(' ').next().unwrap().parse().unwrap()
    };
    let bytes = value(&lines, "bytes_total");
    assert!((900_000..1_300_000).contains(&bytes), "{bytes}");
    assert_eq!(value(&lines, "lag_bytes"), 5_000_004 - bytes, "the two that have little were read to their ends");
    for _ in 0..5 {
        world.said();
    }
    let (_, lines) = run(&world.check);
    assert_eq!((value(&lines, "lines_total"), value(&lines, "lag_bytes")), (50_002, 0));
}

#[test]
fn a_run_takes_little_memory() {
    let world = World::new(&[("a.log", "")], &format!("path: /a.log, {ANY}"));
    world.append("a.log", "a line of a log\n".repeat(100_000));
    let (_, peak) = crate::fuzz::peak_of(|| world.said());
    assert!(peak < 512 << 10, "{peak}");
}

#[test]
fn a_log_that_is_not_there_is_told_and_begun_when_it_comes() {
    let world = World::unseen(&[], &format!("path: [/a.log, '/logs/*.log'], {ANY}"));
    assert_eq!(world.said(), (State::Critical, "/a.log is missing; no file matches /logs/*.log".to_string()));
    fs::create_dir(world.tree.path("root/logs")).unwrap();
    world.append("logs/x.log", "1\n");
    world.append("a.log", "1\n2\n");
    assert_eq!(world.lines(), 3);
    fs::remove_dir_all(world.tree.path("root/logs")).unwrap();
    world.said();
    assert_eq!(world.said().1, "no file matches /logs/*.log", "the directory has vanished");
    let quiet = World::unseen(&[], &format!("path: /a.log, missing: ok, {ANY}"));
    assert_eq!(quiet.said().0, State::Ok);
}

#[test]
fn what_is_no_file_is_told_or_passed_over_and_nothing_hangs() {
    let world = World::unseen(&[("logs/a.log", ""), ("logs/old.gz", "x\n")], &format!("path: '/logs/*', {ANY}"));
    let tree = &world.tree;
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, tree.path("root/logs/fifo"), rustix::fs::FileType::Fifo, mode, 0).unwrap();
    fs::create_dir(tree.path("root/logs/dir")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", tree.path("root/logs/zero")).unwrap();
    std::os::unix::fs::symlink("nowhere", tree.path("root/logs/lost")).unwrap();
    assert_eq!(world.said(), (State::Ok, "1 file followed from here on".to_string()));
    std::os::unix::fs::symlink("circle", tree.path("root/logs/circle")).unwrap();
    let (state, summary) = world.said();
    assert!(state == State::Unknown && summary.starts_with("cannot read /logs/circle: "), "{summary}");
    for path in ["/logs/fifo", "/logs/dir", "/logs/zero"] {
        let check = config::<LogConfig>(&format!("{{path: {path}, {ANY}}}")).build(&tree.roots());
        assert_eq!(said(&*check), (State::Unknown, format!("cannot read {path}: not a regular file")));
    }
}

#[test]
fn a_log_that_is_not_for_us_is_told_and_begun_where_it_was() {
    let world = World::unseen(&[("a.log", "old\n")], &format!("path: '/*.log', {ANY}"));
    let set_mode = |mode| fs::set_permissions(world.tree.path("root/a.log"), fs::Permissions::from_mode(mode)).unwrap();
    set_mode(0);
    as_nobody(&world.tree, || {
        let denied = "cannot read /a.log: Permission denied (os error 13)";
        assert_eq!(world.said(), (State::Unknown, denied.to_string()));
    });
    world.append("a.log", "new\n");
    set_mode(0o644);
    as_nobody(&world.tree, || assert_eq!(world.lines(), 1));
}

#[test]
fn a_link_to_a_log_is_the_log() {
    let world = World::new(&[("a.log", "")], &format!("path: ['/*.log'], {ANY}"));
    std::os::unix::fs::symlink("a.log", world.tree.path("root/b.log")).unwrap();
    world.append("a.log", "1\n");
    assert_eq!(world.lines(), 1);
}

#[test]
fn a_run_that_hangs_does_not_hold_up_the_next() {
    let world = World::new(&[("a.log", "")], &format!("path: /a.log, {ANY}"));
    let hanging = world.check.state.lock().unwrap();
    assert_eq!(world.said(), (State::Unknown, "the run before this one still reads".to_string()));
    drop(hanging);
    assert_eq!(world.said().0, State::Ok);
}

#[test]
fn whatever_a_log_holds_nothing_panics() {
    let keys = "path: /a.log, start: beginning, max_line: 64, max_label_sets: 5, \
        patterns: [{name: a, match: '(?P<w>\\S+) (?P<x>.*)'}]";
    crate::fuzz::Fuzz::of(&["GET / 200\nPOST /x 500\r\n", "\0\0\0a b\n", &"x".repeat(300)]).bytes(|text| {
        let world = World::unseen(&[], keys);
        world.append("a.log", text);
        let lines = text.iter().filter(|b| **b == b'\n').count() as u64;
        let read = world.lines();
        assert!(read == lines || read == lines + 1, "{read} of {lines}");
    });
}

#[test]
fn wrong_keys_are_told() {
    for (keys, fault) in [
        ("patterns: [{name: a, match: a}]", "a log check needs a path"),
        ("path: a.log, patterns: [{name: a, match: a}]", "from / on"),
        ("path: /a", "a log check needs patterns"),
        ("path: /a, patterns: [{match: a}]", "a pattern needs a name"),
        ("path: /a, patterns: [{name: a}]", "a pattern needs a match"),
        ("path: /a, patterns: [{name: a, match: '('}]", "not a regular expression"),
        ("path: /a, patterns: [{name: a, match: '(?P<check>.)'}]", "a group cannot be called check"),
        ("path: /a, patterns: [{name: a, match: '(?P<1a>.)'}]", "\"1a\" cannot be a label name"),
        ("path: /a, patterns: [{name: a, match: a}, {name: a, match: b}]", "two patterns are called a"),
        ("path: /a, patterns: [{name: a, match: a}], critical: {pattern: b}", "no pattern is called b"),
        ("path: /a, patterns: [{name: a, match: a}], warning: [{at_least: 0}]", "at_least must be 1 or more"),
        ("path: /a, patterns: [{name: a, match: a}], max_line: 2MiB", "max_line must be from 64 bytes to 1MiB"),
        ("path: /a, patterns: [{name: a, match: a}], max_per_run: 1KiB", "max_per_run must be at least max_line"),
        ("path: /a, patterns: [{name: a, match: a}], max_files: 0", "max_files must be from 1 to 1000"),
        ("path: /a, patterns: [{name: a, match: a}], start: now", "expected end or beginning, found now"),
    ] {
        let (_, faults) = read::<LogConfig>(&format!("{{{keys}}}"));
        assert!(faults.contains(fault) && faults.matches("test:").count() == 1, "{keys}: {faults}");
    }
}
