//! Numbers that are whole multiples of a power of ten: counters in bytes, seconds in hundredths, loads.

/// `10^0` to `10^6`: what kernel files print has at most that many decimals.
const POWERS: [f64; 7] = [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6];

/// The integers up to this size are exact in an `f64`.
const LIMIT: f64 = 9_007_199_254_740_992.0;

/// The integer `i` with `i / 10^exponent` being `value` to the bit.
#[inline]
pub fn to_integer(value: f64, exponent: u8) -> Option<i64> {
    let power = POWERS.get(usize::from(exponent))?;
    let scaled = value * power;
    if scaled.abs() < LIMIT {
        // Adding half and truncating is cheaper than rounding, and the test below decides in any case.
        let integer = (scaled + 0.5f64.copysign(scaled)) as i64;
        if (integer as f64 / power).to_bits() == value.to_bits() {
            return Some(integer);
        }
    }
    None
}

/// The smallest exponent, not below `from`, for which there is such an integer.
pub fn exponent_of(value: f64, from: u8) -> Option<u8> {
    (from..POWERS.len() as u8).find(|e| to_integer(value, *e).is_some())
}

/// The divisor of an exponent.
#[inline]
pub fn power(exponent: u8) -> f64 {
    POWERS.get(usize::from(exponent)).copied().unwrap_or(1.0)
}
