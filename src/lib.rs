//! Cody Batch: changes code in several repositories from one prompt, and can prove what it did.

pub mod clock;
pub mod entropy;
pub mod wire;

pub mod job;

pub mod store;

pub mod app;

pub mod claude;
pub mod git;
pub mod sandbox;
pub mod scan;
