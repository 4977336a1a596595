//! Whether the server is there, for whoever watches it: `ok`, without a token.

use axum::Router;
use axum::routing::get;

/// The route.
pub const ROUTE: &str = "/healthz";

/// The door.
pub fn router() -> Router {
    Router::new().route(ROUTE, get(|| async { "ok" }))
}
