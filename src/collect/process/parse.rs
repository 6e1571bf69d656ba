//! The texts of /proc/PID: only what is used, on bytes, `None` where the text is not what the kernel writes.

use crate::collect::{fields, lines};

/// The scheduler's flag of a kernel thread, in field 9 of `stat`.
const PF_KTHREAD: u64 = 0x0020_0000;

/// /proc/PID/stat, and /proc/PID/task/TID/stat.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stat<'a> {
    /// Field 2 without its parentheses: up to 15 bytes of anything, more for kernel threads.
    pub comm: &'a [u8],
    /// Field 3.
    pub state: u8,
    /// Field 4.
    pub ppid: u32,
    /// Field 9.
    pub kernel_thread: bool,
    /// Fields 10 and 12.
    pub minor_faults: u64,
    pub major_faults: u64,
    /// Fields 14 and 15, clock ticks.
    pub user: u64,
    pub system: u64,
    /// Fields 16 and 17: of children that it has waited for, and theirs; clock ticks.
    pub children_user: u64,
    pub children_system: u64,
    /// Field 20.
    pub threads: u32,
    /// Field 22, clock ticks since boot.
    pub start: u64,
    /// Field 23, bytes.
    pub virtual_bytes: u64,
    /// Field 24.
    pub resident_pages: u64,
}

pub(super) fn stat(text: &[u8]) -> Option<Stat<'_>> {
    // The name may itself hold parentheses, spaces and line feeds: it ends at the last one.
    let open = memchr::memchr(b'(', text)?;
    let close = memchr::memrchr(b')', text)?;
    let comm = text.get(open + 1..close)?;
    let mut rest = text.get(close + 1..)?.split(|b| matches!(b, b' ' | b'\n')).skip(1);
    let state = match rest.next()? {
        [letter] if letter.is_ascii_alphabetic() => *letter,
        _ => return None,
    };
    // `nth` skips the fields between.
    let mut field = |skipped: usize| integer(rest.nth(skipped)?);
    Some(Stat {
        comm,
        state,
        ppid: u32::try_from(field(0)?).ok()?,
        kernel_thread: field(4)? & PF_KTHREAD != 0,
        minor_faults: field(0)?,
        major_faults: field(1)?,
        user: field(1)?,
        system: field(0)?,
        children_user: field(0)?,
        children_system: field(0)?,
        threads: u32::try_from(field(2)?).ok()?,
        start: field(1)?,
        virtual_bytes: field(0)?,
        resident_pages: field(0)?,
    })
}

/// /proc/PID/status.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Status {
    /// Effective user.
    pub uid: u32,
    /// `VmSwap`, bytes; a process without memory of its own has no such line.
    pub swapped: u64,
    /// Of the main thread.
    pub voluntary: u64,
    pub nonvoluntary: u64,
}

pub(super) fn status(text: &[u8]) -> Option<Status> {
    let mut status = Status::default();
    let (mut uid, mut voluntary, mut nonvoluntary) = (None, None, None);
    for line in lines(text) {
        // Most lines are told apart by their first letter alone.
        match line.first() {
            Some(b'U') if line.starts_with(b"Uid:") => {
                uid = Some(u32::try_from(integer(fields(line).nth(2)?)?).ok()?);
            }
            Some(b'V') if line.starts_with(b"VmSwap:") => {
                status.swapped = integer(fields(line).nth(1)?)?.checked_mul(1024)?;
            }
            Some(b'v') if line.starts_with(b"voluntary_ctxt_switches:") => {
                voluntary = Some(integer(fields(line).nth(1)?)?);
            }
            Some(b'n') if line.starts_with(b"nonvoluntary_ctxt_switches:") => {
                nonvoluntary = Some(integer(fields(line).nth(1)?)?);
            }
            _ => {}
        }
    }
    (status.uid, status.voluntary, status.nonvoluntary) = (uid?, voluntary?, nonvoluntary?);
    Some(status)
}

/// /proc/PID/smaps_rollup.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Smaps {
    /// `Pss` and `SwapPss`.
    pub proportional_kib: u64,
    pub proportional_swapped_kib: u64,
}

pub(super) fn smaps_rollup(text: &[u8]) -> Option<Smaps> {
    Some(Smaps {
        proportional_kib: line_value(text, b"Pss:")?,
        proportional_swapped_kib: line_value(text, b"SwapPss:").unwrap_or(0),
    })
}

/// `read_bytes` and `write_bytes` of /proc/PID/io.
pub(super) fn io(text: &[u8]) -> Option<(u64, u64)> {
    Some((line_value(text, b"read_bytes:")?, line_value(text, b"write_bytes:")?))
}

/// The number that follows this word at the start of a line.
fn line_value(text: &[u8], name: &[u8]) -> Option<u64> {
    let line = lines(text).find(|line| line.starts_with(name))?;
    integer(fields(line).nth(1)?)
}

/// Where in the kernel a thread waits, of /proc/PID/wchan: the name of a function; `None` where it does not wait, or it is
/// not for us to know.
pub(super) fn wchan(text: &[u8]) -> Option<&str> {
    let name = std::str::from_utf8(crate::collect::trim(text)).ok()?;
    // A kernel without names of functions says addresses.
    (!name.is_empty() && name != "0" && name.len() <= 128 && name.bytes().all(|b| b.is_ascii_graphic())).then_some(name)
}

/// Nanoseconds on a CPU, of /proc/PID/schedstat, which is of the main thread alone; `None` where the kernel does not
/// count them (then all three numbers are 0).
pub(super) fn schedstat(text: &[u8]) -> Option<u64> {
    let mut numbers = fields(text).map(integer);
    let (ran, waited, times) = (numbers.next()??, numbers.next()??, numbers.next()??);
    (ran != 0 || waited != 0 || times != 0).then_some(ran)
}

/// Nanoseconds that the thread was able to run and had no CPU, of /proc/PID/schedstat.
pub(super) fn run_queue_ns(text: &[u8]) -> Option<u64> {
    integer(fields(text).nth(1)?)
}

/// Clock ticks that the main thread has waited for disks, field 42 of /proc/PID/stat.
pub(super) fn block_io_ticks(text: &[u8]) -> Option<u64> {
    let close = memchr::memrchr(b')', text)?;
    integer(fields(text.get(close + 1..)?).nth(39)?)
}

/// The path of the cgroup, of /proc/PID/cgroup: that of version 2 or of systemd's own hierarchy, whichever is not the
/// root; else the longest of version 1's.
pub(super) fn cgroup(text: &[u8]) -> &[u8] {
    let mut best: (u8, &[u8]) = (0, b"/");
    for line in lines(text) {
        let mut parts = line.splitn(3, |b| *b == b':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let rank = match controllers {
            _ if path == b"/" => 0,
            b"" => 3,
            b"name=systemd" => 2,
            _ => 1,
        };
        if (rank, path.len()) > (best.0, best.1.len()) && rank > 0 {
            best = (rank, path);
        }
    }
    best.1
}

/// The soft limit of open files, of /proc/PID/limits; `u64::MAX` for none.
pub(super) fn open_files_limit(text: &[u8]) -> Option<u64> {
    let line = lines(text).find_map(|line| line.strip_prefix(b"Max open files"))?;
    match fields(line).next()? {
        b"unlimited" => Some(u64::MAX),
        number => integer(number),
    }
}

/// The number that a line of /proc/stat or /proc/meminfo gives for `key`, which is its first field.
pub(super) fn value_of(text: &[u8], key: &[u8]) -> Option<u64> {
    let mut line = lines(text).map(fields).find_map(|mut line| (line.next()? == key).then_some(line))?;
    integer(line.next()?)
}

/// A whole number.
pub(super) fn integer(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |n, b| {
        let digit = b.wrapping_sub(b'0');
        if digit > 9 { None } else { n.checked_mul(10)?.checked_add(u64::from(digit)) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::Fuzz;

    const STAT: &[u8] = b"21150 (cat) R 21131 21131 14782 0 -1 4194304 101 0 7 0 3 4 0 0 20 0 1 0 206958 3133440 382 \
        18446744073709551615 94304316465152 94304316485033 140737271919424 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 1 2 3 4 5 6 7 0\n";
    const STATUS: &[u8] = b"Name:\tcat\nUmask:\t0022\nState:\tR (running)\nUid:\t1\t1000\t2\t3\nVmSwap:\t      12 kB\n\
        Threads:\t1\nvoluntary_ctxt_switches:\t5\nnonvoluntary_ctxt_switches:\t9\n";
    const IO: &[u8] = b"rchar: 1\nwchar: 2\nsyscr: 3\nsyscw: 4\nread_bytes: 4096\nwrite_bytes: 8192\n\
        cancelled_write_bytes: 7\n";

    #[test]
    fn stat_is_read_by_field() {
        assert_eq!(
            stat(STAT).unwrap(),
            Stat {
                comm: b"cat",
                state: b'R',
                ppid: 21131,
                kernel_thread: false,
                minor_faults: 101,
                major_faults: 7,
                user: 3,
                system: 4,
                children_user: 0,
                children_system: 0,
                threads: 1,
                start: 206958,
                virtual_bytes: 3133440,
                resident_pages: 382,
            }
        );
        let kthreadd = b"2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 0 0 0 20 0 1 0 25 0 0 18446744073709551615 0\n";
        assert!(stat(kthreadd).unwrap().kernel_thread);
    }

    #[test]
    fn a_name_may_hold_anything() {
        for name in [&b"a b"[..], b"(sd-pam)", b") R 1 (", b"x\n2 (y) S", b"\xff\xfe", b""] {
            let text = [b"7 (", name, &STAT[10..]].concat();
            assert_eq!(stat(&text).unwrap().comm, name);
        }
    }

    #[test]
    fn status_io_schedstat_and_limits() {
        let expected = Status { uid: 1000, swapped: 12 << 10, voluntary: 5, nonvoluntary: 9 };
        assert_eq!(status(STATUS), Some(expected));
        assert_eq!(io(IO), Some((4096, 8192)));
        assert_eq!(schedstat(b"990466 71056 3\n"), Some(990466));
        assert_eq!(schedstat(b"0 0 0\n"), None, "a kernel that does not count");
        let limits = b"Limit  Soft Limit  Hard Limit  Units\nMax open files            1024   524288   files     \n";
        assert_eq!(open_files_limit(limits), Some(1024));
        assert_eq!(open_files_limit(b"Max open files   unlimited  unlimited  files\n"), Some(u64::MAX));
        assert_eq!(value_of(b"MemTotal:  100 kB\nMemFree: 7 kB\n", b"MemFree:"), Some(7));
    }

    #[test]
    fn a_thread_waits_in_a_function_or_nowhere() {
        assert_eq!(wchan(b"hrtimer_nanosleep"), Some("hrtimer_nanosleep"));
        assert_eq!(wchan(b"do_wait.part.0\n"), Some("do_wait.part.0"));
        assert_eq!(
            [wchan(b"0"), wchan(b""), wchan(b"\n"), wchan(b"a b"), wchan(b"\xff"), wchan(&[b'a'; 200])],
            [None; 6]
        );
    }

    #[test]
    fn the_cgroup_is_the_one_that_says_most() {
        for (text, path) in [
            ("0::/system.slice/ssh.service\n", "/system.slice/ssh.service"),
            ("12:cpu,cpuacct:/a/b\n1:name=systemd:/user.slice\n0::/\n", "/user.slice"),
            ("2:memory:/docker/x\n1:cpu:/\n", "/docker/x"),
            ("0::/\n", "/"),
            ("", "/"),
            ("0::/a:b\nbroken\n", "/a:b"),
        ] {
            assert_eq!(cgroup(text.as_bytes()), path.as_bytes());
        }
    }

    #[test]
    fn delays_and_proportional_memory() {
        assert_eq!(run_queue_ns(b"990466 71056 3\n"), Some(71056));
        assert_eq!(block_io_ticks(STAT), Some(0));
        let rollup = b"55d0-7ffc ---p 00000000 00:00 0   [rollup]\nRss:   2312 kB\nPss:    251 kB\nPss_Dirty: 9 kB\nSwapPss:  4 kB\n";
        let smaps = Smaps { proportional_kib: 251, proportional_swapped_kib: 4 };
        assert_eq!(smaps_rollup(rollup), Some(smaps));
        assert_eq!(smaps_rollup(b""), None, "of a kernel thread");
    }

    #[test]
    fn nothing_that_a_file_holds_makes_it_panic() {
        let limits = b"Limit  Soft Limit  Hard Limit  Units\nMax open files            1024   524288   files     \n";
        let meminfo = b"MemTotal:  100 kB\nMemFree: 7 kB\n";
        let cgroups = b"12:cpu,cpuacct:/a/b\n1:name=systemd:/user.slice\n0::/\n";
        let smaps = b"55d0-7ffc ---p 00000000 00:00 0   [rollup]\nRss:   2312 kB\nPss:    251 kB\nSwapPss:  4 kB\n";
        Fuzz::of(&[STAT, STATUS, IO, b"990466 71056 3\n", limits, meminfo, cgroups, smaps]).bytes(|text| {
            let _ = (stat(text), status(text), io(text), schedstat(text), open_files_limit(text));
            let _ = (value_of(text, b"MemTotal:"), run_queue_ns(text), block_io_ticks(text), smaps_rollup(text));
            assert!(wchan(text).is_none_or(|name| !name.is_empty() && name.is_ascii()));
            assert!(cgroup(text).len() <= text.len().max(1));
        });
    }
}
