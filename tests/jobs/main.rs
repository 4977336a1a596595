//! Whole jobs, from the command line to the patch: the built program, real git, real sandboxes, real
//! child processes. Only Claude is played, over the real wire protocol.

mod demo;
mod foreign;
mod harness;
mod kills;
mod outcomes;
mod real;
mod rejections;
