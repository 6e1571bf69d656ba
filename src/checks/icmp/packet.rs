//! Echo requests and replies (RFC 792; RFC 4443, 4).

/// Bytes of the head.
const HEADER: usize = 8;
/// Bytes behind the head that fit into a packet of IPv4.
pub(super) const MAX_PAYLOAD: usize = 65_535 - 20 - HEADER;

/// What a reply repeats of its request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Echo {
    pub id: u16,
    pub sequence: u16,
}

impl Echo {
    pub fn request(self, is_v6: bool, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![if is_v6 { 128 } else { 8 }, 0, 0, 0];
        packet.extend_from_slice(&self.id.to_be_bytes());
        packet.extend_from_slice(&self.sequence.to_be_bytes());
        packet.extend_from_slice(payload);
        // That of ICMPv6 covers addresses: the kernel makes it.
        if !is_v6 {
            let sum = checksum(&packet).to_be_bytes();
            if let Some(place) = packet.get_mut(2..4) {
                place.copy_from_slice(&sum);
            }
        }
        packet
    }
}

/// The bytes behind the head: some that are not all the same.
pub(super) fn payload(size: usize) -> Vec<u8> {
    (0..=u8::MAX).cycle().take(size).collect()
}

/// The sum of the Internet's protocols (RFC 1071).
fn checksum(packet: &[u8]) -> u16 {
    let word = |pair: &[u8]| match pair {
        [high, low] => u32::from(u16::from_be_bytes([*high, *low])),
        [high] => u32::from(*high) << 8,
        _ => 0,
    };
    let sum: u32 = packet.chunks(2).map(word).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}

#[derive(PartialEq, Eq, Debug)]
pub(super) struct Reply {
    pub echo: Echo,
    /// Where it stands in what was received.
    pub hop_limit: Option<u8>,
}

/// Reads a reply; `None` for any other packet. Raw sockets of IPv4 give the packet with its own head before it.
pub(super) fn reply(bytes: &[u8], is_v6: bool, is_raw: bool) -> Option<Reply> {
    let (packet, hop_limit) = match (is_v6, is_raw) {
        (false, true) => {
            let words = bytes.first()? & 0xf;
            (bytes.get(usize::from(words) * 4..)?, bytes.get(8).copied())
        }
        _ => (bytes, None),
    };
    let [kind, code, _, _, id @ .., sequence_high, sequence_low] = packet.first_chunk::<HEADER>()?;
    let wanted = if is_v6 { 129 } else { 0 };
    let echo = Echo { id: u16::from_be_bytes(*id), sequence: u16::from_be_bytes([*sequence_high, *sequence_low]) };
    (*kind == wanted && *code == 0).then_some(Reply { echo, hop_limit })
}
