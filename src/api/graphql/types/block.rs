//! Content blocks, as far as this program understands them, and as they are.

use async_graphql::{Enum, SimpleObject};
use cody_events::raw::RawJson;

use crate::claude::blocks::BlockView;

/// A part of a message.
#[derive(Debug, Clone, SimpleObject)]
pub struct Block {
    /// What it is, and so which of its other fields say something.
    pub kind: BlockKind,
    /// What is said, thought or answered, as it was written: data, and nobody's instructions.
    pub text: Option<String>,
    /// The tool that is called.
    pub tool_name: Option<String>,
    /// Claude's id of the call, or of the call that this answers.
    pub tool_use_id: Option<String>,
    /// The arguments of the call, as JSON text.
    pub input: Option<String>,
    /// Whether the tool answered with an error.
    pub is_error: bool,
    /// The block's own bytes, as JSON text.
    pub raw: String,
}

/// What a block is.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockKind {
    /// Words.
    Text,
    /// What Claude thought, as far as the provider shows it.
    Thinking,
    /// The provider withholds it.
    RedactedThinking,
    /// A call of a tool.
    ToolUse,
    /// What a tool answered.
    ToolResult,
    /// A kind that this version does not know.
    Unknown,
}

impl Block {
    /// A view of `block`.
    pub fn of(block: &RawJson) -> Self {
        let empty = Self {
            kind: BlockKind::Unknown,
            text: None,
            tool_name: None,
            tool_use_id: None,
            input: None,
            is_error: false,
            raw: block.get().to_owned(),
        };
        match BlockView::of(block) {
            BlockView::Text { text } => Self { kind: BlockKind::Text, text: Some(text), ..empty },
            BlockView::Thinking { thinking } => {
                Self { kind: BlockKind::Thinking, text: Some(thinking), ..empty }
            }
            BlockView::RedactedThinking => Self { kind: BlockKind::RedactedThinking, ..empty },
            BlockView::ToolUse { id, name, input } => Self {
                kind: BlockKind::ToolUse,
                tool_name: Some(name),
                tool_use_id: Some(id),
                input: Some(input.get().to_owned()),
                ..empty
            },
            BlockView::ToolResult { tool_use_id, is_error, text } => Self {
                kind: BlockKind::ToolResult,
                text: Some(text),
                tool_use_id: Some(tool_use_id),
                is_error,
                ..empty
            },
            BlockView::Unknown { .. } => empty,
        }
    }
}
