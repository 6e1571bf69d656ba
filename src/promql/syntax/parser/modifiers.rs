//! What stands behind selectors and subqueries, and behind binary operators.

use super::{Parsed, Parser};
use crate::promql::syntax::ast::*;
use crate::promql::syntax::lexer::Kind;

impl Parser<'_> {
    /// A range or a subquery of `expr`; the bracket comes next.
    pub(super) fn range(&mut self, expr: Expr) -> Parsed<Expr> {
        let open = self.take();
        let start = expr.start;
        let range = self.positive_duration()?;
        if self.take_if(":") {
            let step = if self.peek().is("]") { None } else { Some(self.positive_duration()?) };
            self.expect("]", "subquery selector")?;
            let subquery = Subquery { expr, range, step, modifiers: Modifiers::default() };
            return Ok(Expr { kind: ExprKind::Subquery(Box::new(subquery)), start });
        }
        match self.take() {
            token if token.is("]") => {}
            token => return self.unexpected(token, "subquery or range", "\":\" or \"]\""),
        }
        let ExprKind::Selector(selector) = expr.kind else {
            return self.refuse(open.offset, "ranges only allowed for vector selectors");
        };
        if selector.modifiers.offset.is_some() {
            return self.refuse(open.offset, "no offset modifiers allowed before range");
        }
        if selector.modifiers.at.is_some() {
            return self.refuse(open.offset, "no @ modifiers allowed before range");
        }
        Ok(Expr { kind: ExprKind::Matrix { selector, range }, start })
    }

    /// `offset`, `@`, `anchored` or `smoothed`, which comes next.
    pub(super) fn modifier(&mut self, mut expr: Expr) -> Parsed<Expr> {
        let token = self.take();
        let start = expr.start;
        if token.is_word("anchored") || token.is_word("smoothed") {
            let name = token.text.to_ascii_lowercase();
            let (ExprKind::Selector(selector) | ExprKind::Matrix { selector, .. }) = &mut expr.kind else {
                let message = match expr.kind {
                    ExprKind::Subquery(_) => format!("{name} modifier is not supported for subqueries"),
                    _ => format!("{name} modifier must be preceded by a selector"),
                };
                return self.refuse(start, message);
            };
            selector.anchored |= token.is_word("anchored");
            selector.smoothed |= token.is_word("smoothed");
            if selector.anchored && selector.smoothed {
                return self.refuse(start, "anchored and smoothed modifiers cannot be used together");
            }
            return Ok(expr);
        }
        let is_at = token.is("@");
        let offset = if is_at { None } else { Some(self.offset()?) };
        let at = if is_at { Some(self.at(start)?) } else { None };
        let modifiers = match &mut expr.kind {
            ExprKind::Selector(selector) | ExprKind::Matrix { selector, .. } => &mut selector.modifiers,
            ExprKind::Subquery(subquery) => &mut subquery.modifiers,
            _ => {
                let name = if is_at { "@" } else { "offset" };
                let message = format!(
                    "{name} modifier must be preceded by an instant vector selector or range vector selector or a \
                     subquery"
                );
                return self.refuse(start, message);
            }
        };
        if is_at {
            if modifiers.at.is_some() {
                return self.refuse(start, "@ <timestamp> may not be set multiple times");
            }
            modifiers.at = at;
        } else {
            if modifiers.offset.is_some() {
                return self.refuse(start, "offset may not be set multiple times");
            }
            modifiers.offset = offset;
        }
        Ok(expr)
    }

    /// What may stand behind a binary operator: `bool`, `on`, `group_left`, `fill` and their kin, in this order.
    pub(super) fn binary_modifier(&mut self) -> Parsed<BinaryModifier> {
        let mut modifier = BinaryModifier::default();
        if self.peek().is_word("bool") {
            self.take();
            modifier.return_bool = true;
        }
        for (word, is_on) in [("on", true), ("ignoring", false)] {
            if self.peek().is_word(word) {
                self.take();
                modifier.matching = Some((is_on, self.label_names()?));
                break;
            }
        }
        for (word, side) in [("group_left", Side::Left), ("group_right", Side::Right)] {
            let token = self.peek();
            if token.is_word(word) {
                if modifier.matching.is_none() {
                    return self.unexpected(token, "", "");
                }
                self.take();
                modifier.group = side;
                if self.peek().is("(") {
                    modifier.include = self.label_names()?;
                }
                break;
            }
        }
        self.fill(&mut modifier)?;
        Ok(modifier)
    }

    fn fill(&mut self, modifier: &mut BinaryModifier) -> Parsed<()> {
        // A metric may be called so as well: it is the modifier where a parenthesis follows.
        while self.peek_at(1).is("(") {
            let token = self.peek();
            let (left, right) = match token.text.to_ascii_lowercase().as_str() {
                "fill" => (true, true),
                "fill_left" => (true, false),
                "fill_right" => (false, true),
                _ => return Ok(()),
            };
            if (left && modifier.fill_left.is_some()) || (right && modifier.fill_right.is_some()) {
                return self.unexpected(token, "", "");
            }
            self.take();
            self.take();
            let sign = self.peek();
            if sign.is("-") || sign.is("+") {
                self.take();
            }
            let number = self.take();
            if !matches!(number.kind, Kind::Number | Kind::Duration) {
                return self.unexpected(number, &token.text.to_ascii_lowercase(), "number");
            }
            let value = self.number(number)? * if sign.is("-") { -1.0 } else { 1.0 };
            self.expect(")", "fill")?;
            modifier.fill_left = if left { Some(value) } else { modifier.fill_left };
            modifier.fill_right = if right { Some(value) } else { modifier.fill_right };
        }
        Ok(())
    }
}
