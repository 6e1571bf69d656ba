use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use serde::Deserialize;

use super::*;
use crate::fuzz::Fuzz;
use crate::template::prometheus::{parse_rule_text, rule_data};

fn context() -> Context<'static> {
    Context {
        query: None,
        external_url: "http://host:9100/prefix",
        now: Timestamp::from_millis(1_435_065_584_128),
        limits: Limits::default(),
    }
}

#[derive(Deserialize)]
struct Case {
    template: String,
    #[serde(default)]
    error: String,
    output: String,
}

fn map(pairs: Vec<(&str, Value)>) -> Value {
    let entries: BTreeMap<Arc<str>, Value> = pairs.into_iter().map(|(k, v)| (k.into(), v)).collect();
    Value::Map(Arc::new(Map { entries, ..Map::default() }))
}

fn list(items: Vec<Value>) -> Value {
    Value::List(items.into())
}

/// The data of testdata/generate.go.
fn go_data() -> Value {
    let time: jiff::Timestamp = "2015-09-04T05:06:07.08Z".parse().unwrap();
    Value::structure(
        "main.data",
        vec![
            ("Labels", Value::string_map([("instance", "host:9100"), ("job", "node"), ("b", "<&>'\"")])),
            ("Value", 0.12345678.into()),
            (
                "Any",
                map(vec![
                    ("one", Value::Int(1)),
                    ("f", 1e6.into()),
                    ("list", list(vec![Value::Int(1), "x".into(), Value::Nil])),
                    ("nil", Value::Nil),
                    ("sub", map(vec![("k", "v".into())])),
                ]),
            ),
            ("List", list(vec![Value::Int(1), "two".into(), 3.5.into(), true.into(), Value::Nil])),
            ("Sample", Value::structure("main.sample", vec![("Name", "n".into()), ("N", 2.0.into())])),
            ("Nil", Value::Nil),
            ("Inf", f64::INFINITY.into()),
            ("NaN", f64::NAN.into()),
            ("Dur", Value::Duration(5_401_500_000_000)),
            ("Time", Value::Time(Arc::new(time.to_zoned_datetime(jiff::tz::TimeZone::UTC)))),
        ],
    )
}

#[test]
fn every_template_gives_what_go_gives() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("testdata/go.json")).unwrap();
    let data = go_data();
    let mut wrong = Vec::new();
    for case in &cases {
        let (error, output) = match Template::parse("t", &case.template, &Functions::go()) {
            Err(e) => ("parse", e.to_string()),
            Ok(t) => match t.execute(&data, &context()) {
                Err(e) => ("execute", e.to_string()),
                Ok(output) => ("", output),
            },
        };
        // What must fail whenever it runs may be found when it is parsed.
        let earlier = error == "parse" && case.error == "execute";
        if (error != case.error && !earlier) || (error.is_empty() && output != case.output) {
            wrong
                .push(format!("{}\n  go   {} {:?}\n  ours {error} {output:?}", case.template, case.error, case.output));
        }
    }
    assert!(cases.len() > 1000);
    assert!(wrong.is_empty(), "{} differ\n{}", wrong.len(), wrong.join("\n"));
}

fn expand(text: &str) -> Result<String, TemplateError> {
    let labels = Labels::from_pairs([("instance", "web-1.example.com:9100"), ("job", "node")]);
    let data = rule_data(&labels, &Labels::from_pairs([("cluster", "c1")]), "http://host:9100/prefix", 0.8567);
    parse_rule_text("test", text)?.execute(&data, &Context { query: Some(&Answers), ..context() })
}

struct Answers;

impl Query for Answers {
    fn query(&self, expr: &str) -> Result<Vec<QuerySample>, String> {
        let sample = |instance, value| QuerySample {
            labels: Labels::from_pairs([("__name__", "metric"), ("instance", instance), ("__value__", "s")]),
            value,
        };
        match expr {
            "metric" => Ok(vec![sample("b", 11.0), sample("a", 21.0)]),
            "nothing" => Ok(Vec::new()),
            other => Err(format!("cannot parse {other:?}")),
        }
    }
}

#[test]
fn a_rules_texts_have_their_variables_set() {
    for (text, expected) in [
        ("{{ $labels.instance }} {{ .Labels.job }} {{ $labels.nope }}|", "web-1.example.com:9100 node |"),
        ("{{ $value }} {{ .Value }} {{ printf \"%.1f\" $value }}", "0.8567 0.8567 0.9"),
        (
            "{{ $externalLabels.cluster }} {{ $externalURL }} {{ externalURL }} {{ pathPrefix }}",
            "c1 http://host:9100/prefix http://host:9100/prefix /prefix",
        ),
        ("{{ range $k, $v := $labels }}{{ $k }}={{ $v }} {{ end }}", "instance=web-1.example.com:9100 job=node "),
        ("{{ with $x := $labels }}{{ $x.job }}{{ end }}{{ if gt $value 0.8 }}high{{ end }}", "nodehigh"),
    ] {
        assert_eq!(expand(text).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn numbers_read_well_to_people_as_in_prometheus() {
    for (text, expected) in [
        (
            "{{ humanize 0.0 }} {{ humanize 1.0 }} {{ humanize 1234567.0 }} {{ humanize .12 }} {{ humanize 0.001234 }}",
            "0 1 1.235M 120m 1.234m",
        ),
        (
            "{{ humanize -1234567.0 }} {{ humanize 1e30 }} {{ humanize \"999.96\" }} {{ humanize 1e-30 }}",
            "-1.235M 1e+06Y 1000 1e-06y",
        ),
        (
            "{{ humanize1024 0.0 }} {{ humanize1024 1.0 }} {{ humanize1024 1048576.0 }} {{ humanize1024 .12 }} {{ humanize1024 1500 }}",
            "0 1 1Mi 0.12 1.465ki",
        ),
        (
            "{{ humanizeDuration 0 }} {{ humanizeDuration 1 }} {{ humanizeDuration 60 }} {{ humanizeDuration 3600 }} {{ humanizeDuration 86400 }}",
            "0s 1s 1m 0s 1h 0m 0s 1d 0h 0m 0s",
        ),
        (
            "{{ humanizeDuration 899.99 }} {{ humanizeDuration .1 }} {{ humanizeDuration .0001 }} {{ humanizeDuration .12345 }} {{ humanizeDuration 60.1 }} {{ humanizeDuration -90061 }} {{ humanizeDuration \"59.12345\" }}",
            "14m 59s 100ms 100us 123.5ms 1m 0s -1d 1h 1m 1s 59.12s",
        ),
        (
            "{{ humanizePercentage -0.22222 }} {{ humanizePercentage 0.0 }} {{ humanizePercentage 0.1234567 }} {{ humanizePercentage 1.23456 }} {{ $value | humanizePercentage }}",
            "-22.22% 0% 12.35% 123.5% 85.67%",
        ),
        (
            "{{ humanizeTimestamp 0 }} {{ humanizeTimestamp 1435065584.128 }} {{ humanizeTimestamp \"1435065584.128\" }}",
            "1970-01-01 00:00:00 +0000 UTC 2015-06-23 13:19:44.128 +0000 UTC 2015-06-23 13:19:44.128 +0000 UTC",
        ),
        ("{{ humanizeTimestamp 1435065584.1289 }}", "2015-06-23 13:19:44.128 +0000 UTC"),
        (
            "{{ (1435065584.128 | toTime).Format \"2006\" }} {{ 1435065584.128 | toTime }}",
            "2015 2015-06-23 13:19:44.128 +0000 UTC",
        ),
        ("{{ toDuration 90.5 }} {{ now }} {{ parseDuration \"1h2m10ms\" }}", "1m30.5s 1.435065584128e+09 3720.01"),
        ("{{ parseDuration \"-90s\" }}", "-90"),
        ("{{ humanize \"one\" }}", ""),
        ("{{ toTime 1e300 }}", ""),
        ("{{ parseDuration \"5\" }}", ""),
        ("{{ humanize true }}", ""),
    ] {
        match expand(text) {
            Ok(output) => assert_eq!(output, expected, "{text}"),
            Err(e) => assert!(expected.is_empty(), "{text}: {e}"),
        }
    }
}

#[test]
fn infinities_and_not_a_number_stay_what_they_are() {
    let value = |v: f64, text: &str| {
        let data = rule_data(&Labels::empty(), &Labels::empty(), "", v);
        parse_rule_text("test", text).unwrap().execute(&data, &context()).unwrap()
    };
    let all = "{{ humanize $value }} {{ humanize1024 $value }} {{ humanizeDuration $value }} {{ humanizePercentage $value }} {{ humanizeTimestamp $value }} {{ $value }}";
    assert_eq!(value(f64::INFINITY, all), "+Inf +Inf +Inf +Inf% +Inf +Inf");
    assert_eq!(value(f64::NEG_INFINITY, all), "-Inf -Inf -Inf -Inf% -Inf -Inf");
    assert_eq!(value(f64::NAN, all), "NaN NaN NaN NaN% NaN NaN");
}

#[test]
fn text_functions_do_as_in_prometheus() {
    for (text, expected) in [
        ("{{ title \"aa bb CC o'neil x_y\" }} {{ toUpper \"aa\" }} {{ toLower \"AB\" }}", "Aa Bb CC O'Neil X_y AA ab"),
        (
            "{{ match \"a+\" \"xaay\" }} {{ reReplaceAll \"(a)b\" \"x$1\" \"ab abb\" }} {{ \"db-1\" | reReplaceAll \"(.*)-([0-9]+)\" \"${2}_$1\" }}",
            "true xa xab 1_db",
        ),
        (
            "{{ stripPort $labels.instance }} {{ stripPort \"[::1]:80\" }} {{ stripPort \"x\" }} {{ stripPort \"::1\" }}",
            "web-1.example.com ::1 x ::1",
        ),
        (
            "{{ stripDomain $labels.instance }} {{ stripDomain \"10.0.0.1:80\" }} {{ stripDomain \"a.b\" }} {{ stripDomain \"[::1]:80\" }}",
            "web-1:9100 10.0.0.1:80 a [::1]:80",
        ),
        (
            "{{ graphLink \"up == 0\" }} {{ tableLink \"a{b=\\\"c\\\"}\" }}",
            "/graph?g0.expr=up+%3D%3D+0&g0.tab=0 /graph?g0.expr=a%7Bb%3D%22c%22%7D&g0.tab=1",
        ),
        (
            "{{ define \"x\" }}{{ .arg0 }}-{{ .arg1 }}{{ end }}{{ template \"x\" (args 1 \"b\") }} {{ tmpl \"x\" (args 2 3) }}",
            "1-b 2-3",
        ),
        ("{{ safeHtml \"<b>\" }} {{ urlQueryEscape \"a b\" }}", "<b> a+b"),
        ("{{ match \"(\" \"x\" }}", ""),
        ("{{ title 5 }}", ""),
    ] {
        match expand(text) {
            Ok(output) => assert_eq!(output, expected, "{text}"),
            Err(e) => assert!(expected.is_empty(), "{text}: {e}"),
        }
    }
}

#[test]
fn templates_can_query() {
    for (text, expected) in [
        (
            "{{ range query \"metric\" | sortByLabel \"instance\" }}{{ .Labels.instance }}:{{ .Value }}: {{ end }}",
            "a:21: b:11: ",
        ),
        (
            "{{ query \"metric\" | first | value }} {{ query \"metric\" | first | label \"instance\" }} {{ query \"metric\" | first | strvalue }}",
            "11 b s",
        ),
        ("{{ with query \"nothing\" }}some{{ else }}none{{ end }}", "none"),
        ("{{ len (query \"metric\") }} {{ (index (query \"metric\") 1).Value }}", "2 21"),
        ("{{ query \"nothing\" | first }}", ""),
        ("{{ query \"a b\" }}", ""),
    ] {
        match expand(text) {
            Ok(output) => assert_eq!(output, expected, "{text}"),
            Err(e) => assert!(expected.is_empty(), "{text}: {e}"),
        }
    }
}

#[test]
fn errors_name_the_place() {
    let at = |text: &str| {
        let e = expand(text).unwrap_err();
        (e.line, e.column, e.message)
    };
    assert_eq!(at("é {{ nope }}"), (1, 6, "function \"nope\" not defined".into()));
    assert_eq!(
        at("{{ humanise $value }}"),
        (1, 4, "function \"humanise\" not defined, did you mean \"humanize\"?".into())
    );
    assert_eq!(at("a\n\n  {{ $nope }}"), (3, 6, "undefined variable \"$nope\"".into()));
    assert_eq!(at("a\n{{ if true }}b"), (2, 1, "{{if}} without {{end}}".into()));
    assert_eq!(at("{{ .Value"), (1, 1, "unclosed action".into()));
    assert_eq!(at("\n{{ .Nope }}"), (2, 4, "can't evaluate field Nope in type template.AlertTemplateData".into()));
    assert_eq!(at("{{ gt $value 80 }}").2, "error calling gt: incompatible types for comparison: float64 and int");
}

#[test]
fn what_a_template_may_cost_is_limited() {
    let refused = |text: &str, what: &str| {
        let e = expand(text).expect_err(text);
        assert!(e.message.contains(what), "{text:.60}: {e}");
    };
    refused("{{ define \"r\" }}{{ template \"r\" }}x{{ end }}{{ template \"r\" }}", "more than 50 deep");
    refused("{{ define \"r\" }}{{ tmpl \"r\" . }}x{{ end }}{{ tmpl \"r\" . }}", "more than 50 deep");
    refused("{{ range 1000000000 }}{{ end }}", "steps");
    refused("{{ range 1000 }}{{ range 1000 }}{{ range 1000 }}{{ end }}{{ end }}{{ end }}", "steps");
    refused("{{ $x := \"aaaaaaaaaaaaaaaa\" }}{{ range 40 }}{{ $x = print $x $x }}{{ end }}", "output is longer");
    refused("{{ range 100000 }}{{ printf \"%1000s\" \"\" }}{{ end }}", "output is longer");
    refused("{{ printf \"%1000000d%1000000d\" 1 2 }}", "output is longer");
    refused("{{ range 100000 }}{{ $x := printf \"%1000000s\" \"\" }}{{ end }}", "steps");
    refused("{{ reReplaceAll \"\" (printf \"%100000s\" \"\") (printf \"%100000s\" \"\") }}", "output is longer");
    refused(&format!("{}1{}", "{{(".to_string() + &"(".repeat(5000), ")".repeat(5001) + "}}"), "nested more than");
    refused(&"{{if 1}}".repeat(5000), "nested more than");
    refused(&format!("{{{{if 1}}}}{}", "{{else if 1}}".repeat(5000)), "nested more than");
}

#[test]
fn widths_and_precisions_up_to_the_greatest_are_taken_and_greater_ones_refused() {
    assert_eq!(
        expand("{{ len (printf \"%.70000f\" 0.5) }} {{ len (printf \"%.70000e\" 0.5) }}").unwrap(),
        "70002 70006"
    );
    assert_eq!(expand("{{ printf \"%.70000g\" 0.5 }}").unwrap(), "0.5");
    for width in ["18446744073709551615", "9223372036854775808", "*"] {
        let text = format!("{{{{ printf \"%{width}d\" -9223372036854775808 1 }}}}");
        assert!(expand(&text).is_ok_and(|said| said.len() < 100), "{width}: {:?}", expand(&text));
    }
}

#[test]
fn no_text_makes_it_panic() {
    let words = [
        "{{",
        "}}",
        "{{- ",
        " -}}",
        " ",
        "if",
        "else",
        "end",
        "range",
        "with",
        "define",
        "template",
        "block",
        "break",
        "continue",
        "nil",
        "true",
        "\"x\"",
        "`y`",
        "'c'",
        "1",
        "-2.5",
        "1e9",
        ".",
        ".Labels",
        ".Value",
        "$labels",
        "$x",
        ":=",
        "=",
        ",",
        "|",
        "(",
        ")",
        "printf",
        "index",
        "slice",
        "len",
        "eq",
        "lt",
        "and",
        "or",
        "not",
        "print",
        "text",
        "/*",
        "*/",
        "query",
        "first",
        "humanize",
        "toTime",
        "\"%*d %[2]v %q\"",
        "\"2006-01-02T15:04:05.000Z07:00\"",
        ".Format",
    ];
    let good = [
        "{{ range query \"x\" }}{{ .Labels.a }}={{ .Value | humanize }} {{ else }}none{{ end }}",
        "{{ with $x := index .Labels \"a\" }}{{ if and (eq $x \"b\") (lt 1 2) }}{{ printf \"%05.2f %q %v\" 1.5 $x . }}{{ end }}{{ end }}",
        "{{- define \"t\" }}{{ len . }}{{ break }}{{ end -}} {{ template \"t\" $labels }} {{ slice \"abc\" 1 2 }} {{/* c */}}",
        "{{ (.Value | toTime).Format \"2006-01-02T15:04:05.000Z07:00\" }} {{ reReplaceAll \"(a)\" \"$1b\" \"aaa\" }} {{ 'c' }}",
        "{{ range $i, $e := first 3 }}{{ continue }}{{ end }} {{ humanizeDuration 1e9 }} {{ parseDuration \"1h\" }} {{ 0x1p-2 }}",
    ];
    // Texts may become as long as the limits allow.
    Fuzz::of(&good).words(&words).heap(64 << 20).texts(|text| {
        let _ = expand(text);
        let _ = expand(&format!("{{{{{text}}}}}"));
    });
    Fuzz::of(&["%05.2f", "%-8s|%+d", "%[2]*.[1]*f %x", "%#q %U %c %t %e"]).heap(64 << 20).texts(|text| {
        let _ = expand(&format!("{{{{ printf {text:?} .Value $labels 5 }}}}"));
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_number_prints_and_is_read_back(v in prop::num::f64::ANY) {
        let data = rule_data(&Labels::empty(), &Labels::empty(), "", v);
        let text = parse_rule_text("t", "{{ $value }}").unwrap().execute(&data, &context()).unwrap();
        let back: f64 = text.parse().unwrap();
        prop_assert!(back == v || (back.is_nan() && v.is_nan()), "{v} {text}");
        for f in ["humanize", "humanize1024", "humanizeDuration", "humanizePercentage", "humanizeTimestamp", "toTime", "toDuration"] {
            let _ = parse_rule_text("t", &format!("{{{{ {f} $value }}}}")).unwrap().execute(&data, &context());
        }
    }
}
