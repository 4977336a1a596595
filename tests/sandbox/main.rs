//! The sandbox, with real commands in it: what works inside, and what must not. Every case runs in
//! both backends; and where we are root, all of it once more as an ordinary user.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test panics where it is wrong")]

mod endings;
mod files;
mod ground;
mod kernel;
mod limits;
mod network;
mod processes;
mod sessions;
mod telling;
mod work;
