//! Whether what was found out about a tree may be recorded: the scan, checks, the review. What it
//! means for the target is said by `next_step`.

use cody_events::evidence::{
    CheckPhase, CheckVerdict, ChecksRan, ChecksRanPayload, DependenciesFetched,
    DependenciesFetchedPayload, RepoScanned,
};
use cody_events::thread::{DiffReviewed, DiffReviewedPayload, ReviewVerdict};

use super::{IsNew, held_by, open_target, out_of_order};
use crate::job::MAX_FETCHES;
use crate::job::MAX_REPAIRS;
use crate::job::next_step::{NextStep, work};
use crate::job::rejection::Rejection;
use crate::job::state::{Job, Target};

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

/// Fetches are evidence of what checks had; nothing follows from them.
pub(super) fn record_fetch(
    job: &Job,
    fetched: &DependenciesFetched,
    payload: &DependenciesFetchedPayload,
) -> Result<IsNew, Rejection> {
    let target = held_by(job, fetched.target, fetched.attempt)?;
    if !job.fetch_dependencies {
        return Err(out_of_order("the job does not fetch dependencies".to_owned()));
    }
    if fetched.number <= target.fetches {
        return Ok(false);
    }
    if fetched.number != target.fetches + 1 || fetched.number > MAX_FETCHES {
        return Err(out_of_order(format!("fetch {} is not the next", fetched.number)));
    }
    if fetched.fetches.len() != payload.fetches.len() {
        return Err(out_of_order("the facts and the payload disagree".to_owned()));
    }
    Ok(true)
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
    match checks.phase {
        CheckPhase::Baseline => record_baseline(target, checks),
        CheckPhase::After | CheckPhase::Repair => record_judgement(job, target, checks),
    }
}

/// A baseline is how the base stands, and judges nothing.
fn record_baseline(target: &Target, checks: &ChecksRan) -> Result<IsNew, Rejection> {
    if target.baseline.is_some() {
        return Ok(false);
    }
    if target.scan.is_none_or(|scan| scan.tree != checks.tree) {
        return Err(out_of_order("a baseline is of the scanned base".to_owned()));
    }
    if checks.verdict.is_some() || checks.answers_finish {
        return Err(out_of_order("a baseline judges nothing".to_owned()));
    }
    Ok(true)
}

/// Checks of a claim's tree judge the claim, as they are asked to, and send it back only while
/// repairs are left.
fn record_judgement(job: &Job, target: &Target, checks: &ChecksRan) -> Result<IsNew, Rejection> {
    let Some(claim) = &target.claim else { return Ok(false) };
    if claim.tree != checks.tree {
        return Err(out_of_order("the checks ran on another tree".to_owned()));
    }
    if claim.checks.is_some() {
        return Ok(false);
    }
    let (phase, is_refusal) = match work(job, target) {
        NextStep::RunChecks { phase, .. } | NextStep::ReuseChecks { phase, .. } => (phase, false),
        NextStep::RefuseClaim { phase, .. } => (phase, true),
        _ => return Err(out_of_order("no checks are due".to_owned())),
    };
    if phase != checks.phase || is_refusal != (checks.verdict == Some(CheckVerdict::Refused)) {
        return Err(out_of_order("other checks are due".to_owned()));
    }
    let may_send_back = match checks.verdict {
        None => return Err(out_of_order("the checks judge nothing".to_owned())),
        Some(CheckVerdict::Passed | CheckVerdict::Unchecked) => false,
        Some(CheckVerdict::StillFailing | CheckVerdict::Failed | CheckVerdict::Refused) => {
            target.repairs < MAX_REPAIRS
        }
    };
    if checks.answers_finish && !may_send_back {
        return Err(out_of_order("no repair is left or needed".to_owned()));
    }
    Ok(true)
}

pub(super) fn record_review(
    job: &Job,
    review: &DiffReviewed,
    payload: &DiffReviewedPayload,
) -> Result<IsNew, Rejection> {
    let target = open_target(job, review.target)?;
    if review.answers_finish != payload.finish_result.is_some() {
        return Err(out_of_order("the facts and the payload disagree about `finish`".to_owned()));
    }
    let Some(claim) = &target.claim else { return Ok(false) };
    if claim.tree != review.tree {
        return Err(out_of_order("the review is of another tree".to_owned()));
    }
    if claim.review.is_some() {
        return Ok(false);
    }
    match work(job, target) {
        NextStep::ReadReview { thread } if thread == review.thread => {}
        _ => return Err(out_of_order(format!("thread {} has no verdict to read", review.thread))),
    }
    let may_send_back = match review.verdict {
        ReviewVerdict::Accept => false,
        ReviewVerdict::Object => target.repairs < MAX_REPAIRS,
    };
    if review.answers_finish && !may_send_back {
        return Err(out_of_order("no repair is left or needed".to_owned()));
    }
    Ok(true)
}
