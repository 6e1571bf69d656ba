//! What is done to a value before it is written at some place of HTML.

use std::fmt::Write;

use super::place::may_be_set;
pub use super::scan::without_tags;
use crate::template::{Value, json};

/// What Go writes instead of what it does not let through.
const REFUSED: &str = "ZgotmplZ";

/// Between tags and in quotes. `html`: it is HTML already, so its character references stay.
pub fn attribute(text: &str, html: bool) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\0' => out.push('\u{fffd}'),
            '"' => out.push_str("&#34;"),
            '&' if !html => out.push_str("&amp;"),
            '\'' => out.push_str("&#39;"),
            '+' => out.push_str("&#43;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            c => out.push(c),
        }
    }
    out
}

/// As the value of an attribute without quotes.
pub fn unquoted(text: &str, html: bool) -> String {
    if text.is_empty() {
        return REFUSED.to_string();
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\0' => out.push_str("&#xfffd;"),
            '&' if !html => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\t' | '\n' | '\u{b}' | '\u{c}' | '\r' | ' ' | '"' | '\'' | '+' | '=' | '`' => {
                out.push_str(&format!("&#{};", c as u32));
            }
            '\u{fdd0}'..='\u{fdef}' | '\u{fff0}'..='\u{ffff}' => out.push_str(&format!("&#x{:x};", c as u32)),
            c => out.push(c),
        }
    }
    out
}

/// As the name of an attribute or part of it.
pub fn name(text: &str) -> String {
    let name = text.to_lowercase();
    let plain = !name.is_empty() && name.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase());
    if plain && may_be_set(&name) { name } else { REFUSED.to_string() }
}

/// Whether this is a relative URL, or one of the web or of mail.
pub fn is_safe_url(text: &str) -> bool {
    match text.split_once(':') {
        Some((scheme, _)) if !scheme.contains('/') => {
            ["http", "https", "mailto"].iter().any(|safe| scheme.eq_ignore_ascii_case(safe))
        }
        _ => true,
    }
}

/// In a URL: with `whole` as a piece of one, whose structure stays, else as a piece of its query.
pub fn url(text: &str, whole: bool) -> String {
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len() + 16);
    for (i, byte) in bytes.iter().enumerate() {
        let stays = match byte {
            b'!' | b'#' | b'$' | b'&' | b'*' | b'+' | b',' | b'/' | b':' | b';' | b'=' | b'?' | b'@' | b'[' | b']' => {
                whole
            }
            b'-' | b'.' | b'_' | b'~' => true,
            b'%' => whole && bytes.get(i + 1..i + 3).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit)),
            byte => byte.is_ascii_alphanumeric(),
        };
        if stays {
            out.push(char::from(*byte));
        } else {
            out.push_str(&format!("%{byte:02x}"));
        }
    }
    out
}

/// In `srcset`: URLs with their sizes, between commas.
pub fn srcset(text: &str, trusted: bool) -> String {
    if trusted {
        return url(text, true).replace(',', "%2c");
    }
    let sources: Vec<String> = text
        .split(',')
        .map(|source| {
            let start = source.trim_start_matches([' ', '\t', '\n', '\u{c}', '\r']);
            let (address, size) = start.split_at(start.find([' ', '\t', '\n', '\u{c}', '\r']).unwrap_or(start.len()));
            let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b' ' | b'\t' | b'\n' | 0xc | b'\r');
            if !is_safe_url(address) || !size.bytes().all(plain) {
                return format!("#{REFUSED}");
            }
            let spaces = source.get(..source.len() - start.len()).unwrap_or("");
            format!("{spaces}{}{size}", url(address, true))
        })
        .collect();
    sources.join(",")
}

/// As a value of a script: JSON, in which no `/` could end a comment or a regular expression.
pub fn js_value(value: &Value, shown: &str, limit: usize) -> Result<String, String> {
    let json = match value {
        // What prints itself is what it prints.
        Value::Named(named) if named.of.string.is_some() => json::of(&shown.into(), limit)?,
        Value::Float(f) if !f.is_finite() => "null".to_string(),
        value => json::of(value, limit)?,
    };
    let json = json.replace('/', "\\/");
    let word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | '$'));
    Ok(if word(json.chars().next()) || word(json.chars().last()) { format!(" {json} ") } else { json })
}

/// In a string of a script. `template`: one between backquotes, in which there may be expressions, too. Where it is no
/// string after all (a quote in a regular expression before it), it can still neither call nor set anything.
pub fn js_string(text: &str, template: bool) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    let mut units = [0; 2];
    for c in text.chars() {
        match c {
            c if template && !(c.is_ascii_alphanumeric() || c == ' ') => {
                for unit in c.encode_utf16(&mut units) {
                    // Writing to a string does not fail.
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
            '\\' => out.push_str("\\\\"),
            '/' => out.push_str("\\/"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            '"' | '&' | '\'' | '+' | '<' | '>' | '`' | '\u{2028}' | '\u{2029}' | '(' | ')' | '[' | ']' | '{' | '}'
            | '=' | ';' | ':' | ',' | '.' => {
                out.push_str(&format!("\\u{:04x}", c as u32));
            }
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out
}

/// In a string of a style.
pub fn css_string(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\0' | '\t' | '\n' | '\u{c}' | '\r' | '"' | '&' | '\'' | '(' | ')' | '+' | '/' | ':' | ';' | '<' | '>'
            | '{' | '}' => {
                out.push_str(&format!("\\{:x}", c as u32));
                // What follows could be read as part of the number.
                let joins = |c: &char| c.is_ascii_hexdigit() || matches!(c, '\t' | '\n' | '\u{c}' | '\r' | ' ');
                if chars.peek().is_none_or(joins) {
                    out.push(' ');
                }
            }
            c => out.push(c),
        }
    }
    out
}

/// As a value of a style: a number, a word, a colour. Nothing that could end the value, and nothing that runs scripts. An
/// escape in it is refused, not looked into.
pub fn css_value(text: &str) -> String {
    let refused = |c: char| "\0\"'()/;@[\\]`{}<>".contains(c);
    let word: String = text.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')).collect();
    let word = word.to_ascii_lowercase();
    if text.contains(refused) || text.contains("--") || word.contains("expression") || word.contains("mozbinding") {
        return REFUSED.to_string();
    }
    text.to_string()
}
