//! What is expected beside what there is.

use std::cmp::Ordering;

use super::DiffLine;
use crate::model::Labels;

/// Lines of a diff that are shown; who has more wrong than that sees it in the first of them.
const MAX_LINES: usize = 200;

/// Holds two lists against each other, pairing equal labels. Nothing when all is as expected.
///
/// `same` tells whether the values of a pair are, and `show` gives the lines of one element.
pub fn difference<V>(
    expected: &mut [(Labels, V)],
    got: &mut [(Labels, V)],
    same: impl Fn(&V, &V) -> bool,
    show: impl Fn(&Labels, &V) -> Vec<String>,
) -> Option<Vec<DiffLine>> {
    expected.sort_by(|a, b| a.0.cmp(&b.0));
    got.sort_by(|a, b| a.0.cmp(&b.0));
    let (mut e, mut g) = (expected.iter().peekable(), got.iter().peekable());
    let mut lines = Vec::new();
    let mut equal = true;
    loop {
        let order = match (e.peek(), g.peek()) {
            (None, None) => break,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(e), Some(g)) => e.0.cmp(&g.0),
        };
        let expected = if order.is_le() { e.next() } else { None };
        let got = if order.is_ge() { g.next() } else { None };
        let texts = |element: Option<&(Labels, V)>| element.map(|(l, v)| show(l, v)).unwrap_or_default();
        match (expected, got) {
            (Some(e), Some(g)) if same(&e.1, &g.1) => lines.extend(texts(Some(g)).into_iter().map(DiffLine::Both)),
            _ => {
                equal = false;
                lines.extend(by_line(texts(expected), texts(got)));
            }
        }
    }
    if equal {
        return None;
    }
    if lines.len() > MAX_LINES {
        lines.retain(|line| !matches!(line, DiffLine::Both(_)));
        let more = lines.len().saturating_sub(MAX_LINES);
        lines.truncate(MAX_LINES);
        if more > 0 {
            lines.push(DiffLine::Both(format!("... and {more} lines more")));
        }
    }
    Some(lines)
}

/// The lines that both have at their beginning and end, and between them those of the one and of the other.
fn by_line(expected: Vec<String>, got: Vec<String>) -> Vec<DiffLine> {
    let pairs = || expected.iter().zip(&got);
    let start = pairs().take_while(|(e, g)| e == g).count();
    let shorter = expected.len().min(got.len());
    let ends = expected.iter().rev().zip(got.iter().rev());
    let end = ends.take(shorter - start).take_while(|(e, g)| e == g).count();
    let middle = |lines: &[String]| lines.get(start..lines.len() - end).unwrap_or_default().to_vec();
    let mut out: Vec<DiffLine> = expected.iter().take(start).cloned().map(DiffLine::Both).collect();
    out.extend(middle(&expected).into_iter().map(DiffLine::Expected));
    out.extend(middle(&got).into_iter().map(DiffLine::Got));
    out.extend(got.iter().skip(got.len() - end).cloned().map(DiffLine::Both));
    out
}
