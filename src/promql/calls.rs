//! Calls of functions.

mod info;
mod labels;
mod order;

use super::ahead::Reduction;
use super::error::EvalError;
use super::eval::{Eval, unique};
use super::functions::{Kind, Window};
use super::plan::{Call, Extra, Node, Range};
use super::value::{Sample, Value};
use super::window::{self, Quadrature};
use super::{histogram, math};
use crate::history::Thinning;
use crate::model::{Labels, Timestamp};

impl Eval<'_> {
    pub(super) fn call(&mut self, call: &Call, now: i64) -> Result<Value, EvalError> {
        let time = Timestamp::from_millis(now);
        let alone = |value: f64| vec![Sample { labels: Labels::empty(), value, time }];
        let vector = match call.function.kind {
            // Those are numbers since the query was planned.
            Kind::Context(_) => return Ok(Value::Scalar(f64::NAN)),
            Kind::Pi => return Ok(Value::Scalar(std::f64::consts::PI)),
            Kind::Time => return Ok(Value::Scalar(now as f64 / 1000.0)),
            Kind::Pair(f) => {
                return Ok(Value::Scalar(f(self.scalar_argument(call, 0, now)?, self.scalar_argument(call, 1, now)?)));
            }
            Kind::Scalar => {
                let vector = self.vector_argument(call, 0, now)?;
                return Ok(Value::Scalar(match vector.as_slice() {
                    [one] => one.value,
                    _ => f64::NAN,
                }));
            }
            Kind::Vector => alone(self.scalar_argument(call, 0, now)?),
            Kind::Map(f) => self.mapped(call, now, f)?,
            Kind::Date(f) if call.arguments.is_empty() => alone(f(now as f64 / 1000.0)),
            Kind::Date(f) => self.mapped(call, now, f)?,
            Kind::Range { function, keeps_name, thinning } => {
                self.over_range(call, now, &function, keeps_name, thinning)?
            }
            Kind::Smoothing => self.smoothing(call, now)?,
            Kind::Integral => self.integral(call, now)?,
            Kind::Absent => match self.vector_argument(call, 0, now)?.is_empty() {
                true => vec![Sample { labels: absent_labels(call), value: 1.0, time }],
                false => Vec::new(),
            },
            Kind::AbsentOverTime => {
                let (range, _) = self.range_argument(call, now)?;
                let mut found = false;
                let any = reduction(call, &|_| Some(1.0), Thinning::Ends, 0.0);
                self.reduced(range, now, &any, |_, _, _, _| {
                    found = true;
                    Ok(())
                })?;
                match found {
                    true => Vec::new(),
                    false => vec![Sample { labels: absent_labels(call), value: 1.0, time }],
                }
            }
            Kind::Clamp => {
                let (low, high) = (self.scalar_argument(call, 1, now)?, self.scalar_argument(call, 2, now)?);
                self.clamped(call, now, low, high)?
            }
            Kind::ClampMin => {
                let low = self.scalar_argument(call, 1, now)?;
                self.clamped(call, now, low, f64::INFINITY)?
            }
            Kind::ClampMax => {
                let high = self.scalar_argument(call, 1, now)?;
                self.clamped(call, now, f64::NEG_INFINITY, high)?
            }
            Kind::Round => {
                let nearest = if call.arguments.len() > 1 { self.scalar_argument(call, 1, now)? } else { 1.0 };
                // Dividing by the inverse keeps 0.1 and its like exact.
                let inverse = 1.0 / nearest;
                self.mapped(call, now, |v| (v * inverse + 0.5).floor() / inverse)?
            }
            Kind::Timestamp => match call.arguments.first() {
                Some(Node::Selector(selector)) => unique(self.timestamps(selector, now)?)?,
                _ => self.mapped(call, now, |_| now as f64 / 1000.0)?,
            },
            Kind::Sort | Kind::SortDescending | Kind::SortByLabel | Kind::SortByLabelDescending => {
                let vector = self.vector_argument(call, 0, now)?;
                if self.in_range && !matches!(call.extra, Extra::Invariant) {
                    self.annotations.sort_in_range(call.place);
                }
                order::sorted(call, vector)
            }
            Kind::LabelReplace => self.label_replace(call, now)?,
            Kind::LabelJoin => self.label_join(call, now)?,
            Kind::Info => self.info(call, now)?,
            Kind::HistogramQuantile => {
                let q = self.scalar_argument(call, 0, now)?;
                let vector = self.vector_argument(call, 1, now)?;
                self.annotations.check_quantile(q, place(call, 0));
                let mut histograms = self.histograms(call, 1, &vector)?;
                unique(histogram::quantiles(q, &mut histograms, time, &mut self.annotations, place(call, 1)))?
            }
            Kind::HistogramQuantiles => self.histogram_quantiles(call, now)?,
            Kind::HistogramFraction => {
                let (lower, upper) = (self.scalar_argument(call, 0, now)?, self.scalar_argument(call, 1, now)?);
                let vector = self.vector_argument(call, 2, now)?;
                let histograms = self.histograms(call, 2, &vector)?;
                let sample = |h: histogram::Histogram| {
                    let value = h.fraction(lower, upper);
                    Sample { labels: h.labels, value, time }
                };
                unique(histograms.into_iter().map(sample).collect())?
            }
        };
        Ok(Value::Vector(vector))
    }

    fn vector_argument(&mut self, call: &Call, i: usize, now: i64) -> Result<Vec<Sample>, EvalError> {
        call.arguments.get(i).map_or(Ok(Vec::new()), |node| self.vector(node, now))
    }

    fn scalar_argument(&mut self, call: &Call, i: usize, now: i64) -> Result<f64, EvalError> {
        call.arguments.get(i).map_or(Ok(f64::NAN), |node| self.scalar(node, now))
    }

    /// The range among the arguments, and the value of the first scalar beside it.
    fn range_argument<'c>(&mut self, call: &'c Call, now: i64) -> Result<(&'c Range, f64), EvalError> {
        let mut found = None;
        let mut parameter = None;
        for argument in &call.arguments {
            match argument {
                Node::Range(range) => found = Some(range),
                other if parameter.is_none() => parameter = Some(self.scalar(other, now)?),
                _ => {}
            }
        }
        let range = found.ok_or_else(|| EvalError::failed("expected a range vector"))?;
        Ok((range, parameter.unwrap_or(f64::NAN)))
    }

    /// Each value of the first argument by itself.
    fn mapped(&mut self, call: &Call, now: i64, f: impl Fn(f64) -> f64) -> Result<Vec<Sample>, EvalError> {
        let mut vector = self.vector_argument(call, 0, now)?;
        for s in &mut vector {
            s.value = f(s.value);
            s.labels = self.nameless(&s.labels)?;
        }
        unique(vector)
    }

    fn clamped(&mut self, call: &Call, now: i64, low: f64, high: f64) -> Result<Vec<Sample>, EvalError> {
        if high < low {
            // What goes wrong in the argument does all the same.
            return self.vector_argument(call, 0, now).map(|_| Vec::new());
        }
        self.mapped(call, now, |v| math::max(low, math::min(high, v)))
    }

    fn over_range(
        &mut self,
        call: &Call,
        now: i64,
        function: &dyn Fn(&Window<'_>) -> Option<f64>,
        keeps_name: bool,
        thinning: Thinning,
    ) -> Result<Vec<Sample>, EvalError> {
        let (range, parameter) = self.range_argument(call, now)?;
        let time = Timestamp::from_millis(now);
        let is_rate = matches!(call.function.name, "rate" | "increase");
        let is_quantile = call.function.name == "quantile_over_time";
        let has_one_name = range.has_one_name();
        let mut out = Vec::new();
        let reduction = reduction(call, function, thinning, parameter);
        self.reduced(range, now, &reduction, |eval, labels, without_name, value| {
            // What is told of one series is told of all that have its name.
            let is_news = out.is_empty() || !has_one_name;
            if is_quantile && is_news {
                eval.annotations.check_quantile(parameter, place(call, 0));
            }
            if is_rate && is_news {
                eval.annotations.check_counter(labels.metric_name(), place(call, 0));
            }
            let labels = if keeps_name { labels } else { without_name };
            out.push(Sample { labels: labels.clone(), value, time });
            Ok(())
        })?;
        if has_one_name {
            // Then no two series are the same without it.
            return Ok(out);
        }
        unique(out)
    }

    fn smoothing(&mut self, call: &Call, now: i64) -> Result<Vec<Sample>, EvalError> {
        let (range, factor) = self.range_argument(call, now)?;
        let trend = self.scalar_argument(call, 2, now)?;
        for (name, factor) in [("smoothing", factor), ("trend", trend)] {
            if factor <= 0.0 || factor >= 1.0 {
                let short = if name == "smoothing" { "sf" } else { "tf" };
                let told = format!("invalid {name} factor. Expected: 0 < {short} < 1, got: {factor:.6}");
                // Where there are no samples, nothing is smoothed.
                self.windows(range, now, 0.0, Thinning::Ends, |_, _, _, _| Err(EvalError::Failed(told.clone())))?;
            }
        }
        self.over_range(call, now, &|window| window::smoothing(window, trend), false, Thinning::No)
    }

    fn integral(&mut self, call: &Call, now: i64) -> Result<Vec<Sample>, EvalError> {
        let (range, strategy) = self.range_argument(call, now)?;
        let time = Timestamp::from_millis(now);
        let quadrature = match strategy {
            0.0 => Some(Quadrature::Left),
            1.0 => Some(Quadrature::Right),
            2.0 => Some(Quadrature::Trapezoid),
            _ => None,
        };
        let told = call.arguments.len() > 1;
        let mut out = Vec::new();
        let area = |window: &Window<'_>| window::integral(window, quadrature.unwrap_or(Quadrature::Trapezoid));
        let reduction = reduction(call, &area, Thinning::No, strategy);
        self.reduced(range, now, &reduction, |eval, _, without_name, value| {
            if told && quadrature.is_none() {
                eval.annotations.bad_strategy(strategy, place(call, 1));
            }
            out.push(Sample { labels: without_name.clone(), value, time });
            Ok(())
        })?;
        unique(out)
    }

    /// The histograms in the vector that is this argument.
    fn histograms(&mut self, call: &Call, i: usize, vector: &[Sample]) -> Result<Vec<histogram::Histogram>, EvalError> {
        let histograms = histogram::histograms(vector, &mut self.annotations, place(call, i));
        histograms.iter().try_for_each(|h| self.built(&h.labels))?;
        Ok(histograms)
    }

    fn histogram_quantiles(&mut self, call: &Call, now: i64) -> Result<Vec<Sample>, EvalError> {
        let vector = self.vector_argument(call, 0, now)?;
        let mut quantiles = Vec::new();
        for i in 2..call.arguments.len() {
            let q = self.scalar_argument(call, i, now)?;
            self.annotations.check_quantile(q, place(call, i));
            quantiles.push(q);
        }
        let label = text_argument(call, 1);
        let mut histograms = self.histograms(call, 0, &vector)?;
        let mut out = Vec::new();
        for q in quantiles {
            let (time, place) = (Timestamp::from_millis(now), place(call, 0));
            for mut s in histogram::quantiles(q, &mut histograms, time, &mut self.annotations, place) {
                let mut builder = s.labels.builder();
                builder.set(label, &histogram::openmetrics_float(q));
                s.labels = builder.build();
                self.built(&s.labels)?;
                out.push(s);
            }
        }
        unique(out)
    }
}

/// What the call makes of the samples of each range.
fn reduction<'f>(
    call: &Call,
    function: &'f dyn Fn(&Window<'_>) -> Option<f64>,
    thinning: Thinning,
    parameter: f64,
) -> Reduction<'f> {
    let is_steady = call.arguments.iter().all(|a| matches!(a, Node::Range(_)) || a.is_invariant());
    Reduction { function, thinning, parameter, is_steady, asks_for_time: call.function.asks_for_time() }
}

/// Where an argument stands.
fn place(call: &Call, i: usize) -> super::annotations::Place {
    call.places.get(i).copied().unwrap_or_default()
}

fn text_argument(call: &Call, i: usize) -> &str {
    match call.arguments.get(i) {
        Some(Node::Text(text)) => text,
        _ => "",
    }
}

fn absent_labels(call: &Call) -> Labels {
    match &call.extra {
        Extra::Labels(labels) => labels.clone(),
        _ => Labels::empty(),
    }
}
