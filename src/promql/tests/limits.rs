//! What a query may take: samples, memory, time.

use std::time::{Duration, Instant};

use super::notation::Store;
use crate::fuzz::peak_of;
use crate::model::Timestamp;
use crate::promql::{EvalError, EvalOptions, Query};

/// 1,000 series of 100 samples, with a label of 100 bytes.
fn store() -> Store {
    let mut store = Store::new();
    for i in 0..1000 {
        let series = format!("x{{a=\"{i}\",b=\"{}\"}}", "y".repeat(100));
        store.load(&series, &format!("{i}+1x100"), Duration::from_secs(1));
    }
    store
}

fn fails(store: &Store, text: &str, options: &EvalOptions) -> EvalError {
    let query = Query::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
    match query.instant(&store.history, Timestamp::from_millis(100_000), options) {
        Err(e) => e,
        Ok(_) => panic!("{text} has a result"),
    }
}

#[test]
fn samples_count_while_they_are_held() {
    let store = store();
    let options = EvalOptions { max_samples: 2000, ..EvalOptions::default() };
    let at = Timestamp::from_millis(100_000);
    // Each series' samples are dropped before the next one's are read.
    let query = Query::parse("count(sum_over_time(x[1m]))").unwrap();
    assert!(query.instant(&store.history, at, &options).is_ok());
    // Two vectors at once, and their result.
    assert_eq!(fails(&store, "x + x", &options), EvalError::TooManySamples(2000));
    assert_eq!(fails(&store, "x[1m]", &options), EvalError::TooManySamples(2000));
    assert_eq!(fails(&store, "sum_over_time(x[10s:1s])", &options), EvalError::TooManySamples(2000));
    let range = query.range(&store.history, Timestamp::default(), at, Duration::from_secs(1), &options);
    assert!(range.is_ok());
    let query = Query::parse("x").unwrap();
    let range = query.range(&store.history, Timestamp::default(), at, Duration::from_secs(1), &options);
    assert_eq!(range, Err(EvalError::TooManySamples(2000)));
}

#[test]
fn errors_say_which_limit_it_was() {
    for (error, wanted) in [
        (
            EvalError::TooManySamples(10),
            "too many samples into memory in query execution: more than 10 (limit: max_samples)",
        ),
        (EvalError::TooMuchMemory(10), "too much memory in query execution: more than 10 bytes (limit: max_bytes)"),
        (EvalError::TimedOut, "query timed out in expression evaluation (limit: timeout)"),
    ] {
        assert!(error.to_string().ends_with(wanted), "{error}");
    }
}

/// Expressions that take as much as one likes.
fn bombs() -> Vec<String> {
    let mut grown = "x".to_string();
    for _ in 0..6 {
        grown = format!("label_join({grown}, \"b\", \"\", {})", vec!["\"b\""; 20].join(", "));
    }
    let mut doubled = "x".to_string();
    for _ in 0..40 {
        doubled = format!("label_replace({doubled}, \"b\", \"$1$1\", \"b\", \"(.*)\")");
    }
    vec![
        "sum_over_time(sum_over_time(sum_over_time(x[1h:1s])[1h:1s])[1h:1s])".into(),
        "count_over_time(vector(1)[100y:1s])".into(),
        "sum_over_time(count_values(\"v\", x)[1d:1s])".into(),
        "max_over_time((x + on (a) group_left (b) (x > 0))[1d:1s])".into(),
        format!("label_join(x, \"b\", \"\", {})", vec!["\"b\""; 10_000].join(", ")),
        format!("label_replace(x, \"c\", \"{}\", \"b\", \"(.*)\")", "$1".repeat(20_000)),
        grown,
        doubled,
        format!("count_over_time(label_replace(x, \"c\", \"$1\", \"b\", \"{}(.*)\")[1h:1s])", "(y?){20}".repeat(8)),
        vec!["x"; 140].join(" + on (a, b) "),
    ]
}

#[test]
fn no_query_takes_more_time_or_memory_than_it_may() {
    let store = store();
    let (start, end) = (Timestamp::from_millis(50_000), Timestamp::from_millis(100_000));
    let second = Duration::from_secs(1);
    for (bomb, is_range) in bombs().into_iter().flat_map(|bomb| [(bomb.clone(), false), (bomb, true)]) {
        let deadline = Instant::now() + Duration::from_millis(300);
        let max_bytes = 16 << 20;
        let options = EvalOptions { max_bytes, deadline: Some(deadline), ..EvalOptions::default() };
        let shown = bomb.get(..80).unwrap_or(&bomb);
        let query = Query::parse(&bomb).unwrap_or_else(|e| panic!("{shown}: {e}"));
        let (result, peak) = peak_of(|| match is_range {
            true => query.range(&store.history, start, end, second, &options),
            false => query.instant(&store.history, end, &options),
        });
        let late = Instant::now().saturating_duration_since(deadline);
        // It is 100 ms; builds without optimization on a machine that builds are slower.
        assert!(late < Duration::from_millis(1000), "{shown}: {late:?} late");
        // What is counted is what is held; what is being built comes on top, and tables grow by doubling.
        assert!(peak < 4 * max_bytes, "{shown}: {peak} bytes");
        if let Ok(value) = result {
            panic!("{shown} has a result: {:.200}", format!("{value:?}"));
        }
    }
}
