//! What happens to a job as a whole.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::Sha256;
use crate::ids::TargetNumber;
use crate::policy::PathClass;

/// A job was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Created {
    pub targets: Vec<CreatedTarget>,
    pub policy: Policy,
    pub limits: Limits,
    pub model: String,
    pub effort: Option<Effort>,
    pub checks: CheckSource,
    /// Whether Claude may run commands in the sandbox.
    pub bash: bool,
    /// Whether a change is taken without an independent review.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub skip_review: bool,
    /// Classes of changes that a diff is not held for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<PathClass>,
    /// Whether what the repositories depend on is fetched before their commands run.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fetch_dependencies: bool,
    /// Whether one target goes first, and the others wait until a person approved its diff.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pilot: bool,
    /// The recipe that the prompt was made from, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipe: Option<RecipeUse>,
    pub app_version: String,
}

/// A target as the log's facts name it; the place it is fetched from stands in the payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreatedTarget {
    pub number: TargetNumber,
    pub kind: TargetKind,
    /// `owner/name`, or the last component of a local path.
    pub repository: String,
}

/// A recipe, as it was when a job was made from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RecipeUse {
    /// Lowercase letters, digits and hyphens, at most 64.
    pub name: String,
    /// The SHA-256 of its text.
    pub digest: Sha256,
}

/// Where a target's repository lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TargetKind {
    Github,
    Url,
    Local,
}

/// What the person who asked wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreatedPayload {
    pub prompt: String,
    /// Free words for the people who will read the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notes: Option<String>,
    /// The place of each target, in the order of their numbers.
    pub locations: Vec<Location>,
    /// Commands to check every target with; nothing if the scan is to find them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<String>,
    /// What was put in the places of the recipe's variables.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: BTreeMap<String, String>,
}

/// Where a target is fetched from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Location {
    /// `owner/name`, an https URL or an absolute path, normalised.
    pub locator: String,
    /// A branch; nothing means the default branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// What Claude is told for this target alone, beside the prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notes: Option<String>,
}

/// What becomes of an accepted diff.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// A person approves each diff.
    Review,
    /// A diff that passed everything is delivered without a person.
    Auto,
    /// The patch is the end.
    PatchOnly,
}

/// How far a target, or the job, may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Micro-dollars for each target.
    pub budget_micros: u64,
    /// Micro-dollars for all targets together.
    pub job_budget_micros: Option<u64>,
    /// Claude's responses for each target while it makes the change; reviews are not counted.
    pub max_turns: u32,
    /// Tokens in and out for each target.
    pub max_tokens: Option<u64>,
    /// Milliseconds that workers may hold each target, from the request for one to its end.
    pub max_wall_ms: Option<u64>,
    /// Milliseconds that tools and checks of each target may take together.
    pub max_tool_ms: Option<u64>,
    /// Bytes of each target's patch.
    pub max_diff_bytes: Option<u64>,
    /// The same for all targets together.
    #[serde(default, skip_serializing_if = "SharedLimits::is_none")]
    pub shared: SharedLimits,
}

/// How far all targets of a job may go together, beside its money.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SharedLimits {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_turns: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_wall_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tool_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_diff_bytes: Option<u64>,
}

impl SharedLimits {
    /// Whether nothing is limited.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// How hard Claude thinks.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Effort {
    Low,
    Medium,
    High,
    Xhigh,
    Max,
}

impl std::fmt::Display for Effort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Xhigh => "xhigh",
            Self::Max => "max",
        })
    }
}

/// Where the check commands come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CheckSource {
    /// The person named them: they are the test of done, and must pass afterwards.
    Given,
    /// The scan finds them: a change must not break what passed before.
    Detected,
    /// There are none on purpose.
    Off,
}

/// Who made something happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum By {
    Person,
    Budget,
    Policy,
    Server,
}

/// No new call starts; the turn in flight ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Paused {
    /// The target, or the whole job.
    pub target: Option<TargetNumber>,
    pub by: By,
}

/// Work goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Resumed {
    pub target: Option<TargetNumber>,
    pub by: By,
}

/// The job ends here; workers are to be gone at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cancelled {
    pub by: By,
}

/// Lists of jobs leave the job out from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Archived {
    pub by: By,
}

/// Lists of jobs have the job again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Unarchived {
    pub by: By,
}

/// The job has new limits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BudgetChanged {
    pub limits: Limits,
    pub by: By,
}

/// Why, in somebody's words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReasonPayload {
    pub reason: String,
}
