//! How targets and jobs end. A success is recorded only where the rules conclude it; how the diff
//! is made is the intake's business.

use cody_events::diff::{
    CommentPayload, DiffApproved, DiffProduced, DiffProducedPayload, JudgedDiff, TargetHeld,
};
use cody_events::event::Draft;
use cody_events::ids::TargetNumber;
use cody_events::job::{By, Cancelled, Policy, ReasonPayload};
use cody_events::outcome::{
    Finished, FinishedTarget, Outcome, TargetFinished, TargetFinishedPayload,
};

use super::{draft, find_target, out_of_order};
use crate::job::command::FinishTarget;
use crate::job::next_step::{NextStep, work};
use crate::job::pilot::unlike_pilot;
use crate::job::rejection::{Rejection, RejectionCode};
use crate::job::state::{Job, ProducedDiff, Target};

pub(super) fn cancel(
    job: &Job,
    by: By,
    reason: &str,
    diffs: &[(DiffProduced, DiffProducedPayload)],
) -> Result<Vec<Draft>, Rejection> {
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
        let mut cancelled = target.clone();
        if let Some((facts, payload)) = diffs.iter().find(|(d, _)| d.target == target.number) {
            check_diff(target, Outcome::Cancelled, facts)?;
            drafts.push(draft(facts.clone(), payload));
            cancelled.diff = Some(ProducedDiff::of(facts));
        }
        drafts.push(finished_draft(&cancelled, Outcome::Cancelled, evidence));
    }
    drafts.push(job_finished(job, None, Outcome::Cancelled));
    Ok(drafts)
}

pub(super) fn finish_target(job: &Job, finish: &FinishTarget) -> Result<Vec<Draft>, Rejection> {
    let target = find_target(job, finish.target)?;
    if target.outcome.is_some() {
        return Ok(Vec::new());
    }
    check_concluded(job, target, finish)?;
    let mut drafts = Vec::new();
    let mut finished = target.clone();
    let mut policy = None;
    if let Some((facts, payload)) = &finish.diff {
        check_diff(target, finish.outcome, facts)?;
        drafts.push(draft(facts.clone(), payload));
        let mut reasons = finish.held.clone();
        if reasons.is_empty() {
            reasons = reasons_to_hold(job, target, finish.outcome, facts);
        }
        if !reasons.is_empty() {
            drafts.push(held_draft(facts, reasons.join("\n")));
        }
        finished.diff = Some(ProducedDiff::of(facts));
        policy = approved_by_policy(job, target, finish.outcome, facts, reasons.is_empty());
    }
    drafts.push(finished_draft(&finished, finish.outcome, finish.evidence.clone()));
    drafts.extend(policy);
    let others_done =
        job.targets.values().all(|t| t.number == finish.target || t.outcome.is_some());
    if others_done {
        drafts.push(job_finished(job, Some(finish.target), finish.outcome));
    }
    Ok(drafts)
}

/// What rests on claims, checks and reviews is recorded only where the rules conclude it; that work
/// could not go on is for the rooms to say.
fn check_concluded(job: &Job, target: &Target, finish: &FinishTarget) -> Result<(), Rejection> {
    let is_concluded = match finish.outcome {
        Outcome::DiffReady
        | Outcome::AlreadyCompliant
        | Outcome::NotApplicable
        | Outcome::FailedChecks
        | Outcome::Objected
        | Outcome::Refused => match work(job, target) {
            NextStep::Conclude { outcome, .. } => outcome == finish.outcome,
            _ => false,
        },
        Outcome::BudgetStopped | Outcome::Stuck | Outcome::Failed => true,
        // A job is cancelled as a whole.
        Outcome::Cancelled => false,
    };
    let outcome = finish.outcome.name();
    if !is_concluded {
        return Err(out_of_order(format!("nothing bears `{outcome}` out")));
    }
    if finish.outcome == Outcome::DiffReady && finish.diff.is_none() {
        return Err(out_of_order(format!("`{outcome}` without a diff")));
    }
    Ok(())
}

/// A diff is of the target's own base and of its recorded tree.
fn check_diff(target: &Target, outcome: Outcome, diff: &DiffProduced) -> Result<(), Rejection> {
    if Some(diff.tree) != target.tree {
        return Err(out_of_order("the diff is of another tree".to_owned()));
    }
    let is_of_base = target.base.as_ref().is_some_and(|base| base.commit == diff.base_commit);
    if diff.target != target.number || diff.round != target.round || !is_of_base {
        return Err(out_of_order("the diff is of another target, round or base".to_owned()));
    }
    if diff.partial != (outcome != Outcome::DiffReady) {
        return Err(out_of_order("only a diff that was judged good is whole".to_owned()));
    }
    Ok(())
}

/// Why the rules themselves keep a diff for a person, whoever may have forgotten to say so.
fn reasons_to_hold(
    job: &Job,
    target: &Target,
    outcome: Outcome,
    diff: &DiffProduced,
) -> Vec<String> {
    let mut reasons = Vec::new();
    if outcome == Outcome::Objected {
        reasons.push("The independent review still objects after the last repair.".to_owned());
    }
    if target.lacks_sandbox() {
        reasons.push("No sandbox worked, so the checks could not run.".to_owned());
    }
    let touched = diff.touches.iter().filter(|class| !job.allow.contains(class));
    if diff.secret_count > 0 {
        reasons.push("It adds what looks like a secret.".to_owned());
    }
    reasons.extend(touched.map(|class| format!("It touches `{class}`, which its job allows not.")));
    reasons.extend(unlike_pilot(job, diff, &[]));
    reasons
}

/// Nobody is asked about a diff that has nothing against it, if its job says so. The diff that others
/// wait for is a person's to approve under every policy.
fn approved_by_policy(
    job: &Job,
    target: &Target,
    outcome: Outcome,
    diff: &DiffProduced,
    is_free: bool,
) -> Option<Draft> {
    let is_approved = is_free
        && job.policy == Policy::Auto
        && outcome == Outcome::DiffReady
        && target.has_place_to_push()
        && job.pilot_target().is_none();
    let approval = || DiffApproved(judged(diff, By::Policy));
    is_approved
        .then(|| draft(approval(), &CommentPayload { comment: String::new(), finish_result: None }))
}

fn judged(diff: &DiffProduced, by: By) -> JudgedDiff {
    JudgedDiff {
        target: diff.target,
        base_commit: diff.base_commit,
        tree: diff.tree,
        diff_hash: diff.diff_hash,
        by,
    }
}

fn held_draft(diff: &DiffProduced, reason: String) -> Draft {
    draft(
        TargetHeld(judged(diff, By::Server)),
        &CommentPayload { comment: reason, finish_result: None },
    )
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
