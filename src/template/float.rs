//! Prints floats with Go's verbs: `%e`, `%f`, `%g`, and `%x`.

/// Digits of a positive finite number: `0.d1d2d3... * 10^point`.
struct Decimal {
    digits: String,
    point: i32,
}

impl Decimal {
    /// From Rust's scientific notation, `d.ddde-7`.
    fn from_scientific(text: &str) -> Decimal {
        let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
        let digits = mantissa.chars().filter(char::is_ascii_digit).collect();
        Decimal { digits, point: exponent.parse::<i32>().unwrap_or(0) + 1 }
    }

    fn trimmed(mut self) -> Decimal {
        let kept = self.digits.trim_end_matches('0').len();
        self.digits.truncate(kept.max(1));
        self
    }
}

/// Behind so many digits, all are zero; of many more, the standard library's formatting panics.
const EXACT: usize = 1_100;

/// Prints a float with the verb `e`, `f` or `g` (or upper case); no precision means as many digits as it takes to read
/// the same number back. The sign is only there when it is negative.
pub(super) fn format_float(value: f64, verb: char, precision: Option<usize>) -> String {
    if value.is_nan() {
        return "NaN".into();
    }
    let sign = if value.is_sign_negative() { "-" } else { "" };
    let magnitude = value.abs();
    if magnitude.is_infinite() {
        return format!("{}Inf", if sign.is_empty() { "+" } else { sign });
    }
    let body = match (verb.to_ascii_lowercase(), precision) {
        ('f', Some(p)) => {
            let exact = p.min(EXACT);
            format!("{magnitude:.exact$}{}", "0".repeat(p - exact))
        }
        ('f', None) => format!("{magnitude}"),
        ('e', Some(p)) => {
            let exact = p.min(EXACT);
            let mut decimal = Decimal::from_scientific(&format!("{magnitude:.exact$e}"));
            decimal.digits.extend(std::iter::repeat_n('0', p - exact));
            scientific(&decimal)
        }
        ('e', None) => scientific(&Decimal::from_scientific(&format!("{magnitude:e}"))),
        ('x', p) => hexadecimal(magnitude, p),
        (_, precision) => general(magnitude, precision),
    };
    let body = if verb.is_ascii_uppercase() { body.to_uppercase() } else { body };
    format!("{sign}{body}")
}

fn scientific(d: &Decimal) -> String {
    let (first, rest) = d.digits.split_at(d.digits.len().min(1));
    let point = if rest.is_empty() { "" } else { "." };
    let exponent = d.point - 1;
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{first}{point}{rest}e{sign}{:02}", exponent.unsigned_abs())
}

/// `%g`: scientific where the exponent is below -4 or reaches the precision (6 for the shortest form, whatever its length), else plain.
fn general(magnitude: f64, precision: Option<usize>) -> String {
    if magnitude == 0.0 {
        return "0".into();
    }
    let (decimal, limit) = match precision {
        Some(p) => {
            let p = p.max(1);
            (
                Decimal::from_scientific(&format!("{magnitude:.*e}", (p - 1).min(EXACT))).trimmed(),
                i32::try_from(p).unwrap_or(i32::MAX),
            )
        }
        None => (Decimal::from_scientific(&format!("{magnitude:e}")), SHORTEST_LIMIT),
    };
    let exponent = decimal.point - 1;
    if exponent < -4 || exponent >= limit {
        return scientific(&decimal);
    }
    let digits = &decimal.digits;
    match usize::try_from(decimal.point) {
        Ok(point) if point >= digits.len() => format!("{digits}{}", "0".repeat(point - digits.len())),
        Ok(point) if point > 0 => {
            let (whole, fraction) = digits.split_at(point);
            format!("{whole}.{fraction}")
        }
        _ => format!("0.{}{digits}", "0".repeat(decimal.point.unsigned_abs() as usize)),
    }
}

/// The precision that decides between plain and scientific where the shortest digits are printed.
const SHORTEST_LIMIT: i32 = 6;

/// `%x`: `0x1.8p+01`.
fn hexadecimal(magnitude: f64, precision: Option<usize>) -> String {
    if magnitude == 0.0 {
        let zeros = precision.filter(|p| *p > 0).map(|p| format!(".{}", "0".repeat(p))).unwrap_or_default();
        return format!("0x0{zeros}p+00");
    }
    let bits = magnitude.to_bits();
    let mut exponent = ((bits >> 52) & 0x7ff) as i32 - 1023;
    // One bit before the point, 52 behind it.
    let mut mantissa = bits & ((1 << 52) - 1);
    if exponent == -1023 {
        let shift = mantissa.leading_zeros() - 11;
        mantissa <<= shift;
        exponent = -1022 - shift as i32;
    } else {
        mantissa |= 1 << 52;
    }
    if let Some(p) = precision.filter(|p| *p < 13) {
        let drop = 52 - 4 * p as u32;
        let rest = mantissa & ((1 << drop) - 1);
        let half = 1 << (drop - 1);
        mantissa >>= drop;
        if rest > half || (rest == half && mantissa & 1 == 1) {
            mantissa += 1;
        }
        mantissa <<= drop;
        if mantissa >> 53 == 1 {
            mantissa >>= 1;
            exponent += 1;
        }
    }
    let fraction = format!("{:013x}", mantissa & ((1 << 52) - 1));
    let fraction = match precision {
        None => fraction.trim_end_matches('0').to_string(),
        Some(p) if p <= 13 => fraction.get(..p).unwrap_or("").to_string(),
        Some(p) => format!("{fraction}{}", "0".repeat(p - 13)),
    };
    let point = if fraction.is_empty() { "" } else { "." };
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("0x1{point}{fraction}p{sign}{:02}", exponent.unsigned_abs())
}
