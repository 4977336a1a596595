//! Diffs and what was said of them.

use cody_events::diff::{
    ChangedFile, ChangesRequested, CommentPayload, DiffApproved, DiffProduced, DiffProducedPayload,
    DiffRejected, FileChange, JudgedDiff, Patch, TargetHeld,
};
use cody_events::event::Event;
use cody_events::ids::{RoundNumber, TargetNumber};
use cody_events::job::By;
use cody_events::outcome::{Finished, FinishedTarget, Outcome};
use cody_events::policy::PathClass;
use cody_events::shape::{Area, DiffShape, KindMark};
use serde_json::json;

use super::{Golden, hash, object, path, raw, with};

pub fn all() -> Vec<Golden> {
    let comment = |text: &str| CommentPayload { comment: text.to_owned(), finish_result: None };
    let changes = CommentPayload {
        finish_result: Some(raw(json!({
            "type": "tool_result",
            "tool_use_id": "toolu_01",
            "content": "Use the root logger.",
        }))),
        ..comment("Use the root logger.")
    };
    vec![
        produced(),
        with(DiffApproved(judged(By::Person)), &comment("good")),
        with(DiffRejected(judged(By::Person)), &comment("not now")),
        with(ChangesRequested(judged(By::Person)), &changes),
        with(TargetHeld(judged(By::Policy)), &comment("the review objects")),
    ]
}

fn judged(by: By) -> JudgedDiff {
    JudgedDiff {
        target: TargetNumber(1),
        base_commit: object(1),
        tree: object(4),
        diff_hash: hash(8),
        by,
    }
}

fn produced() -> Golden {
    let facts = DiffProduced {
        target: TargetNumber(1),
        round: RoundNumber::FIRST,
        base_commit: object(1),
        tree: object(4),
        diff_hash: hash(8),
        file_count: 2,
        added_line_count: 4,
        deleted_line_count: 5,
        byte_count: 812,
        partial: true,
        touches: vec![PathClass::Lockfiles],
        secret_count: 1,
        shape: Some(DiffShape {
            added: 1,
            modified: 2,
            areas: vec![Area::Dependencies, Area::Code],
            kinds: vec![KindMark::of(".rs"), KindMark::of(".lock")],
            ..DiffShape::default()
        }),
    };
    let file = |name: &str, change, binary| ChangedFile {
        path: path(name),
        change,
        binary,
        added_line_count: 4,
        deleted_line_count: 5,
    };
    let payload = DiffProducedPayload {
        patch: Patch::Text("diff --git a/old.py b/old.py\n".to_owned()),
        files: vec![
            file("billing/totals.py", FileChange::Modified, false),
            file("logo.png", FileChange::Deleted, true),
        ],
        title: "Log instead of printing".to_owned(),
        summary: "Four prints became log lines.".to_owned(),
        evidence: vec!["billing/totals.py logs".to_owned()],
    };
    with(facts, &payload)
}

/// The longest list that facts may carry, of the widest values.
pub fn largest() -> Vec<Event> {
    let target = |number| FinishedTarget {
        target: TargetNumber(number),
        round: RoundNumber(u32::MAX),
        outcome: Outcome::AlreadyCompliant,
    };
    vec![Finished { targets: (1..=32).map(target).collect(), cost_micros: u64::MAX }.into()]
}
