//! A look at an expression's text before the parser sees it: what would overflow its stack or its durations is
//! refused here; and the places of names, which the parser's tree does not keep.

use super::QueryError;

/// Operators and opening brackets in one expression. The parser's tree is as deep as these nest, and some of its
/// passes take time by the square of that.
const MAX_NESTING: usize = 1000;

/// Bytes of one expression.
const MAX_LENGTH: usize = 64 * 1024;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// A name or keyword.
    Word,
    /// A number or a duration.
    Number,
    Text,
    Sign,
}

#[derive(Clone, Copy, Debug)]
struct Token<'t> {
    kind: Kind,
    text: &'t str,
    offset: usize,
}

/// Cuts the text into tokens, roughly: enough to tell names from strings and comments.
fn tokens(text: &str) -> Result<Vec<Token<'_>>, QueryError> {
    let bytes = text.as_bytes();
    let mut out = Vec::new();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let start = at;
        let while_byte = |from: usize, test: &dyn Fn(u8) -> bool| {
            from + bytes.get(from..).unwrap_or(&[]).iter().take_while(|b| test(**b)).count()
        };
        let kind = match byte {
            b'#' => {
                at = while_byte(at, &|b| b != b'\n');
                continue;
            }
            b'"' | b'\'' | b'`' => {
                at += 1;
                loop {
                    match bytes.get(at) {
                        Some(b'\\') if byte != b'`' => at += 2,
                        Some(b) if *b == byte => break at += 1,
                        Some(_) => at += 1,
                        None => return Err(QueryError::at("unterminated quoted string", text, start)),
                    }
                }
                Kind::Text
            }
            b if b.is_ascii_alphabetic() || b == b'_' => {
                at = while_byte(at, &|b| b.is_ascii_alphanumeric() || b == b'_' || b == b':');
                Kind::Word
            }
            b if b.is_ascii_digit() || b == b'.' => {
                at = while_byte(at, &|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'.');
                let exponent = matches!(bytes.get(at - 1), Some(b'e' | b'E')) && !text[start..at].starts_with("0x");
                if exponent && matches!(bytes.get(at), Some(b'+' | b'-')) {
                    at = while_byte(at + 1, &|b| b.is_ascii_digit());
                }
                Kind::Number
            }
            b if b.is_ascii_whitespace() => {
                at += 1;
                continue;
            }
            _ => {
                at += text.get(at..).and_then(|t| t.chars().next()).map_or(1, char::len_utf8);
                Kind::Sign
            }
        };
        out.push(Token { kind, text: text.get(start..at).unwrap_or(""), offset: start });
    }
    Ok(out)
}

/// Refuses what the parser would not survive or would misread.
pub fn check(text: &str) -> Result<(), QueryError> {
    if text.len() > MAX_LENGTH {
        return Err(QueryError::new(format!("the expression is longer than {MAX_LENGTH} bytes")));
    }
    let tokens = tokens(text)?;
    let mut open: Vec<Token<'_>> = Vec::new();
    let mut nesting = 0;
    for (i, token) in tokens.iter().enumerate() {
        match (token.kind, token.text) {
            (Kind::Sign, "(" | "[" | "{") => {
                open.push(*token);
                nesting += 1;
            }
            (Kind::Sign, ")" | "]" | "}") => {
                let expected = match token.text {
                    ")" => "(",
                    "]" => "[",
                    _ => "{",
                };
                if open.pop().is_none_or(|o| o.text != expected) {
                    return Err(QueryError::at(format!("unexpected {:?}", token.text), text, token.offset));
                }
            }
            (Kind::Sign, ",") => {}
            (Kind::Sign, _) => nesting += 1,
            (Kind::Word, word) if ["and", "or", "unless", "atan2"].iter().any(|k| word.eq_ignore_ascii_case(k)) => {
                nesting += 1;
            }
            _ => {}
        }
        if nesting > MAX_NESTING {
            return Err(QueryError::at("the expression has too many operators and brackets", text, token.offset));
        }
        if is_duration_place(&tokens, i, &open) {
            check_duration(text, token)?;
        }
    }
    match open.last() {
        Some(o) => Err(QueryError::at(format!("unclosed {:?}", o.text), text, o.offset)),
        None => Ok(()),
    }
}

/// Whether the token stands where a duration does: after `[`, after `:` in brackets, after `offset`.
fn is_duration_place(tokens: &[Token<'_>], i: usize, open: &[Token<'_>]) -> bool {
    let before = |n: usize| i.checked_sub(n).and_then(|j| tokens.get(j));
    let mut previous = before(1);
    if previous.is_some_and(|p| matches!(p.text, "+" | "-")) {
        previous = before(2);
    }
    let in_range = open.last().is_some_and(|o| o.text == "[");
    previous.is_some_and(|p| {
        (p.kind == Kind::Sign && in_range && matches!(p.text, "[" | ":"))
            || (p.kind == Kind::Word && p.text.eq_ignore_ascii_case("offset"))
    })
}

fn check_duration(text: &str, token: &Token<'_>) -> Result<(), QueryError> {
    let wrong =
        |why: &str| Err(QueryError::at(format!("{:?} is not a duration: {why}", token.text), text, token.offset));
    if token.kind == Kind::Word && ["inf", "nan"].iter().any(|k| token.text.eq_ignore_ascii_case(k)) {
        return wrong("it must be finite");
    }
    if token.kind != Kind::Number {
        return Ok(());
    }
    if let Ok(seconds) = token.text.parse::<f64>() {
        // 292 years, what fits into nanoseconds.
        if !(0.0..=9.2e9).contains(&seconds) {
            return wrong("it is too long");
        }
    } else if token.text.split(|c: char| !c.is_ascii_digit()).any(|n| n.len() > 9) {
        return wrong("it is too long");
    }
    Ok(())
}

/// Where a function or operator of this name is called first.
pub fn find_call(text: &str, name: &str) -> Option<usize> {
    let tokens = tokens(text).ok()?;
    let word = |t: &Token<'_>| t.kind == Kind::Word && t.text.eq_ignore_ascii_case(name);
    let follows = |t: &Token<'_>| t.text == "(" || ["by", "without"].iter().any(|k| t.text.eq_ignore_ascii_case(k));
    tokens.windows(2).find(|w| word(&w[0]) && follows(&w[1])).map(|w| w[0].offset)
}

/// Where this word stands first.
pub fn find_word(text: &str, name: &str) -> Option<usize> {
    tokens(text).ok()?.iter().find(|t| t.kind == Kind::Word && t.text.eq_ignore_ascii_case(name)).map(|t| t.offset)
}

/// Where a string of this content stands first; escapes are not looked through.
pub fn find_text(text: &str, content: &str) -> Option<usize> {
    let inside = |t: &Token<'_>| t.text.get(1..t.text.len().saturating_sub(1)) == Some(content);
    tokens(text).ok()?.iter().find(|t| t.kind == Kind::Text && inside(t)).map(|t| t.offset)
}
