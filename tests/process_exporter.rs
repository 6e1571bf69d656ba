//! In place of process-exporter: both name the processes of one made-up host by the same configurations.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use common::{Child, Metrics, SOON, binary, eventually, free_port, peer, request};

/// A process of the made-up host.
struct Shown<'a> {
    pid: u32,
    parent: u32,
    comm: &'a str,
    cmdline: &'a [u8],
    /// The effective user; all others are root.
    user: u32,
    cgroup: &'a str,
    /// Clock ticks since boot.
    start: u64,
}

const ORDINARY: Shown = Shown {
    pid: 0,
    parent: 0,
    comm: "",
    cmdline: b"",
    user: 0,
    cgroup: "0::/system.slice/app.service\n",
    start: 123_456,
};

/// Those that have ordinary names and those that have not. The first words are text: process-exporter panics where a
/// name is not.
fn processes() -> Vec<Shown<'static>> {
    vec![
        Shown { pid: 1, comm: "systemd", cmdline: b"/sbin/init\0splash\0", cgroup: "0::/init.scope\n", ..ORDINARY },
        Shown { pid: 2, comm: "kthreadd", cgroup: "0::/\n", ..ORDINARY },
        Shown { pid: 3, parent: 2, comm: "kworker/0:1-eve", cgroup: "0::/\n", ..ORDINARY },
        Shown { pid: 10, comm: "bash", cmdline: b"-bash\0", user: 33, ..ORDINARY },
        Shown {
            pid: 11,
            comm: "postgres",
            cmdline: b"/usr/lib/postgresql/15/bin/postgres\0-D\0/var/lib/pg\0",
            user: 4242,
            ..ORDINARY
        },
        Shown {
            pid: 12,
            parent: 11,
            comm: "postgres",
            cmdline: b"postgres: walwriter   \0\0\0\0\0",
            user: 4242,
            ..ORDINARY
        },
        Shown { pid: 13, parent: 12, comm: "archive.sh", cmdline: b"/bin/sh\0-c\0cp a b\0", user: 4242, ..ORDINARY },
        Shown { pid: 14, parent: 13, comm: "cp", cmdline: b"cp\0a\0b\0", ..ORDINARY },
        Shown {
            pid: 20,
            comm: "java",
            cmdline: b"/usr/bin/java\0-Xmx1g\0-jar\0\0/opt/app-1.2.jar\0--port=8080\0",
            user: 33,
            cgroup: "12:cpu,cpuacct:/a\n11:name=systemd:/b:c\n0::/\n",
            start: 1,
            ..ORDINARY
        },
        Shown { pid: 21, comm: "java", cmdline: b"java\0-cp\0/opt/lib/*\0org.example.Main\0--port=9090\0", ..ORDINARY },
        Shown {
            pid: 22,
            parent: 21,
            comm: "python3",
            cmdline: b"/usr/bin/python3\0/opt/job.py\0--name=\xc3\x84nderung\0",
            start: 99_999_999,
            ..ORDINARY
        },
        Shown { pid: 23, parent: 22, comm: "sh", cmdline: b"sh\0-c\0sleep 1\0", ..ORDINARY },
        Shown { pid: 30, comm: "nul", cmdline: b"\0\0\0", ..ORDINARY },
        Shown { pid: 31, comm: "no words", ..ORDINARY },
        Shown { pid: 32, comm: "nginx", cmdline: b"nginx: master process /usr/sbin/nginx -g daemon on;\0", ..ORDINARY },
        Shown { pid: 33, parent: 32, comm: "nginx", cmdline: b"nginx: worker process\0\0\0\0", user: 33, ..ORDINARY },
        Shown { pid: 34, comm: ") R (", cmdline: b"./odd\0a\nb\0 sp \0\"q\\\"\0", cgroup: "junk\n0::/a\n", ..ORDINARY },
        Shown { pid: 35, comm: "slash", cmdline: b"/\0//\0", cgroup: "", ..ORDINARY },
        Shown { pid: 36, comm: "odd bytes", cmdline: b"/bin/odd\0b\xe9d\0\xe2\x82\0end\0", ..ORDINARY },
        Shown { pid: 37, comm: "tail", cmdline: b"/usr/bin//tail/\0-f\0", ..ORDINARY },
    ]
}

/// The configurations: `process_names`, each.
const CONFIGS: &[&str] = &[
    "[]",
    "[{comm: [bash, java, no such]}]",
    "[{comm: []}]",
    "[{comm: ['kworker/0:1-eve', kthreadd, ') R (', no words]}]",
    "[{exe: [postgres, -bash, nginx, ., /, tail]}]",
    "[{exe: [/usr/bin/java, python3, ./odd, /usr/lib/postgresql]}]",
    "[{exe: []}]",
    "[{cmdline: []}]",
    "[{cmdline: ['.+']}]",
    "[{cmdline: ['.*'], name: '{{.Comm}}'}]",
    "[{cmdline: ['.'], name: '{{.Comm}}|{{.ExeBase}}|{{.ExeFull}}|{{.Username}}|{{.PID}}'}, {exe: [nothing]}]",
    "[{comm: [java, slash, ') R (', nul], name: '{{.StartTime}} {{.Cgroups}} {{.Matches}}'}]",
    "[{cmdline: ['(?P<program>[^/ ]+)( |$)', 'port=(?P<port>\\d+)'], name: '{{.Matches}} {{.Matches.program}}:{{.Matches.port}}'}]",
    "[{cmdline: ['-jar +(?:\\S*/)?(?P<jar>[^/]+)\\.jar'], name: 'java:{{.Matches.jar}}'}, {comm: [java], name: other-java}, {cmdline: ['.+'], name: rest}]",
    "[{exe: [java], cmdline: ['Main'], comm: [java], name: main}, {exe: [java], cmdline: ['Main'], comm: [bash], name: never}]",
    "[{cmdline: ['^nginx: (?P<role>\\w+)'], name: 'nginx-{{.Matches.role}}'}]",
    "[{cmdline: ['q?(?P<x>q)?(?P<y>port)'], name: '<{{.Matches.x}}{{.Matches.y}}>'}]",
    "[{cmdline: ['.'], name: '{{.Matches.none}}{{index .Matches \"none\"}}{{if .Matches.none}}y{{else}}n{{end}}'}]",
    "[{comm: [java], name: '{{with .Matches.x}}{{.}}{{end}}'}]",
    "[{comm: [bash], name: ''}, {comm: [java], name: 5}]",
    "[{cmdline: ['b.d .. end'], name: bytes}, {cmdline: ['name=\\w'], name: ascii}, {cmdline: ['name=\\W'], name: other}]",
    "[{cmdline: ['(?i)JAVA.*\\bMAIN\\b'], name: a}, {cmdline: ['\\Q-g daemon on;\\E'], name: b}, {cmdline: ['[[:^alpha:][]{3}a'], name: c}, {cmdline: ['\\s\\.?sp\\x20'], name: d}]",
    "[{comm: [postgres], name: '{{.Username}}/{{printf \"%05d %q\" .PID .ExeBase}}{{range .Cgroups}} {{.}}{{end}} {{len .Cgroups}} {{.StartTime.Unix}} {{.StartTime.Format \"2006-01-02\"}}'}]",
    "[{cmdline: ['.'], name: '{{if eq .Username \"www-data\"}}web{{else}}{{.Username}}{{end}}'}]",
    "[{cmdline: ['.'], name: '{{if or (eq .Comm \"java\") (eq .Comm \"bash\")}}{{slice .ExeBase 0 4}}{{else}}{{.Comm | printf \"%.3s\"}}{{end}}'}]",
];

/// Where a kernel's files are, as both read them.
fn host() -> TempDir {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let write = |name: &str, text: &[u8]| {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
        fs::write(path, text).expect("a file");
    };
    write(
        "stat",
        b"cpu  1 2 3 4 5 6 7 0 0 0\ncpu0 1 2 3 4 5 6 7 0 0 0\nintr 1 0\nctxt 1\nbtime 1700000000\nprocesses 10\n\
        procs_running 1\nprocs_blocked 0\nsoftirq 1 0 1 1 1 1 1 1 1 1 1\n",
    );
    write("meminfo", b"MemTotal:       1000 kB\nMemFree: 1 kB\n");
    write("sys/kernel/threads-max", b"7801\n");
    write("sys/kernel/pid_max", b"32768\n");
    let limits = fs::read("/proc/self/limits").expect("limits");
    for Shown { pid, parent, comm, cmdline, user, cgroup, start } in processes() {
        let flags = if cmdline.is_empty() && comm.starts_with('k') { 0x20_8040 } else { 0x40_0000 };
        let stat = format!(
            "{pid} ({comm}) S {parent} 1 1 0 -1 {flags} 7 0 7 0 100 50 0 0 20 0 1 0 {start} 40960 3 18446744073709551615 \
             1 1 1 1 1 0 0 0 0 0 0 0 17 0 0 0 0 0 0 1 2 3 4 5 6 7 0\n"
        );
        let status = format!(
            "Name:\t{comm}\nUmask:\t0022\nState:\tS (sleeping)\nTgid:\t{pid}\nPid:\t{pid}\nPPid:\t{parent}\n\
             Uid:\t0\t{user}\t0\t0\nGid:\t0\t0\t0\t0\nVmSwap:\t 8 kB\nvoluntary_ctxt_switches:\t5\n\
             nonvoluntary_ctxt_switches:\t5\n"
        );
        let io =
            b"rchar: 1\nwchar: 1\nsyscr: 1\nsyscw: 1\nread_bytes: 4096\nwrite_bytes: 8192\ncancelled_write_bytes: 0\n";
        for at in [pid.to_string(), format!("{pid}/task/{pid}")] {
            let file = |name: &str, text: &[u8]| write(&format!("{at}/{name}"), text);
            file("stat", stat.as_bytes());
            file("status", status.as_bytes());
            file("io", io);
            file("limits", &limits);
            file("cmdline", cmdline);
            file("cgroup", cgroup.as_bytes());
            file("wchan", b"0");
            file("schedstat", b"5000000 100 3\n");
            file("fd/0", b"");
        }
    }
    symlink("1", dir.path().join("self")).expect("a link");
    dir
}

/// Processes by the name of their group, as a page shows them.
fn groups(page: &Metrics) -> BTreeMap<String, f64> {
    let samples = page.samples("namedprocess_namegroup_num_procs", &[]);
    samples.map(|(labels, value)| (labels.to_string(), value)).collect()
}

fn theirs(program: &Path, host: &Path, config: &Path, flags: &[&str]) -> BTreeMap<String, f64> {
    let port = free_port();
    let mut command = Command::new(program);
    command.arg("-config.path").arg(config).arg("-procfs").arg(host);
    command.arg("-web.listen-address").arg(format!("127.0.0.1:{port}"));
    let mut child = Child::spawn(command.args(["-threads=false", "-gather-smaps=false"]).args(flags));
    let page = eventually("process-exporter answers", SOON, || {
        assert!(child.ended().is_none(), "process-exporter has ended: {}", child.log());
        request(port, "GET", "/metrics", &[]).ok()
    });
    assert_eq!(page.status, 200, "{}", page.text());
    groups(&Metrics::of(&page))
}

fn ours(host: &Path, config: &Path) -> BTreeMap<String, f64> {
    let output = binary()
        .arg("scrape")
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--path.procfs={}", host.display()))
        .arg("--collector.disable-defaults")
        .stdin(Stdio::null())
        .output()
        .expect("the binary starts");
    let said = String::from_utf8_lossy(&output.stderr);
    let page = Metrics(String::from_utf8_lossy(&output.stdout).into_owned());
    assert!(output.status.success(), "{said}");
    groups(&page)
}

/// Holds both against each other with every configuration in which each process has its group.
fn compare(flags: &[&str], options: &str, skipped: &[&str]) {
    let Some(program) = peer("prometheus-process-exporter") else { return };
    let host = host();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (file, config) = (dir.path().join("process-exporter.yml"), dir.path().join("watchfire.yaml"));
    let text = format!("processes: {{groups_file: process-exporter.yml, {options}}}\n");
    fs::write(&config, text).expect("a configuration");
    let mut wrong = Vec::new();
    let mut named = 0;
    for items in CONFIGS.iter().filter(|items| !skipped.contains(items)) {
        fs::write(&file, format!("process_names: {items}\n")).expect("a configuration");
        let (theirs, ours) = (theirs(&program, host.path(), &file, flags), ours(host.path(), &config));
        named += theirs.len();
        if theirs != ours {
            wrong.push(format!("{items}\n  theirs {theirs:?}\n  ours   {ours:?}"));
        }
    }
    assert!(named > 100, "{named}");
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn groups_have_the_names_that_process_exporter_gives_them() {
    compare(&["-children=false"], "children: false", &[]);
}

#[test]
fn a_process_that_meets_no_item_is_in_the_group_that_process_exporter_finds_above_it() {
    // Whether a group without a name counts as one is there a matter of which process is looked at first.
    compare(&[], "children: true", &["[{comm: [java], name: '{{with .Matches.x}}{{.}}{{end}}'}]"]);
}
