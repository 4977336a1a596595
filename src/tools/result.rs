//! What a tool gives back to Claude: its text, cut to what history can bear, and rendered once. What
//! does not show in it was written out before.

use cody_events::raw::RawJson;
use serde::Serialize;

/// The longest text that enters history, in characters.
pub(super) const MAX_CHARACTERS: usize = 30_000;

/// What Claude is told instead of an answer: what is wrong, and how to ask rightly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Complaint(pub String);

/// A complaint from anything that reads like one.
pub(super) fn complain<T>(text: impl Into<String>) -> Result<T, Complaint> {
    Err(Complaint(text.into()))
}

/// A tool's answer, or why there is none.
pub(super) type Answer = Result<String, Complaint>;

#[derive(Serialize)]
struct ToolResult<'a> {
    r#type: &'static str,
    tool_use_id: &'a str,
    content: &'a str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    is_error: bool,
}

/// The `tool_result` block.
pub fn render(id: &str, text: &str, is_error: bool) -> Result<RawJson, serde_json::Error> {
    // The API takes no empty error.
    let content = if text.is_empty() { "(no output)" } else { text };
    RawJson::render(&ToolResult { r#type: "tool_result", tool_use_id: id, content, is_error })
}

/// The longest note that stands before a result: paths and words of others are in it.
const MAX_NOTE_CHARACTERS: usize = 4_000;

/// A note, without its end if that is too long.
pub(super) fn short_note(note: &str) -> String {
    match note.char_indices().nth(MAX_NOTE_CHARACTERS) {
        Some((end, _)) => format!("{}…]", &note[..end]),
        None => note.to_owned(),
    }
}

/// Head and tail of `text` around a line that says where the whole is, if it is too long.
pub(super) fn cut(text: &str, whole_at: &str) -> Option<String> {
    // Most texts are short enough by their bytes alone.
    if text.len() <= MAX_CHARACTERS {
        return None;
    }
    let count = text.chars().count();
    if count <= MAX_CHARACTERS {
        return None;
    }
    let marker_room = 200 + whole_at.len();
    let kept = MAX_CHARACTERS - marker_room.min(MAX_CHARACTERS);
    let head_end = byte_of(text, kept / 2);
    let tail_start = byte_of(text, count - (kept - kept / 2));
    let (head, tail) = (&text[..head_end], &text[tail_start..]);
    let left_out = count - kept;
    Some(format!(
        "{head}\n[... {left_out} characters left out; view {whole_at} with a view_range to see them ...]\n{tail}"
    ))
}

/// Where the character with this number starts.
fn byte_of(text: &str, character: usize) -> usize {
    text.char_indices().nth(character).map_or(text.len(), |(byte, _)| byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_long_texts_are_cut_and_never_inside_a_character() {
        assert_eq!(cut(&"é".repeat(MAX_CHARACTERS), "x"), None);
        let long = format!("head{}tail", "é".repeat(MAX_CHARACTERS));
        let text = cut(&long, "/outputs/3/toolu_1").unwrap();
        assert!(text.chars().count() <= MAX_CHARACTERS);
        assert!(text.starts_with("headéé") && text.ends_with("éétail"));
        assert!(text.contains(" characters left out; view /outputs/3/toolu_1 "));
    }

    #[test]
    fn a_note_leaves_room_for_what_it_stands_before() {
        assert_eq!(short_note("[é]"), "[é]");
        let short = short_note(&"é".repeat(100_000));
        assert_eq!(short.chars().count(), MAX_NOTE_CHARACTERS + 2);
    }

    #[test]
    fn a_block_says_that_it_is_an_error_only_if_it_is() {
        assert_eq!(
            render("toolu_1", "", false).unwrap().get(),
            r#"{"type":"tool_result","tool_use_id":"toolu_1","content":"(no output)"}"#
        );
        assert_eq!(
            render("t", "no", true).unwrap().get(),
            r#"{"type":"tool_result","tool_use_id":"t","content":"no","is_error":true}"#
        );
    }
}
