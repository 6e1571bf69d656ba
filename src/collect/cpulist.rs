//! Lists of CPUs as the kernel writes them: `0-3,8`.

use super::{split_once, trim};

/// More CPUs than Linux can have.
pub(super) const MAX_CPUS: u32 = 65_536;

/// The first and the last CPU of a part of a list: `0-3`, or `8`.
pub(super) fn range(text: &[u8]) -> Option<(u32, u32)> {
    let text = trim(text);
    let (first, last) = split_once(text, b'-').unwrap_or((text, text));
    let number = |text| std::str::from_utf8(text).ok()?.parse().ok().filter(|n| *n < MAX_CPUS);
    Some((number(first)?, number(last)?))
}

fn ranges(list: &[u8]) -> impl Iterator<Item = (u32, u32)> {
    list.split(|b| *b == b',').filter_map(range)
}

/// The CPUs of a list, and no more than there can be, however often it names them.
pub(super) fn numbers(list: &[u8]) -> impl Iterator<Item = u32> {
    ranges(list).flat_map(|(first, last)| first..=last).take(MAX_CPUS as usize)
}

pub(super) fn contains(list: &[u8], cpu: u32) -> bool {
    ranges(list).any(|(first, last)| (first..=last).contains(&cpu))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_lists() {
        assert_eq!(numbers(b"1,3-5,9\n").collect::<Vec<_>>(), [1, 3, 4, 5, 9]);
        assert_eq!(numbers(b"").count(), 0);
        assert_eq!(numbers(&b"0-65535,".repeat(3)).count(), 65_536);
        assert_eq!(numbers(b"5-3,x,-,7-,0-99999999999").count(), 0);
        assert!(contains(b"0-3,8", 2) && contains(b"0-3,8", 8) && !contains(b"0-3,8", 4));
    }
}
