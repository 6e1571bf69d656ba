//! Numbers as people read them, by what the expression says of their unit.

use crate::template::prometheus::{four, humanize, humanize_1024, humanize_duration};

/// The value, or the threshold, of an expression: a share as a percentage, bytes with their prefix, seconds as a duration.
/// Metrics say their unit with their names. Empty for what is no number.
pub(super) fn readable(value: f64, threshold: Option<f64>, expr: &str) -> String {
    if value.is_nan() {
        return String::new();
    }
    let has = |part: &str| expr.contains(part);
    let per_second = ["rate(", "irate(", "deriv("].iter().any(|function| has(function));
    // A quotient that is held against a number up to 1, or that is called so.
    let quotient = has("/") && threshold.is_some_and(|t| t > 0.0 && t <= 1.0);
    if !has("/") && has("_percent") {
        return format!("{}%", four(value));
    }
    if value.is_finite() && (quotient || (!has("/") && has("_ratio"))) {
        return format!("{}%", four(value * 100.0));
    }
    match () {
        () if has("/") => number(value),
        () if has("_bytes") => {
            format!("{}B{}", humanize_1024(value).replace("ki", "Ki"), if per_second { "/s" } else { "" })
        }
        () if has("_seconds") && !per_second => humanize_duration(value),
        () if has("_celsius") => format!("{}°C", four(value)),
        () => number(value),
    }
}

/// Four digits, with a prefix only where there would be many before the point.
fn number(value: f64) -> String {
    if value.abs() >= 1e6 { humanize(value) } else { four(value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_said_in_the_unit_that_the_expression_speaks_of() {
        for (value, threshold, expr, expected) in [
            (0.973, Some(0.9), "1 - node_filesystem_avail_bytes / node_filesystem_size_bytes > 0.9", "97.3%"),
            (0.9, Some(0.9), "watchfire_cpu_usage_ratio > 0.9", "90%"),
            (1_610_612_736.0, None, "node_memory_MemAvailable_bytes < 2e9", "1.5GiB"),
            (2048.0, None, "rate(node_network_receive_bytes_total[1m]) > 1e3", "2KiB/s"),
            (93_784.0, None, "time() - node_boot_time_seconds < 1e6", "1d 2h 3m 4s"),
            (7.25, Some(4.0), "node_load1 / on() cores > 4", "7.25"),
            (12.0, Some(10.0), "node_procs_blocked > 10", "12"),
            (71.5, Some(70.0), "node_hwmon_temp_celsius > 70", "71.5°C"),
            (12_345_678.0, None, "up", "12.35M"),
            (f64::INFINITY, Some(0.5), "a / b > 0.5", "+Inf"),
            (f64::NAN, None, "up", ""),
        ] {
            assert_eq!(readable(value, threshold, expr), expected, "{expr}");
        }
    }
}
