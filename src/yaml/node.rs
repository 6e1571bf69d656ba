//! A YAML document as a tree with positions.

use std::fmt;
use std::sync::{Arc, OnceLock};

use serde_yaml::granit_parser::{Event, Parser, ScalarStyle, Span};

use super::{Faults, FromYaml};

/// The text of a file and how to call it.
#[derive(Default, Debug)]
pub struct Source {
    name: String,
    text: String,
    /// Where each line begins, once one is asked for.
    lines: OnceLock<Vec<usize>>,
}

impl Source {
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Source {
        Source { name: name.into(), text: text.into(), lines: OnceLock::new() }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// A line by its number, from 1.
    pub fn line(&self, number: u32) -> Option<&str> {
        let starts = || {
            let behind = memchr::memchr_iter(b'\n', self.text.as_bytes()).map(|end| end + 1);
            std::iter::once(0).chain(behind).filter(|start| *start < self.text.len()).collect()
        };
        let start = *self.lines.get_or_init(starts).get((number as usize).checked_sub(1)?)?;
        self.text.get(start..)?.lines().next()
    }
}

/// A place in a file: line and column from 1, in characters; line 0 is the file as a whole.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub struct Position {
    pub line: u32,
    pub column: u32,
}

impl Position {
    fn of(span: &Span) -> Position {
        Position { line: span.start.line() as u32, column: span.start.col() as u32 + 1 }
    }
}

#[derive(Clone, PartialEq, Debug)]
pub struct Node {
    pub at: Position,
    pub value: Value,
}

#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    Null,
    /// A scalar as it was written; `plain`: without quotes, so that `yes` may be more than a word.
    Scalar {
        text: String,
        plain: bool,
        /// A `|` or `>` block: the text begins on the line after the position.
        block: bool,
    },
    Sequence(Vec<Node>),
    Mapping(Vec<(Key, Node)>),
}

/// A key of a mapping.
#[derive(Clone, PartialEq, Debug)]
pub struct Key {
    pub name: String,
    pub at: Position,
}

impl Node {
    pub fn null() -> Node {
        Node { at: Position::default(), value: Value::Null }
    }

    pub fn is_null(&self) -> bool {
        self.value == Value::Null
    }

    /// The scalar's text.
    pub fn as_str(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// The pairs of a mapping; nothing for what is not one.
    pub fn entries(&self) -> &[(Key, Node)] {
        match &self.value {
            Value::Mapping(entries) => entries,
            _ => &[],
        }
    }

    /// The items of a sequence; nothing for what is not one.
    pub fn items(&self) -> &[Node] {
        match &self.value {
            Value::Sequence(items) => items,
            _ => &[],
        }
    }

    /// The value of a key of a mapping.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries().iter().find(|(k, _)| k.name == key).map(|(_, v)| v)
    }

    /// Where the value of a key stands; where this mapping does, when the key is not there.
    pub fn place(&self, key: &str) -> Position {
        self.get(key).map_or(self.at, |value| value.at)
    }

    /// What this is, for an error: `a list`, `"text"`.
    pub fn describe(&self) -> String {
        match &self.value {
            Value::Null => "nothing".to_string(),
            Value::Scalar { text, plain: true, .. } if text.len() <= 40 => text.clone(),
            Value::Scalar { text, .. } if text.len() <= 40 => format!("{text:?}"),
            Value::Scalar { .. } => "a longer text".to_string(),
            Value::Sequence(_) => "a list".to_string(),
            Value::Mapping(_) => "a mapping".to_string(),
        }
    }
}

/// A parsed file.
#[derive(Clone, Debug)]
pub struct Document {
    pub source: Arc<Source>,
    pub root: Node,
}

impl Document {
    /// Parses one YAML document. What is wrong with the YAML itself is added to `faults`, and what could be read up to
    /// there is kept, so that reading it may find more.
    pub fn parse(name: &str, text: &str, faults: &mut Faults) -> Document {
        let source = Arc::new(Source::new(name, text));
        faults.enter(source.clone());
        let root = Loader::new(text, faults).document().unwrap_or_else(Node::null);
        Document { source, root }
    }

    /// Reads the root as `T`; the default where it is empty or not readable as one.
    pub fn read<T: FromYaml + Default>(&self, faults: &mut Faults) -> T {
        faults.enter(self.source.clone());
        if self.root.is_null() { T::default() } else { T::from_yaml(&self.root, faults).unwrap_or_default() }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// Levels of nesting that are read.
const MAX_DEPTH: usize = 64;
/// Nodes that aliases may add: enough for any file written by hand, too few for a bomb.
const MAX_ALIASED: usize = 50_000;
/// Nodes of a document.
const MAX_NODES: usize = 2_000_000;

struct Loader<'a, 'f> {
    events: Parser<'a, serde_yaml::granit_parser::StrInput<'a>>,
    faults: &'f mut Faults,
    anchors: Vec<(usize, Arc<Node>, usize)>,
    nodes: usize,
    aliased: usize,
    failed: bool,
}

impl<'a, 'f> Loader<'a, 'f> {
    fn new(text: &'a str, faults: &'f mut Faults) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        Loader { events: Parser::new_from_str(text), faults, anchors: Vec::new(), nodes: 0, aliased: 0, failed: false }
    }

    fn fail(&mut self, at: Position, message: impl Into<String>) {
        if !self.failed {
            self.failed = true;
            self.faults.error(at, message);
        }
    }

    /// The next event; `None` at the end or after a fault.
    fn next(&mut self) -> Option<(Event<'a>, Span)> {
        if self.failed {
            return None;
        }
        match self.events.next_event()? {
            Ok(event) => Some(event),
            Err(e) => {
                let marker = *e.marker();
                let at = Position { line: marker.line() as u32, column: marker.col() as u32 + 1 };
                self.fail(at, format!("not valid YAML: {}", e.info()));
                None
            }
        }
    }

    fn document(&mut self) -> Option<Node> {
        let mut root = None;
        while let Some((event, span)) = self.next() {
            match event {
                Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
                Event::StreamEnd => break,
                _ if root.is_some() => {
                    self.fail(Position::of(&span), "a second YAML document: only one a file is read");
                }
                event => root = Some(self.node(event, &span, 0)),
            }
        }
        root
    }

    fn node(&mut self, event: Event<'a>, span: &Span, depth: usize) -> Node {
        let at = Position::of(span);
        let before = self.nodes;
        self.nodes += 1;
        if depth > MAX_DEPTH {
            self.fail(at, format!("nested more than {MAX_DEPTH} levels deep"));
        }
        if self.nodes > MAX_NODES {
            self.fail(at, format!("more than {MAX_NODES} values in one file"));
        }
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain && tag.is_none();
                let block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
                let null = plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                (if null { Value::Null } else { Value::Scalar { text: text.into_owned(), plain, block } }, anchor)
            }
            Event::SequenceStart(_, anchor, _) => (self.sequence(depth), anchor),
            Event::MappingStart(_, anchor, _) => (self.mapping(depth), anchor),
            Event::Alias(id) => return self.alias(id, at),
            _ => (Value::Null, 0),
        };
        let node = Node { at, value };
        if anchor != 0 {
            self.anchors.push((anchor, Arc::new(node.clone()), self.nodes - before));
        }
        node
    }

    fn alias(&mut self, id: usize, at: Position) -> Node {
        let Some((_, node, size)) = self.anchors.iter().rev().find(|(anchor, _, _)| *anchor == id).cloned() else {
            self.fail(at, "an alias to a value that is not complete yet");
            return Node { at, value: Value::Null };
        };
        self.aliased += size;
        self.nodes += size;
        if self.aliased > MAX_ALIASED {
            self.fail(at, format!("aliases expand to more than {MAX_ALIASED} values"));
            return Node { at, value: Value::Null };
        }
        (*node).clone()
    }

    fn sequence(&mut self, depth: usize) -> Value {
        let mut items = Vec::new();
        while let Some((event, span)) = self.next() {
            if matches!(event, Event::SequenceEnd) {
                break;
            }
            items.push(self.node(event, &span, depth + 1));
        }
        Value::Sequence(items)
    }

    fn mapping(&mut self, depth: usize) -> Value {
        let mut entries: Vec<(Key, Node)> = Vec::new();
        let mut merged: Vec<Node> = Vec::new();
        let mut names = hashbrown::HashSet::new();
        while let Some((event, span)) = self.next() {
            if matches!(event, Event::MappingEnd) {
                break;
            }
            let key = self.node(event, &span, depth + 1);
            let Some((event, span)) = self.next() else { break };
            let value = self.node(event, &span, depth + 1);
            let name = match key.value {
                Value::Scalar { text, plain: true, .. } if text == "<<" => {
                    match value.value {
                        Value::Sequence(items) => merged.extend(items),
                        _ => merged.push(value),
                    }
                    continue;
                }
                Value::Scalar { text, .. } => text,
                _ => {
                    self.fail(key.at, "a key must be a word");
                    continue;
                }
            };
            if !names.insert(name.clone()) {
                self.faults.error(key.at, format!("the key {name:?} is here twice"));
                continue;
            }
            entries.push((Key { name, at: key.at }, value));
        }
        for source in merged {
            match source.value {
                Value::Mapping(from) => {
                    for (key, value) in from {
                        if names.insert(key.name.clone()) {
                            entries.push((key, value));
                        }
                    }
                }
                _ => self.fail(source.at, "only mappings can be merged with <<"),
            }
        }
        Value::Mapping(entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::Fuzz;

    fn parse(text: &str) -> (Document, Faults) {
        let mut faults = Faults::default();
        let document = Document::parse("t.yaml", text, &mut faults);
        (document, faults)
    }

    #[test]
    fn anchors_aliases_and_merges_are_resolved() {
        let (d, faults) = parse("base: &b {x: 1, y: 2}\nsame: *b\nmore:\n  <<: *b\n  y: 3\n");
        assert!(faults.is_empty(), "{faults}");
        assert_eq!(d.root.get("same").unwrap().get("x").unwrap().as_str(), Some("1"));
        let more = d.root.get("more").unwrap();
        assert_eq!((more.get("x").unwrap().as_str(), more.get("y").unwrap().as_str()), (Some("1"), Some("3")));
    }

    #[test]
    fn an_alias_bomb_is_refused_quickly() {
        let mut text = "a: &a [1,1,1,1,1,1,1,1,1]\n".to_string();
        for c in b'b'..=b'k' {
            let (c, p) = (c as char, (c - 1) as char);
            text.push_str(&format!("{c}: &{c} [*{p},*{p},*{p},*{p},*{p},*{p},*{p},*{p},*{p}]\n"));
        }
        let (_, faults) = parse(&text);
        assert!(faults.to_string().contains("aliases expand to more than"), "{faults}");
    }

    #[test]
    fn broken_yaml_is_one_fault_with_a_position() {
        for text in ["a: [1, 2\nb: 3\n", "a: b: c\n", "a:\n\tb: 1\n", "a: 1\n---\nb: 2\n", "? [a]\n: b\n", "a: *nope\n"]
        {
            let (_, faults) = parse(text);
            assert_eq!(faults.len(), 1, "{text:?}: {faults}");
            assert!(faults.iter().all(|f| f.at.line >= 1), "{faults}");
        }
        let (_, faults) = parse(&"[".repeat(100_000));
        assert!(faults.has_errors());
        let (d, faults) = parse("a: 1\na: 2\n");
        assert!(faults.to_string().contains("t.yaml:2:1: the key \"a\" is here twice"), "{faults}");
        assert_eq!(d.root.get("a").unwrap().as_str(), Some("1"));
    }

    #[test]
    fn an_empty_file_is_nothing() {
        for text in ["", "# only a comment\n", "---\n", "\u{feff}"] {
            let (d, faults) = parse(text);
            assert!(d.root.is_null() && faults.is_empty(), "{text:?}: {faults}");
        }
    }

    #[test]
    fn no_document_makes_it_panic() {
        let good = [
            "base: &b {x: 1, y: 2}\nsame: *b\nmore:\n  <<: *b\n  y: 3\n",
            "a:\n- b: \"c\\u00fc\\n\"\n  'd': |\n    e\n\n    f\n- >-\n  g\n  h\n...\n",
            "%YAML 1.2\n---\n? k\n: !!str v\n# c\n- ~\n",
            "a: [&x [*x, *x], {b: *x}]\n",
        ];
        Fuzz::of(&good).words(&["- ", ": ", "<<", "&a", "*a", "!!", "|+", "\u{feff}"]).heap(64 << 20).texts(|text| {
            let (document, faults) = parse(text);
            let _ = (document.read::<Vec<String>>(&mut Faults::default()), faults.to_string());
        });
    }
}
