//! Whether what was found out about a tree may be recorded: the scan, checks, the review. What it
//! means for the target is said by `next_step`.

use cody_events::evidence::{CheckPhase, ChecksRan, ChecksRanPayload, RepoScanned};
use cody_events::thread::DiffReviewed;

use super::{IsNew, held_by, open_target, out_of_order};
use crate::job::rejection::Rejection;
use crate::job::state::Job;

pub(super) fn record_scan(job: &Job, scan: &RepoScanned) -> Result<IsNew, Rejection> {
    let target = held_by(job, scan.target, scan.attempt)?;
    if target.scan.is_some() {
        return Ok(false);
    }
    match &target.base {
        Some(base) if base.commit == scan.base_commit && base.tree == scan.tree => Ok(true),
        _ => Err(out_of_order("the scan is of another commit".to_owned())),
    }
}

pub(super) fn record_checks(
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

pub(super) fn record_review(job: &Job, review: &DiffReviewed) -> Result<IsNew, Rejection> {
    let target = open_target(job, review.target)?;
    match &target.claim {
        Some(claim) if claim.tree == review.tree => Ok(claim.review.is_none()),
        Some(_) => Err(out_of_order("the review is of another tree".to_owned())),
        None => Ok(false),
    }
}
