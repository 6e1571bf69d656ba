//! The values that a template works on, typed as Go would type them.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::ZonedDateTime;

use crate::model::Labels;

/// A value in a template. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub enum Value {
    #[default]
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    String(Arc<str>),
    List(Arc<[Value]>),
    Map(Arc<Map>),
    Struct(Arc<Struct>),
    /// `time.Time`.
    Time(Arc<ZonedDateTime>),
    /// `time.Duration`: nanoseconds.
    Duration(i64),
    /// A value of a type that has a name and methods of its own, over one of the others.
    Named(Arc<Named>),
}

/// A value of a defined type.
#[derive(Debug)]
pub struct Named {
    pub of: &'static Type,
    /// What it is underneath: what `range`, `len` and `index` work on.
    pub value: Value,
}

/// A defined type: Go's `type KV map[string]string` with its methods.
#[derive(Debug)]
pub struct Type {
    /// As `%T` prints it.
    pub name: &'static str,
    /// Calls a method of a value underneath; `None` where there is none of that name.
    pub method: Method,
    /// How it prints itself, where it does.
    pub string: Option<fn(&Value) -> String>,
    /// What it may be put into without being escaped.
    pub trusted: Trusted,
}

/// A method: the value, the method's name, the arguments.
pub type Method = fn(&Value, &str, &[Value]) -> Option<Result<Value, String>>;

/// What a text is, so that it is not escaped there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trusted {
    Nothing,
    Html,
    Url,
}

/// A map with string keys. Ranges over it run in the order of the keys, as in Go.
#[derive(Debug, Default)]
pub struct Map {
    pub entries: BTreeMap<Arc<str>, Value>,
    /// What a missing key gives: `""` from a map of strings, else nil, which prints as `<no value>`.
    pub of_strings: bool,
    /// Whether a field that is missing (`.m.key`) is nil even in a map of strings, as Go has it unless it is told
    /// `missingkey=zero`, which Prometheus tells it.
    pub missing_is_nil: bool,
}

/// A struct: a name for error messages and fields in their order. Asking for a field that it does not have is an
/// error.
#[derive(Debug)]
pub struct Struct {
    pub name: &'static str,
    pub fields: Vec<(&'static str, Value)>,
}

impl Struct {
    pub fn get(&self, field: &str) -> Option<&Value> {
        self.fields.iter().find(|(n, _)| *n == field).map(|(_, v)| v)
    }
}

impl Value {
    /// A map of strings to strings, such as a label set.
    pub fn string_map<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Value {
        let entries = pairs.into_iter().map(|(k, v)| (k.into(), v.into())).collect();
        Value::Map(Arc::new(Map { entries, of_strings: true, missing_is_nil: false }))
    }

    /// A struct with these fields.
    pub fn structure(name: &'static str, fields: Vec<(&'static str, Value)>) -> Value {
        Value::Struct(Arc::new(Struct { name, fields }))
    }

    /// A value of a defined type.
    pub fn named(of: &'static Type, value: Value) -> Value {
        Value::Named(Arc::new(Named { of, value }))
    }

    /// The value underneath that of a defined type.
    pub fn plain(&self) -> &Value {
        match self {
            Value::Named(named) => named.value.plain(),
            value => value,
        }
    }

    /// The Go type's name, as `%T` prints it.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Nil => "nil",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Float(_) => "float64",
            Value::String(_) => "string",
            Value::List(_) => "[]interface {}",
            Value::Map(m) if m.of_strings => "map[string]string",
            Value::Map(_) => "map[string]interface {}",
            Value::Struct(s) => s.name,
            Value::Time(_) => "time.Time",
            Value::Duration(_) => "time.Duration",
            Value::Named(n) => n.of.name,
        }
    }

    /// What `if` and `and` take as true: not zero, not empty.
    pub fn is_true(&self) -> bool {
        match self {
            Value::Nil => false,
            Value::Bool(b) => *b,
            Value::Int(i) | Value::Duration(i) => *i != 0,
            Value::Float(f) => *f != 0.0,
            Value::String(s) => !s.is_empty(),
            Value::List(l) => !l.is_empty(),
            Value::Map(m) => !m.entries.is_empty(),
            Value::Struct(_) | Value::Time(_) => true,
            Value::Named(n) => n.value.is_true(),
        }
    }

    /// What the value costs to make, in units of the execution's budget.
    pub(super) fn weight(&self) -> usize {
        match self {
            Value::String(s) => s.len() / 16,
            Value::List(l) => l.len(),
            Value::Map(m) => m.entries.len(),
            Value::Named(n) => n.value.weight(),
            _ => 0,
        }
    }
}

impl Map {
    /// The value of a key, or what Go gives for a missing one.
    pub fn get(&self, key: &str) -> Value {
        match self.entries.get(key) {
            Some(value) => value.clone(),
            None if self.of_strings => Value::from(""),
            None => Value::Nil,
        }
    }

    /// The value of a key that is asked for as a field.
    pub(super) fn field(&self, key: &str) -> Value {
        if self.missing_is_nil && !self.entries.contains_key(key) { Value::Nil } else { self.get(key) }
    }
}

impl From<&str> for Value {
    fn from(s: &str) -> Value {
        Value::String(s.into())
    }
}

impl From<String> for Value {
    fn from(s: String) -> Value {
        Value::String(s.into())
    }
}

impl From<f64> for Value {
    fn from(f: f64) -> Value {
        Value::Float(f)
    }
}

impl From<i64> for Value {
    fn from(i: i64) -> Value {
        Value::Int(i)
    }
}

impl From<bool> for Value {
    fn from(b: bool) -> Value {
        Value::Bool(b)
    }
}

impl From<&Labels> for Value {
    fn from(labels: &Labels) -> Value {
        Value::string_map(labels.iter())
    }
}
