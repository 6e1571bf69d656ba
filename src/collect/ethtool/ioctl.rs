//! `SIOCETHTOOL` (`include/uapi/linux/ethtool.h`).

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use crate::collect::netlink::{text, u32_at, u64_at};

const ETHTOOL_GSET: u32 = 0x1;
const ETHTOOL_GDRVINFO: u32 = 0x3;
const ETHTOOL_GSTRINGS: u32 = 0x1b;
const ETHTOOL_GSTATS: u32 = 0x1d;
const ETH_SS_STATS: u32 = 1;
/// `struct ethtool_cmd`.
const LINK: usize = 44;
/// `struct ethtool_drvinfo`: five texts of 32 bytes behind the command, and at this place the number of statistics.
const DRIVER: usize = 196;
const DRIVER_STATISTICS: usize = 180;
const TEXT: usize = 32;
/// Devices with more statistics are shown without them.
const MAX_STATISTICS: usize = 16_384;
/// The kernel writes as many statistics as the driver has at that moment, whatever the buffer holds: so it holds twice
/// the most that are asked for. It is zeroed memory, of which what is never written costs nothing.
const BUFFER: usize = 12 + 2 * MAX_STATISTICS * TEXT;

/// What a driver says of the port; bits of `link_modes.rs`.
pub(super) struct Link {
    pub supported: u32,
    pub advertised: u32,
    pub autonegotiate: bool,
}

/// What a driver says of itself.
#[derive(Debug)]
pub(super) struct Driver {
    pub driver: Vec<u8>,
    pub version: Vec<u8>,
    pub firmware_version: Vec<u8>,
    pub bus_info: Vec<u8>,
    pub expansion_rom_version: Vec<u8>,
}

/// The answers for one device; `None`, or no statistics, where the driver does not answer such questions.
pub(super) struct Answers {
    pub link: io::Result<Option<Link>>,
    pub driver: io::Result<Option<Driver>>,
    pub statistics: io::Result<Vec<(Vec<u8>, u64)>>,
}

/// A socket to ask by.
pub(super) struct Ethtool {
    socket: Option<OwnedFd>,
    buffer: Vec<u8>,
}

impl Ethtool {
    pub fn new() -> Ethtool {
        Ethtool { socket: None, buffer: Vec::new() }
    }

    /// Asks the driver of this device.
    pub fn ask(&mut self, device: &[u8]) -> Answers {
        let link = self.call(device, ETHTOOL_GSET, &[]).map(|answer| answer.and_then(parse_link));
        let driver = self.call(device, ETHTOOL_GDRVINFO, &[]);
        let count = match &driver {
            Ok(Some(answer)) => u32_at(answer, DRIVER_STATISTICS).unwrap_or(0),
            _ => 0,
        };
        let driver = driver.map(|answer| answer.and_then(parse_driver));
        Answers { link, driver, statistics: self.statistics(device, count) }
    }

    fn statistics(&mut self, device: &[u8], count: u32) -> io::Result<Vec<(Vec<u8>, u64)>> {
        let count_of = |answer: &[u8], at| u32_at(answer, at).map_or(0, |n| n as usize);
        if count == 0 || count as usize > MAX_STATISTICS {
            return Ok(Vec::new());
        }
        // `struct ethtool_gstrings`: command, set, length, texts.
        let Some(answer) = self.call(device, ETHTOOL_GSTRINGS, &[ETH_SS_STATS, count])? else { return Ok(Vec::new()) };
        let named = count_of(answer, 8);
        let names = answer.get(12..).unwrap_or_default().chunks_exact(TEXT).take(named);
        let names: Vec<Vec<u8>> = names.map(|name| text(name).to_vec()).collect();
        // `struct ethtool_stats`: command, number, values.
        let Some(answer) = self.call(device, ETHTOOL_GSTATS, &[count])? else { return Ok(Vec::new()) };
        if count_of(answer, 4) != names.len() {
            // The driver has got queues, or lost some, between the two questions.
            return Ok(Vec::new());
        }
        let values = (0..names.len()).map(|i| u64_at(answer, 8 + 8 * i).unwrap_or(0));
        Ok(names.into_iter().zip(values).collect())
    }

    /// Asks with a command and the words behind it; `None` when the driver does not answer this, or the device is gone.
    fn call(&mut self, device: &[u8], command: u32, words: &[u32]) -> io::Result<Option<&[u8]>> {
        const NONE: [Errno; 3] = [Errno::OPNOTSUPP, Errno::NODEV, Errno::INVAL];
        if self.buffer.is_empty() {
            self.buffer = vec![0; BUFFER];
        }
        let socket = match &self.socket {
            Some(socket) => socket,
            None => {
                self.socket.insert(socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?)
            }
        };
        let length = match command {
            ETHTOOL_GSET => LINK,
            ETHTOOL_GDRVINFO => DRIVER,
            _ => 4 + 4 * words.len(),
        };
        if let Some(request) = self.buffer.get_mut(..length) {
            request.fill(0);
            for (cell, word) in request.as_chunks_mut::<4>().0.iter_mut().zip([command].iter().chain(words)) {
                *cell = word.to_ne_bytes();
            }
        }
        match call(socket, device, &mut self.buffer) {
            Ok(()) => Ok(Some(&self.buffer)),
            Err(e) if NONE.iter().any(|errno| e.raw_os_error() == Some(errno.raw_os_error())) => Ok(None),
            Err(e) => Err(e),
        }
    }
}

/// Calls `ioctl(SIOCETHTOOL)` with a command in `buffer`, which has [`BUFFER`] bytes.
fn call(socket: &OwnedFd, device: &[u8], buffer: &mut [u8]) -> io::Result<()> {
    // SAFETY: all of its fields are integers, arrays of them and raw pointers, for which zeros are valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // The last byte stays zero.
    let room = request.ifr_name.len().saturating_sub(1);
    if device.is_empty() || device.len() > room || buffer.len() < BUFFER {
        return Err(Errno::INVAL.into());
    }
    for (cell, byte) in request.ifr_name.iter_mut().zip(device) {
        *cell = byte.cast_signed() as libc::c_char;
    }
    request.ifr_ifru.ifru_data = buffer.as_mut_ptr().cast();
    // SAFETY: the kernel reads and writes what `ifru_data` points at, from its start. The commands that this module
    // gives write at most BUFFER bytes there: the two structures are shorter, and of the lists only those are asked for
    // that half fill it.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL as _, &mut request) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn parse_link(answer: &[u8]) -> Option<Link> {
    Some(Link { supported: u32_at(answer, 4)?, advertised: u32_at(answer, 8)?, autonegotiate: *answer.get(18)? != 0 })
}

fn parse_driver(answer: &[u8]) -> Option<Driver> {
    let field = |i: usize| answer.get(4 + i * TEXT..)?.first_chunk::<TEXT>().map(|t| text(t).to_vec());
    Some(Driver {
        driver: field(0)?,
        version: field(1)?,
        firmware_version: field(2)?,
        bus_info: field(3)?,
        expansion_rom_version: field(4)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::Fuzz;

    #[test]
    fn no_answer_of_a_driver_makes_it_panic() {
        let mut driver = vec![0; DRIVER];
        driver[4..8].copy_from_slice(b"veth");
        Fuzz::of(&[driver, vec![1; LINK]]).bytes(|answer| {
            let _ = (parse_link(answer), parse_driver(answer));
        });
    }
}
