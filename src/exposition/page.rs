//! The page: all sections of a snapshot merged into one list of families.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Format, protobuf, text};
use crate::model::{Family, Labels, Layout, MetricType, Section, SeriesId, Snapshot};

/// Samples that a page does not show, because they contradict others.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct LeftOut {
    /// Of families that an earlier section has with another type.
    pub type_conflicts: usize,
    /// Of series that an earlier section, or the same one, has already.
    pub duplicates: usize,
}

/// Whether a sample is on the page: by its section's name and its labels.
pub type Keep = Box<dyn Fn(&str, &Labels) -> bool + Send + Sync>;

/// Writes snapshots as pages, and keeps the layout of the last one for the next.
#[derive(Default)]
pub struct Pages {
    /// `None`: all are on the page.
    keep: Option<Keep>,
    /// A lock, not an atomic: it is held for a comparison of pointers, and for a rebuild, which nobody should do twice.
    last: Mutex<Arc<Page>>,
}

impl Pages {
    pub fn new() -> Pages {
        Pages::default()
    }

    /// Pages that have just a part of the samples.
    pub fn of_part(keep: Keep) -> Pages {
        Pages { keep: Some(keep), ..Pages::default() }
    }

    /// The snapshot's exposed sections in the given format. An error comes from the protobuf encoder.
    pub fn encode(&self, snapshot: &Snapshot, format: Format) -> Result<Vec<u8>, prometheus::Error> {
        let sections: Vec<&Section> = exposed(snapshot).collect();
        let page = self.page(&sections);
        match format {
            Format::Text => Ok(text::encode(&page, &sections, text::Dialect::Prometheus)),
            Format::OpenMetrics => Ok(text::encode(&page, &sections, text::Dialect::OpenMetrics)),
            Format::Protobuf => protobuf::encode(&page, &sections),
        }
    }

    /// What the page of the snapshot leaves out.
    pub fn left_out(&self, snapshot: &Snapshot) -> LeftOut {
        self.page(&exposed(snapshot).collect::<Vec<_>>()).left_out
    }

    fn page(&self, sections: &[&Section]) -> Arc<Page> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if !last.is_of(sections) {
            let page = Page::build(sections, self.keep.as_ref());
            // Layouts change with the processes, on a busy host every second; what contradicts is said once.
            for conflict in page.conflicts.iter().filter(|c| !last.conflicts.contains(c)) {
                conflict.log();
            }
            *last = Arc::new(page);
        }
        last.clone()
    }
}

fn exposed(snapshot: &Snapshot) -> impl Iterator<Item = &Section> {
    snapshot.sections.iter().map(|s| &**s).filter(|s| s.exposed)
}

/// Where everything on the page comes from.
#[derive(Default, Debug)]
pub(super) struct Page {
    /// By section. Holding them also keeps a new layout from getting the address of an old one.
    layouts: Vec<Arc<Layout>>,
    /// By name.
    families: Vec<(Family, Range<usize>)>,
    /// Of all families, one after the other.
    runs: Vec<Run>,
    pub left_out: LeftOut,
    conflicts: Vec<Conflict>,
    /// Series on the page.
    pub series: usize,
    /// Bytes of all prefixes and headers: what a page is at least as long as.
    pub text_size: usize,
}

/// A family that is not on the page, because an earlier section has it with another type.
#[derive(PartialEq, Eq, Debug)]
struct Conflict {
    family: String,
    collector: &'static str,
    kind: MetricType,
    first: MetricType,
}

impl Conflict {
    fn log(&self) {
        tracing::warn!(
            family = self.family,
            collector = self.collector,
            "not served: its type is {} here and {} in another collector",
            self.kind.as_str(),
            self.first.as_str(),
        );
    }
}

/// Positions of one section's layout that follow each other on the page.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub section: usize,
    pub start: usize,
    pub end: usize,
}

impl Page {
    fn is_of(&self, sections: &[&Section]) -> bool {
        self.layouts.len() == sections.len()
            && self.layouts.iter().zip(sections).all(|(a, b)| Arc::ptr_eq(a, &b.layout))
    }

    fn build(sections: &[&Section], keep: Option<&Keep>) -> Page {
        let mut page = Page { layouts: sections.iter().map(|s| s.layout.clone()).collect(), ..Page::default() };
        let mut merged: BTreeMap<&str, (&Family, Vec<Run>)> = BTreeMap::new();
        for (section, from) in sections.iter().enumerate() {
            for (family, positions) in from.layout.families() {
                let run = Run { section, start: positions.start, end: positions.end };
                let (first, runs) = merged.entry(&*family.name).or_insert_with(|| (family, Vec::new()));
                if first.kind == family.kind {
                    runs.push(run);
                } else {
                    page.left_out.type_conflicts += positions.len();
                    page.conflicts.push(Conflict {
                        family: family.name.to_string(),
                        collector: from.name,
                        kind: family.kind,
                        first: first.kind,
                    });
                }
            }
        }
        let mut seen = Seen::default();
        for (family, runs) in merged.into_values() {
            let start = page.runs.len();
            for run in runs {
                let section = sections.get(run.section).map_or("", |s| s.name);
                page.add_run(run, &mut seen, |labels| keep.is_none_or(|keep| keep(section, labels)));
            }
            if page.runs.len() > start {
                page.text_size += 2 * family.name.len() + family.help.len() + 32;
                page.families.push((family.clone(), start..page.runs.len()));
            }
        }
        page
    }

    /// Adds the parts of a run that are wanted and that no run before had.
    fn add_run(&mut self, run: Run, seen: &mut Seen, wanted: impl Fn(&Labels) -> bool) {
        let Some(layout) = self.layouts.get(run.section).cloned() else { return };
        let mut open: Option<Run> = None;
        for position in run.start..run.end {
            let series = layout.series().get(position).and_then(Option::as_ref);
            if series.is_some_and(|s| !wanted(&s.labels)) {
                self.runs.extend(open.take());
            } else if series.is_some_and(|s| seen.insert(s.id)) {
                self.series += 1;
                self.text_size += layout.prefix(position).len();
                open.get_or_insert(Run { start: position, ..run }).end = position + 1;
            } else {
                self.left_out.duplicates += 1;
                self.runs.extend(open.take());
            }
        }
        self.runs.extend(open);
    }

    /// Families in the order of the page, each with its samples' places.
    pub fn families(&self) -> impl Iterator<Item = (&Family, &[Run])> {
        self.families.iter().map(|(family, runs)| (family, self.runs.get(runs.clone()).unwrap_or(&[])))
    }

    /// The family's name and type in OpenMetrics, where a counter is named without `_total`. One that has no `_total`,
    /// or would be named as another family then, is of unknown type: its series have the same name in every format.
    pub fn openmetrics_family<'f>(&self, family: &'f Family) -> (&'f str, &'static str) {
        match (family.kind, family.name.strip_suffix("_total")) {
            (MetricType::Counter, Some(name)) if !name.is_empty() && !self.has_family(name) => (name, "counter"),
            (MetricType::Counter | MetricType::Untyped, _) => (&family.name, "unknown"),
            (kind, _) => (&family.name, kind.as_str()),
        }
    }

    fn has_family(&self, name: &str) -> bool {
        self.families.binary_search_by(|(family, _)| (*family.name).cmp(name)).is_ok()
    }
}

/// A set of series, as bits by their dense ids.
#[derive(Default)]
struct Seen(Vec<u64>);

impl Seen {
    /// False when it was there already.
    fn insert(&mut self, id: SeriesId) -> bool {
        let (word, bit) = (id.index() / 64, 1u64 << (id.index() % 64));
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        let word = &mut self.0[word];
        let new = *word & bit == 0;
        *word |= bit;
        new
    }
}

/// A help text escaped for its line: backslash and line feed, in OpenMetrics the double quote too.
pub(super) fn escape_help(help: &str, quotes: bool) -> Cow<'_, str> {
    if !help.bytes().any(|b| matches!(b, b'\\' | b'\n') || (quotes && b == b'"')) {
        return Cow::Borrowed(help);
    }
    let mut out = String::with_capacity(help.len() + 8);
    for c in help.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if quotes => out.push_str("\\\""),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::model::{SeriesTable, Timestamp, Writer};

    struct Host {
        a: Writer,
        b: Writer,
    }

    impl Host {
        fn new() -> Host {
            let table = Arc::new(SeriesTable::new(Labels::from_pairs([("job", "node")])));
            Host { a: Writer::new("a", table.clone(), 100), b: Writer::new("b", table, 100) }
        }

        fn snapshot(&mut self) -> Snapshot {
            let sections = vec![self.a.finish().0, self.b.finish().0];
            Snapshot { time: Timestamp::default(), taken: Instant::now(), sections }
        }
    }

    fn text(pages: &Pages, snapshot: &Snapshot) -> String {
        String::from_utf8(pages.encode(snapshot, Format::Text).unwrap()).unwrap()
    }

    #[test]
    fn a_part_of_the_samples_is_a_page_of_its_own() {
        let mut host = Host::new();
        host.a.gauge("m", "Help.", ["d"]).put([b"1"], 1.0).put([b"2"], 2.0).put([b"3"], 3.0);
        host.b.gauge("m", "Help.", ["d"]).put([b"4"], 4.0);
        host.b.gauge("n", "Help.", []).put([], 5.0);
        let pages = Pages::of_part(Box::new(|section, labels| section == "a" && labels.get("d") != "2"));
        let wanted = "# HELP m Help.\n# TYPE m gauge\nm{d=\"1\"} 1\nm{d=\"3\"} 3\n";
        assert_eq!(text(&pages, &host.snapshot()), wanted);
        assert_eq!(pages.left_out(&host.snapshot()), LeftOut::default());
    }

    #[test]
    fn a_family_of_several_collectors_appears_once_and_families_are_sorted() {
        let mut host = Host::new();
        host.a.gauge("z", "Last.", ["d"]).put([b"1"], 1.0).put([b"2"], 2.0);
        host.a.gauge("m", "First help.", []).put([], 5.0);
        host.b.gauge("z", "Another help.", ["d"]).put([b"2"], 9.0).put([b"3"], 3.0);
        host.b.counter("a_total", "", []).put([], 7.0);
        let (pages, snapshot) = (Pages::new(), host.snapshot());
        assert_eq!(
            text(&pages, &snapshot),
            "# TYPE a_total counter\na_total 7\n\
             # HELP m First help.\n# TYPE m gauge\nm 5\n\
             # HELP z Last.\n# TYPE z gauge\nz{d=\"1\"} 1\nz{d=\"2\"} 2\nz{d=\"3\"} 3\n"
        );
        assert_eq!(pages.left_out(&snapshot), LeftOut { type_conflicts: 0, duplicates: 1 });
    }

    #[test]
    fn of_two_types_the_first_wins_and_the_other_is_counted() {
        let mut host = Host::new();
        host.a.gauge("m", "", ["d"]).put([b"1"], 1.0);
        host.b.counter("m", "", ["d"]).put([b"2"], 1.0).put([b"3"], 1.0);
        let (pages, snapshot) = (Pages::new(), host.snapshot());
        assert_eq!(text(&pages, &snapshot), "# TYPE m gauge\nm{d=\"1\"} 1\n");
        assert_eq!(pages.left_out(&snapshot), LeftOut { type_conflicts: 2, duplicates: 0 });
    }

    #[test]
    fn what_only_history_keeps_is_not_on_the_page() {
        let mut host = Host::new();
        host.a = Writer::new("hidden", Arc::new(SeriesTable::new(Labels::empty())), 10).hidden();
        host.a.gauge("up", "", []).put([], 1.0);
        host.b.gauge("m", "", []).put([], 1.0);
        assert_eq!(text(&Pages::new(), &host.snapshot()), "# TYPE m gauge\nm 1\n");
    }

    #[test]
    fn the_layout_is_kept_until_a_collector_changes_its_own() {
        let mut host = Host::new();
        let pages = Pages::new();
        let mut tick = |values: &[&[u8]]| {
            for v in values {
                host.a.gauge("m", "", ["d"]).put([v], 1.0);
            }
            host.b.gauge("n", "", []).put([], 1.0);
            let snapshot = host.snapshot();
            (pages.page(&exposed(&snapshot).collect::<Vec<_>>()), text(&pages, &snapshot))
        };
        let (first, _) = tick(&[b"x"]);
        let (second, _) = tick(&[b"x"]);
        let (third, shown) = tick(&[b"y"]);
        assert!(Arc::ptr_eq(&first, &second) && !Arc::ptr_eq(&second, &third));
        assert!(shown.contains("m{d=\"y\"} 1\n") && !shown.contains("\"x\""), "{shown}");
    }

    #[test]
    fn a_tick_in_which_a_collector_is_missing_shows_the_others() {
        let mut host = Host::new();
        host.a.gauge("m", "", []).put([], 1.0);
        host.b.gauge("n", "", []).put([], 2.0);
        let pages = Pages::new();
        let mut snapshot = host.snapshot();
        assert!(text(&pages, &snapshot).contains("m 1\n"));
        snapshot.sections.remove(0);
        assert_eq!(text(&pages, &snapshot), "# TYPE n gauge\nn 2\n");
        assert_eq!(text(&pages, &Snapshot::empty()), "");
    }
}
