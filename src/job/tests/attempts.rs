//! Who may work on a target: requests, claims, fences, losses.

use cody_events::attempt::{AttemptEnd, AttemptReason, AttemptStarted, Base};
use cody_events::evidence::CheckVerdict;
use cody_events::ids::{AttemptNumber, TargetNumber, ThreadNumber, TurnNumber};
use cody_events::job::{By, Paused, Resumed};
use cody_events::thread::{FinishOutcome, StopReason, ToolsRan};

use super::build::*;
use super::given::given;
use super::stage::*;
use super::wishes::*;
use crate::job::RejectionCode::*;
use crate::job::{Command, Leave, NextStep};

#[test]
fn a_worker_is_asked_for_once() {
    given([created(1).into()])
        .when(request(ONE.requested(1)))
        .then([ONE.requested(1).into()])
        .when(request(ONE.requested(1)))
        .already_recorded()
        .when(request(ONE.requested(2)))
        .rejected(AttemptOpen);
}

#[test]
fn a_base_never_changes_within_a_round() {
    let mut moved = ONE.requested(2);
    moved.base = Base { commit: tree(0xee), ..ONE.base() };
    at(Stage::Claimed)
        .and([ONE.ended(1, AttemptEnd::Lost).into()])
        .when(request(moved))
        .rejected(OutOfOrder)
        .when(request(ONE.requested(2)))
        .then([ONE.requested(2).into()]);
}

#[test]
fn a_target_that_is_not_there_is_named() {
    given([created(2).into()]).when(request(On(3).requested(1))).rejected(NoSuchTarget);
    given([created(2).into()]).next_step(3, NextStep::Leave(Leave::Finished));
}

#[test]
fn the_first_claim_wins_and_its_number_fences() {
    let other = AttemptStarted { attempt: AttemptNumber(2), ..ONE.started(1) };
    at(Stage::Requested)
        .when(Command::ClaimAttempt(other.clone()))
        .rejected(OutOfOrder)
        .when(Command::ClaimAttempt(ONE.started(1)))
        .then([ONE.started(1).into()])
        .when(Command::ClaimAttempt(ONE.started(1)))
        .already_recorded()
        .when(Command::ClaimAttempt(other))
        .rejected(Fenced)
        .when(Command::ClaimAttempt(ONE.started(2)))
        .rejected(NoSuchRequest);
}

#[test]
fn a_fenced_worker_records_nothing() {
    let replaced = |stage| {
        at(stage).and([
            ONE.ended(1, AttemptEnd::Lost).into(),
            ONE.requested(2).into(),
            ONE.started(2).into(),
        ])
    };
    replaced(Stage::Claimed).when(record_scan(ONE.scanned())).rejected(Fenced);
    replaced(Stage::Scanned).when(record_checks(ONE.baseline())).rejected(Fenced);
    replaced(Stage::Answered).when(record_tools(ONE.tools(1, 1, BASE, 1))).rejected(Fenced);
    replaced(Stage::Claims)
        .when(record_checks(ONE.checked(1, CheckVerdict::Passed)))
        .rejected(Fenced);
    replaced(Stage::Claims)
        .when(Command::ClaimAttempt(ONE.started(1)))
        .rejected(NoSuchRequest)
        .when(end(ONE.ended(1, AttemptEnd::Fenced)))
        .already_recorded();
}

#[test]
fn the_next_attempt_goes_on_where_the_log_ends() {
    let lost =
        [ONE.ended(1, AttemptEnd::Lost).into(), ONE.requested(2).into(), ONE.started(2).into()];
    let again = ToolsRan { attempt: AttemptNumber(2), ..ONE.tools(1, 1, BASE, 1) };
    at(Stage::Answered)
        .and(lost)
        .next_step(1, NextStep::RunTools { thread: ThreadNumber(1), turn: TurnNumber(1) })
        .when(record_tools(again.clone()))
        .then([again.into()])
        .next_step(1, NextStep::Converse { thread: ThreadNumber(1) });
}

#[test]
fn a_loss_says_why_the_next_attempt_is_needed() {
    let cases = [
        (AttemptEnd::Lost, AttemptReason::Lost, 1),
        (AttemptEnd::Crashed, AttemptReason::Lost, 1),
        (AttemptEnd::Interrupted, AttemptReason::Resumed, 0),
        // Nothing was left to do, and yet the target is open.
        (AttemptEnd::Completed, AttemptReason::Lost, 1),
        // It says that another holds the target, and none does.
        (AttemptEnd::Fenced, AttemptReason::Lost, 1),
    ];
    for (how, why, losses) in cases {
        let after = at(Stage::Claimed).when(end(ONE.ended(1, how))).accepted();
        let target = &after.state.job.as_ref().unwrap().targets[&TargetNumber(1)];
        let seen = (target.next_attempt, target.fruitless_losses, target.request.clone());
        assert_eq!(seen, (why, losses, None), "{how:?}");
    }
}

#[test]
fn losses_count_until_a_turn_is_recorded() {
    let mut given = at(Stage::Threaded).and([ONE.ended(1, AttemptEnd::Lost).into()]);
    for attempt in 2..5 {
        given = given.and([
            ONE.requested(attempt).into(),
            ONE.started(attempt).into(),
            ONE.ended(attempt, AttemptEnd::Crashed).into(),
        ]);
    }
    let losses = |given: &super::given::Given| {
        given.state.job.as_ref().unwrap().targets[&TargetNumber(1)].fruitless_losses
    };
    assert_eq!(losses(&given), 4);
    given = given.and(ONE.call(ONE.said(1, 1, StopReason::EndTurn)));
    assert_eq!(losses(&given), 0);
}

#[test]
fn tools_lost_twice_are_answered_for_by_the_server() {
    let turn = TurnNumber(1);
    let thread = ThreadNumber(1);
    let interrupted =
        ToolsRan { attempt: AttemptNumber(3), interrupted: true, ..ONE.tools(1, 1, BASE, BASE) };
    let changed = ToolsRan { tree_after: tree(1), ..interrupted.clone() };
    at(Stage::Answered)
        .and([
            ONE.ended(1, AttemptEnd::Lost).into(),
            ONE.requested(2).into(),
            ONE.started(2).into(),
        ])
        .next_step(1, NextStep::RunTools { thread, turn })
        .and([
            ONE.ended(2, AttemptEnd::Crashed).into(),
            ONE.requested(3).into(),
            ONE.started(3).into(),
        ])
        .next_step(1, NextStep::InterruptTools { thread, turn })
        .when(record_tools(changed))
        .rejected(OutOfOrder)
        .when(record_tools(interrupted.clone()))
        .then([interrupted.into()])
        .next_step(1, NextStep::Converse { thread });
}

#[test]
fn an_unclaimed_request_that_ends_costs_no_tools() {
    let mut unclaimed = ONE.ended(2, AttemptEnd::Lost);
    unclaimed.attempt = None;
    at(Stage::Answered)
        .and([ONE.ended(1, AttemptEnd::Lost).into(), ONE.requested(2).into()])
        .when(end(unclaimed.clone()))
        .then([unclaimed.into()])
        .and([ONE.requested(3).into(), ONE.started(3).into()])
        .next_step(1, NextStep::RunTools { thread: ThreadNumber(1), turn: TurnNumber(1) });
}

#[test]
fn a_pause_stops_calls_and_workers_and_ends_nothing() {
    let paused = |target| Paused { target, by: By::Person };
    let resumed = |target| Resumed { target, by: By::Person };
    for target in [None, Some(TargetNumber(1))] {
        at(Stage::Threaded)
            .and([paused(target).into()])
            .next_step(1, NextStep::Leave(Leave::Paused))
            .when(permit(ONE.permitted(1, 1, 1)))
            .rejected(JobPaused)
            .when(end(ONE.ended(1, AttemptEnd::Interrupted)))
            .accepted()
            .when(request(ONE.requested(2)))
            .rejected(JobPaused)
            .and([resumed(target).into()])
            .when(request(ONE.requested(2)))
            .accepted()
            .next_step(1, NextStep::Converse { thread: ThreadNumber(1) });
    }
    // What was in flight is still recorded.
    at(Stage::InCall)
        .and([paused(None).into()])
        .when(record_turn(ONE.turn(1, 1)))
        .accepted()
        .when(record_tools(ToolsRan {
            finish: Some(FinishOutcome::Changed),
            ..ONE.tools(1, 1, BASE, 1)
        }))
        .accepted()
        .next_step(1, NextStep::Leave(Leave::Paused));
}
