//! Which proxies a client goes through.

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{NoProxy, Proxy};

use super::config::HttpConfig;

/// As Go has it, the environment's proxies are not for what is on this host.
const NEVER_FROM_ENVIRONMENT: &str = "localhost,127.0.0.0/8,::1";

/// The proxies of a configuration; `variable` gives a variable of the environment.
///
/// # Errors
/// Which of them cannot be one; without its URL, which may hold a password.
pub(super) fn proxies(config: &HttpConfig, variable: impl Fn(&str) -> Option<String>) -> Result<Vec<Proxy>, String> {
    let headers = headers(config)?;
    let with = |proxy: reqwest::Result<Proxy>, of: &str, no_proxy: &str| -> Result<Proxy, String> {
        let proxy = proxy.map_err(|_| format!("{of} is not the URL of a proxy"))?;
        let proxy = proxy.no_proxy(NoProxy::from_string(no_proxy));
        Ok(if headers.is_empty() { proxy } else { proxy.headers(headers.clone()) })
    };
    if let Some(url) = &config.proxy_url {
        return Ok(vec![with(Proxy::all(url.expose()), "proxy_url", &config.no_proxy)?]);
    }
    if !config.proxy_from_environment {
        return Ok(Vec::new());
    }
    let either = |name: &str| {
        let found = variable(name).or_else(|| variable(&name.to_ascii_lowercase()));
        found.map(|value| value.trim().to_string()).filter(|value| !value.is_empty())
    };
    let no_proxy = either("NO_PROXY").map_or_else(String::new, |hosts| format!("{hosts},")) + NEVER_FROM_ENVIRONMENT;
    let mut all = Vec::new();
    if let Some(url) = either("HTTP_PROXY") {
        all.push(with(Proxy::http(with_scheme(url)), "$HTTP_PROXY", &no_proxy)?);
    }
    if let Some(url) = either("HTTPS_PROXY") {
        all.push(with(Proxy::https(with_scheme(url)), "$HTTPS_PROXY", &no_proxy)?);
    }
    Ok(all)
}

/// `proxy.example.org:3128` is common in the environment.
fn with_scheme(url: String) -> String {
    if url.contains("://") { url } else { format!("http://{url}") }
}

fn headers(config: &HttpConfig) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, values) in &config.proxy_connect_header {
        let wrong = || format!("proxy_connect_header: {name:?} has a name or a value that no header can have");
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
        for value in values {
            let mut value = HeaderValue::from_str(value.expose()).map_err(|_| wrong())?;
            value.set_sensitive(true);
            headers.append(name.clone(), value);
        }
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environments_proxies_are_used_when_that_is_said() {
        let from = |config: &HttpConfig, variables: &[(&str, &str)]| {
            let variable = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| v.to_string());
            proxies(config, variable).map(|all| all.len())
        };
        let said = HttpConfig { proxy_from_environment: true, ..HttpConfig::default() };
        let both = [("HTTP_PROXY", "http://a:1"), ("https_proxy", "b:2"), ("NO_PROXY", "c")];
        assert_eq!(from(&said, &both), Ok(2));
        assert_eq!(from(&said, &[("http_proxy", " ")]), Ok(0));
        assert_eq!(from(&HttpConfig::default(), &both), Ok(0));
        let wrong = from(&said, &[("HTTP_PROXY", "http://hidden:x y@")]);
        assert_eq!(wrong, Err("$HTTP_PROXY is not the URL of a proxy".to_string()));
    }
}
