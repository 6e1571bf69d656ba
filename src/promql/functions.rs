//! The functions: their names, arguments, and which code evaluates each.

use super::plan::Type;
use super::{dates, window};
use crate::history::Point;

/// The samples of one series in a range, and what stands around them. Times in milliseconds.
pub struct Window<'w> {
    /// Not empty, in order of time.
    pub points: &'w [Point],
    /// The range is open at its start and closed at its end.
    pub start: i64,
    pub end: i64,
    /// The time of evaluation.
    pub now: i64,
    /// The function's scalar argument, if it has one.
    pub parameter: f64,
}

/// How a function is evaluated.
#[derive(Clone, Copy)]
pub enum Kind {
    /// Each value by itself; the metric name is dropped.
    Map(fn(f64) -> f64),
    /// Each value by itself, read as seconds since the epoch; without argument, the time of evaluation.
    Date(fn(f64) -> f64),
    /// Each series' samples in a range; no value, no result.
    Range {
        function: fn(&Window<'_>) -> Option<f64>,
        keeps_name: bool,
    },
    Absent,
    AbsentOverTime,
    Clamp,
    ClampMin,
    ClampMax,
    HistogramQuantile,
    LabelJoin,
    LabelReplace,
    Pi,
    Round,
    Scalar,
    Sort,
    SortDescending,
    SortByLabel,
    SortByLabelDescending,
    Time,
    Timestamp,
    Vector,
}

/// A function of the language.
pub struct Function {
    pub name: &'static str,
    pub arguments: &'static [Type],
    /// How many of the arguments, counted from the last, may be left out.
    pub optional: usize,
    /// Whether the last argument may be repeated (or left out, if it is optional).
    pub variadic: bool,
    pub returns: Type,
    pub kind: Kind,
}

const S: Type = Type::Scalar;
const V: Type = Type::Vector;
const M: Type = Type::Matrix;
const T: Type = Type::Text;

const fn function(name: &'static str, arguments: &'static [Type], kind: Kind) -> Function {
    Function { name, arguments, optional: 0, variadic: false, returns: V, kind }
}

const fn map(name: &'static str, f: fn(f64) -> f64) -> Function {
    function(name, &[V], Kind::Map(f))
}

const fn date(name: &'static str, f: fn(f64) -> f64) -> Function {
    Function { optional: 1, ..function(name, &[V], Kind::Date(f)) }
}

const fn range(name: &'static str, f: fn(&Window<'_>) -> Option<f64>) -> Function {
    function(name, &[M], Kind::Range { function: f, keeps_name: false })
}

const fn scalar(name: &'static str, arguments: &'static [Type], kind: Kind) -> Function {
    Function { returns: S, ..function(name, arguments, kind) }
}

/// All functions that can be evaluated.
static FUNCTIONS: &[Function] = &[
    map("abs", f64::abs),
    function("absent", &[V], Kind::Absent),
    function("absent_over_time", &[M], Kind::AbsentOverTime),
    map("acos", f64::acos),
    map("acosh", f64::acosh),
    map("asin", f64::asin),
    map("asinh", f64::asinh),
    map("atan", f64::atan),
    map("atanh", f64::atanh),
    range("avg_over_time", window::avg),
    map("ceil", f64::ceil),
    range("changes", window::changes),
    function("clamp", &[V, S, S], Kind::Clamp),
    function("clamp_max", &[V, S], Kind::ClampMax),
    function("clamp_min", &[V, S], Kind::ClampMin),
    map("cos", f64::cos),
    map("cosh", f64::cosh),
    range("count_over_time", window::count),
    date("day_of_month", dates::day_of_month),
    date("day_of_week", dates::day_of_week),
    date("day_of_year", dates::day_of_year),
    date("days_in_month", dates::days_in_month),
    map("deg", f64::to_degrees),
    range("delta", window::delta),
    range("deriv", window::deriv),
    map("exp", f64::exp),
    function("first_over_time", &[M], Kind::Range { function: window::first, keeps_name: true }),
    map("floor", f64::floor),
    function("histogram_quantile", &[S, V], Kind::HistogramQuantile),
    date("hour", dates::hour),
    range("idelta", window::idelta),
    range("increase", window::increase),
    range("irate", window::irate),
    Function { optional: 1, variadic: true, ..function("label_join", &[V, T, T, T], Kind::LabelJoin) },
    function("label_replace", &[V, T, T, T, T], Kind::LabelReplace),
    function("last_over_time", &[M], Kind::Range { function: window::last, keeps_name: true }),
    map("ln", f64::ln),
    map("log10", f64::log10),
    map("log2", f64::log2),
    range("mad_over_time", window::median_absolute_deviation),
    range("max_over_time", window::max),
    range("min_over_time", window::min),
    date("minute", dates::minute),
    date("month", dates::month),
    scalar("pi", &[], Kind::Pi),
    function("predict_linear", &[M, S], Kind::Range { function: window::predict_linear, keeps_name: false }),
    range("present_over_time", |_| Some(1.0)),
    function("quantile_over_time", &[S, M], Kind::Range { function: window::quantile, keeps_name: false }),
    map("rad", f64::to_radians),
    range("rate", window::rate),
    range("resets", window::resets),
    Function { optional: 1, ..function("round", &[V, S], Kind::Round) },
    scalar("scalar", &[V], Kind::Scalar),
    map("sgn", |v| if v == 0.0 || v.is_nan() { v } else { v.signum() }),
    map("sin", f64::sin),
    map("sinh", f64::sinh),
    function("sort", &[V], Kind::Sort),
    Function { optional: 1, variadic: true, ..function("sort_by_label", &[V, T], Kind::SortByLabel) },
    Function { optional: 1, variadic: true, ..function("sort_by_label_desc", &[V, T], Kind::SortByLabelDescending) },
    function("sort_desc", &[V], Kind::SortDescending),
    map("sqrt", f64::sqrt),
    range("stddev_over_time", |w| window::variance(w).map(f64::sqrt)),
    range("stdvar_over_time", window::variance),
    range("sum_over_time", window::sum),
    map("tan", f64::tan),
    map("tanh", f64::tanh),
    scalar("time", &[], Kind::Time),
    function("timestamp", &[V], Kind::Timestamp),
    function("vector", &[S], Kind::Vector),
    date("year", dates::year),
];

/// The names of all functions that are supported.
pub fn names() -> impl Iterator<Item = &'static str> {
    FUNCTIONS.iter().map(|f| f.name)
}

/// The function of this name.
pub fn find(name: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|f| f.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_listed_once_and_in_order() {
        assert!(FUNCTIONS.windows(2).all(|w| w[0].name < w[1].name));
    }
}
