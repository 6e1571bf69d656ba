//! What is served of the top processes.

use super::Top;
use super::served::{STATES, Served};
use crate::collect::process::groups::Groups;
use crate::collect::process::pass::CLOCK_TICKS;
use crate::collect::process::table::{Files, Process, Table};
use crate::collect::usage::ratio;
use crate::model::Writer;

/// What of the host the values are measured by.
#[derive(Clone, Copy, Debug)]
pub(in crate::collect::process) struct Host {
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// Bytes.
    pub page_size: u64,
    /// Seconds since 1970.
    pub boot_time: Option<u64>,
}

/// Makes the values of all labels of those that every top process has.
type Labelled<const N: usize> = for<'l> fn([&'l [u8]; 7], &'l Served) -> [&'l [u8]; N];

impl Top {
    /// Writes all families.
    pub fn write(&mut self, out: &mut Writer, table: &Table, groups: &Groups, host: Host) {
        for process in self.served.iter().filter(|s| s.shown).filter_map(|s| table.get(s.pid)) {
            self.users.look_up(process.uid);
        }
        match self.command_lines.are_shown() {
            true => {
                let names = ["pid", "comm", "user", "groupname", "cgroup", "unit", "container", "cmdline"];
                self.write_families(out, table, groups, host, names, |labels, served| {
                    let [pid, comm, user, group, cgroup, unit, container] = labels;
                    [pid, comm, user, group, cgroup, unit, container, served.labels.cmdline.as_bytes()]
                });
            }
            false => {
                let names = ["pid", "comm", "user", "groupname", "cgroup", "unit", "container"];
                self.write_families(out, table, groups, host, names, |labels, _| labels);
            }
        }
    }

    fn write_families<const N: usize>(
        &self,
        out: &mut Writer,
        table: &Table,
        groups: &Groups,
        host: Host,
        names: [&'static str; N],
        labelled: Labelled<N>,
    ) {
        let mut family = |name, help, value: &dyn Fn(&Process, &Served) -> Option<f64>| {
            let mut family = out.gauge(name, help, names);
            for served in self.served.iter().filter(|served| served.shown) {
                let Some(p) = table.get(served.pid) else { continue };
                let Some(value) = value(p, served) else { continue };
                let mut pid = itoa::Buffer::new();
                let labels = self.labels(p, served, groups, pid.format(p.pid).as_bytes());
                family.put(labelled(labels, served), value);
            }
        };
        let io = |p: &Process, rate: f32| p.known.has(Files::IO).then_some(f64::from(rate).round());
        family(
            "watchfire_process_cpu_usage_ratio",
            "CPUs used by a top process since the last tick; 1 is one CPU without a pause.",
            &|p, _| Some(ratio(p.cpu_ratio.into())),
        );
        family(
            "watchfire_process_memory_usage_ratio",
            "Resident memory of a top process as a share of the host's memory.",
            &|p, _| {
                let memory = host.memory.filter(|memory| *memory > 0)?;
                Some(ratio(p.resident_bytes(host.page_size) as f64 / memory as f64))
            },
        );
        family("watchfire_process_resident_memory_bytes", "Resident memory of a top process.", &|p, _| {
            Some(p.resident_bytes(host.page_size) as f64)
        });
        family(
            "watchfire_process_proportional_memory_bytes",
            "Resident memory of a top process, each page counted by how many processes have it.",
            &|p, _| p.known.has(Files::SMAPS).then(|| (u64::from(p.proportional_kib) << 10) as f64),
        );
        family(
            "watchfire_process_io_read_bytes_per_second",
            "Bytes a second that a top process had read from storage since the last tick.",
            &|p, _| io(p, p.read_rate),
        );
        family(
            "watchfire_process_io_written_bytes_per_second",
            "Bytes a second that a top process caused to be written to storage since the last tick.",
            &|p, _| io(p, p.write_rate),
        );
        family("watchfire_process_open_fds", "Open file descriptors of a top process.", &|p, _| {
            p.known.has(Files::FD).then_some(p.open_files.into())
        });
        family("watchfire_process_threads", "Threads of a top process.", &|p, _| Some(p.threads.into()));
        family(
            "watchfire_process_start_time_seconds",
            "Start time of a top process since the Unix epoch in seconds.",
            &|p, _| Some(host.boot_time? as f64 + (p.start as f64 / CLOCK_TICKS).floor()),
        );
        family(
            "watchfire_process_run_queue_delay_ratio",
            "Threads of a top process that could run and waited for a CPU, in the mean of the last seconds.",
            &|_, served| served.delays.run_queue.map(ratio),
        );
        family(
            "watchfire_process_block_io_delay_ratio",
            "Share of the last seconds that the main thread of a top process has waited for disks; only where the kernel \
             counts it (kernel.task_delayacct=1).",
            &|_, served| served.delays.block_io.map(ratio),
        );
        family(
            "watchfire_process_oom_score",
            "How likely a top process is to be ended when memory runs out, from 0 to 2000.",
            &|_, served| Some(served.oom_score? as f64),
        );
        for (at, (name, help, letters)) in STATES.into_iter().enumerate() {
            family(name, help, &|p, served| {
                let seen = served.states.get(at).copied().unwrap_or(false);
                seen.then(|| f64::from(u8::from(letters.contains(&p.state))))
            });
        }
    }

    fn labels<'l>(&'l self, p: &'l Process, served: &'l Served, groups: &'l Groups, pid: &'l [u8]) -> [&'l [u8]; 7] {
        let user = match p.kernel_thread || p.known.has(Files::STATUS) {
            true => self.users.name(p.uid),
            false => "",
        };
        let labels = &served.labels;
        [
            pid,
            p.comm.as_bytes(),
            user.as_bytes(),
            groups.name(p.group).as_bytes(),
            labels.cgroup.as_bytes(),
            labels.place.unit.as_bytes(),
            labels.place.container.as_bytes(),
        ]
    }
}
