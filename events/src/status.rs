//! Where targets and jobs stand: words that nothing stores, each derived from what happened in one
//! place, so that every door says the same.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::outcome::Outcome;

/// A target on the axis of work.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum TargetStatus {
    Waiting,
    Running,
    Paused,
    Finished,
}

impl TargetStatus {
    /// The status of a target, of whose job `is_paused` tells whether it or the target was paused.
    pub fn of(outcome: Option<Outcome>, is_paused: bool, is_claimed: bool) -> Self {
        match (outcome, is_paused, is_claimed) {
            (Some(_), _, _) => Self::Finished,
            (None, true, _) => Self::Paused,
            (None, false, true) => Self::Running,
            (None, false, false) => Self::Waiting,
        }
    }

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Finished => "finished",
        }
    }
}

/// A target on the axis of delivery.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Delivery {
    None,
    AwaitingApproval,
    Held,
    Rejected,
    Pushing,
    Open,
    Merged,
    Closed,
    Failed,
}

impl Delivery {
    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::AwaitingApproval => "awaiting-approval",
            Self::Held => "held",
            Self::Rejected => "rejected",
            Self::Pushing => "pushing",
            Self::Open => "open",
            Self::Merged => "merged",
            Self::Closed => "closed",
            Self::Failed => "failed",
        }
    }

    /// Whether a person has to say something before it goes on.
    pub fn awaits_person(self) -> bool {
        match self {
            Self::AwaitingApproval | Self::Held => true,
            Self::None
            | Self::Rejected
            | Self::Pushing
            | Self::Open
            | Self::Merged
            | Self::Closed
            | Self::Failed => false,
        }
    }
}

/// What a job's status depends on, of one of its targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    pub status: TargetStatus,
    pub outcome: Option<Outcome>,
    pub delivery: Delivery,
    /// Whether its base was pinned: work on it began.
    pub has_begun: bool,
    /// Whether it waits until a person approves the diff of another target.
    pub waits_for_pilot: bool,
}

/// Where a job stands.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum JobStatus {
    Queued,
    Running,
    Paused,
    AwaitingReview,
    Succeeded,
    PartlyFailed,
    Failed,
    Cancelled,
}

impl JobStatus {
    /// The status of a job with these targets.
    pub fn of(targets: &[Standing], is_cancelled: bool) -> Self {
        if is_cancelled {
            return Self::Cancelled;
        }
        let unfinished = || targets.iter().filter(|target| target.outcome.is_none());
        if unfinished().next().is_some() {
            // The one that goes first has ended, and the others wait for a person's word.
            if unfinished().all(|target| target.waits_for_pilot && !target.has_begun)
                && targets.iter().any(|target| target.outcome.is_some())
            {
                return Self::AwaitingReview;
            }
            return match (
                unfinished().all(|target| target.status == TargetStatus::Paused),
                targets.iter().any(|target| target.has_begun),
            ) {
                (true, _) => Self::Paused,
                (false, true) => Self::Running,
                (false, false) => Self::Queued,
            };
        }
        if targets.iter().any(|target| target.delivery.awaits_person()) {
            return Self::AwaitingReview;
        }
        let good = targets.iter().filter_map(|target| target.outcome).filter(|o| o.is_success());
        match good.count() {
            all if all == targets.len() => Self::Succeeded,
            0 => Self::Failed,
            _ => Self::PartlyFailed,
        }
    }

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::AwaitingReview => "awaiting-review",
            Self::Succeeded => "succeeded",
            Self::PartlyFailed => "partly-failed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(outcome: Option<Outcome>) -> Standing {
        Standing {
            status: TargetStatus::of(outcome, false, false),
            outcome,
            delivery: Delivery::None,
            has_begun: outcome.is_some(),
            waits_for_pilot: false,
        }
    }

    #[test]
    fn a_job_stands_where_its_targets_stand() {
        let (waiting, ready, failed) = (
            standing(None),
            standing(Some(Outcome::DiffReady)),
            standing(Some(Outcome::FailedChecks)),
        );
        let paused = Standing { status: TargetStatus::Paused, ..waiting };
        let held = Standing { delivery: Delivery::Held, ..failed };
        let cases: &[(&[Standing], bool, JobStatus)] = &[
            (&[waiting, waiting], false, JobStatus::Queued),
            (&[waiting, Standing { has_begun: true, ..waiting }], false, JobStatus::Running),
            (&[waiting, ready], false, JobStatus::Running),
            (&[paused, waiting], false, JobStatus::Queued),
            (&[paused, ready], false, JobStatus::Paused),
            (&[paused, waiting], true, JobStatus::Cancelled),
            (&[ready, ready], false, JobStatus::Succeeded),
            (&[ready, failed], false, JobStatus::PartlyFailed),
            (&[failed, failed], false, JobStatus::Failed),
            (&[ready, held], false, JobStatus::AwaitingReview),
            (&[ready, held], true, JobStatus::Cancelled),
        ];
        for (targets, cancelled, expected) in cases {
            assert_eq!(JobStatus::of(targets, *cancelled), *expected, "{targets:?}");
        }
    }
}
