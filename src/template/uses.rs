//! Which fields of its data a template asks for, so that only those need be made.

use std::sync::Arc;

use super::ast::{Branch, Command, Expr, ExprKind, Node, Pipe};
use super::parse::Tree;
use super::{TemplateError, Value};

/// What a template asks of its data.
#[derive(Clone, Default, Debug)]
pub struct Uses {
    /// The data as a whole is printed, stored or handed on: any field may be asked for.
    pub whole: bool,
    pub fields: Vec<FieldUse>,
    /// The texts in it that stand in quotes: what it queries is among them.
    pub quoted: Vec<Arc<str>>,
}

/// A field of the data, `.a.b`, and where it stands in the text.
#[derive(Clone, Debug)]
pub struct FieldUse {
    pub path: Vec<String>,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
}

impl Uses {
    /// Whether this field of the data may be asked for.
    pub fn field(&self, name: &str) -> bool {
        self.whole || self.fields.iter().any(|f| f.path.first().is_some_and(|first| first == name))
    }
}

pub(super) fn of(tree: &Tree) -> Uses {
    let mut walk = Walk { text: &tree.source.text, uses: Uses::default() };
    walk.nodes(&tree.body, true);
    walk.uses
}

/// A template that another one calls by name, and where it does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Call {
    pub name: String,
    /// The file that the call stands in; none for a text that stands elsewhere.
    pub file: Option<Arc<str>>,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
}

/// The templates that a template calls.
pub(super) fn calls(tree: &Tree) -> Vec<Call> {
    let mut calls = Vec::new();
    add_calls(tree, &tree.body, &mut calls);
    calls
}

fn add_calls(tree: &Tree, nodes: &[Node], calls: &mut Vec<Call>) {
    for node in nodes {
        match node {
            Node::If(branch) | Node::With(branch) | Node::Range(branch) => {
                add_calls(tree, &branch.body, calls);
                add_calls(tree, &branch.otherwise, calls);
            }
            Node::Template { at, name, .. } => {
                let TemplateError { file, line, column, .. } = TemplateError::of(&tree.source, *at, String::new());
                calls.push(Call { name: name.clone(), file, line, column });
            }
            Node::Text(_) | Node::Action(_) | Node::Break | Node::Continue => {}
        }
    }
}

struct Walk<'a> {
    text: &'a str,
    uses: Uses,
}

impl Walk<'_> {
    /// `root`: whether the dot is the data.
    fn nodes(&mut self, nodes: &[Node], root: bool) {
        for node in nodes {
            match node {
                Node::Text(_) | Node::Break | Node::Continue => {}
                Node::Action(pipe) => self.pipe(pipe, root),
                Node::If(branch) => self.branch(branch, root, root),
                Node::With(branch) | Node::Range(branch) => self.branch(branch, root, false),
                Node::Template { data, .. } => {
                    if let Some(pipe) = data {
                        self.pipe(pipe, root);
                    }
                }
            }
        }
    }

    fn branch(&mut self, branch: &Branch, root: bool, root_within: bool) {
        self.pipe(&branch.pipe, root);
        self.nodes(&branch.body, root_within);
        self.nodes(&branch.otherwise, root);
    }

    fn pipe(&mut self, pipe: &Pipe, root: bool) {
        for Command { first, args } in &pipe.commands {
            std::iter::once(first).chain(args).for_each(|expr| self.expr(expr, root));
        }
    }

    fn expr(&mut self, expr: &Expr, root: bool) {
        match &expr.kind {
            ExprKind::Dot => self.uses.whole |= root,
            ExprKind::Field(path) if root => self.field(expr.at, path),
            ExprKind::Variable(name, path) if name == "$" => match path.is_empty() {
                true => self.uses.whole = true,
                false => self.field(expr.at, path),
            },
            ExprKind::Chain(pipe, _) => self.pipe(pipe, root),
            ExprKind::Literal(Value::String(text)) => self.uses.quoted.push(text.clone()),
            ExprKind::Field(_)
            | ExprKind::Variable(..)
            | ExprKind::Nil
            | ExprKind::Literal(_)
            | ExprKind::Function(..) => {}
        }
    }

    fn field(&mut self, at: usize, path: &[String]) {
        let TemplateError { line, column, .. } = TemplateError::at(self.text, at, String::new());
        self.uses.fields.push(FieldUse { path: path.to_vec(), line, column });
    }
}
