//! What somebody asks for, in words of their own: the form of `job.toml`, and what doors fill in.
//! Nothing is checked here but the shape.

use std::collections::BTreeMap;

use super::LimitsRequest;
use cody_events::job::{Effort, Policy};
use cody_events::policy::PathClass;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};

/// A job as it is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct JobRequest {
    /// What to change.
    pub prompt: String,
    /// Words for the people who will read the job; Claude does not see them.
    pub notes: Option<String>,
    /// `owner/name`, https URLs or local paths.
    pub repositories: Vec<String>,
    /// A branch that all repositories have; nothing means each one's default branch.
    pub branch: Option<String>,
    /// Commands that must pass afterwards; none means that the scan finds some.
    pub checks: Vec<String>,
    /// Whether to run no checks at all.
    pub no_checks: bool,
    /// Nothing means the server's default.
    pub model: Option<String>,
    /// How hard Claude thinks; nothing means as the model does by itself.
    pub effort: Option<Effort>,
    /// The most to spend on each repository, in dollars: `2.50`. Nothing means the server's default.
    #[serde(deserialize_with = "dollars")]
    #[schemars(schema_with = "dollars_schema")]
    pub budget_usd: Option<String>,
    /// The most to spend on all repositories together, in dollars.
    #[serde(deserialize_with = "dollars")]
    #[schemars(schema_with = "dollars_schema")]
    pub job_budget_usd: Option<String>,
    /// The most responses of Claude for each repository. Nothing means the server's default.
    pub max_turns: Option<u32>,
    /// The most tokens, in and out, for each repository.
    pub max_tokens: Option<u64>,
    /// How many minutes workers may hold each repository.
    pub max_minutes: Option<u64>,
    /// How many minutes tools and checks of each repository may take.
    pub max_tool_minutes: Option<u64>,
    /// How many bytes each repository's patch may have.
    pub max_diff_bytes: Option<u64>,
    /// The most responses of Claude for all repositories together.
    pub job_max_turns: Option<u32>,
    /// The most tokens for all repositories together.
    pub job_max_tokens: Option<u64>,
    /// How many minutes workers may hold all repositories together.
    pub job_max_minutes: Option<u64>,
    /// How many minutes tools and checks of all repositories may take together.
    pub job_max_tool_minutes: Option<u64>,
    /// How many bytes all patches may have together.
    pub job_max_diff_bytes: Option<u64>,
    /// What becomes of an accepted diff; nothing means that a person reviews it.
    pub policy: Option<Policy>,
    /// Whether Claude may not run commands.
    pub no_bash: bool,
    /// Whether a change is taken without an independent review.
    pub no_review: bool,
    /// Classes of changes that a diff is not held for.
    pub allow: Vec<PathClass>,
    /// Whether what the repositories depend on is fetched before their commands run, from the hosts
    /// that the server allows.
    pub fetch_dependencies: bool,
    /// Whether one repository goes first, and the others wait until a person approved its diff; nothing
    /// means as the server does.
    pub pilot: Option<bool>,
    /// A recipe, whose prompt, checks and policy the job takes where it gives none. A prompt of the
    /// job's own is added to the recipe's.
    pub recipe: Option<String>,
    /// The text of a recipe, in place of a name; only where local paths may be named.
    pub recipe_text: Option<String>,
    /// What stands in the places of the recipe's variables.
    pub variables: BTreeMap<String, String>,
    /// What Claude is told for one repository alone, by the repository as it is named above.
    pub repository_notes: BTreeMap<String, String>,
}

impl JobRequest {
    /// The limits among it.
    pub fn limits(&self) -> LimitsRequest {
        LimitsRequest {
            budget_usd: self.budget_usd.clone(),
            job_budget_usd: self.job_budget_usd.clone(),
            max_turns: self.max_turns,
            max_tokens: self.max_tokens,
            max_minutes: self.max_minutes,
            max_tool_minutes: self.max_tool_minutes,
            max_diff_bytes: self.max_diff_bytes,
            job_max_turns: self.job_max_turns,
            job_max_tokens: self.job_max_tokens,
            job_max_minutes: self.job_max_minutes,
            job_max_tool_minutes: self.job_max_tool_minutes,
            job_max_diff_bytes: self.job_max_diff_bytes,
        }
    }

    /// Lays limits over those among it.
    pub fn limit(&mut self, limits: &LimitsRequest) {
        let asked = self.limits();
        self.budget_usd = limits.budget_usd.clone().or(asked.budget_usd);
        self.job_budget_usd = limits.job_budget_usd.clone().or(asked.job_budget_usd);
        self.max_turns = limits.max_turns.or(asked.max_turns);
        self.max_tokens = limits.max_tokens.or(asked.max_tokens);
        self.max_minutes = limits.max_minutes.or(asked.max_minutes);
        self.max_tool_minutes = limits.max_tool_minutes.or(asked.max_tool_minutes);
        self.max_diff_bytes = limits.max_diff_bytes.or(asked.max_diff_bytes);
        self.job_max_turns = limits.job_max_turns.or(asked.job_max_turns);
        self.job_max_tokens = limits.job_max_tokens.or(asked.job_max_tokens);
        self.job_max_minutes = limits.job_max_minutes.or(asked.job_max_minutes);
        self.job_max_tool_minutes = limits.job_max_tool_minutes.or(asked.job_max_tool_minutes);
        self.job_max_diff_bytes = limits.job_max_diff_bytes.or(asked.job_max_diff_bytes);
    }
}

/// An amount as text, also where it was written as a number: the shortest text that stands for a
/// number is the one that was written, so that no cent is lost.
pub(super) fn dollars<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Amount {
        Text(String),
        Whole(u64),
        Decimal(f64),
    }
    Ok(Option::<Amount>::deserialize(deserializer)?.map(|amount| match amount {
        Amount::Text(text) => text,
        Amount::Whole(whole) => whole.to_string(),
        Amount::Decimal(decimal) => decimal.to_string(),
    }))
}

pub(super) fn dollars_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "anyOf": [
            { "type": "string", "pattern": r"^(\d+(\.\d{0,6})?|\.\d{1,6})$", "examples": ["2.50"] },
            { "type": "number", "minimum": 0 },
            { "type": "null" }
        ]
    })
}
