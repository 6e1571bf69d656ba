//! The grammar: from text to a tree that knows where each of its parts stands.
//!
//! The grammar is that of Prometheus 3, what is experimental there included: duration expressions, `fill`, `anchored`
//! and `smoothed`. It is read by hand: an error has a place, and so has each part that an annotation may speak of.

mod ast;
mod lexer;
mod literal;
mod parser;
mod print;

pub use ast::*;
pub use parser::parse;
pub use print::{one_line, pretty, selector_of};

/// Bytes of one expression.
const MAX_LENGTH: usize = 64 * 1024;

/// Operators and brackets in one expression.
const MAX_OPERATORS: usize = 1000;

/// How deep brackets and signs may be nested, so that no thread runs out of stack.
const MAX_NESTING: usize = 100;
