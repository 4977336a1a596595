//! What happened: the ids, events, envelope and hashes of the log. Pure: no clock, no randomness,
//! no environment, no I/O.

#![forbid(unsafe_code)]

pub mod envelope;
pub mod event;
pub mod hash;
pub mod merkle;

pub mod attempt;
pub mod delivery;
pub mod diff;
pub mod evidence;
pub mod job;
pub mod outcome;
pub mod policy;
pub mod shape;
pub mod status;
pub mod system;
pub mod thread;

pub mod digest;
pub mod ids;
pub mod raw;
pub mod time;
pub mod tree;

mod upcast;
