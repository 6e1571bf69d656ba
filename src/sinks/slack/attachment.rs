//! The attachment of a message: the text in its frame, with fields, buttons and menus.

use serde::Serialize;

use super::super::message::{Field, Message, cut};
use super::super::{DeliveryError, Text};
use super::SlackConfig;
use crate::section;
use crate::yaml::{Faults, Node};

/// Slack counts titles longer than this as errors.
const MAX_TITLE: usize = 1024;
/// The parts in which Slack's markup is read where the configuration does not say.
const MARKUP_IN: [&str; 3] = ["fallback", "pretext", "text"];

section! {
    check = check_action;
    /// A button or menu.
    pub struct SlackActionConfig {
        /// What it is.
        pub kind: Text as "type" = Text::default(),
        /// What stands on it.
        pub text: Text = Text::default(),
        /// Where it leads.
        pub url: Text = Text::default(),
        /// How it looks: default, primary, danger.
        pub style: Text = Text::default(),
        /// What the app is told was pressed; without a url.
        pub name: Text = Text::default(),
        /// What the app is told with it.
        pub value: Text = Text::default(),
        /// A question before the app is told.
        pub confirm: Option<SlackConfirmConfig> = None,
    }
}

section! {
    check = |confirm: &mut SlackConfirmConfig, node: &Node, faults: &mut Faults| {
        if confirm.text.is_empty() {
            faults.error(node.at, "a confirmation needs a text");
        }
    };
    /// A question before an action.
    pub struct SlackConfirmConfig {
        /// Its title.
        pub title: Text = Text::default(),
        /// The question.
        pub text: Text = Text::default(),
        /// What stands on the button that goes on.
        pub ok_text: Text = Text::default(),
        /// What stands on the button that does not.
        pub dismiss_text: Text = Text::default(),
    }
}

fn check_action(action: &mut SlackActionConfig, node: &Node, faults: &mut Faults) {
    for (key, text) in [("type", &action.kind), ("text", &action.text)] {
        if text.is_empty() {
            faults.error(node.at, format!("an action needs a {key}"));
        }
    }
    if !action.url.is_empty() {
        // A link tells the app nothing.
        action.name = Text::default();
        action.value = Text::default();
        action.confirm = None;
    } else if action.name.is_empty() {
        faults.error(node.at, "an action needs a url, or a name for the app that handles it");
    }
}

#[derive(Serialize)]
pub(super) struct Attachment<'a> {
    #[serde(skip_serializing_if = "String::is_empty")]
    title: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    title_link: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pretext: String,
    text: String,
    fallback: String,
    callback_id: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fields: Vec<Field>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    actions: Vec<Action>,
    #[serde(skip_serializing_if = "String::is_empty")]
    image_url: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    thumb_url: String,
    footer: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    color: String,
    mrkdwn_in: Vec<&'a str>,
}

#[derive(Serialize)]
struct Action {
    r#type: String,
    text: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    url: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    style: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    value: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    confirm: Option<Confirm>,
}

#[derive(Serialize)]
struct Confirm {
    #[serde(skip_serializing_if = "String::is_empty")]
    title: String,
    text: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    ok_text: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    dismiss_text: String,
}

impl Attachment<'_> {
    pub fn new<'a>(config: &'a SlackConfig, message: &Message<'_>) -> Result<Attachment<'a>, DeliveryError> {
        let mrkdwn_in = match config.mrkdwn_in.is_empty() {
            true => MARKUP_IN.to_vec(),
            false => config.mrkdwn_in.iter().map(String::as_str).collect(),
        };
        Ok(Attachment {
            title: cut(message.plain(&config.title)?, MAX_TITLE),
            title_link: message.plain(&config.title_link)?,
            pretext: message.plain(&config.pretext)?,
            text: message.plain(&config.text)?,
            fallback: message.plain(&config.fallback)?,
            callback_id: message.plain(&config.callback_id)?,
            fields: message.fields(&config.fields, Some(config.short_fields))?,
            actions: config.actions.iter().map(|action| action.filled(message)).collect::<Result<_, _>>()?,
            image_url: message.plain(&config.image_url)?,
            thumb_url: message.plain(&config.thumb_url)?,
            footer: message.plain(&config.footer)?,
            color: message.plain(&config.color)?,
            mrkdwn_in,
        })
    }
}

impl SlackActionConfig {
    fn filled(&self, message: &Message<'_>) -> Result<Action, DeliveryError> {
        Ok(Action {
            r#type: message.plain(&self.kind)?,
            text: message.plain(&self.text)?,
            url: message.plain(&self.url)?,
            style: message.plain(&self.style)?,
            name: message.plain(&self.name)?,
            value: message.plain(&self.value)?,
            confirm: self.confirm.as_ref().map(|confirm| confirm.filled(message)).transpose()?,
        })
    }
}

impl SlackConfirmConfig {
    fn filled(&self, message: &Message<'_>) -> Result<Confirm, DeliveryError> {
        Ok(Confirm {
            title: message.plain(&self.title)?,
            text: message.plain(&self.text)?,
            ok_text: message.plain(&self.ok_text)?,
            dismiss_text: message.plain(&self.dismiss_text)?,
        })
    }
}
