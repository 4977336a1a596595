//! What stands before all doors: names, limits, credentials, and what every answer says to browsers.
//! Workers have doors and credentials of their own; only their names are looked at here.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, ETAG, IF_NONE_MATCH, RANGE, RETRY_AFTER,
};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use tower_http::cors::CorsLayer;
use tower_http::timeout::RequestBodyTimeoutLayer;

use super::Access;
use super::caller::{Caller, Identity};
use super::headers::harden;
use super::limits::{Allowances, Holder};
use super::names::{Misnamed, Names};
use crate::api::listening::Visitor;
use crate::config::AccessConfig;
use crate::wire::{self, Refusal};

/// The largest body of a route that says nothing else.
const MAX_BODY_BYTES: usize = 1 << 20;
/// The longest silence in the midst of a body.
const BODY_SILENCE: Duration = Duration::from_secs(30);
/// How long a browser may remember what a site may do here.
const PREFLIGHT_AGE: Duration = Duration::from_secs(600);

/// What the guard needs to know.
#[derive(Debug)]
pub struct Guard {
    access: Arc<Access>,
    names: Names,
    requests: Allowances,
    refusals: Allowances,
    origins: Vec<HeaderValue>,
}

impl Guard {
    /// A guard of a server that listens on `bound`.
    pub fn new(access: Arc<Access>, config: &AccessConfig, bound: &[SocketAddr]) -> Self {
        Self {
            access,
            names: Names::new(&config.hosts, &config.origins, bound),
            requests: Allowances::a_minute(config.requests_a_minute),
            refusals: Allowances::a_minute(config.refusals_a_minute),
            origins: config.origins.iter().filter_map(|origin| origin.parse().ok()).collect(),
        }
    }

    /// Counts what `caller` asks for in a message; says how long to wait if that is more than a minute
    /// allows. A request of its own is counted by the guard.
    pub fn note_request(&self, caller: &Caller) -> Result<(), Duration> {
        match caller.is_local_admin {
            true => Ok(()),
            false => {
                let now = self.access.app.clock().monotonic();
                self.requests.take(Holder::Token(caller.holder().to_owned()), now)
            }
        }
    }

    /// Notes that somebody at `address` showed no good credential where one is needed; says how long
    /// to wait if that was once too often. For doors that take credentials in messages; where a
    /// request's headers have it, the guard does this.
    pub fn note_refusal(&self, address: IpAddr) -> Result<(), Duration> {
        let now = self.access.app.clock().monotonic();
        self.refusals.take(Holder::at(address), now)
    }
}

/// `doors` behind the guard.
pub fn guarded(doors: Router, guard: Arc<Guard>) -> Router {
    let other_sites = cross_origin(&guard.origins);
    let doors = doors
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(RequestBodyTimeoutLayer::new(BODY_SILENCE))
        .layer(from_fn_with_state(guard, check));
    let doors = match other_sites {
        Some(cors) => doors.layer(cors),
        None => doors,
    };
    doors.layer(from_fn(harden))
}

/// What pages of other sites may do; nothing unless some were configured.
fn cross_origin(origins: &[HeaderValue]) -> Option<CorsLayer> {
    if origins.is_empty() {
        return None;
    }
    let sent = [ACCEPT, AUTHORIZATION, CONTENT_TYPE, IF_NONE_MATCH, RANGE];
    let last_event = HeaderName::from_static("last-event-id");
    let cors = CorsLayer::new()
        .allow_origin(origins.to_vec())
        .allow_methods([Method::GET, Method::HEAD, Method::POST])
        .allow_headers(sent.into_iter().chain([last_event]).collect::<Vec<_>>())
        .expose_headers([ETAG, RETRY_AFTER])
        .max_age(PREFLIGHT_AGE);
    Some(cors)
}

async fn check(State(guard): State<Arc<Guard>>, mut request: Request, next: Next) -> Response {
    let visitor = request.extensions().get::<Visitor>();
    let is_tls = visitor.is_some_and(|visitor| visitor.is_tls);
    let address = visitor.map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), |visitor| visitor.address.ip());
    if let Err(no) = guard.names.check(&request, is_tls) {
        return misnamed(no);
    }
    if request.uri().path().starts_with(wire::PREFIX) {
        return next.run(request).await;
    }
    let identity = guard.access.identify_at(request.uri().path(), request.headers()).await;
    let reason = identity.as_ref().err().map(|denied| denied.code());
    let holder = match &identity {
        Ok(caller) if caller.is_local_admin => None,
        Ok(caller) => Some(Holder::Token(caller.holder().to_owned())),
        Err(_) => Some(Holder::at(address)),
    };
    let now = guard.access.app.clock().monotonic();
    if let Some(Err(wait)) = holder.map(|holder| guard.requests.take(holder, now)) {
        return too_many(wait);
    }
    request.extensions_mut().insert(Identity(identity));
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let answer = next.run(request).await;
    tracing::debug!(%method, path, status = answer.status().as_u16(), "a request was answered");
    if answer.status() != StatusCode::UNAUTHORIZED {
        return answer;
    }
    // Whoever has a good credential is let in whatever others at the same address did.
    match guard.note_refusal(address) {
        Ok(()) => {
            tracing::info!(%address, why = reason, "a caller without a good credential was refused");
            answer
        }
        Err(wait) => too_many(wait),
    }
}

fn misnamed(no: Misnamed) -> Response {
    let (status, code) = match no {
        Misnamed::NoHost => (StatusCode::BAD_REQUEST, "no-host"),
        Misnamed::Host => (StatusCode::FORBIDDEN, "host-not-allowed"),
        Misnamed::Origin => (StatusCode::FORBIDDEN, "origin-not-allowed"),
    };
    (status, Json(Refusal { code: code.to_owned(), message: no.to_string() })).into_response()
}

fn too_many(wait: Duration) -> Response {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    let message = format!("These are more requests than a minute allows. Wait {seconds} s.");
    let refusal = Refusal { code: "too-many-requests".to_owned(), message };
    let wait = [(RETRY_AFTER, HeaderValue::from(seconds))];
    (StatusCode::TOO_MANY_REQUESTS, wait, Json(refusal)).into_response()
}
