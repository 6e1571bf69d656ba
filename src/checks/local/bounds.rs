//! Numbers, and the bounds that they should keep within.

use crate::yaml::{Bytes, Faults, Node};

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
    use crate::yaml::Document;

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
