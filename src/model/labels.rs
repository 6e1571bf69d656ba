//! Label sets: sorted, immutable, cheap to clone, two allocations each.

use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// The label that holds a series' metric name.
pub const METRIC_NAME: &str = "__name__";

/// A label set: pairs of name and value, sorted by name, names unique, no empty values.
///
/// An empty value means that the label is not there, as everywhere in Prometheus.
#[derive(Clone)]
pub struct Labels(Arc<Repr>);

/// All names and values one after the other, and where each ends.
#[derive(PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Repr {
    text: Box<str>,
    ends: Box<[u32]>,
}

impl Labels {
    pub fn empty() -> Labels {
        Labels(Arc::new(Repr { text: "".into(), ends: Box::new([]) }))
    }

    /// From pairs in any order; of two pairs with one name the later wins, empty values are dropped.
    pub fn from_pairs<N: AsRef<str>, V: AsRef<str>>(pairs: impl IntoIterator<Item = (N, V)>) -> Labels {
        let mut b = LabelsBuilder::default();
        for (n, v) in pairs {
            b.set(n.as_ref(), v.as_ref());
        }
        b.build()
    }

    pub fn len(&self) -> usize {
        self.0.ends.len() / 2
    }

    pub fn is_empty(&self) -> bool {
        self.0.ends.is_empty()
    }

    /// Pairs in order of name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> + Clone + '_ {
        let mut start = 0;
        let pair = move |ends: &[u32]| {
            let [name_end, value_end] = *ends else { return ("", "") };
            let (name, value) = (start..name_end as usize, name_end as usize..value_end as usize);
            start = value.end;
            (self.0.text.get(name).unwrap_or(""), self.0.text.get(value).unwrap_or(""))
        };
        self.0.ends.chunks_exact(2).map(pair)
    }

    /// The label's value; `""` when it is not there.
    pub fn get(&self, name: &str) -> &str {
        // Label sets are short: a scan beats a binary search over slices.
        self.iter().find(|(n, _)| *n == name).map_or("", |(_, v)| v)
    }

    pub fn has(&self, name: &str) -> bool {
        self.iter().any(|(n, _)| n == name)
    }

    /// The metric name; `""` when there is none.
    pub fn metric_name(&self) -> &str {
        self.get(METRIC_NAME)
    }

    /// A builder that starts from this set.
    pub fn builder(&self) -> LabelsBuilder {
        LabelsBuilder { pairs: self.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect() }
    }

    /// From pairs in order of name, each name once, without empty values.
    fn from_sorted<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)> + Clone) -> Labels {
        let mut text = String::with_capacity(pairs.clone().map(|(n, v)| n.len() + v.len()).sum());
        let mut ends = Vec::with_capacity(pairs.clone().count() * 2);
        for (name, value) in pairs {
            text.push_str(name);
            ends.push(text.len() as u32);
            text.push_str(value);
            ends.push(text.len() as u32);
        }
        Labels(Arc::new(Repr { text: text.into(), ends: ends.into() }))
    }

    /// The labels whose names pass.
    pub fn only(&self, pass: impl Fn(&str) -> bool) -> Labels {
        Labels::from_sorted(self.iter().filter(|(name, _)| pass(name)))
    }

    /// With those of `others` that are not there.
    pub fn or(&self, others: &Labels) -> Labels {
        let mut missing = others.iter().filter(|(name, _)| !self.has(name)).peekable();
        if missing.peek().is_none() {
            return self.clone();
        }
        let mut all: Vec<(&str, &str)> = self.iter().chain(missing).collect();
        all.sort_unstable();
        Labels::from_sorted(all.iter().copied())
    }

    /// Without the metric name.
    pub fn without_name(&self) -> Labels {
        if !self.has(METRIC_NAME) {
            return self.clone();
        }
        let mut b = self.builder();
        b.remove(METRIC_NAME);
        b.build()
    }

    /// Bytes on the heap.
    pub fn heap_size(&self) -> usize {
        self.0.text.len() + 4 * self.0.ends.len() + 48
    }
}

impl Default for Labels {
    fn default() -> Self {
        Labels::empty()
    }
}

impl PartialEq for Labels {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

impl Eq for Labels {}

impl Hash for Labels {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Labels {
    /// Pair by pair, name before value, as Prometheus compares label sets.
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        if Arc::ptr_eq(&self.0, &other.0) {
            return std::cmp::Ordering::Equal;
        }
        self.iter().cmp(other.iter())
    }
}

impl fmt::Display for Labels {
    /// `name{a="1", b="2"}`, as Prometheus prints a metric.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.metric_name();
        f.write_str(name)?;
        let mut others = self.iter().filter(|(n, _)| *n != METRIC_NAME).peekable();
        if others.peek().is_none() {
            return f.write_str(if name.is_empty() { "{}" } else { "" });
        }
        f.write_str("{")?;
        for (i, (n, v)) in others.enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{n}=\"{}\"", escape_label_value(v))?;
        }
        f.write_str("}")
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Collects pairs for a [`Labels`].
#[derive(Clone, Default, Debug)]
pub struct LabelsBuilder {
    pairs: Vec<(String, String)>,
}

impl LabelsBuilder {
    /// Sets a label; an empty value removes it.
    pub fn set(&mut self, name: &str, value: &str) -> &mut Self {
        match self.pairs.iter_mut().find(|(n, _)| n == name) {
            Some(pair) => pair.1 = value.to_string(),
            None => self.pairs.push((name.to_string(), value.to_string())),
        }
        self
    }

    pub fn remove(&mut self, name: &str) -> &mut Self {
        self.pairs.retain(|(n, _)| n != name);
        self
    }

    /// Keeps the labels whose names pass.
    pub fn retain(&mut self, mut keep: impl FnMut(&str) -> bool) -> &mut Self {
        self.pairs.retain(|(n, _)| keep(n));
        self
    }

    pub fn get(&self, name: &str) -> &str {
        self.pairs.iter().find(|(n, _)| n == name).map_or("", |(_, v)| v)
    }

    pub fn build(mut self) -> Labels {
        self.pairs.retain(|(_, v)| !v.is_empty());
        self.pairs.sort_unstable();
        Labels::from_sorted(self.pairs.iter().map(|(n, v)| (n.as_str(), v.as_str())))
    }
}

/// Escapes a label value for the text formats: backslash, double quote and line feed.
pub fn escape_label_value(value: &str) -> Cow<'_, str> {
    if !value.bytes().any(|b| matches!(b, b'\\' | b'"' | b'\n')) {
        return Cow::Borrowed(value);
    }
    let mut out = String::with_capacity(value.len() + 8);
    for c in value.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_sorted_and_empty_values_are_absent() {
        let l = Labels::from_pairs([("b", "2"), ("__name__", "m"), ("a", "1"), ("c", "")]);
        assert_eq!(l.to_string(), "m{a=\"1\", b=\"2\"}");
        assert_eq!((l.len(), l.get("c"), l.has("c")), (3, "", false));
        assert_eq!(l.without_name().to_string(), "{a=\"1\", b=\"2\"}");
    }

    #[test]
    fn equal_sets_are_equal_however_they_were_built() {
        let a = Labels::from_pairs([("x", "1"), ("y", "2")]);
        let b = Labels::from_pairs([("y", "0"), ("x", "1"), ("y", "2")]);
        assert_eq!(a, b);
        assert!(a < Labels::from_pairs([("x", "2")]));
    }

    #[test]
    fn some_labels_are_taken_and_those_that_are_missing_added() {
        let a = Labels::from_pairs([("a", "1"), ("c", "3"), ("d", "4")]);
        assert_eq!(a.only(|name| name != "c"), Labels::from_pairs([("a", "1"), ("d", "4")]));
        assert_eq!(a.only(|_| false), Labels::empty());
        let more = Labels::from_pairs([("b", "2"), ("c", "0"), ("e", "5")]);
        let both = a.or(&more);
        assert_eq!(both.to_string(), r#"{a="1", b="2", c="3", d="4", e="5"}"#);
        assert_eq!((both.or(&more), Labels::empty().or(&a)), (both, a));
    }
}
