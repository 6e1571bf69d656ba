//! Runs a parsed template on data.

use std::sync::Arc;

use super::ast::{Branch, Command, Expr, ExprKind, Node, Pipe};
use super::format::{self, Sink};
use super::functions::Callee;
use super::html::{Escaper, Out};
use super::lex::Fault;
use super::parse::{Source, Tree, Trees};
use super::{Context, Kind, Set, TemplateError, Value, methods};

/// How deep templates may call one another.
const MAX_CALLS: usize = 50;

/// What a list of nodes ended with.
#[derive(Clone, Copy, PartialEq)]
enum Flow {
    On,
    Break,
    Continue,
}

/// Where templates are found by name.
#[derive(Clone, Copy)]
pub(super) struct Templates<'a> {
    /// Those of the text itself come first.
    pub own: &'a Trees,
    pub set: Option<&'a Set>,
}

impl<'a> Templates<'a> {
    /// As in Go an empty template does not take the place of another one.
    fn get(self, name: &str) -> Option<&'a Tree> {
        let own = self.own.get(name).map(|tree| &**tree);
        own.filter(|tree| !tree.is_empty()).or_else(|| self.set.and_then(|set| set.get(name))).or(own)
    }
}

/// Runs the template `name` with `data` as its dot and as `$`, and `variables` set.
pub(super) fn execute(
    templates: Templates<'_>,
    name: &str,
    data: &Value,
    variables: Vec<(&str, Value)>,
    context: &Context<'_>,
    kind: Kind,
) -> Result<String, TemplateError> {
    let mut run = Run { templates, context, steps: 0, calls: 0, failed: None };
    let mut out = Out::new(context.limits.output, kind);
    match run.template(0, name, data, variables, &mut out) {
        Ok(()) => Ok(out.into_string()),
        Err((at, message)) => Err(match run.failed {
            Some(source) => TemplateError::of(source, at, message),
            None => TemplateError::at("", 0, message),
        }),
    }
}

struct Run<'a> {
    templates: Templates<'a>,
    context: &'a Context<'a>,
    steps: usize,
    calls: usize,
    /// The text in which it failed.
    failed: Option<&'a Source>,
}

/// The variables of one template's execution, the innermost last.
struct Scope<'n>(Vec<(&'n str, Value)>);

impl<'a> Run<'a> {
    fn template<'n>(
        &mut self,
        at: usize,
        name: &str,
        data: &Value,
        variables: Vec<(&'n str, Value)>,
        out: &mut Out,
    ) -> Result<(), Fault>
    where
        'a: 'n,
    {
        let Some(tree) = self.templates.get(name) else {
            return Err((at, format!("template {name:?} not defined")));
        };
        if self.calls >= MAX_CALLS {
            return Err((at, format!("templates call one another more than {MAX_CALLS} deep")));
        }
        self.calls += 1;
        let mut scope = Scope(std::iter::once(("$", data.clone())).chain(variables).collect());
        let result = self.list(&tree.body, data, &mut scope, out);
        self.calls -= 1;
        if result.is_err() && self.failed.is_none() {
            self.failed = Some(&tree.source);
        }
        result.map(drop)
    }

    /// Charges the work budget.
    fn charge(&mut self, at: usize, cost: usize) -> Result<(), Fault> {
        self.steps = self.steps.saturating_add(cost);
        if self.steps > self.context.limits.steps {
            return Err((at, format!("takes more than {} steps", self.context.limits.steps)));
        }
        Ok(())
    }

    fn list<'n>(&mut self, nodes: &'n [Node], dot: &Value, scope: &mut Scope<'n>, out: &mut Out) -> Result<Flow, Fault>
    where
        'a: 'n,
    {
        let mark = scope.0.len();
        let mut flow = Flow::On;
        for node in nodes {
            flow = self.node(node, dot, scope, out)?;
            if flow != Flow::On {
                break;
            }
        }
        scope.0.truncate(mark);
        Ok(flow)
    }

    fn node<'n>(&mut self, node: &'n Node, dot: &Value, scope: &mut Scope<'n>, out: &mut Out) -> Result<Flow, Fault>
    where
        'a: 'n,
    {
        match node {
            Node::Text(text) => {
                out.text(text).map_err(|m| (0, m))?;
            }
            Node::Action(pipe) => {
                if pipe.variables.is_empty() {
                    let escaper = if out.is_html() { Escaper::of(pipe) } else { None };
                    let value = match escaper {
                        Some(_) => self.before_escaper(pipe, dot, scope)?,
                        None => self.unassigned(pipe, dot, scope)?,
                    };
                    out.value(&value, escaper).map_err(|m| (pipe.at, m))?;
                } else {
                    self.pipe(pipe, dot, scope)?;
                }
            }
            Node::If(branch) | Node::With(branch) => {
                let mark = scope.0.len();
                let value = self.pipe(&branch.pipe, dot, scope)?;
                let inner = if matches!(node, Node::With(_)) { &value } else { dot };
                let flow = match value.is_true() {
                    true => self.list(&branch.body, inner, scope, out)?,
                    false => self.list(&branch.otherwise, dot, scope, out)?,
                };
                scope.0.truncate(mark);
                return Ok(flow);
            }
            Node::Range(branch) => {
                let mark = scope.0.len();
                let flow = self.range(branch, dot, scope, out)?;
                scope.0.truncate(mark);
                return Ok(flow);
            }
            Node::Template { at, name, data } => {
                let data = match data {
                    Some(pipe) => self.pipe(pipe, dot, scope)?,
                    None => Value::Nil,
                };
                self.charge(*at, 1)?;
                self.template(*at, name, &data, Vec::new(), out)?;
            }
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::On)
    }

    fn range<'n>(
        &mut self,
        branch: &'n Branch,
        dot: &Value,
        scope: &mut Scope<'n>,
        out: &mut Out,
    ) -> Result<Flow, Fault>
    where
        'a: 'n,
    {
        let at = branch.pipe.at;
        let value = self.unassigned(&branch.pipe, dot, scope)?;
        let mut any = false;
        let mut each = |run: &mut Self, key: Value, item: Value, out: &mut Out| -> Result<Flow, Fault> {
            any = true;
            run.charge(at, 1)?;
            let mark = scope.0.len();
            let values = match branch.pipe.variables.len() {
                2 => vec![key, item.clone()],
                _ => vec![item.clone()],
            };
            for (name, value) in branch.pipe.variables.iter().zip(values) {
                scope.set(name, value, branch.pipe.assign);
            }
            let flow = run.list(&branch.body, &item, scope, out)?;
            scope.0.truncate(mark);
            Ok(flow)
        };
        match value.plain() {
            Value::List(items) => {
                for (i, item) in items.iter().enumerate() {
                    if each(self, Value::Int(i as i64), item.clone(), out)? == Flow::Break {
                        break;
                    }
                }
            }
            Value::Map(map) => {
                for (key, item) in &map.entries {
                    if each(self, Value::String(key.clone()), item.clone(), out)? == Flow::Break {
                        break;
                    }
                }
            }
            Value::Int(n) => {
                if branch.pipe.variables.len() > 1 {
                    return Err((at, format!("range over {n} can't use two variables")));
                }
                for i in 0..*n {
                    if each(self, Value::Int(i), Value::Int(i), out)? == Flow::Break {
                        break;
                    }
                }
            }
            Value::Nil => {}
            other => {
                let mut shown = Sink::new(64);
                // A value too long to show is named by its type alone.
                let shown = match format::print(&mut shown, std::slice::from_ref(other)) {
                    Ok(()) => shown.into_string(),
                    Err(_) => other.type_name().to_string(),
                };
                return Err((at, format!("range can't iterate over {shown}")));
            }
        }
        if !any {
            return self.list(&branch.otherwise, dot, scope, out);
        }
        Ok(Flow::On)
    }

    /// A pipeline's value, with its variables set.
    fn pipe<'n>(&mut self, pipe: &'n Pipe, dot: &Value, scope: &mut Scope<'n>) -> Result<Value, Fault>
    where
        'a: 'n,
    {
        let value = self.unassigned(pipe, dot, scope)?;
        for name in &pipe.variables {
            scope.set(name, value.clone(), pipe.assign);
        }
        Ok(value)
    }

    fn unassigned<'n>(&mut self, pipe: &'n Pipe, dot: &Value, scope: &mut Scope<'n>) -> Result<Value, Fault>
    where
        'a: 'n,
    {
        let mut last = None;
        for command in &pipe.commands {
            last = Some(self.command(command, last, dot, scope)?);
        }
        Ok(last.unwrap_or_default())
    }

    /// What a pipeline that ends with an escaper gives to it.
    fn before_escaper<'n>(&mut self, pipe: &'n Pipe, dot: &Value, scope: &mut Scope<'n>) -> Result<Value, Fault>
    where
        'a: 'n,
    {
        let Some((escaper, before)) = pipe.commands.split_last() else { return Ok(Value::Nil) };
        let mut last = None;
        for command in before {
            last = Some(self.command(command, last, dot, scope)?);
        }
        let mut args = Vec::with_capacity(escaper.args.len() + 1);
        for arg in &escaper.args {
            args.push(self.argument(arg, dot, scope)?);
        }
        args.extend(last);
        match args.as_slice() {
            [value] => Ok(value.clone()),
            values => {
                let mut out = Sink::new(self.context.limits.output);
                format::print(&mut out, values).map_err(|m| (pipe.at, m))?;
                Ok(out.into_string().into())
            }
        }
    }

    fn command<'n>(
        &mut self,
        command: &'n Command,
        last: Option<Value>,
        dot: &Value,
        scope: &mut Scope<'n>,
    ) -> Result<Value, Fault>
    where
        'a: 'n,
    {
        let first = &command.first;
        match &first.kind {
            ExprKind::Function(name, callee) => {
                return self.call(first.at, name, *callee, &command.args, last, dot, scope);
            }
            ExprKind::Nil => return Err((first.at, "nil is not a command".into())),
            _ => {}
        }
        let plain = command.args.is_empty() && last.is_none();
        let (mut value, fields) = self.root(first, dot, scope)?;
        let Some((method, path)) = fields.split_last().filter(|_| !plain) else {
            if !plain {
                return Err((first.at, "can't give argument to non-function".into()));
            }
            return self.fields(first.at, value, fields);
        };
        // Arguments are for the last of the fields, which then is a method.
        value = self.fields(first.at, value, path)?;
        let mut args = Vec::with_capacity(command.args.len() + 1);
        for arg in &command.args {
            args.push(self.argument(arg, dot, scope)?);
        }
        args.extend(last);
        methods::call(&value, method, &args).map_err(|m| (first.at, m))
    }

    /// What an operand starts from, and the fields it then takes.
    fn root<'n>(&mut self, expr: &'n Expr, dot: &Value, scope: &mut Scope<'n>) -> Result<(Value, &'n [String]), Fault>
    where
        'a: 'n,
    {
        self.charge(expr.at, 1)?;
        Ok(match &expr.kind {
            ExprKind::Dot => (dot.clone(), &[]),
            ExprKind::Nil => (Value::Nil, &[]),
            ExprKind::Literal(value) => (value.clone(), &[]),
            ExprKind::Field(fields) => (dot.clone(), fields),
            ExprKind::Variable(name, fields) => match scope.0.iter().rev().find(|(n, _)| n == name) {
                Some((_, value)) => (value.clone(), fields),
                None => return Err((expr.at, format!("undefined variable: {name}"))),
            },
            ExprKind::Chain(pipe, fields) => (self.pipe(pipe, dot, scope)?, fields),
            ExprKind::Function(name, callee) => (self.call(expr.at, name, *callee, &[], None, dot, scope)?, &[]),
        })
    }

    fn argument<'n>(&mut self, expr: &'n Expr, dot: &Value, scope: &mut Scope<'n>) -> Result<Value, Fault>
    where
        'a: 'n,
    {
        let (value, fields) = self.root(expr, dot, scope)?;
        self.fields(expr.at, value, fields)
    }

    fn fields(&mut self, at: usize, mut value: Value, fields: &[String]) -> Result<Value, Fault> {
        for field in fields {
            self.charge(at, 1)?;
            value = methods::field(&value, field).map_err(|m| (at, m))?;
        }
        Ok(value)
    }

    #[allow(clippy::too_many_arguments, reason = "a call is its name, its arguments and where it stands")]
    fn call<'n>(
        &mut self,
        at: usize,
        name: &str,
        callee: Callee,
        exprs: &'n [Expr],
        last: Option<Value>,
        dot: &Value,
        scope: &mut Scope<'n>,
    ) -> Result<Value, Fault>
    where
        'a: 'n,
    {
        let count = exprs.len() + usize::from(last.is_some());
        let wrong = |want: String| (at, format!("wrong number of args for {name}: want {want} got {count}"));
        if let Callee::And | Callee::Or = callee {
            if count == 0 {
                return Err(wrong("at least 1".into()));
            }
            let ends_with = matches!(callee, Callee::Or);
            let mut value = Value::Nil;
            for expr in exprs {
                value = self.argument(expr, dot, scope)?;
                if value.is_true() == ends_with {
                    return Ok(value);
                }
            }
            return Ok(last.unwrap_or(value));
        }
        let mut args = Vec::with_capacity(count);
        for expr in exprs {
            args.push(self.argument(expr, dot, scope)?);
        }
        args.extend(last);
        let value = match callee {
            Callee::Plain { function, least, most } => {
                if count < least || most.is_some_and(|most| count > most) {
                    return Err(wrong(match most {
                        Some(most) if most == least => most.to_string(),
                        Some(most) => format!("{least} to {most}"),
                        None => format!("at least {least}"),
                    }));
                }
                function(&args, self.context).map_err(|m| (at, format!("error calling {name}: {m}")))?
            }
            Callee::Template => {
                let [Value::String(template), data] = args.as_slice() else {
                    return Err((at, format!("{name} wants the name of a template and its data")));
                };
                let template: Arc<str> = template.clone();
                let mut out = Out::new(self.context.limits.output, Kind::Text);
                self.template(at, &template, data, Vec::new(), &mut out)?;
                out.into_string().into()
            }
            // Both returned above.
            Callee::And | Callee::Or => Value::Nil,
        };
        self.charge(at, 1 + value.weight())?;
        Ok(value)
    }
}

impl<'n> Scope<'n> {
    /// Declares a variable, or assigns to the innermost one of its name.
    fn set(&mut self, name: &'n str, value: Value, assign: bool) {
        if assign && let Some(found) = self.0.iter_mut().rev().find(|(n, _)| *n == name) {
            found.1 = value;
            return;
        }
        self.0.push((name, value));
    }
}
