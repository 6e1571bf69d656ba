//! What the values of an expression are of, by the names of its metrics, and how people write such values.

use crate::history::{MatchOp, Matcher};
use crate::model::METRIC_NAME;
use crate::promql::{BinaryKind, Query, Shape};

/// What values are of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    Plain,
    Bytes,
    BytesPerSecond,
    PerSecond,
    Seconds,
    /// Of one: shown as percent.
    Ratio,
    /// Of a hundred.
    Percent,
    Celsius,
    Hertz,
    Volts,
    Watts,
}

/// Functions whose result is per second.
const RATES: &[&str] = &["rate", "irate", "deriv"];

/// Functions whose result has no unit, or one of its own.
const COUNTS: &[&str] = &[
    "changes",
    "resets",
    "count_over_time",
    "present_over_time",
    "absent",
    "absent_over_time",
    "sgn",
    "timestamp",
    "ln",
    "log2",
    "log10",
    "exp",
    "sqrt",
];

/// The unit of what the expression gives.
pub fn unit(query: &Query) -> Unit {
    of(&query.shape())
}

fn of(shape: &Shape<'_>) -> Unit {
    match shape {
        Shape::Number(_) | Shape::Text(_) => Unit::Plain,
        Shape::Selector { matchers, .. } => named(matchers),
        Shape::Subquery(inner) | Shape::Negation(inner) | Shape::Aggregation { counts: false, inner, .. } => of(inner),
        Shape::Aggregation { .. } => Unit::Plain,
        Shape::Call { name, .. } if COUNTS.contains(name) => Unit::Plain,
        Shape::Call { name: "time", .. } => Unit::Seconds,
        Shape::Call { name: "histogram_quantile", arguments } => match arguments.iter().find_map(bucket) {
            Some(unit) => unit,
            None => Unit::Plain,
        },
        Shape::Call { name, arguments } => {
            let vectors = arguments.iter().filter(|a| !matches!(a, Shape::Number(_) | Shape::Text(_)));
            let unit = vectors.map(of).next().unwrap_or(Unit::Plain);
            if RATES.contains(name) { per_second(unit) } else { unit }
        }
        Shape::Binary { kind, lhs, rhs, .. } => binary(*kind, lhs, rhs),
    }
}

fn binary(kind: BinaryKind, lhs: &Shape<'_>, rhs: &Shape<'_>) -> Unit {
    let (left, right) = (of(lhs), of(rhs));
    let number = |shape: &Shape<'_>| matches!(shape, Shape::Number(_));
    match kind {
        BinaryKind::Truth => Unit::Plain,
        BinaryKind::Comparison | BinaryKind::Restriction | BinaryKind::Or => left,
        BinaryKind::Difference if number(lhs) => right,
        BinaryKind::Difference => left,
        BinaryKind::Ratio if number(rhs) => left,
        // What is divided by its like.
        BinaryKind::Ratio if left == right && (left != Unit::Plain || are_akin(lhs, rhs)) => Unit::Ratio,
        BinaryKind::Ratio => match (left, right) {
            // How long each took, how large each was: of a sum by a count.
            (Unit::Ratio, Unit::PerSecond) | (Unit::Bytes, Unit::BytesPerSecond) => Unit::Seconds,
            (Unit::BytesPerSecond, Unit::PerSecond) => Unit::Bytes,
            (unit, Unit::Plain) => unit,
            _ => Unit::Plain,
        },
        BinaryKind::OtherArithmetic => {
            let hundred = |shape: &Shape<'_>| matches!(shape, Shape::Number(n) if *n == 100.0);
            match (left, right) {
                (Unit::Ratio, _) if hundred(rhs) => Unit::Percent,
                (_, Unit::Ratio) if hundred(lhs) => Unit::Percent,
                (unit, _) if number(rhs) => unit,
                (_, unit) if number(lhs) => unit,
                (left, right) if left == right => left,
                _ => Unit::Plain,
            }
        }
    }
}

/// Whether two metrics count the same, by the first words of their names: `node_filefd_allocated` of
/// `node_filefd_maximum`.
fn are_akin(lhs: &Shape<'_>, rhs: &Shape<'_>) -> bool {
    let words = |shape: &Shape<'_>| match shape {
        Shape::Selector { matchers, .. } => {
            let words: Vec<String> = name_of(matchers).split('_').take(2).map(str::to_string).collect();
            Some(words).filter(|words| words.len() == 2)
        }
        _ => None,
    };
    words(lhs).is_some_and(|left| Some(left) == words(rhs))
}

/// Of seconds it is which part of the time.
fn per_second(unit: Unit) -> Unit {
    match unit {
        Unit::Bytes => Unit::BytesPerSecond,
        Unit::Seconds => Unit::Ratio,
        Unit::Plain => Unit::PerSecond,
        other => other,
    }
}

/// What a histogram below the shape is of.
fn bucket(shape: &Shape<'_>) -> Option<Unit> {
    match shape {
        Shape::Selector { matchers, .. } => Some(named(matchers)),
        Shape::Aggregation { inner, .. } => bucket(inner),
        Shape::Call { arguments, .. } => arguments.iter().find_map(bucket),
        _ => None,
    }
}

/// The name that the matchers fix, or nothing.
fn name_of(matchers: &[Matcher]) -> &str {
    let name = matchers.iter().find(|m| *m.name == *METRIC_NAME && matches!(m.op, MatchOp::Equal));
    name.map(|m| &*m.value).unwrap_or_default()
}

/// By the name of a metric, which ends in its unit as the custom is; so it may after the name of a rule's recording.
fn named(matchers: &[Matcher]) -> Unit {
    let name = ["_total", "_bucket", "_sum", "_max", "_min"]
        .iter()
        .fold(name_of(matchers), |n, end| n.strip_suffix(end).unwrap_or(n));
    let units = [
        ("bytes_per_second", Unit::BytesPerSecond),
        ("packets_per_second", Unit::PerSecond),
        ("bytes", Unit::Bytes),
        ("timestamp_seconds", Unit::Plain),
        ("time_seconds", Unit::Plain),
        ("seconds", Unit::Seconds),
        ("ratio", Unit::Ratio),
        ("percent", Unit::Percent),
        ("celsius", Unit::Celsius),
        ("hertz", Unit::Hertz),
        ("volts", Unit::Volts),
        ("watts", Unit::Watts),
    ];
    units.iter().find(|(end, _)| name.ends_with(end)).map_or(Unit::Plain, |(_, unit)| *unit)
}

impl Unit {
    /// How far apart lines of a grid stand that divide so much into about `wanted` parts. Never 0.
    pub fn step(self, span: f64, wanted: usize) -> f64 {
        let rough = span / wanted.max(1) as f64;
        if !rough.is_finite() || rough <= 0.0 {
            return 1.0;
        }
        match self {
            Unit::Seconds if rough > 1.0 => {
                const STEPS: &[f64] = &[
                    2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0, 10800.0,
                    21600.0, 43200.0, 86400.0,
                ];
                let step = STEPS.iter().find(|step| **step >= rough);
                step.copied().unwrap_or_else(|| nice(rough / 86400.0) * 86400.0)
            }
            Unit::Bytes | Unit::BytesPerSecond => {
                let (_, size) = binary_prefix(rough);
                // Of something below 1024: 200, then 256 and 512 in the place of 250 and 500.
                match nice(rough / size) {
                    step if step >= 1000.0 => size * 1024.0,
                    step => step * size,
                }
            }
            _ => nice(rough),
        }
    }

    /// A value for people, with about three digits.
    pub fn show(self, value: f64) -> String {
        self.show_by(value, 0.0)
    }

    /// A value on a grid whose lines are `step` apart.
    pub fn show_by(self, value: f64, step: f64) -> String {
        let step = step.abs();
        match self {
            Unit::Plain => prefixed(value, step, ""),
            Unit::PerSecond => prefixed(value, step, "/s"),
            Unit::Bytes => bytes(value, step, "B"),
            Unit::BytesPerSecond => bytes(value, step, "B/s"),
            Unit::Seconds => seconds(value, step),
            Unit::Ratio => format!("{}%", digits(value * 100.0, step * 100.0)),
            Unit::Percent => format!("{}%", digits(value, step)),
            Unit::Celsius => format!("{} °C", digits(value, step)),
            Unit::Hertz => prefixed(value, step, " Hz"),
            Unit::Volts => prefixed(value, step, " V"),
            Unit::Watts => prefixed(value, step, " W"),
        }
    }
}

/// The next of 1, 2 and 5 with zeros behind or before it.
fn nice(rough: f64) -> f64 {
    let power = 10f64.powf(rough.log10().floor());
    if !power.is_normal() {
        return rough;
    }
    let steps = [1.0, 2.0, 5.0].into_iter().map(|n| n * power);
    // A little less will do: 0.1 + 0.2 is not 0.3.
    steps.into_iter().find(|step| step * (1.0 + 1e-9) >= rough).unwrap_or(10.0 * power)
}

/// As many digits behind the point as a grid needs; without a grid three in all. No zeros at the end.
fn digits(value: f64, step: f64) -> String {
    if !value.is_finite() {
        return value.to_string();
    }
    if value.abs() >= 1e15 {
        return format!("{value:.2e}");
    }
    let size = if step > 0.0 { step } else { value.abs() / 100.0 };
    let places = if size > 0.0 { (-size.log10() - 1e-9).ceil().clamp(0.0, 9.0) as usize } else { 0 };
    let text = format!("{value:.places$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    match text {
        "-0" => "0".to_string(),
        text => text.replacen('-', "\u{2212}", 1),
    }
}

fn prefixed(value: f64, step: f64, unit: &str) -> String {
    const PREFIXES: &[(f64, &str)] = &[(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
    let size = value.abs();
    if size >= 1e15 || (size > 0.0 && size < 1e-6 && step < 1e-6) {
        return format!("{value:.2e}{unit}");
    }
    // 1000 to 9999 are read more easily as they are.
    let prefix = PREFIXES.iter().find(|(factor, _)| size >= *factor && (size >= 10_000.0 || step >= 1000.0));
    let Some((factor, prefix)) = prefix else { return format!("{}{unit}", digits(value, step)) };
    let space = if unit.is_empty() || unit.starts_with('/') { " " } else { "" };
    let unit = unit.trim_start();
    let number = digits(value / factor, step / factor);
    format!("{number}{}{prefix}{unit}", if space.is_empty() { " " } else { space })
}

/// The greatest binary prefix that a size has, and what it stands for.
fn binary_prefix(size: f64) -> (&'static str, f64) {
    const PREFIXES: &[(&str, i32)] = &[("Ei", 6), ("Pi", 5), ("Ti", 4), ("Gi", 3), ("Mi", 2), ("Ki", 1)];
    let found = PREFIXES.iter().map(|(name, power)| (*name, 1024f64.powi(*power))).find(|(_, n)| size.abs() >= *n);
    found.unwrap_or(("", 1.0))
}

fn bytes(value: f64, step: f64, unit: &str) -> String {
    let (prefix, size) = binary_prefix(value);
    format!("{} {prefix}{unit}", digits(value / size, step / size))
}

fn seconds(value: f64, step: f64) -> String {
    let size = value.abs();
    if size == 0.0 {
        return "0 s".to_string();
    }
    if size < 1.0 {
        let small = [(1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns")];
        let (factor, unit) = small.into_iter().find(|(factor, _)| size >= *factor).unwrap_or((1e-9, "ns"));
        return format!("{} {unit}", digits(value / factor, step / factor));
    }
    if size < 60.0 || !size.is_finite() {
        return format!("{} s", digits(value, step));
    }
    let sign = if value < 0.0 { "\u{2212}" } else { "" };
    let units = [(86_400.0, "d"), (3600.0, "h"), (60.0, "min")];
    let (factor, unit) = units.into_iter().find(|(factor, _)| size >= *factor).unwrap_or((60.0, "min"));
    if size >= 100.0 * 86_400.0 {
        return format!("{sign}{:.0} d", size / 86_400.0);
    }
    let whole = (size / factor).floor();
    let (smaller, parts, name) = match unit {
        "d" => (3600.0, 24.0, "h"),
        "h" => (60.0, 60.0, "min"),
        _ => (1.0, 60.0, "s"),
    };
    let rest = ((size - whole * factor) / smaller).round();
    match rest {
        0.0 => format!("{sign}{whole:.0} {unit}"),
        rest if rest >= parts => format!("{sign}{:.0} {unit}", whole + 1.0),
        rest => format!("{sign}{whole:.0} {unit} {rest:.0} {name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_told_by_the_names_of_metrics_and_what_is_done_with_them() {
        for (expr, expected) in [
            ("node_memory_MemAvailable_bytes", Unit::Bytes),
            ("node_filesystem_avail_bytes / node_filesystem_size_bytes", Unit::Ratio),
            ("1 - node_filesystem_files_free / node_filesystem_files", Unit::Ratio),
            ("100 * (1 - avg by (instance) (rate(node_cpu_seconds_total{mode=\"idle\"}[5m])))", Unit::Percent),
            ("rate(node_network_receive_bytes_total[1m])", Unit::BytesPerSecond),
            ("sum(rate(node_context_switches_total[1m]))", Unit::PerSecond),
            ("1 - sum(rate(node_cpu_seconds_total{mode=\"idle\"}[5m])) / count(node_cpu_seconds_total)", Unit::Ratio),
            ("rate(x_seconds_sum[5m]) / rate(x_seconds_count[5m])", Unit::Seconds),
            ("rate(x_bytes_sum[5m]) / rate(x_bytes_count[5m])", Unit::Bytes),
            ("watchfire_cpu_usage_ratio", Unit::Ratio),
            ("node_load1 / 4", Unit::Plain),
            ("node_load1 / count(node_cpu_seconds_total{mode=\"idle\"})", Unit::Plain),
            ("node_filefd_allocated / node_filefd_maximum", Unit::Ratio),
            ("time() - node_boot_time_seconds", Unit::Seconds),
            ("node_boot_time_seconds", Unit::Plain),
            ("predict_linear(node_filesystem_avail_bytes[1h], 3600)", Unit::Bytes),
            ("histogram_quantile(0.9, sum by (le) (rate(x_seconds_bucket[5m])))", Unit::Seconds),
            ("max_over_time(node_hwmon_temp_celsius[5m])", Unit::Celsius),
            ("count(node_filesystem_size_bytes)", Unit::Plain),
            ("up", Unit::Plain),
        ] {
            assert_eq!(unit(&Query::parse(expr).unwrap()), expected, "{expr}");
        }
    }

    #[test]
    fn values_are_written_as_people_do() {
        for (unit, value, text) in [
            (Unit::Plain, 0.0, "0"),
            (Unit::Plain, 3.2468, "3.25"),
            (Unit::Plain, -12.0, "\u{2212}12"),
            (Unit::Plain, 4096.0, "4096"),
            (Unit::Plain, 1_234_567.0, "1.23 M"),
            (Unit::Plain, 1e300, "1.00e300"),
            (Unit::PerSecond, 25_300.0, "25.3 k/s"),
            (Unit::Ratio, 0.973, "97.3%"),
            (Unit::Ratio, 1.0, "100%"),
            (Unit::Percent, 91.0, "91%"),
            (Unit::Ratio, 1e200, "1.00e202%"),
            (Unit::Bytes, 0.0, "0 B"),
            (Unit::Bytes, 16_106_127_360.0, "15 GiB"),
            (Unit::BytesPerSecond, 1536.0, "1.5 KiB/s"),
            (Unit::Seconds, 0.0025, "2.5 ms"),
            (Unit::Seconds, 42.0, "42 s"),
            (Unit::Seconds, 5400.0, "1 h 30 min"),
            (Unit::Seconds, 3599.9, "60 min"),
            (Unit::Seconds, 200_000.0, "2 d 8 h"),
            (Unit::Celsius, 81.5, "81.5 °C"),
            (Unit::Hertz, 2.4e9, "2.4 GHz"),
            (Unit::Hertz, f64::INFINITY, "inf Hz"),
        ] {
            assert_eq!(unit.show(value), text);
        }
    }

    #[test]
    fn grids_have_round_steps() {
        for (unit, span, step, shown) in [
            (Unit::Plain, 1.0, 0.2, "0.2"),
            (Unit::Plain, 37.0, 10.0, "10"),
            (Unit::Ratio, 1.0, 0.2, "20%"),
            (Unit::Ratio, 0.003, 0.001, "0.1%"),
            (Unit::Bytes, 16.0 * 1024f64.powi(3), 5.0 * 1024f64.powi(3), "5 GiB"),
            (Unit::Bytes, 4_000.0, 1024.0, "1 KiB"),
            (Unit::Seconds, 7200.0, 1800.0, "30 min"),
            (Unit::Seconds, 0.04, 0.01, "10 ms"),
        ] {
            let got = unit.step(span, 5);
            assert!((got - step).abs() < 1e-9 * step, "{unit:?} {span}: {got}");
            assert_eq!(unit.show_by(step, step), shown);
        }
        for span in [0.0, -1.0, f64::NAN, f64::INFINITY, 5e-324, f64::MAX] {
            for unit in [Unit::Plain, Unit::Bytes, Unit::Seconds] {
                assert!(unit.step(span, 5) > 0.0, "{span}");
                assert!(!unit.show_by(span, unit.step(span, 5)).is_empty());
            }
        }
    }
}
