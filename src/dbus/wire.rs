//! D-Bus messages: method calls out, answers in. What a message may hold is bounded before anything is kept of it.

/// `ListUnits` of 50,000 units is half of this; the protocol itself allows eight times as much.
pub const MAX_MESSAGE: usize = 16 << 20;

/// The part of a header that every message has, and by which its length is known.
pub const FIXED_HEADER: usize = 16;

/// What came that no message can be.
#[derive(Debug, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

/// The arguments of a call, in the order in which they are added.
#[derive(Default)]
pub struct Body {
    signature: String,
    bytes: Vec<u8>,
}

/// A value of a dictionary.
pub enum Hint<'h> {
    Byte(u8),
    Text(&'h str),
}

impl Body {
    /// Strings.
    pub fn strings(texts: &[&str]) -> Body {
        texts.iter().fold(Body::default(), |body, text| body.string(text))
    }

    pub fn string(mut self, text: &str) -> Body {
        self.signature.push('s');
        put_string(&mut self.bytes, text);
        self
    }

    pub fn u32(mut self, number: u32) -> Body {
        self.signature.push('u');
        align(&mut self.bytes, 4);
        self.bytes.extend(number.to_le_bytes());
        self
    }

    pub fn i32(mut self, number: i32) -> Body {
        self.signature.push('i');
        align(&mut self.bytes, 4);
        self.bytes.extend(number.to_le_bytes());
        self
    }

    /// A list of strings.
    pub fn list(mut self, texts: &[&str]) -> Body {
        self.signature.push_str("as");
        self.array(4, |out| texts.iter().for_each(|text| put_string(out, text)));
        self
    }

    /// A dictionary of strings to values of any type.
    pub fn dictionary(mut self, entries: &[(&str, Hint<'_>)]) -> Body {
        self.signature.push_str("a{sv}");
        self.array(8, |out| {
            for (key, value) in entries {
                align(out, 8);
                put_string(out, key);
                match value {
                    Hint::Byte(byte) => out.extend([1, b'y', 0, *byte]),
                    Hint::Text(text) => {
                        out.extend([1, b's', 0]);
                        put_string(out, text);
                    }
                }
            }
        });
        self
    }

    /// An array: its length, which the padding before the first element is no part of, and its elements.
    fn array(&mut self, alignment: usize, elements: impl FnOnce(&mut Vec<u8>)) {
        align(&mut self.bytes, 4);
        let at = self.bytes.len();
        self.bytes.extend([0; 4]);
        align(&mut self.bytes, alignment);
        let start = self.bytes.len();
        elements(&mut self.bytes);
        let length = (self.bytes.len() - start) as u32;
        if let Some(place) = self.bytes.get_mut(at..at + 4) {
            place.copy_from_slice(&length.to_le_bytes());
        }
    }
}

/// A method call.
pub struct Call<'c> {
    pub destination: &'c str,
    pub path: &'c str,
    pub interface: &'c str,
    pub member: &'c str,
    /// Whether a destination that is not there may be started.
    pub may_start: bool,
    pub body: &'c Body,
}

impl Call<'_> {
    /// Appends the message.
    pub fn write(&self, serial: u32, out: &mut Vec<u8>) {
        const METHOD_CALL: u8 = 1;
        const NO_AUTO_START: u8 = 2;
        let mut fields = Vec::new();
        for (code, kind, value) in
            [(1, b'o', self.path), (2, b's', self.interface), (3, b's', self.member), (6, b's', self.destination)]
        {
            align(&mut fields, 8);
            fields.extend([code, 1, kind, 0]);
            put_string(&mut fields, value);
        }
        let signature = &self.body.signature;
        if !signature.is_empty() {
            align(&mut fields, 8);
            fields.extend([8, 1, b'g', 0, signature.len() as u8]);
            fields.extend(signature.as_bytes());
            fields.push(0);
        }
        let start = out.len();
        out.extend([b'l', METHOD_CALL, if self.may_start { 0 } else { NO_AUTO_START }, 1]);
        for number in [self.body.bytes.len() as u32, serial, fields.len() as u32] {
            out.extend(number.to_le_bytes());
        }
        out.extend(fields);
        let padding = (out.len() - start).next_multiple_of(8) - (out.len() - start);
        out.extend(std::iter::repeat_n(0, padding));
        out.extend(&self.body.bytes);
    }
}

fn align(out: &mut Vec<u8>, to: usize) {
    out.resize(out.len().next_multiple_of(to), 0);
}

/// A string; without zero bytes, which none may have.
fn put_string(out: &mut Vec<u8>, text: &str) {
    if text.contains('\0') {
        return put_string(out, &text.replace('\0', " "));
    }
    align(out, 4);
    out.extend((text.len() as u32).to_le_bytes());
    out.extend(text.as_bytes());
    out.push(0);
}

/// How long the message is that begins with these bytes.
pub fn message_length(fixed: &[u8; FIXED_HEADER]) -> Result<usize, Malformed> {
    let mut input = Input { bytes: fixed, at: 4, big_endian: is_big_endian(fixed[0])? };
    let body = input.u32()? as usize;
    input.u32()?;
    let fields = input.u32()? as usize;
    let sum = fields.checked_next_multiple_of(8).and_then(|f| f.checked_add(body)?.checked_add(FIXED_HEADER));
    match sum {
        Some(length) if length <= MAX_MESSAGE => Ok(length),
        _ => Err(Malformed("a message larger than 16 MiB")),
    }
}

fn is_big_endian(mark: u8) -> Result<bool, Malformed> {
    match mark {
        b'l' => Ok(false),
        b'B' => Ok(true),
        _ => Err(Malformed("no byte order mark")),
    }
}

/// What a message is to who waits for answers.
#[derive(Debug, PartialEq, Eq)]
pub enum Kind {
    Return,
    /// With the error's name.
    Error(String),
    /// A signal, or a call of us: nothing that was asked for.
    Other,
}

/// A message that came, taken apart.
#[derive(Debug)]
pub struct Message<'m> {
    pub kind: Kind,
    /// The serial of the call that this answers.
    pub reply_to: u32,
    /// The types of the body.
    pub signature: &'m [u8],
    pub body: Input<'m>,
}

impl<'m> Message<'m> {
    /// Takes a message apart of which [`message_length`] has said that it ends here.
    pub fn parse(bytes: &'m [u8]) -> Result<Message<'m>, Malformed> {
        let first = *bytes.first().ok_or(Malformed("an empty message"))?;
        let mut input = Input { bytes, at: 0, big_endian: is_big_endian(first)? };
        let [_, kind, _, version] = input.take()?;
        if version != 1 {
            return Err(Malformed("a message of another version of the protocol"));
        }
        input.u32()?;
        input.u32()?;
        let end = input.u32()? as usize;
        let end = input.at.checked_add(end).ok_or(Malformed("a header without end"))?;
        let (mut reply_to, mut signature, mut error) = (0, &b""[..], "");
        while input.at < end {
            input.align(8)?;
            let [code] = input.take()?;
            let value = input.variant()?;
            match (code, value) {
                (4, Value::Text(name)) => error = name,
                (5, Value::Number(serial)) => reply_to = serial as u32,
                (8, Value::Signature(types)) => signature = types,
                _ => {}
            }
        }
        input.align(8)?;
        let kind = match kind {
            2 => Kind::Return,
            3 => Kind::Error(error.to_string()),
            _ => Kind::Other,
        };
        // Alignment counts from the message's start, and the body begins at a multiple of 8: it may as well count from there.
        let body = Input { bytes: bytes.get(input.at..).unwrap_or_default(), at: 0, big_endian: input.big_endian };
        Ok(Message { kind, reply_to, signature, body })
    }
}

/// A value of a basic type; containers are in no answer that is asked for but in `ListUnits`, which knows its own.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'m> {
    Text(&'m str),
    Signature(&'m [u8]),
    Number(u64),
}

/// Reads a message's data, each type at its alignment.
#[derive(Clone, Debug)]
pub struct Input<'m> {
    bytes: &'m [u8],
    at: usize,
    big_endian: bool,
}

impl<'m> Input<'m> {
    const SHORT: Malformed = Malformed("a message that ends too early");

    fn slice(&mut self, length: usize) -> Result<&'m [u8], Malformed> {
        let end = self.at.checked_add(length).ok_or(Self::SHORT)?;
        let slice = self.bytes.get(self.at..end).ok_or(Self::SHORT)?;
        self.at = end;
        Ok(slice)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.slice(N)?.try_into().map_err(|_| Self::SHORT)
    }

    pub fn align(&mut self, to: usize) -> Result<(), Malformed> {
        let padding = self.at.next_multiple_of(to) - self.at;
        self.slice(padding).map(|_| ())
    }

    pub fn u32(&mut self) -> Result<u32, Malformed> {
        self.align(4)?;
        let bytes = self.take()?;
        Ok(if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        self.align(8)?;
        let bytes = self.take()?;
        Ok(if self.big_endian { u64::from_be_bytes(bytes) } else { u64::from_le_bytes(bytes) })
    }

    /// A string or an object path.
    pub fn string(&mut self) -> Result<&'m str, Malformed> {
        let length = self.u32()? as usize;
        let text = self.slice(length)?;
        self.slice(1)?;
        std::str::from_utf8(text).map_err(|_| Malformed("a string that is not UTF-8"))
    }

    fn signature(&mut self) -> Result<&'m [u8], Malformed> {
        let [length] = self.take()?;
        let types = self.slice(length.into())?;
        self.slice(1)?;
        Ok(types)
    }

    /// A variant that holds a basic type.
    pub fn variant(&mut self) -> Result<Value<'m>, Malformed> {
        match self.signature()? {
            b"s" | b"o" => self.string().map(Value::Text),
            b"g" => self.signature().map(Value::Signature),
            b"u" => self.u32().map(|n| Value::Number(n.into())),
            b"t" => self.u64().map(Value::Number),
            _ => Err(Malformed("a value of a type that was not asked for")),
        }
    }

    /// The end of an array that begins here, whose elements are aligned to 8.
    pub fn array_end(&mut self) -> Result<usize, Malformed> {
        self.end_of_array(8)
    }

    /// The end of an array of strings that begins here.
    pub fn strings_end(&mut self) -> Result<usize, Malformed> {
        self.end_of_array(4)
    }

    fn end_of_array(&mut self, alignment: usize) -> Result<usize, Malformed> {
        let length = self.u32()? as usize;
        self.align(alignment)?;
        let end = self.at.checked_add(length).ok_or(Self::SHORT)?;
        if end > self.bytes.len() { Err(Self::SHORT) } else { Ok(end) }
    }

    pub fn position(&self) -> usize {
        self.at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::Fuzz;

    fn call(arguments: &[&str]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let body = &Body::strings(arguments);
        let (destination, path, interface, member) = ("org.d", "/p", "org.i", "Get");
        Call { destination, path, interface, member, may_start: false, body }.write(7, &mut bytes);
        bytes
    }

    #[test]
    fn a_call_is_as_long_as_it_says() {
        for arguments in [&[][..], &["a"], &["interface", "Property"]] {
            let bytes = call(arguments);
            let fixed = bytes[..FIXED_HEADER].try_into().unwrap();
            assert_eq!(message_length(fixed), Ok(bytes.len()), "{arguments:?}");
            let mut message = Message::parse(&bytes).unwrap();
            assert_eq!((message.kind, message.signature.len()), (Kind::Other, arguments.len()));
            for argument in arguments {
                assert_eq!(message.body.string().unwrap(), *argument);
            }
        }
    }

    #[test]
    fn arguments_are_aligned_as_the_specification_has_it() {
        let body = Body::strings(&["a"]).u32(7).list(&[]).dictionary(&[("k", Hint::Byte(2))]).i32(-1);
        assert_eq!(body.signature, "suasa{sv}i");
        let expected: &[&[u8]] = &[
            &[1, 0, 0, 0, b'a', 0, 0, 0],
            &[7, 0, 0, 0],
            &[0, 0, 0, 0],
            // Ten bytes of one entry, which begins at a multiple of 8.
            &[10, 0, 0, 0, 0, 0, 0, 0],
            &[1, 0, 0, 0, b'k', 0, 1, b'y', 0, 2],
            &[0, 0, 255, 255, 255, 255],
        ];
        assert_eq!(body.bytes, expected.concat());
        assert_eq!(Body::strings(&["a\0b"]).bytes, Body::strings(&["a b"]).bytes);
    }

    #[test]
    fn both_byte_orders_are_read() {
        let header = |mark, length: [u8; 4]| [&[mark, 2, 1, 1][..], &length, &[0; 8]].concat();
        let little = header(b'l', 24u32.to_le_bytes());
        let big = header(b'B', 24u32.to_be_bytes());
        for bytes in [little, big] {
            assert_eq!(message_length(bytes[..].try_into().unwrap()), Ok(40));
        }
        assert!(message_length(b"x\x02\x01\x01aaaabbbbcccc").is_err());
        assert!(message_length(&[b'l', 2, 1, 1, 255, 255, 255, 255, 0, 0, 0, 0, 255, 255, 255, 255]).is_err());
    }

    #[test]
    fn damaged_messages_never_panic() {
        let good = [call(&["org.freedesktop.systemd1.Service", "Type"]), call(&[])];
        Fuzz::of(&good).bytes(|bytes| {
            if let Some(fixed) = bytes.first_chunk() {
                assert!(message_length(fixed).is_ok_and(|n| n <= MAX_MESSAGE) || message_length(fixed).is_err());
            }
            if let Ok(message) = Message::parse(bytes) {
                let mut body = message.body;
                let _ = body.clone().array_end();
                let _ = body.clone().strings_end();
                let _ = body.clone().variant();
                while body.string().is_ok() {}
            }
        });
    }
}
