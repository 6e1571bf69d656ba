//! Packets on their way there and back.

use std::time::Instant;

use super::Report;
use super::packet::{self, Echo};
use super::socket::Socket;

/// Bytes before the payload of what is received: the heads of IPv4, with options, and of ICMP.
const HEADS: usize = 128;

pub(super) struct Flight<'s> {
    socket: &'s Socket,
    is_v6: bool,
    id: u16,
    payload: Vec<u8>,
    /// When each packet was sent, by its number; `None` once it is back, or known not to come.
    sent: Vec<Option<Instant>>,
    buffer: Vec<u8>,
}

impl<'s> Flight<'s> {
    pub fn new(socket: &'s Socket, is_v6: bool, id: u16, payload_size: usize) -> Flight<'s> {
        let (payload, buffer) = (packet::payload(payload_size), vec![0; payload_size + HEADS]);
        Flight { socket, is_v6, id, payload, sent: Vec::new(), buffer }
    }

    /// Sends the next packet.
    pub async fn send(&mut self, report: &mut Report) {
        let echo = Echo { id: self.id, sequence: self.sent.len() as u16 };
        let at = Instant::now();
        report.sent += 1;
        let sent = self.socket.send(&echo.request(self.is_v6, &self.payload)).await;
        self.sent.push(sent.is_ok().then_some(at));
        report.error = sent.err().or(report.error.take());
    }

    /// Takes what comes back: for ever, or until no packet is waited for.
    pub async fn gather(&mut self, report: &mut Report, is_last: bool) {
        while !is_last || self.sent.iter().any(Option::is_some) {
            match self.socket.receive(&mut self.buffer).await {
                Ok((length, hop_limit)) => {
                    let bytes = self.buffer.get(..length).unwrap_or_default();
                    let Some(reply) = packet::reply(bytes, self.is_v6, self.socket.is_raw()) else { continue };
                    // The kernel has put an identifier of its own into packets where it tells them apart.
                    let is_ours = !self.socket.is_raw() || reply.echo.id == self.id;
                    let sent = self.sent.get_mut(usize::from(reply.echo.sequence)).filter(|_| is_ours);
                    if let Some(sent) = sent.and_then(Option::take) {
                        report.times.push(sent.elapsed());
                        report.hop_limit = reply.hop_limit.or(hop_limit);
                    }
                }
                // A router, or this host, says that one will not arrive. Which, it does not say here.
                Err(error) => {
                    report.error = Some(error);
                    if let Some(lost) = self.sent.iter_mut().find(|sent| sent.is_some()) {
                        *lost = None;
                    }
                }
            }
        }
    }
}
