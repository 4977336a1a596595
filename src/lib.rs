//! Cody Batch: changes code in several repositories from one prompt, and can prove what it did.
//!
//! `docs/ARCHITECTURE.md` is the map. In short: [`job`] decides what may happen, [`store`] keeps what
//! happened, [`app`] joins the two; rooms such as [`dispatch`], [`converse`] and [`worker`] each do
//! one thing and meet only through the log.

pub mod clock;
pub mod config;
pub mod entropy;
pub mod histogram;
pub mod wire;

pub mod job;

pub mod store;

pub mod app;

pub mod claude;
pub mod git;
pub mod sandbox;

pub mod scan;
pub mod tools;

pub mod converse;
pub mod dispatch;
pub mod intake;
pub mod plan;
pub mod worker;

pub mod pulse;

pub mod api;

pub mod cli;
pub mod serve;
