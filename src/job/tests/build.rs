//! Events and commands with sensible defaults; a test changes only what it is about.

use cody_events::attempt::{
    AttemptEnd, AttemptEnded, AttemptReason, AttemptRequested, AttemptStarted, Base, Executor,
    SandboxBackend,
};
use cody_events::diff::{DiffProduced, DiffProducedPayload, Patch};
use cody_events::digest::{ObjectId, Sha256};
use cody_events::event::Event;
use cody_events::evidence::{
    CheckPhase, CheckVerdict, ChecksRan, DependenciesFetched, Ecosystem, Fetch, FetchOutcome,
    RepoScanned,
};
use cody_events::ids::{
    AttemptNumber, CallNumber, RequestId, RoundNumber, TargetNumber, ThreadNumber, TurnNumber,
};
use cody_events::job::{
    CheckSource, Created, CreatedTarget, Limits, Policy, SharedLimits, TargetKind,
};
use cody_events::outcome::Outcome;
use cody_events::thread::{
    CallClass, CallFailed, CallPermitted, ClaudeTurn, DiffReviewed, FinishOutcome, Purpose,
    ReviewVerdict, StopReason, ThreadStarted, ToolsRan, Usage,
};

use crate::job::Command;
use crate::job::command::FinishTarget;

/// The tree of the base.
pub const BASE: u8 = 0;
/// Micro-dollars that a call of these tests reserves.
pub const RESERVED: u64 = 900_000;
/// Micro-dollars that a response of these tests costs.
pub const COST: u64 = 100_000;

pub fn tree(number: u8) -> ObjectId {
    ObjectId([number; 20])
}

pub fn limits() -> Limits {
    Limits {
        budget_micros: 5_000_000,
        job_budget_micros: None,
        max_turns: 60,
        max_tokens: None,
        max_wall_ms: None,
        max_tool_ms: None,
        max_diff_bytes: None,
        shared: SharedLimits::default(),
    }
}

/// A job with targets from 1 to `targets`.
pub fn created(targets: u32) -> Created {
    Created {
        targets: (1..=targets)
            .map(|number| CreatedTarget {
                number: TargetNumber(number),
                kind: TargetKind::Github,
                repository: format!("acme/app-{number}"),
            })
            .collect(),
        policy: Policy::Review,
        limits: limits(),
        model: "claude-test".to_owned(),
        effort: None,
        checks: CheckSource::Detected,
        bash: true,
        skip_review: false,
        fetch_dependencies: false,
        allow: Vec::new(),
        pilot: false,
        recipe: None,
        app_version: "0.1.0".to_owned(),
    }
}

/// Events of one target.
#[derive(Debug, Clone, Copy)]
pub struct On(pub u32);

/// The target of tests that need only one.
pub const ONE: On = On(1);

impl On {
    pub fn number(self) -> TargetNumber {
        TargetNumber(self.0)
    }

    pub fn base(self) -> Base {
        Base {
            commit: ObjectId([0xc0; 20]),
            tree: tree(BASE),
            branch: "main".to_owned(),
            pack: Sha256([7; 32]),
        }
    }

    /// The request that attempt `attempt` claims.
    pub fn request(self, attempt: u32) -> RequestId {
        let id = u128::from(self.0) * 1_000 + u128::from(attempt);
        RequestId(uuid::Uuid::from_u128(id))
    }

    pub fn requested(self, attempt: u32) -> AttemptRequested {
        AttemptRequested {
            target: self.number(),
            round: RoundNumber::FIRST,
            request: self.request(attempt),
            base: self.base(),
            executor: Executor::Local,
            why: if attempt == 1 { AttemptReason::First } else { AttemptReason::Lost },
        }
    }

    pub fn started(self, attempt: u32) -> AttemptStarted {
        AttemptStarted {
            target: self.number(),
            attempt: AttemptNumber(attempt),
            request: self.request(attempt),
            worker: format!("host:{attempt}"),
            app_version: "0.1.0".to_owned(),
            image: None,
            sandbox: SandboxBackend::Bubblewrap,
            batch_job_id: None,
            batch_job_try: None,
        }
    }

    pub fn ended(self, attempt: u32, how: AttemptEnd) -> AttemptEnded {
        AttemptEnded {
            target: self.number(),
            attempt: Some(AttemptNumber(attempt)),
            request: self.request(attempt),
            how,
        }
    }

    pub fn scanned(self) -> RepoScanned {
        RepoScanned {
            target: self.number(),
            attempt: AttemptNumber(1),
            base_commit: self.base().commit,
            tree: tree(BASE),
            pack: self.base().pack,
            default_branch: "main".to_owned(),
            languages: Vec::new(),
            file_count: 3,
            byte_count: 300,
            check_count: 1,
        }
    }

    pub fn baseline(self) -> ChecksRan {
        ChecksRan {
            target: self.number(),
            attempt: AttemptNumber(1),
            tree: tree(BASE),
            phase: CheckPhase::Baseline,
            image: None,
            cache: None,
            commands: Vec::new(),
            skipped: None,
            verdict: None,
            answers_finish: false,
        }
    }

    /// Checks of the tree that a claim is about; a failure is sent back.
    pub fn fetched(self, number: u32, ms: u64) -> DependenciesFetched {
        let fetch = Fetch {
            ecosystem: Ecosystem::Cargo,
            key: Sha256::ZERO,
            outcome: FetchOutcome::Fetched,
            exit_code: Some(0),
            ms,
            network_bytes: 1_000,
            lock_changed: false,
        };
        DependenciesFetched {
            target: self.number(),
            attempt: AttemptNumber(1),
            number,
            fetches: vec![fetch],
        }
    }

    pub fn checked(self, number: u8, verdict: CheckVerdict) -> ChecksRan {
        ChecksRan {
            tree: tree(number),
            phase: CheckPhase::After,
            verdict: Some(verdict),
            answers_finish: verdict == CheckVerdict::Failed,
            ..self.baseline()
        }
    }

    pub fn thread(self, thread: u32, purpose: Purpose, on: u8) -> ThreadStarted {
        ThreadStarted {
            target: self.number(),
            thread: ThreadNumber(thread),
            round: RoundNumber::FIRST,
            purpose,
            parent: (thread > 1).then_some(ThreadNumber(1)),
            model: "claude-test".to_owned(),
            prefix_hash: Sha256([thread as u8; 32]),
            tree: tree(on),
        }
    }

    pub fn permitted(self, thread: u32, turn: u32, call: u32) -> CallPermitted {
        CallPermitted {
            target: self.number(),
            thread: ThreadNumber(thread),
            turn: TurnNumber(turn),
            call: CallNumber(call),
            request_hash: Sha256([9; 32]),
            max_tokens: 32_000,
            reserved_micros: RESERVED,
            price_table: "test".to_owned(),
            last: false,
            warning: None,
        }
    }

    pub fn failed(self, thread: u32, turn: u32, call: u32, class: CallClass) -> CallFailed {
        CallFailed {
            target: self.number(),
            thread: ThreadNumber(thread),
            turn: TurnNumber(turn),
            call: CallNumber(call),
            class,
            status: None,
            request_id: None,
            usage: None,
            assumed_micros: 0,
            ms: 10,
        }
    }

    /// A response that calls one tool.
    pub fn turn(self, thread: u32, turn: u32) -> ClaudeTurn {
        ClaudeTurn {
            target: self.number(),
            thread: ThreadNumber(thread),
            turn: TurnNumber(turn),
            call: CallNumber::FIRST,
            stop_reason: StopReason::ToolUse,
            in_history: true,
            tool_count: 1,
            usage: Usage { input_tokens: 900, output_tokens: 100, ..Usage::default() },
            cost_micros: COST,
            ms: 1_000,
            request_id: None,
        }
    }

    /// A response that stops for `stop` without calling a tool.
    pub fn said(self, thread: u32, turn: u32, stop: StopReason) -> ClaudeTurn {
        let in_history = match stop {
            StopReason::EndTurn
            | StopReason::StopSequence
            | StopReason::PauseTurn
            | StopReason::Unknown => true,
            StopReason::ToolUse
            | StopReason::MaxTokens
            | StopReason::Refusal
            | StopReason::ModelContextWindowExceeded => false,
        };
        ClaudeTurn { stop_reason: stop, in_history, tool_count: 0, ..self.turn(thread, turn) }
    }

    pub fn tools(self, thread: u32, turn: u32, before: u8, after: u8) -> ToolsRan {
        ToolsRan {
            target: self.number(),
            attempt: AttemptNumber(1),
            thread: ThreadNumber(thread),
            turn: TurnNumber(turn),
            tool_count: 1,
            tools: Vec::new(),
            tools_hash: Sha256([8; 32]),
            tree_before: tree(before),
            tree_after: tree(after),
            changed_count: u32::from(before != after),
            blob_bytes: 0,
            finish: None,
            interrupted: false,
            work_hash: None,
            total_ms: None,
        }
    }

    pub fn reviewed(self, thread: u32, on: u8, verdict: ReviewVerdict) -> DiffReviewed {
        DiffReviewed {
            target: self.number(),
            thread: ThreadNumber(thread),
            turn: TurnNumber::FIRST,
            tree: tree(on),
            verdict,
            answers_finish: verdict == ReviewVerdict::Object,
        }
    }

    pub fn diff(self, on: u8, partial: bool) -> DiffProduced {
        DiffProduced {
            target: self.number(),
            round: RoundNumber::FIRST,
            base_commit: self.base().commit,
            tree: tree(on),
            diff_hash: Sha256([on; 32]),
            file_count: 1,
            added_line_count: 1,
            deleted_line_count: 1,
            byte_count: 100,
            partial,
            touches: Vec::new(),
            secret_count: 0,
            shape: None,
        }
    }

    pub fn finish(self, outcome: Outcome, diff: Option<DiffProduced>) -> Command {
        let payload = DiffProducedPayload {
            patch: Patch::Text("diff --git a/a b/a\n".to_owned()),
            files: Vec::new(),
            title: "Log".to_owned(),
            summary: "Logs.".to_owned(),
            evidence: Vec::new(),
        };
        Command::FinishTarget(Box::new(FinishTarget {
            target: self.number(),
            outcome,
            evidence: vec!["It was seen.".to_owned()],
            diff: diff.map(|facts| (facts, payload)),
            held: Vec::new(),
        }))
    }

    /// A permit and its response.
    pub fn call(self, response: ClaudeTurn) -> Vec<Event> {
        let permit = self.permitted(response.thread.0, response.turn.0, response.call.0);
        vec![permit.into(), response.into()]
    }

    /// A whole turn in which tools make tree `after` of tree `before`, and claim `finish`.
    pub fn finish_turn(
        self,
        turn: u32,
        (before, after): (u8, u8),
        finish: FinishOutcome,
    ) -> Vec<Event> {
        let mut events = self.call(self.turn(1, turn));
        let finish = Some(finish);
        events.push(ToolsRan { finish, ..self.tools(1, turn, before, after) }.into());
        events
    }
}
