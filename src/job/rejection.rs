//! A typed no: a stable code for programs, and words for people that say what, why and what next.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a command was refused. Nothing was recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message} {next_step}")]
pub struct Rejection {
    pub code: RejectionCode,
    /// What is wrong, in a sentence.
    pub message: String,
    /// What to do about it, in a sentence.
    pub next_step: String,
}

impl Rejection {
    /// A no with this code and these words.
    pub fn new(
        code: RejectionCode,
        message: impl Into<String>,
        next_step: impl Into<String>,
    ) -> Self {
        Self { code, message: message.into(), next_step: next_step.into() }
    }
}

/// The codes of a no. Names are stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RejectionCode {
    NoPrompt,
    PromptTooLong,
    SecretInRequest,
    NoTarget,
    TooManyTargets,
    DuplicateTarget,
    UnknownModel,
    RetiredModel,
    BadEffort,
    BadLimits,
    BudgetTooSmall,
    BadUrl,
    BadBranch,
    HostNotAllowed,
    NoSuchPath,
    NotARepository,
    PathNotAllowed,
    BadCheck,
    BadNotes,
    NoSuchRecipe,
    BadRecipe,
    BadVariable,
    RecipeNotAllowed,
    NoRegistries,
    JobExists,
    NoSuchJob,
    NoSuchTarget,
    JobFinished,
    JobCancelled,
    JobPaused,
    TargetFinished,
    TargetOpen,
    NothingToRetry,
    NoDiff,
    DiffMoved,
    AlreadyJudged,
    NotReviewable,
    NoComment,
    CommentTooLong,
    JobUnfinished,
    WaitsForPilot,
    Forbidden,
    OwnJob,
    KeyReused,
    AttemptOpen,
    NoSuchRequest,
    Fenced,
    OutOfOrder,
    PermitOpen,
    NoSuchPermit,
    BudgetBusy,
    BudgetSpent,
    BadToken,
    TokenNameTaken,
    TooManyTokens,
    NoSuchToken,
}

impl RejectionCode {
    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoPrompt => "no-prompt",
            Self::PromptTooLong => "prompt-too-long",
            Self::SecretInRequest => "secret-in-request",
            Self::NoTarget => "no-target",
            Self::TooManyTargets => "too-many-targets",
            Self::DuplicateTarget => "duplicate-target",
            Self::UnknownModel => "unknown-model",
            Self::RetiredModel => "retired-model",
            Self::BadEffort => "bad-effort",
            Self::BadLimits => "bad-limits",
            Self::BudgetTooSmall => "budget-too-small",
            Self::BadUrl => "bad-url",
            Self::BadBranch => "bad-branch",
            Self::HostNotAllowed => "host-not-allowed",
            Self::NoSuchPath => "no-such-path",
            Self::NotARepository => "not-a-repository",
            Self::PathNotAllowed => "path-not-allowed",
            Self::BadCheck => "bad-check",
            Self::BadNotes => "bad-notes",
            Self::NoSuchRecipe => "no-such-recipe",
            Self::BadRecipe => "bad-recipe",
            Self::BadVariable => "bad-variable",
            Self::RecipeNotAllowed => "recipe-not-allowed",
            Self::NoRegistries => "no-registries",
            Self::JobExists => "job-exists",
            Self::NoSuchJob => "no-such-job",
            Self::NoSuchTarget => "no-such-target",
            Self::JobFinished => "job-finished",
            Self::JobCancelled => "job-cancelled",
            Self::JobPaused => "job-paused",
            Self::TargetFinished => "target-finished",
            Self::TargetOpen => "target-open",
            Self::NothingToRetry => "nothing-to-retry",
            Self::NoDiff => "no-diff",
            Self::DiffMoved => "diff-moved",
            Self::AlreadyJudged => "already-judged",
            Self::NotReviewable => "not-reviewable",
            Self::NoComment => "no-comment",
            Self::CommentTooLong => "comment-too-long",
            Self::WaitsForPilot => "waits-for-pilot",
            Self::Forbidden => "forbidden",
            Self::OwnJob => "own-job",
            Self::KeyReused => "key-reused",
            Self::JobUnfinished => "job-unfinished",
            Self::AttemptOpen => "attempt-open",
            Self::NoSuchRequest => "no-such-request",
            Self::Fenced => "fenced",
            Self::OutOfOrder => "out-of-order",
            Self::PermitOpen => "permit-open",
            Self::NoSuchPermit => "no-such-permit",
            Self::BudgetBusy => "budget-busy",
            Self::BudgetSpent => "budget-spent",
            Self::BadToken => "bad-token",
            Self::TokenNameTaken => "token-name-taken",
            Self::TooManyTokens => "too-many-tokens",
            Self::NoSuchToken => "no-such-token",
        }
    }
}

impl fmt::Display for RejectionCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
