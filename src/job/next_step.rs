//! What is to be done next for a target: one pure function, so that a worker that takes over, a
//! server that restarts and a replay all go on at the same place.

use cody_events::digest::ObjectId;
use cody_events::evidence::{CheckPhase, CheckVerdict};
use cody_events::ids::{TargetNumber, ThreadNumber, TurnNumber};
use cody_events::outcome::Outcome;
use cody_events::thread::{FinishOutcome, Purpose, ReviewVerdict, StopReason, StuckSign};

use super::state::{Claim, Job, JobState, SpentLimit, Target, Thread};
use super::{MAX_REPAIRS, MAX_TOOL_LOSSES};

/// How many responses in a row may be cut off before the thread is given up.
const MAX_TRUNCATIONS: u32 = 3;
/// How many responses in a row may do nothing; the first is answered with a nudge.
const MAX_IDLE_TURNS: u32 = 2;
/// How many responses a review may take, paused or cut off, before it counts as silent.
const MAX_REVIEW_TURNS: u32 = 8;

/// One step of a target's work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NextStep {
    /// The worker scans the base.
    Scan,
    /// The worker runs the checks on a fresh checkout of `tree`.
    RunChecks { phase: CheckPhase, tree: ObjectId },
    /// The worker runs the tools of this response.
    RunTools { thread: ThreadNumber, turn: TurnNumber },
    /// The server opens a conversation.
    StartThread { purpose: Purpose, parent: Option<ThreadNumber> },
    /// The server asks Claude for the next response.
    Converse { thread: ThreadNumber },
    /// The server answers for tools whose outcome nobody knows.
    InterruptTools { thread: ThreadNumber, turn: TurnNumber },
    /// The server repeats what the checks said of this very tree.
    ReuseChecks { phase: CheckPhase, tree: ObjectId, verdict: CheckVerdict },
    /// The server sends a claim back that the tree does not bear out.
    RefuseClaim { phase: CheckPhase, tree: ObjectId, why: ClaimProblem },
    /// The server reads the review's verdict.
    ReadReview { thread: ThreadNumber },
    /// The server ends the round with this outcome.
    Conclude { outcome: Outcome, why: Conclusion },
    /// Nothing is left for a worker to do.
    Leave(Leave),
}

impl NextStep {
    /// The step in one word, for whoever watches.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Scan => "scan",
            Self::RunChecks { .. } => "run-checks",
            Self::RunTools { .. } => "run-tools",
            Self::StartThread { .. } => "start-thread",
            Self::Converse { .. } => "converse",
            Self::InterruptTools { .. } => "interrupt-tools",
            Self::ReuseChecks { .. } => "reuse-checks",
            Self::RefuseClaim { .. } => "refuse-claim",
            Self::ReadReview { .. } => "read-review",
            Self::Conclude { .. } => "conclude",
            Self::Leave(_) => "leave",
        }
    }
}

/// Why a worker has nothing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    Finished,
    Paused,
    Cancelled,
}

/// Why a claim of `finish` is sent back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimProblem {
    /// It says that something changed, and nothing did.
    NothingChanged,
    /// It says that nothing was to be changed, and something was.
    SomethingChanged,
}

/// What an outcome rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conclusion {
    ReviewAccepted,
    /// The job asks for no review, and the checks do not object.
    Unreviewed,
    ReviewObjects,
    ChecksFail,
    ClaimUnfounded,
    ClaimStands,
    Refusal,
    ContextFull,
    LimitSpent(SpentLimit),
    /// Claude was warned that its work leads nowhere, and went on as before.
    LedNowhere(StuckSign),
    KeptBeingCutOff,
    NothingMoreToSay,
    PrefixRefusedTwice,
}

/// The next step of `target`.
pub fn next_step(state: &JobState, target: TargetNumber) -> NextStep {
    let Some(job) = &state.job else { return NextStep::Leave(Leave::Finished) };
    let Some(target) = job.targets.get(&target) else {
        return NextStep::Leave(Leave::Finished);
    };
    if job.cancelled {
        return NextStep::Leave(Leave::Cancelled);
    }
    if target.outcome.is_some() {
        return NextStep::Leave(Leave::Finished);
    }
    if job.paused || target.paused {
        return NextStep::Leave(Leave::Paused);
    }
    work(job, target)
}

/// What an open target needs next, paused or not.
pub(super) fn work(job: &Job, target: &Target) -> NextStep {
    let Some(scan) = &target.scan else { return NextStep::Scan };
    if target.baseline.is_none() {
        return NextStep::RunChecks { phase: CheckPhase::Baseline, tree: scan.tree };
    }
    let Some(change) = &target.change else {
        return NextStep::StartThread { purpose: Purpose::Change, parent: None };
    };
    if let Some(turn) = change.tools_open {
        return if change.tool_losses >= MAX_TOOL_LOSSES {
            NextStep::InterruptTools { thread: change.number, turn }
        } else {
            NextStep::RunTools { thread: change.number, turn }
        };
    }
    match &target.claim {
        Some(claim) => judge(job, target, claim),
        None => converse(job, target, change),
    }
}

/// How the conversation that makes the change goes on.
fn converse(job: &Job, target: &Target, change: &Thread) -> NextStep {
    if change.is_refused_prefix {
        return if change.purpose == Purpose::Fresh {
            conclude(Outcome::Failed, Conclusion::PrefixRefusedTwice)
        } else {
            NextStep::StartThread { purpose: Purpose::Fresh, parent: Some(change.number) }
        };
    }
    match change.latest_stop {
        Some(StopReason::Refusal) => return conclude(Outcome::Refused, Conclusion::Refusal),
        Some(StopReason::ModelContextWindowExceeded) => {
            return conclude(Outcome::Stuck, Conclusion::ContextFull);
        }
        Some(
            StopReason::EndTurn
            | StopReason::MaxTokens
            | StopReason::StopSequence
            | StopReason::ToolUse
            | StopReason::PauseTurn
            | StopReason::Unknown,
        )
        | None => {}
    }
    if change.truncations >= MAX_TRUNCATIONS {
        return conclude(Outcome::Stuck, Conclusion::KeptBeingCutOff);
    }
    if change.idle_turns >= MAX_IDLE_TURNS {
        return conclude(Outcome::Stuck, Conclusion::NothingMoreToSay);
    }
    if let Some(sign) = change.progress.led_nowhere() {
        return conclude(Outcome::Stuck, Conclusion::LedNowhere(sign));
    }
    if let Some(limit) = job.spent_limit(target) {
        return conclude(Outcome::BudgetStopped, Conclusion::LimitSpent(limit));
    }
    NextStep::Converse { thread: change.number }
}

/// What becomes of a claim.
fn judge(job: &Job, target: &Target, claim: &Claim) -> NextStep {
    match claim.outcome {
        FinishOutcome::Cannot => conclude(Outcome::Stuck, Conclusion::ClaimStands),
        FinishOutcome::AlreadyCompliant | FinishOutcome::NotApplicable if target.is_changed() => {
            refuse(target, claim, ClaimProblem::SomethingChanged)
        }
        FinishOutcome::AlreadyCompliant => {
            conclude(Outcome::AlreadyCompliant, Conclusion::ClaimStands)
        }
        FinishOutcome::NotApplicable => conclude(Outcome::NotApplicable, Conclusion::ClaimStands),
        FinishOutcome::Changed if !target.is_changed() => {
            refuse(target, claim, ClaimProblem::NothingChanged)
        }
        FinishOutcome::Changed => judge_change(job, target, claim),
    }
}

fn refuse(target: &Target, claim: &Claim, why: ClaimProblem) -> NextStep {
    if claim.checks == Some(CheckVerdict::Refused) || target.repairs >= MAX_REPAIRS {
        return conclude(Outcome::Stuck, Conclusion::ClaimUnfounded);
    }
    NextStep::RefuseClaim { phase: phase(target), tree: claim.tree, why }
}

/// Checks first, then the review.
fn judge_change(job: &Job, target: &Target, claim: &Claim) -> NextStep {
    match claim.checks {
        None => match target.checked {
            Some((tree, verdict)) if tree == claim.tree => {
                NextStep::ReuseChecks { phase: phase(target), tree, verdict }
            }
            _ if job.tool_ms_left(target) == Some(0) => {
                conclude(Outcome::BudgetStopped, Conclusion::LimitSpent(SpentLimit::ToolTime))
            }
            _ => NextStep::RunChecks { phase: phase(target), tree: claim.tree },
        },
        Some(CheckVerdict::Failed) => conclude(Outcome::FailedChecks, Conclusion::ChecksFail),
        Some(CheckVerdict::Refused) => conclude(Outcome::Stuck, Conclusion::ClaimUnfounded),
        Some(CheckVerdict::Passed | CheckVerdict::StillFailing | CheckVerdict::Unchecked) => {
            match claim.review {
                None if job.skip_review => conclude(Outcome::DiffReady, Conclusion::Unreviewed),
                None => review(target, claim),
                Some(ReviewVerdict::Accept) => {
                    conclude(Outcome::DiffReady, Conclusion::ReviewAccepted)
                }
                Some(ReviewVerdict::Object) => {
                    conclude(Outcome::Objected, Conclusion::ReviewObjects)
                }
            }
        }
    }
}

/// The review of a tree is a conversation of its own.
fn review(target: &Target, claim: &Claim) -> NextStep {
    let start = NextStep::StartThread { purpose: Purpose::Review, parent: Some(claim.thread) };
    let Some(review) = &target.review else { return start };
    if review.tree != claim.tree {
        return start;
    }
    if review.is_refused_prefix || review.next_turn.0 > MAX_REVIEW_TURNS {
        return NextStep::ReadReview { thread: review.number };
    }
    match review.latest_stop {
        None | Some(StopReason::PauseTurn) => NextStep::Converse { thread: review.number },
        Some(StopReason::MaxTokens) if review.truncations < MAX_TRUNCATIONS => {
            NextStep::Converse { thread: review.number }
        }
        Some(
            StopReason::MaxTokens
            | StopReason::EndTurn
            | StopReason::StopSequence
            | StopReason::ToolUse
            | StopReason::Refusal
            | StopReason::ModelContextWindowExceeded
            | StopReason::Unknown,
        ) => NextStep::ReadReview { thread: review.number },
    }
}

/// The phase that checks of the open claim belong to.
fn phase(target: &Target) -> CheckPhase {
    if target.repairs == 0 { CheckPhase::After } else { CheckPhase::Repair }
}

fn conclude(outcome: Outcome, why: Conclusion) -> NextStep {
    NextStep::Conclude { outcome, why }
}
