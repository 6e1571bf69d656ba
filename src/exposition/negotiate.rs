//! Which format a client wants: the `Accept` header, with preferences as Prometheus sends them.

/// An exposition format.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Format {
    /// Prometheus' text format, version 0.0.4.
    Text,
    /// OpenMetrics text, version 1.0.0.
    OpenMetrics,
    /// Length-delimited `io.prometheus.client.MetricFamily` messages.
    Protobuf,
}

impl Format {
    /// The `Content-Type` of an answer.
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Text => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Format::Protobuf => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
            }
        }
    }

    /// The format that the `Accept` header likes best among ours. Who names none gets text, like a client without the
    /// header: an answer that may be readable helps more than a 406. Parameters that do not change our answer
    /// (`escaping`: our names need none) are passed over.
    pub fn negotiate(accept: &str) -> Format {
        let preferences = Preferences::parse(accept);
        let mut best = (Format::Text, 0);
        for item in preferences.iter() {
            if let Some(format) = Format::of_media_range(&item)
                && item.quality > best.1
            {
                best = (format, item.quality);
            }
        }
        best.0
    }

    fn of_media_range(item: &Preference<'_>) -> Option<Format> {
        let is = |name: &str| item.value.eq_ignore_ascii_case(name);
        let parameter = |name: &str| item.parameters().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v);
        if is("application/openmetrics-text") {
            // 0.0.1 is what the same text was called before it was a standard.
            matches!(parameter("version"), None | Some("1.0.0" | "0.0.1")).then_some(Format::OpenMetrics)
        } else if is("application/vnd.google.protobuf") {
            let of_families = parameter("proto") == Some("io.prometheus.client.MetricFamily");
            (of_families && parameter("encoding") == Some("delimited")).then_some(Format::Protobuf)
        } else if is("text/plain") {
            matches!(parameter("version"), None | Some("0.0.4")).then_some(Format::Text)
        } else {
            (is("*/*") || is("text/*")).then_some(Format::Text)
        }
    }
}

/// A header that lists what a client takes, with weights: `Accept`, `Accept-Encoding`.
pub struct Preferences<'a>(&'a str);

/// One item of such a header.
pub struct Preference<'a> {
    /// The media range or coding.
    pub value: &'a str,
    /// The weight `q` in thousandths; 0: refused.
    pub quality: u16,
    parameters: &'a str,
}

impl<'a> Preferences<'a> {
    pub fn parse(header: &'a str) -> Preferences<'a> {
        Preferences(header)
    }

    pub fn iter(&self) -> impl Iterator<Item = Preference<'a>> + use<'a> {
        self.0.split(',').filter_map(|item| {
            let (value, parameters) = item.split_once(';').unwrap_or((item, ""));
            let value = value.trim();
            let mut preference = Preference { value, quality: 1000, parameters };
            if let Some((_, q)) = preference.parameters().find(|(name, _)| name.eq_ignore_ascii_case("q")) {
                preference.quality = quality(q);
            }
            (!value.is_empty()).then_some(preference)
        })
    }
}

impl<'a> Preference<'a> {
    fn parameters(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let pairs = self.parameters.split(';').filter_map(|p| p.split_once('='));
        pairs.map(|(name, value)| (name.trim(), value.trim().trim_matches('"')))
    }
}

/// A weight from 0 to 1 in thousandths; one that is not a number in this range counts as 0.
fn quality(text: &str) -> u16 {
    match text.parse::<f64>() {
        Ok(q) if (0.0..=1.0).contains(&q) => (q * 1000.0).round() as u16,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::Fuzz;

    #[test]
    fn no_header_is_so_strange_that_it_panics() {
        let good = [
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3",
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7",
        ];
        Fuzz::of(&good).words(&[";q=", ", ", "*/*", "\"\\\""]).texts(|accept| {
            Format::negotiate(accept);
        });
    }

    #[test]
    fn each_client_gets_the_format_it_likes_best() {
        use Format::*;
        for (accept, format) in [
            ("", Text),
            ("*/*", Text),
            ("text/plain", Text),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Text),
            ("application/json", Text),
            ("application/openmetrics-text", OpenMetrics),
            ("application/openmetrics-text; version=1.0.0; charset=utf-8", OpenMetrics),
            ("application/openmetrics-text; version=7.0.0", Text),
            ("application/openmetrics-text;version=1.0.0;q=0", Text),
            ("text/plain;version=0.0.4;q=0.3,application/openmetrics-text;q=0.2", Text),
            ("application/vnd.google.protobuf", Text),
            // Prometheus 2, and Prometheus 3 without and with native histograms.
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                OpenMetrics,
            ),
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                OpenMetrics,
            ),
            (
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7,application/openmetrics-text;version=1.0.0;escaping=underscores;q=0.6,*/*;q=0.2",
                Protobuf,
            ),
            (";;;,,q=1;=\",text/*;q=nonsense", Text),
        ] {
            assert_eq!(Format::negotiate(accept), format, "{accept}");
        }
    }
}
