//! What a job's events amount to, as far as its rules need to know. Folded from facts alone.

use std::collections::{BTreeMap, BTreeSet};

use cody_events::attempt::{AttemptReason, Base, SandboxBackend};
use cody_events::digest::{ObjectId, Sha256};
use cody_events::evidence::{CheckVerdict, CheckedCommand};
use cody_events::ids::{
    AttemptNumber, CallNumber, RequestId, RoundNumber, TargetNumber, ThreadNumber, TurnNumber,
};
use cody_events::job::{CheckSource, Effort, Limits, Policy, TargetKind};
use cody_events::outcome::Outcome;
use cody_events::policy::PathClass;
use cody_events::shape::DiffShape;
use cody_events::thread::{FinishOutcome, Purpose, ReviewVerdict, StopReason};

use super::money::{Money, OpenPermit};
use super::stuck::Progress;

/// The state of one job's stream; the default is a stream without events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobState {
    /// How many events were folded.
    pub version: u64,
    /// The job, once it is created.
    pub job: Option<Job>,
}

/// A created job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    pub policy: Policy,
    pub limits: Limits,
    pub model: String,
    pub effort: Option<Effort>,
    pub checks: CheckSource,
    pub bash: bool,
    pub skip_review: bool,
    pub allow: BTreeSet<PathClass>,
    pub fetch_dependencies: bool,
    /// Whether one target goes first.
    pub pilot: bool,
    /// The diff that a person approved of the target that went first.
    pub approved_pilot: Option<ApprovedPilot>,
    pub paused: bool,
    pub cancelled: bool,
    pub finished: bool,
    pub archived: bool,
    /// Whether the one call that may overrun the job's own budget was made.
    pub last_call_made: bool,
    pub targets: BTreeMap<TargetNumber, Target>,
}

impl Job {
    /// Micro-dollars committed over all targets.
    pub fn committed_micros(&self) -> u64 {
        self.targets
            .values()
            .map(|target| target.money.committed_micros())
            .fold(0, u64::saturating_add)
    }

    /// Known and assumed cost over all targets.
    pub fn spent_micros(&self) -> u64 {
        self.targets.values().map(|target| target.money.spent_micros()).fold(0, u64::saturating_add)
    }

    /// What may still be reserved for a call of `target`.
    pub fn remaining_micros(&self, target: &Target) -> u64 {
        let own = self.own_remaining_micros(target);
        self.shared_remaining_micros().map_or(own, |shared| own.min(shared))
    }

    /// What the target's own budget still has.
    pub fn own_remaining_micros(&self, target: &Target) -> u64 {
        self.limits.budget_micros.saturating_sub(target.money.committed_micros())
    }

    /// What the job's budget still has, if it has one.
    pub fn shared_remaining_micros(&self) -> Option<u64> {
        let budget = self.limits.job_budget_micros?;
        Some(budget.saturating_sub(self.committed_micros()))
    }

    /// Whether a call of `target` may become affordable when calls of other targets are settled:
    /// they hold what the job's budget lacks, and the target's own budget has more.
    pub fn others_hold_permits(&self, target: TargetNumber) -> bool {
        let own = self.targets.get(&target).map_or(0, |target| self.own_remaining_micros(target));
        self.shared_remaining_micros().is_some_and(|shared| shared < own)
            && self.has_other_permits(target)
    }

    /// The target that goes first while no diff was approved, if one does: the first that has something
    /// to change.
    pub fn pilot_target(&self) -> Option<TargetNumber> {
        if !self.pilot || self.approved_pilot.is_some() {
            return None;
        }
        let has_nothing = |target: &&Target| {
            matches!(target.outcome, Some(Outcome::AlreadyCompliant | Outcome::NotApplicable))
        };
        self.targets.values().find(|target| !has_nothing(target)).map(|target| target.number)
    }

    /// Whether `target` has to wait until the diff of another one is approved.
    pub fn waits_for_pilot(&self, target: TargetNumber) -> bool {
        self.pilot_target().is_some_and(|pilot| pilot != target)
    }

    /// Whether nothing goes on before somebody says something: all is over, or the target that goes
    /// first has ended, and the others wait for its diff to be approved.
    pub fn is_at_rest(&self) -> bool {
        let pilot = self.pilot_target().and_then(|number| self.targets.get(&number));
        self.finished || self.cancelled || pilot.is_some_and(|pilot| pilot.outcome.is_some())
    }

    /// Why no further response of Claude may be asked for, apart from money; nothing if one may.
    pub fn spent_limit(&self, target: &Target) -> Option<SpentLimit> {
        let (own, shared) = (&self.limits, &self.limits.shared);
        let sum =
            |of: fn(&Target) -> u64| self.targets.values().map(of).fold(0, u64::saturating_add);
        let is_spent = |most: Option<u64>, used: u64| most.is_some_and(|most| used >= most);
        let turns = |target: &Target| u64::from(target.turns);
        if target.turns >= own.max_turns || is_spent(shared.max_turns.map(u64::from), sum(turns)) {
            Some(SpentLimit::Turns)
        } else if is_spent(own.max_tokens, target.tokens)
            || is_spent(shared.max_tokens, sum(|target| target.tokens))
        {
            Some(SpentLimit::Tokens)
        } else if self.tool_ms_left(target) == Some(0) {
            Some(SpentLimit::ToolTime)
        } else {
            None
        }
    }

    /// Milliseconds that tools and checks of `target` may still take; nothing if there is no limit.
    pub fn tool_ms_left(&self, target: &Target) -> Option<u64> {
        let own = self.limits.max_tool_ms.map(|most| most.saturating_sub(target.tool_ms));
        let used = || self.targets.values().map(|t| t.tool_ms).fold(0, u64::saturating_add);
        let shared = self.limits.shared.max_tool_ms.map(|most| most.saturating_sub(used()));
        own.into_iter().chain(shared).min()
    }

    /// Bytes that the patch of `target` may have, next to what others produced; nothing if there is
    /// no limit.
    pub fn diff_bytes_left(&self, target: &Target) -> Option<u64> {
        let others = || {
            let others = self.targets.values().filter(|other| other.number != target.number);
            others.filter_map(|other| other.diff).map(|diff| diff.byte_count).sum::<u64>()
        };
        let shared = self.limits.shared.max_diff_bytes.map(|most| most.saturating_sub(others()));
        self.limits.max_diff_bytes.into_iter().chain(shared).min()
    }

    /// Whether other targets have calls in flight.
    pub(super) fn has_other_permits(&self, target: TargetNumber) -> bool {
        self.targets.values().any(|other| other.number != target && other.permit.is_some())
    }

    /// Whether `target` may overrun a budget with a call of `reserved_micros`: once for its own
    /// budget, and once for all targets together where it is the job's that is overrun.
    pub fn allows_last_call(&self, target: &Target, reserved_micros: u64) -> bool {
        let overruns_job =
            self.shared_remaining_micros().is_some_and(|shared| reserved_micros > shared);
        !(target.last_call_made || overruns_job && self.last_call_made)
    }
}

/// A limit beside money that is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpentLimit {
    Turns,
    Tokens,
    ToolTime,
}

/// One repository of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub number: TargetNumber,
    pub kind: TargetKind,
    pub repository: String,
    pub round: RoundNumber,
    pub paused: bool,
    pub base: Option<Base>,
    pub request: Option<OpenRequest>,
    /// The number of the latest attempt that claimed; zero before the first.
    pub latest_attempt: AttemptNumber,
    /// The sandbox of the latest attempt.
    pub sandbox: Option<SandboxBackend>,
    /// Why the next attempt is needed.
    pub next_attempt: AttemptReason,
    pub fruitless_losses: u32,
    pub scan: Option<Scanned>,
    pub baseline: Option<Baseline>,
    /// The latest recorded tree; the base's before any tool ran.
    pub tree: Option<ObjectId>,
    pub latest_thread: ThreadNumber,
    pub change: Option<Thread>,
    pub review: Option<Thread>,
    pub claim: Option<Claim>,
    /// The tree that checks last ran on after a change, and what they said.
    pub checked: Option<(ObjectId, CheckVerdict)>,
    pub repairs: u32,
    pub permit: Option<OpenPermit>,
    pub money: Money,
    /// Responses in the threads that make the change.
    pub turns: u32,
    pub tokens: u64,
    /// Milliseconds that tools, checks and fetches of dependencies took.
    pub tool_ms: u64,
    /// Reports of dependencies that the latest attempt fetched.
    pub fetches: u32,
    /// Whether the one call that a spent budget allows was made.
    pub last_call_made: bool,
    pub diff: Option<ProducedDiff>,
    /// The shape of that diff.
    pub shape: Option<DiffShape>,
    pub held: bool,
    /// What a person, or the policy, said of that diff.
    pub verdict: Option<DiffVerdict>,
    pub outcome: Option<Outcome>,
}

impl Target {
    /// The attempt that now holds the target, if one claimed it.
    pub fn attempt(&self) -> Option<AttemptNumber> {
        self.request.as_ref().filter(|request| !request.is_over)?.attempt
    }

    /// The thread with this number, if it is one of the round's.
    pub fn thread(&self, number: ThreadNumber) -> Option<&Thread> {
        [&self.change, &self.review].into_iter().flatten().find(|thread| thread.number == number)
    }

    /// The same, to be changed.
    pub(super) fn thread_mut(&mut self, number: ThreadNumber) -> Option<&mut Thread> {
        [&mut self.change, &mut self.review]
            .into_iter()
            .flatten()
            .find(|thread| thread.number == number)
    }

    /// Whether the latest attempt, or the checks of the open claim, had no sandbox.
    pub fn lacks_sandbox(&self) -> bool {
        let works = self.sandbox.is_some_and(|backend| backend != SandboxBackend::None);
        !works || self.claim.as_ref().is_some_and(|claim| claim.lacked_sandbox)
    }

    /// Whether a branch of its repository can be pushed and become a pull request.
    pub fn has_place_to_push(&self) -> bool {
        match self.kind {
            TargetKind::Github => true,
            TargetKind::Url | TargetKind::Local => false,
        }
    }

    /// Whether the recorded tree differs from the base.
    pub fn is_changed(&self) -> bool {
        match (&self.base, self.tree) {
            (Some(base), Some(tree)) => base.tree != tree,
            _ => false,
        }
    }
}

/// A request for a worker, and the attempt that claimed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenRequest {
    pub request: RequestId,
    pub attempt: Option<AttemptNumber>,
    /// Whether it is of an earlier round: its worker holds nothing any more, and is to end.
    pub is_over: bool,
}

/// What the rules need of a scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scanned {
    pub tree: ObjectId,
    pub check_count: u32,
}

/// How the base stood before any change; empty if no command could run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Baseline {
    pub commands: Vec<CheckedCommand>,
}

/// A conversation, as far as the rules need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thread {
    pub number: ThreadNumber,
    pub purpose: Purpose,
    /// The tree that it started from, or judges.
    pub tree: ObjectId,
    /// The turn to ask for next.
    pub next_turn: TurnNumber,
    /// The call to permit next within that turn.
    pub next_call: CallNumber,
    /// The response whose tools are to run.
    pub tools_open: Option<TurnNumber>,
    /// How often workers were lost while these tools were theirs to run.
    pub tool_losses: u32,
    pub latest_stop: Option<StopReason>,
    /// Responses in a row that were cut off at `max_tokens`.
    pub truncations: u32,
    /// Responses in a row that neither called a tool nor were cut off.
    pub idle_turns: u32,
    /// Tokens of the history up to and with the latest response in it.
    pub context_tokens: u64,
    /// Whether the provider no longer takes this thread's prefix.
    pub is_refused_prefix: bool,
    /// Whether its turns lead anywhere.
    pub progress: Progress,
}

/// A `finish` that waits for its judgement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    pub thread: ThreadNumber,
    pub turn: TurnNumber,
    pub outcome: FinishOutcome,
    pub tree: ObjectId,
    pub checks: Option<CheckVerdict>,
    /// Whether its checks could not run for want of a sandbox.
    pub lacked_sandbox: bool,
    pub review: Option<ReviewVerdict>,
}

/// A diff in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducedDiff {
    pub tree: ObjectId,
    pub diff_hash: Sha256,
    pub byte_count: u64,
    pub file_count: u64,
    /// Lines added and deleted.
    pub line_count: u64,
    pub partial: bool,
}

/// What was said of a diff.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiffVerdict {
    Approved,
    Rejected,
}

/// What the diffs of the other targets are compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApprovedPilot {
    pub target: TargetNumber,
    pub file_count: u64,
    /// Lines added and deleted.
    pub line_count: u64,
    /// Nothing if the diff was recorded without one.
    pub shape: Option<DiffShape>,
}
