//! What sinks are given by the agent.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::notification::NotifiedAlert;
use super::text::Texts;
use crate::model::Timestamp;
use crate::pool::Pool;

/// What sinks are built with.
#[derive(Clone)]
pub struct SinkContext {
    /// Where commands run.
    pub pool: Pool,
    /// The templates of messages.
    pub texts: Arc<Texts>,
    /// Pictures of what alerts are about; `None` where there is no history to draw.
    pub charts: Option<Arc<dyn Charts>>,
}

/// Draws what alerts are about.
pub trait Charts: Send + Sync {
    /// A PNG of the alert's expression over the hour before `at`, with its threshold; `None` where there is nothing to
    /// draw. Never takes longer than a second or two.
    fn chart<'a>(&'a self, alert: &'a NotifiedAlert, at: Timestamp) -> Chart<'a>;
}

/// A chart being drawn.
pub type Chart<'a> = Pin<Box<dyn Future<Output = Option<Vec<u8>>> + Send + 'a>>;
