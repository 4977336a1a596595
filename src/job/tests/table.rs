//! The table of state and command: every wish has an answer in every stage of a target's way.

use cody_events::attempt::AttemptEnd;
use cody_events::evidence::{CheckSkip, CheckVerdict, ChecksRan};
use cody_events::job::Limits;
use cody_events::outcome::Outcome;
use cody_events::thread::{CallClass, FinishOutcome, Purpose, ReviewVerdict, StopReason, ToolsRan};

use super::build::*;
use super::given::{Given, given};
use super::stage::*;
use super::wishes::*;
use crate::job::{Command, Decision, RejectionCode, decide};

/// One of each wish, and some more where it matters what it is about.
fn wishes() -> Vec<(&'static str, Command)> {
    let finish = ToolsRan { finish: Some(FinishOutcome::Changed), ..ONE.tools(1, 1, BASE, 1) };
    let refused = ChecksRan {
        skipped: Some(CheckSkip::ClaimRefused),
        answers_finish: true,
        ..ONE.checked(1, CheckVerdict::Refused)
    };
    vec![
        ("create", create(wish(1))),
        ("cancel", cancel()),
        ("pause", pause(None)),
        ("pause 1", pause(Some(1))),
        ("resume", resume(None)),
        ("resume 1", resume(Some(1))),
        ("resume limits", change_limits(Limits { budget_micros: 9_000_000, ..limits() })),
        ("retry", retry(&[])),
        ("retry 1", retry(&[1])),
        ("request 1", request(ONE.requested(1))),
        ("request 2", request(ONE.requested(2))),
        ("claim 1", Command::ClaimAttempt(ONE.started(1))),
        ("end 1", end(ONE.ended(1, AttemptEnd::Lost))),
        ("scan", record_scan(ONE.scanned())),
        ("fetch", record_fetch(ONE.fetched(1, 5))),
        ("baseline", record_checks(ONE.baseline())),
        ("change thread", start_thread(ONE.thread(1, Purpose::Change, BASE))),
        ("fresh thread", start_thread(ONE.thread(2, Purpose::Fresh, BASE))),
        ("permit", permit(ONE.permitted(1, 1, 1))),
        ("permit again", permit(ONE.permitted(1, 1, 2))),
        ("fail", fail(ONE.failed(1, 1, 1, CallClass::Overloaded))),
        ("turn", record_turn(ONE.turn(1, 1))),
        ("tools", record_tools(finish)),
        ("passed", record_checks(ONE.checked(1, CheckVerdict::Passed))),
        ("failed", record_checks(ONE.checked(1, CheckVerdict::Failed))),
        ("refused", record_checks(refused)),
        ("review thread", start_thread(ONE.thread(2, Purpose::Review, 1))),
        ("review permit", permit(ONE.permitted(2, 1, 1))),
        ("review turn", record_turn(ONE.said(2, 1, StopReason::EndTurn))),
        ("accept", record_review(ONE.reviewed(2, 1, ReviewVerdict::Accept))),
        ("object", record_review(ONE.reviewed(2, 1, ReviewVerdict::Object))),
        ("diff-ready", ONE.finish(Outcome::DiffReady, Some(ONE.diff(1, false)))),
        ("failed end", ONE.finish(Outcome::Failed, None)),
        ("approve", approve(1, 1)),
        ("reject", reject(1, 1)),
        ("changes", request_changes(1, 1, "More.")),
        ("archive", archive(true)),
        ("other target", request(On(2).requested(1))),
    ]
}

/// Every stage, and the two ends, by a letter.
fn states() -> Vec<(char, Given)> {
    let mut states = vec![('-', given([]))];
    states.extend(('A'..).zip(Stage::ALL).map(|(letter, stage)| (letter, at(stage))));
    let failed = at(Stage::Claims).when(ONE.finish(Outcome::Failed, None)).accepted();
    states.push(('f', failed));
    states.push(('c', at(Stage::Claims).when(cancel()).accepted()));
    states.push(('p', at(Stage::Claims).when(pause(None)).accepted()));
    states.push(('q', at(Stage::Claims).when(pause(Some(1))).accepted()));
    let ready = at(Stage::Accepted)
        .when(ONE.finish(Outcome::DiffReady, Some(ONE.diff(1, false))))
        .accepted();
    states.push(('d', ready.clone()));
    states.push(('y', ready.when(approve(1, 1)).accepted()));
    states
        .push(('b', at(Stage::Answered).when(ONE.finish(Outcome::BudgetStopped, None)).accepted()));
    states
}

fn mark(decision: &Decision) -> &'static str {
    match decision {
        Decision::Events(_) => "+",
        Decision::AlreadyRecorded => "=",
        Decision::Rejected(rejection) => match rejection.code {
            RejectionCode::NoSuchJob | RejectionCode::NoSuchTarget => "?",
            RejectionCode::JobExists => "!",
            RejectionCode::OutOfOrder => ".",
            RejectionCode::Fenced | RejectionCode::NoSuchRequest => "F",
            RejectionCode::AttemptOpen => "A",
            RejectionCode::PermitOpen => "P",
            RejectionCode::NoSuchPermit => "p",
            RejectionCode::TargetFinished
            | RejectionCode::JobFinished
            | RejectionCode::JobCancelled => "x",
            RejectionCode::JobPaused => "z",
            RejectionCode::TargetOpen
            | RejectionCode::NothingToRetry
            | RejectionCode::JobUnfinished => "o",
            RejectionCode::NoDiff => "n",
            RejectionCode::DiffMoved => "m",
            RejectionCode::AlreadyJudged => "j",
            other => panic!("{other} has no place in this table"),
        },
    }
}

#[test]
fn every_wish_has_an_answer_in_every_state() {
    let states = states();
    let letters: Vec<String> = states.iter().map(|(letter, _)| letter.to_string()).collect();
    let mut table = format!("{:14}{}\n", "", letters.join(" "));
    for (name, command) in wishes() {
        let marks: Vec<&str> =
            states.iter().map(|(_, given)| mark(&decide(&given.state, &command))).collect();
        table.push_str(&format!("{name:14}{}\n", marks.join(" ")));
    }
    // - no job, A waiting, B requested, C claimed, D scanned, E baseline, F thread, G call,
    // H response, I claim, J checked, K review, L review's call, M review's response, N accepted,
    // f failed, c cancelled, p paused, q its target paused, b stopped by its budget. Marks: + happens, = has happened, . out of order, x over, F fenced,
    // z paused, o not over yet, n no diff, m another diff, j judged, A attempt open, P permit open, p no permit, ! exists, ? no such job or target.
    expect_test::expect![[r#"
                      - A B C D E F G H I J K L M N f c p q d y b
        create        + ! ! ! ! ! ! ! ! ! ! ! ! ! ! ! ! ! ! ! ! !
        cancel        ? + + + + + + + + + + + + + + x = + + x x x
        pause         ? + + + + + + + + + + + + + + x x = + x x x
        pause 1       ? + + + + + + + + + + + + + + x x + = x x x
        resume        ? = = = = = = = = = = = = = = x x + + x x x
        resume 1      ? = = = = = = = = = = = = = = x x z + x x x
        resume limits ? + + + + + + + + + + + + + + x x + + x x +
        retry         ? o o o o o o o o o o o o o o + x o o o o +
        retry 1       ? o o o o o o o o o o o o o o + x o o + + +
        request 1     ? + = = = = = = = = = = = = = x x z z x x x
        request 2     ? + A A A A A A A A A A A A A x x z z x x x
        claim 1       ? F + = = = = = = = = = = = = x x = = x x x
        end 1         ? = + + + + + + + + + + + + + + + + + + + +
        scan          ? F F + = = = = = = = = = = = x x = = x x x
        fetch         ? F F . . . . . . . . . . . . x x . . x x x
        baseline      ? F F . + = = = = = = = = = = x x = = x x x
        change thread ? . . . . + = = = = = = = = = x x = = x x x
        fresh thread  ? . . . . . . . . . . = = = = x x . . x x x
        permit        ? . . . . . + P . . . . P . . x x z z x x x
        permit again  ? . . . . . . P . . . . P . . x x z z x x x
        fail          ? p p p p p p + = = = = = = = = = = = = = =
        turn          ? p p p p p p + = = = = = = = = = = = = = =
        tools         ? . . . . . . . + = = = = = = = = = = = = x
        passed        ? F F = = = = = = + = = = = = x x + + x x x
        failed        ? F F = = = = = = + = = = = = x x + + x x x
        refused       ? F F = = = = = = . = = = = = x x . . x x x
        review thread ? . . . . . . . . . + = = = = x x . . x x x
        review permit ? . . . . . . P . . . + P . . x x z z x x x
        review turn   ? p p p p p p p p p p p + = = p p p p = = p
        accept        ? = = = = = = = = . . . . + = x x . . x x x
        object        ? = = = = = = = = . . . . + = x x . . x x x
        diff-ready    ? . . . . . . . . . . . . . + = = . . = = =
        failed end    ? + + + + + + + + + + + + + + = = + + = = =
        approve       ? o o o o o o o o o o o o o o n x o o + j n
        reject        ? o o o o o o o o o o o o o o n x o o + j n
        changes       ? o o o o o o o o o o o o o o n x o o + j n
        archive       ? o o o o o o o o o o o o o o + + o o + + +
        other target  ? ? ? ? ? ? ? ? ? ? ? ? ? ? ? ? ? ? ? ? ? ?
    "#]]
    .assert_eq(&table);
}
