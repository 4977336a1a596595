//! What becomes of an approved tree on GitHub.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::ObjectId;
use crate::ids::TargetNumber;
use crate::job::By;

/// The approved tree stands on a branch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BranchPushed {
    pub target: TargetNumber,
    pub branch: String,
    pub commit: ObjectId,
    pub by: By,
}

/// A pull request is open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PrOpened {
    pub target: TargetNumber,
    pub branch: String,
    pub commit: ObjectId,
    pub number: u64,
    pub url: String,
    pub draft: bool,
}

/// Something about the pull request changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PrUpdated {
    pub target: TargetNumber,
    pub number: u64,
    pub commit: ObjectId,
    pub state: PrState,
    pub checks: PrChecks,
    pub review: PrReview,
}

/// Whether a pull request is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PrState {
    Open,
    Merged,
    Closed,
}

/// What the host's checks say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PrChecks {
    None,
    Pending,
    Passed,
    Failed,
}

/// What the reviewers say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PrReview {
    None,
    Requested,
    Approved,
    ChangesRequested,
}

/// Delivery stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeliveryFailed {
    pub target: TargetNumber,
    pub class: DeliveryFailure,
}

/// Failures of a delivery, by what can be done about them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DeliveryFailure {
    Permission,
    BranchTaken,
    Protected,
    Archived,
    Gone,
    RateLimited,
    Unavailable,
    Refused,
}
