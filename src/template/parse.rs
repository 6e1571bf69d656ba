//! Builds the tree of a template from its tokens.

use std::collections::HashMap;
use std::sync::Arc;

use super::ast::{Branch, Command, Expr, ExprKind, Node, Pipe};
use super::functions::Functions;
use super::lex::{Kind, Token, tokens};
use super::number::number;
use super::{TemplateError, Value};

/// How deep control structures and parentheses may be nested.
const MAX_DEPTH: usize = 100;

/// A text that templates are parsed from.
#[derive(Debug)]
pub(super) struct Source {
    /// The file it is from; none for a text that stands elsewhere.
    pub file: Option<Arc<str>>,
    pub text: String,
}

/// A parsed template.
#[derive(Debug)]
pub(super) struct Tree {
    pub body: Vec<Node>,
    /// Where the places of its nodes are.
    pub source: Arc<Source>,
}

impl Tree {
    /// Nothing but white space: it does not take the place of another of its name.
    pub fn is_empty(&self) -> bool {
        self.body.iter().all(|n| matches!(n, Node::Text(t) if t.trim().is_empty()))
    }
}

/// Templates by name.
pub(super) type Trees = HashMap<String, Arc<Tree>>;

/// Parses a text; the main template is in the result under `name`, beside those it defines. `variables` are known in
/// the main template from the start.
pub(super) fn parse(
    name: &str,
    source: &Arc<Source>,
    functions: &Functions,
    variables: &[&str],
) -> Result<Trees, TemplateError> {
    let mut parser = Parser {
        tokens: tokens(&source.text).map_err(|(at, message)| TemplateError::of(source, at, message))?,
        next: 0,
        end: source.text.len(),
        source,
        functions,
        variables: std::iter::once("$").chain(variables.iter().copied()).map(str::to_string).collect(),
        trees: Trees::new(),
        loops: 0,
        depth: 0,
    };
    let main = parser.main().and_then(|body| parser.define(0, name.to_string(), body));
    main.map_err(|(at, message)| TemplateError::of(source, at, message))?;
    Ok(parser.trees)
}

type Fault = (usize, String);

/// What ended a list of nodes.
#[derive(Clone, Copy, PartialEq)]
enum Stop {
    /// The end of the text.
    Text,
    /// `{{end}}`
    End,
    /// `{{else}}`, with what follows the word still to be read.
    Else,
}

struct Parser<'a> {
    tokens: Vec<Token>,
    next: usize,
    /// Length of the text, for errors at its end.
    end: usize,
    source: &'a Arc<Source>,
    functions: &'a Functions,
    /// Variables in scope.
    variables: Vec<String>,
    trees: Trees,
    /// Enclosing `range`s, within which `break` and `continue` mean something.
    loops: usize,
    depth: usize,
}

const KEYWORDS: [&str; 10] = ["break", "block", "continue", "define", "else", "end", "if", "range", "template", "with"];

impl Parser<'_> {
    fn peek(&self) -> Option<&Kind> {
        self.tokens.get(self.next).map(|t| &t.kind)
    }

    fn at(&self) -> usize {
        self.tokens.get(self.next).map_or(self.end, |t| t.at)
    }

    fn skip_space(&mut self) {
        while self.peek() == Some(&Kind::Space) {
            self.next += 1;
        }
    }

    fn deeper<T>(&mut self, parse: impl FnOnce(&mut Self) -> Result<T, Fault>) -> Result<T, Fault> {
        if self.depth >= MAX_DEPTH {
            return Err((self.at(), format!("nested more than {MAX_DEPTH} deep")));
        }
        self.depth += 1;
        let result = parse(self);
        self.depth -= 1;
        result
    }

    /// One text cannot define two templates of the same name, unless one of them is empty.
    fn define(&mut self, at: usize, name: String, body: Vec<Node>) -> Result<(), Fault> {
        let tree = Tree { body, source: Arc::clone(self.source) };
        match self.trees.get(&name) {
            Some(other) if !other.is_empty() && !tree.is_empty() => {
                return Err((at, format!("the template {name:?} is defined twice in this text")));
            }
            Some(other) if !other.is_empty() => {}
            _ => {
                self.trees.insert(name, Arc::new(tree));
            }
        }
        Ok(())
    }

    fn main(&mut self) -> Result<Vec<Node>, Fault> {
        let mut body = Vec::new();
        loop {
            let at = self.at();
            if self.tokens.get(self.next).is_some_and(|t| t.kind == Kind::Open) && self.word_after_open("define") {
                let name = self.quoted_name("define")?;
                self.close("define")?;
                let tree = self.separate("define", at)?;
                self.define(at, name, tree)?;
                continue;
            }
            match self.node(&mut body)? {
                None => {}
                Some(Stop::Text) => return Ok(body),
                Some(Stop::End) => return Err((at, "unexpected {{end}}".into())),
                Some(Stop::Else) => return Err((at, "unexpected {{else}}".into())),
            }
        }
    }

    /// Whether the action that begins here begins with this word; if so it is read.
    fn word_after_open(&mut self, word: &str) -> bool {
        let start = self.next;
        self.next += 1;
        self.skip_space();
        if matches!(self.peek(), Some(Kind::Word(w)) if w == word) {
            self.next += 1;
            return true;
        }
        self.next = start;
        false
    }

    /// The body of a template of its own (`define`, `block`): other variables, no loop around it.
    fn separate(&mut self, what: &str, at: usize) -> Result<Vec<Node>, Fault> {
        let variables = std::mem::replace(&mut self.variables, vec!["$".into()]);
        let loops = std::mem::take(&mut self.loops);
        let (body, end) = self.deeper(|p| p.list())?;
        self.variables = variables;
        self.loops = loops;
        match end {
            Stop::End => Ok(body),
            Stop::Else => Err((at, format!("unexpected {{{{else}}}} in {what}"))),
            Stop::Text => Err((at, format!("{what} without {{{{end}}}}"))),
        }
    }

    /// Nodes up to `end`, `else` or the end of the text.
    fn list(&mut self) -> Result<(Vec<Node>, Stop), Fault> {
        let mut nodes = Vec::new();
        let scope = self.variables.len();
        loop {
            if let Some(end) = self.node(&mut nodes)? {
                self.variables.truncate(scope);
                return Ok((nodes, end));
            }
        }
    }

    fn node(&mut self, nodes: &mut Vec<Node>) -> Result<Option<Stop>, Fault> {
        let Some(token) = self.tokens.get(self.next).cloned() else {
            return Ok(Some(Stop::Text));
        };
        self.next += 1;
        let at = token.at;
        if let Kind::Text(text) = token.kind {
            nodes.push(Node::Text(text));
            return Ok(None);
        }
        self.skip_space();
        let keyword = match self.peek() {
            Some(Kind::Word(w)) => KEYWORDS.iter().find(|k| *k == w).copied(),
            _ => None,
        };
        let Some(keyword) = keyword else {
            let pipe = self.pipe("command", false, &Kind::Close)?;
            nodes.push(Node::Action(pipe));
            return Ok(None);
        };
        self.next += 1;
        nodes.push(match keyword {
            "end" => {
                self.close("end")?;
                return Ok(Some(Stop::End));
            }
            "else" => return Ok(Some(Stop::Else)),
            "if" => Node::If(self.deeper(|p| p.branch("if", at))?),
            "with" => Node::With(self.deeper(|p| p.branch("with", at))?),
            "range" => Node::Range(self.deeper(|p| p.branch("range", at))?),
            "break" | "continue" => {
                self.close(keyword)?;
                if self.loops == 0 {
                    return Err((at, format!("{{{{{keyword}}}}} outside {{{{range}}}}")));
                }
                if keyword == "break" { Node::Break } else { Node::Continue }
            }
            "template" => {
                let name = self.quoted_name("template")?;
                self.skip_space();
                let data = match self.peek() {
                    Some(Kind::Close) => {
                        self.next += 1;
                        None
                    }
                    _ => Some(self.pipe("template clause", false, &Kind::Close)?),
                };
                Node::Template { at, name, data }
            }
            "block" => {
                let name = self.quoted_name("block")?;
                let data = self.pipe("block clause", false, &Kind::Close)?;
                let tree = self.separate("block", at)?;
                self.define(at, name.clone(), tree)?;
                Node::Template { at, name, data: Some(data) }
            }
            _ => return Err((at, format!("unexpected {{{{{keyword}}}}}: only allowed at the top level"))),
        });
        Ok(None)
    }

    /// Reads the end of an action that has nothing more to say.
    fn close(&mut self, what: &str) -> Result<(), Fault> {
        self.skip_space();
        if self.peek() == Some(&Kind::Close) {
            self.next += 1;
            return Ok(());
        }
        Err((self.at(), format!("unexpected {} in {what}", describe(self.peek()))))
    }

    fn quoted_name(&mut self, what: &str) -> Result<String, Fault> {
        self.skip_space();
        match self.peek().cloned() {
            Some(Kind::Str(name)) => {
                self.next += 1;
                Ok(name)
            }
            other => {
                Err((self.at(), format!("unexpected {} in {what}: it wants a quoted name", describe(other.as_ref()))))
            }
        }
    }

    /// What follows the word `if`, `with` or `range`, through its `end`.
    fn branch(&mut self, what: &'static str, at: usize) -> Result<Branch, Fault> {
        let scope = self.variables.len();
        let range = what == "range";
        let pipe = self.pipe(what, range, &Kind::Close)?;
        self.loops += usize::from(range);
        let (body, mut end) = self.list()?;
        self.loops -= usize::from(range);
        let mut otherwise = Vec::new();
        if end == Stop::Else {
            self.skip_space();
            let chained = matches!(self.peek(), Some(Kind::Word(w)) if w == what && !range);
            if chained {
                // `{{else if x}}` is `{{else}}{{if x}}`, and shares the `end`.
                let at = self.at();
                self.next += 1;
                let inner = self.deeper(|p| p.branch(what, at))?;
                otherwise.push(if what == "if" { Node::If(inner) } else { Node::With(inner) });
                end = Stop::End;
            } else {
                self.close("else")?;
                (otherwise, end) = self.list()?;
                if end == Stop::Else {
                    return Err((self.at(), "expected {{end}}, found a second {{else}}".into()));
                }
            }
        }
        self.variables.truncate(scope);
        if end == Stop::Text {
            return Err((at, format!("{{{{{what}}}}} without {{{{end}}}}")));
        }
        Ok(Branch { pipe, body, otherwise })
    }

    /// A pipeline, through the token that ends it.
    fn pipe(&mut self, context: &str, range: bool, end: &Kind) -> Result<Pipe, Fault> {
        self.skip_space();
        let at = self.at();
        let (variables, assign) = self.declarations(context, range)?;
        let mut commands: Vec<Command> = Vec::new();
        loop {
            self.skip_space();
            if self.peek() == Some(end) && commands.is_empty() {
                return Err((self.at(), format!("missing value for {context}")));
            }
            let at = self.at();
            let command = self.command(end)?;
            let callable = !matches!(command.first.kind, ExprKind::Dot | ExprKind::Nil | ExprKind::Literal(_));
            if !commands.is_empty() && !callable {
                return Err((at, format!("non executable command in pipeline stage {}", commands.len() + 1)));
            }
            commands.push(command);
            self.skip_space();
            let at = self.at();
            match self.peek() {
                Some(Kind::Pipe) => {
                    self.next += 1;
                    self.skip_space();
                    // Go takes a pipeline that ends with a bar.
                    if self.peek() == Some(end) {
                        self.next += 1;
                        break;
                    }
                }
                Some(k) if k == end => {
                    self.next += 1;
                    break;
                }
                other => return Err((at, format!("unexpected {} in {context}", describe(other)))),
            }
        }
        if !assign {
            self.variables.extend(variables.iter().cloned());
        }
        Ok(Pipe { at, variables, assign, commands })
    }

    /// `$x :=`, `$x =`, and in `range` also `$i, $x :=`.
    fn declarations(&mut self, context: &str, range: bool) -> Result<(Vec<String>, bool), Fault> {
        let start = self.next;
        let mut names = Vec::new();
        while let Some(Kind::Variable(name)) = self.peek().cloned() {
            let at = self.at();
            self.next += 1;
            names.push((at, name));
            self.skip_space();
            match self.peek() {
                Some(Kind::Declare) => {
                    self.next += 1;
                    return Ok((names.into_iter().map(|(_, n)| n).collect(), false));
                }
                Some(Kind::Assign) => {
                    self.next += 1;
                    for (at, name) in &names {
                        self.known(*at, name)?;
                    }
                    return Ok((names.into_iter().map(|(_, n)| n).collect(), true));
                }
                Some(Kind::Comma) if range && names.len() < 2 => {
                    self.next += 1;
                    self.skip_space();
                }
                Some(Kind::Comma) => return Err((self.at(), format!("too many declarations in {context}"))),
                _ => break,
            }
        }
        self.next = start;
        Ok((Vec::new(), false))
    }

    fn known(&self, at: usize, name: &str) -> Result<(), Fault> {
        if self.variables.iter().any(|v| v == name) {
            return Ok(());
        }
        Err((at, format!("undefined variable {name:?}")))
    }

    fn command(&mut self, end: &Kind) -> Result<Command, Fault> {
        let mut operands = Vec::new();
        loop {
            self.skip_space();
            let at = self.at();
            match self.operand()? {
                Some(operand) => operands.push(operand),
                None => {
                    return match operands.is_empty() {
                        true => Err((at, format!("unexpected {} in command", describe(self.peek())))),
                        false => Ok(split_first(operands)),
                    };
                }
            }
            match self.peek() {
                Some(Kind::Space) => {}
                Some(Kind::Pipe) => return Ok(split_first(operands)),
                Some(k) if k == end => return Ok(split_first(operands)),
                other => return Err((self.at(), format!("unexpected {} in operand", describe(other)))),
            }
        }
    }

    /// An operand with the fields that follow it without a space, or `None` where none begins.
    fn operand(&mut self) -> Result<Option<Expr>, Fault> {
        let at = self.at();
        let Some(kind) = self.peek().cloned() else { return Ok(None) };
        let mut kind = match kind {
            Kind::Dot => ExprKind::Dot,
            Kind::Field(name) => ExprKind::Field(vec![name]),
            Kind::Variable(name) => {
                self.known(at, &name)?;
                ExprKind::Variable(name, Vec::new())
            }
            Kind::Str(s) => ExprKind::Literal(s.into()),
            Kind::Char(c) => ExprKind::Literal(Value::Int(i64::from(u32::from(c)))),
            Kind::Number(n) => ExprKind::Literal(number(&n).map_err(|m| (at, m))?),
            Kind::Word(word) => match word.as_str() {
                "nil" => ExprKind::Nil,
                "true" => ExprKind::Literal(true.into()),
                "false" => ExprKind::Literal(false.into()),
                _ => match self.functions.get(&word) {
                    Some(callee) => ExprKind::Function(word, callee),
                    None if KEYWORDS.contains(&word.as_str()) => {
                        return Err((at, format!("unexpected <{word}> in command")));
                    }
                    None => return Err((at, self.functions.undefined(&word))),
                },
            },
            Kind::OpenParen => {
                self.next += 1;
                let pipe = self.deeper(|p| p.pipe("parenthesized pipeline", false, &Kind::CloseParen))?;
                // The shared path below steps over one token: the closing one.
                self.next -= 1;
                ExprKind::Chain(Box::new(pipe), Vec::new())
            }
            _ => return Ok(None),
        };
        self.next += 1;
        while let Some(Kind::Field(name)) = self.peek().cloned() {
            match &mut kind {
                ExprKind::Field(f) | ExprKind::Variable(_, f) | ExprKind::Chain(_, f) => f.push(name),
                ExprKind::Function(name, _) => {
                    return Err((self.at(), format!("unexpected . after function {name:?}: put it in parentheses")));
                }
                _ => return Err((self.at(), "unexpected . after a term".into())),
            }
            self.next += 1;
        }
        Ok(Some(Expr { at, kind }))
    }
}

fn split_first(mut operands: Vec<Expr>) -> Command {
    let first = operands.remove(0);
    Command { first, args: operands }
}

fn describe(kind: Option<&Kind>) -> String {
    match kind {
        None => "end of the template".into(),
        Some(Kind::Text(_)) => "text".into(),
        Some(Kind::Open) => "{{".into(),
        Some(Kind::Close) => "}}".into(),
        Some(Kind::Space) => "space".into(),
        Some(Kind::Field(n)) => format!("<.{n}>"),
        Some(Kind::Dot) => "<.>".into(),
        Some(Kind::Variable(n) | Kind::Word(n) | Kind::Number(n)) => format!("<{n}>"),
        Some(Kind::Str(s)) => format!("{s:?}"),
        Some(Kind::Char(c)) => format!("{c:?}"),
        Some(Kind::Pipe) => "\"|\"".into(),
        Some(Kind::Declare) => "\":=\"".into(),
        Some(Kind::Assign) => "\"=\"".into(),
        Some(Kind::Comma) => "\",\"".into(),
        Some(Kind::OpenParen) => "\"(\"".into(),
        Some(Kind::CloseParen) => "\")\"".into(),
    }
}
