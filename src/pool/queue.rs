//! The bounded queue of a lane: one line per class, served in turn.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::job::Ticket;
use super::task::Class;

/// Tasks that wait. Within a class the highest priority comes first, among equals the lowest number, that is the
/// oldest; the classes that have somebody waiting take turns. Every operation is logarithmic, so that cancelling all of a
/// long queue stays cheap.
pub(super) struct FairQueue<T> {
    lines: [BTreeMap<(Reverse<i8>, u64), T>; Class::ALL.len()],
    /// The line that is looked at first by the next `pop`.
    turn: usize,
}

fn index(class: Class) -> usize {
    match class {
        Class::Sink => 0,
        Class::Check => 1,
        Class::Action => 2,
    }
}

impl<T> FairQueue<T> {
    pub(super) fn new() -> Self {
        FairQueue { lines: std::array::from_fn(|_| BTreeMap::new()), turn: 0 }
    }

    /// The number of tasks of `class` that wait.
    pub(super) fn len(&self, class: Class) -> usize {
        self.lines.get(index(class)).map_or(0, BTreeMap::len)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lines.iter().all(BTreeMap::is_empty)
    }

    pub(super) fn push(&mut self, ticket: Ticket, task: T) {
        if let Some(line) = self.lines.get_mut(index(ticket.class)) {
            line.insert(ticket.rank(), task);
        }
    }

    pub(super) fn remove(&mut self, ticket: Ticket) -> Option<T> {
        self.lines.get_mut(index(ticket.class))?.remove(&ticket.rank())
    }

    /// Takes the first task of the class whose turn it is.
    pub(super) fn pop(&mut self) -> Option<T> {
        let count = self.lines.len();
        let (before, from) = self.lines.split_at_mut(self.turn);
        let (index, task) =
            from.iter_mut().chain(before).enumerate().find_map(|(index, line)| Some((index, line.pop_first()?.1)))?;
        self.turn = (self.turn + index + 1) % count;
        Some(task)
    }

    /// Takes the first task of this class, whoever's turn it is.
    pub(super) fn pop_of(&mut self, class: Class) -> Option<T> {
        Some(self.lines.get_mut(index(class))?.pop_first()?.1)
    }

    /// All that wait, class by class.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.lines.iter().flat_map(BTreeMap::values)
    }

    /// Takes all, in the order in which `pop` would give them.
    pub(super) fn drain(&mut self) -> Vec<T> {
        std::iter::from_fn(|| self.pop()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::task::Lane;
    use super::*;

    fn ticket(class: Class, number: u64) -> Ticket {
        Ticket { number, lane: Lane::Command, class, priority: 0 }
    }

    #[test]
    fn a_flood_of_one_class_does_not_hold_up_the_others() {
        let mut queue = FairQueue::new();
        for number in 0..5 {
            queue.push(ticket(Class::Check, number), "check");
        }
        queue.push(ticket(Class::Sink, 5), "sink a");
        queue.push(ticket(Class::Sink, 6), "sink b");
        queue.push(ticket(Class::Action, 7), "action");
        assert_eq!(queue.drain(), ["sink a", "check", "action", "sink b", "check", "check", "check", "check"]);
        assert!(queue.is_empty());
    }

    #[test]
    fn within_a_class_the_oldest_comes_first_and_what_is_removed_does_not_come() {
        let mut queue = FairQueue::new();
        for number in 0..4 {
            queue.push(ticket(Class::Sink, number), number);
        }
        assert_eq!(queue.remove(ticket(Class::Sink, 1)), Some(1));
        assert_eq!(queue.remove(ticket(Class::Sink, 1)), None);
        assert_eq!(queue.remove(ticket(Class::Check, 2)), None);
        assert_eq!(queue.len(Class::Sink), 3);
        assert_eq!(queue.pop_of(Class::Check), None);
        assert_eq!(queue.pop_of(Class::Sink), Some(0));
        assert_eq!(queue.drain(), [2, 3]);
    }

    #[test]
    fn within_a_class_a_higher_priority_goes_first() {
        let mut queue = FairQueue::new();
        for (number, priority) in [(0, 0), (1, -5), (2, 5), (3, i8::MAX), (4, 5), (5, i8::MIN)] {
            queue.push(Ticket { priority, ..ticket(Class::Check, number) }, number);
        }
        assert_eq!(queue.drain(), [3, 2, 4, 0, 1, 5]);
    }
}
