//! Values that commands are given and that nobody is to see in what they write: a command that traces itself prints them.

use memchr::memmem;

/// Shorter values are no secrets, and words of any output.
const LEAST: usize = 4;
/// What stands in place of a secret.
const MASK: &[u8] = b"***";

/// Values to hide.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secrets(Vec<Vec<u8>>);

impl Secrets {
    /// Of these values; those of less than four bytes are left out, blanks around them do not count.
    pub fn of<'v>(values: impl IntoIterator<Item = &'v str>) -> Secrets {
        let mut secrets = Secrets::default();
        values.into_iter().for_each(|value| secrets.add(value));
        secrets
    }

    /// Adds a value.
    pub(super) fn add(&mut self, value: &str) {
        let value = value.trim().as_bytes();
        if value.len() >= LEAST {
            self.0.push(value.to_vec());
            // Of two of which one is the beginning of the other, nothing is left over.
            self.0.sort_unstable_by_key(|value| std::cmp::Reverse(value.len()));
        }
    }

    /// The text without them.
    pub fn masked(&self, text: &str) -> String {
        String::from_utf8_lossy(&self.masked_bytes(text.as_bytes())).into_owned()
    }

    /// The bytes without them.
    pub(super) fn masked_bytes(&self, bytes: &[u8]) -> Vec<u8> {
        self.0.iter().fold(bytes.to_vec(), |bytes, secret| {
            let mut kept = Vec::with_capacity(bytes.len());
            let mut from = 0;
            for at in memmem::find_iter(&bytes, secret) {
                kept.extend_from_slice(bytes.get(from..at).unwrap_or_default());
                kept.extend_from_slice(MASK);
                from = at + secret.len();
            }
            kept.extend_from_slice(bytes.get(from..).unwrap_or_default());
            kept
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} secrets", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden_the_longer_first_and_words_are_none() {
        let secrets = Secrets::of(["abcd", " abcdef\n", "abc", ""]);
        assert_eq!(secrets.masked("abcdef abcd abc"), "*** *** abc");
        assert_eq!(secrets.masked_bytes(b"\xffabcd\xfe"), b"\xff***\xfe");
        assert!(!format!("{secrets:?}").contains("abc"));
    }
}
