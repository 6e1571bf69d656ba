//! Families that others have given (files, checks), merged by name and kept compactly, so that a tick only writes them.

use std::collections::HashMap;

use crate::exposition::parse::Family;
use crate::model::{MetricType, Writer};

/// A family as one file or check has it.
pub struct Kept {
    pub name: Box<str>,
    pub kind: MetricType,
    pub help: Option<Box<str>>,
    samples: Samples,
}

impl Kept {
    pub fn new(family: &Family<'_>) -> Kept {
        let mut samples = Samples::default();
        for sample in &family.samples {
            samples.push(sample.suffix, sample.labels.iter().map(|(n, v)| (*n, v.as_ref())), sample.value);
        }
        samples.shrink();
        let help = family.help.as_deref().map(Box::from);
        Kept { name: family.name.into(), kind: family.metric_type(), help, samples }
    }

    /// A family without samples yet.
    pub fn empty(name: &str, kind: MetricType, help: &str) -> Kept {
        let help = (!help.is_empty()).then(|| help.into());
        Kept { name: name.into(), kind, help, samples: Samples::default() }
    }

    /// Adds a sample: what its name has behind the family's, its labels, its value.
    pub fn add<'p>(&mut self, suffix: &str, labels: impl Iterator<Item = (&'p str, &'p str)>, value: f64) {
        self.samples.push(suffix, labels, value);
    }

    /// Whether it is the same family, whatever its samples are.
    pub fn is_like(&self, other: &Kept) -> bool {
        self.kind == other.kind && self.name == other.name && self.help == other.help
    }

    /// The number of samples.
    pub fn len(&self) -> usize {
        self.samples.list.len()
    }

    pub fn is_empty(&self) -> bool {
        self.samples.list.is_empty()
    }
}

/// Samples in three blocks of memory, whatever the number of labels.
#[derive(Default)]
struct Samples {
    text: String,
    /// Where each piece of the text ends: the suffix, then in turn a label's name and value.
    ends: Vec<u32>,
    /// The end of each sample's pieces, and its value.
    list: Vec<(u32, f64)>,
}

impl Samples {
    fn push<'p>(&mut self, suffix: &str, labels: impl Iterator<Item = (&'p str, &'p str)>, value: f64) {
        let pieces = std::iter::once(suffix).chain(labels.flat_map(|(n, v)| [n, v]));
        for piece in pieces {
            self.text.push_str(piece);
            // A file has at most 64 MiB.
            self.ends.push(self.text.len() as u32);
        }
        self.list.push((self.ends.len() as u32, value));
    }

    fn shrink(&mut self) {
        self.text.shrink_to_fit();
        self.ends.shrink_to_fit();
        self.list.shrink_to_fit();
    }

    fn piece(&self, i: usize) -> &str {
        let start = i.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        let end = self.ends.get(i).copied().unwrap_or(0);
        self.text.get(start as usize..end as usize).unwrap_or_default()
    }

    /// Calls `each` with the suffix, the labels and the value of every sample.
    fn for_each<'s>(
        &'s self,
        labels: &mut Vec<(&'s [u8], &'s [u8])>,
        mut each: impl FnMut(&str, &[(&[u8], &[u8])], f64),
    ) {
        let mut at = 0;
        for (end, value) in &self.list {
            let end = *end as usize;
            labels.clear();
            labels.extend((at + 1..end).step_by(2).map(|i| (self.piece(i).as_bytes(), self.piece(i + 1).as_bytes())));
            each(self.piece(at), labels, *value);
            at = end;
        }
    }
}

/// A family of the exposition: what one or several files have under its name.
pub struct Merged {
    name: Box<str>,
    kind: MetricType,
    pub help: Box<str>,
    /// File and family in it.
    parts: Vec<(usize, usize)>,
}

impl Merged {
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// What two files do not agree about.
#[derive(Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The file whose family is refused; the one that came first stays.
    pub file: usize,
    pub text: String,
}

/// Merges the families of all files, which come with their names, in the files' order.
pub fn merge(files: &[(&str, &[Kept])]) -> (Vec<Merged>, Vec<Conflict>) {
    struct Found {
        kind: MetricType,
        help: Option<Box<str>>,
        parts: Vec<(usize, usize)>,
    }
    let mut order: Vec<(&str, Found)> = Vec::new();
    let mut by_name: HashMap<&str, usize> = HashMap::new();
    let mut conflicts = Vec::new();
    let file_name = |part: Option<&(usize, usize)>| part.and_then(|(f, _)| files.get(*f)).map_or("", |(name, _)| name);
    for (file, (_, families)) in files.iter().enumerate() {
        for (i, family) in families.iter().enumerate() {
            let index = *by_name.entry(&family.name).or_insert(order.len());
            let Some((name, found)) = order.get_mut(index) else {
                let found = Found { kind: family.kind, help: family.help.clone(), parts: vec![(file, i)] };
                order.push((&family.name, found));
                continue;
            };
            let first = file_name(found.parts.first());
            if found.kind != family.kind {
                let (here, there) = (family.kind.as_str(), found.kind.as_str());
                conflicts.push(Conflict { file, text: format!("{name} is a {here} here and a {there} in {first}") });
            } else if let (Some(here), Some(there)) = (&family.help, &found.help)
                && here != there
            {
                let text = format!("the help of {name} is {here:?} here and {there:?} in {first}");
                conflicts.push(Conflict { file, text });
            } else {
                found.help = found.help.take().or_else(|| family.help.clone());
                found.parts.push((file, i));
            }
        }
    }
    let merged = order.into_iter().map(|(name, found)| {
        let help = found.help.unwrap_or_else(|| {
            let from: Vec<_> = found.parts.iter().map(|part| file_name(Some(part))).collect();
            format!("Metric read from {}", from.join(", ")).into()
        });
        Merged { name: name.into(), kind: found.kind, help, parts: found.parts }
    });
    (merged.collect(), conflicts)
}

/// Writes the merged families; `files` as they were merged.
pub fn write<'f>(merged: &[Merged], files: impl Fn(usize) -> &'f [Kept], out: &mut Writer) {
    let mut labels = Vec::new();
    for family in merged {
        let mut samples = out.family(family.kind, &family.name, &family.help, []);
        for (file, i) in &family.parts {
            let Some(kept) = files(*file).get(*i) else { continue };
            kept.samples.for_each(&mut labels, |suffix, labels, value| {
                samples.put_labels(suffix, labels, value);
            });
        }
    }
}
