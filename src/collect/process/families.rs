//! What is served of groups: process-exporter's `namedprocess_namegroup_*`, and beside them `watchfire_process_*` with
//! the label `groupname`.

use super::groups::{Group, Groups, Now, STATES};
use super::pass::CLOCK_TICKS;
use super::table::{Counts, Files};
use crate::model::Writer;

const NS: f64 = 1e9;

impl Groups {
    /// Writes all families. `boot_time`: seconds since 1970; `exits`: whether the ends of processes are reported.
    pub fn write(&mut self, out: &mut Writer, boot_time: Option<u64>, exits: bool) {
        self.write_gauges(out, boot_time);
        self.write_counters(out);
        self.write_trouble(out);
        if exits {
            self.write_exits(out);
        }
        out.gauge("watchfire_process_groups", "Groups of processes, empty ones too.", []).put([], self.len() as f64);
        out.gauge(
            "watchfire_process_groups_overflow_processes",
            "Processes in the group other because processes.max_groups was reached.",
            [],
        )
        .put([], f64::from(self.overflow()));
    }

    /// A gauge or counter with no other label than the group; a group for which there is no value is left out.
    fn family(&self, out: &mut Writer, counter: bool, name: &str, help: &str, value: impl Fn(&Group) -> Option<f64>) {
        let mut family = match counter {
            true => out.counter(name, help, ["groupname"]),
            false => out.gauge(name, help, ["groupname"]),
        };
        for group in self.in_order() {
            if let Some(value) = value(group) {
                family.put([group.name.as_bytes()], value);
            }
        }
    }

    fn write_gauges(&self, out: &mut Writer, boot_time: Option<u64>) {
        let gauge = |out: &mut Writer, name, help, value: fn(&Now) -> u64| {
            self.family(out, false, name, help, |group| Some(value(&group.now) as f64));
        };
        gauge(out, "namedprocess_namegroup_num_procs", "number of processes in this group", |g| g.processes.into());
        gauge(out, "namedprocess_namegroup_num_threads", "Number of threads", |g| g.threads);

        let mut memory = out.gauge(
            "namedprocess_namegroup_memory_bytes",
            "number of bytes of memory in use",
            ["groupname", "memtype"],
        );
        for Group { name, now, known, .. } in self.in_order() {
            let name = name.as_bytes();
            if known.has(Files::SMAPS) {
                memory.put([name, b"proportionalResident"], now.proportional_bytes as f64);
                memory.put([name, b"proportionalSwapped"], now.proportional_swapped_bytes as f64);
            }
            memory.put([name, b"resident"], now.resident_bytes as f64);
            if known.has(Files::STATUS) {
                memory.put([name, b"swapped"], now.swapped_bytes as f64);
            }
            memory.put([name, b"virtual"], now.virtual_bytes as f64);
        }

        let name = "namedprocess_namegroup_open_filedesc";
        let help = "number of open file descriptors for this group";
        self.family(out, false, name, help, |g| g.known.has(Files::FD).then_some(g.now.open_files as f64));
        let name = "namedprocess_namegroup_worst_fd_ratio";
        let help = "the worst (closest to 1) ratio between open fds and max fds among all procs in this group";
        self.family(out, false, name, help, |g| {
            (g.known.has(Files::FD) && g.known.has(Files::LIMITS)).then_some(g.now.worst_ratio)
        });
        let name = "namedprocess_namegroup_oldest_start_time_seconds";
        let help = "start time in seconds since 1970/01/01 of oldest process in group";
        self.family(out, false, name, help, |g| {
            Some(boot_time?.saturating_add(g.now.oldest? / CLOCK_TICKS as u64) as f64)
        });

        let name = "namedprocess_namegroup_states";
        let help = "Number of processes in states Running, Sleeping, Waiting, Zombie, or Other";
        let mut states = out.gauge(name, help, ["groupname", "state"]);
        for group in self.in_order() {
            let of_threads = group.threads.as_ref().map_or([0; STATES.len()], |of| of.states);
            for ((state, count), threads) in STATES.iter().zip(group.now.states).zip(of_threads) {
                states.put([group.name.as_bytes(), state.as_bytes()], f64::from(count) + f64::from(threads));
            }
        }
    }

    fn write_counters(&self, out: &mut Writer) {
        let labels = ["groupname", "mode"];
        let mut cpu = out.counter("namedprocess_namegroup_cpu_seconds_total", "Cpu user usage in seconds", labels);
        for Group { name, counts, .. } in self.in_order() {
            cpu.put([name.as_bytes(), b"system"], counts.system as f64 / NS);
            cpu.put([name.as_bytes(), b"user"], counts.user as f64 / NS);
        }
        let labels = ["groupname", "ctxswitchtype"];
        let name = "namedprocess_namegroup_context_switches_total";
        let mut switches = out.counter(name, "Context switches", labels);
        for Group { name, counts, .. } in self.in_order().filter(|g| g.known.has(Files::STATUS)) {
            switches.put([name.as_bytes(), b"nonvoluntary"], counts.nonvoluntary as f64);
            switches.put([name.as_bytes(), b"voluntary"], counts.voluntary as f64);
        }
        let counter = |out: &mut Writer, name, help, file, value: fn(&Counts) -> u64| {
            self.family(out, true, name, help, |g| g.known.has(file).then(|| value(&g.counts) as f64));
        };
        let name = "namedprocess_namegroup_major_page_faults_total";
        counter(out, name, "Major page faults", Files::STAT, |c| c.major_faults);
        let name = "namedprocess_namegroup_minor_page_faults_total";
        counter(out, name, "Minor page faults", Files::STAT, |c| c.minor_faults);
        let name = "namedprocess_namegroup_read_bytes_total";
        counter(out, name, "number of bytes read by this group", Files::IO, |c| c.read_bytes);
        let name = "namedprocess_namegroup_write_bytes_total";
        counter(out, name, "number of bytes written by this group", Files::IO, |c| c.write_bytes);
    }

    /// What shows that processes of a group are in trouble.
    fn write_trouble(&self, out: &mut Writer) {
        let name = "watchfire_process_group_longest_uninterruptible_seconds";
        let help = "How long the process of the group has been waiting that waits longest in the kernel (state D).";
        self.family(out, false, name, help, |g| g.ever_waited.then(|| (f64::from(g.now.waiting) / 1000.0).floor()));
        let name = "watchfire_process_group_zombie_children";
        let help = "Processes that have ended and that a process of the group, their parent, has not waited for.";
        self.family(out, false, name, help, |g| g.ever_left_zombies.then(|| g.now.zombie_children.into()));
        let name = "watchfire_process_group_wanted_processes";
        let help = "How many processes there should be in the group at least, as processes.wanted says.";
        self.family(out, false, name, help, |g| Some(g.wanted?.into()));
    }

    fn write_exits(&mut self, out: &mut Writer) {
        let name = "watchfire_process_exit_peak_memory_bytes";
        let help = "The most resident memory that a process of the group had that has ended in the last minutes.";
        let now = self.now();
        self.family(out, false, name, help, |g| Some(g.exits.peak(now)? as f64));
        let name = "watchfire_process_exits_total";
        let help = "Processes that have ended: success, exit-code, oom-kill, or the signal that ended them.";
        let mut exits = out.counter(name, help, ["groupname", "reason"]);
        self.each_in_order(|group| {
            for (reason, count) in group.exits.shown() {
                exits.put([group.name.as_bytes(), reason.as_bytes()], count as f64);
            }
        });
    }
}
