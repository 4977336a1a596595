//! How targets and jobs end, and open again.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::{ObjectId, Sha256};
use crate::ids::{RoundNumber, TargetNumber};
use crate::job::By;

/// A round of a target ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TargetFinished {
    pub target: TargetNumber,
    pub round: RoundNumber,
    pub outcome: Outcome,
    /// The tree the round ended with; nothing if there never was one.
    pub tree: Option<ObjectId>,
    pub diff_hash: Option<Sha256>,
    /// Known and assumed cost of the target so far.
    pub cost_micros: u64,
}

/// How a round of a target ended.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    DiffReady,
    AlreadyCompliant,
    NotApplicable,
    FailedChecks,
    Objected,
    Refused,
    BudgetStopped,
    Stuck,
    Failed,
    Cancelled,
}

impl Outcome {
    /// Every outcome, in the order in which a table of them reads best.
    pub const ALL: [Self; 10] = [
        Self::DiffReady,
        Self::AlreadyCompliant,
        Self::NotApplicable,
        Self::FailedChecks,
        Self::Objected,
        Self::Refused,
        Self::BudgetStopped,
        Self::Stuck,
        Self::Failed,
        Self::Cancelled,
    ];

    /// Whether the target got what the prompt asked for.
    pub fn is_success(self) -> bool {
        match self {
            Self::DiffReady | Self::AlreadyCompliant | Self::NotApplicable => true,
            Self::FailedChecks
            | Self::Objected
            | Self::Refused
            | Self::BudgetStopped
            | Self::Stuck
            | Self::Failed
            | Self::Cancelled => false,
        }
    }

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::DiffReady => "diff-ready",
            Self::AlreadyCompliant => "already-compliant",
            Self::NotApplicable => "not-applicable",
            Self::FailedChecks => "failed-checks",
            Self::Objected => "objected",
            Self::Refused => "refused",
            Self::BudgetStopped => "budget-stopped",
            Self::Stuck => "stuck",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// What bears an outcome out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TargetFinishedPayload {
    pub evidence: Vec<String>,
}

/// A finished target opens again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TargetReopened {
    pub target: TargetNumber,
    pub round: RoundNumber,
    pub why: ReopenReason,
    pub by: By,
}

/// Why a target opens again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ReopenReason {
    ChangesRequested,
    Retried,
    BudgetRaised,
}

/// Every target of the job has exactly one outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Finished {
    pub targets: Vec<FinishedTarget>,
    pub cost_micros: u64,
}

/// One target's outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FinishedTarget {
    pub target: TargetNumber,
    pub round: RoundNumber,
    pub outcome: Outcome,
}
