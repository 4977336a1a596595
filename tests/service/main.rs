//! The service as others use it: the real program's `serve`, over HTTP.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test panics where it is wrong")]

mod access;
mod collector;
mod ending;
mod far;
mod graphql;
#[path = "../jobs/harness.rs"]
#[expect(dead_code, reason = "whole jobs need more of it")]
mod harness;
#[path = "../../projections/tests/histories/mod.rs"]
#[expect(dead_code, reason = "the projections' tests use the rest")]
mod histories;
mod idle;
mod keys;
mod operations;
mod parity;
#[path = "../foreign/peers.rs"]
#[expect(dead_code, reason = "other tests need more of it")]
mod peers;
mod permissions;
mod review;
mod running;
mod served;
mod stopping;
mod traces;
