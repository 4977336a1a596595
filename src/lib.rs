//! Cody Batch: changes code in several repositories from one prompt, and can prove what it did.

pub mod claude;
pub mod job;
pub mod scan;
