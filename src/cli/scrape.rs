//! `watchfire scrape`: sample once, print, exit.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use super::{CommonFlags, EXIT_INVALID, logging};
use crate::collect::{CollectorStatus, Sampler, Sampling};
use crate::config::Config;
use crate::exposition::{Format, Pages};
use crate::model::{Labels, SeriesTable, Timestamp};

/// Between the two samplings that rates are taken from.
const RATE_WINDOW: Duration = Duration::from_millis(200);

/// Collectors that give something in empty trees: the clock is there, the kernel is asked for its network devices, SELinux
/// is off, and no text files and no processes are no fault.
const NEED_NO_FILES: [&str; 5] = ["time", "netdev", "selinux", "textfile", "processes"];

pub fn run(flags: &CommonFlags) -> ExitCode {
    logging::init(flags.log_level, flags.log_format);
    let config = match Config::load(flags.config_file.as_deref(), |file| flags.collectors.apply(&mut file.collectors)) {
        Ok(config) => config,
        Err(faults) => {
            eprint!("{faults}");
            return ExitCode::from(EXIT_INVALID);
        }
    };
    let table = Arc::new(SeriesTable::new(Labels::empty()));
    let roots = flags.paths.roots();
    let file = &config.file;
    let planned = file.collectors.plan(&file.processes, &roots);
    let mut sampler = Sampler::new(planned, &table, file.global.collector_series_limit);
    // Gauges that are rates need two samples.
    sampler.sample(Timestamp::now(), Sampling::Once);
    std::thread::sleep(RATE_WINDOW);
    let snapshot = sampler.sample(Timestamp::now(), Sampling::Once);
    let text = match Pages::new().encode(&snapshot, Format::Text) {
        Ok(text) => text,
        Err(error) => {
            eprintln!("watchfire: {error}");
            return ExitCode::FAILURE;
        }
    };
    let read = report(sampler.status());
    match std::io::stdout().lock().write_all(&text) {
        // A reader that has seen enough (`| head`) is no failure.
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            eprintln!("watchfire: cannot write the metrics: {e}");
            ExitCode::FAILURE
        }
        _ if !read => {
            eprintln!("watchfire: nothing of the host could be read: are --path.procfs and --path.sysfs right?");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

/// Names the collectors that found nothing (the sampler has named those that failed); whether any found something.
fn report(status: &[CollectorStatus]) -> bool {
    for CollectorStatus { name, error, .. } in status.iter().filter(|s| s.no_data) {
        tracing::info!(collector = name, "{}", error.as_deref().unwrap_or_default());
    }
    let found = |s: &CollectorStatus| s.series > 0 && !NEED_NO_FILES.contains(&s.name);
    status.iter().all(|s| s.success) || status.iter().any(found)
}
