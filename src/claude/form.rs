//! The rules that the provider has for the order of messages and tool results. Tests and the
//! player hold requests against them; `request.rs` is built so that they cannot be broken by
//! roles, and its callers so that they are not broken by open tool calls.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::blocks::BlockView;
use super::request::Role;
use cody_events::raw::RawJson;

/// What is wrong with a list of messages, in words like the provider's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("messages.{message}: {problem}")]
pub struct BadForm {
    /// Which message, from 0.
    pub message: usize,
    pub problem: String,
}

#[derive(Deserialize)]
struct Message {
    role: Role,
    content: RawJson,
}

/// Checks that roles alternate from user to user, that nothing is empty, and that each tool call
/// is answered once, in the next message, before anything else that it says.
pub fn well_formed<M: AsRef<str>>(messages: &[M]) -> Result<(), BadForm> {
    if messages.is_empty() {
        return Err(BadForm { message: 0, problem: "at least one message is required".into() });
    }
    let mut open = Vec::new();
    let mut ever = BTreeSet::new();
    for (index, text) in messages.iter().enumerate() {
        let bad = |problem: String| BadForm { message: index, problem };
        let message: Message = serde_json::from_str(text.as_ref())
            .map_err(|error| bad(format!("not a message: {error}")))?;
        let expected = if index % 2 == 0 { Role::User } else { Role::Assistant };
        if message.role != expected {
            return Err(bad(format!("roles must alternate, but this one is {:?}", message.role)));
        }
        let blocks = blocks_of(&message.content).map_err(bad)?;
        match message.role {
            Role::User => check_answers(&blocks, &open).map_err(bad)?,
            Role::Assistant => open = calls_of(&blocks, &mut ever).map_err(bad)?,
        }
    }
    if messages.len().is_multiple_of(2) {
        return Err(BadForm {
            message: messages.len() - 1,
            problem: "the conversation must end with a user message; this model does not support assistant message prefill".into(),
        });
    }
    Ok(())
}

fn blocks_of(content: &RawJson) -> Result<Vec<BlockView>, String> {
    if let Ok(text) = content.read::<String>() {
        return if text.is_empty() {
            Err("content must be non-empty".into())
        } else {
            Ok(vec![BlockView::Text { text }])
        };
    }
    let blocks: Vec<RawJson> =
        content.read().map_err(|_| "content must be a text or a list of blocks".to_owned())?;
    if blocks.is_empty() {
        return Err("content must be non-empty".into());
    }
    let views: Vec<_> = blocks.iter().map(BlockView::of).collect();
    if views.iter().any(|view| matches!(view, BlockView::Text { text } if text.is_empty())) {
        return Err("text content blocks must be non-empty".into());
    }
    Ok(views)
}

fn calls_of(blocks: &[BlockView], ever: &mut BTreeSet<String>) -> Result<Vec<String>, String> {
    let mut calls = Vec::new();
    for block in blocks {
        match block {
            BlockView::ToolUse { id, .. } => {
                if !ever.insert(id.clone()) {
                    return Err(format!("`tool_use` ids must be unique, but {id} recurs"));
                }
                calls.push(id.clone());
            }
            BlockView::ToolResult { .. } => {
                return Err("`tool_result` blocks can only be in user messages".into());
            }
            BlockView::Text { .. }
            | BlockView::Thinking { .. }
            | BlockView::RedactedThinking
            | BlockView::Unknown { .. } => {}
        }
    }
    Ok(calls)
}

fn check_answers(blocks: &[BlockView], open: &[String]) -> Result<(), String> {
    let mut answered = BTreeSet::new();
    let mut other_seen = false;
    for block in blocks {
        match block {
            BlockView::ToolResult { tool_use_id, .. } => {
                if other_seen {
                    return Err("`tool_result` blocks must come before any other content".into());
                }
                if !open.contains(tool_use_id) {
                    return Err(format!(
                        "unexpected `tool_use_id` found in `tool_result` blocks: {tool_use_id}. Each `tool_result` block must have a corresponding `tool_use` block in the previous message."
                    ));
                }
                if !answered.insert(tool_use_id) {
                    return Err(format!("{tool_use_id} has more than one `tool_result`"));
                }
            }
            BlockView::Text { .. } | BlockView::Unknown { .. } => other_seen = true,
            BlockView::Thinking { .. }
            | BlockView::RedactedThinking
            | BlockView::ToolUse { .. } => {
                return Err("only assistant messages can hold thinking and tool calls".into());
            }
        }
    }
    let missing: Vec<_> = open.iter().filter(|id| !answered.contains(id)).cloned().collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(format!(
        "`tool_use` ids were found without `tool_result` blocks immediately after: {}. Each `tool_use` block must have a corresponding `tool_result` block in the next message.",
        missing.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASK: &str = r#"{"role":"user","content":"go"}"#;
    const CALL: &str = r#"{"role":"assistant","content":[{"type":"text","text":"I look"},{"type":"tool_use","id":"a","name":"bash","input":{}},{"type":"tool_use","id":"b","name":"bash","input":{}}]}"#;
    const DONE: &str = r#"{"role":"user","content":[{"type":"tool_result","tool_use_id":"b","content":""},{"type":"tool_result","tool_use_id":"a","content":""},{"type":"text","text":"hint"}]}"#;

    fn problem(messages: &[&str]) -> String {
        well_formed(messages).map_or_else(|bad| bad.to_string(), |()| "fine".into())
    }

    #[test]
    fn good_conversations_pass_and_each_break_is_named() {
        let half =
            r#"{"role":"user","content":[{"type":"tool_result","tool_use_id":"a","content":""}]}"#;
        let late = r#"{"role":"user","content":[{"type":"text","text":"x"},{"type":"tool_result","tool_use_id":"a","content":""}]}"#;
        let stray =
            r#"{"role":"user","content":[{"type":"tool_result","tool_use_id":"z","content":""}]}"#;
        for (messages, expected) in [
            (&[ASK][..], "fine"),
            (&[ASK, CALL, DONE], "fine"),
            (&[], "messages.0: at least one message"),
            (&[CALL], "messages.0: roles must alternate"),
            (&[ASK, ASK], "messages.1: roles must alternate"),
            (&[ASK, CALL], "messages.1: the conversation must end with a user message"),
            (&[ASK, CALL, half], "messages.2: `tool_use` ids were found without"),
            (&[ASK, CALL, late], "messages.2: `tool_result` blocks must come before"),
            (&[ASK, CALL, stray], "messages.2: unexpected `tool_use_id`"),
            (&[ASK, CALL, DONE, CALL, DONE], "messages.3: `tool_use` ids must be unique"),
            (&[r#"{"role":"user","content":[]}"#], "messages.0: content must be non-empty"),
            (
                &[r#"{"role":"user","content":[{"type":"text","text":""}]}"#],
                "messages.0: text content blocks",
            ),
        ] {
            assert!(
                problem(messages).starts_with(expected),
                "{} is not {expected}",
                problem(messages)
            );
        }
    }
}
