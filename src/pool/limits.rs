//! What a command may use of the host.

use std::time::Duration;

/// What a command may use, and as whom. By default nothing is limited that is not limited for the agent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limits {
    /// CPU time of each of its processes, in whole seconds, rounded up; then it gets SIGXCPU, and a second later SIGKILL.
    pub cpu: Option<Duration>,
    /// Bytes of memory. Where the agent's control group is delegated to it, of all its processes together, none of which
    /// then outlives it; else of each one's data and heap.
    pub memory: Option<u64>,
    /// Descriptors that each of its processes may have open.
    pub open_files: Option<u64>,
    /// Its niceness, from -20 (the host waits for it) to 19 (it waits for everybody). What is below the agent's own needs
    /// a privilege.
    pub nice: Option<i8>,
    /// Who waits for whom at the disks.
    pub io: Option<IoPriority>,
    /// The user it runs as, by name or number, with that user's groups.
    pub user: Option<String>,
    /// The group it runs as, by name or number, in place of the user's own.
    pub group: Option<String>,
    /// Whether it can reach a network; when not, it has not even the loopback interface. An agent without privileges can
    /// take it away too where user namespaces are for everybody, but not from a command that runs as another user.
    pub network: bool,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            cpu: None,
            memory: None,
            open_files: None,
            nice: None,
            io: None,
            user: None,
            group: None,
            network: true,
        }
    }
}

/// Who waits for whom at the disks; see ionice(1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IoPriority {
    /// Before all others, from 0 (first) to 7. Needs a privilege.
    RealTime(u8),
    /// As all others, from 0 (first) to 7.
    BestEffort(u8),
    /// Only when nobody else wants anything.
    Idle,
}
