//! The service as others use it: the real program's `serve`, over HTTP.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test panics where it is wrong")]

mod access;
mod served;
