//! What queries tell besides their results.

use std::time::Duration;

use super::notation::Store;
use crate::model::Timestamp;
use crate::promql::{EvalOptions, Query};

fn store() -> Store {
    let mut store = Store::new();
    for (series, samples) in [
        ("gauge", "1 2 3 4 5 6 7 8 9 10 11"),
        ("requests_total", "0+1x10"),
        ("h_bucket{le=\"1\"}", "5x10"),
        ("h_bucket{le=\"2\"}", "3x10"),
        ("h_bucket{le=\"+Inf\"}", "9x10"),
        ("h_bucket{le=\"much\"}", "9x10"),
    ] {
        store.load(series, samples, Duration::from_secs(60));
    }
    store
}

/// Warnings and infos of the query at ten minutes.
fn told(text: &str) -> Vec<String> {
    let (value, annotations) = Query::parse(text).unwrap().instant_annotated(
        &store().history,
        Timestamp::from_millis(600_000),
        &EvalOptions::default(),
    );
    value.unwrap();
    [annotations.warnings(), annotations.infos()].concat()
}

#[test]
fn what_is_doubtful_is_told_with_its_place() {
    for (text, wanted) in [
        (
            "rate(gauge[5m])",
            "PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: \"gauge\" (1:6)",
        ),
        ("1 +\n  increase((gauge[5m]))", "_bucket: \"gauge\" (2:13)"),
        ("quantile_over_time(2, gauge[5m])", "PromQL warning: quantile value should be between 0 and 1, got 2 (1:20)"),
        ("quantile(-1, gauge)", "PromQL warning: quantile value should be between 0 and 1, got -1 (1:10)"),
        (
            "limit_ratio(1.5, gauge)",
            "PromQL warning: ratio value should be between -1 and 1, got 1.5, capping to 1 (1:13)",
        ),
        ("integral(gauge[5m], 7)", "PromQL warning: strategy should be 0, 1, or 2 (default), using 2, got 7 (1:21)"),
        (
            "histogram_quantile(NaN, h_bucket{le!=\"much\"})",
            "PromQL warning: quantile value should be between 0 and 1, got NaN (1:20)",
        ),
        (
            "histogram_fraction(0, 1, h_bucket{le=\"much\"})",
            "PromQL warning: bucket label \"le\" is missing or has a malformed value of \"much\" (1:26)",
        ),
        (
            "histogram_quantile(0.5, gauge)",
            "PromQL warning: bucket label \"le\" is missing or has a malformed value of \"\" (1:25)",
        ),
        (
            "histogram_quantile(0.5, h_bucket{le!=\"much\"})",
            ", from buckets 2 to 2, with a max diff of 2, over 1 samples from 1970-01-01T00:10:00Z to 1970-01-01T00:10:00Z (1:25)",
        ),
        (
            "avg_over_time(sort(gauge)[5m:1m])",
            "PromQL warning: sort is ineffective for range queries since results are always ordered by labels (1:15)",
        ),
    ] {
        let told = told(text);
        assert!(told.len() == 1 && told[0].ends_with(wanted), "{text}: {told:#?}");
    }
}

#[test]
fn what_is_as_it_should_be_is_not_told() {
    for text in [
        "rate(requests_total[5m])",
        "irate(gauge[5m])",
        "delta(gauge[5m])",
        "rate(gauge[5m] @ 0)",
        "quantile(1, gauge)",
        "sort(gauge)",
        "rate(nothing[5m])",
        "integral(gauge[5m])",
    ] {
        assert_eq!(told(text), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn a_range_query_tells_what_its_steps_tell_once() {
    let query = Query::parse("sort(rate(gauge[5m]))").unwrap();
    let (start, end) = (Timestamp::from_millis(300_000), Timestamp::from_millis(600_000));
    let (value, annotations) =
        query.range_annotated(&store().history, start, end, Duration::from_secs(60), &EvalOptions::default());
    assert!(value.is_ok());
    assert_eq!(annotations.warnings().len(), 1);
    assert_eq!(annotations.infos().len(), 1);
}
