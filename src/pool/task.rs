//! What is to be run, and how.

use std::ffi::{OsStr, OsString};
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::backoff::Backoff;
use super::handle::Handle;
use super::job::{Begun, Dependency, Ended};
use super::limits::Limits;
use super::outcome::Outcome;
use super::secrets::Secrets;
use super::threads::Running;

/// Who wants a task run. Each class has a queue of its own and they are served in turn, so that a flood of one does not
/// starve another.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Class {
    /// Delivers a notification. One place more than there are is kept for these, so that an alert goes out while long
    /// checks hold all others.
    Sink,
    /// Looks at something.
    Check,
    /// Puts something right. These have one place more, too.
    Action,
}

impl Class {
    pub(super) const ALL: [Class; 3] = [Class::Sink, Class::Check, Class::Action];

    /// Whether a place more than there are is kept for it.
    pub(super) fn has_spare(self) -> bool {
        matches!(self, Class::Sink | Class::Action)
    }

    /// The value of the label `class`.
    pub fn as_str(self) -> &'static str {
        match self {
            Class::Sink => "sink",
            Class::Check => "check",
            Class::Action => "action",
        }
    }
}

/// What kind of place a task takes. Each lane has places and queues of its own, as they are scarce for different
/// reasons: commands for the processors, threads for the memory, futures for what is at the other end.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Lane {
    /// [`Task::command`].
    Command,
    /// [`Task::call`].
    Thread,
    /// [`Task::future`].
    Future,
}

impl Lane {
    pub(super) const ALL: [Lane; 3] = [Lane::Command, Lane::Thread, Lane::Future];

    /// The value of the label `lane`.
    pub fn as_str(self) -> &'static str {
        match self {
            Lane::Command => "command",
            Lane::Thread => "thread",
            Lane::Future => "future",
        }
    }
}

/// What a call or a future answers: what becomes the outcome's standard output, or what went wrong.
pub type Answer = Result<Vec<u8>, String>;

pub(super) type CallOnce = Box<dyn FnOnce(&Running) -> Answer + Send>;
pub(super) type Waiting = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// What a task does.
pub(super) enum Work {
    Command(Arc<Command>),
    Call(CallOnce),
    Calls(Arc<dyn Fn(&Running) -> Answer + Send + Sync>),
    Future(Waiting),
    Futures(Arc<dyn Fn() -> Waiting + Send + Sync>),
    /// A call or future of which there was only one.
    Spent(Lane),
}

impl Work {
    pub(super) fn lane(&self) -> Lane {
        match self {
            Work::Command(_) => Lane::Command,
            Work::Call(_) | Work::Calls(_) => Lane::Thread,
            Work::Future(_) | Work::Futures(_) => Lane::Future,
            Work::Spent(lane) => *lane,
        }
    }

    /// What nobody is to see in what it writes.
    pub(super) fn secrets(&self) -> Option<&Secrets> {
        match self {
            Work::Command(command) => Some(&command.secrets).filter(|secrets| !secrets.is_empty()),
            _ => None,
        }
    }

    /// The same work once more, where that can be had.
    pub(super) fn again(&self) -> Option<Work> {
        match self {
            Work::Command(command) => Some(Work::Command(Arc::clone(command))),
            Work::Calls(call) => Some(Work::Calls(Arc::clone(call))),
            Work::Futures(make) => Some(Work::Futures(Arc::clone(make))),
            Work::Call(_) | Work::Future(_) | Work::Spent(_) => None,
        }
    }

    /// The work to do now; what can be done again stays here for another try.
    pub(super) fn take(&mut self) -> Work {
        match self.again() {
            Some(work) => work,
            None => std::mem::replace(self, Work::Spent(self.lane())),
        }
    }
}

/// Whether an outcome that is no failure is to be tried again all the same.
pub(super) type Judge = Arc<dyn Fn(&Outcome) -> bool + Send + Sync>;

/// What a command inherits from the agent unless the task gives a value; the rest of the agent's environment, which may
/// hold secrets, does not reach it.
const INHERITED: [&str; 4] = ["PATH", "HOME", "LANG", "TZ"];

/// A command and its surroundings.
#[derive(Clone, Default, Debug)]
pub(super) struct Command {
    pub(super) argv: Vec<OsString>,
    pub(super) env: Vec<(OsString, OsString)>,
    pub(super) dir: Option<PathBuf>,
    pub(super) stdin: Bytes,
    pub(super) limits: Limits,
    /// What nobody is to see in its output.
    pub(super) secrets: Secrets,
}

impl Command {
    /// The environment the command gets: the few inherited variables, then those given, a later one replacing an
    /// earlier one of the same name.
    pub(super) fn environment(&self) -> Vec<(OsString, OsString)> {
        let inherited = INHERITED.iter().filter_map(|name| Some((OsString::from(name), std::env::var_os(name)?)));
        let mut all: Vec<(OsString, OsString)> = inherited.collect();
        for (name, value) in &self.env {
            match all.iter_mut().find(|(known, _)| known == name) {
                Some((_, old)) => old.clone_from(value),
                None => all.push((name.clone(), value.clone())),
            }
        }
        all
    }

    pub(super) fn program(&self) -> &OsStr {
        self.argv.first().map_or(OsStr::new(""), OsString::as_os_str)
    }
}

/// Something to run, with everything that shapes the run. What is not set comes from the pool's configuration.
pub struct Task {
    pub(super) work: Work,
    pub(super) name: Arc<str>,
    pub(super) id: Option<Arc<str>>,
    pub(super) class: Class,
    pub(super) priority: i8,
    pub(super) timeout: Option<Duration>,
    pub(super) deadline: Option<Duration>,
    pub(super) kill_grace: Option<Duration>,
    pub(super) output_limit: Option<usize>,
    pub(super) retries: u32,
    pub(super) backoff: Backoff,
    pub(super) is_bad: Option<Judge>,
    pub(super) after: Vec<Dependency>,
    pub(super) begun: Option<Begun>,
    pub(super) then: Option<Ended>,
    /// Is not repeated when somebody asks: whoever made it decides when it runs.
    pub(super) once: bool,
}

impl Task {
    fn new(name: &str, work: Work) -> Task {
        Task {
            work,
            name: name.into(),
            id: None,
            class: Class::Check,
            priority: 0,
            timeout: None,
            deadline: None,
            kill_grace: None,
            output_limit: None,
            retries: 0,
            backoff: Backoff::default(),
            is_bad: None,
            after: Vec::new(),
            begun: None,
            then: None,
            once: false,
        }
    }

    /// The same task once more, without what it waited for and whom it was to tell; of what can be repeated only.
    pub(super) fn again(&self) -> Option<Task> {
        let Task {
            name,
            id,
            class,
            priority,
            timeout,
            deadline,
            kill_grace,
            output_limit,
            retries,
            backoff,
            is_bad,
            ..
        } = self;
        Some(Task {
            work: self.work.again()?,
            name: Arc::clone(name),
            id: id.clone(),
            class: *class,
            priority: *priority,
            timeout: *timeout,
            deadline: *deadline,
            kill_grace: *kill_grace,
            output_limit: *output_limit,
            retries: *retries,
            backoff: *backoff,
            is_bad: is_bad.clone(),
            after: Vec::new(),
            begun: None,
            then: None,
            once: false,
        })
    }

    /// Runs the program `argv[0]` with the arguments that follow. There is no shell in between. A program without a
    /// slash is looked for in the `PATH` that the command will see; a relative path starts at the task's directory.
    pub fn command<I, S>(argv: I) -> Task
    where
        I: IntoIterator<Item = S>,
        S: Into<OsString>,
    {
        let argv: Vec<OsString> = argv.into_iter().map(Into::into).collect();
        let command = Command { argv, ..Command::default() };
        let name = command.program().to_string_lossy().into_owned();
        Task::new(&name, Work::Command(Arc::new(command)))
    }

    /// Calls `call` on a worker thread of the pool: for what blocks. It is told when to end by [`Running`]; one that
    /// does not is left behind with its thread, and another takes its place.
    pub fn call(name: &str, call: impl FnOnce(&Running) -> Answer + Send + 'static) -> Task {
        Task::new(name, Work::Call(Box::new(call)))
    }

    /// As [`Task::call`], for what may be called once more when it fails.
    pub fn repeatable_call(name: &str, call: impl Fn(&Running) -> Answer + Send + Sync + 'static) -> Task {
        Task::new(name, Work::Calls(Arc::new(call)))
    }

    /// Awaits `future` on the runtime: for what waits, for a network as a rule. It is dropped when its time is over or it
    /// is cancelled.
    pub fn future(name: &str, future: impl Future<Output = Answer> + Send + 'static) -> Task {
        Task::new(name, Work::Future(Box::pin(future)))
    }

    /// As [`Task::future`], for what may be made and awaited once more when it fails.
    pub fn repeatable_future<F>(name: &str, make: impl Fn() -> F + Send + Sync + 'static) -> Task
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        Task::new(name, Work::Futures(Arc::new(move || Box::pin(make()))))
    }

    /// What logs call the task; by default the program.
    pub fn name(mut self, name: impl AsRef<str>) -> Task {
        self.name = name.as_ref().into();
        self
    }

    /// Under what the task's results are kept, run after run. Tasks without one are not remembered.
    pub fn id(mut self, id: impl AsRef<str>) -> Task {
        self.id = Some(id.as_ref().into());
        self
    }

    /// Is run at no other's wish ([`Pool::retry`](super::Pool::retry)): whoever submits it decides when it runs.
    pub fn once(mut self) -> Task {
        self.once = true;
        self
    }

    /// Whose work it is; by default [`Class::Check`].
    pub fn class(mut self, class: Class) -> Task {
        self.class = class;
        self
    }

    /// Who of a class goes first when a place is free: the higher; among equals the oldest. By default 0.
    pub fn priority(mut self, priority: i8) -> Task {
        self.priority = priority;
        self
    }

    /// The time the task may run, counted from its start; every try has it anew.
    pub fn timeout(mut self, limit: Duration) -> Task {
        self.timeout = Some(limit);
        self
    }

    /// The time after which nobody wants the result any more, counted from the submission: what has not begun by then is
    /// not begun ([`Status::Late`](super::Status::Late)), what runs is ended as by its timeout.
    pub fn deadline(mut self, limit: Duration) -> Task {
        self.deadline = Some(limit);
        self
    }

    /// How often the task is tried again when it has failed or timed out. Of calls and futures only those that are
    /// repeatable are.
    pub fn retries(mut self, times: u32, backoff: Backoff) -> Task {
        self.retries = times;
        self.backoff = backoff;
        self
    }

    /// Tries it again, as often as [`Task::retries`] says, also where its end is no failure to the pool but `is_bad` says
    /// so of it.
    pub fn retry_if(mut self, is_bad: impl Fn(&Outcome) -> bool + Send + Sync + 'static) -> Task {
        self.is_bad = Some(Arc::new(is_bad));
        self
    }

    /// Waits for the end of others of the same pool, whatever it is.
    pub fn after(mut self, others: &[&Handle]) -> Task {
        self.after.extend(others.iter().map(|other| other.dependency(false)));
        self
    }

    /// Waits for the end of others of the same pool, and is not run when one of them fails
    /// ([`Status::Skipped`](super::Status::Skipped)).
    pub fn after_success(mut self, others: &[&Handle]) -> Task {
        self.after.extend(others.iter().map(|other| other.dependency(true)));
        self
    }

    /// Is called once, when the first try of the task leaves the queue and starts: never for one that is called off before.
    /// It must not block: the task begins when it returns.
    pub fn on_start(mut self, callback: impl FnOnce() + Send + 'static) -> Task {
        self.begun = Some(match self.begun.take() {
            None => Box::new(callback),
            Some(first) => Box::new(move || {
                first();
                callback();
            }),
        });
        self
    }

    /// Is called when the task has ended, before those who wait for it are told, so that they see what it did. It must
    /// not block: it runs wherever the task ended.
    pub fn then(mut self, callback: impl FnOnce(&Arc<Outcome>) + Send + 'static) -> Task {
        self.then = Some(match self.then.take() {
            None => Box::new(callback),
            Some(first) => Box::new(move |outcome| {
                first(outcome);
                callback(outcome);
            }),
        });
        self
    }

    /// The time between SIGTERM and SIGKILL when a command has to end, and the time a call that is cancelled has to end
    /// by itself.
    pub fn kill_grace(mut self, grace: Duration) -> Task {
        self.kill_grace = Some(grace);
        self
    }

    /// The number of bytes kept of standard output, and of standard error.
    pub fn output_limit(mut self, bytes: usize) -> Task {
        self.output_limit = Some(bytes);
        self
    }

    /// Sets an environment variable of a command; the last value given for a name counts.
    pub fn env(self, name: impl Into<OsString>, value: impl Into<OsString>) -> Task {
        self.shape(|command| command.env.push((name.into(), value.into())))
    }

    /// Sets an environment variable of a command to a secret, which is hidden in what is shown of its output
    /// ([`Latest`](super::Latest)).
    pub fn secret_env(self, name: impl Into<OsString>, value: &str) -> Task {
        self.shape(|command| {
            command.env.push((name.into(), value.into()));
            command.secrets.add(value);
        })
    }

    /// The directory a command starts in; by default the agent's own.
    pub fn current_dir(self, dir: impl Into<PathBuf>) -> Task {
        self.shape(|command| command.dir = Some(dir.into()))
    }

    /// What a command can read from standard input, which then ends. It need not read it.
    pub fn stdin(self, bytes: impl Into<Bytes>) -> Task {
        self.shape(|command| command.stdin = bytes.into())
    }

    /// What a command may use of the host, and as whom.
    pub fn limits(self, limits: Limits) -> Task {
        self.shape(|command| command.limits = limits)
    }

    /// Changes the command, if this is one: what else there is has no surroundings.
    fn shape(mut self, change: impl FnOnce(&mut Command)) -> Task {
        if let Work::Command(command) = &mut self.work {
            change(Arc::make_mut(command));
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_agents_environment_only_the_named_variables_are_inherited_and_given_ones_win() {
        let task = Task::command(["x"]).env("LANG", "C").env("A", "1").env("A", "2");
        let Work::Command(command) = task.work else { panic!("it is a command") };
        let env = command.environment();
        assert!(env.iter().all(|(name, _)| name == "A" || INHERITED.iter().any(|known| name == known)));
        assert!(env.contains(&("LANG".into(), "C".into())));
        assert_eq!(env.iter().filter(|(name, _)| name == "A").collect::<Vec<_>>(), [&("A".into(), "2".into())]);
        assert_eq!(env.iter().filter(|(name, _)| name == "LANG").count(), 1);
    }
}
