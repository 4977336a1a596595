//! How targets and jobs end. A success is recorded only where the rules conclude it; how the diff
//! is made is the intake's business.

use cody_events::diff::{CommentPayload, JudgedDiff, TargetHeld};
use cody_events::event::Draft;
use cody_events::ids::TargetNumber;
use cody_events::job::{By, Cancelled, ReasonPayload};
use cody_events::outcome::{
    Finished, FinishedTarget, Outcome, TargetFinished, TargetFinishedPayload,
};

use super::{draft, find_target, out_of_order};
use crate::job::command::FinishTarget;
use crate::job::rejection::{Rejection, RejectionCode};
use crate::job::state::{Job, ProducedDiff, Target};

pub(super) fn cancel(job: &Job, by: By, reason: &str) -> Result<Vec<Draft>, Rejection> {
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

pub(super) fn finish_target(job: &Job, finish: &FinishTarget) -> Result<Vec<Draft>, Rejection> {
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
        finished.diff = Some(ProducedDiff {
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
