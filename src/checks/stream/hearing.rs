//! What a stream has said since its last result, and what of it becomes the next.

use std::time::{Duration, Instant};

use super::gathered::Gathered;
use crate::checks::board::LATE;
use crate::checks::families::{Families, MAX_SAMPLES};
use crate::checks::format::{Format, Given, counted, influx};
use crate::checks::verdict::{State, Verdict};
use crate::pool::{Frame, Framing};

/// The longest part of a line that an error shows, in characters.
const SHOWN: usize = 80;

/// What a command that stays says.
pub(super) struct Hearing {
    interval: Duration,
    /// Lines or blocks since the command was started.
    count: u64,
    /// Whether a result is about to be made.
    due: bool,
    kind: Kind,
}

enum Kind {
    Documents(Documents),
    Points(Points),
}

/// A document or block is all that is known.
struct Documents {
    format: Format,
    /// The last, whether it is cut, and which it is.
    last: Option<(Vec<u8>, bool, u64)>,
}

/// Points are gathered.
#[derive(Default)]
struct Points {
    gathered: Gathered,
    is_new: bool,
    /// What was wrong, and when.
    trouble: Option<(Instant, Verdict)>,
}

impl Hearing {
    pub(super) fn new(format: Option<Format>, interval: Duration) -> Hearing {
        let kind = match format {
            Some(format @ (Format::Json(_) | Format::Prometheus)) => Kind::Documents(Documents { format, last: None }),
            // No valid configuration has another.
            _ => Kind::Points(Points::default()),
        };
        Hearing { interval, count: 0, due: false, kind }
    }

    /// How the output is divided.
    pub(super) fn framing(&self) -> Framing {
        match &self.kind {
            Kind::Documents(Documents { format: Format::Prometheus, .. }) => Framing::Blocks,
            Kind::Documents(_) | Kind::Points(_) => Framing::Lines,
        }
    }

    /// Takes in a line or block. Returns whether a result is to be made of it in a moment, and none is about to be.
    pub(super) fn hear(&mut self, frame: Frame<'_>, now: Instant) -> bool {
        self.count += 1;
        if frame.bytes.trim_ascii().is_empty() && !frame.cut {
            return false;
        }
        let is_new = match &mut self.kind {
            Kind::Documents(documents) => {
                documents.last = Some((frame.bytes.to_vec(), frame.cut, self.count));
                true
            }
            Kind::Points(points) => points.hear(frame, self.count, now),
        };
        is_new && !std::mem::replace(&mut self.due, true)
    }

    /// The result of what has come since the last; `None` when nothing has.
    pub(super) fn result(&mut self, now: Instant, out: &mut Families) -> Option<Verdict> {
        self.due = false;
        match &mut self.kind {
            Kind::Documents(documents) => documents.result(out),
            Kind::Points(points) => points.result(self.interval, now, out),
        }
    }

    /// The command has ended: what it said is of no more use, and what it was about to say comes to nothing.
    pub(super) fn clear(&mut self) {
        self.count = 0;
        match &mut self.kind {
            Kind::Documents(documents) => documents.last = None,
            Kind::Points(points) => *points = Points::default(),
        }
    }
}

impl Documents {
    fn result(&mut self, out: &mut Families) -> Option<Verdict> {
        let (bytes, truncated, number) = self.last.take()?;
        let verdict = self.format.read(&Given { stdout: &bytes, stderr: b"", truncated, code: 0 }, out);
        let what = if matches!(self.format, Format::Prometheus) { "block" } else { "line" };
        Some(match verdict.state {
            State::Unknown => Verdict::unknown(format!("{what} {number}: {}", verdict.summary)),
            _ => verdict,
        })
    }
}

impl Points {
    fn hear(&mut self, frame: Frame<'_>, number: u64, now: Instant) -> bool {
        if frame.cut {
            let verdict = Verdict::unknown(format!("line {number}: longer than output_limit: raise it"));
            self.is_new = true;
            self.complain(verdict, now);
            return true;
        }
        let mut all = true;
        let read = influx::for_each(frame.bytes, |name, labels, value| {
            all &= self.gathered.say(name, labels, value, now);
        });
        let trouble = match read {
            // A comment.
            Ok(0) => return false,
            Ok(_) if all => None,
            Ok(_) => Some(Verdict::new(
                State::Warning,
                format!("line {number}: no room for another series: {MAX_SAMPLES} are the most, or 16 MiB of labels"),
            )),
            Err(fault) => {
                let text: String = String::from_utf8_lossy(frame.bytes).chars().take(SHOWN).collect();
                Some(Verdict::unknown(format!("line {number}: {}, in {text:?}", fault.reason)))
            }
        };
        self.is_new = true;
        if let Some(trouble) = trouble {
            self.complain(trouble, now);
        }
        true
    }

    /// Something is wrong; of several things the worst counts, and the last of those.
    fn complain(&mut self, verdict: Verdict, now: Instant) {
        if self.trouble.as_ref().is_none_or(|(_, known)| known.state <= verdict.state) {
            self.trouble = Some((now, verdict));
        }
    }

    fn result(&mut self, interval: Duration, now: Instant, out: &mut Families) -> Option<Verdict> {
        if !std::mem::take(&mut self.is_new) {
            return None;
        }
        self.gathered.forget(now, interval.saturating_mul(LATE));
        self.gathered.write(out);
        self.trouble.take_if(|(said, _)| now.saturating_duration_since(*said) > interval);
        Some(match &self.trouble {
            Some((_, verdict)) => verdict.clone(),
            None => Verdict::ok(counted(self.gathered.len())),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::checks::format::json::JsonConfig;
    use crate::fuzz::Fuzz;
    use crate::model::Labels;

    #[test]
    fn nothing_that_is_said_makes_it_panic() {
        let good =
            ["m,a=b c=1,d=\"x\" 1556813561098000000", "# TYPE a gauge\na{b=\"c\"} 1\n# EOF\n", "{\"a\": [1, null]}"];
        Fuzz::of(&good).bytes(|bytes| {
            for format in [Format::Influx, Format::Prometheus, Format::Json(JsonConfig::default())] {
                let mut hearing = Hearing::new(Some(format), Duration::from_secs(1));
                for cut in [false, true] {
                    hearing.hear(Frame { bytes, cut }, Instant::now());
                    hearing.result(Instant::now(), &mut Families::new(Arc::new(Labels::empty())));
                }
            }
        });
    }
}
