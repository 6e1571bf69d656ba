//! The picture: what stands where, and in which colours.
//!
//! ```text
//!     alertname                                 the last value
//!     expression                                          host
//!     100% |            ......----.
//!     -50%-|- - - -..../- - - - - -\- -  threshold
//!       0% |______/                 \___
//!          10:00    10:10    10:20    10:30
//!     series                                       26 Nov, UTC
//! ```
//!
//! White with a thin frame, so that it stands on a light page as on a dark one. The colours are those of Okabe and Ito,
//! which people who see few colours tell apart.

use std::convert::Infallible;
use std::ops::Range;

use jiff::tz::TimeZone;
use plotters::coord::Shift;
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, ValueFormatter};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::axes::{Axis, clock, date, time_marks};
use super::canvas::{Canvas, Pen};
use super::letters::Weight;
use super::read::{Figure, Line, MOST_OWN, Subject};

/// Points of a screen, each of [`SCALE`] times as many pixels in both directions.
const WIDTH: i32 = 800;
const HEIGHT: i32 = 360;
const SCALE: i32 = 2;

/// Where the plot begins and ends, in points.
const TOP: i32 = 64;
const BOTTOM: i32 = 52;
const LEFT: i32 = 16;
/// Of [`BOTTOM`], what the labels of times take.
const X_LABELS: i32 = 24;

/// Sizes of letters.
const TITLE: i32 = 20;
const SMALL: i32 = 14;
const RIGHT: i32 = 20;

/// Places along the threshold that its label may take.
const LABEL_SPOTS: i32 = 8;

const INK: RGBColor = RGBColor(0x1f, 0x23, 0x28);
const FAINT_INK: RGBColor = RGBColor(0x65, 0x6d, 0x76);
const GRID: RGBColor = RGBColor(0xe4, 0xe7, 0xeb);
const FRAME: RGBColor = RGBColor(0xd0, 0xd7, 0xde);
const OTHERS: RGBColor = RGBColor(0xc4, 0xca, 0xd1);
const ALARM: RGBColor = RGBColor(0xc9, 0x2a, 0x2a);
const LINES: [RGBColor; MOST_OWN] = [
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0xe6, 0x9f, 0x00),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0x56, 0xb4, 0xe9),
    RGBColor(0x4d, 0x4d, 0x4d),
];

type Drawn = Result<(), DrawingAreaErrorKind<Infallible>>;
type Area<'c> = DrawingArea<Pen<'c>, Shift>;
type Plot<'a, 'c> = ChartContext<'a, Pen<'c>, Cartesian2d<Marked, Marked>>;

/// The picture, as a PNG file. The same figure gives the same bytes.
pub fn draw(subject: &Subject, figure: &Figure, zone: &TimeZone) -> Option<Vec<u8>> {
    let (width, height) = (u32::try_from(WIDTH * SCALE).ok()?, u32::try_from(HEIGHT * SCALE).ok()?);
    let mut canvas = Canvas::new(width, height)?;
    let header = Header::of(subject, figure, &canvas);
    let legend = legend(figure, &canvas);
    let picture = Picture { subject, figure, zone, axis: Axis::of(figure), header, legend };
    picture.onto(Pen(&mut canvas).into_drawing_area()).ok()?;
    super::png::encode(width, &canvas.into_pixels())
}

/// A range with the places of its grid.
struct Marked {
    range: Range<f64>,
    marks: Vec<f64>,
}

impl Ranged for Marked {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (from, to): (i32, i32)) -> i32 {
        let part = (value - self.range.start) / (self.range.end - self.range.start);
        let part = if part.is_finite() { part.clamp(0.0, 1.0) } else { 0.0 };
        (f64::from(from) + f64::from(to - from) * part).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _hint: Hint) -> Vec<f64> {
        self.marks.clone()
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

impl ValueFormatter<f64> for Marked {}

fn text(size: i32, color: RGBColor, h_pos: HPos, v_pos: VPos) -> TextStyle<'static> {
    let style = TextStyle::from(("sans-serif", size * SCALE).into_font());
    TextStyle { color: color.to_backend_color(), ..style }.pos(Pos::new(h_pos, v_pos))
}

fn text_of(size: i32) -> TextStyle<'static> {
    text(size, FAINT_INK, HPos::Left, VPos::Top)
}

fn medium(style: TextStyle<'static>) -> TextStyle<'static> {
    TextStyle { font: style.font.style(FontStyle::Bold), ..style }
}

/// A line of so many half points.
fn stroke(color: RGBColor, width: u32) -> ShapeStyle {
    color.stroke_width(width)
}

/// The texts above the plot, cut to the room that they have.
struct Header {
    title: String,
    expr: String,
    /// The last value, where there is one series.
    value: String,
    host: String,
}

impl Header {
    fn of(subject: &Subject, figure: &Figure, canvas: &Canvas) -> Header {
        let fit = |text: &str, weight, size: i32, width: i32| {
            canvas.letters().fit(text, weight, (size * SCALE) as f32, (width * SCALE) as f32)
        };
        let value = match figure.own.as_slice() {
            [line] if figure.more == 0 => match line.last() {
                Some((time, value)) if time == figure.until.as_millis() => figure.unit.show(value),
                _ => "no value".to_string(),
            },
            _ => String::new(),
        };
        Header {
            title: fit(subject.labels.get("alertname"), Weight::Medium, TITLE, 600),
            expr: fit(&subject.expr.split_whitespace().collect::<Vec<_>>().join(" "), Weight::Regular, SMALL, 560),
            value,
            host: fit(subject.labels.get("instance"), Weight::Regular, SMALL, 190),
        }
    }
}

/// The entries of the legend: a colour, a text and its width in pixels. None where there is one series alone.
fn legend(figure: &Figure, canvas: &Canvas) -> Vec<(RGBColor, String, i32)> {
    let mut entries: Vec<(RGBColor, String)> = Vec::new();
    if figure.own.len() > 1 {
        entries.extend(LINES.into_iter().zip(figure.own.iter().map(|line| name(line, &figure.own))));
    }
    if figure.more > 0 {
        entries.push((FAINT_INK, format!("{} more are not shown", figure.more)));
    }
    if !figure.others.is_empty() {
        entries.push((OTHERS, "others".to_string()));
    }
    let size = (SMALL * SCALE) as f32;
    let cut = |(color, text): (RGBColor, String)| {
        let text = canvas.letters().fit(&text, Weight::Regular, size, (150 * SCALE) as f32);
        let width = canvas.letters().size(&text, Weight::Regular, size).0.ceil() as i32;
        (color, text, width)
    };
    entries.into_iter().map(cut).collect()
}

/// What tells a series from the others: the shortest label that alone does, else all that are not the same.
fn name(line: &Line, all: &[Line]) -> String {
    let values = |label: &str| all.iter().map(|line| line.labels.get(label).to_string()).collect::<Vec<_>>();
    let alone = |label: &str| {
        let mut values = values(label);
        values.sort_unstable();
        values.dedup();
        values.len() == all.len()
    };
    let length = |label: &str| values(label).iter().map(|value| value.chars().count()).max();
    let shortest = line.labels.iter().filter(|(label, _)| alone(label)).min_by_key(|(label, _)| length(label));
    if let Some((_, value)) = shortest {
        return value.to_string();
    }
    let differ = line.labels.iter().filter(|(label, value)| values(label).iter().any(|other| other != value));
    differ.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
}

struct Picture<'f> {
    subject: &'f Subject,
    figure: &'f Figure,
    zone: &'f TimeZone,
    axis: Axis,
    header: Header,
    legend: Vec<(RGBColor, String, i32)>,
}

impl Picture<'_> {
    fn onto(&self, area: Area<'_>) -> Drawn {
        let (width, height) = (WIDTH * SCALE, HEIGHT * SCALE);
        area.draw(&Rectangle::new([(0, 0), (width - 1, height - 1)], stroke(FRAME, 2)))?;
        self.head(&area)?;
        self.foot(&area)?;
        let labels = self.axis.ticks().into_iter().map(|v| self.show(v)).map(|text| {
            let (width, _) = area.estimate_text_size(&text, &text_of(SMALL)).unwrap_or_default();
            i32::try_from(width).unwrap_or(0)
        });
        let label_width = labels.max().unwrap_or(0) + 8 * SCALE;
        let times = Marked {
            range: self.figure.from.as_millis() as f64..self.figure.until.as_millis() as f64,
            marks: time_marks(self.figure.from, self.figure.until, self.zone),
        };
        let values = Marked { range: self.axis.low..self.axis.high, marks: self.axis.ticks() };
        let mut plot: Plot<'_, '_> = ChartBuilder::on(&area)
            .margin_top(TOP * SCALE)
            .margin_bottom((BOTTOM - X_LABELS) * SCALE)
            .margin_left(LEFT * SCALE)
            .margin_right(RIGHT * SCALE)
            .x_label_area_size(X_LABELS * SCALE)
            .y_label_area_size(label_width)
            .build_cartesian_2d(times, values)?;
        self.grid(&mut plot)?;
        self.firing(&mut plot)?;
        self.lines(&mut plot)?;
        self.threshold(&mut plot)
    }

    fn show(&self, value: f64) -> String {
        self.figure.unit.show_by(value, self.axis.step)
    }

    fn head(&self, area: &Area<'_>) -> Drawn {
        let (left, right) = (LEFT * SCALE, (WIDTH - RIGHT) * SCALE);
        let fires = self.subject.starts_at.is_some() && self.subject.ends_at.is_none();
        let color = if fires { ALARM } else { INK };
        area.draw_text(&self.header.title, &medium(text(TITLE, INK, HPos::Left, VPos::Top)), (left, 12 * SCALE))?;
        area.draw_text(&self.header.value, &medium(text(TITLE, color, HPos::Right, VPos::Top)), (right, 12 * SCALE))?;
        area.draw_text(&self.header.expr, &text(SMALL, FAINT_INK, HPos::Left, VPos::Top), (left, 36 * SCALE))?;
        area.draw_text(&self.header.host, &text(SMALL, FAINT_INK, HPos::Right, VPos::Top), (right, 36 * SCALE))
    }

    /// The legend, as far as there is room for it, and the date.
    fn foot(&self, area: &Area<'_>) -> Drawn {
        let (mut x, y, right) = (LEFT * SCALE, (HEIGHT - 16) * SCALE, (WIDTH - RIGHT) * SCALE);
        let date = date(self.figure.until, self.zone);
        let style = text(SMALL, FAINT_INK, HPos::Right, VPos::Center);
        area.draw_text(&date, &style, (right, y))?;
        let (width, _) = area.estimate_text_size(&date, &style)?;
        let end = right - i32::try_from(width).unwrap_or(0) - 16 * SCALE;
        for (color, entry, width) in &self.legend {
            let begin = x + 18 * SCALE;
            if begin + width > end {
                break;
            }
            area.draw(&PathElement::new(vec![(x + 2 * SCALE, y), (x + 12 * SCALE, y)], stroke(*color, 6)))?;
            area.draw_text(entry, &text(SMALL, INK, HPos::Left, VPos::Center), (begin, y))?;
            x = begin + width + 16 * SCALE;
        }
        Ok(())
    }

    fn grid(&self, plot: &mut Plot<'_, '_>) -> Drawn {
        let span = self.figure.until.millis_since(self.figure.from);
        plot.configure_mesh()
            .disable_x_mesh()
            .bold_line_style(stroke(GRID, 2))
            .light_line_style(TRANSPARENT)
            .axis_style(stroke(FRAME, 2))
            .set_all_tick_mark_size(3 * SCALE)
            .label_style(text_of(SMALL))
            .x_label_formatter(&|millis| clock(*millis, span, self.zone))
            .y_label_formatter(&|value| self.show(*value))
            .draw()
    }

    /// The time in which the alert fires.
    fn firing(&self, plot: &mut Plot<'_, '_>) -> Drawn {
        let Some(begins) = self.subject.starts_at else { return Ok(()) };
        let (from, until) = (self.figure.from, self.figure.until);
        let ends = self.subject.ends_at.unwrap_or(until).min(until);
        if begins >= ends || ends <= from {
            return Ok(());
        }
        let x = |time: crate::model::Timestamp| time.as_millis() as f64;
        let Axis { low, high, .. } = self.axis;
        let span = [(x(begins.max(from)), high), (x(ends), low)];
        plot.draw_series([Rectangle::new(span, ALARM.mix(0.09).filled())])?;
        let edges = [begins, ends].into_iter().filter(|edge| *edge > from && *edge < until);
        let edge = |time| PathElement::new(vec![(x(time), low), (x(time), high)], ALARM.mix(0.45).stroke_width(2));
        plot.draw_series(edges.map(edge))?;
        Ok(())
    }

    fn lines(&self, plot: &mut Plot<'_, '_>) -> Drawn {
        let behind = self.figure.others.iter().map(|line| (line, stroke(OTHERS, 2)));
        // The first on top.
        let own = self.figure.own.iter().zip(LINES).rev().map(|(line, color)| (line, stroke(color, 4)));
        for (line, style) in behind.chain(own) {
            for piece in &line.pieces {
                let mut points = piece.iter().map(|(time, value)| (*time as f64, *value));
                if let [(time, value)] = piece.as_slice() {
                    plot.draw_series([Circle::new((*time as f64, *value), 3, style.filled())])?;
                } else {
                    plot.draw_series(LineSeries::new(points.by_ref(), style))?;
                }
            }
        }
        for (line, color) in self.figure.own.iter().zip(LINES).rev() {
            let last = line.last().map(|(time, value)| Circle::new((time as f64, value), 7, color.filled()));
            plot.draw_series(last)?;
        }
        Ok(())
    }

    /// A dashed line with its value, which stands above it where there is room, as far left as it hides nothing.
    fn threshold(&self, plot: &mut Plot<'_, '_>) -> Drawn {
        let Some(threshold) = self.figure.threshold else { return Ok(()) };
        let (from, until) = (self.figure.from.as_millis() as f64, self.figure.until.as_millis() as f64);
        let ends = [(from, threshold), (until, threshold)];
        plot.draw_series(DashedLineSeries::new(ends, 7 * SCALE, 5 * SCALE, stroke(ALARM, 3)))?;
        let area = plot.plotting_area();
        let (_, y) = area.map_coordinate(&(until, threshold));
        let (columns, rows) = area.get_pixel_range();
        let above = y - rows.start > 22 * SCALE;
        let (v_pos, y) = if above { (VPos::Bottom, y - 3 * SCALE) } else { (VPos::Top, y + 4 * SCALE) };
        let style = medium(text(SMALL, ALARM, HPos::Left, v_pos));
        let label = self.figure.unit.show(threshold);
        let y = y - rows.start;
        let (width, height) = area.strip_coord_spec().estimate_text_size(&label, &style)?;
        let [width, height] = [width, height].map(|size| i32::try_from(size).unwrap_or(0));
        let (least, most) = (6 * SCALE, columns.end - columns.start - width - 6 * SCALE);
        let lines: Vec<Vec<(i32, i32)>> = self
            .figure
            .own
            .iter()
            .flat_map(|line| &line.pieces)
            .map(|piece| {
                let place = |(time, value): &(i64, f64)| {
                    let (x, y) = area.map_coordinate(&(*time as f64, *value));
                    (x - columns.start, y - rows.start)
                };
                piece.iter().map(place).collect()
            })
            .collect();
        let rows = (if above { y - height } else { y }) - 2 * SCALE..(if above { y } else { y + height }) + 2 * SCALE;
        let is_free = |x: &i32| lines.iter().all(|line| is_outside(line, &(*x - least..*x + width + least), &rows));
        let spots = (0..=LABEL_SPOTS).map(|spot| least + (most - least).max(0) / LABEL_SPOTS * spot);
        let x = spots.clone().find(is_free).unwrap_or(least);
        let area = area.strip_coord_spec();
        // So that it can be read where a series runs behind it all the same.
        let (top, room) = (if above { y - height } else { y }, 3 * SCALE);
        area.draw(&Rectangle::new([(x - room, top), (x + width + room, top + height)], WHITE.mix(0.8).filled()))?;
        area.draw_text(&label, &style, (x, y))
    }
}

/// Whether a line of pixels has nothing within these columns and rows.
fn is_outside(line: &[(i32, i32)], columns: &Range<i32>, rows: &Range<i32>) -> bool {
    let meets = |a: i32, b: i32, range: &Range<i32>| a.min(b) < range.end && a.max(b) >= range.start;
    line.windows(2).all(|ends| match ends {
        [(x0, y0), (x1, y1)] => !(meets(*x0, *x1, columns) && meets(*y0, *y1, rows)),
        _ => true,
    })
}
