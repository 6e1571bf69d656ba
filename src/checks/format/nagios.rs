//! `format: nagios`: what the plugins of Nagios, Icinga and the Monitoring Plugins write.
//!
//! The exit code is the state: 0 ok, 1 warning, 2 critical, 3 and all others unknown. The first line up to a `|` is the
//! summary. What stands behind the `|` of the first line is performance data, and so is all that follows the first `|`
//! of the lines below; the text in between is for people who look at the output itself.
//!
//! | metric | type | labels |
//! | --- | --- | --- |
//! | `watchfire_check_perfdata_value` | gauge | `perfdata`, `unit` |
//! | `watchfire_check_perfdata_total` | counter: values of the unit `c` | `perfdata` |
//! | `watchfire_check_perfdata_threshold` | gauge | `perfdata`, `unit`, `severity`, `bound` |
//! | `watchfire_check_perfdata_min`, `watchfire_check_perfdata_max` | gauge | `perfdata`, `unit` |
//! | `watchfire_check_perfdata_unreadable` | gauge, where there are any | |
//!
//! `perfdata` is the label in the output. Values, thresholds and limits are in base units, and `unit` is one of
//! `seconds`, `bytes`, `ratio` (of percentages), nothing, or a unit of the plugin's own as it is written.
//!
//! `severity` is `warning` or `critical`, `bound` the end of the range that is meant: the plugin complains of values
//! below `lower` and above `upper`; of a range with an `@`, which complains of values within, they are `inside-lower` and
//! `inside-upper`. An end that is not written, or infinite, is not there: `10` and `~:10` have an `upper` only.

use super::perfdata::{Items, Perfdata, Range};
use super::{Given, as_summary, first_line};
use crate::checks::families::Families;
use crate::checks::verdict::{State, Verdict};

pub fn read(given: &Given<'_>, out: &mut Families) -> Verdict {
    let text = String::from_utf8_lossy(given.stdout);
    // Of output that was cut the last word may be a part of a number, which is another number.
    let whole = if given.truncated { text.rfind(char::is_whitespace).unwrap_or(0) } else { text.len() };
    let text = text.get(..whole).unwrap_or_default();
    let (first, further) = text.split_once('\n').unwrap_or((text, ""));
    let (summary, perfdata) = first.split_once('|').unwrap_or((first, ""));
    let more = further.split_once('|').map_or("", |(_, perfdata)| perfdata);
    write_perfdata([perfdata, more], out);

    let state = match given.code {
        0 => State::Ok,
        1 => State::Warning,
        2 => State::Critical,
        _ => State::Unknown,
    };
    let mut summary = as_summary(summary);
    if summary.is_empty() {
        // What went wrong before the plugin could say anything is on standard error.
        summary = first_line(given.stderr);
    }
    if summary.is_empty() {
        summary = "no output".to_string();
    }
    // Of a code that no plugin should give (127 of a shell that finds no command) people want to hear.
    if !(0..=3).contains(&given.code) {
        summary = format!("exited with code {}: {summary}", given.code);
    }
    Verdict::new(state, summary)
}

fn write_perfdata(texts: [&str; 2], out: &mut Families) {
    let mut unreadable = 0_usize;
    for item in texts.into_iter().flat_map(Items::of) {
        match item {
            Some(perfdata) => write_item(&perfdata, out),
            None => unreadable += 1,
        }
    }
    if unreadable > 0 {
        let help = "Performance data of the last run that could not be read.";
        out.gauge("watchfire_check_perfdata_unreadable", help, &[], unreadable as f64);
    }
}

fn write_item(item: &Perfdata<'_>, out: &mut Families) {
    let name = ("perfdata", &*item.label);
    let labels = [name, ("unit", item.unit)];
    match item.value {
        None => {}
        Some(value) if item.counter => {
            out.counter("watchfire_check_perfdata_total", "Counters in the output of the check.", &[name], value);
        }
        Some(value) => {
            out.gauge(
                "watchfire_check_perfdata_value",
                "Values in the output of the check, in base units.",
                &labels,
                value,
            );
        }
    }
    for (severity, range) in [("warning", &item.warning), ("critical", &item.critical)] {
        for (bound, value) in range.iter().flat_map(Range::bounds) {
            let help = "Where the check begins to complain of a value: below the lower, above the upper bound; within, of \
                        bounds that are inside.";
            let labels = [name, ("unit", item.unit), ("severity", severity), ("bound", bound)];
            out.gauge("watchfire_check_perfdata_threshold", help, &labels, value);
        }
    }
    if let Some(min) = item.min {
        out.gauge("watchfire_check_perfdata_min", "The least that a value can be.", &labels, min);
    }
    if let Some(max) = item.max {
        out.gauge("watchfire_check_perfdata_max", "The most that a value can be.", &labels, max);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::Format;
    use super::super::testing::{read as read_given, read_text, sample};
    use super::*;
    use crate::fuzz::Fuzz;
    use crate::model::Labels;

    fn said(code: i32, stdout: &str, stderr: &str) -> Verdict {
        let given = Given { stdout: stdout.as_bytes(), stderr: stderr.as_bytes(), truncated: false, code };
        read_given(&Format::Nagios, given).0
    }

    #[test]
    fn the_exit_code_is_the_state_and_the_first_line_the_summary() {
        assert_eq!(said(0, "PING ok - Packet loss = 0% | loss=0%\n", ""), Verdict::ok("PING ok - Packet loss = 0%"));
        assert_eq!(said(1, "LOAD WARNING\nmore\n", ""), Verdict::new(State::Warning, "LOAD WARNING"));
        assert_eq!(said(2, "down", ""), Verdict::critical("down"));
        assert_eq!(said(3, "usage", ""), Verdict::unknown("usage"));
        assert_eq!(said(2, "|a=1\n", "cannot resolve\n"), Verdict::critical("cannot resolve"));
        assert_eq!(said(127, "", "sh: not found"), Verdict::unknown("exited with code 127: sh: not found"));
        assert_eq!(said(-1, "", ""), Verdict::unknown("exited with code -1: no output"));
    }

    #[test]
    fn performance_data_stands_behind_the_first_line_and_below_the_text() {
        // As in the documentation of Nagios' plugin API.
        let output = "DISK OK - free space: / 3326 MB (56%); | /=2643MB;5948;5958;0;5968\n\
                      / 15272 MB (77%);\n/boot 68 MB (69%);\n/home 69357 MB (27%);\n\
                      /var/log 819 MB (84%); | /boot=68MB;88;93;0;98\n/home=69357MB;253404;253409;0;253414\n\
                      /var/log=818MB;970;975;0;980\n";
        let (verdict, samples) = read_text(&Format::Nagios, 0, output);
        assert_eq!(verdict, Verdict::ok("DISK OK - free space: / 3326 MB (56%);"));
        let values: Vec<_> = samples.iter().filter(|s| s.starts_with("watchfire_check_perfdata_value{")).collect();
        let value = |label: &str, megabytes: u64| {
            let labels = format!("perfdata=\"{label}\",unit=\"bytes\"");
            sample("watchfire_check_perfdata_value", &labels, &(megabytes << 20).to_string())
        };
        let expected = [value("/", 2643), value("/boot", 68), value("/home", 69357), value("/var/log", 818)];
        assert_eq!(values, expected.iter().collect::<Vec<_>>());
        assert_eq!(samples.len(), 4 * 5);
    }

    #[test]
    fn values_thresholds_and_limits_are_in_base_units() {
        let output = "ok | rta=5.5ms;100:;@200:300;0;1000 pl=0%;~:5;10:20 bytes=7c;10 unread='1' none=U;5\n";
        let (_, samples) = read_text(&Format::Nagios, 0, output);
        let rta = "perfdata=\"rta\",unit=\"seconds\"";
        let pl = "perfdata=\"pl\",unit=\"ratio\"";
        let threshold = |labels: &str, severity: &str, bound: &str, value: &str| {
            let labels = format!("{labels},severity=\"{severity}\",bound=\"{bound}\"");
            sample("watchfire_check_perfdata_threshold", &labels, value)
        };
        let expected = [
            sample("watchfire_check_perfdata_value", rta, "0.0055"),
            sample("watchfire_check_perfdata_value", pl, "0"),
            threshold(rta, "warning", "lower", "0.1"),
            threshold(rta, "critical", "inside-lower", "0.2"),
            threshold(rta, "critical", "inside-upper", "0.3"),
            threshold(pl, "warning", "upper", "0.05"),
            threshold(pl, "critical", "lower", "0.1"),
            threshold(pl, "critical", "upper", "0.2"),
            threshold("perfdata=\"bytes\",unit=\"\"", "warning", "upper", "10"),
            threshold("perfdata=\"none\",unit=\"\"", "warning", "upper", "5"),
            sample("watchfire_check_perfdata_min", rta, "0"),
            sample("watchfire_check_perfdata_max", rta, "1"),
            sample("watchfire_check_perfdata_total", "perfdata=\"bytes\"", "7"),
            sample("watchfire_check_perfdata_unreadable", "", "1"),
        ];
        assert_eq!(samples, expected);
    }

    #[test]
    fn no_output_makes_it_panic() {
        let good = [
            "DISK OK | /=2643MB;5948;5958;0;5968\nmore\n| 'a ''b'' c'=1.5e3us;@~:10;10:20;;\n",
            "x | a=U b=5,5% 'c d'=-3c;1:2;~:3;0;4 =5 e f=\n\n|\n",
        ];
        Fuzz::of(&good).bytes(|stdout| {
            let mut families = Families::new(Arc::new(Labels::from_pairs([("check", "c")])));
            read(&Given { stdout, stderr: b"", truncated: false, code: 0 }, &mut families);
        });
    }
}
