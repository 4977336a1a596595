//! Claude: the models and their prices, requests as bytes, the one way to send them, and a player
//! that stands in for Claude. Decides nothing: who may call, when and again, is the caller's.

pub mod model_file;
pub mod models;
pub mod price;

pub mod blocks;
pub mod form;
pub mod prefix;
pub mod request;

pub mod client;
pub mod limiter;
pub mod retry;

pub mod assemble;
pub mod failure;
pub mod rate_limits;
pub mod sse;
pub mod usage;

mod endpoint;
mod open_block;
mod raw_object;

pub mod player;
