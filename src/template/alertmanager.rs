//! What Alertmanager adds to Go's templates: its functions, and the types of what its messages are made from, with their
//! methods.
//!
//! The functions are those of Alertmanager up to 0.35, without `toDate`, `mustToDate` and `routeLabels`; of Prometheus' there are the ones that make numbers readable,
//! since here messages have values in them: `humanize`, `humanize1024`, `humanizePercentage`, `humanizeTimestamp`.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use jiff::tz::TimeZone;

use super::functions::{Functions, string_arg};
use super::json;
use super::methods::format_layout;
use super::prometheus::{self, float_arg, humanize_duration, pattern, replace_all};
use super::title::title;
use super::value::{Map, Trusted, Type};
use super::{Context, Value};
use crate::model::{Labels, Timestamp};

/// Go's functions and those of Alertmanager.
pub fn functions() -> &'static Functions {
    static TABLE: LazyLock<Functions> = LazyLock::new(|| {
        let mut table = Functions::go();
        table
            .add("toUpper", 1, Some(1), |a, _| Ok(string_arg(a, 0)?.to_uppercase().into()))
            .add("toLower", 1, Some(1), |a, _| Ok(string_arg(a, 0)?.to_lowercase().into()))
            .add("title", 1, Some(1), |a, _| Ok(title(string_arg(a, 0)?).into()))
            .add("trimSpace", 1, Some(1), |a, _| Ok(string_arg(a, 0)?.trim().into()))
            .add("join", 2, Some(2), join)
            .add("match", 2, Some(2), |a, _| Ok(Value::Bool(pattern(a, 0)?.regex().is_match(string_arg(a, 1)?))))
            .add("safeHtml", 1, Some(1), |a, _| Ok(Value::named(&HTML, string_arg(a, 0)?.into())))
            .add("safeUrl", 1, Some(1), |a, _| Ok(Value::named(&URL, string_arg(a, 0)?.into())))
            .add("urlUnescape", 1, Some(1), |a, _| url_unescape(string_arg(a, 0)?).map(Value::from))
            .add("reReplaceAll", 3, Some(3), replace_all)
            .add("stringSlice", 0, None, string_slice)
            .add("date", 2, Some(2), |a, _| Ok(format_layout(time_arg(a, 1)?, string_arg(a, 0)?).into()))
            .add("tz", 2, Some(2), in_zone)
            .add("now", 0, Some(0), |_, c| time(c.now))
            .add("since", 1, Some(1), since)
            .add("humanizeDuration", 1, Some(1), |a, _| Ok(humanize_duration(float_arg(a, 0)?).into()))
            .add("toJson", 1, Some(1), |a, c| {
                json::of(a.first().unwrap_or(&Value::Nil), c.limits.output).map(Value::from)
            })
            .add("base64encode", 1, Some(1), |a, _| Ok(base64::encode(string_arg(a, 0)?.as_bytes()).into()))
            .add("base64decode", 1, Some(1), |a, _| base64::decode(string_arg(a, 0)?).map(Value::from))
            .add("list", 0, None, |a, _| Ok(Value::List(a.into())))
            .add("append", 1, None, append)
            .add("dict", 0, None, dict);
        for name in ["humanize", "humanize1024", "humanizePercentage", "humanizeTimestamp"] {
            table.take_from(prometheus::functions(), name);
        }
        table
    });
    &TABLE
}

/// The time as templates see it.
///
/// # Errors
/// A time outside of what calendars know.
pub fn time(at: Timestamp) -> Result<Value, String> {
    let time = jiff::Timestamp::from_millisecond(at.as_millis()).map_err(|e| e.to_string())?;
    Ok(Value::Time(Arc::new(time.to_zoned_datetime(TimeZone::UTC))))
}

/// Go's zero time, which stands for a time that is not set.
pub fn zero_time() -> Value {
    time(Timestamp::from_millis(-62_135_596_800_000)).unwrap_or_default()
}

/// Labels or annotations: a map with the methods `SortedPairs`, `Names`, `Values` and `Remove`.
pub fn kv(labels: &Labels) -> Value {
    Value::named(&KV, labels.into())
}

/// Alerts: a list of structs that have a `Status`, with the methods `Firing` and `Resolved`.
pub fn alerts(alerts: Vec<Value>) -> Value {
    Value::named(&ALERTS, Value::List(alerts.into()))
}

static KV: Type = Type {
    name: "template.KV",
    method: kv_method,
    string: Some(|kv| pairs_string(&sorted_pairs(kv))),
    trusted: Trusted::Nothing,
};
static PAIRS: Type =
    Type { name: "template.Pairs", method: pairs_method, string: Some(pairs_string), trusted: Trusted::Nothing };
static ALERTS: Type = Type { name: "template.Alerts", method: alerts_method, string: None, trusted: Trusted::Nothing };
static STRINGS: Type = Type { name: "[]string", method: no_method, string: None, trusted: Trusted::Nothing };
static HTML: Type = Type { name: "template.HTML", method: no_method, string: None, trusted: Trusted::Html };
static URL: Type = Type { name: "template.URL", method: no_method, string: None, trusted: Trusted::Url };

fn no_method(_: &Value, _: &str, _: &[Value]) -> Option<Result<Value, String>> {
    None
}

fn strings(items: impl Iterator<Item = Value>) -> Value {
    Value::named(&STRINGS, Value::List(items.collect()))
}

/// Pairs in the order of their names, the alert's name first.
fn sorted_pairs(kv: &Value) -> Value {
    let Value::Map(map) = kv else { return Value::List(Arc::new([])) };
    let mut entries: Vec<(&Arc<str>, &Value)> = map.entries.iter().collect();
    entries.sort_by_key(|(name, _)| &***name != "alertname");
    let pair = |(name, value): (&Arc<str>, &Value)| {
        Value::structure("template.Pair", vec![("Name", Value::String(name.clone())), ("Value", value.clone())])
    };
    Value::List(entries.into_iter().map(pair).collect())
}

fn kv_method(kv: &Value, name: &str, args: &[Value]) -> Option<Result<Value, String>> {
    Some(Ok(match (name, args) {
        ("SortedPairs", []) => Value::named(&PAIRS, sorted_pairs(kv)),
        ("Names" | "Values", []) => return pairs_method(&sorted_pairs(kv), name, args),
        ("String", []) => pairs_string(&sorted_pairs(kv)).into(),
        ("Remove", [keys]) => {
            let (Value::Map(map), Value::List(keys)) = (kv, keys.plain()) else {
                return Some(Err(format!("wrong type for value; expected []string; got {}", keys.type_name())));
            };
            let removed =
                |name: &str| keys.iter().any(|key| matches!(key.plain(), Value::String(key) if &**key == name));
            let kept = map.entries.iter().filter(|(name, _)| !removed(name));
            let entries = kept.map(|(name, value)| (name.clone(), value.clone())).collect();
            Value::named(&KV, Value::Map(Arc::new(Map { entries, ..Map { of_strings: true, ..Map::default() } })))
        }
        ("Remove", _) => return Some(Err(format!("wrong number of args for Remove: want 1 got {}", args.len()))),
        _ => return None,
    }))
}

fn pairs_method(pairs: &Value, name: &str, args: &[Value]) -> Option<Result<Value, String>> {
    let (Value::List(items), []) = (pairs, args) else { return None };
    let field = |field: &'static str| {
        strings(items.iter().filter_map(move |item| match item {
            Value::Struct(pair) => pair.get(field).cloned(),
            _ => None,
        }))
    };
    match name {
        "Names" => Some(Ok(field("Name"))),
        "Values" => Some(Ok(field("Value"))),
        "String" => Some(Ok(pairs_string(pairs).into())),
        _ => None,
    }
}

fn pairs_string(pairs: &Value) -> String {
    let Value::List(items) = pairs else { return String::new() };
    let shown: Vec<String> = items
        .iter()
        .map(|item| match item {
            Value::Struct(pair) => {
                let text = |field| match pair.get(field) {
                    Some(Value::String(text)) => text.to_string(),
                    _ => String::new(),
                };
                format!("{}={}", text("Name"), text("Value"))
            }
            _ => String::new(),
        })
        .collect();
    shown.join(", ")
}

fn alerts_method(alerts: &Value, name: &str, args: &[Value]) -> Option<Result<Value, String>> {
    let status = match (name, args) {
        ("Firing", []) => "firing",
        ("Resolved", []) => "resolved",
        _ => return None,
    };
    let Value::List(items) = alerts else { return None };
    let has = |item: &&Value| matches!(item, Value::Struct(alert) if matches!(alert.get("Status"), Some(Value::String(s)) if &**s == status));
    Some(Ok(Value::List(items.iter().filter(has).cloned().collect())))
}

fn list_arg(args: &[Value], n: usize) -> Result<&Arc<[Value]>, String> {
    match args.get(n).map(Value::plain) {
        Some(Value::List(list)) => Ok(list),
        other => {
            Err(format!("wrong type for value; expected a list; got {}", other.map_or("nothing", Value::type_name)))
        }
    }
}

fn time_arg(args: &[Value], n: usize) -> Result<&jiff::ZonedDateTime, String> {
    match args.get(n).map(Value::plain) {
        Some(Value::Time(time)) => Ok(time),
        other => {
            Err(format!("wrong type for value; expected time.Time; got {}", other.map_or("nothing", Value::type_name)))
        }
    }
}

fn join(args: &[Value], context: &Context<'_>) -> Result<Value, String> {
    let (separator, list) = (string_arg(args, 0)?, list_arg(args, 1)?);
    let mut out = String::new();
    for (i, item) in list.iter().enumerate() {
        let Value::String(item) = item.plain() else {
            return Err(format!("wrong type for value; expected []string; got a list with {}", item.type_name()));
        };
        if i > 0 {
            out.push_str(separator);
        }
        out.push_str(item);
        if out.len() > context.limits.output {
            return Err(format!("output is longer than {} bytes", context.limits.output));
        }
    }
    Ok(out.into())
}

fn string_slice(args: &[Value], _: &Context<'_>) -> Result<Value, String> {
    for n in 0..args.len() {
        string_arg(args, n)?;
    }
    Ok(strings(args.iter().map(|arg| arg.plain().clone())))
}

fn in_zone(args: &[Value], _: &Context<'_>) -> Result<Value, String> {
    let (name, time) = (string_arg(args, 0)?, time_arg(args, 1)?);
    let zone = match name {
        "" | "UTC" => TimeZone::UTC,
        "Local" => TimeZone::system(),
        name => TimeZone::get(name).map_err(|_| format!("unknown time zone {name}"))?,
    };
    Ok(Value::Time(Arc::new(time.with_time_zone(zone))))
}

fn since(args: &[Value], context: &Context<'_>) -> Result<Value, String> {
    let now = i128::from(context.now.as_millis()) * 1_000_000;
    let passed = now - time_arg(args, 0)?.timestamp().as_nanosecond();
    Ok(Value::Duration(passed.clamp(i64::MIN.into(), i64::MAX.into()) as i64))
}

fn append(args: &[Value], _: &Context<'_>) -> Result<Value, String> {
    let list = list_arg(args, 0)?;
    Ok(Value::List(list.iter().chain(args.get(1..).unwrap_or(&[])).cloned().collect()))
}

fn dict(args: &[Value], _: &Context<'_>) -> Result<Value, String> {
    let mut entries: BTreeMap<Arc<str>, Value> = BTreeMap::new();
    for pair in args.chunks(2) {
        match pair {
            [Value::String(key), value] => {
                entries.insert(key.clone(), value.clone());
            }
            [_, _] => return Err("dict keys must be strings".into()),
            _ => return Err("dict requires an even number of arguments".into()),
        }
    }
    Ok(Value::Map(Arc::new(Map { entries, ..Map::default() })))
}

/// A query's text from its escaped form; the error is Go's.
fn url_unescape(text: &str) -> Result<String, String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        match byte {
            b'+' => out.push(b' '),
            b'%' => {
                let hex = tail.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
                let hex = hex.filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
                match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
                    Some(byte) => out.push(byte),
                    None => return Err(format!("invalid URL escape in {text:?}")),
                }
                rest = tail.get(2..).unwrap_or_default();
            }
            byte => out.push(byte),
        }
    }
    Ok(String::from_utf8_lossy(&out).into_owned())
}

/// Base64 with the alphabet that URLs take.
mod base64 {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

    pub fn encode(bytes: &[u8]) -> String {
        let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
        for chunk in bytes.chunks(3) {
            let bits = (0..3).fold(0_u32, |bits, i| bits << 8 | u32::from(chunk.get(i).copied().unwrap_or(0)));
            for i in 0..4 {
                let digit = ALPHABET.get((bits >> (18 - 6 * i) & 63) as usize).copied().unwrap_or(b'A');
                out.push(if i <= chunk.len() { char::from(digit) } else { '=' });
            }
        }
        out
    }

    pub fn decode(text: &str) -> Result<String, String> {
        let digits = text.trim_end_matches('=');
        let wrong = || "illegal base64 data".to_string();
        if !text.len().is_multiple_of(4) || text.len() - digits.len() > 2 {
            return Err(wrong());
        }
        let (mut bits, mut count, mut out) = (0_u32, 0, Vec::with_capacity(text.len() / 4 * 3));
        for digit in digits.bytes() {
            let value = ALPHABET.iter().position(|d| *d == digit).ok_or_else(wrong)?;
            bits = bits << 6 | value as u32;
            count += 6;
            if count >= 8 {
                count -= 8;
                out.push((bits >> count & 0xff) as u8);
            }
        }
        Ok(String::from_utf8_lossy(&out).into_owned())
    }
}
