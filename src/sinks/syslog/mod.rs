//! The `syslog` sink: a message for each alert, to this host's log or to another's.
//!
//! | address | transport | format |
//! | --- | --- | --- |
//! | `unix:///dev/log` | a datagram each | `<PRI>Nov 14 22:14:20 watchfire[PID]: message`, as the C library writes it |
//! | `udp://HOST:514` | a datagram each (RFC 5426) | RFC 5424 |
//! | `tcp://HOST:601` | octets counted (RFC 6587) | RFC 5424 |
//! | `tls://HOST:6514` | the same over TLS (RFC 5425) | RFC 5424 |
//!
//! journald, and rsyslog unless it is told, understand nothing but the C library's format on a local socket: that is why.
//! `format` changes it. RFC 5424 also carries the element `[watchfire@32473 alertname= status= severity= instance= value=
//! receiver= fingerprint= id=]`; `id` is the same at every try of one notification. There is no mark of UTF-8 (BOM)
//! before the message: receivers show it as dirt.
//!
//! Syslog confirms nothing. A connection's end is waited for, so that a receiver that resets it is noticed; what goes by
//! UDP may get lost unseen.

#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket, UnixDatagram, lookup_host};

use super::message::{TIMEOUT, check_timeout, template};
use super::severity::Level;
use super::{
    Delivered, Delivery, DeliveryError, Notification, NotifiedAlert, Reason, Sink, SinkConfig, SinkContext, Text,
    Texts, TlsConfig, tls,
};
use crate::model::Timestamp;
use crate::section;
use crate::yaml::{Faults, FromYaml, Node, nearest};

section! {
    check = check;
    /// A message to a log for each alert.
    pub struct SyslogConfig {
        /// Where to.
        pub address: SyslogAddress = SyslogAddress::Unix(PathBuf::from("/dev/log")),
        /// `rfc5424` or `local`, the C library's; when not set, `local` for a socket of this host.
        pub format: Option<String> = None,
        /// The kind of program that messages are from.
        pub facility: String = "daemon".to_string(),
        /// The program's name in messages.
        pub app_name: String = "watchfire".to_string(),
        /// What a message says of an alert.
        pub message: Text = template("syslog.default.message"),
        /// How the receiver's certificate is checked.
        pub tls_config: TlsConfig = TlsConfig::default(),
        /// The time for the messages of one notification.
        pub timeout: Duration = TIMEOUT,
        /// Whether resolved alerts are sent too.
        pub send_resolved: bool = true,
    }
}

/// In the order of their numbers; RFC 5424 leaves out the names of 12 to 15.
const FACILITIES: [&str; 24] = [
    "kern",
    "user",
    "mail",
    "daemon",
    "auth",
    "syslog",
    "lpr",
    "news",
    "uucp",
    "cron",
    "authpriv",
    "ftp",
    "ntp",
    "security",
    "console",
    "solaris-cron",
    "local0",
    "local1",
    "local2",
    "local3",
    "local4",
    "local5",
    "local6",
    "local7",
];

fn facility(name: &str) -> Option<usize> {
    FACILITIES.iter().position(|known| *known == name)
}

fn check(config: &mut SyslogConfig, node: &Node, faults: &mut Faults) {
    let at = |key: &str| node.place(key);
    if facility(&config.facility).is_none() {
        let near =
            nearest(&config.facility, FACILITIES).map_or(String::new(), |near| format!(": did you mean {near}?"));
        faults.error(at("facility"), format!("there is no facility {:?}{near}", config.facility));
    }
    let is_name = |c: char| c.is_ascii_graphic() && !matches!(c, '[' | ':');
    if config.app_name.is_empty() || config.app_name.len() > 48 || !config.app_name.chars().all(is_name) {
        faults.error(at("app_name"), "an app_name has 1 to 48 letters, digits or signs, without spaces");
    }
    if config.format.as_deref().is_some_and(|format| !matches!(format, "rfc5424" | "local")) {
        faults.error(at("format"), "format is rfc5424 or local");
    }
    check_timeout(node, faults, &mut config.timeout, TIMEOUT);
}

impl SinkConfig for SyslogConfig {
    fn send_resolved(&self) -> bool {
        self.send_resolved
    }

    fn resolve_paths(&mut self, dir: &std::path::Path) {
        self.tls_config.resolve_paths(dir);
    }

    fn build(&self, context: &SinkContext) -> Arc<dyn Sink> {
        Arc::new(SyslogSink { config: self.clone(), texts: Arc::clone(&context.texts) })
    }
}

/// Where a log takes messages.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SyslogAddress {
    Unix(PathBuf),
    Udp(String, u16),
    Tcp(String, u16),
    Tls(String, u16),
}

impl SyslogAddress {
    fn parse(text: &str) -> Option<SyslogAddress> {
        let (scheme, rest) = text.split_once("://")?;
        match scheme {
            "unix" => rest.starts_with('/').then(|| SyslogAddress::Unix(PathBuf::from(rest))),
            "udp" => host_port(rest, 514).map(|(host, port)| SyslogAddress::Udp(host, port)),
            "tcp" => host_port(rest, 601).map(|(host, port)| SyslogAddress::Tcp(host, port)),
            "tls" => host_port(rest, 6514).map(|(host, port)| SyslogAddress::Tls(host, port)),
            _ => None,
        }
    }
}

/// `HOST`, `HOST:PORT` or `[ADDRESS]:PORT`.
fn host_port(text: &str, default: u16) -> Option<(String, u16)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
        }
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let port = port.map_or(Some(default), |port| port.parse().ok().filter(|port| *port != 0))?;
    let fits = !host.is_empty() && host.chars().all(|c| c.is_ascii_graphic() && c != '/');
    fits.then(|| (host.to_string(), port))
}

impl fmt::Display for SyslogAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, host, port) = match self {
            SyslogAddress::Unix(path) => return write!(f, "unix://{}", path.display()),
            SyslogAddress::Udp(host, port) => ("udp", host, port),
            SyslogAddress::Tcp(host, port) => ("tcp", host, port),
            SyslogAddress::Tls(host, port) => ("tls", host, port),
        };
        if host.contains(':') { write!(f, "{scheme}://[{host}]:{port}") } else { write!(f, "{scheme}://{host}:{port}") }
    }
}

impl FromYaml for SyslogAddress {
    fn from_yaml(node: &Node, faults: &mut Faults) -> Option<Self> {
        let text = String::from_yaml(node, faults)?;
        let parsed = SyslogAddress::parse(&text);
        if parsed.is_none() {
            faults.error(node.at, "an address is unix:///dev/log, udp://HOST:PORT, tcp://HOST:PORT or tls://HOST:PORT");
        }
        parsed
    }
}

/// What every receiver takes in a datagram, by RFC 5426.
const MAX_DATAGRAM: usize = 2048;
/// What rsyslog takes unless it is told to take more.
const MAX_MESSAGE: usize = 8192;
/// The characters of a value in the structured data, so that the message has room beside them.
const MAX_PARAMETER: usize = 100;

struct SyslogSink {
    config: SyslogConfig,
    texts: Arc<Texts>,
}

impl Sink for SyslogSink {
    fn deliver<'a>(&'a self, notification: &'a Notification) -> Delivery<'a> {
        Box::pin(async move {
            let address = &self.config.address;
            let messages = self.messages(notification)?;
            match tokio::time::timeout(self.config.timeout, self.send(&messages)).await {
                Ok(Ok(())) => Ok(Delivered { answer: format!("sent to {address}") }),
                Ok(Err(why)) => Err(DeliveryError::passing(Reason::Other, format!("cannot send to {address}: {why}"))),
                Err(_) => Err(DeliveryError::passing(Reason::Timeout, format!("sending to {address} hangs"))),
            }
        })
    }
}

impl SyslogSink {
    fn messages(&self, notification: &Notification) -> Result<Vec<String>, DeliveryError> {
        let is_local = match (self.config.format.as_deref(), &self.config.address) {
            (Some(format), _) => format == "local",
            (None, address) => matches!(address, SyslogAddress::Unix(_)),
        };
        let limit = if matches!(self.config.address, SyslogAddress::Udp(..)) { MAX_DATAGRAM } else { MAX_MESSAGE };
        let message = |alert: &NotifiedAlert| {
            let data = self.texts.data(&notification.alone(alert));
            let text = self.texts.plain(&self.config.message, &data)?;
            let facility = facility(&self.config.facility).unwrap_or(1);
            let priority = facility * 8 + usize::from(Level::of(alert).number());
            let mut line = match is_local {
                true => local(priority, &self.config.app_name, notification.at),
                false => rfc5424(priority, &self.config.app_name, notification, alert),
            };
            // A line break would begin another message where they are told apart by lines.
            line.extend(text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }));
            let end = (0..=limit.min(line.len())).rev().find(|end| line.is_char_boundary(*end));
            line.truncate(end.unwrap_or(0));
            Ok(line)
        };
        notification.alerts.iter().map(message).collect()
    }

    async fn send(&self, messages: &[String]) -> Result<(), String> {
        let said = |error: io::Error| error.to_string();
        match &self.config.address {
            SyslogAddress::Unix(path) => {
                let socket = UnixDatagram::unbound().map_err(said)?;
                for message in messages {
                    socket.send_to(message.as_bytes(), path).await.map_err(said)?;
                }
                Ok(())
            }
            SyslogAddress::Udp(host, port) => {
                let to = lookup_host((host.as_str(), *port)).await.map_err(said)?.next();
                let to = to.ok_or_else(|| format!("{host} has no address"))?;
                let any = if to.is_ipv4() { SocketAddr::from(([0; 4], 0)) } else { SocketAddr::from(([0; 16], 0)) };
                let socket = UdpSocket::bind(any).await.map_err(said)?;
                for message in messages {
                    socket.send_to(message.as_bytes(), to).await.map_err(said)?;
                }
                Ok(())
            }
            SyslogAddress::Tcp(host, port) => {
                let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(said)?;
                write(stream, messages).await.map_err(said)
            }
            SyslogAddress::Tls(host, port) => {
                let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(said)?;
                let stream = tls::encrypt(&self.config.tls_config, host, stream).await?;
                write(stream, messages).await.map_err(said)
            }
        }
    }
}

/// How long a receiver is waited for that does not end its side of the connection.
const GOOD_BYE: Duration = Duration::from_secs(2);

/// Writes the messages, each after its length, and waits until the receiver has ended the connection.
async fn write(mut stream: impl AsyncRead + AsyncWrite + Unpin, messages: &[String]) -> io::Result<()> {
    for message in messages {
        stream.write_all(format!("{} {message}", message.len()).as_bytes()).await?;
    }
    stream.flush().await?;
    stream.shutdown().await?;
    let mut buffer = [0; 512];
    match tokio::time::timeout(GOOD_BYE, stream.read(&mut buffer)).await {
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset => Err(error),
        // It has ended, without the good-bye of TLS for instance, or goes on waiting: it has what was sent.
        Ok(_) | Err(_) => Ok(()),
    }
}

/// The C library's format up to the message: with the time of this host's zone, and without a host.
fn local(priority: usize, app_name: &str, at: Timestamp) -> String {
    let at = jiff::Timestamp::from_millisecond(at.as_millis()).unwrap_or_default();
    let at = at.to_zoned_datetime(TimeZone::system());
    format!("<{priority}>{} {app_name}[{}]: ", at.strftime("%b %e %H:%M:%S"), std::process::id())
}

/// RFC 5424 up to the message.
fn rfc5424(priority: usize, app_name: &str, notification: &Notification, alert: &NotifiedAlert) -> String {
    let name = |text: &str, length: usize| {
        let name: String = text.chars().filter(char::is_ascii_graphic).take(length).collect();
        if name.is_empty() { "-".to_string() } else { name }
    };
    let host = name(&rustix::system::uname().nodename().to_string_lossy(), 255);
    let label = |name: &str| alert.labels.get(name).to_string();
    let alertname = label("alertname");
    let mut line = format!(
        "<{priority}>1 {} {host} {app_name} {} {} [watchfire@32473",
        notification.at,
        std::process::id(),
        name(&alertname, 32)
    );
    for (name, value) in [
        ("alertname", alertname),
        ("status", alert.status().as_str().to_string()),
        ("severity", label("severity")),
        ("instance", label("instance")),
        ("value", alert.value.to_string()),
        ("receiver", notification.receiver.clone()),
        ("fingerprint", alert.fingerprint().to_string()),
        ("id", notification.id.clone()),
    ] {
        line.push_str(&format!(" {name}=\""));
        for c in value.chars().take(MAX_PARAMETER) {
            if matches!(c, '"' | '\\' | ']') {
                line.push('\\');
            }
            line.push(if c.is_control() { ' ' } else { c });
        }
        line.push('"');
    }
    line.push_str("] ");
    line
}
