//! What the response headers say about limits. Instants become durations by the server's own
//! `date`, so this needs no clock and trusts no agreement between clocks.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::HeaderMap;

/// The limits as one response reports them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RateLimits {
    pub requests: Limit,
    pub tokens: Limit,
    pub input_tokens: Limit,
    pub output_tokens: Limit,
    /// How long to wait before the next request, if the server demands a wait.
    pub retry_after: Option<Duration>,
}

/// One limit; what a server does not send is `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limit {
    pub limit: Option<u64>,
    pub remaining: Option<u64>,
    /// How long until `remaining` is full again, counted from the response.
    pub reset_after: Option<Duration>,
}

impl RateLimits {
    /// Reads the headers of one response.
    pub fn of(headers: &HeaderMap) -> Self {
        let date = http_date(headers, "date");
        let limit = |kind: &str| Limit {
            limit: number(headers, &format!("anthropic-ratelimit-{kind}-limit")),
            remaining: number(headers, &format!("anthropic-ratelimit-{kind}-remaining")),
            reset_after: text(headers, &format!("anthropic-ratelimit-{kind}-reset"))
                .and_then(|reset| reset.parse::<Timestamp>().ok())
                .and_then(|reset| since(date?, reset)),
        };
        Self {
            requests: limit("requests"),
            tokens: limit("tokens"),
            input_tokens: limit("input-tokens"),
            output_tokens: limit("output-tokens"),
            retry_after: retry_after(headers, date),
        }
    }
}

/// Seconds, whole or not, or a date.
fn retry_after(headers: &HeaderMap, date: Option<Timestamp>) -> Option<Duration> {
    let value = text(headers, "retry-after")?;
    match value.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds.max(0.0)).ok(),
        Err(_) => since(date?, http_date(headers, "retry-after")?),
    }
}

fn since(from: Timestamp, to: Timestamp) -> Option<Duration> {
    let millis = to.as_millisecond().saturating_sub(from.as_millisecond());
    Some(Duration::from_millis(u64::try_from(millis).unwrap_or(0)))
}

fn http_date(headers: &HeaderMap, name: &str) -> Option<Timestamp> {
    let instant = httpdate::parse_http_date(text(headers, name)?).ok()?;
    Timestamp::try_from(instant).ok()
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    text(headers, name)?.parse().ok()
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (reqwest::header::HeaderName::from_static(name), value.parse().unwrap())
            })
            .collect()
    }

    #[test]
    fn instants_become_waits_by_the_servers_own_clock() {
        let limits = RateLimits::of(&headers(&[
            ("date", "Sun, 22 Nov 2026 10:00:00 GMT"),
            ("anthropic-ratelimit-requests-limit", "50"),
            ("anthropic-ratelimit-requests-remaining", "0"),
            ("anthropic-ratelimit-requests-reset", "2026-11-22T10:00:07Z"),
            ("anthropic-ratelimit-input-tokens-remaining", "9000"),
            ("anthropic-ratelimit-input-tokens-reset", "2026-11-22T10:05:00Z"),
        ]));
        assert_eq!(
            limits.requests,
            Limit {
                limit: Some(50),
                remaining: Some(0),
                reset_after: Some(Duration::from_secs(7))
            }
        );
        assert_eq!(limits.input_tokens.reset_after, Some(Duration::from_secs(300)));
        assert_eq!(limits.tokens, Limit::default());
    }

    #[test]
    fn a_demanded_wait_is_read_as_seconds_or_as_a_date() {
        let wait = |value: &str| {
            RateLimits::of(&headers(&[
                ("date", "Sun, 22 Nov 2026 10:00:00 GMT"),
                ("retry-after", value),
            ]))
            .retry_after
        };
        assert_eq!(wait("8"), Some(Duration::from_secs(8)));
        assert_eq!(wait("0.5"), Some(Duration::from_millis(500)));
        assert_eq!(wait("Sun, 22 Nov 2026 10:00:30 GMT"), Some(Duration::from_secs(30)));
        assert_eq!(wait("Sun, 22 Nov 2026 09:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(wait("soon"), None);
        assert_eq!(wait("-1"), Some(Duration::ZERO));
        assert_eq!(wait("NaN"), Some(Duration::ZERO));
        assert_eq!(wait("inf"), None);
    }
}
