//! Shell patterns over paths, as Go's `filepath.Glob` has them: `*`, `?`, `[a-z]`, `[^a]` and `\`, within a component.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The paths that a pattern matches, in order; the pattern itself when it has nothing to match or matches nothing, so
/// that the failure to read it is told.
pub fn expand(pattern: &str) -> Vec<PathBuf> {
    if !has_meta(pattern) {
        return vec![pattern.into()];
    }
    let root = if pattern.starts_with('/') { "/" } else { "" };
    let mut paths = vec![PathBuf::from(root)];
    for component in pattern.split('/').filter(|c| !c.is_empty()) {
        paths = match has_meta(component) {
            true => paths.iter().flat_map(|base| list(base, component)).collect(),
            false => paths.iter().map(|base| base.join(component)).filter(|p| p.exists()).collect(),
        };
    }
    if paths.is_empty() {
        paths.push(pattern.into());
    }
    paths
}

/// Whether this is more than a plain name.
pub fn has_meta(pattern: &str) -> bool {
    pattern.contains(['*', '?', '[', '\\'])
}

/// What in a folder matches, in order.
fn list(base: &Path, pattern: &str) -> Vec<PathBuf> {
    let folder = if base.as_os_str().is_empty() { Path::new(".") } else { base };
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<_> = entries
        .flatten()
        .map(|entry| entry.file_name())
        .filter(|name| matches(pattern.as_bytes(), name.as_bytes()))
        .collect();
    names.sort_unstable();
    names.into_iter().map(|name| base.join(name)).collect()
}

/// Whether the whole name matches the pattern. Goes back only to the last `*`, so the time is at most pattern times name.
pub fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star = None;
    loop {
        match (pattern.get(p), name.get(n)) {
            (Some(b'*'), _) => {
                star = Some((p + 1, n));
                p += 1;
                continue;
            }
            (None, None) => return true,
            (Some(_), Some(byte)) => {
                if let Some(length) = match_one(pattern.get(p..).unwrap_or_default(), *byte) {
                    p += length;
                    n += 1;
                    continue;
                }
            }
            _ => {}
        }
        match star {
            Some((after, from)) if from < name.len() => {
                star = Some((after, from + 1));
                (p, n) = (after, from + 1);
            }
            _ => return false,
        }
    }
}

/// How much of the pattern stands for this one byte, if it does.
fn match_one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [b'?', ..] => Some(1),
        [b'\\', escaped, ..] => (*escaped == byte).then_some(2),
        [b'[', class @ ..] => {
            let negated = matches!(class, [b'^', ..]);
            let class = if negated { class.get(1..)? } else { class };
            // A ] that comes first is a member.
            let end = 1 + class.get(1..)?.iter().position(|b| *b == b']')?;
            let members = class.get(..end)?;
            let mut at = 0;
            let mut found = false;
            while let Some(low) = members.get(at) {
                match members.get(at + 1..at + 3) {
                    Some([b'-', high]) => {
                        found |= (low..=high).contains(&&byte);
                        at += 3;
                    }
                    _ => {
                        found |= *low == byte;
                        at += 1;
                    }
                }
            }
            (found != negated).then_some(2 + usize::from(negated) + end)
        }
        [literal, ..] => (*literal == byte).then_some(1),
        [] => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::Fuzz;

    #[test]
    fn patterns_match_as_in_a_shell() {
        for (pattern, name, expected) in [
            ("*", "anything", true),
            ("*.d", "a.d", true),
            ("*.d", "a.dd", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbY", false),
            ("?b", "ab", true),
            ("?b", "b", false),
            ("[a-c]x", "bx", true),
            ("[a-c]x", "dx", false),
            ("[^a-c]x", "dx", true),
            ("[^a-c]x", "ax", false),
            ("[]x]", "]", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("[a", "a", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn paths_are_expanded_component_by_component() {
        let dir = tempfile::tempdir().unwrap();
        for path in ["b/x", "a/x", "a/y", "c/z"] {
            std::fs::create_dir_all(dir.path().join(path)).unwrap();
        }
        let base = dir.path().to_str().unwrap();
        let found = |pattern: &str| -> Vec<String> {
            let paths = expand(&format!("{base}/{pattern}"));
            paths.iter().map(|p| p.strip_prefix(base).unwrap().to_str().unwrap().to_string()).collect()
        };
        assert_eq!(found("*/x"), ["a/x", "b/x"]);
        assert_eq!(found("[ab]/?"), ["a/x", "a/y", "b/x"]);
        assert_eq!(found("a"), ["a"]);
        assert_eq!(found("none*"), ["none*"], "so that it is told");
    }

    #[test]
    fn no_pattern_panics() {
        let good = ["a*b*c\naXbYbZc", "[a-c]?[^x-z]\nbax", "\\*[]x]\n*]", "*****b\naaaaaaaaaaaaaaaaaaaaaaaaa"];
        Fuzz::of(&good).words(&["[^", "[a-", "\\", "**"]).bytes(|input| {
            let mut parts = input.splitn(2, |b| *b == b'\n');
            let _ = matches(parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        });
    }
}
