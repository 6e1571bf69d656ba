//! Results as text: a table for people, lines for programs.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::spark::sparkline;
use crate::cli::client::{Answer, Point, QueryResult as Result, Series};
use crate::model::{Labels, Timestamp};

/// Columns of a sparkline, at least and at most.
const SPARK: std::ops::RangeInclusive<usize> = 10..=60;
/// What a column of labels is not cut below.
const NARROW: usize = 8;
/// Between two columns.
pub const GAP: &str = "  ";

/// `range`: the times of a range query, and its step. `width`: the columns that there are; nothing for as many as it takes.
pub fn table(answer: &Answer, range: Option<(Timestamp, Timestamp, Duration)>, width: Option<usize>) -> String {
    let (series, matrix) = match &answer.result {
        Result::One(point) => return format!("{}\n", rounded(&point.value)),
        Result::Vector(series) => (series, false),
        Result::Matrix(series) => (series, true),
    };
    if series.is_empty() {
        return "no series\n".to_string();
    }
    let common = common_labels(series);
    let names: BTreeSet<&String> =
        series.iter().flat_map(|s| s.labels.keys()).filter(|name| !common.contains_key(*name)).collect();
    let mut rows = Vec::with_capacity(series.len() + 1);
    let values = if matrix { vec!["MIN", "MAX", "LAST"] } else { vec!["VALUE"] };
    rows.push(names.iter().map(|name| printable(name)).chain(values.iter().map(|v| v.to_string())).collect());
    for each in series {
        let labels = names.iter().map(|name| each.labels.get(*name).map(|v| printable(v)).unwrap_or_default());
        let values = if matrix { extremes(each) } else { vec![last(each)] };
        rows.push(labels.chain(values).collect::<Vec<String>>());
    }
    let mut widths = widths(&rows);
    let reserved = if matrix { SPARK.start() + GAP.len() } else { 0 };
    if let Some(width) = width {
        fit(&mut widths, names.len(), width.saturating_sub(reserved));
    }
    let used: usize = widths.iter().map(|w| w + GAP.len()).sum();
    let columns = width.map_or(*SPARK.end(), |width| width.saturating_sub(used)).clamp(*SPARK.start(), *SPARK.end());

    let mut out = String::new();
    if !common.is_empty() {
        out += &format!("{}\n", printable(&Labels::from_pairs(common).to_string()));
    }
    for (n, row) in rows.iter().enumerate() {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            // Labels to the left, numbers to the right.
            let cell = cut(cell, *width);
            line += &if column < names.len() { format!("{cell:<width$}{GAP}") } else { format!("{cell:>width$}{GAP}") };
        }
        if matrix && n > 0 {
            let points = series.get(n - 1).map(|s| s.points.as_slice()).unwrap_or_default();
            line += &match range {
                // Each step has a place, and a column of its own where there is room for all.
                Some((start, end, step)) => {
                    let steps = end.millis_since(start).max(0) as u128 / step.as_millis().max(1) + 1;
                    let columns = usize::try_from(steps).map_or(columns, |steps| columns.min(steps));
                    let end = start.as_secs_f64() + steps as f64 * step.as_secs_f64();
                    sparkline(points, start.as_secs_f64(), end, columns)
                }
                None => {
                    let time = |point: Option<&Point>| point.map_or(0.0, |p| p.time);
                    sparkline(points, time(points.first()), time(points.last()), columns)
                }
            };
        }
        out += line.trim_end();
        out.push('\n');
    }
    out
}

/// Those that all series have with the same value.
fn common_labels(series: &[Series]) -> BTreeMap<&String, &String> {
    let Some((first, others)) = series.split_first() else { return BTreeMap::new() };
    let everywhere = |(name, value): &(&String, &String)| others.iter().all(|s| s.labels.get(*name) == Some(value));
    first.labels.iter().filter(everywhere).collect()
}

fn last(series: &Series) -> String {
    series.points.last().map(|p| rounded(&p.value)).unwrap_or_default()
}

/// A number as people read it: with six digits, or all of a whole number. What is exact is in the other outputs.
pub fn rounded(value: &str) -> String {
    match value.parse::<f64>() {
        Ok(v) if v.is_finite() && v.fract() != 0.0 => {
            let digits = 5 - v.abs().log10().floor().clamp(-300.0, 5.0) as i32;
            // Below a millionth, zeros say less than an exponent does.
            if digits > 11 {
                return format!("{v:.5e}");
            }
            let text = format!("{v:.*}", usize::try_from(digits).unwrap_or(0));
            if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_string() } else { text }
        }
        _ => printable(value),
    }
}

/// The smallest, the largest and the last value, as they were printed.
fn extremes(series: &Series) -> Vec<String> {
    let numbers = || series.points.iter().filter_map(|p| Some((p.value.parse::<f64>().ok()?, &p.value)));
    let known = || numbers().filter(|(number, _)| !number.is_nan());
    let low = known().min_by(|a, b| a.0.total_cmp(&b.0));
    let high = known().max_by(|a, b| a.0.total_cmp(&b.0));
    let text = |found: Option<(f64, &String)>| found.map_or("NaN".to_string(), |(_, text)| rounded(text));
    vec![text(low), text(high), last(series)]
}

fn length(text: &str) -> usize {
    text.chars().count()
}

pub fn widths(rows: &[Vec<String>]) -> Vec<usize> {
    let columns = rows.first().map_or(0, Vec::len);
    (0..columns).map(|n| rows.iter().filter_map(|row| row.get(n)).map(|cell| length(cell)).max().unwrap_or(0)).collect()
}

/// Makes the widest of the first columns narrower until all fit, as far as that goes.
fn fit(widths: &mut [usize], labels: usize, available: usize) {
    loop {
        let total: usize = widths.iter().map(|w| w + GAP.len()).sum();
        let over = total.saturating_sub(available);
        let widest = widths.iter_mut().take(labels).max_by_key(|w| **w).filter(|w| **w > NARROW);
        match widest {
            Some(width) if over > 0 => *width -= 1,
            _ => return,
        }
    }
}

pub fn cut(text: &str, width: usize) -> String {
    if length(text) <= width {
        return text.to_string();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

/// Characters that would move a terminal's cursor stand as escapes.
pub fn printable(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

/// Name and value pairs, time and value: a line a sample, below a line of names.
pub fn csv(answer: &Answer) -> String {
    let series = match &answer.result {
        Result::One(point) => vec![Series { labels: BTreeMap::new(), points: vec![point.clone()] }],
        Result::Vector(series) | Result::Matrix(series) => series.clone(),
    };
    let names: BTreeSet<&String> = series.iter().flat_map(|s| s.labels.keys()).collect();
    let line = |cells: Vec<String>| cells.iter().map(|cell| quoted(cell)).collect::<Vec<_>>().join(",") + "\n";
    let ends = ["timestamp".to_string(), "value".to_string()];
    let mut out = line(names.iter().map(|name| name.to_string()).chain(ends).collect());
    for each in &series {
        for point in &each.points {
            let labels = names.iter().map(|name| each.labels.get(*name).cloned().unwrap_or_default());
            out += &line(labels.chain([point.time.to_string(), point.value.clone()]).collect());
        }
    }
    out
}

/// As RFC 4180 wants it where the text has a separator in it.
fn quoted(cell: &str) -> String {
    if cell.contains([',', '"', '\n', '\r']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell.to_string() }
}

/// The values alone, a line each.
pub fn raw(answer: &Answer) -> String {
    let values: Vec<&str> = match &answer.result {
        Result::One(point) => vec![&point.value],
        Result::Vector(series) | Result::Matrix(series) => {
            series.iter().flat_map(|s| s.points.iter().map(|p| p.value.as_str())).collect()
        }
    };
    values.iter().map(|value| format!("{value}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(json: &str) -> Answer {
        Answer::read(200, format!(r#"{{"status":"success","data":{json}}}"#).as_bytes()).unwrap()
    }

    fn vector() -> Answer {
        answer(
            r#"{"resultType":"vector","result":[
            {"metric":{"__name__":"cpu","job":"node","mode":"idle","cpu":"0"},"value":[5,"12.5"]},
            {"metric":{"__name__":"cpu","job":"node","mode":"user"},"value":[5,"3"]}]}"#,
        )
    }

    fn matrix() -> Answer {
        answer(
            r#"{"resultType":"matrix","result":[
            {"metric":{"a":"x"},"values":[[0,"1"],[5,"NaN"],[10,"20"]]},
            {"metric":{"a":"a\nb"},"values":[[0,"7"]]}]}"#,
        )
    }

    #[test]
    fn what_all_rows_have_in_common_is_said_once() {
        assert_eq!(
            table(&vector(), None, None),
            "cpu{job=\"node\"}\ncpu  mode  VALUE\n0    idle   12.5\n     user      3\n"
        );
        let one = answer(r#"{"resultType":"vector","result":[{"metric":{"__name__":"up"},"value":[5,"1"]}]}"#);
        assert_eq!(table(&one, None, None), "up\nVALUE\n    1\n");
        assert_eq!(table(&answer(r#"{"resultType":"vector","result":[]}"#), None, None), "no series\n");
        assert_eq!(table(&answer(r#"{"resultType":"scalar","result":[5,"2"]}"#), None, None), "2\n");
    }

    #[test]
    fn a_range_has_extremes_and_a_sparkline() {
        let range = |step| Some((Timestamp::from_millis(0), Timestamp::from_millis(10_000), Duration::from_secs(step)));
        assert_eq!(
            table(&matrix(), range(5), Some(36)),
            "a     MIN  MAX  LAST\nx       1   20    20  ▁ █\na\\nb    7    7     7  ▁\n",
            "a column for each step"
        );
        assert!(table(&matrix(), range(1), Some(34)).contains("20  ▁         █\n"), "as many as there are at most");
    }

    #[test]
    fn numbers_have_six_digits_and_whole_ones_all() {
        for (exact, read) in [
            ("0.06999999999999951", "0.07"),
            ("820.4810314902059", "820.481"),
            ("1234567.8", "1234568"),
            ("-0.000123456789", "-0.000123457"),
            ("1.2345678e-9", "1.23457e-9"),
            ("123456789012", "123456789012"),
            ("+Inf", "+Inf"),
            ("NaN", "NaN"),
            ("0", "0"),
            ("99999.99", "100000"),
        ] {
            assert_eq!(rounded(exact), read);
        }
    }

    #[test]
    fn a_narrow_terminal_cuts_labels_and_no_numbers() {
        let long = "l".repeat(100);
        let json = format!(
            r#"{{"resultType":"vector","result":[{{"metric":{{"a":"{long}"}},"value":[5,"123456789"]}},{{"metric":{{"a":"b"}},"value":[5,"1"]}}]}}"#
        );
        let text = table(&answer(&json), None, Some(40));
        assert!(text.lines().all(|line| line.chars().count() <= 40), "{text}");
        assert!(text.contains("…  123456789\n"), "{text}");
        assert!(table(&answer(&json), None, None).contains(&long), "a pipe gets the whole");
    }

    #[test]
    fn programs_get_lines() {
        assert_eq!(
            csv(&vector()),
            "__name__,cpu,job,mode,timestamp,value\ncpu,0,node,idle,5,12.5\ncpu,,node,user,5,3\n"
        );
        assert_eq!(csv(&matrix()).lines().next(), Some("a,timestamp,value"));
        assert!(csv(&matrix()).contains("\"a\nb\",0,7\n"));
        assert_eq!(raw(&vector()), "12.5\n3\n");
        assert_eq!(raw(&matrix()), "1\nNaN\n20\n7\n");
    }
}
