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
#[cfg(test)]
mod tests;

use super::ast::{ExprKind, Pipe};
use super::escape::{html as go_html, url_query};
use super::format::{self, Sink};
use super::value::Trusted;
use super::{Kind, Value};
use place::{Delim, Place, State, UrlPart};

/// The functions by which templates escape for themselves. Where they stand last in a pipeline and do what the place
/// wants, they are applied instead of what would be applied there, as in Go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Escaper {
    Html,
    UrlQuery,
}

impl Escaper {
    /// The one that a pipeline ends with.
    pub fn of(pipe: &Pipe) -> Option<Escaper> {
        match &pipe.commands.last()?.first.kind {
            ExprKind::Function(name, _) if name == "html" => Some(Escaper::Html),
            ExprKind::Function(name, _) if name == "urlquery" => Some(Escaper::UrlQuery),
            _ => None,
        }
    }
}

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

    pub fn is_html(&self) -> bool {
        self.place.is_some()
    }

    /// Adds what an action gave; in HTML, `escaper` is still to be applied to it.
    pub fn value(&mut self, value: &Value, escaper: Option<Escaper>) -> Result<(), String> {
        match &mut self.place {
            None if matches!(value, Value::Nil) => self.sink.push_str("<no value>"),
            None => format::print(&mut self.sink, std::slice::from_ref(value)),
            Some(place) => {
                let escaped = escape(place, value, escaper, self.sink.limit())?;
                self.sink.push_str(&escaped)
            }
        }
    }

    pub fn into_string(self) -> String {
        self.sink.into_string()
    }
}

/// The value as it is written at this place.
fn escape(place: &mut Place, value: &Value, escaper: Option<Escaper>, limit: usize) -> Result<String, String> {
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
    let quoted = matches!(place.delim, Delim::Double | Delim::Single);
    let html = escaper == Some(Escaper::Html) && (quoted || matches!(place.state, State::Text | State::Rcdata));
    let url = escaper == Some(Escaper::UrlQuery) && matches!(place.state, State::Url | State::CssUrl(_));
    let mut value = value.clone();
    if let Some(escaper) = escaper.filter(|_| !html && !url) {
        text = match escaper {
            Escaper::Html => go_html(&text),
            Escaper::UrlQuery => url_query(&text),
        };
        value = text.as_str().into();
        trusted = Trusted::Nothing;
    }
    if let State::Text | State::Rcdata | State::Attr | State::MetaContent = place.state {
        if html {
            return Ok(go_html(&text));
        }
    } else {
        text = inner(*place, &value, text, trusted, url, limit)?;
        trusted = Trusted::Nothing;
    }
    if trusted == Trusted::Html && place.delim != Delim::None {
        text = escapers::without_tags(&text);
    }
    Ok(match place.delim {
        Delim::None if trusted == Trusted::Html && place.state == State::Text => text,
        Delim::None if matches!(place.state, State::Text | State::Rcdata) => {
            escapers::attribute(&text, trusted == Trusted::Html)
        }
        Delim::None => text,
        Delim::Space => escapers::unquoted(&text, trusted == Trusted::Html),
        Delim::Double | Delim::Single if html => go_html(&text),
        Delim::Double | Delim::Single => escapers::attribute(&text, trusted == Trusted::Html),
    })
}

/// The value in the language of the place, which may have to be escaped for an attribute still. `url`: by `urlquery`.
fn inner(
    place: Place,
    value: &Value,
    text: String,
    trusted: Trusted,
    url: bool,
    limit: usize,
) -> Result<String, String> {
    let filter = |text: String| match trusted == Trusted::Url || escapers::is_safe_url(&text) {
        true => text,
        false => "#ZgotmplZ".to_string(),
    };
    Ok(match place.state {
        State::Url | State::CssUrl(_) | State::CssString(_) => {
            let text = if place.url == UrlPart::None { filter(text) } else { text };
            match (place.state, place.url) {
                _ if url => url_query(&text),
                (_, UrlPart::Query) => escapers::url(&text, trusted == Trusted::Url),
                (State::CssString(_), _) => escapers::css_string(&text),
                _ => escapers::url(&text, true),
            }
        }
        State::MetaUrl => filter(text),
        State::Srcset => escapers::srcset(&text, trusted == Trusted::Url),
        State::Js => escapers::js_value(value, &text, limit)?,
        State::JsString(quote) => escapers::js_string(&text, quote == '`'),
        State::Css => escapers::css_value(&text),
        State::Tag | State::AttrName | State::AfterName | State::BeforeValue => escapers::name(&text),
        State::Comment | State::JsComment { .. } | State::CssComment { .. } => String::new(),
        State::Text | State::Rcdata | State::Attr | State::MetaContent => text,
    })
}
