//! Values as a YAML text.

use std::fmt::Write;

use super::{Key, Node, Position, Value};

impl Value {
    /// A text.
    pub fn text(text: impl Into<String>) -> Value {
        Value::Scalar { text: text.into(), plain: false, block: false }
    }

    /// A number, a duration or a switch: written without quotes.
    pub fn plain(text: impl Into<String>) -> Value {
        Value::Scalar { text: text.into(), plain: true, block: false }
    }

    /// A list; nothing where it is empty.
    pub fn list(items: impl IntoIterator<Item = Value>) -> Option<Value> {
        let items: Vec<Node> = items.into_iter().map(unplaced).collect();
        (!items.is_empty()).then_some(Value::Sequence(items))
    }

    /// A mapping of what is there; nothing where it is empty.
    pub fn mapping<N: Into<String>>(entries: impl IntoIterator<Item = (N, Option<Value>)>) -> Option<Value> {
        let key = |name: N| Key { name: name.into(), at: Position::default() };
        let entries: Vec<_> =
            entries.into_iter().filter_map(|(name, value)| Some((key(name), unplaced(value?)))).collect();
        (!entries.is_empty()).then_some(Value::Mapping(entries))
    }

    /// The value as a document in block style.
    pub fn to_yaml(&self) -> String {
        let mut out = String::new();
        write_block(&mut out, self, 0);
        out
    }
}

fn unplaced(value: Value) -> Node {
    Node { at: Position::default(), value }
}

/// Writes lines, each with this many columns before it. The first line's are there already in lists.
fn write_block(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Mapping(entries) if !entries.is_empty() => {
            for (i, (key, node)) in entries.iter().enumerate() {
                if i > 0 {
                    pad(out, indent);
                }
                out.push_str(&scalar(&key.name, false));
                out.push(':');
                write_below(out, &node.value, indent);
            }
        }
        Value::Sequence(items) if !items.is_empty() => {
            for (i, node) in items.iter().enumerate() {
                if i > 0 {
                    pad(out, indent);
                }
                out.push_str("- ");
                write_block(out, &node.value, indent + 2);
            }
        }
        flat => {
            out.push_str(&inline(flat));
            out.push('\n');
        }
    }
}

/// What stands behind a key.
fn write_below(out: &mut String, value: &Value, indent: usize) {
    let inner = match value {
        Value::Mapping(entries) if !entries.is_empty() => indent + 2,
        // A list may begin in its key's column.
        Value::Sequence(items) if !items.is_empty() => indent,
        flat => {
            out.push(' ');
            out.push_str(&inline(flat));
            out.push('\n');
            return;
        }
    };
    out.push('\n');
    pad(out, inner);
    write_block(out, value, inner);
}

fn pad(out: &mut String, columns: usize) {
    out.extend(std::iter::repeat_n(' ', columns));
}

fn inline(value: &Value) -> String {
    match value {
        Value::Null => "null".to_string(),
        Value::Scalar { text, plain, .. } => scalar(text, *plain),
        Value::Sequence(_) => "[]".to_string(),
        Value::Mapping(_) => "{}".to_string(),
    }
}

/// Words that are no texts without quotes.
const NOT_TEXTS: [&str; 11] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan", "inf"];

fn scalar(text: &str, plain: bool) -> String {
    let begins = |c: char| c.is_ascii_alphabetic() || c == '_' || c == '/';
    let goes_on = |c: char| c.is_ascii_alphanumeric() || "_./-".contains(c);
    let is_word = text.starts_with(begins) && text.chars().all(goes_on);
    if plain || is_word && !NOT_TEXTS.iter().any(|word| text.eq_ignore_ascii_case(word)) {
        return text.to_string();
    }
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            // What YAML does not take as it is.
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}') => {
                // Writing to a string does not fail.
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;
    use crate::fuzz::Fuzz;
    use crate::yaml::{Document, Faults, FromYaml, Secret};

    crate::section! {
        /// An example.
        pub struct Example {
            /// A text.
            pub name: String = "web.hook".to_string(),
            /// Another.
            pub odd: String = "yes".to_string(),
            /// A number.
            pub times: u64 = 3,
            /// A span.
            pub every: Duration as "interval" = Duration::from_secs(90),
            /// Nothing.
            pub nothing: Option<String> = None,
            /// What nobody is to see.
            pub password: Option<Secret> = Some(Secret::new("hunter2")),
            /// A list of lists.
            pub lists: Vec<Vec<bool>> = vec![vec![true, false], vec![true]],
            /// An empty list.
            pub empty: Vec<String> = Vec::new(),
            /// A mapping of secrets.
            pub headers: BTreeMap<String, Secret> = BTreeMap::from([("X: y".to_string(), Secret::new("hunter2"))]),
        }
    }

    #[test]
    fn a_section_is_shown_as_it_is_written_and_without_its_secrets() {
        let text = Example::default().as_yaml().unwrap().to_yaml();
        assert_eq!(
            text,
            "name: web.hook\nodd: \"yes\"\ntimes: 3\ninterval: 1m30s\npassword: \"<secret>\"\nlists:\n- - true\n  - false\n\
             - - true\nheaders:\n  \"X: y\": \"<secret>\"\n"
        );
        let mut faults = Faults::default();
        let again: Example = Document::parse("x.yaml", &text, &mut faults).read(&mut faults);
        assert!(faults.is_empty(), "{faults}");
        assert_eq!(again.as_yaml().unwrap().to_yaml(), text);
    }

    #[test]
    fn every_text_reads_back_as_the_same() {
        Fuzz::of(&["a: b", "{\"x\\y\"}\n\t\u{85}\u{2028}", "", "1e5", "~", "- x", "#no", "'"]).texts(|text| {
            let printed = Value::list([Value::text(text)]).unwrap().to_yaml();
            let mut faults = Faults::default();
            let read: Vec<String> = Document::parse("x.yaml", &printed, &mut faults).read(&mut faults);
            assert_eq!(read, [text], "{printed}");
        });
    }
}
