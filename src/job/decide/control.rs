//! What people do to a job that exists: pause, resume with or without new limits, retry. Whether a worker is needed
//! afterwards is seen by the dispatcher.

use cody_events::event::Draft;
use cody_events::ids::TargetNumber;
use cody_events::job::{BudgetChanged, By, Limits, Paused, ReasonPayload, Resumed};
use cody_events::outcome::{Outcome, ReopenReason, TargetReopened};

use super::{draft, find_target, job_cancelled};
use crate::job::create::{check_limits, dollars};
use crate::job::next_step::{NextStep, work};
use crate::job::rejection::{Rejection, RejectionCode};
use crate::job::state::{Job, Target};

pub(super) fn pause(
    job: &Job,
    target: Option<TargetNumber>,
    by: By,
    reason: &str,
) -> Result<Vec<Draft>, Rejection> {
    let is_paused = match target {
        None => check_unfinished(job).map(|()| job.paused)?,
        Some(number) => check_open(job, number)?.paused,
    };
    if is_paused {
        return Ok(Vec::new());
    }
    Ok(vec![draft(Paused { target, by }, &reason_payload(reason))])
}

/// New limits hold before anything is resumed, so that what they open again is no longer over. Both
/// happen or neither does: whoever is told no finds the limits as they were.
pub(super) fn resume(
    job: &Job,
    target: Option<TargetNumber>,
    limits: Option<&Limits>,
    floor_call_micros: u64,
    by: By,
    reason: &str,
) -> Result<Vec<Draft>, Rejection> {
    let Some(limits) = limits else { return end_pause(job, target, by, reason) };
    let mut drafts = change_limits(job, limits, floor_call_micros, by, reason)?;
    let mut changed = job.clone();
    drafts.iter().for_each(|draft| changed.evolve(&draft.event));
    drafts.extend(end_pause(&changed, target, by, reason)?);
    Ok(drafts)
}

/// Resuming a job resumes every target of it that was paused by itself.
fn end_pause(
    job: &Job,
    target: Option<TargetNumber>,
    by: By,
    reason: &str,
) -> Result<Vec<Draft>, Rejection> {
    let resumed =
        |target: Option<TargetNumber>| draft(Resumed { target, by }, &reason_payload(reason));
    let Some(number) = target else {
        check_unfinished(job)?;
        let whole = job.paused.then(|| resumed(None));
        let single = job.targets.values().filter(|target| target.paused);
        return Ok(whole
            .into_iter()
            .chain(single.map(|target| resumed(Some(target.number))))
            .collect());
    };
    let is_paused = check_open(job, number)?.paused;
    if job.paused {
        return Err(Rejection::new(
            RejectionCode::JobPaused,
            "The whole job is paused, not this target alone.",
            "Resume the job without naming a target.",
        ));
    }
    Ok(if is_paused { vec![resumed(target)] } else { Vec::new() })
}

/// New limits open again what the old ones stopped, and the same threads go on.
fn change_limits(
    job: &Job,
    limits: &Limits,
    floor_call_micros: u64,
    by: By,
    reason: &str,
) -> Result<Vec<Draft>, Rejection> {
    if job.cancelled {
        return Err(job_cancelled());
    }
    check_limits(limits, &job.model, floor_call_micros)?;
    let stopped: Vec<&Target> = job
        .targets
        .values()
        .filter(|target| target.outcome == Some(Outcome::BudgetStopped))
        .collect();
    let mut raised = job.clone();
    raised.set_limits(*limits);
    let reopened: Vec<&Target> = stopped
        .iter()
        .copied()
        .filter(|target| may_go_on(&raised, target, floor_call_micros))
        .collect();
    if let (Some(first), [], true) = (stopped.first(), reopened.as_slice(), job.finished) {
        return Err(still_stopped(job, first, limits, floor_call_micros));
    }
    if *limits == job.limits && reopened.is_empty() {
        return Ok(Vec::new());
    }
    let mut drafts = vec![draft(BudgetChanged { limits: *limits, by }, &reason_payload(reason))];
    drafts.extend(
        reopened
            .iter()
            .map(|target| reopened_draft(target, ReopenReason::BudgetRaised, by, reason)),
    );
    Ok(drafts)
}

/// Whether the rules would let a stopped target make a call under the limits of `raised`.
pub(super) fn may_go_on(raised: &Job, target: &Target, floor_call_micros: u64) -> bool {
    let mut open = target.clone();
    open.outcome = None;
    let is_spent =
        matches!(work(raised, &open), NextStep::Conclude { outcome: Outcome::BudgetStopped, .. });
    !is_spent && raised.remaining_micros(&open) >= floor_call_micros
}

fn still_stopped(job: &Job, target: &Target, limits: &Limits, floor_call_micros: u64) -> Rejection {
    let spent = target.money.committed_micros();
    let needed = spent.saturating_add(floor_call_micros);
    if limits.budget_micros < needed {
        return Rejection::new(
            RejectionCode::BudgetTooSmall,
            format!(
                "Target {} has spent {}, and its next call may cost {}.",
                target.number,
                dollars(spent),
                dollars(floor_call_micros)
            ),
            format!("Set --budget-usd to at least {}.", dollars(needed)),
        );
    }
    if limits
        .job_budget_micros
        .is_some_and(|most| most < job.committed_micros() + floor_call_micros)
    {
        return Rejection::new(
            RejectionCode::BudgetTooSmall,
            format!("All targets together have spent {}.", dollars(job.committed_micros())),
            format!(
                "Set --job-budget-usd to at least {}.",
                dollars(job.committed_micros() + floor_call_micros)
            ),
        );
    }
    Rejection::new(
        RejectionCode::BadLimits,
        format!(
            "Target {} would be stopped again at once: it used {} turns, {} tokens and {} s of \
             tools.",
            target.number,
            target.turns,
            target.tokens,
            target.tool_ms / 1_000
        ),
        "Raise the limit that stopped it as well; `show` says which.",
    )
}

/// Each target starts over in a new round, with a new thread, at its branch's present commit.
/// Without numbers, every target that did not succeed. New limits open no other targets again.
pub(super) fn retry(
    job: &Job,
    numbers: &[TargetNumber],
    limits: Option<&Limits>,
    floor_call_micros: u64,
    by: By,
    reason: &str,
) -> Result<Vec<Draft>, Rejection> {
    if job.cancelled {
        return Err(job_cancelled());
    }
    let targets: Vec<&Target> = if numbers.is_empty() {
        job.targets
            .values()
            .filter(|target| target.outcome.is_some_and(|outcome| !outcome.is_success()))
            .collect()
    } else {
        numbers.iter().map(|number| find_target(job, *number)).collect::<Result<_, _>>()?
    };
    if targets.is_empty() {
        return Err(Rejection::new(
            RejectionCode::NothingToRetry,
            "No target of the job ended without success.",
            "Name a finished target with --target to do it again all the same.",
        ));
    }
    let mut raised = job.clone();
    if let Some(limits) = limits {
        check_limits(limits, &job.model, floor_call_micros)?;
        raised.set_limits(*limits);
    }
    for target in &targets {
        if target.outcome.is_none() {
            return Err(Rejection::new(
                RejectionCode::TargetOpen,
                format!("Target {} is not finished.", target.number),
                "Wait for its end, or cancel the job.",
            ));
        }
        if raised.remaining_micros(target) < floor_call_micros {
            return Err(Rejection::new(
                RejectionCode::BudgetSpent,
                format!(
                    "Target {} has {} left, and one call may cost {}.",
                    target.number,
                    dollars(raised.remaining_micros(target)),
                    dollars(floor_call_micros)
                ),
                "Raise the budget with --budget-usd.",
            ));
        }
    }
    let changed = limits.filter(|limits| **limits != job.limits);
    let changed =
        changed.map(|limits| draft(BudgetChanged { limits: *limits, by }, &reason_payload(reason)));
    let reopened =
        targets.iter().map(|target| reopened_draft(target, ReopenReason::Retried, by, reason));
    Ok(changed.into_iter().chain(reopened).collect())
}

pub(super) fn reopened_draft(target: &Target, why: ReopenReason, by: By, reason: &str) -> Draft {
    let facts = TargetReopened { target: target.number, round: target.round.next(), why, by };
    draft(facts, &reason_payload(reason))
}

fn check_unfinished(job: &Job) -> Result<(), Rejection> {
    if job.cancelled {
        return Err(job_cancelled());
    }
    if job.finished {
        return Err(Rejection::new(
            RejectionCode::JobFinished,
            "The job is finished.",
            "Retry targets that failed, or raise the limits of those that were stopped with \
             `resume --budget-usd`.",
        ));
    }
    Ok(())
}

fn check_open(job: &Job, number: TargetNumber) -> Result<&Target, Rejection> {
    super::open_target(job, number)
}

fn reason_payload(reason: &str) -> ReasonPayload {
    ReasonPayload { reason: reason.to_owned() }
}
