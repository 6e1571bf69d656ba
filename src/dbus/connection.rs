//! A connection to a D-Bus peer: a bus, or a service's own socket. Every operation ends at one deadline, whatever the
//! peer does.

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use super::wire::{Body, Call, FIXED_HEADER, Kind, Malformed, Message, message_length};

/// An answer to a line of the authentication.
const MAX_LINE: usize = 4096;

/// Where a peer listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    Path(PathBuf),
    /// A name that is in no file system.
    Abstract(Vec<u8>),
}

impl Address {
    /// The addresses in a variable such as `DBUS_SYSTEM_BUS_ADDRESS` that can be used: `unix:path=` and
    /// `unix:abstract=`.
    pub fn list(text: &[u8]) -> Vec<Address> {
        let parse = |address: &[u8]| {
            let options = address.strip_prefix(b"unix:")?;
            options.split(|b| *b == b',').find_map(|option| {
                if let Some(path) = option.strip_prefix(b"path=") {
                    return Some(Address::Path(OsStr::from_bytes(&unescaped(path)?).into()));
                }
                option.strip_prefix(b"abstract=").and_then(unescaped).map(Address::Abstract)
            })
        };
        text.split(|b| *b == b';').filter_map(parse).collect()
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Address::Path(path) => path.display().fmt(f),
            Address::Abstract(name) => write!(f, "@{}", String::from_utf8_lossy(name)),
        }
    }
}

/// `%` and two hexadecimal digits are a byte.
fn unescaped(text: &[u8]) -> Option<Vec<u8>> {
    let (mut out, mut rest) = (Vec::with_capacity(text.len()), text);
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            out.push(*first);
            continue;
        }
        let (digits, after) = rest.split_first_chunk::<2>()?;
        out.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        rest = after;
    }
    Some(out)
}

/// Why a peer did not answer.
#[derive(Debug)]
pub enum Error {
    /// There was no connection.
    Connect { address: Address, error: io::Error },
    /// The peer answered with an error, in time with nothing, or with what is not D-Bus: who, and what.
    Other(String),
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::Connect { address, error } => write!(f, "cannot connect to {address}: {error}"),
            Error::Other(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for Error {}

/// A connection that is authenticated.
pub struct Connection {
    name: String,
    stream: UnixStream,
    deadline: Instant,
    serial: u32,
    input: Vec<u8>,
    /// How much of `input` has been handed out.
    read: usize,
}

impl Connection {
    /// Connects to a bus or, when it is none, to a peer directly, as the user that the thread runs as.
    ///
    /// # Errors
    /// Nobody listens there, or this user is not let in.
    pub fn connect(address: &Address, is_bus: bool, limit: Duration) -> Result<Connection, Error> {
        let deadline = Instant::now() + limit;
        let stream = open(address, limit).map_err(|error| Error::Connect { address: address.clone(), error })?;
        let name = address.to_string();
        let mut connection = Connection { name, stream, deadline, serial: 0, input: Vec::new(), read: 0 };
        connection.authenticate()?;
        if is_bus {
            let hello = Call {
                destination: "org.freedesktop.DBus",
                path: "/org/freedesktop/DBus",
                interface: "org.freedesktop.DBus",
                member: "Hello",
                may_start: false,
                body: &Body::default(),
            };
            connection.call(&hello, |_| Ok(())).map_err(|error| connection.not_let_in(error))?;
        }
        Ok(connection)
    }

    /// Says why, where a bus has closed the connection in place of a greeting.
    fn not_let_in(&self, error: Error) -> Error {
        let is_closed = self.stream.set_nonblocking(true).is_ok()
            && match (&self.stream).read(&mut [0]) {
                Ok(read) => read == 0,
                Err(e) => e.kind() != io::ErrorKind::WouldBlock,
            };
        match is_closed {
            true => Error::Other(format!("{error}: the bus may not know the agent's user (DynamicUser= makes one up)")),
            false => error,
        }
    }

    /// The number of the next message, which its answer names.
    pub fn next_serial(&mut self) -> u32 {
        self.serial = self.serial.wrapping_add(1).max(1);
        self.serial
    }

    /// Calls a method, and hands the answer to `read`.
    ///
    /// # Errors
    /// The peer's own error with its words, or that it does not answer in time.
    pub fn call<T>(
        &mut self,
        call: &Call<'_>,
        read: impl FnOnce(&mut Message<'_>) -> Result<T, Malformed>,
    ) -> Result<T, Error> {
        let serial = self.next_serial();
        let mut output = Vec::new();
        call.write(serial, &mut output);
        self.send(&output)?;
        loop {
            let mut message = self.receive()?;
            if message.kind == Kind::Other || message.reply_to != serial {
                continue;
            }
            if let Kind::Error(error) = &message.kind {
                let said = if message.signature.starts_with(b"s") { message.body.string().unwrap_or("") } else { "" };
                let what = format!("{}.{} failed: {error}: {said}", call.interface, call.member);
                return Err(self.failed(&what));
            }
            let read = read(&mut message);
            return read.map_err(|e| malformed(&self.name, &e));
        }
    }

    fn authenticate(&mut self) -> Result<(), Error> {
        let user: String =
            rustix::process::geteuid().as_raw().to_string().bytes().map(|b| format!("{b:02x}")).collect();
        self.send(format!("\0AUTH EXTERNAL {user}\r\n").as_bytes())?;
        let line = loop {
            if let Some(end) = memchr::memchr(b'\n', &self.input) {
                break self.input.drain(..=end).collect::<Vec<u8>>();
            }
            if self.input.len() > MAX_LINE {
                return Err(self.failed("no line end in the answer to the authentication"));
            }
            self.fill()?;
        };
        if !line.starts_with(b"OK") {
            let said = String::from_utf8_lossy(line.trim_ascii()).into_owned();
            return Err(self.failed(&format!("this user is not let in: {said}")));
        }
        self.send(b"BEGIN\r\n")
    }

    /// The next message.
    ///
    /// # Errors
    /// None comes in time, or what comes is none.
    pub fn receive(&mut self) -> Result<Message<'_>, Error> {
        while self.input.len() - self.read < FIXED_HEADER {
            self.fill()?;
        }
        let fixed = self.input.get(self.read..).and_then(|i| i.first_chunk()).unwrap_or(&[0; FIXED_HEADER]);
        let length = message_length(fixed).map_err(|e| malformed(&self.name, &e))?;
        while self.input.len() - self.read < length {
            self.fill()?;
        }
        let start = self.read;
        self.read += length;
        let bytes = self.input.get(start..self.read).unwrap_or_default();
        Message::parse(bytes).map_err(|e| malformed(&self.name, &e))
    }

    /// Reads what has come, at least one byte.
    fn fill(&mut self) -> Result<(), Error> {
        const STEP: usize = 64 << 10;
        self.input.drain(..std::mem::take(&mut self.read));
        let length = self.input.len();
        self.input.resize(length + STEP, 0);
        let read = loop {
            let left = self.time_left()?;
            let result = self.stream.set_read_timeout(Some(left));
            match result.and_then(|()| self.stream.read(self.input.get_mut(length..).unwrap_or_default())) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                result => break result,
            }
        };
        self.input.truncate(length + read.as_ref().map_or(0, |n| *n));
        match read {
            Ok(0) => Err(self.failed("the connection was closed")),
            Ok(_) => Ok(()),
            Err(e) => Err(self.io(&e)),
        }
    }

    /// Sends messages.
    ///
    /// # Errors
    /// The peer does not take them in time.
    pub fn send(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            let left = self.time_left()?;
            let result = self.stream.set_write_timeout(Some(left));
            match result.and_then(|()| self.stream.write(bytes)) {
                Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(self.io(&e)),
            }
        }
        Ok(())
    }

    /// Until the deadline; never zero, which a socket takes for "for ever".
    fn time_left(&self) -> Result<Duration, Error> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(self.failed("no answer in time")) } else { Ok(left) }
    }

    fn io(&self, error: &io::Error) -> Error {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => self.failed("no answer in time"),
            _ => self.failed(&error.to_string()),
        }
    }

    fn failed(&self, what: &str) -> Error {
        Error::Other(format!("{}: {what}", self.name))
    }
}

fn malformed(name: &str, what: &Malformed) -> Error {
    Error::Other(format!("{name}: not D-Bus: {}", what.0))
}

/// Connects, for at most `limit`: a peer that accepts nobody lets them wait.
fn open(address: &Address, limit: Duration) -> io::Result<UnixStream> {
    let to = match address {
        Address::Path(path) => SocketAddrUnix::new::<&Path>(path)?,
        Address::Abstract(name) => SocketAddrUnix::new_abstract_name(name)?,
    };
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    set_socket_timeout(&socket, Timeout::Send, Some(limit))?;
    connect(&socket, &to)?;
    Ok(UnixStream::from(socket))
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_bus_that_closes_the_connection_of_a_user_it_does_not_know_is_told_as_such() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bus");
        let listener = UnixListener::bind(&path).unwrap();
        let bus = std::thread::spawn(move || {
            let mut stream = BufReader::new(listener.accept().unwrap().0);
            stream.read_line(&mut String::new()).unwrap();
            stream.get_mut().write_all(b"OK 0123\r\n").unwrap();
            stream.read_line(&mut String::new()).unwrap();
        });
        let said = Connection::connect(&Address::Path(path), true, Duration::from_secs(20)).err().unwrap().to_string();
        assert!(said.ends_with(": the bus may not know the agent's user (DynamicUser= makes one up)"), "{said}");
        bus.join().unwrap();
    }

    #[test]
    fn addresses_as_the_specification_has_them() {
        let path = |p: &str| Address::Path(p.into());
        assert_eq!(Address::list(b"unix:path=/run/dbus/system_bus_socket"), [path("/run/dbus/system_bus_socket")]);
        assert_eq!(
            Address::list(b"tcp:host=h,port=1;unix:path=/a%20b,guid=12;unix:guid=1,abstract=/tmp/x"),
            [path("/a b"), Address::Abstract(b"/tmp/x".to_vec())]
        );
        assert_eq!(Address::list(b"unix:path=%zz;;unix:;nonsense"), []);
    }
}
