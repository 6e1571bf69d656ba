//! What a sink delivers: a group of alerts as it stood when the notification became due.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::{Labels, Timestamp, TopProcess};

/// A notification. It is stored as it is until a sink confirms it, so a sink gets the same one at every try.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Notification {
    /// The same at every try and different for every notification, so that a far side can tell a repetition.
    pub id: String,
    /// The receiver's name.
    pub receiver: String,
    /// The route and group labels, as Alertmanager writes them: `{}/{severity="page"}:{alertname="X"}`.
    pub group_key: String,
    #[serde(with = "as_map")]
    pub group_labels: Labels,
    /// When it became due, by the wall clock.
    #[serde(with = "as_millis")]
    pub at: Timestamp,
    /// Where people find this agent; `""` when nothing is configured.
    pub external_url: String,
    /// In Alertmanager's order. Never empty.
    pub alerts: Vec<NotifiedAlert>,
}

/// One alert of a notification.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct NotifiedAlert {
    #[serde(with = "as_map")]
    pub labels: Labels,
    #[serde(with = "as_map")]
    pub annotations: Labels,
    /// When it began to fire.
    #[serde(with = "as_millis")]
    pub starts_at: Timestamp,
    /// When it stopped; `None` while it fires.
    #[serde(with = "as_optional_millis")]
    pub ends_at: Option<Timestamp>,
    /// The expression's value; NaN for an alert that came from elsewhere.
    #[serde(with = "as_text")]
    pub value: f64,
    /// A link to the expression.
    pub generator_url: String,
    /// The rule's expression; `""` for an alert that came from elsewhere.
    #[serde(default)]
    pub expr: String,
    /// What else helps who is woken by it.
    #[serde(default)]
    pub details: Details,
}

/// What helps who is woken by an alert, as it was when it began to fire.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
pub struct Details {
    /// The number that the rule's expression compares with, where it compares with one.
    pub threshold: Option<f64>,
    /// The processes that used most of the host, the first the most.
    pub top: Vec<TopProcess>,
    /// How often it has begun to fire of late, where that is so often that its ends are not told one by one.
    pub flapping: Option<u32>,
    /// What has been done about it, a line each: `restart-nginx: exit 0 after 1.2 s`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<String>,
    /// What the check that it is about said last, as it was when the notification became due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<CheckSaid>,
}

/// How a check stands, and why.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CheckSaid {
    /// `ok`, `warning`, `critical` or `unknown`.
    pub state: String,
    /// One line, of any content.
    pub summary: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    Firing,
    Resolved,
}

impl Status {
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Firing => "firing",
            Status::Resolved => "resolved",
        }
    }
}

impl NotifiedAlert {
    pub fn status(&self) -> Status {
        if self.ends_at.is_some() { Status::Resolved } else { Status::Firing }
    }

    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.labels)
    }

    /// A link to a picture of its expression over the hour before `at`; `""` for an alert that came from elsewhere.
    pub fn chart_url(&self, external_url: &str, at: Timestamp) -> String {
        if self.expr.is_empty() {
            return String::new();
        }
        let mut query = form_urlencoded::Serializer::new(String::new());
        let seconds = |time: Timestamp| format!("{:.3}", time.as_secs_f64());
        query.append_pair("expr", &self.expr).append_pair("at", &seconds(at));
        query.append_pair("start", &seconds(self.starts_at));
        if let Some(end) = self.ends_at {
            query.append_pair("end", &seconds(end));
        }
        if let Some(threshold) = self.details.threshold {
            query.append_pair("threshold", &threshold.to_string());
        }
        for (name, value) in self.labels.iter() {
            query.append_pair(&format!("l.{name}"), value);
        }
        format!("{}/chart.png?{}", external_url.trim_end_matches('/'), query.finish())
    }
}

impl Notification {
    /// Firing as long as one alert is.
    pub fn status(&self) -> Status {
        if self.count(Status::Firing) > 0 { Status::Firing } else { Status::Resolved }
    }

    pub fn count(&self, status: Status) -> usize {
        self.alerts.iter().filter(|a| a.status() == status).count()
    }

    /// The same for one of its alerts only, for sinks that tell of each apart.
    pub fn alone(&self, alert: &NotifiedAlert) -> Notification {
        Notification {
            id: self.id.clone(),
            receiver: self.receiver.clone(),
            group_key: self.group_key.clone(),
            group_labels: self.group_labels.clone(),
            at: self.at,
            external_url: self.external_url.clone(),
            alerts: vec![alert.clone()],
        }
    }

    /// The names of its alerts for a line of the log: `DiskFull, HighCpu`, the first three of them.
    pub fn alert_names(&self) -> String {
        let mut names: Vec<&str> = self.alerts.iter().map(|a| a.labels.get("alertname")).collect();
        names.sort_unstable();
        names.dedup();
        let more = names.len().saturating_sub(3);
        names.truncate(3);
        let shown = names.join(", ");
        if more == 0 { shown } else { format!("{shown} and {more} more") }
    }

    /// The labels that all alerts have with the same value.
    pub fn common_labels(&self) -> Labels {
        common(self.alerts.iter().map(|a| &a.labels))
    }

    /// The annotations that all alerts have with the same value.
    pub fn common_annotations(&self) -> Labels {
        common(self.alerts.iter().map(|a| &a.annotations))
    }
}

fn common<'a>(mut sets: impl Iterator<Item = &'a Labels>) -> Labels {
    let Some(first) = sets.next() else { return Labels::empty() };
    let mut pairs: Vec<(&str, &str)> = first.iter().collect();
    for set in sets {
        pairs.retain(|(name, value)| set.get(name) == *value);
    }
    Labels::from_pairs(pairs)
}

/// Identifies a label set, as Prometheus and Alertmanager do: 64-bit FNV-1a over names and values in order of name, each
/// followed by the byte 255.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Fingerprint(pub u64);

impl Fingerprint {
    pub fn of(labels: &Labels) -> Fingerprint {
        const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
        const PRIME: u64 = 0x0100_0000_01b3;
        let mut sum = OFFSET;
        for (name, value) in labels.iter() {
            for text in [name, value] {
                for byte in text.as_bytes() {
                    sum = (sum ^ u64::from(*byte)).wrapping_mul(PRIME);
                }
                sum = (sum ^ 255).wrapping_mul(PRIME);
            }
        }
        Fingerprint(sum)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A label set as a JSON object, in order of name.
pub(super) mod as_map {
    use std::fmt;

    use serde::de::{MapAccess, Visitor};
    use serde::{Deserializer, Serializer};

    use crate::model::{Labels, LabelsBuilder};

    pub fn serialize<S: Serializer>(labels: &Labels, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(labels.iter())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Labels, D::Error> {
        from.deserialize_map(Pairs)
    }

    struct Pairs;

    impl<'de> Visitor<'de> for Pairs {
        type Value = Labels;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a map of texts")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Labels, A::Error> {
            let mut labels = LabelsBuilder::default();
            while let Some((name, value)) = map.next_entry::<String, String>()? {
                labels.set(&name, &value);
            }
            Ok(labels.build())
        }
    }
}

mod as_millis {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::model::Timestamp;

    pub fn serialize<S: Serializer>(t: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_i64(t.as_millis())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
        i64::deserialize(from).map(Timestamp::from_millis)
    }
}

mod as_optional_millis {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::model::Timestamp;

    pub fn serialize<S: Serializer>(t: &Option<Timestamp>, to: S) -> Result<S::Ok, S::Error> {
        t.map(Timestamp::as_millis).serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Timestamp>, D::Error> {
        Ok(Option::<i64>::deserialize(from)?.map(Timestamp::from_millis))
    }
}

/// JSON has no NaN and no infinity, which are ordinary values here.
mod as_text {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(value: &f64, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A firing and a resolved alert that share some labels.
    pub fn example() -> Notification {
        let alert = |instance: &str, ends_at: Option<i64>| NotifiedAlert {
            labels: Labels::from_pairs([("alertname", "DiskFull"), ("instance", instance), ("severity", "page")]),
            annotations: Labels::from_pairs([("summary", "disk <full> & \"loud\""), ("description", instance)]),
            starts_at: Timestamp::from_millis(1_700_000_000_500),
            ends_at: ends_at.map(Timestamp::from_millis),
            value: 0.97,
            generator_url: "http://host:9100/graph?g0.expr=up&g0.tab=1".to_string(),
            expr: "up".to_string(),
            details: Details::default(),
        };
        Notification {
            id: "s-7".to_string(),
            receiver: "ops.team".to_string(),
            group_key: "{}:{alertname=\"DiskFull\"}".to_string(),
            group_labels: Labels::from_pairs([("alertname", "DiskFull")]),
            at: Timestamp::from_millis(1_700_000_060_000),
            external_url: "http://host:9100".to_string(),
            alerts: vec![alert("a", None), alert("b", Some(1_700_000_030_000))],
        }
    }

    #[test]
    fn fingerprints_are_those_of_prometheus() {
        // The first is that of the empty set in Prometheus' own tests, FNV's offset.
        assert_eq!(Fingerprint::of(&Labels::empty()).to_string(), "cbf29ce484222325");
        let a = Fingerprint::of(&Labels::from_pairs([("a", "b"), ("c", "d")]));
        assert_eq!(a, Fingerprint::of(&Labels::from_pairs([("c", "d"), ("a", "b")])));
        assert_ne!(a, Fingerprint::of(&Labels::from_pairs([("a", "bc"), ("c", "d")])));
    }

    #[test]
    fn a_log_line_names_the_alerts() {
        let mut n = example();
        assert_eq!(n.alert_names(), "DiskFull");
        for name in ["D", "C", "B", "A"] {
            let mut alert = example().alerts[0].clone();
            alert.labels = Labels::from_pairs([("alertname", name)]);
            n.alerts.push(alert);
        }
        assert_eq!(n.alert_names(), "A, B, C and 2 more");
    }

    #[test]
    fn what_all_alerts_share_is_common() {
        let n = example();
        assert_eq!(n.common_labels().to_string(), "{alertname=\"DiskFull\", severity=\"page\"}");
        assert!(!n.common_annotations().has("description"));
        assert_eq!((n.status(), n.count(Status::Firing), n.count(Status::Resolved)), (Status::Firing, 1, 1));
    }

    #[test]
    fn a_notification_comes_back_from_the_store_as_it_was() {
        let mut n = example();
        n.alerts[0].value = f64::INFINITY;
        let back: Notification = serde_json::from_slice(&serde_json::to_vec(&n).unwrap()).unwrap();
        assert_eq!(back, n);
        n.alerts[0].value = f64::NAN;
        let back: Notification = serde_json::from_slice(&serde_json::to_vec(&n).unwrap()).unwrap();
        assert!(back.alerts[0].value.is_nan());
    }
}
