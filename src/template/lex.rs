//! Cuts the text of a template into tokens.

/// A token, with the byte offset at which it starts.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub at: usize,
    pub kind: Kind,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    /// Text outside of actions, trimmed as its neighbours ask for.
    Text(String),
    /// `{{`
    Open,
    /// `}}`
    Close,
    /// White space within an action; it ends an operand.
    Space,
    /// `.x`
    Field(String),
    /// `.` alone
    Dot,
    /// `$x` or `$`
    Variable(String),
    /// A word: keyword, function, true, false or nil.
    Word(String),
    Str(String),
    /// A character constant, as its code point.
    Char(char),
    Number(String),
    /// `|`
    Pipe,
    /// `:=`
    Declare,
    /// `=`
    Assign,
    Comma,
    OpenParen,
    CloseParen,
}

/// All tokens of `text`.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, Fault> {
    let mut lexer = Lexer { text, at: 0, tokens: Vec::new() };
    lexer.text_and_actions()?;
    Ok(lexer.tokens)
}

/// A fault with its byte offset in the text.
pub(super) type Fault = (usize, String);

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    tokens: Vec<Token>,
}

fn is_space(b: u8) -> bool {
    matches!(b, b' ' | b'\t' | b'\r' | b'\n')
}

fn trim_set(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn push(&mut self, at: usize, kind: Kind) {
        self.tokens.push(Token { at, kind });
    }

    fn text_and_actions(&mut self) -> Result<(), Fault> {
        let mut trim_left = false;
        loop {
            let start = self.at;
            let rest = self.rest();
            let open = rest.find("{{");
            let mut piece = open.and_then(|n| rest.get(..n)).unwrap_or(rest);
            if trim_left {
                piece = piece.trim_start_matches(trim_set);
            }
            let Some(open) = open else {
                if !piece.is_empty() {
                    self.push(start, Kind::Text(piece.to_string()));
                }
                return Ok(());
            };
            self.at += open + 2;
            let marker = self.rest().as_bytes();
            if marker.first() == Some(&b'-') && marker.get(1).copied().is_some_and(is_space) {
                piece = piece.trim_end_matches(trim_set);
                self.at += 2;
            }
            if !piece.is_empty() {
                self.push(start, Kind::Text(piece.to_string()));
            }
            trim_left =
                if self.rest().starts_with("/*") { self.comment(start + open)? } else { self.action(start + open)? };
        }
    }

    /// A comment, up to and with the closing braces. True when the text after it is to be trimmed.
    fn comment(&mut self, open: usize) -> Result<bool, Fault> {
        let Some(end) = self.rest().find("*/") else {
            return Err((open, "unclosed comment".into()));
        };
        self.at += end + 2;
        self.close().ok_or_else(|| (self.at, "comment ends before closing delimiter".into()))
    }

    /// Reads closing braces with or without a trim marker, if they stand here. True with a marker.
    fn close(&mut self) -> Option<bool> {
        let rest = self.rest().as_bytes();
        if rest.starts_with(b"}}") {
            self.at += 2;
            return Some(false);
        }
        if rest.first().copied().is_some_and(is_space) && rest.get(1..).is_some_and(|r| r.starts_with(b"-}}")) {
            self.at += 4;
            return Some(true);
        }
        None
    }

    /// An action, from behind its opening braces through its closing ones. True when the text after is to be trimmed.
    fn action(&mut self, open: usize) -> Result<bool, Fault> {
        self.push(open, Kind::Open);
        let mut parens: Vec<usize> = Vec::new();
        loop {
            let at = self.at;
            // A trim marker needs the space before it: look for it before spaces are skipped.
            if let Some(trim) = self.close() {
                if let Some(at) = parens.last() {
                    return Err((*at, "unclosed left paren".into()));
                }
                self.push(at, Kind::Close);
                return Ok(trim);
            }
            let Some(c) = self.rest().chars().next() else {
                return Err((open, "unclosed action".into()));
            };
            match c {
                ' ' | '\t' | '\r' | '\n' => {
                    while self.rest().as_bytes().first().copied().is_some_and(is_space) {
                        // The space that belongs to a trim marker is left for it.
                        if self.at > at && self.rest().get(1..).is_some_and(|r| r.starts_with("-}}")) {
                            break;
                        }
                        self.at += 1;
                    }
                    self.push(at, Kind::Space);
                }
                '"' => self.quoted(at)?,
                '`' => self.raw(at)?,
                '\'' => self.character(at)?,
                '|' => self.single(Kind::Pipe),
                ',' => self.single(Kind::Comma),
                '=' => self.single(Kind::Assign),
                '(' => {
                    parens.push(at);
                    self.single(Kind::OpenParen);
                }
                ')' => {
                    if parens.pop().is_none() {
                        return Err((at, "unexpected right paren".into()));
                    }
                    self.single(Kind::CloseParen);
                }
                ':' => {
                    if !self.rest().starts_with(":=") {
                        return Err((at, "expected :=".into()));
                    }
                    self.at += 2;
                    self.push(at, Kind::Declare);
                }
                '.' if !self.rest().as_bytes().get(1).is_some_and(u8::is_ascii_digit) => {
                    self.at += 1;
                    let name = self.word();
                    self.terminated()?;
                    self.push(at, if name.is_empty() { Kind::Dot } else { Kind::Field(name) });
                }
                '$' => {
                    self.at += 1;
                    let name = format!("${}", self.word());
                    self.terminated()?;
                    self.push(at, Kind::Variable(name));
                }
                '+' | '-' | '.' | '0'..='9' => self.number(at)?,
                c if is_word(c) => {
                    let word = self.word();
                    self.terminated()?;
                    self.push(at, Kind::Word(word));
                }
                c => return Err((at, format!("unexpected {:?} in command", c.to_string()))),
            }
        }
    }

    fn single(&mut self, kind: Kind) {
        self.push(self.at, kind);
        self.at += 1;
    }

    fn word(&mut self) -> String {
        let rest = self.rest();
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        self.at += end;
        rest.get(..end).unwrap_or("").to_string()
    }

    /// A name must be followed by something that can follow a name.
    fn terminated(&self) -> Result<(), Fault> {
        match self.rest().chars().next() {
            None | Some(' ' | '\t' | '\r' | '\n' | '.' | ',' | '|' | ':' | '=' | '(' | ')') => Ok(()),
            Some(_) if self.rest().starts_with("}}") => Ok(()),
            Some(c) => Err((self.at, format!("bad character {:?}", c.to_string()))),
        }
    }

    fn number(&mut self, at: usize) -> Result<(), Fault> {
        let rest = self.rest();
        let mut end = 0;
        let mut previous = '\0';
        let hex = rest.trim_start_matches(['+', '-']).get(..2).is_some_and(|p| p.eq_ignore_ascii_case("0x"));
        for c in rest.chars() {
            let sign = matches!(c, '+' | '-')
                && (end == 0 || (!hex && matches!(previous, 'e' | 'E')) || (hex && matches!(previous, 'p' | 'P')));
            if !(sign || c == '.' || is_word(c)) {
                break;
            }
            previous = c;
            end += c.len_utf8();
        }
        self.at += end;
        self.push(at, Kind::Number(rest.get(..end).unwrap_or("").to_string()));
        Ok(())
    }

    fn raw(&mut self, at: usize) -> Result<(), Fault> {
        let body = self.rest().get(1..).unwrap_or("");
        let Some(end) = body.find('`') else {
            return Err((at, "unterminated raw quoted string".into()));
        };
        self.push(at, Kind::Str(body.get(..end).unwrap_or("").to_string()));
        self.at += end + 2;
        Ok(())
    }

    fn quoted(&mut self, at: usize) -> Result<(), Fault> {
        let mut bytes = Vec::new();
        self.at += 1;
        loop {
            match self.rest().chars().next() {
                Some('"') => break,
                None | Some('\n') => return Err((at, "unterminated quoted string".into())),
                Some('\\') => self.escape('"', &mut bytes).ok_or((at, "invalid escape in string".to_string()))?,
                Some(c) => {
                    bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                    self.at += c.len_utf8();
                }
            }
        }
        self.at += 1;
        self.push(at, Kind::Str(String::from_utf8_lossy(&bytes).into_owned()));
        Ok(())
    }

    fn character(&mut self, at: usize) -> Result<(), Fault> {
        let mut bytes = Vec::new();
        self.at += 1;
        let c = match self.rest().chars().next() {
            None | Some('\n') => return Err((at, "unterminated character constant".into())),
            Some('\\') => {
                self.escape('\'', &mut bytes).ok_or((at, "malformed character constant".to_string()))?;
                match std::str::from_utf8(&bytes) {
                    Ok(s) => s.chars().next(),
                    Err(_) => bytes.first().copied().map(char::from),
                }
            }
            Some(c) => {
                self.at += c.len_utf8();
                Some(c)
            }
        };
        match c {
            Some(c) if self.rest().starts_with('\'') => {
                self.at += 1;
                self.push(at, Kind::Char(c));
                Ok(())
            }
            _ => Err((at, "malformed character constant".into())),
        }
    }

    /// Reads an escape as Go's string literals have it, and adds its bytes.
    fn escape(&mut self, quote: char, out: &mut Vec<u8>) -> Option<()> {
        let mut chars = self.rest().chars();
        chars.next();
        let c = chars.next()?;
        let (skip, digits, radix) = match c {
            'x' => (2, 2, 16),
            'u' => (2, 4, 16),
            'U' => (2, 8, 16),
            '0'..='7' => (1, 3, 8),
            c => {
                out.push(match c {
                    'a' => 7,
                    'b' => 8,
                    'f' => 12,
                    'n' => b'\n',
                    'r' => b'\r',
                    't' => b'\t',
                    'v' => 11,
                    '\\' => b'\\',
                    c if c == quote => c as u8,
                    _ => return None,
                });
                self.at += 2;
                return Some(());
            }
        };
        let text = self.rest().get(skip..skip + digits)?;
        if !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        let code = u32::from_str_radix(text, radix).ok()?;
        if matches!(c, 'u' | 'U') {
            out.extend_from_slice(char::from_u32(code)?.encode_utf8(&mut [0; 4]).as_bytes());
        } else {
            out.push(u8::try_from(code).ok()?);
        }
        self.at += skip + digits;
        Some(())
    }
}
