//! What the tests of these sinks have in common.

use std::sync::Arc;

use reqwest::multipart;

use super::super::context::Chart;
use super::super::notification::tests::example;
use super::super::testing::{Seen, client, far_side};
use super::*;
use crate::model::Timestamp;
use crate::sinks::{Delivered, GlobalConfig, NotifiedAlert, SinkConfig, SinkContext};
use crate::yaml::{Document, FromYaml};

/// The entry of a receiver that the text says, with what it takes from `global`, and what is wrong with both.
pub(in crate::sinks) fn read<T: SinkConfig + FromYaml>(text: &str, global: &str) -> (Option<T>, Vec<String>) {
    let mut faults = Faults::default();
    let global: GlobalConfig = Document::parse("global.yaml", global, &mut faults).read(&mut faults);
    let document = Document::parse("entry.yaml", text, &mut faults);
    let mut entry = T::from_yaml(&document.root, &mut faults);
    if let Some(entry) = &mut entry {
        entry.inherit(&global, &document.root, &mut faults);
    }
    let said = faults.iter().map(|fault| fault.to_string().lines().next().unwrap_or_default().to_string());
    (entry, said.collect())
}

/// The same, where nothing is wrong.
pub(in crate::sinks) fn entry<T: SinkConfig + FromYaml>(text: &str, global: &str) -> T {
    let (entry, faults) = read(text, global);
    assert!(faults.is_empty(), "{faults:?}");
    entry.unwrap()
}

/// An entry's text that begins with the keys which it does not set, as empty: what is tested is not their default.
pub(in crate::sinks) fn with_empty(keys: &[&str], text: &str) -> String {
    let unset = keys.iter().filter(|key| !text.lines().any(|line| line.starts_with(&format!("{key}:"))));
    unset.map(|key| format!("{key}: ''\n")).chain([text.to_string()]).collect()
}

/// What sinks are built with in tests.
pub(in crate::sinks) fn context(charts: Option<Arc<dyn Charts>>) -> SinkContext {
    SinkContext { charts, ..super::super::testing::context() }
}

/// Delivers the example's notification.
pub(in crate::sinks) async fn deliver(entry: &impl SinkConfig) -> Result<Delivered, DeliveryError> {
    entry.build(&context(None)).deliver(&example()).await
}

/// The same with a chart.
pub(in crate::sinks) async fn deliver_with_chart(entry: &impl SinkConfig) -> Result<Delivered, DeliveryError> {
    let charts = chart_of(|_, _| Some(PNG.to_vec()));
    entry.build(&context(Some(charts))).deliver(&example()).await
}

/// The example when all is over.
pub(in crate::sinks) fn resolved() -> Notification {
    let mut n = example();
    n.alerts.remove(0);
    n
}

/// A chart.
pub(in crate::sinks) const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0and so on";

/// Draws as it is told.
pub(in crate::sinks) fn chart_of(
    draw: impl Fn(&NotifiedAlert, Timestamp) -> Option<Vec<u8>> + Send + Sync + 'static,
) -> Arc<dyn Charts> {
    struct Drawn<F>(F);
    impl<F: Fn(&NotifiedAlert, Timestamp) -> Option<Vec<u8>> + Send + Sync> Charts for Drawn<F> {
        fn chart<'a>(&'a self, alert: &'a NotifiedAlert, at: Timestamp) -> Chart<'a> {
            Box::pin(async move { (self.0)(alert, at) })
        }
    }
    Arc::new(Drawn(draw))
}

/// The body of a request as JSON.
pub(in crate::sinks) fn body(seen: &Seen) -> serde_json::Value {
    serde_json::from_slice(&seen.body).unwrap()
}

/// The parts of a form: name, name of the file, bytes.
pub(in crate::sinks) fn parts_of(seen: &Seen) -> Vec<(String, String, Vec<u8>)> {
    let kind = seen.header("content-type");
    let boundary = kind.strip_prefix("multipart/form-data; boundary=").unwrap_or_else(|| panic!("{kind}"));
    let boundary = format!("--{boundary}");
    let find = |bytes: &[u8], what: &[u8]| bytes.windows(what.len()).position(|w| w == what);
    let mut rest = seen.body.as_slice();
    let mut all = Vec::new();
    while let Some(start) = find(rest, boundary.as_bytes()) {
        let after = &rest[start + boundary.len()..];
        let Some(part) = after.strip_prefix(b"\r\n") else { break };
        let head = find(part, b"\r\n\r\n").unwrap();
        let end = find(part, format!("\r\n{boundary}").as_bytes()).unwrap();
        let headers = String::from_utf8(part[..head].to_vec()).unwrap();
        let named = |what: &str| {
            let at = headers.find(&format!("; {what}=\"")).map(|at| at + what.len() + 4);
            at.map_or(String::new(), |at| headers[at..].split('"').next().unwrap().to_string())
        };
        all.push((named("name"), named("filename"), part[head + 4..end].to_vec()));
        rest = &part[end..];
    }
    all
}

/// The parts of a form as a far side sees them.
pub(in crate::sinks) async fn parts(form: multipart::Form) -> Vec<(String, String, Vec<u8>)> {
    let (address, seen) = far_side(vec![(200, vec![], "")]).await;
    client().post(format!("http://{address}/")).multipart(form).send().await.unwrap();
    let seen = seen.lock().unwrap()[0].clone();
    parts_of(&seen)
}
