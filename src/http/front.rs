//! The page for people: what this is, how it is, and where the rest is.

use std::fmt::{self, Write};

use super::{ActiveAlert, CollectorState, Overview};

/// Collectors are in order of name, alerts as given.
pub(super) fn page(overview: &Overview, telemetry_path: &str, ready: bool) -> String {
    let mut out = String::with_capacity(8192);
    // Writing to a string does not fail.
    let _ = write_page(&mut out, overview, telemetry_path, ready);
    out
}

fn write_page(out: &mut String, overview: &Overview, telemetry_path: &str, ready: bool) -> fmt::Result {
    let (host, version) = (Escaped(&overview.host), env!("CARGO_PKG_VERSION"));
    let state = if ready { "ready" } else { "not ready" };
    write!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{host}: Watchfire</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{host}</h1>\n\
         <p>Watchfire {version} watches this host: it exports its metrics to Prometheus and alerts when it hurts. \
         It is <strong>{state}</strong>, up since {}.</p>\n",
        overview.started
    )?;
    writeln!(
        out,
        "<ul class=\"links\"><li><a href=\"{}\">Metrics</a></li><li><a href=\"/-/healthy\">Health</a></li>\
         <li><a href=\"/-/ready\">Readiness</a></li></ul>",
        Escaped(telemetry_path)
    )?;
    write_alerts(out, &overview.alerts)?;
    write_collectors(out, &overview.collectors)?;
    out.push_str("</main>\n</body>\n</html>\n");
    Ok(())
}

fn write_alerts(out: &mut String, alerts: &[ActiveAlert]) -> fmt::Result {
    out.push_str("<h2>Active alerts</h2>\n");
    if alerts.is_empty() {
        out.push_str("<p>None.</p>\n");
        return Ok(());
    }
    out.push_str(
        "<table>\n<tr><th>State</th><th>Severity</th><th>Alert</th><th>Since</th><th>Summary</th><th>Labels</th></tr>\n",
    );
    for alert in alerts {
        writeln!(
            out,
            "<tr><td class=\"{0}\">{0}</td><td>{1}</td><td>{2}</td><td>{3}</td><td>{4}</td><td><code>{5}</code></td></tr>",
            Escaped(alert.state),
            Escaped(&alert.severity),
            Escaped(&alert.name),
            alert.since,
            Escaped(&alert.summary),
            Escaped(&alert.labels),
        )?;
    }
    out.push_str("</table>\n");
    Ok(())
}

fn write_collectors(out: &mut String, collectors: &[CollectorState]) -> fmt::Result {
    out.push_str(
        "<h2>Collectors</h2>\n<table>\n<tr><th>Collector</th><th>Last run</th><th>Series</th><th>State</th></tr>\n",
    );
    let mut sorted: Vec<&CollectorState> = collectors.iter().collect();
    sorted.sort_by(|a, b| a.name.cmp(&b.name));
    for collector in sorted {
        write!(
            out,
            "<tr><td>{}</td><td class=\"n\">{:.2} ms</td><td class=\"n\">{}</td>",
            Escaped(&collector.name),
            collector.took.as_secs_f64() * 1000.0,
            collector.series,
        )?;
        match &collector.error {
            Some(error) => writeln!(out, "<td class=\"firing\">{}</td></tr>", Escaped(error))?,
            None => out.push_str("<td>ok</td></tr>\n"),
        }
    }
    out.push_str("</table>\n");
    Ok(())
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
:root{color-scheme:light dark;--text:#1c1e21;--back:#fff;--line:#d5d9de;--link:#0b57a4;--bad:#b3261e;--warn:#8a5300}
@media(prefers-color-scheme:dark){:root{--text:#e4e6ea;--back:#16181b;--line:#3a3f45;--link:#8ab8f2;--bad:#ff8a80;--warn:#f0b45c}}
body{margin:0;font:16px/1.5 system-ui,sans-serif;color:var(--text);background:var(--back)}
main{max-width:64rem;margin:0 auto;padding:1.5rem}
h1{font-size:1.6rem;margin:0}h2{font-size:1.2rem;margin:2rem 0 .5rem}
a{color:var(--link)}.links{display:flex;gap:1.5rem;padding:0;list-style:none}
table{width:100%;border-collapse:collapse;display:block;overflow-x:auto}
th,td{padding:.3rem .8rem .3rem 0;text-align:left;vertical-align:top;border-bottom:1px solid var(--line)}
th{font-weight:600;white-space:nowrap}.n{font-variant-numeric:tabular-nums;white-space:nowrap}
.firing{color:var(--bad);font-weight:600}.pending{color:var(--warn)}
";

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_page_shows_alerts_and_collectors_and_runs_nothing_that_stands_in_them() {
        let evil = "<script>alert('x')</script>\" onload=\"x";
        let overview = Overview {
            host: "db1".into(),
            alerts: vec![ActiveAlert {
                name: "DiskFull".into(),
                state: "firing",
                summary: evil.into(),
                ..Default::default()
            }],
            collectors: vec![
                CollectorState { name: "textfile".into(), error: Some(evil.into()), ..Default::default() },
                CollectorState { name: "cpu".into(), took: Duration::from_micros(1500), series: 12, error: None },
            ],
            ..Default::default()
        };
        let page = page(&overview, "/metrics", true);
        for part in [
            "<title>db1: Watchfire</title>",
            "DiskFull",
            "<td class=\"n\">1.50 ms</td>",
            "href=\"/metrics\"",
            "is <strong>ready",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
        assert!(!page.contains("<script") && !page.contains("\" onload"), "{page}");
        assert!(page.find(">cpu<") < page.find(">textfile<"), "in order of name");
        assert!(super::page(&Overview::default(), "/", false).contains("<p>None.</p>"));
    }
}
