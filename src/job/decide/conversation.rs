//! Whether a conversation may be opened, a call made, a response and the work of its tools recorded.
//! Prices and request hashes travel in the permit; nothing is reckoned here but what is left.

use cody_events::event::Draft;
use cody_events::raw::RawJson;
use cody_events::thread::{
    CallFailed, CallPermitted, CallPermittedPayload, ClaudeTurn, Purpose, ThreadStarted, ToolsRan,
};

use super::{IsNew, draft, find_target, held_by, open_target, out_of_order};
use crate::job::next_step::{Conclusion, NextStep, work};
use crate::job::rejection::{Rejection, RejectionCode};
use crate::job::state::{Job, Target};

pub(super) fn start_thread(job: &Job, start: &ThreadStarted) -> Result<IsNew, Rejection> {
    let target = open_target(job, start.target)?;
    if start.thread <= target.latest_thread {
        return Ok(false);
    }
    if start.thread != target.latest_thread.next() {
        return Err(out_of_order(format!("the next thread is {}", target.latest_thread.next())));
    }
    match work(job, target) {
        NextStep::StartThread { purpose, .. } if purpose == start.purpose => {}
        _ if is_open(target, start.purpose) => return Ok(false),
        _ => return Err(out_of_order("no such conversation is to be opened now".to_owned())),
    }
    if Some(start.tree) != target.tree || start.round != target.round || target.permit.is_some() {
        return Err(out_of_order("the conversation starts from another state".to_owned()));
    }
    Ok(true)
}

/// Whether the conversation that somebody wants to open for `purpose` is there: two that ask at
/// once get one.
fn is_open(target: &Target, purpose: Purpose) -> bool {
    let change = target.change.as_ref();
    match purpose {
        Purpose::Change => change.is_some(),
        Purpose::Fresh => change.is_some_and(|thread| thread.purpose == Purpose::Fresh),
        Purpose::Review => target
            .review
            .as_ref()
            .zip(target.claim.as_ref())
            .is_some_and(|(review, claim)| review.tree == claim.tree),
    }
}

pub(super) fn permit_call(
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
    if thread.and_then(|thread| thread.progress.due_warning(permit.turn)) != permit.warning {
        return Err(out_of_order("the call warns of what is not so".to_owned()));
    }
    check_wanted(job, target, permit)?;
    check_affordable(job, target, permit)?;
    Ok(vec![if notice.is_empty() {
        Draft::bare(permit.clone())
    } else {
        draft(permit.clone(), &CallPermittedPayload { notice: notice.to_vec() })
    }])
}

/// A call is made only where the rules want this thread's next response.
fn check_wanted(job: &Job, target: &Target, permit: &CallPermitted) -> Result<(), Rejection> {
    match work(job, target) {
        NextStep::Converse { thread } if thread == permit.thread => Ok(()),
        NextStep::Conclude { why: Conclusion::LimitSpent(_), .. } => Err(Rejection::new(
            RejectionCode::BudgetSpent,
            format!("A limit of target {} is reached.", target.number),
            "Raise the limit to go on from here.",
        )),
        _ => Err(out_of_order(format!("thread {} is not to go on", permit.thread))),
    }
}

/// A call fits the budget, or is the one last call that a spent budget allows.
fn check_affordable(job: &Job, target: &Target, permit: &CallPermitted) -> Result<(), Rejection> {
    let remaining = job.remaining_micros(target);
    let reserved = permit.reserved_micros;
    if reserved <= remaining {
        return Ok(());
    }
    let fits_own = reserved <= job.own_remaining_micros(target);
    let fits_shared = job.shared_remaining_micros().is_none_or(|shared| reserved <= shared);
    let may_be_last = permit.last && !target.last_call_made;
    if !fits_shared && job.has_other_permits(target.number) && (fits_own || may_be_last) {
        return Err(Rejection::new(
            RejectionCode::BudgetBusy,
            "The rest of the job's budget is set aside for calls in flight.",
            "Ask again when one of them is answered.",
        ));
    }
    if permit.last && job.allows_last_call(target, reserved) {
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

pub(super) fn fail_call(job: &Job, failure: &CallFailed) -> Result<IsNew, Rejection> {
    let target = find_target(job, failure.target)?;
    let is_permitted = target.permit.is_some_and(|permit| {
        (permit.thread, permit.turn, permit.call) == (failure.thread, failure.turn, failure.call)
    });
    if is_permitted {
        return Ok(true);
    }
    // Threads that are no longer the target's have no call that is still to come.
    let is_to_come = failure.thread > target.latest_thread
        || target.thread(failure.thread).is_some_and(|thread| {
            (failure.turn, failure.call) >= (thread.next_turn, thread.next_call)
        });
    if is_to_come {
        return Err(Rejection::new(
            RejectionCode::NoSuchPermit,
            format!("No call {} of turn {} was permitted.", failure.call, failure.turn),
            "Ask for a permit first.",
        ));
    }
    Ok(false)
}

/// A response is recorded whenever it matches its permit, late or not: it is paid for.
pub(super) fn record_turn(job: &Job, turn: &ClaudeTurn) -> Result<IsNew, Rejection> {
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

pub(super) fn record_tools(job: &Job, tools: &ToolsRan) -> Result<IsNew, Rejection> {
    let target = find_target(job, tools.target)?;
    let Some(thread) = target.change.as_ref().filter(|thread| thread.number == tools.thread) else {
        return Err(out_of_order(format!("thread {} has no tools", tools.thread)));
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
    if tools.interrupted && tools.tree_after != tools.tree_before {
        return Err(out_of_order("interrupted tools leave the tree as it was".to_owned()));
    }
    Ok(true)
}
