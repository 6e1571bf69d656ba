//! The bounded queue: one line per class, served in turn.

use std::collections::BTreeMap;

use super::task::Class;

/// Tasks that wait, by number. Within a class the lowest number, that is the oldest, comes first; the classes that have
/// somebody waiting take turns. Every operation is logarithmic, so that cancelling all of a long queue stays cheap.
pub(super) struct FairQueue<T> {
    lines: [BTreeMap<u64, T>; Class::ALL.len()],
    /// The line that is looked at first by the next `pop`.
    turn: usize,
}

impl<T> FairQueue<T> {
    pub(super) fn new() -> Self {
        FairQueue { lines: std::array::from_fn(|_| BTreeMap::new()), turn: 0 }
    }

    fn line(&mut self, class: Class) -> &mut BTreeMap<u64, T> {
        match class {
            Class::Sink => &mut self.lines[0],
            Class::Check => &mut self.lines[1],
        }
    }

    /// The number of tasks of `class` that wait.
    pub(super) fn len(&mut self, class: Class) -> usize {
        self.line(class).len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lines.iter().all(BTreeMap::is_empty)
    }

    pub(super) fn push(&mut self, class: Class, number: u64, task: T) {
        self.line(class).insert(number, task);
    }

    pub(super) fn remove(&mut self, class: Class, number: u64) -> Option<T> {
        self.line(class).remove(&number)
    }

    /// Takes the oldest task of the class whose turn it is.
    pub(super) fn pop(&mut self) -> Option<T> {
        let count = self.lines.len();
        let (before, from) = self.lines.split_at_mut(self.turn);
        let (index, task) =
            from.iter_mut().chain(before).enumerate().find_map(|(index, line)| Some((index, line.pop_first()?.1)))?;
        self.turn = (self.turn + index + 1) % count;
        Some(task)
    }

    /// Takes all, in the order in which `pop` would give them.
    pub(super) fn drain(&mut self) -> Vec<T> {
        std::iter::from_fn(|| self.pop()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_one_class_does_not_hold_up_the_other() {
        let mut queue = FairQueue::new();
        for number in 0..5 {
            queue.push(Class::Check, number, "check");
        }
        queue.push(Class::Sink, 5, "sink a");
        queue.push(Class::Sink, 6, "sink b");
        assert_eq!(queue.drain(), ["sink a", "check", "sink b", "check", "check", "check", "check"]);
        assert!(queue.is_empty());
    }

    #[test]
    fn within_a_class_the_oldest_comes_first_and_what_is_removed_does_not_come() {
        let mut queue = FairQueue::new();
        for number in 0..4 {
            queue.push(Class::Sink, number, number);
        }
        assert_eq!(queue.remove(Class::Sink, 1), Some(1));
        assert_eq!(queue.remove(Class::Sink, 1), None);
        assert_eq!(queue.remove(Class::Check, 2), None);
        assert_eq!(queue.len(Class::Sink), 3);
        assert_eq!(queue.drain(), [0, 2, 3]);
    }
}
