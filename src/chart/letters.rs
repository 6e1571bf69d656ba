//! The letters of charts: an embedded font, so that a picture is the same on every host, and on one without any fonts.

use ab_glyph::{Font, FontRef, Glyph, PxScale, PxScaleFont, ScaleFont, point};

/// See `font/README.md`.
const REGULAR: &[u8] = include_bytes!("font/Roboto-Regular.ttf");
const MEDIUM: &[u8] = include_bytes!("font/Roboto-Medium.ttf");

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Weight {
    Regular,
    Medium,
}

pub struct Letters {
    regular: FontRef<'static>,
    medium: FontRef<'static>,
}

impl Letters {
    pub fn new() -> Option<Letters> {
        Some(Letters { regular: FontRef::try_from_slice(REGULAR).ok()?, medium: FontRef::try_from_slice(MEDIUM).ok()? })
    }

    fn scaled(&self, weight: Weight, size: f32) -> PxScaleFont<&FontRef<'static>> {
        let font = match weight {
            Weight::Regular => &self.regular,
            Weight::Medium => &self.medium,
        };
        font.as_scaled(PxScale::from(size))
    }

    /// Width and height in pixels.
    pub fn size(&self, text: &str, weight: Weight, size: f32) -> (f32, f32) {
        let font = self.scaled(weight, size);
        (text.chars().map(|c| font.h_advance(font.glyph_id(shown(c)))).sum(), font.height())
    }

    /// The text, and where it is longer than that, as much of it as there is room for and an ellipsis.
    pub fn fit(&self, text: &str, weight: Weight, size: f32, width: f32) -> String {
        if self.size(text, weight, size).0 <= width {
            return text.to_string();
        }
        let font = self.scaled(weight, size);
        let mut left = width - font.h_advance(font.glyph_id('…'));
        let fits = |c: &char| {
            left -= font.h_advance(font.glyph_id(shown(*c)));
            left >= 0.0
        };
        let mut fitted: String = text.chars().take_while(fits).collect();
        fitted.truncate(fitted.trim_end().len());
        fitted.push('…');
        fitted
    }

    /// Gives each pixel that the text covers, from this corner on, with how much of it is covered.
    pub fn draw(
        &self,
        text: &str,
        weight: Weight,
        size: f32,
        (left, top): (f32, f32),
        mut dot: impl FnMut(i32, i32, f32),
    ) {
        let font = self.scaled(weight, size);
        let mut x = left;
        for c in text.chars() {
            let id = font.glyph_id(shown(c));
            let glyph = Glyph { id, scale: font.scale(), position: point(x, top + font.ascent()) };
            x += font.h_advance(id);
            let Some(outline) = font.outline_glyph(glyph) else { continue };
            let bounds = outline.px_bounds();
            outline.draw(|dx, dy, cover| dot(bounds.min.x as i32 + dx as i32, bounds.min.y as i32 + dy as i32, cover));
        }
    }
}

/// What cannot be seen takes the room of a space; what the font does not have is a box.
fn shown(c: char) -> char {
    if c.is_control() || c.is_whitespace() { ' ' } else { c }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_is_too_long_ends_with_an_ellipsis() {
        let letters = Letters::new().unwrap();
        let long = "rate(node_cpu_seconds_total[5m])".repeat(20);
        let fitted = letters.fit(&long, Weight::Regular, 24.0, 300.0);
        assert!(fitted.ends_with('…') && long.starts_with(fitted.trim_end_matches('…')));
        let (width, _) = letters.size(&fitted, Weight::Regular, 24.0);
        assert!((270.0..=300.0).contains(&width), "{width}");
        assert_eq!(letters.fit("up", Weight::Regular, 24.0, 300.0), "up");
        assert_eq!(letters.fit("up", Weight::Regular, 24.0, 0.0), "…");
    }

    #[test]
    fn letters_of_many_scripts_have_a_size_and_what_is_unknown_is_a_box() {
        let letters = Letters::new().unwrap();
        let covered = |text: &str| {
            let mut sum = 0.0;
            letters.draw(text, Weight::Medium, 30.0, (0.0, 0.0), |_, _, cover| sum += cover);
            sum
        };
        for text in ["A", "ß", "Ω", "ж", "≥", "火"] {
            assert!(covered(text) > 10.0, "{text}");
        }
        assert_eq!(covered(" \t\n\u{0}"), 0.0);
    }
}
