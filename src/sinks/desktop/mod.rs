//! The `desktop` sink: a bubble on somebody's screen, by `org.freedesktop.Notifications.Notify` over D-Bus.
//!
//! The alerts of a group are one bubble, which is replaced when there is something new to say of them, and is told to be
//! over before the next one is new. The label `severity` makes it critical, which stays until it is closed, normal or
//! low. A chart is not shown: the protocol wants raw pixels.
//!
//! The bus is that of the user `user`, `/run/user/UID/bus`, asked as that user: a bus of a session lets in nobody else,
//! not even root. For that the agent must be root. Without `user` it is the agent's own session bus:
//! `DBUS_SESSION_BUS_ADDRESS`, else `/run/user/UID/bus`. `bus` names another.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::process::{Gid, Uid, geteuid};
use rustix::thread::{set_thread_res_gid, set_thread_res_uid};

use super::message::template;
use super::severity::Level;
use super::{
    Delivered, Delivery, DeliveryError, Notification, Reason, Sink, SinkConfig, SinkContext, Status, Text, Texts,
};
use crate::dbus::{Address, Body, Call, Connection, Error, Hint, Malformed};
use crate::section;
use crate::yaml::{Faults, Node};

section! {
    check = check;
    /// A bubble on somebody's screen for each notification.
    pub struct DesktopConfig {
        /// Whose screen: a user's name or number. Another than the agent's own takes an agent that is root.
        pub user: Option<String> = None,
        /// The bus, as D-Bus writes addresses: `unix:path=` or `unix:abstract=`.
        pub bus: Option<String> = None,
        /// The bubble's first line.
        pub summary: Text = template("desktop.default.summary"),
        /// The text below it.
        pub body: Text = template("desktop.default.body"),
        /// Whether resolved alerts are shown too.
        pub send_resolved: bool = true,
    }
}

fn check(config: &mut DesktopConfig, node: &Node, faults: &mut Faults) {
    if let Some(bus) = &config.bus
        && Address::list(bus.as_bytes()).is_empty()
    {
        let at = node.place("bus");
        faults.error(at, "a bus is unix:path=/run/user/1000/bus or unix:abstract=NAME");
    }
}

impl SinkConfig for DesktopConfig {
    fn send_resolved(&self) -> bool {
        self.send_resolved
    }

    fn build(&self, context: &SinkContext) -> Arc<dyn Sink> {
        Arc::new(DesktopSink { config: self.clone(), texts: Arc::clone(&context.texts), shown: Mutex::default() })
    }
}

/// All of a delivery: a session's bus answers at once, or hangs.
const LIMIT: Duration = Duration::from_secs(8);
/// The groups whose bubbles are known, at most.
const MAX_SHOWN: usize = 1000;
const SERVICE: &str = "org.freedesktop.Notifications";

struct DesktopSink {
    config: DesktopConfig,
    texts: Arc<Texts>,
    /// The bubble of each group that fires. Held for a look or a note only.
    shown: Mutex<BTreeMap<String, u32>>,
}

/// A bubble to be shown; each text as it is, and as the markup that some servers understand.
struct Bubble {
    replaces: u32,
    level: Level,
    summary: String,
    body: String,
    markup: String,
}

impl Sink for DesktopSink {
    fn deliver<'a>(&'a self, notification: &'a Notification) -> Delivery<'a> {
        Box::pin(self.show(notification))
    }
}

impl DesktopSink {
    async fn show(&self, notification: &Notification) -> Result<Delivered, DeliveryError> {
        let data = self.texts.data(notification);
        let group = &notification.group_key;
        let bubble = Bubble {
            replaces: self.shown().get(group).copied().unwrap_or(0),
            level: notification.alerts.iter().map(Level::of).min().unwrap_or(Level::Warning),
            summary: self.texts.plain(&self.config.summary, &data)?.trim().to_string(),
            body: self.texts.plain(&self.config.body, &data)?.trim().to_string(),
            markup: self.texts.html(&self.config.body, &data)?.trim().to_string(),
        };
        let config = self.config.clone();
        let shown = tokio::task::spawn_blocking(move || notify(&config, &bubble)).await;
        let id = shown.unwrap_or_else(|e| Err(DeliveryError::passing(Reason::Other, e.to_string())))?;
        let mut shown = self.shown();
        if notification.status() == Status::Resolved {
            shown.remove(group);
        } else {
            if shown.len() >= MAX_SHOWN {
                shown.clear();
            }
            shown.insert(group.clone(), id);
        }
        Ok(Delivered { answer: format!("shown as {id}") })
    }

    fn shown(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, u32>> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Shows it, and gives its number.
fn notify(config: &DesktopConfig, bubble: &Bubble) -> Result<u32, DeliveryError> {
    let passing = |message: String| DeliveryError::passing(Reason::Other, message);
    let user = config.user.as_deref().map(|user| find_user(user).map_err(passing)).transpose()?;
    let own = geteuid();
    let addresses = match (&config.bus, user, std::env::var_os("DBUS_SESSION_BUS_ADDRESS")) {
        (Some(bus), _, _) => Address::list(bus.as_bytes()),
        (None, None, Some(bus)) => Address::list(bus.as_encoded_bytes()),
        (None, user, _) => {
            let uid = user.map_or(own, |(uid, _)| uid);
            vec![Address::Path(format!("/run/user/{}/bus", uid.as_raw()).into())]
        }
    };
    let address = addresses.first().ok_or_else(|| passing("DBUS_SESSION_BUS_ADDRESS names no socket".to_string()))?;
    let ask = || ask(address, bubble).map_err(|e| passing(e.to_string()));
    match user.filter(|(uid, _)| *uid != own) {
        None => ask(),
        // A thread of its own, since it stays the other user until it ends.
        Some((uid, gid)) => thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let become_user = || {
                    set_thread_res_gid(gid, gid, gid)?;
                    set_thread_res_uid(uid, uid, uid)
                };
                let user = config.user.as_deref().unwrap_or_default();
                become_user().map_err(|e| {
                    let message = format!("cannot act for the user {user}: {e}; the agent must run as root for that");
                    DeliveryError::lasting(Reason::Other, message)
                })?;
                ask()
            });
            thread.join().unwrap_or_else(|_| Err(passing("the thread has ended".to_string())))
        }),
    }
}

/// A user and its group, by name or number; `/etc/passwd` has them.
fn find_user(user: &str) -> Result<(Uid, Gid), String> {
    let text = std::fs::read_to_string("/etc/passwd").map_err(|e| format!("cannot read /etc/passwd: {e}"))?;
    let found = text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, uid, gid) = (fields.next()?, fields.nth(1)?, fields.next()?);
        let ids = (Uid::from_raw(uid.parse().ok()?), Gid::from_raw(gid.parse().ok()?));
        (name == user || uid == user).then_some(ids)
    });
    found.ok_or_else(|| format!("there is no user {user} in /etc/passwd"))
}

fn ask(address: &Address, bubble: &Bubble) -> Result<u32, Error> {
    let mut bus = Connection::connect(address, true, LIMIT)?;
    let call = |member, body| Call {
        destination: SERVICE,
        path: "/org/freedesktop/Notifications",
        interface: SERVICE,
        member,
        may_start: true,
        body,
    };
    let nothing = Body::default();
    let has_markup = bus.call(&call("GetCapabilities", &nothing), |answer| {
        if answer.signature != b"as" {
            return Err(Malformed("GetCapabilities is of another type"));
        }
        let (mut found, end) = (false, answer.body.strings_end()?);
        while answer.body.position() < end {
            found |= answer.body.string()? == "body-markup";
        }
        Ok(found)
    })?;
    let (urgency, icon) = match bubble.level {
        Level::Emergency | Level::Alert | Level::Critical => (2, "dialog-error"),
        Level::Error | Level::Warning => (1, "dialog-warning"),
        Level::Notice | Level::Info | Level::Debug => (0, "dialog-information"),
    };
    let hints = [("urgency", Hint::Byte(urgency)), ("category", Hint::Text("x-watchfire.alert"))];
    let body = Body::strings(&["Watchfire"])
        .u32(bubble.replaces)
        .string(icon)
        .string(&bubble.summary)
        .string(if has_markup { &bubble.markup } else { &bubble.body })
        .list(&[])
        .dictionary(&hints)
        // How long it stays is the desktop's to say.
        .i32(-1);
    bus.call(&call("Notify", &body), |answer| match answer.signature {
        b"u" => answer.body.u32(),
        _ => Err(Malformed("the answer to Notify is of another type")),
    })
}
