//! Fields of issues as they stand in a configuration: any YAML, whose texts are templates.

use std::collections::BTreeMap;

use serde_json::{Number, Value};

use super::super::message::{Message, template};
use super::super::{DeliveryError, Text};
use crate::section;
use crate::yaml::{self, Faults, FromYaml, Node};

/// The value of a field as Jira's API takes it.
#[derive(Clone, Debug)]
pub enum Field {
    Text(Text),
    /// Nothing, a number, true or false.
    Plain(Value),
    List(Vec<Field>),
    Map(BTreeMap<String, Field>),
}

impl Field {
    /// As JSON, with its texts filled in.
    ///
    /// # Errors
    /// As [`Texts::plain`](super::super::Texts::plain).
    pub(super) fn filled(&self, fill: &Message<'_>) -> Result<Value, DeliveryError> {
        Ok(match self {
            Field::Text(text) => Value::String(fill.plain(text)?),
            Field::Plain(value) => value.clone(),
            Field::List(items) => Value::Array(items.iter().map(|item| item.filled(fill)).collect::<Result<_, _>>()?),
            Field::Map(entries) => {
                let entry = |(name, field): (&String, &Field)| Ok((name.clone(), field.filled(fill)?));
                Value::Object(entries.iter().map(entry).collect::<Result<_, DeliveryError>>()?)
            }
        })
    }
}

impl FromYaml for Field {
    fn from_yaml(node: &Node, faults: &mut Faults) -> Option<Self> {
        match &node.value {
            yaml::Value::Null => Some(Field::Plain(Value::Null)),
            yaml::Value::Scalar { text, plain: true, .. } => match plain(text) {
                Some(value) => Some(Field::Plain(value)),
                None => Text::from_yaml(node, faults).map(Field::Text),
            },
            yaml::Value::Scalar { .. } => Text::from_yaml(node, faults).map(Field::Text),
            yaml::Value::Sequence(_) => Vec::from_yaml(node, faults).map(Field::List),
            yaml::Value::Mapping(_) => BTreeMap::from_yaml(node, faults).map(Field::Map),
        }
    }
}

/// What a word without quotes is in YAML, if not a text.
fn plain(text: &str) -> Option<Value> {
    match text {
        "~" | "null" => return Some(Value::Null),
        "true" => return Some(Value::Bool(true)),
        "false" => return Some(Value::Bool(false)),
        _ => {}
    }
    if let Ok(whole) = text.parse::<i64>() {
        return Some(Value::Number(whole.into()));
    }
    // Rust's numbers have words, too: `inf`, `nan`.
    let number =
        text.parse::<f64>().ok().filter(|_| text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c)));
    number.and_then(Number::from_f64).map(Value::Number)
}

section! {
    /// A text of an issue that is brought up to date only where people do not edit it.
    pub struct JiraField {
        /// The text; the default one when not said.
        pub template: Option<Text> = None,
        /// Whether an issue that is there already gets it too. Switch it off if people edit it.
        pub enable_update: bool = true,
    }
}

/// A [`JiraField`], which may be written as its text alone.
#[derive(Clone, Default, Debug)]
pub struct JiraText(pub JiraField);

impl JiraText {
    pub fn new(text: Text) -> JiraText {
        JiraText(JiraField { template: Some(text), ..JiraField::default() })
    }

    /// The text, with its template filled in; `default`: the name of the template for when nothing is said.
    ///
    /// # Errors
    /// As [`Texts::plain`](super::super::Texts::plain).
    pub(super) fn filled(&self, fill: &Message<'_>, default: &str) -> Result<String, DeliveryError> {
        self.0.template.as_ref().map_or_else(|| fill.plain(&template(default)), |text| fill.plain(text))
    }
}

impl FromYaml for JiraText {
    fn from_yaml(node: &Node, faults: &mut Faults) -> Option<Self> {
        match node.as_str() {
            Some(_) => Text::from_yaml(node, faults).map(JiraText::new),
            None => JiraField::from_yaml(node, faults).map(JiraText),
        }
    }

    fn key_paths(path: &str, paths: &mut Vec<String>) {
        JiraField::key_paths(path, paths);
    }

    fn as_yaml(&self) -> Option<yaml::Value> {
        self.0.as_yaml()
    }
}
