//! Queries that share their reads say what they say alone.

use std::collections::HashSet;
use std::time::Duration;

use super::notation::Store;
use crate::model::Timestamp;
use crate::promql::{EvalOptions, Query, SharedReads, Value};

const QUERIES: &[&str] = &[
    "a",
    "a > 3",
    "sum by (x) (rate(a[5m]))",
    "rate(a[1m])",
    "max_over_time(a[5m])",
    "count_over_time(a{x=\"1\"}[10m])",
    "count_over_time(a{x=\"1\"}[30s])",
    "timestamp(a{x=\"1\"})",
    "a{x=\"1\"} - on (x) b",
    "max_over_time(rate(a[1m])[5m:30s])",
    "a offset 2m",
    "rate(a[1m] @ 300)",
    "b",
    "absent(b{x=\"9\"})",
    "absent_over_time(b{x=\"9\"}[1m])",
    "b{x=\"9\"} or vector(0)",
    "{__name__=~\"a|b\"}",
];

fn parsed() -> Vec<Query> {
    QUERIES.iter().map(|text| Query::parse(text).unwrap()).collect()
}

fn store() -> Store {
    let mut store = Store::new();
    let second = Duration::from_secs(1);
    store.load("a{x=\"1\"}", "0+1x400 0+2x400", second);
    store.load("a{x=\"2\"}", "5x300 _x100 stale 7x300", second);
    store.load("b{x=\"1\"}", "0+10x700 stale", second);
    store
}

fn values(queries: &[Query], store: &Store, at: u64) -> Vec<Value> {
    let at = Timestamp::default() + Duration::from_secs(at);
    queries.iter().map(|q| q.instant(&store.history, at, &EvalOptions::default()).unwrap()).collect()
}

#[test]
fn queries_that_share_their_reads_give_what_they_give_alone() {
    let store = store();
    let (alone, together) = (parsed(), parsed());
    let shared = SharedReads::new(together.iter(), &HashSet::new());
    // Forwards and back again: what is kept of one time says nothing of another.
    for at in (0..900).step_by(7).chain([400, 399, 400, 701, 700]) {
        assert_eq!(values(&together, &store, at), values(&alone, &store, at), "at {at}");
        if at % 2 == 0 {
            shared.release();
        }
    }
}

#[test]
fn what_the_rules_give_themselves_is_read_anew_each_time() {
    let mut store = store();
    let queries: Vec<Query> =
        ["own", "own + 0", "a{x=\"1\"}", "a{x=\"1\"} + 0"].map(|t| Query::parse(t).unwrap()).into();
    let _shared = SharedReads::new(queries.iter(), &HashSet::from(["own"]));
    assert_eq!(values(&queries[..1], &store, 100), [Value::Vector(Vec::new())]);
    store.load("own", "_x100 3", Duration::from_secs(1));
    let Value::Vector(own) = &values(&queries[..2], &store, 100)[1] else { panic!("no vector") };
    assert_eq!(own[0].value, 3.0);
}

#[test]
fn what_is_too_much_to_keep_is_read_by_each() {
    let mut store = Store::new();
    for x in 0..40 {
        store.load(&format!("many{{x=\"{x}\"}}"), "0+1x400", Duration::from_secs(1));
    }
    let texts = ["rate(many[5m])", "increase(many[5m])", "sum(many)", "max(many)"];
    let parse = || -> Vec<Query> { texts.map(|t| Query::parse(t).unwrap()).into() };
    let (alone, together) = (parse(), parse());
    let _shared = SharedReads::new(together.iter(), &HashSet::new());
    assert_eq!(values(&together, &store, 350), values(&alone, &store, 350));
}
