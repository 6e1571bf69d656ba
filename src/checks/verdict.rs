//! What a run of a check says.

/// How it stands: Nagios' four states, which all kinds of checks map to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum State {
    Ok = 0,
    Warning = 1,
    Critical = 2,
    /// The check could not find out.
    Unknown = 3,
}

impl State {
    pub const ALL: [State; 4] = [State::Ok, State::Warning, State::Critical, State::Unknown];

    /// The value of the label `result`.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Ok => "ok",
            State::Warning => "warning",
            State::Critical => "critical",
            State::Unknown => "unknown",
        }
    }
}

/// The end of a run: its state, and why in a line for people.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verdict {
    pub state: State,
    /// One line; without secrets.
    pub summary: String,
}

impl Verdict {
    pub fn new(state: State, summary: impl Into<String>) -> Verdict {
        Verdict { state, summary: summary.into() }
    }

    pub fn ok(summary: impl Into<String>) -> Verdict {
        Verdict::new(State::Ok, summary)
    }

    pub fn critical(summary: impl Into<String>) -> Verdict {
        Verdict::new(State::Critical, summary)
    }

    pub fn unknown(summary: impl Into<String>) -> Verdict {
        Verdict::new(State::Unknown, summary)
    }
}
