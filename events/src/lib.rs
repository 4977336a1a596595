//! What happened: the ids, events, envelope and hashes of the log. Pure: no clock, no randomness,
//! no environment, no I/O.

pub mod digest;
pub mod ids;
pub mod tree;
