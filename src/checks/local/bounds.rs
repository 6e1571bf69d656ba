//! Numbers, and the bounds that they should keep within.

use std::fmt;

use crate::yaml::{Faults, FromYaml, Node, Value};

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

crate::section! {
    check = |b: &mut CountBounds, node: &Node, faults: &mut Faults| check_order(b.min, b.max, node, faults);
    /// How many there should be.
    pub struct CountBounds {
        /// Fewer are a fault.
        pub min: Option<u64> = None,
        /// More are a fault.
        pub max: Option<u64> = None,
    }
}

crate::section! {
    check = |b: &mut SizeBounds, node: &Node, faults: &mut Faults| check_order(b.min, b.max, node, faults);
    /// How large it should be.
    pub struct SizeBounds {
        /// A smaller size is a fault: an empty dump, say.
        pub min: Option<Bytes> = None,
        /// A larger size is a fault.
        pub max: Option<Bytes> = None,
    }
}

fn check_order<T: PartialOrd>(min: Option<T>, max: Option<T>, node: &Node, faults: &mut Faults) {
    if min.is_some() && max.is_some() && min > max {
        faults.error(node.at, "min is above max");
    }
}

impl CountBounds {
    pub fn is_set(&self) -> bool {
        self.min.is_some() || self.max.is_some()
    }

    /// Which bound the number is beyond: `at least 3 wanted`.
    pub fn fault(&self, count: u64) -> Option<String> {
        match (self.min, self.max) {
            (Some(min), _) if count < min => Some(format!("at least {min} wanted")),
            (_, Some(max)) if count > max => Some(format!("at most {max} wanted")),
            _ => None,
        }
    }
}

impl SizeBounds {
    /// How the size is beyond a bound: `has 12 bytes (at least 1 MiB wanted)`.
    pub fn fault(&self, size: u64) -> Option<String> {
        let (bound, word) = match (self.min, self.max) {
            (Some(min), _) if size < min.0 => (min, "at least"),
            (_, Some(max)) if size > max.0 => (max, "at most"),
            _ => return None,
        };
        let (shown, limit) = (Bytes(size).to_string(), bound.to_string());
        Some(match shown == limit {
            true => format!("has {size} bytes ({word} {} wanted)", bound.0),
            false => format!("has {shown} ({word} {limit} wanted)"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::Fuzz;
    use crate::yaml::Document;

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

    #[test]
    fn bounds_say_which_of_them_is_broken() {
        let counts = CountBounds { min: Some(2), max: Some(3) };
        assert_eq!(counts.fault(1).as_deref(), Some("at least 2 wanted"));
        assert_eq!((counts.fault(2), counts.fault(3)), (None, None));
        assert_eq!(counts.fault(4).as_deref(), Some("at most 3 wanted"));
        let sizes = SizeBounds { min: Some(Bytes(10)), max: Some(Bytes(1 << 30)) };
        assert_eq!(sizes.fault(1).as_deref(), Some("has 1 byte (at least 10 bytes wanted)"));
        assert_eq!(sizes.fault(3 << 30).as_deref(), Some("has 3 GiB (at most 1 GiB wanted)"));
        let close = SizeBounds { min: None, max: Some(Bytes((3 << 29) + 1)) };
        assert_eq!(close.fault((3 << 29) + 2).as_deref(), Some("has 1610612738 bytes (at most 1610612737 wanted)"));
    }

    #[test]
    fn bounds_that_nothing_can_keep_are_a_fault() {
        let mut faults = Faults::default();
        let _: SizeBounds = Document::parse("f", "{min: 2MiB, max: 1MiB}", &mut faults).read(&mut faults);
        assert!(faults.to_string().contains("min is above max"), "{faults}");
    }
}
