//! Command lines as a label, where they are asked for: without what looks like a secret.

use regex::bytes::{Captures, Regex};

use crate::collect::process::procfs::ProcFs;

/// What stands in the place of a secret.
const REDACTED: &[u8] = b"[redacted]";

/// The longest label; a command line can have megabytes.
const MOST_BYTES: usize = 512;

/// How command lines are shown.
pub(in crate::collect::process) struct CommandLines {
    /// None where nobody has asked for them.
    redact: Option<Regex>,
}

impl CommandLines {
    pub fn new(redact: Option<Regex>) -> CommandLines {
        CommandLines { redact }
    }

    pub fn are_shown(&self) -> bool {
        self.redact.is_some()
    }

    /// The command line of a process; `None` where it is not asked for, empty or not for us.
    pub fn read(&self, pid: u32, procfs: &mut ProcFs) -> Option<String> {
        let redact = self.redact.as_ref()?;
        let text = procfs.read_start(pid, "cmdline", 64 << 10).ok()?;
        let text = text.strip_suffix(b"\0").unwrap_or(text);
        let words: Vec<u8> = text.iter().map(|b| if *b == 0 { b' ' } else { *b }).collect();
        (!words.is_empty()).then(|| shown(&words, redact))
    }
}

/// Replaces what the pattern's groups match, or all of a match where it has none, and shortens what is left.
fn shown(words: &[u8], redact: &Regex) -> String {
    let text = redact.replace_all(words, |found: &Captures<'_>| {
        let Some(whole) = found.get(0) else { return Vec::new() };
        let mut text = Vec::new();
        let mut at = whole.start();
        for group in found.iter().skip(1).flatten() {
            // One within another.
            if group.start() < at {
                continue;
            }
            text.extend_from_slice(words.get(at..group.start()).unwrap_or_default());
            text.extend_from_slice(REDACTED);
            at = group.end();
        }
        if found.len() == 1 {
            text.extend_from_slice(REDACTED);
            at = whole.end();
        }
        text.extend_from_slice(words.get(at..whole.end()).unwrap_or_default());
        text
    });
    let mut shown = String::from_utf8_lossy(&text).into_owned();
    if shown.len() > MOST_BYTES {
        let end = (0..=MOST_BYTES).rev().find(|at| shown.is_char_boundary(*at)).unwrap_or(0);
        shown.truncate(end);
        shown.push_str("...");
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::process::config::REDACT;
    use crate::fuzz::Fuzz;

    #[test]
    fn what_looks_like_a_secret_is_not_shown() {
        let redact = Regex::new(REDACT).unwrap();
        for (line, expected) in [
            ("mysql -u root --password=hunter2 db", "mysql -u root --password=[redacted] db"),
            ("app --api-key abc --port 80", "app --api-key [redacted] --port 80"),
            ("curl -H Authorization: Bearer abc.def x", "curl -H Authorization: Bearer [redacted] x"),
            ("psql postgres://joe:secretive@db/x", "psql postgres://joe:[redacted]@db/x"),
            ("env DB_PASSWD=a TOKEN=b run", "env DB_PASSWD=[redacted] TOKEN=[redacted] run"),
            ("nginx -g daemon off;", "nginx -g daemon off;"),
        ] {
            assert_eq!(shown(line.as_bytes(), &redact), expected);
        }
    }

    #[test]
    fn a_pattern_without_groups_takes_all_that_it_matches() {
        let redact = Regex::new("se.ret").unwrap();
        assert_eq!(shown(b"a secret, a se\xffret", &redact), "a [redacted], a se\u{fffd}ret");
    }

    #[test]
    fn a_long_one_is_cut() {
        let line = "x".repeat(700);
        assert_eq!(shown(line.as_bytes(), &Regex::new("y").unwrap()).len(), MOST_BYTES + 3);
    }

    #[test]
    fn no_command_line_makes_it_panic() {
        let redact = Regex::new(REDACT).unwrap();
        let good = ["mysql -u root --password=hunter2 db", "curl -H Authorization: Bearer abc.def x", "TOKEN=b run"];
        Fuzz::of(&good).words(&["--api-key ", "postgres://joe:x@"]).bytes(|line| {
            assert!(shown(line, &redact).len() <= MOST_BYTES + 3);
        });
    }
}
