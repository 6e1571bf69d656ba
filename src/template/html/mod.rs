//! Output of templates, as text or as HTML in which what actions give is escaped for the place where it stands.
//!
//! The escaping follows Go's `html/template`: in the text of elements, in quoted and unquoted attributes, in attributes
//! that are URLs (where only `http`, `https`, `mailto` and relative ones pass), in styles and in scripts. Where Go works
//! out the place of every action before it runs, this follows the output as it is written; for a template that Go accepts
//! both are the same, and one that Go refuses since it cannot tell is escaped here for what it turned out to be. Scripts,
//! which no mail runs, are escaped harder than Go does it.

mod escapers;
mod place;
mod scan;

use super::format::{self, Sink};
use super::value::Trusted;
use super::{Kind, Value};
use place::Place;

/// Where a template writes to.
pub(super) struct Out {
    sink: Sink,
    /// Where in the HTML it has come to; `None` for a text.
    place: Option<Place>,
}

impl Out {
    pub fn new(limit: usize, kind: Kind) -> Out {
        Out { sink: Sink::new(limit), place: (kind == Kind::Html).then(Place::default) }
    }

    /// Adds text of the template itself.
    pub fn text(&mut self, text: &str) -> Result<(), String> {
        match &mut self.place {
            None => self.sink.push_str(text),
            Some(place) => self.sink.push_str(&scan::text(place, text)),
        }
    }

    /// Adds what an action gave. `function`: the one that its pipeline ends with.
    pub fn value(&mut self, value: &Value, function: Option<&str>) -> Result<(), String> {
        match &mut self.place {
            None if matches!(value, Value::Nil) => self.sink.push_str("<no value>"),
            None => format::print(&mut self.sink, std::slice::from_ref(value)),
            Some(place) => {
                let escaped = escape(place, value, function, self.sink.limit())?;
                self.sink.push_str(&escaped)
            }
        }
    }

    pub fn into_string(self) -> String {
        self.sink.into_string()
    }
}

/// The value as it is written at this place.
fn escape(place: &mut Place, value: &Value, function: Option<&str>, limit: usize) -> Result<String, String> {
    use place::{Delim, State, UrlPart};

    place.before_value();
    let mut trusted = match value {
        Value::Named(named) => named.of.trusted,
        _ => Trusted::Nothing,
    };
    let mut sink = Sink::new(limit);
    if !matches!(value, Value::Nil) {
        format::print(&mut sink, std::slice::from_ref(value))?;
    }
    let mut text = sink.into_string();
    // As in Go `html` and `urlquery` do what would be done, and it is not done again.
    let (html_done, url_done) = (function == Some("html"), function == Some("urlquery"));
    let filter =
        |text: String| if trusted == Trusted::Url || escapers::is_safe_url(&text) { text } else { "#ZgotmplZ".into() };
    match place.state {
        State::Url | State::CssUrl(_) | State::CssString(_) => {
            let css_string = matches!(place.state, State::CssString(_));
            text = match place.url {
                UrlPart::None | UrlPart::Path => {
                    let text = if place.url == UrlPart::None { filter(text) } else { text };
                    match css_string {
                        true => escapers::css_string(&text),
                        false if url_done => text,
                        false => escapers::url(&text, true),
                    }
                }
                UrlPart::Query if url_done => text,
                UrlPart::Query => escapers::url(&text, trusted == Trusted::Url),
            };
            trusted = Trusted::Nothing;
        }
        State::MetaUrl => {
            text = filter(text);
            trusted = Trusted::Nothing;
        }
        State::Srcset => {
            text = escapers::srcset(&text, trusted == Trusted::Url);
            trusted = Trusted::Nothing;
        }
        State::Js => {
            text = escapers::js_value(value, &text, limit)?;
            trusted = Trusted::Nothing;
        }
        State::JsString(quote) => {
            text = escapers::js_string(&text, quote == '`');
            trusted = Trusted::Nothing;
        }
        State::Css => {
            text = escapers::css_value(&text);
            trusted = Trusted::Nothing;
        }
        State::Text if trusted == Trusted::Html || html_done => {}
        State::Text => text = escapers::html(&text),
        State::Rcdata if html_done => {}
        State::Rcdata => text = escapers::attribute(&text, trusted == Trusted::Html),
        State::Tag | State::AttrName | State::AfterName | State::BeforeValue => text = escapers::name(&text),
        State::Comment | State::JsComment { .. } | State::CssComment { .. } => text = String::new(),
        State::Attr | State::MetaContent => {}
    }
    if trusted == Trusted::Html && place.delim != Delim::None {
        text = escapers::without_tags(&text);
    }
    Ok(match place.delim {
        Delim::None => text,
        Delim::Space => escapers::unquoted(&text, trusted == Trusted::Html || html_done),
        Delim::Double | Delim::Single if html_done => text,
        Delim::Double | Delim::Single => escapers::attribute(&text, trusted == Trusted::Html),
    })
}
