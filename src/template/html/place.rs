//! Places in HTML that want different escaping.

/// Where in an HTML document its text has come to.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Place {
    pub state: State,
    /// What ends the attribute's value in which it is.
    pub delim: Delim,
    /// How far the URL has come.
    pub url: UrlPart,
    /// The attribute whose name or value it is in.
    pub attr: Attr,
    /// The element whose tag or text it is in.
    pub element: Element,
}

#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum State {
    /// Between tags.
    #[default]
    Text,
    /// In a tag, where an attribute may begin.
    Tag,
    AttrName,
    /// Behind the name of an attribute, where `=` may come.
    AfterName,
    BeforeValue,
    Comment,
    /// The text of `title` and `textarea`, which has no tags in it.
    Rcdata,
    /// The value of an attribute that is only text.
    Attr,
    Url,
    Srcset,
    /// `content` of `meta`, before and behind `url=`.
    MetaContent,
    MetaUrl,
    Js,
    /// Up to this quote.
    JsString(char),
    JsComment {
        line: bool,
    },
    Css,
    /// Up to this quote.
    CssString(char),
    /// `url(`, up to this quote or, for `)`, to the end of it.
    CssUrl(char),
    CssComment {
        line: bool,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Delim {
    /// Not in an attribute's value.
    #[default]
    None,
    Double,
    Single,
    /// White space or the end of the tag: a value without quotes.
    Space,
}

#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum UrlPart {
    /// At its start, where a scheme may come.
    #[default]
    None,
    Path,
    /// Behind `?` or `#`.
    Query,
}

#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Attr {
    #[default]
    Plain,
    Url,
    Style,
    Script,
    Srcset,
    MetaContent,
}

#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Element {
    /// One whose text is ordinary.
    #[default]
    Other,
    Script,
    Style,
    Textarea,
    Title,
    Meta,
}

impl Element {
    pub fn named(name: &str) -> Element {
        match name.to_ascii_lowercase().as_str() {
            "script" => Element::Script,
            "style" => Element::Style,
            "textarea" => Element::Textarea,
            "title" => Element::Title,
            "meta" => Element::Meta,
            _ => Element::Other,
        }
    }

    /// The name of one whose text ends only with its own end tag.
    pub fn raw_name(self) -> Option<&'static str> {
        match self {
            Element::Script => Some("script"),
            Element::Style => Some("style"),
            Element::Textarea => Some("textarea"),
            Element::Title => Some("title"),
            Element::Meta | Element::Other => None,
        }
    }
}

impl Place {
    /// Behind the tag of the element.
    pub fn in_element(element: Element) -> Place {
        let state = match element {
            Element::Script => State::Js,
            Element::Style => State::Css,
            Element::Textarea | Element::Title => State::Rcdata,
            Element::Meta | Element::Other => State::Text,
        };
        let element = if element == Element::Meta { Element::Other } else { element };
        Place { state, element, ..Place::default() }
    }

    /// In the tag of the element, before an attribute.
    pub fn in_tag(element: Element) -> Place {
        Place { state: State::Tag, element, ..Place::default() }
    }

    /// At the start of the value of its attribute.
    pub fn begin_value(&mut self, delim: Delim) {
        self.delim = delim;
        self.url = UrlPart::None;
        self.state = match self.attr {
            Attr::Plain => State::Attr,
            Attr::Url => State::Url,
            Attr::Style => State::Css,
            Attr::Script => State::Js,
            Attr::Srcset => State::Srcset,
            Attr::MetaContent => State::MetaContent,
        };
    }

    /// What a value that stands here must be, before the next text of the template says more.
    pub fn before_value(&mut self) {
        match self.state {
            State::Tag => self.state = State::AttrName,
            State::AfterName => (self.state, self.attr) = (State::AttrName, Attr::Plain),
            State::BeforeValue => self.begin_value(Delim::Space),
            _ => {}
        }
    }
}

/// What the value of an attribute is. What is not known to be something else is text, unless its name speaks of a URL or
/// a script.
pub fn attribute(element: Element, name: &str) -> Attr {
    let name = name.to_ascii_lowercase();
    if element == Element::Meta && name == "content" {
        return Attr::MetaContent;
    }
    kind(&name)
}

/// Attributes that may be set to anything, though their values mean something to the browser.
const OTHER: [&str; 20] = [
    "accept-charset",
    "async",
    "challenge",
    "charset",
    "content",
    "crossorigin",
    "defer",
    "enctype",
    "form",
    "formenctype",
    "formmethod",
    "formnovalidate",
    "http-equiv",
    "keytype",
    "language",
    "method",
    "novalidate",
    "pattern",
    "rel",
    "sandbox",
];

/// Whether a value may be the name of this attribute: those that do no more than show or describe.
pub fn may_be_set(name: &str) -> bool {
    !OTHER.contains(&name) && !matches!(name, "type" | "value" | "srcdoc") && kind(name) == Attr::Plain
}

fn kind(name: &str) -> Attr {
    let name = match (name.strip_prefix("data-"), name.split_once(':')) {
        (Some(rest), _) => rest,
        (None, Some(("xmlns", _))) => return Attr::Url,
        (None, Some((_, rest))) => rest,
        (None, None) => name,
    };
    match name {
        "action" | "archive" | "background" | "cite" | "classid" | "codebase" | "data" | "formaction" | "href"
        | "icon" | "longdesc" | "manifest" | "poster" | "profile" | "src" | "usemap" | "xmlns" => Attr::Url,
        "srcset" => Attr::Srcset,
        "style" => Attr::Style,
        // Names that have `src` in them and are not URLs.
        "srcdoc" | "srclang" => Attr::Plain,
        name if name.starts_with("on") => Attr::Script,
        name if ["src", "uri", "url"].iter().any(|part| name.contains(part)) => Attr::Url,
        _ => Attr::Plain,
    }
}
