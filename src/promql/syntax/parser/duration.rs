//! Durations and the arithmetic with them.

use super::{POWER, Parsed, Parser};
use crate::promql::syntax::ast::*;
use crate::promql::syntax::lexer::{Kind, Token};

/// 2^63 nanoseconds, in seconds: some 292 years.
const MAX_SECONDS: f64 = 9_223_372_036.854_775;

const OPERATORS: &[(&str, u8, DurationOp)] = &[
    ("+", 4, DurationOp::Add),
    ("-", 4, DurationOp::Sub),
    ("*", 5, DurationOp::Mul),
    ("/", 5, DurationOp::Div),
    ("%", 5, DurationOp::Mod),
    ("^", POWER, DurationOp::Pow),
];

impl Parser<'_> {
    /// The duration of a range or step.
    pub(super) fn positive_duration(&mut self) -> Parsed<DurationExpr> {
        let token = self.peek();
        let duration = self.duration_expr(0)?;
        match duration {
            DurationExpr::Number(seconds) if seconds <= 0.0 => {
                self.refuse(token.offset, "duration must be greater than 0")
            }
            _ => Ok(duration),
        }
    }

    /// What stands behind `offset`: one duration with or without sign, or arithmetic in parentheses. `x offset -2 ^ 2`
    /// is `(x offset -2) ^ 2`.
    pub(super) fn offset(&mut self) -> Parsed<DurationExpr> {
        let token = self.peek();
        let signed = token.is("-") || token.is("+");
        if !signed && token.is("(") {
            return self.duration_expr(0);
        }
        if signed {
            self.take();
        }
        let duration = self.duration_primary()?;
        Ok(if token.is("-") { negated(duration) } else { duration })
    }

    fn duration_expr(&mut self, least: u8) -> Parsed<DurationExpr> {
        self.enter()?;
        let mut lhs = self.duration_unary()?;
        loop {
            let token = self.peek();
            let found = OPERATORS.iter().find(|(text, strength, _)| token.is(text) && *strength >= least);
            let Some((_, strength, op)) = found else { break };
            self.take();
            self.count_operator(token.offset)?;
            let rhs = self.duration_expr(if *strength == POWER { POWER } else { strength + 1 })?;
            match (op, &rhs) {
                (DurationOp::Div, DurationExpr::Number(0.0)) => return self.refuse(token.offset, "division by zero"),
                (DurationOp::Mod, DurationExpr::Number(0.0)) => return self.refuse(token.offset, "modulo by zero"),
                _ => lhs = DurationExpr::Pair(*op, Box::new((lhs, rhs))),
            }
        }
        self.leave();
        Ok(lhs)
    }

    fn duration_unary(&mut self) -> Parsed<DurationExpr> {
        let token = self.peek();
        if !token.is("-") && !token.is("+") {
            return self.duration_primary();
        }
        self.take();
        self.count_operator(token.offset)?;
        let inner = self.duration_expr(POWER)?;
        Ok(if token.is("-") { negated(inner) } else { inner })
    }

    fn duration_primary(&mut self) -> Parsed<DurationExpr> {
        let token = self.take();
        match token.kind {
            Kind::Number | Kind::Duration => self.duration_number(token),
            Kind::Sign if token.is("(") => {
                let inner = self.duration_expr(0)?;
                self.expect(")", "duration expression")?;
                // In parentheses a number is no literal any more: what it must be is checked when it is known.
                Ok(match inner {
                    DurationExpr::Number(_) => {
                        let zero = DurationExpr::Number(0.0);
                        DurationExpr::Pair(DurationOp::Add, Box::new((zero, inner)))
                    }
                    other => other,
                })
            }
            Kind::Word if token.is_word("step") || token.is_word("range") => {
                self.expect("(", "duration expression")?;
                self.expect(")", "duration expression")?;
                Ok(if token.is_word("step") { DurationExpr::Step } else { DurationExpr::Range })
            }
            Kind::Word if token.is_word("min_of") || token.is_word("max_of") => {
                self.expect("(", "duration expression")?;
                let first = self.duration_expr(0)?;
                self.expect(",", "duration expression")?;
                let second = self.duration_expr(0)?;
                self.expect(")", "duration expression")?;
                let op = if token.is_word("min_of") { DurationOp::Min } else { DurationOp::Max };
                Ok(DurationExpr::Pair(op, Box::new((first, second))))
            }
            _ => self.unexpected(token, "duration", "number, duration, step() or range()"),
        }
    }

    fn duration_number(&self, token: Token<'_>) -> Parsed<DurationExpr> {
        let seconds = self.number(token)?;
        if !(-MAX_SECONDS..=MAX_SECONDS).contains(&seconds) {
            return self.refuse(token.offset, format!("duration out of range: {:?} is too long", token.text));
        }
        Ok(DurationExpr::Number(seconds))
    }
}

fn negated(duration: DurationExpr) -> DurationExpr {
    match duration {
        DurationExpr::Number(seconds) => DurationExpr::Number(-seconds),
        other => DurationExpr::Negate(Box::new(other)),
    }
}

#[cfg(test)]
mod tests {
    use crate::promql::Query;

    #[test]
    fn offsets_take_one_duration_unless_there_are_parentheses() {
        for text in [
            "x offset -2 ^ 2",
            "x offset 5m + 1",
            "x offset (5m + 1m)",
            "x offset -(5m * 2)",
            "x offset step() * 2",
            "x offset max_of(step(), 5m)",
            "x[5m + 1m]",
            "x[(5m)]",
            "x[range() + 2 * step()]",
            "x[min_of(5m, 1h) : max_of(10s, step())]",
            "x[2 ^ 3 ^ 1]",
        ] {
            assert!(Query::parse(text).is_ok(), "{text}: {:?}", Query::parse(text).err());
        }
    }

    #[test]
    fn durations_that_are_none_are_refused() {
        for (text, wanted) in [
            ("x[0]", "1:3: duration must be greater than 0"),
            ("x[-5m]", "1:3: duration must be greater than 0"),
            ("x[5m / 0]", "1:6: division by zero"),
            ("x[300y]", "too long"),
            ("x offset nan", "1:10: duration out of range"),
            ("x[y]", "1:3: unexpected \"y\" in duration"),
            ("x[5m:", "unclosed \"[\""),
        ] {
            let got = Query::parse(text).unwrap_err().to_string();
            assert!(got.contains(wanted), "{text}: {got}");
        }
    }
}
