//! `log`: follows log files across their rotation and counts the lines that match regular expressions.
//!
//! | metric | type | labels |
//! | --- | --- | --- |
//! | `watchfire_check_log_matches_total` | counter: lines that match | `pattern`, and a label for each named group of it |
//! | `watchfire_check_log_lines_total` | counter: lines that were read | |
//! | `watchfire_check_log_bytes_total` | counter: bytes of these lines | |
//! | `watchfire_check_log_cut_lines_total` | counter: lines of which only the first `max_line` bytes were looked at | |
//! | `watchfire_check_log_rotations_total` | counter: files that were moved away, replaced or emptied | |
//! | `watchfire_check_log_lag_bytes` | gauge: what the files have and this has not read yet | |
//! | `watchfire_check_log_files` | gauge: files that are followed | |
//!
//! A line is looked at once it is complete. How a file is told from its successors stands in `follow.rs`; how lines are
//! cut out of it, within a bound for each run, in `read.rs`. Counters count from the start of the agent, or a change of the
//! check; reading goes on where it was, as kept in a [`Place`]. A check that is changed goes on in those files that it is
//! still about.

mod config;
mod count;
mod follow;
mod positions;
mod print;
mod read;

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Mutex, TryLockError};
use std::time::{Duration, Instant, SystemTime};

pub use config::{LogConfig, LogPaths, LogPattern, Start, Trigger, Triggers};
pub use positions::{Earlier, Place, Position, Positions};

use self::count::Counter;
use self::follow::{Files, Followed, Wanted};
use self::read::{Progress, Reader};
use super::local::{Bytes, Findings, HostPattern, things};
use super::{Families, Look, State, Verdict};
use crate::collect::Roots;

/// Paths that patterns may match; where there are more, the check says so.
const MAX_PATHS: usize = 10_000;
/// How long a file that is gone from its path is still read: who writes it may hold it open for a while.
const GRACE: Duration = Duration::from_secs(30);
/// Endings of files that are no text.
const COMPRESSED: [&str; 8] = ["gz", "xz", "bz2", "zst", "lz4", "lzma", "Z", "zip"];

/// Whether a file is no text, by its name.
fn is_compressed(path: &Path) -> bool {
    path.extension().is_some_and(|extension| COMPRESSED.iter().any(|compressed| extension == *compressed))
}

impl LogConfig {
    /// The check, of the host below these roots; it begins anew with every start.
    pub fn build(&self, roots: &Roots) -> Arc<dyn Look> {
        Arc::new(LogCheck::new(self, roots, None))
    }

    /// The check that goes on where it was before a restart, as kept in this place.
    pub fn build_with(&self, roots: &Roots, place: Arc<dyn Place>) -> Arc<dyn Look> {
        Arc::new(LogCheck::new(self, roots, Some(place)))
    }
}

struct LogCheck {
    config: LogConfig,
    patterns: Vec<HostPattern>,
    place: Option<Arc<dyn Place>>,
    /// Locked for a run, by the one thread that runs it.
    state: Mutex<LogState>,
    grace: Duration,
}

struct LogState {
    files: Files,
    counters: Vec<Counter>,
    read: Progress,
    kept: Vec<Position>,
    /// Whether there has been a run.
    has_begun: bool,
    /// Whether what was kept is still to be told.
    awaits: bool,
}

impl LogCheck {
    fn new(config: &LogConfig, roots: &Roots, place: Option<Arc<dyn Place>>) -> LogCheck {
        let most = config.max_label_sets;
        let state = LogState {
            files: Files::new(config.start, config.max_files),
            counters: config.patterns.iter().filter_map(|pattern| Counter::new(pattern, most)).collect(),
            read: Progress::default(),
            kept: Vec::new(),
            has_begun: false,
            awaits: place.is_some(),
        };
        LogCheck {
            config: config.clone(),
            patterns: config.path.0.iter().map(|path| HostPattern::new(path, roots)).collect(),
            place,
            state: Mutex::new(state),
            grace: GRACE,
        }
    }
}

impl Look for LogCheck {
    fn look(&self, out: &mut Families) -> Verdict {
        let mut state = match self.state.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(broken)) => broken.into_inner(),
            Err(TryLockError::WouldBlock) => return Verdict::unknown("the run before this one still reads"),
        };
        self.run(&mut state, out)
    }
}

impl LogCheck {
    fn run(&self, state: &mut LogState, out: &mut Families) -> Verdict {
        let mut findings = Findings::default();
        let is_first = !std::mem::replace(&mut state.has_begun, true);
        let now = Instant::now();
        let paths = self.paths(&mut findings);
        if state.awaits {
            self.resume(state, &paths);
        }
        state.files.refresh(&paths, now, &mut |path, error| {
            findings.add(State::Unknown, || format!("cannot read {}: {error}", self.shown(path)));
        });
        self.find_missing(&state.files, &mut findings);
        for counter in &mut state.counters {
            counter.begin_run();
        }
        let progress = self.read(state, now, &mut findings);
        state.read.add(progress);
        state.files.end_run();
        self.keep(state);
        write(state, out);
        self.judge(&state.counters, &mut findings);
        findings.verdict(|| describe(state, progress, is_first))
    }

    /// Goes on where it was before, as soon as that can be told. What has been read until then is read again: of two
    /// harms, to miss the lines that came while nobody looked is the greater.
    fn resume(&self, state: &mut LogState, paths: &[Wanted]) {
        let earlier = self.place.as_ref().map_or(Earlier::Nothing, |place| place.load());
        state.awaits = earlier == Earlier::Unknown;
        let Earlier::At(mut kept) = earlier else { return };
        if kept.of != self.config.path.0 {
            // What the check is no longer about must not be read to its end, as what was moved away is.
            let is_there = |path: &Path| paths.binary_search_by(|wanted| wanted.path.as_path().cmp(path)).is_ok();
            kept.files.retain(|position| is_there(Path::new(&position.path)));
        }
        state.files = Files::new(self.config.start, self.config.max_files);
        state.files.restore(kept);
        state.kept.clear();
    }

    /// Keeps where reading goes on, where that has moved.
    fn keep(&self, state: &mut LogState) {
        let Some(place) = &self.place else { return };
        let files = state.files.positions();
        if files != state.kept {
            let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            let positions = Positions { saved_at: since.as_secs(), of: self.config.path.0.clone(), files };
            place.save(&positions);
            state.kept = positions.files;
        }
    }

    /// A path as the host names it.
    fn shown(&self, path: &Path) -> String {
        self.patterns.first().map_or_else(String::new, |pattern| pattern.shown(path))
    }

    /// The files that there are now.
    fn paths(&self, findings: &mut Findings) -> Vec<Wanted> {
        let mut paths = Vec::new();
        for (of, pattern) in self.patterns.iter().enumerate() {
            let is_plain = !pattern.has_meta();
            pattern.visit(&mut |found| match found {
                Ok(path) => {
                    if is_plain || !is_compressed(path) {
                        paths.push(Wanted { path: path.to_path_buf(), of, is_plain });
                    }
                    if paths.len() < MAX_PATHS {
                        return ControlFlow::Continue(());
                    }
                    let text = || format!("more than {MAX_PATHS} files match: not all are followed");
                    findings.add(State::Unknown, text);
                    ControlFlow::Break(())
                }
                Err((folder, error)) => {
                    findings.add(State::Unknown, || format!("cannot look at {}: {error}", pattern.shown(folder)));
                    ControlFlow::Continue(())
                }
            });
        }
        paths.sort_by(|a, b| a.path.cmp(&b.path));
        paths
    }

    fn find_missing(&self, files: &Files, findings: &mut Findings) {
        // What cannot be read is there.
        if !findings.is_empty() {
            return;
        }
        for (_, pattern) in self.patterns.iter().enumerate().filter(|(of, _)| !files.has(*of)) {
            findings.add(self.config.missing.0, || match pattern.has_meta() {
                true => format!("no file matches {}", pattern.as_str()),
                false => format!("{} is missing", pattern.as_str()),
            });
        }
    }

    /// Reads what the files have, those with the least first, so that one that is flooded leaves the others their share.
    fn read(&self, state: &mut LogState, now: Instant, findings: &mut Findings) -> Progress {
        let mut reader = Reader::new(self.config.max_line.0);
        let mut all = Progress::default();
        let LogState { files, counters, .. } = state;
        let mut list: Vec<&mut Followed> = files.iter_mut().collect();
        list.sort_by_key(|file| file.pending());
        let mut left = self.config.max_per_run.0;
        let mut waiting = list.len() as u64;
        for file in list {
            let share = left / waiting.max(1);
            waiting -= 1;
            let shown = self.shown(&file.path);
            let read = file.read(&mut reader, share, (now, self.grace), &mut |line| {
                let line = String::from_utf8_lossy(line);
                for counter in counters.iter_mut() {
                    counter.take(&line, &shown);
                }
            });
            match read {
                Ok(progress) => {
                    left = left.saturating_sub(progress.bytes);
                    all.add(progress);
                }
                Err(error) => findings.add(State::Unknown, || format!("cannot read {shown}: {error}")),
            }
        }
        all
    }

    fn judge(&self, counters: &[Counter], findings: &mut Findings) {
        let config = &self.config;
        for (state, triggers) in [(State::Critical, &config.critical), (State::Warning, &config.warning)] {
            for trigger in &triggers.0 {
                let meant = counters.iter().filter(|c| trigger.pattern.as_ref().is_none_or(|name| name == c.name()));
                let (mut count, mut place) = (0, "");
                for counter in meant {
                    count += counter.now();
                    place = if counter.now() > 0 { counter.last_in() } else { place };
                }
                if count >= trigger.at_least {
                    findings.add(state, || {
                        let lines = if count == 1 { "1 line matches" } else { &format!("{count} lines match") };
                        let pattern = trigger.pattern.as_deref().unwrap_or("a pattern");
                        format!("{lines} {pattern} since the last run (limit {}), last in {place}", trigger.at_least)
                    });
                }
            }
        }
    }
}

/// What was read, where all is well.
fn describe(state: &LogState, progress: Progress, is_first: bool) -> String {
    let files = things(state.files.len() as u64, "file", "files");
    if is_first && progress.lines == 0 {
        return format!("{files} followed from here on");
    }
    let matched: Vec<String> =
        state.counters.iter().filter(|c| c.now() > 0).map(|c| format!("{} {}", c.now(), c.name())).collect();
    let matched = if matched.is_empty() { "no match".to_string() } else { matched.join(", ") };
    let lines = things(progress.lines, "new line", "new lines");
    let lag = state.files.lag();
    let behind = if lag > 1 << 20 { format!(", {} still to be read", Bytes(lag)) } else { String::new() };
    format!("{lines} in {files}: {matched}{behind}")
}

fn write(state: &LogState, out: &mut Families) {
    for counter in &state.counters {
        counter.write(out);
    }
    for (name, help, value) in [
        ("watchfire_check_log_lines_total", "Lines that were read.", state.read.lines),
        ("watchfire_check_log_bytes_total", "Bytes of the lines that were read.", state.read.bytes),
        ("watchfire_check_log_cut_lines_total", "Lines of which only the beginning was looked at.", state.read.cut),
        (
            "watchfire_check_log_rotations_total",
            "Files that were moved away, replaced or emptied.",
            state.files.rotations(),
        ),
    ] {
        out.counter(name, help, &[], value as f64);
    }
    let help = "Bytes that the files have and that have not been read yet.";
    out.gauge("watchfire_check_log_lag_bytes", help, &[], state.files.lag() as f64);
    out.gauge("watchfire_check_log_files", "Files that are followed.", &[], state.files.len() as f64);
}

#[cfg(test)]
mod tests;
