//! The name that an item gives: `name`, a Go template over what is known of the process.

use std::fmt;
use std::sync::{Arc, LazyLock};

use crate::model::Timestamp;
use crate::template::{Context, Functions, Limits, Template, TemplateError, Uses, Value};
use crate::yaml::{Faults, FromYaml, Node};

/// What a template may ask for, in the order in which Go prints the whole.
pub(super) const VARIABLES: [&str; 8] =
    ["Cgroups", "Comm", "ExeBase", "ExeFull", "Username", "PID", "StartTime", "Matches"];

/// The name where an item does not say.
const DEFAULT: &str = "{{.ExeBase}}";

/// The name that an item gives to a group.
#[derive(Clone)]
pub struct GroupName {
    text: Arc<str>,
    kind: Kind,
}

#[derive(Clone)]
enum Kind {
    /// By far the most usual ones, for which nothing has to be run.
    ExeBase,
    Fixed,
    Template {
        template: Arc<Template>,
        uses: Arc<Uses>,
    },
}

impl GroupName {
    pub(super) fn new(text: &str) -> Result<GroupName, TemplateError> {
        static FUNCTIONS: LazyLock<Functions> = LazyLock::new(Functions::go);
        let kind = match text {
            DEFAULT => Kind::ExeBase,
            text if !text.contains("{{") => Kind::Fixed,
            text => {
                let template = Template::parse("cmdname", text, &FUNCTIONS)?;
                let uses = template.uses();
                if let Some((field, name)) = uses.fields.iter().find_map(|field| {
                    let name = field.path.first()?;
                    (!VARIABLES.contains(&name.as_str())).then_some((field, name))
                }) {
                    let known = VARIABLES.map(|v| format!(".{v}")).join(", ");
                    let message = format!("there is no .{name}, only {known}");
                    return Err(TemplateError { file: None, line: field.line, column: field.column, message });
                }
                Kind::Template { template: template.into(), uses: uses.into() }
            }
        };
        Ok(GroupName { text: text.into(), kind })
    }

    /// As it was written.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Whether this variable may be asked for.
    pub(super) fn uses(&self, variable: &str) -> bool {
        match &self.kind {
            Kind::ExeBase => variable == "ExeBase",
            Kind::Fixed => false,
            Kind::Template { uses, .. } => uses.field(variable),
        }
    }

    /// The names of captures that are asked for as `.Matches.NAME`, each with its line and column.
    pub(super) fn captures(&self) -> impl Iterator<Item = (&str, usize, usize)> {
        let uses = match &self.kind {
            Kind::Template { uses, .. } => uses.fields.as_slice(),
            Kind::ExeBase | Kind::Fixed => &[],
        };
        uses.iter().filter_map(|field| match field.path.as_slice() {
            [first, name, ..] if first == "Matches" => Some((name.as_str(), field.line, field.column)),
            _ => None,
        })
    }

    /// The name; `value` gives a variable, and is asked for those only that may be needed.
    pub(super) fn make(&self, mut value: impl FnMut(&'static str) -> Value) -> Result<String, TemplateError> {
        match &self.kind {
            Kind::ExeBase => match value("ExeBase") {
                Value::String(name) => Ok(name.to_string()),
                _ => Ok(String::new()),
            },
            Kind::Fixed => Ok(self.text.to_string()),
            Kind::Template { template, uses } => {
                let used = VARIABLES.into_iter().filter(|variable| uses.field(variable));
                let fields = used.map(|variable| (variable, value(variable))).collect();
                let context = Context {
                    query: None,
                    external_url: "",
                    now: Timestamp::from_millis(0),
                    limits: Limits::default(),
                };
                template.execute(&Value::structure("config.templateParams", fields), &context)
            }
        }
    }
}

impl Default for GroupName {
    fn default() -> Self {
        GroupName { text: DEFAULT.into(), kind: Kind::ExeBase }
    }
}

impl fmt::Debug for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

impl FromYaml for GroupName {
    fn from_yaml(node: &Node, faults: &mut Faults) -> Option<Self> {
        let Some(text) = node.as_str() else {
            faults.unexpected(node, "a text");
            return None;
        };
        // As in process-exporter.
        if text.is_empty() {
            return Some(GroupName::default());
        }
        GroupName::new(text)
            .map_err(|e| {
                let at = faults.place(node, e.line, e.column);
                faults.error(at, format!("template of the name: {}", e.message));
            })
            .ok()
    }
}
