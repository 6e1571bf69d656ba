//! Who may use the server: what the web configuration says, in force.

use std::net::IpAddr;
use std::path::Path;

use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, FORWARDED, HeaderName, HeaderValue, ORIGIN};

use super::tls::{self, Tls};
use super::users::{Login, Users};
use super::web_file;
use crate::yaml::Faults;

/// TLS, passwords and headers. The default is plain HTTP for everybody.
pub struct Access {
    pub(super) tls: Option<Tls>,
    users: Users,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
}

impl Default for Access {
    fn default() -> Self {
        Access { tls: None, users: Users::new(Default::default()), headers: Vec::new() }
    }
}

impl Access {
    /// Loads the web configuration file, and the certificates and keys that it names. All that is wrong comes back at
    /// once, never with a password hash in it. Reads files: not for an async thread that serves.
    pub fn load(path: &Path) -> Result<Access, Faults> {
        let mut faults = Faults::default();
        let Some(checked) = web_file::load(path, &mut faults) else { return Err(faults) };
        let tls = tls::load(&checked, &mut faults);
        if faults.has_errors() {
            return Err(faults);
        }
        Ok(Access { tls, users: Users::new(checked.file.basic_auth_users), headers: checked.headers })
    }

    /// True when connections are encrypted.
    pub fn has_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// True when every request needs a password.
    pub(super) fn needs_login(&self) -> bool {
        !self.users.is_empty()
    }

    /// Checks the password, where one is needed.
    pub(super) async fn login(&self, headers: &HeaderMap) -> Login {
        if !self.needs_login() {
            return Login::Accepted;
        }
        match headers.get(AUTHORIZATION).and_then(|h| h.to_str().ok()) {
            Some(authorization) => self.users.login(authorization).await,
            None => Login::Refused,
        }
    }

    /// Whether a request to `host` that has passed [`login`](Access::login) may change something; if not, why.
    ///
    /// Whoever has shown credentials may. Without them it takes a client on the machine itself, and not one that passes
    /// on the request of another (a proxy). In no case may a browser that a page from elsewhere has sent.
    pub(super) fn may_change(&self, peer: IpAddr, host: &str, headers: &HeaderMap) -> Result<(), &'static str> {
        let origin = headers.get(ORIGIN).map(|o| o.to_str().unwrap_or_default());
        let origin_host = origin.map(|o| o.split_once("://").map_or("", |(_, host)| host));
        if origin_host.is_some_and(|o| !o.eq_ignore_ascii_case(host)) {
            return Err("Refused: the request comes from a page of another site.\n");
        }
        if self.knows_clients() {
            return Ok(());
        }
        if origin.is_some() && !is_local_name(host) {
            // A page's name can be made to point here (DNS rebinding), and would then be of the same site.
            return Err("Refused: a browser must use localhost or an IP address.\n");
        }
        let passed_on = headers.contains_key(FORWARDED) || headers.contains_key("x-forwarded-for");
        if peer.to_canonical().is_loopback() && !passed_on {
            return Ok(());
        }
        Err("Refused: allowed only from this machine itself, or with the credentials of --web.config.file.\n")
    }

    /// Whether a request may be told what commands have written, which may hold anything: names of customers, a password
    /// in a message of an error. Whoever may change something may, who could as well look on the machine itself.
    ///
    /// A page whose name was made to point here (DNS rebinding) can read without being of another site, and then the
    /// browser says no origin: without credentials the host must be a name that nobody can give away.
    pub(super) fn may_see_output(&self, peer: IpAddr, host: &str, headers: &HeaderMap) -> bool {
        self.may_change(peer, host, headers).is_ok() && (self.knows_clients() || is_local_name(host))
    }

    /// Whether nobody gets as far as to ask without credentials.
    fn knows_clients(&self) -> bool {
        self.needs_login() || self.tls.as_ref().is_some_and(|tls| tls.clients_are_verified)
    }
}

fn is_local_name(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    name.eq_ignore_ascii_case("localhost") || name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::Fuzz;

    fn may_change(peer: &str, host: &str, headers: &[(&'static str, &'static str)]) -> bool {
        let headers = headers.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect();
        Access::default().may_change(peer.parse().unwrap(), host, &headers).is_ok()
    }

    #[test]
    fn without_credentials_only_this_machine_changes_something() {
        for (peer, may) in [
            ("127.0.0.1", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("192.0.2.7", false),
            ("2001:db8::1", false),
        ] {
            assert_eq!(may_change(peer, "myhost:9100", &[]), may, "{peer}");
        }
        assert!(!may_change("127.0.0.1", "myhost", &[("x-forwarded-for", "192.0.2.7")]), "through a proxy");
    }

    #[test]
    fn a_page_from_elsewhere_changes_nothing() {
        for (host, origin, may) in [
            ("localhost:9100", "http://localhost:9100", true),
            ("[::1]:9100", "http://[::1]:9100", true),
            ("127.0.0.1", "http://127.0.0.1", true),
            ("localhost:9100", "https://evil.example", false),
            ("localhost:9100", "null", false),
            ("evil.example:9100", "http://evil.example:9100", false),
        ] {
            assert_eq!(may_change("127.0.0.1", host, &[("origin", origin)]), may, "{host} {origin}");
        }
    }

    #[test]
    fn what_commands_wrote_is_for_this_machine_by_a_name_that_is_its_own() {
        for (peer, host, may) in [
            ("127.0.0.1", "localhost:9100", true),
            ("127.0.0.1", "127.0.0.1:9100", true),
            ("127.0.0.1", "evil.example:9100", false),
            ("192.0.2.7", "192.0.2.1:9100", false),
        ] {
            assert_eq!(Access::default().may_see_output(peer.parse().unwrap(), host, &HeaderMap::new()), may, "{host}");
        }
    }

    #[test]
    fn no_host_makes_it_panic() {
        Fuzz::of(&["localhost:9100", "[::1]:9100", "127.0.0.1", "evil.example:9100"]).texts(|host| {
            is_local_name(host);
        });
    }
}
