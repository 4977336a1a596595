//! The limits that somebody asks for, laid over those that hold.

use cody_events::job::{Limits, SharedLimits};

use crate::config::micros;
use crate::job::{Rejection, RejectionCode};

/// Limits as they are asked for; what is not named stays as it is. The `job_` ones are for all
/// repositories together.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsRequest {
    /// In dollars: `2.50`.
    pub budget_usd: Option<String>,
    pub job_budget_usd: Option<String>,
    pub max_turns: Option<u32>,
    pub max_tokens: Option<u64>,
    pub max_minutes: Option<u64>,
    pub max_tool_minutes: Option<u64>,
    pub max_diff_bytes: Option<u64>,
    pub job_max_turns: Option<u32>,
    pub job_max_tokens: Option<u64>,
    pub job_max_minutes: Option<u64>,
    pub job_max_tool_minutes: Option<u64>,
    pub job_max_diff_bytes: Option<u64>,
}

impl LimitsRequest {
    /// Whether it asks for nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// `limits` with what is asked for.
    pub fn over(&self, limits: &Limits) -> Result<Limits, Rejection> {
        let shared = &limits.shared;
        Ok(Limits {
            budget_micros: dollars("budget_usd", self.budget_usd.as_deref())?
                .unwrap_or(limits.budget_micros),
            job_budget_micros: dollars("job_budget_usd", self.job_budget_usd.as_deref())?
                .or(limits.job_budget_micros),
            max_turns: self.max_turns.unwrap_or(limits.max_turns),
            max_tokens: self.max_tokens.or(limits.max_tokens),
            max_wall_ms: self.max_minutes.map(millis).or(limits.max_wall_ms),
            max_tool_ms: self.max_tool_minutes.map(millis).or(limits.max_tool_ms),
            max_diff_bytes: self.max_diff_bytes.or(limits.max_diff_bytes),
            shared: SharedLimits {
                max_turns: self.job_max_turns.or(shared.max_turns),
                max_tokens: self.job_max_tokens.or(shared.max_tokens),
                max_wall_ms: self.job_max_minutes.map(millis).or(shared.max_wall_ms),
                max_tool_ms: self.job_max_tool_minutes.map(millis).or(shared.max_tool_ms),
                max_diff_bytes: self.job_max_diff_bytes.or(shared.max_diff_bytes),
            },
        })
    }
}

fn millis(minutes: u64) -> u64 {
    minutes.saturating_mul(60_000)
}

fn dollars(name: &str, text: Option<&str>) -> Result<Option<u64>, Rejection> {
    let Some(text) = text else { return Ok(None) };
    micros(text).map(Some).ok_or_else(|| {
        Rejection::new(
            RejectionCode::BadLimits,
            format!("`{name}` is `{text}`, which is no amount of dollars."),
            "Write it like 2.50.",
        )
    })
}
