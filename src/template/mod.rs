//! Go's text templates, as rule files and Alertmanager configurations use them.
//!
//! Parsing ([`Template::parse`]) finds every mistake of syntax, every function that does not exist and every variable
//! that was never set; running ([`Template::execute`]) works on [`Value`]s, typed as Go would type them, and gives the
//! text that Go would give. The table of [`Functions`] is open: [`Functions::go`] has what Go brings along,
//! [`prometheus::functions`] adds what Prometheus adds.
//!
//! A template is input like any other: depth, work and output of an execution are limited ([`Limits`]).

pub mod alertmanager;
mod ast;
mod escape;
mod exec;
mod float;
mod format;
mod functions;
mod html;
mod json;
mod lex;
mod methods;
mod number;
mod parse;
pub mod prometheus;
mod set;
mod title;
mod uses;
mod value;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

pub use escape::{html as escape_html, url_query};
pub use functions::{Function, Functions};
pub use set::Set;
pub use uses::{Call, FieldUse, Uses};
pub use value::{Map, Method, Named, Struct, Trusted, Type, Value};

use crate::model::{Labels, Timestamp};

/// A template that has been parsed.
#[derive(Clone, Debug)]
pub struct Template {
    name: String,
    source: Arc<parse::Source>,
    trees: parse::Trees,
    prelude: &'static [(&'static str, &'static str)],
}

/// What is wrong with a template, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateError {
    /// The file of templates that it is in; none for a text that stands elsewhere.
    pub file: Option<Arc<str>>,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    pub message: String,
}

impl TemplateError {
    /// From a byte offset in the text.
    fn at(text: &str, at: usize, message: String) -> TemplateError {
        let before = text.get(..at).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |n| n + 1);
        TemplateError {
            file: None,
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..).unwrap_or("").chars().count() + 1,
            message,
        }
    }

    fn of(source: &parse::Source, at: usize, message: String) -> TemplateError {
        TemplateError { file: source.file.clone(), ..TemplateError::at(&source.text, at, message) }
    }
}

impl fmt::Display for TemplateError {
    /// `FILE:LINE:COLUMN: message`, without the file where there is none.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{file}:")?;
        }
        write!(f, "{}:{}: {}", self.line, self.column, self.message)
    }
}

impl std::error::Error for TemplateError {}

/// What an execution may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of output, and of any string made on the way.
    pub output: usize,
    /// Operands evaluated, rounds of loops, and a step for each 16 bytes of strings made.
    pub steps: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { output: 1 << 20, steps: 1_000_000 }
    }
}

/// A sample that a template's query gave.
#[derive(Clone, Debug, PartialEq)]
pub struct QuerySample {
    pub labels: Labels,
    pub value: f64,
}

/// Answers the queries of templates (`query "up"`).
pub trait Query {
    /// The instant vector of an expression; a scalar is a sample without labels. The error says what is wrong with
    /// the expression or its evaluation.
    fn query(&self, expr: &str) -> Result<Vec<QuerySample>, String>;
}

/// What the functions of a template may ask for.
pub struct Context<'a> {
    /// `None` where queries are not to be had.
    pub query: Option<&'a dyn Query>,
    /// The URL under which people reach this program.
    pub external_url: &'a str,
    /// The time of evaluation.
    pub now: Timestamp,
    pub limits: Limits,
}

impl Template {
    /// Parses a template. `name` is for `{{template}}` calls of itself.
    pub fn parse(name: &str, text: &str, functions: &Functions) -> Result<Template, TemplateError> {
        Template::parse_with_prelude(name, text, functions, &[])
    }

    /// Parses a template in which variables are set from fields of the data before it begins: pairs of variable (with
    /// its `$`) and field.
    pub fn parse_with_prelude(
        name: &str,
        text: &str,
        functions: &Functions,
        prelude: &'static [(&'static str, &'static str)],
    ) -> Result<Template, TemplateError> {
        let variables: Vec<&str> = prelude.iter().map(|(variable, _)| *variable).collect();
        let source = Arc::new(parse::Source { file: None, text: text.to_string() });
        let trees = parse::parse(name, &source, functions, &variables)?;
        Ok(Template { name: name.to_string(), source, trees, prelude })
    }

    /// The text it was parsed from.
    pub fn text(&self) -> &str {
        &self.source.text
    }

    /// What it asks of its data.
    pub fn uses(&self) -> Uses {
        self.trees.get(&self.name).map(|tree| uses::of(tree)).unwrap_or_default()
    }

    /// The templates that it calls and does not define itself.
    pub fn calls(&self) -> Vec<Call> {
        let all = self.trees.values().flat_map(|tree| uses::calls(tree));
        all.filter(|call| !self.trees.contains_key(&call.name)).collect()
    }

    /// Runs the template with `data` as its dot.
    pub fn execute(&self, data: &Value, context: &Context<'_>) -> Result<String, TemplateError> {
        let mut variables = Vec::with_capacity(self.prelude.len());
        for (variable, field) in self.prelude {
            let value = match data {
                Value::Map(map) => map.get(field),
                Value::Struct(s) => s.get(field).cloned().unwrap_or_default(),
                _ => Value::Nil,
            };
            variables.push((*variable, value));
        }
        let found = exec::Templates { own: &self.trees, set: None };
        exec::execute(found, &self.name, data, variables, context, Kind::Text)
    }

    /// Runs the template beside those of a set, which it may call. As [`Kind::Html`], what actions give is escaped as
    /// it must be where it stands.
    pub fn execute_in(
        &self,
        set: &Set,
        data: &Value,
        context: &Context<'_>,
        kind: Kind,
    ) -> Result<String, TemplateError> {
        let found = exec::Templates { own: &self.trees, set: Some(set) };
        exec::execute(found, &self.name, data, Vec::new(), context, kind)
    }
}

/// What a template gives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Text,
    Html,
}
