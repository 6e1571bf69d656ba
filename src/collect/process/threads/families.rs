//! What is served of threads: process-exporter's `namedprocess_namegroup_thread_*` and `_threads_wchan`.

use super::{OfName, Threads};
use crate::collect::process::groups::Groups;
use crate::collect::process::table::{Counts, Files};
use crate::model::Writer;

const NS: f64 = 1e9;

/// A label's value, and what is counted under it.
type Valued = (&'static str, fn(&Counts) -> f64);

/// Each name of each group: those, and what is under it.
fn names(groups: &Groups) -> impl Iterator<Item = ([&[u8]; 2], &OfName)> {
    groups.in_order().filter_map(|group| Some((group, group.threads.as_deref()?))).flat_map(|(group, of)| {
        of.names.iter().map(|named| ([group.name.as_bytes(), named.name.as_bytes()], &named.value))
    })
}

/// A counter with a label of two values beside those of the group and the thread.
fn pair(out: &mut Writer, groups: &Groups, (name, help, label): (&str, &str, &str), file: Files, values: [Valued; 2]) {
    let mut family = out.counter(name, help, ["groupname", "threadname", label]);
    for ([group, thread], of) in names(groups).filter(|(_, of)| of.known.has(file)) {
        for (word, value) in values {
            family.put([group, thread, word.as_bytes()], value(&of.counts));
        }
    }
}

impl Threads {
    /// Writes all families.
    pub fn write(&self, out: &mut Writer, groups: &Groups) {
        if self.options.threads {
            write_names(out, groups);
        }
        if self.options.wchan {
            let name = "namedprocess_namegroup_threads_wchan";
            let help = "Number of threads in this group waiting on each wchan";
            let mut family = out.gauge(name, help, ["groupname", "wchan"]);
            for group in groups.in_order() {
                for named in group.threads.iter().flat_map(|of| of.wchans.iter()) {
                    family.put([group.name.as_bytes(), named.name.as_bytes()], f64::from(named.value));
                }
            }
        }
        let help = "Threads of which nothing is known, since together with others there are more than can be read.";
        out.gauge("watchfire_process_threads_unread", help, []).put([], self.unread as f64);
    }
}

fn write_names(out: &mut Writer, groups: &Groups) {
    let labels = ["groupname", "threadname"];
    let help = "Number of threads in this group with same threadname";
    let mut family = out.gauge("namedprocess_namegroup_thread_count", help, labels);
    for (name, of) in names(groups) {
        family.put(name, f64::from(of.threads));
    }
    let cpu = ("namedprocess_namegroup_thread_cpu_seconds_total", "Cpu user/system usage in seconds", "mode");
    let modes: [Valued; 2] = [("system", |c| c.system as f64 / NS), ("user", |c| c.user as f64 / NS)];
    pair(out, groups, cpu, Files::STAT, modes);
    let help = "number of bytes read/written by these threads";
    let io = ("namedprocess_namegroup_thread_io_bytes_total", help, "iomode");
    pair(out, groups, io, Files::IO, [("read", |c| c.read_bytes as f64), ("write", |c| c.write_bytes as f64)]);
    let switches =
        ("namedprocess_namegroup_thread_context_switches_total", "Context switches for these threads", "ctxswitchtype");
    let types: [Valued; 2] = [("nonvoluntary", |c| c.nonvoluntary as f64), ("voluntary", |c| c.voluntary as f64)];
    pair(out, groups, switches, Files::STATUS, types);
    let mut faults = |name, help, value: fn(&Counts) -> u64| {
        let mut family = out.counter(name, help, labels);
        for (name, of) in names(groups) {
            family.put(name, value(&of.counts) as f64);
        }
    };
    let name = "namedprocess_namegroup_thread_major_page_faults_total";
    faults(name, "Major page faults for these threads", |c| c.major_faults);
    let name = "namedprocess_namegroup_thread_minor_page_faults_total";
    faults(name, "Minor page faults for these threads", |c| c.minor_faults);
}
