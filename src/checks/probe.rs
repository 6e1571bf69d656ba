//! What the agent can look at by itself, without a command.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use super::families::Families;
use super::verdict::Verdict;

/// A look that is under way.
pub type Probing<'a> = Pin<Box<dyn Future<Output = Verdict> + Send + 'a>>;

/// Looks at something over a network. It waits, and takes no thread.
pub trait Probe: Send + Sync {
    /// Looks once. Whatever goes wrong is a verdict. It ends by itself within `limit` and says then what it waited for;
    /// it may be dropped at any time.
    fn probe<'a>(&'a self, limit: Duration, out: &'a mut Families) -> Probing<'a>;
}

/// Looks at something on this host by calls that may block; it runs on a thread of the pool.
pub trait Look: Send + Sync {
    /// Looks once. Whatever goes wrong is a verdict.
    fn look(&self, out: &mut Families) -> Verdict;
}
