//! The flags that say how far a job may go, for verbs that start work or let it go on.

use clap::Args;

use crate::plan::LimitsRequest;

/// Limits of each repository, and the money of all.
#[derive(Debug, Clone, Args)]
#[command(
    next_help_heading = "Limits (at first 5.00 USD and 60 turns; what is not named stays as it is)"
)]
pub struct LimitArgs {
    /// The most to spend on each repository, in dollars
    #[arg(long, value_name = "USD")]
    budget_usd: Option<String>,
    /// The most to spend on all repositories together, in dollars
    #[arg(long, value_name = "USD")]
    job_budget_usd: Option<String>,
    /// The most responses of Claude for each repository
    #[arg(long, value_name = "N")]
    max_turns: Option<u32>,
    /// The most tokens, in and out, for each repository
    #[arg(long, value_name = "N")]
    max_tokens: Option<u64>,
    /// How long workers may hold each repository, in minutes
    #[arg(long, value_name = "MINUTES")]
    max_minutes: Option<u64>,
    /// How long tools and checks of each repository may take together, in minutes
    #[arg(long, value_name = "MINUTES")]
    max_tool_minutes: Option<u64>,
    /// How large each repository's patch may be, in bytes
    #[arg(long, value_name = "BYTES")]
    max_diff_bytes: Option<u64>,
}

impl LimitArgs {
    /// What they ask for.
    pub fn request(&self) -> LimitsRequest {
        LimitsRequest {
            budget_usd: self.budget_usd.clone(),
            job_budget_usd: self.job_budget_usd.clone(),
            max_turns: self.max_turns,
            max_tokens: self.max_tokens,
            max_minutes: self.max_minutes,
            max_tool_minutes: self.max_tool_minutes,
            max_diff_bytes: self.max_diff_bytes,
            ..LimitsRequest::default()
        }
    }
}
