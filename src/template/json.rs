//! Values as JSON, as Go's `json.Marshal` writes them.

use jiff::tz::TimeZone;

use super::Value;
use super::float::format_float;
use super::format::Sink;
use super::methods::format_layout;

/// Values nested deeper than this are refused.
const MAX_DEPTH: usize = 64;

/// The JSON of a value. A field of a struct is called as Go's tags call those of notifications: with a small first
/// letter.
///
/// # Errors
/// A number that JSON has not, and what is longer than `limit` bytes.
pub(super) fn of(value: &Value, limit: usize) -> Result<String, String> {
    let mut out = Sink::new(limit);
    write(&mut out, value, 0)?;
    Ok(out.into_string())
}

fn write(out: &mut Sink, value: &Value, depth: usize) -> Result<(), String> {
    if depth > MAX_DEPTH {
        return Err(format!("a value is nested more than {MAX_DEPTH} deep"));
    }
    match value {
        Value::Nil => out.push_str("null"),
        Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Value::Int(n) | Value::Duration(n) => out.push_str(&n.to_string()),
        Value::Float(f) if !f.is_finite() => Err(format!("json: unsupported value: {}", format_float(*f, 'g', None))),
        Value::Float(f) => out.push_str(&number(*f)),
        Value::String(s) => text(out, s),
        Value::Time(t) => {
            let layout = if t.time_zone() == &TimeZone::UTC { UTC } else { OFFSET };
            text(out, &format_layout(t, layout))
        }
        Value::List(items) => list(out, "[", "]", items.iter(), |out, item| write(out, item, depth + 1)),
        Value::Map(map) => list(out, "{", "}", map.entries.iter(), |out, (key, item)| {
            text(out, key)?;
            out.push_str(":")?;
            write(out, item, depth + 1)
        }),
        Value::Struct(s) => list(out, "{", "}", s.fields.iter(), |out, (name, item)| {
            let mut name = name.to_string();
            if let Some(first) = name.get_mut(..1).filter(|_| s.name != "template.Pair") {
                first.make_ascii_lowercase();
            }
            text(out, &name)?;
            out.push_str(":")?;
            write(out, item, depth + 1)
        }),
        Value::Named(named) => write(out, &named.value, depth),
    }
}

const UTC: &str = "2006-01-02T15:04:05.999999999Z07:00";
const OFFSET: &str = "2006-01-02T15:04:05.999999999-07:00";

fn list<T>(
    out: &mut Sink,
    open: &str,
    close: &str,
    items: impl Iterator<Item = T>,
    mut write: impl FnMut(&mut Sink, T) -> Result<(), String>,
) -> Result<(), String> {
    out.push_str(open)?;
    for (i, item) in items.enumerate() {
        if i > 0 {
            out.push_str(",")?;
        }
        write(out, item)?;
    }
    out.push_str(close)
}

/// As ECMAScript writes numbers: with an exponent only where they are very large or small, and that without zeros.
fn number(f: f64) -> String {
    if f != 0.0 && (f.abs() < 1e-6 || f.abs() >= 1e21) {
        return format_float(f, 'e', None).replace("e-0", "e-");
    }
    format_float(f, 'f', None)
}

fn text(out: &mut Sink, s: &str) -> Result<(), String> {
    let mut quoted = String::with_capacity(s.len() + 2);
    quoted.push('"');
    for c in s.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => quoted.push_str(&format!("\\u{:04x}", c as u32)),
            c if c < ' ' => quoted.push_str(&format!("\\u{:04x}", c as u32)),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    out.push_str(&quoted)
}
