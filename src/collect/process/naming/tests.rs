use serde::Deserialize;

use super::*;
use crate::fuzz::Fuzz;
use crate::yaml::{Document, Faults};

/// A process as a test tells it, and what was asked of it.
struct Told {
    pid: u32,
    comm: Vec<u8>,
    cmdline: Vec<u8>,
    user: String,
    cgroups: Vec<u8>,
    /// Milliseconds.
    started: u64,
    asked: Vec<&'static str>,
}

impl Told {
    fn new(comm: &[u8], cmdline: &[u8]) -> Told {
        Told {
            pid: 42,
            comm: comm.to_vec(),
            cmdline: cmdline.to_vec(),
            user: "www-data".into(),
            cgroups: b"12:cpu,cpuacct:/a\n11:name=systemd:/b:c\n0::/\n".to_vec(),
            started: 1_700_001_234_560,
            asked: Vec::new(),
        }
    }
}

impl Facts for Told {
    fn pid(&self) -> u32 {
        self.pid
    }

    fn comm(&self) -> &[u8] {
        &self.comm
    }

    fn started(&self) -> Duration {
        Duration::from_millis(self.started)
    }

    fn cmdline(&mut self) -> &[u8] {
        self.asked.push("cmdline");
        &self.cmdline
    }

    fn username(&mut self) -> &str {
        self.asked.push("user");
        &self.user
    }

    fn cgroups(&mut self) -> &[u8] {
        self.asked.push("cgroups");
        &self.cgroups
    }
}

fn naming(items: &str) -> Naming {
    let mut faults = Faults::default();
    let items: GroupItems = Document::parse("w.yaml", items, &mut faults).read(&mut faults);
    assert!(!faults.has_errors(), "{faults}");
    Naming::new(&items)
}

fn name(items: &str, process: &mut Told) -> Option<String> {
    naming(items).name(process)
}

fn java() -> Told {
    Told::new(b"java", b"/usr/bin/java\0-Xmx1g\0-jar\0app.jar\0--port=80\0")
}

#[test]
fn without_items_a_process_is_called_what_the_kernel_calls_it() {
    let mut by_comm = Naming::new(&GroupItems::default());
    assert!(by_comm.is_by_comm() && !by_comm.needs_cmdline());
    assert_eq!(by_comm.name(&mut java()).as_deref(), Some("java"));
    assert_eq!(by_comm.name(&mut Told::new(b"b\xffd", b"")).as_deref(), Some("b\u{fffd}d"));
    assert_eq!(name("[]", &mut java()), None, "an empty list is a list");
}

#[test]
fn all_selectors_must_hold_and_the_first_item_names() {
    for (items, expected) in [
        ("[{comm: [bash, java]}]", Some("java")),
        ("[{comm: [jav]}]", None),
        ("[{comm: []}]", None),
        ("[{exe: [java]}]", Some("java")),
        ("[{exe: [/usr/bin/java]}]", Some("java")),
        ("[{exe: [/opt/java, /usr/bin/java]}]", Some("java")),
        ("[{exe: [/usr/bin/java, /opt/java]}]", Some("java")),
        ("[{exe: [/opt/java, usr/bin/java, bin]}]", None),
        ("[{cmdline: ['-jar \\S+\\.jar', 'port=[0-9]+$']}]", Some("java")),
        ("[{cmdline: ['-jar', 'nope']}]", None),
        ("[{cmdline: []}]", Some("java")),
        ("[{comm: [java], exe: [java], cmdline: ['^/usr']}]", Some("java")),
        ("[{comm: [java], exe: [python]}]", None),
        ("[{comm: [bash], name: a}, {comm: [java], name: b}, {exe: [java], name: c}]", Some("b")),
        ("{process_names: [{comm: [java], name: b}]}", Some("b")),
        ("[{comm: [java], name: ''}]", Some("java")),
        ("[{comm: [java], name: 5}]", Some("5")),
    ] {
        assert_eq!(name(items, &mut java()).as_deref(), expected, "{items}");
    }
}

#[test]
fn a_process_without_a_command_line_has_its_comm_for_a_program_but_meets_no_exe() {
    let mut thread = Told::new(b"kworker/0:1-events", b"");
    for (items, expected) in [
        ("[{exe: ['kworker/0:1-events', '1-events']}]", None),
        ("[{cmdline: ['.+']}]", None),
        ("[{cmdline: ['.*'], name: '{{.ExeBase}} {{.ExeFull}}'}]", Some("kworker/0:1-events kworker/0:1-events")),
    ] {
        assert_eq!(name(items, &mut thread).as_deref(), expected, "{items}");
    }
}

/// Every expectation here is what Debian's process-exporter 0.7.10 gave for the same process.
#[test]
fn variables_are_printed_as_go_prints_them() {
    for (template, expected) in [
        ("{{.ExeBase}} {{.ExeFull}} {{.Comm}} {{.Username}} {{.PID}}", "java /usr/bin/java java www-data 42"),
        ("{{.StartTime}}", "2023-11-14 22:33:54.56 +0000 UTC"),
        ("{{.StartTime.Unix}} {{.StartTime.Format \"2006\"}}", "1700001234 2023"),
        ("{{.StartTime.UnixNano}} {{.StartTime.Nanosecond}}", "1700001234560000000 560000000"),
        ("{{.Cgroups}} {{index .Cgroups 1}} {{len .Cgroups}}", "[/a /b:c /] /b:c 3"),
        ("{{range .Cgroups}}<{{.}}>{{end}}", "</a></b:c></>"),
        ("{{.Matches}}", "map[:java a:/ port:80]"),
        ("{{.Matches.port}} {{index .Matches \"port\"}} {{len .Matches}}", "80 80 3"),
        ("{{.Matches.no}}|{{index .Matches \"no\"}}|{{if .Matches.no}}y{{else}}n{{end}}", "<no value>||n"),
        (
            "{{printf \"%s %v %05d\" .Matches.no .Matches.no .PID}} {{eq .Matches.no \"\"}}",
            "%!s(<nil>) <nil> 00042 false",
        ),
        (
            "{{with .Matches.port}}{{.}} {{$.Comm}}{{end}}{{range $k, $v := .Matches}} {{$k}}={{$v}}{{end}}",
            "80 java =java a=/ port=80",
        ),
        ("{{with .Matches.no}}{{.}}{{end}}", ""),
        (
            "{{.}}",
            "{[/a /b:c /] java java /usr/bin/java www-data 42 2023-11-14 22:33:54.56 +0000 UTC map[:java a:/ port:80]}",
        ),
    ] {
        let items = format!("[{{cmdline: ['(?P<a>.)', 'port=(?P<port>\\d+)', '(java)'], name: '{template}'}}]");
        assert_eq!(name(&items, &mut java()).as_deref(), Some(expected), "{template}");
    }
}

#[test]
fn what_a_group_did_not_capture_is_empty() {
    let items = "[{cmdline: ['q?(?P<x>q)?(?P<y>port)'], name: '{{.Matches}}'}]";
    assert_eq!(name(items, &mut java()).as_deref(), Some("map[:port x: y:port]"));
}

#[test]
fn bytes_that_are_no_text_are_matched_and_shown_all_the_same() {
    let mut odd = Told::new(b"b\xff\xfed", b"/bin/b\xe9d\0\xe2\x82\0x\0");
    assert_eq!(name("[{cmdline: ['b.d .. x']}]", &mut odd).as_deref(), Some("b\u{fffd}d"));
    assert_eq!(
        name("[{cmdline: ['b\\x{fffd}d .{2} x'], name: '{{.Comm}}'}]", &mut odd).as_deref(),
        Some("b\u{fffd}\u{fffd}d")
    );
}

#[test]
fn a_line_of_cgroups_that_is_another_leaves_none() {
    for (text, expected) in
        [("0::/a\n0::/b c\n1:x:\n", "[/a /b c ]"), ("junk\n0::/a\n", "[]"), ("x::/a\n", "[]"), ("", "[]")]
    {
        let mut process = Told { cgroups: text.into(), ..java() };
        assert_eq!(name("[{comm: [java], name: '{{.Cgroups}}'}]", &mut process).as_deref(), Some(expected), "{text:?}");
    }
}

#[test]
fn what_no_item_needs_is_not_asked_for() {
    for (items, asked, needs) in [
        ("[{comm: [bash]}]", &[][..], [true, false]),
        ("[{comm: [java], name: x}]", &[], [false, false]),
        ("[{comm: [java], name: '{{.Comm}}'}]", &[], [false, false]),
        ("[{comm: [java], name: '{{.Username}}'}]", &["user"], [false, false]),
        ("[{comm: [java], name: '{{range .Cgroups}}{{.}}{{end}}'}]", &["cgroups"], [false, true]),
        ("[{exe: [x]}, {exe: [y]}, {cmdline: ['.'], name: '{{.ExeFull}}'}]", &["cmdline"], [true, false]),
        ("[{comm: [java], name: '{{.}}'}]", &["cgroups", "cmdline", "user"], [true, true]),
    ] {
        let mut process = java();
        let mut naming = naming(items);
        naming.name(&mut process);
        assert_eq!(process.asked, asked, "{items}");
        assert_eq!([naming.needs_cmdline(), naming.needs_cgroups()], needs, "{items}");
    }
}

#[test]
fn a_template_that_fails_on_a_process_names_nothing_and_is_counted() {
    let mut naming = naming("[{comm: [java, javaw], name: 'x{{slice .Comm 0 5}}'}, {comm: [java], name: y}]");
    assert_eq!(naming.name(&mut java()), None);
    assert_eq!(naming.name(&mut Told::new(b"javaw", b"")).as_deref(), Some("xjavaw"));
    assert_eq!(naming.name(&mut java()), None);
    assert_eq!(naming.failures(), 2);
}

#[test]
fn a_very_long_command_line_makes_no_very_long_name() {
    let mut long = Told::new(b"x", &[&[b'/'][..], &"é".repeat(40_000).into_bytes(), b"\0end\0"].concat());
    let named = name("[{cmdline: ['^/é+']}]", &mut long).unwrap();
    assert!(named.len() <= LONGEST_NAME && named.len() > LONGEST_NAME - 2 && named.chars().all(|c| c == 'é'));
    assert_eq!(name("[{cmdline: ['end']}]", &mut long), None);
}

#[derive(Deserialize)]
struct Case {
    pattern: String,
    text: String,
    /// Go does not take it.
    error: bool,
    /// Of each group; `None` where the pattern is not found.
    found: Option<Vec<String>>,
    names: Option<Vec<String>>,
}

#[test]
fn regular_expressions_find_what_go_finds() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("testdata/re2.json")).unwrap();
    assert!(cases.len() > 300);
    let mut wrong = Vec::new();
    for Case { pattern, text, error, found, names } in cases {
        let ours = CommandPattern::new(&pattern);
        let differs = match &ours {
            Err(_) => !error,
            Ok(_) if error => true,
            Ok(ours) => {
                let expected = names.unwrap_or_default();
                ours.names().ne(expected.iter().map(String::as_str))
                    || ours.is_match(&text) != found.is_some()
                    || ours.groups(&text) != found
            }
        };
        if differs {
            let ours = ours.map(|ours| ours.groups(&text));
            wrong.push(format!("{pattern:?} in {text:?}\n  go   {error} {found:?}\n  ours {ours:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} differ\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn no_pattern_makes_it_panic() {
    let good = [
        r"^(?P<a>/usr/(?:bin|sbin)/\w+)\s+-{1,2}(\d{2,5})?.*$",
        r"(?i-s)[^\d\-\]a-z&&[:alpha:]]+?\Q.*\E\x{1F600}\pL\P{Greek}\012",
        r"(?<9x>a|b*)\A\z\bx{,3}[]\w~-~]",
    ];
    // The regex crate takes up to 10 MB for a pattern, and several times that while it builds it.
    Fuzz::of(&good).words(&["(?P<", "{1000}", "[[:^digit:]]", "\\Q", "\\E", "(?U)"]).heap(128 << 20).texts(|text| {
        if let Ok(pattern) = CommandPattern::new(text) {
            let groups = pattern.groups("/usr/bin/a --12 x");
            assert!(groups.is_none_or(|groups| groups.len() == pattern.names().count()));
            pattern.captures("ab", &mut BTreeMap::new());
        }
    });
}

#[test]
fn no_process_makes_its_naming_panic() {
    let good: [&[u8]; 3] =
        [b"/bin/a\0-b\0c d\0", b"postgres: writer  \0\0\0", b"12:cpu,cpuacct:/a\n11:name=systemd:/b:c\n0::/\n"];
    Fuzz::of(&good).bytes(|text| {
        let comm = &text[..text.len().min(20)];
        let mut process = Told { cgroups: text.to_vec(), ..Told::new(comm, text) };
        let named = name(
            "[{cmdline: ['(?P<x>\\W).'], name: '{{.}}{{.Matches.x}}'}, {exe: [a]}, {cmdline: ['']}]",
            &mut process,
        );
        assert!(named.is_some_and(|name| name.len() <= LONGEST_NAME));
    });
}
