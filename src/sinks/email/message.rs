//! A notification as a mail.

use std::time::{Duration, UNIX_EPOCH};

use lettre::Address;
use lettre::address::Envelope;
use lettre::message::header::{self, ContentType, Header, HeaderName, HeaderValue};
use lettre::message::{Attachment, Mailboxes, Message, MultiPart, SinglePart};

use super::super::message::{picture, template};
use super::super::{DeliveryError, Fingerprint, Notification, Reason, SinkContext, Text};
use super::EmailConfig;
use crate::model::Labels;
use crate::template::Value;

/// A mail, and who it is from and to.
pub(super) struct Mail {
    pub from: Address,
    pub to: Vec<Address>,
    pub bytes: Vec<u8>,
}

/// The chart's place in HTML: `<img src="cid:chart">`.
const CHART: &str = "chart";
/// RFC 5322 allows lines of 998 bytes, and not all text can be folded.
const MAX_HEADER: usize = 900;

/// Writes the mail for a notification, with the same `Message-ID` and `Date` at every try.
///
/// # Errors
/// A template that fails, or addresses that are none: both last.
pub(super) async fn compose(
    config: &EmailConfig,
    context: &SinkContext,
    notification: &Notification,
) -> Result<Mail, DeliveryError> {
    let chart = picture(config.chart, context.charts.as_ref(), notification).await;
    let data = with_chart(context.texts.data(notification), chart.is_some());
    let plain = |text: &Text| context.texts.plain(text, &data);
    let lasting = |message: String| DeliveryError::lasting(Reason::Other, message);

    let to = plain(&config.to)?;
    let from = config.from.as_ref().map_or(Ok(String::new()), plain)?;
    let recipients: Vec<Address> =
        addresses("to", &to).map_err(lasting)?.iter().map(|mailbox| mailbox.email.clone()).collect();
    let sender = addresses("from", &from).map_err(lasting)?.into_single();
    let sender = sender.ok_or_else(|| lasting("from is more than one address".to_string()))?.email;
    let envelope = Envelope::new(Some(sender.clone()), recipients.clone()).map_err(|e| lasting(e.to_string()))?;

    let mut headers = vec![("From", from), ("To", to), ("Auto-Submitted", "auto-generated".to_string())];
    headers.push(("Message-ID", message_id(&notification.id)));
    if config.threading.enabled {
        let thread = thread(notification, config.threading.thread_by_date == "daily");
        headers.extend([("In-Reply-To", thread.clone()), ("References", thread)]);
    }
    if !config.headers.keys().any(|name| name.eq_ignore_ascii_case("Subject")) {
        headers.push(("Subject", plain(&template("email.default.subject"))?));
    }
    for (name, text) in &config.headers {
        headers.push((name, plain(text)?));
    }
    let at = Duration::from_millis(notification.at.as_millis().try_into().unwrap_or(0));
    let mut message = Message::builder().envelope(envelope).date(UNIX_EPOCH + at);
    for (name, value) in headers {
        // One that is given takes the place of ours.
        message = message.raw_header(header(name, &value).map_err(lasting)?);
    }

    let text = if config.text.is_empty() { None } else { Some(plain(&config.text)?) };
    let html = if config.html.is_empty() { None } else { Some(context.texts.html(&config.html, &data)?) };
    let message = message.multipart(body(text, html, chart)).map_err(|e| lasting(e.to_string()))?;
    Ok(Mail { from: sender, to: recipients, bytes: message.formatted() })
}

/// The data with a field that says whether there is a chart.
fn with_chart(data: Value, chart: bool) -> Value {
    let Value::Struct(root) = &data else { return data };
    let mut fields: Vec<(&'static str, Value)> =
        root.fields.iter().filter(|(name, _)| *name != "Chart").cloned().collect();
    fields.push(("Chart", Value::Bool(chart)));
    Value::structure(root.name, fields)
}

/// Text and HTML for the reader to choose from; the chart where the HTML refers to it, else as a file.
fn body(text: Option<String>, html: Option<String>, chart: Option<Vec<u8>>) -> MultiPart {
    let png = || ContentType::parse("image/png").unwrap_or(ContentType::TEXT_PLAIN);
    let is_shown = html.as_ref().is_some_and(|html| html.contains("cid:chart"));
    let (inline, file) = if is_shown { (chart, None) } else { (None, chart) };

    // RFC 2046, 5.1.4: what is best comes last.
    let mut both = MultiPart::alternative().build();
    if let Some(text) = text {
        both = both.singlepart(SinglePart::plain(text));
    }
    match (html, inline) {
        (Some(html), Some(chart)) => {
            let image = Attachment::new_inline_with_name(CHART.to_string(), "chart.png".to_string());
            let related = MultiPart::related().singlepart(SinglePart::html(html));
            both = both.multipart(related.singlepart(image.body(chart, png())));
        }
        (Some(html), None) => both = both.singlepart(SinglePart::html(html)),
        (None, _) => {}
    }
    match file {
        Some(chart) => {
            let file = Attachment::new("chart.png".to_string()).body(chart, png());
            MultiPart::mixed().multipart(both).singlepart(file)
        }
        None => both,
    }
}

/// Reads addresses with commas between; at least one.
///
/// # Errors
/// What is wrong with them, for people.
pub(super) fn addresses(key: &str, text: &str) -> Result<Mailboxes, String> {
    let mailboxes =
        text.trim().parse::<Mailboxes>().map_err(|e| format!("{key} is not a list of mail addresses: {e}"))?;
    // A parser that stops where it understands no more must not lose recipients.
    let said = text.matches('@').count();
    match mailboxes.iter().count() {
        0 => Err(format!("{key} has no mail address")),
        read if read < said && !text.contains('"') => Err(format!("{key} is not a list of mail addresses")),
        _ => Ok(mailboxes),
    }
}

/// Reads the name of a header that may be set.
///
/// # Errors
/// Why it is none, for people.
pub(super) fn header_name(name: &str) -> Result<HeaderName, String> {
    let ours = ["Content-Type", "Content-Transfer-Encoding", "MIME-Version"];
    if ours.iter().any(|ours| ours.eq_ignore_ascii_case(name)) {
        return Err(format!("the header {name} says how the mail is put together, and cannot be changed"));
    }
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_graphic() && c != ':');
    let parsed = HeaderName::new_from_ascii(name.to_string()).ok().filter(|_| is_name);
    parsed.ok_or_else(|| format!("{name:?} is not the name of a header"))
}

/// A header whose value is a single line, encoded as far as it has to be.
fn header(name: &str, value: &str) -> Result<HeaderValue, String> {
    let header = header_name(name)?;
    // A line break in what is filled in would begin another header.
    let mut value: String = value.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let mailboxes = value.trim().parse::<Mailboxes>();
    let addressed = |mailboxes: Mailboxes| {
        Some(match name.to_ascii_lowercase().as_str() {
            "from" => header::From::from(mailboxes).display(),
            "to" => header::To::from(mailboxes).display(),
            "cc" => header::Cc::from(mailboxes).display(),
            "reply-to" => header::ReplyTo::from(mailboxes).display(),
            _ => return None,
        })
    };
    // In addresses only the names may be encoded.
    if let Some(header) = mailboxes.ok().and_then(addressed) {
        return Ok(header);
    }
    let end = (0..=MAX_HEADER.min(value.len())).rev().find(|end| value.is_char_boundary(*end));
    value.truncate(end.unwrap_or(0));
    Ok(HeaderValue::new(header, value.trim().to_string()))
}

fn message_id(id: &str) -> String {
    let id: String = id.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    format!("<watchfire-{id}@{}>", host())
}

/// What all mails of a group refer to; of one day when it is `daily`.
fn thread(notification: &Notification, daily: bool) -> String {
    let group = [("group", notification.group_key.as_str()), ("receiver", notification.receiver.as_str())];
    let group = Fingerprint::of(&Labels::from_pairs(group));
    let at = notification.at.to_string();
    let day = if daily { at.get(..10).unwrap_or("") } else { "" };
    format!("<watchfire-group-{group}-{day}@{}>", host())
}

/// This host's name, as far as it may stand in an id.
fn host() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let allowed = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    let name: String = name.chars().filter(allowed).collect();
    let name = name.trim_matches('.');
    if name.is_empty() || name.contains("..") { "localhost".to_string() } else { name.to_string() }
}
