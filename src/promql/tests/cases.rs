//! Runs the files of `testdata/`, in the little language of Prometheus' own query tests:
//!
//! ```text
//! load 1m
//!   metric{a="b"} 0+1x10
//!
//! eval instant at 5m rate(metric[5m])
//!   {a="b"} 0.0166
//!
//! eval range from 0 to 2m step 1m metric
//!   metric{a="b"} 0 1 2
//!
//! eval_fail instant at 5m metric * on() metric
//! ```
//!
//! `clear` begins a new history; `eval_ordered` minds the order; a line of a number alone is a scalar.

use std::path::Path;
use std::time::Duration;

use super::notation::{Store, difference, elements, labels, number, values};
use crate::history::Point;
use crate::model::{Labels, Timestamp, parse_duration};
use crate::promql::{EvalOptions, Query, Value, almost_equal};

struct Script<'t> {
    lines: std::iter::Peekable<std::iter::Enumerate<std::str::Lines<'t>>>,
    store: Store,
    cases: usize,
    failures: Vec<String>,
}

fn time(text: &str) -> Timestamp {
    match text.strip_prefix('-') {
        Some(text) => Timestamp::default() - parse_duration(text).unwrap(),
        None => Timestamp::default() + parse_duration(text).unwrap(),
    }
}

/// Labels and the rest: the labels end with a brace, or at the first space.
fn split_series(line: &str) -> (&str, &str) {
    let end = line.find('}').map_or_else(|| line.find(' ').unwrap_or(line.len()), |i| i + 1);
    line.split_at(end)
}

impl Script<'_> {
    fn block(&mut self) -> Vec<String> {
        let mut out = Vec::new();
        while let Some((_, line)) = self.lines.next_if(|(_, l)| l.starts_with([' ', '\t']) && !l.trim().is_empty()) {
            out.push(line.trim().to_string());
        }
        out
    }

    fn run(&mut self) {
        while let Some((number, line)) = self.lines.next() {
            let line = line.trim();
            let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
            let block = self.block();
            match command {
                _ if line.is_empty() || line.starts_with('#') => {}
                "clear" => self.store = Store::new(),
                "load" => {
                    let interval = parse_duration(rest).unwrap();
                    for series in &block {
                        let (name, samples) = split_series(series);
                        self.store.load(name, samples, interval);
                    }
                }
                "eval" | "eval_ordered" | "eval_fail" => {
                    self.cases += 1;
                    let failure = match rest.split_once(' ') {
                        Some(("instant", rest)) => self.instant(command, rest, &block),
                        Some(("range", rest)) => self.range(command, rest, &block),
                        _ => panic!("{line}"),
                    };
                    if let Some(failure) = failure {
                        self.failures.push(format!("line {}: {line}\n{failure}", number + 1));
                    }
                }
                _ => panic!("unknown command: {line}"),
            }
        }
    }

    fn instant(&self, command: &str, rest: &str, block: &[String]) -> Option<String> {
        let (at, expr) = rest.strip_prefix("at ").and_then(|r| r.split_once(' ')).unwrap();
        let result = Query::parse(expr)
            .map_err(|e| e.to_string())
            .and_then(|q| q.instant(&self.store.history, time(at), &EvalOptions::default()).map_err(|e| e.to_string()));
        let value = match result {
            Err(e) if command == "eval_fail" => {
                return block.iter().find(|wanted| !e.contains(wanted.as_str())).map(|_| format!("failed with: {e}"));
            }
            Err(e) => return Some(e),
            Ok(value) if command == "eval_fail" => return Some(format!("should fail, gives {value:?}")),
            Ok(value) => value,
        };
        let expected: Vec<(Labels, f64)> = block
            .iter()
            .map(|line| match number(line) {
                Some(v) => (Labels::empty(), v),
                None => {
                    let (name, value) = split_series(line);
                    (labels(name), number(value.trim()).unwrap())
                }
            })
            .collect();
        if let (Value::Vector(v), "eval_ordered") = (&value, command) {
            let order: Vec<&Labels> = v.iter().map(|s| &s.labels).collect();
            let wanted: Vec<&Labels> = expected.iter().map(|(l, _)| l).collect();
            if order != wanted {
                return Some(format!("order: {order:?}"));
            }
        }
        difference(expected, &elements(&value))
    }

    fn range(&self, command: &str, rest: &str, block: &[String]) -> Option<String> {
        let mut words = rest.splitn(7, ' ');
        let mut word = || words.next().unwrap();
        let (start, end, step) = ((word(), time(word())).1, (word(), time(word())).1, (word(), word()).1);
        let step = parse_duration(step).unwrap();
        let expr = word();
        let result = Query::parse(expr).map_err(|e| e.to_string()).and_then(|q| {
            q.range(&self.store.history, start, end, step, &EvalOptions::default()).map_err(|e| e.to_string())
        });
        let series = match result {
            Err(_) if command == "eval_fail" => return None,
            Ok(Value::Matrix(series)) if command != "eval_fail" => series,
            other => return Some(format!("{other:?}")),
        };
        let points = |text: &str| -> Vec<Point> {
            let at = |i: usize| (start + Duration::from_millis(step.as_millis() as u64 * i as u64)).as_millis();
            values(text).iter().enumerate().filter_map(|(i, v)| v.map(|value| Point { time: at(i), value })).collect()
        };
        let mut expected: Vec<(Labels, Vec<Point>)> = block
            .iter()
            .map(|line| {
                let (name, values) = split_series(line);
                (labels(name), points(values))
            })
            .collect();
        expected.sort_by(|a, b| a.0.cmp(&b.0));
        let same = |a: &[Point], b: &[Point]| {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.time == b.time && almost_equal(a.value, b.value, 1e-6))
        };
        let equal = series.len() == expected.len()
            && series.iter().zip(&expected).all(|(s, e)| s.labels == e.0 && same(&s.points, &e.1));
        (!equal).then(|| format!("expected {expected:?}\n     got {series:?}"))
    }
}

#[test]
fn every_case_of_the_data_files_holds() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/promql/testdata");
    let mut cases = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let lines = text.lines().enumerate().peekable();
        let mut script = Script { lines, store: Store::new(), cases: 0, failures: Vec::new() };
        script.run();
        assert!(script.failures.is_empty(), "{}:\n{}", path.display(), script.failures.join("\n"));
        cases += script.cases;
    }
    assert!(cases > 100, "{cases}");
}
