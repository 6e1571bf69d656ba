//! What is to be known of the agent: its settings, and what its own rules give.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::Value;

use super::{Client, Failure, parse_duration};
use crate::cli::client::{Refusal, success};
use crate::config::ConfigFile;
use crate::model::Labels;
use crate::rules::Settings;
use crate::rules::replay::Recorders;
use crate::yaml::{Document, Faults};

#[derive(Debug)]
pub struct Facts {
    pub scrape_interval: Duration,
    pub evaluation_interval: Duration,
    pub rule_query_offset: Duration,
    pub lookback: Duration,
    pub retention: Duration,
    pub recorders: Recorders,
    external_labels: Labels,
}

impl Facts {
    pub fn ask(client: &Client) -> Result<Facts, Failure> {
        let build = ask(client, "api/v1/status/buildinfo")?;
        if build["watchfireVersion"].as_str().is_none() {
            return Err(client.failed(
                "this is a server for many hosts, not an agent: what is replayed is an agent's own history of its host",
            ));
        }
        let config = ask(client, "api/v1/status/config")?;
        let flags = ask(client, "api/v1/status/flags")?;
        let rules = ask(client, "api/v1/rules")?;
        Facts::of(&config, &flags, &rules)
            .ok_or_else(|| client.failed("what it says of its settings is not known here"))
    }

    fn of(config: &Value, flags: &Value, rules: &Value) -> Option<Facts> {
        // Another version may have keys that are not known here.
        let mut faults = Faults::of_known_keys();
        let file: ConfigFile = Document::parse("settings", config["yaml"].as_str()?, &mut faults).read(&mut faults);
        if faults.has_errors() || file.global.scrape_interval.is_zero() {
            return None;
        }
        let flag = |name: &str| parse_duration(flags[name].as_str()?).ok();
        let evaluation_interval = file.global.evaluation_interval;
        Some(Facts {
            scrape_interval: file.global.scrape_interval,
            evaluation_interval,
            rule_query_offset: file.global.rule_query_offset,
            lookback: flag("query.lookback-delta")?,
            retention: flag("storage.tsdb.retention.time")?,
            recorders: recorders(rules, evaluation_interval)?,
            external_labels: file.global.external_labels,
        })
    }

    /// Has rules evaluated as a configuration says, instead of the agent's.
    pub fn take_over(&mut self, config: &ConfigFile) {
        self.evaluation_interval = config.global.evaluation_interval;
        self.rule_query_offset = config.global.rule_query_offset;
        self.external_labels = config.global.external_labels.clone();
        self.lookback = config.query.lookback_delta;
    }

    pub fn settings(&self, url: &str) -> Settings {
        Settings {
            interval: self.evaluation_interval,
            query_offset: self.rule_query_offset,
            lookback: self.lookback,
            external_labels: self.external_labels.clone(),
            external_url: url.to_string(),
            ..Settings::default()
        }
    }
}

fn ask(client: &Client, path: &str) -> Result<Value, Failure> {
    let (status, body) = client.ask(path, None)?;
    let mut answer = success(status, &body).map_err(|refusal| match refusal {
        Refusal::Query { message, .. } | Refusal::Other(message) => client.failed(message),
    })?;
    Ok(answer["data"].take())
}

/// How often each rule of the agent gives its series.
fn recorders(rules: &Value, otherwise: Duration) -> Option<Recorders> {
    let mut found = Recorders { otherwise, ..Recorders::default() };
    for group in rules["groups"].as_array()? {
        let interval = Duration::try_from_secs_f64(group["interval"].as_f64()?).ok()?;
        for rule in group["rules"].as_array()? {
            let alerting = rule["type"] == "alerting";
            let all: &mut HashMap<String, Duration> = if alerting { &mut found.alerts } else { &mut found.records };
            // Of several that give the same, the one that gives it least often.
            let longest = all.entry(rule["name"].as_str()?.to_string()).or_default();
            *longest = interval.max(*longest);
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::Fuzz;

    const CONFIG: &str =
        r#"{"yaml":"global:\n  scrape_interval: 2s\n  evaluation_interval: 4s\n  rule_query_offset: 1s\n"}"#;
    const FLAGS: &str = r#"{"query.lookback-delta":"5m","storage.tsdb.retention.time":"2h"}"#;
    const RULES: &str = r#"{"groups":[{"interval":4,"rules":[{"name":"A","type":"alerting"},{"name":"r","type":"recording"}]},
        {"interval":60.5,"rules":[{"name":"r","type":"recording"}]}]}"#;

    fn facts(config: &str, flags: &str, rules: &str) -> Option<Facts> {
        let json = |text: &str| serde_json::from_str(text).unwrap_or_default();
        Facts::of(&json(config), &json(flags), &json(rules))
    }

    #[test]
    fn the_agents_settings_and_rules_are_known() {
        let facts = facts(CONFIG, FLAGS, RULES).unwrap();
        let seconds = [facts.scrape_interval, facts.evaluation_interval, facts.rule_query_offset, facts.lookback];
        assert_eq!(seconds.map(|d| d.as_secs()), [2, 4, 1, 300]);
        assert_eq!(facts.retention, Duration::from_secs(7200));
        assert_eq!(facts.recorders.alerts["A"], Duration::from_secs(4));
        assert_eq!(facts.recorders.records["r"], Duration::from_millis(60_500));
    }

    #[test]
    fn no_settings_make_it_panic() {
        Fuzz::of(&[CONFIG, FLAGS, RULES]).texts(|text| {
            let _ = (facts(text, FLAGS, RULES), facts(CONFIG, text, RULES), facts(CONFIG, FLAGS, text));
        });
    }
}
