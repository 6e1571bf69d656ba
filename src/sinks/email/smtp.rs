//! The dialogue with a mail server (RFC 5321), with STARTTLS or TLS from the start and AUTH.
//!
//! Own code, because lettre's gives a mail up at the first recipient that is refused, knows neither CRAM-MD5 nor an
//! identity beside the user, and has TLS settings of its own beside those of all other sinks.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lettre::Address;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::super::{DeliveryError, Reason, TlsConfig, tls};
use super::Smarthost;

/// How the connection is protected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Security {
    /// Not at all.
    None,
    /// It begins in the clear, and goes on only when the server agrees to TLS.
    StartTls,
    /// TLS from the first byte.
    Implicit,
}

/// Who we are to the server; texts that are not given are empty.
#[derive(Default)]
pub(super) struct Credentials {
    pub username: String,
    pub identity: String,
    pub password: String,
    /// For CRAM-MD5.
    pub secret: String,
}

/// What the server said of a recipient that it does not take.
#[derive(Debug)]
pub(super) struct Refused {
    pub recipient: String,
    /// Whether it may take it later (greylisting, a full mailbox).
    pub passing: bool,
    /// Its words.
    pub said: String,
}

/// What came of a mail.
#[derive(Debug)]
pub(super) struct Sent {
    /// The server's confirmation; `None` when it took no recipient and so no mail.
    pub confirmed: Option<String>,
    pub refused: Vec<Refused>,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A server that has been greeted.
pub(super) struct Dialogue {
    stream: BufReader<Box<dyn Stream>>,
    /// Host and port, for messages.
    server: String,
    /// The lines of the answer to EHLO.
    extensions: Vec<String>,
    /// Nobody on the way can read.
    private: bool,
    /// What is not to be seen in messages.
    secrets: Vec<String>,
}

/// A line of a server's answer; RFC 5321 allows 512 bytes.
const MAX_LINE: u64 = 4096;
/// The lines of an answer.
const MAX_LINES: usize = 100;
/// The characters of a server's words that a message shows.
const SHOWN: usize = 300;

struct Reply {
    code: u16,
    lines: Vec<String>,
}

impl Reply {
    fn is_positive(&self) -> bool {
        (200..400).contains(&self.code)
    }
}

impl Dialogue {
    /// Connects and says hello.
    ///
    /// # Errors
    /// Who could not be reached, or refused, and why.
    pub async fn open(
        smarthost: &Smarthost,
        hello: &str,
        security: Security,
        config: &TlsConfig,
    ) -> Result<Dialogue, DeliveryError> {
        let server = smarthost.to_string();
        let other = |why: String| DeliveryError::passing(Reason::Other, format!("{server}: {why}"));
        let address = (smarthost.host.as_str(), smarthost.port);
        let tcp = TcpStream::connect(address).await.map_err(|e| other(format!("cannot connect: {e}")))?;
        let private = tcp.peer_addr().is_ok_and(|peer| peer.ip().is_loopback());
        let stream: Box<dyn Stream> = match security {
            Security::Implicit => Box::new(tls::encrypt(config, &smarthost.host, tcp).await.map_err(other)?),
            Security::None | Security::StartTls => Box::new(tcp),
        };
        let mut dialogue = Dialogue {
            stream: BufReader::new(stream),
            server,
            extensions: Vec::new(),
            private: private || security == Security::Implicit,
            secrets: Vec::new(),
        };
        let greeting = dialogue.reply().await?;
        dialogue.expect("the connection", greeting)?;
        dialogue.hello(hello).await?;
        if security == Security::StartTls {
            dialogue = dialogue.start_tls(smarthost, config).await?;
            // What was said in the clear may have been said by anybody.
            dialogue.hello(hello).await?;
        }
        Ok(dialogue)
    }

    async fn hello(&mut self, name: &str) -> Result<(), DeliveryError> {
        let mut reply = self.command(&format!("EHLO {name}")).await?;
        if matches!(reply.code, 500 | 502) {
            reply = self.command(&format!("HELO {name}")).await?;
        }
        let reply = self.expect("EHLO", reply)?;
        self.extensions = reply.lines.into_iter().skip(1).collect();
        Ok(())
    }

    /// What follows the keyword of an extension; `None` if the server has not got it.
    fn extension(&self, keyword: &str) -> Option<&str> {
        self.extensions.iter().find_map(|line| {
            let (first, rest) = line.split_once([' ', '=']).unwrap_or((line, ""));
            first.eq_ignore_ascii_case(keyword).then_some(rest)
        })
    }

    async fn start_tls(mut self, smarthost: &Smarthost, config: &TlsConfig) -> Result<Dialogue, DeliveryError> {
        if self.extension("STARTTLS").is_none() {
            let message = format!("{} does not offer STARTTLS, and require_tls is true", self.server);
            return Err(DeliveryError::lasting(Reason::ClientError, message));
        }
        let reply = self.command("STARTTLS").await?;
        self.expect("STARTTLS", reply)?;
        if !self.stream.buffer().is_empty() {
            // Whoever stands on the way could so put answers into the encrypted part.
            return Err(self.failed("more was sent than the answer to STARTTLS"));
        }
        let encrypted = tls::encrypt(config, &smarthost.host, self.stream.into_inner()).await;
        let server = self.server;
        let stream: Box<dyn Stream> = match encrypted {
            Ok(stream) => Box::new(stream),
            Err(why) => return Err(DeliveryError::passing(Reason::Other, format!("{server}: {why}"))),
        };
        let (extensions, secrets) = (Vec::new(), self.secrets);
        Ok(Dialogue { stream: BufReader::new(stream), server, extensions, private: true, secrets })
    }

    /// Says who we are, in the first of the ways that the server offers and the credentials are for. A server that offers
    /// none is left to decide by the mail itself.
    ///
    /// # Errors
    /// The server refuses the user, or nothing that it offers can be used.
    pub async fn authenticate(&mut self, who: &Credentials) -> Result<(), DeliveryError> {
        let Some(offered) = self.extension("AUTH").map(str::to_ascii_uppercase) else { return Ok(()) };
        self.secrets.extend([&who.password, &who.secret].into_iter().filter(|s| !s.is_empty()).cloned());
        let usable = |mechanism: &&str| match *mechanism {
            "CRAM-MD5" => !who.secret.is_empty(),
            "PLAIN" | "LOGIN" => !who.password.is_empty(),
            _ => false,
        };
        let lasting = |message| Err(DeliveryError::lasting(Reason::ClientError, message));
        let Some(mechanism) = offered.split_whitespace().find(usable) else {
            let server = &self.server;
            return lasting(format!(
                "{server} offers AUTH {offered}: auth_password is for PLAIN and LOGIN, auth_secret for CRAM-MD5"
            ));
        };
        if mechanism != "CRAM-MD5" && !self.private {
            let server = &self.server;
            return lasting(format!("{server}: the password is not sent unencrypted: set require_tls to true"));
        }
        let reply = match mechanism {
            "PLAIN" => {
                let all = format!("{}\0{}\0{}", who.identity, who.username, who.password);
                self.secret_command("AUTH PLAIN ", &all).await?
            }
            "LOGIN" => {
                let mut reply = self.command("AUTH LOGIN").await?;
                for answer in [&who.username, &who.password] {
                    if reply.code == 334 {
                        reply = self.secret_command("", answer).await?;
                    }
                }
                reply
            }
            _ => {
                let reply = self.command("AUTH CRAM-MD5").await?;
                match (reply.code, reply.lines.first().map(|line| STANDARD.decode(line.trim()))) {
                    (334, Some(Ok(challenge))) => {
                        let answer = format!("{} {:x}", who.username, hmac_md5(who.secret.as_bytes(), &challenge));
                        self.secret_command("", &answer).await?
                    }
                    (334, _) => return Err(self.failed("the challenge of CRAM-MD5 is not base64")),
                    _ => reply,
                }
            }
        };
        let what = format!("AUTH {mechanism} of user {:?}", who.username);
        if reply.code == 235 { Ok(()) } else { Err(self.refused(&what, &reply)) }
    }

    /// Sends a mail to all recipients that the server takes.
    ///
    /// # Errors
    /// The server refuses the sender or the mail.
    pub async fn mail(&mut self, from: &Address, to: &[Address], mail: &[u8]) -> Result<Sent, DeliveryError> {
        let ascii = std::iter::once(from).chain(to).all(|address| AsRef::<str>::as_ref(address).is_ascii());
        let parameter = match (ascii, self.extension("SMTPUTF8")) {
            (true, _) => "",
            (false, Some(_)) => " SMTPUTF8",
            (false, None) => {
                let message = format!("{} takes no addresses beyond ASCII", self.server);
                return Err(DeliveryError::lasting(Reason::ClientError, message));
            }
        };
        let reply = self.command(&format!("MAIL FROM:<{from}>{parameter}")).await?;
        self.expect(&format!("the sender {from}"), reply)?;
        let mut refused = Vec::new();
        for recipient in to {
            let reply = self.command(&format!("RCPT TO:<{recipient}>")).await?;
            if !reply.is_positive() {
                let said = self.words(&reply);
                refused.push(Refused { recipient: recipient.to_string(), passing: reply.code < 500, said });
            }
        }
        if refused.len() == to.len() {
            return Ok(Sent { confirmed: None, refused });
        }
        let reply = self.command("DATA").await?;
        if reply.code != 354 {
            return Err(self.refused("DATA", &reply));
        }
        self.write(&with_dots(mail)).await?;
        let reply = self.reply().await?;
        let reply = self.expect("the mail", reply)?;
        Ok(Sent { confirmed: Some(self.words(&reply)), refused })
    }

    /// Says good-bye. Nobody waits for what is answered: the mail is the server's by now, or was refused.
    pub async fn quit(mut self) {
        let _ = self.write(b"QUIT\r\n").await;
        let _ = self.stream.shutdown().await;
    }

    async fn command(&mut self, line: &str) -> Result<Reply, DeliveryError> {
        if line.contains(['\r', '\n']) {
            // What is checked when it is read cannot have one; this is the last place to see to it.
            return Err(DeliveryError::lasting(Reason::ClientError, format!("{}: a line break", self.server)));
        }
        self.write(format!("{line}\r\n").as_bytes()).await?;
        self.reply().await
    }

    /// A command with something that no message shows, in base64.
    async fn secret_command(&mut self, command: &str, secret: &str) -> Result<Reply, DeliveryError> {
        let encoded = STANDARD.encode(secret);
        let line = format!("{command}{encoded}");
        self.secrets.push(encoded);
        self.command(&line).await
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), DeliveryError> {
        let written = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        let result = written.await;
        result.map_err(|e| self.failed(&e.to_string()))
    }

    async fn reply(&mut self) -> Result<Reply, DeliveryError> {
        let mut lines = Vec::new();
        loop {
            let mut line = Vec::new();
            let read = (&mut self.stream).take(MAX_LINE).read_until(b'\n', &mut line).await;
            match read {
                Ok(0) => return Err(self.failed("the connection was closed")),
                Ok(_) => {}
                Err(error) => return Err(self.failed(&error.to_string())),
            }
            let text = String::from_utf8_lossy(line.trim_ascii_end()).into_owned();
            let code = text.get(..3).and_then(|digits| digits.parse::<u16>().ok()).filter(|code| *code >= 200);
            let Some(code) = code.filter(|_| line.ends_with(b"\n") && lines.len() < MAX_LINES) else {
                return Err(self.failed("what it answers is not SMTP"));
            };
            lines.push(text.get(4..).unwrap_or("").to_string());
            if text.as_bytes().get(3) != Some(&b'-') {
                return Ok(Reply { code, lines });
            }
        }
    }

    fn expect(&self, what: &str, reply: Reply) -> Result<Reply, DeliveryError> {
        if reply.is_positive() { Ok(reply) } else { Err(self.refused(what, &reply)) }
    }

    fn refused(&self, what: &str, reply: &Reply) -> DeliveryError {
        let message = format!("{} refuses {what}: {}", self.server, self.words(reply));
        match reply.code {
            ..500 => DeliveryError::passing(Reason::ServerError, message),
            _ => DeliveryError::lasting(Reason::ClientError, message),
        }
    }

    fn failed(&self, why: &str) -> DeliveryError {
        DeliveryError::passing(Reason::Other, format!("{}: {why}", self.server))
    }

    /// The server's answer on one line, without secrets.
    fn words(&self, reply: &Reply) -> String {
        let mut said = reply.lines.join(" ");
        for secret in &self.secrets {
            said = said.replace(secret.as_str(), "<secret>");
        }
        let said: String = said.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SHOWN).collect();
        format!("{} {}", reply.code, said.trim()).trim_end().to_string()
    }
}

/// The mail as DATA has it: a line that begins with a dot gets another one, and a lone dot ends it all.
fn with_dots(mail: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(mail.len() + 64);
    for line in mail.split_inclusive(|byte| *byte == b'\n') {
        if line.starts_with(b".") {
            out.push(b'.');
        }
        out.extend_from_slice(line);
    }
    if !mail.ends_with(b"\r\n") {
        out.extend(b"\r\n");
    }
    out.extend(b".\r\n");
    out
}

/// RFC 2104 with MD5, as RFC 2195 has it.
fn hmac_md5(key: &[u8], message: &[u8]) -> md5::Digest {
    const BLOCK: usize = 64;
    let mut block = if key.len() > BLOCK { md5::compute(key).0.to_vec() } else { key.to_vec() };
    block.resize(BLOCK, 0);
    let padded = |pad: u8| block.iter().map(move |byte| byte ^ pad);
    let inner = md5::compute(padded(0x36).chain(message.iter().copied()).collect::<Vec<u8>>());
    md5::compute(padded(0x5c).chain(inner.0).collect::<Vec<u8>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_is_answered_as_in_rfc_2195() {
        let digest = hmac_md5(b"tanstaaftanstaaf", b"<1896.697170952@postoffice.reston.mci.net>");
        assert_eq!(format!("{digest:x}"), "b913a602c7eda7a495b4e6e7334d3890");
        // RFC 2202, test case 6: a key longer than a block.
        let digest = hmac_md5(&[0xaa; 80], b"Test Using Larger Than Block-Size Key - Hash Key First");
        assert_eq!(format!("{digest:x}"), "6b1ab7fe4bd7bf8f0b62e6ce61b9d0cd");
    }

    #[test]
    fn a_line_that_begins_with_a_dot_does_not_end_the_mail() {
        assert_eq!(with_dots(b"a\r\n.\r\n..b\r\nc"), b"a\r\n..\r\n...b\r\nc\r\n.\r\n");
        assert_eq!(with_dots(b"a\r\n"), b"a\r\n.\r\n");
    }
}
