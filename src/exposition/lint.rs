//! What is well-formed and yet not as metrics should be, after Prometheus' naming practices; the findings are those of
//! `promtool check metrics`.

use std::collections::HashSet;
use std::fmt;

use super::parse::{Family, Sample};
use crate::model::MetricType;

/// A family that does not follow the practices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub metric: String,
    /// Of the sample that shows it, from 1.
    pub line: usize,
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {} {}", self.line, self.metric, self.text)
    }
}

/// Units, and the base unit of each.
const UNITS: [(&str, &str); 24] = [
    ("amperes", "amperes"),
    ("bytes", "bytes"),
    ("celsius", "celsius"),
    ("grams", "grams"),
    ("joules", "joules"),
    ("kelvin", "kelvin"),
    ("meters", "meters"),
    ("metres", "metres"),
    ("seconds", "seconds"),
    ("volts", "volts"),
    ("minutes", "seconds"),
    ("hours", "seconds"),
    ("days", "seconds"),
    ("weeks", "seconds"),
    ("kelvins", "kelvin"),
    ("fahrenheit", "celsius"),
    ("rankine", "celsius"),
    ("inches", "meters"),
    ("yards", "meters"),
    ("miles", "meters"),
    ("bits", "bytes"),
    ("calories", "joules"),
    ("pounds", "grams"),
    ("ounces", "grams"),
];

const PREFIXES: [&str; 18] = [
    "pico", "nano", "micro", "milli", "centi", "deci", "deca", "hecto", "kilo", "kibi", "mega", "mebi", "giga", "gibi",
    "tera", "tebi", "peta", "pebi",
];

const ABBREVIATIONS: [&str; 14] = ["s", "ms", "us", "ns", "sec", "b", "kb", "mb", "gb", "tb", "pb", "m", "h", "d"];

const TYPE_WORDS: [&str; 5] = ["counter", "gauge", "summary", "histogram", "gauge_histogram"];

/// Everything that is not as it should be, family by family.
pub fn lint(families: &[Family<'_>]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for family in families {
        let mut found = Findings { family, problems: &mut problems };
        found.name();
        found.type_and_suffix();
        found.labels();
        found.duplicates();
    }
    problems
}

struct Findings<'f, 'o> {
    family: &'f Family<'f>,
    problems: &'o mut Vec<Problem>,
}

impl Findings<'_, '_> {
    /// A problem of the family as a whole.
    fn add(&mut self, text: impl Into<String>) {
        let line = self.family.samples.first().map_or(0, |s| s.line);
        self.add_at(line, text.into());
    }

    /// The same problem of many samples is told once.
    fn add_at(&mut self, line: usize, text: String) {
        if !self.problems.iter().rev().take_while(|p| p.metric == self.family.name).any(|p| p.text == text) {
            self.problems.push(Problem { metric: self.family.name.to_string(), line, text });
        }
    }

    fn name(&mut self) {
        if self.family.help.is_none() {
            self.add("no help text");
        }
        let name = self.family.name;
        if let Some((unit, base)) = name.split('_').find_map(unit).filter(|(unit, base)| unit != base) {
            self.add(format!("use base unit {base:?} instead of {unit:?}"));
        }
        let lower = name.to_ascii_lowercase();
        for word in TYPE_WORDS.into_iter().filter(|w| has_word(&lower, w)) {
            self.add(format!("metric name should not include type '{word}'"));
        }
        if name.contains(':') {
            self.add("metric names should not contain ':'");
        }
        if is_camel_case(name) {
            self.add("metric names should be written in 'snake_case' not 'camelCase'");
        }
        if ABBREVIATIONS.iter().any(|a| has_word(&lower, a)) {
            self.add("metric names should not contain abbreviated units");
        }
    }

    fn type_and_suffix(&mut self) {
        let kind = self.family.metric_type();
        if kind == MetricType::Untyped {
            return;
        }
        let name = self.family.name;
        let total = name.ends_with("_total");
        match (kind, total) {
            (MetricType::Counter, false) => self.add("counter metrics should have \"_total\" suffix"),
            (MetricType::Counter, true) | (_, false) => {}
            (_, true) => self.add("non-counter metrics should not have \"_total\" suffix"),
        }
        if kind != MetricType::Histogram && name.ends_with("_bucket") {
            self.add("non-histogram metrics should not have \"_bucket\" suffix");
        }
        if !matches!(kind, MetricType::Histogram | MetricType::Summary) {
            for suffix in ["_count", "_sum"].into_iter().filter(|s| name.ends_with(s)) {
                self.add(format!("non-histogram and non-summary metrics should not have {suffix:?} suffix"));
            }
        }
    }

    fn labels(&mut self) {
        let kind = self.family.metric_type();
        for sample in &self.family.samples {
            for (name, _) in &sample.labels {
                if is_camel_case(name) {
                    self.add_at(sample.line, "label names should be written in 'snake_case' not 'camelCase'".into());
                }
                match *name {
                    _ if kind == MetricType::Untyped => {}
                    "le" if kind != MetricType::Histogram => {
                        self.add_at(sample.line, "non-histogram metrics should not have \"le\" label".into());
                    }
                    "quantile" if kind != MetricType::Summary => {
                        self.add_at(sample.line, "non-summary metrics should not have \"quantile\" label".into());
                    }
                    _ => {}
                }
            }
        }
    }

    fn duplicates(&mut self) {
        let key = |sample: &Sample<'_>| {
            let mut labels: Vec<_> = sample.labels.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
            labels.sort_unstable();
            (sample.suffix.to_string(), labels)
        };
        let mut seen = HashSet::new();
        if let Some(sample) = self.family.samples.iter().find(|s| !seen.insert(key(s))) {
            self.add_at(sample.line, "metric not unique".into());
        }
    }
}

/// The unit that a word of a name is, with its prefix, and its base unit.
fn unit(word: &str) -> Option<(&str, &'static str)> {
    let base = |w: &str| UNITS.iter().find(|(unit, _)| *unit == w).map(|(_, base)| *base);
    let prefixed = || PREFIXES.iter().filter_map(|p| word.strip_prefix(p)).find_map(base);
    Some((word, base(word).or_else(prefixed)?))
}

/// Whether `_word` is in the name, with `_` or nothing behind it.
fn has_word(name: &str, word: &str) -> bool {
    name.match_indices(word).any(|(at, _)| {
        let before = name.get(..at).unwrap_or_default();
        let behind = name.get(at + word.len()..).unwrap_or_default();
        before.ends_with('_') && (behind.is_empty() || behind.starts_with('_'))
    })
}

fn is_camel_case(name: &str) -> bool {
    name.as_bytes().windows(2).any(|w| w[0].is_ascii_lowercase() && w[1].is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exposition::parse::parse;

    fn problems(text: &str) -> Vec<String> {
        lint(&parse(text.as_bytes()).unwrap()).iter().map(Problem::to_string).collect()
    }

    #[test]
    fn a_good_exposition_has_no_problems() {
        let text = "# HELP a_total A.\n# TYPE a_total counter\na_total{le_x=\"1\"} 1\n\
                    # HELP b_seconds B.\n# TYPE b_seconds histogram\nb_seconds_bucket{le=\"+Inf\"} 1\nb_seconds_sum 1\n\
                    b_seconds_count 1\n# HELP c_count C.\nc_count{le=\"1\",quantile=\"2\"} 1\n";
        assert_eq!(problems(text), Vec::<String>::new());
    }

    #[test]
    fn each_practice_is_checked() {
        for (name, kind, labels, expected) in [
            ("a", "counter", "", "counter metrics should have \"_total\" suffix"),
            ("a_total", "gauge", "", "non-counter metrics should not have \"_total\" suffix"),
            ("a_milliseconds", "gauge", "", "use base unit \"seconds\" instead of \"milliseconds\""),
            ("a_hours", "gauge", "", "use base unit \"seconds\" instead of \"hours\""),
            ("a_ms", "gauge", "", "metric names should not contain abbreviated units"),
            ("a_gauge", "gauge", "", "metric name should not include type 'gauge'"),
            ("a:b", "gauge", "", "metric names should not contain ':'"),
            ("aB", "gauge", "", "metric names should be written in 'snake_case' not 'camelCase'"),
            ("a", "gauge", "{bC=\"\"}", "label names should be written in 'snake_case' not 'camelCase'"),
            ("a_bucket", "gauge", "", "non-histogram metrics should not have \"_bucket\" suffix"),
            ("a_sum", "gauge", "", "non-histogram and non-summary metrics should not have \"_sum\" suffix"),
            ("a", "gauge", "{le=\"1\"}", "non-histogram metrics should not have \"le\" label"),
            ("a", "gauge", "{quantile=\"1\"}", "non-summary metrics should not have \"quantile\" label"),
        ] {
            let text = format!("# HELP {name} A.\n# TYPE {name} {kind}\n{name}{labels} 1\n");
            assert_eq!(problems(&text), [format!("line 3: {name} {expected}")]);
        }
        assert_eq!(problems("a 1\n"), ["line 1: a no help text"]);
    }

    #[test]
    fn a_problem_of_many_samples_is_told_once_with_the_first_line() {
        let text =
            "# HELP a A.\n# TYPE a gauge\na{x=\"1\"} 1\na{x=\"1\",le=\"1\"} 1\na{x=\"2\",le=\"1\"} 1\na{x=\"1\"} 2\n";
        assert_eq!(
            problems(text),
            ["line 4: a non-histogram metrics should not have \"le\" label", "line 6: a metric not unique"]
        );
    }
}
