//! `query`, `query_range`, `format_query`, `query_exemplars`: expressions, evaluated over an excerpt of history.

use std::time::{Duration, Instant};

use super::error::ApiError;
use super::params::{Params, duration};
use super::result::{Frame, QueryAnswer};
use super::work::{Stop, Workers};
use super::{Body, TRUNCATED, data};
use crate::history::{SharedHistory, Wanted, excerpt};
use crate::http::app::About;
use crate::model::Timestamp;
use crate::promql::{Annotations, EvalError, EvalOptions, Query, Type, Value, pretty};

/// Points of one series that a range query may ask for.
const MAX_POINTS: i64 = 11_000;

/// When a query is evaluated.
#[derive(Clone, Copy)]
enum Times {
    At(Timestamp),
    Range { start: Timestamp, end: Timestamp, step: Duration },
}

impl Times {
    fn start(self) -> Timestamp {
        match self {
            Times::At(at) => at,
            Times::Range { start, .. } => start,
        }
    }
}

/// What a request says besides the times.
struct Asked {
    query: Query,
    limit: Option<usize>,
    lookback: Duration,
    deadline: Instant,
    stats: bool,
    warnings: Vec<String>,
}

/// How long parts of a query took.
#[derive(Clone, Copy)]
struct Timings {
    prepared: Duration,
    evaluated: Duration,
}

pub(super) async fn instant(
    workers: &Workers,
    history: SharedHistory,
    about: &About,
    params: &Params,
    deadline: Instant,
) -> Result<Body, ApiError> {
    let at = params.time_or("time", Timestamp::now())?;
    let asked = asked(workers, params, deadline)?;
    answer(workers, history, about, asked, Times::At(at)).await
}

pub(super) async fn range(
    workers: &Workers,
    history: SharedHistory,
    about: &About,
    params: &Params,
    deadline: Instant,
) -> Result<Body, ApiError> {
    let times = range_times(params)?;
    let asked = asked(workers, params, deadline)?;
    let value_type = asked.query.value_type();
    if !matches!(value_type, Type::Scalar | Type::Vector) {
        let why = format!(
            "invalid expression type {:?} for range query, must be Scalar or instant Vector",
            value_type.name()
        );
        return Err(ApiError::parameter("query", why));
    }
    answer(workers, history, about, asked, times).await
}

fn range_times(params: &Params) -> Result<Times, ApiError> {
    let (start, end) = (params.time("start")?, params.time("end")?);
    if end < start {
        return Err(ApiError::parameter("end", "end timestamp must not be before start time"));
    }
    let step = duration(params.get("step")).map_err(|why| ApiError::parameter("step", why))?;
    if step <= 0 {
        let why = "zero or negative query resolution step widths are not accepted. Try a positive integer";
        return Err(ApiError::parameter("step", why));
    }
    if end.millis_since(start) / step > MAX_POINTS {
        return Err(ApiError::bad_data(
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution \
             (?step=XX)",
        ));
    }
    Ok(Times::Range { start, end, step: Duration::from_millis(step.unsigned_abs()) })
}

fn asked(workers: &Workers, params: &Params, latest: Instant) -> Result<Asked, ApiError> {
    let positive = |name: &str, default: Duration| match params.get(name) {
        "" => Ok(default),
        text => match duration(text) {
            Ok(millis) if millis > 0 => Ok(Duration::from_millis(millis.unsigned_abs())),
            Ok(_) => Err(ApiError::parameter(name, format!("{name} must be positive, got {text}"))),
            Err(why) => Err(ApiError::parameter(name, why)),
        },
    };
    let config = workers.config();
    let limit = params.limit("limit")?;
    let timeout = positive("timeout", config.timeout)?.min(config.timeout);
    let lookback = positive("lookback_delta", config.lookback_delta)?;
    let stats = params.get("stats");
    let mut warnings = Vec::new();
    if !matches!(stats, "" | "true" | "all") {
        warnings.push(format!(
            "value {stats:?} for parameter \"stats\" is deprecated and will be rejected in the next major release, \
             use \"true\" or \"all\""
        ));
    }
    let query = Query::parse(params.get("query")).map_err(|e| ApiError::expression("query", &e))?;
    let deadline = latest.min(Instant::now() + timeout);
    Ok(Asked { query, limit, lookback, deadline, stats: !stats.is_empty(), warnings })
}

async fn answer(
    workers: &Workers,
    history: SharedHistory,
    about: &About,
    asked: Asked,
    times: Times,
) -> Result<Body, ApiError> {
    let Asked { query, limit, lookback, deadline, stats, mut warnings } = asked;
    let options = EvalOptions {
        lookback,
        subquery_step: about.evaluation_interval,
        max_samples: workers.config().max_samples,
        max_bytes: workers.config().max_bytes,
        deadline: Some(deadline),
        canceled: None,
    };
    let work = move |stop: &Stop| evaluate(&history, &query, times, options, stop);
    let ((mut value, annotations, took), waited) = workers.run(deadline, work).await?;
    warnings.extend(annotations.warnings());
    if let Some(limit) = limit
        && truncate(&mut value, limit)
    {
        warnings.push(TRUNCATED.to_string());
    }
    let room = workers.keep(samples(&value))?;
    let frame = Frame { stats: stats.then(|| timings(took, waited)), warnings, infos: annotations.infos() };
    let at = times.start();
    Ok(Body::Pieces(Box::new(QueryAnswer::new(value, at, frame, room))))
}

/// Evaluates a query over a copy of what its selectors read, so that nobody waits for it.
fn evaluate(
    history: &SharedHistory,
    query: &Query,
    times: Times,
    options: EvalOptions,
    stop: &Stop,
) -> Result<(Value, Annotations, Timings), ApiError> {
    let began = Instant::now();
    let options = EvalOptions { canceled: Some(stop.flag()), ..options };
    let over = || stop.is_set() || options.deadline.is_some_and(|deadline| Instant::now() > deadline);
    // With `@` a selector may look anywhere, and where durations are reckoned from the times nobody knows yet.
    let anywhere = query.text().contains('@') || query.is_contextual();
    let selectors = query.selectors();
    let wanted = selectors.iter().map(|selector| Wanted {
        matchers: selector.matchers,
        after: if anywhere { Timestamp::MIN } else { times.start() - selector.reach - options.lookback },
    });
    let wanted: Vec<Wanted<'_>> = wanted.collect();
    let Some(part) = excerpt(history, &wanted, over) else {
        return Err(if stop.is_set() { EvalError::Canceled } else { EvalError::TimedOut }.into());
    };
    let prepared = began.elapsed();
    let (value, annotations) = match times {
        Times::At(at) => query.instant_annotated(&part, at, &options),
        Times::Range { start, end, step } => query.range_annotated(&part, start, end, step, &options),
    };
    Ok((value?, annotations, Timings { prepared, evaluated: began.elapsed().saturating_sub(prepared) }))
}

/// Keeps the first series; true if there were more.
fn truncate(value: &mut Value, limit: usize) -> bool {
    let before = match value {
        Value::Vector(samples) => {
            let before = samples.len();
            samples.truncate(limit);
            before
        }
        Value::Matrix(series) => {
            let before = series.len();
            series.truncate(limit);
            before
        }
        Value::Scalar(_) | Value::String(_) => 0,
    };
    before > limit
}

fn samples(value: &Value) -> usize {
    match value {
        Value::Scalar(_) | Value::String(_) => 1,
        Value::Vector(samples) => samples.len(),
        Value::Matrix(series) => series.iter().map(|s| s.points.len()).sum(),
    }
}

fn timings(took: Timings, waited: Duration) -> String {
    let (prepared, evaluated, waited) =
        (took.prepared.as_secs_f64(), took.evaluated.as_secs_f64(), waited.as_secs_f64());
    serde_json::json!({"timings": {
        "evalTotalTime": prepared + evaluated,
        "resultSortTime": 0,
        "queryPreparationTime": prepared,
        "innerEvalTime": evaluated,
        "execQueueTime": waited,
        "execTotalTime": waited + prepared + evaluated,
    }})
    .to_string()
}

/// The expression, laid out.
pub(super) fn format(params: &Params) -> Result<Body, ApiError> {
    let text = pretty(params.get("query")).map_err(|e| ApiError::expression("query", &e))?;
    Ok(data(|out| super::json::string(out, &text)))
}

/// There are no exemplars; the expression is checked all the same.
pub(super) fn exemplars(params: &Params) -> Result<Body, ApiError> {
    let (start, end) = params.span()?;
    if end < start {
        return Err(ApiError::bad_data("end timestamp must not be before start timestamp"));
    }
    Query::parse(params.get("query")).map_err(|e| ApiError::expression("query", &e))?;
    Ok(data(|out| out.extend_from_slice(b"[]")))
}
