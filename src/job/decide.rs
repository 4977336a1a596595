//! The decision: state and wish in, events or a typed no out.
//!
//! Slots are filled once: one `claude-turn` per (thread, turn), one `tools-ran` per turn, one claim
//! per request. Whoever asks for a filled slot is told so, and goes on from the log.

mod attempts;
mod control;
mod conversation;
mod endings;
mod evidence;
mod review;

use cody_events::event::{Draft, Facts};
use cody_events::ids::{AttemptNumber, TargetNumber};

use super::command::Command;
use super::create::created;
use super::rejection::{Rejection, RejectionCode};
use super::state::{Job, JobState, Target};
use attempts::{claim_attempt, end_attempt, request_attempt};
use control::{pause, resume, retry};
use conversation::{fail_call, permit_call, record_tools, record_turn, start_thread};
use endings::{cancel, finish_target};
use evidence::{record_checks, record_fetch, record_review, record_scan};
use review::{approve, archive, reject, request_changes};

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
        Command::CancelJob { by, reason, diffs } => cancel(job, *by, reason, diffs),
        Command::PauseJob { target, by, reason } => pause(job, *target, *by, reason),
        Command::ResumeJob { target, limits, floor_call_micros, by, reason } => {
            resume(job, *target, limits.as_ref(), *floor_call_micros, *by, reason)
        }
        Command::RetryTargets { targets, limits, floor_call_micros, by, reason } => {
            retry(job, targets, limits.as_ref(), *floor_call_micros, *by, reason)
        }
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
        Command::RecordFetch(report) => {
            let (facts, payload) = report.as_ref();
            record_fetch(job, facts, payload).map(|new| drafts(new, facts, payload))
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
            record_review(job, facts, payload).map(|new| drafts(new, facts, payload))
        }
        Command::FinishTarget(finish) => finish_target(job, finish),
        Command::ApproveDiff(reviewed) => approve(job, reviewed),
        Command::RejectDiff(reviewed) => reject(job, reviewed),
        Command::RequestChanges(request) => request_changes(job, request),
        Command::ArchiveJob { archived, by } => archive(job, *archived, *by),
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
        return Err(job_cancelled());
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

fn job_cancelled() -> Rejection {
    Rejection::new(
        RejectionCode::JobCancelled,
        "The job is cancelled.",
        "Start a new job to try again.",
    )
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
