//! What is refused when a query is loaded, how that is said, and that no text ends the program.

use std::time::{Duration, Instant};

use super::notation::Store;
use crate::fuzz::Fuzz;
use crate::model::Timestamp;
use crate::promql::{EvalOptions, Query, STACK, pretty};

fn refusal(text: &str) -> String {
    Query::parse(text).expect_err(text).to_string()
}

#[test]
fn what_cannot_be_evaluated_is_refused_with_its_name_and_place() {
    for (text, wanted) in [
        ("sum(x) +\n  nosuch(y)", "2:3: unknown function nosuch()"),
        ("rat(x[5m])", "1:1: unknown function rat(), did you mean rate()?"),
        ("1 + histogram_avg(x)", "1:5: histogram_avg() reads native histograms, and history keeps none"),
        ("start_timestamp(x)", "1:1: start_timestamp() reads start timestamps"),
        ("x </ 1", "1:3: \"</\" trims native histograms"),
        ("info(x, y)", "1:9: expected label selectors only, got vector selector instead"),
        ("{a=\"1\" or b=\"2\"}", "1:8: `or` between label matchers"),
        ("rate(x)", "1:6: expected type range vector in call to function \"rate\", got instant vector"),
        ("exp(NaN)", "1:5: expected type instant vector in call to function \"exp\", got scalar"),
        ("x[5m] + 1", "1:1: binary expression must contain only scalar and instant vector types"),
        ("1 > 2", "1:3: comparisons between scalars must use BOOL modifier"),
        ("x + bool y", "1:3: bool modifier can only be used on comparison operators"),
        ("x * on (a) group_left (a) y", "1:3: label \"a\" must not occur in ON and GROUP clause at once"),
        ("x and on (a) group_left y", "no grouping allowed for \"and\" operation"),
        ("1 + on (a) x", "vector matching only allowed between instant vectors"),
        ("1 + fill (0) x", "filling in missing series only allowed between instant vectors"),
        ("x or fill (0) y", "filling in missing series not allowed for set operators"),
        ("x + fill (y) z", "1:11: unexpected \"y\" in fill, expected number"),
        ("{a=\"\"}[5m]", "non-empty matcher"),
        ("x{a=~\"(\"}", "1:6: \"(\" is not a regular expression"),
        ("x{__name__=\"y\"}", "metric name must not be set twice"),
        ("sum(x", "1:4: unclosed \"(\""),
        ("x)", "1:2: unexpected \")\""),
        ("x y", "1:3: unexpected \"y\""),
        ("x +", "1:4: unexpected end of input"),
        ("x{a=\"b}", "1:5: unterminated quoted string"),
        ("x[99999999999999h]", "too long"),
        ("x[1e300]", "1:3: duration out of range"),
        ("x[NaN]", "1:3: duration out of range"),
        ("x offset inf", "1:10: duration out of range"),
        ("x[0]", "1:3: duration must be greater than 0"),
        ("x offset 5m offset 1m", "offset may not be set multiple times"),
        ("x @ 1 @ 2", "may not be set multiple times"),
        ("sum(x) offset 5m", "offset modifier must be preceded by"),
        ("x @ inf", "timestamp out of bounds"),
        ("(x)[5m]", "ranges only allowed for vector selectors"),
        (
            "avg_over_time(x[5m] anchored)",
            "anchored modifier can only be used with: changes, delta, increase, rate, resets",
        ),
        ("changes(x[5m] smoothed)", "smoothed modifier can only be used with: delta, increase, rate"),
        ("1[5m:1m]", "subquery is only allowed on instant vector, got scalar instead"),
        ("x[5m / 0]", "division by zero"),
        ("", "no expression found in input"),
        ("x\n  + y *\n", "2:8: unexpected end of input"),
        ("clamp(x, 1)", "1:1: expected 3 argument(s) in call to \"clamp\", got 2"),
        ("sum(x, y)", "wrong number of arguments for aggregate expression provided, expected 1, got 2"),
        ("label_replace(x, \"\", \"\", \"a\", \"b\")", "1:18: invalid destination label name"),
        ("label_replace(x, \"a\", \"\", \"a\", \"(\")", "invalid regular expression in label_replace()"),
    ] {
        let got = refusal(text);
        assert!(got.contains(wanted), "{text}: {got}");
    }
}

#[test]
fn no_depth_of_nesting_overflows_the_stack() {
    // The deepest that is taken, and what is deeper.
    for n in [98, 120, 990, 100_000] {
        for text in [
            format!("{}1{}", "(".repeat(n), ")".repeat(n)),
            format!("1{}", " + 1".repeat(n)),
            format!("{}1", "-".repeat(n)),
            format!("1{}", "^1".repeat(n)),
            format!("{}x{}", "abs(".repeat(n), ")".repeat(n)),
            format!("{}x{}", "sum(".repeat(n), ")".repeat(n)),
            format!("x{}", " or x".repeat(n)),
            format!("x{}", "[1m:1m]".repeat(n)),
        ] {
            let work = move || {
                let _ = pretty(&text);
                if let Ok(query) = Query::parse(&text) {
                    let soon = Some(Instant::now() + Duration::from_millis(200));
                    let options = EvalOptions { deadline: soon, ..EvalOptions::default() };
                    let _ = query.instant(&Store::new().history, Timestamp::default(), &options);
                }
            };
            std::thread::Builder::new().stack_size(STACK).spawn(work).unwrap().join().unwrap();
        }
    }
}

#[test]
fn a_row_of_operators_may_be_as_long_as_people_write_it() {
    let mut store = Store::new();
    store.load("x", "1", Duration::from_secs(1));
    for (text, value) in [
        (format!("x{}", " or absent(y)".repeat(400)), 1.0),
        (format!("x{}", " + x".repeat(900)), 901.0),
        (format!("1{}", " + 1".repeat(900)), 901.0),
        (format!("x{} > 0", " and x unless y".repeat(400)), 1.0),
    ] {
        let query = Query::parse(&text).unwrap();
        let got = query.instant(&store.history, Timestamp::default(), &EvalOptions::default()).unwrap();
        assert_eq!(super::notation::elements(&got)[0].1, value);
        assert!(!query.selectors().is_empty() || text.starts_with('1'));
        assert!(pretty(&text).is_ok());
    }
}

#[test]
fn a_query_says_what_it_reads() {
    let query = Query::parse("rate(a[5m] offset 1m) > b and max_over_time(sum(c{d=\"e\"})[1h:1m])").unwrap();
    let got: Vec<_> = query.selectors().iter().map(|s| (s.name.unwrap().to_string(), s.reach.as_secs())).collect();
    assert_eq!(got, [("a".to_string(), 360), ("b".to_string(), 0), ("c".to_string(), 3600)]);
    let query =
        Query::parse("rate(a[5m] smoothed) + info(b offset 1m, {c=\"d\"}) + sum_over_time(e[4m + 1m])").unwrap();
    let got: Vec<_> =
        query.selectors().iter().map(|s| (s.name.unwrap().to_string(), s.reach.as_secs(), s.looks_back)).collect();
    let wanted = [("a", 300, true), ("b", 60, true), ("target_info", 60, true), ("e", 300, false)];
    assert_eq!(got, wanted.map(|(name, reach, looks_back)| (name.to_string(), reach, looks_back)));
}

#[test]
fn a_query_finds_series_that_come_later() {
    let mut store = Store::new();
    let query = Query::parse("count(x)").unwrap();
    let count = |store: &Store| {
        let value = query.instant(&store.history, Timestamp::default(), &EvalOptions::default()).unwrap();
        super::notation::elements(&value).first().map(|(_, v)| *v)
    };
    assert_eq!(count(&store), None);
    store.load("x{a=\"1\"}", "1", Duration::from_secs(1));
    assert_eq!(count(&store), Some(1.0));
    store.load("x{a=\"2\"}", "1", Duration::from_secs(1));
    assert_eq!(count(&store), Some(2.0));
}

const WORDS: &[&str] = &[
    "x",
    "sum",
    "by",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "5m",
    "1",
    "-",
    "+",
    "*",
    "^",
    "offset",
    "@",
    "start()",
    "end()",
    "rate",
    "\"a\"",
    "=",
    "=~",
    "!=",
    ",",
    ":",
    "and",
    "or",
    "on",
    "group_left",
    "bool",
    ">",
    "==",
    "inf",
    "nan",
    "0x1f",
    "1e999",
    "07",
    "'",
    "`",
    "#",
    "\n",
    "topk",
    "quantile_over_time",
    "label_replace",
    "absent",
    "time()",
    "without",
    "\\",
    "é",
    "1h30m",
    "atan2",
    "fill",
    "anchored",
    "smoothed",
    "step()",
    "max_of",
    "info",
    "limitk",
    "</",
    "histogram_quantile",
    "timestamp",
    "vector",
    "scalar",
    "clamp",
    "count_values",
    "-1",
];

const GOOD: [&str; 10] = [
    "sum by (a) (rate(x{b=~\"c.*\"}[5m] offset -1m)) / on (a) group_left (d) topk(3, y @ end()) > bool 0x10",
    "label_replace(max_over_time(x[30s:5s]), \"b\", \"$1\", \"a\", \"(.*)\") or vector(1) unless absent(y)",
    "histogram_quantile(0.9, sum without (a) (x)) ^ -2 % time() atan2 1e3",
    "count_values(\"v\", x) and ignoring (a) (clamp(x, 1, NaN) == 1)",
    "avg(predict_linear(x[4s], 3600)) < 0 # c",
    "info(rate(x_total[5m] anchored), {__name__=~\".+_info\",a!=\"b\"}) + on (a) group_left fill_right (-1) y",
    "avg_over_time((x > 0)[max_of(1m, 2 * step()):10s] offset -(1m + 1s)) / limit_ratio(-0.5, x smoothed)",
    "{\"é.x\", \"ü\"='\\u00e9'} @ start() offset 0x10 * double_exponential_smoothing(x[1m], 0.5, 0.1)",
    "histogram_quantiles(x, \"q\", 0.5, 1_0) or histogram_fraction(0, 017, integral(x[30s], 1))",
    "quantile(0.5, deriv(x{a!=\"\",b!~'z'}[1h30m] @ 1.5)) != stddev_over_time(x[6s])",
];

#[test]
fn no_text_makes_the_parser_panic() {
    Fuzz::of(&GOOD).words(WORDS).heap(16 << 20).texts(|text| {
        let _ = Query::parse(text);
    });
}

#[test]
fn no_query_that_is_taken_makes_its_evaluation_panic() {
    let mut store = Store::new();
    store.load("x{a=\"1\"}", "0+1x5 NaN Inf stale 3", Duration::from_secs(1));
    store.load("x{a=\"2\",b=\"c\"}", "1 -Inf 0 5e-324 1e308 2", Duration::from_secs(1));
    let good = ["rate(x[5s])", "topk(3, x) + on (a) x", "max_over_time(x[5s:1s])", "sum(x) by (a) * 2"];
    Fuzz::of(&[&good[..], &GOOD].concat()).words(WORDS).heap(64 << 20).texts(|text| {
        if let Ok(query) = Query::parse(text) {
            // A subquery may have a step for each second of a century, and no sample to count.
            let deadline = Some(Instant::now() + Duration::from_millis(200));
            let options = EvalOptions { max_samples: 100_000, deadline, ..EvalOptions::default() };
            let _ = query.instant(&store.history, Timestamp::from_millis(5_000), &options);
        }
    });
}
