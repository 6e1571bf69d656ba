//! Sorting: by value or by labels.

use std::cmp::Ordering;

use super::text_argument;
use crate::promql::functions::Kind;
use crate::promql::plan::Call;
use crate::promql::value::Sample;

/// The vector in the order that the function is named after.
pub fn sorted(call: &Call, mut vector: Vec<Sample>) -> Vec<Sample> {
    match call.function.kind {
        Kind::Sort => by_value(&mut vector, false),
        Kind::SortDescending => by_value(&mut vector, true),
        _ => {
            let descending = matches!(call.function.kind, Kind::SortByLabelDescending);
            by_labels(call, &mut vector, descending);
        }
    }
    vector
}

/// NaN comes last in either direction.
fn by_value(vector: &mut [Sample], descending: bool) {
    vector.sort_by(|a, b| match a.value.partial_cmp(&b.value) {
        Some(order) if descending => order.reverse(),
        Some(order) => order,
        None => a.value.is_nan().cmp(&b.value.is_nan()),
    });
}

fn by_labels(call: &Call, vector: &mut [Sample], descending: bool) {
    vector.sort_by(|a, b| {
        let names = (1..call.arguments.len()).map(|i| text_argument(call, i));
        let by_names = names.map(|l| natural_order(a.labels.get(l), b.labels.get(l)));
        let order = by_names.fold(Ordering::Equal, Ordering::then).then_with(|| a.labels.cmp(&b.labels));
        if descending { order.reverse() } else { order }
    });
}

/// Runs of digits compare as numbers: `node2` stands before `node10`, and digits before anything else.
fn natural_order(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        let (x, a_rest) = run(a);
        let (y, b_rest) = run(b);
        // Numbers that are equal are, whatever their zeros: what follows decides, and if nothing does, the text.
        let order = match (x.parse::<u64>(), y.parse::<u64>()) {
            (Ok(x), Ok(y)) => x.cmp(&y),
            _ => x.cmp(y),
        };
        if order != Ordering::Equal || x.is_empty() || y.is_empty() {
            return order;
        }
        if a_rest.is_empty() && b_rest.is_empty() {
            return x.cmp(y);
        }
        (a, b) = (a_rest, b_rest);
    }
}

/// The first run of digits or of what is none, and the rest.
fn run(text: &str) -> (&str, &str) {
    let digits = text.starts_with(|c: char| c.is_ascii_digit());
    let end = text.find(|c: char| c.is_ascii_digit() != digits).unwrap_or(text.len());
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_digits_compare_as_numbers() {
        for (less, more) in
            [("node2", "node10"), ("9", "a"), ("a", "a1"), ("", "a"), ("1.9", "1.10"), ("a1b2", "a1c1"), ("01", "2")]
        {
            assert_eq!(natural_order(less, more), Ordering::Less, "{less} {more}");
            assert_eq!(natural_order(more, less), Ordering::Greater, "{more} {less}");
        }
        assert_eq!(natural_order("x7", "x7"), Ordering::Equal);
    }
}
