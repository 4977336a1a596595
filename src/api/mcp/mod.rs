//! The door for AI assistants: the Model Context Protocol over HTTP, in its present revision and the one
//! before, from one address. Nothing is kept between two requests: what lasts is a job, and it has an id.
//!
//! The guard before all doors looks at names and origins, and tokens are those of every door; the library
//! sees requests of known callers alone.

mod answer;
mod assistant;
mod calls;
mod completion;
#[cfg(feature = "mcp-fixtures")]
mod fixtures;
mod following;
mod long_calls;
mod office;
mod prompts;
mod resources;
mod tools;
mod window;

use std::sync::Arc;

use axum::extract::{FromRef, Request, State};
use axum::http::header::{HOST, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use cody_events::system::Scope;
use rmcp::transport::streamable_http_server::StreamableHttpServerConfig;
use serde_json::json;

use super::access::{Access, Authenticated, Denied};

pub use assistant::Assistant;
#[cfg(not(feature = "mcp-fixtures"))]
use assistant::service;
#[cfg(feature = "mcp-fixtures")]
use fixtures::service;
pub use office::Office;

/// Where everything can be done that the token allows.
pub const ROUTE: &str = "/mcp";
/// Where nothing can be changed, whatever the token allows.
pub const READONLY: &str = "/mcp/readonly";
/// Where it is told how to be let in (RFC 9728).
const METADATA: &str = "/.well-known/oauth-protected-resource";
/// A job's request: a prompt and a few names.
const MAX_BODY_BYTES: usize = 4 << 20;

/// What the door needs.
#[derive(Debug, Clone)]
pub struct McpDoor {
    pub office: Arc<Office>,
    /// Where callers reach the server, if that is configured.
    pub public_url: Option<String>,
    /// `http`, or `https` where the server itself speaks TLS.
    pub scheme: &'static str,
}

impl FromRef<McpDoor> for Arc<Access> {
    fn from_ref(door: &McpDoor) -> Self {
        Self::clone(&door.office.reception.access)
    }
}

/// The door's routes.
pub fn router(door: McpDoor) -> Router {
    let served = |is_readonly| {
        let config = StreamableHttpServerConfig::default()
            // The guard has done both, by the server's own lists.
            .disable_allowed_hosts()
            .disable_allowed_origins()
            .with_legacy_session_mode(false)
            .with_json_response(true)
            .with_max_request_body_bytes(MAX_BODY_BYTES);
        service(Assistant { office: Arc::clone(&door.office), is_readonly }, config)
    };
    let metadata = get(metadata).with_state(door.clone());
    Router::new()
        .route_service(ROUTE, served(false))
        .route_service(READONLY, served(true))
        .route_layer(from_fn_with_state(door, admit))
        .route(METADATA, metadata.clone())
        .route(&format!("{METADATA}{ROUTE}"), metadata.clone())
        .route(&format!("{METADATA}{READONLY}"), metadata)
}

/// Lets known callers in, and tells others where they learn how to become one.
async fn admit(
    State(door): State<McpDoor>,
    caller: Result<Authenticated, Denied>,
    mut request: Request,
    next: Next,
) -> Response {
    match caller {
        Ok(Authenticated(caller)) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(denied) => {
            let base = base(&door, request.headers());
            let path = request.uri().path().to_owned();
            let mut response = denied.into_response();
            let challenge = response.headers().get(WWW_AUTHENTICATE);
            let challenge = challenge.and_then(|value| value.to_str().ok()).unwrap_or("Bearer");
            let told = format!("{challenge}, resource_metadata=\"{base}{METADATA}{path}\"");
            if let Ok(value) = HeaderValue::from_str(&told) {
                response.headers_mut().insert(WWW_AUTHENTICATE, value);
            }
            response
        }
    }
}

/// How callers reach this server: as it is configured, or by the name that they used, which the guard
/// knows to be ours.
fn base(door: &McpDoor, headers: &HeaderMap) -> String {
    if let Some(url) = &door.public_url {
        return url.clone();
    }
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("127.0.0.1");
    format!("{}://{host}", door.scheme)
}

/// What the protected resource is, and which tokens open it.
async fn metadata(State(door): State<McpDoor>, request: Request) -> Json<serde_json::Value> {
    let path = request.uri().path().strip_prefix(METADATA).filter(|path| !path.is_empty());
    let scopes: Vec<&str> = Scope::ALL.iter().map(|scope| scope.name()).collect();
    let issuer = door.office.reception.access.issuer();
    let mut told = json!({
        "resource": format!("{}{}", base(&door, request.headers()), path.unwrap_or(ROUTE)),
        "resource_name": "Cody Batch",
        "bearer_methods_supported": ["header"],
        "scopes_supported": scopes,
    });
    if let Some(issuer) = issuer {
        told["authorization_servers"] = json!([issuer.name()]);
    }
    Json(told)
}
