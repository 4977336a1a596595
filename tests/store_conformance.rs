//! What every log has to do, whatever keeps it: the contract runs against the log in SQLite and
//! against a model in memory, and can be run against the next one. What only a file can go through
//! (kills, damage, a full disk, foreign statements) is held against the log in SQLite alone.

#![expect(clippy::unwrap_used, reason = "a test panics where it is wrong")]

#[path = "store_conformance/contract.rs"]
mod contract;
#[path = "store_conformance/damage.rs"]
mod damage;
#[path = "store_conformance/death.rs"]
mod death;
#[path = "store_conformance/followers.rs"]
mod followers;
#[path = "store_conformance/histories.rs"]
mod histories;
#[path = "store_conformance/model.rs"]
mod model;
#[path = "store_conformance/ownership.rs"]
mod ownership;
#[path = "store_conformance/support.rs"]
mod support;
