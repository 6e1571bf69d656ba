//! perf_event_open(2), which neither rustix nor libc have.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

/// Opens counters and reads them.
pub trait Counters: Clone + Send {
    type Counter: Send;

    /// A counter of one CPU over all processes, from 0 on. `kind` and `config`: see perf_event_open(2).
    fn open(&self, kind: u32, config: u64, cpu: u32) -> io::Result<Self::Counter>;

    fn read(&self, counter: &Self::Counter) -> io::Result<u64>;
}

/// The running kernel.
#[derive(Clone)]
pub struct Kernel;

/// `struct perf_event_attr` as the first kernels had it (`PERF_ATTR_SIZE_VER0`): all that counting takes. Later ones
/// take its end for zeros.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    /// 0: a read gives the count and nothing else.
    read_format: u64,
    flags: u64,
    wakeup_events: u32,
    breakpoint_kind: u32,
    breakpoint_address: u64,
}

const ALL_PROCESSES: libc::pid_t = -1;
const NO_GROUP: libc::c_int = -1;
/// `exclude_hv`: what a hypervisor does is not the host's.
const WITHOUT_HYPERVISOR: u64 = 1 << 6;
/// `PERF_FLAG_FD_CLOEXEC`.
const CLOSE_ON_EXEC: libc::c_ulong = 1 << 3;

impl Counters for Kernel {
    type Counter = OwnedFd;

    fn open(&self, kind: u32, config: u64, cpu: u32) -> io::Result<OwnedFd> {
        let size = size_of::<Attributes>() as u32;
        let attributes = Attributes { kind, size, config, flags: WITHOUT_HYPERVISOR, ..Attributes::default() };
        let cpu = libc::c_int::try_from(cpu).map_err(io::Error::other)?;
        // SAFETY: the kernel reads `size` bytes from the structure, which is so large and outlives the call. The
        // descriptor that it gives is new, and nobody else's.
        unsafe {
            let call = libc::SYS_perf_event_open;
            let fd = libc::syscall(call, &raw const attributes, ALL_PROCESSES, cpu, NO_GROUP, CLOSE_ON_EXEC);
            match i32::try_from(fd) {
                Ok(fd) if fd >= 0 => Ok(OwnedFd::from_raw_fd(fd)),
                _ => Err(io::Error::last_os_error()),
            }
        }
    }

    fn read(&self, counter: &OwnedFd) -> io::Result<u64> {
        let mut count = [0; 8];
        match rustix::io::read(counter, &mut count)? {
            8 => Ok(u64::from_ne_bytes(count)),
            // The end of the file: the counter has stopped for good.
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_structure_is_of_the_size_that_every_kernel_takes() {
        assert_eq!(size_of::<Attributes>(), 64);
    }
}
