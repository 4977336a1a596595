//! What people say of a diff: yes, no, or otherwise. Each word binds to the diff that was seen, and is
//! said once.

use cody_events::diff::{ChangesRequested, CommentPayload, DiffApproved, DiffRejected, JudgedDiff};
use cody_events::event::Draft;
use cody_events::job::{Archived, By, Unarchived};
use cody_events::outcome::{Outcome, ReopenReason};

use super::control::{may_go_on, reopened_draft};
use super::{draft, find_target, job_cancelled};
use crate::job::command::{RequestChanges, ReviewedDiff};
use crate::job::create::dollars;
use crate::job::rejection::{Rejection, RejectionCode};
use crate::job::state::{DiffVerdict, Job, ProducedDiff, Target};

/// Longer comments are documents, and belong into a file.
const MAX_COMMENT_BYTES: usize = 64 * 1024;

pub(super) fn approve(job: &Job, reviewed: &ReviewedDiff) -> Result<Vec<Draft>, Rejection> {
    let (target, diff) = seen(job, reviewed)?;
    check_unjudged(target)?;
    if target.outcome != Some(Outcome::DiffReady) && !target.held {
        return Err(Rejection::new(
            RejectionCode::NotReviewable,
            format!(
                "Target {} ended as {}; its diff is partial.",
                target.number,
                target.outcome.map_or("unfinished", Outcome::name)
            ),
            "Request changes, raise the limit that stopped it, or retry it.",
        ));
    }
    Ok(vec![draft(DiffApproved(judged(target, diff, reviewed.by)?), &comment(reviewed))])
}

pub(super) fn reject(job: &Job, reviewed: &ReviewedDiff) -> Result<Vec<Draft>, Rejection> {
    let (target, diff) = seen(job, reviewed)?;
    check_unjudged(target)?;
    Ok(vec![draft(DiffRejected(judged(target, diff, reviewed.by)?), &comment(reviewed))])
}

/// The comment is the next thing that Claude reads in the same thread.
pub(super) fn request_changes(
    job: &Job,
    request: &RequestChanges,
) -> Result<Vec<Draft>, Rejection> {
    let reviewed = &request.reviewed;
    let (target, diff) = seen(job, reviewed)?;
    if target.verdict == Some(DiffVerdict::Approved) {
        return Err(already_judged(target, "approved"));
    }
    if reviewed.comment.trim().is_empty() {
        return Err(Rejection::new(
            RejectionCode::NoComment,
            "A request for changes has to say what to change.",
            "Write a comment; Claude reads it as the next message.",
        ));
    }
    check_can_go_on(job, target, request.floor_call_micros)?;
    let told = CommentPayload { finish_result: Some(request.block.clone()), ..comment(reviewed) };
    Ok(vec![
        draft(ChangesRequested(judged(target, diff, reviewed.by)?), &told),
        reopened_draft(target, ReopenReason::ChangesRequested, reviewed.by, &reviewed.comment),
    ])
}

pub(super) fn archive(job: &Job, archived: bool, by: By) -> Result<Vec<Draft>, Rejection> {
    if !job.finished && !job.cancelled && archived {
        return Err(Rejection::new(
            RejectionCode::JobUnfinished,
            "The job is not finished.",
            "Wait for its end, or cancel it.",
        ));
    }
    Ok(match (job.archived, archived) {
        (false, true) => vec![Draft::bare(Archived { by })],
        (true, false) => vec![Draft::bare(Unarchived { by })],
        (true, true) | (false, false) => Vec::new(),
    })
}

/// The diff that was looked at, if it is still the target's.
fn seen<'j>(
    job: &'j Job,
    reviewed: &ReviewedDiff,
) -> Result<(&'j Target, ProducedDiff), Rejection> {
    let target = find_target(job, reviewed.target)?;
    if job.cancelled {
        return Err(job_cancelled());
    }
    if reviewed.comment.len() > MAX_COMMENT_BYTES {
        return Err(Rejection::new(
            RejectionCode::CommentTooLong,
            format!(
                "The comment has {} bytes; the limit is {MAX_COMMENT_BYTES}.",
                reviewed.comment.len()
            ),
            "Shorten it.",
        ));
    }
    if target.outcome.is_none() {
        return Err(Rejection::new(
            RejectionCode::TargetOpen,
            format!(
                "Target {} is at work again, so this diff is not its last word.",
                target.number
            ),
            "Wait for its end, and look at the diff that it has then.",
        ));
    }
    let Some(diff) = target.diff else {
        return Err(Rejection::new(
            RejectionCode::NoDiff,
            format!("Target {} has no diff.", target.number),
            "There is nothing to review; `show` says how it ended.",
        ));
    };
    if diff.diff_hash != reviewed.diff_hash {
        return Err(Rejection::new(
            RejectionCode::DiffMoved,
            format!(
                "The diff of target {} is another by now: its hash is {}.",
                target.number, diff.diff_hash
            ),
            "Look at the new diff and decide again.",
        ));
    }
    Ok((target, diff))
}

fn check_unjudged(target: &Target) -> Result<(), Rejection> {
    match target.verdict {
        None => Ok(()),
        Some(DiffVerdict::Approved) => Err(already_judged(target, "approved")),
        Some(DiffVerdict::Rejected) => Err(already_judged(target, "rejected")),
    }
}

fn already_judged(target: &Target, how: &str) -> Rejection {
    Rejection::new(
        RejectionCode::AlreadyJudged,
        format!("This diff of target {} was {how} already.", target.number),
        match how {
            "rejected" => "Request changes, or retry the target, for another diff.",
            _ => "Nothing is left to decide.",
        },
    )
}

/// Whether the same conversation can take another message and be paid for.
fn check_can_go_on(job: &Job, target: &Target, floor_call_micros: u64) -> Result<(), Rejection> {
    let is_open = match target.outcome {
        Some(
            Outcome::DiffReady
            | Outcome::FailedChecks
            | Outcome::Objected
            | Outcome::BudgetStopped
            | Outcome::Stuck,
        ) => target
            .change
            .as_ref()
            .is_some_and(|thread| !thread.is_refused_prefix && thread.tools_open.is_none()),
        Some(
            Outcome::AlreadyCompliant
            | Outcome::NotApplicable
            | Outcome::Refused
            | Outcome::Failed
            | Outcome::Cancelled,
        )
        | None => false,
    };
    if !is_open {
        return Err(Rejection::new(
            RejectionCode::NotReviewable,
            format!("The conversation about target {} cannot go on.", target.number),
            "Retry the target; it then starts over.",
        ));
    }
    if !may_go_on(job, target, floor_call_micros) {
        return Err(Rejection::new(
            RejectionCode::BudgetSpent,
            format!(
                "Target {} has used up its limits: {} are left, and its next call may cost {}.",
                target.number,
                dollars(job.remaining_micros(target)),
                dollars(floor_call_micros)
            ),
            "Raise them with `resume --budget-usd`, or `--max-turns`, and ask again.",
        ));
    }
    Ok(())
}

fn judged(target: &Target, diff: ProducedDiff, by: By) -> Result<JudgedDiff, Rejection> {
    let base = target.base.as_ref().ok_or_else(|| {
        Rejection::new(
            RejectionCode::NoDiff,
            format!("Target {} has no base.", target.number),
            "Retry the target.",
        )
    })?;
    Ok(JudgedDiff {
        target: target.number,
        base_commit: base.commit,
        tree: diff.tree,
        diff_hash: diff.diff_hash,
        by,
    })
}

fn comment(reviewed: &ReviewedDiff) -> CommentPayload {
    CommentPayload { comment: reviewed.comment.clone(), finish_result: None }
}
