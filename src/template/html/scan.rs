//! Follows the text of a template through HTML.

use super::place::{Attr, Delim, Element, Place, State, UrlPart, attribute};

/// What is written for a piece of the template's own text; the place is moved behind it. Comments are left out, and a `<`
/// that begins no tag is written as `&lt;`.
pub fn text(place: &mut Place, text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        rest = match (place.delim, place.state) {
            (Delim::None, State::Text) => between_tags(place, rest, &mut out),
            (Delim::None, State::Comment) => comment(place, rest),
            (Delim::None, State::Tag | State::AttrName | State::AfterName | State::BeforeValue) => {
                in_tag(place, rest, &mut out)
            }
            (Delim::None, _) => raw(place, rest, &mut out),
            _ => value(place, rest, &mut out),
        };
    }
    out
}

const SPACES: [char; 5] = [' ', '\t', '\n', '\u{c}', '\r'];

/// Splits before the first character for which it holds.
fn split(text: &str, ends: impl FnMut(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(ends).unwrap_or(text.len()))
}

fn between_tags<'a>(place: &mut Place, text: &'a str, out: &mut String) -> &'a str {
    let (before, rest) = split(text, |c| c == '<');
    out.push_str(before);
    if let Some(rest) = rest.strip_prefix("<!--") {
        place.state = State::Comment;
        return rest;
    }
    let Some(inner) = rest.strip_prefix('<') else { return rest };
    let (slash, inner) = match inner.strip_prefix('/') {
        Some(inner) => ("/", inner),
        None => ("", inner),
    };
    let (name, after) = tag_name(inner);
    if name.is_empty() {
        let doctype = rest.get(..9).is_some_and(|start| start.eq_ignore_ascii_case("<!doctype"));
        out.push_str(if doctype { "<" } else { "&lt;" });
        out.push_str(slash);
        return inner;
    }
    out.push('<');
    out.push_str(slash);
    out.push_str(name);
    *place = Place::in_tag(if slash.is_empty() { Element::named(name) } else { Element::Other });
    after
}

/// Letters and digits, with single `-` and `:` between them.
fn tag_name(text: &str) -> (&str, &str) {
    let bytes = text.as_bytes();
    let alphanumeric = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_alphanumeric);
    if !bytes.first().is_some_and(u8::is_ascii_alphabetic) {
        return ("", text);
    }
    let mut end = 1;
    loop {
        match bytes.get(end) {
            Some(b) if b.is_ascii_alphanumeric() => end += 1,
            Some(b'-' | b':') if alphanumeric(end + 1) => end += 2,
            _ => return text.split_at(end),
        }
    }
}

fn comment<'a>(place: &mut Place, text: &'a str) -> &'a str {
    match text.split_once("-->") {
        Some((_, rest)) => {
            *place = Place::default();
            rest
        }
        None => "",
    }
}

fn in_tag<'a>(place: &mut Place, text: &'a str, out: &mut String) -> &'a str {
    if place.state != State::AttrName {
        let (spaces, rest) = split(text, |c| !SPACES.contains(&c));
        if !spaces.is_empty() {
            out.push_str(spaces);
            return rest;
        }
    }
    let first = text.chars().next().unwrap_or(' ');
    match (place.state, first) {
        (State::BeforeValue, '"' | '\'') => {
            out.push(first);
            place.begin_value(if first == '"' { Delim::Double } else { Delim::Single });
            text.get(1..).unwrap_or("")
        }
        (State::BeforeValue, _) => {
            place.begin_value(Delim::Space);
            text
        }
        (State::AfterName, '=') => {
            out.push('=');
            place.state = State::BeforeValue;
            text.get(1..).unwrap_or("")
        }
        (State::AfterName, _) => {
            place.state = State::Tag;
            text
        }
        (State::Tag, '>') => {
            out.push('>');
            *place = Place::in_element(place.element);
            text.get(1..).unwrap_or("")
        }
        (state, _) => {
            let (name, rest) = split(text, |c| SPACES.contains(&c) || c == '=' || c == '>');
            out.push_str(name);
            if state == State::Tag {
                if name.is_empty() {
                    // An `=` without a name before it.
                    out.push('=');
                    return text.get(1..).unwrap_or("");
                }
                place.attr = attribute(place.element, name);
            }
            place.state = if rest.is_empty() { State::AttrName } else { State::AfterName };
            rest
        }
    }
}

/// In the value of an attribute.
fn value<'a>(place: &mut Place, text: &'a str, out: &mut String) -> &'a str {
    let end = match place.delim {
        Delim::Double => text.find('"'),
        Delim::Single => text.find('\''),
        _ => text.find(|c| SPACES.contains(&c) || c == '>'),
    };
    let Some(end) = end else {
        out.push_str(text);
        within(place, &unescaped(text));
        return "";
    };
    let quote = usize::from(place.delim != Delim::Space);
    let (value, rest) = text.split_at_checked(end + quote).unwrap_or((text, ""));
    out.push_str(value);
    *place = Place::in_tag(place.element);
    rest
}

/// Moves on in the language of the attribute's value.
fn within(place: &mut Place, text: &str) {
    match place.state {
        State::Url | State::Srcset => in_url(place, text),
        State::MetaContent => {
            let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
            if text.to_ascii_lowercase().contains("url=") {
                place.state = State::MetaUrl;
            }
        }
        State::Css | State::CssString(_) | State::CssUrl(_) | State::CssComment { .. } => {
            in_css(place, text, &mut String::new());
        }
        State::Js | State::JsString(_) | State::JsComment { .. } => in_js(place, text, &mut String::new()),
        _ => {}
    }
}

fn in_url(place: &mut Place, text: &str) {
    if text.contains(['#', '?']) {
        place.url = UrlPart::Query;
    } else if place.url == UrlPart::None && text.contains(|c| !SPACES.contains(&c)) {
        place.url = UrlPart::Path;
    }
}

/// In the text of an element that ends only with its own end tag.
fn raw<'a>(place: &mut Place, text: &'a str, out: &mut String) -> &'a str {
    let end = place.element.raw_name().and_then(|name| end_tag(text, name));
    let (content, rest) = text.split_at(end.unwrap_or(text.len()));
    match place.state {
        State::Rcdata => out.push_str(&content.replace('<', "&lt;")),
        State::Js | State::JsString(_) | State::JsComment { .. } => in_js(place, content, out),
        _ => in_css(place, content, out),
    }
    if end.is_some() {
        *place = Place::default();
    }
    rest
}

/// Where `</name` stands, with something behind it that ends a name.
fn end_tag(text: &str, name: &str) -> Option<usize> {
    let found = text.match_indices("</").find(|(at, _)| {
        let behind = text.get(at + 2..).unwrap_or("");
        let same = behind.get(..name.len()).is_some_and(|tag| tag.eq_ignore_ascii_case(name));
        same && behind.get(name.len()..).is_some_and(|rest| rest.starts_with(['>', ' ', '\t', '\n', '\u{c}', '/']))
    });
    found.map(|(at, _)| at)
}

/// The first character, and what follows it.
fn first(text: &str) -> Option<(char, &str)> {
    let mut chars = text.chars();
    chars.next().map(|c| (c, chars.as_str()))
}

/// Whether the comment of script or styles that begins here ends with the line, and what follows its mark; `None` where
/// none begins.
fn begun_comment(text: &str) -> Option<(bool, &str)> {
    let of_line = text.strip_prefix("//").map(|rest| (true, rest));
    of_line.or_else(|| text.strip_prefix("/*").map(|rest| (false, rest)))
}

/// What follows the comment that it is in, if that ends here; a space stands for what may have divided two words.
fn behind_comment<'a>(text: &'a str, line: bool, out: &mut String) -> Option<&'a str> {
    if line {
        // The line's end is not part of it.
        return text.find(['\n', '\r', '\u{2028}', '\u{2029}']).and_then(|end| text.get(end..));
    }
    let (_, rest) = text.split_once("*/")?;
    out.push(' ');
    Some(rest)
}

/// Script: what matters is what is a string. A slash always divides: `/` in what is put into a regular expression is
/// escaped, so that it cannot end it.
fn in_js(place: &mut Place, text: &str, out: &mut String) {
    let mut rest = text;
    while let Some((c, after)) = first(rest) {
        rest = match place.state {
            State::JsString(quote) => {
                out.push(c);
                if c == quote {
                    place.state = State::Js;
                }
                match first(after) {
                    Some((escaped, behind)) if c == '\\' => {
                        out.push(escaped);
                        behind
                    }
                    _ => after,
                }
            }
            State::JsComment { line } => {
                let Some(behind) = behind_comment(rest, line, out) else { return };
                place.state = State::Js;
                behind
            }
            _ => {
                if let Some((line, behind)) = begun_comment(rest) {
                    place.state = State::JsComment { line };
                    behind
                } else {
                    out.push(c);
                    if matches!(c, '"' | '\'' | '`') {
                        place.state = State::JsString(c);
                    }
                    after
                }
            }
        };
    }
}

fn in_css(place: &mut Place, text: &str, out: &mut String) {
    let mut rest = text;
    // What of the string or URL has been read.
    let mut read = String::new();
    while let Some((c, after)) = first(rest) {
        rest = match place.state {
            State::CssString(quote) | State::CssUrl(quote) => {
                out.push(c);
                if c == quote || quote == ')' && SPACES.contains(&c) {
                    (place.state, place.url) = (State::Css, UrlPart::None);
                    read.clear();
                    after
                } else if c == '\\'
                    && let Some((escaped, behind)) = first(after)
                {
                    out.push(escaped);
                    read.push(escaped);
                    behind
                } else {
                    read.push(c);
                    after
                }
            }
            State::CssComment { line } => {
                let Some(behind) = behind_comment(rest, line, out) else { return };
                place.state = State::Css;
                behind
            }
            _ => {
                if let Some((line, behind)) = begun_comment(rest) {
                    place.state = State::CssComment { line };
                    behind
                } else if c == '(' && ends_with_url(out) {
                    let (spaces, behind) = split(after, |c| !SPACES.contains(&c));
                    let quoted = first(behind).filter(|(c, _)| matches!(c, '"' | '\''));
                    out.push(c);
                    out.push_str(spaces);
                    out.extend(quoted.map(|(quote, _)| quote));
                    place.state = State::CssUrl(quoted.map_or(')', |(quote, _)| quote));
                    quoted.map_or(behind, |(_, url)| url)
                } else {
                    out.push(c);
                    if matches!(c, '"' | '\'') {
                        place.state = State::CssString(c);
                    }
                    after
                }
            }
        };
    }
    if matches!(place.state, State::CssString(_) | State::CssUrl(_)) {
        in_url(place, &read);
    }
}

fn ends_with_url(text: &str) -> bool {
    let text = text.trim_end_matches(SPACES);
    text.len().checked_sub(3).and_then(|at| text.get(at..)).is_some_and(|end| end.eq_ignore_ascii_case("url"))
}

/// The text without the character references that could hide what it means.
fn unescaped(text: &str) -> String {
    if !text.contains('&') {
        return text.to_string();
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        out.push_str(before);
        match after.split_once(';').and_then(|(name, behind)| Some((reference(name)?, behind))) {
            Some((c, behind)) => {
                out.push(c);
                rest = behind;
            }
            None => {
                out.push('&');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

fn reference(name: &str) -> Option<char> {
    if let Some(number) = name.strip_prefix('#') {
        let code = match number.strip_prefix(['x', 'X']) {
            Some(hex) => u32::from_str_radix(hex, 16).ok()?,
            None => number.parse().ok()?,
        };
        return char::from_u32(code);
    }
    Some(match name {
        "quot" => '"',
        "amp" => '&',
        "apos" => '\'',
        "lt" => '<',
        "gt" => '>',
        "num" => '#',
        "quest" => '?',
        "colon" => ':',
        "sol" => '/',
        "lpar" => '(',
        "rpar" => ')',
        "grave" => '`',
        "bsol" => '\\',
        _ => return None,
    })
}

/// The text between the tags of a piece of HTML.
pub fn without_tags(html: &str) -> String {
    let mut place = Place::default();
    let (mut out, mut rest) = (String::new(), html);
    while !rest.is_empty() {
        let mut scratch = String::new();
        rest = match (place.delim, place.state) {
            (Delim::None, State::Text) => {
                let (before, tag) = split(rest, |c| c == '<');
                out.push_str(before);
                let after = between_tags(&mut place, tag, &mut scratch);
                if place.state == State::Text {
                    out.push_str(tag.get(..tag.len() - after.len()).unwrap_or(""));
                }
                after
            }
            (Delim::None, State::Comment) => comment(&mut place, rest),
            (Delim::None, State::Tag | State::AttrName | State::AfterName | State::BeforeValue) => {
                // Attributes are only skipped, whatever they are.
                place.attr = Attr::Plain;
                in_tag(&mut place, rest, &mut scratch)
            }
            (Delim::None, state) => {
                let after = raw(&mut place, rest, &mut scratch);
                if state == State::Rcdata {
                    out.push_str(rest.get(..rest.len() - after.len()).unwrap_or(""));
                }
                after
            }
            _ => value(&mut place, rest, &mut scratch),
        };
    }
    out
}
