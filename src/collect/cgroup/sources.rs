//! The files of a cgroup and what is read from them.

use crate::collect::{fields, lines, number, split_once, trim};

use self::Metric::*;

/// What is known of a cgroup: an index into its values.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Metric {
    CpuUsage,
    CpuUser,
    CpuSystem,
    CpuPeriods,
    CpuThrottledPeriods,
    CpuThrottled,
    MemoryUsage,
    MemoryLimit,
    MemorySwap,
    MemoryWorkingSet,
    OomKills,
    IoReadBytes,
    IoWrittenBytes,
    IoReads,
    IoWrites,
    Pids,
    PidsLimit,
    CpuWaiting,
    CpuStalled,
    MemoryWaiting,
    MemoryStalled,
    IoWaiting,
    IoStalled,
    /// File pages that nobody has used lately, which the working set is without; not exported.
    InactiveFile,
}

pub const METRICS: usize = InactiveFile as usize + 1;

/// The values of one cgroup; `None`: the kernel does not say.
pub type Values = [Option<f64>; METRICS];

/// How a file is read.
#[derive(Debug)]
pub enum Form {
    /// One number, or none where there is no limit.
    Number(Metric, f64),
    /// Lines of a key and a number: key, metric, and what the number is divided by.
    Keys(&'static [(&'static str, Metric, f64)]),
    /// A line a device: `8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6`.
    IoStat,
    /// A line a device and operation: `8:0 Read 1`.
    Blkio(Metric, Metric),
    /// Pressure: the totals of the lines `some` and `full`.
    Pressure(Metric, Metric),
}

/// A file that each cgroup may have.
#[derive(Debug)]
pub struct Source {
    /// The hierarchy that has it: its folder in `fs/cgroup`.
    pub hierarchy: &'static str,
    /// Its name, and what older kernels have in its place.
    pub names: &'static [&'static str],
    pub form: Form,
}

const fn source(hierarchy: &'static str, names: &'static [&'static str], form: Form) -> Source {
    Source { hierarchy, names, form }
}

const MICROSECONDS: f64 = 1e6;
const NANOSECONDS: f64 = 1e9;
/// Clock ticks: `USER_HZ` is 100 on all that Linux runs on today.
const TICKS: f64 = 100.0;

/// The files of the unified hierarchy.
pub const V2: [Source; 12] = [
    source(
        "",
        &["cpu.stat"],
        Form::Keys(&[
            ("usage_usec", CpuUsage, MICROSECONDS),
            ("user_usec", CpuUser, MICROSECONDS),
            ("system_usec", CpuSystem, MICROSECONDS),
            ("nr_periods", CpuPeriods, 1.0),
            ("nr_throttled", CpuThrottledPeriods, 1.0),
            ("throttled_usec", CpuThrottled, MICROSECONDS),
        ]),
    ),
    source("", &["memory.current"], Form::Number(MemoryUsage, 1.0)),
    source("", &["memory.max"], Form::Number(MemoryLimit, 1.0)),
    source("", &["memory.swap.current"], Form::Number(MemorySwap, 1.0)),
    source("", &["memory.stat"], Form::Keys(&[("inactive_file", InactiveFile, 1.0)])),
    source("", &["memory.events"], Form::Keys(&[("oom_kill", OomKills, 1.0)])),
    source("", &["io.stat"], Form::IoStat),
    source("", &["pids.current"], Form::Number(Pids, 1.0)),
    source("", &["pids.max"], Form::Number(PidsLimit, 1.0)),
    source("", &["cpu.pressure"], Form::Pressure(CpuWaiting, CpuStalled)),
    source("", &["memory.pressure"], Form::Pressure(MemoryWaiting, MemoryStalled)),
    source("", &["io.pressure"], Form::Pressure(IoWaiting, IoStalled)),
];

/// The files of the hierarchies of version 1, and of the unified one that may stand beside them.
pub const V1: [Source; 14] = [
    source("cpuacct", &["cpuacct.usage"], Form::Number(CpuUsage, NANOSECONDS)),
    source("cpuacct", &["cpuacct.stat"], Form::Keys(&[("user", CpuUser, TICKS), ("system", CpuSystem, TICKS)])),
    source(
        "cpu",
        &["cpu.stat"],
        Form::Keys(&[
            ("nr_periods", CpuPeriods, 1.0),
            ("nr_throttled", CpuThrottledPeriods, 1.0),
            ("throttled_time", CpuThrottled, NANOSECONDS),
        ]),
    ),
    source("memory", &["memory.usage_in_bytes"], Form::Number(MemoryUsage, 1.0)),
    source("memory", &["memory.limit_in_bytes"], Form::Number(MemoryLimit, 1.0)),
    source(
        "memory",
        &["memory.stat"],
        Form::Keys(&[("total_inactive_file", InactiveFile, 1.0), ("total_swap", MemorySwap, 1.0)]),
    ),
    source("memory", &["memory.oom_control"], Form::Keys(&[("oom_kill", OomKills, 1.0)])),
    source(
        "blkio",
        &["blkio.throttle.io_service_bytes_recursive", "blkio.throttle.io_service_bytes"],
        Form::Blkio(IoReadBytes, IoWrittenBytes),
    ),
    source(
        "blkio",
        &["blkio.throttle.io_serviced_recursive", "blkio.throttle.io_serviced"],
        Form::Blkio(IoReads, IoWrites),
    ),
    source("pids", &["pids.current"], Form::Number(Pids, 1.0)),
    source("pids", &["pids.max"], Form::Number(PidsLimit, 1.0)),
    source("unified", &["cpu.pressure"], Form::Pressure(CpuWaiting, CpuStalled)),
    source("unified", &["memory.pressure"], Form::Pressure(MemoryWaiting, MemoryStalled)),
    source("unified", &["io.pressure"], Form::Pressure(IoWaiting, IoStalled)),
];

impl Form {
    /// Takes the values from a file's text; what is wrong with it as line and text.
    pub fn read(&self, text: &[u8], values: &mut Values) -> Result<(), (usize, String)> {
        let mut set = |metric: Metric, value: f64| {
            if let Some(slot) = values.get_mut(metric as usize) {
                *slot = Some(value);
            }
        };
        match self {
            Form::Number(metric, divisor) => {
                // What version 1 has for "no limit": the largest number of pages.
                const NO_LIMIT: f64 = (1u64 << 62) as f64;
                match trim(text) {
                    b"max" => {}
                    text => match known(text, 0)? {
                        limit if limit >= NO_LIMIT && matches!(metric, MemoryLimit | PidsLimit) => {}
                        value => set(*metric, value / divisor),
                    },
                }
            }
            Form::Keys(keys) => {
                for (i, line) in lines(text).enumerate() {
                    let Some((key, value)) = split_once(line, b' ') else { continue };
                    let Some((_, metric, divisor)) = keys.iter().find(|(k, ..)| k.as_bytes() == key) else { continue };
                    set(*metric, known(trim(value), i + 1)? / divisor);
                }
            }
            Form::IoStat => {
                const KEYS: [(&[u8], Metric); 4] =
                    [(b"rbytes", IoReadBytes), (b"wbytes", IoWrittenBytes), (b"rios", IoReads), (b"wios", IoWrites)];
                let mut sums = [0.0; KEYS.len()];
                for (i, line) in lines(text).enumerate() {
                    for (key, value) in fields(line).filter_map(|f| split_once(f, b'=')) {
                        let at = KEYS.iter().zip(&mut sums).find(|((k, _), _)| *k == key);
                        if let Some((_, sum)) = at {
                            *sum += known(value, i + 1)?;
                        }
                    }
                }
                KEYS.iter().zip(sums).for_each(|((_, metric), sum)| set(*metric, sum));
            }
            Form::Blkio(read, written) => {
                let (mut reads, mut writes) = (0.0, 0.0);
                for (i, line) in lines(text).enumerate() {
                    let mut found = fields(line).skip(1);
                    let sum = match found.next() {
                        Some(b"Read") => &mut reads,
                        Some(b"Write") => &mut writes,
                        _ => continue,
                    };
                    *sum += known(found.next().unwrap_or(b""), i + 1)?;
                }
                set(*read, reads);
                set(*written, writes);
            }
            Form::Pressure(waiting, stalled) => {
                for (i, line) in lines(text).enumerate() {
                    let mut found = fields(line);
                    let metric = match found.next() {
                        Some(b"some") => *waiting,
                        Some(b"full") => *stalled,
                        _ => continue,
                    };
                    let total = found.find_map(|f| f.strip_prefix(b"total=")).unwrap_or(b"");
                    set(metric, known(total, i + 1)? / MICROSECONDS);
                }
            }
        }
        Ok(())
    }
}

fn known(text: &[u8], line: usize) -> Result<f64, (usize, String)> {
    number(text).ok_or_else(|| (line, format!("{:?} is no number", String::from_utf8_lossy(text))))
}
