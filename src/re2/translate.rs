//! From Go's syntax (RE2) to that of the `regex` crate.
//!
//! The two are nearly the same. What differs, and is put right here: in Go `\d`, `\w`, `\s` and `\b` are of ASCII, `\v` is
//! no space, `\Q...\E` quotes, `\012` is octal, a brace that counts nothing stands for itself, `[`, `&&`, `--` and `~~`
//! mean nothing within a class, `\<` is no edge of a word, and the name of a group may begin with a digit. What Go
//! refuses, such as look-around and `a**`, is refused.

use std::iter::once;
use std::str::Chars;

/// A pattern as the `regex` crate wants it.
#[derive(Debug)]
pub struct Translated {
    pub pattern: String,
    /// The names of the groups in their order, empty for one that has none; the first is the whole.
    pub names: Vec<String>,
}

/// The largest count of a repetition.
const MOST: u32 = 1000;

const POSIX_CLASSES: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "word",
    "xdigit",
];

/// Translates a pattern; the error says what Go would not take. What neither takes is left for the crate to refuse.
pub fn translate(pattern: &str) -> Result<Translated, String> {
    let mut translator = Translator {
        rest: pattern.chars(),
        out: String::with_capacity(pattern.len() + 16),
        names: vec![String::new()],
        open: 0,
    };
    let mut repeated = false;
    while let Some(c) = translator.rest.next() {
        repeated = translator.step(c, repeated)?;
    }
    if translator.open > 0 {
        return Err("a parenthesis is not closed".into());
    }
    Ok(Translated { pattern: translator.out, names: translator.names })
}

struct Translator<'a> {
    rest: Chars<'a>,
    out: String,
    names: Vec<String>,
    /// Groups that are not closed yet: what is put around a pattern must stay around it.
    open: usize,
}

impl Translator<'_> {
    /// What begins with `c`; whether it repeats what stands before it.
    fn step(&mut self, c: char, repeated: bool) -> Result<bool, String> {
        match c {
            '*' | '+' | '?' => {
                self.repeat(&c.to_string(), repeated)?;
                return Ok(true);
            }
            '{' => {
                if let Some((counts, length)) = counts(self.rest.as_str())? {
                    self.skip(length);
                    self.repeat(&counts, repeated)?;
                    return Ok(true);
                }
                self.literal(c);
            }
            '\\' => self.escape()?,
            '[' => self.class()?,
            '(' => self.group()?,
            ')' => {
                self.open = self.open.checked_sub(1).ok_or("a parenthesis is closed that is not open")?;
                self.out.push(c);
            }
            '.' | '^' | '$' | '|' => self.out.push(c),
            c => self.literal(c),
        }
        Ok(false)
    }

    fn skip(&mut self, bytes: usize) {
        self.rest = self.rest.as_str().get(bytes..).unwrap_or("").chars();
    }

    fn skip_if(&mut self, c: char) -> bool {
        let there = self.rest.as_str().starts_with(c);
        if there {
            self.skip(c.len_utf8());
        }
        there
    }

    fn literal(&mut self, c: char) {
        if matches!(
            c,
            '\\' | '.' | '+' | '*' | '?' | '(' | ')' | '|' | '[' | ']' | '{' | '}' | '^' | '$' | '#' | '&' | '-' | '~'
        ) {
            self.out.push('\\');
        }
        self.out.push(c);
    }

    fn repeat(&mut self, how: &str, repeated: bool) -> Result<(), String> {
        if repeated {
            return Err(format!("a repetition is repeated by {how}"));
        }
        self.out.push_str(how);
        if self.skip_if('?') {
            self.out.push('?');
        }
        Ok(())
    }

    fn group(&mut self) -> Result<(), String> {
        let rest = self.rest.as_str();
        let Some(after) = rest.strip_prefix('?') else {
            self.names.push(String::new());
            self.open += 1;
            self.out.push('(');
            return Ok(());
        };
        let named = after.strip_prefix("P<").or_else(|| after.strip_prefix('<'));
        if let Some(named) = named.filter(|n| !n.starts_with(['=', '!'])) {
            let name = named
                .split_once('>')
                .map(|(name, _)| name)
                .filter(|name| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'));
            let Some(name) = name else { return Err("the name of a group must be of letters, digits and _".into()) };
            self.names.push(name.to_string());
            self.open += 1;
            self.out.push('(');
            self.skip(rest.len() - named.len() + name.len() + 1);
            return Ok(());
        }
        self.flags(after)
    }

    /// `(?flags)` and `(?flags:`, from behind the question mark on.
    fn flags(&mut self, text: &str) -> Result<(), String> {
        let flags = text.split([':', ')']).next().unwrap_or("");
        let (on, off) = flags.split_once('-').map_or((flags, None), |(on, off)| (on, Some(off)));
        let known = |flags: &str| flags.bytes().all(|b| matches!(b, b'i' | b'm' | b's' | b'U'));
        if flags.len() == text.len() || !known(on) || off.is_some_and(|off| off.is_empty() || !known(off)) {
            let shown: String = text.chars().take(3).collect();
            return Err(format!("(?{shown} is not known (there is no look-around)"));
        }
        let closed = text.get(flags.len()..).is_some_and(|rest| rest.starts_with(')'));
        self.skip(1 + flags.len() + 1);
        self.open += usize::from(!closed);
        if !(closed && flags.is_empty()) {
            self.out.extend(["(?", flags, if closed { ")" } else { ":" }]);
        }
        Ok(())
    }

    /// What follows a backslash outside a class.
    fn escape(&mut self) -> Result<(), String> {
        let Some(c) = self.rest.next() else { return Err("a backslash at the end".into()) };
        match c {
            'A' | 'z' => self.out.extend(['\\', c]),
            'b' | 'B' => self.out.extend(["(?-u:\\", if c == 'b' { "b" } else { "B" }, ")"]),
            'Q' => {
                let rest = self.rest.as_str();
                let (quoted, skipped) = rest.find("\\E").map_or((rest, rest.len()), |end| (&rest[..end], end + 2));
                quoted.chars().for_each(|c| self.literal(c));
                self.skip(skipped);
            }
            'p' | 'P' => self.unicode_class(c)?,
            c => match perl_class(c) {
                Some((negated, members)) => {
                    self.out.extend([if negated { "[^" } else { "[" }, members, "]"]);
                }
                None => {
                    let c = self.escaped(c)?;
                    self.literal(c);
                }
            },
        }
        Ok(())
    }

    /// `\pL`, `\p{Greek}`, `\p{^Greek}`, from behind the letter on.
    fn unicode_class(&mut self, letter: char) -> Result<(), String> {
        let rest = self.rest.as_str();
        let (name, length) = match rest.strip_prefix('{') {
            Some(braced) => match braced.split_once('}') {
                Some((name, _)) => (name, name.len() + 2),
                None => return Err(format!("\\{letter}{{ is not closed")),
            },
            None => {
                let length = rest.chars().next().map_or(0, char::len_utf8);
                (rest.get(..length).unwrap_or(""), length)
            }
        };
        let (name, inverse) = name.strip_prefix('^').map_or((name, false), |name| (name, true));
        let negated = (letter == 'P') != inverse;
        self.out.extend([if negated { "\\P{" } else { "\\p{" }, name, "}"]);
        self.skip(length);
        Ok(())
    }

    /// The character that an escape stands for; `c` is what follows the backslash.
    fn escaped(&mut self, c: char) -> Result<char, String> {
        let bad = || format!("the escape \\{c} is not known");
        let code = match c {
            'a' => 0x07,
            'f' => 0x0c,
            'n' => 0x0a,
            'r' => 0x0d,
            't' => 0x09,
            'v' => 0x0b,
            '0'..='7' => {
                let digits = self.digits(2, 8);
                if c != '0' && digits.is_empty() {
                    return Err("there are no references to groups (\\1)".into());
                }
                u32::from_str_radix(&once(c).chain(digits.chars()).collect::<String>(), 8).map_err(|_| bad())?
            }
            'x' if self.skip_if('{') => {
                let digits = self.digits(8, 16);
                if !self.skip_if('}') {
                    return Err(bad());
                }
                u32::from_str_radix(&digits, 16).map_err(|_| bad())?
            }
            'x' => {
                let digits = self.digits(2, 16);
                if digits.len() != 2 {
                    return Err(bad());
                }
                u32::from_str_radix(&digits, 16).map_err(|_| bad())?
            }
            c if c.is_ascii() && !c.is_ascii_alphanumeric() => u32::from(c),
            _ => return Err(bad()),
        };
        char::from_u32(code).ok_or_else(bad)
    }

    /// Up to so many digits.
    fn digits(&mut self, most: usize, radix: u32) -> String {
        let digits: String = self.rest.as_str().chars().take(most).take_while(|c| c.is_digit(radix)).collect();
        self.skip(digits.len());
        digits
    }

    /// A class, from behind its bracket on.
    fn class(&mut self) -> Result<(), String> {
        self.out.push('[');
        if self.skip_if('^') {
            self.out.push('^');
        }
        let mut first = true;
        loop {
            let Some(c) = self.rest.next() else { return Err("a bracket is not closed".into()) };
            if c == ']' && !first {
                break;
            }
            first = false;
            if c == '[' && self.posix_class()? {
                continue;
            }
            if c == '\\' {
                let letter = self.rest.as_str().chars().next();
                if let Some(letter @ ('p' | 'P')) = letter {
                    self.skip(1);
                    self.unicode_class(letter)?;
                    continue;
                }
                if let Some((negated, members)) = letter.and_then(perl_class) {
                    self.skip(1);
                    self.out.extend(if negated { ["[^", members, "]"] } else { ["", members, ""] });
                    continue;
                }
            }
            let low = self.member(c)?;
            self.literal(low);
            let rest = self.rest.as_str();
            if rest.starts_with('-') && !rest.starts_with("-]") && rest.len() > 1 {
                self.skip(1);
                let next = self.rest.next().unwrap_or(']');
                let high = self.member(next)?;
                if high < low {
                    return Err(format!("the range {low}-{high} is upside down"));
                }
                self.out.push('-');
                self.literal(high);
            }
        }
        self.out.push(']');
        Ok(())
    }

    /// `[:alpha:]` within a class, from behind its bracket on, if that is what it is.
    fn posix_class(&mut self) -> Result<bool, String> {
        let rest = self.rest.as_str();
        let Some((name, _)) = rest.strip_prefix(':').and_then(|rest| rest.split_once(":]")) else { return Ok(false) };
        if !POSIX_CLASSES.contains(&name.strip_prefix('^').unwrap_or(name)) {
            return Err(format!("there is no class [:{name}:]"));
        }
        self.out.extend(["[:", name, ":]"]);
        self.skip(name.len() + 3);
        Ok(true)
    }

    /// A character of a class, which begins with `c`.
    fn member(&mut self, c: char) -> Result<char, String> {
        if c != '\\' {
            return Ok(c);
        }
        let Some(c) = self.rest.next() else { return Err("a backslash at the end".into()) };
        self.escaped(c)
    }
}

/// `\d`, `\s` and `\w` with what is in them; whether all else is meant.
fn perl_class(letter: char) -> Option<(bool, &'static str)> {
    let members = match letter.to_ascii_lowercase() {
        'd' => "0-9",
        's' => "\\t\\n\\x0C\\r ",
        'w' => "0-9A-Za-z_",
        _ => return None,
    };
    Some((letter.is_ascii_uppercase(), members))
}

/// A count of repetitions, `2}`, `2,}` or `2,5}`, with its braces, and its length without the first; `None` where the
/// brace stands for itself.
fn counts(text: &str) -> Result<Option<(String, usize)>, String> {
    let Some(end) = text.find('}') else { return Ok(None) };
    let inner = text.get(..end).unwrap_or("");
    let (least, most) = inner.split_once(',').map_or((inner, None), |(least, most)| (least, Some(most)));
    let is_number = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) && (text.len() == 1 || !text.starts_with('0'))
    };
    if !is_number(least) || most.is_some_and(|most| !most.is_empty() && !is_number(most)) {
        return Ok(None);
    }
    let number = |text: &str| text.parse::<u32>().ok().filter(|n| *n <= MOST);
    let most = most.filter(|most| !most.is_empty());
    let good = match (number(least), most.map(number)) {
        (Some(_), None) => true,
        (Some(least), Some(Some(most))) => least <= most,
        _ => false,
    };
    if !good {
        return Err(format!("{{{inner}}} is no count: at most {MOST}, the larger one last"));
    }
    Ok(Some((format!("{{{inner}}}"), end + 1)))
}
