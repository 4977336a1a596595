//! Whether a worker may be asked for, may claim, and has ended. Knows no clock: who is lost is for
//! the watchdog to say.

use cody_events::attempt::{
    AttemptEnd, AttemptEnded, AttemptEndedPayload, AttemptReason, AttemptRequested, AttemptStarted,
    Base, Executor,
};
use cody_events::event::Draft;
use cody_events::ids::{RequestId, TargetNumber};

use super::{draft, fenced, find_target, open_target, out_of_order};
use crate::job::rejection::{Rejection, RejectionCode};
use crate::job::state::Job;

pub(super) fn request_attempt(
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
    if let Some(pilot) = job.pilot_target().filter(|pilot| *pilot != number) {
        return Err(Rejection::new(
            RejectionCode::WaitsForPilot,
            format!("Target {number} waits until the diff of target {pilot} is approved."),
            "Approve that diff first.",
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

pub(super) fn claim_attempt(job: &Job, claim: &AttemptStarted) -> Result<Vec<Draft>, Rejection> {
    let target = open_target(job, claim.target)?;
    let open =
        target.request.as_ref().filter(|open| open.request == claim.request && !open.is_over);
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

pub(super) fn end_attempt(
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
