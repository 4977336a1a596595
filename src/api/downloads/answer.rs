//! Downloads as HTTP answers, after RFC 9110: what the reader has already is not sent again, and a part
//! is sent where a part is asked for. Several parts at once are answered with the whole.

use std::ops::Range;

use axum::http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, IF_RANGE, RANGE, REFERRER_POLICY,
    RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Json, body::Body};
use cody_events::digest::Sha256;

use crate::wire::Refusal;

/// What is said of a download before its bytes.
#[derive(Debug, Clone)]
pub struct Label {
    pub content_type: &'static str,
    pub file_name: String,
    /// Names its bytes and no others.
    pub tag: Sha256,
    /// Whether a part of it may be asked for.
    pub has_parts: bool,
}

/// Which bytes are to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Share {
    Whole,
    Part(Range<u64>),
    /// A part that is not there.
    Beyond,
}

impl Label {
    fn etag(&self) -> String {
        format!("\"{}\"", self.tag)
    }

    /// Whether the reader has it already.
    pub fn is_known(&self, headers: &HeaderMap) -> bool {
        let tag = self.etag();
        headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok()).any(|list| {
            list.split(',')
                .map(str::trim)
                .any(|one| one == "*" || one.strip_prefix("W/").unwrap_or(one) == tag)
        })
    }

    /// Which of its `length` bytes are asked for.
    pub fn share(&self, headers: &HeaderMap, length: u64) -> Share {
        let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        // Of another version, the reader wants the whole; dates are none that we gave.
        let is_same = headers.get(IF_RANGE).is_none() || text(IF_RANGE) == Some(&*self.etag());
        match text(RANGE).filter(|_| is_same && self.has_parts) {
            Some(range) => part(range, length).unwrap_or(Share::Whole),
            None => Share::Whole,
        }
    }

    /// The answer without a body.
    pub fn known(&self) -> Response {
        let mut response = StatusCode::NOT_MODIFIED.into_response();
        self.put_on(response.headers_mut());
        response
    }

    /// The answer with `body`, which is the share of a download of `length` bytes if that is known.
    pub fn with(&self, body: Body, share: &Share, length: Option<u64>) -> Response {
        let mut response = Response::new(body);
        let headers = response.headers_mut();
        self.put_on(headers);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        if let Ok(value) = HeaderValue::try_from(disposition(&self.file_name)) {
            headers.insert(CONTENT_DISPOSITION, value);
        }
        match (share, length) {
            (Share::Part(part), Some(length)) => {
                let range = format!("bytes {}-{}/{length}", part.start, part.end - 1);
                put(headers, CONTENT_RANGE, range);
                headers.insert(CONTENT_LENGTH, HeaderValue::from(part.end - part.start));
                *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            }
            (_, Some(length)) => {
                headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
            }
            (_, None) => {}
        }
        response
    }

    /// The answer where the part that is asked for is not there.
    pub fn beyond(&self, length: u64) -> Response {
        let message = format!("there are {length} bytes; ask for a part of those, or for all");
        let mut response = refuse(StatusCode::RANGE_NOT_SATISFIABLE, "no-such-range", message);
        self.put_on(response.headers_mut());
        put(response.headers_mut(), CONTENT_RANGE, format!("bytes */{length}"));
        response
    }

    fn put_on(&self, headers: &mut HeaderMap) {
        let parts = if self.has_parts { "bytes" } else { "none" };
        headers.insert(ACCEPT_RANGES, HeaderValue::from_static(parts));
        put(headers, ETAG, self.etag());
        // Kept by its reader alone, and asked for again each time.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
        harden(headers);
    }
}

fn put(headers: &mut HeaderMap, name: axum::http::HeaderName, value: String) {
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.insert(name, value);
    }
}

/// A browser shows nothing of it as a page of ours, and tells nobody the address it came from.
fn harden(headers: &mut HeaderMap) {
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let policy = HeaderValue::from_static("default-src 'none'; sandbox");
    headers.insert(CONTENT_SECURITY_POLICY, policy);
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
}

/// The one part that `text` asks for; nothing if it asks for no part, for several, or makes no sense.
fn part(text: &str, length: u64) -> Option<Share> {
    let (first, last) = text.trim().strip_prefix("bytes=")?.trim().split_once('-')?;
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        // More than can be counted is beyond all that there is.
        digits.then(|| text.parse().unwrap_or(u64::MAX))
    };
    let range = match (first.trim(), last.trim()) {
        ("", last) => length.saturating_sub(number(last)?)..length,
        (first, "") => number(first)?..length,
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return None;
            }
            first..last.saturating_add(1).min(length)
        }
    };
    Some(if range.is_empty() { Share::Beyond } else { Share::Part(range) })
}

/// How a browser is to call the file, in the old form for all and in the new for what that cannot say.
fn disposition(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-+@=,~ ".contains(c);
    let ascii: String = name.chars().map(|c| if plain(c) { c } else { '_' }).collect();
    let mut text = format!("attachment; filename=\"{ascii}\"");
    if ascii != name {
        text.push_str("; filename*=UTF-8''");
        for byte in name.bytes() {
            match byte.is_ascii_alphanumeric() || b"._-+~".contains(&byte) {
                true => text.push(char::from(byte)),
                false => text.push_str(&format!("%{byte:02X}")),
            }
        }
    }
    text
}

/// A no, as every door of this server says it.
pub fn refuse(status: StatusCode, code: &str, message: String) -> Response {
    let mut response = (status, Json(Refusal { code: code.to_owned(), message })).into_response();
    harden(response.headers_mut());
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_read_as_the_rfc_says() {
        for (text, share) in [
            ("bytes=0-9", Some(Share::Part(0..10))),
            ("bytes=90-", Some(Share::Part(90..100))),
            ("bytes=90-999", Some(Share::Part(90..100))),
            ("bytes=-10", Some(Share::Part(90..100))),
            ("bytes=-999", Some(Share::Part(0..100))),
            ("bytes=99-99", Some(Share::Part(99..100))),
            ("bytes=100-", Some(Share::Beyond)),
            ("bytes=99999999999999999999999-", Some(Share::Beyond)),
            ("bytes=-0", Some(Share::Beyond)),
            ("bytes=9-2", None),
            ("bytes=0-1,5-6", None),
            ("bytes=a-", None),
            ("bytes=--5", None),
            ("bytes=+1-2", None),
            ("bytes=-", None),
            ("lines=0-1", None),
        ] {
            assert_eq!(part(text, 100), share, "{text}");
        }
        assert_eq!(part("bytes=0-", 0), Some(Share::Beyond));
    }

    #[test]
    fn a_name_stays_in_its_quotes() {
        assert_eq!(disposition("a-b.patch"), "attachment; filename=\"a-b.patch\"");
        assert_eq!(
            disposition("a\"; x=\r\nß.patch"),
            "attachment; filename=\"a__ x=___.patch\"; filename*=UTF-8''a%22%3B%20x%3D%0D%0A%C3%9F.patch"
        );
    }
}
