//! What clients ask a Prometheus about itself and its targets. The agent has one target: its host.

use serde_json::{Value, json};

use super::error::ApiError;
use super::params::{Params, selector};
use super::work::Workers;
use super::{Body, json_data};
use crate::http::app::About;
use crate::model::{Family, MetricType, Snapshot, Timestamp, format_duration};

/// The Prometheus whose language and API these are. Clients decide by it what they may ask for: Grafana, for one, sends
/// `match[]` for label values only to versions that know it.
const PROMETHEUS_VERSION: &str = "3.5.0";

pub(super) fn build_info() -> Body {
    json_data(&json!({
        "version": PROMETHEUS_VERSION,
        "revision": "",
        "branch": "",
        "buildUser": "",
        "buildDate": "",
        "goVersion": "",
        "watchfireVersion": env!("CARGO_PKG_VERSION"),
    }))
}

pub(super) fn runtime_info(about: &About) -> Body {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let directory = std::env::current_dir().map(|dir| dir.display().to_string()).unwrap_or_default();
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    json_data(&json!({
        "startTime": about.started.to_string(),
        "CWD": directory,
        "hostname": host,
        "serverTime": Timestamp::now().to_string(),
        "reloadConfigSuccess": about.config_valid,
        "lastConfigTime": about.config_loaded.to_string(),
        "corruptionCount": 0,
        "goroutineCount": 0,
        "GOMAXPROCS": cpus,
        "GOMEMLIMIT": i64::MAX,
        "GOGC": "",
        "GODEBUG": "",
        "storageRetention": format_duration(about.retention),
    }))
}

/// Only what stands under `global` and is nobody's secret.
pub(super) fn config(about: &About) -> Body {
    let yaml = format!(
        "global:\n  scrape_interval: {}\n  evaluation_interval: {}\n  rule_query_offset: {}\n",
        format_duration(about.scrape_interval),
        format_duration(about.evaluation_interval),
        format_duration(about.rule_query_offset),
    );
    json_data(&json!({ "yaml": yaml }))
}

pub(super) fn flags(about: &About, workers: &Workers) -> Body {
    let query = workers.config();
    json_data(&json!({
        "query.lookback-delta": format_duration(query.lookback_delta),
        "query.max-concurrency": query.max_concurrency.to_string(),
        "query.max-samples": query.max_samples.to_string(),
        "query.timeout": format_duration(query.timeout),
        "storage.tsdb.retention.time": format_duration(about.retention),
    }))
}

pub(super) fn wal_replay() -> Body {
    json_data(&json!({"min": 0, "max": 0, "current": 0}))
}

/// Alerts are delivered by the agent itself.
pub(super) fn alertmanagers() -> Body {
    json_data(&json!({"activeAlertmanagers": [], "droppedAlertmanagers": []}))
}

pub(super) fn scrape_pools(about: &About) -> Body {
    json_data(&json!({"scrapePools": [about.target.get("job")]}))
}

pub(super) fn targets(about: &About, latest: Option<&Snapshot>, params: &Params) -> Body {
    let (job, instance) = (about.target.get("job"), about.target.get("instance"));
    let state = params.get("state").to_lowercase();
    let shown = |which: &str| matches!(state.as_str(), "" | "any") || state == which;
    let asked = matches!(params.get("scrapePool"), "") || params.get("scrapePool") == job;
    let url = format!("http://{instance}{}", about.telemetry_path);
    let interval = format_duration(about.scrape_interval);
    let target = || {
        json!({
            "discoveredLabels": {
                "__address__": instance,
                "__metrics_path__": about.telemetry_path,
                "__scheme__": "http",
                "__scrape_interval__": interval,
                "__scrape_timeout__": interval,
                "job": job,
            },
            "labels": {"instance": instance, "job": job},
            "scrapePool": job,
            "scrapeUrl": url,
            "globalUrl": url,
            "lastError": "",
            "lastScrape": super::json::time(latest.map(|s| s.time)),
            "lastScrapeDuration": latest.and_then(|s| sample(s, "scrape_duration_seconds")).unwrap_or(0.0),
            "health": if latest.is_some() { "up" } else { "unknown" },
            "scrapeInterval": interval,
            "scrapeTimeout": interval,
        })
    };
    let active = if shown("active") && asked { vec![target()] } else { Vec::new() };
    let counts = if shown("dropped") { json!({ job: 0 }) } else { Value::Null };
    json_data(&json!({"activeTargets": active, "droppedTargets": [], "droppedTargetCounts": counts}))
}

/// The value of a family that is one sample.
fn sample(snapshot: &Snapshot, name: &str) -> Option<f64> {
    snapshot.sections.iter().find_map(|section| {
        let (_, places) = section.layout.families().find(|(family, _)| *family.name == *name)?;
        section.values.get(places.start).copied()
    })
}

/// The families that are served, the first of each name.
fn families<'s>(latest: Option<&'s Snapshot>, metric: &str) -> Vec<&'s Family> {
    let sections = latest.into_iter().flat_map(|s| &s.sections).filter(|section| section.exposed);
    let all = sections.flat_map(|section| section.layout.families().map(|(family, _)| family));
    let mut found: Vec<&Family> = all.filter(|f| metric.is_empty() || *f.name == *metric).collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found.dedup_by(|a, b| a.name == b.name);
    found
}

fn kind(family: &Family) -> &'static str {
    match family.kind {
        MetricType::Untyped => "unknown",
        kind => kind.as_str(),
    }
}

pub(super) fn metadata(latest: Option<&Snapshot>, params: &Params) -> Result<Body, ApiError> {
    let limit = params.number("limit")?.unwrap_or(usize::MAX);
    params.number("limit_per_metric")?;
    let found = families(latest, params.get("metric")).into_iter().take(limit);
    let entry = |f: &Family| (f.name.to_string(), json!([{"type": kind(f), "help": &*f.help, "unit": ""}]));
    Ok(json_data(&found.map(entry).collect::<serde_json::Map<_, _>>()))
}

pub(super) fn targets_metadata(about: &About, latest: Option<&Snapshot>, params: &Params) -> Result<Body, ApiError> {
    let limit = params.number("limit")?.unwrap_or(usize::MAX);
    let metric = params.get("metric");
    let matches = match params.get("match_target") {
        "" => true,
        text => {
            let matchers = selector(text).map_err(|why| ApiError::parameter("match_target", why))?;
            matchers.iter().all(|m| m.matches_labels(&about.target))
        }
    };
    let target = json!({"instance": about.target.get("instance"), "job": about.target.get("job")});
    let entry = |f: &Family| {
        let mut entry = json!({"target": target, "type": kind(f), "help": &*f.help, "unit": ""});
        if metric.is_empty()
            && let Some(entry) = entry.as_object_mut()
        {
            entry.insert("metric".to_string(), json!(&*f.name));
        }
        entry
    };
    let found = families(latest, metric).into_iter().filter(|_| matches).take(limit).map(entry);
    Ok(json_data(&found.collect::<Vec<_>>()))
}
