use proptest::prelude::*;

use super::*;
use crate::fuzz::Fuzz;

fn error(text: &str) -> String {
    parse(text.as_bytes()).unwrap_err().to_string()
}

#[test]
fn help_type_labels_escapes_values_and_timestamps() {
    let text = "# HELP m A \\\\ and a\\nline.\n# TYPE m counter\n# any comment\n\n\
                m{a=\"x\\\"\\\\\\n\", b = \"ü\" ,} 1.5e3 -7\n  m\t{}+Inf\nm NaN\nn 0x\n";
    assert!(parse(text.as_bytes()).is_err());
    let families = parse(text.trim_end_matches("n 0x\n").as_bytes()).unwrap();
    let m = &families[0];
    assert_eq!((m.name, m.kind, m.help.as_deref()), ("m", Some(MetricType::Counter), Some("A \\ and a\nline.")));
    assert_eq!(m.samples[0].labels, [("a", Cow::from("x\"\\\n")), ("b", Cow::from("ü"))]);
    assert_eq!((m.samples[0].value, m.samples[0].timestamp, m.samples[0].line), (1500.0, Some(-7), 5));
    assert_eq!(m.samples[1].value, f64::INFINITY);
    assert!(m.samples[2].value.is_nan());
}

#[test]
fn histograms_and_summaries_are_one_family_each() {
    let text = "# TYPE h histogram\nh_bucket{le=\"+Inf\"} 3\nh_sum 2\nh_count 3\n\
                # TYPE s summary\ns{quantile=\"0.5\"} 1\ns_sum 1\ns_count 1\ns_bucket 1\nfree_count 1\n";
    let families = parse(text.as_bytes()).unwrap();
    let shape: Vec<(&str, Vec<&str>)> =
        families.iter().map(|f| (f.name, f.samples.iter().map(|s| s.suffix).collect())).collect();
    assert_eq!(
        shape,
        [
            ("h", vec!["_bucket", "_sum", "_count"]),
            ("s", vec!["", "_sum", "_count"]),
            ("s_bucket", vec![""]),
            ("free_count", vec![""]),
        ]
    );
}

#[test]
fn a_family_is_one_wherever_its_lines_stand_and_needs_no_help_or_type() {
    let families = parse(b"a 1\nb 2\na 3\n# HELP a Late.\n# HELP c Nothing.\n# HELP b \n").unwrap();
    assert_eq!(families.iter().map(|f| (f.name, f.samples.len())).collect::<Vec<_>>(), [("a", 2), ("b", 1)]);
    assert_eq!((families[0].help.as_deref(), &families[1].help), (Some("Late."), &None));
    assert_eq!(families[0].metric_type(), MetricType::Untyped);
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    for (text, expected) in [
        ("a 1\n0b 2\n", "line 2, column 1: not a metric name"),
        ("a-b 1\n", "line 1, column 2: a metric name has letters, digits, _ and : only"),
        ("{\"a.b\"} 1\n", "line 1, column 1: a metric name in braces belongs to a later version of the format"),
        ("a\n", "line 1, column 2: expected a value"),
        ("a x\n", "line 1, column 3: expected a number as the value, found \"x\""),
        ("a 1\r\n", "line 1, column 3: expected a number as the value, found \"1\\r\""),
        ("a 1e999\n", "line 1, column 3: expected a number as the value, found \"1e999\""),
        ("a 1 x\n", "line 1, column 5: expected a whole number of milliseconds as the timestamp, found \"x\""),
        ("a 1 2 3\n", "line 1, column 7: expected nothing behind the timestamp, found '3'"),
        ("a{b=\"c\"\n", "line 1, column 8: expected , or }, found the end of the line"),
        (
            "a{b=\"c\n",
            "line 1, column 7: expected a double quote at the end of the label's value, \
                        found the end of the line",
        ),
        ("a{b=c} 1\n", "line 1, column 5: expected a value in double quotes, found 'c'"),
        ("a{b:\"c\"} 1\n", "line 1, column 4: expected = behind a label name, found ':'"),
        ("a{b=\"\\x\"} 1\n", "line 1, column 6: \\ stands only before \\, n and \""),
        ("a{,} 1\n", "line 1, column 3: expected a label name or }, found ','"),
        ("a{b=\"1\",b=\"2\"} 1\n", "line 1, column 9: the label b is there twice"),
        ("a{__name__=\"b\"} 1\n", "line 1, column 3: the label name __name__ is reserved"),
        ("# TYPE a thing\n", "line 1, column 10: unknown metric type \"thing\""),
        ("# TYPE a gauge\n# TYPE a gauge\n", "line 2, column 10: a second TYPE line for a"),
        ("a 1\n# TYPE a gauge\n", "line 2, column 10: the TYPE of a stands behind its samples"),
        ("# HELP a b\n# HELP a c\n", "line 2, column 10: a second HELP line for a"),
        ("# HELP 1 b\n", "line 1, column 8: not a metric name"),
        ("# TYPE h histogram\nh_bucket 1\n", "line 2, column 1: the label le is missing"),
        ("# TYPE h histogram\nh 1\n", "line 2, column 1: a histogram has only _bucket, _sum and _count"),
        (
            "# TYPE s summary\ns{quantile=\"x\"} 1\n",
            "line 2, column 1: expected a number in the label quantile, found \"x\"",
        ),
        ("a 1", "line 1, column 4: the last line does not end with a line feed: is the text cut off?"),
    ] {
        assert_eq!(error(text), expected, "{text:?}");
    }
    assert_eq!(parse(b"a{b=\"\xff\"} 1\n").unwrap_err().to_string(), "line 1, column 6: the text is not UTF-8");
}

#[test]
fn an_empty_text_has_no_families() {
    for text in ["", "\n", "  \n\t", "# HELP\n# TYPE a\n#\n"] {
        assert_eq!(parse(text.as_bytes()), Ok(Vec::new()), "{text:?}");
    }
}

#[test]
fn no_bytes_make_it_panic() {
    let good = [
        "# HELP h H \\\\.\n# TYPE h histogram\nh_bucket{a=\"\\n\",le=\"+Inf\"} 3 4\nh_sum 2\nh_count 3\n",
        "# TYPE s summary\ns{quantile=\"0.5\"} 1\ns_sum 1\ns_count 1\nfree_count NaN\n",
        "# HELP aB_total A.\n# TYPE aB_total counter\naB_total{x=\"1\",camelCase=\"ü\"} 1.5e3 -7\n# EOF\n",
    ];
    Fuzz::of(&good).words(&["# HELP ", "# TYPE ", "gauge", "untyped", "__name__", "_milliseconds"]).bytes(|text| {
        if let Ok(families) = parse(text) {
            assert!(families.iter().map(|family| family.samples.len()).sum::<usize>() <= text.len());
            assert!(crate::exposition::lint::lint(&families).len() <= 20 * text.len());
        }
    });
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(label in any::<String>(), help in any::<String>(), value in any::<f64>()) {
        let escaped = help.replace('\\', "\\\\").replace('\n', "\\n");
        let text = format!("# HELP m {escaped}\nm{{l=\"{}\"}} {value:?}\n", crate::model::escape_label_value(&label));
        let families = parse(text.as_bytes()).unwrap();
        let sample = &families[0].samples[0];
        prop_assert_eq!(sample.labels[0].1.as_ref(), label.as_str());
        prop_assert!(sample.value == value || value.is_nan());
        // Blanks before a help text belong to the line.
        let trimmed = help.trim_start_matches([' ', '\t']);
        prop_assert_eq!(families[0].help.as_deref().unwrap_or_default(), trimmed);
    }
}
