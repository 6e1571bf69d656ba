//! Taskstats: what a task that ends had used (`struct taskstats` of `linux/taskstats.h`, over generic netlink).

use std::io;
use std::time::Duration;

use rustix::io::Errno;

use super::Used;
use super::socket::{Received, Socket};
use super::tasks::{Report, Task};
use crate::collect::netlink::{
    GENL_HEADER, NLMSG_ERROR, Netlink, attribute, attributes, message, split_message, text, u16_at, u32_at, u64_at,
};
use crate::collect::process::table::Comm;
use crate::collect::{Roots, read_small};

const COMMAND_GET: u8 = 1;
const REGISTER_CPUS: u16 = 3;
const DEREGISTER_CPUS: u16 = 4;
const TYPE_STATS: u16 = 3;
const TYPE_OF_TASK: u16 = 4;
const TYPE_OF_GROUP: u16 = 5;
/// `NLM_F_REQUEST | NLM_F_ACK`.
const ACKNOWLEDGED: u16 = 5;

/// The first version of the structure that says to which process a task belonged: Linux 5.19.
const VERSION: u16 = 12;
/// `ac_flag`: it forked and did not execute a program; it was the last of its process.
const AFORK: u8 = 0x01;
const AGROUP: u8 = 0x20;

/// Where the fields of the structure are. Versions only append.
mod at {
    pub const EXIT_CODE: usize = 4;
    pub const FLAG: usize = 8;
    pub const CPU_RUN_VIRTUAL_TOTAL: usize = 72;
    pub const COMM: std::ops::Range<usize> = 80..112;
    pub const UID: usize = 120;
    pub const PID: usize = 128;
    pub const PPID: usize = 132;
    /// Microseconds.
    pub const UTIME: usize = 152;
    pub const STIME: usize = 160;
    pub const MINOR_FAULTS: usize = 168;
    pub const MAJOR_FAULTS: usize = 176;
    /// KiB.
    pub const HIGH_WATER_RSS: usize = 200;
    pub const READ_BYTES: usize = 248;
    pub const WRITE_BYTES: usize = 256;
    pub const VOLUNTARY: usize = 272;
    pub const NONVOLUNTARY: usize = 280;
    pub const TGID: usize = 368;
    /// Microseconds since the process was born.
    pub const TGETIME: usize = 376;
    pub const EXE_INODE: usize = 392;
}

/// The kernel answers at once.
const PATIENCE: Duration = Duration::from_millis(500);

/// A subscription to the ends of all tasks.
pub(super) struct Taskstats {
    pub socket: Socket,
    family: u16,
    cpus: Vec<u8>,
}

impl Taskstats {
    /// An error is a sentence on why it cannot be had.
    pub fn open(size: usize, roots: &Roots) -> Result<Taskstats, String> {
        let family = Netlink::new(Some(rustix::net::netlink::GENERIC)).family(b"TASKSTATS");
        let family = family.map_err(|error| format!("generic netlink: {error}"))?;
        let family = family.ok_or("the kernel is without CONFIG_TASKSTATS")?;
        let socket = Socket::open(rustix::net::netlink::GENERIC, size).and_then(|socket| {
            socket.join(0)?;
            Ok(socket)
        });
        let socket = socket.map_err(|error| error.to_string())?;
        let mut taskstats = Taskstats { socket, family, cpus: possible_cpus(roots) };
        match taskstats.register() {
            Ok(Some(0)) => {}
            Ok(Some(code)) => return Err(why(&io::Error::from_raw_os_error(code))),
            Ok(None) => return Err("the kernel does not answer".to_string()),
            Err(error) => return Err(why(&error)),
        }
        match taskstats.probe() {
            Ok(Some(version)) if version >= VERSION => Ok(taskstats),
            Ok(Some(version)) => Err(format!("its structure has version {version}; {VERSION} is needed (Linux 5.19)")),
            Ok(None) => Err("no report comes: the agent is not in the host's network namespace".to_string()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// The error number of the answer; 0 is consent.
    fn register(&mut self) -> io::Result<Option<i32>> {
        self.socket.send(&self.request(REGISTER_CPUS))?;
        self.socket.wait(PATIENCE, |datagram| {
            let answer = messages(datagram).find(|(kind, _)| *kind == NLMSG_ERROR)?;
            Some((u32_at(answer.1, 0)? as i32).saturating_neg())
        })
    }

    /// The version of the structure, from the report on a thread of ours that ends: the kernel sends to the host's network
    /// namespace whoever subscribes, and nobody is told.
    fn probe(&mut self) -> io::Result<Option<u16>> {
        let thread = std::thread::Builder::new().name("process-probe".to_string()).stack_size(64 << 10).spawn(|| {})?;
        let _ = thread.join();
        let family = self.family;
        self.socket.wait(PATIENCE, |datagram| {
            let (_, body) = messages(datagram).find(|(kind, _)| *kind == family)?;
            u16_at(stats(body, TYPE_OF_TASK)?, 0)
        })
    }

    fn request(&self, command: u16) -> Vec<u8> {
        let mut body = vec![COMMAND_GET, 1, 0, 0];
        body.extend(((4 + self.cpus.len()) as u16).to_ne_bytes());
        body.extend(command.to_ne_bytes());
        body.extend(&self.cpus);
        body.resize(body.len().next_multiple_of(4), 0);
        message(self.family, ACKNOWLEDGED, 1, &body)
    }

    /// Calls `each` for what has been reported since the last call, with how much was lost. `most` datagrams are read; the
    /// second number is how many were.
    pub fn receive(&mut self, most: usize, mut each: impl FnMut(Report)) -> io::Result<(u64, usize)> {
        let mut lost = 0;
        for read in 0..most {
            match self.socket.receive()? {
                Received::Messages(datagram) => {
                    let ours = messages(datagram).filter(|(kind, _)| *kind == self.family);
                    ours.filter_map(|(_, body)| report(body)).for_each(&mut each);
                }
                Received::Lost(count) => lost += count,
                Received::Empty => return Ok((lost, read)),
            }
        }
        Ok((lost, most))
    }
}

impl Drop for Taskstats {
    fn drop(&mut self) {
        let _ = self.socket.send(&self.request(DEREGISTER_CPUS));
    }
}

/// The CPUs that there can ever be, as the kernel lists them, with a zero byte.
fn possible_cpus(roots: &Roots) -> Vec<u8> {
    let mut list = Vec::new();
    let _ = read_small(&roots.sys("devices/system/cpu/possible"), &mut list);
    let mut list = list.trim_ascii().to_vec();
    if list.is_empty() {
        let count = std::thread::available_parallelism().map_or(1, usize::from);
        list = format!("0-{}", count - 1).into_bytes();
    }
    list.push(0);
    list
}

fn why(error: &io::Error) -> String {
    match Errno::from_io_error(error) {
        Some(Errno::PERM) => "it takes CAP_NET_ADMIN".to_string(),
        Some(Errno::INVAL) => "the agent is not in the host's pid and user namespaces".to_string(),
        _ => error.to_string(),
    }
}

/// Types and bodies.
fn messages(mut datagram: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let (message, rest) = split_message(datagram)?;
        datagram = rest;
        Some((message.kind, message.body))
    })
}

/// The structure that is said to be of the task, or of its process.
fn stats(body: &[u8], of: u16) -> Option<&[u8]> {
    let (_, aggregate) = attributes(body.get(GENL_HEADER..)?).find(|(kind, _)| *kind == of)?;
    attribute(aggregate, TYPE_STATS)
}

fn report(body: &[u8]) -> Option<Report> {
    let task = task(stats(body, TYPE_OF_TASK)?)?;
    let group = stats(body, TYPE_OF_GROUP).and_then(used).unwrap_or_default();
    Some(Report { task, group })
}

fn task(stats: &[u8]) -> Option<Task> {
    let flag = *stats.get(at::FLAG)?;
    let used = used(stats)?;
    Some(Task {
        pid: u32_at(stats, at::PID)?,
        process: u32_at(stats, at::TGID)?,
        ppid: u32_at(stats, at::PPID)?,
        uid: u32_at(stats, at::UID)?,
        comm: Comm::new(text(stats.get(at::COMM)?)),
        wait_status: u32_at(stats, at::EXIT_CODE)?,
        kernel_thread: u64_at(stats, at::EXE_INODE)? == 0 && u64_at(stats, at::HIGH_WATER_RSS)? == 0,
        executed: flag & AFORK == 0,
        last: flag & AGROUP != 0,
        age: Duration::from_micros(u64_at(stats, at::TGETIME)?),
        peak_bytes: u64_at(stats, at::HIGH_WATER_RSS)?.saturating_mul(1024),
        used,
    })
}

fn used(stats: &[u8]) -> Option<Used> {
    let number = |at| u64_at(stats, at);
    Some(Used {
        user_ns: number(at::UTIME)?.saturating_mul(1000),
        system_ns: number(at::STIME)?.saturating_mul(1000),
        run_ns: number(at::CPU_RUN_VIRTUAL_TOTAL)?,
        minor_faults: number(at::MINOR_FAULTS)?,
        major_faults: number(at::MAJOR_FAULTS)?,
        voluntary: number(at::VOLUNTARY)?,
        nonvoluntary: number(at::NONVOLUNTARY)?,
        read_bytes: number(at::READ_BYTES)?,
        write_bytes: number(at::WRITE_BYTES)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::netlink::testing::attribute as attribute_of;
    use crate::fuzz::Fuzz;

    const TYPE_PID: u16 = 1;
    const TYPE_NULL: u16 = 6;

    /// A structure in which each field of 8 bytes holds its offset.
    fn structure() -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..560u64).step_by(8).flat_map(u64::to_ne_bytes).collect();
        let mut put = |at: usize, content: &[u8]| bytes[at..at + content.len()].copy_from_slice(content);
        put(0, &13u16.to_ne_bytes());
        put(at::EXIT_CODE, &139u32.to_ne_bytes());
        put(at::FLAG, &[AGROUP | AFORK]);
        put(at::COMM.start, b"a (b)\0rest");
        for (field, number) in [(at::UID, 1000u32), (at::PID, 42), (at::PPID, 7), (at::TGID, 40)] {
            put(field, &number.to_ne_bytes());
        }
        bytes
    }

    fn aggregate(kind: u16, stats: &[u8]) -> Vec<u8> {
        // Where alignment counts, an empty attribute stands before the structure.
        let parts = [attribute_of(TYPE_PID, &[0; 4]), attribute_of(TYPE_NULL, &[]), attribute_of(TYPE_STATS, stats)];
        attribute_of(kind, &parts.concat())
    }

    fn body(aggregates: &[Vec<u8>]) -> Vec<u8> {
        [&[2, 1, 0, 0], &aggregates.concat()[..]].concat()
    }

    #[test]
    fn the_structure_is_read_by_field() {
        let report = report(&body(&[aggregate(TYPE_OF_TASK, &structure())])).unwrap();
        let used = Used {
            user_ns: 152_000,
            system_ns: 160_000,
            run_ns: 72,
            minor_faults: 168,
            major_faults: 176,
            voluntary: 272,
            nonvoluntary: 280,
            read_bytes: 248,
            write_bytes: 256,
        };
        let task = Task {
            pid: 42,
            process: 40,
            ppid: 7,
            uid: 1000,
            comm: Comm::new(b"a (b)"),
            wait_status: 139,
            kernel_thread: false,
            executed: false,
            last: true,
            age: Duration::from_micros(376),
            peak_bytes: 200 << 10,
            used,
        };
        assert_eq!(report, Report { task, group: Used::default() });
    }

    #[test]
    fn the_sums_of_a_process_stand_behind_its_last_task() {
        let both = body(&[aggregate(TYPE_OF_TASK, &structure()), aggregate(TYPE_OF_GROUP, &structure())]);
        let report = report(&both).unwrap();
        assert_eq!(report.group, report.task.used);
    }

    #[test]
    fn the_kernel_is_told_of_all_cpus() {
        assert_eq!(possible_cpus(&Roots::default()).last(), Some(&0));
        let none = Roots { sysfs: "/nonexistent".into(), ..Roots::default() };
        assert!(possible_cpus(&none).starts_with(b"0-"));
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let both = body(&[aggregate(TYPE_OF_TASK, &structure()), aggregate(TYPE_OF_GROUP, &structure())]);
        Fuzz::of(&[message(31, 0, 1, &both), both.clone()]).bytes(|bytes| {
            let _ = report(bytes);
            let _ = messages(bytes).filter_map(|(_, body)| report(body)).count();
        });
        let whole = body(&[aggregate(TYPE_OF_TASK, &structure())]);
        assert!((0..400).all(|end| report(&whole[..end]).is_none()), "a structure that is cut off");
    }
}
