//! What every answer tells a browser, unless whoever made it told something else: to guess no type, to
//! run nothing, to frame nothing, to keep nothing. Pages set a policy of their own.

use axum::extract::Request;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;

use crate::api::listening::Visitor;

const HARDENED: [(HeaderName, &str); 5] = [
    (CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
    (REFERRER_POLICY, "no-referrer"),
    (CACHE_CONTROL, "no-store"),
];

/// Half a year, of this very name: others are not ours to decide for.
const STAY_WITH_TLS: &str = "max-age=15552000";

pub(super) async fn harden(request: Request, next: Next) -> Response {
    let is_tls = request.extensions().get::<Visitor>().is_some_and(|visitor| visitor.is_tls);
    let mut answer = next.run(request).await;
    let headers = answer.headers_mut();
    for (name, value) in HARDENED {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    if is_tls {
        let value = HeaderValue::from_static(STAY_WITH_TLS);
        headers.entry(STRICT_TRANSPORT_SECURITY).or_insert(value);
    }
    answer
}
