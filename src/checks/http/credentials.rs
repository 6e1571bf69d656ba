//! What is sent with a request that may stand in files: the body, and who asks.

use base64::Engine;
use bytes::Bytes;
use hyper::header::HeaderValue;

use super::super::net::with_files;
use super::config::HttpCheck;
use crate::sinks::{Authorization, BasicAuth, secret};
use crate::yaml::Secret;

/// Bytes of a body in a file.
const MAX_BODY: u64 = 16 << 20;

pub(super) struct Prepared {
    /// The `Authorization` header.
    pub authorization: Option<HeaderValue>,
    pub body: Bytes,
}

impl Prepared {
    /// # Errors
    /// Which file cannot be read, or what cannot be sent.
    pub async fn read(config: &HttpCheck) -> Result<Prepared, String> {
        let basic = config.basic_auth.as_ref();
        let of_basic = basic.is_some_and(|auth| auth.username_file.is_some() || auth.password_file.is_some());
        let of_other = config.authorization.as_ref().is_some_and(|auth| auth.credentials_file.is_some());
        let are_files = of_basic || of_other || config.body_file.is_some();
        let (basic, authorization) = (config.basic_auth.clone(), config.authorization.clone());
        let (body, body_file) = (config.body.clone(), config.body_file.clone());
        with_files(are_files, move || {
            let authorization = match (basic, authorization) {
                (Some(auth), _) => Some(of_user(&auth)?),
                (None, Some(authorization)) => Some(of_scheme(&authorization)?),
                (None, None) => None,
            };
            let body = match (body, body_file) {
                (_, Some(file)) => read_body(&file).map_err(|e| format!("cannot read {}: {e}", file.display()))?,
                (body, None) => body.as_ref().map(Secret::expose).unwrap_or_default().as_bytes().to_vec(),
            };
            Ok(Prepared { authorization, body: body.into() })
        })
        .await
    }
}

fn read_body(file: &std::path::Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read;
    let mut body = Vec::new();
    std::fs::File::open(file)?.take(MAX_BODY + 1).read_to_end(&mut body)?;
    if body.len() as u64 > MAX_BODY {
        return Err(std::io::Error::other(format!("it is longer than {} MiB", MAX_BODY >> 20)));
    }
    Ok(body)
}

fn of_user(auth: &BasicAuth) -> Result<HeaderValue, String> {
    let user = match &auth.username_file {
        Some(file) => secret(None, Some(file))?,
        None => auth.username.clone(),
    };
    let password = secret(auth.password.as_ref(), auth.password_file.as_deref())?;
    basic(&user, &password)
}

fn of_scheme(authorization: &Authorization) -> Result<HeaderValue, String> {
    let credentials = secret(authorization.credentials.as_ref(), authorization.credentials_file.as_deref())?;
    sensitive(&format!("{} {credentials}", authorization.kind))
}

/// The header for a user and a password (RFC 7617).
pub(super) fn basic(user: &str, password: &str) -> Result<HeaderValue, String> {
    sensitive(&format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"))))
}

fn sensitive(text: &str) -> Result<HeaderValue, String> {
    let mut value = HeaderValue::from_str(text.trim_end())
        .map_err(|_| "the credentials have characters that cannot be sent".to_string())?;
    value.set_sensitive(true);
    Ok(value)
}
