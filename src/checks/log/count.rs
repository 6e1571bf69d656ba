//! Counting lines that match a pattern, by what its named groups hold.

use std::collections::BTreeMap;

use super::config::LogPattern;
use crate::checks::Families;
use crate::checks::local::LinePattern;

/// The longest value of a label; the rest of it is left out.
const MAX_VALUE: usize = 200;
/// What counts beyond the limit of label sets.
const OTHER: &str = "other";

/// The lines that match a pattern.
pub struct Counter {
    name: String,
    regex: LinePattern,
    except: Option<LinePattern>,
    /// Place and name of each named group.
    groups: Vec<(usize, String)>,
    /// Label sets that are counted by themselves; further ones are counted together.
    most: usize,
    /// By the values of the groups, in their order.
    sets: BTreeMap<Vec<Box<str>>, u64>,
    other: u64,
    /// In this run.
    now: u64,
    last_in: String,
}

impl Counter {
    pub fn new(pattern: &LogPattern, most: usize) -> Option<Counter> {
        let regex = pattern.regex.clone()?;
        let groups: Vec<(usize, String)> = regex.groups().map(|(place, name)| (place, name.to_string())).collect();
        let mut sets = BTreeMap::new();
        if groups.is_empty() {
            // There from the start, so that the first match is an increase.
            sets.insert(Vec::new(), 0);
        }
        let (name, except) = (pattern.name.clone(), pattern.except.clone());
        Some(Counter { name, regex, except, groups, most: most.max(1), sets, other: 0, now: 0, last_in: String::new() })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Matches of this run.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// The file that had the last match.
    pub fn last_in(&self) -> &str {
        &self.last_in
    }

    pub fn begin_run(&mut self) {
        self.now = 0;
    }

    /// Counts a line, if it matches.
    pub fn take(&mut self, line: &str, file: &str) {
        let values = if self.groups.is_empty() {
            if !self.regex.is_match(line) {
                return;
            }
            Vec::new()
        } else {
            let Some(captures) = self.regex.regex().captures(line) else { return };
            let value = |place: usize| captures.get(place).map_or("", |m| m.as_str());
            self.groups.iter().map(|(place, _)| cut(value(*place)).into()).collect()
        };
        if self.except.as_ref().is_some_and(|except| except.is_match(line)) {
            return;
        }
        self.now += 1;
        if self.last_in != file {
            self.last_in = file.to_string();
        }
        let is_full = self.sets.len() >= self.most;
        match self.sets.get_mut(&values) {
            Some(count) => *count += 1,
            None if is_full => self.other += 1,
            None => {
                self.sets.insert(values, 1);
            }
        }
    }

    pub fn write(&self, out: &mut Families) {
        for (values, count) in &self.sets {
            self.put(values.iter().map(|value| &**value), *count, out);
        }
        if self.other > 0 {
            self.put(std::iter::repeat(OTHER), self.other, out);
        }
    }

    fn put<'a>(&'a self, values: impl Iterator<Item = &'a str>, count: u64, out: &mut Families) {
        let mut labels = vec![("pattern", self.name.as_str())];
        labels.extend(self.groups.iter().map(|(_, name)| name.as_str()).zip(values));
        out.counter("watchfire_check_log_matches_total", "Lines that match the pattern.", &labels, count as f64);
    }
}

/// A value of a label, no longer than it may be.
fn cut(value: &str) -> &str {
    let end = (0..=MAX_VALUE.min(value.len())).rev().find(|end| value.is_char_boundary(*end));
    value.get(..end.unwrap_or(0)).unwrap_or_default()
}
