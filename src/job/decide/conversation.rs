//! Whether a conversation may be opened, a call made, a response and the work of its tools recorded.
//! Prices and request hashes travel in the permit; nothing is reckoned here but what is left.

use cody_events::event::Draft;
use cody_events::raw::RawJson;
use cody_events::thread::{
    CallFailed, CallPermitted, CallPermittedPayload, ClaudeTurn, ThreadStarted, ToolsRan,
};

use super::{IsNew, draft, find_target, held_by, open_target, out_of_order};
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
    Ok(true)
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

pub(super) fn fail_call(job: &Job, failure: &CallFailed) -> Result<IsNew, Rejection> {
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
