//! Where reading goes on after a restart.

use serde::{Deserialize, Serialize};

use super::print::Print;

/// Where each file of a check has been read to.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Positions {
    /// When they were kept, in seconds since 1970: a file that was made later is new.
    pub saved_at: u64,
    /// The paths and patterns that the check was about.
    pub of: Vec<String>,
    pub files: Vec<Position>,
}

/// Where a file has been read to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Position {
    /// Where it was last, as it is reached from the agent.
    pub path: String,
    pub device: u64,
    pub inode: u64,
    /// Whether the place is within a line of which no more is to be looked at.
    pub within_line: bool,
    /// The place, and by what it is known again.
    pub print: Print,
}

/// What was kept before a check began.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Earlier {
    /// It cannot be told yet: it lies where nothing can be read just now.
    Unknown,
    Nothing,
    At(Positions),
}

/// Keeps the positions of a check while the agent does not run.
pub trait Place: Send + Sync {
    /// What was kept last; asked before the first run, and before each further one as long as that cannot be told.
    fn load(&self) -> Earlier;

    /// Keeps these; called at the end of each run that has moved them. What is not kept is read again after a restart.
    fn save(&self, positions: &Positions);
}
