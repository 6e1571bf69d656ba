//! Numbers, durations and strings, as they are written.

use crate::model::parse_duration;

/// A number: decimal, hexadecimal or octal, with underscores between digits; `inf` and `nan` in any case.
pub fn number(text: &str) -> Option<f64> {
    let lower = text.to_ascii_lowercase();
    match lower.as_str() {
        "inf" => return Some(f64::INFINITY),
        "nan" => return Some(f64::NAN),
        _ => {}
    }
    let digits = without_underscores(&lower)?;
    if let Some(hex) = digits.strip_prefix("0x") {
        return i64::from_str_radix(hex, 16).ok().filter(|_| !hex.starts_with(['+', '-'])).map(|n| n as f64);
    }
    let octal = digits.strip_prefix('0').filter(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()));
    if let Some(n) = octal.and_then(|rest| i64::from_str_radix(rest, 8).ok()) {
        return Some(n as f64);
    }
    let starts_well = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    // Go takes what does not fit for an error, not for infinity.
    digits.parse::<f64>().ok().filter(|n| starts_well && n.is_finite())
}

/// Underscores stand between digits only, or between a base prefix and a digit.
fn without_underscores(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let hex = text.starts_with("0x");
    let is_digit = |b: Option<&u8>| b.is_some_and(|b| if hex { b.is_ascii_hexdigit() } else { b.is_ascii_digit() });
    let well_placed = bytes.iter().enumerate().filter(|(_, b)| **b == b'_').all(|(i, _)| {
        let before = i.checked_sub(1).and_then(|j| bytes.get(j));
        (is_digit(before) || (hex && i == 2)) && is_digit(bytes.get(i + 1))
    });
    well_placed.then(|| text.replace('_', ""))
}

/// A duration such as `1h30m`, in seconds.
pub fn duration(text: &str) -> Result<f64, String> {
    // As Go turns a duration into seconds: whole ones and the rest by themselves.
    parse_duration(text).map(|d| d.as_secs() as f64 + f64::from(d.subsec_nanos()) / 1e9)
}

/// The content of a string with its quotes: in backquotes as it is, in others with escapes.
pub fn unquote(text: &str) -> Result<String, String> {
    let mut chars = text.chars();
    let (Some(quote), Some(_)) = (chars.next(), chars.next_back()) else { return Err("it has no quotes".into()) };
    if quote == '`' {
        return Ok(chars.as_str().to_string());
    }
    let mut out: Vec<u8> = Vec::with_capacity(text.len());
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.extend(c.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        let escape = chars.next().ok_or("an escape is not complete")?;
        let simple = match escape {
            'a' => Some('\x07'),
            'b' => Some('\x08'),
            'f' => Some('\x0c'),
            'n' => Some('\n'),
            'r' => Some('\r'),
            't' => Some('\t'),
            'v' => Some('\x0b'),
            '\\' => Some('\\'),
            c if c == quote => Some(c),
            _ => None,
        };
        if let Some(c) = simple {
            out.extend(c.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        let (digits, radix) = match escape {
            'x' => (2, 16),
            'u' => (4, 16),
            'U' => (8, 16),
            '0'..='7' => (3, 8),
            other => return Err(format!("\\{other} is not an escape")),
        };
        let mut code = String::new();
        if radix == 8 {
            code.push(escape);
        }
        while code.len() < digits {
            code.push(chars.next().filter(char::is_ascii).ok_or("an escape is not complete")?);
        }
        let wrong = || format!("\\{escape} is not followed by the code of a character");
        let value = u32::from_str_radix(&code, radix).map_err(|_| wrong())?;
        if matches!(escape, 'u' | 'U') {
            let c = char::from_u32(value).ok_or_else(wrong)?;
            out.extend(c.encode_utf8(&mut [0; 4]).as_bytes());
        } else {
            out.push(u8::try_from(value).map_err(|_| wrong())?);
        }
    }
    // Label values are UTF-8 here.
    String::from_utf8(out).map_err(|_| "it is not UTF-8".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_go_reads_them() {
        for (text, wanted) in [
            ("1", Some(1.0)),
            (".5", Some(0.5)),
            ("1_000.5", Some(1000.5)),
            ("0x1F", Some(31.0)),
            ("0x_1f", Some(31.0)),
            ("017", Some(15.0)),
            ("08", Some(8.0)),
            ("1e3", Some(1000.0)),
            ("1e-2", Some(0.01)),
            ("Inf", Some(f64::INFINITY)),
            ("1__0", None),
            ("1_", None),
            ("1e999", None),
            ("0xfffffffffffffffff", None),
            ("1.2.3", None),
        ] {
            assert_eq!(number(text), wanted, "{text}");
        }
        assert!(number("NaN").is_some_and(f64::is_nan));
    }

    #[test]
    fn strings_have_gos_escapes() {
        assert_eq!(unquote(r#""a\n\"\\\x41\u00e9\101""#).as_deref(), Ok("a\n\"\\A\u{e9}A"));
        assert_eq!(unquote(r"'a\'b'").as_deref(), Ok("a'b"));
        assert_eq!(unquote(r"`a\n`").as_deref(), Ok(r"a\n"));
        assert!(unquote(r#""\'""#).is_err());
        assert!(unquote(r#""\xff""#).is_err());
        assert!(unquote(r#""\u12""#).is_err());
    }
}
