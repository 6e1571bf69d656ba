//! Looking samples up in the text format.

use super::Response;

/// A page of metrics.
pub struct Metrics(pub String);

impl Metrics {
    pub fn of(response: &Response) -> Metrics {
        Metrics(response.text())
    }

    /// Samples of this name whose labels include these: the labels as written, and the value.
    pub fn samples<'a>(
        &'a self,
        name: &'a str,
        labels: &'a [(&'a str, &'a str)],
    ) -> impl Iterator<Item = (&'a str, f64)> {
        self.0.lines().filter_map(move |line| {
            let rest = line.strip_prefix(name)?;
            let (shown, value) = match rest.strip_prefix('{') {
                Some(rest) => rest.rsplit_once("} ")?,
                None => ("", rest.strip_prefix(' ')?),
            };
            let has = |(key, value): &(&str, &str)| {
                let pair = format!("{key}=\"{value}\"");
                shown.match_indices(&pair).any(|(at, _)| at == 0 || shown.as_bytes()[at - 1] == b',')
            };
            labels.iter().all(has).then(|| value.split(' ').next()?.parse().ok().map(|v| (shown, v)))?
        })
    }

    /// The value of the one sample of this name and labels.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        self.samples(name, labels).next().map(|(_, value)| value)
    }

    /// Names of all families, by their TYPE lines.
    pub fn families(&self) -> Vec<&str> {
        self.0.lines().filter_map(|l| l.strip_prefix("# TYPE ")?.split(' ').next()).collect()
    }
}
