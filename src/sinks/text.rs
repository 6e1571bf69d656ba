//! Texts of the configuration with templates in them, and what they are filled with.

use std::sync::Arc;

use super::{DeliveryError, Notification, Reason};
use crate::model::Timestamp;
use crate::template::{Context, Functions, Limits, Template, Value};
use crate::yaml::{self, Faults, FromYaml, Node};

/// A text of the configuration that may have a template in it.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Text(Arc<str>);

impl Text {
    /// A text of the program itself, or one whose template is not checked before it is used.
    pub fn new(text: impl AsRef<str>) -> Text {
        Text(text.as_ref().into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Text {
        Text::new(text)
    }
}

impl FromYaml for Text {
    fn from_yaml(node: &Node, faults: &mut Faults) -> Option<Self> {
        let text = String::from_yaml(node, faults)?;
        if let Err(error) = Template::parse("text", &text, functions()) {
            faults.error(node.at, format!("the template is not valid: {}", error.message));
        }
        Some(Text::new(text))
    }

    fn as_yaml(&self) -> Option<yaml::Value> {
        Some(yaml::Value::text(self.as_str()))
    }
}

fn functions() -> &'static Functions {
    crate::template::prometheus::functions()
}

/// The templates that texts can call.
#[derive(Clone, Default, Debug)]
pub struct Texts {}

impl Texts {
    /// What templates see of a notification.
    pub fn data(&self, _notification: &Notification) -> Value {
        Value::Nil
    }

    /// The text with its template filled in.
    ///
    /// # Errors
    /// Which template failed, and why. A lasting failure: it would be the same at the next try.
    pub fn plain(&self, text: &Text, data: &Value) -> Result<String, DeliveryError> {
        if !text.as_str().contains("{{") {
            return Ok(text.as_str().to_string());
        }
        let context = Context { query: None, external_url: "", now: Timestamp::now(), limits: Limits::default() };
        Template::parse("text", text.as_str(), functions())
            .and_then(|template| template.execute(data, &context))
            .map_err(|e| DeliveryError::lasting(Reason::Other, format!("the template of a text fails: {e}")))
    }

    /// As [`Texts::plain`], with what is filled in escaped as it must be in HTML.
    ///
    /// # Errors
    /// As [`Texts::plain`].
    pub fn html(&self, text: &Text, data: &Value) -> Result<String, DeliveryError> {
        self.plain(text, data)
    }
}
