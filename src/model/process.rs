//! A process that uses much of the host, as it is named to people.

use serde::{Deserialize, Serialize};

/// A process that uses much of the host.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct TopProcess {
    pub pid: u32,
    /// As the kernel calls it (`comm`), not its command line, in which there may be secrets.
    pub name: String,
    /// Of one core, from 0; above 1 for several.
    pub cpu: f64,
    /// Resident, in bytes.
    pub memory: u64,
}
