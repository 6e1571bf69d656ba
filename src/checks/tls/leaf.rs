//! Who a certificate is for and by whom, in the words of blackbox_exporter, which are Go's.

use std::fmt::Write;

use ring::digest::{SHA256, digest};

use super::certificate::{INTEGER, SEQUENCE, VERSION, expect, next};
use crate::checks::Families;

const OBJECT: u8 = 0x06;
const OCTETS: u8 = 0x04;
const SET: u8 = 0x31;
/// The extensions of a certificate, and a name of a host among its further names.
const EXTENSIONS: u8 = 0xa3;
const DNS_NAME: u8 = 0x82;
/// The extension with further names of the subject, 2.5.29.17.
const FURTHER_NAMES: &[u8] = &[0x55, 0x1d, 0x11];

/// The attributes of X.520 that Go names, by the last part of 2.5.4.x, in the order in which it writes them.
const NAMED: [(u8, &str); 9] = [
    (5, "SERIALNUMBER"),
    (3, "CN"),
    (17, "POSTALCODE"),
    (9, "STREET"),
    (8, "ST"),
    (7, "L"),
    (11, "OU"),
    (10, "O"),
    (6, "C"),
];

/// What `probe_ssl_last_chain_info` has of a certificate.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Leaf {
    fingerprint: String,
    subject: String,
    issuer: String,
    names: String,
    serial: String,
}

impl Leaf {
    /// `None` for what is no certificate.
    pub fn parse(der: &[u8]) -> Option<Leaf> {
        let whole = &mut { der };
        let certificate = &mut expect(whole, SEQUENCE)?;
        let body = &mut expect(certificate, SEQUENCE)?;
        if body.first() == Some(&VERSION) {
            expect(body, VERSION)?;
        }
        let serial = expect(body, INTEGER)?;
        expect(body, SEQUENCE)?;
        let issuer = name(expect(body, SEQUENCE)?);
        expect(body, SEQUENCE)?;
        let subject = name(expect(body, SEQUENCE)?);
        let mut names = Vec::new();
        while let Some((tag, content)) = next(body) {
            if tag == EXTENSIONS {
                names = dns_names(content).unwrap_or_default();
            }
        }
        // The sign.
        let serial = serial.strip_prefix(&[0]).unwrap_or(serial);
        let fingerprint = hex(digest(&SHA256, der).as_ref());
        Some(Leaf { fingerprint, subject, issuer, names: names.join(","), serial: hex(serial) })
    }

    pub fn write(&self, out: &mut Families) {
        let help = "Of the certificate that the far side showed as its own; always 1.";
        let labels = [
            ("fingerprint_sha256", self.fingerprint.as_str()),
            ("subject", &self.subject),
            ("issuer", &self.issuer),
            ("subjectalternative", &self.names),
            ("serialnumber", &self.serial),
        ];
        out.gauge("probe_ssl_last_chain_info", help, &labels, 1.0);
    }
}

/// The names of hosts in the extensions.
fn dns_names(extensions: &[u8]) -> Option<Vec<String>> {
    let list = &mut expect(&mut { extensions }, SEQUENCE)?;
    while let Some(extension) = expect(list, SEQUENCE) {
        let rest = &mut { extension };
        if expect(rest, OBJECT)? != FURTHER_NAMES {
            continue;
        }
        // Whether it is critical may come before the value.
        let value = std::iter::from_fn(|| next(rest)).find(|(tag, _)| *tag == OCTETS)?.1;
        let names = &mut expect(&mut { value }, SEQUENCE)?;
        let texts = std::iter::from_fn(|| next(names)).filter(|(tag, _)| *tag == DNS_NAME);
        return Some(texts.map(|(_, text)| String::from_utf8_lossy(text).into_owned()).collect());
    }
    None
}

/// A distinguished name as Go writes it: first what it knows, in its own order, then the rest from the last to the first.
fn name(der: &[u8]) -> String {
    let mut known: Vec<Vec<String>> = vec![Vec::new(); NAMED.len()];
    let mut others = Vec::new();
    let sets = &mut { der };
    while let Some(set) = expect(sets, SET) {
        let attributes = &mut { set };
        while let Some(attribute) = expect(attributes, SEQUENCE) {
            let rest = &mut { attribute };
            let (Some(object), Some((_, value))) = (expect(rest, OBJECT), next(&mut { *rest })) else { continue };
            let place = match object {
                [0x55, 0x04, last] => NAMED.iter().position(|(number, _)| number == last),
                _ => None,
            };
            match place.and_then(|place| known.get_mut(place).zip(NAMED.get(place))) {
                Some((values, (_, short))) => values.push(format!("{short}={}", escaped(value))),
                None => others.push(format!("{}=#{}", dotted(object), hex(rest))),
            }
        }
    }
    // Of those that stand once only, Go keeps the last.
    for (values, (number, _)) in known.iter_mut().zip(NAMED) {
        if [3, 5].contains(&number) && values.len() > 1 {
            values.drain(..values.len() - 1);
        }
    }
    others.reverse();
    let known = known.into_iter().filter(|values| !values.is_empty()).map(|values| values.join("+"));
    known.chain(others).collect::<Vec<_>>().join(",")
}

/// A value within a name (RFC 4514).
fn escaped(value: &[u8]) -> String {
    let text = String::from_utf8_lossy(value);
    let last = text.chars().count().saturating_sub(1);
    let mut out = String::with_capacity(text.len());
    for (place, c) in text.chars().enumerate() {
        let is_special = match c {
            ',' | '+' | '"' | '\\' | '<' | '>' | ';' => true,
            ' ' => place == 0 || place == last,
            '#' => place == 0,
            _ => false,
        };
        if is_special {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// An object identifier as people write it.
fn dotted(object: &[u8]) -> String {
    let mut parts: Vec<u128> = Vec::new();
    let mut part: u128 = 0;
    for byte in object {
        part = part << 7 | u128::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            parts.push(std::mem::take(&mut part));
        }
    }
    let mut text = match parts.first() {
        Some(first) => format!("{}.{}", (first / 40).min(2), first - 40 * (first / 40).min(2)),
        None => String::new(),
    };
    for part in parts.iter().skip(1) {
        // Writing to a string does not fail.
        let _ = write!(text, ".{part}");
    }
    text
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SerialNumber};

    use super::*;
    use crate::fuzz::Fuzz;

    fn der() -> Vec<u8> {
        let mut params = CertificateParams::new(["a.example".to_string(), "b.example".to_string()]).unwrap();
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in [
            (DnType::CountryName, "DE"),
            (DnType::OrganizationName, "Shops, Inc. "),
            (DnType::CustomDnType(vec![1, 2, 840, 113_549, 1, 9, 1]), "x"),
            (DnType::CommonName, "#a.example"),
        ] {
            params.distinguished_name.push(kind, value);
        }
        params.serial_number = Some(SerialNumber::from_slice(&[0xff, 0x00, 0x1]));
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn a_certificate_is_told_as_go_writes_it() {
        let der = der();
        let leaf = Leaf::parse(&der).unwrap();
        assert_eq!(leaf.subject, "CN=\\#a.example,O=Shops\\, Inc.\\ ,C=DE,1.2.840.113549.1.9.1=#0c0178");
        assert_eq!((&*leaf.issuer, &*leaf.names), (&*leaf.subject, "a.example,b.example"));
        assert_eq!((&*leaf.serial, leaf.fingerprint.len()), ("ff0001", 64));
    }

    #[test]
    fn no_certificate_makes_it_panic() {
        Fuzz::of(&[der()]).bytes(|bytes| {
            let _ = Leaf::parse(bytes);
        });
    }
}
