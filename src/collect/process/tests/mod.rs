//! The whole pass, on trees that a test makes and on live processes.

mod live;
mod odd;
mod properties;
mod threads;
mod trees;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use tempfile::TempDir;

use super::*;
use crate::model::{Labels, Section, SeriesTable};

/// A process as a tree shows it.
#[derive(Clone, Debug)]
struct Shown {
    comm: Vec<u8>,
    state: char,
    flags: u64,
    start: u64,
    user: u64,
    system: u64,
    faults: u64,
    threads: u32,
    pages: u64,
    ran: u64,
    switches: u64,
    read: u64,
    written: u64,
    open: usize,
}

impl Default for Shown {
    fn default() -> Self {
        Shown {
            comm: b"web".to_vec(),
            state: 'S',
            flags: 0,
            start: 1000,
            user: 100,
            system: 50,
            faults: 7,
            threads: 1,
            pages: 3,
            ran: 5_000_000,
            switches: 9,
            read: 4096,
            written: 8192,
            open: 2,
        }
    }
}

/// A tree like /proc.
struct Tree(TempDir);

impl Tree {
    fn new() -> Tree {
        let tree = Tree(tempfile::tempdir().unwrap());
        tree.write("stat", "cpu 1 2 3\nbtime 1700000000\n");
        tree.write("meminfo", "MemTotal:       1000 kB\nMemFree: 1 kB\n");
        tree.write("sys/kernel/threads-max", "7801\n");
        tree.write("sys/kernel/pid_max", "123\n");
        tree
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), text).unwrap();
    }

    fn show(&self, pid: u32, p: &Shown) {
        self.show_at(&pid.to_string(), p);
        self.write(&format!("{pid}/limits"), "Max open files            8   16   files\n");
        let fd = self.path(&format!("{pid}/fd"));
        let _ = fs::remove_dir_all(&fd);
        fs::create_dir(&fd).unwrap();
        (0..p.open).for_each(|n| fs::write(fd.join(n.to_string()), "").unwrap());
    }

    /// The files that processes and threads have.
    fn show_at(&self, at: &str, p: &Shown) {
        let Shown { state, flags, start, user, system, faults, threads, pages, .. } = p;
        let rest = format!(
            ") {state} 1 1 1 0 -1 {flags} {faults} 0 {faults} 0 {user} {system} 0 0 20 0 {threads} 0 {start} 40960 {pages} 0 0\n"
        );
        self.write(&format!("{at}/stat"), [&b"1 ("[..], &p.comm, rest.as_bytes()].concat());
        self.write(&format!("{at}/schedstat"), format!("{} 100 3\n", p.ran));
        self.write(
            &format!("{at}/status"),
            format!(
                "Name:\tx\nUid:\t0\t0\t0\t0\nVmSwap:\t 8 kB\nvoluntary_ctxt_switches:\t{0}\nnonvoluntary_ctxt_switches:\t{0}\n",
                p.switches
            ),
        );
        let io = format!("rchar: 1\nwchar: 1\nread_bytes: {}\nwrite_bytes: {}\n", p.read, p.written);
        self.write(&format!("{at}/io"), io);
    }

    fn remove(&self, pid: u32) {
        fs::remove_dir_all(self.path(&pid.to_string())).unwrap();
    }
}

/// The pass with what it wrote last, by series.
struct Watch {
    processes: Processes,
    out: Writer,
    values: BTreeMap<String, f64>,
}

impl Watch {
    fn new(tree: &Tree, config: ProcessesConfig) -> Watch {
        Watch::on(Roots { procfs: tree.0.path().into(), ..Roots::default() }, config)
    }

    fn on(roots: Roots, config: ProcessesConfig) -> Watch {
        let node = ProcessesCollectorConfig::default();
        let out = Writer::new("processes", Arc::new(SeriesTable::new(Labels::empty())), 100_000);
        Watch { processes: Processes::new(&config, Some(&node), &roots), out, values: BTreeMap::new() }
    }

    fn tick(&mut self) -> Arc<Section> {
        self.sample(Sampling::Tick)
    }

    fn sample(&mut self, sampling: Sampling) -> Arc<Section> {
        self.processes.begin(sampling);
        self.processes.collect(&mut self.out).unwrap();
        self.finish()
    }

    fn finish(&mut self) -> Arc<Section> {
        let (section, stats) = self.out.finish();
        assert_eq!(stats.duplicates, 0);
        let name = |i| String::from_utf8_lossy(section.layout.prefix(i)).trim_end().to_string();
        self.values = section.values.iter().enumerate().map(|(i, value)| (name(i), *value)).collect();
        section
    }

    /// The value of a series; a group's family without its long prefix.
    fn get(&self, series: &str) -> Option<f64> {
        let group = format!("namedprocess_namegroup_{series}");
        self.values.get(series).or_else(|| self.values.get(&group)).copied()
    }

    fn cpu_user(&self, group: &str) -> Option<f64> {
        self.get(&format!("cpu_seconds_total{{groupname=\"{group}\",mode=\"user\"}}"))
    }
}

/// Everything is read in every tick.
fn eager() -> ProcessesConfig {
    ProcessesConfig { refresh_ticks: 1, ..ProcessesConfig::default() }
}

/// Runs a test in a thread that is not root's: the thread's user alone is another, and its capabilities are gone.
fn as_nobody(test: fn()) {
    let run = move || {
        const NOBODY: u32 = 65534;
        if rustix::process::geteuid().is_root() {
            // SAFETY: a system call with three numbers, which changes the user of this thread and nothing in memory.
            let changed = unsafe { libc::syscall(libc::SYS_setresuid, NOBODY, NOBODY, NOBODY) };
            assert_eq!(changed, 0, "{}", std::io::Error::last_os_error());
        }
        test();
    };
    if let Err(panic) = std::thread::spawn(run).join() {
        std::panic::resume_unwind(panic);
    }
}
