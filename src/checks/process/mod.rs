//! `process`: whether as many processes run as should.
//!
//! | metric | type | |
//! | --- | --- | --- |
//! | `watchfire_check_processes` | gauge | processes that are as wanted; those that have ended and wait for their parent do not count |
//! | `watchfire_check_process_oldest_start_time_seconds` | gauge | when the oldest of them was started, in seconds since 1970; absent without one |
//!
//! They are found in /proc: the one whose id a file holds, those in the control group of a unit, or all; and of these
//! those that the other keys leave. **An id may be another's by now**: whoever has the id of a file is known to be
//! another when it has not the `name` that is given, or when the file has stayed as it was while a process of another
//! start has come to have the id.

use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, TryLockError};
use std::time::{Duration, SystemTime};

use super::local::{CountBounds, Findings, LinePattern, Severity, is_absent, open_regular, span, things, user_id};
use super::{Families, Look, State, Verdict};
use crate::collect::process::{Finder, Process};
use crate::collect::{CollectError, Roots};
use crate::yaml::{Faults, Node, Pattern};

crate::section! {
    check = check;
    /// Processes of this host: all that is given of `pidfile`, `unit`, `name`, `pattern` and `user` must be so.
    pub struct ProcessConfig {
        /// A file whose first line is the process' id.
        pub pidfile: Option<String> = None,
        /// The systemd unit whose processes are meant; `.service` may be left out.
        pub unit: Option<String> = None,
        /// The process' name, as `ps -o comm` shows it (its first 15 bytes), or a regular expression of all of that.
        pub name: Option<Pattern> = None,
        /// A regular expression found anywhere in the command line, the words with a space between each two.
        pub pattern: Option<LinePattern> = None,
        /// The user that the process runs as, by name or number.
        pub user: Option<String> = None,
        /// How many there should be.
        pub count: CountBounds = CountBounds { min: Some(1), max: None },
        /// What it means that there are not.
        pub severity: Severity = Severity(State::Critical),
    }
}

fn check(config: &mut ProcessConfig, node: &Node, faults: &mut Faults) {
    let at = |key: &str| node.place(key);
    let given = ["pidfile", "unit", "name", "pattern", "user"];
    if given.iter().all(|key| node.get(key).is_none_or(Node::is_null)) {
        faults.error(node.at, "a process check needs a pidfile, unit, name, pattern or user");
    }
    if config.pidfile.is_some() && config.unit.is_some() {
        faults.error(at("unit"), "pidfile and unit exclude each other");
    }
    if config.pidfile.as_ref().is_some_and(|path| !path.starts_with('/')) {
        faults.error(at("pidfile"), "pidfile must be a path from / on");
    }
    if let Some(unit) = config.unit.as_mut().filter(|unit| !unit.contains('.')) {
        unit.push_str(".service");
    }
}

/// Of a pidfile only the beginning is read.
const MAX_PIDFILE: u64 = 4096;

impl ProcessConfig {
    /// The check, of the host below these roots.
    pub fn build(&self, roots: &Roots) -> Arc<dyn Look> {
        Arc::new(ProcessCheck { config: self.clone(), roots: roots.clone(), holder: Mutex::default() })
    }
}

struct ProcessCheck {
    config: ProcessConfig,
    roots: Roots,
    /// Who had the id of the pidfile in the last run. Locked for a run, by the one thread that runs it.
    holder: Mutex<Option<Holder>>,
}

/// A pidfile as it was written, and the process that had its id then.
struct Holder {
    /// Inode, and the time of its change.
    written: (u64, i64, i64),
    pid: u32,
    start: u64,
}

/// Processes that are as wanted, and what is to be said where there are none.
#[derive(Default)]
struct Candidates {
    processes: Vec<Process>,
    why_none: Option<String>,
}

impl Look for ProcessCheck {
    fn look(&self, out: &mut Families) -> Verdict {
        let mut holder = match self.holder.try_lock() {
            Ok(holder) => holder,
            Err(TryLockError::Poisoned(broken)) => broken.into_inner(),
            Err(TryLockError::WouldBlock) => return Verdict::unknown("the run before this one still reads"),
        };
        self.run(&mut holder, out).unwrap_or_else(Verdict::unknown)
    }
}

impl ProcessCheck {
    fn run(&self, holder: &mut Option<Holder>, out: &mut Families) -> Result<Verdict, String> {
        let said = |e: CollectError| e.to_string();
        let user = self.config.user.as_deref().map(|user| user_id(user, &self.roots)).transpose()?;
        let mut finder = Finder::new(&self.roots).map_err(said)?;
        let mut found = match &self.config.pidfile {
            Some(pidfile) => self.of_pidfile(pidfile, holder, &mut finder)?,
            None => {
                let pids = finder.all().map_err(said)?;
                let processes = pids.into_iter().filter_map(|pid| finder.process(pid)).collect();
                Candidates { processes, why_none: None }
            }
        };
        let was_there = found.processes.first().cloned();
        found.processes.retain(|process| !process.is_zombie && self.fits(process, user, &mut finder));
        let count = found.processes.len() as u64;
        out.gauge("watchfire_check_processes", "Processes that are as the check wants them.", &[], count as f64);
        let oldest = found.processes.iter().min_by_key(|process| process.start);
        let started = oldest.and_then(|process| finder.started(process));
        if let Some(started) = started {
            let help = "When the oldest process of the check was started, in seconds since 1970.";
            out.gauge("watchfire_check_process_oldest_start_time_seconds", help, &[], started);
        }
        let Some(fault) = self.config.count.fault(count) else {
            return Ok(Verdict::ok(self.describe(count, started)));
        };
        let mut findings = Findings::default();
        // Those that could not be looked at may be the ones.
        let too_few = self.config.count.min.is_some_and(|min| count < min);
        let state = if too_few && finder.unread() > 0 { State::Unknown } else { self.config.severity.0 };
        findings.add(state, || match (&self.config.pidfile, found.why_none, count) {
            (Some(_), Some(why), 0) => why,
            (Some(pidfile), None, 0) => other(pidfile, was_there.as_ref(), &self.wanted()),
            (_, _, count) => format!("{} of {} ({fault})", things(count, "process", "processes"), self.wanted()),
        });
        if state == State::Unknown {
            let unread = things(finder.unread(), "process", "processes");
            findings.add(state, || format!("{unread} could not be looked at"));
        }
        Ok(findings.verdict(String::new))
    }

    /// The process whose id the file holds.
    fn of_pidfile(
        &self,
        pidfile: &str,
        holder: &mut Option<Holder>,
        finder: &mut Finder,
    ) -> Result<Candidates, String> {
        let none = |why: String| Ok(Candidates { processes: Vec::new(), why_none: Some(why) });
        let (pid, written) = match read_pidfile(&self.roots.root(pidfile)) {
            Ok(read) => read,
            Err(error) if is_absent(&error) => return none(format!("{pidfile} is missing")),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => return none(format!("{pidfile}: {error}")),
            Err(error) => return Err(format!("cannot read {pidfile}: {error}")),
        };
        let Some(process) = finder.process(pid) else {
            return none(format!("process {pid} of {pidfile} does not run"));
        };
        if process.is_zombie {
            return none(format!("process {pid} of {pidfile} has ended, and its parent has not noticed"));
        }
        let before = holder.as_ref().filter(|holder| holder.written == written && holder.pid == pid);
        match before {
            Some(before) if before.start != process.start => {
                let name = String::from_utf8_lossy(&process.name);
                none(format!("the process of {pidfile} has ended, and its id {pid} is now another's: {name}"))
            }
            _ => {
                *holder = Some(Holder { written, pid, start: process.start });
                Ok(Candidates { processes: vec![process], why_none: None })
            }
        }
    }

    fn fits(&self, process: &Process, user: Option<u32>, finder: &mut Finder) -> bool {
        let config = &self.config;
        config.name.as_ref().is_none_or(|name| is_named(process, name))
            && config.unit.as_deref().is_none_or(|unit| finder.is_in_unit(process.pid, unit))
            && config.pattern.as_ref().is_none_or(|pattern| {
                finder.command_line(process.pid).is_some_and(|line| !line.is_empty() && pattern.is_match(&line))
            })
            && user.is_none_or(|user| finder.user(process.pid) == Some(user))
    }

    /// What is looked for, in words.
    fn wanted(&self) -> String {
        let config = &self.config;
        let mut parts = Vec::new();
        parts.extend(config.pidfile.as_ref().map(|path| format!("file {path}")));
        parts.extend(config.unit.as_ref().map(|unit| format!("unit {unit}")));
        parts.extend(config.name.as_ref().map(|name| format!("name {}", name.as_str())));
        parts.extend(config.pattern.as_ref().map(|pattern| format!("command line {pattern}")));
        parts.extend(config.user.as_ref().map(|user| format!("user {user}")));
        parts.join(", ")
    }

    fn describe(&self, count: u64, started: Option<f64>) -> String {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let age = started.and_then(|started| Duration::try_from_secs_f64(now - started).ok());
        let age = age.map_or(String::new(), |age| match count {
            1 => format!(", for {}", span(age)),
            _ => format!(", the oldest for {}", span(age)),
        });
        let verb = if count == 1 { "runs" } else { "run" };
        format!("{} of {} {verb}{age}", things(count, "process", "processes"), self.wanted())
    }
}

/// Whether a process has a name, or one that is as an expression says.
fn is_named(process: &Process, name: &Pattern) -> bool {
    process.is_named(name.as_str()) || name.is_match(&String::from_utf8_lossy(&process.name))
}

/// What is wrong with the process of a pidfile that is not as wanted.
fn other(pidfile: &str, process: Option<&Process>, wanted: &str) -> String {
    let (pid, name) = process.map_or((0, "".into()), |p| (p.pid, String::from_utf8_lossy(&p.name)));
    format!("process {pid} of {pidfile} is another: {name} (wanted: {wanted})")
}

/// The id in a pidfile, and what tells that the file has been written anew.
fn read_pidfile(path: &Path) -> io::Result<(u32, (u64, i64, i64))> {
    let file = open_regular(path)?;
    let metadata = file.metadata()?;
    let mut text = Vec::new();
    file.take(MAX_PIDFILE).read_to_end(&mut text)?;
    let line = text.split(|b| *b == b'\n').next().unwrap_or_default().trim_ascii();
    let pid = std::str::from_utf8(line).ok().and_then(|line| line.parse::<u32>().ok()).filter(|pid| *pid > 0);
    let invalid = || {
        let shown: String = String::from_utf8_lossy(line).chars().take(20).collect();
        io::Error::new(io::ErrorKind::InvalidData, format!("{shown:?} is no process id"))
    };
    Ok((pid.ok_or_else(invalid)?, (metadata.ino(), metadata.mtime(), metadata.mtime_nsec())))
}

#[cfg(test)]
mod tests;
