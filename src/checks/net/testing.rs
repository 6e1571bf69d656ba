//! Running a probe in a test.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};

use super::super::families::Families;
use super::super::probe::Probe;
use super::super::verdict::{State, Verdict};
use crate::collect::testing::lines;
use crate::exposition::families::{merge, write};
use crate::model::{Labels, SeriesTable, Writer};
use crate::yaml::{Document, Faults, FromYaml};

/// What a run has said and found.
pub struct Ran {
    pub verdict: Verdict,
    pub lines: Vec<String>,
    pub time: Duration,
}

impl Ran {
    /// The value of a sample: `probe_success`, `probe_http_duration_seconds{phase="tls"}`.
    pub fn value(&self, sample: &str) -> Option<f64> {
        let (name, labels) = sample.split_once('{').unwrap_or((sample, "}"));
        self.lines.iter().find_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let of_series = series.strip_prefix(name)?.strip_prefix('{')?.strip_suffix('}')?;
            let others = of_series.split(',').filter(|label| *label != "check=\"c\"");
            (others.collect::<Vec<_>>().join(",") == labels.strip_suffix('}')?).then(|| value.parse().ok())?
        })
    }

    /// Panics unless it was successful.
    #[track_caller]
    pub fn ok(&self) -> &str {
        assert_eq!(self.verdict.state, State::Ok, "{}", self.verdict.summary);
        assert_eq!(self.value("probe_success"), Some(1.0));
        &self.verdict.summary
    }

    /// Panics unless it was a failure.
    #[track_caller]
    pub fn critical(&self) -> &str {
        assert_eq!(self.verdict.state, State::Critical, "{}", self.verdict.summary);
        assert_eq!(self.value("probe_success"), Some(0.0));
        &self.verdict.summary
    }
}

/// Runs a probe once.
pub async fn run(probe: Arc<dyn Probe>, limit: Duration) -> Ran {
    let began = Instant::now();
    let mut families = Families::new(Arc::new(Labels::from_pairs([("check", "c")])));
    let verdict = probe.probe(limit, &mut families).await;
    let time = began.elapsed();
    assert!(!verdict.summary.contains('\n') && !verdict.summary.is_empty(), "{}", verdict.summary);
    let kept = families.into_kept();
    let (merged, conflicts) = merge(&[("check", &kept)]);
    assert_eq!(conflicts, []);
    let mut writer = Writer::new("checks", Arc::new(SeriesTable::new(Labels::empty())), 10_000);
    write(&merged, |_| &kept, &mut writer);
    let ran = Ran { verdict, lines: lines(&writer.finish().0), time };
    assert!(ran.value("probe_duration_seconds").is_some_and(|seconds| seconds <= time.as_secs_f64()));
    ran
}

/// A section that is read without a fault.
#[track_caller]
pub fn section<S: FromYaml + Default>(text: &str) -> S {
    let mut faults = Faults::default();
    let section = Document::parse("c", text, &mut faults).read(&mut faults);
    assert!(faults.is_empty(), "{text}: {faults}");
    section
}

/// What is wrong with a section, a line each.
pub fn faults<S: FromYaml + Default>(text: &str) -> Vec<String> {
    let mut faults = Faults::default();
    let _: S = Document::parse("c", text, &mut faults).read(&mut faults);
    faults.iter().map(|fault| fault.to_string().lines().next().unwrap_or_default().to_string()).collect()
}

/// A server that does the same with every connection.
pub async fn serve<F, Fut>(serve: F) -> SocketAddr
where
    F: Fn(TcpStream) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    address
}

/// An address at which nobody listens.
pub async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}
