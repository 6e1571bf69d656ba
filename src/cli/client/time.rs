//! Times and spans on the command line.

use std::time::Duration;

use crate::model::{Timestamp, format_duration, parse_duration};

/// A duration that is not zero.
pub fn span(text: &str) -> Result<Duration, String> {
    let span = parse_duration(text)?;
    if span.is_zero() { Err("must be longer than 0".to_string()) } else { Ok(span) }
}

/// RFC 3339, seconds since the epoch, or a duration before now.
pub fn time(text: &str) -> Result<Timestamp, String> {
    if let Some(ago) = text.strip_prefix('-').and_then(|ago| parse_duration(ago).ok()) {
        return Ok(Timestamp::now() - ago);
    }
    if let Some(seconds) = text.parse::<f64>().ok().filter(|s| s.is_finite()) {
        return Ok(Timestamp::from_secs_f64(seconds));
    }
    let parsed: Result<jiff::Timestamp, _> = text.parse();
    parsed.map(|at| Timestamp::from_millis(at.as_millisecond())).map_err(|_| {
        let ago = format_duration(Duration::from_secs(600));
        format!("not a time: write 2026-01-31T10:00:00Z, seconds since 1970, or how long ago: -{ago}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::Fuzz;

    #[test]
    fn no_time_makes_it_panic() {
        Fuzz::of(&["2026-01-31T10:00:00Z", "-10m", "1435781451.781"]).texts(|text| {
            let _ = (time(text), span(text));
        });
    }
}
