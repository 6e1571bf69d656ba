//! What charts are drawn on: pixels in memory, lines and letters with soft edges.
//!
//! plotters' own bitmap draws lines of more than a pixel as polygons with sharp corners, which makes thorns of the peaks
//! of a noisy series. Here a line covers what is nearer to it than half its width.

use std::convert::Infallible;
use std::ops::Range;

use plotters_backend::text_anchor::{HPos, VPos};
use plotters_backend::{
    BackendColor, BackendCoord, BackendStyle, BackendTextStyle, DrawingBackend, DrawingErrorKind, FontStyle,
};

use super::letters::{Letters, Weight};

/// An error that does not happen.
type Never = DrawingErrorKind<Infallible>;

/// Steps between nothing and the whole of a colour: few, so that a picture has few colours and becomes a small file.
const SHADES: f32 = 15.0;

/// A picture under way. (0, 0) is at the top left; what is drawn outside is not seen.
pub struct Canvas {
    width: u32,
    height: u32,
    /// Row by row.
    pixels: Vec<[u8; 3]>,
    /// How much of each pixel the line that is being drawn covers; all 0 in between.
    cover: Vec<u8>,
    /// Where it covers anything.
    covered: Range<usize>,
    letters: Letters,
}

/// What plotters draws with.
pub struct Pen<'c>(pub &'c mut Canvas);

impl Canvas {
    /// A white one. `None` if there is no font, which a test rules out.
    pub fn new(width: u32, height: u32) -> Option<Canvas> {
        let size = usize::try_from(u64::from(width) * u64::from(height)).ok()?;
        let (pixels, cover) = (vec![[255; 3]; size], vec![0; size]);
        Some(Canvas { width, height, pixels, cover, covered: size..0, letters: Letters::new()? })
    }

    pub fn letters(&self) -> &Letters {
        &self.letters
    }

    /// The picture, row by row.
    pub fn into_pixels(self) -> Vec<[u8; 3]> {
        self.pixels
    }

    fn index(&self, x: i32, y: i32) -> Option<usize> {
        let (x, y) = (u32::try_from(x).ok()?, u32::try_from(y).ok()?);
        (x < self.width && y < self.height).then(|| y as usize * self.width as usize + x as usize)
    }

    /// Lays a colour over a pixel, of which it covers a part from 0 to 1.
    fn blend(&mut self, at: Option<usize>, color: BackendColor, cover: f32) {
        let Some(pixel) = at.and_then(|at| self.pixels.get_mut(at)) else { return };
        let alpha = (cover.clamp(0.0, 1.0) * SHADES).round() / SHADES * color.alpha as f32;
        let (r, g, b) = color.rgb;
        for (below, above) in pixel.iter_mut().zip([r, g, b]) {
            *below = (f32::from(*below) * (1.0 - alpha) + f32::from(above) * alpha).round() as u8;
        }
    }

    /// Notes what the piece of a line covers.
    fn cover_segment(&mut self, (x0, y0): (f32, f32), (x1, y1): (f32, f32), half: f32) {
        let reach = half + 1.0;
        let range = |a: f32, b: f32, most: u32| {
            let low = (a.min(b) - reach).floor().max(0.0) as i32;
            let high = (a.max(b) + reach).ceil().min(most as f32 - 1.0) as i32;
            low..=high
        };
        let (dx, dy) = (x1 - x0, y1 - y0);
        let length = dx * dx + dy * dy;
        for y in range(y0, y1, self.height) {
            for x in range(x0, x1, self.width) {
                let (px, py) = (x as f32 - x0, y as f32 - y0);
                let along = if length > 0.0 { ((px * dx + py * dy) / length).clamp(0.0, 1.0) } else { 0.0 };
                let (ex, ey) = (px - along * dx, py - along * dy);
                let covered = (half + 0.5 - (ex * ex + ey * ey).sqrt()).clamp(0.0, 1.0);
                if covered > 0.0
                    && let Some(at) = self.index(x, y)
                    && let Some(cover) = self.cover.get_mut(at)
                {
                    *cover = (*cover).max((covered * 255.0) as u8);
                    self.covered = self.covered.start.min(at)..self.covered.end.max(at + 1);
                }
            }
        }
    }

    /// Draws what has been noted.
    fn ink(&mut self, color: BackendColor) {
        let covered = std::mem::replace(&mut self.covered, self.cover.len()..0);
        for at in covered {
            let covered = self.cover.get_mut(at).map(std::mem::take).unwrap_or(0);
            if covered > 0 {
                self.blend(Some(at), color, f32::from(covered) / 255.0);
            }
        }
    }
}

/// Coordinates as numbers that can be reckoned with, whatever they are.
fn point((x, y): BackendCoord) -> (f32, f32) {
    (x as f32, y as f32)
}

fn half(width: u32) -> f32 {
    width.clamp(1, 100) as f32 / 2.0
}

impl DrawingBackend for Pen<'_> {
    type ErrorType = Infallible;

    fn get_size(&self) -> (u32, u32) {
        (self.0.width, self.0.height)
    }

    fn ensure_prepared(&mut self) -> Result<(), Never> {
        Ok(())
    }

    fn present(&mut self) -> Result<(), Never> {
        Ok(())
    }

    fn draw_pixel(&mut self, (x, y): BackendCoord, color: BackendColor) -> Result<(), Never> {
        self.0.blend(self.0.index(x, y), color, 1.0);
        Ok(())
    }

    fn draw_line<S: BackendStyle>(&mut self, from: BackendCoord, to: BackendCoord, style: &S) -> Result<(), Never> {
        self.draw_path([from, to], style)
    }

    fn draw_path<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(
        &mut self,
        path: I,
        style: &S,
    ) -> Result<(), Never> {
        if style.color().alpha == 0.0 {
            return Ok(());
        }
        let half = half(style.stroke_width());
        let mut last = None;
        for at in path {
            let at = point(at);
            if let Some(last) = last {
                self.0.cover_segment(last, at, half);
            }
            last = Some(at);
        }
        self.0.ink(style.color());
        Ok(())
    }

    fn draw_rect<S: BackendStyle>(
        &mut self,
        (left, top): BackendCoord,
        (right, bottom): BackendCoord,
        style: &S,
        fill: bool,
    ) -> Result<(), Never> {
        if !fill {
            return self.draw_path([(left, top), (right, top), (right, bottom), (left, bottom), (left, top)], style);
        }
        let inside = |a: i32, b: i32, most: u32| a.min(b).max(0)..a.max(b).min(i32::try_from(most).unwrap_or(i32::MAX));
        for y in inside(top, bottom, self.0.height) {
            for x in inside(left, right, self.0.width) {
                self.0.blend(self.0.index(x, y), style.color(), 1.0);
            }
        }
        Ok(())
    }

    fn draw_circle<S: BackendStyle>(
        &mut self,
        center: BackendCoord,
        radius: u32,
        style: &S,
        _fill: bool,
    ) -> Result<(), Never> {
        self.0.cover_segment(point(center), point(center), half(radius.saturating_mul(2)));
        self.0.ink(style.color());
        Ok(())
    }

    fn draw_text<S: BackendTextStyle>(&mut self, text: &str, style: &S, (x, y): BackendCoord) -> Result<(), Never> {
        let (weight, size) = font(style);
        let (width, height) = self.0.letters.size(text, weight, size);
        let anchor = style.anchor();
        let left = match anchor.h_pos {
            HPos::Left => x as f32,
            HPos::Center => x as f32 - width / 2.0,
            HPos::Right => x as f32 - width,
        };
        let top = match anchor.v_pos {
            VPos::Top => y as f32,
            VPos::Center => y as f32 - height / 2.0,
            VPos::Bottom => y as f32 - height,
        };
        let mut dots = Vec::new();
        self.0.letters.draw(text, weight, size, (left, top), |x, y, cover| dots.push((x, y, cover)));
        for (x, y, cover) in dots {
            self.0.blend(self.0.index(x, y), style.color(), cover);
        }
        Ok(())
    }

    fn estimate_text_size<S: BackendTextStyle>(&self, text: &str, style: &S) -> Result<(u32, u32), Never> {
        let (weight, size) = font(style);
        let (width, height) = self.0.letters.size(text, weight, size);
        Ok((width.ceil() as u32, height.ceil() as u32))
    }
}

fn font<S: BackendTextStyle>(style: &S) -> (Weight, f32) {
    let weight = if matches!(style.style(), FontStyle::Bold) { Weight::Medium } else { Weight::Regular };
    (weight, style.size() as f32)
}
