//! The page for people: what this is, how it is, and where the rest is.

use std::fmt::{self, Write};

use super::{ActiveAlert, CollectorState, FailingCheck, Overview, Undelivery};
use crate::model::{Age, Timestamp};

/// What fires comes first, then what may soon; among them the most severe. Of the collectors those that fail come first;
/// those that have nothing to read on this host, as most hosts lack most hardware, are listed apart and say so quietly.
pub(super) fn page(overview: &Overview, telemetry_path: &str, ready: bool, now: Timestamp) -> String {
    let mut out = String::with_capacity(8192);
    // Writing to a string does not fail.
    let _ = write_page(&mut out, overview, telemetry_path, ready, now);
    out
}

fn write_page(out: &mut String, overview: &Overview, path: &str, ready: bool, now: Timestamp) -> fmt::Result {
    let (host, version) = (Escaped(&overview.host), env!("CARGO_PKG_VERSION"));
    let mut alerts: Vec<&ActiveAlert> = overview.alerts.iter().collect();
    alerts.sort_by_key(|alert| (is_kept_back(alert), severity_rank(&alert.severity)));
    let (firing, pending): (Vec<_>, Vec<_>) = alerts.into_iter().partition(|alert| alert.state == FIRING);
    let title = if firing.is_empty() { String::new() } else { format!("{} firing: ", firing.len()) };
    write!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}{host}: Watchfire</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{host}</h1>\n"
    )?;
    writeln!(
        out,
        "<p class=\"quiet\">Watchfire {version}, {}, up for {}. As of {}.</p>",
        if ready { "ready" } else { "<strong class=\"bad\">not ready</strong>" },
        Age(overview.started, now),
        Moment(now),
    )?;
    writeln!(
        out,
        "<ul class=\"links\"><li><a href=\"{}\">Metrics</a></li><li><a href=\"/-/healthy\">Health</a></li>\
         <li><a href=\"/-/ready\">Readiness</a></li></ul>",
        Escaped(path)
    )?;
    match firing.len() {
        0 => out.push_str("<h2 class=\"good\">No alert is firing</h2>\n"),
        1 => out.push_str("<h2 class=\"bad\">1 alert is firing</h2>\n"),
        n => writeln!(out, "<h2 class=\"bad\">{n} alerts are firing</h2>")?,
    }
    write_undelivered(out, overview.undelivered)?;
    write_alerts(out, &firing, now)?;
    if !pending.is_empty() {
        out.push_str(
            "<h2>Pending</h2>\n<p class=\"quiet\">So it is now, but not yet for as long as the rule asks: nobody has been \
             told, and what a text says of times does not hold yet.</p>\n",
        );
        write_alerts(out, &pending, now)?;
    }
    write_checks(out, &overview.failing, overview.checks, now)?;
    write_collectors(out, &overview.collectors)?;
    out.push_str("</main>\n</body>\n</html>\n");
    Ok(())
}

const FIRING: &str = "firing";

/// Nobody is told of it.
fn is_kept_back(alert: &ActiveAlert) -> bool {
    matches!(alert.note, "silenced" | "inhibited" | "muted")
}

/// Names in use for what must wake somebody, then for what can wait until the morning, then all others.
fn severity_rank(severity: &str) -> u8 {
    match severity {
        "critical" | "page" | "emergency" | "disaster" => 0,
        "error" | "high" | "major" => 1,
        "warning" | "warn" => 2,
        _ => 3,
    }
}

fn write_undelivered(out: &mut String, undelivered: Undelivery) -> fmt::Result {
    let Undelivery { failed, dead } = undelivered;
    let mut said = Vec::new();
    match failed {
        0 => {}
        1 => said.push("1 notification could not be delivered and is tried again".to_string()),
        n => said.push(format!("{n} notifications could not be delivered and are tried again")),
    }
    match dead {
        0 => {}
        1 => said.push("1 notification was given up".to_string()),
        n => said.push(format!("{n} notifications were given up")),
    }
    if !said.is_empty() {
        writeln!(out, "<p class=\"bad\"><a href=\"/api/notifications\">{}</a>.</p>", said.join(", "))?;
    }
    Ok(())
}

fn write_alerts(out: &mut String, alerts: &[&ActiveAlert], now: Timestamp) -> fmt::Result {
    if alerts.is_empty() {
        return Ok(());
    }
    out.push_str("<table>\n<tr><th>Severity</th><th class=\"wide\">Alert</th><th class=\"n\">For</th></tr>\n");
    for alert in alerts {
        let class = match severity_rank(&alert.severity) {
            _ if alert.state != FIRING || is_kept_back(alert) => "pending",
            0 => "critical",
            _ => "firing",
        };
        writeln!(
            out,
            "<tr class=\"{class}\"><td class=\"severity\">{}</td><td><strong>{}</strong>{}<br>{}<br><code>{}</code></td>\
             <td class=\"n\"><time datetime=\"{}\" title=\"since {}\">{}</time></td></tr>",
            Escaped(&alert.severity),
            Escaped(&alert.name),
            if alert.note.is_empty() { String::new() } else { format!(" <em>{}</em>", alert.note) },
            Escaped(&alert.summary),
            Escaped(&alert.labels),
            alert.since,
            Moment(alert.since),
            Age(alert.since, now),
        )?;
    }
    out.push_str("</table>\n");
    Ok(())
}

/// Those that are not ok. A host without checks has no line of them.
fn write_checks(out: &mut String, failing: &[FailingCheck], all: usize, now: Timestamp) -> fmt::Result {
    match (failing.len(), all) {
        (0, 0) => return Ok(()),
        (0, 1) => {
            return writeln!(out, "<h2>Checks</h2>\n<p class=\"quiet\"><a href=\"/api/checks\">1 check</a> is ok.</p>");
        }
        (0, n) => {
            return writeln!(
                out,
                "<h2>Checks</h2>\n<p class=\"quiet\"><a href=\"/api/checks\">{n} checks</a> are ok.</p>"
            );
        }
        (1, _) => writeln!(out, "<h2>Checks, <span class=\"bad\">1 of {all} is not ok</span></h2>")?,
        (n, _) => writeln!(out, "<h2>Checks, <span class=\"bad\">{n} of {all} are not ok</span></h2>")?,
    }
    out.push_str("<table>\n<tr><th>State</th><th class=\"wide\">Check</th><th class=\"n\">For</th></tr>\n");
    for check in failing {
        writeln!(
            out,
            "<tr class=\"{}\"><td class=\"severity\">{}</td><td><strong>{}</strong><br>{}</td><td class=\"n\">\
             <time datetime=\"{}\" title=\"since {}\">{}</time></td></tr>",
            if check.state == "critical" { "critical" } else { "firing" },
            check.state,
            Escaped(&check.name),
            Escaped(&check.summary),
            check.since,
            Moment(check.since),
            Age(check.since, now),
        )?;
    }
    out.push_str("</table>\n");
    Ok(())
}

fn write_collectors(out: &mut String, collectors: &[CollectorState]) -> fmt::Result {
    let (mut absent, mut present): (Vec<&CollectorState>, Vec<_>) =
        collectors.iter().partition(|c| c.no_data && c.error.is_some());
    let failing = present.iter().filter(|c| c.error.is_some()).count();
    match failing {
        0 => out.push_str("<h2>Collectors</h2>\n"),
        n => writeln!(out, "<h2>Collectors, <span class=\"bad\">{n} failing</span></h2>")?,
    }
    out.push_str(
        "<table>\n<tr><th>Collector</th><th class=\"n\">Last run</th><th class=\"n\">Series</th>\
         <th class=\"wide\">State</th></tr>\n",
    );
    present.sort_by_key(|c| (c.error.is_none(), &c.name));
    for collector in present {
        write!(
            out,
            "<tr><td>{}</td><td class=\"n\">{:.2} ms</td><td class=\"n\">{}</td>",
            Escaped(&collector.name),
            collector.took.as_secs_f64() * 1000.0,
            collector.series,
        )?;
        match &collector.error {
            Some(error) => writeln!(out, "<td class=\"bad\">{}</td></tr>", Escaped(error))?,
            None => out.push_str("<td>ok</td></tr>\n"),
        }
    }
    out.push_str("</table>\n");
    if absent.is_empty() {
        return Ok(());
    }
    absent.sort_by_key(|c| &c.name);
    writeln!(
        out,
        "<details class=\"quiet\">\n<summary>With nothing to report on this host: {}</summary>\n<table>",
        absent.len()
    )?;
    for collector in absent {
        let why = collector.error.as_deref().unwrap_or_default();
        writeln!(out, "<tr><td>{}</td><td class=\"wide\">{}</td></tr>", Escaped(&collector.name), Escaped(why))?;
    }
    out.push_str("</table>\n</details>\n");
    Ok(())
}

/// A point in time to the second: `2026-01-02 03:04:05 UTC`.
struct Moment(Timestamp);

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        let seconds = text.split(['.', 'Z']).next().unwrap_or_default();
        write!(f, "{} UTC", seconds.replace('T', " "))
    }
}

/// Text in HTML, in elements and in attributes with double quotes.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// Colours with a contrast of at least 4.5 to 1 in both schemes.
const STYLE: &str = "
:root{color-scheme:light dark;--text:#1c1e21;--quiet:#5a6169;--back:#fff;--line:#d5d9de;--link:#0b57a4;--bad:#b3261e;--warn:#8a5300;--good:#1a6e2e}
@media(prefers-color-scheme:dark){:root{--text:#e4e6ea;--quiet:#a0a7af;--back:#16181b;--line:#3a3f45;--link:#8ab8f2;--bad:#ff8a80;--warn:#f0b45c;--good:#7fd18c}}
body{margin:0;font:16px/1.45 system-ui,sans-serif;color:var(--text);background:var(--back)}
main{max-width:56rem;margin:0 auto;padding:1.5rem}
h1{font-size:1.6rem;margin:0;overflow-wrap:anywhere}h2{font-size:1.2rem;margin:1.8rem 0 .4rem}p{margin:.3rem 0}
a{color:var(--link)}.links{display:flex;gap:1.5rem;padding:0;margin:.6rem 0;list-style:none}
table{width:100%;border-collapse:collapse}
th,td{padding:.3rem .8rem;text-align:left;vertical-align:top;border-bottom:1px solid var(--line)}
th{font-weight:600;white-space:nowrap;color:var(--quiet);font-size:.9rem}.wide{width:99%}
td{overflow-wrap:anywhere}td:first-child{white-space:nowrap}.severity{font-weight:600}
details{margin:.8rem 0}summary{cursor:pointer}
code{font-size:.85rem;color:var(--quiet)}.quiet{color:var(--quiet)}.good{color:var(--good)}.bad{color:var(--bad)}
.n{font-variant-numeric:tabular-nums;white-space:nowrap;text-align:right}
.critical td:first-child{box-shadow:inset 4px 0 var(--bad);color:var(--bad)}
.firing td:first-child{box-shadow:inset 4px 0 var(--warn);color:var(--warn)}
.pending td:first-child{font-weight:400}
";

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_page_shows_alerts_and_collectors_and_runs_nothing_that_stands_in_them() {
        let evil = "<script>alert('x')</script>\" onload=\"x";
        let alert = |name: &str, severity: &str, state| ActiveAlert {
            name: name.into(),
            severity: severity.into(),
            state,
            summary: evil.into(),
            ..Default::default()
        };
        let overview = Overview {
            host: "db1".into(),
            undelivered: Undelivery { failed: 2, dead: 1 },
            alerts: vec![
                ActiveAlert { note: "silenced", ..alert("Hushed", "critical", "firing") },
                alert("Soon", "critical", "pending"),
                alert("Slow", "warning", "firing"),
                alert("DiskFull", "critical", "firing"),
            ],
            collectors: vec![
                CollectorState {
                    name: "cpu".into(),
                    took: Duration::from_micros(1500),
                    series: 12,
                    ..Default::default()
                },
                CollectorState { name: "textfile".into(), error: Some(evil.into()), ..Default::default() },
                CollectorState {
                    name: "bonding".into(),
                    error: Some(evil.into()),
                    no_data: true,
                    ..Default::default()
                },
            ],
            failing: vec![FailingCheck {
                name: evil.into(),
                state: "critical",
                summary: evil.into(),
                ..Default::default()
            }],
            checks: 3,
            ..Default::default()
        };
        let page = page(&overview, "/metrics", true, Timestamp::from_millis(133_000));
        for part in [
            "<title>3 firing: db1: Watchfire</title>",
            "3 alerts are firing",
            "<strong>Hushed</strong> <em>silenced</em>",
            "2 notifications could not be delivered and are tried again, 1 notification was given up</a>",
            "<td class=\"n\">1.50 ms</td>",
            "href=\"/metrics\"",
            "title=\"since 1970-01-01 00:00:00 UTC\">2m 13s<",
            "1 of 3 is not ok",
            "1 failing",
            "With nothing to report on this host: 1<",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
        assert!(!page.contains("<script") && !page.contains("\" onload"), "{page}");
        let order =
            ["DiskFull", "Slow", "Hushed", "Soon", ">textfile<", ">cpu<", ">bonding<"].map(|part| page.find(part));
        assert!(order.is_sorted() && order[0].is_some(), "the most important first: {page}");
    }

    #[test]
    fn a_quiet_host_has_a_quiet_page() {
        let of = |overview: &Overview| page(overview, "/", false, Timestamp::default());
        let quiet = of(&Overview::default());
        assert!(quiet.contains("No alert is firing") && quiet.contains("not ready"), "{quiet}");
        assert!(!quiet.contains("Pending") && !quiet.contains("Checks"), "{quiet}");
        assert!(of(&Overview { checks: 12, ..Overview::default() }).contains("12 checks</a> are ok"));
    }
}
