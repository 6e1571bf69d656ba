//! Paths into a JSON document: the plain part of JSONPath, and dots as jq and gjson have them.
//!
//! `$.disks[0].used`, `.disks[0].used` and `disks[0].used` are the same. `['a name']` is a key that has other characters
//! than letters, digits, `_` and `-`; `[-1]` is the last item of a list; `[*]` or `.*` are all items of a list or all
//! values of an object. `$` alone is the document itself.

use std::fmt;

use serde_json::Value;

use crate::yaml::{Faults, FromYaml, Node};

/// A path.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct JsonPath {
    /// As it was written.
    text: String,
    steps: Vec<Step>,
}

impl fmt::Display for JsonPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.text.is_empty() { "$" } else { &self.text })
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Step {
    Key(String),
    /// From the end when negative: -1 is the last.
    Index(i64),
    All,
}

/// A value that a path has led to.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Found<'v> {
    pub value: &'v Value,
    /// Where the last `*` of the path has found it: a key of an object, or the index in a list.
    pub place: Place<'v>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place<'v> {
    None,
    Key(&'v str),
    Index(usize),
}

impl JsonPath {
    /// # Errors
    /// What is wrong with the text.
    pub fn parse(text: &str) -> Result<JsonPath, String> {
        let mut rest = text.trim();
        rest = rest.strip_prefix('$').unwrap_or(rest);
        let mut steps = Vec::new();
        // The first key needs no dot.
        if rest.starts_with(|c: char| c != '.' && c != '[') {
            if text.trim().starts_with('$') {
                return Err(format!("not a path: expected . or [ behind $ in {text:?}"));
            }
            rest = key(rest, &mut steps)?;
        }
        while !rest.is_empty() {
            rest = if let Some(behind) = rest.strip_prefix("[") {
                bracket(behind, &mut steps)?
            } else if let Some(behind) = rest.strip_prefix('.') {
                // jq's `.` is the document itself.
                if behind.is_empty() && steps.is_empty() { behind } else { key(behind, &mut steps)? }
            } else {
                return Err(format!("not a path: expected . or [ before {rest:?}"));
            };
        }
        Ok(JsonPath { text: text.trim().to_string(), steps })
    }

    /// Whether it may lead to several values.
    pub fn is_many(&self) -> bool {
        self.steps.contains(&Step::All)
    }

    /// This path, and from there to all items.
    pub fn items(mut self) -> JsonPath {
        if self.steps.last() != Some(&Step::All) {
            self.steps.push(Step::All);
        }
        self
    }

    /// The one value it leads to, if that is there.
    pub fn one<'v>(&self, value: &'v Value) -> Option<&'v Value> {
        self.steps.iter().try_fold(value, |value, step| step.one(value))
    }

    /// All values it leads to, in the order of the document.
    pub fn all<'v>(&self, value: &'v Value) -> Vec<Found<'v>> {
        let mut found = vec![Found { value, place: Place::None }];
        for step in &self.steps {
            found = match (step, &*found) {
                (Step::All, _) => found.iter().flat_map(|found| children(found.value)).collect(),
                (step, found) => {
                    let go = |found: &Found<'v>| Some(Found { value: step.one(found.value)?, ..*found });
                    found.iter().filter_map(go).collect()
                }
            };
        }
        found
    }
}

impl Step {
    fn one<'v>(&self, value: &'v Value) -> Option<&'v Value> {
        match (self, value) {
            (Step::Key(key), Value::Object(object)) => object.get(key),
            (Step::Index(index), Value::Array(list)) => {
                let place = match usize::try_from(*index) {
                    Ok(index) => index,
                    Err(_) => list.len().checked_sub(usize::try_from(index.unsigned_abs()).ok()?)?,
                };
                list.get(place)
            }
            // gjson's way to write an index.
            (Step::Key(key), Value::Array(list)) => list.get(key.parse::<usize>().ok()?),
            _ => None,
        }
    }
}

fn children(value: &Value) -> Vec<Found<'_>> {
    match value {
        Value::Array(list) => {
            list.iter().enumerate().map(|(i, value)| Found { value, place: Place::Index(i) }).collect()
        }
        Value::Object(object) => object.iter().map(|(key, value)| Found { value, place: Place::Key(key) }).collect(),
        _ => Vec::new(),
    }
}

/// Takes a key without brackets; gives what is behind it.
fn key<'t>(text: &'t str, steps: &mut Vec<Step>) -> Result<&'t str, String> {
    if let Some(rest) = text.strip_prefix('*') {
        steps.push(Step::All);
        return Ok(rest);
    }
    let part = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    let end = text.find(|c: char| !part(c)).unwrap_or(text.len());
    let (key, rest) = text.split_at(end);
    if key.is_empty() {
        return Err(match rest.chars().next() {
            None => "not a path: expected a key at the end".to_string(),
            Some(c) => format!("not a path: expected a key, found {c:?}; other characters stand in ['…']"),
        });
    }
    steps.push(Step::Key(key.to_string()));
    Ok(rest)
}

/// Takes what stands in brackets, the first of which has been taken.
fn bracket<'t>(text: &'t str, steps: &mut Vec<Step>) -> Result<&'t str, String> {
    let no_end = || format!("not a path: no ] behind [{text}");
    if let Some(quote) = text.chars().next().filter(|c| matches!(c, '\'' | '"')) {
        let inner = text.strip_prefix(quote).unwrap_or_default();
        let (key, rest) = inner.split_once(quote).ok_or_else(|| format!("not a path: no {quote} behind [{text}"))?;
        steps.push(Step::Key(key.to_string()));
        return rest.strip_prefix(']').ok_or_else(no_end);
    }
    let (inner, rest) = text.split_once(']').ok_or_else(no_end)?;
    steps.push(match inner.trim() {
        "*" => Step::All,
        number => {
            Step::Index(number.parse().map_err(|_| {
                format!("not a path: expected a number, * or a key in quotes within [], found {inner:?}")
            })?)
        }
    });
    Ok(rest)
}

impl FromYaml for JsonPath {
    fn from_yaml(node: &Node, faults: &mut Faults) -> Option<Self> {
        let Some(text) = node.as_str() else {
            faults.unexpected(node, "a path, such as $.disks[0].used");
            return None;
        };
        JsonPath::parse(text).map_err(|fault| faults.error(node.at, fault)).ok()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fuzz::Fuzz;

    fn path(text: &str) -> JsonPath {
        JsonPath::parse(text).unwrap_or_else(|fault| panic!("{fault}"))
    }

    #[test]
    fn a_path_leads_to_a_value_however_it_is_written() {
        let value = json!({"disks": [{"used": 5, "a b": 6}, {"used": 7}], "0": 8, "x-y": 9});
        for text in ["$.disks[0].used", ".disks[0].used", "disks[0].used", "disks.0.used", "$['disks'][0][\"used\"]"] {
            assert_eq!(path(text).one(&value), Some(&json!(5)), "{text}");
        }
        assert_eq!(path("disks[0]['a b']").one(&value), Some(&json!(6)));
        assert_eq!(path("disks[-1].used").one(&value), Some(&json!(7)));
        assert_eq!((path("['0']").one(&value), path("0").one(&value)), (Some(&json!(8)), Some(&json!(8))));
        assert_eq!(path("x-y").one(&value), Some(&json!(9)));
        for whole in ["$", "", ".", " $ "] {
            assert_eq!(path(whole).one(&value), Some(&value), "{whole:?}");
        }
        for missing in ["disks[2].used", "disks[-3].used", "disks.used", "nothing.at.all", "disks[0].used.more"] {
            assert_eq!(path(missing).one(&value), None, "{missing}");
        }
    }

    #[test]
    fn a_star_leads_to_all_and_says_where_each_was() {
        let value = json!({"queues": {"in": {"n": 1}, "out": {"n": 2}, "odd": {}}, "lists": [[1, 2], [3]]});
        let found = path("$.queues.*.n").all(&value);
        let found: Vec<_> = found.iter().map(|found| (found.value.clone(), found.place)).collect();
        assert_eq!(found, [(json!(1), Place::Key("in")), (json!(2), Place::Key("out"))]);
        let found = path("lists[*][*]").all(&value);
        let places: Vec<_> = found.iter().map(|found| found.place).collect();
        assert_eq!(places, [Place::Index(0), Place::Index(1), Place::Index(0)]);
        assert!(path("lists[*]").is_many() && !path("lists[0]").is_many());
        assert_eq!(path("none[*]").all(&value), []);
        assert_eq!(path("lists").items().all(&value), path("lists[*]").items().all(&value));
    }

    #[test]
    fn what_is_no_path_is_refused_with_the_reason() {
        let fault = |text: &str| JsonPath::parse(text).err().unwrap_or_default();
        assert!(fault("$.a b").contains("expected . or [ before \" b\""));
        assert!(fault("$a").contains("expected . or [ behind $"));
        assert!(fault("a..b").contains("expected a key, found '.'"));
        assert!(fault("a.").contains("expected a key at the end"));
        assert!(fault("a[x]").contains("expected a number, * or a key in quotes"));
        assert!(fault("a[0").contains("no ] behind [0"));
        assert!(fault("a['b]").contains("no ' behind ['b]"));
        assert!(fault("a['b'x]").contains("no ] behind"));
        assert!(fault("$.a[?(@.b>1)]").contains("expected a number"));
    }

    #[test]
    fn no_path_makes_it_panic() {
        let value = json!({"a": [{"b": 1}, [2, 3]], "c d": {"e": null}});
        Fuzz::of(&["$.a[0].b", "a.*[-1]", "['c d'][\"e\"]", "$[*].x-y[12]"]).texts(|text| {
            if let Ok(path) = JsonPath::parse(text) {
                path.all(&value);
                path.one(&value);
            }
        });
    }
}
