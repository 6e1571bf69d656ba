//! Why a certificate is refused, in words that say what to do about it.

use rustls::CertificateError;

use super::certificate::Certificate;
use crate::model::Timestamp;

/// `leaf`: the far side's own certificate.
pub(super) fn why(error: &CertificateError, name: &str, leaf: Option<&Certificate>) -> String {
    let now = Timestamp::now().as_millis() / 1000;
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            let of_leaf = leaf.map(|leaf| leaf.not_after).filter(|ends| *ends < now);
            match (of_leaf, error) {
                (Some(ended), _) => {
                    format!("the certificate expired {} ago", span(now.abs_diff(ended)))
                }
                (None, CertificateError::ExpiredContext { not_after, .. }) => {
                    let ago = span(now.unsigned_abs().saturating_sub(not_after.as_secs()));
                    format!("a certificate that the certificate was signed by expired {ago} ago")
                }
                _ => "the certificate expired".to_string(),
            }
        }
        CertificateError::NotValidYetContext { not_before, .. } => {
            let ahead = span(not_before.as_secs().saturating_sub(now.unsigned_abs()));
            format!("the certificate counts only in {ahead}")
        }
        CertificateError::NotValidYet => "the certificate does not count yet".to_string(),
        CertificateError::NotValidForName => format!("the certificate is not for {name}"),
        CertificateError::NotValidForNameContext { presented, .. } => {
            format!("the certificate is not for {name}, but for {}", names(presented))
        }
        CertificateError::UnknownIssuer => "the certificate is signed by nobody who is trusted".to_string(),
        CertificateError::Revoked => "the certificate was revoked".to_string(),
        // Its type is that of a crate which is none of ours.
        CertificateError::Other(other) if other.0.to_string() == "CaUsedAsEndEntity" => {
            "the certificate is an authority's own, which only counts when it is given as trusted".to_string()
        }
        other => format!("the certificate is refused: {other}"),
    }
}

/// The first names of a certificate, which rustls writes as `DnsName("a.example")` and `IpAddress(127.0.0.1)`.
fn names(presented: &[String]) -> String {
    const SHOWN: usize = 3;
    let bare = |name: &String| {
        let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
        super::super::net::shown(inner.unwrap_or(name).trim_matches('"'))
    };
    let shown: Vec<String> = presented.iter().take(SHOWN).map(bare).collect();
    match presented.len() {
        0 => "no name at all".to_string(),
        len if len > SHOWN => format!("{} and {} more", shown.join(", "), len - SHOWN),
        _ => shown.join(", "),
    }
}

/// A time for people, in the largest unit of which there are two: `6 days`, `30 hours`, `90 seconds`.
pub fn span(seconds: u64) -> String {
    let (count, unit) = match seconds {
        172_800.. => (seconds / 86_400, "days"),
        7_200.. => (seconds / 3_600, "hours"),
        120.. => (seconds / 60, "minutes"),
        1 => (1, "second"),
        _ => (seconds, "seconds"),
    };
    format!("{count} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_a_unit_that_fits() {
        for (seconds, text) in
            [(1, "1 second"), (90, "90 seconds"), (150, "2 minutes"), (108_000, "30 hours"), (550_000, "6 days")]
        {
            assert_eq!(span(seconds), text);
        }
    }

    #[test]
    fn names_are_shown_bare_and_not_all_of_them() {
        let presented = |names: &[&str]| names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
        assert_eq!(names(&presented(&["DnsName(\"a.example\")", "IpAddress(127.0.0.1)"])), "a.example, 127.0.0.1");
        assert_eq!(names(&presented(&["a", "b", "c", "d", "e"])), "a, b, c and 2 more");
        assert_eq!(names(&[]), "no name at all");
    }
}
