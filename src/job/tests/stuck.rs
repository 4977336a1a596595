//! Work that leads nowhere: one warning, then an end.

use cody_events::digest::Sha256;
use cody_events::outcome::Outcome;
use cody_events::thread::{CallPermitted, StuckSign, ToolsRan};

use super::build::*;
use super::given::Given;
use super::stage::talking;
use super::wishes::*;
use crate::job::{Conclusion, NextStep, RejectionCode};

/// A turn of tools: what they did, by a number, and the tree they left.
#[derive(Clone, Copy)]
struct Turn(u8, u8);

/// A job in which these turns ran, each answering its call; `warned` is the turn that carried one.
fn after(turns: &[Turn], warned: Option<(u32, StuckSign)>) -> Given {
    let mut given = talking(1, limits());
    let mut before = BASE;
    for (number, Turn(work, tree)) in (1..).zip(turns) {
        let warning = warned.filter(|(turn, _)| *turn == number).map(|(_, sign)| sign);
        let permit = CallPermitted { warning, ..ONE.permitted(1, number, 1) };
        let work_hash = Some(Sha256::of(&[*work]));
        let ran = ToolsRan { work_hash, ..ONE.tools(1, number, before, *tree) };
        given = given.and([permit.into(), ONE.turn(1, number).into(), ran.into()]);
        before = *tree;
    }
    given
}

fn due(given: &Given) -> Option<StuckSign> {
    let job = given.state.job.as_ref().unwrap();
    let thread = job.targets.values().next().unwrap().change.as_ref().unwrap();
    thread.progress.due_warning(thread.next_turn)
}

fn ended(given: &Given) -> Option<StuckSign> {
    let job = given.state.job.as_ref().unwrap();
    match crate::job::next_step(&given.state, *job.targets.keys().next().unwrap()) {
        NextStep::Conclude { outcome: Outcome::Stuck, why: Conclusion::LedNowhere(sign) } => {
            Some(sign)
        }
        _ => None,
    }
}

#[test]
fn the_same_call_with_the_same_result_is_warned_of_at_the_third_time() {
    let same = [Turn(1, 1); 6];
    assert_eq!(due(&after(&same[..2], None)), None);
    assert_eq!(due(&after(&same[..3], None)), Some(StuckSign::SameWork));
    let warned = Some((4, StuckSign::SameWork));
    // The turn that was asked for with the warning may come out as before; the next may not.
    assert_eq!((due(&after(&same[..4], warned)), ended(&after(&same[..4], warned))), (None, None));
    assert_eq!(ended(&after(&same[..5], warned)), Some(StuckSign::SameWork));
    let other = [Turn(1, 1), Turn(1, 1), Turn(2, 1), Turn(1, 1), Turn(1, 1)];
    assert_eq!(due(&after(&other, None)), None);
}

#[test]
fn making_and_undoing_the_same_edit_is_warned_of() {
    let flip = [Turn(1, 1), Turn(2, BASE), Turn(3, 1), Turn(4, BASE), Turn(5, 1), Turn(6, 9)];
    assert_eq!(due(&after(&flip[..3], None)), None);
    assert_eq!(due(&after(&flip[..4], None)), Some(StuckSign::EditUndo));
    assert_eq!(
        ended(&after(&flip[..5], Some((5, StuckSign::EditUndo)))),
        Some(StuckSign::EditUndo)
    );
    // Trying one way after another from the same start is no loop.
    let tries = [Turn(1, 1), Turn(2, BASE), Turn(3, 2), Turn(4, BASE), Turn(5, 3), Turn(6, BASE)];
    assert_eq!(due(&after(&tries, None)), None);
}

#[test]
fn many_turns_without_a_change_are_warned_of() {
    let still: Vec<Turn> = (0..36).map(|work| Turn(work, BASE)).collect();
    assert_eq!(due(&after(&still[..23], None)), None);
    assert_eq!(due(&after(&still[..24], None)), Some(StuckSign::NoChange));
    let warned = Some((25, StuckSign::NoChange));
    assert_eq!(ended(&after(&still[..35], warned)), None);
    assert_eq!(ended(&after(&still[..36], warned)), Some(StuckSign::NoChange));
}

#[test]
fn the_warning_stands_in_every_try_of_its_call_and_in_no_other() {
    let given = after(&[Turn(1, 1); 3], None);
    let warns =
        |call| CallPermitted { warning: Some(StuckSign::SameWork), ..ONE.permitted(1, 4, call) };
    given.clone().when(permit(ONE.permitted(1, 4, 1))).rejected(RejectionCode::OutOfOrder);
    let failed = ONE.failed(1, 4, 1, cody_events::thread::CallClass::Overloaded);
    given
        .when(permit(warns(1)))
        .accepted()
        .and([failed.into()])
        .when(permit(ONE.permitted(1, 4, 2)))
        .rejected(RejectionCode::OutOfOrder)
        .when(permit(warns(2)))
        .accepted()
        .and([
            cody_events::thread::ClaudeTurn {
                call: cody_events::ids::CallNumber(2),
                ..ONE.turn(1, 4)
            }
            .into(),
            ONE.tools(1, 4, 1, 1).into(),
        ])
        .when(permit(CallPermitted {
            warning: Some(StuckSign::SameWork),
            ..ONE.permitted(1, 5, 1)
        }))
        .rejected(RejectionCode::OutOfOrder)
        .when(permit(ONE.permitted(1, 5, 1)))
        .accepted();
}
