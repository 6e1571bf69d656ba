//! Numbers of bytes.

use std::fmt;

use super::{Faults, FromYaml, Node, Value};

/// A number of bytes as people write it: `4096`, `16MiB`, `1.5G`, `10MB`. As in Prometheus' own files all units are powers
/// of 1024, with and without the `i`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Bytes(pub u64);

const UNITS: [(&str, u64); 14] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("T", 1 << 40),
    ("G", 1 << 30),
    ("M", 1 << 20),
    ("K", 1 << 10),
    ("TB", 1 << 40),
    ("GB", 1 << 30),
    ("MB", 1 << 20),
    ("kB", 1 << 10),
    ("KB", 1 << 10),
    ("B", 1),
];

impl Bytes {
    pub fn parse(text: &str) -> Option<Bytes> {
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        let unit = unit.trim_start();
        let unit = if unit.is_empty() { 1 } else { UNITS.iter().find(|(name, _)| *name == unit)?.1 };
        if let Ok(whole) = number.parse::<u64>() {
            return whole.checked_mul(unit).map(Bytes);
        }
        let bytes = number.parse::<f64>().ok()? * unit as f64;
        // Beyond this no float is exact, and no file so large.
        (bytes < 2f64.powi(53)).then_some(Bytes(bytes.round() as u64))
    }
}

impl fmt::Display for Bytes {
    /// For people: `512 bytes`, `1.4 GiB`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match UNITS.iter().take(4).find(|(_, size)| self.0 >= *size) {
            None if self.0 == 1 => f.write_str("1 byte"),
            None => write!(f, "{} bytes", self.0),
            Some((unit, size)) if self.0.is_multiple_of(*size) => write!(f, "{} {unit}", self.0 / size),
            Some((unit, size)) => write!(f, "{:.1} {unit}", self.0 as f64 / *size as f64),
        }
    }
}

impl FromYaml for Bytes {
    fn from_yaml(node: &Node, faults: &mut Faults) -> Option<Self> {
        let read = node.as_str().and_then(Bytes::parse);
        if read.is_none() {
            faults.unexpected(node, "a number of bytes, such as 4096, 16MiB or 1.5GiB");
        }
        read
    }

    fn as_yaml(&self) -> Option<Value> {
        let whole = UNITS.iter().take(4).find(|(_, size)| self.0 > 0 && self.0.is_multiple_of(*size));
        Some(Value::plain(match whole {
            Some((unit, size)) => format!("{}{unit}", self.0 / size),
            None => self.0.to_string(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::Fuzz;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in [
            ("0", Some(0)),
            ("4096", Some(4096)),
            ("16MiB", Some(16 << 20)),
            ("16 MiB", Some(16 << 20)),
            ("2G", Some(2 << 30)),
            ("1.5GB", Some(3 << 29)),
            ("1kB", Some(1024)),
            ("", None),
            ("MiB", None),
            ("1.2.3", None),
            ("-1", None),
            ("1mib", None),
            ("99999999999TiB", None),
            ("9999999999.5TiB", None),
        ] {
            assert_eq!(Bytes::parse(text).map(|b| b.0), bytes, "{text}");
        }
        let yaml = |n| Bytes(n).as_yaml().unwrap();
        assert_eq!([yaml(0), yaml(1500), yaml(3 << 20)], ["0", "1500", "3MiB"].map(Value::plain));
    }

    #[test]
    fn no_text_of_a_size_panics() {
        Fuzz::of(&["16MiB", "1.5 GB", "18446744073709551615B"]).texts(|text| {
            let _ = Bytes::parse(text).map(|b| b.to_string());
        });
    }
}
