//! The text formats: Prometheus' 0.0.4 and OpenMetrics 1.0.

use super::page::{Page, escape_help};
use super::value::write_value;
use crate::model::{Family, Section};

/// Bytes that a value with its line feed mostly stays below; a page that needs more grows once.
const VALUE_SIZE: usize = 12;

/// Sample lines are the same in both: what differs are a family's header and the end of the page.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Prometheus,
    OpenMetrics,
}

/// Writes the page with the values of `sections`, which must be those it was built from.
pub(super) fn encode(page: &Page, sections: &[&Section], dialect: Dialect) -> Vec<u8> {
    let mut out = Vec::with_capacity(page.text_size + page.series * VALUE_SIZE + 64);
    for (family, runs) in page.families() {
        write_header(&mut out, page, family, dialect);
        for run in runs {
            let Some(section) = sections.get(run.section) else { continue };
            let Some(values) = section.values.get(run.start..run.end) else { continue };
            for (position, value) in (run.start..run.end).zip(values) {
                out.extend_from_slice(section.layout.prefix(position));
                write_value(&mut out, *value);
                out.push(b'\n');
            }
        }
    }
    if dialect == Dialect::OpenMetrics {
        out.extend_from_slice(b"# EOF\n");
    }
    out
}

fn write_header(out: &mut Vec<u8>, page: &Page, family: &Family, dialect: Dialect) {
    let (name, kind) = match dialect {
        Dialect::Prometheus => (&*family.name, family.kind.as_str()),
        Dialect::OpenMetrics => page.openmetrics_family(family),
    };
    let line = |out: &mut Vec<u8>, word: &str, text: &str| {
        for piece in ["# ", word, " ", name, " ", text, "\n"] {
            out.extend_from_slice(piece.as_bytes());
        }
    };
    if !family.help.is_empty() {
        line(out, "HELP", &escape_help(&family.help, dialect == Dialect::OpenMetrics));
    }
    line(out, "TYPE", kind);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use super::super::{Format, Pages};
    use crate::model::{Labels, MetricType, SeriesTable, Snapshot, Timestamp, Writer};

    fn encode(format: Format, write: impl FnOnce(&mut Writer)) -> String {
        let mut writer = Writer::new("test", Arc::new(SeriesTable::new(Labels::empty())), 100);
        write(&mut writer);
        let sections = vec![writer.finish().0];
        let snapshot = Snapshot { time: Timestamp::default(), taken: Instant::now(), sections };
        String::from_utf8(Pages::new().encode(&snapshot, format).unwrap()).unwrap()
    }

    #[test]
    fn openmetrics_names_a_counter_without_total_and_ends_with_eof() {
        let text = encode(Format::OpenMetrics, |w| {
            w.counter("forks_total", "Said \"fork\".\nTwice.", []).put([], 3.0);
            w.family(MetricType::Untyped, "vmstat", "", []).put([], 1.5);
        });
        assert_eq!(
            text,
            "# HELP forks Said \\\"fork\\\".\\nTwice.\n# TYPE forks counter\nforks_total 3\n\
             # TYPE vmstat unknown\nvmstat 1.5\n# EOF\n"
        );
    }

    #[test]
    fn a_counter_that_openmetrics_cannot_name_keeps_its_series_name() {
        let text = encode(Format::OpenMetrics, |w| {
            w.counter("odd", "", []).put([], 1.0);
            w.counter("both_total", "", []).put([], 2.0);
            w.gauge("both", "", []).put([], 3.0);
        });
        assert_eq!(
            text,
            "# TYPE both gauge\nboth 3\n# TYPE both_total unknown\nboth_total 2\n# TYPE odd unknown\nodd 1\n# EOF\n"
        );
    }

    #[test]
    fn help_and_label_values_are_escaped() {
        let text = encode(Format::Text, |w| {
            w.gauge("m", "a\\b\n\"c\"", ["l"]).put([b"a\\b\n\"c\""], 1.0);
        });
        assert_eq!(text, "# HELP m a\\\\b\\n\"c\"\n# TYPE m gauge\nm{l=\"a\\\\b\\n\\\"c\\\"\"} 1\n");
    }
}
