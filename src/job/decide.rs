//! The decision: state and wish in, events or a typed no out.
//!
//! Slots are filled once: one `claude-turn` per (thread, turn), one `tools-ran` per turn, one claim
//! per request. Whoever asks for a filled slot is told so, and goes on from the log.

use cody_events::attempt::{AttemptEnd, AttemptReason};
use cody_events::attempt::{
    AttemptEnded, AttemptEndedPayload, AttemptRequested, AttemptStarted, Base, Executor,
};
use cody_events::diff::{CommentPayload, JudgedDiff, TargetHeld};
use cody_events::event::{Draft, Facts};
use cody_events::evidence::{CheckPhase, ChecksRan, ChecksRanPayload, RepoScanned};
use cody_events::ids::{AttemptNumber, RequestId, TargetNumber};
use cody_events::job::{By, Cancelled, ReasonPayload};
use cody_events::outcome::{
    Finished, FinishedTarget, Outcome, TargetFinished, TargetFinishedPayload,
};
use cody_events::raw::RawJson;
use cody_events::thread::{
    CallFailed, CallPermitted, CallPermittedPayload, ClaudeTurn, DiffReviewed, ThreadStarted,
    ToolsRan,
};

use super::command::{Command, FinishTarget};
use super::create::created;
use super::rejection::{Rejection, RejectionCode};
use super::state::{Job, JobState, Target};

/// What becomes of a wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// These happen, together.
    Events(Vec<Draft>),
    /// It has happened before; nothing is added.
    AlreadyRecorded,
    Rejected(Rejection),
}

impl From<Result<Vec<Draft>, Rejection>> for Decision {
    fn from(result: Result<Vec<Draft>, Rejection>) -> Self {
        match result {
            Ok(drafts) if drafts.is_empty() => Self::AlreadyRecorded,
            Ok(drafts) => Self::Events(drafts),
            Err(rejection) => Self::Rejected(rejection),
        }
    }
}

/// Decides `command` in `state`.
pub fn decide(state: &JobState, command: &Command) -> Decision {
    match (&state.job, command) {
        (None, Command::CreateJob(wish)) => created(wish).into(),
        (Some(_), Command::CreateJob(_)) => Decision::Rejected(Rejection::new(
            RejectionCode::JobExists,
            "A job with this id exists.",
            "Take a new id, or read the job that is there.",
        )),
        (None, _) => Decision::Rejected(Rejection::new(
            RejectionCode::NoSuchJob,
            "There is no job with this id.",
            "List the jobs with `cody-batch jobs`.",
        )),
        (Some(job), command) => decide_in(job, command).into(),
    }
}

/// Decides a wish for a job that exists. No events means: it has happened before.
fn decide_in(job: &Job, command: &Command) -> Result<Vec<Draft>, Rejection> {
    match command {
        Command::CreateJob(_) => Ok(Vec::new()),
        Command::CancelJob { by, reason } => cancel(job, *by, reason),
        Command::RequestAttempt { target, base, executor, why, request } => {
            request_attempt(job, *target, base, *executor, *why, *request)
        }
        Command::ClaimAttempt(claim) => claim_attempt(job, claim),
        Command::EndAttempt { target, request, how, detail } => {
            end_attempt(job, *target, *request, *how, detail.as_deref())
        }
        Command::RecordScan(report) => {
            let (facts, payload) = report.as_ref();
            record_scan(job, facts).map(|new| drafts(new, facts, payload))
        }
        Command::RecordChecks(report) => {
            let (facts, payload) = report.as_ref();
            record_checks(job, facts, payload).map(|new| drafts(new, facts, payload))
        }
        Command::StartThread(start) => {
            let (facts, payload) = start.as_ref();
            start_thread(job, facts).map(|new| drafts(new, facts, payload))
        }
        Command::PermitCall { permit, notice } => permit_call(job, permit, notice),
        Command::FailCall(failure) => {
            let (facts, payload) = failure.as_ref();
            fail_call(job, facts).map(|new| drafts(new, facts, payload))
        }
        Command::RecordTurn(turn) => {
            let (facts, payload) = turn.as_ref();
            record_turn(job, facts).map(|new| drafts(new, facts, payload))
        }
        Command::RecordTools(report) => {
            let (facts, payload) = report.as_ref();
            record_tools(job, facts).map(|new| drafts(new, facts, payload))
        }
        Command::RecordReview(review) => {
            let (facts, payload) = review.as_ref();
            record_review(job, facts).map(|new| drafts(new, facts, payload))
        }
        Command::FinishTarget(finish) => finish_target(job, finish),
    }
}

/// Whether a slot is still free.
type IsNew = bool;

fn drafts<F: Facts + Clone>(new: IsNew, facts: &F, payload: &F::Payload) -> Vec<Draft> {
    if new { vec![draft(facts.clone(), payload)] } else { Vec::new() }
}

/// An event with its payload. Our payloads are maps of strings and numbers, which always render.
pub(super) fn draft<F: Facts + Clone>(facts: F, payload: &F::Payload) -> Draft {
    Draft::with(facts.clone(), payload).unwrap_or_else(|_| Draft::bare(facts))
}

fn cancel(job: &Job, by: By, reason: &str) -> Result<Vec<Draft>, Rejection> {
    if job.cancelled {
        return Ok(Vec::new());
    }
    if job.finished {
        return Err(Rejection::new(
            RejectionCode::JobFinished,
            "The job is finished; there is nothing to cancel.",
            "Read its outcome with `cody-batch show`.",
        ));
    }
    let mut drafts = vec![draft(Cancelled { by }, &ReasonPayload { reason: reason.to_owned() })];
    for target in job.targets.values().filter(|target| target.outcome.is_none()) {
        let evidence = vec![format!("The job was cancelled after {} turns.", target.turns)];
        drafts.push(finished_draft(target, Outcome::Cancelled, evidence));
    }
    drafts.push(job_finished(job, None, Outcome::Cancelled));
    Ok(drafts)
}

fn request_attempt(
    job: &Job,
    number: TargetNumber,
    base: &Base,
    executor: Executor,
    why: AttemptReason,
    request: RequestId,
) -> Result<Vec<Draft>, Rejection> {
    let target = open_target(job, number)?;
    if job.paused || target.paused {
        return Err(Rejection::new(
            RejectionCode::JobPaused,
            format!("Target {number} is paused."),
            "Resume it first.",
        ));
    }
    match &target.request {
        Some(open) if open.request == request => return Ok(Vec::new()),
        Some(_) => {
            return Err(Rejection::new(
                RejectionCode::AttemptOpen,
                format!("A worker is already asked for target {number}."),
                "Wait until it ends.",
            ));
        }
        None => {}
    }
    if target.base.as_ref().is_some_and(|pinned| pinned != base) {
        return Err(out_of_order(format!("target {number} has another base commit")));
    }
    Ok(vec![Draft::bare(AttemptRequested {
        target: number,
        round: target.round,
        request,
        base: base.clone(),
        executor,
        why,
    })])
}

fn claim_attempt(job: &Job, claim: &AttemptStarted) -> Result<Vec<Draft>, Rejection> {
    let target = open_target(job, claim.target)?;
    let open = target.request.as_ref().filter(|open| open.request == claim.request);
    let Some(open) = open else {
        return Err(Rejection::new(
            RejectionCode::NoSuchRequest,
            format!("Target {} does not wait for this worker.", claim.target),
            "The worker leaves; nothing is lost.",
        ));
    };
    match open.attempt {
        Some(attempt) if attempt == claim.attempt => Ok(Vec::new()),
        Some(_) => Err(fenced(target)),
        None if claim.attempt != target.latest_attempt.next() => {
            Err(out_of_order(format!("the next attempt is {}", target.latest_attempt.next())))
        }
        None => Ok(vec![Draft::bare(claim.clone())]),
    }
}

fn end_attempt(
    job: &Job,
    number: TargetNumber,
    request: RequestId,
    how: AttemptEnd,
    detail: Option<&str>,
) -> Result<Vec<Draft>, Rejection> {
    let target = find_target(job, number)?;
    let Some(open) = target.request.as_ref().filter(|open| open.request == request) else {
        return Ok(Vec::new());
    };
    let facts = AttemptEnded { target: number, attempt: open.attempt, request, how };
    Ok(vec![match detail {
        Some(detail) => draft(facts, &AttemptEndedPayload { detail: detail.to_owned() }),
        None => Draft::bare(facts),
    }])
}

fn record_scan(job: &Job, scan: &RepoScanned) -> Result<IsNew, Rejection> {
    let target = held_by(job, scan.target, scan.attempt)?;
    if target.scan.is_some() {
        return Ok(false);
    }
    match &target.base {
        Some(base) if base.commit == scan.base_commit && base.tree == scan.tree => Ok(true),
        _ => Err(out_of_order("the scan is of another commit".to_owned())),
    }
}

fn record_checks(
    job: &Job,
    checks: &ChecksRan,
    payload: &ChecksRanPayload,
) -> Result<IsNew, Rejection> {
    let target = held_by(job, checks.target, checks.attempt)?;
    if checks.answers_finish != payload.finish_result.is_some() {
        return Err(out_of_order("the facts and the payload disagree about `finish`".to_owned()));
    }
    if checks.phase == CheckPhase::Baseline {
        return Ok(target.baseline.is_none());
    }
    match &target.claim {
        Some(claim) if claim.tree == checks.tree => Ok(claim.checks.is_none()),
        Some(_) => Err(out_of_order("the checks ran on another tree".to_owned())),
        None => Ok(false),
    }
}

fn start_thread(job: &Job, start: &ThreadStarted) -> Result<IsNew, Rejection> {
    let target = open_target(job, start.target)?;
    if start.thread <= target.latest_thread {
        return Ok(false);
    }
    if start.thread != target.latest_thread.next() {
        return Err(out_of_order(format!("the next thread is {}", target.latest_thread.next())));
    }
    Ok(true)
}

fn permit_call(
    job: &Job,
    permit: &CallPermitted,
    notice: &[RawJson],
) -> Result<Vec<Draft>, Rejection> {
    let target = open_target(job, permit.target)?;
    if job.paused || target.paused {
        return Err(Rejection::new(
            RejectionCode::JobPaused,
            "The job is paused: no new call starts.",
            "Resume it first.",
        ));
    }
    if target.permit.is_some() {
        return Err(Rejection::new(
            RejectionCode::PermitOpen,
            format!("A call for target {} is in flight.", permit.target),
            "Wait until it is answered, or settle it as orphaned.",
        ));
    }
    let thread = target.thread(permit.thread);
    let fits = thread.is_some_and(|t| {
        (t.next_turn, t.next_call) == (permit.turn, permit.call) && t.tools_open.is_none()
    });
    if !fits {
        return Err(out_of_order(format!(
            "thread {} does not wait for turn {}, call {}",
            permit.thread, permit.turn, permit.call
        )));
    }
    check_affordable(job, target, permit)?;
    Ok(vec![if notice.is_empty() {
        Draft::bare(permit.clone())
    } else {
        draft(permit.clone(), &CallPermittedPayload { notice: notice.to_vec() })
    }])
}

/// A call fits the budget, or is the one last call that a spent budget allows.
fn check_affordable(job: &Job, target: &Target, permit: &CallPermitted) -> Result<(), Rejection> {
    let remaining = job.remaining_micros(target);
    if permit.reserved_micros <= remaining {
        return Ok(());
    }
    if job.others_hold_permits(target.number) {
        return Err(Rejection::new(
            RejectionCode::BudgetBusy,
            "The rest of the job's budget is set aside for calls in flight.",
            "Ask again when one of them is answered.",
        ));
    }
    if permit.last && !target.last_call_made {
        return Ok(());
    }
    Err(Rejection::new(
        RejectionCode::BudgetSpent,
        format!(
            "The call may cost {} micro-dollars, and {remaining} are left.",
            permit.reserved_micros
        ),
        "Raise the budget to go on from here.",
    ))
}

fn fail_call(job: &Job, failure: &CallFailed) -> Result<IsNew, Rejection> {
    let target = find_target(job, failure.target)?;
    match &target.permit {
        Some(permit)
            if (permit.thread, permit.turn, permit.call)
                == (failure.thread, failure.turn, failure.call) =>
        {
            Ok(true)
        }
        _ => Ok(false),
    }
}

/// A response is recorded whenever it matches its permit, late or not: it is paid for.
fn record_turn(job: &Job, turn: &ClaudeTurn) -> Result<IsNew, Rejection> {
    let target = find_target(job, turn.target)?;
    let filled = target.thread(turn.thread).is_some_and(|thread| turn.turn < thread.next_turn);
    if filled {
        return Ok(false);
    }
    match &target.permit {
        Some(permit)
            if (permit.thread, permit.turn, permit.call) == (turn.thread, turn.turn, turn.call) =>
        {
            Ok(true)
        }
        _ => Err(Rejection::new(
            RejectionCode::NoSuchPermit,
            format!("No open permit matches thread {}, turn {}.", turn.thread, turn.turn),
            "The response is discarded; its call was settled before.",
        )),
    }
}

fn record_tools(job: &Job, tools: &ToolsRan) -> Result<IsNew, Rejection> {
    let target = find_target(job, tools.target)?;
    let Some(thread) = target.thread(tools.thread) else {
        return Err(out_of_order(format!("there is no open thread {}", tools.thread)));
    };
    if tools.turn < thread.next_turn && thread.tools_open != Some(tools.turn) {
        return Ok(false);
    }
    held_by(job, tools.target, tools.attempt)?;
    if thread.tools_open != Some(tools.turn) {
        return Err(out_of_order(format!("turn {} has no tools to run", tools.turn)));
    }
    if target.tree != Some(tools.tree_before) {
        return Err(out_of_order("the tools ran on another tree".to_owned()));
    }
    Ok(true)
}

fn record_review(job: &Job, review: &DiffReviewed) -> Result<IsNew, Rejection> {
    let target = open_target(job, review.target)?;
    match &target.claim {
        Some(claim) if claim.tree == review.tree => Ok(claim.review.is_none()),
        Some(_) => Err(out_of_order("the review is of another tree".to_owned())),
        None => Ok(false),
    }
}

fn finish_target(job: &Job, finish: &FinishTarget) -> Result<Vec<Draft>, Rejection> {
    let target = find_target(job, finish.target)?;
    if target.outcome.is_some() {
        return Ok(Vec::new());
    }
    let mut drafts = Vec::new();
    let mut finished = target.clone();
    if let Some((facts, payload)) = &finish.diff {
        if Some(facts.tree) != target.tree {
            return Err(out_of_order("the diff is of another tree".to_owned()));
        }
        drafts.push(draft(facts.clone(), payload));
        if let Some(reason) = &finish.held {
            let judged = JudgedDiff {
                target: finish.target,
                base_commit: facts.base_commit,
                tree: facts.tree,
                diff_hash: facts.diff_hash,
                by: By::Server,
            };
            let comment = CommentPayload { comment: reason.clone(), finish_result: None };
            drafts.push(draft(TargetHeld(judged), &comment));
        }
        finished.diff = Some(super::state::ProducedDiff {
            tree: facts.tree,
            diff_hash: facts.diff_hash,
            partial: facts.partial,
        });
    }
    drafts.push(finished_draft(&finished, finish.outcome, finish.evidence.clone()));
    let others_done =
        job.targets.values().all(|t| t.number == finish.target || t.outcome.is_some());
    if others_done {
        drafts.push(job_finished(job, Some(finish.target), finish.outcome));
    }
    Ok(drafts)
}

fn finished_draft(target: &Target, outcome: Outcome, evidence: Vec<String>) -> Draft {
    let facts = TargetFinished {
        target: target.number,
        round: target.round,
        outcome,
        tree: target.tree,
        diff_hash: target.diff.filter(|diff| Some(diff.tree) == target.tree).map(|d| d.diff_hash),
        cost_micros: target.money.spent_micros(),
    };
    draft(facts, &TargetFinishedPayload { evidence })
}

/// The job's end: targets without an outcome get `outcome`, as does `latest`.
fn job_finished(job: &Job, latest: Option<TargetNumber>, outcome: Outcome) -> Draft {
    let targets = job.targets.values().map(|target| FinishedTarget {
        target: target.number,
        round: target.round,
        outcome: match target.outcome {
            Some(known) if latest != Some(target.number) => known,
            _ => outcome,
        },
    });
    Draft::bare(Finished { targets: targets.collect(), cost_micros: job.spent_micros() })
}

fn find_target(job: &Job, number: TargetNumber) -> Result<&Target, Rejection> {
    job.targets.get(&number).ok_or_else(|| {
        Rejection::new(
            RejectionCode::NoSuchTarget,
            format!("The job has no target {number}."),
            format!("Its targets are numbered from 1 to {}.", job.targets.len()),
        )
    })
}

/// The target, if work on it may still be recorded.
fn open_target(job: &Job, number: TargetNumber) -> Result<&Target, Rejection> {
    let target = find_target(job, number)?;
    if job.cancelled {
        return Err(Rejection::new(
            RejectionCode::JobCancelled,
            "The job is cancelled.",
            "Start a new job to try again.",
        ));
    }
    if target.outcome.is_some() {
        return Err(Rejection::new(
            RejectionCode::TargetFinished,
            format!("Target {number} is finished."),
            "Retry it to open it again.",
        ));
    }
    Ok(target)
}

/// The target, if `attempt` is the one that holds it.
fn held_by(job: &Job, number: TargetNumber, attempt: AttemptNumber) -> Result<&Target, Rejection> {
    let target = open_target(job, number)?;
    if target.attempt() == Some(attempt) { Ok(target) } else { Err(fenced(target)) }
}

fn fenced(target: &Target) -> Rejection {
    Rejection::new(
        RejectionCode::Fenced,
        format!("Another attempt holds target {} now.", target.number),
        "This worker leaves; what it did after its last report is not kept.",
    )
}

fn out_of_order(what: String) -> Rejection {
    Rejection::new(
        RejectionCode::OutOfOrder,
        format!("The report does not fit: {what}."),
        "Ask for the next step and go on from there.",
    )
}
