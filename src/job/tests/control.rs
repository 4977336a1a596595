//! Pause, resume, other limits, retry.

use cody_events::attempt::AttemptReason;
use cody_events::ids::{RoundNumber, TargetNumber, ThreadNumber};
use cody_events::job::{BudgetChanged, By, Limits, Paused, Resumed, SharedLimits};
use cody_events::outcome::{Outcome, ReopenReason, TargetReopened};

use super::build::*;
use super::given::{Given, given};
use super::stage::*;
use super::wishes::*;
use crate::job::RejectionCode::*;
use crate::job::state::SpentLimit;
use crate::job::{Conclusion, Leave, NextStep};

fn paused(target: Option<u32>) -> Paused {
    Paused { target: target.map(TargetNumber), by: By::Person }
}

fn resumed(target: Option<u32>) -> Resumed {
    Resumed { target: target.map(TargetNumber), by: By::Person }
}

fn reopened(target: u32, why: ReopenReason) -> TargetReopened {
    TargetReopened { target: TargetNumber(target), round: RoundNumber(2), why, by: By::Person }
}

/// Two targets: the first at `stage`, the second waiting.
fn pair(stage: Stage) -> Given {
    given([created(2).into()]).and(way_to(ONE, stage))
}

#[test]
fn a_pause_keeps_new_calls_away_and_takes_the_response_in_flight() {
    at(Stage::InCall)
        .when(pause(None))
        .then([paused(None).into()])
        .when(pause(None))
        .already_recorded()
        .when(record_turn(ONE.turn(1, 1)))
        .accepted()
        .next_step(1, NextStep::Leave(Leave::Paused))
        .when(record_tools(ONE.tools(1, 1, BASE, 1)))
        .accepted()
        .when(permit(ONE.permitted(1, 2, 1)))
        .rejected(JobPaused)
        .when(resume(None))
        .then([resumed(None).into()])
        .when(permit(ONE.permitted(1, 2, 1)))
        .accepted();
}

#[test]
fn one_target_may_be_paused_by_itself() {
    let given = pair(Stage::Threaded)
        .when(pause(Some(1)))
        .then([paused(Some(1)).into()])
        .next_step(1, NextStep::Leave(Leave::Paused))
        .next_step(2, NextStep::Scan);
    given.clone().when(resume(Some(1))).then([resumed(Some(1)).into()]);
    given.clone().when(resume(Some(2))).already_recorded();
    // Whoever resumes the job means all of it.
    given
        .when(pause(None))
        .accepted()
        .when(resume(Some(1)))
        .rejected(JobPaused)
        .when(resume(None))
        .then([resumed(None).into(), resumed(Some(1)).into()])
        .next_step(1, NextStep::Converse { thread: ThreadNumber(1) });
}

#[test]
fn a_raised_limit_opens_what_it_stopped_and_the_thread_goes_on() {
    let tight = Limits { max_turns: 1, ..limits() };
    let stopped = talking(1, tight)
        .and(ONE.call(ONE.turn(1, 1)))
        .and([ONE.tools(1, 1, BASE, 1).into()])
        .next_step(
            1,
            NextStep::Conclude {
                outcome: Outcome::BudgetStopped,
                why: Conclusion::LimitSpent(SpentLimit::Turns),
            },
        )
        .when(ONE.finish(Outcome::BudgetStopped, Some(ONE.diff(1, true))))
        .accepted();
    // More money does not help against a limit of turns.
    let richer = Limits { budget_micros: 9_000_000, ..tight };
    stopped.clone().when(change_limits(richer)).rejected(BadLimits);
    let longer = Limits { max_turns: 2, ..tight };
    let budget = BudgetChanged { limits: longer, by: By::Person };
    stopped
        .when(change_limits(longer))
        .then([budget.into(), reopened(1, ReopenReason::BudgetRaised).into()])
        .when(change_limits(longer))
        .already_recorded()
        .when(permit(ONE.permitted(1, 2, 1)))
        .accepted();
}

#[test]
fn a_raise_that_pays_for_no_call_is_refused_with_the_figure() {
    let stopped = at(Stage::Answered).when(ONE.finish(Outcome::BudgetStopped, None)).accepted();
    let spent = stopped.state.job.as_ref().unwrap().spent_micros();
    let short = Limits { budget_micros: spent + 249_999, ..limits() };
    stopped.clone().when(change_limits(short)).rejected(BudgetTooSmall);
    let enough = Limits { budget_micros: spent + 250_000, ..limits() };
    stopped.when(change_limits(enough)).accepted();
    let nothing = Limits { max_turns: 0, ..limits() };
    at(Stage::Threaded).when(change_limits(nothing)).rejected(BadLimits);
}

#[test]
fn new_limits_and_the_end_of_a_pause_are_one_wish() {
    let tight = Limits { max_turns: 1, ..limits() };
    let longer = Limits { max_turns: 2, ..tight };
    let budget = BudgetChanged { limits: longer, by: By::Person };
    let paused_job = talking(2, tight)
        .and(ONE.call(ONE.turn(1, 1)))
        .and([ONE.tools(1, 1, BASE, 1).into()])
        .when(ONE.finish(Outcome::BudgetStopped, Some(ONE.diff(1, true))))
        .accepted()
        .and([paused(Some(2)).into(), paused(None).into()]);
    paused_job.clone().when(change_limits(longer)).then([
        budget.clone().into(),
        reopened(1, ReopenReason::BudgetRaised).into(),
        resumed(None).into(),
        resumed(Some(2)).into(),
    ]);
    // A no is a no to both: the limits stay as they were.
    paused_job.when(resume_with(Some(1), Some(longer))).rejected(JobPaused);
    let one = talking(2, tight).and([paused(Some(2)).into()]);
    one.clone()
        .when(resume_with(Some(2), Some(longer)))
        .then([budget.clone().into(), resumed(Some(2)).into()]);
    // Who names a target that nothing keeps back means the limits alone.
    one.when(resume_with(Some(1), Some(longer))).then([budget.into()]);
    let failed = at(Stage::Claims).when(ONE.finish(Outcome::Failed, None)).accepted();
    failed.when(change_limits(longer)).rejected(JobFinished);
}

#[test]
fn a_retry_starts_over_at_a_base_of_its_own_and_keeps_the_bill() {
    let failed = at(Stage::Claims).when(ONE.finish(Outcome::Failed, None)).accepted();
    let spent = failed.state.job.as_ref().unwrap().spent_micros();
    let retried = failed
        .when(retry(&[]))
        .then([reopened(1, ReopenReason::Retried).into()])
        .when(retry(&[]))
        .rejected(NothingToRetry)
        .when(retry(&[1]))
        .rejected(TargetOpen)
        .next_step(1, NextStep::Scan);
    let job = retried.state.job.unwrap();
    let target = &job.targets[&TargetNumber(1)];
    assert_eq!((target.base.clone(), target.tree, target.turns), (None, None, 0));
    assert_eq!(target.next_attempt, AttemptReason::Retried);
    assert_eq!((job.spent_micros(), job.finished), (spent, false));
}

#[test]
fn a_retry_needs_money_for_a_call() {
    let poor = Limits { budget_micros: COST + 249_999, ..limits() };
    talking(1, poor)
        .and(ONE.call(ONE.turn(1, 1)))
        .when(ONE.finish(Outcome::Failed, None))
        .accepted()
        .when(retry(&[]))
        .rejected(BudgetSpent);
}

#[test]
fn limits_of_all_targets_together_stop_each() {
    let shared = SharedLimits { max_turns: Some(2), ..SharedLimits::default() };
    let given = talking(2, Limits { shared, ..limits() })
        .and(On(1).call(On(1).turn(1, 1)))
        .and([On(1).tools(1, 1, BASE, 1).into()])
        .next_step(1, NextStep::Converse { thread: ThreadNumber(1) })
        .and(On(2).call(On(2).turn(1, 1)))
        .and([On(2).tools(1, 1, BASE, 1).into()]);
    let why = Conclusion::LimitSpent(SpentLimit::Turns);
    for target in [1, 2] {
        let stop = NextStep::Conclude { outcome: Outcome::BudgetStopped, why };
        given.clone().next_step(target, stop);
    }
}

#[test]
fn without_a_review_checks_alone_decide() {
    let wish = crate::job::command::CreateJob { skip_review: true, ..wish(1) };
    let created = given([]).when(create(wish)).accepted();
    let why = Conclusion::Unreviewed;
    created
        .and(way_to(ONE, Stage::Checked))
        .next_step(1, NextStep::Conclude { outcome: Outcome::DiffReady, why });
}
