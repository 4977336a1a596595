//! The wishes that a job knows.

use std::collections::{BTreeMap, BTreeSet};

use cody_events::attempt::{AttemptEnd, AttemptReason, AttemptStarted, Base, Executor};
use cody_events::diff::{DiffProduced, DiffProducedPayload};
use cody_events::digest::Sha256;
use cody_events::evidence::{
    ChecksRan, ChecksRanPayload, DependenciesFetched, DependenciesFetchedPayload, RepoScanned,
    RepoScannedPayload,
};
use cody_events::ids::{RequestId, TargetNumber};
use cody_events::job::{By, CheckSource, Effort, Limits, Location, Policy, RecipeUse, TargetKind};
use cody_events::outcome::Outcome;
use cody_events::policy::PathClass;
use cody_events::raw::RawJson;
use cody_events::thread::{
    CallFailed, CallFailedPayload, CallPermitted, ClaudeTurn, ClaudeTurnPayload, DiffReviewed,
    DiffReviewedPayload, ThreadStarted, ThreadStartedPayload, ToolsRan, ToolsRanPayload,
};

/// A wish for one job.
#[derive(Debug, Clone)]
pub enum Command {
    CreateJob(Box<CreateJob>),
    CancelJob {
        by: By,
        reason: String,
        /// What unfinished targets have changed so far.
        diffs: Vec<(DiffProduced, DiffProducedPayload)>,
    },
    /// No new call starts; a target alone, or the whole job.
    PauseJob {
        target: Option<TargetNumber>,
        by: By,
        reason: String,
    },
    /// What is paused goes on; with other limits also the targets that the old ones stopped.
    ResumeJob {
        target: Option<TargetNumber>,
        /// New limits of the job, if they change.
        limits: Option<Limits>,
        /// The worst price of one call at the smallest `max_tokens`, for the job's model.
        floor_call_micros: u64,
        by: By,
        reason: String,
    },
    /// Targets start over; without numbers, those that did not succeed.
    RetryTargets {
        targets: Vec<TargetNumber>,
        /// New limits of the job, if they change.
        limits: Option<Limits>,
        floor_call_micros: u64,
        by: By,
        reason: String,
    },
    RequestAttempt {
        target: TargetNumber,
        base: Base,
        executor: Executor,
        why: AttemptReason,
        request: RequestId,
    },
    ClaimAttempt(AttemptStarted),
    EndAttempt {
        target: TargetNumber,
        request: RequestId,
        how: AttemptEnd,
        detail: Option<String>,
    },
    RecordScan(Box<(RepoScanned, RepoScannedPayload)>),
    RecordFetch(Box<(DependenciesFetched, DependenciesFetchedPayload)>),
    RecordChecks(Box<(ChecksRan, ChecksRanPayload)>),
    StartThread(Box<(ThreadStarted, ThreadStartedPayload)>),
    PermitCall {
        permit: CallPermitted,
        notice: Vec<RawJson>,
    },
    FailCall(Box<(CallFailed, CallFailedPayload)>),
    RecordTurn(Box<(ClaudeTurn, ClaudeTurnPayload)>),
    RecordTools(Box<(ToolsRan, ToolsRanPayload)>),
    RecordReview(Box<(DiffReviewed, DiffReviewedPayload)>),
    FinishTarget(Box<FinishTarget>),
    ApproveDiff(ReviewedDiff),
    RejectDiff(ReviewedDiff),
    RequestChanges(Box<RequestChanges>),
    /// Leave the job out of lists, or have it there again.
    ArchiveJob {
        archived: bool,
        by: By,
    },
}

/// A diff that somebody looked at, and what they say.
#[derive(Debug, Clone)]
pub struct ReviewedDiff {
    pub target: TargetNumber,
    /// What they saw; if it is another by now, nothing is recorded.
    pub diff_hash: Sha256,
    pub comment: String,
    pub by: By,
}

/// Send a diff back.
#[derive(Debug, Clone)]
pub struct RequestChanges {
    pub reviewed: ReviewedDiff,
    /// The block by which Claude is told.
    pub block: RawJson,
    /// The worst price of one call at the smallest `max_tokens`, for the job's model.
    pub floor_call_micros: u64,
}

/// Accept a job.
#[derive(Debug, Clone)]
pub struct CreateJob {
    pub prompt: String,
    pub notes: Option<String>,
    pub targets: Vec<NewTarget>,
    pub checks: Checks,
    pub policy: Policy,
    pub limits: Limits,
    pub model: String,
    pub effort: Option<Effort>,
    pub bash: bool,
    pub skip_review: bool,
    /// Classes of changes that a diff is not held for.
    pub allow: BTreeSet<PathClass>,
    pub fetch_dependencies: bool,
    /// Whether one target goes first, and the others wait until its diff is approved.
    pub pilot: bool,
    /// The recipe that the prompt was made from, and what stood in its places.
    pub recipe: Option<(RecipeUse, BTreeMap<String, String>)>,
    pub app_version: String,
    pub rules: CreateRules,
}

/// What to check each target with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checks {
    Given(Vec<String>),
    Detected,
    Off,
}

impl Checks {
    /// The word for it in the log.
    pub fn source(&self) -> CheckSource {
        match self {
            Self::Given(_) => CheckSource::Given,
            Self::Detected => CheckSource::Detected,
            Self::Off => CheckSource::Off,
        }
    }
}

/// One repository of a new job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTarget {
    pub kind: TargetKind,
    /// `owner/name`, or the last component of a local path.
    pub repository: String,
    pub location: Location,
    /// What two spellings of the same repository have in common.
    pub identity: String,
}

/// What the server allows, and what only it knows: caps, models, prices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateRules {
    pub max_targets: usize,
    pub max_prompt_bytes: usize,
    pub model: ModelStanding,
    /// The worst price of one call at the smallest `max_tokens`, for this model.
    pub floor_call_micros: u64,
}

/// Whether the model can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelStanding {
    Known,
    Unknown { known: Vec<String> },
    Retired { on: String, successor: Option<String> },
}

/// End a target's round with an outcome, and the diff if there is one.
#[derive(Debug, Clone)]
pub struct FinishTarget {
    pub target: TargetNumber,
    pub outcome: Outcome,
    pub evidence: Vec<String>,
    pub diff: Option<(DiffProduced, DiffProducedPayload)>,
    /// Why the diff is kept for a person, if it is, beside what the rules themselves find.
    pub held: Vec<String>,
}
