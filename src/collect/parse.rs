//! Parsing kernel text: on bytes, without allocation, and without a panic whatever is there.

/// Without white space at both ends.
pub fn trim(text: &[u8]) -> &[u8] {
    text.trim_ascii()
}

/// Lines without their ends; empty ones left out.
pub fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = text;
    std::iter::from_fn(move || {
        while !rest.is_empty() {
            let (line, behind) = split_once(rest, b'\n').unwrap_or((rest, b""));
            rest = behind;
            if !line.is_empty() {
                return Some(line);
            }
        }
        None
    })
}

/// Fields between white space.
pub fn fields(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|b| matches!(b, b' ' | b'\t' | b'\n' | b'\r')).filter(|f| !f.is_empty())
}

/// The first field; empty when there is none.
pub fn first_field(line: &[u8]) -> &[u8] {
    fields(line).next().unwrap_or(&[])
}

/// What stands before and after the first `separator`.
pub fn split_once(text: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let at = memchr::memchr(separator, text)?;
    Some((&text[..at], &text[at + 1..]))
}

/// A decimal number: whole ones exactly up to 2^53 and rounded above, signs and fractions too.
pub fn number(text: &[u8]) -> Option<f64> {
    if !text.is_empty() && text.len() <= 19 && text.iter().all(u8::is_ascii_digit) {
        return Some(text.iter().fold(0u64, |n, d| n * 10 + u64::from(d - b'0')) as f64);
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// A number with the base 16, without a prefix.
pub fn hexadecimal(text: &[u8]) -> Option<u64> {
    u64::from_str_radix(str::from_utf8(text).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        assert_eq!(number(b"0"), Some(0.0));
        assert_eq!(number(b"9999999999999999999"), Some(9999999999999999999u64 as f64));
        assert_eq!(number(b"18446744073709551615"), Some(u64::MAX as f64));
        assert_eq!(number(b"-12.5"), Some(-12.5));
        for text in [&b""[..], b"x", b"1x", b"\xff", b"--1", b" 1"] {
            assert_eq!(number(text), None);
        }
    }

    #[test]
    fn fields_and_lines() {
        assert_eq!(lines(b"\na\n\nb c\nd").collect::<Vec<_>>(), [&b"a"[..], b"b c", b"d"]);
        assert_eq!(lines(b"\n").count() + lines(b"").count(), 0);
        let got: Vec<_> = lines(b"a  b\tc\n\nd").map(|l| fields(l).count()).collect();
        assert_eq!(got, [3, 1]);
        assert_eq!(split_once(b"a:b:c", b':'), Some((&b"a"[..], &b"b:c"[..])));
    }
}
