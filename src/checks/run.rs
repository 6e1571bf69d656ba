//! A check ready to be run: the task of the pool that it is, and what the task's end means.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::board::{Board, CommandUse, Ended, Report, Ticket};
use super::config::{Check, CheckConfig};
use super::families::Families;
use super::format::{Format, Given};
use super::net::write_success;
use super::places::Places;
use super::probe::{Look, Probe};
use super::verdict::{State, Verdict};
use crate::collect::Roots;
use crate::model::{Labels, format_duration};
use crate::pool::{Answer, Backoff, Class, Outcome, Secrets, Status, Task};
use crate::yaml::Secret;

/// What a probe may take beyond its own limit: it ends by itself and says what it waited for, where the pool only cuts it
/// off.
const SLACK: Duration = Duration::from_secs(1);

/// The pause before another try.
const RETRY: Duration = Duration::from_secs(1);

/// What looks.
pub(super) enum Kind {
    Command(Format),
    Probe(Arc<dyn Probe>),
    Look(Arc<dyn Look>),
}

impl Kind {
    /// What a check is made of; `None` for one that has no kind, which no valid configuration has. Without places it is
    /// forgotten at a restart where logs have been read to.
    pub(super) fn of(check: &Check, roots: &Roots, places: Option<&Arc<Places>>) -> Option<Kind> {
        let CheckConfig { http, tcp, dns, icmp, file, process, systemd, log, .. } = &check.config;
        let probe = http.as_ref().map(|http| http.build());
        let probe = probe.or_else(|| tcp.as_ref().map(|tcp| tcp.build()));
        let probe = probe.or_else(|| dns.as_ref().map(|dns| dns.build()));
        let probe = probe.or_else(|| icmp.as_ref().map(|icmp| icmp.build()));
        let look = file.as_ref().map(|file| file.build(roots));
        let look = look.or_else(|| process.as_ref().map(|process| process.build(roots)));
        let look = look.or_else(|| systemd.as_ref().map(|unit| unit.build(roots)));
        let log = log.as_ref().map(|log| match places {
            Some(places) => log.build_with(roots, places.place(&check.config.name)),
            None => log.build(roots),
        });
        let look = look.or(log);
        check.format().map(Kind::Command).or(probe.map(Kind::Probe)).or(look.map(Kind::Look))
    }
}

/// A check with all that its runs need.
pub(super) struct Ready {
    pub(super) check: Check,
    pub(super) kind: Kind,
    pub(super) labels: Arc<Labels>,
    pub(super) ticket: Ticket,
    pub(super) board: Arc<Board>,
    pub(super) underway: Underway,
}

/// Since when a look is under way, also when the pool does not wait for it any more.
#[derive(Default)]
pub(super) struct Underway(Mutex<Option<Instant>>);

/// A look that is under way; over when dropped.
struct Held<'u>(&'u Underway);

impl Underway {
    fn since(&self) -> Option<Instant> {
        *self.lock()
    }

    /// Begins a look; the error is since when another is under way.
    fn begin(&self) -> Result<Held<'_>, Instant> {
        match &mut *self.lock() {
            Some(since) => Err(*since),
            free => {
                *free = Some(Instant::now());
                Ok(Held(self))
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        *self.0.lock() = None;
    }
}

/// What a probe or look has said and found, for the callback that follows it.
type Slot = Arc<Mutex<Option<(Verdict, Families)>>>;

impl Ready {
    /// The task of one run.
    pub(super) fn task(self: &Arc<Self>) -> Task {
        let config = &self.check.config;
        let slot = Slot::default();
        let (name, limit) = (&config.name, config.timeout);
        let task = match &self.kind {
            Kind::Command(_) => self.command(),
            Kind::Probe(probe) => {
                let (ready, slot, probe) = (self.clone(), slot.clone(), probe.clone());
                Task::repeatable_future(name, move || ready.clone().probe(probe.clone(), slot.clone()))
                    .timeout(limit + SLACK)
            }
            Kind::Look(look) => self.look(look.clone(), slot.clone()),
        };
        let task = match &self.kind {
            Kind::Command(_) if config.retries > 0 => {
                let ready = self.clone();
                task.retry_if(move |outcome| ready.is_bad(outcome))
            }
            _ => task,
        };
        let ready = self.clone();
        task.class(Class::Check).retries(config.retries, Backoff::fixed(RETRY)).then(move |outcome| {
            let said = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(report) = ready.report(outcome, said) {
                ready.board.record(&ready.ticket, report);
            }
        })
    }

    /// The command, with all that shapes it.
    pub(super) fn command(&self) -> Task {
        let config = &self.check.config;
        let mut task = Task::command(&config.command)
            .name(&config.name)
            .timeout(config.timeout)
            .output_limit(usize::try_from(config.output_limit.0).unwrap_or(usize::MAX))
            .limits(config.limits.limits());
        for (name, value) in &config.env {
            task = task.secret_env(name, value.expose());
        }
        match &config.directory {
            Some(directory) => task.current_dir(directory),
            None => task,
        }
    }

    /// A look takes a thread, unless the one before still has one: there are few for what hangs.
    fn look(self: &Arc<Self>, look: Arc<dyn Look>, slot: Slot) -> Task {
        let (ready, config) = (self.clone(), &self.check.config);
        let task = match self.underway.since() {
            Some(since) => Task::repeatable_future(&config.name, move || {
                std::future::ready(leave(&slot, not_returned(since), Families::new(ready.labels.clone())))
            }),
            None => Task::repeatable_call(&config.name, move |_| {
                let mut families = Families::new(ready.labels.clone());
                let verdict = match ready.underway.begin() {
                    Ok(_held) => look.look(&mut families),
                    Err(since) => not_returned(since),
                };
                leave(&slot, verdict, families)
            }),
        };
        task.timeout(config.timeout)
    }

    async fn probe(self: Arc<Self>, probe: Arc<dyn Probe>, slot: Slot) -> Answer {
        let mut families = Families::new(self.labels.clone());
        let verdict = probe.probe(self.check.config.timeout, &mut families).await;
        leave(&slot, verdict, families)
    }

    /// Whether a run of a command that exited well is not ok by what it wrote.
    fn is_bad(&self, outcome: &Outcome) -> bool {
        self.report(outcome, None).is_some_and(|report| report.ended != Ended::With(State::Ok))
    }

    /// What a command has written, without what is not its to say.
    pub(super) fn read(&self, mut verdict: Verdict, mut families: Families) -> (Ended, Verdict, Families) {
        verdict.summary = self.masked(&verdict.summary);
        if let Some(name) = families.drop_reserved() {
            verdict.summary = format!("{} ({name} is a name of the agent's own: left out)", verdict.summary);
            verdict.state = verdict.state.max(State::Warning);
        }
        with(verdict, families)
    }

    /// A text of a command without the secrets that it was given.
    pub(super) fn masked(&self, text: &str) -> String {
        Secrets::of(self.check.config.env.values().map(Secret::expose)).masked(text)
    }

    /// What the end of a run means; `None` where there was none, which the age of the last run tells.
    fn report(&self, outcome: &Outcome, said: Option<(Verdict, Families)>) -> Option<Report> {
        let is_command = matches!(self.kind, Kind::Command(_));
        let nothing = || {
            let mut families = Families::new(self.labels.clone());
            if matches!(self.kind, Kind::Probe(_)) {
                // It was cut off: rules over it must not fall silent.
                write_success(false, &mut families);
            }
            families
        };
        let (ended, verdict, families) = match (&outcome.status, &self.kind, said) {
            (Status::Cancelled | Status::Late { .. } | Status::Skipped { .. } | Status::Refused(_), ..) => return None,
            (Status::Exited(code), Kind::Command(format), _) => {
                let mut families = nothing();
                let given = Given {
                    stdout: &outcome.stdout.bytes,
                    stderr: &outcome.stderr.bytes,
                    truncated: outcome.stdout.truncated,
                    code: *code,
                };
                let verdict = format.read(&given, &mut families);
                self.read(verdict, families)
            }
            (Status::Succeeded | Status::Failed(_), _, Some((verdict, families))) => with(verdict, families),
            // What hangs is wrong, as to Nagios.
            (status @ Status::TimedOut { .. }, ..) => {
                (Ended::Timeout, Verdict::critical(status.to_string()), nothing())
            }
            (status, ..) => (Ended::Failed, Verdict::unknown(status.to_string()), nothing()),
        };
        let command = is_command.then(|| used(outcome));
        Some(Report { ended, verdict, ran: Some(outcome.ran), command, families })
    }
}

/// What a command has used that has ended.
pub(super) fn used(outcome: &Outcome) -> CommandUse {
    CommandUse {
        exit_code: if let Status::Exited(code) = outcome.status { Some(code) } else { None },
        cpu: Some(outcome.usage.user + outcome.usage.system),
        max_rss: outcome.usage.max_rss,
    }
}

/// What hangs is wrong, and stays so until it returns.
fn not_returned(since: Instant) -> Verdict {
    let age = Duration::from_secs(since.elapsed().as_secs());
    Verdict::critical(format!("the run of {} ago has not returned", format_duration(age)))
}

/// A verdict with what was found; to have found too much is worth a warning.
fn with(mut verdict: Verdict, families: Families) -> (Ended, Verdict, Families) {
    let dropped = families.dropped();
    if dropped > 0 {
        verdict.summary = format!("{} ({dropped} samples too many are left out)", verdict.summary);
        verdict.state = verdict.state.max(State::Warning);
    }
    (Ended::With(verdict.state), verdict, families)
}

/// Leaves what a run has said, and answers the pool: what is not ok may be tried again.
fn leave(slot: &Slot, verdict: Verdict, families: Families) -> Answer {
    let answer = match verdict.state {
        State::Ok => Ok(verdict.summary.clone().into_bytes()),
        _ => Err(verdict.summary.clone()),
    };
    *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some((verdict, families));
    answer
}

#[cfg(test)]
mod tests;
