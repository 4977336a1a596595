//! A call that brought no usable response, classed by what can be done about it. Says nothing
//! about when to try again: that is `retry.rs`.

use std::fmt;
use std::time::Duration;

use cody_events::thread::{CallClass, Usage};
use serde::Deserialize;

use super::rate_limits::RateLimits;

/// Why one HTTP request gave no response to keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallError {
    pub class: CallClass,
    /// The HTTP status, if an answer came at all.
    pub status: Option<u16>,
    /// The wait that the server demands, to be obeyed exactly.
    pub retry_after: Option<Duration>,
    pub request_id: Option<String>,
    /// Tokens that a broken stream had already reported; they are charged.
    pub usage_seen: Option<Usage>,
    /// What happened, for a person. Never holds the key; at most 2,000 characters.
    pub message: String,
    pub rate_limits: RateLimits,
    /// No connection was made, so the request never left.
    pub is_unsent: bool,
    /// From sending to giving up.
    pub total_ms: u64,
}

impl CallError {
    /// Whether the provider may charge for this call: a request that never left and an error that
    /// it answered with are free, a response that broke off is not.
    pub fn may_be_charged(&self) -> bool {
        !self.is_unsent && matches!(self.status, None | Some(200))
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(status) = self.status {
            write!(f, " (HTTP {status})")?;
        }
        if let Some(id) = &self.request_id {
            write!(f, " (request {id})")?;
        }
        Ok(())
    }
}

impl std::error::Error for CallError {}

/// The provider's words about an error.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProviderError {
    /// Like `overloaded_error`; empty if the body is not of the provider's form.
    pub kind: String,
    pub message: String,
}

impl ProviderError {
    /// Reads an error body or the data of an `error` event; any other text is the message.
    pub fn read(text: &str) -> Self {
        #[derive(Deserialize)]
        struct Outer {
            error: Inner,
        }
        #[derive(Deserialize)]
        struct Inner {
            #[serde(rename = "type", default)]
            kind: String,
            #[serde(default)]
            message: String,
        }
        match serde_json::from_str::<Outer>(text) {
            Ok(Outer { error }) => Self { kind: error.kind, message: error.message },
            Err(_) => Self { kind: String::new(), message: text.trim().to_owned() },
        }
    }

    /// The class of this error as an HTTP answer of `status`.
    pub fn class_of_status(&self, status: u16, retry_after: Option<Duration>) -> CallClass {
        match status {
            400 | 422 => self.class_of_bad_request(),
            401 => CallClass::Authentication,
            402 => CallClass::Billing,
            403 => CallClass::Permission,
            404 if self.message.contains("model") => CallClass::ModelGone,
            404 => CallClass::NotFound,
            408 | 504 => CallClass::Timeout,
            409 => CallClass::Conflict,
            413 => CallClass::TooLarge,
            429 if retry_after.is_some() => CallClass::RateLimited,
            429 => CallClass::SpendCap,
            529 => CallClass::Overloaded,
            500..=599 => CallClass::ServerError,
            400..=499 => CallClass::BadRequest,
            _ => CallClass::Malformed,
        }
    }

    /// The class of this error as an event in a stream that began with HTTP 200.
    pub fn class_of_event(&self) -> CallClass {
        match self.kind.as_str() {
            "overloaded_error" => CallClass::Overloaded,
            "rate_limit_error" => CallClass::RateLimited,
            "timeout_error" => CallClass::Timeout,
            "invalid_request_error" => self.class_of_bad_request(),
            "authentication_error" => CallClass::Authentication,
            "billing_error" => CallClass::Billing,
            "permission_error" => CallClass::Permission,
            "not_found_error" => CallClass::NotFound,
            "request_too_large" => CallClass::TooLarge,
            _ => CallClass::ServerError,
        }
    }

    /// Only the words tell these apart: the provider gives all of them one type.
    fn class_of_bad_request(&self) -> CallClass {
        let says = |words: &str| self.message.to_ascii_lowercase().contains(words);
        let about_thinking =
            says("thinking` block") || says("thinking block") || says("thinking` or");
        if says("bound to a different") || (says("signature") && about_thinking) {
            return CallClass::BoundElsewhere;
        }
        if about_thinking && (says("cannot be modified") || says("must be passed back")) {
            return CallClass::BoundElsewhere;
        }
        if says("prompt is too long") || says("exceed context limit") || says("context window") {
            return CallClass::ContextExceeded;
        }
        if says("credit balance") {
            return CallClass::Billing;
        }
        if says("usage limit") || says("spend limit") {
            return CallClass::SpendCap;
        }
        CallClass::BadRequest
    }
}

/// `text` without `secret`, at most 2,000 characters long.
pub fn without_secret(text: &str, secret: &str) -> String {
    const MOST: usize = 2_000;
    let clean = match secret {
        "" => text.to_owned(),
        secret => text.replace(secret, "[redacted]"),
    };
    match clean.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &clean[..end]),
        None => clean,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_the_class_of_its_remedy() {
        let wait = Some(Duration::from_secs(1));
        let table = [
            (400, "messages.0: nonsense", None, CallClass::BadRequest),
            (
                400,
                "prompt is too long: 1200000 tokens > 1000000 maximum",
                None,
                CallClass::ContextExceeded,
            ),
            (
                400,
                "input length and `max_tokens` exceed context limit",
                None,
                CallClass::ContextExceeded,
            ),
            (
                400,
                "messages.1.content.0: Invalid `signature` in `thinking` block. The block is bound to a different conversation.",
                None,
                CallClass::BoundElsewhere,
            ),
            (
                400,
                "messages.1.content.0: Invalid `signature` in `thinking` block",
                None,
                CallClass::BoundElsewhere,
            ),
            (
                400,
                "`thinking` or `redacted_thinking` blocks in the latest assistant message cannot be modified.",
                None,
                CallClass::BoundElsewhere,
            ),
            (400, "Your credit balance is too low", None, CallClass::Billing),
            (400, "You have reached your specified API usage limits.", None, CallClass::SpendCap),
            (401, "invalid x-api-key", None, CallClass::Authentication),
            (402, "", None, CallClass::Billing),
            (403, "", None, CallClass::Permission),
            (404, "model: claude-3-7-sonnet-20250219", None, CallClass::ModelGone),
            (404, "Not found", None, CallClass::NotFound),
            (408, "", None, CallClass::Timeout),
            (409, "", None, CallClass::Conflict),
            (413, "", None, CallClass::TooLarge),
            (418, "", None, CallClass::BadRequest),
            (429, "", wait, CallClass::RateLimited),
            (429, "", None, CallClass::SpendCap),
            (500, "", None, CallClass::ServerError),
            (502, "", None, CallClass::ServerError),
            (504, "", None, CallClass::Timeout),
            (529, "", None, CallClass::Overloaded),
            (302, "", None, CallClass::Malformed),
        ];
        for (status, message, retry_after, class) in table {
            let error = ProviderError { kind: String::new(), message: message.into() };
            assert_eq!(error.class_of_status(status, retry_after), class, "{status} {message}");
        }
    }

    #[test]
    fn a_body_of_any_form_becomes_a_message() {
        assert_eq!(
            ProviderError::read(
                r#"{"type":"error","error":{"type":"api_error","message":"Oh"},"request_id":"r"}"#
            ),
            ProviderError { kind: "api_error".into(), message: "Oh".into() }
        );
        assert_eq!(
            ProviderError::read("<html>Bad Gateway</html>\n"),
            ProviderError { kind: String::new(), message: "<html>Bad Gateway</html>".into() }
        );
    }

    #[test]
    fn a_message_is_short_and_holds_no_secret() {
        let text = format!("key sk-canary is wrong, {}", "ü".repeat(3_000));
        let clean = without_secret(&text, "sk-canary");
        assert!(clean.starts_with("key [redacted] is wrong"));
        assert_eq!(clean.chars().count(), 2_001);
    }
}
