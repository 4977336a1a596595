//! What every log has to do, whatever keeps it: the contract runs against the log in SQLite and
//! against a model in memory, and can be run against the next one. What only a file can go through
//! (kills, damage, a full disk, foreign statements) is held against the log in SQLite alone.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test panics where it is wrong")]

mod children;
mod clocks;
mod contract;
mod corrupt;
mod damage;
mod death;
mod deliveries;
mod followers;
mod histories;
mod model;
mod no_room;
mod ownership;
mod power_loss;
mod rebuilding;
mod support;
mod views;
