//! Printing numbers.

/// The largest whole number that is printed digit by digit: all its digits are exact, and it is not longer than with an
/// exponent by more than a few characters.
const WHOLE_LIMIT: u64 = 10_000_000_000_000_000;

/// Decimals of at most 15 significant digits are the shortest text of the number they are nearest to.
const DECIMAL_LIMIT: f64 = 1e15;

/// Appends a sample's value: the shortest text that reads back as the same number; `NaN`, `+Inf`, `-Inf`.
///
/// Whole numbers have no point and, up to 10^16, no exponent (`16437215232`, where Go's client prints
/// `1.6437215232e+10`): every parser of the formats takes both, and this one is cheaper to print and easier to read.
/// Negative zero is `0`, as in Go's client.
pub fn write_value(out: &mut Vec<u8>, value: f64) {
    let whole = value as i64;
    if whole as f64 == value && whole.unsigned_abs() < WHOLE_LIMIT {
        out.extend_from_slice(itoa::Buffer::new().format(whole).as_bytes());
        return;
    }
    // Hundredths and thousandths are what the kernel counts in: seconds from ticks and milliseconds, load averages.
    // Division rounds correctly, so where it gives the number back, these digits are its shortest text.
    let thousandths = (value * 1000.0).round();
    if thousandths.abs() < DECIMAL_LIMIT && thousandths / 1000.0 == value {
        write_thousandths(out, thousandths as i64);
        return;
    }
    write_special_or_shortest(out, value);
}

fn write_thousandths(out: &mut Vec<u8>, thousandths: i64) {
    if thousandths < 0 {
        out.push(b'-');
    }
    let (whole, rest) = (thousandths.unsigned_abs() / 1000, thousandths.unsigned_abs() % 1000);
    out.extend_from_slice(itoa::Buffer::new().format(whole).as_bytes());
    let digit = |n: u64| b'0' + (n % 10) as u8;
    let digits = [b'.', digit(rest / 100), digit(rest / 10), digit(rest)];
    let length = match rest {
        _ if rest.is_multiple_of(100) => 2,
        _ if rest.is_multiple_of(10) => 3,
        _ => 4,
    };
    out.extend_from_slice(&digits[..length]);
}

#[cold]
fn write_special_or_shortest(out: &mut Vec<u8>, value: f64) {
    if value.is_nan() {
        out.extend_from_slice(b"NaN");
    } else if value.is_infinite() {
        out.extend_from_slice(if value > 0.0 { b"+Inf" } else { b"-Inf" });
    } else {
        out.extend_from_slice(ryu::Buffer::new().format_finite(value).as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn print(value: f64) -> String {
        let mut out = Vec::new();
        write_value(&mut out, value);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_print_as_people_and_parsers_expect() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "0"),
            (1.0, "1"),
            (-1.0, "-1"),
            (16_437_215_232.0, "16437215232"),
            (9_007_199_254_740_993.0, "9007199254740992"),
            (1e16, "1e16"),
            (-1.5e300, "-1.5e300"),
            (0.01, "0.01"),
            (-0.25, "-0.25"),
            (1.23, "1.23"),
            (0.001, "0.001"),
            (123_456.789, "123456.789"),
            (0.1 + 0.2, "0.30000000000000004"),
            (1e-7, "1e-7"),
            (f64::MIN_POSITIVE, "2.2250738585072014e-308"),
            (5e-324, "5e-324"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
        ] {
            assert_eq!(print(value), text);
        }
    }

    proptest! {
        #[test]
        fn every_number_reads_back_as_itself(bits: u64) {
            let value = f64::from_bits(bits);
            let back: f64 = print(value).parse().unwrap();
            prop_assert!(back == value || (back.is_nan() && value.is_nan()));
        }

        #[test]
        fn decimals_print_as_they_were_written(whole in -1_000_000_000i64..1_000_000_000, digits in 0usize..6, part: u32) {
            let text = format!("{whole}.{:0digits$}1", u64::from(part) % 10u64.pow(digits as u32));
            let value: f64 = text.parse().unwrap();
            prop_assert_eq!(print(value), format!("{value}"));
        }
    }
}
