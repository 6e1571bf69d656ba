//! Telegram's HTML: how long it is to who reads it, and cutting it without breaking it.

use super::super::message::ELLIPSIS;

/// Telegram does not parse more bytes than this; some are left for closing tags.
const MAX_BYTES: usize = (1 << 15) - 1024;

/// A piece of a text.
enum Piece<'a> {
    /// With its angle brackets.
    Tag(&'a str),
    /// One character or entity: `&lt;`, `&#39;`.
    Character(&'a str),
}

fn pieces(text: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let tag = (first == '<').then(|| rest.find('>')).flatten().map(|end| end + 1);
        let entity = || (first == '&').then(|| entity(rest)).flatten();
        let end = tag.or_else(entity).unwrap_or(first.len_utf8());
        let (piece, behind) = rest.split_at_checked(end)?;
        rest = behind;
        Some(if tag.is_some() { Piece::Tag(piece) } else { Piece::Character(piece) })
    })
}

/// Where the entity ends that the text begins with.
fn entity(text: &str) -> Option<usize> {
    // The longest is a number of 7 digits.
    let end = text.bytes().take(10).position(|b| b == b';')?;
    let name = text.get(1..end)?;
    let is_entity = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'#');
    is_entity.then_some(end + 1)
}

/// The characters that are seen of a text.
pub(super) fn length(text: &str) -> usize {
    pieces(text).filter(|piece| matches!(piece, Piece::Character(_))).count()
}

/// The text, cut to this many characters that are seen; with all tags closed.
pub(super) fn cut(text: String, max: usize) -> String {
    if length(&text) <= max && text.len() <= MAX_BYTES {
        return text;
    }
    let mut out = String::new();
    let mut open: Vec<&str> = Vec::new();
    let mut count = 1;
    for piece in pieces(&text) {
        let (Piece::Tag(shown) | Piece::Character(shown)) = piece;
        if out.len() + shown.len() > MAX_BYTES {
            break;
        }
        match piece {
            Piece::Character(_) if count >= max => break,
            Piece::Character(_) => count += 1,
            Piece::Tag(tag) if tag.starts_with("</") => {
                open.pop();
            }
            Piece::Tag(tag) => open.push(name(tag)),
        }
        out.push_str(shown);
    }
    out.push(ELLIPSIS);
    for name in open.iter().rev() {
        out.push_str(&format!("</{name}>"));
    }
    out
}

/// The name of a tag that opens.
fn name(tag: &str) -> &str {
    let inner = tag.trim_matches(['<', '>']);
    inner.split(|c: char| c.is_whitespace()).next().unwrap_or(inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::Fuzz;

    #[test]
    fn tags_are_not_counted_and_entities_are_one_character() {
        assert_eq!(length(r#"<b>ü</b> &lt;&#39; <a href="x">y</a>"#), 6);
        assert_eq!(length("a & b; 1 < 2"), 12);
    }

    #[test]
    fn a_cut_closes_what_is_open_and_breaks_nothing() {
        let text = r#"<b>bold <a href="http://x/">link</a> more</b> end"#;
        assert_eq!(cut(text.into(), 18), text);
        assert_eq!(cut(text.into(), 17), r#"<b>bold <a href="http://x/">link</a> more</b> e…"#);
        assert_eq!(cut(text.into(), 7), r#"<b>bold <a href="http://x/">l…</a></b>"#);
        assert_eq!(cut("a&lt;b&gt;c".into(), 4), "a&lt;b…");
    }

    #[test]
    fn what_is_cut_is_within_the_limits_whatever_it_is() {
        Fuzz::of(&[r#"<b>bold <a href="http://x/">link</a> &lt; more</b> end"#, "<<>>&;&&"]).texts(|text| {
            let short = cut(text.to_string(), 5);
            assert!(length(&short) <= 5 || short.contains('<'), "{text:?} {short:?}");
        });
        let long = cut(format!("<b>{}</b>", "&lt;".repeat(40_000)), 100_000);
        assert!(long.len() <= 1 << 15 && long.ends_with("&lt;…</b>"));
    }
}
