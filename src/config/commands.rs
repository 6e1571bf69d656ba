//! Warnings of commands whose programs are not there. They are no errors: a program may be installed later.

use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use crate::pool::program_fault;
use crate::yaml::{Faults, Node, Position};

/// How long is looked for them. On a dead mount that takes forever, and the agent has to start all the same.
const LIMIT: Duration = Duration::from_secs(2);

/// A program that is named.
struct Named {
    at: Position,
    program: String,
    /// The `PATH` that the command is given.
    path: Option<String>,
}

/// Names the programs of checks, actions and receivers that could not be started now. `base`: the directory of the file.
pub(super) fn warn_of_missing(root: &Node, base: &Path, faults: &mut Faults) {
    let checks = root.get("checks").map(Node::items).unwrap_or_default();
    let actions = root.get("actions").map(Node::items).unwrap_or_default();
    let receivers = root.get("alerting").and_then(|alerting| alerting.get("receivers")).map(Node::items);
    let told = receivers.unwrap_or_default().iter().filter_map(|receiver| receiver.get("exec_configs"));
    let others = actions.iter().chain(told.flat_map(Node::items));
    let all: Vec<Named> = checks.iter().chain(others).filter_map(|command| named(command, base)).collect();
    warn_within(LIMIT, all, program_fault, faults);
}

/// `base`: where relative paths start.
fn named(node: &Node, base: &Path) -> Option<Named> {
    let first = node.get("command")?.items().first()?;
    let program = first.as_str().filter(|program| !program.is_empty())?;
    let program = match program.contains('/') {
        true => base.join(program).to_string_lossy().into_owned(),
        false => program.to_string(),
    };
    let path = node.get("env").and_then(|env| env.get("PATH")).and_then(Node::as_str);
    Some(Named { at: first.at, program, path: path.map(str::to_string) })
}

/// Looks on a thread of its own, which is left behind when it hangs.
fn warn_within(
    limit: Duration,
    all: Vec<Named>,
    look: impl Fn(&str, Option<&str>) -> Option<String> + Send + 'static,
    faults: &mut Faults,
) {
    let places: Vec<Position> = all.iter().map(|named| named.at).collect();
    let (tell, told) = channel();
    let run = move || {
        for named in all {
            if tell.send(look(&named.program, named.path.as_deref())).is_err() {
                return;
            }
        }
    };
    if places.is_empty() || std::thread::Builder::new().name("programs".to_string()).spawn(run).is_err() {
        return;
    }
    let until = Instant::now() + limit;
    for at in places {
        match told.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(Some(fault)) => faults.warn(at, format!("{fault}: until there is one, the command cannot be started")),
            Ok(None) => {}
            Err(RecvTimeoutError::Timeout) => {
                return faults.warn(at, "the file system that this program is on does not answer");
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_that_does_not_answer_is_named_and_holds_nothing_up() {
        let at = |line| Position { line, column: 1 };
        let named = |line, program: &str| Named { at: at(line), program: program.to_string(), path: None };
        let look = |program: &str, _: Option<&str>| {
            if program == "hangs" {
                std::thread::sleep(Duration::from_secs(60));
            }
            Some(format!("no {program}"))
        };
        let mut faults = Faults::default();
        let began = Instant::now();
        let all = vec![named(1, "first"), named(2, "hangs"), named(3, "last")];
        warn_within(Duration::from_millis(500), all, look, &mut faults);
        assert!(began.elapsed() < Duration::from_secs(30));
        let said = faults.to_string();
        assert!(said.contains("1:1: warning: no first: until"), "{said}");
        assert!(said.contains("2:1: warning: the file system that this program is on does not answer"), "{said}");
        assert_eq!(said.matches("warning").count(), 2, "{said}");
    }
}
