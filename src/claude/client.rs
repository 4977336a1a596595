//! The one way to Claude: exactly one HTTP request a call, its answer read as a stream. Never
//! tries again, never asks whether it may; `retry.rs` and the caller's permits do that.

use std::sync::Once;
use std::time::Duration;

use bytes::Bytes;
use cody_events::thread::{CallClass, Usage};
use cody_events::time::took_ms;
use reqwest::header::{HeaderMap, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;
use url::Url;

use super::assemble::{self, Assembler, BadStream, Response, StreamProgress};
use super::endpoint;
use super::failure::{self, CallError, ProviderError};
use super::rate_limits::RateLimits;
use super::sse::SseParser;

/// The version of the Messages API that this program speaks.
pub const API_VERSION: &str = "2026-10-21";
/// Where Claude answers if nothing else is configured.
pub const DEFAULT_BASE_URL: &str = "https://api.anthropic.com";

/// How to reach Claude.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// Without `/v1/messages`.
    pub base_url: Url,
    pub api_key: SecretString,
    pub connect_timeout: Duration,
    /// The longest silence, before the first byte and between any two.
    pub idle_timeout: Duration,
    /// The longest that a call may take, however lively.
    pub total_timeout: Duration,
    pub user_agent: String,
}

impl ClientOptions {
    /// The usual waits: 10 s to connect, 120 s of silence, one hour in all.
    pub fn new(base_url: Url, api_key: SecretString) -> Self {
        Self {
            base_url,
            api_key,
            connect_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(120),
            total_timeout: Duration::from_secs(3_600),
            user_agent: concat!("cody-batch/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}

/// A response with what is known about its call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub response: Response,
    pub request_id: Option<String>,
    pub rate_limits: RateLimits,
    /// From sending to the first byte of the body.
    pub first_byte_ms: u64,
    /// From sending to the last byte.
    pub total_ms: u64,
}

/// Sends requests to one server with one key.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    url: Url,
    options: ClientOptions,
}

/// Why there can be no client.
#[derive(Debug, thiserror::Error)]
pub enum BadClient {
    #[error(
        "the base URL of Claude must be http or https, without user name or query; correct ANTHROPIC_BASE_URL"
    )]
    BaseUrl,
    #[error(
        "the API key of Claude is empty or has characters that no header can carry; correct ANTHROPIC_API_KEY"
    )]
    ApiKey,
    #[error("no HTTPS client can be made on this machine")]
    Http(#[source] reqwest::Error),
}

/// Error bodies are read up to here; the rest would not be shown.
const MOST_ERROR_BYTES: usize = 64 * 1024;
/// No response of 128,000 tokens comes near this.
const MOST_RESPONSE_BYTES: usize = 256 * 1024 * 1024;

impl Client {
    /// Checks the options and opens no connection yet.
    pub fn new(options: ClientOptions) -> Result<Self, BadClient> {
        let url = endpoint::messages_url(&options.base_url)?;
        let mut key = HeaderValue::from_str(options.api_key.expose_secret())
            .map_err(|_| BadClient::ApiKey)?;
        if key.is_empty() {
            return Err(BadClient::ApiKey);
        }
        key.set_sensitive(true);
        let mut headers = HeaderMap::new();
        headers.insert("x-api-key", key);
        headers.insert("anthropic-version", HeaderValue::from_static(API_VERSION));
        headers.insert("content-type", HeaderValue::from_static("application/json"));
        headers.insert("accept", HeaderValue::from_static("text/event-stream"));
        install_crypto();
        let mut builder = reqwest::Client::builder()
            .default_headers(headers)
            .user_agent(options.user_agent.clone())
            .connect_timeout(options.connect_timeout)
            .tcp_keepalive(Duration::from_secs(60))
            // A redirect would carry the key and the prompt to a place that nobody chose.
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never());
        if endpoint::is_loopback(&url) {
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(BadClient::Http)?;
        Ok(Self { http, url, options })
    }

    /// Sends `body` once and reads the whole answer. `betas` become the `anthropic-beta` header.
    /// `progress` hears of the response while it arrives; nothing that it hears is final.
    pub async fn send(
        &self,
        body: Bytes,
        betas: &[String],
        progress: impl FnMut(StreamProgress<'_>),
    ) -> Result<Reply, CallError> {
        let started = Instant::now();
        let mut call = Call {
            deadline: started + self.options.total_timeout,
            idle: self.options.idle_timeout,
            started,
            first_byte_ms: None,
            status: None,
            request_id: None,
            rate_limits: RateLimits::default(),
            usage_seen: None,
            is_unsent: false,
        };
        let outcome = self.exchange(&mut call, body, betas, progress).await;
        let total_ms = took_ms(started.elapsed());
        match outcome {
            Ok(response) => Ok(Reply {
                response,
                request_id: call.request_id,
                rate_limits: call.rate_limits,
                first_byte_ms: call.first_byte_ms.unwrap_or(total_ms),
                total_ms,
            }),
            Err(BadStream { class, message }) => Err(CallError {
                class,
                status: call.status,
                retry_after: call.rate_limits.retry_after,
                request_id: call.request_id,
                usage_seen: call.usage_seen,
                message: failure::without_secret(&message, self.options.api_key.expose_secret()),
                rate_limits: call.rate_limits,
                is_unsent: call.is_unsent,
                total_ms,
            }),
        }
    }

    async fn exchange(
        &self,
        call: &mut Call,
        body: Bytes,
        betas: &[String],
        mut progress: impl FnMut(StreamProgress<'_>),
    ) -> Result<Response, BadStream> {
        let mut request = self.http.post(self.url.clone()).body(body);
        if !betas.is_empty() {
            request = request.header("anthropic-beta", betas.join(","));
        }
        let mut answer = call.headers(request.send()).await?;
        let status = answer.status().as_u16();
        call.status = Some(status);
        call.rate_limits = RateLimits::of(answer.headers());
        progress(StreamProgress::Answered(&call.rate_limits));
        call.request_id = header_text(answer.headers(), &["request-id", "x-request-id"]);
        let json = header_text(answer.headers(), &["content-type"])
            .is_some_and(|kind| kind.contains("json"));
        if status != 200 {
            let text = call.text(&mut answer, MOST_ERROR_BYTES).await;
            let error = ProviderError::read(&text);
            return Err(BadStream {
                class: error.class_of_status(status, call.rate_limits.retry_after),
                message: format!("the provider refused the call: {} {}", error.kind, error.message),
            });
        }
        if json {
            return call.document(&mut answer).await;
        }
        call.stream(&mut answer, progress).await
    }
}

/// What is known of the call in progress.
struct Call {
    started: Instant,
    deadline: Instant,
    idle: Duration,
    first_byte_ms: Option<u64>,
    status: Option<u16>,
    request_id: Option<String>,
    rate_limits: RateLimits,
    usage_seen: Option<Usage>,
    is_unsent: bool,
}

impl Call {
    async fn headers(
        &mut self,
        sending: impl Future<Output = Result<reqwest::Response, reqwest::Error>>,
    ) -> Result<reqwest::Response, BadStream> {
        let wait = self.deadline.min(Instant::now() + self.idle);
        match tokio::time::timeout_at(wait, sending).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                self.is_unsent = error.is_connect();
                Err(broken(error))
            }
            Err(_) => Err(BadStream {
                class: CallClass::Timeout,
                message: "the provider did not begin to answer in time".into(),
            }),
        }
    }

    /// The next bytes of the body; `None` at its end.
    async fn piece(&mut self, answer: &mut reqwest::Response) -> Result<Option<Bytes>, BadStream> {
        let silence = Instant::now() + self.idle;
        match tokio::time::timeout_at(self.deadline.min(silence), answer.chunk()).await {
            Ok(Ok(piece)) => {
                if self.first_byte_ms.is_none() && piece.is_some() {
                    self.first_byte_ms = Some(took_ms(self.started.elapsed()));
                }
                Ok(piece)
            }
            Ok(Err(error)) => Err(broken(error)),
            Err(_) if self.deadline <= silence => Err(BadStream {
                class: CallClass::Timeout,
                message: "the response took longer than a call may take".into(),
            }),
            Err(_) => Err(BadStream {
                class: CallClass::Idle,
                message: format!("the stream was silent for {} ms", self.idle.as_millis()),
            }),
        }
    }

    async fn stream(
        &mut self,
        answer: &mut reqwest::Response,
        mut progress: impl FnMut(StreamProgress<'_>),
    ) -> Result<Response, BadStream> {
        let mut parser = SseParser::default();
        let mut assembler = Assembler::default();
        let mut events = Vec::new();
        let mut length = 0usize;
        while !assembler.stopped() {
            let Some(piece) = self.piece(answer).await? else { break };
            length = length.saturating_add(piece.len());
            let bounded = parser.feed(&piece, &mut events).is_ok() && length <= MOST_RESPONSE_BYTES;
            for event in events.drain(..) {
                let taken = assembler.take(&event, &mut progress);
                self.usage_seen = assembler.usage_seen();
                taken?;
            }
            if !bounded {
                return Err(too_long());
            }
        }
        if assembler.stopped() {
            drain(answer).await;
        }
        assembler.finish()
    }

    async fn document(&mut self, answer: &mut reqwest::Response) -> Result<Response, BadStream> {
        let mut bytes = Vec::new();
        while let Some(piece) = self.piece(answer).await? {
            if bytes.len() + piece.len() > MOST_RESPONSE_BYTES {
                return Err(too_long());
            }
            bytes.extend_from_slice(&piece);
        }
        assemble::whole_message(&String::from_utf8_lossy(&bytes))
    }

    /// As much of an error's body as comes, up to `most` bytes.
    async fn text(&mut self, answer: &mut reqwest::Response, most: usize) -> String {
        let mut bytes = Vec::new();
        while let Ok(Some(piece)) = self.piece(answer).await {
            bytes.extend_from_slice(&piece);
            if bytes.len() >= most {
                bytes.truncate(most);
                break;
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// Reads what little may follow the last event, so that the connection can serve the next call.
async fn drain(answer: &mut reqwest::Response) {
    let rest = async { while let Ok(Some(_)) = answer.chunk().await {} };
    // The response is complete; a connection that does not end in time is simply not used again.
    let _ = tokio::time::timeout(Duration::from_millis(200), rest).await;
}

fn too_long() -> BadStream {
    BadStream {
        class: CallClass::Malformed,
        message: "the response is longer than any response can be".into(),
    }
}

/// A failure below HTTP. The URL stays out of the message, the causes go in.
fn broken(error: reqwest::Error) -> BadStream {
    let class = if error.is_timeout() { CallClass::Timeout } else { CallClass::Dropped };
    let what = if error.is_connect() {
        "the provider could not be reached"
    } else {
        "the connection to the provider broke"
    };
    let error = error.without_url();
    let mut message = format!("{what}: {error}");
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        message.push_str(": ");
        message.push_str(&error.to_string());
        cause = error.source();
    }
    BadStream { class, message }
}

fn install_crypto() {
    static ONCE: Once = Once::new();
    // Another part of the program may have installed the same provider first; then that one stays.
    ONCE.call_once(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

fn header_text(headers: &HeaderMap, names: &[&str]) -> Option<String> {
    let value = names.iter().find_map(|name| headers.get(*name))?;
    Some(value.to_str().ok()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unusable_key_is_refused_before_anything_is_sent() {
        let client = |key: &str| {
            Client::new(ClientOptions::new(DEFAULT_BASE_URL.parse().unwrap(), key.into()))
        };
        assert!(matches!(client(""), Err(BadClient::ApiKey)));
        assert!(matches!(client("sk\nX-Evil: 1"), Err(BadClient::ApiKey)));
        assert!(!format!("{:?}", client("sk-canary").unwrap()).contains("sk-canary"));
    }
}
