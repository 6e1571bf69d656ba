//! What is kept of a group under names that its threads give: few names, whatever threads call themselves.

use std::time::Instant;

use crate::collect::process::groups::{EMPTY_FOR, OTHER};

/// Names at most, beside [`OTHER`].
const MOST_NAMES: usize = 50;

/// A value for each name, in order of name.
///
/// A name that nothing has any more stays, so that its counters do not go back. Past the most there may be, the one that
/// has been without for longest, [`EMPTY_FOR`] at least, makes room for a new one; if there is none, that goes to `other`.
#[derive(Debug)]
pub(super) struct Names<T>(Vec<Named<T>>);

#[derive(Debug)]
pub(super) struct Named<T> {
    pub name: Box<str>,
    pub value: T,
    last_seen: Instant,
}

impl<T> Default for Names<T> {
    fn default() -> Names<T> {
        Names(Vec::new())
    }
}

impl<T: Default> Names<T> {
    /// The value of this name, which something has at this moment.
    pub fn at(&mut self, name: &str, now: Instant) -> &mut T {
        let at = self.find(name).unwrap_or_else(|_| self.make(name, now));
        let named = &mut self.0[at];
        named.last_seen = now;
        &mut named.value
    }

    fn find(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|named| (*named.name).cmp(name))
    }

    /// Makes room for a name that there is not; where that is, or `other`.
    fn make(&mut self, name: &str, now: Instant) -> usize {
        let name = match self.0.iter().filter(|named| &*named.name != OTHER).count() < MOST_NAMES || self.forget(now) {
            true => name,
            false => OTHER,
        };
        match self.find(name) {
            Ok(at) => at,
            Err(at) => {
                self.0.insert(at, Named { name: name.into(), value: T::default(), last_seen: now });
                at
            }
        }
    }

    /// Forgets the name that nothing has had for longest; `false` if none can be.
    fn forget(&mut self, now: Instant) -> bool {
        let names = self.0.iter().enumerate().filter(|(_, named)| &*named.name != OTHER);
        let oldest = names.min_by_key(|(_, named)| named.last_seen);
        match oldest.filter(|(_, named)| now.saturating_duration_since(named.last_seen) >= EMPTY_FOR) {
            Some((at, _)) => {
                self.0.remove(at);
                true
            }
            None => false,
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Named<T>> {
        self.0.iter()
    }

    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.0.iter_mut().map(|named| &mut named.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn shown(names: &Names<u32>) -> Vec<(&str, u32)> {
        names.iter().map(|named| (&*named.name, named.value)).collect()
    }

    #[test]
    fn past_the_most_there_may_be_names_are_other() {
        let (mut names, now) = (Names::<u32>::default(), Instant::now());
        for n in 0..MOST_NAMES + 10 {
            *names.at(&format!("n{n:02}"), now) += 1;
        }
        let shown = shown(&names);
        assert_eq!((shown.len(), shown.last()), (MOST_NAMES + 1, Some(&("other", 10))));
    }

    #[test]
    fn one_that_nothing_has_had_for_long_makes_room() {
        let (mut names, start) = (Names::<u32>::default(), Instant::now());
        for n in 0..MOST_NAMES {
            *names.at(&format!("n{n:02}"), start + Duration::from_secs(n as u64)) += 1;
        }
        *names.at("new", start + EMPTY_FOR / 2) += 1;
        assert_eq!(shown(&names).last(), Some(&("other", 1)), "none has been without for long enough");
        *names.at("new", start + EMPTY_FOR) += 1;
        *names.at("newer", start + EMPTY_FOR) += 1;
        let shown = shown(&names);
        assert!(shown.contains(&("new", 1)) && !shown.contains(&("n00", 1)) && shown.contains(&("n01", 1)));
        assert!(shown.contains(&("other", 2)), "{shown:?}");
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_names_are_few(seen in prop::collection::vec("[a-z]{0,2}", 0..300)) {
            let (mut names, now) = (Names::<u32>::default(), Instant::now());
            for name in &seen {
                *names.at(name, now) += 1;
            }
            prop_assert_eq!(names.iter().map(|n| n.value as usize).sum::<usize>(), seen.len());
            prop_assert!(names.iter().count() <= MOST_NAMES + 1);
            prop_assert!(names.iter().is_sorted_by(|a, b| a.name < b.name));
        }
    }
}
