//! What stands in frames: label sets, chunks, heads, and the names of files.

use crate::history::chunk::Chunk;
use crate::history::codec::{put_varint, take_varint, unzigzag, zigzag};
use crate::history::head::Head;
use crate::model::{Labels, LabelsBuilder};

/// The clock was set back to `time` (milliseconds since the epoch): what the files of earlier epochs say of later times
/// was forgotten.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cut {
    /// The epoch that begins with it.
    pub epoch: u32,
    pub time: i64,
}

/// Which of the two kinds of files.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum FileKind {
    /// Sealed chunks.
    Chunks,
    /// Heads, and the ticks since.
    Log,
}

/// Files have lower numbers: one a millisecond would last for longer than anybody's history.
const MOST_NUMBER: u64 = 1 << 53;

/// A file, as its name says it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct FileName {
    pub kind: FileKind,
    /// In the order of beginning, over both kinds.
    pub number: u64,
    /// How often the clock had been set back when it was begun.
    pub epoch: u32,
}

impl FileName {
    /// Nothing for the name of a file that is none of ours: what we would not write ourselves, and numbers that leave no
    /// room for others.
    pub fn parse(name: &str) -> Option<FileName> {
        let (rest, kind) = match name.strip_suffix(".chunks") {
            Some(rest) => (rest, FileKind::Chunks),
            None => (name.strip_suffix(".log")?, FileKind::Log),
        };
        let (number, epoch) = rest.split_once('-')?;
        let found = FileName { kind, number: number.parse().ok()?, epoch: epoch.parse().ok()? };
        (found.number < MOST_NUMBER && found.epoch < u32::MAX && found.to_string() == name).then_some(found)
    }
}

impl std::fmt::Display for FileName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let extension = match self.kind {
            FileKind::Chunks => "chunks",
            FileKind::Log => "log",
        };
        write!(f, "{:08}-{}.{extension}", self.number, self.epoch)
    }
}

pub fn put_cuts(out: &mut Vec<u8>, cuts: &[Cut]) {
    put_varint(out, cuts.len() as u64);
    for cut in cuts {
        put_varint(out, u64::from(cut.epoch));
        put_varint(out, zigzag(cut.time));
    }
}

pub fn take_cuts(bytes: &[u8]) -> Vec<Cut> {
    let mut at = 0;
    let count = take_varint(bytes, &mut at);
    let mut cuts = Vec::new();
    while (cuts.len() as u64) < count && at < bytes.len() {
        let epoch = take_varint(bytes, &mut at) as u32;
        cuts.push(Cut { epoch, time: unzigzag(take_varint(bytes, &mut at)) });
    }
    cuts
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn take_bytes<'b>(bytes: &'b [u8], at: &mut usize) -> Option<&'b [u8]> {
    let length = usize::try_from(take_varint(bytes, at)).ok()?;
    let end = at.checked_add(length)?;
    let taken = bytes.get(*at..end)?;
    *at = end;
    Some(taken)
}

/// Names and values, one after the other, each with its length before it, as one string of bytes.
fn put_labels(out: &mut Vec<u8>, labels: &Labels) {
    let size = |text: &str| text.len() + if text.len() < 0x80 { 1 } else { 1 + (text.len().ilog2() / 7) as usize };
    put_varint(out, labels.iter().map(|(name, value)| size(name) + size(value)).sum::<usize>() as u64);
    for (name, value) in labels.iter() {
        put_bytes(out, name.as_bytes());
        put_bytes(out, value.as_bytes());
    }
}

/// The label set of such a string of bytes.
pub fn labels_of(bytes: &[u8]) -> Option<Labels> {
    let mut labels = LabelsBuilder::default();
    let mut at = 0;
    while at < bytes.len() {
        let name = std::str::from_utf8(take_bytes(bytes, &mut at)?).ok()?;
        let value = std::str::from_utf8(take_bytes(bytes, &mut at)?).ok()?;
        labels.set(name, value);
    }
    Some(labels.build())
}

pub fn put_chunk(out: &mut Vec<u8>, labels: &Labels, chunk: &Chunk) {
    put_labels(out, labels);
    chunk.write(out);
}

/// A chunk, and the labels of its series as they stand.
pub fn take_chunk(bytes: &[u8]) -> Option<(&[u8], Chunk)> {
    let mut at = 0;
    let labels = take_bytes(bytes, &mut at)?;
    Some((labels, Chunk::read(bytes.get(at..)?)?))
}

/// `run` and `number`: under which name the log's ticks speak of this series from here on.
pub fn put_head(out: &mut Vec<u8>, run: u64, number: u64, labels: &Labels, head: Option<&Head>) {
    put_varint(out, run);
    put_varint(out, number);
    put_labels(out, labels);
    if let Some(head) = head.filter(|head| !head.is_empty()) {
        head.write(out);
    }
}

/// A head as it stands in a log.
pub struct StoredHead<'b> {
    pub run: u64,
    pub number: u64,
    pub labels: &'b [u8],
    /// The samples, for [`Head::read`]; empty where there are none.
    pub samples: &'b [u8],
}

pub fn take_head(bytes: &[u8]) -> Option<StoredHead<'_>> {
    let mut at = 0;
    let run = take_varint(bytes, &mut at);
    let number = take_varint(bytes, &mut at);
    let labels = take_bytes(bytes, &mut at)?;
    Some(StoredHead { run, number, labels, samples: bytes.get(at..)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_come_back_and_others_are_none() {
        for kind in [FileKind::Chunks, FileKind::Log] {
            let name = FileName { kind, number: 123, epoch: 4 };
            assert_eq!(FileName::parse(&name.to_string()), Some(name));
        }
        for other in ["", "a.log", "1-2.log.tmp", "-.chunks", "1-2.log", "+0000001-0.log", "00000001-+2.chunks"] {
            assert_eq!(FileName::parse(other), None, "{other}");
        }
        for last in ["99999999999999999999999-0.log", "18446744073709551615-0.log", "00000001-4294967295.chunks"] {
            assert_eq!(FileName::parse(last), None, "{last}: no number comes after it");
        }
    }

    #[test]
    fn label_sets_come_back_whatever_their_lengths() {
        for length in [0, 1, 127, 128, 129, 16_383, 16_384, 40_000] {
            let labels = Labels::from_pairs([("__name__", "m"), ("ü", "ö"), ("long", &"x".repeat(length))]);
            let mut bytes = Vec::new();
            put_labels(&mut bytes, &labels);
            let mut at = 0;
            let text = take_bytes(&bytes, &mut at).unwrap();
            assert_eq!((labels_of(text), at), (Some(labels), bytes.len()), "{length}");
        }
        assert_eq!(labels_of(b"\x05ab"), None);
    }
}
