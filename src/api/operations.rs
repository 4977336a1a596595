//! What whoever runs the server asks it: whether it is ready for work, and what it does in figures. And
//! the layer around every door that counts requests and turns new ones away once the server stops.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{Extensions, HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use tracing::Instrument as _;

use crate::api::downloads::Gate;
use crate::api::listening::Visitor;
use crate::pulse::{Format, Pulse, RouteClass};
use crate::wire::Refusal;

/// Where a worker's first message goes. What comes after it is taken to the end.
const CLAIM: &str = "/worker/v1/claim";
/// When whoever is turned away by a server that stops may ask the next one, in seconds.
const RETRY_SECONDS: &str = "5";
/// Headers by which a proxy says for whom it asks; the peer is the proxy then, and tells nothing.
const FORWARDED: [&str; 4] = ["forwarded", "via", "x-forwarded-for", "x-real-ip"];

/// What the door needs.
#[derive(Clone)]
pub struct OperationsDoor {
    pub pulse: Arc<Pulse>,
    /// Knows those who are not on this machine and may read.
    pub gate: Arc<dyn Gate>,
}

impl std::fmt::Debug for OperationsDoor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OperationsDoor").finish_non_exhaustive()
    }
}

/// The routes: `/readyz` for everybody, `/metrics` for this machine and for those whom the gate knows.
pub fn router(door: OperationsDoor) -> Router {
    Router::new().route("/readyz", get(readyz)).route("/metrics", get(metrics)).with_state(door)
}

/// `doors` with every request counted and traced, and new ones refused while the server stops.
pub fn counted(doors: Router, pulse: Arc<Pulse>) -> Router {
    doors.layer(from_fn_with_state(pulse, count))
}

async fn readyz(State(door): State<OperationsDoor>) -> Response {
    let problems = door.pulse.problems().await;
    let (status, word) = match problems.is_empty() {
        true => (StatusCode::OK, "ready"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "not-ready"),
    };
    let answer = serde_json::json!({ "status": word, "problems": problems });
    (status, [(CACHE_CONTROL, "no-store")], Json(answer)).into_response()
}

async fn metrics(
    State(door): State<OperationsDoor>,
    headers: HeaderMap,
    extensions: Extensions,
) -> Response {
    let peer = extensions.get::<Visitor>().map(|visitor| visitor.address.ip());
    if !is_of_this_machine(peer, &headers)
        && let Err(denied) = door.gate.may_read(&headers).await
    {
        return denied;
    }
    let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
    let format = Format::for_accept(accept);
    let written = match door.pulse.snapshot().await {
        Ok(snapshot) => snapshot.written(format).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match written {
        Ok(text) => {
            let headers = [(CONTENT_TYPE, format.media_type()), (CACHE_CONTROL, "no-store")];
            (headers, text).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "figures could not be given");
            let message = "the views cannot be read; the server's log says why".to_owned();
            refuse(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message)
        }
    }
}

/// Whether the peer is this machine, and asks for itself.
fn is_of_this_machine(peer: Option<IpAddr>, headers: &HeaderMap) -> bool {
    peer.is_some_and(|peer| peer.to_canonical().is_loopback())
        && !FORWARDED.iter().any(|name| headers.contains_key(*name))
}

async fn count(State(pulse): State<Arc<Pulse>>, request: Request, next: Next) -> Response {
    let class = RouteClass::of(request.uri().path());
    let began = tokio::time::Instant::now();
    let span = tracing::info_span!(
        "http-request",
        route = class.name(),
        method = method_of(&request),
        status = tracing::field::Empty,
        job = tracing::field::Empty,
        target = tracing::field::Empty,
        attempt = tracing::field::Empty,
    );
    let response = match pulse.is_stopping() && is_new_work(class, request.uri().path()) {
        true => stopping(),
        false => next.run(request).instrument(span.clone()).await,
    };
    let status = response.status().as_u16();
    span.record("status", status);
    pulse.traffic().note(class, status, began.elapsed());
    response
}

/// Whether a server that stops turns the request away. A worker that has claimed reports to the end.
fn is_new_work(class: RouteClass, path: &str) -> bool {
    match class {
        RouteClass::Worker => path == CLAIM,
        RouteClass::Operations => false,
        RouteClass::Control
        | RouteClass::Graphql
        | RouteClass::Mcp
        | RouteClass::Jobs
        | RouteClass::Webhooks
        | RouteClass::Other => true,
    }
}

/// A method as one of a few words.
fn method_of(request: &Request) -> &'static str {
    match request.method().as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

fn stopping() -> Response {
    let message = "the server was asked to stop; ask again in a moment".to_owned();
    let mut response = refuse(StatusCode::SERVICE_UNAVAILABLE, "stopping", message);
    response.headers_mut().insert(RETRY_AFTER, axum::http::HeaderValue::from_static(RETRY_SECONDS));
    response
}

fn refuse(status: StatusCode, code: &str, message: String) -> Response {
    (status, Json(Refusal { code: code.to_owned(), message })).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_asks_from_this_machine_for_itself_needs_no_token() {
        let local: Option<IpAddr> = Some("127.0.0.1".parse().unwrap());
        let none = HeaderMap::new();
        assert!(is_of_this_machine(local, &none));
        assert!(is_of_this_machine(Some("::1".parse().unwrap()), &none));
        assert!(is_of_this_machine(Some("::ffff:127.0.0.1".parse().unwrap()), &none));
        assert!(!is_of_this_machine(Some("192.0.2.1".parse().unwrap()), &none));
        assert!(!is_of_this_machine(None, &none));
        for name in FORWARDED {
            let mut headers = HeaderMap::new();
            headers.insert(name, "192.0.2.1".parse().unwrap());
            assert!(!is_of_this_machine(local, &headers), "{name}");
        }
    }

    #[test]
    fn a_server_that_stops_takes_what_workers_report_and_says_that_it_stops() {
        let taken = |path| !is_new_work(RouteClass::of(path), path);
        assert!(taken("/worker/v1/tools") && taken("/readyz") && taken("/metrics"));
        assert!(!taken(CLAIM) && !taken("/graphql") && !taken("/control/v1") && !taken("/"));
    }
}
