//! One target goes first: the others wait for a person's word, and are held if they are not like it.

use cody_events::diff::DiffProduced;
use cody_events::event::Event;
use cody_events::ids::RoundNumber;
use cody_events::job::{Created, Policy};
use cody_events::outcome::Outcome;
use cody_events::shape::{Area, DiffShape, KindMark};
use cody_events::thread::FinishOutcome;

use super::build::*;
use super::given::{Given, given};
use super::stage::*;
use super::wishes::*;
use crate::job::RejectionCode::*;

const TWO: On = On(2);

fn shape() -> DiffShape {
    DiffShape {
        modified: 2,
        areas: vec![Area::Code],
        kinds: vec![KindMark::of(".rs")],
        ..DiffShape::default()
    }
}

fn shaped(on: On, shape: DiffShape) -> DiffProduced {
    DiffProduced { file_count: 2, shape: Some(shape), ..on.diff(1, false) }
}

/// A job of two whose first goes first, with that one's diff made.
fn piloted(policy: Policy) -> Given {
    given([Created { pilot: true, policy, ..created(2) }.into()])
        .and(way_to(ONE, Stage::Accepted))
        .when(ONE.finish(Outcome::DiffReady, Some(shaped(ONE, shape()))))
        .accepted()
}

/// The events when the second one ends with this diff, after the first was approved.
fn second(policy: Policy, diff: DiffProduced) -> Vec<Event> {
    let end = piloted(policy)
        .when(approve(1, 1))
        .accepted()
        .and(way_to(TWO, Stage::Accepted))
        .when(TWO.finish(Outcome::DiffReady, Some(diff)));
    end.drafts().into_iter().map(|draft| draft.event).collect()
}

fn is_held(events: &[Event]) -> bool {
    events.iter().any(|event| matches!(event, Event::TargetHeld(_)))
}

fn is_approved(events: &[Event]) -> bool {
    events.iter().any(|event| matches!(event, Event::DiffApproved(_)))
}

#[test]
fn the_others_wait_until_the_first_diff_is_approved() {
    given([Created { pilot: true, ..created(2) }.into()])
        .when(request(TWO.requested(1)))
        .rejected(WaitsForPilot)
        .when(request(ONE.requested(1)))
        .accepted();
    piloted(Policy::Review)
        .when(request(TWO.requested(1)))
        .rejected(WaitsForPilot)
        .when(approve(1, 1))
        .accepted()
        .when(request(TWO.requested(1)))
        .accepted();
}

#[test]
fn under_auto_the_first_diff_still_is_a_persons_to_approve() {
    let job = piloted(Policy::Auto);
    assert_eq!(job.state.job.as_ref().unwrap().targets[&ONE.number()].verdict, None);
    job.when(request(TWO.requested(1))).rejected(WaitsForPilot);
}

#[test]
fn a_first_one_with_nothing_to_change_leaves_its_place_to_the_next() {
    let finish = ONE.finish_turn(1, (BASE, BASE), FinishOutcome::AlreadyCompliant);
    given([Created { pilot: true, ..created(2) }.into()])
        .and(way_to(ONE, Stage::Threaded))
        .and(finish)
        .when(ONE.finish(Outcome::AlreadyCompliant, None))
        .accepted()
        .when(request(TWO.requested(1)))
        .accepted();
}

#[test]
fn a_retry_of_the_approved_one_stops_nobody() {
    piloted(Policy::Review)
        .when(approve(1, 1))
        .accepted()
        .when(retry(&[1]))
        .accepted()
        .when(request(TWO.requested(1)))
        .accepted();
}

#[test]
fn a_diff_like_the_approved_one_is_free_and_others_are_held() {
    let alike = second(Policy::Auto, shaped(TWO, shape()));
    assert!(!is_held(&alike) && is_approved(&alike), "{alike:?}");
    let unlike = [
        ("deletes", DiffShape { deleted: 1, ..shape() }),
        ("adds", DiffShape { added: 3, ..shape() }),
        ("binary", DiffShape { binary: 1, ..shape() }),
        ("mode", DiffShape { mode_changed: 1, ..shape() }),
        ("area", DiffShape { areas: vec![Area::Docs, Area::Code], ..shape() }),
        ("kind", DiffShape { kinds: vec![KindMark::of(".sql")], ..shape() }),
    ];
    for (name, shape) in unlike {
        for policy in [Policy::Auto, Policy::Review] {
            let events = second(policy, shaped(TWO, shape.clone()));
            assert!(is_held(&events) && !is_approved(&events), "{name}: {events:?}");
        }
    }
    let large = DiffProduced { added_line_count: 500, ..shaped(TWO, shape()) };
    assert!(is_held(&second(Policy::Auto, large)));
    let many = DiffProduced { file_count: 7, ..shaped(TWO, shape()) };
    assert!(is_held(&second(Policy::Auto, many)));
}

#[test]
fn what_is_other_is_said() {
    let job = piloted(Policy::Review).when(approve(1, 1)).accepted().state.job.unwrap();
    let other = DiffShape {
        deleted: 1,
        areas: vec![Area::Automation],
        kinds: vec![KindMark::of(".yml")],
        ..DiffShape::default()
    };
    let reasons = crate::job::unlike_pilot(&job, &shaped(TWO, other), &[".yml".to_owned()]);
    expect_test::expect![[r#"
        It deletes 1 file, and the approved diff of target 1 none.
        It touches automation, and the approved diff of target 1 does not.
        It changes `.yml` files, and the approved diff of target 1 does not."#]]
    .assert_eq(&reasons.join("\n"));
}

#[test]
fn the_approved_one_made_again_is_compared_with_what_was_approved() {
    let again = |shape: DiffShape| {
        let mut diff = shaped(ONE, shape);
        diff.round = RoundNumber(2);
        let job = piloted(Policy::Auto).when(approve(1, 1)).accepted().when(retry(&[1])).accepted();
        let way: Vec<Event> = way_to(ONE, Stage::Accepted);
        job.and(way).when(ONE.finish(Outcome::DiffReady, Some(diff))).drafts()
    };
    let events = |shape| again(shape).into_iter().map(|draft| draft.event).collect::<Vec<_>>();
    assert!(!is_held(&events(shape())));
    assert!(is_held(&events(DiffShape { deleted: 1, ..shape() })));
}
