//! A notification as it arrived, and how two rows of them differ.

use std::collections::BTreeMap;

use serde_json::Value;

/// A notification at a webhook.
#[derive(Clone, Debug)]
pub struct Message {
    /// When it came, in Alertmanager's seconds since the beginning.
    pub at: f64,
    /// Which webhook: `/ops/0`.
    pub path: String,
    pub json: Value,
    /// The times in it, in Alertmanager's seconds since the beginning; `None` for an end that has not come.
    pub times: Vec<Option<f64>>,
}

/// By how much times may differ: a delay of Alertmanager's.
const TOLERANCE: f64 = 0.6;

impl Message {
    /// Takes the times out of a payload. `seconds` makes seconds since the epoch what they are since the beginning.
    pub fn new(at: f64, path: &str, mut json: Value, seconds: impl Fn(f64) -> f64) -> Message {
        let mut times = Vec::new();
        for alert in json["alerts"].as_array_mut().into_iter().flatten() {
            for key in ["startsAt", "endsAt"] {
                let text = alert[key].take();
                let text = text.as_str().expect("a time");
                let time: jiff::Timestamp = text.parse().expect("a time");
                times.push((!text.starts_with("0001")).then(|| seconds(time.as_millisecond() as f64 / 1000.0)));
            }
        }
        Message { at, path: path.to_string(), json, times }
    }

    /// Its alerts with their times, and what else there is.
    fn brief(&self) -> String {
        let mut rest = self.json.clone();
        let alerts = rest["alerts"].take();
        let brief = |(i, alert): (usize, &Value)| {
            let times = self.times.get(2 * i..2 * i + 2).unwrap_or_default();
            format!("{} {} {times:.1?}", alert["annotations"]["summary"], alert["status"])
        };
        let alerts: Vec<String> = alerts.as_array().into_iter().flatten().enumerate().map(brief).collect();
        format!("[{}] {rest}", alerts.join(", "))
    }

    fn differs(&self, other: &Message) -> bool {
        let far = |a: f64, b: f64| (a - b).abs() > TOLERANCE;
        let times = self.times.iter().zip(&other.times).any(|(a, b)| match (a, b) {
            (Some(a), Some(b)) => far(*a, *b),
            (a, b) => a != b,
        });
        self.json != other.json || times || far(self.at, other.at)
    }
}

/// The first difference between what was told here and there: by webhook and group, in order.
pub fn difference(ours: &[Message], theirs: &[Message]) -> Option<String> {
    let (ours, theirs) = (by_group(ours), by_group(theirs));
    let keys: std::collections::BTreeSet<_> = ours.keys().chain(theirs.keys()).collect();
    for key in keys {
        let (a, b) = (ours.get(key), theirs.get(key));
        let (a, b) = (a.map_or(&[][..], Vec::as_slice), b.map_or(&[][..], Vec::as_slice));
        let place = a.iter().zip(b).position(|(a, b)| a.differs(b));
        if place.is_none() && a.len() == b.len() {
            continue;
        }
        let place = place.unwrap_or(a.len().min(b.len()));
        let show = |all: &[&Message]| {
            let around = all.iter().enumerate().skip(place.saturating_sub(1)).take(3);
            let lines = around.map(|(i, m)| format!("  {i} at {:.1}: {}", m.at, m.brief()));
            lines.collect::<Vec<_>>().join("\n")
        };
        return Some(format!("{} {}, from {place}\nours:\n{}\ntheirs:\n{}", key.0, key.1, show(a), show(b)));
    }
    None
}

fn by_group(messages: &[Message]) -> BTreeMap<(&str, &str), Vec<&Message>> {
    let mut groups: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for message in messages {
        let group = message.json["groupKey"].as_str().unwrap_or_default();
        groups.entry((message.path.as_str(), group)).or_default().push(message);
    }
    groups
}
