//! Permits: one at a time, within the budgets, one last call, orphans charged in full.

use cody_events::ids::{TargetNumber, ThreadNumber};
use cody_events::job::{BudgetChanged, By, Created, Limits};
use cody_events::thread::{CallClass, CallFailed, CallPermitted, Purpose};

use super::build::*;
use super::given::{Given, given};
use super::stage::*;
use super::wishes::*;
use crate::job::RejectionCode::*;
use crate::job::{Money, NextStep};

/// A job of `targets` whose threads all wait for their first call.
fn reserving(on: On, turn: u32, reserved_micros: u64) -> CallPermitted {
    CallPermitted { reserved_micros, ..on.permitted(1, turn, 1) }
}

fn last(permit: CallPermitted) -> CallPermitted {
    CallPermitted { last: true, ..permit }
}

fn money(given: &Given, target: u32) -> Money {
    given.state.job.as_ref().unwrap().targets[&TargetNumber(target)].money
}

#[test]
fn one_call_at_a_time() {
    at(Stage::Threaded)
        .when(permit(ONE.permitted(1, 1, 1)))
        .then([ONE.permitted(1, 1, 1).into()])
        .when(permit(ONE.permitted(1, 1, 1)))
        .rejected(PermitOpen)
        .when(permit(ONE.permitted(1, 1, 2)))
        .rejected(PermitOpen);
}

#[test]
fn a_call_is_the_next_of_its_turn() {
    let given = at(Stage::Threaded);
    for (thread, turn, call) in [(1, 1, 2), (1, 2, 1), (2, 1, 1)] {
        given.clone().when(permit(ONE.permitted(thread, turn, call))).rejected(OutOfOrder);
    }
    given
        .and([ONE.permitted(1, 1, 1).into(), ONE.failed(1, 1, 1, CallClass::Overloaded).into()])
        .when(permit(ONE.permitted(1, 1, 1)))
        .rejected(OutOfOrder)
        .when(permit(ONE.permitted(1, 1, 2)))
        .then([ONE.permitted(1, 1, 2).into()]);
}

#[test]
fn no_call_while_something_else_is_due() {
    let next_turn = || permit(ONE.permitted(1, 2, 1));
    at(Stage::Answered).when(next_turn()).rejected(OutOfOrder);
    at(Stage::Claims).when(next_turn()).rejected(OutOfOrder);
    at(Stage::Reviewing).when(next_turn()).rejected(OutOfOrder);
    at(Stage::Accepted).when(next_turn()).rejected(OutOfOrder);
    at(Stage::Accepted).when(permit(ONE.permitted(2, 2, 1))).rejected(OutOfOrder);
}

#[test]
fn the_reservation_becomes_the_known_cost() {
    let in_call = at(Stage::InCall);
    let reserved = Money { reserved_micros: RESERVED, ..Money::default() };
    assert_eq!(money(&in_call, 1), reserved);
    let answered = in_call.when(record_turn(ONE.turn(1, 1))).accepted();
    assert_eq!(money(&answered, 1), Money { known_micros: COST, ..Money::default() });
}

#[test]
fn an_orphan_is_charged_in_full_as_assumed() {
    let orphaned =
        CallFailed { assumed_micros: RESERVED, ..ONE.failed(1, 1, 1, CallClass::Orphaned) };
    let settled = at(Stage::InCall)
        .when(fail(orphaned.clone()))
        .then([orphaned.clone().into()])
        .when(fail(orphaned))
        .already_recorded()
        .next_step(1, NextStep::Converse { thread: ThreadNumber(1) });
    assert_eq!(money(&settled, 1), Money { assumed_micros: RESERVED, ..Money::default() });
    settled.when(permit(ONE.permitted(1, 1, 2))).accepted();
}

#[test]
fn a_call_that_was_never_permitted_cannot_fail() {
    at(Stage::Threaded)
        .when(fail(ONE.failed(1, 1, 1, CallClass::Overloaded)))
        .rejected(NoSuchPermit);
    at(Stage::InCall)
        .when(fail(ONE.failed(1, 1, 2, CallClass::Overloaded)))
        .rejected(NoSuchPermit)
        .when(fail(ONE.failed(2, 1, 1, CallClass::Overloaded)))
        .rejected(NoSuchPermit);
    at(Stage::Answered).when(fail(ONE.failed(1, 1, 1, CallClass::Overloaded))).already_recorded();
}

#[test]
fn a_spent_budget_allows_exactly_one_last_call() {
    let spent = Limits { budget_micros: 500_000, ..limits() };
    talking(1, spent)
        .when(permit(reserving(ONE, 1, 500_001)))
        .rejected(BudgetSpent)
        .when(permit(last(reserving(ONE, 1, 500_001))))
        .accepted()
        .and([ONE.turn(1, 1).into(), ONE.tools(1, 1, BASE, 1).into()])
        // 400,000 are left, and a call within them is no overrun.
        .when(permit(last(reserving(ONE, 2, 400_001))))
        .rejected(BudgetSpent)
        .when(permit(reserving(ONE, 2, 400_000)))
        .accepted();
}

#[test]
fn a_raised_budget_allows_a_last_call_again() {
    let spent = Limits { budget_micros: 500_000, ..limits() };
    let raised = Limits { budget_micros: 600_000, ..limits() };
    talking(1, spent)
        .and([last(reserving(ONE, 1, 900_000)).into(), ONE.turn(1, 1).into()])
        .and([ONE.tools(1, 1, BASE, 1).into()])
        .when(permit(last(reserving(ONE, 2, 900_000))))
        .rejected(BudgetSpent)
        .and([BudgetChanged { limits: raised, by: By::Person }.into()])
        .when(permit(last(reserving(ONE, 2, 900_000))))
        .accepted();
}

#[test]
fn a_shared_budget_is_waited_for_while_others_hold_it() {
    let shared = Limits { job_budget_micros: Some(1_000_000), ..limits() };
    talking(2, shared)
        .and([reserving(On(1), 1, 900_000).into()])
        .when(permit(reserving(On(2), 1, 100_001)))
        .rejected(BudgetBusy)
        .when(permit(last(reserving(On(2), 1, 100_001))))
        .rejected(BudgetBusy)
        .when(permit(reserving(On(2), 1, 100_000)))
        .accepted()
        .and([On(1).turn(1, 1).into(), On(2).turn(1, 1).into()])
        .and([On(1).tools(1, 1, BASE, 1).into()])
        .when(permit(reserving(On(1), 2, 800_000)))
        .accepted();
}

#[test]
fn nobody_waits_for_others_when_the_own_budget_is_what_lacks() {
    let shared = Limits { budget_micros: 500_000, job_budget_micros: Some(1_000_000), ..limits() };
    let given = talking(2, shared).and([reserving(On(1), 1, 400_000).into()]);
    let others_hold = |given: &Given, target| {
        given.state.job.as_ref().unwrap().others_hold_permits(TargetNumber(target))
    };
    assert!(!others_hold(&given, 2));
    given.clone().when(permit(reserving(On(2), 1, 500_001))).rejected(BudgetSpent);
    given.when(permit(last(reserving(On(2), 1, 500_001)))).accepted();
    let without = talking(2, limits()).and([reserving(On(1), 1, 400_000).into()]);
    assert!(!others_hold(&without, 2));
}

#[test]
fn a_shared_budget_is_overrun_by_one_call_of_all_targets() {
    let shared = Limits { job_budget_micros: Some(500_000), ..limits() };
    let given = talking(3, shared)
        .when(permit(last(reserving(On(1), 1, 600_000))))
        .accepted()
        .and([On(1).turn(1, 1).into()]);
    // 400,000 of the job's budget are left, and its one overrun was made.
    let job = given.state.job.as_ref().unwrap();
    assert!(!job.allows_last_call(&job.targets[&TargetNumber(2)], 600_000));
    given
        .when(permit(last(reserving(On(2), 1, 600_000))))
        .rejected(BudgetSpent)
        .when(permit(reserving(On(2), 1, 400_000)))
        .accepted();
}

#[test]
fn caps_on_turns_and_tokens_hold_in_the_permit() {
    for limits in
        [Limits { max_turns: 1, ..limits() }, Limits { max_tokens: Some(1_000), ..limits() }]
    {
        talking(1, limits)
            .and(ONE.call(ONE.turn(1, 1)))
            .and([ONE.tools(1, 1, BASE, 1).into()])
            .when(permit(ONE.permitted(1, 2, 1)))
            .rejected(BudgetSpent)
            .when(permit(last(ONE.permitted(1, 2, 1))))
            .rejected(BudgetSpent);
    }
}

#[test]
fn a_review_needs_no_turn_of_the_cap() {
    let limits = Limits { max_turns: 1, ..limits() };
    given([Created { limits, ..created(1) }.into()])
        .and(way_to(ONE, Stage::Checked))
        .when(start_thread(ONE.thread(2, Purpose::Review, 1)))
        .accepted()
        .when(permit(ONE.permitted(2, 1, 1)))
        .accepted();
}
