//! The test file's format.

use std::time::Duration;

use crate::model::{Labels, Timestamp};
use crate::promql::{QueryError, Values, parse_metric};
use crate::yaml::{Faults, FromYaml, Node, Position, Value};

/// A value and its place in the file.
#[derive(Clone, Debug, Default)]
pub struct At<T> {
    pub at: Position,
    pub value: T,
}

impl<T: FromYaml> FromYaml for At<T> {
    fn from_yaml(node: &Node, faults: &mut Faults) -> Option<Self> {
        Some(At { at: node.at, value: T::from_yaml(node, faults)? })
    }
}

crate::section! {
    check = check_file;
    /// The whole file.
    pub struct TestFile {
        /// Relative to the file's own folder, patterns allowed.
        pub rule_files: Vec<At<String>> = Vec::new(),
        /// How often all groups are evaluated, whatever their own interval.
        pub evaluation_interval: Duration = DEFAULT_INTERVAL,
        /// Groups in the order in which they are evaluated; those that are not named come first.
        pub group_eval_order: Vec<At<String>> = Vec::new(),
        /// Each with series and a history of its own.
        pub tests: Vec<At<Test>> = Vec::new(),
        /// Whether values that agree in six digits count as equal.
        pub fuzzy_compare: bool = false,
    }
}

const DEFAULT_INTERVAL: Duration = Duration::from_secs(60);

fn check_file(file: &mut TestFile, _: &Node, faults: &mut Faults) {
    if file.evaluation_interval.is_zero() {
        file.evaluation_interval = DEFAULT_INTERVAL;
    }
    for (i, name) in file.group_eval_order.iter().enumerate() {
        if file.group_eval_order.iter().take(i).any(|earlier| earlier.value == name.value) {
            faults.error(name.at, format!("the group {:?} is here twice", name.value));
        }
    }
}

crate::section! {
    /// One test.
    pub struct Test {
        /// Distance of the samples of its series; the evaluation interval when zero.
        pub interval: Duration = Duration::ZERO,
        /// Series that are there.
        pub input_series: Vec<Input> = Vec::new(),
        /// Which alerts fire.
        pub alert_rule_test: Vec<At<AlertTest>> = Vec::new(),
        /// What expressions give.
        pub promql_expr_test: Vec<At<ExprTest>> = Vec::new(),
        /// For the texts of rules.
        pub external_labels: Texts = Texts::default(),
        /// For the texts of rules.
        pub external_url: String = String::new(),
        /// What it shows.
        pub name: String = String::new(),
        /// When it begins: RFC 3339, or seconds since the epoch.
        pub start_timestamp: Start = Start::default(),
    }
}

impl Test {
    /// Its name, or one by its place among the tests of the file, from 0.
    pub fn name_or(&self, place: usize) -> String {
        if self.name.is_empty() { format!("unnamed#{place}") } else { self.name.clone() }
    }
}

crate::section! {
    check = |_: &mut Input, node: &Node, faults: &mut Faults| needs(node, &["series"], faults);
    /// A series that is there.
    pub struct Input {
        /// Its name and labels.
        pub series: Metric = Metric::default(),
        /// Its samples.
        pub values: Values = Values::default(),
    }
}

crate::section! {
    check = |_: &mut AlertTest, node: &Node, faults: &mut Faults| needs(node, &["alertname"], faults);
    /// Which alerts of a name fire at a time.
    pub struct AlertTest {
        /// Since the start.
        pub eval_time: Duration = Duration::ZERO,
        /// Name of the alerting rule.
        pub alertname: String = String::new(),
        /// All that fire.
        pub exp_alerts: Vec<ExpectedAlert> = Vec::new(),
    }
}

crate::section! {
    /// An alert that fires.
    pub struct ExpectedAlert {
        /// Its labels, without its name.
        pub exp_labels: Texts = Texts::default(),
        /// Its annotations.
        pub exp_annotations: Texts = Texts::default(),
    }
}

crate::section! {
    check = |_: &mut ExprTest, node: &Node, faults: &mut Faults| needs(node, &["expr"], faults);
    /// What an expression gives at a time.
    pub struct ExprTest {
        /// The expression.
        pub expr: Expr = Expr::default(),
        /// Since the start.
        pub eval_time: Duration = Duration::ZERO,
        /// All that it gives.
        pub exp_samples: Vec<ExpectedSample> = Vec::new(),
    }
}

crate::section! {
    /// A sample that an expression gives.
    pub struct ExpectedSample {
        /// Its name and labels.
        pub labels: Metric = Metric::default(),
        /// Its value.
        pub value: Number = Number(0.0),
        /// Not supported.
        pub histogram: Histogram = Histogram,
    }
}

fn needs(node: &Node, keys: &[&str], faults: &mut Faults) {
    for key in keys {
        if node.get(key).is_none_or(|n| n.is_null() || n.as_str() == Some("")) {
            faults.error(node.at, format!("{key} is missing here"));
        }
    }
}

/// An expression, and where it stands.
#[derive(Clone, Debug, Default)]
pub struct Expr {
    pub text: String,
    pub node: Option<Node>,
}

impl FromYaml for Expr {
    fn from_yaml(node: &Node, faults: &mut Faults) -> Option<Self> {
        let text = String::from_yaml(node, faults)?;
        Some(Expr { text, node: Some(node.clone()) })
    }
}

/// Name and labels of a series.
#[derive(Clone, Debug, Default)]
pub struct Metric(pub Labels);

fn notation<T>(
    node: &Node,
    faults: &mut Faults,
    expected: &str,
    parse: impl Fn(&str) -> Result<T, QueryError>,
) -> Option<T> {
    let Some(text) = node.as_str() else {
        faults.unexpected(node, expected);
        return None;
    };
    match parse(text) {
        Ok(value) => Some(value),
        Err(error) => {
            let (line, column) = error.position.unwrap_or((1, 1));
            let at = faults.place(node, line, column);
            faults.error(at, error.message);
            None
        }
    }
}

impl FromYaml for Metric {
    fn from_yaml(node: &Node, faults: &mut Faults) -> Option<Self> {
        notation(node, faults, "a metric, such as up{job=\"node\"}", parse_metric).map(Metric)
    }
}

impl FromYaml for Values {
    fn from_yaml(node: &Node, faults: &mut Faults) -> Option<Self> {
        notation(node, faults, "samples, such as 0+10x5", Values::parse)
    }
}

/// Names and texts, of labels or annotations.
#[derive(Clone, Debug, Default)]
pub struct Texts(pub Labels);

impl FromYaml for Texts {
    fn from_yaml(node: &Node, faults: &mut Faults) -> Option<Self> {
        if !matches!(node.value, Value::Mapping(_)) {
            faults.unexpected(node, "a mapping of names to texts");
            return None;
        }
        let mut pairs = Vec::new();
        for (key, value) in node.entries() {
            match value.as_str().or(value.is_null().then_some("")) {
                Some(text) => pairs.push((key.name.as_str(), text)),
                None => faults.unexpected(value, "a text"),
            }
        }
        Some(Texts(Labels::from_pairs(pairs)))
    }
}

/// A number as YAML writes it, infinities and NaN included.
#[derive(Clone, Copy, Debug, Default)]
pub struct Number(pub f64);

impl FromYaml for Number {
    fn from_yaml(node: &Node, faults: &mut Faults) -> Option<Self> {
        let number = node.as_str().and_then(number);
        if number.is_none() {
            faults.unexpected(node, "a number");
        }
        number.map(Number)
    }
}

fn number(text: &str) -> Option<f64> {
    let text = text.replace('_', "").to_ascii_lowercase();
    if let Some(digits) = text.strip_prefix("0x") {
        return i64::from_str_radix(digits, 16).ok().map(|n| n as f64);
    }
    match text.as_str() {
        ".nan" => Some(f64::NAN),
        ".inf" | "+.inf" => Some(f64::INFINITY),
        "-.inf" => Some(f64::NEG_INFINITY),
        text => text.parse().ok(),
    }
}

/// A native histogram, which is refused.
#[derive(Clone, Copy, Debug, Default)]
pub struct Histogram;

impl FromYaml for Histogram {
    fn from_yaml(node: &Node, faults: &mut Faults) -> Option<Self> {
        if node.as_str() != Some("") {
            faults.error(node.at, "native histograms are not supported: an expression gives plain numbers");
        }
        Some(Histogram)
    }
}

/// When a test begins.
#[derive(Clone, Copy, Debug, Default)]
pub struct Start(pub Timestamp);

impl FromYaml for Start {
    fn from_yaml(node: &Node, faults: &mut Faults) -> Option<Self> {
        let text = node.as_str().unwrap_or_default();
        // What is no plain number of seconds within the years that there are has to be a date.
        let seconds = text.parse::<f64>().ok().filter(|s| s.abs() < 1e11);
        let date = || text.parse::<jiff::Timestamp>().ok().map(|t| Timestamp::from_millis(t.as_millisecond()));
        let start = seconds.map(Timestamp::from_secs_f64).or_else(date);
        if start.is_none() {
            faults.unexpected(node, "a time, such as 2024-05-01T12:00:00Z or seconds since the epoch");
        }
        start.map(Start)
    }
}
