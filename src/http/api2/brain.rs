//! What the API asks of alerting.

use std::future::Future;

use crate::alerting::{AlertView, Alerting, GroupView, PostedAlert, Silence, SilenceError, Undelivered};

/// [`Alerting`], or in tests something simpler.
pub(in crate::http) trait Brain: Send + Sync {
    /// In order of their fingerprints.
    fn alerts(&self) -> impl Future<Output = Vec<AlertView>> + Send;

    /// In Alertmanager's order: by labels, then by receiver.
    fn groups(&self) -> impl Future<Output = Vec<GroupView>> + Send;

    fn receivers(&self) -> impl Future<Output = Vec<String>> + Send;

    /// False when they cannot be taken now.
    fn post(&self, alerts: Vec<PostedAlert>) -> impl Future<Output = bool> + Send;

    /// With those that have ended of late.
    fn silences(&self) -> impl Future<Output = Vec<Silence>> + Send;

    /// A new one where the id is empty; the id that it has then.
    fn set_silence(&self, silence: Silence) -> impl Future<Output = Result<String, SilenceError>> + Send;

    fn expire_silence(&self, id: &str) -> impl Future<Output = Result<(), SilenceError>> + Send;

    fn undelivered(&self) -> impl Future<Output = Vec<Undelivered>> + Send;

    /// False when no notification of this number was given up.
    fn retry(&self, number: u64) -> impl Future<Output = bool> + Send;

    /// As [`Brain::retry`].
    fn discard(&self, number: u64) -> impl Future<Output = bool> + Send;
}

impl Brain for Alerting {
    async fn alerts(&self) -> Vec<AlertView> {
        Alerting::alerts(self).await
    }

    async fn groups(&self) -> Vec<GroupView> {
        Alerting::groups(self).await
    }

    async fn receivers(&self) -> Vec<String> {
        Alerting::receivers(self).await
    }

    async fn post(&self, alerts: Vec<PostedAlert>) -> bool {
        Alerting::post(self, alerts).await
    }

    async fn silences(&self) -> Vec<Silence> {
        Alerting::silences(self).await
    }

    async fn set_silence(&self, silence: Silence) -> Result<String, SilenceError> {
        Alerting::set_silence(self, silence).await
    }

    async fn expire_silence(&self, id: &str) -> Result<(), SilenceError> {
        Alerting::expire_silence(self, id).await
    }

    async fn undelivered(&self) -> Vec<Undelivered> {
        Alerting::undelivered(self).await
    }

    async fn retry(&self, number: u64) -> bool {
        Alerting::retry(self, number).await
    }

    async fn discard(&self, number: u64) -> bool {
        Alerting::discard(self, number).await
    }
}
