//! Annotations: what is worth knowing about a result that was evaluated nevertheless. The texts are Prometheus'.

use std::fmt;

use hashbrown::HashSet;

use crate::model::Timestamp;

/// Annotations of a level that are kept; of further ones only the number is.
const MAX_KEPT: usize = 10;

/// Further annotations that are told apart.
const MAX_COUNTED: usize = 10_000;

/// A place in the text of a query, both numbers from 1; the column counts bytes.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Place {
    line: usize,
    column: usize,
}

impl Place {
    pub fn new(text: &str, offset: usize) -> Place {
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |i| i + 1);
        Place { line: before.matches('\n').count() + 1, column: before.len() - line_start + 1 }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// How far the counts of a histogram's buckets had to be raised.
#[derive(Clone, Copy, Debug)]
pub(super) struct Raised {
    /// The least and the greatest upper bound of the buckets that were.
    pub lowest: f64,
    pub highest: f64,
    pub most: f64,
}

/// Raised buckets of several histograms, together.
#[derive(Clone, Copy, Debug)]
struct AllRaised {
    raised: Raised,
    histograms: u64,
    first: i64,
    last: i64,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Kind {
    Quantile,
    Ratio,
    Strategy,
    BucketLabel,
    SortInRange,
    NotCounter,
    ForcedMonotonicity,
}

impl Kind {
    fn is_warning(self) -> bool {
        !matches!(self, Kind::NotCounter | Kind::ForcedMonotonicity)
    }
}

#[derive(Clone, Debug)]
struct Annotation {
    kind: Kind,
    /// What it is about: a value, a label, a name.
    subject: Box<str>,
    place: Place,
    raised: Option<AllRaised>,
}

impl fmt::Display for Annotation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Annotation { subject, place, .. } = self;
        match self.kind {
            Kind::Quantile => {
                write!(f, "PromQL warning: quantile value should be between 0 and 1, got {subject}")?;
            }
            Kind::Ratio => write!(f, "PromQL warning: ratio value should be between -1 and 1, {subject}")?,
            Kind::Strategy => {
                write!(f, "PromQL warning: strategy should be 0, 1, or 2 (default), using 2, got {subject}")?;
            }
            Kind::BucketLabel => {
                let label = quoted(subject);
                write!(f, "PromQL warning: bucket label \"le\" is missing or has a malformed value of {label}")?;
            }
            Kind::SortInRange => f.write_str(
                "PromQL warning: sort is ineffective for range queries since results are always ordered by labels",
            )?,
            Kind::NotCounter => write!(
                f,
                "PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: {}",
                quoted(subject)
            )?,
            Kind::ForcedMonotonicity => f.write_str(
                "PromQL info: input to histogram_quantile needed to be fixed for monotonicity (see \
                 https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)",
            )?,
        }
        if let Some(AllRaised { raised, histograms, first, last }) = self.raised {
            // Whole seconds.
            let time = |millis: i64| {
                let seconds = jiff::Timestamp::from_second(millis / 1000).unwrap_or_default();
                seconds.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
            };
            write!(
                f,
                ", from buckets {} to {}, with a max diff of {}, over {histograms} samples from {} to {}",
                general(raised.lowest, None),
                general(raised.highest, None),
                general(raised.most, Some(2)),
                time(first),
                time(last),
            )?;
        }
        write!(f, " ({place})")
    }
}

/// What an evaluation has to say about its result: warnings and infos, each once.
#[derive(Clone, Default, Debug)]
pub struct Annotations {
    kept: Vec<Annotation>,
    /// Hashes of those that are not kept, of warnings and of infos.
    omitted: [HashSet<u64>; 2],
}

impl Annotations {
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// What is likely to be wrong, in the order of its first appearance, with place: at most ten, and how many more.
    pub fn warnings(&self) -> Vec<String> {
        self.texts(true)
    }

    /// What may be meant as it is, otherwise as [`Annotations::warnings`].
    pub fn infos(&self) -> Vec<String> {
        self.texts(false)
    }

    fn texts(&self, warnings: bool) -> Vec<String> {
        let of_level = self.kept.iter().filter(|a| a.kind.is_warning() == warnings);
        let mut out: Vec<String> = of_level.map(Annotation::to_string).collect();
        let omitted = self.omitted[usize::from(warnings)].len();
        if omitted > 0 {
            let level = if warnings { "warning" } else { "info" };
            out.push(format!("{omitted} more {level} annotations omitted"));
        }
        out
    }

    /// The one of this kind and subject, which is made if it is not there yet and there is room.
    fn find(&mut self, kind: Kind, subject: &str, place: Place) -> Option<&mut Annotation> {
        if let Some(i) = self.kept.iter().position(|a| a.kind == kind && *a.subject == *subject) {
            return self.kept.get_mut(i);
        }
        if self.kept.iter().filter(|a| a.kind.is_warning() == kind.is_warning()).count() < MAX_KEPT {
            self.kept.push(Annotation { kind, subject: subject.into(), place, raised: None });
            return self.kept.last_mut();
        }
        let omitted = &mut self.omitted[usize::from(kind.is_warning())];
        if omitted.len() < MAX_COUNTED {
            let hash = std::hash::BuildHasher::hash_one(omitted.hasher(), (kind, subject));
            omitted.insert(hash);
        }
        None
    }

    /// The same again at another place is told of that place, as Prometheus does.
    fn add(&mut self, kind: Kind, subject: &str, place: Place) {
        if let Some(annotation) = self.find(kind, subject, place) {
            annotation.place = place;
        }
    }

    /// A quantile that is not within 0 and 1 is told.
    pub(super) fn check_quantile(&mut self, q: f64, place: Place) {
        if !(0.0..=1.0).contains(&q) {
            self.add(Kind::Quantile, &general(q, None), place);
        }
    }

    /// A ratio that is not within -1 and 1 is told.
    pub(super) fn check_ratio(&mut self, ratio: f64, place: Place) {
        if ratio.abs() > 1.0 {
            let to = ratio.signum();
            self.add(Kind::Ratio, &format!("got {}, capping to {to}", general(ratio, None)), place);
        }
    }

    pub(super) fn bad_strategy(&mut self, strategy: f64, place: Place) {
        self.add(Kind::Strategy, &general(strategy, None), place);
    }

    pub(super) fn bad_bucket_label(&mut self, label: &str, place: Place) {
        self.add(Kind::BucketLabel, label, place);
    }

    pub(super) fn sort_in_range(&mut self, place: Place) {
        self.add(Kind::SortInRange, "", place);
    }

    /// A metric under `rate` whose name is not that of a counter is told.
    pub(super) fn check_counter(&mut self, metric_name: &str, place: Place) {
        let suffixes = ["_total", "_sum", "_count", "_bucket"];
        if !metric_name.is_empty() && !suffixes.iter().any(|s| metric_name.ends_with(s)) {
            self.add(Kind::NotCounter, metric_name, place);
        }
    }

    /// Buckets of a histogram counted less than those below them.
    pub(super) fn forced_monotonicity(&mut self, raised: Raised, time: Timestamp, place: Place) {
        let Some(annotation) = self.find(Kind::ForcedMonotonicity, "", place) else { return };
        let time = time.as_millis();
        let all = annotation.raised.get_or_insert(AllRaised { raised, histograms: 0, first: time, last: time });
        all.raised.lowest = all.raised.lowest.min(raised.lowest);
        all.raised.highest = all.raised.highest.max(raised.highest);
        all.raised.most = all.raised.most.max(raised.most);
        all.histograms += 1;
        all.first = all.first.min(time);
        all.last = all.last.max(time);
    }
}

/// A text in quotes, as Go's `%q` writes it.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A number as Go's `%g` writes it: as short as it can be, or with so many digits.
pub(super) fn general(value: f64, digits: Option<usize>) -> String {
    if value.is_nan() {
        return "NaN".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf".into() } else { "-Inf".into() };
    }
    let scientific = match digits {
        Some(digits) => format!("{value:.*e}", digits.saturating_sub(1)),
        None => format!("{value:e}"),
    };
    let Some((mantissa, exponent)) = scientific.split_once('e') else { return scientific };
    let mantissa = if mantissa.contains('.') { mantissa.trim_end_matches('0').trim_end_matches('.') } else { mantissa };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let precision = match digits {
        Some(digits) => i32::try_from(digits).unwrap_or(i32::MAX),
        // What Go takes where it writes as many digits as there are.
        None => 6,
    };
    if (-4..precision).contains(&exponent) {
        return match digits {
            Some(_) => format!("{mantissa}e{exponent}").parse::<f64>().unwrap_or(value).to_string(),
            None => value.to_string(),
        };
    }
    format!("{mantissa}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_counts_lines_and_bytes_from_one() {
        assert_eq!(Place::new("sum(x)", 4).to_string(), "1:5");
        assert_eq!(Place::new("sum(\n  é x)", 10).to_string(), "2:6");
        assert_eq!(Place::new("x", 99).to_string(), "1:2");
    }

    #[test]
    fn the_same_is_told_once() {
        let mut annotations = Annotations::default();
        annotations.check_quantile(1.5, Place::new("", 0));
        annotations.check_quantile(1.5, Place::new("", 0));
        annotations.check_quantile(0.5, Place::new("", 0));
        assert_eq!(annotations.warnings(), ["PromQL warning: quantile value should be between 0 and 1, got 1.5 (1:1)"]);
        assert!(annotations.infos().is_empty());
    }

    #[test]
    fn ten_are_told_and_how_many_more_there_are() {
        let mut annotations = Annotations::default();
        for i in 0..25 {
            annotations.check_counter(&format!("gauge{i}"), Place::default());
            annotations.check_counter(&format!("gauge{i}"), Place::default());
        }
        annotations.check_counter("requests_total", Place::default());
        let infos = annotations.infos();
        assert_eq!(infos.len(), 11);
        assert_eq!(infos.last().unwrap(), "15 more info annotations omitted");
    }

    #[test]
    fn raised_buckets_are_summed_up() {
        let mut annotations = Annotations::default();
        let mut add = |lowest, highest, most, time| {
            let raised = Raised { lowest, highest, most };
            annotations.forced_monotonicity(raised, Timestamp::from_millis(time), Place::new("f(x)", 2));
        };
        add(1.0, 2.0, 0.5, 60_000);
        add(0.1, 1.0, 123.0, 0);
        assert_eq!(
            annotations.infos(),
            ["PromQL info: input to histogram_quantile needed to be fixed for monotonicity (see \
              https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile), from buckets 0.1 \
              to 2, with a max diff of 1.2e+02, over 2 samples from 1970-01-01T00:00:00Z to 1970-01-01T00:01:00Z (1:3)"]
        );
    }

    #[test]
    fn numbers_are_written_as_go_writes_them() {
        for (value, digits, wanted) in [
            (2.0, None, "2"),
            (-0.5, None, "-0.5"),
            (100_000.0, None, "100000"),
            (1_234_567.0, None, "1.234567e+06"),
            (1e-7, None, "1e-07"),
            (f64::NAN, None, "NaN"),
            (f64::INFINITY, None, "+Inf"),
            (0.123, Some(2), "0.12"),
            (12.0, Some(2), "12"),
            (1234.0, Some(2), "1.2e+03"),
        ] {
            assert_eq!(general(value, digits), wanted);
        }
    }
}
