//! What people take home of a job, over HTTP from a real log, beside what the command line prints.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test panics where it is wrong")]

mod demo;
mod ground;
mod http;
mod large;
mod report;
