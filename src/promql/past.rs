//! What a subquery has given at steps that the next range looks at again.

use super::ahead::Grid;
use super::error::EvalError;
use super::eval::{Collected, Eval, Held};
use super::plan::Node;
use crate::history::Point;
use crate::model::Labels;

/// The values of a subquery's steps within a range that moves forward.
#[derive(Default)]
pub struct Past {
    collected: Collected,
    /// The places of the series, in the order of their labels.
    order: Vec<usize>,
    /// Of each series, how many points lie before the range.
    passed: Vec<usize>,
    /// The range of the last call; nothing before the first.
    range: Option<(i64, i64)>,
    /// The step that is evaluated next.
    next: i64,
    held: Held,
}

impl Past {
    /// The series that have points in the range, in the order of their labels, and these points.
    pub fn series(&self) -> impl Iterator<Item = (&Labels, &[Point])> {
        self.order.iter().filter_map(|place| {
            let series = self.collected.series.get(*place)?;
            let points = series.points.get(self.passed.get(*place).copied().unwrap_or(0)..)?;
            (!points.is_empty()).then_some((&series.labels, points))
        })
    }

    /// Forgets the points before `first`; returns how many these were.
    fn forget_before(&mut self, first: i64) -> usize {
        let mut gone = 0;
        for (series, passed) in self.collected.series.iter_mut().zip(&mut self.passed) {
            let rest = series.points.get(*passed..).unwrap_or(&[]);
            let more = rest.iter().take_while(|p| p.time < first).count();
            gone += more;
            *passed += more;
            if *passed > series.points.len() / 2 {
                series.points.drain(..(*passed).min(series.points.len()));
                *passed = 0;
            }
        }
        gone
    }

    /// Forgets the series without points, if these are most of them; returns how many bytes their labels take.
    fn forget_empty(&mut self) -> usize {
        let is_empty = |points: &Vec<Point>| points.is_empty();
        let empty = self.collected.series.iter().filter(|s| is_empty(&s.points)).count();
        if empty <= self.collected.series.len() / 2 {
            return 0;
        }
        let mut gone = 0;
        let mut left = Collected::default();
        let mut passed = Vec::new();
        let all = std::mem::take(&mut self.collected).series;
        for (series, before) in all.into_iter().zip(self.passed.drain(..)) {
            if is_empty(&series.points) {
                gone += series.labels.heap_size();
            } else {
                passed.push(before);
                left.adopt(series);
            }
        }
        (self.collected, self.passed) = (left, passed);
        self.order.clear();
        gone
    }

    /// Brings the order up to date with the series.
    fn sort(&mut self) {
        let series = &self.collected.series;
        if self.order.len() != series.len() {
            self.order = (0..series.len()).collect();
            self.order
                .sort_unstable_by(|a, b| series.get(*a).map(|s| &s.labels).cmp(&series.get(*b).map(|s| &s.labels)));
            self.passed.resize(series.len(), 0);
        }
    }
}

impl Eval<'_> {
    /// Evaluates the steps from `first` to `end` that have not been yet, and forgets those before. `grid`: the steps of
    /// the subquery, as far as later ranges reach.
    pub(super) fn go_on(
        &mut self,
        past: &mut Past,
        node: &Node,
        (first, end): (i64, i64),
        grid: Grid,
    ) -> Result<(), EvalError> {
        if past.range.is_some_and(|(was_first, was_end)| first < was_first || end < was_end) {
            self.ahead.held.subtract_all(past.held);
            *past = Past::default();
        }
        let gone = (past.forget_before(first), past.forget_empty());
        past.held.subtract(gone.0, gone.1);
        self.ahead.held.subtract(gone.0, gone.1);

        let begin = if past.range.is_some() { past.next.max(first) } else { first };
        let before = *self.held();
        let around = (self.in_range, self.grid);
        (self.in_range, self.grid) = (first != end, grid);
        past.next = self.collect(&mut past.collected, node, (begin, end), grid.step)?;
        (self.in_range, self.grid) = around;
        past.range = Some((first, end));
        past.sort();

        // What the steps hold is held on beyond this evaluation.
        let held = std::mem::replace(self.held(), before).less(before);
        past.held.add_all(held);
        self.ahead.held.add_all(held);
        Ok(())
    }
}
