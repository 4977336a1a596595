//! Whole stories: a worker, a dispatcher and a converser that do what `next_step` says, while
//! workers die, calls fail, checks fail and reviewers object. Each story ends, with one outcome a
//! target, within a bounded number of steps.

use std::collections::VecDeque;

use cody_events::attempt::{AttemptEnd, AttemptEnded};
use cody_events::event::Event;
use cody_events::evidence::{CheckPhase, CheckSkip, CheckVerdict, ChecksRan};
use cody_events::ids::{AttemptNumber, ThreadNumber, TurnNumber};
use cody_events::job::{Created, Limits};
use cody_events::outcome::Outcome;
use cody_events::thread::{
    CallClass, CallFailed, CallPermitted, ClaudeTurn, DiffReviewed, FinishOutcome, Purpose,
    ReviewVerdict, StopReason, ThreadStarted, ToolsRan,
};
use proptest::prelude::*;

use super::build::*;
use super::wishes::*;
use crate::job::state::{Target, Thread};
use crate::job::{
    Command, Decision, JobState, MAX_FRUITLESS_LOSSES, MAX_REPAIRS, NextStep, RejectionCode,
    decide, next_step,
};

const TARGETS: u32 = 3;
const MAX_TURNS: u32 = 12;
/// Calls that a converser makes for one turn before it gives up.
const MAX_CALLS: u32 = 4;
/// No story is longer than this: far above what is needed, far below for ever.
const MOST_STEPS: usize = 4_000;

/// A world of faults.
struct World {
    state: JobState,
    log: Vec<Event>,
    /// What goes wrong, or not, in the order in which it is asked; then nothing goes wrong.
    luck: VecDeque<u8>,
}

impl World {
    fn new(limits: Limits, luck: Vec<u8>) -> Self {
        let mut world = Self { state: JobState::default(), log: Vec::new(), luck: luck.into() };
        world.add(Created { limits, ..created(TARGETS) }.into());
        world
    }

    fn add(&mut self, event: Event) {
        self.state.evolve(&event);
        self.log.push(event);
    }

    /// Carries a wish out; anything but events is told.
    fn execute(&mut self, command: &Command) -> Result<(), Decision> {
        match decide(&self.state, command) {
            Decision::Events(drafts) => {
                drafts.into_iter().for_each(|draft| self.add(draft.event));
                Ok(())
            }
            other => Err(other),
        }
    }

    /// Carries out what the rules themselves asked for.
    #[track_caller]
    fn must(&mut self, command: &Command) {
        if let Err(decision) = self.execute(command) {
            panic!("the rules asked for {command:?} and then said {decision:?}");
        }
    }

    /// A number below `sides`; 0 is the good case.
    fn roll(&mut self, sides: u8) -> u8 {
        self.luck.pop_front().map_or(0, |byte| byte % sides)
    }

    fn target(&self, on: On) -> &Target {
        &self.state.job.as_ref().unwrap().targets[&on.number()]
    }

    /// One step of one target.
    fn step(&mut self, on: On) {
        let target = self.target(on);
        if target.outcome.is_some() {
            return;
        }
        let latest = target.latest_attempt.0;
        match target.request.clone() {
            None if target.fruitless_losses >= MAX_FRUITLESS_LOSSES => {
                self.conclude(on, Outcome::Failed);
            }
            None => {
                // Requests are numbered apart from attempts: some are never claimed.
                let number = u32::try_from(self.log.len()).unwrap();
                self.must(&request(on.requested(number)));
            }
            Some(open) if open.attempt.is_none() => {
                if self.roll(6) == 1 {
                    let how = AttemptEnd::Crashed;
                    let ended =
                        AttemptEnded { attempt: None, request: open.request, ..on.ended(0, how) };
                    self.must(&end(ended));
                } else {
                    let mut claim = on.started(latest + 1);
                    claim.request = open.request;
                    self.must(&Command::ClaimAttempt(claim));
                }
            }
            Some(open) => match self.roll(12) {
                1 => {
                    let ended = AttemptEnded {
                        request: open.request,
                        ..on.ended(latest, AttemptEnd::Lost)
                    };
                    self.must(&end(ended));
                }
                _ => self.work(on, AttemptNumber(latest)),
            },
        }
    }

    /// What the attempt that holds the target does, or has done by the server.
    fn work(&mut self, on: On, attempt: AttemptNumber) {
        match next_step(&self.state, on.number()) {
            NextStep::Scan => {
                let mut scan = on.scanned();
                scan.attempt = attempt;
                self.must(&record_scan(scan));
            }
            NextStep::RunChecks { phase: CheckPhase::Baseline, .. } => {
                self.must(&record_checks(ChecksRan { attempt, ..on.baseline() }));
            }
            NextStep::RunChecks { phase, tree } => {
                let verdict = [
                    CheckVerdict::Passed,
                    CheckVerdict::Failed,
                    CheckVerdict::Unchecked,
                    CheckVerdict::StillFailing,
                ][usize::from(self.roll(4))];
                let skipped = (verdict == CheckVerdict::Unchecked).then_some(CheckSkip::NoCommands);
                self.judge(
                    on,
                    attempt,
                    ChecksRan { phase, tree, skipped, ..on.checked(0, verdict) },
                );
            }
            NextStep::ReuseChecks { phase, tree, verdict } => {
                let skipped = Some(CheckSkip::SameTree);
                self.judge(
                    on,
                    attempt,
                    ChecksRan { phase, tree, skipped, ..on.checked(0, verdict) },
                );
            }
            NextStep::RefuseClaim { phase, tree, .. } => {
                let skipped = Some(CheckSkip::ClaimRefused);
                let verdict = CheckVerdict::Refused;
                self.judge(
                    on,
                    attempt,
                    ChecksRan { phase, tree, skipped, ..on.checked(0, verdict) },
                );
            }
            NextStep::RunTools { thread, turn } => self.run_tools(on, attempt, thread, turn),
            NextStep::InterruptTools { thread, turn } => {
                let tree = self.target(on).tree.unwrap();
                self.must(&record_tools(ToolsRan {
                    attempt,
                    interrupted: true,
                    tree_before: tree,
                    tree_after: tree,
                    ..on.tools(thread.0, turn.0, 0, 0)
                }));
            }
            NextStep::StartThread { purpose, .. } => {
                let target = self.target(on);
                let thread = target.latest_thread.next().0;
                let tree = target.tree.unwrap();
                self.must(&start_thread(ThreadStarted { tree, ..on.thread(thread, purpose, 0) }));
            }
            NextStep::Converse { thread } => self.converse(on, thread),
            NextStep::ReadReview { thread } => self.read_review(on, thread),
            NextStep::Conclude { outcome, .. } => self.conclude(on, outcome),
            NextStep::Leave(why) => panic!("an open target has nothing to do: {why:?}"),
        }
    }

    fn judge(&mut self, on: On, attempt: AttemptNumber, checks: ChecksRan) {
        let repairs = self.target(on).repairs;
        let answers_finish = match checks.verdict {
            Some(CheckVerdict::Failed | CheckVerdict::Refused) => repairs < MAX_REPAIRS,
            Some(CheckVerdict::StillFailing) => repairs == 0,
            Some(CheckVerdict::Passed | CheckVerdict::Unchecked) | None => false,
        };
        self.must(&record_checks(ChecksRan { attempt, answers_finish, ..checks }));
    }

    fn run_tools(
        &mut self,
        on: On,
        attempt: AttemptNumber,
        thread: ThreadNumber,
        turn: TurnNumber,
    ) {
        let before = self.target(on).tree.unwrap();
        let (after, finish) = match self.roll(8) {
            0 => (tree(self.roll(5) + 1), Some(FinishOutcome::Changed)),
            1 => (before, Some(FinishOutcome::Changed)),
            2 => (before, Some(FinishOutcome::AlreadyCompliant)),
            3 => (before, Some(FinishOutcome::NotApplicable)),
            4 => (before, Some(FinishOutcome::Cannot)),
            5 => (tree(BASE), None),
            _ => (tree(self.roll(5) + 1), None),
        };
        self.must(&record_tools(ToolsRan {
            attempt,
            finish,
            tree_before: before,
            tree_after: after,
            ..on.tools(thread.0, turn.0, 0, 0)
        }));
    }

    /// One call, as the converser makes it.
    fn converse(&mut self, on: On, thread: ThreadNumber) {
        self.settle(on);
        let state = self.target(on).thread(thread).unwrap().clone();
        let (turn, call) = (state.next_turn.0, state.next_call.0);
        let warning = state.progress.due_warning(state.next_turn);
        let wanted = CallPermitted { warning, ..on.permitted(thread.0, turn, call) };
        let permits = [wanted.clone(), CallPermitted { last: true, ..wanted }];
        for asked in permits {
            match self.execute(&permit(asked)) {
                Ok(()) => return self.answer(on, &state, turn, call),
                Err(Decision::Rejected(no)) if no.code == RejectionCode::BudgetBusy => {
                    return self.settle_finished();
                }
                Err(Decision::Rejected(no)) if no.code == RejectionCode::BudgetSpent => {}
                Err(other) => panic!("the rules asked for a call and said {other:?}"),
            }
        }
        self.conclude(on, Outcome::BudgetStopped);
    }

    /// Charges a call that the server stopped during.
    fn settle(&mut self, on: On) {
        if let Some(open) = self.target(on).permit {
            let (turn, call) = (open.turn.0, open.call.0);
            let failed = on.failed(open.thread.0, turn, call, CallClass::Orphaned);
            self.must(&fail(CallFailed { assumed_micros: open.reserved_micros, ..failed }));
        }
    }

    /// Whoever waits for money that others hold settles what nobody will come back for.
    fn settle_finished(&mut self) {
        for on in (1..=TARGETS).map(On) {
            if self.target(on).outcome.is_some() {
                self.settle(on);
            }
        }
    }

    fn answer(&mut self, on: On, thread: &Thread, turn: u32, call: u32) {
        let number = thread.number.0;
        let said = |stop| ClaudeTurn { call: thread.next_call, ..on.said(number, turn, stop) };
        let luck = self.roll(12);
        let is_review = thread.purpose == Purpose::Review;
        match luck {
            1 => self.call_fails(on, number, turn, call, CallClass::Overloaded),
            2 => self.call_fails(on, number, turn, call, CallClass::BoundElsewhere),
            // The server dies before it can record anything.
            3 => {}
            4 => self.must(&record_turn(said(StopReason::MaxTokens))),
            5 => self.must(&record_turn(said(StopReason::PauseTurn))),
            6 => self.must(&record_turn(said(StopReason::Refusal))),
            7 => self.must(&record_turn(said(StopReason::ModelContextWindowExceeded))),
            8 => self.must(&record_turn(said(StopReason::EndTurn))),
            _ if is_review => self.must(&record_turn(said(StopReason::EndTurn))),
            _ => {
                let answer = ClaudeTurn { call: thread.next_call, ..on.turn(number, turn) };
                self.must(&record_turn(answer));
            }
        }
    }

    fn call_fails(&mut self, on: On, thread: u32, turn: u32, call: u32, class: CallClass) {
        self.must(&fail(on.failed(thread, turn, call, class)));
        if class == CallClass::Overloaded && call >= MAX_CALLS {
            self.conclude(on, Outcome::Failed);
        }
    }

    fn read_review(&mut self, on: On, thread: ThreadNumber) {
        let target = self.target(on);
        let spoke = target.thread(thread).unwrap().latest_stop == Some(StopReason::EndTurn);
        let (tree, repairs) = (target.claim.as_ref().unwrap().tree, target.repairs);
        let accepts = spoke && self.roll(3) == 0;
        let verdict = if accepts { ReviewVerdict::Accept } else { ReviewVerdict::Object };
        let answers_finish = spoke && !accepts && repairs < MAX_REPAIRS;
        let reviewed = on.reviewed(thread.0, 0, verdict);
        self.must(&record_review(DiffReviewed { tree, answers_finish, ..reviewed }));
    }

    fn conclude(&mut self, on: On, outcome: Outcome) {
        let target = self.target(on);
        let diff = target.is_changed().then(|| {
            let mut diff = on.diff(0, outcome != Outcome::DiffReady);
            diff.tree = target.tree.unwrap();
            diff
        });
        self.must(&on.finish(outcome, diff));
    }

    /// Goes on until the job is finished.
    fn play(&mut self) {
        for step in 0..MOST_STEPS {
            if self.state.job.as_ref().unwrap().finished {
                return;
            }
            self.step(On(u32::try_from(step).unwrap() % TARGETS + 1));
            if self.roll(200) == 199 {
                let _ = self.execute(&cancel());
            }
        }
        panic!("the story has no end: {:#?}", self.state);
    }

    /// What must hold at the end of every story.
    fn assert_good(&self) {
        let job = self.state.job.as_ref().unwrap();
        for on in (1..=TARGETS).map(On) {
            let ends: Vec<Outcome> = self
                .log
                .iter()
                .filter_map(|event| match event {
                    Event::TargetFinished(e) if e.target == on.number() => Some(e.outcome),
                    _ => None,
                })
                .collect();
            assert_eq!(ends, [self.target(on).outcome.unwrap()]);
            if ends == [Outcome::DiffReady] {
                self.assert_borne_out(on);
            }
            let over =
                self.target(on).money.spent_micros().saturating_sub(job.limits.budget_micros);
            assert!(over <= RESERVED, "target {} overran its budget by {over}", on.0);
            assert!(self.target(on).turns <= MAX_TURNS);
        }
        let ends = self.log.iter().filter(|event| matches!(event, Event::Finished(_))).count();
        assert_eq!(ends, 1);
        let budget = job.limits.job_budget_micros.unwrap_or(u64::MAX);
        let over = job.spent_micros().saturating_sub(budget);
        assert!(over <= RESERVED, "the job overran its budget by {over}");
        assert_eq!(job.spent_micros(), self.paid(), "each response is paid for once");
    }

    /// A delivered tree passed its checks, or none could run, and the review accepted it.
    fn assert_borne_out(&self, on: On) {
        let tree = self.target(on).tree.unwrap();
        assert_ne!(tree, super::build::tree(BASE));
        let verdict = self.log.iter().rev().find_map(|event| match event {
            Event::ChecksRan(e) if e.target == on.number() && e.tree == tree => Some(e.verdict),
            _ => None,
        });
        assert!(matches!(
            verdict,
            Some(Some(CheckVerdict::Passed | CheckVerdict::Unchecked | CheckVerdict::StillFailing))
        ));
        let review = self.log.iter().rev().find_map(|event| match event {
            Event::DiffReviewed(e) if e.target == on.number() => Some((e.tree, e.verdict)),
            _ => None,
        });
        assert_eq!(review, Some((tree, ReviewVerdict::Accept)));
    }

    fn paid(&self) -> u64 {
        self.log
            .iter()
            .map(|event| match event {
                Event::ClaudeTurn(e) => e.cost_micros,
                Event::CallFailed(e) => e.assumed_micros,
                _ => 0,
            })
            .sum()
    }
}

fn limits_of_stories() -> impl Strategy<Value = Limits> {
    let shared = prop_oneof![Just(None), (1..6_000_000u64).prop_map(Some)];
    (1..5_000_000u64, shared).prop_map(|(budget_micros, job_budget_micros)| Limits {
        budget_micros,
        job_budget_micros,
        max_turns: MAX_TURNS,
        ..limits()
    })
}

#[test]
fn with_good_luck_every_target_ends_with_a_diff() {
    let mut world = World::new(Limits { max_turns: MAX_TURNS, ..limits() }, Vec::new());
    world.play();
    world.assert_good();
    let outcomes: Vec<Outcome> =
        (1..=TARGETS).map(|target| world.target(On(target)).outcome.unwrap()).collect();
    assert_eq!(outcomes, [Outcome::DiffReady; 3]);
    // Two calls a target: one that makes the change, one that reviews it.
    assert_eq!(world.paid(), 6 * COST);
}

#[test]
fn the_worst_luck_ends_as_well() {
    let world =
        |fault: u8| World::new(Limits { max_turns: MAX_TURNS, ..limits() }, vec![fault; 100_000]);
    for fault in 0..=255 {
        let mut world = world(fault);
        world.play();
        world.assert_good();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn every_story_ends_in_one_outcome_a_target(
        limits in limits_of_stories(),
        luck in prop::collection::vec(any::<u8>(), 0..600),
    ) {
        let mut world = World::new(limits, luck);
        world.play();
        world.assert_good();
    }
}
