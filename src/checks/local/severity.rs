//! What something that is not as it should be means.

use crate::checks::State;
use crate::yaml::{Faults, FromYaml, Node, Value};

/// The state that a check takes when something is not as it should be; `ok` where it is only to be counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Severity(pub State);

impl FromYaml for Severity {
    fn from_yaml(node: &Node, faults: &mut Faults) -> Option<Self> {
        let state = State::ALL.into_iter().find(|state| node.as_str() == Some(state.as_str()));
        if state.is_none() {
            faults.unexpected(node, "ok, warning, critical or unknown");
        }
        state.map(Severity)
    }

    fn as_yaml(&self) -> Option<Value> {
        Some(Value::plain(self.0.as_str()))
    }
}
