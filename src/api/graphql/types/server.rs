//! The server itself: what it is, which models it can ask, and who asks.

use async_graphql::SimpleObject;

use super::scalars::{Long, Position};
use super::words::{Effort, Scope};

/// What this server is, and where it stands.
#[derive(Debug, Clone, SimpleObject)]
pub struct ServerInfo {
    /// The version of the program.
    pub version: String,
    /// The latest event.
    pub head: Position,
    /// How far along the log the answers of this server are.
    pub shown: Position,
    /// The most repositories that a job may have.
    pub max_targets: Long,
    /// The most bytes that a prompt may have.
    pub max_prompt_bytes: Long,
    /// The model of jobs that name none.
    pub default_model: String,
    /// Millionths of a US dollar for each target of jobs that name no budget.
    pub default_budget_micros: Long,
    /// Millionths of a US dollar for each target above which a job needs the scope `approve`.
    pub max_budget_micros: Option<Long>,
    /// Whether a job has a pilot unless it says otherwise.
    pub pilot: bool,
    /// Hosts that repositories may be on.
    pub allowed_hosts: Vec<String>,
    /// Whether dependencies can be fetched.
    pub may_fetch_dependencies: bool,
}

/// A model that jobs can name, with today's prices in millionths of a US dollar a million tokens.
#[derive(Debug, Clone, SimpleObject)]
pub struct Model {
    /// As jobs name it.
    pub name: String,
    /// Tokens that its context holds.
    pub context_tokens: Long,
    /// Tokens that one response may have.
    pub max_output_tokens: Long,
    /// How hard it can be made to think.
    pub efforts: Vec<Effort>,
    /// Of what Claude reads: millionths of a US dollar a million tokens.
    pub input_micros: Long,
    /// Of what Claude writes, in the same unit.
    pub output_micros: Long,
    /// Of what Claude reads from a cache, in the same unit.
    pub cache_read_micros: Long,
    /// Of what goes into a cache for five minutes, in the same unit.
    pub cache_write_micros: Long,
    /// What its smallest call may cost, at worst, in millionths of a US dollar.
    pub floor_call_micros: Long,
}

/// Who asks.
#[derive(Debug, Clone, SimpleObject)]
pub struct Viewer {
    /// As the log names them.
    pub name: String,
    /// What they may do.
    pub scopes: Vec<Scope>,
}
