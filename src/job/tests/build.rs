//! Events and commands with sensible defaults; a test changes only what it is about.

use cody_events::attempt::{
    AttemptEnd, AttemptEnded, AttemptReason, AttemptRequested, AttemptStarted, Base, Executor,
    SandboxBackend,
};
use cody_events::diff::{DiffProduced, DiffProducedPayload, Patch};
use cody_events::digest::{ObjectId, Sha256};
use cody_events::event::Event;
use cody_events::evidence::{
    CheckPhase, CheckVerdict, ChecksRan, ChecksRanPayload, RepoScanned, RepoScannedPayload,
};
use cody_events::ids::{
    AttemptNumber, CallNumber, RequestId, RoundNumber, TargetNumber, ThreadNumber, TurnNumber,
};
use cody_events::job::{
    By, CheckSource, Created, CreatedTarget, Limits, Location, Policy, TargetKind,
};
use cody_events::outcome::Outcome;
use cody_events::raw::RawJson;
use cody_events::thread::{
    CallClass, CallFailed, CallFailedPayload, CallPermitted, ClaudeTurn, ClaudeTurnPayload,
    DiffReviewed, DiffReviewedPayload, FinishOutcome, Purpose, ReviewVerdict, StopReason,
    ThreadStarted, ThreadStartedPayload, ToolsRan, ToolsRanPayload, Usage,
};

use crate::job::Command;
use crate::job::command::{Checks, CreateJob, CreateRules, FinishTarget, ModelStanding, NewTarget};

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
        app_version: "0.1.0".to_owned(),
    }
}

/// The wish for a job like [`created`].
pub fn wish(targets: u32) -> CreateJob {
    CreateJob {
        prompt: "Replace print by logging.".to_owned(),
        notes: None,
        targets: (1..=targets)
            .map(|number| NewTarget {
                kind: TargetKind::Github,
                repository: format!("acme/app-{number}"),
                location: Location { locator: format!("acme/app-{number}"), branch: None },
                identity: format!("github.com/acme/app-{number}"),
            })
            .collect(),
        checks: Checks::Detected,
        policy: Policy::Review,
        limits: limits(),
        model: "claude-test".to_owned(),
        effort: None,
        bash: true,
        app_version: "0.1.0".to_owned(),
        rules: CreateRules {
            max_targets: 5,
            max_prompt_bytes: 65_536,
            model: ModelStanding::Known,
            floor_call_micros: 250_000,
        },
    }
}

pub fn create(wish: CreateJob) -> Command {
    Command::CreateJob(Box::new(wish))
}

pub fn cancel() -> Command {
    Command::CancelJob { by: By::Person, reason: "Changed my mind.".to_owned() }
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
            held: None,
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

/// Stages of a target's way, in order, as seen from the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    Waiting,
    Requested,
    Claimed,
    Scanned,
    Based,
    Threaded,
    InCall,
    Answered,
    Claims,
    Checked,
    Reviewing,
    InReviewCall,
    ReviewAnswered,
    Accepted,
}

impl Stage {
    pub const ALL: [Self; 14] = [
        Self::Waiting,
        Self::Requested,
        Self::Claimed,
        Self::Scanned,
        Self::Based,
        Self::Threaded,
        Self::InCall,
        Self::Answered,
        Self::Claims,
        Self::Checked,
        Self::Reviewing,
        Self::InReviewCall,
        Self::ReviewAnswered,
        Self::Accepted,
    ];

    /// The event that leads to this stage.
    fn event(self, on: On) -> Option<Event> {
        Some(match self {
            Self::Waiting => return None,
            Self::Requested => on.requested(1).into(),
            Self::Claimed => on.started(1).into(),
            Self::Scanned => on.scanned().into(),
            Self::Based => on.baseline().into(),
            Self::Threaded => on.thread(1, Purpose::Change, BASE).into(),
            Self::InCall => on.permitted(1, 1, 1).into(),
            Self::Answered => on.turn(1, 1).into(),
            Self::Claims => {
                let finish = Some(FinishOutcome::Changed);
                ToolsRan { finish, ..on.tools(1, 1, BASE, 1) }.into()
            }
            Self::Checked => on.checked(1, CheckVerdict::Passed).into(),
            Self::Reviewing => on.thread(2, Purpose::Review, 1).into(),
            Self::InReviewCall => on.permitted(2, 1, 1).into(),
            Self::ReviewAnswered => on.said(2, 1, StopReason::EndTurn).into(),
            Self::Accepted => on.reviewed(2, 1, ReviewVerdict::Accept).into(),
        })
    }
}

/// The events that bring a target to `stage`, without the job's own.
pub fn way_to(on: On, stage: Stage) -> Vec<Event> {
    Stage::ALL.iter().filter(|s| **s <= stage).filter_map(|s| s.event(on)).collect()
}

/// A job with one target that has come to `stage`.
pub fn at(stage: Stage) -> super::given::Given {
    super::given::given([created(1).into()]).and(way_to(ONE, stage))
}

fn raw() -> RawJson {
    RawJson::parse("{}").unwrap()
}

pub fn record_scan(facts: RepoScanned) -> Command {
    let payload = RepoScannedPayload {
        manifests: Vec::new(),
        checks: Vec::new(),
        candidates: Vec::new(),
        instruction_files: Vec::new(),
        context: String::new(),
    };
    Command::RecordScan(Box::new((facts, payload)))
}

pub fn record_checks(facts: ChecksRan) -> Command {
    let finish_result = facts.answers_finish.then(raw);
    Command::RecordChecks(Box::new((
        facts,
        ChecksRanPayload { commands: Vec::new(), finish_result },
    )))
}

pub fn start_thread(facts: ThreadStarted) -> Command {
    let payload = ThreadStartedPayload { prefix: raw(), betas: Vec::new(), first_message: raw() };
    Command::StartThread(Box::new((facts, payload)))
}

pub fn permit(permit: CallPermitted) -> Command {
    Command::PermitCall { permit, notice: Vec::new() }
}

pub fn fail(facts: CallFailed) -> Command {
    let payload = CallFailedPayload { message: "overloaded".to_owned() };
    Command::FailCall(Box::new((facts, payload)))
}

pub fn record_turn(facts: ClaudeTurn) -> Command {
    let payload = ClaudeTurnPayload {
        content: vec![raw()],
        stop_reason: "tool_use".to_owned(),
        stop_details: None,
    };
    Command::RecordTurn(Box::new((facts, payload)))
}

pub fn record_tools(facts: ToolsRan) -> Command {
    let payload = ToolsRanPayload {
        results: Vec::new(),
        changed: Vec::new(),
        blobs: Vec::new(),
        outputs: Vec::new(),
        finish: None,
        tools: Vec::new(),
    };
    Command::RecordTools(Box::new((facts, payload)))
}

pub fn record_review(facts: DiffReviewed) -> Command {
    let payload = DiffReviewedPayload {
        summary: "Seen.".to_owned(),
        reasons: Vec::new(),
        finish_result: facts.answers_finish.then(raw),
    };
    Command::RecordReview(Box::new((facts, payload)))
}

pub fn request(facts: AttemptRequested) -> Command {
    Command::RequestAttempt {
        target: facts.target,
        base: facts.base,
        executor: facts.executor,
        why: facts.why,
        request: facts.request,
    }
}

pub fn end(facts: AttemptEnded) -> Command {
    Command::EndAttempt {
        target: facts.target,
        request: facts.request,
        how: facts.how,
        detail: None,
    }
}
