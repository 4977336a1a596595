//! The doors: how programs and people reach the server. Each translates its own language; none
//! decides anything.

pub mod worker;
