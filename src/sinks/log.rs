//! The `log` sink: JSON lines to standard error or to a file, one line per alert.
//!
//! ```json
//! {"time":"2026-01-02T03:04:05Z","receiver":"log","status":"firing","labels":{"alertname":"HighCPU"},
//!  "annotations":{"summary":"..."},"value":0.97,"startsAt":"2026-01-02T03:04:00Z"}
//! ```
//!
//! A resolved alert also has `endsAt`. Where they are known, there are `threshold`, what the value is compared with; `top`,
//! the processes that used most of the host, as `{"pid":7,"name":"make","cpu":1.5,"memory":1048576}` with cores and bytes;
//! and `flapping`, how often it has begun to fire of late. A value that is not finite is a text (`"NaN"`, `"+Inf"`,
//! `"-Inf"`). The file may be moved away at any time: the next line is written to a new one.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::Mutex;

use super::notification::as_map;
use super::{
    CheckSaid, Delivered, Delivery, DeliveryError, Notification, Reason, Sink, SinkConfig, SinkContext, TopProcess,
};
use crate::model::Labels;
use crate::section;

section! {
    /// Alerts as JSON lines.
    pub struct LogConfig {
        /// The file the lines are appended to; standard error when there is none.
        pub path: Option<PathBuf> = None,
        /// Whether resolved alerts are written too.
        pub send_resolved: bool = true,
    }
}

impl SinkConfig for LogConfig {
    fn send_resolved(&self) -> bool {
        self.send_resolved
    }

    fn resolve_paths(&mut self, dir: &Path) {
        if let Some(path) = &mut self.path {
            *path = dir.join(&path);
        }
    }

    fn build(&self, _: &SinkContext) -> Arc<dyn Sink> {
        Arc::new(LogSink::new(self))
    }
}

/// A pipe that nobody reads, or a hung file system, must not hold the delivery for ever.
const TIME_LIMIT: Duration = Duration::from_secs(10);

struct LogSink {
    path: Option<PathBuf>,
    /// Held by a thread while it writes, also when the delivery has long given up, so that a writer that hangs is the
    /// only one.
    file: Arc<Mutex<Option<File>>>,
}

impl LogSink {
    fn new(config: &LogConfig) -> LogSink {
        LogSink { path: config.path.clone(), file: Arc::new(Mutex::new(None)) }
    }

    async fn write(&self, notification: &Notification) -> Result<Delivered, DeliveryError> {
        let lines = lines(notification);
        let path = self.path.clone();
        let target = path.as_deref().map_or("standard error".to_string(), |p| p.display().to_string());
        let file = Arc::clone(&self.file);
        let write = async {
            let mut file = file.lock_owned().await;
            let written = tokio::task::spawn_blocking(move || match &path {
                // In one call, so that lines of others do not come in between.
                None => io::stderr().lock().write_all(&lines),
                Some(path) => append(&mut file, path, &lines),
            });
            written.await.unwrap_or_else(|e| Err(io::Error::other(e)))
        };
        match tokio::time::timeout(TIME_LIMIT, write).await {
            Ok(Ok(())) => Ok(Delivered { answer: format!("written to {target}") }),
            Ok(Err(error)) => Err(DeliveryError::passing(Reason::Other, format!("cannot write to {target}: {error}"))),
            Err(_) => Err(DeliveryError::passing(Reason::Timeout, format!("writing to {target} hangs"))),
        }
    }
}

impl Sink for LogSink {
    fn deliver<'a>(&'a self, notification: &'a Notification) -> Delivery<'a> {
        Box::pin(self.write(notification))
    }
}

/// Appends to the file under `path`, which is opened anew when it is not the one that is open (after a rotation).
fn append(open: &mut Option<File>, path: &Path, lines: &[u8]) -> io::Result<()> {
    let identity = |m: std::fs::Metadata| (m.dev(), m.ino());
    let there = std::fs::metadata(path).map(identity).ok();
    let ours = open.as_ref().and_then(|file| file.metadata().ok()).map(identity);
    if there.is_none() || there != ours {
        // What alerts say is not for everybody: 0640, as logs have it.
        *open = Some(OpenOptions::new().append(true).create(true).mode(0o640).open(path)?);
    }
    let Some(file) = open.as_mut() else { return Err(io::Error::other("it is not open")) };
    let result = file.write_all(lines);
    if result.is_err() {
        *open = None;
    }
    result
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    time: String,
    receiver: &'a str,
    status: &'static str,
    #[serde(with = "as_map")]
    labels: Labels,
    #[serde(with = "as_map")]
    annotations: Labels,
    value: serde_json::Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    threshold: Option<serde_json::Value>,
    starts_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ends_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    flapping: Option<u32>,
    #[serde(skip_serializing_if = "<[TopProcess]>::is_empty")]
    top: &'a [TopProcess],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    actions: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    check: Option<&'a CheckSaid>,
}

fn lines(notification: &Notification) -> Vec<u8> {
    let mut out = Vec::new();
    for alert in &notification.alerts {
        let line = Line {
            time: notification.at.to_string(),
            receiver: &notification.receiver,
            status: alert.status().as_str(),
            labels: alert.labels.clone(),
            annotations: alert.annotations.clone(),
            value: number(alert.value),
            threshold: alert.details.threshold.map(number),
            starts_at: alert.starts_at.to_string(),
            ends_at: alert.ends_at.map(|t| t.to_string()),
            flapping: alert.details.flapping,
            top: &alert.details.top,
            actions: &alert.details.actions,
            check: alert.details.check.as_ref(),
        };
        // Texts and numbers always have a JSON form, and a vector takes all that is written.
        let _ = serde_json::to_writer(&mut out, &line);
        out.push(b'\n');
    }
    out
}

fn number(value: f64) -> serde_json::Value {
    match serde_json::Number::from_f64(value) {
        Some(number) => number.into(),
        None if value.is_nan() => "NaN".into(),
        None if value > 0.0 => "+Inf".into(),
        None => "-Inf".into(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::Details;
    use super::super::notification::tests::example;
    use super::*;

    fn sink(path: &Path) -> LogSink {
        LogSink::new(&LogConfig { path: Some(path.to_path_buf()), ..LogConfig::default() })
    }

    #[test]
    fn a_line_tells_all_of_an_alert() {
        let text = String::from_utf8(lines(&example())).unwrap();
        let expected = concat!(
            r#"{"time":"2023-11-14T22:14:20Z","receiver":"ops.team","status":"firing","#,
            r#""labels":{"alertname":"DiskFull","instance":"a","severity":"page"},"#,
            r#""annotations":{"description":"a","summary":"disk <full> & \"loud\""},"#,
            r#""value":0.97,"startsAt":"2023-11-14T22:13:20.5Z"}"#
        );
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some(expected));
        assert!(
            lines.next().unwrap().ends_with(r#""startsAt":"2023-11-14T22:13:20.5Z","endsAt":"2023-11-14T22:13:50Z"}"#)
        );
        assert_eq!(lines.next(), None);
    }

    #[test]
    fn a_line_has_the_threshold_the_flapping_the_processes_the_actions_and_the_check_where_they_are_known() {
        let mut n = example();
        let top = vec![TopProcess { pid: 7, name: "make".to_string(), cpu: 1.5, memory: 1 << 20 }];
        let actions = vec!["a: exit 0 after 1.0 s".to_string()];
        let check = Some(CheckSaid { state: "critical".to_string(), summary: "99% used".to_string() });
        n.alerts[0].details = Details { threshold: Some(0.9), top, flapping: Some(6), actions, check };
        let text = String::from_utf8(lines(&n)).unwrap();
        let expected = concat!(
            r#""value":0.97,"threshold":0.9,"startsAt":"2023-11-14T22:13:20.5Z","flapping":6,"#,
            r#""top":[{"pid":7,"name":"make","cpu":1.5,"memory":1048576}],"actions":["a: exit 0 after 1.0 s"],"#,
            r#""check":{"state":"critical","summary":"99% used"}}"#
        );
        assert!(text.lines().next().unwrap().ends_with(expected), "{text}");
    }

    #[test]
    fn values_that_json_has_no_number_for_are_texts() {
        let said = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY].map(number);
        assert_eq!(said, ["NaN", "+Inf", "-Inf"].map(serde_json::Value::from));
    }

    #[tokio::test]
    async fn after_a_rotation_the_new_file_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("alerts.log");
        let sink = sink(&path);
        sink.deliver(&example()).await.unwrap();
        sink.deliver(&example()).await.unwrap();
        fs::rename(&path, dir.path().join("alerts.log.1")).unwrap();
        sink.deliver(&example()).await.unwrap();
        let lines = |p: &Path| fs::read_to_string(p).unwrap().lines().count();
        assert_eq!((lines(&dir.path().join("alerts.log.1")), lines(&path)), (4, 2));
        // Another file in its place, as logrotate's `create` makes one.
        fs::rename(&path, dir.path().join("alerts.log.1")).unwrap();
        fs::write(&path, "").unwrap();
        sink.deliver(&example()).await.unwrap();
        assert_eq!(lines(&path), 2);
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_written_is_named_and_tried_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("not/there.log");
        let error = sink(&path).deliver(&example()).await.unwrap_err();
        assert!(error.retry);
        assert!(error.message.contains("not/there.log: No such file"), "{error}");
    }
}
