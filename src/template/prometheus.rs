//! What Prometheus adds to Go's templates: its functions, and the variables that a rule's texts begin with.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use jiff::tz::TimeZone;
use regex::Captures;

use super::float::format_float;
use super::functions::{Functions, string_arg};
use super::methods::time_string;
use super::value::Map;
use super::{Context, QuerySample, Template, TemplateError, Value, escape};
use crate::model::{Labels, parse_duration};
use crate::re2::Re2;

/// Go's functions and those of Prometheus.
pub fn functions() -> &'static Functions {
    static TABLE: LazyLock<Functions> = LazyLock::new(|| {
        let mut table = Functions::go();
        table
            .add_template_call("tmpl")
            .add("query", 1, Some(1), query)
            .add("first", 1, Some(1), first)
            .add("label", 2, Some(2), label)
            .add("value", 1, Some(1), |a, _| sample_field(a, 0, "Value"))
            .add("strvalue", 1, Some(1), |a, _| Ok(sample_labels(a, 0)?.get("__value__")))
            .add("sortByLabel", 2, Some(2), sort_by_label)
            .add("args", 0, None, numbered_args)
            .add("reReplaceAll", 3, Some(3), replace_all)
            .add("match", 2, Some(2), |a, _| Ok(Value::Bool(pattern(a, 0)?.regex().is_match(string_arg(a, 1)?))))
            .add("safeHtml", 1, Some(1), |a, _| Ok(string_arg(a, 0)?.into()))
            .add("title", 1, Some(1), |a, _| Ok(title(string_arg(a, 0)?).into()))
            .add("toUpper", 1, Some(1), |a, _| Ok(string_arg(a, 0)?.to_uppercase().into()))
            .add("toLower", 1, Some(1), |a, _| Ok(string_arg(a, 0)?.to_lowercase().into()))
            .add("graphLink", 1, Some(1), |a, _| Ok(expression_link(string_arg(a, 0)?, 0).into()))
            .add("tableLink", 1, Some(1), |a, _| Ok(expression_link(string_arg(a, 0)?, 1).into()))
            .add("stripPort", 1, Some(1), |a, _| Ok(strip_port(string_arg(a, 0)?).into()))
            .add("stripDomain", 1, Some(1), |a, _| Ok(strip_domain(string_arg(a, 0)?).into()))
            .add("humanize", 1, Some(1), |a, _| Ok(humanize(float_arg(a, 0)?).into()))
            .add("humanize1024", 1, Some(1), |a, _| Ok(humanize_1024(float_arg(a, 0)?).into()))
            .add("humanizeDuration", 1, Some(1), |a, _| Ok(humanize_duration(float_arg(a, 0)?).into()))
            .add("humanizePercentage", 1, Some(1), |a, _| Ok(format!("{}%", four(float_arg(a, 0)? * 100.0)).into()))
            .add("humanizeTimestamp", 1, Some(1), humanize_timestamp)
            .add("toTime", 1, Some(1), |a, _| to_time(float_arg(a, 0)?))
            .add("toDuration", 1, Some(1), |a, _| Ok(Value::Duration((float_arg(a, 0)? * 1e9) as i64)))
            .add("now", 0, Some(0), |_, c| Ok(Value::Float(c.now.as_secs_f64())))
            .add("parseDuration", 1, Some(1), parse_duration_text)
            .add("externalURL", 0, Some(0), |_, c| Ok(c.external_url.into()))
            .add("pathPrefix", 0, Some(0), |_, c| Ok(url_path(c.external_url).into()))
            .add("urlQueryEscape", 1, Some(1), |a, _| Ok(escape::url_query(string_arg(a, 0)?).into()));
        table
    });
    &TABLE
}

/// The variables that the texts of a rule begin with.
const PRELUDE: &[(&str, &str)] = &[
    ("$labels", "Labels"),
    ("$externalLabels", "ExternalLabels"),
    ("$externalURL", "ExternalURL"),
    ("$value", "Value"),
];

/// Parses a label or annotation of a rule, in which `$labels`, `$externalLabels`, `$externalURL` and `$value` are
/// set.
pub fn parse_rule_text(name: &str, text: &str) -> Result<Template, TemplateError> {
    Template::parse_with_prelude(name, text, functions(), PRELUDE)
}

/// What the texts of a rule are run on.
pub fn rule_data(labels: &Labels, external_labels: &Labels, external_url: &str, value: f64) -> Value {
    Value::structure(
        "template.AlertTemplateData",
        vec![
            ("Labels", labels.into()),
            ("ExternalLabels", external_labels.into()),
            ("ExternalURL", external_url.into()),
            ("Value", value.into()),
        ],
    )
}

fn query(args: &[Value], context: &Context<'_>) -> Result<Value, String> {
    let expr = string_arg(args, 0)?;
    let samples = context.query.ok_or("queries are not available here")?.query(expr)?;
    Ok(Value::List(samples.iter().map(sample).collect()))
}

fn sample(sample: &QuerySample) -> Value {
    Value::structure("template.sample", vec![("Labels", (&sample.labels).into()), ("Value", sample.value.into())])
}

fn list_arg(args: &[Value], n: usize) -> Result<&Arc<[Value]>, String> {
    match args.get(n) {
        Some(Value::List(list)) => Ok(list),
        other => Err(format!("expected the result of a query; got {}", other.map_or("nothing", Value::type_name))),
    }
}

fn sample_field(args: &[Value], n: usize, field: &str) -> Result<Value, String> {
    match args.get(n) {
        Some(Value::Struct(s)) => s.get(field).cloned().ok_or_else(|| format!("{} has no {field}", s.name)),
        other => Err(format!("expected a sample; got {}", other.map_or("nothing", Value::type_name))),
    }
}

fn sample_labels(args: &[Value], n: usize) -> Result<Arc<Map>, String> {
    match sample_field(args, n, "Labels")? {
        Value::Map(labels) => Ok(labels),
        other => Err(format!("expected a sample's labels; got {}", other.type_name())),
    }
}

fn first(args: &[Value], _: &Context<'_>) -> Result<Value, String> {
    let list = list_arg(args, 0)?;
    list.first().cloned().ok_or_else(|| "first() called on vector with no elements".into())
}

fn label(args: &[Value], _: &Context<'_>) -> Result<Value, String> {
    Ok(sample_labels(args, 1)?.get(string_arg(args, 0)?))
}

fn sort_by_label(args: &[Value], _: &Context<'_>) -> Result<Value, String> {
    let name = string_arg(args, 0)?;
    let mut list = list_arg(args, 1)?.to_vec();
    list.sort_by_cached_key(|s| match sample_labels(std::slice::from_ref(s), 0).map(|l| l.get(name)) {
        Ok(Value::String(value)) => value,
        _ => "".into(),
    });
    Ok(Value::List(list.into()))
}

fn numbered_args(args: &[Value], _: &Context<'_>) -> Result<Value, String> {
    let entries: BTreeMap<Arc<str>, Value> =
        args.iter().enumerate().map(|(i, v)| (format!("arg{i}").into(), v.clone())).collect();
    Ok(Value::Map(Arc::new(Map { entries, ..Map::default() })))
}

pub(super) fn pattern(args: &[Value], n: usize) -> Result<Re2, String> {
    Re2::new(string_arg(args, n)?)
}

pub(super) fn replace_all(args: &[Value], context: &Context<'_>) -> Result<Value, String> {
    let pattern = pattern(args, 0)?;
    let (replacement, text) = (string_arg(args, 1)?, string_arg(args, 2)?);
    // Checked before the work: how often it matches, times what one match may give.
    let matches = pattern.regex().find_iter(text).count();
    let captured = replacement.matches('$').count().saturating_mul(text.len());
    let most = matches.saturating_mul(replacement.len().saturating_add(captured));
    if most > context.limits.output.saturating_mul(64) {
        return Err(format!("output is longer than {} bytes", context.limits.output));
    }
    let replaced = pattern.regex().replace_all(text, |captures: &Captures<'_>| {
        pattern.expand(replacement, captures, usize::MAX).unwrap_or_default()
    });
    if replaced.len() > context.limits.output {
        return Err(format!("output is longer than {} bytes", context.limits.output));
    }
    Ok(replaced.as_ref().into())
}

/// A number, or text that is one.
pub(super) fn float_arg(args: &[Value], n: usize) -> Result<f64, String> {
    match args.get(n).map(Value::plain) {
        Some(Value::Float(f)) => Ok(*f),
        Some(Value::Int(i)) => Ok(*i as f64),
        Some(Value::Duration(nanos)) => Ok(*nanos as f64 / 1e9),
        Some(Value::String(s)) => s.parse().map_err(|_| {
            format!("strconv.ParseFloat: parsing {}: invalid syntax", super::format::quote(s, '"', false))
        }),
        other => Err(format!("can't convert {} to float", other.map_or("nothing", Value::type_name))),
    }
}

/// `%.4g`
pub(crate) fn four(v: f64) -> String {
    format_float(v, 'g', Some(4))
}

const LARGE: [&str; 8] = ["k", "M", "G", "T", "P", "E", "Z", "Y"];
const BINARY: [&str; 8] = ["ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"];
const SMALL: [&str; 8] = ["m", "u", "n", "p", "f", "a", "z", "y"];

/// Divides by `base` as long as the number reaches it.
fn scale_down(mut v: f64, base: f64, prefixes: [&'static str; 8]) -> (f64, &'static str) {
    let mut prefix = "";
    for p in prefixes {
        if v.abs() < base {
            break;
        }
        prefix = p;
        v /= base;
    }
    (v, prefix)
}

/// Multiplies by 1000 as long as the number is below 1.
fn scale_up(mut v: f64) -> (f64, &'static str) {
    let mut prefix = "";
    for p in SMALL {
        if v.abs() >= 1.0 {
            break;
        }
        prefix = p;
        v *= 1000.0;
    }
    (v, prefix)
}

pub(crate) fn humanize(v: f64) -> String {
    if v == 0.0 || !v.is_finite() {
        return four(v);
    }
    let (v, prefix) = if v.abs() >= 1.0 { scale_down(v, 1000.0, LARGE) } else { scale_up(v) };
    format!("{}{prefix}", four(v))
}

pub(crate) fn humanize_1024(v: f64) -> String {
    if v.abs() <= 1.0 || !v.is_finite() {
        return four(v);
    }
    let (v, prefix) = scale_down(v, 1024.0, BINARY);
    format!("{}{prefix}", four(v))
}

pub(crate) fn humanize_duration(v: f64) -> String {
    if !v.is_finite() {
        return four(v);
    }
    if v == 0.0 {
        return format!("{}s", four(v));
    }
    if v.abs() < 1.0 {
        let (v, prefix) = scale_up(v);
        return format!("{}{prefix}s", four(v));
    }
    let sign = if v < 0.0 { "-" } else { "" };
    let v = v.abs();
    let total = v as i64;
    let (days, hours, minutes, seconds) = (total / 86_400, total / 3600 % 24, total / 60 % 60, total % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{sign}{}s", four(v)),
        (0, 0, _) => format!("{sign}{minutes}m {seconds}s"),
        (0, _, _) => format!("{sign}{hours}h {minutes}m {seconds}s"),
        _ => format!("{sign}{days}d {hours}h {minutes}m {seconds}s"),
    }
}

/// A time from seconds since the epoch; the error says that no time is that.
fn to_time(v: f64) -> Result<Value, String> {
    if !v.is_finite() {
        return Err("value is NaN or Inf".into());
    }
    let out_of_range = || format!("{} cannot be represented as a time", format_float(v, 'g', None));
    let nanos = v * 1e9;
    if nanos.abs() >= i64::MAX as f64 {
        return Err(out_of_range());
    }
    // Prometheus' times are whole milliseconds; what a float has beyond them is noise.
    let time = jiff::Timestamp::from_millisecond((nanos / 1e6) as i64).map_err(|_| out_of_range())?;
    Ok(Value::Time(Arc::new(time.to_zoned_datetime(TimeZone::UTC))))
}

fn humanize_timestamp(args: &[Value], _: &Context<'_>) -> Result<Value, String> {
    let v = float_arg(args, 0)?;
    match to_time(v) {
        Ok(Value::Time(time)) => Ok(time_string(&time).into()),
        Ok(other) => Ok(other),
        Err(_) if !v.is_finite() => Ok(four(v).into()),
        Err(message) => Err(message),
    }
}

fn parse_duration_text(args: &[Value], _: &Context<'_>) -> Result<Value, String> {
    let text = string_arg(args, 0)?;
    match text.strip_prefix('-') {
        Some(text) => Ok(Value::Float(-parse_duration(text)?.as_secs_f64())),
        None => Ok(Value::Float(parse_duration(text)?.as_secs_f64())),
    }
}

/// Capitals where words begin; the rest of a word stays as it is.
fn title(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut start = true;
    for c in text.chars() {
        if start {
            out.extend(c.to_uppercase());
        } else {
            out.push(c);
        }
        start = if c.is_ascii() { !(c.is_ascii_alphanumeric() || c == '_') } else { c.is_whitespace() };
    }
    out
}

fn expression_link(expr: &str, tab: u8) -> String {
    format!("/graph?g0.expr={}&g0.tab={tab}", escape::url_query(expr))
}

/// Host and port of `host:port` or `[v6]:port`.
fn split_host_port(text: &str) -> Option<(&str, &str)> {
    let (host, port) = text.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(inner) => inner.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    (!host.contains(['[', ']']) && !port.contains(['[', ']'])).then_some((host, port))
}

fn strip_port(text: &str) -> &str {
    split_host_port(text).map_or(text, |(host, _)| host)
}

fn strip_domain(text: &str) -> String {
    let (host, port) = split_host_port(text).unwrap_or((text, ""));
    if host.parse::<IpAddr>().is_ok() {
        return text.to_string();
    }
    let host = host.split('.').next().unwrap_or(host);
    match port {
        "" => host.to_string(),
        port if host.contains(':') => format!("[{host}]:{port}"),
        port => format!("{host}:{port}"),
    }
}

/// The path of a URL, without a slash at its end.
fn url_path(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("");
    path.split(['?', '#']).next().unwrap_or("")
}
