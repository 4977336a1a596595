//! The facts of these stories' events: small numbers, and the same for each target.

use cody_events::attempt::{
    AttemptEnd, AttemptEnded, AttemptReason, AttemptRequested, AttemptStarted, Base, Executor,
    SandboxBackend,
};
use cody_events::delivery::{BranchPushed, PrChecks, PrOpened, PrReview, PrState, PrUpdated};
use cody_events::diff::{DiffProduced, JudgedDiff};
use cody_events::digest::Sha256;
use cody_events::evidence::{CheckPhase, CheckVerdict, CheckedCommand, ChecksRan};
use cody_events::ids::{
    AttemptNumber, CallNumber, RequestId, RoundNumber, TargetNumber, ThreadNumber, TurnNumber,
};
use cody_events::job::By;
use cody_events::outcome::{Outcome, TargetFinished};
use cody_events::thread::{
    CallClass, CallFailed, CallPermitted, ClaudeTurn, DiffReviewed, FinishOutcome, Purpose,
    RanTool, ReviewVerdict, StopReason, ThreadStarted, ToolName, ToolsRan, Usage,
};
use uuid::Uuid;

use super::tree;

pub fn requested(target: u32) -> AttemptRequested {
    AttemptRequested {
        target: TargetNumber(target),
        round: RoundNumber::FIRST,
        request: RequestId(Uuid::nil()),
        base: Base {
            commit: tree(200),
            tree: tree(0),
            branch: "main".to_owned(),
            pack: Sha256([9; 32]),
        },
        executor: Executor::Local,
        why: AttemptReason::First,
    }
}

pub fn started(target: u32, attempt: u32) -> AttemptStarted {
    AttemptStarted {
        target: TargetNumber(target),
        attempt: AttemptNumber(attempt),
        request: RequestId(Uuid::nil()),
        worker: "w".to_owned(),
        app_version: "0.1.0".to_owned(),
        image: None,
        sandbox: SandboxBackend::Bubblewrap,
        batch_job_id: None,
        batch_job_try: None,
    }
}

pub fn ended(target: u32, attempt: Option<AttemptNumber>) -> AttemptEnded {
    AttemptEnded {
        target: TargetNumber(target),
        attempt,
        request: RequestId(Uuid::nil()),
        how: AttemptEnd::Lost,
    }
}

pub fn thread_started(target: u32, thread: u32, purpose: Purpose) -> ThreadStarted {
    ThreadStarted {
        target: TargetNumber(target),
        thread: ThreadNumber(thread),
        round: RoundNumber::FIRST,
        purpose,
        parent: None,
        model: "claude-test".to_owned(),
        prefix_hash: Sha256::ZERO,
        tree: tree(0),
    }
}

pub fn permitted(target: u32, thread: u32, turn: u32) -> CallPermitted {
    CallPermitted {
        target: TargetNumber(target),
        thread: ThreadNumber(thread),
        turn: TurnNumber(turn),
        call: CallNumber::FIRST,
        request_hash: Sha256::ZERO,
        max_tokens: 32_000,
        reserved_micros: 900_000,
        price_table: "2026-11-01".to_owned(),
        last: false,
        warning: None,
    }
}

pub fn turned(target: u32, thread: u32, turn: u32) -> ClaudeTurn {
    ClaudeTurn {
        target: TargetNumber(target),
        thread: ThreadNumber(thread),
        turn: TurnNumber(turn),
        call: CallNumber::FIRST,
        stop_reason: StopReason::ToolUse,
        in_history: true,
        tool_count: 2,
        usage: Usage { input_tokens: 100, output_tokens: 10, ..Usage::default() },
        cost_micros: 100_000,
        ms: 1_500,
        request_id: None,
    }
}

pub fn failed(target: u32, thread: u32, turn: u32) -> CallFailed {
    CallFailed {
        target: TargetNumber(target),
        thread: ThreadNumber(thread),
        turn: TurnNumber(turn),
        call: CallNumber::FIRST,
        class: CallClass::Truncated,
        status: None,
        request_id: None,
        usage: None,
        assumed_micros: 900_000,
        ms: 20,
    }
}

pub fn ran(target: u32, thread: u32, turn: u32, after: u8) -> ToolsRan {
    let tool = |is_error| RanTool { id: "t".to_owned(), name: ToolName::Bash, is_error, ms: 7 };
    ToolsRan {
        target: TargetNumber(target),
        attempt: AttemptNumber(1),
        thread: ThreadNumber(thread),
        turn: TurnNumber(turn),
        tool_count: 2,
        tools: vec![tool(false), tool(true)],
        tools_hash: Sha256::ZERO,
        tree_before: tree(0),
        tree_after: tree(after),
        changed_count: 1,
        blob_bytes: 3,
        finish: Some(FinishOutcome::Changed),
        interrupted: false,
        work_hash: None,
        total_ms: None,
    }
}

pub fn checked(target: u32, answers_finish: bool) -> ChecksRan {
    ChecksRan {
        target: TargetNumber(target),
        attempt: AttemptNumber(1),
        tree: tree(1),
        phase: CheckPhase::After,
        image: None,
        cache: None,
        commands: vec![CheckedCommand { exit_code: Some(0), timed_out: false, ms: 40 }],
        skipped: None,
        verdict: Some(CheckVerdict::Passed),
        answers_finish,
    }
}

pub fn reviewed(target: u32, answers_finish: bool) -> DiffReviewed {
    DiffReviewed {
        target: TargetNumber(target),
        thread: ThreadNumber(2),
        turn: TurnNumber::FIRST,
        tree: tree(1),
        verdict: ReviewVerdict::Accept,
        answers_finish,
    }
}

pub fn produced(target: u32, hash: u8) -> DiffProduced {
    DiffProduced {
        target: TargetNumber(target),
        round: RoundNumber::FIRST,
        base_commit: tree(200),
        tree: tree(1),
        diff_hash: Sha256([hash; 32]),
        file_count: 3,
        added_line_count: 20,
        deleted_line_count: 4,
        byte_count: 900,
        partial: false,
        touches: Vec::new(),
        secret_count: 0,
        shape: None,
    }
}

pub fn judged(target: u32, hash: u8) -> JudgedDiff {
    JudgedDiff {
        target: TargetNumber(target),
        base_commit: tree(200),
        tree: tree(1),
        diff_hash: Sha256([hash; 32]),
        by: By::Person,
    }
}

pub fn pushed(target: u32) -> BranchPushed {
    BranchPushed {
        target: TargetNumber(target),
        branch: "cody/1".to_owned(),
        commit: tree(201),
        by: By::Server,
    }
}

pub fn opened(target: u32, number: u64) -> PrOpened {
    PrOpened {
        target: TargetNumber(target),
        branch: "cody/1".to_owned(),
        commit: tree(201),
        number,
        url: format!("https://github.com/acme/app/pull/{number}"),
        draft: false,
    }
}

pub fn followed(target: u32, number: u64, state: PrState) -> PrUpdated {
    PrUpdated {
        target: TargetNumber(target),
        number,
        commit: tree(201),
        state,
        checks: PrChecks::None,
        review: PrReview::None,
    }
}

pub fn finished(target: u32, outcome: usize) -> TargetFinished {
    TargetFinished {
        target: TargetNumber(target),
        round: RoundNumber::FIRST,
        outcome: Outcome::ALL[outcome],
        tree: Some(tree(1)),
        diff_hash: None,
        cost_micros: 0,
    }
}
