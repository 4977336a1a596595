//! A conversation, its calls, and what tools did.

use cody_events::event::Event;
use cody_events::ids::{
    AttemptNumber, CallNumber, RoundNumber, TargetNumber, ThreadNumber, TurnNumber,
};
use cody_events::thread::{
    CallClass, CallFailed, CallFailedPayload, CallPermitted, CallPermittedPayload, ClaudeTurn,
    ClaudeTurnPayload, DiffReviewed, DiffReviewedPayload, Finish, FinishOutcome, FullOutput,
    Purpose, RanTool, ReviewVerdict, StopReason, StuckSign, ThreadStarted, ThreadStartedPayload,
    ToolName, ToolsRan, ToolsRanPayload, Usage,
};
use cody_events::tree::{Blob, ChangedEntry, Entry, EntryMode, RepoPath};
use serde_json::json;

use super::{Golden, hash, object, path, raw, with};

const TARGET: TargetNumber = TargetNumber(1);
const THREAD: ThreadNumber = ThreadNumber(1);
const TURN: TurnNumber = TurnNumber(3);

pub fn all() -> Vec<Golden> {
    vec![thread_started(), permitted(), failed(), turned(), ran(), reviewed()]
}

fn thread_started() -> Golden {
    let facts = ThreadStarted {
        target: TARGET,
        thread: ThreadNumber(2),
        round: RoundNumber::FIRST,
        purpose: Purpose::Fresh,
        parent: Some(THREAD),
        model: "claude-opus-5-5".to_owned(),
        prefix_hash: hash(5),
        tree: object(4),
    };
    let payload = ThreadStartedPayload {
        prefix: raw(json!({ "model": "claude-opus-5-5", "tools": [], "system": [] })),
        betas: vec!["context-1m-2026-08-07".to_owned()],
        first_message: raw(json!({ "role": "user", "content": "Replace print by logging." })),
    };
    with(facts, &payload)
}

fn permitted() -> Golden {
    let facts = CallPermitted {
        target: TARGET,
        thread: THREAD,
        turn: TURN,
        call: CallNumber(2),
        request_hash: hash(6),
        max_tokens: 32_000,
        reserved_micros: 940_000,
        price_table: "2026-11-01".to_owned(),
        last: true,
        warning: Some(StuckSign::EditUndo),
    };
    let notice = raw(json!({ "type": "text", "text": "This is the last call." }));
    with(facts, &CallPermittedPayload { notice: vec![notice] })
}

fn failed() -> Golden {
    let facts = CallFailed {
        target: TARGET,
        thread: THREAD,
        turn: TURN,
        call: CallNumber(1),
        class: CallClass::Overloaded,
        status: Some(529),
        request_id: Some("req_011".to_owned()),
        usage: Some(Usage { input_tokens: 12, ..Usage::default() }),
        assumed_micros: 940_000,
        ms: 130,
    };
    with(facts, &CallFailedPayload { message: "Overloaded".to_owned() })
}

fn turned() -> Golden {
    let facts = ClaudeTurn {
        target: TARGET,
        thread: THREAD,
        turn: TURN,
        call: CallNumber(2),
        stop_reason: StopReason::ToolUse,
        in_history: true,
        tool_count: 1,
        usage: Usage {
            input_tokens: 12,
            output_tokens: 345,
            cache_read_tokens: 6_789,
            cache_write_5m_tokens: 1_011,
            cache_write_1h_tokens: 0,
        },
        cost_micros: 15_432,
        ms: 8_250,
        request_id: Some("req_012".to_owned()),
    };
    let payload = ClaudeTurnPayload {
        content: vec![
            raw(json!({ "type": "thinking", "thinking": "Four lines.", "signature": "c2ln" })),
            raw(json!({
                "type": "tool_use",
                "id": "toolu_01",
                "name": "finish",
                "input": { "outcome": "changed" },
            })),
        ],
        stop_reason: "tool_use".to_owned(),
        stop_details: Some(raw(json!({ "type": "none" }))),
    };
    with(facts, &payload)
}

fn tool(id: &str, name: ToolName, is_error: bool) -> RanTool {
    RanTool { id: id.to_owned(), name, is_error, ms: 31 }
}

fn tools(tools: Vec<RanTool>) -> ToolsRan {
    ToolsRan {
        target: TARGET,
        attempt: AttemptNumber(1),
        thread: THREAD,
        turn: TURN,
        tool_count: u32::try_from(tools.len()).unwrap(),
        tools,
        tools_hash: hash(7),
        tree_before: object(2),
        tree_after: object(4),
        changed_count: 3,
        blob_bytes: 17,
        finish: Some(FinishOutcome::Changed),
        interrupted: false,
        work_hash: Some(hash(8)),
        total_ms: Some(62),
    }
}

fn ran() -> Golden {
    let file = |number| Entry { mode: EntryMode::File, object: object(number) };
    let payload = ToolsRanPayload {
        results: vec![raw(json!({
            "type": "tool_result",
            "tool_use_id": "toolu_02",
            "content": "replaced 1 occurrence",
        }))],
        changed: vec![
            ChangedEntry { path: path("billing/totals.py"), entry: Some(file(8)) },
            ChangedEntry { path: RepoPath::new(*b"caf\xe9.bin").unwrap(), entry: Some(file(9)) },
            ChangedEntry { path: path("old.py"), entry: None },
        ],
        blobs: vec![
            Blob { object: object(8), content: b"import logging\n".to_vec() },
            Blob { object: object(9), content: vec![0xff, 0x00] },
        ],
        outputs: vec![FullOutput { id: "toolu_02".to_owned(), output: "all of it".to_owned() }],
        finish: Some(Finish {
            id: "toolu_01".to_owned(),
            outcome: FinishOutcome::Changed,
            title: "Log instead of printing".to_owned(),
            summary: "Four prints became log lines.".to_owned(),
            evidence: vec!["billing/totals.py logs".to_owned()],
        }),
        tools: vec![tool("toolu_03", ToolName::SearchFiles, false)],
    };
    let facts = tools(vec![
        tool("toolu_02", ToolName::Edit, true),
        tool("toolu_01", ToolName::Finish, false),
    ]);
    with(facts, &payload)
}

fn reviewed() -> Golden {
    let facts = DiffReviewed {
        target: TARGET,
        thread: ThreadNumber(2),
        turn: TurnNumber::FIRST,
        tree: object(4),
        verdict: ReviewVerdict::Object,
        answers_finish: true,
    };
    let payload = DiffReviewedPayload {
        summary: "One print is left.".to_owned(),
        reasons: vec!["billing/cli.py:12 still prints".to_owned()],
        finish_result: Some(raw(json!({
            "type": "tool_result",
            "tool_use_id": "toolu_01",
            "content": "The review objects.",
            "is_error": true,
        }))),
    };
    with(facts, &payload)
}

/// The longest list that facts may carry, of the widest values. More tools, or longer ids, stand in
/// the payload.
pub fn largest() -> Vec<Event> {
    let tool = || RanTool { ms: u64::MAX, ..tool(&"i".repeat(128), ToolName::Edit, false) };
    let ran = ToolsRan {
        target: TargetNumber(u32::MAX),
        attempt: AttemptNumber(u32::MAX),
        thread: ThreadNumber(u32::MAX),
        turn: TurnNumber(u32::MAX),
        changed_count: u32::MAX,
        blob_bytes: u64::MAX,
        finish: Some(FinishOutcome::AlreadyCompliant),
        total_ms: Some(u64::MAX),
        ..tools((0..16).map(|_| tool()).collect())
    };
    vec![ran.into()]
}
