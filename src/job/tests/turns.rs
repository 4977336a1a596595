//! How the conversation that makes the change goes on after each kind of response and failure.

use cody_events::ids::{CallNumber, ThreadNumber};
use cody_events::job::{Created, Limits};
use cody_events::outcome::Outcome;
use cody_events::thread::{CallClass, ClaudeTurn, Purpose, StopReason};

use super::build::*;
use super::given::{Given, given};
use super::stage::*;
use super::wishes::*;
use crate::job::state::SpentLimit;
use crate::job::{Conclusion, NextStep};

const CONVERSE: NextStep = NextStep::Converse { thread: ThreadNumber(1) };

fn conclude(outcome: Outcome, why: Conclusion) -> NextStep {
    NextStep::Conclude { outcome, why }
}

/// After responses that stopped like this, one after another.
fn after(stops: &[StopReason]) -> Given {
    (1..).zip(stops).fold(at(Stage::Threaded), |given, (turn, stop)| {
        given.and(ONE.call(ONE.said(1, turn, *stop)))
    })
}

#[test]
fn the_way_of_a_target_without_trouble() {
    use cody_events::evidence::CheckPhase;
    let (one, two) = (ThreadNumber(1), ThreadNumber(2));
    let checks = |phase, number| NextStep::RunChecks { phase, tree: tree(number) };
    let start = |purpose, parent| NextStep::StartThread { purpose, parent };
    let steps = [
        (Stage::Waiting, NextStep::Scan),
        (Stage::Requested, NextStep::Scan),
        (Stage::Claimed, NextStep::Scan),
        (Stage::Scanned, checks(CheckPhase::Baseline, BASE)),
        (Stage::Based, start(Purpose::Change, None)),
        (Stage::Threaded, CONVERSE),
        (Stage::InCall, CONVERSE),
        (
            Stage::Answered,
            NextStep::RunTools { thread: one, turn: cody_events::ids::TurnNumber(1) },
        ),
        (Stage::Claims, checks(CheckPhase::After, 1)),
        (Stage::Checked, start(Purpose::Review, Some(one))),
        (Stage::Reviewing, NextStep::Converse { thread: two }),
        (Stage::InReviewCall, NextStep::Converse { thread: two }),
        (Stage::ReviewAnswered, NextStep::ReadReview { thread: two }),
        (Stage::Accepted, conclude(Outcome::DiffReady, Conclusion::ReviewAccepted)),
    ];
    for (stage, step) in steps {
        at(stage).next_step(1, step);
    }
}

#[test]
fn an_idle_response_is_nudged_once() {
    use StopReason::*;
    let stuck = || conclude(Outcome::Stuck, Conclusion::NothingMoreToSay);
    for stop in [EndTurn, StopSequence, Unknown, ToolUse] {
        after(&[stop]).next_step(1, CONVERSE);
        after(&[stop, stop]).next_step(1, stuck());
    }
    // A response that calls a tool, or is cut off, is not idle.
    after(&[EndTurn])
        .and(ONE.call(ONE.turn(1, 2)))
        .and([ONE.tools(1, 2, BASE, BASE).into()])
        .and(ONE.call(ONE.said(1, 3, EndTurn)))
        .next_step(1, CONVERSE);
    after(&[EndTurn, MaxTokens, PauseTurn]).next_step(1, CONVERSE);
}

#[test]
fn a_response_whose_tools_do_not_enter_history_runs_none() {
    let cut =
        ClaudeTurn { in_history: false, stop_reason: StopReason::MaxTokens, ..ONE.turn(1, 1) };
    at(Stage::Threaded).and(ONE.call(cut)).next_step(1, CONVERSE);
}

#[test]
fn truncations_in_a_row_end_the_work() {
    use StopReason::*;
    after(&[MaxTokens, MaxTokens]).next_step(1, CONVERSE);
    after(&[MaxTokens, MaxTokens, MaxTokens])
        .next_step(1, conclude(Outcome::Stuck, Conclusion::KeptBeingCutOff));
    after(&[MaxTokens, MaxTokens, EndTurn, MaxTokens]).next_step(1, CONVERSE);
}

#[test]
fn a_refusal_and_a_full_context_end_the_work() {
    after(&[StopReason::Refusal]).next_step(1, conclude(Outcome::Refused, Conclusion::Refusal));
    after(&[StopReason::ModelContextWindowExceeded])
        .next_step(1, conclude(Outcome::Stuck, Conclusion::ContextFull));
}

#[test]
fn pauses_go_on_until_the_cap() {
    let limits = Limits { max_turns: 3, ..limits() };
    let start = given([Created { limits, ..created(1) }.into()]).and(way_to(ONE, Stage::Threaded));
    let pause = |turn| ONE.call(ONE.said(1, turn, StopReason::PauseTurn));
    start
        .and(pause(1))
        .and(pause(2))
        .next_step(1, CONVERSE)
        .and(pause(3))
        .next_step(1, conclude(Outcome::BudgetStopped, Conclusion::LimitSpent(SpentLimit::Turns)));
}

#[test]
fn caps_end_the_work_between_turns() {
    let capped = |limits| {
        given([Created { limits, ..created(1) }.into()])
            .and(way_to(ONE, Stage::Answered))
            .and([ONE.tools(1, 1, BASE, 1).into()])
    };
    capped(Limits { max_turns: 1, ..limits() })
        .next_step(1, conclude(Outcome::BudgetStopped, Conclusion::LimitSpent(SpentLimit::Turns)));
    capped(Limits { max_tokens: Some(1_000), ..limits() })
        .next_step(1, conclude(Outcome::BudgetStopped, Conclusion::LimitSpent(SpentLimit::Tokens)));
    capped(Limits { max_tokens: Some(1_001), ..limits() }).next_step(1, CONVERSE);
}

#[test]
fn a_refused_prefix_starts_one_new_conversation() {
    let refused = |thread, turn, class| {
        [ONE.permitted(thread, turn, 1).into(), ONE.failed(thread, turn, 1, class).into()]
    };
    for class in [CallClass::BoundElsewhere, CallClass::ModelGone] {
        at(Stage::Threaded)
            .and(refused(1, 1, class))
            .next_step(
                1,
                NextStep::StartThread { purpose: Purpose::Fresh, parent: Some(ThreadNumber(1)) },
            )
            .when(start_thread(ONE.thread(2, Purpose::Fresh, BASE)))
            .then([ONE.thread(2, Purpose::Fresh, BASE).into()])
            .when(start_thread(ONE.thread(3, Purpose::Fresh, BASE)))
            .already_recorded()
            .next_step(1, NextStep::Converse { thread: ThreadNumber(2) })
            .and(refused(2, 1, class))
            .next_step(1, conclude(Outcome::Failed, Conclusion::PrefixRefusedTwice));
    }
}

#[test]
fn other_failures_leave_the_conversation_as_it_is() {
    use CallClass::*;
    for class in [
        Overloaded,
        RateLimited,
        SpendCap,
        ServerError,
        Timeout,
        Idle,
        Dropped,
        Truncated,
        BadRequest,
        ContextExceeded,
        TooLarge,
        Authentication,
        Billing,
        Permission,
        NotFound,
        Conflict,
        Malformed,
        Orphaned,
    ] {
        at(Stage::InCall).and([ONE.failed(1, 1, 1, class).into()]).next_step(1, CONVERSE);
    }
}

#[test]
fn a_late_response_is_adopted_whoever_waits_for_it() {
    use cody_events::attempt::AttemptEnd;
    // The worker was lost during the call; its successor finds the response.
    at(Stage::InCall)
        .and([ONE.ended(1, AttemptEnd::Lost).into()])
        .when(record_turn(ONE.turn(1, 1)))
        .then([ONE.turn(1, 1).into()])
        .when(request(ONE.requested(2)))
        .accepted()
        .next_step(
            1,
            NextStep::RunTools { thread: ThreadNumber(1), turn: cody_events::ids::TurnNumber(1) },
        );
    // The job was cancelled during the call; the response is paid for all the same.
    at(Stage::InCall)
        .when(cancel())
        .accepted()
        .when(record_turn(ONE.turn(1, 1)))
        .then([ONE.turn(1, 1).into()]);
}

#[test]
fn a_retried_call_answers_the_same_turn() {
    let answer = ClaudeTurn { call: CallNumber(2), ..ONE.turn(1, 1) };
    at(Stage::InCall)
        .when(fail(ONE.failed(1, 1, 1, CallClass::Overloaded)))
        .accepted()
        .when(permit(ONE.permitted(1, 1, 2)))
        .accepted()
        .when(record_turn(answer.clone()))
        .then([answer.into()])
        .when(record_turn(ONE.turn(1, 1)))
        .already_recorded();
}
