//! From text to tokens.

use super::{MAX_LENGTH, literal};
use crate::promql::QueryError;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A name or keyword.
    Word,
    /// A number, `inf` and `nan` included.
    Number,
    /// Such as `1h30m`.
    Duration,
    /// A string with its quotes.
    Text,
    /// An operator or bracket.
    Sign,
    End,
}

#[derive(Clone, Copy, Debug)]
pub struct Token<'t> {
    pub kind: Kind,
    pub text: &'t str,
    pub offset: usize,
}

impl Token<'_> {
    pub fn is(&self, sign: &str) -> bool {
        self.kind == Kind::Sign && self.text == sign
    }

    /// Whether it is this keyword: they are, in any case.
    pub fn is_word(&self, keyword: &str) -> bool {
        self.kind == Kind::Word && self.text.eq_ignore_ascii_case(keyword)
    }

    /// For an error.
    pub fn describe(&self) -> String {
        match self.kind {
            Kind::Word => format!("{:?}", self.text),
            Kind::Number => format!("number {:?}", self.text),
            Kind::Duration => format!("duration {:?}", self.text),
            Kind::Text => format!("string {}", self.text),
            Kind::Sign => format!("{:?}", self.text),
            Kind::End => "end of input".into(),
        }
    }
}

/// Signs of more than one character come first.
const SIGNS: &[&str] = &[
    "==", "=~", "!=", "!~", "<=", ">=", "</", ">/", "(", ")", "{", "}", "[", "]", ",", "=", "<", ">", "+", "-", "*",
    "/", "%", "^", "@", ":",
];

/// Cuts the text into tokens; the last one is the end. Brackets are paired.
pub fn tokens(text: &str) -> Result<Vec<Token<'_>>, QueryError> {
    if text.len() > MAX_LENGTH {
        return Err(QueryError::new(format!("the expression is longer than {MAX_LENGTH} bytes")));
    }
    let mut out = Vec::new();
    let mut open: Vec<Token<'_>> = Vec::new();
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|r| !r.is_empty()) {
        let inside = open.last().map_or("", |o| o.text);
        let first = rest.chars().next().unwrap_or(' ');
        if matches!(first, ' ' | '\t' | '\n' | '\r') {
            at += 1;
            continue;
        }
        if first == '#' {
            at += rest.find(['\n', '\r']).unwrap_or(rest.len());
            continue;
        }
        let (kind, length) = scan(rest, inside, text, at)?;
        let token = Token { kind, text: rest.get(..length).unwrap_or(""), offset: at };
        at += length;
        if kind == Kind::Sign {
            pair(&mut open, token, text)?;
        }
        out.push(token);
    }
    if let Some(o) = open.last() {
        return Err(QueryError::at(format!("unclosed {:?}", o.text), text, o.offset));
    }
    // A place that somebody can look at: texts out of files end with a line feed.
    out.push(Token { kind: Kind::End, text: "", offset: text.trim_end().len() });
    Ok(out)
}

fn pair<'t>(open: &mut Vec<Token<'t>>, token: Token<'t>, text: &str) -> Result<(), QueryError> {
    let expected = match token.text {
        "(" | "[" | "{" => {
            open.push(token);
            return Ok(());
        }
        ")" => "(",
        "]" => "[",
        "}" => "{",
        _ => return Ok(()),
    };
    match open.pop() {
        Some(o) if o.text == expected => Ok(()),
        _ => Err(QueryError::at(format!("unexpected {:?}", token.text), text, token.offset)),
    }
}

/// The kind and length of the first token of `rest`, which begins at `at`.
fn scan(rest: &str, inside: &str, text: &str, at: usize) -> Result<(Kind, usize), QueryError> {
    let wrong = |message: String| Err(QueryError::at(message, text, at));
    let while_char = |test: &dyn Fn(char) -> bool| rest.find(|c| !test(c)).unwrap_or(rest.len());
    let mut chars = rest.chars();
    let first = chars.next().unwrap_or(' ');
    let second = chars.next();
    match first {
        '"' | '\'' | '`' => match string_length(rest) {
            Some(length) => Ok((Kind::Text, length)),
            None => wrong("unterminated quoted string".into()),
        },
        'a'..='z' | 'A'..='Z' | '_' => Ok(word(rest, inside)),
        // Recording rules may begin with a colon; in brackets it stands before the step, in braces nowhere.
        ':' if inside != "[" && inside != "{" => Ok(word(rest, inside)),
        '0'..='9' => number_or_duration(rest).map_or_else(
            || {
                let length = while_char(&|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.'));
                wrong(format!("bad number or duration syntax: {:?}", rest.get(..length).unwrap_or(rest)))
            },
            Ok,
        ),
        '.' if second.is_some_and(|c| c.is_ascii_digit()) => {
            number_or_duration(rest).map_or_else(|| wrong("bad number syntax".into()), Ok)
        }
        _ => match SIGNS.iter().find(|s| rest.starts_with(**s)) {
            Some(sign) => Ok((Kind::Sign, sign.len())),
            None => wrong(format!("unexpected character: {first:?}")),
        },
    }
}

fn word(rest: &str, inside: &str) -> (Kind, usize) {
    // A colon is part of metric names, not of label names; and it stands before the step of a subquery.
    let colons = inside != "{" && inside != "[";
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || (colons && c == ':');
    let length = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
    let text = rest.get(..length).unwrap_or("");
    let is_number = inside != "{" && ["inf", "nan"].iter().any(|n| text.eq_ignore_ascii_case(n));
    (if is_number { Kind::Number } else { Kind::Word }, length)
}

fn number_or_duration(rest: &str) -> Option<(Kind, usize)> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
    let mut length = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
    let so_far = rest.get(..length)?;
    // A sign belongs to the exponent of a decimal number.
    let mantissa = so_far.strip_suffix(['e', 'E']);
    let signed = rest.get(length..)?.starts_with(['+', '-']);
    if signed && mantissa.is_some_and(|m| m.chars().all(|c| c.is_ascii_digit() || matches!(c, '_' | '.'))) {
        let exponent = rest.get(length + 1..)?;
        length += 1 + exponent.find(|c| !is_part(c)).unwrap_or(exponent.len());
    }
    let token = rest.get(..length)?;
    if literal::number(token).is_some() {
        return Some((Kind::Number, length));
    }
    // Whether its units are in order is for the parser to say.
    let is_duration = token.bytes().all(|b| b.is_ascii_digit() || b"smhdwy".contains(&b))
        && token.bytes().last().is_some_and(|b| !b.is_ascii_digit());
    is_duration.then_some((Kind::Duration, length))
}

/// The length of the string that the text begins with, quotes included.
fn string_length(rest: &str) -> Option<usize> {
    let mut chars = rest.char_indices();
    let (_, quote) = chars.next()?;
    while let Some((i, c)) = chars.next() {
        match c {
            '\\' if quote != '`' => {
                chars.next()?;
            }
            '\n' if quote != '`' => return None,
            c if c == quote => return Some(i + 1),
            _ => {}
        }
    }
    None
}
