//! What becomes of a claim: checks, repairs, the review, claims that the tree does not bear out.

use cody_events::evidence::{CheckPhase, CheckSkip, CheckVerdict, ChecksRan};
use cody_events::ids::{ThreadNumber, TurnNumber};
use cody_events::outcome::Outcome;
use cody_events::thread::{
    CallClass, DiffReviewed, FinishOutcome, Purpose, ReviewVerdict, StopReason,
};

use super::build::*;
use super::given::Given;
use super::stage::*;
use super::wishes::*;
use crate::job::RejectionCode::OutOfOrder;
use crate::job::{ClaimProblem, Conclusion, NextStep};

const CONVERSE: NextStep = NextStep::Converse { thread: ThreadNumber(1) };

fn conclude(outcome: Outcome, why: Conclusion) -> NextStep {
    NextStep::Conclude { outcome, why }
}

fn run_checks(phase: CheckPhase, number: u8) -> NextStep {
    NextStep::RunChecks { phase, tree: tree(number) }
}

/// Claims `finish` at once, with a tree that differs from the base or not.
fn claims(finish: FinishOutcome, after: u8) -> Given {
    at(Stage::Threaded).and(ONE.finish_turn(1, (BASE, after), finish))
}

/// The claim of turn `turn` about tree `number` fails its checks and is sent back.
fn failed(number: u8, phase: CheckPhase) -> ChecksRan {
    ChecksRan { phase, ..ONE.checked(number, CheckVerdict::Failed) }
}

#[test]
fn failed_checks_are_repaired_twice_and_no_more() {
    let last = ChecksRan { answers_finish: false, ..failed(3, CheckPhase::Repair) };
    at(Stage::Claims)
        .next_step(1, run_checks(CheckPhase::After, 1))
        .when(record_checks(failed(1, CheckPhase::After)))
        .accepted()
        .next_step(1, CONVERSE)
        .and(ONE.finish_turn(2, (1, 2), FinishOutcome::Changed))
        .next_step(1, run_checks(CheckPhase::Repair, 2))
        .when(record_checks(failed(2, CheckPhase::Repair)))
        .accepted()
        .and(ONE.finish_turn(3, (2, 3), FinishOutcome::Changed))
        .next_step(1, run_checks(CheckPhase::Repair, 3))
        .when(record_checks(failed(3, CheckPhase::Repair)))
        .rejected(OutOfOrder)
        .when(record_checks(last.clone()))
        .then([last.into()])
        .next_step(1, conclude(Outcome::FailedChecks, Conclusion::ChecksFail));
}

#[test]
fn the_same_tree_is_not_checked_twice() {
    let again = ChecksRan { skipped: Some(CheckSkip::SameTree), ..failed(1, CheckPhase::Repair) };
    let reuse =
        |verdict| NextStep::ReuseChecks { phase: CheckPhase::Repair, tree: tree(1), verdict };
    at(Stage::Claims)
        .when(record_checks(failed(1, CheckPhase::After)))
        .accepted()
        .and(ONE.finish_turn(2, (1, 1), FinishOutcome::Changed))
        .next_step(1, reuse(CheckVerdict::Failed))
        .when(record_checks(again))
        .accepted()
        .next_step(1, CONVERSE);
    // The review objected to a tree that passed; it passes still, and is reviewed afresh.
    at(Stage::ReviewAnswered)
        .when(record_review(ONE.reviewed(2, 1, ReviewVerdict::Object)))
        .accepted()
        .and(ONE.finish_turn(2, (1, 1), FinishOutcome::Changed))
        .next_step(1, reuse(CheckVerdict::Passed))
        .when(record_checks(ChecksRan {
            skipped: Some(CheckSkip::SameTree),
            phase: CheckPhase::Repair,
            ..ONE.checked(1, CheckVerdict::Passed)
        }))
        .accepted()
        .next_step(
            1,
            NextStep::StartThread { purpose: Purpose::Review, parent: Some(ThreadNumber(1)) },
        );
}

#[test]
fn checks_that_could_not_run_are_said_and_reviewed() {
    for skipped in [CheckSkip::NoCommands, CheckSkip::NoSandbox] {
        let unchecked =
            ChecksRan { skipped: Some(skipped), ..ONE.checked(1, CheckVerdict::Unchecked) };
        at(Stage::Claims).when(record_checks(unchecked)).accepted().next_step(
            1,
            NextStep::StartThread { purpose: Purpose::Review, parent: Some(ThreadNumber(1)) },
        );
    }
}

#[test]
fn what_failed_before_and_fails_still_is_sent_back_and_then_reviewed() {
    let verdict = CheckVerdict::StillFailing;
    let sent_back = ChecksRan { answers_finish: true, ..ONE.checked(1, verdict) };
    let given = at(Stage::Claims)
        .when(record_checks(sent_back))
        .accepted()
        .next_step(1, CONVERSE)
        .and(ONE.finish_turn(2, (1, 1), FinishOutcome::Changed));
    let phase = CheckPhase::Repair;
    given
        .next_step(1, NextStep::ReuseChecks { phase, tree: tree(1), verdict })
        .when(record_checks(ChecksRan { phase, ..ONE.checked(1, verdict) }))
        .accepted()
        .when(start_thread(ONE.thread(2, Purpose::Review, 1)))
        .accepted()
        .and(ONE.call(ONE.said(2, 1, StopReason::EndTurn)))
        .when(record_review(ONE.reviewed(2, 1, ReviewVerdict::Accept)))
        .accepted()
        .next_step(1, conclude(Outcome::DiffReady, Conclusion::ReviewAccepted));
}

#[test]
fn objections_are_repaired_twice_and_then_held_against_the_diff() {
    let round = |given: Given, thread: u32, turn: u32, (before, after): (u8, u8)| {
        given
            .and(ONE.finish_turn(turn, (before, after), FinishOutcome::Changed))
            .and([ONE.checked(after, CheckVerdict::Passed).into()])
            .and([ONE.thread(thread, Purpose::Review, after).into()])
            .and(ONE.call(ONE.said(thread, 1, StopReason::EndTurn)))
            .next_step(1, NextStep::ReadReview { thread: ThreadNumber(thread) })
    };
    let objects = |thread, on| ONE.reviewed(thread, on, ReviewVerdict::Object);
    let given = at(Stage::ReviewAnswered)
        .when(record_review(objects(2, 1)))
        .accepted()
        .next_step(1, CONVERSE);
    let given = round(given, 3, 2, (1, 2)).when(record_review(objects(3, 2))).accepted();
    let last = DiffReviewed { answers_finish: false, ..objects(4, 3) };
    round(given, 4, 3, (2, 3))
        .when(record_review(objects(4, 3)))
        .rejected(OutOfOrder)
        .when(record_review(last.clone()))
        .then([last.into()])
        .next_step(1, conclude(Outcome::Objected, Conclusion::ReviewObjects));
}

#[test]
fn repairs_by_checks_and_by_review_are_counted_together() {
    at(Stage::Claims)
        .when(record_checks(failed(1, CheckPhase::After)))
        .accepted()
        .and(ONE.finish_turn(2, (1, 2), FinishOutcome::Changed))
        .and([ONE.checked(2, CheckVerdict::Passed).into()])
        .and([ONE.thread(2, Purpose::Review, 2).into()])
        .and(ONE.call(ONE.said(2, 1, StopReason::EndTurn)))
        .when(record_review(ONE.reviewed(2, 2, ReviewVerdict::Object)))
        .accepted()
        .and(ONE.finish_turn(3, (2, 3), FinishOutcome::Changed))
        .when(record_checks(failed(3, CheckPhase::Repair)))
        .rejected(OutOfOrder);
}

#[test]
fn a_claim_that_the_tree_does_not_bear_out_is_refused() {
    let refuse = |number, phase, why| NextStep::RefuseClaim { phase, tree: tree(number), why };
    let refused = |number, phase| ChecksRan {
        phase,
        skipped: Some(CheckSkip::ClaimRefused),
        answers_finish: true,
        ..ONE.checked(number, CheckVerdict::Refused)
    };
    for (finish, number, why) in [
        (FinishOutcome::Changed, BASE, ClaimProblem::NothingChanged),
        (FinishOutcome::AlreadyCompliant, 1, ClaimProblem::SomethingChanged),
        (FinishOutcome::NotApplicable, 1, ClaimProblem::SomethingChanged),
    ] {
        claims(finish, number)
            .next_step(1, refuse(number, CheckPhase::After, why))
            .when(record_checks(refused(number, CheckPhase::After)))
            .accepted()
            .next_step(1, CONVERSE)
            .and(ONE.finish_turn(2, (number, number), finish))
            .next_step(1, refuse(number, CheckPhase::Repair, why))
            .when(record_checks(refused(number, CheckPhase::Repair)))
            .accepted()
            .and(ONE.finish_turn(3, (number, number), finish))
            .next_step(1, conclude(Outcome::Stuck, Conclusion::ClaimUnfounded));
    }
    // A refusal that could not be told Claude ends the work, too.
    let untold = ChecksRan { answers_finish: false, ..refused(BASE, CheckPhase::After) };
    claims(FinishOutcome::Changed, BASE)
        .when(record_checks(untold))
        .accepted()
        .next_step(1, conclude(Outcome::Stuck, Conclusion::ClaimUnfounded));
}

#[test]
fn a_change_taken_back_is_no_change() {
    at(Stage::Answered)
        .and([ONE.tools(1, 1, BASE, 1).into()])
        .and(ONE.finish_turn(2, (1, BASE), FinishOutcome::AlreadyCompliant))
        .next_step(1, conclude(Outcome::AlreadyCompliant, Conclusion::ClaimStands));
}

#[test]
fn claims_that_need_no_diff_stand_as_they_are() {
    claims(FinishOutcome::AlreadyCompliant, BASE)
        .next_step(1, conclude(Outcome::AlreadyCompliant, Conclusion::ClaimStands));
    claims(FinishOutcome::NotApplicable, BASE)
        .next_step(1, conclude(Outcome::NotApplicable, Conclusion::ClaimStands));
    for number in [BASE, 1] {
        claims(FinishOutcome::Cannot, number)
            .next_step(1, conclude(Outcome::Stuck, Conclusion::ClaimStands));
    }
}

#[test]
fn a_review_goes_on_until_it_speaks() {
    let read = NextStep::ReadReview { thread: ThreadNumber(2) };
    let go_on = NextStep::Converse { thread: ThreadNumber(2) };
    let said = |stops: &[StopReason]| {
        (1..).zip(stops).fold(at(Stage::Reviewing), |given, (turn, stop)| {
            given.and(ONE.call(ONE.said(2, turn, *stop)))
        })
    };
    use StopReason::*;
    for stop in [EndTurn, StopSequence, ToolUse, Refusal, ModelContextWindowExceeded, Unknown] {
        said(&[stop]).next_step(1, read.clone());
    }
    said(&[PauseTurn]).next_step(1, go_on.clone());
    said(&[MaxTokens, MaxTokens]).next_step(1, go_on.clone());
    said(&[MaxTokens, MaxTokens, MaxTokens]).next_step(1, read.clone());
    said(&[PauseTurn; 7]).next_step(1, go_on);
    said(&[PauseTurn; 8]).next_step(1, read.clone());
    // The provider does not take the review's prefix: it stays silent, and silence never accepts.
    at(Stage::InReviewCall)
        .and([ONE.failed(2, 1, 1, CallClass::BoundElsewhere).into()])
        .next_step(1, read);
}

#[test]
fn tools_asked_for_beside_finish_run_first() {
    let given = at(Stage::Claims);
    let claim = given.state.job.as_ref().unwrap().targets[&ONE.number()].claim.clone().unwrap();
    assert_eq!((claim.thread, claim.turn), (ThreadNumber(1), TurnNumber(1)));
    assert_eq!(claim.tree, tree(1));
}
