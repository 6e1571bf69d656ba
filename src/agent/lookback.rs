//! How far the rules look back: what they look at must be kept as long, and where memory does not suffice for that, it is
//! said.

use std::time::Duration;

use crate::history::{History, HistoryLimits, Keep};
use crate::model::{Timestamp, format_duration};
use crate::rules::{GroupSpec, Settings};

/// Beyond what a rule asks for: it may be evaluated late, and a little before the tick of its samples.
const MARGIN: Duration = Duration::from_secs(60);

/// Bytes of a sample, until they can be measured.
const BYTES_PER_SAMPLE: f64 = 0.8;
/// Samples from which on they can.
const ENOUGH_SAMPLES: u64 = 1_000_000;

/// A selector of a rule.
#[derive(Clone, Debug)]
pub struct Lookback {
    /// `group/rule`
    pub rule: String,
    pub keep: Keep,
}

impl Lookback {
    fn selector(&self) -> String {
        let matchers: Vec<String> = self.keep.matchers.iter().map(|m| m.to_string()).collect();
        format!("{{{}}}", matchers.join(","))
    }
}

/// The selectors of all rules, evaluated with these settings.
pub fn lookbacks(groups: &[GroupSpec], settings: &Settings) -> Vec<Lookback> {
    let mut out = Vec::new();
    for group in groups {
        let offset = group.query_offset.unwrap_or(settings.query_offset);
        for rule in &group.rules {
            for selector in rule.query().selectors() {
                let around = if selector.looks_back { settings.lookback } else { Duration::ZERO };
                let reach = selector.reach.saturating_add(around + MARGIN).saturating_add(offset);
                let keep = Keep { matchers: selector.matchers.to_vec(), reach };
                out.push(Lookback { rule: format!("{}/{}", group.name, rule.name()), keep });
            }
        }
    }
    out
}

/// How long the longest is that anything is to be kept.
pub fn longest(lookbacks: &[Lookback], limits: HistoryLimits) -> Duration {
    lookbacks.iter().map(|l| l.keep.reach).max().unwrap_or_default().max(limits.retention)
}

/// Says which rules look back on more than history may hold, as far as that can be told from the series there are.
pub fn check(history: &History, lookbacks: &[Lookback], limits: HistoryLimits, interval: Duration) {
    let stats = history.stats();
    let measured = stats.samples >= ENOUGH_SAMPLES;
    let per_sample = if measured { stats.bytes as f64 / stats.samples as f64 } else { BYTES_PER_SAMPLE };
    let per_second = per_sample / interval.as_secs_f64().max(0.001);
    let ordinary = stats.series as f64 * limits.retention.as_secs_f64() * per_second;
    for lookback in lookbacks.iter().filter(|l| l.keep.reach > limits.retention) {
        let series = history.select(&lookback.keep.matchers).len();
        let beyond = (lookback.keep.reach - limits.retention).as_secs_f64();
        let needed = series as f64 * beyond * per_second;
        if ordinary + needed > limits.max_bytes as f64 {
            tracing::warn!(
                rule = lookback.rule,
                selector = lookback.selector(),
                series,
                wanted = format_duration(lookback.keep.reach),
                estimated_bytes = (ordinary + needed) as u64,
                max_bytes = limits.max_bytes,
                "a rule looks further back than history.max_bytes allows: it will see less; raise the limit or let it \
                 look at fewer series"
            );
        }
    }
}

/// Says that samples from before `cutoff` had to go, and which rules see less for it.
pub fn report(lookbacks: &[Lookback], limits: HistoryLimits, now: Timestamp, cutoff: Timestamp) {
    let reach = Duration::from_millis(now.millis_since(cutoff).max(0).unsigned_abs());
    let is_cut = |l: &&Lookback| l.keep.reach > reach;
    let mut rules: Vec<&str> = lookbacks.iter().filter(is_cut).map(|l| l.rule.as_str()).collect();
    rules.sort_unstable();
    rules.dedup();
    let shown = rules.get(..5).unwrap_or(&rules).join(", ");
    tracing::warn!(
        reaches_back = format_duration(reach),
        retention = format_duration(limits.retention),
        max_bytes = limits.max_bytes,
        rules_that_see_less = rules.len(),
        rules = shown,
        "history.max_bytes is reached: the oldest samples are forgotten before their time; raise it if these rules need \
         them"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::read_file;
    use crate::yaml::Faults;

    #[test]
    fn a_rule_looks_back_by_its_ranges_offsets_and_lookback() {
        let text = "groups:\n- name: g\n  query_offset: 1m\n  rules:\n  - {record: a, expr: 'min_over_time(m[1w] offset 1d)'}\n  \
                    - {alert: b, expr: 'n > 1 and max_over_time(rate(o[5m])[1h:1m]) > 0'}\n";
        let mut faults = Faults::default();
        let groups = read_file("r.yaml", text, &mut faults);
        assert!(faults.is_empty(), "{faults}");
        let found: Vec<_> = lookbacks(&groups, &Settings::default())
            .into_iter()
            .map(|l| (l.rule.clone(), l.selector(), format_duration(l.keep.reach)))
            .collect();
        let expected = [
            ("g/a", "{__name__=\"m\"}", "8d2m"),
            ("g/b", "{__name__=\"n\"}", "7m"),
            ("g/b", "{__name__=\"o\"}", "1h7m"),
        ];
        assert_eq!(found, expected.map(|(r, s, d)| (r.to_string(), s.to_string(), d.to_string())));
    }
}
