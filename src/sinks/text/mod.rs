//! Texts of the configuration with templates in them, and what they are filled with.
//!
//! A text is parsed once, when it is read; it may call the templates of the files that `alerting.templates` names, and
//! those that stand in `default.tmpl`, where the texts of all sinks come from that the configuration does not set.

mod data;
mod files;
mod readable;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, LazyLock};

use super::{DeliveryError, Notification, Reason};
use crate::model::Timestamp;
use crate::template::alertmanager::functions;
use crate::template::{Context, Kind, Limits, Set, Template, TemplateError, Value};
use crate::yaml::{self, Faults, FromYaml, Node};

pub use files::Templates;

/// A text of the configuration that may have a template in it. Clones share the parsed template.
#[derive(Clone)]
pub struct Text(Arc<Parsed>);

struct Parsed {
    text: String,
    template: Result<Template, TemplateError>,
}

impl Text {
    /// A text of the program itself, or one whose template is not checked before it is used.
    pub fn new(text: impl AsRef<str>) -> Text {
        let text = text.as_ref();
        Text(Arc::new(Parsed { text: text.to_string(), template: Template::parse("", text, functions()) }))
    }

    pub fn as_str(&self) -> &str {
        &self.0.text
    }

    pub fn is_empty(&self) -> bool {
        self.0.text.is_empty()
    }

    /// Whether it tells people of alerts: it calls templates, goes through the alerts or quotes their annotations. Else it
    /// is a word that a service wants, such as a channel or a priority.
    fn is_message(&self) -> bool {
        let tells = |part| self.0.text.contains(part);
        tells("Annotations") || tells("range") || self.0.template.as_ref().is_ok_and(|t| !t.calls().is_empty())
    }
}

impl Default for Text {
    fn default() -> Text {
        Text::new("")
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Text) -> bool {
        self.0.text == other.0.text
    }
}

impl Eq for Text {}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.text.fmt(f)
    }
}

impl FromYaml for Text {
    fn from_yaml(node: &Node, faults: &mut Faults) -> Option<Self> {
        let text = Text::new(String::from_yaml(node, faults)?);
        match &text.0.template {
            Ok(template) => {
                // Whether they are there can be said when the files of templates have been read.
                let calls = template.calls();
                // What a field's name that is mistaken does can be said at once; what is in files of templates cannot.
                if calls.iter().all(|call| embedded().has(&call.name))
                    && text.as_str().contains("{{")
                    && let Err(error) = run(template, embedded(), &data::example(), Kind::Text)
                    && error.file.is_none()
                    && error.message.starts_with(NO_FIELD)
                {
                    let at = faults.place(node, error.line, error.column);
                    faults.warn(at, format!("the template will fail: {}", error.message));
                }
                for call in calls {
                    faults.refer(faults.place(node, call.line, call.column), call.name);
                }
            }
            Err(error) => {
                let at = faults.place(node, error.line, error.column);
                faults.error(at, format!("the template is not valid: {}", error.message));
            }
        }
        Some(text)
    }

    fn as_yaml(&self) -> Option<yaml::Value> {
        Some(yaml::Value::text(self.as_str()))
    }
}

/// How the message of such an error begins.
const NO_FIELD: &str = "can't evaluate field";

/// The templates that texts can call.
#[derive(Clone, Default, Debug)]
pub struct Texts {
    /// Those of the configuration's files over the embedded ones; `None` where there are only the embedded ones.
    own: Option<Arc<Set>>,
}

/// The embedded templates: the default texts of all sinks.
fn embedded() -> &'static Arc<Set> {
    static SET: LazyLock<Arc<Set>> = LazyLock::new(|| {
        let mut set = Set::new(functions());
        for (file, text) in [("default.tmpl", include_str!("default.tmpl")), ("mail.tmpl", include_str!("mail.tmpl"))] {
            if let Err(error) = set.add(file, file, text) {
                // A test shows that it does not come to this.
                tracing::error!(%error, "the embedded templates are not valid");
            }
        }
        Arc::new(set)
    });
    &SET
}

impl Texts {
    fn set(&self) -> &Set {
        self.own.as_ref().unwrap_or_else(|| embedded())
    }

    /// What templates see of a notification.
    pub fn data(&self, notification: &Notification) -> Value {
        data::of(notification)
    }

    /// The text with its template filled in. A message whose template fails is replaced by the plain list of alerts: who
    /// is to be woken is better off with that than with nothing.
    ///
    /// # Errors
    /// Which template failed, and why. A lasting failure: it would be the same at the next try.
    pub fn plain(&self, text: &Text, data: &Value) -> Result<String, DeliveryError> {
        if !text.as_str().contains("{{") {
            return Ok(text.as_str().to_string());
        }
        self.fill(text, data, Kind::Text)
    }

    /// As [`Texts::plain`] for what is no message whatever stands in it, such as a URL: nothing takes its place when its
    /// template fails, and nothing of it is shown, as it may be a secret.
    ///
    /// # Errors
    /// That the template fails.
    pub fn unshown(&self, text: &str, data: &Value) -> Result<String, DeliveryError> {
        let filled =
            Template::parse("", text, functions()).and_then(|template| run(&template, self.set(), data, Kind::Text));
        filled.map_err(|_| DeliveryError::lasting(Reason::Other, "its template fails"))
    }

    /// As [`Texts::plain`], with what is filled in escaped as it must be in HTML.
    ///
    /// # Errors
    /// As [`Texts::plain`].
    pub fn html(&self, text: &Text, data: &Value) -> Result<String, DeliveryError> {
        self.fill(text, data, Kind::Html)
    }

    fn fill(&self, text: &Text, data: &Value, kind: Kind) -> Result<String, DeliveryError> {
        let error = match &text.0.template {
            Ok(template) => match run(template, self.set(), data, kind) {
                Ok(filled) => return Ok(filled),
                Err(error) => error,
            },
            Err(error) => error.clone(),
        };
        if text.is_message()
            && let Ok(list) = instead(&error, data, kind)
        {
            tracing::warn!(template = text.as_str(), %error, "a template fails; a plain list of the alerts is sent instead");
            return Ok(list);
        }
        Err(DeliveryError::lasting(Reason::Other, format!("the template {:?} fails: {error}", text.as_str())))
    }
}

fn run(template: &Template, set: &Set, data: &Value, kind: Kind) -> Result<String, TemplateError> {
    let context = Context { query: None, external_url: "", now: Timestamp::now(), limits: Limits::default() };
    template.execute_in(set, data, &context, kind)
}

/// What is sent instead of a message whose template fails: the embedded texts, whatever the configuration has made of
/// them.
fn instead(error: &TemplateError, data: &Value, kind: Kind) -> Result<String, TemplateError> {
    let text = match kind {
        Kind::Text => "{{ template \"__plain\" . }}",
        Kind::Html => "<pre>{{ template \"__plain\" . }}</pre>",
    };
    let list = run(&Template::parse("", text, functions())?, embedded(), data, kind)?;
    let note = format!("\n(template failed: {error})\n");
    Ok(list + &if kind == Kind::Html { crate::template::escape_html(&note) } else { note })
}
