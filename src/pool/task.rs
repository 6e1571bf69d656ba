//! What is to be run: a command and its surroundings.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;

/// Who wants a task run. Each class has a queue of its own and they are served in turn, so that a flood of one does not
/// starve another.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Class {
    /// Delivers a notification.
    Sink,
    /// Looks at something.
    Check,
}

impl Class {
    pub(super) const ALL: [Class; 2] = [Class::Sink, Class::Check];

    /// The value of the label `class`.
    pub fn as_str(self) -> &'static str {
        match self {
            Class::Sink => "sink",
            Class::Check => "check",
        }
    }
}

/// What a command inherits from the agent unless the task gives a value; the rest of the agent's environment, which may
/// hold secrets, does not reach it.
const INHERITED: [&str; 4] = ["PATH", "HOME", "LANG", "TZ"];

/// A command to run, with everything that shapes the run. What is not set comes from the pool's configuration.
#[derive(Clone, Debug)]
pub struct Task {
    pub(super) name: String,
    pub(super) class: Class,
    pub(super) argv: Vec<OsString>,
    pub(super) env: Vec<(OsString, OsString)>,
    pub(super) dir: Option<PathBuf>,
    pub(super) stdin: Bytes,
    pub(super) timeout: Option<Duration>,
    pub(super) kill_grace: Option<Duration>,
    pub(super) output_limit: Option<usize>,
}

impl Task {
    /// Runs the program `argv[0]` with the arguments that follow. There is no shell in between. A program without a
    /// slash is looked for in the `PATH` that the command will see; a relative path starts at the task's directory.
    pub fn command<I, S>(argv: I) -> Task
    where
        I: IntoIterator<Item = S>,
        S: Into<OsString>,
    {
        let argv: Vec<OsString> = argv.into_iter().map(Into::into).collect();
        Task {
            name: argv.first().map_or_else(String::new, |program| program.to_string_lossy().into_owned()),
            class: Class::Check,
            argv,
            env: Vec::new(),
            dir: None,
            stdin: Bytes::new(),
            timeout: None,
            kill_grace: None,
            output_limit: None,
        }
    }

    /// What logs call the task; by default the program.
    pub fn name(mut self, name: impl Into<String>) -> Task {
        self.name = name.into();
        self
    }

    /// Whose work it is; by default [`Class::Check`].
    pub fn class(mut self, class: Class) -> Task {
        self.class = class;
        self
    }

    /// Sets an environment variable; the last value given for a name counts.
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Task {
        self.env.push((name.into(), value.into()));
        self
    }

    /// The directory the command starts in; by default the agent's own.
    pub fn current_dir(mut self, dir: impl Into<PathBuf>) -> Task {
        self.dir = Some(dir.into());
        self
    }

    /// What the command can read from standard input, which then ends. A command need not read it.
    pub fn stdin(mut self, bytes: impl Into<Bytes>) -> Task {
        self.stdin = bytes.into();
        self
    }

    /// The time the command may run, counted from its start.
    pub fn timeout(mut self, limit: Duration) -> Task {
        self.timeout = Some(limit);
        self
    }

    /// The time between SIGTERM and SIGKILL when the command has to end.
    pub fn kill_grace(mut self, grace: Duration) -> Task {
        self.kill_grace = Some(grace);
        self
    }

    /// The number of bytes kept of standard output, and of standard error.
    pub fn output_limit(mut self, bytes: usize) -> Task {
        self.output_limit = Some(bytes);
        self
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_agents_environment_only_the_named_variables_are_inherited_and_given_ones_win() {
        let task = Task::command(["x"]).env("LANG", "C").env("A", "1").env("A", "2");
        let env = task.environment();
        assert!(env.iter().all(|(name, _)| name == "A" || INHERITED.iter().any(|known| name == known)));
        assert!(env.contains(&("LANG".into(), "C".into())));
        assert_eq!(env.iter().filter(|(name, _)| name == "A").collect::<Vec<_>>(), [&("A".into(), "2".into())]);
        assert_eq!(env.iter().filter(|(name, _)| name == "LANG").count(), 1);
    }
}
