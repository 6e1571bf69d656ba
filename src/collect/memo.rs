//! What a collector remembers by key (a device, a counter's name) from tick to tick, without hashing.

/// More keys than any host has in one file; what lies beyond is not looked at.
const MAX_ROWS: usize = 16_384;

/// How far ahead a key is looked for that is not where it was.
const LOOK_AHEAD: usize = 64;

/// Values by key, in the order in which a kernel file names the keys.
///
/// That order seldom changes: in a steady tick each key is where it was, and finding it is one comparison. When lines
/// come or go, the values of the others are kept.
#[derive(Debug)]
pub(super) struct Memo<T> {
    rows: Vec<(Box<[u8]>, T)>,
    next: usize,
    changed: bool,
}

impl<T> Memo<T> {
    pub fn new() -> Memo<T> {
        Memo { rows: Vec::new(), next: 0, changed: false }
    }

    /// Begins a pass over the keys.
    pub fn begin(&mut self) {
        self.next = 0;
        self.changed = false;
    }

    /// The value of the pass's next key, made if it is new; `None` when there are too many.
    pub fn next(&mut self, key: &[u8], make: impl FnOnce() -> T) -> Option<&mut T> {
        let at = self.next;
        if self.rows.get(at).is_none_or(|(k, _)| **k != *key) {
            self.changed = true;
            match self.rows.iter().skip(at).take(LOOK_AHEAD).position(|(k, _)| **k == *key) {
                Some(ahead) => self.rows.swap(at, at + ahead),
                None if self.rows.len() < MAX_ROWS => self.rows.insert(at, (key.into(), make())),
                None => *self.rows.get_mut(at)? = (key.into(), make()),
            }
        }
        self.next += 1;
        self.rows.get_mut(at).map(|(_, value)| value)
    }

    /// Ends the pass: forgets the keys that it did not name. Whether any came, went or moved.
    pub fn end(&mut self) -> bool {
        self.changed |= self.rows.len() > self.next;
        self.rows.truncate(self.next);
        self.changed
    }

    /// Keys and values in the order of the last pass.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &T)> {
        self.rows.iter().map(|(k, v)| (&**k, v))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pass(memo: &mut Memo<u32>, keys: &str, made: &mut u32) -> (String, bool) {
        memo.begin();
        let mut values = Vec::new();
        for key in keys.split_whitespace() {
            let value = memo.next(key.as_bytes(), || {
                *made += 1;
                *made
            });
            values.push(value.map_or("-".to_string(), |v| v.to_string()));
        }
        let changed = memo.end();
        (values.join(" "), changed)
    }

    #[test]
    fn a_key_keeps_its_value_while_others_come_and_go() {
        let (mut memo, mut made) = (Memo::new(), 0);
        assert_eq!(pass(&mut memo, "a b c", &mut made), ("1 2 3".into(), true));
        assert_eq!(pass(&mut memo, "a b c", &mut made), ("1 2 3".into(), false));
        assert_eq!(pass(&mut memo, "a c", &mut made), ("1 3".into(), true));
        assert_eq!(pass(&mut memo, "c x a", &mut made), ("3 4 1".into(), true));
        assert_eq!(pass(&mut memo, "", &mut made), ("".into(), true));
        assert_eq!(pass(&mut memo, "a", &mut made), ("5".into(), true));
    }

    #[test]
    fn it_grows_to_a_limit() {
        let mut memo = Memo::new();
        for round in 0..2 {
            memo.begin();
            for key in 0..MAX_ROWS + 10 {
                let value = memo.next(&(key as u32 + round).to_le_bytes(), || key);
                assert_eq!(value.is_some(), key < MAX_ROWS, "{key}");
            }
            memo.end();
        }
    }
}
