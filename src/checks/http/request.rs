//! The next request: the first one, and those that redirects lead to.

use bytes::Bytes;
use hyper::header::{HeaderMap, HeaderName, HeaderValue, LOCATION, SET_COOKIE};
use hyper::{Method, StatusCode};
use reqwest::Url;

use super::super::net::HostPort;
use super::super::verdict::Verdict;
use super::answer::Answer;
use super::config::HttpCheck;
use super::credentials::{Prepared, basic};

/// What is going to be asked.
pub(super) struct Plan {
    pub url: Url,
    pub method: Method,
    pub body: Bytes,
    /// Those of the configuration, which are for the first host only.
    pub headers: HeaderMap,
    /// What the far side is asked for when that is not the URL's host.
    pub host_header: Option<HeaderValue>,
    pub authorization: Option<HeaderValue>,
    /// Whether this is still the host that was configured: it is shown the agent's certificate, and may have another
    /// name.
    pub is_first_host: bool,
    pub cookies: Cookies,
}

impl Plan {
    /// # Errors
    /// What cannot be sent.
    pub fn first(config: &HttpCheck, url: &Url, prepared: &Prepared) -> Result<Plan, Verdict> {
        let unsendable = |what: &str| Verdict::unknown(format!("{what} cannot be sent"));
        let method = Method::from_bytes(config.method.as_bytes()).map_err(|_| unsendable("the method"))?;
        let mut headers = HeaderMap::new();
        for (name, value) in &config.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| unsendable("a header"))?;
            let value = HeaderValue::from_str(value.expose()).map_err(|_| unsendable("a header"))?;
            headers.insert(name, value);
        }
        let host_header = headers.remove(hyper::header::HOST);
        let of_url = |url: &Url| {
            (!url.username().is_empty() || url.password().is_some())
                .then(|| basic(&unescaped(url.username()), &unescaped(url.password().unwrap_or_default())))
        };
        let authorization = match (&prepared.authorization, of_url(url)) {
            (None, Some(of_url)) => Some(of_url.map_err(Verdict::unknown)?),
            (configured, _) => configured.clone(),
        };
        let (url, body) = (url.clone(), prepared.body.clone());
        let cookies = Cookies::default();
        Ok(Plan { url, method, body, headers, host_header, authorization, is_first_host: true, cookies })
    }

    /// Where the answer leads; `None` when it is the last.
    ///
    /// # Errors
    /// That it leads where no request can go.
    pub fn next(&self, answer: &Answer) -> Result<Option<Plan>, Verdict> {
        let status = answer.response.status();
        let keeps_method = match status {
            StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND | StatusCode::SEE_OTHER => false,
            StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => true,
            _ => return Ok(None),
        };
        let Some(location) = answer.response.headers().get(LOCATION) else { return Ok(None) };
        let url = std::str::from_utf8(location.as_bytes()).ok().and_then(|location| self.url.join(location).ok());
        let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        // Not where: what stands there may be anything.
        let url = url.ok_or_else(|| Verdict::critical(format!("answered {status}, to what is not an http URL")))?;
        let is_downgrade = self.url.scheme() == "https" && url.scheme() == "http";
        let is_same = url.host_str() == self.url.host_str() && !is_downgrade;
        let kept = |value: &Option<HeaderValue>| if is_same { value.clone() } else { None };
        let is_read = self.method == Method::GET || self.method == Method::HEAD;
        let keeps_method = keeps_method || is_read;
        Ok(Some(Plan {
            method: if keeps_method { self.method.clone() } else { Method::GET },
            body: if keeps_method { self.body.clone() } else { Bytes::new() },
            headers: if is_same { self.headers.clone() } else { HeaderMap::new() },
            host_header: kept(&self.host_header),
            authorization: kept(&self.authorization),
            is_first_host: self.is_first_host && is_same,
            cookies: self.cookies.clone(),
            url,
        }))
    }

    /// The host and the port that are connected to, for people.
    pub fn host(&self) -> HostPort {
        let host = self.url.host_str().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']').to_string();
        HostPort { host, port: self.url.port_or_known_default() }
    }

    /// Path and query.
    pub fn path(&self) -> String {
        match self.url.query() {
            Some(query) => format!("{}?{query}", self.url.path()),
            None => self.url.path().to_string(),
        }
    }

    /// The host as requests name it: with the port where that is not the scheme's own.
    pub fn authority(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        self.url.port().map_or_else(|| host.to_string(), |port| format!("{host}:{port}"))
    }
}

/// `%` and two hexadecimal digits are a byte.
fn unescaped(text: &str) -> String {
    let (mut out, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        let escape = after.get(..2).filter(|_| *first == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        match escape.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => out.push(*first),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// What hosts set on the way: some pages redirect to themselves until their cookie comes back. Within one run, and to the
/// host that set it, nothing else of a cookie counts.
#[derive(Clone, Default)]
pub(super) struct Cookies {
    /// Host, whether it was set over TLS, name, value.
    list: Vec<(String, bool, String, String)>,
}

/// Cookies that are kept; more are forgotten.
const MAX_COOKIES: usize = 50;

impl Cookies {
    /// Keeps what an answer sets.
    pub fn take(&mut self, url: &Url, headers: &HeaderMap) {
        let (host, is_tls) = (url.host_str().unwrap_or_default(), url.scheme() == "https");
        for value in headers.get_all(SET_COOKIE).iter().filter_map(|value| value.to_str().ok()) {
            let pair = value.split(';').next().unwrap_or_default();
            let Some((name, value)) = pair.split_once('=') else { continue };
            let (name, value) = (name.trim(), value.trim());
            self.list.retain(|(of, _, known, _)| of != host || known != name);
            if self.list.len() < MAX_COOKIES && !name.is_empty() {
                self.list.push((host.to_string(), is_tls, name.to_string(), value.to_string()));
            }
        }
    }

    /// The header for a request.
    pub fn header(&self, url: &Url) -> Option<HeaderValue> {
        let (host, is_tls) = (url.host_str().unwrap_or_default(), url.scheme() == "https");
        let of_host = self.list.iter().filter(|(of, was_tls, ..)| of == host && (is_tls || !was_tls));
        let pairs: Vec<String> = of_host.map(|(_, _, name, value)| format!("{name}={value}")).collect();
        if pairs.is_empty() { None } else { HeaderValue::from_str(&pairs.join("; ")).ok() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::Fuzz;

    #[test]
    fn users_of_urls_are_decoded() {
        assert_eq!(unescaped("a%40b%zz%4"), "a@b%zz%4");
        Fuzz::of(&["a%40b%zz%4"]).texts(|text| {
            unescaped(text);
        });
    }

    #[test]
    fn cookies_come_back_to_who_set_them() {
        let url = |text: &str| Url::parse(text).unwrap();
        let mut headers = HeaderMap::new();
        headers.append(SET_COOKIE, HeaderValue::from_static("a=1; Path=/; HttpOnly"));
        headers.append(SET_COOKIE, HeaderValue::from_static("b=2"));
        headers.append(SET_COOKIE, HeaderValue::from_static("a=3"));
        headers.append(SET_COOKIE, HeaderValue::from_static("nonsense"));
        let mut cookies = Cookies::default();
        cookies.take(&url("https://a.example/x"), &headers);
        assert_eq!(cookies.header(&url("https://a.example/y")).unwrap(), "b=2; a=3");
        assert_eq!(cookies.header(&url("http://a.example/y")), None);
        assert_eq!(cookies.header(&url("https://b.example/")), None);
    }
}
