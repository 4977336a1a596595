//! The doors: how programs and people reach the server. Each translates its own language; none
//! decides anything.

pub mod access;
pub mod control;
pub mod downloads;
pub mod graphql;
pub mod health;
pub mod listening;
pub mod mcp;
pub mod news;
pub mod operations;
pub mod permission;
pub mod reading;
pub mod tls;
pub mod words;
pub mod worker;

mod patch_view;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;

/// The bearer token of a request.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")
}
