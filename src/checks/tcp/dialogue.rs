//! What is expected and sent over a connection.

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

use super::super::net::{Clock, Regexp, Stream, shown, why};
use super::super::tls::handshake;
use super::super::verdict::Verdict;
use super::Report;
use super::config::{Step, TcpCheck};

/// Bytes of a line; a longer one is no line of a protocol that people read.
const MAX_LINE: u64 = 64 << 10;

/// Letters that a secret has at least; what is shorter may be any word.
const SECRET: usize = 6;

pub(super) struct Dialogue<'p> {
    stream: BufReader<Box<dyn Stream>>,
    config: &'p TcpCheck,
    host: &'p str,
    clock: &'p Clock,
    /// What was sent so far, and may be a secret.
    sent: Vec<String>,
}

impl<'p> Dialogue<'p> {
    pub fn new(stream: Box<dyn Stream>, config: &'p TcpCheck, host: &'p str, clock: &'p Clock) -> Dialogue<'p> {
        Dialogue { stream: BufReader::new(stream), config, host, clock, sent: Vec::new() }
    }

    /// Goes through the steps.
    ///
    /// # Errors
    /// Which of them failed, and why.
    pub async fn run(mut self, report: &mut Report) -> Result<(), Verdict> {
        for step in &self.config.query_response {
            let send = match &step.expect {
                Some(expect) => self.expect(expect, step, report).await?,
                None => step.send.as_ref().map(|send| send.expose().to_string()),
            };
            if let Some(send) = send {
                self.send(&send).await?;
            }
            if step.starttls {
                // What was sent before TLS began is not taken for something said in it.
                let plain = self.stream.into_inner();
                let (config, clock) = (&self.config.tls_config, self.clock);
                let stream = handshake(config, self.host, &[], plain, clock, &mut report.shown).await?;
                self.stream = BufReader::new(Box::new(stream));
            }
        }
        Ok(())
    }

    /// Reads lines until one has what is expected; gives what is to be sent then.
    async fn expect(&mut self, expect: &Regexp, step: &Step, report: &mut Report) -> Result<Option<String>, Verdict> {
        let mut last = String::new();
        loop {
            let before = self.after(&last);
            let doing = || format!("connected, then waited for {:?}{before}", expect.as_str());
            let read = read_line(&mut self.stream);
            let line = match self.clock.within(doing, read).await {
                Ok(line) => line,
                Err(verdict) => {
                    // Something was said, but not that.
                    report.failed_due_to_regex = !last.is_empty();
                    return Err(verdict);
                }
            };
            let Some(line) = line.map_err(|why| Verdict::critical(format!("connected, but {why}")))? else {
                report.failed_due_to_regex = true;
                let end = format!("the far side ended without {:?}{before}", expect.as_str());
                return Err(Verdict::critical(end));
            };
            if let Some(captures) = expect.regex().captures(&line) {
                let Some(send) = &step.send else { return Ok(None) };
                let expanded = expect.re2().expand(send.expose(), &captures, MAX_LINE as usize);
                return expanded.map(Some).ok_or_else(|| Verdict::unknown("what is to be sent is too long"));
            }
            last = line;
        }
    }

    /// What the far side said last, without what it repeats of that which was sent to it.
    fn after(&self, last: &str) -> String {
        if last.is_empty() {
            return String::new();
        }
        let lines = self.sent.iter().map(String::as_str).filter(|line| !line.is_empty());
        let words = self.sent.iter().flat_map(|line| line.split_whitespace()).filter(|word| word.len() >= SECRET);
        let said = lines.chain(words).fold(last.to_string(), |said, sent| said.replace(sent, "<sent>"));
        format!(", the last line was {:?}", shown(&said))
    }

    async fn send(&mut self, line: &str) -> Result<(), Verdict> {
        self.sent.push(line.to_string());
        let writing = async {
            self.stream.write_all(format!("{line}\n").as_bytes()).await?;
            self.stream.flush().await
        };
        // Not the line: it may hold a password.
        let written = self.clock.within(|| "connected, then sent a line".to_string(), writing).await?;
        written.map_err(|e| Verdict::critical(format!("connected, but sending a line failed: {}", why(&e))))
    }
}

/// The next line without its end; `None` at the end of all.
async fn read_line(stream: &mut BufReader<Box<dyn Stream>>) -> Result<Option<String>, String> {
    let mut line = Vec::new();
    let read = stream.take(MAX_LINE).read_until(b'\n', &mut line).await;
    read.map_err(|e| format!("reading a line failed: {}", why(&e)))?;
    if line.is_empty() {
        return Ok(None);
    }
    if line.len() as u64 == MAX_LINE && line.last() != Some(&b'\n') {
        return Err(format!("what came has no end of a line within {} KiB", MAX_LINE >> 10));
    }
    let line = line.strip_suffix(b"\n").unwrap_or(&line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    Ok(Some(String::from_utf8_lossy(line).into_owned()))
}
