//! Content blocks: views for reading what Claude wrote, and makers of what we write. A view never
//! changes a block, and a maker renders its bytes once; the log keeps them from there on.

use cody_events::raw::RawJson;
use serde::{Deserialize, Serialize};

/// What a block says, as far as this program understands it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlockView {
    Text {
        text: String,
    },
    /// The signature is for the provider alone; whoever sends the block back sends its bytes.
    Thinking {
        thinking: String,
    },
    RedactedThinking,
    ToolUse {
        id: String,
        name: String,
        input: RawJson,
    },
    ToolResult {
        tool_use_id: String,
        is_error: bool,
        /// The text of the result; of several blocks, their texts joined by newlines.
        text: String,
    },
    /// A kind that this version does not know. It is carried, and never acted upon.
    Unknown {
        kind: String,
    },
}

impl BlockView {
    /// Reads one block. A block whose kind is known but whose members are not as they should be
    /// is `Unknown`, under its kind.
    pub fn of(block: &RawJson) -> Self {
        let Ok(wire) = block.read::<WireBlock>() else {
            return Self::Unknown { kind: String::new() };
        };
        let kind = wire.kind.clone();
        match (kind.as_str(), wire) {
            ("text", WireBlock { text: Some(text), .. }) => Self::Text { text },
            ("thinking", WireBlock { thinking: Some(thinking), .. }) => Self::Thinking { thinking },
            ("redacted_thinking", _) => Self::RedactedThinking,
            ("tool_use", WireBlock { id: Some(id), name: Some(name), input: Some(input), .. }) => {
                Self::ToolUse { id, name, input }
            }
            (
                "tool_result",
                WireBlock { tool_use_id: Some(tool_use_id), is_error, content, .. },
            ) => Self::ToolResult { tool_use_id, is_error, text: result_text(content.as_ref()) },
            _ => Self::Unknown { kind },
        }
    }
}

#[derive(Deserialize)]
struct WireBlock {
    #[serde(rename = "type")]
    kind: String,
    text: Option<String>,
    thinking: Option<String>,
    id: Option<String>,
    name: Option<String>,
    input: Option<RawJson>,
    tool_use_id: Option<String>,
    #[serde(default)]
    is_error: bool,
    content: Option<RawJson>,
}

fn result_text(content: Option<&RawJson>) -> String {
    let Some(content) = content else { return String::new() };
    if let Ok(text) = content.read::<String>() {
        return text;
    }
    let texts = content.read::<Vec<RawJson>>().unwrap_or_default();
    let texts = texts.iter().filter_map(|block| match BlockView::of(block) {
        BlockView::Text { text } => Some(text),
        _ => None,
    });
    texts.collect::<Vec<_>>().join("\n")
}

/// All text that Claude wrote for a reader, its blocks joined by newlines.
pub fn visible_text(blocks: &[RawJson]) -> String {
    let texts = blocks.iter().filter_map(|block| match BlockView::of(block) {
        BlockView::Text { text } => Some(text),
        _ => None,
    });
    texts.collect::<Vec<_>>().join("\n")
}

/// A `text` block. The provider refuses empty ones.
pub fn text_block(text: &str) -> Result<RawJson, serde_json::Error> {
    RawJson::render(&TextBlock { kind: "text", text, cache_control: None })
}

/// The answer to the tool call `tool_use_id`.
pub fn tool_result(
    tool_use_id: &str,
    text: &str,
    is_error: bool,
) -> Result<RawJson, serde_json::Error> {
    RawJson::render(&ToolResult { kind: "tool_result", tool_use_id, content: text, is_error })
}

/// The mark up to which a prompt is cached.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct CacheControl {
    #[serde(rename = "type")]
    kind: &'static str,
}

impl CacheControl {
    pub(super) const EPHEMERAL: Self = Self { kind: "ephemeral" };
}

#[derive(Serialize)]
pub(super) struct TextBlock<'a> {
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_control: Option<CacheControl>,
}

#[derive(Serialize)]
struct ToolResult<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    tool_use_id: &'a str,
    content: &'a str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    is_error: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_read_by_kind_and_strange_ones_are_carried() {
        let view = |text: &str| BlockView::of(&RawJson::parse(text).unwrap());
        assert_eq!(
            view(
                r#"{"type":"tool_use","id":"toolu_1","name":"bash","input":{"command": "ls"},"caller":{"type":"direct"}}"#
            ),
            BlockView::ToolUse {
                id: "toolu_1".into(),
                name: "bash".into(),
                input: RawJson::parse(r#"{"command": "ls"}"#).unwrap(),
            }
        );
        assert_eq!(
            view(r#"{"type":"thinking","thinking":"","signature":"s"}"#),
            BlockView::Thinking { thinking: String::new() }
        );
        assert_eq!(
            view(
                r#"{"type":"tool_result","tool_use_id":"t","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}"#
            ),
            BlockView::ToolResult { tool_use_id: "t".into(), is_error: false, text: "a\nb".into() }
        );
        assert_eq!(view(r#"{"type":"text"}"#), BlockView::Unknown { kind: "text".into() });
        assert_eq!(view(r#"{"type":"hologram"}"#), BlockView::Unknown { kind: "hologram".into() });
    }

    #[test]
    fn made_blocks_are_small_and_stable() {
        assert_eq!(text_block("a\n\"b\"").unwrap().get(), r#"{"type":"text","text":"a\n\"b\""}"#);
        assert_eq!(
            tool_result("toolu_1", "no such file", true).unwrap().get(),
            r#"{"type":"tool_result","tool_use_id":"toolu_1","content":"no such file","is_error":true}"#
        );
        assert_eq!(
            tool_result("toolu_1", "", false).unwrap().get(),
            r#"{"type":"tool_result","tool_use_id":"toolu_1","content":""}"#
        );
    }
}
