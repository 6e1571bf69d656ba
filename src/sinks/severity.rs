//! How bad an alert is, for sinks that have a scale for it: syslog's (RFC 5424, 6.2.1), which journald shares.

use super::{NotifiedAlert, Status};

/// A level of syslog's; the number is smaller the worse it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Level {
    Emergency = 0,
    Alert = 1,
    Critical = 2,
    Error = 3,
    Warning = 4,
    Notice = 5,
    Info = 6,
    Debug = 7,
}

impl Level {
    /// What the label `severity` says, in the words that rule files have for it; a warning where it says nothing of the
    /// kind, and a notice once the alert is over.
    pub fn of(alert: &NotifiedAlert) -> Level {
        if alert.status() == Status::Resolved {
            return Level::Notice;
        }
        match alert.labels.get("severity").to_ascii_lowercase().as_str() {
            "emergency" | "emerg" | "panic" => Level::Emergency,
            "alert" => Level::Alert,
            "critical" | "crit" | "page" | "fatal" | "disaster" => Level::Critical,
            "error" | "err" | "major" | "high" => Level::Error,
            "notice" => Level::Notice,
            "info" | "informational" | "information" | "none" | "low" => Level::Info,
            "debug" => Level::Debug,
            _ => Level::Warning,
        }
    }

    pub fn number(self) -> u8 {
        self as u8
    }
}

#[cfg(test)]
mod tests {
    use super::super::notification::tests::example;
    use super::*;
    use crate::model::Labels;

    #[test]
    fn the_severity_is_put_on_the_scale_and_what_is_over_is_no_trouble() {
        let level = |severity: &str| {
            let labels = Labels::from_pairs([("severity", severity)]);
            Level::of(&NotifiedAlert { labels, ..example().alerts[0].clone() })
        };
        let levels = ["critical", "Page", "error", "warning", "info", "", "purple"].map(level);
        assert_eq!(levels.map(Level::number), [2, 2, 3, 4, 6, 4, 4]);
        assert_eq!(Level::of(&example().alerts[1]), Level::Notice);
    }
}
