//! What has to be known of a certificate: from when until when, of whom, by whom (RFC 5280, 4.1).
//!
//! What checks certificates does not give the time away, and what parses the whole of them is seven crates.

use jiff::civil::DateTime;

/// A part of a certificate.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Certificate {
    /// Seconds since 1970.
    pub not_after: i64,
    /// Names as they stand there, to be compared.
    pub subject: Box<[u8]>,
    pub issuer: Box<[u8]>,
}

/// Tags of DER.
pub(super) const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
pub(super) const SEQUENCE: u8 = 0x30;
/// The version, which the first version does not have.
pub(super) const VERSION: u8 = 0xa0;

impl Certificate {
    /// `None` for what is no certificate.
    pub fn parse(der: &[u8]) -> Option<Certificate> {
        let whole = &mut { der };
        let certificate = &mut expect(whole, SEQUENCE)?;
        let body = &mut expect(certificate, SEQUENCE)?;
        if body.first() == Some(&VERSION) {
            expect(body, VERSION)?;
        }
        expect(body, INTEGER)?;
        expect(body, SEQUENCE)?;
        let issuer = expect(body, SEQUENCE)?.into();
        let validity = &mut expect(body, SEQUENCE)?;
        let subject = expect(body, SEQUENCE)?.into();
        next(validity)?;
        Some(Certificate { not_after: time(next(validity)?)?, subject, issuer })
    }
}

/// The next value's tag and content. Lengths that are not given before the value (BER) are none of DER's.
pub(super) fn next<'d>(rest: &mut &'d [u8]) -> Option<(u8, &'d [u8])> {
    let (tag, after) = rest.split_first()?;
    let (length, after) = after.split_first()?;
    let (length, after) = match length {
        0..=0x7f => (usize::from(*length), after),
        0x81..=0x84 => {
            let (bytes, after) = after.split_at_checked(usize::from(length & 0x7f))?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), after)
        }
        _ => return None,
    };
    let (content, after) = after.split_at_checked(length)?;
    *rest = after;
    Some((*tag, content))
}

pub(super) fn expect<'d>(rest: &mut &'d [u8], wanted: u8) -> Option<&'d [u8]> {
    next(rest).filter(|(tag, _)| *tag == wanted).map(|(_, content)| content)
}

/// `YYMMDDHHMMSSZ` from 1950 to 2049, `YYYYMMDDHHMMSSZ` else.
fn time((tag, text): (u8, &[u8])) -> Option<i64> {
    let digits = text.strip_suffix(b"Z")?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let (year, rest) = match (tag, digits.len()) {
        (UTC_TIME, 12) => digits.split_at_checked(2)?,
        (GENERALIZED_TIME, 14) => digits.split_at_checked(4)?,
        _ => return None,
    };
    let number = |digits: &[u8]| digits.iter().fold(0, |number: i16, digit| number * 10 + i16::from(digit - b'0'));
    let year = match (tag, number(year)) {
        (UTC_TIME, year @ 0..50) => 2000 + year,
        (UTC_TIME, year) => 1900 + year,
        (_, year) => year,
    };
    let mut parts = rest.chunks(2).map(|digits| number(digits) as i8);
    let mut part = || parts.next();
    let at = DateTime::new(year, part()?, part()?, part()?, part()?, part()?, 0).ok()?;
    // Not by way of a moment: those of jiff end a day before the year 9999, with which people write "never".
    Some(at.duration_since(DateTime::constant(1970, 1, 1, 0, 0, 0, 0)).as_secs())
}

/// Until when the longest-lived chain lasts that the first certificate has among the others, from each to that of its
/// issuer. The one at its end that everybody knows is not sent.
pub(super) fn chain_ends(certificates: &[Certificate]) -> Option<i64> {
    let (first, others) = certificates.split_first()?;
    // As many steps as there are certificates: with issuers in a circle, they would not end.
    Some(lasts(first, others, others.len()))
}

fn lasts(certificate: &Certificate, others: &[Certificate], steps: usize) -> i64 {
    let is_last = certificate.issuer == certificate.subject || steps == 0;
    let issuers = others.iter().filter(|other| !is_last && other.subject == certificate.issuer);
    // Two ways at each of sixteen steps are too many: behind the first steps, one way is enough.
    let ways = if others.len() - steps.min(others.len()) < 3 { usize::MAX } else { 1 };
    let above = issuers.take(ways).map(|issuer| lasts(issuer, others, steps - 1)).max();
    above.map_or(certificate.not_after, |above| above.min(certificate.not_after))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;
    use crate::fuzz::Fuzz;

    fn der(year: i32) -> Vec<u8> {
        let mut params = CertificateParams::new(["localhost".to_string()]).unwrap();
        params.not_before = date_time_ymd(1999, 1, 1);
        params.not_after = date_time_ymd(year, 2, 3);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn the_end_of_a_certificate_is_read_in_both_ways_to_write_it() {
        for (year, seconds) in [(2031, 1_927_843_200), (2050, 2_527_459_200), (2020, 1_580_688_000)] {
            let certificate = Certificate::parse(&der(year)).unwrap();
            assert_eq!(certificate.not_after, seconds, "{year}");
            assert_eq!(certificate.issuer, certificate.subject);
        }
        assert_eq!(time((GENERALIZED_TIME, b"99991231235959Z")), Some(253_402_300_799));
        for wrong in [b"20230230000000Z".as_slice(), b"2023023000000Z", b"20230210000000", b"+0230210000000Z"] {
            assert_eq!(time((GENERALIZED_TIME, wrong)), None);
        }
    }

    #[test]
    fn a_chain_lasts_as_long_as_the_first_of_it_to_end_and_what_is_no_part_of_it_counts_for_nothing() {
        let certificate = |subject: &str, issuer: &str, not_after| Certificate {
            not_after,
            subject: subject.as_bytes().into(),
            issuer: issuer.as_bytes().into(),
        };
        let chain = [certificate("a", "b", 9), certificate("b", "c", 5), certificate("old", "x", 1)];
        assert_eq!(chain_ends(&chain), Some(5));
        let crossed = [certificate("a", "b", 9), certificate("b", "old", 2), certificate("b", "new", 7)];
        assert_eq!(chain_ends(&crossed), Some(7));
        let circle: Vec<_> = (0..16).map(|n| certificate("a", if n == 0 { "a" } else { "b" }, n)).collect();
        assert_eq!(chain_ends(&circle), Some(0));
        let many: Vec<_> = (0..16)
            .map(|n| certificate(if n % 2 == 0 { "a" } else { "b" }, if n % 2 == 0 { "b" } else { "a" }, n))
            .collect();
        assert_eq!(chain_ends(&many), Some(0));
        assert_eq!(chain_ends(&[]), None);
    }

    #[test]
    fn no_certificate_makes_it_panic() {
        Fuzz::of(&[der(2031), der(2055)]).bytes(|bytes| {
            let _ = Certificate::parse(bytes);
        });
    }
}
