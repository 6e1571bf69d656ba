//! From tokens to the tree: operators by precedence, the rest by recursive descent.

use super::ast::*;
use super::lexer::{self, Kind, Token};
use super::{MAX_NESTING, MAX_OPERATORS, literal};
use crate::promql::QueryError;
use crate::promql::plan::{At, BinaryOp};

mod duration;
mod modifiers;

type Parsed<T> = Result<T, QueryError>;

const AGGREGATIONS: &[&str] = &[
    "avg",
    "bottomk",
    "count",
    "count_values",
    "group",
    "limit_ratio",
    "limitk",
    "max",
    "min",
    "quantile",
    "stddev",
    "stdvar",
    "sum",
    "topk",
];

/// Keywords that cannot be the name of a metric.
const RESERVED: &[&str] = &["atan2", "bool", "group_left", "group_right", "ignoring", "on"];

/// Parses an expression.
///
/// # Errors
///
/// What is wrong, and where.
pub fn parse(text: &str) -> Parsed<Expr> {
    let mut parser = Parser { text, tokens: lexer::tokens(text)?, next: 0, depth: 0, operators: 0 };
    if parser.peek().kind == Kind::End {
        return Err(QueryError::new("no expression found in input"));
    }
    let expr = parser.expr(0)?;
    match parser.peek() {
        token if token.kind == Kind::End => Ok(expr),
        token => parser.unexpected(token, "", ""),
    }
}

struct Parser<'t> {
    text: &'t str,
    /// The last one is the end.
    tokens: Vec<Token<'t>>,
    next: usize,
    depth: usize,
    operators: usize,
}

/// A binary operator: how it is written, how strongly it binds, what it is.
const OPERATORS: &[(&str, u8, BinaryOp)] = &[
    ("or", 1, BinaryOp::Or),
    ("and", 2, BinaryOp::And),
    ("unless", 2, BinaryOp::Unless),
    ("==", 3, BinaryOp::Eq),
    ("!=", 3, BinaryOp::Ne),
    (">", 3, BinaryOp::Gt),
    ("<", 3, BinaryOp::Lt),
    (">=", 3, BinaryOp::Ge),
    ("<=", 3, BinaryOp::Le),
    ("+", 4, BinaryOp::Add),
    ("-", 4, BinaryOp::Sub),
    ("*", 5, BinaryOp::Mul),
    ("/", 5, BinaryOp::Div),
    ("%", 5, BinaryOp::Mod),
    ("atan2", 5, BinaryOp::Atan2),
    ("^", POWER, BinaryOp::Pow),
];

/// The power binds strongest, and from the right; a sign before it applies to the whole of it.
const POWER: u8 = 6;

impl<'t> Parser<'t> {
    fn peek(&self) -> Token<'t> {
        self.peek_at(0)
    }

    fn peek_at(&self, n: usize) -> Token<'t> {
        let end = Token { kind: Kind::End, text: "", offset: self.text.len() };
        self.tokens.get(self.next + n).copied().unwrap_or(end)
    }

    fn take(&mut self) -> Token<'t> {
        let token = self.peek();
        self.next += 1;
        token
    }

    fn take_if(&mut self, sign: &str) -> bool {
        let is = self.peek().is(sign);
        self.next += usize::from(is);
        is
    }

    fn expect(&mut self, sign: &str, context: &str) -> Parsed<Token<'t>> {
        match self.take() {
            token if token.is(sign) => Ok(token),
            token => self.unexpected(token, context, &format!("{sign:?}")),
        }
    }

    fn refuse<T>(&self, offset: usize, message: impl Into<String>) -> Parsed<T> {
        Err(QueryError::at(message, self.text, offset))
    }

    fn unexpected<T>(&self, token: Token<'_>, context: &str, expected: &str) -> Parsed<T> {
        let mut message = format!("unexpected {}", token.describe());
        if !context.is_empty() {
            message += &format!(" in {context}");
        }
        if !expected.is_empty() {
            message += &format!(", expected {expected}");
        }
        self.refuse(token.offset, message)
    }

    /// Counts an operator or bracket; the tree is as deep as they nest.
    fn count_operator(&mut self, at: usize) -> Parsed<()> {
        self.operators += 1;
        if self.operators > MAX_OPERATORS {
            return self.refuse(at, "the expression has too many operators and brackets");
        }
        Ok(())
    }

    fn enter(&mut self) -> Parsed<()> {
        self.depth += 1;
        if self.depth > MAX_NESTING {
            let message = format!("the expression is nested more than {MAX_NESTING} levels deep");
            return self.refuse(self.peek().offset, message);
        }
        Ok(())
    }

    fn leave(&mut self) {
        self.depth -= 1;
    }

    /// An expression of operators that bind at least as strongly as `least`.
    fn expr(&mut self, least: u8) -> Parsed<Expr> {
        self.enter()?;
        let mut lhs = self.unary()?;
        while let Some((op, strength)) = self.operator().filter(|(_, strength)| *strength >= least) {
            let token = self.take();
            self.count_operator(token.offset)?;
            let modifier = self.binary_modifier()?;
            let rhs = self.expr(if strength == POWER { strength } else { strength + 1 })?;
            let start = lhs.start;
            let op_text = token.text.to_ascii_lowercase();
            let binary = Binary { op, op_text, op_at: token.offset, lhs, rhs, modifier };
            lhs = Expr { kind: ExprKind::Binary(Box::new(binary)), start };
        }
        let token = self.peek();
        if token.is("</") || token.is(">/") {
            let message = format!("{:?} trims native histograms, and history keeps none", token.text);
            return self.refuse(token.offset, message);
        }
        self.leave();
        Ok(lhs)
    }

    fn operator(&self) -> Option<(BinaryOp, u8)> {
        let token = self.peek();
        let is = |text: &str| token.is(text) || token.is_word(text);
        OPERATORS.iter().find(|(text, _, _)| is(text)).map(|(_, strength, op)| (*op, *strength))
    }

    fn unary(&mut self) -> Parsed<Expr> {
        let token = self.peek();
        if !token.is("+") && !token.is("-") {
            return self.postfix();
        }
        self.take();
        self.count_operator(token.offset)?;
        let negative = token.is("-");
        let inner = self.expr(POWER)?;
        let kind = match inner.kind {
            ExprKind::Number(n) => ExprKind::Number(if negative { -n } else { n }),
            _ => ExprKind::Unary { negative, expr: Box::new(inner) },
        };
        Ok(Expr { kind, start: token.offset })
    }

    /// What stands alone, and the ranges and modifiers behind it.
    fn postfix(&mut self) -> Parsed<Expr> {
        let mut expr = self.primary()?;
        loop {
            let token = self.peek();
            expr = if token.is("[") {
                self.range(expr)?
            } else if token.is("@") || ["offset", "anchored", "smoothed"].iter().any(|k| token.is_word(k)) {
                self.modifier(expr)?
            } else {
                return Ok(expr);
            };
            self.count_operator(token.offset)?;
        }
    }

    fn primary(&mut self) -> Parsed<Expr> {
        let token = self.take();
        let start = token.offset;
        let kind = match token.kind {
            Kind::Number | Kind::Duration => ExprKind::Number(self.number(token)?),
            Kind::Text => ExprKind::Text(self.string(token)?),
            Kind::Sign if token.is("(") => {
                self.count_operator(start)?;
                let inner = self.expr(0)?;
                self.expect(")", "parentheses")?;
                ExprKind::Paren(Box::new(inner))
            }
            Kind::Sign if token.is("{") => ExprKind::Selector(self.selector(None)?),
            Kind::Word => return self.named(token),
            _ => return self.unexpected(token, "", ""),
        };
        Ok(Expr { kind, start })
    }

    /// An aggregation, a call, or a selector.
    fn named(&mut self, token: Token<'t>) -> Parsed<Expr> {
        let next = self.peek();
        let is_aggregation = AGGREGATIONS.iter().any(|a| token.is_word(a));
        let kind = if is_aggregation && (next.is("(") || next.is_word("by") || next.is_word("without")) {
            ExprKind::Aggregate(Box::new(self.aggregate(token)?))
        } else if next.is("(") {
            ExprKind::Call(Call { name: token.text.to_string(), arguments: self.arguments()? })
        } else if RESERVED.iter().any(|r| token.is_word(r)) {
            return self.unexpected(token, "", "");
        } else {
            let braces = self.take_if("{");
            let name = Some(token.text.to_string());
            let empty = || VectorSelector {
                name: name.clone(),
                matchers: Vec::new(),
                modifiers: Modifiers::default(),
                anchored: false,
                smoothed: false,
            };
            ExprKind::Selector(if braces { self.selector(name)? } else { empty() })
        };
        Ok(Expr { kind, start: token.offset })
    }

    fn aggregate(&mut self, token: Token<'t>) -> Parsed<Aggregate> {
        let mut grouping = self.grouping()?;
        let arguments = self.arguments()?;
        if grouping.is_none() {
            grouping = self.grouping()?;
        }
        Ok(Aggregate { op: token.text.to_ascii_lowercase(), grouping, arguments })
    }

    fn grouping(&mut self) -> Parsed<Option<(bool, Vec<String>)>> {
        let token = self.peek();
        let without = token.is_word("without");
        if !without && !token.is_word("by") {
            return Ok(None);
        }
        self.take();
        Ok(Some((without, self.label_names()?)))
    }

    /// Expressions in parentheses.
    fn arguments(&mut self) -> Parsed<Vec<Expr>> {
        let open = self.expect("(", "call")?;
        self.count_operator(open.offset)?;
        let mut arguments = Vec::new();
        if self.take_if(")") {
            return Ok(arguments);
        }
        loop {
            arguments.push(self.expr(0)?);
            let token = self.take();
            if token.is(")") {
                return Ok(arguments);
            }
            if !token.is(",") {
                return self.unexpected(token, "call", "\",\" or \")\"");
            }
            if self.peek().is(")") {
                return self.refuse(token.offset, "trailing commas not allowed in function call args");
            }
        }
    }

    /// The matchers of a selector; its brace is taken already.
    fn selector(&mut self, name: Option<String>) -> Parsed<VectorSelector> {
        let mut matchers = Vec::new();
        while !self.take_if("}") {
            matchers.push(self.matcher()?);
            let token = self.peek();
            if token.is_word("or") {
                return self.refuse(token.offset, "`or` between label matchers is not supported");
            }
            if !token.is("}") && !self.take_if(",") {
                return self.unexpected(token, "label matching", "\",\" or \"}\"");
            }
        }
        Ok(VectorSelector { name, matchers, modifiers: Modifiers::default(), anchored: false, smoothed: false })
    }

    fn matcher(&mut self) -> Parsed<LabelMatcher> {
        const CONTEXT: &str = "label matching";
        let token = self.take();
        let name = match token.kind {
            Kind::Word => token.text.to_string(),
            Kind::Text => self.string(token)?,
            _ => return self.unexpected(token, CONTEXT, "identifier or \"}\""),
        };
        let operator = self.peek();
        if token.kind == Kind::Text && (operator.is(",") || operator.is("}")) {
            // A metric name in quotes.
            let metric = crate::model::METRIC_NAME.to_string();
            return Ok(LabelMatcher { name: metric, op: MatchOp::Equal, value: name, value_at: token.offset });
        }
        let op = match operator.text {
            "=" => MatchOp::Equal,
            "!=" => MatchOp::NotEqual,
            "=~" => MatchOp::Regex,
            "!~" => MatchOp::NotRegex,
            _ => return self.unexpected(operator, CONTEXT, "label matching operator"),
        };
        self.take();
        let value = self.take();
        if value.kind != Kind::Text {
            return self.unexpected(value, CONTEXT, "string");
        }
        Ok(LabelMatcher { name, op, value: self.string(value)?, value_at: value.offset })
    }

    /// Label names in parentheses.
    fn label_names(&mut self) -> Parsed<Vec<String>> {
        const CONTEXT: &str = "grouping opts";
        self.expect("(", CONTEXT)?;
        let mut names = Vec::new();
        while !self.take_if(")") {
            let token = self.take();
            match token.kind {
                Kind::Word if !token.is_word("without") => names.push(token.text.to_string()),
                Kind::Text => match self.string(token)? {
                    name if name.is_empty() => {
                        return self.refuse(token.offset, "invalid label name for grouping: \"\"");
                    }
                    name => names.push(name),
                },
                _ => return self.unexpected(token, CONTEXT, "label"),
            }
            let token = self.peek();
            if !token.is(")") && !self.take_if(",") {
                return self.unexpected(token, CONTEXT, "\",\" or \")\"");
            }
        }
        Ok(names)
    }

    /// A number; a duration counts as its seconds.
    fn number(&self, token: Token<'_>) -> Parsed<f64> {
        if token.kind == Kind::Duration {
            return literal::duration(token.text).or_else(|e| self.refuse(token.offset, e));
        }
        match literal::number(token.text) {
            Some(n) => Ok(n),
            None => self.refuse(token.offset, format!("bad number syntax: {:?}", token.text)),
        }
    }

    fn string(&self, token: Token<'_>) -> Parsed<String> {
        literal::unquote(token.text)
            .or_else(|e| self.refuse(token.offset, format!("{} is not a string: {e}", token.text)))
    }

    /// `@` and what follows it.
    fn at(&mut self, expr_at: usize) -> Parsed<At> {
        let token = self.take();
        for (word, at) in [("start", At::Start), ("end", At::End)] {
            if token.is_word(word) {
                self.expect("(", "@")?;
                self.expect(")", "@")?;
                return Ok(at);
            }
        }
        let negative = token.is("-");
        let token = if negative || token.is("+") { self.take() } else { token };
        if !matches!(token.kind, Kind::Number | Kind::Duration) {
            return self.unexpected(token, "@", "timestamp");
        }
        let seconds = self.number(token)? * if negative { -1.0 } else { 1.0 };
        if !seconds.is_finite() || seconds.abs() >= i64::MAX as f64 {
            return self.refuse(expr_at, format!("timestamp out of bounds for @ modifier: {seconds}"));
        }
        Ok(At::Time((seconds * 1000.0).round() as i64))
    }
}
