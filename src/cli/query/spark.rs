//! A series as a line of small bars.

use crate::cli::client::Point;

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The points between two times, in so many columns: each as high as the largest of its values stands between the
/// smallest and the largest of all; a space where there are none.
pub fn sparkline(points: &[Point], start: f64, end: f64, columns: usize) -> String {
    let mut cells: Vec<Option<f64>> = vec![None; columns];
    for point in points {
        let Some(value) = point.value.parse::<f64>().ok().filter(|v| v.is_finite()) else { continue };
        let part = if end > start { (point.time - start) / (end - start) } else { 1.0 };
        let last = columns.saturating_sub(1);
        let column = ((part.clamp(0.0, 1.0) * columns as f64) as usize).min(last);
        if let Some(cell) = cells.get_mut(column) {
            *cell = Some(cell.map_or(value, |v| v.max(value)));
        }
    }
    let known = || cells.iter().flatten().copied();
    let (low, high) = (known().fold(f64::INFINITY, f64::min), known().fold(f64::NEG_INFINITY, f64::max));
    let bar = |value: f64| {
        // Halves, as the difference of two large numbers may be infinite.
        let height = (value / 2.0 - low / 2.0) / (high / 2.0 - low / 2.0);
        let step = if height.is_finite() { (height * 7.0).round() as usize } else { 0 };
        BARS.get(step).copied().unwrap_or('█')
    };
    cells.iter().map(|cell| cell.map_or(' ', bar)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(values: &[(f64, &str)], columns: usize) -> String {
        let points: Vec<Point> =
            values.iter().map(|(time, value)| Point { time: *time, value: value.to_string() }).collect();
        sparkline(&points, 0.0, 10.0, columns)
    }

    #[test]
    fn values_stand_between_the_smallest_and_the_largest() {
        let rising: Vec<(f64, String)> = (0..8).map(|n| (f64::from(n) * 1.25, n.to_string())).collect();
        let rising: Vec<(f64, &str)> = rising.iter().map(|(t, v)| (*t, v.as_str())).collect();
        assert_eq!(line(&rising, 8), "▁▂▃▄▅▆▇█");
        assert_eq!(line(&[(0.0, "5"), (10.0, "5")], 4), "▁  ▁", "one that does not change lies low, with its gap");
        assert_eq!(line(&[(0.0, "1"), (0.5, "9"), (9.0, "NaN"), (5.0, "1")], 2), "█▁");
        assert_eq!(line(&[], 3), "   ");
        assert_eq!(line(&[(0.0, "-1e308"), (10.0, "1e308")], 2), "▁█");
        assert_eq!(line(&[(0.0, "1")], 0), "");
    }
}
