//! The whole pass, on trees that a test makes and on live processes.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::model::{Labels, Section, SeriesTable};

fn writer() -> Writer {
    Writer::new("processes", Arc::new(SeriesTable::new(Labels::empty())), 100_000)
}

/// All lines as `/metrics` would have them.
fn lines(section: &Section) -> Vec<String> {
    let line = |(i, value): (usize, &f64)| format!("{}{value}", String::from_utf8_lossy(section.layout.prefix(i)));
    section.values.iter().enumerate().map(line).collect()
}

#[test]
fn live() {
    let mut p =
        Processes::new(&ProcessesConfig::default(), Some(&ProcessesCollectorConfig::default()), &Roots::default());
    let mut out = writer();
    for _ in 0..3 {
        p.collect(&mut out).unwrap();
        let (section, _) = out.finish();
        println!("{}", lines(&section).join("\n"));
    }
    let _ = (fs::metadata("/"), Path::new("/"));
}
