//! What a look finds wrong.

use crate::checks::{State, Verdict};

/// Findings that a summary names; the rest is counted.
const NAMED: usize = 3;

/// What is wrong, by state. A million files that are too old take no more memory than three.
#[derive(Default)]
pub struct Findings {
    critical: Kind,
    unknown: Kind,
    warning: Kind,
}

#[derive(Default)]
struct Kind {
    count: u64,
    first: Vec<String>,
}

impl Findings {
    /// Adds a finding; one that means `ok` is none.
    pub fn add(&mut self, state: State, text: impl FnOnce() -> String) {
        let kind = match state {
            State::Ok => return,
            State::Warning => &mut self.warning,
            State::Critical => &mut self.critical,
            State::Unknown => &mut self.unknown,
        };
        kind.count += 1;
        if kind.first.len() < NAMED {
            kind.first.push(text());
        }
    }

    pub fn is_empty(&self) -> bool {
        self.critical.count + self.unknown.count + self.warning.count == 0
    }

    /// The verdict: the worst state, and the findings from the worst on; `good` where there is none. What is known to be
    /// critical is worse than what could not be found out.
    pub fn verdict(self, good: impl FnOnce() -> String) -> Verdict {
        let kinds = [(State::Critical, self.critical), (State::Unknown, self.unknown), (State::Warning, self.warning)];
        let count: u64 = kinds.iter().map(|(_, kind)| kind.count).sum();
        let Some(state) = kinds.iter().find(|(_, kind)| kind.count > 0).map(|(state, _)| *state) else {
            return Verdict::ok(good());
        };
        let named: Vec<String> = kinds.into_iter().flat_map(|(_, kind)| kind.first).take(NAMED).collect();
        let more = count - named.len() as u64;
        let mut summary = named.join("; ");
        if more > 0 {
            summary.push_str(&format!("; and {more} more"));
        }
        Verdict::new(state, summary)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_comes_first_and_many_are_counted() {
        let mut findings = Findings::default();
        findings.add(State::Ok, || unreachable!("is no finding"));
        findings.add(State::Warning, || "w".to_string());
        findings.add(State::Unknown, || "u".to_string());
        for i in 0..100_000 {
            findings.add(State::Critical, || format!("c{i}"));
        }
        assert_eq!(findings.verdict(String::new), Verdict::critical("c0; c1; c2; and 99999 more"));
        let mut findings = Findings::default();
        findings.add(State::Warning, || "w".to_string());
        findings.add(State::Unknown, || "u".to_string());
        assert_eq!(findings.verdict(String::new), Verdict::unknown("u; w"));
        assert_eq!(Findings::default().verdict(|| "all well".to_string()), Verdict::ok("all well"));
    }
}
