//! Any sequence of wishes, sensible or not: nothing panics, nothing is recorded twice, and sums
//! close.

use cody_events::attempt::AttemptEnd;
use cody_events::event::{Draft, Event};
use cody_events::evidence::{CheckPhase, CheckVerdict, ChecksRan, DependenciesFetched};
use cody_events::ids::{AttemptNumber, CallNumber, TargetNumber};
use cody_events::job::{Created, Limits};
use cody_events::outcome::Outcome;
use cody_events::thread::{
    CallClass, CallFailed, CallPermitted, ClaudeTurn, DiffReviewed, FinishOutcome, Purpose,
    ReviewVerdict, StopReason, ToolsRan,
};
use proptest::prelude::*;

use super::build::*;
use super::given::given;
use super::stage::*;
use super::views::assert_views_agree;
use super::wishes::*;
use crate::job::{Command, Decision, JobState, decide, next_step};

/// The most events that one append takes, and the most bytes of one event's facts.
const MOST_EVENTS: usize = 40;
const MOST_FACTS: usize = 4096;

/// Numbers from which a wish is made.
#[derive(Debug, Clone, Copy)]
struct Dice {
    kind: u8,
    target: u32,
    attempt: u32,
    thread: u32,
    turn: u32,
    call: u32,
    before: u8,
    after: u8,
    pick: usize,
    flag: bool,
}

fn dice() -> impl Strategy<Value = Dice> {
    let numbers = (0..18u8, 1..=3u32, 1..=3u32, 1..=3u32, 1..=3u32, 1..=2u32);
    (numbers, 0..3u8, 0..3u8, 0..64usize, any::<bool>()).prop_map(
        |((kind, target, attempt, thread, turn, call), before, after, pick, flag)| Dice {
            kind,
            target,
            attempt,
            thread,
            turn,
            call,
            before,
            after,
            pick,
            flag,
        },
    )
}

fn pick<T: Copy>(from: &[T], index: usize) -> T {
    from[index % from.len()]
}

const STOPS: [StopReason; 5] = [
    StopReason::ToolUse,
    StopReason::EndTurn,
    StopReason::MaxTokens,
    StopReason::PauseTurn,
    StopReason::Refusal,
];
const CLASSES: [CallClass; 3] =
    [CallClass::Overloaded, CallClass::BoundElsewhere, CallClass::Orphaned];
const ENDS: [AttemptEnd; 5] = [
    AttemptEnd::Completed,
    AttemptEnd::Lost,
    AttemptEnd::Crashed,
    AttemptEnd::Fenced,
    AttemptEnd::Interrupted,
];
const FINISHES: [Option<FinishOutcome>; 5] = [
    None,
    Some(FinishOutcome::Changed),
    Some(FinishOutcome::AlreadyCompliant),
    Some(FinishOutcome::NotApplicable),
    Some(FinishOutcome::Cannot),
];
const VERDICTS: [Option<CheckVerdict>; 6] = [
    None,
    Some(CheckVerdict::Passed),
    Some(CheckVerdict::StillFailing),
    Some(CheckVerdict::Failed),
    Some(CheckVerdict::Unchecked),
    Some(CheckVerdict::Refused),
];

/// The wish that the numbers make, whether or not it makes sense.
fn command(dice: Dice) -> Command {
    let Dice { target, attempt, thread, turn, call, before, after, flag, .. } = dice;
    let on = On(target);
    let attempt_number = AttemptNumber(attempt);
    match dice.kind {
        0 => create(wish(2)),
        1 => cancel(),
        2 | 3 => request(on.requested(attempt)),
        4 => Command::ClaimAttempt(on.started(attempt)),
        5 => end(on.ended(attempt, pick(&ENDS, dice.pick))),
        6 => {
            let mut scan = on.scanned();
            scan.attempt = attempt_number;
            record_scan(scan)
        }
        7 => record_checks(ChecksRan {
            attempt: attempt_number,
            answers_finish: flag,
            verdict: pick(&VERDICTS, dice.pick),
            phase: pick(
                &[CheckPhase::Baseline, CheckPhase::After, CheckPhase::Repair],
                dice.pick / 8,
            ),
            tree: tree(after),
            ..on.baseline()
        }),
        8 => {
            let purpose = pick(&[Purpose::Change, Purpose::Review, Purpose::Fresh], dice.pick);
            start_thread(on.thread(thread, purpose, after))
        }
        9 | 10 => permit(CallPermitted { last: flag, ..on.permitted(thread, turn, call) }),
        11 => fail(CallFailed {
            assumed_micros: RESERVED,
            ..on.failed(thread, turn, call, pick(&CLASSES, dice.pick))
        }),
        12 => {
            let stop = pick(&STOPS, dice.pick);
            let said = if flag { on.turn(thread, turn) } else { on.said(thread, turn, stop) };
            record_turn(ClaudeTurn { call: CallNumber(call), ..said })
        }
        13 => record_tools(ToolsRan {
            attempt: attempt_number,
            finish: pick(&FINISHES, dice.pick),
            interrupted: flag,
            ..on.tools(thread, turn, before, after)
        }),
        14 => {
            let verdict = pick(&[ReviewVerdict::Accept, ReviewVerdict::Object], dice.pick);
            record_review(DiffReviewed {
                answers_finish: flag,
                ..on.reviewed(thread, after, verdict)
            })
        }
        15 => match dice.pick % 4 {
            0 => pause(flag.then_some(target)),
            1 => resume(flag.then_some(target)),
            2 => change_limits(Limits { budget_micros: 50_000_000, ..limits() }),
            _ => retry(if flag { &[1] } else { &[] }),
        },
        16 => record_fetch(DependenciesFetched {
            attempt: attempt_number,
            ..on.fetched(call, u64::from(after))
        }),
        _ => on.finish(
            pick(&Outcome::ALL, dice.pick),
            flag.then(|| on.diff(after, !dice.pick.is_multiple_of(3))),
        ),
    }
}

/// Takes a decision into the state, and asserts what holds for every decision.
fn take(state: &mut JobState, history: &mut Vec<Event>, command: &Command) {
    let before = state.clone();
    let decision = decide(state, command);
    assert_eq!(decide(state, command), decision, "a decision is a function");
    let Decision::Events(drafts) = decision else {
        assert_eq!(*state, before);
        return;
    };
    assert!(!drafts.is_empty() && drafts.len() <= MOST_EVENTS);
    for draft in &drafts {
        read_back(draft);
        state.evolve(&draft.event);
        history.push(draft.event.clone());
    }
    assert_eq!(state.version, before.version + drafts.len() as u64);
    assert_sums_close(state, &drafts);
    match decide(state, command) {
        Decision::Events(again) => panic!("{command:?} is recorded twice: {again:?}"),
        Decision::AlreadyRecorded | Decision::Rejected(_) => {}
    }
    for target in 1..=4 {
        // Every state has a next step for every target, known or not.
        let _ = next_step(state, TargetNumber(target));
    }
}

/// What is recorded can be read, and is small enough to be.
fn read_back(draft: &Draft) {
    let facts = draft.event.facts_json().unwrap();
    assert!(facts.len() <= MOST_FACTS, "{facts}");
    let read = Event::decode(draft.event.kind(), draft.event.schema_version(), &facts).unwrap();
    assert_eq!(read, draft.event);
}

/// `finished` lists each target once, with the outcome that it has.
fn assert_sums_close(state: &JobState, drafts: &[Draft]) {
    let job = state.job.as_ref().unwrap();
    let open = job.targets.values().any(|target| target.outcome.is_none());
    assert_eq!(job.finished, !open, "a job is finished when all its targets are");
    let finished = drafts.iter().filter_map(|draft| match &draft.event {
        Event::Finished(finished) => Some(finished),
        _ => None,
    });
    for finished in finished {
        let listed: Vec<_> = finished.targets.iter().map(|t| (t.target, Some(t.outcome))).collect();
        let known: Vec<_> = job.targets.values().map(|t| (t.number, t.outcome)).collect();
        assert_eq!(listed, known);
        assert_eq!(finished.cost_micros, job.spent_micros());
    }
    for target in job.targets.values() {
        assert_eq!(
            target.money.reserved_micros,
            target.permit.map_or(0, |permit| permit.reserved_micros)
        );
        let over = target.money.committed_micros().saturating_sub(job.limits.budget_micros);
        assert!(over <= RESERVED, "the budget is overrun by {over}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// From nothing, and from every stage, so that deep states are met as well.
    #[test]
    fn any_wishes_in_any_order(stage in 0..=Stage::ALL.len(), wishes in prop::collection::vec(dice(), 0..60)) {
        let limits = Limits { budget_micros: 2_000_000, ..limits() };
        let mut history: Vec<Event> = match stage.checked_sub(1) {
            None => Vec::new(),
            Some(stage) => std::iter::once(Created { limits, fetch_dependencies: true, ..created(2) }.into())
                .chain(way_to(ONE, Stage::ALL[stage]))
                .collect(),
        };
        let mut state = given(history.clone()).state;
        for dice in wishes {
            take(&mut state, &mut history, &command(dice));
        }
        assert_views_agree(&history, &state);
    }
}
