//! A check ready to be run: the task of the pool that it is, and what the task's end means.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::board::{Board, CommandUse, Ended, Report, Ticket};
use super::config::{Check, CheckConfig};
use super::families::Families;
use super::format::{Format, Given};
use super::probe::{Look, Probe};
use super::verdict::{State, Verdict};
use crate::collect::Roots;
use crate::model::Labels;
use crate::pool::{Answer, Backoff, Class, Outcome, Status, Task};

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
    /// What a check is made of; `None` for one that has no kind, which no valid configuration has.
    pub(super) fn of(check: &Check, roots: &Roots) -> Option<Kind> {
        let CheckConfig { http, tcp, dns, icmp, file, process, systemd, log, .. } = &check.config;
        let probe = http.as_ref().map(|http| http.build());
        let probe = probe.or_else(|| tcp.as_ref().map(|tcp| tcp.build()));
        let probe = probe.or_else(|| dns.as_ref().map(|dns| dns.build()));
        let probe = probe.or_else(|| icmp.as_ref().map(|icmp| icmp.build()));
        let look = file.as_ref().map(|file| file.build(roots));
        let look = look.or_else(|| process.as_ref().map(|process| process.build(roots)));
        let look = look.or_else(|| systemd.as_ref().map(|unit| unit.build(roots)));
        let look = look.or_else(|| log.as_ref().map(|log| log.build(roots)));
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
            Kind::Look(look) => {
                let (ready, slot, look) = (self.clone(), slot.clone(), look.clone());
                Task::repeatable_call(name, move |_| {
                    let mut families = Families::new(ready.labels.clone());
                    let verdict = look.look(&mut families);
                    leave(&slot, verdict, families)
                })
                .timeout(limit)
            }
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
            task = task.env(name, value.expose());
        }
        match &config.directory {
            Some(directory) => task.current_dir(directory),
            None => task,
        }
    }

    async fn probe(self: Arc<Self>, probe: Arc<dyn Probe>, slot: Slot) -> Answer {
        let mut families = Families::new(self.labels.clone());
        let verdict = probe.probe(self.check.config.timeout, &mut families).await;
        leave(&slot, verdict, families)
    }

    /// What the end of a run means; `None` where there was none, which the age of the last run tells.
    fn report(&self, outcome: &Outcome, said: Option<(Verdict, Families)>) -> Option<Report> {
        let is_command = matches!(self.kind, Kind::Command(_));
        let nothing = || Families::new(self.labels.clone());
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
                with(verdict, families)
            }
            (Status::Exited(_) | Status::Failed(_), _, Some((verdict, families))) => with(verdict, families),
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

/// A verdict with what was found; to have found too much is worth a warning.
pub(super) fn with(mut verdict: Verdict, families: Families) -> (Ended, Verdict, Families) {
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
