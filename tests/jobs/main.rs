//! Whole jobs, from the command line to the patch: the built program, real git, real sandboxes, real
//! child processes. Only Claude is played, over the real wire protocol.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test panics where it is wrong")]

mod attacks;
mod control;
mod demo;
mod foreign;
#[path = "../foreign/git_server.rs"]
mod git_server;
mod harness;
mod kills;
mod large;
mod lies;
mod llmock;
mod long;
mod mishaps;
mod no_room;
mod outcomes;
mod overspend;
#[path = "../foreign/peers.rs"]
mod peers;
mod played_worker;
mod real;
mod recipes;
mod rejections;
mod remote;
mod review;
mod soak;
mod upgrade;
mod zombie;
