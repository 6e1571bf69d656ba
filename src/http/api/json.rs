//! JSON as Prometheus prints it, into a buffer: no trees of values, as answers may be large.

use crate::model::{Labels, Timestamp};

/// A string with its quotes.
pub(super) fn string(out: &mut Vec<u8>, text: &str) {
    // Writing to memory does not fail.
    let _ = serde_json::to_writer(out, text);
}

/// `{"name":"value",...}`
pub(super) fn labels(out: &mut Vec<u8>, labels: &Labels) {
    pairs(out, labels.iter());
}

/// An object of strings.
pub(super) fn pairs<'a>(out: &mut Vec<u8>, pairs: impl Iterator<Item = (&'a str, &'a str)>) {
    out.push(b'{');
    for (i, (name, value)) in pairs.enumerate() {
        if i > 0 {
            out.push(b',');
        }
        string(out, name);
        out.push(b':');
        string(out, value);
    }
    out.push(b'}');
}

/// `[...]` of whatever `item` writes.
pub(super) fn array<T>(out: &mut Vec<u8>, items: impl IntoIterator<Item = T>, mut item: impl FnMut(&mut Vec<u8>, T)) {
    out.push(b'[');
    for (i, each) in items.into_iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        item(out, each);
    }
    out.push(b']');
}

/// Seconds since the epoch, with milliseconds where there are any.
pub(super) fn timestamp(out: &mut Vec<u8>, millis: i64) {
    if millis < 0 {
        out.push(b'-');
    }
    let millis = millis.unsigned_abs();
    out.extend_from_slice(itoa::Buffer::new().format(millis / 1000).as_bytes());
    let rest = millis % 1000;
    if rest != 0 {
        let digit = |n: u64| b'0' + (n % 10) as u8;
        out.extend_from_slice(&[b'.', digit(rest / 100), digit(rest / 10), digit(rest)]);
    }
}

/// A sample's value: a string, as JSON has neither NaN nor infinities.
pub(super) fn value(out: &mut Vec<u8>, value: f64) {
    out.push(b'"');
    number(out, value);
    out.push(b'"');
}

/// The shortest text that reads back as the same number, with an exponent below 10^-6 and from 10^21 on.
pub(in crate::http) fn number(out: &mut Vec<u8>, value: f64) {
    /// Whole numbers below are exact.
    const WHOLE: f64 = 9_007_199_254_740_992.0;
    let size = value.abs();
    if !value.is_finite() {
        out.extend_from_slice(not_finite(value).as_bytes());
    } else if size != 0.0 && !(1e-6..1e21).contains(&size) {
        out.extend_from_slice(exponential(value).as_bytes());
    } else if value.fract() == 0.0 && size < WHOLE && !(value == 0.0 && value.is_sign_negative()) {
        out.extend_from_slice(itoa::Buffer::new().format(value as i64).as_bytes());
    } else {
        out.extend_from_slice(value.to_string().as_bytes());
    }
}

/// Always with an exponent, as the values of alerts are printed: `1e+00`.
pub(super) fn exponential(value: f64) -> String {
    if !value.is_finite() {
        return not_finite(value).to_string();
    }
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |exponent| ('-', exponent));
    format!("{digits}e{sign}{exponent:0>2}")
}

fn not_finite(value: f64) -> &'static str {
    match value {
        v if v.is_nan() => "NaN",
        v if v > 0.0 => "+Inf",
        _ => "-Inf",
    }
}

/// A point in time as Go writes it; `None` is its zero.
pub(super) fn time(at: Option<Timestamp>) -> String {
    at.map_or("0001-01-01T00:00:00Z".to_string(), |at| at.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn printed(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn values_are_printed_as_prometheus_prints_them() {
        for (number, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.5, "1.5"),
            (-3.0, "-3"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (-2.5e300, "-2.5e+300"),
            (0.000001, "0.000001"),
            (0.0000001, "1e-07"),
            (1.0 / 3.0, "0.3333333333333333"),
            (9007199254740993.0, "9007199254740992"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
        ] {
            assert_eq!(printed(|out| value(out, number)), format!("\"{text}\""));
        }
        for (number, text) in
            [(1.0, "1e+00"), (0.0, "0e+00"), (123.456, "1.23456e+02"), (0.05, "5e-02"), (1e100, "1e+100")]
        {
            assert_eq!(exponential(number), text);
        }
    }

    #[test]
    fn times_are_seconds_with_milliseconds_where_there_are_any() {
        for (millis, text) in [(1_435_781_451_781, "1435781451.781"), (1000, "1"), (-1005, "-1.005"), (70, "0.070")] {
            assert_eq!(printed(|out| timestamp(out, millis)), text);
        }
        assert_eq!(time(Some(Timestamp::from_millis(1500))), "1970-01-01T00:00:01.5Z");
    }

    #[test]
    fn strings_and_labels_are_escaped() {
        let set = Labels::from_pairs([("b", "a\"b\\c\n\u{1}é"), ("a", "1")]);
        assert_eq!(printed(|out| labels(out, &set)), r#"{"a":"1","b":"a\"b\\c\n\u0001é"}"#);
        assert_eq!(printed(|out| array(out, [1, 2], |out, n| timestamp(out, n * 1000))), "[1,2]");
    }

    proptest! {
        #[test]
        fn every_number_reads_back_as_the_same(bits: u64) {
            let number = f64::from_bits(bits);
            let text = printed(|out| super::number(out, number));
            prop_assert!(number.is_nan() || text.parse::<f64>().unwrap().to_bits() == bits, "{} {}", number, text);
        }
    }
}
