//! Requests to AWS: who asks, and the signature (Signature Version 4) that proves it.
//!
//! Credentials are looked for as AWS' own programs do: in the configuration; with a `profile` in the shared file; else in the
//! environment, in the shared file, and at last, on a machine of EC2, those of the machine's role (IMDSv2).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Method, Url};
use ring::{digest, hmac};
use serde::Deserialize;
use tokio::sync::Mutex;

use super::http::{HttpClient, Outgoing};
use super::{DeliveryError, HttpConfig, Reason, not_supported};
use crate::model::Timestamp;
use crate::section;
use crate::yaml::{Faults, Node, Secret};

section! {
    check = |s: &mut Sigv4, node: &Node, faults: &mut Faults| {
        if s.access_key.is_empty() != s.secret_key.is_none() {
            faults.error(node.at, "access_key and secret_key belong together: give both or none");
        }
    };
    foreign = |key: &str| {
        let instead = match key {
            "role_arn" | "external_id" | "use_fips_sts_endpoint" => {
                "give the role to the machine (EC2), or name a profile that has keys of its own"
            }
            _ => return None,
        };
        Some(not_supported(key, instead))
    };
    /// Who asks AWS.
    pub struct Sigv4 {
        /// The region; `$AWS_REGION` when it is not set.
        pub region: String = String::new(),
        /// The identifier of the key.
        pub access_key: String = String::new(),
        /// The key itself.
        pub secret_key: Option<Secret> = None,
        /// A section of the shared file of credentials (`~/.aws/credentials`).
        pub profile: String = String::new(),
    }
}

/// A key of AWS.
#[derive(Clone)]
pub(super) struct Credentials {
    pub access_key: String,
    pub secret_key: String,
    /// Of keys that are given for some time.
    pub session_token: Option<String>,
}

/// Where keys come from.
pub(super) struct Provider {
    config: Sigv4,
    variable: Arc<dyn Fn(&str) -> Option<String> + Send + Sync>,
    metadata: HttpClient,
    /// Those of the machine's role, and until when.
    role: Mutex<Option<(Credentials, Timestamp)>>,
}

/// What the machine's role gives.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RoleKey {
    access_key_id: String,
    secret_access_key: String,
    token: String,
    expiration: String,
}

/// A key of a role is renewed for so long before it expires: new ones are there five minutes before.
const RENEWAL: Duration = Duration::from_secs(4 * 60);
/// What is not there does not answer: on a machine that is none of EC2's nobody should wait for it long.
const METADATA_TIMEOUT: Duration = Duration::from_secs(2);

impl Provider {
    pub fn new(config: &Sigv4) -> Provider {
        Provider::with(config, |name| std::env::var(name).ok())
    }

    /// With variables that need not be those of the agent.
    pub(super) fn with(config: &Sigv4, variable: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Provider {
        Provider {
            config: config.clone(),
            variable: Arc::new(move |name| variable(name).filter(|value| !value.is_empty())),
            metadata: HttpClient::new(&HttpConfig::default(), METADATA_TIMEOUT),
            role: Mutex::new(None),
        }
    }

    fn variable(&self, name: &str) -> Option<String> {
        (self.variable)(name)
    }

    pub fn region(&self) -> Option<String> {
        let set = Some(self.config.region.clone()).filter(|region| !region.is_empty());
        set.or_else(|| self.variable("AWS_REGION")).or_else(|| self.variable("AWS_DEFAULT_REGION"))
    }

    /// The key to sign with.
    ///
    /// # Errors
    /// Where it was looked for.
    pub async fn credentials(&self) -> Result<Credentials, DeliveryError> {
        if let Some(secret) = &self.config.secret_key {
            let (access_key, secret_key) = (self.config.access_key.clone(), secret.expose().to_string());
            return Ok(Credentials { access_key, secret_key, session_token: None });
        }
        let named = Some(self.config.profile.clone()).filter(|profile| !profile.is_empty());
        if named.is_none()
            && let (Some(access_key), Some(secret_key)) =
                (self.variable("AWS_ACCESS_KEY_ID"), self.variable("AWS_SECRET_ACCESS_KEY"))
        {
            return Ok(Credentials { access_key, secret_key, session_token: self.variable("AWS_SESSION_TOKEN") });
        }
        let profile = named.clone().or_else(|| self.variable("AWS_PROFILE")).unwrap_or_else(|| "default".to_string());
        if let Some(file) = self.shared_file()
            && let Some(found) =
                tokio::fs::read_to_string(&file).await.ok().and_then(|text| of_profile(&text, &profile))
        {
            return Ok(found);
        }
        let missing = |more: &str| {
            let message = format!(
                "no AWS key: neither in sigv4 nor in the shared file of credentials, profile {profile:?}{more}"
            );
            DeliveryError::passing(Reason::Other, message)
        };
        if named.is_some() {
            return Err(missing(""));
        }
        self.of_role().await.map_err(|error| missing(&format!(", nor in the environment; the machine's role: {error}")))
    }

    fn shared_file(&self) -> Option<PathBuf> {
        let named = self.variable("AWS_SHARED_CREDENTIALS_FILE").map(PathBuf::from);
        named.or_else(|| Some(PathBuf::from(self.variable("HOME")?).join(".aws/credentials")))
    }

    async fn of_role(&self) -> Result<Credentials, DeliveryError> {
        let mut known = self.role.lock().await;
        if let Some((credentials, _)) = known.as_ref().filter(|(_, until)| Timestamp::now() + RENEWAL < *until) {
            return Ok(credentials.clone());
        }
        let base =
            self.variable("AWS_EC2_METADATA_SERVICE_ENDPOINT").unwrap_or_else(|| "http://169.254.169.254".into());
        let base = format!("{}/latest", base.trim_end_matches('/'));
        let asking = Outgoing::new(Method::PUT, format!("{base}/api/token"), Vec::new())
            .header("X-aws-ec2-metadata-token-ttl-seconds", "60");
        let token = text(self.metadata.send(asking).await?.body);
        let get = |path: &str| {
            let url = format!("{base}/meta-data/iam/security-credentials/{path}");
            self.metadata.send(Outgoing::new(Method::GET, url, Vec::new()).secret_header(
                "X-aws-ec2-metadata-token",
                &token,
                &token,
            ))
        };
        let roles = text(get("").await?.body);
        let role = roles.lines().next().unwrap_or_default().trim();
        let unreadable = || DeliveryError::passing(Reason::ServerError, "it gives no key");
        let key: RoleKey = serde_json::from_slice(&get(role).await?.body).map_err(|_| unreadable())?;
        let until: jiff::Timestamp = key.expiration.parse().map_err(|_| unreadable())?;
        let credentials = Credentials {
            access_key: key.access_key_id,
            secret_key: key.secret_access_key,
            session_token: Some(key.token),
        };
        *known = Some((credentials.clone(), Timestamp::from_millis(until.as_millisecond())));
        Ok(credentials)
    }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).trim().to_string()
}

/// The key of a section of the shared file.
fn of_profile(text: &str, profile: &str) -> Option<Credentials> {
    let mut within = false;
    let (mut access_key, mut secret_key, mut session_token) = (None, None, None);
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';'])) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            within = name.trim() == profile;
        } else if within && let Some((key, value)) = line.split_once('=') {
            let value = Some(value.trim().to_string());
            match key.trim() {
                "aws_access_key_id" => access_key = value,
                "aws_secret_access_key" => secret_key = value,
                "aws_session_token" => session_token = value,
                _ => {}
            }
        }
    }
    Some(Credentials { access_key: access_key?, secret_key: secret_key?, session_token })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// SHA-256 in hexadecimal.
pub(super) fn sha256(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn sign(key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
}

/// What is signed of a request, which has no query.
pub(super) struct Signing<'a> {
    pub method: &'a str,
    pub url: &'a Url,
    pub content_type: Option<&'a str>,
    pub body: &'a [u8],
    pub region: &'a str,
    pub service: &'a str,
}

/// The headers that a request must have besides those of [`Signing`].
pub(super) fn signature(of: &Signing<'_>, credentials: &Credentials, at: Timestamp) -> Vec<(&'static str, String)> {
    let at = jiff::Timestamp::from_millisecond(at.as_millis()).unwrap_or_default();
    let (day, second) = (at.strftime("%Y%m%d").to_string(), at.strftime("%Y%m%dT%H%M%SZ").to_string());
    let host = of.url.host_str().unwrap_or_default();
    let host = of.url.port().map_or_else(|| host.to_string(), |port| format!("{host}:{port}"));
    // In order of their names.
    let mut headers: Vec<(&'static str, String)> = Vec::new();
    headers.extend(of.content_type.map(|kind| ("content-type", kind.to_string())));
    headers.push(("host", host));
    headers.push(("x-amz-date", second.clone()));
    headers.extend(credentials.session_token.clone().map(|token| ("x-amz-security-token", token)));
    let lines: String = headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    let names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
    let names = names.join(";");
    let request = format!("{}\n{}\n\n{lines}\n{names}\n{}", of.method, of.url.path(), sha256(of.body));
    let scope = format!("{day}/{}/{}/aws4_request", of.region, of.service);
    let signed = format!("AWS4-HMAC-SHA256\n{second}\n{scope}\n{}", sha256(request.as_bytes()));
    let start = format!("AWS4{}", credentials.secret_key).into_bytes();
    let key = [&day, of.region, of.service, "aws4_request"].into_iter().fold(start, |key, part| sign(&key, part));
    let signature = hex(&sign(&key, &signed));
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
        credentials.access_key
    );
    let mut more = vec![("Authorization", authorization), ("X-Amz-Date", second)];
    more.extend(credentials.session_token.clone().map(|token| ("X-Amz-Security-Token", token)));
    more
}

#[cfg(test)]
mod tests {
    use super::super::testing::far_side;
    use super::*;

    fn key() -> Credentials {
        Credentials {
            access_key: "AKIDEXAMPLE".to_string(),
            secret_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_string(),
            session_token: None,
        }
    }

    #[test]
    fn signatures_are_those_of_aws_own_test_suite() {
        let url = Url::parse("https://example.amazonaws.com/").unwrap();
        let at = Timestamp::from_millis(1_440_938_160_000);
        let form = "application/x-www-form-urlencoded";
        for (method, content_type, body, signed, expected) in [
            // get-vanilla, post-vanilla, post-x-www-form-urlencoded
            ("GET", None, "", "host;x-amz-date", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
            ("POST", None, "", "host;x-amz-date", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
            (
                "POST",
                Some(form),
                "Param1=value1",
                "content-type;host;x-amz-date",
                "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
            ),
        ] {
            let of = Signing {
                method,
                url: &url,
                content_type,
                body: body.as_bytes(),
                region: "us-east-1",
                service: "service",
            };
            let headers = signature(&of, &key(), at);
            let authorization = format!(
                "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
                 SignedHeaders={signed}, Signature={expected}"
            );
            let date = ("X-Amz-Date", "20150830T123600Z".to_string());
            assert_eq!(headers, [("Authorization", authorization), date], "{method} {body}");
        }
    }

    #[tokio::test]
    async fn keys_are_looked_for_in_aws_own_order() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("credentials");
        let text = "# mine\n[default]\naws_access_key_id = D\naws_secret_access_key=d\n\n[ops]\naws_access_key_id=O\n\
                    aws_secret_access_key = o\naws_session_token = t\n[half]\naws_access_key_id=H\n";
        std::fs::write(&file, text).unwrap();
        let found = async |config: Sigv4, variables: &[(&str, &str)]| {
            let variables: Vec<(String, String)> =
                variables.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
            let provider =
                Provider::with(&config, move |name| variables.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone()));
            let found = provider.credentials().await.map_err(|e| e.message);
            found.map(|c| format!("{} {} {}", c.access_key, c.secret_key, c.session_token.unwrap_or_default()))
        };
        let shared = ("AWS_SHARED_CREDENTIALS_FILE", file.to_str().unwrap());
        let environment =
            [("AWS_ACCESS_KEY_ID", "E"), ("AWS_SECRET_ACCESS_KEY", "e"), ("AWS_SESSION_TOKEN", "s"), shared];
        let set = Sigv4 { access_key: "C".into(), secret_key: Some(Secret::new("c")), ..Sigv4::default() };
        let profile = |name: &str| Sigv4 { profile: name.into(), ..Sigv4::default() };
        assert_eq!(found(set, &environment).await, Ok("C c ".to_string()));
        assert_eq!(found(Sigv4::default(), &environment).await, Ok("E e s".to_string()));
        assert_eq!(found(profile("ops"), &environment).await, Ok("O o t".to_string()));
        assert_eq!(found(Sigv4::default(), &[shared]).await, Ok("D d ".to_string()));
        assert_eq!(found(Sigv4::default(), &[shared, ("AWS_PROFILE", "ops")]).await, Ok("O o t".to_string()));
        let error = found(profile("half"), &environment).await.unwrap_err();
        assert!(error.contains("profile \"half\""), "{error}");
    }

    #[tokio::test]
    async fn a_machine_of_ec2_has_the_key_of_its_role_which_is_kept_until_it_expires() {
        const KEY: &str = r#"{"Code": "Success", "AccessKeyId": "R", "SecretAccessKey": "r", "Token": "t",
                              "Expiration": "2100-01-01T00:00:00Z"}"#;
        let answers = [(200, "TOKEN"), (200, "my-role\n"), (200, KEY)].map(|(status, body)| (status, vec![], body));
        let (address, seen) = far_side(answers.to_vec()).await;
        let provider = Provider::with(&Sigv4::default(), move |name| {
            (name == "AWS_EC2_METADATA_SERVICE_ENDPOINT").then(|| format!("http://{address}/"))
        });
        for _ in 0..2 {
            let key = provider.credentials().await.unwrap_or_else(|e| panic!("{e}"));
            assert_eq!((key.access_key.as_str(), key.session_token.as_deref()), ("R", Some("t")));
        }
        let seen = seen.lock().unwrap();
        let paths: Vec<&str> = seen.iter().map(|s| s.path.as_str()).collect();
        let role = "/latest/meta-data/iam/security-credentials/";
        assert_eq!(paths, ["/latest/api/token", role, &format!("{role}my-role")]);
        assert_eq!(seen[1].header("x-aws-ec2-metadata-token"), "TOKEN");
    }
}
