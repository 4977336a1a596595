//! What people say of a diff binds to what they saw, and is said once.

use cody_events::diff::{ChangesRequested, DiffApproved, DiffRejected, JudgedDiff};
use cody_events::event::Event;
use cody_events::ids::{RoundNumber, ThreadNumber};
use cody_events::job::{Archived, By, Created, Limits, Policy, Unarchived};
use cody_events::outcome::{Outcome, ReopenReason, TargetReopened};
use cody_events::thread::{FinishOutcome, Purpose, StopReason};

use super::build::*;
use super::given::{Given, given};
use super::stage::*;
use super::wishes::*;
use crate::job::NextStep;
use crate::job::RejectionCode::*;

fn judged(on: u8, by: By) -> JudgedDiff {
    let diff = ONE.diff(on, false);
    JudgedDiff {
        target: ONE.number(),
        base_commit: diff.base_commit,
        tree: diff.tree,
        diff_hash: diff.diff_hash,
        by,
    }
}

/// A job whose one target has a diff that was judged good.
fn ready() -> Given {
    at(Stage::Accepted)
        .when(ONE.finish(Outcome::DiffReady, Some(ONE.diff(1, false))))
        .accepted()
        .and([ONE.ended(1, cody_events::attempt::AttemptEnd::Completed).into()])
}

fn reopened() -> Event {
    TargetReopened {
        target: ONE.number(),
        round: RoundNumber(2),
        why: ReopenReason::ChangesRequested,
        by: By::Person,
    }
    .into()
}

#[test]
fn a_diff_is_approved_once_and_by_its_hash() {
    ready()
        .when(approve(1, 9))
        .rejected(DiffMoved)
        .when(approve(1, 1))
        .then([DiffApproved(judged(1, By::Person)).into()])
        // The second of two who approve at once is told.
        .when(approve(1, 1))
        .rejected(AlreadyJudged)
        .when(reject(1, 1))
        .rejected(AlreadyJudged)
        .when(request_changes(1, 1, "More."))
        .rejected(AlreadyJudged);
}

#[test]
fn a_rejected_diff_can_be_sent_back_but_not_approved() {
    ready()
        .when(reject(1, 1))
        .then([DiffRejected(judged(1, By::Person)).into()])
        .when(approve(1, 1))
        .rejected(AlreadyJudged)
        .when(request_changes(1, 1, "Otherwise."))
        .accepted();
}

#[test]
fn only_what_there_is_can_be_judged() {
    at(Stage::Claims).when(approve(1, 1)).rejected(TargetOpen);
    at(Stage::Claims)
        .when(ONE.finish(Outcome::Failed, None))
        .accepted()
        .when(approve(1, 1))
        .rejected(NoDiff);
    ready().when(approve(2, 1)).rejected(NoSuchTarget);
    at(Stage::Claims).when(cancel()).accepted().when(approve(1, 1)).rejected(JobCancelled);
}

#[test]
fn a_partial_diff_is_approved_only_if_it_is_held_for_a_person() {
    at(Stage::Claims)
        .when(ONE.finish(Outcome::BudgetStopped, Some(ONE.diff(1, true))))
        .accepted()
        .when(approve(1, 1))
        .rejected(NotReviewable)
        .when(reject(1, 1))
        .accepted();
    let without_sandbox = cody_events::attempt::AttemptStarted {
        sandbox: cody_events::attempt::SandboxBackend::None,
        ..ONE.started(1)
    };
    at(Stage::Accepted)
        .and([without_sandbox.into()])
        .when(ONE.finish(Outcome::DiffReady, Some(ONE.diff(1, false))))
        .accepted()
        .when(approve(1, 1))
        .accepted();
}

#[test]
fn a_request_for_changes_is_the_next_message_of_the_same_thread() {
    let again = ready()
        .when(request_changes(1, 1, " "))
        .rejected(NoComment)
        .when(request_changes(1, 9, "More."))
        .rejected(DiffMoved)
        .when(request_changes(1, 1, "More."))
        .then([ChangesRequested(judged(1, By::Person)).into(), reopened()])
        .next_step(1, NextStep::Converse { thread: ThreadNumber(1) })
        .when(approve(1, 1))
        .rejected(TargetOpen);
    let diff = cody_events::diff::DiffProduced { round: RoundNumber(2), ..ONE.diff(2, false) };
    let mut review = ONE.thread(3, Purpose::Review, 2);
    review.round = RoundNumber(2);
    again
        .when(request(cody_events::attempt::AttemptRequested {
            round: RoundNumber(2),
            why: cody_events::attempt::AttemptReason::ChangesRequested,
            ..ONE.requested(2)
        }))
        .accepted()
        .and([ONE.started(2).into()])
        .and(ONE.finish_turn(2, (1, 2), FinishOutcome::Changed))
        .and([ONE.checked(2, cody_events::evidence::CheckVerdict::Passed).into(), review.into()])
        .and(ONE.call(ONE.said(3, 1, StopReason::EndTurn)))
        .and([ONE.reviewed(3, 2, cody_events::thread::ReviewVerdict::Accept).into()])
        .when(ONE.finish(Outcome::DiffReady, Some(diff)))
        .accepted()
        // What was looked at before is not what there is now.
        .when(approve(1, 1))
        .rejected(DiffMoved)
        .when(approve(1, 2))
        .accepted();
}

#[test]
fn changes_are_not_asked_for_without_money_for_a_call() {
    let poor = Limits { budget_micros: 300_000, ..limits() };
    given([Created { limits: poor, ..created(1) }.into()])
        .and(way_to(ONE, Stage::Accepted))
        .when(ONE.finish(Outcome::DiffReady, Some(ONE.diff(1, false))))
        .accepted()
        .when(request_changes(1, 1, "More."))
        .rejected(BudgetSpent);
}

#[test]
fn under_auto_nobody_is_asked_about_a_diff_that_has_nothing_against_it() {
    let auto = || {
        given([Created { policy: Policy::Auto, ..created(1) }.into()])
            .and(way_to(ONE, Stage::Accepted))
    };
    let approved: Event = DiffApproved(judged(1, By::Policy)).into();
    let events = |diff| auto().when(ONE.finish(Outcome::DiffReady, Some(diff))).drafts();
    let happened = events(ONE.diff(1, false));
    assert!(happened.iter().any(|draft| draft.event == approved));
    let secret = cody_events::diff::DiffProduced { secret_count: 1, ..ONE.diff(1, false) };
    assert!(!events(secret).iter().any(|draft| matches!(draft.event, Event::DiffApproved(_))));
}

#[test]
fn a_finished_job_is_archived_and_back() {
    at(Stage::Claims).when(archive(true)).rejected(JobUnfinished);
    ready()
        .when(archive(false))
        .already_recorded()
        .when(archive(true))
        .then([Archived { by: By::Person }.into()])
        .when(archive(true))
        .already_recorded()
        .when(archive(false))
        .then([Unarchived { by: By::Person }.into()]);
}
