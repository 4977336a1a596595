//! Slots are filled once: scan, baseline, threads, turns, tools, checks, reviews.

use cody_events::attempt::AttemptStarted;
use cody_events::event::Event;
use cody_events::evidence::{CheckPhase, CheckVerdict, ChecksRan};
use cody_events::ids::{AttemptNumber, RoundNumber, ThreadNumber};
use cody_events::job::Created;
use cody_events::thread::{
    CallClass, ClaudeTurn, DiffReviewed, FinishOutcome, Purpose, ReviewVerdict, StopReason,
    ThreadStarted, ToolsRan,
};

use super::build::*;
use super::given::given;
use super::stage::*;
use super::wishes::*;
use crate::job::RejectionCode::*;
use crate::job::{Command, MAX_FETCHES};

#[test]
fn each_report_is_recorded_once() {
    let finish = ToolsRan { finish: Some(FinishOutcome::Changed), ..ONE.tools(1, 1, BASE, 1) };
    let cases: Vec<(Stage, Command, Event)> = vec![
        (Stage::Claimed, record_scan(ONE.scanned()), ONE.scanned().into()),
        (Stage::Scanned, record_checks(ONE.baseline()), ONE.baseline().into()),
        (
            Stage::Based,
            start_thread(ONE.thread(1, Purpose::Change, BASE)),
            ONE.thread(1, Purpose::Change, BASE).into(),
        ),
        (Stage::InCall, record_turn(ONE.turn(1, 1)), ONE.turn(1, 1).into()),
        (Stage::Answered, record_tools(finish.clone()), finish.into()),
        (
            Stage::Claims,
            record_checks(ONE.checked(1, CheckVerdict::Passed)),
            ONE.checked(1, CheckVerdict::Passed).into(),
        ),
        (
            Stage::Claims,
            record_checks(ONE.checked(1, CheckVerdict::Failed)),
            ONE.checked(1, CheckVerdict::Failed).into(),
        ),
        (
            Stage::Checked,
            start_thread(ONE.thread(2, Purpose::Review, 1)),
            ONE.thread(2, Purpose::Review, 1).into(),
        ),
        (
            Stage::ReviewAnswered,
            record_review(ONE.reviewed(2, 1, ReviewVerdict::Accept)),
            ONE.reviewed(2, 1, ReviewVerdict::Accept).into(),
        ),
        (
            Stage::ReviewAnswered,
            record_review(ONE.reviewed(2, 1, ReviewVerdict::Object)),
            ONE.reviewed(2, 1, ReviewVerdict::Object).into(),
        ),
    ];
    for (stage, command, event) in cases {
        at(stage).when(command.clone()).then([event]).when(command).already_recorded();
    }
}

#[test]
fn a_fetch_is_recorded_where_the_job_asks_for_it_by_who_holds_the_target() {
    let fetching = |attempt| {
        let created = Created { fetch_dependencies: true, ..created(1) };
        let started = AttemptStarted { attempt, ..ONE.started(1) };
        given([created.into(), ONE.requested(1).into(), started.into()])
    };
    let fetch = |number| record_fetch(ONE.fetched(number, 5));
    let first = fetching(AttemptNumber(1)).when(fetch(1)).then([ONE.fetched(1, 5).into()]);
    let second = first.when(fetch(1)).already_recorded().when(fetch(2)).accepted();
    assert_eq!(second.state.job.as_ref().unwrap().targets[&ONE.number()].tool_ms, 10);
    second.when(fetch(4)).rejected(OutOfOrder);
    fetching(AttemptNumber(2)).when(fetch(1)).rejected(Fenced);
    at(Stage::Claimed).when(fetch(1)).rejected(OutOfOrder);
    let mut many = fetching(AttemptNumber(1));
    many.state.evolve(&ONE.fetched(MAX_FETCHES, 5).into());
    many.when(fetch(MAX_FETCHES + 1)).rejected(OutOfOrder);
}

#[test]
fn a_scan_is_of_the_pinned_base() {
    let mut scan = ONE.scanned();
    scan.tree = tree(9);
    at(Stage::Claimed).when(record_scan(scan)).rejected(OutOfOrder);
    let mut scan = ONE.scanned();
    scan.base_commit = tree(9);
    at(Stage::Claimed).when(record_scan(scan)).rejected(OutOfOrder);
}

#[test]
fn a_baseline_is_of_the_scanned_base_and_judges_nothing() {
    at(Stage::Claimed).when(record_checks(ONE.baseline())).rejected(OutOfOrder);
    for wrong in [
        ChecksRan { tree: tree(1), ..ONE.baseline() },
        ChecksRan { verdict: Some(CheckVerdict::Passed), ..ONE.baseline() },
        ChecksRan { answers_finish: true, ..ONE.baseline() },
    ] {
        at(Stage::Scanned).when(record_checks(wrong)).rejected(OutOfOrder);
    }
}

#[test]
fn checks_fit_the_claim_that_they_judge() {
    let passed = ONE.checked(1, CheckVerdict::Passed);
    for wrong in [
        ChecksRan { tree: tree(2), ..passed.clone() },
        ChecksRan { verdict: None, ..passed.clone() },
        ChecksRan { phase: CheckPhase::Repair, ..passed.clone() },
        ONE.checked(1, CheckVerdict::Refused),
        ChecksRan { answers_finish: true, ..passed.clone() },
        ChecksRan { answers_finish: true, ..ONE.checked(1, CheckVerdict::Unchecked) },
    ] {
        at(Stage::Claims).when(record_checks(wrong)).rejected(OutOfOrder);
    }
    let Command::RecordChecks(mut report) = record_checks(passed) else { unreachable!() };
    report.0.answers_finish = true;
    at(Stage::Claims).when(Command::RecordChecks(report)).rejected(OutOfOrder);
    // Nobody claims anything any more: another report has answered.
    at(Stage::Answered)
        .when(record_checks(ONE.checked(1, CheckVerdict::Passed)))
        .already_recorded();
}

#[test]
fn nobody_passes_checks_of_a_claim_that_is_to_be_refused() {
    // Taken, it would fill the slot that the refusal needs, and the work would stand still.
    at(Stage::Threaded)
        .and(ONE.finish_turn(1, (BASE, BASE), FinishOutcome::Changed))
        .when(record_checks(ONE.checked(BASE, CheckVerdict::Passed)))
        .rejected(OutOfOrder);
}

#[test]
fn a_review_fits_the_claim_and_comes_after_its_checks() {
    let accept = ONE.reviewed(2, 1, ReviewVerdict::Accept);
    for wrong in [
        DiffReviewed { tree: tree(2), ..accept.clone() },
        DiffReviewed { thread: ThreadNumber(1), ..accept.clone() },
        DiffReviewed { answers_finish: true, ..accept.clone() },
    ] {
        at(Stage::ReviewAnswered).when(record_review(wrong)).rejected(OutOfOrder);
    }
    at(Stage::Claims).when(record_review(accept.clone())).rejected(OutOfOrder);
    for stage in [Stage::Checked, Stage::Reviewing, Stage::InReviewCall] {
        at(stage).when(record_review(accept.clone())).rejected(OutOfOrder);
    }
    at(Stage::Answered).when(record_review(accept)).already_recorded();
}

#[test]
fn two_that_open_a_conversation_at_once_get_one() {
    at(Stage::Threaded).when(start_thread(ONE.thread(2, Purpose::Change, BASE))).already_recorded();
    at(Stage::Reviewing).when(start_thread(ONE.thread(3, Purpose::Review, 1))).already_recorded();
}

#[test]
fn a_conversation_is_opened_only_when_it_is_wanted() {
    let change = ONE.thread(1, Purpose::Change, BASE);
    at(Stage::Scanned).when(start_thread(change.clone())).rejected(OutOfOrder);
    for wrong in [
        ThreadStarted { thread: ThreadNumber(2), ..change.clone() },
        ThreadStarted { purpose: Purpose::Review, ..change.clone() },
        ThreadStarted { purpose: Purpose::Fresh, ..change.clone() },
        ThreadStarted { tree: tree(1), ..change.clone() },
        ThreadStarted { round: RoundNumber(2), ..change },
    ] {
        at(Stage::Based).when(start_thread(wrong)).rejected(OutOfOrder);
    }
    at(Stage::Answered)
        .when(start_thread(ONE.thread(2, Purpose::Review, BASE)))
        .rejected(OutOfOrder);
    at(Stage::Answered)
        .when(start_thread(ONE.thread(2, Purpose::Fresh, BASE)))
        .rejected(OutOfOrder);
}

#[test]
fn a_turn_needs_its_permit() {
    at(Stage::Threaded).when(record_turn(ONE.turn(1, 1))).rejected(NoSuchPermit);
    at(Stage::InCall).when(record_turn(ONE.turn(1, 2))).rejected(NoSuchPermit);
    at(Stage::InCall).when(record_turn(ONE.turn(2, 1))).rejected(NoSuchPermit);
    let retried = ClaudeTurn { call: cody_events::ids::CallNumber(2), ..ONE.turn(1, 1) };
    at(Stage::InCall).when(record_turn(retried)).rejected(NoSuchPermit);
    // Settled as orphaned: the response that comes after all was paid for in full, and is discarded.
    at(Stage::InCall)
        .when(fail(ONE.failed(1, 1, 1, CallClass::Orphaned)))
        .accepted()
        .when(record_turn(ONE.turn(1, 1)))
        .rejected(NoSuchPermit);
}

#[test]
fn tools_run_on_the_recorded_tree_for_the_turn_that_asked() {
    at(Stage::Answered).when(record_tools(ONE.tools(1, 1, 5, 6))).rejected(OutOfOrder);
    at(Stage::Answered).when(record_tools(ONE.tools(1, 2, BASE, 1))).rejected(OutOfOrder);
    at(Stage::Answered).when(record_tools(ONE.tools(2, 1, BASE, 1))).rejected(OutOfOrder);
    at(Stage::InCall).when(record_tools(ONE.tools(1, 1, BASE, 1))).rejected(OutOfOrder);
    // A review has no tools, whatever it says.
    let talkative = ClaudeTurn { stop_reason: StopReason::ToolUse, ..ONE.turn(2, 1) };
    at(Stage::InReviewCall)
        .when(record_turn(talkative))
        .accepted()
        .when(record_tools(ONE.tools(2, 1, 1, 2)))
        .rejected(OutOfOrder);
}

#[test]
fn the_words_of_the_harness_travel_with_the_permit() {
    let notice =
        vec![cody_events::raw::RawJson::parse(r#"{"type":"text","text":"Go on."}"#).unwrap()];
    let command = Command::PermitCall { permit: ONE.permitted(1, 1, 1), notice };
    let drafts = at(Stage::Threaded).when(command).drafts();
    assert_eq!(
        drafts[0].payload.as_deref(),
        Some(r#"{"notice":[{"type":"text","text":"Go on."}]}"#)
    );
    let bare = at(Stage::Threaded).when(permit(ONE.permitted(1, 1, 1))).drafts();
    assert_eq!(bare[0].payload, None);
}
