//! Messages of DNS (RFC 1035, 4.1): a question is written, an answer read.

use super::record::Record;

/// Bits of the header's flags.
const RESPONSE: u16 = 1 << 15;
const TRUNCATED: u16 = 1 << 9;
const RECURSION_DESIRED: u16 = 1 << 8;

const HEADER: usize = 12;
/// Bytes of a name.
const MAX_NAME: usize = 255;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Question {
    /// The name as it goes over the wire.
    pub name: Vec<u8>,
    pub kind: u16,
    pub class: u16,
}

impl Question {
    /// `None` for a name that cannot be one: empty labels, labels of more than 63 bytes, more than 255 in all.
    pub fn new(name: &str, kind: u16, class: u16) -> Option<Question> {
        let mut wire = Vec::with_capacity(name.len() + 2);
        for label in name.strip_suffix('.').unwrap_or(name).split('.').filter(|_| !matches!(name, "." | "")) {
            let length = u8::try_from(label.len()).ok().filter(|length| (1..=63).contains(length))?;
            wire.push(length);
            wire.extend_from_slice(label.as_bytes());
        }
        wire.push(0);
        (wire.len() <= MAX_NAME).then_some(Question { name: wire, kind, class })
    }

    pub fn message(&self, id: u16, recursion: bool) -> Vec<u8> {
        let flags = if recursion { RECURSION_DESIRED } else { 0 };
        let mut message = Vec::with_capacity(HEADER + self.name.len() + 4);
        for word in [id, flags, 1, 0, 0, 0] {
            message.extend_from_slice(&word.to_be_bytes());
        }
        message.extend_from_slice(&self.name);
        message.extend_from_slice(&self.kind.to_be_bytes());
        message.extend_from_slice(&self.class.to_be_bytes());
        message
    }
}

/// What was answered.
#[derive(Debug, Default)]
pub(super) struct Response {
    pub rcode: u16,
    pub is_truncated: bool,
    pub answers: Vec<Record>,
    pub authorities: Vec<Record>,
    pub additionals: Vec<Record>,
}

/// Why bytes are not the answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Other {
    /// To another question, or none: it may still come.
    NotTheAnswer,
    /// It is, as far as can be seen, but no message.
    Malformed,
}

impl Response {
    /// Reads the answer to a question.
    ///
    /// # Errors
    /// That it is none.
    pub fn parse(bytes: &[u8], id: u16, question: &Question) -> Result<Response, Other> {
        let mut reader = Reader { bytes, at: 0 };
        let header: Option<Vec<u16>> = (0..6).map(|_| reader.u16()).collect();
        let Some([its_id, flags, questions, counts @ ..]) = header.as_deref() else { return Err(Other::NotTheAnswer) };
        if *its_id != id || flags & RESPONSE == 0 {
            return Err(Other::NotTheAnswer);
        }
        // Servers that refuse may leave the question out.
        for _ in 0..*questions {
            let its = reader.question().ok_or(Other::Malformed)?;
            if !its.name.eq_ignore_ascii_case(&question.name) || its.kind != question.kind {
                return Err(Other::NotTheAnswer);
            }
        }
        let is_truncated = flags & TRUNCATED != 0;
        let mut response = Response { rcode: flags & 0xf, is_truncated, ..Response::default() };
        let sections = [&mut response.answers, &mut response.authorities, &mut response.additionals];
        'sections: for (section, count) in sections.into_iter().zip(counts) {
            for _ in 0..*count {
                match Record::read(&mut reader) {
                    Some(record) => section.push(record),
                    // What is cut off may be so in the middle of a record.
                    None if is_truncated => break 'sections,
                    None => return Err(Other::Malformed),
                }
            }
        }
        Ok(response)
    }
}

/// Reads a message from the front.
pub(super) struct Reader<'m> {
    bytes: &'m [u8],
    at: usize,
}

impl<'m> Reader<'m> {
    pub fn u8(&mut self) -> Option<u8> {
        let byte = self.bytes.get(self.at).copied()?;
        self.at += 1;
        Some(byte)
    }

    pub fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    pub fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    pub fn take(&mut self, count: usize) -> Option<&'m [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(taken)
    }

    /// The same message up to so many bytes from here, and this behind them.
    pub fn part(&mut self, length: usize) -> Option<Reader<'m>> {
        let (at, end) = (self.at, self.at.checked_add(length)?);
        self.take(length)?;
        Some(Reader { bytes: self.bytes.get(..end)?, at })
    }

    pub fn rest(&mut self) -> &'m [u8] {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        self.at = self.bytes.len();
        rest
    }

    fn question(&mut self) -> Option<Question> {
        Some(Question { name: self.name()?, kind: self.u16()?, class: self.u16()? })
    }

    /// A name without compression. Each pointer must lead further to the front, so it ends.
    pub fn name(&mut self) -> Option<Vec<u8>> {
        let mut name = Vec::new();
        let (mut at, mut front) = (self.at, self.at);
        let mut behind = None;
        loop {
            let length = usize::from(*self.bytes.get(at)?);
            match length {
                0 => {
                    name.push(0);
                    self.at = behind.unwrap_or(at + 1);
                    return (name.len() <= MAX_NAME).then_some(name);
                }
                1..=63 => {
                    name.extend_from_slice(self.bytes.get(at..at + 1 + length)?);
                    if name.len() > MAX_NAME {
                        return None;
                    }
                    at += 1 + length;
                }
                0xc0.. => {
                    let low = usize::from(*self.bytes.get(at + 1)?);
                    behind.get_or_insert(at + 2);
                    at = (length & 0x3f) << 8 | low;
                    if at >= front {
                        return None;
                    }
                    front = at;
                }
                _ => return None,
            }
        }
    }
}
