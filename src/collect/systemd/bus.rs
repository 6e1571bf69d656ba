//! What systemd is asked over D-Bus: on the system bus, or at its own socket.

use std::io;
use std::time::Duration;

use crate::collect::CollectError;
use crate::dbus::{Address, Body, Call, Connection, Error, Kind, Malformed, Message, Value};

const SYSTEMD: &str = "org.freedesktop.systemd1";
/// Calls that are under way at once: enough that nobody waits for a turn, few enough to lie in the sockets' buffers, so
/// that both sides cannot come to wait for each other to read.
const UNDER_WAY: usize = 64;

/// A property of one of systemd's objects.
#[derive(Clone, Copy, Debug)]
pub struct Property<'p> {
    pub path: &'p str,
    /// After `org.freedesktop.systemd1.`.
    pub interface: &'static str,
    pub name: &'static str,
}

/// What a property holds; what cannot be had is `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Text(String),
    Number(u64),
}

/// A connection to systemd.
pub struct Bus(Connection);

impl Bus {
    /// Connects to a bus or, when it is none, to systemd directly.
    pub fn connect(address: &Address, is_bus: bool, limit: Duration) -> Result<Bus, CollectError> {
        Ok(Bus(Connection::connect(address, is_bus, limit)?))
    }

    /// Asks the manager for all units: hands the answer to `read`.
    pub fn list_units<T>(
        &mut self,
        read: impl FnOnce(&mut Message<'_>) -> Result<T, Malformed>,
    ) -> Result<T, CollectError> {
        let call = Call {
            destination: SYSTEMD,
            path: "/org/freedesktop/systemd1",
            interface: "org.freedesktop.systemd1.Manager",
            member: "ListUnits",
            // Asking must not start what is asked.
            may_start: false,
            body: &Body::default(),
        };
        Ok(self.0.call(&call, read)?)
    }

    /// Asks the manager for a unit by its name, which need not be in memory: the path of its object. A name that no unit
    /// file has gets an object too, which says so.
    pub fn load_unit(&mut self, name: &str) -> Result<String, CollectError> {
        let call = Call {
            destination: SYSTEMD,
            path: "/org/freedesktop/systemd1",
            interface: "org.freedesktop.systemd1.Manager",
            member: "LoadUnit",
            may_start: false,
            body: &Body::strings(&[name]),
        };
        Ok(self.0.call(&call, |message| match message.signature {
            b"o" => message.body.string().map(str::to_string),
            _ => Err(Malformed("LoadUnit is of another type")),
        })?)
    }

    /// The properties, in their order. One that the peer refuses, or that is of another type, is `None`.
    pub fn properties(&mut self, wanted: &[Property<'_>]) -> Result<Vec<Option<Answer>>, CollectError> {
        let mut answers = vec![None; wanted.len()];
        let mut first = None;
        let (mut sent, mut answered) = (0, 0);
        let mut output = Vec::new();
        while answered < wanted.len() {
            output.clear();
            for property in wanted.iter().skip(sent).take(UNDER_WAY - (sent - answered)) {
                let interface = format!("{SYSTEMD}.{}", property.interface);
                let serial = self.0.next_serial();
                first.get_or_insert(serial);
                sent += 1;
                let call = Call {
                    destination: SYSTEMD,
                    path: property.path,
                    interface: "org.freedesktop.DBus.Properties",
                    member: "Get",
                    may_start: false,
                    body: &Body::strings(&[&interface, property.name]),
                };
                call.write(serial, &mut output);
            }
            self.0.send(&output)?;
            // Half of them, so that the next are on their way before the last of these is answered.
            let until = if sent == wanted.len() { sent } else { answered + UNDER_WAY / 2 };
            while answered < until {
                let mut message = self.0.receive()?;
                let index = message.reply_to.wrapping_sub(first.unwrap_or(0)) as usize;
                if matches!(message.kind, Kind::Other) || index >= sent {
                    continue;
                }
                answered += 1;
                let value = match message.kind {
                    Kind::Return if message.signature == b"v" => message.body.variant().ok(),
                    _ => None,
                };
                if let Some(slot) = answers.get_mut(index) {
                    *slot = match value {
                        Some(Value::Text(text)) => Some(Answer::Text(text.to_string())),
                        Some(Value::Number(number)) => Some(Answer::Number(number)),
                        _ => None,
                    };
                }
            }
        }
        Ok(answers)
    }
}

impl From<Error> for CollectError {
    fn from(error: Error) -> CollectError {
        match error {
            Error::Connect { address: Address::Path(path), error } if error.kind() == io::ErrorKind::NotFound => {
                CollectError::read(&path, error)
            }
            error => CollectError::Other(error.to_string()),
        }
    }
}
