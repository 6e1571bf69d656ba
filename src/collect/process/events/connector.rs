//! The process connector: each fork, exec and exit of a process, as it happens (`linux/cn_proc.h`).

use std::io;
use std::os::linux::fs::MetadataExt;
use std::time::Duration;

use rustix::io::Errno;

use super::socket::{Received, Socket};
use crate::collect::netlink::{NLMSG_DONE, message, split_message, u32_at};

/// `CN_IDX_PROC` and `CN_VAL_PROC`; the former is also the number of the multicast group.
const ADDRESS: [u32; 2] = [1, 1];
const LISTEN: u32 = 1;
const IGNORE: u32 = 2;
/// `struct cn_msg`: address, sequence, acknowledgement, length, flags.
const CN_HEADER: usize = 20;
/// `struct proc_event` before what differs between the kinds: kind, CPU, time.
const EVENT_HEADER: usize = 16;
const NONE: u32 = 0;
const FORK: u32 = 1;
const EXEC: u32 = 2;
const EXIT: u32 = 0x8000_0000;

/// With the agent's pid, tells the answer to our request from those to others', which come to all: the kernel answers with
/// the acknowledgement that was sent and 1; sequence numbers are its own.
const ACKNOWLEDGEMENT: u32 = 0x5746_0000;
/// A kernel that answers does so at once; one that does not want to says nothing.
const PATIENCE: Duration = Duration::from_millis(500);

/// The inodes that the first namespaces have had since Linux 3.8 (`PROC_PID_INIT_INO`, `PROC_USER_INIT_INO`).
const FIRST_NAMESPACES: [(&str, u64); 2] = [("pid", 0xefff_fffc), ("user", 0xefff_fffd)];

/// What happened to a process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Event {
    Fork {
        parent: u32,
        child: u32,
    },
    Exec {
        pid: u32,
    },
    /// Its main thread has ended, which is not the last one necessarily.
    Exit {
        pid: u32,
    },
}

/// A subscription.
pub(super) struct Connector {
    pub socket: Socket,
}

impl Connector {
    /// `exits`: whether those are wanted too. An error is a sentence on why it cannot be had.
    pub fn open(size: usize, exits: bool) -> Result<Connector, String> {
        // There the kernel would keep silent.
        for (name, first) in FIRST_NAMESPACES {
            if std::fs::metadata(format!("/proc/self/ns/{name}")).is_ok_and(|file| file.st_ino() != first) {
                return Err(format!("the agent is not in the host's {name} namespace"));
            }
        }
        let ours = ACKNOWLEDGEMENT ^ std::process::id();
        let subscribe = || -> io::Result<(Connector, Option<u32>)> {
            let socket = Socket::open(rustix::net::netlink::CONNECTOR, size)?;
            let mut connector = Connector { socket };
            connector.want_exits(exits)?;
            connector.socket.join(ADDRESS[0])?;
            connector.socket.send(&request(LISTEN, ours))?;
            let answer = connector.socket.wait(PATIENCE, |datagram| answer(datagram, ours))?;
            Ok((connector, answer))
        };
        match subscribe() {
            Ok((connector, Some(0))) => Ok(connector),
            Ok((_, Some(code))) => Err(why(&io::Error::from_raw_os_error(code as i32))),
            Ok((_, None)) => Err("the kernel does not answer (it may be without CONFIG_PROC_EVENTS)".to_string()),
            Err(error) => Err(why(&error)),
        }
    }

    /// Sets what the kernel lets through. Each thread's birth and end, names, users, sessions: none of them wakes us.
    pub fn want_exits(&self, exits: bool) -> io::Result<()> {
        self.socket.filter(&mut filter(exits))
    }

    /// Calls `each` for what has happened since the last call, with how much was lost. `most` datagrams are read.
    pub fn receive(&mut self, most: usize, mut each: impl FnMut(Event)) -> io::Result<u64> {
        let mut lost = 0;
        for _ in 0..most {
            match self.socket.receive()? {
                Received::Messages(datagram) => events(datagram).for_each(&mut each),
                Received::Lost(count) => lost += count,
                Received::Empty => break,
            }
        }
        Ok(lost)
    }
}

impl Drop for Connector {
    /// Before Linux 6.6 the kernel would go on making events that nobody receives.
    fn drop(&mut self) {
        let _ = self.socket.send(&request(IGNORE, ACKNOWLEDGEMENT));
    }
}

fn why(error: &io::Error) -> String {
    match Errno::from_io_error(error) {
        Some(Errno::PERM) => "it takes CAP_NET_ADMIN".to_string(),
        Some(Errno::CONNREFUSED) => "the agent is not in the host's network namespace".to_string(),
        Some(Errno::PROTONOSUPPORT) => "the kernel is without CONFIG_CONNECTOR".to_string(),
        _ => error.to_string(),
    }
}

fn request(operation: u32, acknowledgement: u32) -> Vec<u8> {
    let mut body: Vec<u8> =
        [ADDRESS[0], ADDRESS[1], 0, acknowledgement].into_iter().flat_map(u32::to_ne_bytes).collect();
    body.extend((size_of::<u32>() as u16).to_ne_bytes());
    body.extend([0; 2]);
    body.extend(operation.to_ne_bytes());
    message(NLMSG_DONE, 0, 0, &body)
}

/// The bodies of what the connector says in a datagram: `struct cn_msg` and `struct proc_event`.
fn bodies(mut datagram: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (message, rest) = split_message(datagram)?;
        datagram = rest;
        Some(message.body)
    })
    .filter(|body| [u32_at(body, 0), u32_at(body, 4)] == ADDRESS.map(Some))
}

fn events(datagram: &[u8]) -> impl Iterator<Item = Event> {
    bodies(datagram).filter_map(event)
}

fn event(body: &[u8]) -> Option<Event> {
    let kind = u32_at(body, CN_HEADER)?;
    let number = |index: usize| u32_at(body, CN_HEADER + EVENT_HEADER + 4 * index);
    // A process is its main thread; others are not ours to tell of, should the filter let them through.
    match kind {
        FORK => {
            let (parent, child) = (number(1)?, number(3)?);
            (number(2)? == child).then_some(Event::Fork { parent, child })
        }
        EXEC => Some(Event::Exec { pid: number(1)? }),
        EXIT => {
            let pid = number(1)?;
            (number(0)? == pid).then_some(Event::Exit { pid })
        }
        _ => None,
    }
}

/// The error number of the answer to the request with this acknowledgement; 0 is consent.
fn answer(datagram: &[u8], acknowledgement: u32) -> Option<u32> {
    bodies(datagram).find_map(|body| {
        let ours = u32_at(body, 12)? == acknowledgement.wrapping_add(1) && u32_at(body, CN_HEADER)? == NONE;
        let code = u32_at(body, CN_HEADER + EVENT_HEADER)?;
        ours.then_some((code as i32).unsigned_abs())
    })
}

/// Classic BPF: answers, execs, and forks (and exits) where the id of the thread is that of the process.
fn filter(exits: bool) -> [libc::sock_filter; 15] {
    const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    const TO_X: u32 = libc::BPF_MISC | libc::BPF_TAX;
    const IS: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    const IS_X: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_X;
    const RETURN: u32 = libc::BPF_RET | libc::BPF_K;
    const NETLINK_HEADER: usize = 16;
    let at = |index: usize| (NETLINK_HEADER + CN_HEADER + EVENT_HEADER + 4 * index) as u32;
    // `yes` and `no`: how many instructions a jump leaves out.
    let op = |code: u32, yes, no, k| libc::sock_filter { code: code as u16, jt: yes, jf: no, k };
    // A load takes the bytes for a number in network order.
    let is = |kind: u32, yes, no| op(IS, yes, no, kind.to_be());
    [
        op(LOAD, 0, 0, (NETLINK_HEADER + CN_HEADER) as u32),
        is(EXEC, 11, 0),
        is(NONE, 10, 0),
        is(FORK, 1, 0),
        is(if exits { EXIT } else { FORK }, 4, 9),
        // The child's thread and process.
        op(LOAD, 0, 0, at(2)),
        op(TO_X, 0, 0, 0),
        op(LOAD, 0, 0, at(3)),
        op(IS_X, 4, 5, 0),
        // What has ended.
        op(LOAD, 0, 0, at(0)),
        op(TO_X, 0, 0, 0),
        op(LOAD, 0, 0, at(1)),
        op(IS_X, 0, 1, 0),
        op(RETURN, 0, 0, u32::MAX),
        op(RETURN, 0, 0, 0),
    ]
}

#[cfg(test)]
mod tests {
    use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair};

    use super::super::socket::attach_filter;
    use super::*;
    use crate::fuzz::Fuzz;

    const CHANGE_OF_NAME: u32 = 0x200;

    fn datagram(kind: u32, numbers: &[u32]) -> Vec<u8> {
        let header = [ADDRESS[0], ADDRESS[1], 99, ACKNOWLEDGEMENT + 1, 40, kind, 0, 0, 0];
        let body: Vec<u8> = header.iter().chain(numbers).copied().flat_map(u32::to_ne_bytes).collect();
        message(NLMSG_DONE, 0, 7, &body)
    }

    /// What the kernel lets through of these datagrams.
    fn filtered(exits: bool, datagrams: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let pair = socketpair(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::NONBLOCK, None);
        let (kernel, socket) = pair.unwrap();
        attach_filter(&socket, &mut filter(exits)).unwrap();
        for datagram in datagrams {
            send(&kernel, datagram, SendFlags::empty()).unwrap();
        }
        let mut buffer = [0; 500];
        std::iter::from_fn(|| {
            recv(&socket, &mut buffer[..], RecvFlags::empty()).ok().map(|(n, _)| buffer[..n].to_vec())
        })
        .collect()
    }

    #[test]
    fn births_executions_and_ends_are_told_apart() {
        let of = |kind, numbers| events(&datagram(kind, numbers)).collect::<Vec<_>>();
        assert_eq!(of(FORK, &[5, 4, 9, 9]), [Event::Fork { parent: 4, child: 9 }]);
        assert_eq!(of(FORK, &[5, 4, 9, 4]), [], "a thread");
        assert_eq!(of(EXEC, &[5, 4]), [Event::Exec { pid: 4 }]);
        assert_eq!(of(EXIT, &[4, 4, 9, 17, 1, 1]), [Event::Exit { pid: 4 }]);
        assert_eq!(of(EXIT, &[5, 4, 9, 17, 1, 1]), [], "a thread");
        assert_eq!(of(CHANGE_OF_NAME, &[4, 4]), []);
        assert_eq!(of(FORK, &[5, 4, 9]), [], "cut off");
    }

    #[test]
    fn only_the_answer_to_the_own_request_counts() {
        assert_eq!(answer(&datagram(NONE, &[0]), ACKNOWLEDGEMENT), Some(0));
        assert_eq!(answer(&datagram(NONE, &[1]), ACKNOWLEDGEMENT), Some(1));
        assert_eq!(answer(&datagram(NONE, &[-1i32 as u32]), ACKNOWLEDGEMENT), Some(1), "as newer kernels have it");
        assert_eq!(answer(&datagram(NONE, &[1]), 3), None);
        assert_eq!(answer(&datagram(EXEC, &[1, 1]), ACKNOWLEDGEMENT), None);
    }

    #[test]
    fn the_filter_lets_processes_through_and_no_threads() {
        let wanted =
            [datagram(NONE, &[0]), datagram(FORK, &[5, 4, 9, 9]), datagram(EXEC, &[4, 4]), datagram(EXEC, &[5, 4])];
        let exit = datagram(EXIT, &[4, 4, 9, 17, 1, 1]);
        let mut sent = wanted.to_vec();
        sent.extend([
            datagram(FORK, &[5, 4, 9, 4]),
            datagram(EXIT, &[5, 4, 9, 17, 1, 1]),
            datagram(CHANGE_OF_NAME, &[4, 4, 0, 0]),
            b"short".to_vec(),
            exit.clone(),
        ]);
        assert_eq!(filtered(false, &sent), wanted);
        assert_eq!(filtered(true, &sent), [&wanted[..], &[exit]].concat());
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let kinds = [NONE, FORK, EXEC, EXIT, CHANGE_OF_NAME];
        Fuzz::of(&kinds.map(|kind| datagram(kind, &[1, 2, 3, 3, 5, 6]))).bytes(|bytes| {
            assert!(events(bytes).count() <= bytes.len());
            let _ = answer(bytes, ACKNOWLEDGEMENT);
        });
    }
}
