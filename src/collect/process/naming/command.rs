//! A process' command line as items look at it.

/// Bytes of a command line that are looked at; what is beyond is as if it were not there. The kernel gives out up to
/// some megabytes, and process-exporter reads one.
pub(in crate::collect::process) const LONGEST_COMMAND: usize = 64 << 10;

/// The words of a command line.
#[derive(Debug)]
pub(super) struct CommandLine {
    joined: String,
    first: Option<usize>,
}

impl CommandLine {
    /// From the text of /proc/PID/cmdline. Empty words at the end are no words: what a process has overwritten ends in
    /// any number of NULs.
    pub fn new(raw: &[u8]) -> CommandLine {
        let raw = raw.get(..LONGEST_COMMAND).unwrap_or(raw);
        let end = raw.iter().rposition(|b| *b != 0).map_or(0, |last| last + 1);
        let text = raw.get(..end).unwrap_or(raw);
        let first_end = memchr::memchr(0, text).unwrap_or(text.len());
        let first = lossy(text.get(..first_end).unwrap_or(text));
        let first_length = first.len();
        let mut joined = first;
        joined.push_str(&lossy(text.get(first_end..).unwrap_or(&[])).replace('\0', " "));
        CommandLine { joined, first: (!raw.is_empty()).then_some(first_length) }
    }

    /// All words with a space between each two.
    pub fn joined(&self) -> &str {
        &self.joined
    }

    /// The first word; `None` for a process without a command line, such as a kernel thread.
    pub fn first(&self) -> Option<&str> {
        self.first.and_then(|length| self.joined.get(..length))
    }
}

/// The last part of a path, as Go's `filepath.Base` gives it.
pub(super) fn base(path: &str) -> &str {
    let trimmed = path.trim_end_matches('/');
    match (path.is_empty(), trimmed.is_empty()) {
        (true, _) => ".",
        (_, true) => "/",
        _ => trimmed.rsplit('/').next().unwrap_or(trimmed),
    }
}

/// The text with each byte that is not UTF-8 replaced by U+FFFD: what Go takes such a byte for in a regular expression,
/// and labels must be UTF-8.
pub(super) fn lossy(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| '\u{fffd}'));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_joined_and_nothing_at_the_end_is_no_word() {
        for (raw, joined, first) in [
            (&b"/bin/a\0-b\0c d\0"[..], "/bin/a -b c d", Some("/bin/a")),
            (b"a\0\0b\0", "a  b", Some("a")),
            (b"postgres: writer  \0\0\0\0", "postgres: writer  ", Some("postgres: writer  ")),
            (b"no NUL", "no NUL", Some("no NUL")),
            (b"\0\0", "", Some("")),
            (b"\0x\0", " x", Some("")),
            (b"", "", None),
            (b"b\xe9d\0\xe2\x82\0x\0", "b\u{fffd}d \u{fffd}\u{fffd} x", Some("b\u{fffd}d")),
        ] {
            let line = CommandLine::new(raw);
            assert_eq!((line.joined(), line.first()), (joined, first), "{raw:?}");
        }
    }

    #[test]
    fn only_the_beginning_of_a_very_long_line_is_looked_at() {
        let raw = [vec![b'x'; LONGEST_COMMAND - 1], b"\0end\0".to_vec()].concat();
        assert_eq!(CommandLine::new(&raw).joined(), "x".repeat(LONGEST_COMMAND - 1));
    }

    #[test]
    fn the_base_of_a_path_is_what_go_says() {
        for (path, last) in [
            ("", "."),
            ("/", "/"),
            ("//", "/"),
            ("a", "a"),
            ("/a/b", "b"),
            ("/a/b//", "b"),
            ("./x", "x"),
            ("-sh", "-sh"),
        ] {
            assert_eq!(base(path), last, "{path}");
        }
    }
}
