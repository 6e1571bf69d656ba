//! The functions: their names, arguments, and which code evaluates each.

use super::plan::{Context, Extent, Type};
use super::{dates, math, window};
use crate::history::{Point, Thinning};

/// The samples of one series in a range, and what stands around them. Times in milliseconds.
pub struct Window<'w> {
    /// Not empty, in order of time, without those that the function can do without. Besides those in the range, those
    /// beside it that the extent asks for.
    pub points: &'w [Point],
    /// How many there are with those that the function can do without.
    pub count: usize,
    pub extent: Extent,
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
        /// What it can do without.
        thinning: Thinning,
    },
    Absent,
    AbsentOverTime,
    Clamp,
    ClampMin,
    ClampMax,
    /// What the query itself tells: `start()` and its kin.
    Context(fn(Context) -> f64),
    HistogramFraction,
    HistogramQuantile,
    HistogramQuantiles,
    Info,
    Integral,
    LabelJoin,
    LabelReplace,
    /// Two scalars.
    Pair(fn(f64, f64) -> f64),
    Pi,
    Round,
    Scalar,
    Smoothing,
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
    /// How often the last argument may stand, at least and at most.
    pub last: (usize, usize),
    pub returns: Type,
    pub kind: Kind,
}

impl Function {
    /// How many arguments it takes, at least and at most.
    pub fn count(&self) -> (usize, usize) {
        match self.arguments.len().checked_sub(1) {
            Some(before) => (before + self.last.0, before.saturating_add(self.last.1)),
            None => (0, 0),
        }
    }

    /// Whether the result hangs on the time of evaluation besides the arguments.
    pub fn asks_for_time(&self) -> bool {
        matches!(self.kind, Kind::Date(_) | Kind::Time | Kind::Timestamp) || self.name == "predict_linear"
    }

    /// The type of an argument, counted from 0.
    pub fn argument(&self, i: usize) -> Type {
        self.arguments.get(i).or(self.arguments.last()).copied().unwrap_or(Type::Vector)
    }
}

const S: Type = Type::Scalar;
const V: Type = Type::Vector;
const M: Type = Type::Matrix;
const T: Type = Type::Text;

const fn function(name: &'static str, arguments: &'static [Type], kind: Kind) -> Function {
    Function { name, arguments, last: (1, 1), returns: V, kind }
}

const fn map(name: &'static str, f: fn(f64) -> f64) -> Function {
    function(name, &[V], Kind::Map(f))
}

const fn date(name: &'static str, f: fn(f64) -> f64) -> Function {
    optional(function(name, &[V], Kind::Date(f)))
}

const fn range(name: &'static str, f: fn(&Window<'_>) -> Option<f64>) -> Function {
    function(name, &[M], of_range(f))
}

const fn of_range(function: fn(&Window<'_>) -> Option<f64>) -> Kind {
    Kind::Range { function, keeps_name: false, thinning: Thinning::No }
}

/// It can do without some samples.
const fn thinned(name: &'static str, f: fn(&Window<'_>) -> Option<f64>, thinning: Thinning) -> Function {
    function(name, &[M], Kind::Range { function: f, keeps_name: false, thinning })
}

/// The first or the last sample, with the name of its series.
const fn end_of_range(name: &'static str, f: fn(&Window<'_>) -> Option<f64>) -> Function {
    function(name, &[M], Kind::Range { function: f, keeps_name: true, thinning: Thinning::Ends })
}

/// The last argument may be left out.
const fn optional(f: Function) -> Function {
    Function { last: (0, 1), ..f }
}

/// The last argument may stand as often as one likes.
const fn variadic(f: Function) -> Function {
    Function { last: (0, usize::MAX), ..f }
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
    thinned("changes", window::changes, Thinning::Constants),
    function("clamp", &[V, S, S], Kind::Clamp),
    function("clamp_max", &[V, S], Kind::ClampMax),
    function("clamp_min", &[V, S], Kind::ClampMin),
    map("cos", f64::cos),
    map("cosh", f64::cosh),
    thinned("count_over_time", window::count, Thinning::Ends),
    date("day_of_month", dates::day_of_month),
    date("day_of_week", dates::day_of_week),
    date("day_of_year", dates::day_of_year),
    date("days_in_month", dates::days_in_month),
    map("deg", |v| v * math::DEGREES),
    thinned("delta", window::delta, Thinning::Ends),
    range("deriv", window::deriv),
    function("double_exponential_smoothing", &[M, S, S], Kind::Smoothing),
    scalar("end", &[], Kind::Context(|c| c.end as f64 / 1000.0)),
    map("exp", f64::exp),
    end_of_range("first_over_time", window::first),
    map("floor", f64::floor),
    function("histogram_fraction", &[S, S, V], Kind::HistogramFraction),
    function("histogram_quantile", &[S, V], Kind::HistogramQuantile),
    Function { last: (0, 9), ..function("histogram_quantiles", &[V, T, S, S], Kind::HistogramQuantiles) },
    date("hour", dates::hour),
    range("idelta", window::idelta),
    thinned("increase", window::increase, Thinning::Rises),
    optional(function("info", &[V, V], Kind::Info)),
    optional(function("integral", &[M, S], Kind::Integral)),
    range("irate", window::irate),
    variadic(function("label_join", &[V, T, T, T], Kind::LabelJoin)),
    function("label_replace", &[V, T, T, T, T], Kind::LabelReplace),
    end_of_range("last_over_time", window::last),
    map("ln", f64::ln),
    map("log10", f64::log10),
    map("log2", f64::log2),
    range("mad_over_time", window::median_absolute_deviation),
    scalar("max_of", &[S, S], Kind::Pair(math::max)),
    thinned("max_over_time", window::max, Thinning::Greatest),
    scalar("min_of", &[S, S], Kind::Pair(math::min)),
    thinned("min_over_time", window::min, Thinning::Least),
    date("minute", dates::minute),
    date("month", dates::month),
    scalar("pi", &[], Kind::Pi),
    function("predict_linear", &[M, S], of_range(window::predict_linear)),
    thinned("present_over_time", |_| Some(1.0), Thinning::Ends),
    function("quantile_over_time", &[S, M], of_range(window::quantile)),
    map("rad", |v| v * math::RADIANS),
    scalar("range", &[], Kind::Context(|c| c.end.saturating_sub(c.start) as f64 / 1000.0)),
    thinned("rate", window::rate, Thinning::Rises),
    thinned("resets", window::resets, Thinning::Rises),
    optional(function("round", &[V, S], Kind::Round)),
    scalar("scalar", &[V], Kind::Scalar),
    map("sgn", |v| if v == 0.0 || v.is_nan() { v } else { v.signum() }),
    map("sin", f64::sin),
    map("sinh", f64::sinh),
    function("sort", &[V], Kind::Sort),
    variadic(function("sort_by_label", &[V, T], Kind::SortByLabel)),
    variadic(function("sort_by_label_desc", &[V, T], Kind::SortByLabelDescending)),
    function("sort_desc", &[V], Kind::SortDescending),
    map("sqrt", f64::sqrt),
    scalar("start", &[], Kind::Context(|c| c.start as f64 / 1000.0)),
    range("stddev_over_time", |w| window::variance(w).map(f64::sqrt)),
    range("stdvar_over_time", window::variance),
    scalar("step", &[], Kind::Context(|c| if c.start == c.end { 0.0 } else { c.step as f64 / 1000.0 })),
    range("sum_over_time", window::sum),
    map("tan", f64::tan),
    map("tanh", f64::tanh),
    scalar("time", &[], Kind::Time),
    function("timestamp", &[V], Kind::Timestamp),
    thinned("ts_of_first_over_time", window::time_of_first, Thinning::Ends),
    thinned("ts_of_last_over_time", window::time_of_last, Thinning::Ends),
    range("ts_of_max_over_time", window::time_of_max),
    range("ts_of_min_over_time", window::time_of_min),
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
