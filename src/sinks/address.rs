//! The address of a service: an http or https URL, checked when the configuration is read.

use std::fmt;

use reqwest::Url;

use super::without_user;
use crate::yaml::{Faults, FromYaml, Node, Value};

/// An http or https URL that other paths are made from.
#[derive(Clone, PartialEq, Eq)]
pub struct Address(Url);

impl Address {
    /// `None` for what is not an http or https URL with a host.
    pub fn new(text: &str) -> Option<Address> {
        let url = Url::parse(text.trim()).ok()?;
        (matches!(url.scheme(), "http" | "https") && url.has_host()).then_some(Address(url))
    }

    /// From a text in the program itself, which its tests show to be a URL.
    pub fn fixed(text: &'static str) -> Address {
        Address::new(text).unwrap_or_else(|| unreachable!("{text} is no URL"))
    }

    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    pub fn url(&self) -> &Url {
        &self.0
    }

    /// The address with these segments behind its path, each escaped, so that what stands in one cannot lead elsewhere.
    pub fn below<'a>(&self, segments: impl IntoIterator<Item = &'a str>) -> Url {
        let mut url = self.0.clone();
        // An http URL always has a path.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        without_user(self.as_str()).fmt(f)
    }
}

impl FromYaml for Address {
    const EMPTY_IS_NONE: bool = true;

    fn from_yaml(node: &Node, faults: &mut Faults) -> Option<Self> {
        let address = node.as_str().and_then(Address::new);
        if address.is_none() {
            // Not what stands there: it may hold a password.
            faults.error(node.at, "not an http or https URL");
        }
        address
    }

    fn as_yaml(&self) -> Option<Value> {
        let mut url = self.0.clone();
        // They fail for URLs that cannot have any.
        let _ = (url.set_username(""), url.set_password(None));
        Some(Value::text(url.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_added_and_escaped() {
        let below = |address: &str, segments: &[&str]| {
            Address::new(address).unwrap().below(segments.iter().copied()).as_str().to_string()
        };
        assert_eq!(below("https://a.example", &["x", "y"]), "https://a.example/x/y");
        assert_eq!(below("https://a.example/api/", &["x"]), "https://a.example/api/x");
        assert_eq!(below("https://a.example/api?k=v", &["a b/../c"]), "https://a.example/api/a%20b%2F..%2Fc?k=v");
    }

    #[test]
    fn only_web_addresses_are_taken_and_no_password_is_shown() {
        for text in ["ftp://a", "a.example", "https://", ""] {
            assert_eq!(Address::new(text), None, "{text}");
        }
        let address = Address::new("https://me:hunter2@a.example/x").unwrap();
        assert_eq!(format!("{address:?}"), "\"a.example/x\"");
        assert_eq!(address.as_yaml(), Some(Value::text("https://a.example/x")));
    }
}
