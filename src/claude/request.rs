//! A request as bytes: the recorded prefix, the recorded blocks, and a few constant words between
//! them. Nothing is parsed and rendered anew, so the same log gives the same bytes for ever.
//! Sends nothing.

use cody_events::digest::Sha256;
use cody_events::raw::RawJson;
use cody_events::thread::ThreadStartedPayload;
use serde::Serialize;

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    User,
    Assistant,
}

/// The messages of a thread, as borrowed blocks. Neighbours of one role are one message, so roles
/// alternate by construction.
#[derive(Debug, Clone)]
pub struct History<'a> {
    first: &'a RawJson,
    /// What was added to the first message by later events.
    first_more: Vec<&'a RawJson>,
    rest: Vec<(Role, Vec<&'a RawJson>)>,
}

/// The body of one request, ready to send and to be named by its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    pub bytes: bytes::Bytes,
    /// SHA-256 of `bytes`: `request_hash` of `call-permitted`.
    pub hash: Sha256,
}

/// Why no request can be made of recorded bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    #[error(
        "the recorded prefix is not a JSON object with members; the thread cannot go on, start a new one"
    )]
    Prefix,
    #[error(
        "the recorded first message is not `{{\"role\":\"user\",\"content\":[…]}}`; the thread cannot go on, start a new one"
    )]
    FirstMessage,
}

impl<'a> History<'a> {
    /// A history that holds only the thread's first message.
    pub fn new(first_message: &'a RawJson) -> Self {
        Self { first: first_message, first_more: Vec::new(), rest: Vec::new() }
    }

    /// Adds one response of Claude.
    pub fn assistant(&mut self, blocks: impl IntoIterator<Item = &'a RawJson>) {
        self.add(Role::Assistant, blocks);
    }

    /// Adds what answers it. Tool results go before any text; the caller keeps that order.
    pub fn user(&mut self, blocks: impl IntoIterator<Item = &'a RawJson>) {
        self.add(Role::User, blocks);
    }

    /// How many responses of Claude it holds.
    pub fn assistant_count(&self) -> usize {
        self.rest.iter().filter(|(role, _)| *role == Role::Assistant).count()
    }

    fn add(&mut self, role: Role, blocks: impl IntoIterator<Item = &'a RawJson>) {
        let mut blocks = blocks.into_iter().peekable();
        if blocks.peek().is_none() {
            return;
        }
        match self.rest.last_mut() {
            Some((last, held)) if *last == role => held.extend(blocks),
            None if role == Role::User => self.first_more.extend(blocks),
            _ => self.rest.push((role, blocks.collect())),
        }
    }

    /// The messages, each as its bytes.
    pub fn messages(&self) -> Result<Vec<String>, BadRequest> {
        let mut messages = vec![self.first_message()?];
        for (role, blocks) in &self.rest {
            messages.push(message_text(*role, blocks));
        }
        Ok(messages)
    }

    fn first_message(&self) -> Result<String, BadRequest> {
        let first = self.first.get();
        let open = first.strip_suffix("]}").ok_or(BadRequest::FirstMessage)?;
        if !first.starts_with(USER_FRAME) {
            return Err(BadRequest::FirstMessage);
        }
        let mut text = open.to_owned();
        for block in &self.first_more {
            text.push(',');
            text.push_str(block.get());
        }
        text.push_str("]}");
        Ok(text)
    }
}

const USER_FRAME: &str = r#"{"role":"user","content":["#;
const ASSISTANT_FRAME: &str = r#"{"role":"assistant","content":["#;

fn message_text(role: Role, blocks: &[&RawJson]) -> String {
    let mut text = String::from(match role {
        Role::User => USER_FRAME,
        Role::Assistant => ASSISTANT_FRAME,
    });
    for (index, block) in blocks.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        text.push_str(block.get());
    }
    text.push_str("]}");
    text
}

/// A user message of `blocks`, in the one form that `History` takes as a first message.
pub fn user_message(blocks: &[RawJson]) -> Result<RawJson, serde_json::Error> {
    RawJson::parse(message_text(Role::User, &blocks.iter().collect::<Vec<_>>()))
}

/// The body that sends `history` behind the prefix of `thread`.
pub fn compose(
    thread: &ThreadStartedPayload,
    history: &History<'_>,
    max_tokens: u32,
) -> Result<Body, BadRequest> {
    let prefix = thread.prefix.get().trim_end();
    let open = prefix.strip_suffix('}').ok_or(BadRequest::Prefix)?;
    if !prefix.starts_with('{') || open.trim_end().ends_with('{') {
        return Err(BadRequest::Prefix);
    }
    let messages = history.messages()?;
    let length = open.len() + messages.iter().map(|text| text.len() + 1).sum::<usize>() + 128;
    let mut text = String::with_capacity(length);
    text.push_str(open);
    text.push_str(r#","max_tokens":"#);
    text.push_str(&max_tokens.to_string());
    text.push_str(r#","stream":true,"cache_control":{"type":"ephemeral"},"messages":["#);
    text.push_str(&messages.join(","));
    text.push_str("]}");
    let hash = Sha256::of(text.as_bytes());
    Ok(Body { bytes: text.into_bytes().into(), hash })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claude::blocks::{text_block, tool_result};
    use crate::claude::models::ModelTable;
    use crate::claude::prefix::PrefixBuilder;

    fn thread() -> ThreadStartedPayload {
        let table = ModelTable::shipped().unwrap();
        let offer = table.lookup("claude-opus-5-5", "2026-11-22".parse().unwrap()).unwrap();
        PrefixBuilder::new(offer.model)
            .system("You change code.")
            .system("The repository is acme/app.")
            .tool(RawJson::parse(r#"{"type":"bash_20250124","name":"bash"}"#).unwrap())
            .build(&[text_block("Do it.").unwrap()])
            .unwrap()
    }

    #[test]
    fn a_request_is_the_recorded_bytes_with_constant_words_between() {
        let thread = thread();
        // Odd spacing shows that the block's own bytes travel.
        let call = RawJson::parse(
            r#"{"type":"tool_use", "id":"toolu_1","name":"bash","input":{ "command" : "ls" }}"#,
        )
        .unwrap();
        let result = tool_result("toolu_1", "README", false).unwrap();
        let notice = text_block("Last call.").unwrap();
        let mut history = History::new(&thread.first_message);
        history.assistant([&call]);
        history.user([&result]);
        history.user([&notice]);
        let body = compose(&thread, &history, 8_000).unwrap();
        let expected = concat!(
            r#"{"model":"claude-opus-5-5","system":[{"type":"text","text":"You change code."},"#,
            r#"{"type":"text","text":"The repository is acme/app.","cache_control":{"type":"ephemeral"}}],"#,
            r#""tools":[{"type":"bash_20250124","name":"bash"}],"#,
            r#""thinking":{"type":"adaptive","display":"summarized"},"output_config":{"effort":"medium"},"#,
            r#""max_tokens":8000,"stream":true,"cache_control":{"type":"ephemeral"},"messages":["#,
            r#"{"role":"user","content":[{"type":"text","text":"Do it."}]},"#,
            r#"{"role":"assistant","content":[{"type":"tool_use", "id":"toolu_1","name":"bash","input":{ "command" : "ls" }}]},"#,
            r#"{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_1","content":"README"},"#,
            r#"{"type":"text","text":"Last call."}]}]}"#,
        );
        assert_eq!(std::str::from_utf8(&body.bytes).unwrap(), expected);
        assert_eq!(body.hash, Sha256::of(expected.as_bytes()));
        assert_eq!(history.assistant_count(), 1);
    }

    #[test]
    fn words_before_the_first_response_join_the_first_message() {
        let thread = thread();
        let notice = text_block("Last call.").unwrap();
        let mut history = History::new(&thread.first_message);
        history.user([]);
        history.user([&notice]);
        assert_eq!(
            history.messages().unwrap(),
            [
                r#"{"role":"user","content":[{"type":"text","text":"Do it."},{"type":"text","text":"Last call."}]}"#
            ]
        );
    }

    #[test]
    fn bytes_of_another_form_are_refused() {
        let mut thread = thread();
        let odd = RawJson::parse(r#"{"role":"user","content":"Do it."}"#).unwrap();
        assert_eq!(compose(&thread, &History::new(&odd), 1), Err(BadRequest::FirstMessage));
        let first = thread.first_message.clone();
        for prefix in ["{}", "[1]", "{ }"] {
            thread.prefix = RawJson::parse(prefix).unwrap();
            assert_eq!(compose(&thread, &History::new(&first), 1), Err(BadRequest::Prefix));
        }
    }
}
