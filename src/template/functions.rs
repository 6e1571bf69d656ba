//! The table of functions, and those that Go's templates have by themselves.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::escape;
use super::format::{self, Sink};
use super::{Context, Value};

/// A function of a template. The error is shown behind `error calling NAME:`.
pub type Function = fn(&[Value], &Context<'_>) -> Result<Value, String>;

/// How a name is called.
#[derive(Clone, Copy, Debug)]
pub(super) enum Callee {
    /// Gives the first argument that is false; the others are not evaluated.
    And,
    /// Gives the first argument that is true; the others are not evaluated.
    Or,
    /// Runs the template whose name is the first argument on the second, and gives its output.
    Template,
    Plain {
        function: Function,
        least: usize,
        most: Option<usize>,
    },
}

/// The functions that a template may call, by name.
#[derive(Clone, Debug)]
pub struct Functions(BTreeMap<&'static str, Callee>);

impl Functions {
    /// Those that every Go template has.
    pub fn go() -> Functions {
        let mut table = Functions(BTreeMap::new());
        table.0.insert("and", Callee::And);
        table.0.insert("or", Callee::Or);
        table
            .add("not", 1, Some(1), not)
            .add("eq", 1, None, eq)
            .add("ne", 2, Some(2), |a, _| equal(&a[0], &a[1]).map(|e| Value::Bool(!e)))
            .add("lt", 2, Some(2), |a, _| less(&a[0], &a[1]).map(Value::Bool))
            .add("le", 2, Some(2), |a, _| less_or_equal(&a[0], &a[1]).map(Value::Bool))
            .add("gt", 2, Some(2), |a, _| less_or_equal(&a[0], &a[1]).map(|le| Value::Bool(!le)))
            .add("ge", 2, Some(2), |a, _| less(&a[0], &a[1]).map(|l| Value::Bool(!l)))
            .add("len", 1, Some(1), length)
            .add("index", 1, None, index)
            .add("slice", 1, Some(4), slice)
            .add("print", 0, None, |a, c| text(c, |out| format::print(out, a)))
            .add("println", 0, None, |a, c| text(c, |out| format::println(out, a)))
            .add("printf", 1, None, printf)
            .add("html", 0, None, |a, c| {
                text(c, |out| format::print(out, a)).map(|s| escape::html(&string_of(&s)).into())
            })
            .add("js", 0, None, |a, c| text(c, |out| format::print(out, a)).map(|s| escape::js(&string_of(&s))))
            .add("urlquery", 0, None, |a, c| {
                text(c, |out| format::print(out, a)).map(|s| escape::url_query(&string_of(&s)).into())
            });
        table
    }

    /// Adds or replaces a function that takes from `least` to `most` arguments; any number from `least` on for `None`.
    /// It is only ever called with as many arguments as it allows.
    pub fn add(&mut self, name: &'static str, least: usize, most: Option<usize>, function: Function) -> &mut Functions {
        self.0.insert(name, Callee::Plain { function, least, most });
        self
    }

    /// Adds Prometheus' `tmpl`, which gives the output of a template by name.
    pub(super) fn add_template_call(&mut self, name: &'static str) -> &mut Functions {
        self.0.insert(name, Callee::Template);
        self
    }

    /// Adds a function of another table under the name that it has there.
    pub(super) fn take_from(&mut self, other: &Functions, name: &'static str) {
        if let Some(callee) = other.get(name) {
            self.0.insert(name, callee);
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<Callee> {
        self.0.get(name).copied()
    }

    /// What to say of a name that is not in the table.
    pub(super) fn undefined(&self, name: &str) -> String {
        let nearest = self.0.keys().map(|k| (strsim::damerau_levenshtein(k, name), k)).min();
        match nearest {
            Some((distance, nearest)) if distance * 3 <= name.chars().count() => {
                format!("function {name:?} not defined, did you mean {nearest:?}?")
            }
            _ => format!("function {name:?} not defined"),
        }
    }
}

/// Runs a formatter with the limit of output of the execution.
pub(super) fn text(
    context: &Context<'_>,
    write: impl FnOnce(&mut Sink) -> Result<(), String>,
) -> Result<Value, String> {
    let mut sink = Sink::new(context.limits.output);
    write(&mut sink)?;
    Ok(sink.into_string().into())
}

fn string_of(value: &Value) -> Arc<str> {
    match value {
        Value::String(s) => s.clone(),
        _ => "".into(),
    }
}

/// The string in argument number `n`, from 0.
pub(super) fn string_arg(args: &[Value], n: usize) -> Result<&str, String> {
    match args.get(n).map(Value::plain) {
        Some(Value::String(s)) => Ok(s),
        Some(other) => Err(format!("wrong type for value; expected string; got {}", other.type_name())),
        None => Err("missing argument".into()),
    }
}

fn printf(args: &[Value], context: &Context<'_>) -> Result<Value, String> {
    let pattern = string_arg(args, 0)?;
    text(context, |out| format::printf(out, pattern, args.get(1..).unwrap_or(&[])))
}

fn not(args: &[Value], _: &Context<'_>) -> Result<Value, String> {
    Ok(Value::Bool(!args.first().is_some_and(Value::is_true)))
}

fn incompatible(a: &Value, b: &Value) -> String {
    format!("incompatible types for comparison: {} and {}", a.type_name(), b.type_name())
}

fn uncomparable(v: &Value) -> String {
    format!("non-comparable type: {}", v.type_name())
}

fn equal(a: &Value, b: &Value) -> Result<bool, String> {
    match (a.plain(), b.plain()) {
        (Value::Nil, Value::Nil) => Ok(true),
        (Value::List(_) | Value::Map(_) | Value::Struct(_), Value::Nil) => Err(uncomparable(a)),
        (Value::Nil, Value::List(_) | Value::Map(_) | Value::Struct(_)) => Err(uncomparable(b)),
        (Value::Nil, _) | (_, Value::Nil) => Ok(false),
        (Value::Bool(a), Value::Bool(b)) => Ok(a == b),
        (Value::Int(a) | Value::Duration(a), Value::Int(b) | Value::Duration(b)) => Ok(a == b),
        (Value::Float(a), Value::Float(b)) => Ok(a == b),
        (Value::String(a), Value::String(b)) => Ok(a == b),
        (Value::Time(a), Value::Time(b)) => Ok(a.timestamp() == b.timestamp()),
        (Value::List(_) | Value::Map(_) | Value::Struct(_), _) => Err(uncomparable(a)),
        (_, Value::List(_) | Value::Map(_) | Value::Struct(_)) => Err(uncomparable(b)),
        _ => Err(incompatible(a, b)),
    }
}

fn eq(args: &[Value], _: &Context<'_>) -> Result<Value, String> {
    let [first, others @ ..] = args else { return Err("missing argument for comparison".into()) };
    if others.is_empty() {
        return Err("missing argument for comparison".into());
    }
    for other in others {
        if equal(first, other)? {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}

fn less(a: &Value, b: &Value) -> Result<bool, String> {
    match (a.plain(), b.plain()) {
        (Value::Int(a) | Value::Duration(a), Value::Int(b) | Value::Duration(b)) => Ok(a < b),
        (Value::Float(a), Value::Float(b)) => Ok(a < b),
        (Value::String(a), Value::String(b)) => Ok(a < b),
        (Value::Bool(_), Value::Bool(_)) => Err("invalid type for comparison: bool".into()),
        (Value::Nil | Value::List(_) | Value::Map(_) | Value::Struct(_) | Value::Time(_), _) => {
            Err(format!("invalid type for comparison: {}", a.type_name()))
        }
        (_, Value::Nil | Value::List(_) | Value::Map(_) | Value::Struct(_) | Value::Time(_)) => {
            Err(format!("invalid type for comparison: {}", b.type_name()))
        }
        _ => Err(incompatible(a, b)),
    }
}

fn less_or_equal(a: &Value, b: &Value) -> Result<bool, String> {
    Ok(less(a, b)? || equal(a, b)?)
}

fn length(args: &[Value], _: &Context<'_>) -> Result<Value, String> {
    let n = match args.first().map(Value::plain) {
        Some(Value::String(s)) => s.len(),
        Some(Value::List(l)) => l.len(),
        Some(Value::Map(m)) => m.entries.len(),
        Some(Value::Nil) | None => return Err("len of nil pointer".into()),
        Some(other) => return Err(format!("len of type {}", other.type_name())),
    };
    Ok(Value::Int(n as i64))
}

fn position(value: &Value, most: usize) -> Result<usize, String> {
    let n = match value {
        Value::Int(n) => *n,
        Value::Nil => return Err("cannot index slice/array with nil".into()),
        other => return Err(format!("cannot index slice/array with type {}", other.type_name())),
    };
    usize::try_from(n).ok().filter(|n| *n <= most).ok_or_else(|| format!("index out of range: {n}"))
}

fn index(args: &[Value], _: &Context<'_>) -> Result<Value, String> {
    let [first, indexes @ ..] = args else { return Err("missing argument".into()) };
    let mut item = first.clone();
    for index in indexes {
        item = match (item.plain(), index.plain()) {
            (Value::Map(m), Value::String(key)) => m.get(key),
            (Value::Map(_), other) => return Err(format!("value has type {}; should be string", other.type_name())),
            (Value::List(l), index) => {
                let at = position(index, l.len())?;
                l.get(at).cloned().ok_or_else(|| format!("index out of range: {at}"))?
            }
            (Value::String(s), index) => {
                let at = position(index, s.len())?;
                let byte = s.as_bytes().get(at).ok_or_else(|| format!("index out of range: {at}"))?;
                Value::Int(i64::from(*byte))
            }
            (Value::Nil, _) => return Err("index of untyped nil".into()),
            (other, _) => return Err(format!("can't index item of type {}", other.type_name())),
        };
    }
    Ok(item)
}

fn slice(args: &[Value], _: &Context<'_>) -> Result<Value, String> {
    let [item, bounds @ ..] = args else { return Err("missing argument".into()) };
    let item = item.plain();
    let length = match item {
        Value::String(_) if bounds.len() > 2 => return Err("cannot 3-index slice a string".into()),
        Value::String(s) => s.len(),
        Value::List(l) => l.len(),
        Value::Nil => return Err("slice of untyped nil".into()),
        other => return Err(format!("can't slice item of type {}", other.type_name())),
    };
    let mut at = [0, length, length];
    for (place, bound) in at.iter_mut().zip(bounds) {
        *place = position(bound, length)?;
    }
    let [from, to, capacity] = at;
    if from > to || to > capacity {
        return Err(format!("invalid slice index: {from} > {to}"));
    }
    Ok(match item {
        Value::String(s) => String::from_utf8_lossy(s.as_bytes().get(from..to).unwrap_or(&[])).into_owned().into(),
        Value::List(l) => Value::List(l.get(from..to).unwrap_or(&[]).into()),
        _ => Value::Nil,
    })
}
