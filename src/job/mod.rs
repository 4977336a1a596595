//! What may happen: the rules of a job, pure and synchronous.
//!
//! [`decide`] turns a wish into events or a typed no; [`JobState::evolve`] folds events into the
//! state that the next decision needs; [`next_step`] says what is to be done next for a target.
//! No clock, randomness, prices or I/O: whatever a rule needs travels in the command.

pub mod command;
pub mod rejection;
pub mod state;

mod create;
mod decide;
mod evolve;
mod money;
mod next_step;
mod pilot;
mod stuck;

pub use command::Command;
pub use create::check;
pub use decide::{Decision, decide};
pub use money::Money;
pub use next_step::{ClaimProblem, Conclusion, Leave, NextStep, next_step};
pub use pilot::unlike_pilot;
pub use rejection::{Rejection, RejectionCode};
pub use state::JobState;
pub use stuck::Progress;

/// How often a change is sent back, by checks or by the review, before it ends as it is.
pub const MAX_REPAIRS: u32 = 2;
/// How many workers may be lost without a new recorded turn before a target fails.
pub const MAX_FRUITLESS_LOSSES: u32 = 5;
/// How often the tools of one response may begin without ever being seen to end.
pub const MAX_TOOL_LOSSES: u32 = 2;
/// How many fetches of dependencies an attempt may report: far more than its turns make.
pub const MAX_FETCHES: u32 = 1_000;

#[cfg(test)]
pub(crate) mod tests;
