//! Processes by name, under process-exporter's names.

use std::collections::{BTreeMap, HashMap};

use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};

use crate::model::Writer;

/// Groups without a process are kept, so that their counters go on when one comes back; past this many they go.
const MAX_EMPTY_GROUPS: usize = 1000;

/// Groups of processes, and what each process had used when it was last seen.
#[derive(Default)]
pub struct Processes {
    groups: BTreeMap<String, Group>,
    seen: HashMap<Pid, Seen>,
    /// Of this run.
    round: u64,
}

#[derive(Default)]
struct Group {
    processes: u32,
    /// Milliseconds, of all processes that were ever in it. It never goes back.
    cpu: u64,
    resident: u64,
    virtual_: u64,
}

struct Seen {
    /// Seconds since 1970: with the id it tells a process from a later one.
    started: u64,
    /// Milliseconds.
    cpu: u64,
    round: u64,
}

impl Processes {
    /// Reads all processes (not their threads) and writes the groups.
    pub fn collect(&mut self, system: &mut System, out: &mut Writer) {
        let kind = ProcessRefreshKind::nothing().with_cpu().with_memory().without_tasks();
        system.refresh_processes_specifics(ProcessesToUpdate::All, true, kind);
        self.begin();
        for (pid, process) in system.processes() {
            let name = process.name().to_string_lossy();
            let used = Used {
                started: process.start_time(),
                cpu: process.accumulated_cpu_time(),
                resident: process.memory(),
                virtual_: process.virtual_memory(),
            };
            self.add(*pid, &name, &used);
        }
        self.end();
        self.write(out);
    }

    fn begin(&mut self) {
        self.round += 1;
        for group in self.groups.values_mut() {
            *group = Group { cpu: group.cpu, ..Group::default() };
        }
    }

    fn add(&mut self, pid: Pid, name: &str, used: &Used) {
        let round = self.round;
        let seen = self.seen.entry(pid).or_insert(Seen { started: used.started, cpu: 0, round });
        if seen.started != used.started {
            *seen = Seen { started: used.started, cpu: 0, round };
        }
        let more = used.cpu.saturating_sub(seen.cpu);
        *seen = Seen { started: used.started, cpu: seen.cpu.max(used.cpu), round };
        if !self.groups.contains_key(name) {
            self.groups.insert(name.to_string(), Group::default());
        }
        if let Some(group) = self.groups.get_mut(name) {
            group.processes += 1;
            group.cpu = group.cpu.saturating_add(more);
            group.resident = group.resident.saturating_add(used.resident);
            group.virtual_ = group.virtual_.saturating_add(used.virtual_);
        }
    }

    fn end(&mut self) {
        let round = self.round;
        self.seen.retain(|_, seen| seen.round == round);
        if self.groups.values().filter(|g| g.processes == 0).count() > MAX_EMPTY_GROUPS {
            self.groups.retain(|_, group| group.processes > 0);
        }
    }

    fn write(&self, out: &mut Writer) {
        let help = "number of processes in this group";
        let mut family = out.gauge("namedprocess_namegroup_num_procs", help, ["groupname"]);
        for (name, group) in &self.groups {
            family.put([name.as_bytes()], group.processes.into());
        }
        let labels = ["groupname", "mode"];
        let mut family = out.counter("namedprocess_namegroup_cpu_seconds_total", "Cpu usage in seconds", labels);
        for (name, group) in &self.groups {
            family.put([name.as_bytes(), b"total"], group.cpu as f64 / 1000.0);
        }
        let labels = ["groupname", "memtype"];
        let mut family = out.gauge("namedprocess_namegroup_memory_bytes", "number of bytes of memory in use", labels);
        for (name, group) in &self.groups {
            family.put([name.as_bytes(), b"resident"], group.resident as f64);
            family.put([name.as_bytes(), b"virtual"], group.virtual_ as f64);
        }
    }
}

/// What a process has used up to now.
struct Used {
    started: u64,
    cpu: u64,
    resident: u64,
    virtual_: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(processes: &mut Processes, list: &[(u32, &str, u64, u64)]) {
        processes.begin();
        for (pid, name, started, cpu) in list {
            let used = Used { started: *started, cpu: *cpu, resident: 10, virtual_: 100 };
            processes.add(Pid::from_u32(*pid), name, &used);
        }
        processes.end();
    }

    fn group(processes: &Processes, name: &str) -> (u32, u64, u64) {
        let group = &processes.groups[name];
        (group.processes, group.cpu, group.resident)
    }

    #[test]
    fn processes_of_one_name_are_summed() {
        let mut processes = Processes::default();
        run(&mut processes, &[(1, "a", 1, 5), (2, "a", 1, 7), (3, "b", 1, 1)]);
        assert_eq!((group(&processes, "a"), group(&processes, "b")), ((2, 12, 20), (1, 1, 10)));
    }

    #[test]
    fn a_groups_counter_never_goes_back() {
        let mut processes = Processes::default();
        run(&mut processes, &[(1, "a", 1, 5), (2, "a", 1, 7)]);
        run(&mut processes, &[(1, "a", 1, 6)]);
        assert_eq!(group(&processes, "a"), (1, 13, 10), "one has ended");
        run(&mut processes, &[(1, "a", 9, 2)]);
        assert_eq!(group(&processes, "a"), (1, 15, 10), "the id was given to a new process");
        run(&mut processes, &[]);
        assert_eq!(group(&processes, "a"), (0, 15, 0));
        run(&mut processes, &[(1, "a", 20, 1)]);
        assert_eq!(group(&processes, "a"), (1, 16, 10));
    }

    #[test]
    fn groups_that_are_gone_for_good_do_not_pile_up() {
        let mut processes = Processes::default();
        for i in 0..3 * MAX_EMPTY_GROUPS as u32 {
            run(&mut processes, &[(i, &format!("job-{i}"), 1, 1)]);
        }
        assert!(processes.groups.len() <= MAX_EMPTY_GROUPS + 1 && processes.seen.len() == 1);
    }
}
