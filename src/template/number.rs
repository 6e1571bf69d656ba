//! Numbers in a template.

use super::Value;

/// A number as Go writes it: a float when it has a point or an exponent, else an integer.
pub(super) fn number(text: &str) -> Result<Value, String> {
    let bad = || format!("bad number syntax: {text:?}");
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, body) = match lower.get(..2) {
        Some("0x") => (16, lower.get(2..).unwrap_or("")),
        Some("0b") => (2, lower.get(2..).unwrap_or("")),
        Some("0o") => (8, lower.get(2..).unwrap_or("")),
        _ if lower.len() > 1 && lower.starts_with('0') && lower.bytes().all(|b| b.is_ascii_digit() || b == b'_') => {
            (8, lower.get(1..).unwrap_or(""))
        }
        _ => (10, lower.as_str()),
    };
    if body.is_empty() || body.ends_with('_') || body.contains("__") || (radix == 10 && body.starts_with('_')) {
        return Err(bad());
    }
    let plain = body.replace('_', "");
    if radix == 10 && plain.contains(['.', 'e']) {
        if plain.starts_with('e')
            || !plain.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'+' | b'-'))
        {
            return Err(bad());
        }
        let value: f64 = plain.parse().map_err(|_| bad())?;
        return match value.is_finite() {
            true => Ok(Value::Float(if negative { -value } else { value })),
            false => Err(format!("number out of range: {text:?}")),
        };
    }
    if !plain.bytes().all(|b| char::from(b).is_digit(radix)) {
        return Err(bad());
    }
    let value = i128::from_str_radix(&plain, radix).map_err(|_| format!("integer overflow: {text:?}"))?;
    i64::try_from(if negative { -value } else { value })
        .map(Value::Int)
        .map_err(|_| format!("integer overflow: {text:?}"))
}
