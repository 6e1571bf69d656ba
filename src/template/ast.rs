//! A parsed template.

use super::Value;
use super::functions::Callee;

/// A node that writes or controls.
#[derive(Clone, Debug)]
pub(super) enum Node {
    Text(String),
    Action(Pipe),
    If(Branch),
    With(Branch),
    Range(Branch),
    Template { at: usize, name: String, data: Option<Pipe> },
    Break,
    Continue,
}

#[derive(Clone, Debug)]
pub(super) struct Branch {
    pub pipe: Pipe,
    pub body: Vec<Node>,
    pub otherwise: Vec<Node>,
}

#[derive(Clone, Debug)]
pub(super) struct Pipe {
    pub at: usize,
    /// Variables that take the result, with their `$`; two only in `range`.
    pub variables: Vec<String>,
    /// `=` instead of `:=`.
    pub assign: bool,
    /// Commands, each but the first with the result of the one before as its last argument. Never empty.
    pub commands: Vec<Command>,
}

#[derive(Clone, Debug)]
pub(super) struct Command {
    pub first: Expr,
    pub args: Vec<Expr>,
}

#[derive(Clone, Debug)]
pub(super) struct Expr {
    pub at: usize,
    pub kind: ExprKind,
}

#[derive(Clone, Debug)]
pub(super) enum ExprKind {
    Dot,
    Nil,
    Literal(Value),
    Function(String, Callee),
    /// `.a.b`
    Field(Vec<String>),
    /// `$x.a.b`
    Variable(String, Vec<String>),
    /// `(pipe).a.b`; the fields may be none.
    Chain(Box<Pipe>, Vec<String>),
}
