//! The `journald` sink: an entry in systemd's journal for each alert, over the journal's own protocol.
//!
//! | field | what |
//! | --- | --- |
//! | `MESSAGE` | the key `message`, filled in |
//! | `PRIORITY` | 0 to 7, from the label `severity`; 5 once it is over |
//! | `SYSLOG_IDENTIFIER`, `SYSLOG_FACILITY` | `watchfire`, 3 (daemon) |
//! | `MESSAGE_ID` | `379c7c97c227467db56bfa3467932567` for an alert that fires, `19f7b89005af4507807c562541820834` for one that is over |
//! | `WATCHFIRE_ALERTNAME`, `_STATUS`, `_SEVERITY`, `_INSTANCE`, `_SUMMARY`, `_DESCRIPTION` | of the alert |
//! | `WATCHFIRE_VALUE`, `_THRESHOLD` | the expression's value, and what it is compared with; the second where there is one |
//! | `WATCHFIRE_STARTS_AT`, `_ENDS_AT` | RFC 3339; the second once it is over |
//! | `WATCHFIRE_RECEIVER`, `_GROUP_KEY`, `_FINGERPRINT` | the receiver, the group, the alert among all alerts |
//! | `WATCHFIRE_ID` | the same at every try of one notification |
//! | `WATCHFIRE_LABEL_...` | every label, its name in capitals |
//!
//! So `journalctl MESSAGE_ID=379c7c97c227467db56bfa3467932567 -o verbose` has all alerts. Source of the protocol:
//! systemd.io/JOURNAL_NATIVE_PROTOCOL. What is too large for a datagram goes in a sealed file in memory, as it says.

#[cfg(test)]
pub(in crate::sinks) mod tests;

use std::io::{self, IoSlice, Write};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, sendmsg_addr};

use super::message::template;
use super::severity::Level;
use super::{
    Delivered, Delivery, DeliveryError, Notification, NotifiedAlert, Reason, Sink, SinkConfig, SinkContext, Status,
    Text, Texts,
};
use crate::section;

section! {
    /// An entry in the journal for each alert.
    pub struct JournaldConfig {
        /// Where the journal listens.
        pub socket: PathBuf = PathBuf::from("/run/systemd/journal/socket"),
        /// What an entry says of an alert.
        pub message: Text = template("journald.default.message"),
        /// Whether resolved alerts are written too.
        pub send_resolved: bool = true,
    }
}

impl SinkConfig for JournaldConfig {
    fn send_resolved(&self) -> bool {
        self.send_resolved
    }

    fn resolve_paths(&mut self, dir: &Path) {
        self.socket = dir.join(&self.socket);
    }

    fn build(&self, context: &SinkContext) -> Arc<dyn Sink> {
        Arc::new(JournaldSink { config: self.clone(), texts: Arc::clone(&context.texts) })
    }
}

/// One for each kind of entry, made for this program.
const FIRING: &str = "379c7c97c227467db56bfa3467932567";
const RESOLVED: &str = "19f7b89005af4507807c562541820834";
/// journald takes longer ones for none.
const MAX_NAME: usize = 64;
/// A journal that takes nothing must not hold the delivery for ever.
const TIME_LIMIT: Duration = Duration::from_secs(10);

struct JournaldSink {
    config: JournaldConfig,
    texts: Arc<Texts>,
}

impl Sink for JournaldSink {
    fn deliver<'a>(&'a self, notification: &'a Notification) -> Delivery<'a> {
        Box::pin(async move {
            let entry = |alert: &NotifiedAlert| {
                let data = self.texts.data(&notification.alone(alert));
                Ok(entry(&self.texts.plain(&self.config.message, &data)?, notification, alert))
            };
            let entries = notification.alerts.iter().map(entry).collect::<Result<Vec<Vec<u8>>, DeliveryError>>()?;
            let path = self.config.socket.clone();
            let written = tokio::task::spawn_blocking(move || write(&path, &entries)).await;
            let target = self.config.socket.display();
            match written.unwrap_or_else(|e| Err(io::Error::other(e))) {
                Ok(()) => Ok(Delivered { answer: format!("written to {target}") }),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    Err(DeliveryError::passing(Reason::Timeout, format!("writing to {target} hangs")))
                }
                Err(error) => Err(DeliveryError::passing(Reason::Other, format!("cannot write to {target}: {error}"))),
            }
        })
    }
}

fn entry(message: &str, notification: &Notification, alert: &NotifiedAlert) -> Vec<u8> {
    let mut out = Vec::new();
    let message_id = if alert.status() == Status::Firing { FIRING } else { RESOLVED };
    for (name, value) in [
        ("MESSAGE", message.trim()),
        ("MESSAGE_ID", message_id),
        ("PRIORITY", &Level::of(alert).number().to_string()),
        ("SYSLOG_IDENTIFIER", "watchfire"),
        ("SYSLOG_FACILITY", "3"),
        ("WATCHFIRE_ALERTNAME", alert.labels.get("alertname")),
        ("WATCHFIRE_STATUS", alert.status().as_str()),
        ("WATCHFIRE_SEVERITY", alert.labels.get("severity")),
        ("WATCHFIRE_INSTANCE", alert.labels.get("instance")),
        ("WATCHFIRE_SUMMARY", alert.annotations.get("summary")),
        ("WATCHFIRE_DESCRIPTION", alert.annotations.get("description")),
        ("WATCHFIRE_VALUE", &alert.value.to_string()),
        ("WATCHFIRE_THRESHOLD", &alert.details.threshold.map_or(String::new(), |t| t.to_string())),
        ("WATCHFIRE_STARTS_AT", &alert.starts_at.to_string()),
        ("WATCHFIRE_ENDS_AT", &alert.ends_at.map_or(String::new(), |t| t.to_string())),
        ("WATCHFIRE_RECEIVER", &notification.receiver),
        ("WATCHFIRE_GROUP_KEY", &notification.group_key),
        ("WATCHFIRE_FINGERPRINT", &alert.fingerprint().to_string()),
        ("WATCHFIRE_ID", &notification.id),
    ] {
        put(&mut out, name, value);
    }
    for (label, value) in alert.labels.iter() {
        let capital = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
        let name: String = "WATCHFIRE_LABEL_".chars().chain(label.chars().map(capital)).take(MAX_NAME).collect();
        put(&mut out, &name, value);
    }
    out
}

/// Adds a field: on one line or, with line breaks in it, after its length. One without value is left out.
fn put(out: &mut Vec<u8>, name: &str, value: &str) {
    if value.is_empty() {
        return;
    }
    out.extend(name.as_bytes());
    if value.contains('\n') {
        out.push(b'\n');
        out.extend((value.len() as u64).to_le_bytes());
    } else {
        out.push(b'=');
    }
    out.extend(value.as_bytes());
    out.push(b'\n');
}

fn write(path: &Path, entries: &[Vec<u8>]) -> io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    socket.set_write_timeout(Some(TIME_LIMIT))?;
    for entry in entries {
        match socket.send_to(entry, path) {
            Ok(_) => {}
            Err(error) if is_too_large(&error) => send_in_file(&socket, path, entry)?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn is_too_large(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMSGSIZE | libc::ENOBUFS))
}

/// Hands an entry over as a file in memory that nobody can change any more.
fn send_in_file(socket: &UnixDatagram, path: &Path, entry: &[u8]) -> io::Result<()> {
    let memory = memfd_create("watchfire-alert", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut file = std::fs::File::from(memory);
    file.write_all(entry)?;
    fcntl_add_seals(&file, SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE)?;
    let files = [file.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&files));
    sendmsg_addr(socket, &SocketAddrUnix::new(path)?, &[IoSlice::new(&[])], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}
