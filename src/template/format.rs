//! Go's `fmt`: print, println and printf.

use std::borrow::Cow;

use super::Value;
use super::float::format_float;
use super::methods::{duration_string, time_string};

/// Output up to a limit.
pub(super) struct Sink {
    text: String,
    limit: usize,
}

impl Sink {
    pub fn new(limit: usize) -> Sink {
        Sink { text: String::new(), limit }
    }

    /// Adds text, or says that there is too much of it.
    pub fn push_str(&mut self, text: &str) -> Result<(), String> {
        if self.text.len() + text.len() > self.limit {
            return Err(format!("output is longer than {} bytes", self.limit));
        }
        self.text.push_str(text);
        Ok(())
    }

    pub fn limit(&self) -> usize {
        self.limit
    }

    pub fn into_string(self) -> String {
        self.text
    }
}

type Written = Result<(), String>;

/// `fmt.Sprint`: a space between operands where neither is a string.
pub(super) fn print(out: &mut Sink, args: &[Value]) -> Written {
    let mut after_string = true;
    for arg in args {
        let string = matches!(arg.plain(), Value::String(_));
        if !string && !after_string {
            out.push_str(" ")?;
        }
        after_string = string;
        Spec::default().value(out, 'v', arg, 0)?;
    }
    Ok(())
}

/// `fmt.Sprintln`: a space between all operands, and a line feed.
pub(super) fn println(out: &mut Sink, args: &[Value]) -> Written {
    for (i, arg) in args.iter().enumerate() {
        if i > 0 {
            out.push_str(" ")?;
        }
        Spec::default().value(out, 'v', arg, 0)?;
    }
    out.push_str("\n")
}

/// What stands between `%` and the verb.
#[derive(Clone, Copy, Default)]
struct Spec {
    plus: bool,
    minus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    /// Structs with the names of their fields.
    names: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

/// Widths and precisions beyond this are refused, as in Go.
const MAX_WIDTH: u64 = 1_000_000;

/// Lists within lists deeper than this are not printed.
const MAX_DEPTH: usize = 64;

/// Reads the arguments of a format, in order or by explicit index.
struct Args<'a> {
    args: &'a [Value],
    next: usize,
    reordered: bool,
    /// An index was given and is good.
    good: bool,
}

impl<'a> Args<'a> {
    fn take(&mut self) -> Option<&'a Value> {
        let arg = self.args.get(self.next)?;
        self.next += 1;
        Some(arg)
    }

    /// Reads `[3]` at the start of `rest`, if it stands there.
    fn index<'t>(&mut self, rest: &'t str) -> &'t str {
        let Some(inner) = rest.strip_prefix('[') else { return rest };
        self.reordered = true;
        let Some((number, tail)) = inner.split_once(']') else {
            self.good = false;
            return inner;
        };
        match number.parse::<usize>() {
            Ok(n) if n >= 1 && n <= self.args.len() => self.next = n - 1,
            _ => self.good = false,
        }
        tail
    }

    /// An integer for `*`.
    fn star(&mut self) -> Option<i64> {
        match self.take()? {
            Value::Int(n) if n.unsigned_abs() <= MAX_WIDTH => Some(*n),
            _ => None,
        }
    }
}

/// Reads the number at the start of `rest`; none, or one that is too large, is `None`.
fn number(rest: &str) -> (Option<usize>, &str) {
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (text, tail) = rest.split_at(digits);
    (text.parse().ok().filter(|n| *n as u64 <= MAX_WIDTH), tail)
}

/// `fmt.Sprintf`.
pub(super) fn printf(out: &mut Sink, format: &str, args: &[Value]) -> Written {
    let mut args = Args { args, next: 0, reordered: false, good: true };
    let mut rest = format;
    while let Some((text, tail)) = rest.split_once('%') {
        out.push_str(text)?;
        rest = tail;
        args.good = true;
        let mut after_index = false;
        let mut spec = Spec::default();
        loop {
            match rest.as_bytes().first() {
                Some(b'+') => spec.plus = true,
                Some(b'-') => spec.minus = true,
                Some(b'#') => spec.sharp = true,
                Some(b' ') => spec.space = true,
                Some(b'0') => spec.zero = true,
                _ => break,
            }
            rest = rest.get(1..).unwrap_or("");
        }
        let indexed = args.index(rest);
        after_index |= indexed.len() != rest.len();
        rest = indexed;
        if let Some(tail) = rest.strip_prefix('*') {
            rest = tail;
            match args.star() {
                Some(n) => {
                    spec.minus |= n < 0;
                    spec.width = usize::try_from(n.unsigned_abs()).ok();
                }
                None => out.push_str("%!(BADWIDTH)")?,
            }
            after_index = false;
        } else {
            let (width, tail) = number(rest);
            if after_index && width.is_some() {
                args.good = false;
            }
            spec.width = width;
            rest = tail;
        }
        if let Some(tail) = rest.strip_prefix('.') {
            if after_index {
                args.good = false;
            }
            rest = args.index(tail);
            after_index = rest.len() != tail.len();
            if let Some(tail) = rest.strip_prefix('*') {
                rest = tail;
                after_index = false;
                match args.star() {
                    Some(n) if n >= 0 => spec.precision = usize::try_from(n).ok(),
                    _ => out.push_str("%!(BADPREC)")?,
                }
            } else {
                let (precision, tail) = number(rest);
                spec.precision = Some(precision.unwrap_or(0));
                rest = tail;
            }
        }
        if !after_index {
            rest = args.index(rest);
        }
        let Some(verb) = rest.chars().next() else {
            out.push_str("%!(NOVERB)")?;
            break;
        };
        rest = rest.get(verb.len_utf8()..).unwrap_or("");
        if verb == 'v' && spec.plus {
            spec = Spec { plus: false, names: true, ..spec };
        }
        if verb == '%' {
            out.push_str("%")?;
        } else if !args.good {
            out.push_str(&format!("%!{verb}(BADINDEX)"))?;
        } else if let Some(arg) = args.take() {
            spec.value(out, verb, arg, 0)?;
        } else {
            out.push_str(&format!("%!{verb}(MISSING)"))?;
        }
    }
    out.push_str(rest)?;
    let extra = args.args.get(args.next..).unwrap_or(&[]);
    if !args.reordered && !extra.is_empty() {
        out.push_str("%!(EXTRA ")?;
        for (i, arg) in extra.iter().enumerate() {
            if i > 0 {
                out.push_str(", ")?;
            }
            if matches!(arg, Value::Nil) {
                out.push_str("<nil>")?;
            } else {
                out.push_str(arg.type_name())?;
                out.push_str("=")?;
                Spec::default().value(out, 'v', arg, 0)?;
            }
        }
        out.push_str(")")?;
    }
    Ok(())
}

impl Spec {
    fn value(self, out: &mut Sink, verb: char, value: &Value, depth: usize) -> Written {
        if verb == 'T' {
            let name = if matches!(value, Value::Nil) { "<nil>" } else { value.type_name() };
            return self.string(out, 's', name);
        }
        if depth > MAX_DEPTH {
            return Err(format!("a value is nested more than {MAX_DEPTH} deep"));
        }
        match (value, verb) {
            (Value::Named(n), _) => match n.of.string {
                Some(string) if matches!(verb, 'v' | 's' | 'q' | 'x' | 'X') => {
                    self.string(out, verb, &string(&n.value))
                }
                _ => self.value(out, verb, &n.value, depth),
            },
            (Value::Nil, _) if depth > 0 => out.push_str("<nil>"),
            (Value::Nil, 'v') => self.pad(out, "<nil>"),
            (Value::Bool(b), 't' | 'v') => self.pad(out, if *b { "true" } else { "false" }),
            (Value::Duration(n), 'v' | 's' | 'q' | 'x' | 'X') if !self.sharp || verb != 'v' => {
                self.string(out, verb, &duration_string(*n))
            }
            (Value::Time(t), 'v' | 's' | 'q' | 'x' | 'X') => self.string(out, verb, &time_string(t)),
            (Value::Int(n) | Value::Duration(n), _) => self.integer(out, verb, *n, value),
            (Value::Float(f), 'v' | 'b' | 'g' | 'G' | 'x' | 'X' | 'f' | 'F' | 'e' | 'E') => self.float(out, verb, *f),
            (Value::String(s), 'v' | 's' | 'x' | 'X' | 'q') => self.string(out, verb, s),
            (Value::List(items), _) => {
                out.push_str("[")?;
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        out.push_str(" ")?;
                    }
                    self.value(out, verb, item, depth + 1)?;
                }
                out.push_str("]")
            }
            (Value::Struct(s), _) => {
                out.push_str("{")?;
                for (i, (name, field)) in s.fields.iter().enumerate() {
                    if i > 0 {
                        out.push_str(" ")?;
                    }
                    if self.names {
                        out.push_str(name)?;
                        out.push_str(":")?;
                    }
                    self.value(out, verb, field, depth + 1)?;
                }
                out.push_str("}")
            }
            (Value::Map(map), _) => {
                out.push_str("map[")?;
                for (i, (key, item)) in map.entries.iter().enumerate() {
                    if i > 0 {
                        out.push_str(" ")?;
                    }
                    self.value(out, verb, &Value::String(key.clone()), depth + 1)?;
                    out.push_str(":")?;
                    self.value(out, verb, item, depth + 1)?;
                }
                out.push_str("]")
            }
            (other, _) => self.bad_verb(out, verb, other),
        }
    }

    /// Adds text, padded to the width with spaces, or with zeros behind its sign where it may be.
    fn pad(self, out: &mut Sink, text: &str) -> Written {
        let missing = self.width.unwrap_or(0).saturating_sub(text.chars().count());
        if missing > out.limit {
            return Err(format!("output is longer than {} bytes", out.limit));
        }
        if self.minus {
            out.push_str(text)?;
            out.push_str(&" ".repeat(missing))
        } else {
            out.push_str(&if self.zero { "0" } else { " " }.repeat(missing))?;
            out.push_str(text)
        }
    }

    /// Zeros go between the sign and the digits.
    fn pad_number(self, out: &mut Sink, sign: &str, digits: &str) -> Written {
        if self.zero && !self.minus {
            let width = self.width.unwrap_or(0).saturating_sub(sign.len());
            out.push_str(sign)?;
            return Spec { width: Some(width), ..self }.pad(out, digits);
        }
        Spec { zero: false, ..self }.pad(out, &format!("{sign}{digits}"))
    }

    fn sign(self, negative: bool) -> &'static str {
        match () {
            _ if negative => "-",
            _ if self.plus => "+",
            _ if self.space => " ",
            _ => "",
        }
    }

    fn integer(self, out: &mut Sink, verb: char, n: i64, value: &Value) -> Written {
        let magnitude = n.unsigned_abs();
        let (prefix, digits) = match verb {
            'd' | 'v' => ("", magnitude.to_string()),
            'b' => (if self.sharp { "0b" } else { "" }, format!("{magnitude:b}")),
            'o' => (if self.sharp && n != 0 { "0" } else { "" }, format!("{magnitude:o}")),
            'O' => ("0o", format!("{magnitude:o}")),
            'x' => (if self.sharp { "0x" } else { "" }, format!("{magnitude:x}")),
            'X' => (if self.sharp { "0X" } else { "" }, format!("{magnitude:X}")),
            'c' | 'q' | 'U' => {
                let c = u32::try_from(n).ok().and_then(char::from_u32).unwrap_or('\u{fffd}');
                return self.pad(
                    out,
                    &match verb {
                        'c' => c.to_string(),
                        'q' => quote(&c.to_string(), '\'', self.plus),
                        _ => format!("U+{n:04X}"),
                    },
                );
            }
            _ => return self.bad_verb(out, verb, value),
        };
        let sign = format!("{}{prefix}", self.sign(n < 0));
        match self.precision {
            Some(0) if n == 0 => Spec { zero: false, ..self }.pad(out, ""),
            Some(p) => {
                let zeros = p.saturating_sub(digits.len());
                if zeros > out.limit {
                    return Err(format!("output is longer than {} bytes", out.limit));
                }
                let digits = format!("{}{digits}", "0".repeat(zeros));
                Spec { zero: false, ..self }.pad_number(out, &sign, &digits)
            }
            None => self.pad_number(out, &sign, &digits),
        }
    }

    fn float(self, out: &mut Sink, verb: char, f: f64) -> Written {
        let (style, precision) = match verb {
            'v' => ('g', self.precision),
            'F' => ('f', self.precision.or(Some(6))),
            'f' | 'e' | 'E' => (verb, self.precision.or(Some(6))),
            'b' => return self.bad_verb(out, verb, &Value::Float(f)),
            _ => (verb, self.precision),
        };
        if precision.is_some_and(|p| p > out.limit) {
            return Err(format!("output is longer than {} bytes", out.limit));
        }
        let text = format_float(f, style, precision);
        let (negative, digits) = match text.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, text.as_str()),
        };
        let infinite = digits.ends_with("Inf");
        let digits = digits.strip_prefix('+').unwrap_or(digits);
        let sign = match infinite && !negative && !self.space {
            true => "+",
            false => self.sign(negative),
        };
        let spec = Spec { zero: self.zero && f.is_finite(), ..self };
        // A plain %v of infinity carries its sign; padding with zeros would make a number of it.
        spec.pad_number(out, if f.is_nan() && !self.plus && !self.space { "" } else { sign }, digits)
    }

    fn string(self, out: &mut Sink, verb: char, s: &str) -> Written {
        let cut = match self.precision {
            Some(p) if !matches!(verb, 'x' | 'X') => s.char_indices().nth(p).and_then(|(i, _)| s.get(..i)).unwrap_or(s),
            _ => s,
        };
        let shown: Cow<'_, str> = match verb {
            'q' if self.sharp && !cut.contains('`') && !cut.chars().any(|c| c.is_control() && c != '\t') => {
                format!("`{cut}`").into()
            }
            'q' => quote(cut, '"', self.plus).into(),
            'x' | 'X' => self.hex(verb, s).into(),
            _ => cut.into(),
        };
        self.pad(out, &shown)
    }

    /// `%!d(string=hi)`
    fn bad_verb(self, out: &mut Sink, verb: char, value: &Value) -> Written {
        out.push_str(&format!("%!{verb}("))?;
        match value {
            Value::Nil => out.push_str("<nil>")?,
            value => {
                out.push_str(value.type_name())?;
                out.push_str("=")?;
                match value {
                    // Not by its String method, as an ordinary %v would.
                    Value::Duration(n) => self.integer(out, 'd', *n, value)?,
                    value => self.value(out, 'v', value, 0)?,
                }
            }
        }
        out.push_str(")")
    }

    fn hex(self, verb: char, s: &str) -> String {
        let bytes = s.as_bytes();
        let bytes = self.precision.and_then(|p| bytes.get(..p)).unwrap_or(bytes);
        let prefix = match (self.sharp, verb) {
            (true, 'x') => "0x",
            (true, _) => "0X",
            _ => "",
        };
        let mut text = String::new();
        for (i, b) in bytes.iter().enumerate() {
            if i == 0 || (self.space && self.sharp) {
                text.push_str(if i > 0 { " " } else { "" });
                text.push_str(prefix);
            } else if self.space {
                text.push(' ');
            }
            text.push_str(&if verb == 'x' { format!("{b:02x}") } else { format!("{b:02X}") });
        }
        text
    }
}

/// Quotes text as a Go literal.
pub(super) fn quote(text: &str, quote: char, ascii: bool) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            c if c == quote => {
                out.push('\\');
                out.push(c);
            }
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            c if c < ' ' || c == '\u{7f}' => out.push_str(&format!("\\x{:02x}", c as u32)),
            c if (c as u32) < 0x10000 && ((ascii && !c.is_ascii()) || unprintable(c)) => {
                out.push_str(&format!("\\u{:04x}", c as u32));
            }
            c if (ascii && !c.is_ascii()) || unprintable(c) => out.push_str(&format!("\\U{:08x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push(quote);
    out
}

/// Controls, spaces other than the ordinary one, and what has no assigned glyph of its own.
fn unprintable(c: char) -> bool {
    c.is_control()
        || (c.is_whitespace() && c != ' ')
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{ad}')
        || matches!(c, '\u{e000}'..='\u{f8ff}' | '\u{f0000}'..)
}
