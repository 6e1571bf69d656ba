//! The web configuration file, in the format of Prometheus' exporter-toolkit: TLS, passwords, headers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use hyper::header::{HeaderName, HeaderValue};

use crate::yaml::{Document, Faults, Position, Secret, Source};

/// Hashes of a higher cost take minutes to check.
const MAX_COST: u32 = 16;

/// The headers that may be set, as in the toolkit.
const HEADERS: [&str; 5] = [
    "Strict-Transport-Security",
    "X-Content-Type-Options",
    "X-Frame-Options",
    "X-XSS-Protection",
    "Content-Security-Policy",
];

crate::section! {
    /// The whole file.
    pub struct WebFile {
        /// TLS; without it, plain HTTP.
        pub tls_server_config: Option<TlsSection> = None,
        /// HTTP itself.
        pub http_server_config: HttpSection = HttpSection::default(),
        /// User names, each with the bcrypt hash of the password.
        pub basic_auth_users: BTreeMap<String, Secret> = BTreeMap::new(),
    }
}

crate::section! {
    /// TLS. Paths are relative to the file's directory.
    pub struct TlsSection {
        /// The certificate chain, PEM.
        pub cert_file: Option<PathBuf> = None,
        /// Its private key, PEM.
        pub key_file: Option<PathBuf> = None,
        /// Whether clients show certificates: one of Go's names.
        pub client_auth_type: String = "NoClientCert".to_string(),
        /// The authorities of the clients' certificates, PEM.
        pub client_ca_file: Option<PathBuf> = None,
        /// `TLS12` or `TLS13`.
        pub min_version: String = "TLS12".to_string(),
        /// `TLS12` or `TLS13`.
        pub max_version: String = "TLS13".to_string(),
        /// Cipher suites of TLS 1.2, by Go's names; without it, all that are safe.
        pub cipher_suites: Vec<String> = Vec::new(),
        /// The server's order of cipher suites counts, not the client's.
        pub prefer_server_cipher_suites: bool = true,
        /// Curves of the key exchange, by Go's names, the preferred one first.
        pub curve_preferences: Vec<String> = Vec::new(),
    }
}

crate::section! {
    /// HTTP itself.
    pub struct HttpSection {
        /// HTTP/2, which needs TLS.
        pub http2: bool = true,
        /// Headers of all answers.
        pub headers: BTreeMap<String, String> = BTreeMap::new(),
    }
}

/// The file read and checked, but for the files that it names.
pub(super) struct Checked {
    pub file: WebFile,
    pub document: Document,
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// Reads the file. What is wrong is added to `faults`, never with a password hash in it.
pub(super) fn load(path: &Path, faults: &mut Faults) -> Option<Checked> {
    let name = path.display().to_string();
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) => {
            faults.enter(Arc::new(Source::new(name, "")));
            faults.error(Position::default(), format!("cannot read the web configuration: {e}"));
            return None;
        }
    };
    check(path, &text, faults)
}

fn check(path: &Path, text: &str, faults: &mut Faults) -> Option<Checked> {
    let name = path.display().to_string();
    let mut found = Faults::default();
    let document = Document::parse(&name, text, &mut found);
    let mut file: WebFile = document.read(&mut found);
    let headers = check_headers(&file, &document, &mut found);
    check_users(&file, &document, &mut found);
    if let Some(tls) = &mut file.tls_server_config {
        let directory = path.parent().unwrap_or(Path::new(""));
        for file in [&mut tls.cert_file, &mut tls.key_file, &mut tls.client_ca_file].into_iter().flatten() {
            *file = directory.join(&*file);
        }
    }
    // The same faults once more over a text without hashes, which is what they will quote.
    faults.enter(Arc::new(Source::new(name, without_hashes(text))));
    for fault in found.iter() {
        faults.error(fault.at, fault.message.clone());
    }
    found.is_empty().then_some(Checked { file, document, headers })
}

fn check_users(file: &WebFile, document: &Document, faults: &mut Faults) {
    let users = document.root.get("basic_auth_users");
    for (user, hash) in &file.basic_auth_users {
        let entry = users.and_then(|u| u.entries().iter().find(|(k, _)| k.name == *user));
        let at = entry.map_or(Position::default(), |(k, _)| k.at);
        match bcrypt::HashParts::from_str(hash.expose()) {
            Err(_) => faults.error(
                at,
                format!(
                    "the password of {user:?} is not a bcrypt hash; make one with: htpasswd -nBC 10 '' | tr -d ':\\n'"
                ),
            ),
            Ok(parts) if parts.get_cost() > MAX_COST => faults.error(
                at,
                format!("the hash of {user:?} has cost {}, which takes too long: at most {MAX_COST}", parts.get_cost()),
            ),
            Ok(_) if user.contains(':') => faults.error(at, "a user name cannot have a colon"),
            Ok(_) => {}
        }
    }
}

fn check_headers(file: &WebFile, document: &Document, faults: &mut Faults) -> Vec<(HeaderName, HeaderValue)> {
    let headers = document.root.get("http_server_config").and_then(|h| h.get("headers"));
    let mut checked = Vec::new();
    for (name, value) in &file.http_server_config.headers {
        let entry = headers.and_then(|h| h.entries().iter().find(|(k, _)| k.name == *name));
        let at = entry.map_or(Position::default(), |(k, _)| k.at);
        if !HEADERS.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            faults.unknown_key(at, name, &HEADERS);
            continue;
        }
        match (HeaderName::from_str(name), HeaderValue::from_str(value)) {
            (Ok(name), Ok(value)) => checked.push((name, value)),
            _ => faults.error(at, format!("{name} cannot have this value")),
        }
    }
    checked
}

/// The text with everything that looks like a bcrypt hash, or stands below `basic_auth_users`, replaced; lines stay.
fn without_hashes(text: &str) -> String {
    let mut users = false;
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        if !line.starts_with([' ', '\t', '#']) && !line.trim().is_empty() {
            users = line.trim_start_matches(['"', '\'', '{']).starts_with("basic_auth_users");
        }
        match line.split_once(':') {
            Some((key, rest)) if (users || rest.contains("$2")) && !rest.trim().is_empty() => {
                out.push_str(key);
                out.push_str(": <not shown>");
            }
            None if users || line.contains("$2") => out.push_str("<not shown>"),
            _ => out.push_str(line),
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::Fuzz;

    const HASH: &str = "$2y$04$W5bcgm3tvGEZvsQTu5zqJuuPbRUwnsVJAs.UZFZ2GBxDoWCwBkcvi";

    fn load_text(text: &str) -> (Option<Checked>, String) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("web.yml");
        std::fs::write(&path, text).unwrap();
        let mut faults = Faults::default();
        let checked = load(&path, &mut faults);
        (checked, faults.to_string().replace(&path.display().to_string(), "web.yml"))
    }

    #[test]
    fn a_file_of_the_toolkit_is_read() {
        let (checked, faults) = load_text(&format!(
            "tls_server_config:\n  cert_file: c.pem\n  key_file: /k.pem\nhttp_server_config:\n  http2: false\n  headers:\n    \
             X-Frame-Options: deny\nbasic_auth_users:\n  alice: {HASH}\n  bob: {HASH}\n"
        ));
        let checked = checked.unwrap_or_else(|| panic!("{faults}"));
        let tls = checked.file.tls_server_config.unwrap();
        assert!(tls.cert_file.unwrap().ends_with("c.pem") && tls.key_file.unwrap().starts_with("/k.pem"));
        assert_eq!((checked.headers.len(), checked.file.basic_auth_users.len()), (1, 2));
        assert!(!checked.file.http_server_config.http2);
    }

    #[test]
    fn every_fault_is_named_and_no_hash_is_shown() {
        let (checked, faults) = load_text(&format!(
            "tls_config: {{}}\nhttp_server_config:\n  headers:\n    X-Powered-By: fire\nbasic_auth_users:\n  \
             alice: hunter2\n  bob: {}\n  carol: [{HASH}]\n  alice: {HASH}\n",
            HASH.replace("$04$", "$31$")
        ));
        assert!(checked.is_none());
        for part in [
            "web.yml:1:1: unknown key \"tls_config\"",
            "web.yml:4:5: unknown key \"X-Powered-By\"",
            "web.yml:6:3: the password of \"alice\" is not a bcrypt hash",
            "web.yml:7:3: the hash of \"bob\" has cost 31",
            "web.yml:8:10: expected a text",
            "web.yml:9:3: the key \"alice\" is here twice",
        ] {
            assert!(faults.contains(part), "{part}: {faults}");
        }
        assert!(!faults.contains("$2y$") && !faults.contains("hunter2"), "{faults}");
    }

    #[test]
    fn broken_yaml_shows_no_hash_either() {
        for text in [
            format!("basic_auth_users: {{alice: {HASH}, b: ]}}\n"),
            format!("basic_auth_users:\n  a: {HASH}\n b: c: d\n"),
        ] {
            let (checked, faults) = load_text(&text);
            assert!(checked.is_none() && !faults.contains("$2y$"), "{faults}");
        }
        let (_, faults) = {
            let mut f = Faults::default();
            (load(Path::new("/nonexistent/web.yml"), &mut f), f.to_string())
        };
        assert!(faults.contains("/nonexistent/web.yml: cannot read the web configuration"), "{faults}");
    }

    #[test]
    fn no_file_makes_it_panic() {
        let good = [
            format!("basic_auth_users:\n  alice: {HASH}\n  bob: {HASH}\n"),
            "tls_server_config:\n  cert_file: c.pem\n  key_file: /k.pem\n  cipher_suites: [a]\n  min_version: TLS12\n"
                .into(),
            "http_server_config:\n  http2: false\n  headers:\n    X-Frame-Options: deny\n".into(),
        ];
        Fuzz::of(&good).heap(16 << 20).texts(|text| {
            let mut faults = Faults::default();
            check(Path::new("web.yml"), text, &mut faults);
            let _ = faults.to_string();
        });
    }
}
