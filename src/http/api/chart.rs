//! `/chart.png`: the picture of an alert that messages link to.
//!
//! | parameter | what it says |
//! | --- | --- |
//! | `expr` | the rule's expression; what it compares is drawn |
//! | `at` | up to when; now without it |
//! | `start`, `end` | since when the alert fires, and until when it did |
//! | `threshold` | the number that it is compared with; without it, what the expression says |
//! | `l.NAME` | a label of the alert: `l.alertname` and `l.instance` are written above the picture, and series with other labels stand behind |

use std::sync::Arc;
use std::time::Instant;

use super::error::{ApiError, Kind};
use super::params::Params;
use super::work::{Stop, Workers};
use crate::chart::{Drawer, Png, Subject};
use crate::model::{Labels, Timestamp};
use crate::promql::Query;

/// What stands before the name of a label.
const LABEL: &str = "l.";

pub(super) async fn png(
    workers: &Workers,
    drawer: Arc<Drawer>,
    params: &Params,
    deadline: Instant,
) -> Result<Png, ApiError> {
    let subject = subject(params)?;
    let work = move |stop: &Stop| {
        let picture = drawer.picture_now(&subject, deadline, stop.flag());
        picture.ok_or_else(|| ApiError::new(Kind::NotFound, "there is nothing to draw, or it would take too long"))
    };
    workers.run(deadline, work).await.map(|(picture, _)| picture)
}

fn subject(params: &Params) -> Result<Subject, ApiError> {
    let expr = params.get("expr").trim().to_string();
    Query::parse(&expr).map_err(|e| ApiError::expression("expr", &e))?;
    let threshold = match params.get("threshold") {
        "" => None,
        text => Some(text.parse().map_err(|_| ApiError::parameter("threshold", format!("{text:?} is not a number")))?),
    };
    let time = |name: &str| match params.get(name) {
        "" => Ok(None),
        _ => params.time(name).map(Some),
    };
    Ok(Subject {
        labels: Labels::from_pairs(params.beginning(LABEL)),
        expr,
        threshold,
        starts_at: time("start")?,
        ends_at: time("end")?,
        at: time("at")?.unwrap_or_else(Timestamp::now),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_link_in_a_message_asks_for_the_picture_that_is_attached() {
        let mut alert = crate::sinks::example().alerts.remove(0);
        alert.labels = Labels::from_pairs([("alertname", "Use & <more>"), ("ö.x", "50 %"), ("instance", "h:1")]);
        alert.expr = "a{b=\"c d\"} > 0.9".to_string();
        alert.details.threshold = Some(0.9);
        let at = Timestamp::from_millis(1_700_000_001_234);
        let url = alert.chart_url("http://host:9100", at);
        let query = url.strip_prefix("http://host:9100/chart.png?").unwrap();
        let expected = Subject {
            labels: alert.labels.clone(),
            expr: alert.expr.clone(),
            threshold: Some(0.9),
            starts_at: Some(alert.starts_at),
            ends_at: alert.ends_at,
            at,
        };
        assert_eq!(subject(&Params::of(Some(query), b"")).unwrap(), expected);
        alert.ends_at = Some(at);
        let url = alert.chart_url("", at);
        assert_eq!(subject(&Params::of(url.split('?').nth(1), b"")).unwrap().ends_at, Some(at));
        alert.expr.clear();
        assert_eq!(alert.chart_url("http://host:9100", at), "", "from elsewhere");
    }

    #[test]
    fn what_is_wrong_with_a_request_is_said() {
        for (query, why) in [
            ("expr=up+%3E", "invalid parameter \"expr\""),
            ("expr=up&threshold=much", "\"much\" is not a number"),
            ("expr=up&at=soon", "invalid parameter \"at\""),
        ] {
            let error = subject(&Params::of(Some(query), b"")).unwrap_err();
            assert!(error.kind == Kind::BadData && error.message.contains(why), "{query}: {}", error.message);
        }
    }
}
