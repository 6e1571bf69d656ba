//! The parts of a long output: lines or blocks.

/// How the output of a stream is divided.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Framing {
    /// Each line, without its end.
    Lines,
    /// Lines up to an empty line, which is left out, or to the line `# EOF` (as OpenMetrics ends), which is not.
    Blocks,
}

/// A part of a stream's output.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frame<'a> {
    /// Its bytes.
    pub bytes: &'a [u8],
    /// Whether something is missing at its end: it was too long, or the command ended within it.
    pub cut: bool,
}

/// Divides bytes, as they come, into frames.
pub(super) struct Framer {
    framing: Framing,
    /// The most bytes of a frame that are kept.
    limit: usize,
    frame: Vec<u8>,
    /// Where the line that is being read begins in the frame.
    line: usize,
    /// Bytes of that line that are not kept.
    over: usize,
    cut: bool,
}

impl Framer {
    pub(super) fn new(framing: Framing, limit: usize) -> Framer {
        Framer { framing, limit, frame: Vec::new(), line: 0, over: 0, cut: false }
    }

    /// Takes in more bytes, and gives each frame that they complete.
    pub(super) fn push(&mut self, bytes: &[u8], mut each: impl FnMut(Frame<'_>)) {
        let mut rest = bytes;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let (line, after) = rest.split_at(end);
            self.keep(line);
            rest = after.get(1..).unwrap_or_default();
            self.end_line(&mut each);
        }
        self.keep(rest);
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = self.limit.saturating_sub(self.frame.len());
        let kept = bytes.get(..room).unwrap_or(bytes);
        self.frame.extend_from_slice(kept);
        let over = bytes.len() - kept.len();
        self.over = self.over.saturating_add(over);
        self.cut |= over > 0;
    }

    fn end_line(&mut self, each: &mut impl FnMut(Frame<'_>)) {
        let line = self.frame.get(self.line..).unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let is_empty = line.is_empty() && self.over == 0;
        let is_end = line == b"# EOF" && self.over == 0;
        self.over = 0;
        match self.framing {
            Framing::Lines => {
                let length = line.len();
                self.frame.truncate(length);
                self.give(each);
            }
            Framing::Blocks if is_empty => {
                self.frame.truncate(self.line);
                // Several empty lines are one end.
                if !self.frame.is_empty() {
                    self.give(each);
                }
            }
            Framing::Blocks => {
                if self.frame.len() < self.limit {
                    self.frame.push(b'\n');
                } else {
                    self.cut = true;
                }
                self.line = self.frame.len();
                if is_end {
                    self.give(each);
                }
            }
        }
    }

    fn give(&mut self, each: &mut impl FnMut(Frame<'_>)) {
        each(Frame { bytes: &self.frame, cut: self.cut });
        self.frame.clear();
        // One long frame shall not take its memory for ever.
        self.frame.shrink_to(4096);
        (self.line, self.over, self.cut) = (0, 0, false);
    }

    /// The output has ended; well, or within what it was about to say.
    pub(super) fn finish(&mut self, well: bool, mut each: impl FnMut(Frame<'_>)) {
        if !self.frame.is_empty() || self.cut {
            self.cut |= !well;
            self.give(&mut each);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::Fuzz;

    /// All frames of a text that comes in pieces of this length; those that were cut end with an ellipsis.
    fn frames(framing: Framing, limit: usize, text: &str, piece: usize) -> Vec<String> {
        let mut framer = Framer::new(framing, limit);
        let mut all = Vec::new();
        let mut each = |frame: Frame<'_>| {
            let text = String::from_utf8_lossy(frame.bytes).into_owned();
            all.push(if frame.cut { text + "..." } else { text });
        };
        text.as_bytes().chunks(piece).for_each(|bytes| framer.push(bytes, &mut each));
        framer.finish(true, &mut each);
        all
    }

    fn at_any_piece(framing: Framing, limit: usize, text: &str, expected: &[&str]) {
        for piece in 1..=text.len() {
            assert_eq!(frames(framing, limit, text, piece), expected, "in pieces of {piece}");
        }
    }

    #[test]
    fn lines_are_what_stands_between_newlines_and_the_last_needs_none() {
        at_any_piece(Framing::Lines, 100, "a\n\nbc\r\nd", &["a", "", "bc", "d"]);
        at_any_piece(Framing::Lines, 100, "a\n", &["a"]);
        assert!(frames(Framing::Lines, 100, "", 1).is_empty());
    }

    #[test]
    fn blocks_end_with_an_empty_line_or_the_end_of_an_exposition() {
        at_any_piece(
            Framing::Blocks,
            100,
            "a 1\nb 2\n\n\n\nc 3\n# EOF\nd 4\n",
            &["a 1\nb 2\n", "c 3\n# EOF\n", "d 4\n"],
        );
        at_any_piece(Framing::Blocks, 100, "a\r\n\r\n# EOFX\nb", &["a\r\n", "# EOFX\nb"]);
    }

    #[test]
    fn what_is_too_long_is_cut_and_the_next_is_whole_again() {
        at_any_piece(Framing::Lines, 3, "abc\nabcd\nabcdefgh\nxy\n", &["abc", "abc...", "abc...", "xy"]);
        at_any_piece(Framing::Blocks, 6, "ab\ncd\nef\n\ngh\n\n", &["ab\ncd\n...", "gh\n"]);
        at_any_piece(Framing::Blocks, 5, "abcdefg\n\nh\n\n", &["abcde...", "h\n"]);
        at_any_piece(Framing::Lines, 0, "a\n\n", &["...", ""]);
    }

    #[test]
    fn what_was_not_finished_is_said_to_be_cut() {
        let mut framer = Framer::new(Framing::Blocks, 100);
        framer.push(b"half", |_| panic!("it is not complete"));
        let mut cut = false;
        framer.finish(false, |frame| cut = frame.cut && frame.bytes == b"half");
        assert!(cut);
    }

    #[test]
    fn no_garbage_panics_and_none_takes_more_memory_than_a_frame() {
        Fuzz::of(&["a 1\nb 2\n\nc 3\n# EOF\n", "\r\n\r\n", "line\nline\r\nlong line without end"]).bytes(|bytes| {
            for framing in [Framing::Lines, Framing::Blocks] {
                let mut framer = Framer::new(framing, 16);
                let mut each = |frame: Frame<'_>| assert!(frame.bytes.len() <= 16);
                bytes.chunks(7).for_each(|piece| framer.push(piece, &mut each));
                framer.finish(false, &mut each);
            }
        });
    }
}
