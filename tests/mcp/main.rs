//! The MCP door of the real program, asked by hand and by clients that no one here wrote.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test panics where it is wrong")]

mod client;
mod door;
#[cfg(feature = "mcp-fixtures")]
mod fixtures;
mod following;
#[path = "../jobs/harness.rs"]
#[expect(dead_code, reason = "whole jobs need more of it")]
mod harness;
mod inspector;
mod issuer;
mod lasting;
mod pipe;
mod proxy;
mod python;
#[path = "../service/running.rs"]
#[expect(dead_code, reason = "other tests need more of it")]
mod running;
#[path = "../service/served.rs"]
#[expect(dead_code, reason = "other tests need more of it")]
mod served;
mod speed;
mod suite;
mod tools;
