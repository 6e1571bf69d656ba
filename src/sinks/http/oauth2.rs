//! Tokens by OAuth 2.0 with the client's own credentials (RFC 6749, 4.4): asked for when one is needed, kept until shortly
//! before they expire.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use reqwest::Method;
use serde::Deserialize;
use tokio::sync::Mutex;

use super::super::{DeliveryError, Reason};
use super::client::{HttpClient, Outgoing};
use super::config::OAuth2;
use super::secret;

/// A token is not used any more for so long before it expires, as it takes time to arrive.
const MARGIN: Duration = Duration::from_secs(10);

/// Where a client gets its tokens.
pub(super) struct Tokens {
    config: OAuth2,
    client: HttpClient,
    /// Held while one is asked for, so that it is asked for once.
    token: Mutex<Option<Token>>,
    /// Whether the server wants the client's credentials in the form, and not in a header.
    in_form: AtomicBool,
}

/// Boxed, as a client may have to get a token first, which is done with a client.
pub(super) type Getting<'a> = Pin<Box<dyn Future<Output = Result<Token, DeliveryError>> + Send + 'a>>;

#[derive(Clone)]
pub(super) struct Token {
    pub text: String,
    kind: String,
    /// `None`: it is good until it is refused.
    until: Option<Instant>,
    /// Whether it has just been given out, so that another would be no better.
    pub is_new: bool,
}

impl Token {
    pub fn header(&self) -> String {
        format!("{} {}", self.kind, self.text)
    }
}

/// What the server gives out (RFC 6749, 5.1).
#[derive(Deserialize)]
struct Given {
    access_token: String,
    #[serde(default)]
    token_type: String,
    /// Seconds; some servers write the number as a text.
    #[serde(default)]
    expires_in: serde_json::Value,
}

impl Tokens {
    pub fn new(config: &OAuth2, timeout: Duration) -> Tokens {
        Tokens {
            client: HttpClient::new(&config.http(), timeout),
            config: config.clone(),
            token: Mutex::new(None),
            in_form: AtomicBool::new(false),
        }
    }

    /// A token that should be good.
    ///
    /// # Errors
    /// Why there is none; without secrets.
    pub fn get(&self) -> Getting<'_> {
        Box::pin(self.get_unboxed())
    }

    async fn get_unboxed(&self) -> Result<Token, DeliveryError> {
        let mut kept = self.token.lock().await;
        if let Some(token) = kept.as_ref().filter(|token| token.until.is_none_or(|until| Instant::now() < until)) {
            return Ok(Token { is_new: false, ..token.clone() });
        }
        let token = self.ask().await?;
        *kept = Some(token.clone());
        Ok(token)
    }

    /// The far side did not take this token: the next is another.
    pub async fn refused(&self, token: &Token) {
        let mut kept = self.token.lock().await;
        if kept.as_ref().is_some_and(|kept| kept.text == token.text) {
            *kept = None;
        }
    }

    async fn ask(&self) -> Result<Token, DeliveryError> {
        let secret = secret(self.config.client_secret.as_ref(), self.config.client_secret_file.as_deref())
            .map_err(|e| DeliveryError::passing(Reason::Other, e))?;
        let in_form = self.in_form.load(Ordering::Relaxed);
        match self.ask_as(&secret, in_form).await {
            // The specification prefers a header and allows the form; which a server takes, only trying tells.
            Err(error) if error.reason == Reason::ClientError && !error.retry => {
                let token = self.ask_as(&secret, !in_form).await.map_err(|_| error)?;
                self.in_form.store(!in_form, Ordering::Relaxed);
                Ok(token)
            }
            other => other,
        }
    }

    fn request(&self, secret: &str, in_form: bool) -> Outgoing {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "client_credentials");
        if !self.config.scopes.is_empty() {
            form.append_pair("scope", &self.config.scopes.join(" "));
        }
        for (name, value) in &self.config.endpoint_params {
            form.append_pair(name, value.expose());
        }
        if in_form {
            form.append_pair("client_id", &self.config.client_id).append_pair("client_secret", secret);
        }
        let mut request = Outgoing::new(Method::POST, &self.config.token_url, form.finish().into_bytes())
            .header("Content-Type", "application/x-www-form-urlencoded")
            .header("Accept", "application/json")
            .secret(secret);
        for value in self.config.endpoint_params.values() {
            request = request.secret(value.expose());
        }
        if !in_form {
            // Both are encoded as in a form before they are put together (RFC 6749, 2.3.1).
            let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
            request = request.basic_auth(encoded(&self.config.client_id), encoded(secret));
        }
        request
    }

    async fn ask_as(&self, secret: &str, in_form: bool) -> Result<Token, DeliveryError> {
        let began = Instant::now();
        let answer = self.client.send(self.request(secret, in_form)).await?;
        let given: Given = serde_json::from_slice(&answer.body).map_err(|_| answer.unusable("no access_token"))?;
        let seconds = match &given.expires_in {
            serde_json::Value::String(text) => text.parse().ok(),
            number => number.as_u64(),
        };
        let until = seconds
            .filter(|s| *s > 0)
            .map(Duration::from_secs)
            .and_then(|good| began.checked_add(good.saturating_sub(MARGIN)));
        let bearer = given.token_type.is_empty() || given.token_type.eq_ignore_ascii_case("bearer");
        let kind = if bearer { "Bearer".to_string() } else { given.token_type };
        Ok(Token { text: given.access_token, kind, until, is_new: true })
    }
}
