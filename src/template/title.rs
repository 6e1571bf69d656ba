//! `title` of message templates: each word with a capital, the rest of it small.
//!
//! Go's `cases.Title` cuts words as Unicode does (annex 29): a digit, an underscore, and a single mark between two letters
//! (`don't`, `example.com`, `a:b`) do not end a word.

/// The text with each word begun with a capital.
pub(super) fn title(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let chars: Vec<char> = text.chars().collect();
    // Whether the word has had its first letter.
    let mut begun = false;
    let mut previous = ' ';
    for (i, c) in chars.iter().copied().enumerate() {
        let next = chars.get(i + 1).copied().unwrap_or(' ');
        let joins = match c {
            '\'' | '.' | '\u{2018}' | '\u{2019}' | '\u{2024}' => {
                (previous.is_alphabetic() && next.is_alphabetic()) || (previous.is_numeric() && next.is_numeric())
            }
            ':' | '\u{b7}' => previous.is_alphabetic() && next.is_alphabetic(),
            ',' | ';' => previous.is_numeric() && next.is_numeric(),
            _ => c.is_alphanumeric() || c == '_' || mark(c),
        };
        if !joins {
            begun = false;
            out.push(c);
        } else if c.is_alphabetic() {
            if begun {
                out.extend(c.to_lowercase())
            } else {
                out.extend(capital(c))
            }
            begun = true;
        } else {
            out.push(c);
        }
        if !mark(c) {
            previous = c;
        }
    }
    out
}

/// Marks that stand on the letter before.
fn mark(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}' | '\u{200d}' | '\u{fe0f}')
}

/// A capital of the letter; of one that becomes several (`ß`), only the first of them is one.
fn capital(c: char) -> impl Iterator<Item = char> {
    // Letters that are two in one have a form of their own for this.
    let c = match c {
        '\u{1c4}'..='\u{1c6}' => '\u{1c5}',
        '\u{1c7}'..='\u{1c9}' => '\u{1c8}',
        '\u{1ca}'..='\u{1cc}' => '\u{1cb}',
        '\u{1f1}'..='\u{1f3}' => '\u{1f2}',
        c => c,
    };
    let title = matches!(c, '\u{1c5}' | '\u{1c8}' | '\u{1cb}' | '\u{1f2}').then_some(c);
    let upper = c.to_uppercase().filter(move |_| title.is_none());
    title.into_iter().chain(upper).enumerate().flat_map(|(i, c)| match i {
        0 => vec![c],
        _ => c.to_lowercase().collect(),
    })
}
