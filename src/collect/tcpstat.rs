//! `tcpstat`: TCP connections by state, over netlink (`man 7 sock_diag`), or from `/proc/net/tcp` and `/proc/net/tcp6`.
//!
//! | metric | type | labels |
//! | --- | --- | --- |
//! | `node_tcp_connection_states` | gauge | `state`: `established`, `syn_sent`, ..., `closing` |
//! | the same | gauge, bytes | `state`: `rx_queued_bytes`, `tx_queued_bytes`, of all connections |
//!
//! A state in which there is no connection is 0; node_exporter leaves it out. The kernel is asked over netlink where
//! procfs is its own, in the network namespace that the agent runs in; where a sandbox forbids that, the files are read.
//!
//! No configuration keys.

use std::io;

use super::netlink::{Netlink, u32_at};
use super::parse::hexadecimal;
use super::{CollectError, Collector, KernelFile, Roots, fields, lines, split_once};
use crate::model::Writer;

crate::section! {
    /// `collectors.tcpstat`.
    pub struct TcpstatConfig {}
}

/// By the kernel's numbers (`include/net/tcp_states.h`), from 1.
const STATES: [&str; 11] = [
    "established",
    "syn_sent",
    "syn_recv",
    "fin_wait1",
    "fin_wait2",
    "time_wait",
    "close",
    "close_wait",
    "last_ack",
    "listen",
    "closing",
];

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IPPROTO_TCP: u8 = 6;
/// All of [`STATES`], as bits.
const ALL_STATES: u32 = 0xffe;
/// `struct inet_diag_req_v2`: family, protocol, extensions, padding, states, and a socket that matches any.
const REQUEST: usize = 56;
/// Where `struct inet_diag_msg` has the queues: behind four bytes, the socket (48 bytes) and a timer.
const RECEIVE_QUEUE: usize = 56;

#[derive(Default)]
struct Counts {
    states: [u64; STATES.len()],
    received: u64,
    sent: u64,
}

impl Counts {
    fn clear(&mut self) {
        *self = Counts::default();
    }

    fn add(&mut self, state: u8, received: u64, sent: u64) {
        if let Some(count) = usize::from(state).checked_sub(1).and_then(|i| self.states.get_mut(i)) {
            *count += 1;
            self.received = self.received.saturating_add(received);
            self.sent = self.sent.saturating_add(sent);
        }
    }

    fn plus(&mut self, other: &Counts) {
        for (sum, count) in self.states.iter_mut().zip(other.states) {
            *sum += count;
        }
        self.received = self.received.saturating_add(other.received);
        self.sent = self.sent.saturating_add(other.sent);
    }
}

/// The `tcpstat` collector.
pub struct Tcpstat {
    /// Of the running kernel; `None` when it is not to be asked.
    netlink: Option<Netlink>,
    files: [KernelFile; 2],
}

impl Tcpstat {
    pub fn new(_: &TcpstatConfig, roots: &Roots) -> Tcpstat {
        Tcpstat {
            netlink: roots.is_procfs().then(|| Netlink::new(Some(rustix::net::netlink::SOCK_DIAG))),
            files: [KernelFile::new(roots.proc("net/tcp")), KernelFile::new(roots.proc("net/tcp6"))],
        }
    }

    fn read_files(&mut self) -> Result<Counts, CollectError> {
        let mut counts = Counts::default();
        let [ipv4, ipv6] = &mut self.files;
        count(ipv4.read()?, &mut counts).map_err(|(line, what)| CollectError::parse(ipv4.path(), line, what))?;
        match ipv6.read() {
            Ok(text) => {
                count(text, &mut counts).map_err(|(line, what)| CollectError::parse(ipv6.path(), line, what))?;
            }
            // A kernel without IPv6.
            Err(CollectError::NoData(_)) => {}
            Err(error) => return Err(error),
        }
        Ok(counts)
    }
}

impl Collector for Tcpstat {
    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        let counts = match self.netlink.as_mut().map(ask) {
            Some(Ok(counts)) => counts,
            _ => self.read_files()?,
        };
        let mut family = out.gauge("node_tcp_connection_states", "Number of connection states.", ["state"]);
        for (state, count) in STATES.into_iter().zip(counts.states) {
            family.put([state.as_bytes()], count as f64);
        }
        family.put([b"rx_queued_bytes"], counts.received as f64);
        family.put([b"tx_queued_bytes"], counts.sent as f64);
        Ok(())
    }
}

fn ask(netlink: &mut Netlink) -> io::Result<Counts> {
    let mut sum = Counts::default();
    for family in [AF_INET, AF_INET6] {
        let mut request = [0; REQUEST];
        request[..2].copy_from_slice(&[family, IPPROTO_TCP]);
        request[4..8].copy_from_slice(&ALL_STATES.to_ne_bytes());
        let mut counts = Counts::default();
        netlink.dump(SOCK_DIAG_BY_FAMILY, &request, &mut counts, Counts::clear, take)?;
        sum.plus(&counts);
    }
    Ok(sum)
}

/// Counts a message of the answer.
fn take(counts: &mut Counts, kind: u16, body: &[u8]) {
    let queues = u32_at(body, RECEIVE_QUEUE).zip(u32_at(body, RECEIVE_QUEUE + 4));
    if kind == SOCK_DIAG_BY_FAMILY
        && let (Some(state), Some((received, sent))) = (body.get(1), queues)
    {
        counts.add(*state, received.into(), sent.into());
    }
}

/// Counts the lines of `net/tcp`: slot, two addresses, the state, the queues.
fn count(text: &[u8], counts: &mut Counts) -> Result<(), (usize, String)> {
    for (i, line) in lines(text).enumerate().skip(1) {
        let mut cells = fields(line).skip(3);
        let state = cells.next().and_then(hexadecimal).and_then(|s| u8::try_from(s).ok());
        let queues = cells.next().and_then(|f| split_once(f, b':'));
        let queues = queues.and_then(|(sent, received)| Some((hexadecimal(sent)?, hexadecimal(received)?)));
        let Some((state, (sent, received))) = state.zip(queues) else {
            return Err((i + 1, "expected a state and tx_queue:rx_queue".to_string()));
        };
        counts.add(state, received, sent);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;
    use crate::collect::netlink::testing::{answer, answering, in_namespace};
    use crate::collect::testing::{Runner, Tree, never_panics};
    use crate::fuzz::Fuzz;

    const TCP: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:0016 00000000:0000 0A 00000015:00000000 00:00000000 00000000     0        0 2740 1 ffff88003d3af3c0
   1: 0F02000A:0016 0202000A:8B6B 01 00000000:00000001 02:000AC99B 00000000     0        0 3652 4 ffff88003d3ae040
";
    const FILES: [(&str, &str); 2] = [("proc/net/tcp", TCP), ("proc/net/tcp6", TCP)];

    fn build(roots: &Roots) -> Tcpstat {
        Tcpstat::new(&TcpstatConfig::default(), roots)
    }

    fn value(lines: &[String], state: &str) -> f64 {
        let start = format!("node_tcp_connection_states{{state=\"{state}\"}} ");
        lines.iter().find_map(|l| l.strip_prefix(&start)).expect("the state").parse().expect("a number")
    }

    fn message(state: u8, received: u32, sent: u32) -> (u16, Vec<u8>) {
        let mut body = vec![0; 72];
        body[1] = state;
        body[56..60].copy_from_slice(&received.to_ne_bytes());
        body[60..64].copy_from_slice(&sent.to_ne_bytes());
        (SOCK_DIAG_BY_FAMILY, body)
    }

    #[test]
    fn the_files_are_counted_where_the_kernel_is_not_to_be_asked() {
        let lines = Runner::new(build(&Tree::new(&FILES).roots())).lines();
        let values = ["listen", "established", "time_wait", "rx_queued_bytes", "tx_queued_bytes"];
        assert_eq!(values.map(|state| value(&lines, state)), [2.0, 2.0, 0.0, 2.0, 42.0]);
        assert_eq!(lines.len(), 13);
        let lines = Runner::new(build(&Tree::new(&FILES[..1]).roots())).lines();
        assert_eq!(value(&lines, "listen"), 1.0, "and a kernel without IPv6 is well");
        let (_, error) = Runner::new(build(&Tree::new::<&str>(&[]).roots())).failure();
        assert!(error.starts_with("no data:"), "{error}");
    }

    #[test]
    fn netlink_answers_are_summed_over_both_families() {
        let mut datagrams = answer(1, &[message(1, 5, 7), message(10, 1, 128), message(99, 1, 1), (20, vec![2, 1])]);
        datagrams.extend(answer(2, &[message(1, 10, 0)]));
        let (mut netlink, _kernel) = answering(&datagrams);
        let counts = ask(&mut netlink).unwrap();
        assert_eq!((counts.states[0], counts.states[9], counts.received, counts.sent), (2, 1, 16, 135));
    }

    #[test]
    fn the_running_kernel_tells_of_its_connections() {
        in_namespace(&["ip link set lo up"], || {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let server = listener.accept().unwrap();
            std::io::Write::write_all(&mut &client, b"12345").unwrap();
            let counts = ask(&mut Netlink::new(Some(rustix::net::netlink::SOCK_DIAG))).unwrap();
            assert_eq!((counts.states[0], counts.states[9]), (2, 1));
            assert_eq!(counts.received, 5, "what the server has not read");
            let mut counted = Counts::default();
            count(&std::fs::read("/proc/thread-self/net/tcp").unwrap(), &mut counted).unwrap();
            assert_eq!(counted.states, counts.states);
            drop(server);
        });
    }

    #[test]
    fn no_answer_makes_it_panic() {
        Fuzz::of(&[message(1, 5, 7).1, message(10, u32::MAX, 128).1]).bytes(|body| {
            let mut counts = Counts::default();
            (0..3).for_each(|_| take(&mut counts, SOCK_DIAG_BY_FAMILY, body));
        });
    }

    #[test]
    fn damaged_files_never_panic() {
        never_panics(&FILES, build);
    }
}
