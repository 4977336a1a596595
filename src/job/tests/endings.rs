//! How targets and jobs end: successes are borne out, sums close, nothing ends twice.

use cody_events::attempt::{AttemptStarted, SandboxBackend};
use cody_events::diff::{CommentPayload, DiffProduced, JudgedDiff, TargetHeld};
use cody_events::digest::Sha256;
use cody_events::event::Event;
use cody_events::evidence::{CheckSkip, CheckVerdict, ChecksRan};
use cody_events::ids::{RoundNumber, TargetNumber, ThreadNumber};
use cody_events::job::{By, Cancelled};
use cody_events::outcome::{
    Finished, FinishedTarget, Outcome, ReopenReason, TargetFinished, TargetReopened,
};
use cody_events::policy::PathClass;
use cody_events::thread::{DiffReviewed, FinishOutcome, Purpose, ReviewVerdict, StopReason};

use super::build::*;
use super::given::{Given, given};
use super::stage::*;
use super::wishes::*;
use crate::job::RejectionCode::*;
use crate::job::{Conclusion, Leave, NextStep};

fn finished(on: On, outcome: Outcome, tree: Option<u8>, hash: Option<u8>, cost: u64) -> Event {
    TargetFinished {
        target: on.number(),
        round: RoundNumber::FIRST,
        outcome,
        tree: tree.map(super::build::tree),
        diff_hash: hash.map(|hash| Sha256([hash; 32])),
        cost_micros: cost,
    }
    .into()
}

fn all_finished(outcomes: &[Outcome], cost_micros: u64) -> Event {
    let targets = (1..).zip(outcomes).map(|(number, outcome)| FinishedTarget {
        target: TargetNumber(number),
        round: RoundNumber::FIRST,
        outcome: *outcome,
    });
    Finished { targets: targets.collect(), cost_micros }.into()
}

fn held(on: On, diff: &DiffProduced) -> Event {
    TargetHeld(JudgedDiff {
        target: on.number(),
        base_commit: diff.base_commit,
        tree: diff.tree,
        diff_hash: diff.diff_hash,
        by: By::Server,
    })
    .into()
}

#[test]
fn an_accepted_diff_is_the_end() {
    let diff = ONE.diff(1, false);
    at(Stage::Accepted)
        .when(ONE.finish(Outcome::DiffReady, Some(diff.clone())))
        .then([
            diff.into(),
            finished(ONE, Outcome::DiffReady, Some(1), Some(1), 2 * COST),
            all_finished(&[Outcome::DiffReady], 2 * COST),
        ])
        .next_step(1, NextStep::Leave(Leave::Finished))
        .when(ONE.finish(Outcome::Failed, None))
        .already_recorded()
        .when(cancel())
        .rejected(JobFinished);
}

#[test]
fn no_success_without_what_bears_it_out() {
    let whole = || Some(ONE.diff(1, false));
    for stage in Stage::ALL.into_iter().filter(|stage| *stage < Stage::Accepted) {
        at(stage).when(ONE.finish(Outcome::DiffReady, whole())).rejected(OutOfOrder);
    }
    for outcome in [
        Outcome::AlreadyCompliant,
        Outcome::NotApplicable,
        Outcome::FailedChecks,
        Outcome::Objected,
        Outcome::Refused,
        Outcome::Cancelled,
    ] {
        for stage in Stage::ALL {
            at(stage).when(ONE.finish(outcome, None)).rejected(OutOfOrder);
        }
    }
    let accepted = at(Stage::Accepted);
    for wrong in [
        None,
        Some(ONE.diff(2, false)),
        Some(ONE.diff(1, true)),
        Some(DiffProduced { base_commit: tree(9), ..ONE.diff(1, false) }),
        Some(DiffProduced { round: RoundNumber(2), ..ONE.diff(1, false) }),
        Some(On(2).diff(1, false)),
    ] {
        accepted.clone().when(ONE.finish(Outcome::DiffReady, wrong)).rejected(OutOfOrder);
    }
}

#[test]
fn what_stops_work_ends_it_at_any_stage_and_keeps_the_partial_diff() {
    for outcome in [Outcome::BudgetStopped, Outcome::Stuck, Outcome::Failed] {
        for stage in Stage::ALL {
            at(stage).when(ONE.finish(outcome, None)).accepted();
        }
        let diff = ONE.diff(1, true);
        at(Stage::Claims).when(ONE.finish(outcome, Some(diff.clone()))).then([
            diff.into(),
            finished(ONE, outcome, Some(1), Some(1), COST),
            all_finished(&[outcome], COST),
        ]);
    }
    at(Stage::Claims)
        .when(ONE.finish(Outcome::Stuck, Some(ONE.diff(1, false))))
        .rejected(OutOfOrder);
}

#[test]
fn a_diff_that_is_objected_to_is_held_whoever_forgets_to_say_so() {
    let objects =
        DiffReviewed { answers_finish: false, ..ONE.reviewed(2, 1, ReviewVerdict::Object) };
    let diff = ONE.diff(1, true);
    let when = at(Stage::ReviewAnswered)
        .and([objects.into()])
        .when(ONE.finish(Outcome::Objected, Some(diff.clone())));
    let comment: CommentPayload =
        serde_json::from_str(when.drafts()[1].payload.as_deref().unwrap()).unwrap();
    assert_eq!(comment.comment, "The independent review still objects after the last repair.");
    when.then([
        diff.clone().into(),
        held(ONE, &diff),
        finished(ONE, Outcome::Objected, Some(1), Some(1), 2 * COST),
        all_finished(&[Outcome::Objected], 2 * COST),
    ]);
}

#[test]
fn a_diff_without_a_sandbox_is_held() {
    let review = [
        Event::from(ONE.thread(2, Purpose::Review, 1)),
        ONE.permitted(2, 1, 1).into(),
        ONE.said(2, 1, StopReason::EndTurn).into(),
        ONE.reviewed(2, 1, ReviewVerdict::Accept).into(),
    ];
    let unchecked = ChecksRan {
        skipped: Some(CheckSkip::NoSandbox),
        ..ONE.checked(1, CheckVerdict::Unchecked)
    };
    let diff = ONE.diff(1, false);
    let expected = [
        diff.clone().into(),
        held(ONE, &diff),
        finished(ONE, Outcome::DiffReady, Some(1), Some(1), 2 * COST),
        all_finished(&[Outcome::DiffReady], 2 * COST),
    ];
    // The checks had none, although the attempt that ends the work has one.
    at(Stage::Claims)
        .and([unchecked.into()])
        .and(review)
        .when(ONE.finish(Outcome::DiffReady, Some(diff.clone())))
        .then(expected.clone());
    // The attempt has none.
    let without = AttemptStarted { sandbox: SandboxBackend::None, ..ONE.started(1) };
    at(Stage::Accepted)
        .and([without.into()])
        .when(ONE.finish(Outcome::DiffReady, Some(diff)))
        .then(expected);
}

#[test]
fn the_job_ends_with_its_last_target_and_lists_each_once() {
    let compliant = |on: On| {
        let mut events = way_to(on, Stage::Threaded);
        events.extend(on.finish_turn(1, (BASE, BASE), FinishOutcome::AlreadyCompliant));
        events
    };
    given([created(3).into()])
        .and(compliant(On(1)))
        .and(compliant(On(3)))
        .when(On(3).finish(Outcome::AlreadyCompliant, None))
        .then([finished(On(3), Outcome::AlreadyCompliant, Some(BASE), None, COST)])
        .when(On(2).finish(Outcome::Failed, None))
        .then([finished(On(2), Outcome::Failed, None, None, 0)])
        .when(On(1).finish(Outcome::AlreadyCompliant, None))
        .then([
            finished(On(1), Outcome::AlreadyCompliant, Some(BASE), None, COST),
            all_finished(
                &[Outcome::AlreadyCompliant, Outcome::Failed, Outcome::AlreadyCompliant],
                2 * COST,
            ),
        ]);
}

#[test]
fn a_cancelled_job_closes_its_sum_at_every_stage() {
    for stage in Stage::ALL {
        let cost = match stage {
            s if s < Stage::Answered => 0,
            s if s < Stage::ReviewAnswered => COST,
            _ => 2 * COST,
        };
        let tree = match stage {
            Stage::Waiting => None,
            s if s < Stage::Claims => Some(BASE),
            _ => Some(1),
        };
        given([created(3).into()])
            .and(way_to(On(2), stage))
            .when(On(1).finish(Outcome::Failed, None))
            .accepted()
            .when(cancel())
            .then([
                Cancelled { by: By::Person }.into(),
                finished(On(2), Outcome::Cancelled, tree, None, cost),
                finished(On(3), Outcome::Cancelled, None, None, 0),
                all_finished(&[Outcome::Failed, Outcome::Cancelled, Outcome::Cancelled], cost),
            ])
            .next_step(2, NextStep::Leave(Leave::Cancelled))
            .when(cancel())
            .already_recorded()
            .when(On(3).finish(Outcome::Failed, None))
            .already_recorded()
            .when(request(On(3).requested(1)))
            .rejected(JobCancelled)
            .when(record_scan(On(2).scanned()))
            .rejected(JobCancelled);
    }
}

#[test]
fn work_on_a_finished_target_is_refused() {
    given([created(2).into()])
        .and(way_to(ONE, Stage::Accepted))
        .when(ONE.finish(Outcome::Failed, None))
        .accepted()
        .when(start_thread(ONE.thread(3, Purpose::Change, 1)))
        .rejected(TargetFinished)
        .when(permit(ONE.permitted(1, 2, 1)))
        .rejected(TargetFinished)
        .when(record_review(ONE.reviewed(2, 1, ReviewVerdict::Object)))
        .rejected(TargetFinished)
        .when(request(ONE.requested(2)))
        .rejected(TargetFinished);
}

fn reopened(why: ReopenReason) -> Event {
    TargetReopened { target: ONE.number(), round: RoundNumber(2), why, by: By::Person }.into()
}

fn ended(stage: Stage, outcome: Outcome) -> Given {
    at(stage).when(ONE.finish(outcome, None)).accepted()
}

#[test]
fn requested_changes_go_on_in_the_same_conversation() {
    let converse = NextStep::Converse { thread: ThreadNumber(1) };
    at(Stage::Accepted)
        .when(ONE.finish(Outcome::DiffReady, Some(ONE.diff(1, false))))
        .accepted()
        .and([reopened(ReopenReason::ChangesRequested)])
        .next_step(1, converse.clone());
    // Having been stuck before is no reason to be stuck at once.
    at(Stage::Threaded)
        .and(ONE.call(ONE.said(1, 1, StopReason::EndTurn)))
        .and(ONE.call(ONE.said(1, 2, StopReason::EndTurn)))
        .next_step(
            1,
            NextStep::Conclude { outcome: Outcome::Stuck, why: Conclusion::NothingMoreToSay },
        )
        .when(ONE.finish(Outcome::Stuck, None))
        .accepted()
        .and([reopened(ReopenReason::ChangesRequested)])
        .next_step(1, converse);
}

#[test]
fn a_retry_starts_over_and_a_raised_budget_goes_on() {
    ended(Stage::Claims, Outcome::Failed)
        .and([reopened(ReopenReason::Retried)])
        .next_step(1, NextStep::Scan);
    ended(Stage::Answered, Outcome::BudgetStopped)
        .and([reopened(ReopenReason::BudgetRaised)])
        .next_step(
            1,
            NextStep::RunTools { thread: ThreadNumber(1), turn: cody_events::ids::TurnNumber(1) },
        );
}

#[test]
fn a_diff_that_touches_what_its_job_does_not_allow_is_held_whoever_forgets_to_say_so() {
    let touches = vec![PathClass::Workflows, PathClass::Lockfiles];
    let diff = DiffProduced { touches, ..ONE.diff(1, false) };
    let when = at(Stage::Accepted).when(ONE.finish(Outcome::DiffReady, Some(diff.clone())));
    let comment: CommentPayload =
        serde_json::from_str(when.drafts()[1].payload.as_deref().unwrap()).unwrap();
    assert_eq!(
        comment.comment,
        "It touches `workflows`, which its job allows not.\n\
         It touches `lockfiles`, which its job allows not."
    );
    when.then([
        diff.clone().into(),
        held(ONE, &diff),
        finished(ONE, Outcome::DiffReady, Some(1), Some(1), 2 * COST),
        all_finished(&[Outcome::DiffReady], 2 * COST),
    ]);
}
