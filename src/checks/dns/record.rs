//! Records of DNS, and how they are written in zone files (RFC 1035, 5.1), which is what checks look into.

use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr};

use base64::Engine;

use super::message::Reader;

/// Types of records that have a name here; others are `TYPE123` (RFC 3597).
pub(super) const KINDS: [(&str, u16); 28] = [
    ("A", 1),
    ("NS", 2),
    ("CNAME", 5),
    ("SOA", 6),
    ("PTR", 12),
    ("HINFO", 13),
    ("MX", 15),
    ("TXT", 16),
    ("AAAA", 28),
    ("LOC", 29),
    ("SRV", 33),
    ("NAPTR", 35),
    ("DNAME", 39),
    ("OPT", 41),
    ("DS", 43),
    ("SSHFP", 44),
    ("RRSIG", 46),
    ("NSEC", 47),
    ("DNSKEY", 48),
    ("NSEC3", 50),
    ("NSEC3PARAM", 51),
    ("TLSA", 52),
    ("CDS", 59),
    ("CDNSKEY", 60),
    ("SVCB", 64),
    ("HTTPS", 65),
    ("ANY", 255),
    ("CAA", 257),
];

pub(super) const CLASSES: [(&str, u16); 4] = [("IN", 1), ("CH", 3), ("HS", 4), ("ANY", 255)];

const SOA: u16 = 6;

/// The number of a type or a class by its name, or by `TYPE123` and `CLASS123`.
pub(super) fn number(name: &str, known: &[(&str, u16)], generic: &str) -> Option<u16> {
    let named = known.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, number)| *number);
    named.or_else(|| name.strip_prefix(generic)?.parse().ok())
}

fn name_of(number: u16, known: &[(&str, u16)], generic: &str) -> String {
    let named = known.iter().find(|(_, known)| *known == number).map(|(name, _)| name.to_string());
    named.unwrap_or_else(|| format!("{generic}{number}"))
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub kind: u16,
    /// As in a zone file, with a tabulator between name, time to live, class, type and data.
    pub text: String,
    /// Of the start of a zone.
    pub serial: Option<u32>,
}

impl Record {
    pub fn read(reader: &mut Reader<'_>) -> Option<Record> {
        let name = reader.name()?;
        let (kind, class, ttl) = (reader.u16()?, reader.u16()?, reader.u32()?);
        let length = usize::from(reader.u16()?);
        let data = reader.part(length)?;
        let mut text = written(&name);
        let class = name_of(class, &CLASSES, "CLASS");
        let _ = write!(text, "\t{ttl}\t{class}\t{}\t", name_of(kind, &KINDS, "TYPE"));
        let mut serial = None;
        text.push_str(&data_text(kind, data, &mut serial)?);
        Some(Record { kind, text, serial })
    }
}

fn data_text(kind: u16, mut data: Reader<'_>, serial: &mut Option<u32>) -> Option<String> {
    let hex = |bytes: &[u8]| bytes.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    Some(match kind {
        1 => Ipv4Addr::from(<[u8; 4]>::try_from(data.rest()).ok()?).to_string(),
        28 => Ipv6Addr::from(<[u8; 16]>::try_from(data.rest()).ok()?).to_string(),
        2 | 5 | 12 | 39 => written(&data.name()?),
        15 => format!("{} {}", data.u16()?, written(&data.name()?)),
        33 => {
            let (priority, weight, port) = (data.u16()?, data.u16()?, data.u16()?);
            format!("{priority} {weight} {port} {}", written(&data.name()?))
        }
        SOA => {
            let (server, mailbox) = (written(&data.name()?), written(&data.name()?));
            let number = data.u32()?;
            *serial = Some(number);
            let (refresh, retry, expire, least) = (data.u32()?, data.u32()?, data.u32()?, data.u32()?);
            format!("{server} {mailbox} {number} {refresh} {retry} {expire} {least}")
        }
        16 => {
            let mut texts = Vec::new();
            while let Some(length) = data.u8() {
                texts.push(quoted(data.take(usize::from(length))?));
            }
            texts.join(" ")
        }
        257 => {
            let (flags, length) = (data.u8()?, data.u8()?);
            let tag = String::from_utf8_lossy(data.take(usize::from(length))?).into_owned();
            format!("{flags} {tag} {}", quoted(data.rest()))
        }
        43 | 59 => format!("{} {} {} {}", data.u16()?, data.u8()?, data.u8()?, hex(data.rest()).to_uppercase()),
        44 => format!("{} {} {}", data.u8()?, data.u8()?, hex(data.rest()).to_uppercase()),
        52 => format!("{} {} {} {}", data.u8()?, data.u8()?, data.u8()?, hex(data.rest())),
        48 | 60 => {
            let (flags, protocol, algorithm) = (data.u16()?, data.u8()?, data.u8()?);
            let key = base64::engine::general_purpose::STANDARD.encode(data.rest());
            format!("{flags} {protocol} {algorithm} {key}")
        }
        _ => {
            let bytes = data.rest();
            format!("\\# {} {}", bytes.len(), hex(bytes)).trim_end().to_string()
        }
    })
}

/// A name of labels with dots behind them.
fn written(name: &[u8]) -> String {
    let (mut text, mut rest) = (String::new(), name);
    while let Some((length, after)) = rest.split_first()
        && *length != 0
        && let Some((label, after)) = after.split_at_checked(usize::from(*length))
    {
        for byte in label {
            escape(*byte, b".\\\"();@$", &mut text);
        }
        text.push('.');
        rest = after;
    }
    if text.is_empty() { ".".to_string() } else { text }
}

fn quoted(bytes: &[u8]) -> String {
    let mut text = "\"".to_string();
    for byte in bytes {
        match byte {
            b' ' => text.push(' '),
            byte => escape(*byte, b"\"\\", &mut text),
        }
    }
    text.push('"');
    text
}

fn escape(byte: u8, special: &[u8], text: &mut String) {
    match byte {
        byte if special.contains(&byte) => {
            text.push('\\');
            text.push(char::from(byte));
        }
        byte if byte.is_ascii_graphic() => text.push(char::from(byte)),
        byte => {
            let _ = write!(text, "\\{byte:03}");
        }
    }
}
