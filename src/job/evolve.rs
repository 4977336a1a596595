//! The fold of events into the state. It never fails: what is in the log has happened.

use cody_events::attempt::{AttemptEnd, AttemptReason};
use cody_events::diff::DiffProduced;
use cody_events::event::Event;
use cody_events::evidence::{CheckPhase, CheckSkip, ChecksRan};
use cody_events::ids::{
    AttemptNumber, CallNumber, RoundNumber, TargetNumber, ThreadNumber, TurnNumber,
};
use cody_events::job::{Created, Limits};
use cody_events::outcome::ReopenReason;
use cody_events::thread::{
    CallClass, CallFailed, CallPermitted, ClaudeTurn, DiffReviewed, Purpose, StopReason,
    ThreadStarted, ToolsRan,
};

use super::money::{Money, OpenPermit};
use super::state::{
    ApprovedPilot, Baseline, Claim, DiffVerdict, Job, JobState, OpenRequest, ProducedDiff, Scanned,
    Target, Thread,
};
use super::stuck::Progress;

impl JobState {
    /// The state after `event`.
    pub fn evolve(&mut self, event: &Event) {
        self.version = self.version.saturating_add(1);
        if let Event::Created(created) = event {
            self.job = Some(Job::new(created));
            return;
        }
        let Some(job) = &mut self.job else { return };
        job.evolve(event);
    }
}

impl Job {
    fn new(created: &Created) -> Self {
        Self {
            policy: created.policy,
            limits: created.limits,
            model: created.model.clone(),
            effort: created.effort,
            checks: created.checks,
            bash: created.bash,
            skip_review: created.skip_review,
            allow: created.allow.iter().copied().collect(),
            fetch_dependencies: created.fetch_dependencies,
            pilot: created.pilot,
            approved_pilot: None,
            paused: false,
            cancelled: false,
            finished: false,
            archived: false,
            last_call_made: false,
            targets: created
                .targets
                .iter()
                .map(|target| {
                    let state = Target {
                        number: target.number,
                        kind: target.kind,
                        repository: target.repository.clone(),
                        ..Target::waiting()
                    };
                    (target.number, state)
                })
                .collect(),
        }
    }

    pub(super) fn evolve(&mut self, event: &Event) {
        match event {
            Event::Created(_) => {}
            Event::Paused(paused) => self.set_paused(paused.target, true),
            Event::Resumed(resumed) => self.set_paused(resumed.target, false),
            Event::Cancelled(_) => self.cancelled = true,
            Event::BudgetChanged(changed) => self.set_limits(changed.limits),
            Event::Finished(_) => self.finished = true,
            Event::TargetReopened(reopened) => {
                self.finished = false;
                self.with(reopened.target, |target| target.reopen(reopened.round, reopened.why));
            }
            Event::AttemptRequested(e) => self.with(e.target, |target| {
                target.base = Some(e.base.clone());
                target.tree.get_or_insert(e.base.tree);
                target.request =
                    Some(OpenRequest { request: e.request, attempt: None, is_over: false });
            }),
            Event::AttemptStarted(e) => self.with(e.target, |target| {
                target.latest_attempt = e.attempt;
                target.fetches = 0;
                target.sandbox = Some(e.sandbox);
                let is_over = target.request.as_ref().is_some_and(|open| open.is_over);
                let attempt = Some(e.attempt);
                target.request = Some(OpenRequest { request: e.request, attempt, is_over });
            }),
            Event::AttemptEnded(e) => {
                self.with(e.target, |target| target.end_attempt(e.how, e.attempt.is_some()));
            }
            Event::RepoScanned(e) => self.with(e.target, |target| {
                target.scan = Some(Scanned { tree: e.tree, check_count: e.check_count });
            }),
            Event::DependenciesFetched(e) => self.with(e.target, |target| {
                let ms = e.fetches.iter().fold(0, |sum: u64, fetch| sum.saturating_add(fetch.ms));
                target.tool_ms = target.tool_ms.saturating_add(ms);
                target.fetches = e.number;
            }),
            Event::ChecksRan(e) => self.with(e.target, |target| target.checks_ran(e)),
            Event::ThreadStarted(e) => self.with(e.target, |target| target.thread_started(e)),
            Event::CallPermitted(e) => {
                let shared = self.shared_remaining_micros();
                self.last_call_made |= e.last && shared.is_some_and(|s| e.reserved_micros > s);
                self.with(e.target, |target| target.call_permitted(e));
            }
            Event::CallFailed(e) => self.with(e.target, |target| target.call_failed(e)),
            Event::ClaudeTurn(e) => self.with(e.target, |target| target.claude_turn(e)),
            Event::ToolsRan(e) => self.with(e.target, |target| target.tools_ran(e)),
            Event::DiffReviewed(e) => self.with(e.target, |target| target.diff_reviewed(e)),
            Event::DiffProduced(e) => self.with(e.target, |target| {
                target.diff = Some(ProducedDiff::of(e));
                target.shape = e.shape.clone();
                target.verdict = None;
            }),
            Event::DiffApproved(e) => self.approved(e.0.target),
            Event::DiffRejected(e) => self.with(e.0.target, |target| {
                target.verdict = Some(DiffVerdict::Rejected);
            }),
            Event::Archived(_) => self.archived = true,
            Event::Unarchived(_) => self.archived = false,
            Event::TargetHeld(e) => self.with(e.0.target, |target| target.held = true),
            Event::TargetFinished(e) => self.with(e.target, |target| {
                target.outcome = Some(e.outcome);
            }),
            Event::ChangesRequested(_)
            | Event::BranchPushed(_)
            | Event::PrOpened(_)
            | Event::PrUpdated(_)
            | Event::DeliveryFailed(_)
            | Event::PayloadRedacted(_)
            | Event::TokenCreated(_)
            | Event::TokenRevoked(_)
            | Event::SettingsChanged(_)
            | Event::EpochOpened(_) => {}
        }
    }

    /// The first approval lets the targets that wait for it go on.
    fn approved(&mut self, number: TargetNumber) {
        let is_pilot = self.pilot_target() == Some(number);
        self.with(number, |target| target.verdict = Some(DiffVerdict::Approved));
        let target = self.targets.get(&number).filter(|_| is_pilot);
        if let Some(diff) = target.and_then(|target| target.diff) {
            self.approved_pilot = Some(ApprovedPilot {
                target: number,
                file_count: diff.file_count,
                line_count: diff.line_count,
                shape: target.and_then(|target| target.shape.clone()),
            });
        }
    }

    /// New limits are a new grant: each allows one last call again.
    pub(super) fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
        self.last_call_made = false;
        for target in self.targets.values_mut() {
            target.last_call_made = false;
        }
    }

    fn with(&mut self, number: TargetNumber, change: impl FnOnce(&mut Target)) {
        if let Some(target) = self.targets.get_mut(&number) {
            change(target);
        }
    }

    fn set_paused(&mut self, target: Option<TargetNumber>, paused: bool) {
        match target {
            Some(number) => self.with(number, |target| target.paused = paused),
            None => self.paused = paused,
        }
    }
}

impl ProducedDiff {
    /// What the rules need of a diff in the log.
    pub(super) fn of(diff: &DiffProduced) -> Self {
        Self {
            tree: diff.tree,
            diff_hash: diff.diff_hash,
            byte_count: diff.byte_count,
            file_count: u64::from(diff.file_count),
            line_count: diff.added_line_count.saturating_add(diff.deleted_line_count),
            partial: diff.partial,
        }
    }
}

impl Target {
    fn waiting() -> Self {
        Self {
            number: TargetNumber::FIRST,
            kind: cody_events::job::TargetKind::Local,
            repository: String::new(),
            round: RoundNumber::FIRST,
            paused: false,
            base: None,
            request: None,
            latest_attempt: AttemptNumber(0),
            sandbox: None,
            next_attempt: AttemptReason::First,
            fruitless_losses: 0,
            scan: None,
            baseline: None,
            tree: None,
            latest_thread: ThreadNumber(0),
            change: None,
            review: None,
            claim: None,
            checked: None,
            repairs: 0,
            permit: None,
            money: Money::default(),
            turns: 0,
            tokens: 0,
            tool_ms: 0,
            fetches: 0,
            last_call_made: false,
            diff: None,
            shape: None,
            held: false,
            verdict: None,
            outcome: None,
        }
    }

    /// A new round. A retry starts over at a base of its own; else the same thread and tree go on.
    fn reopen(&mut self, round: RoundNumber, why: ReopenReason) {
        self.round = round;
        self.outcome = None;
        self.held = false;
        self.verdict = None;
        if let Some(open) = &mut self.request {
            open.is_over = true;
        }
        self.repairs = 0;
        self.fruitless_losses = 0;
        self.next_attempt = match why {
            ReopenReason::ChangesRequested => AttemptReason::ChangesRequested,
            ReopenReason::Retried => AttemptReason::Retried,
            ReopenReason::BudgetRaised => AttemptReason::Resumed,
        };
        if let Some(thread) = &mut self.change {
            thread.truncations = 0;
            thread.idle_turns = 0;
            thread.progress = Progress::default();
        }
        if why == ReopenReason::ChangesRequested {
            // The person's comment answers the open `finish`.
            self.claim = None;
            self.review = None;
        }
        if why == ReopenReason::Retried {
            self.base = None;
            self.scan = None;
            self.baseline = None;
            self.tree = None;
            self.change = None;
            self.review = None;
            self.claim = None;
            self.checked = None;
            self.diff = None;
            self.shape = None;
            // Money and tokens are for the target as a whole; these are for one go at it.
            self.turns = 0;
            self.tool_ms = 0;
        }
    }

    fn end_attempt(&mut self, how: AttemptEnd, claimed: bool) {
        let is_over = self.request.take().is_some_and(|open| open.is_over);
        if is_over {
            return;
        }
        match how {
            AttemptEnd::Lost | AttemptEnd::Crashed => {
                self.fruitless_losses = self.fruitless_losses.saturating_add(1);
                self.next_attempt = AttemptReason::Lost;
                if let (true, Some(thread)) = (claimed, &mut self.change)
                    && thread.tools_open.is_some()
                {
                    thread.tool_losses = thread.tool_losses.saturating_add(1);
                }
            }
            AttemptEnd::Interrupted => self.next_attempt = AttemptReason::Resumed,
            // A worker that leaves with its target unfinished, and says that nothing is left to
            // do or that another has taken over, is as good as lost.
            AttemptEnd::Completed | AttemptEnd::Fenced if self.outcome.is_none() => {
                self.fruitless_losses = self.fruitless_losses.saturating_add(1);
                self.next_attempt = AttemptReason::Lost;
            }
            AttemptEnd::Completed | AttemptEnd::Fenced => {}
        }
    }

    fn checks_ran(&mut self, e: &ChecksRan) {
        let ms = e.commands.iter().fold(0, |sum: u64, command| sum.saturating_add(command.ms));
        self.tool_ms = self.tool_ms.saturating_add(ms);
        if e.phase == CheckPhase::Baseline {
            self.baseline = Some(Baseline { commands: e.commands.clone() });
            return;
        }
        if let (None, Some(verdict)) = (e.skipped, e.verdict) {
            self.checked = Some((e.tree, verdict));
        }
        if e.answers_finish {
            self.claim = None;
            self.repairs = self.repairs.saturating_add(1);
        } else if let Some(claim) = &mut self.claim {
            claim.checks = e.verdict;
            claim.lacked_sandbox = e.skipped == Some(CheckSkip::NoSandbox);
        }
    }

    fn thread_started(&mut self, e: &ThreadStarted) {
        self.latest_thread = e.thread;
        let thread = Thread {
            number: e.thread,
            purpose: e.purpose,
            tree: e.tree,
            next_turn: TurnNumber::FIRST,
            next_call: CallNumber::FIRST,
            tools_open: None,
            tool_losses: 0,
            latest_stop: None,
            truncations: 0,
            idle_turns: 0,
            context_tokens: 0,
            is_refused_prefix: false,
            progress: Progress::default(),
        };
        match e.purpose {
            Purpose::Change | Purpose::Fresh => self.change = Some(thread),
            Purpose::Review => self.review = Some(thread),
        }
    }

    fn call_permitted(&mut self, e: &CallPermitted) {
        self.permit = Some(OpenPermit {
            thread: e.thread,
            turn: e.turn,
            call: e.call,
            reserved_micros: e.reserved_micros,
            max_tokens: e.max_tokens,
            last: e.last,
        });
        self.money.reserved_micros = e.reserved_micros;
        self.last_call_made |= e.last;
        if let Some(thread) = self.thread_mut(e.thread) {
            thread.next_call = e.call.next();
            if let Some(sign) = e.warning {
                thread.progress.warn(e.turn, sign);
            }
        }
    }

    fn settle(&mut self) {
        self.permit = None;
        self.money.reserved_micros = 0;
    }

    fn call_failed(&mut self, e: &CallFailed) {
        self.settle();
        self.money.assumed_micros = self.money.assumed_micros.saturating_add(e.assumed_micros);
        if let Some(thread) = self.thread_mut(e.thread) {
            thread.is_refused_prefix |= match e.class {
                CallClass::BoundElsewhere | CallClass::ModelGone => true,
                CallClass::Overloaded
                | CallClass::RateLimited
                | CallClass::SpendCap
                | CallClass::ServerError
                | CallClass::Timeout
                | CallClass::Idle
                | CallClass::Dropped
                | CallClass::Truncated
                | CallClass::BadRequest
                | CallClass::ContextExceeded
                | CallClass::TooLarge
                | CallClass::Authentication
                | CallClass::Billing
                | CallClass::Permission
                | CallClass::NotFound
                | CallClass::Conflict
                | CallClass::Malformed
                | CallClass::Orphaned => false,
            };
        }
    }

    fn claude_turn(&mut self, e: &ClaudeTurn) {
        self.settle();
        self.money.known_micros = self.money.known_micros.saturating_add(e.cost_micros);
        self.tokens = self.tokens.saturating_add(e.usage.total());
        self.fruitless_losses = 0;
        let Some(thread) = self.thread_mut(e.thread) else { return };
        let makes_change = thread.purpose != Purpose::Review;
        thread.next_turn = e.turn.next();
        thread.next_call = CallNumber::FIRST;
        thread.latest_stop = Some(e.stop_reason);
        if e.in_history {
            thread.context_tokens = e.usage.total();
        }
        thread.truncations = match e.stop_reason {
            StopReason::MaxTokens => thread.truncations.saturating_add(1),
            StopReason::EndTurn
            | StopReason::StopSequence
            | StopReason::ToolUse
            | StopReason::PauseTurn
            | StopReason::Refusal
            | StopReason::ModelContextWindowExceeded
            | StopReason::Unknown => 0,
        };
        if e.in_history && e.tool_count > 0 {
            thread.tools_open = Some(e.turn);
            thread.tool_losses = 0;
            thread.idle_turns = 0;
        } else if thread.truncations == 0 && e.stop_reason != StopReason::PauseTurn {
            thread.idle_turns = thread.idle_turns.saturating_add(1);
        }
        self.turns = self.turns.saturating_add(u32::from(makes_change));
    }

    fn tools_ran(&mut self, e: &ToolsRan) {
        self.tree = Some(e.tree_after);
        self.tool_ms = self.tool_ms.saturating_add(e.tool_ms());
        if let Some(thread) = self.thread_mut(e.thread) {
            thread.tools_open = None;
            thread.tool_losses = 0;
            thread.progress.tools_ran(e);
        }
        if let Some(outcome) = e.finish {
            self.claim = Some(Claim {
                thread: e.thread,
                turn: e.turn,
                outcome,
                tree: e.tree_after,
                checks: None,
                lacked_sandbox: false,
                review: None,
            });
            self.review = None;
        }
    }

    fn diff_reviewed(&mut self, e: &DiffReviewed) {
        if e.answers_finish {
            self.claim = None;
            self.review = None;
            self.repairs = self.repairs.saturating_add(1);
        } else if let Some(claim) = &mut self.claim {
            claim.review = Some(e.verdict);
        }
    }
}
