//! A timeline: what an alert was, column by column, and the scale above.

use super::clock::Clock;
use crate::model::Timestamp;
use crate::rules::replay::{Span, Stage};

/// Distances of the marks of a scale, in seconds.
const STEPS: [i64; 20] =
    [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800];

/// What stands in a column.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Cell {
    NoData,
    Inactive,
    Pending,
    Firing,
}

impl Cell {
    pub fn sign(self) -> char {
        match self {
            Cell::NoData => ' ',
            Cell::Inactive => '·',
            Cell::Pending => '▒',
            Cell::Firing => '█',
        }
    }
}

/// Time, divided into columns.
#[derive(Clone, Copy, Debug)]
pub struct Axis {
    pub start: Timestamp,
    pub end: Timestamp,
    pub columns: usize,
}

impl Axis {
    /// The column of a time; the last one for what is at the end or behind it.
    fn column(&self, at: Timestamp) -> usize {
        let (since, whole) = (at.millis_since(self.start).max(0), self.end.millis_since(self.start).max(1));
        let column = i128::from(since) * self.columns as i128 / i128::from(whole);
        usize::try_from(column).unwrap_or(usize::MAX).min(self.columns.saturating_sub(1))
    }

    /// Puts a cell over those from one time to another that are less.
    fn paint(&self, cells: &mut [Cell], from: Timestamp, to: Timestamp, cell: Cell) {
        if to < self.start || from > self.end {
            return;
        }
        // What ends where a column begins has no part of that column.
        let last = Timestamp::from_millis(to.as_millis().saturating_sub(1)).max(from);
        let range = self.column(from)..=self.column(last);
        for there in cells.get_mut(range).unwrap_or_default() {
            *there = cell.max(*there);
        }
    }

    /// What an alert was at its most in each column.
    pub fn cells(&self, covered: &[(Timestamp, Timestamp)], spans: &[Span]) -> Vec<Cell> {
        let mut cells = vec![Cell::NoData; self.columns];
        for (from, to) in covered {
            self.paint(&mut cells, *from, *to, Cell::Inactive);
        }
        for span in spans {
            let cell = if span.stage == Stage::Firing { Cell::Firing } else { Cell::Pending };
            self.paint(&mut cells, span.from, span.to, cell);
        }
        cells
    }

    /// Marks at round times, each where its time is.
    pub fn scale(&self, clock: &Clock) -> String {
        let whole = self.end.millis_since(self.start).max(1);
        let columns = self.columns as i64;
        // Each mark and some room behind it.
        let enough =
            |step: &i64| step.saturating_mul(columns) / whole >= clock.mark(self.start, *step).len() as i64 + 3;
        let Some(step) = STEPS.iter().map(|seconds| seconds * 1000).find(enough) else { return String::new() };
        let mut line = String::new();
        let offset = clock.offset(self.start);
        let mut at = (self.start.as_millis().saturating_add(offset))
            .div_euclid(step)
            .saturating_mul(step)
            .saturating_sub(offset);
        while at <= self.end.as_millis() {
            let time = Timestamp::from_millis(at);
            let mark = format!("|{}", clock.mark(time, step));
            let column = self.column(time);
            if time >= self.start && column + mark.len() <= self.columns && line.len() <= column {
                line += &" ".repeat(column - line.len());
                line += &mark;
            }
            at = at.saturating_add(step);
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;
    use crate::fuzz::{Fuzz, Random};

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn span(stage: Stage, from: i64, to: i64) -> Span {
        Span { stage, from: at(from), to: at(to) }
    }

    fn bar(columns: usize, covered: &[(i64, i64)], spans: &[Span]) -> String {
        let covered: Vec<_> = covered.iter().map(|(from, to)| (at(*from), at(*to))).collect();
        let axis = Axis { start: at(0), end: at(100), columns };
        axis.cells(&covered, spans).into_iter().map(Cell::sign).collect()
    }

    fn scale(start: i64, end: i64, columns: usize) -> String {
        let (start, end) = (at(start), at(end));
        Axis { start, end, columns }.scale(&Clock::new(start, end, TimeZone::UTC))
    }

    #[test]
    fn a_column_shows_the_most_that_the_alert_was_in_its_time() {
        let spans = [span(Stage::Pending, 20, 40), span(Stage::Firing, 40, 60)];
        assert_eq!(bar(10, &[(0, 100)], &spans), "··▒▒██····");
        assert_eq!(bar(5, &[(0, 100)], &spans), "·▒█··");
        let moment = [span(Stage::Firing, 55, 55)];
        assert_eq!(bar(10, &[(0, 100)], &moment), "·····█····", "what lasts a moment is not lost");
        assert_eq!(bar(4, &[(0, 100)], &[span(Stage::Pending, 20, 24), span(Stage::Firing, 24, 25)]), "█···");
    }

    #[test]
    fn where_there_are_no_samples_it_is_blank() {
        assert_eq!(bar(10, &[(20, 50), (70, 100)], &[span(Stage::Firing, 70, 80)]), "  ···  █··");
        assert_eq!(bar(3, &[], &[]), "   ");
        assert_eq!(bar(0, &[(0, 100)], &[]), "");
    }

    #[test]
    fn the_marks_of_the_scale_are_at_round_times() {
        assert_eq!(scale(0, 7200, 48), "|00:00      |00:30      |01:00      |01:30");
        assert_eq!(scale(50, 350, 50), " |00:01    |00:02    |00:03    |00:04    |00:05");
        assert_eq!(scale(3, 33, 60), "              |00:00:10           |00:00:20");
        assert_eq!(scale(0, 3600, 3), "", "no room for one");
    }

    #[test]
    fn no_times_make_it_panic() {
        Fuzz::of(&["0"]).bytes(|bytes| {
            let seed = bytes.iter().fold(0_u64, |seed, b| seed.wrapping_mul(31).wrapping_add(u64::from(*b)));
            let mut random = Random::new(seed);
            let mut any = || Timestamp::from_millis((random.next() as i64) >> (random.below(60)));
            let (start, end) = (any(), any());
            let spans = [Span { stage: Stage::Firing, from: any(), to: any() }];
            let axis = Axis { start, end, columns: bytes.len() % 300 };
            assert_eq!(axis.cells(&[(any(), any())], &spans).len(), axis.columns);
            axis.scale(&Clock::new(start, end, TimeZone::UTC));
        });
    }
}
