//! What the player knows and how it chooses its words: the script, what it has heard, and the
//! answer to one request. No HTTP.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use axum::http::HeaderMap;
use bytes::Bytes;
use cody_events::digest::Sha256;
use serde_json::Value;

use super::rules::{self, Refusal, invalid};
use super::script::{Conversation, Fault, Script, Turn};
use super::stream;
use crate::claude::models::ModelTable;

/// One request that came, as tests look at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// The body, byte for byte.
    pub body: Bytes,
    pub betas: Vec<String>,
    /// Conversation and turn, if the script has them.
    pub played: Option<(String, usize)>,
    /// The HTTP status of the answer.
    pub status: u16,
    /// The words of a refusal.
    pub refusal: Option<String>,
}

#[derive(Debug)]
pub(super) struct Stage {
    pub script: Script,
    pub models: ModelTable,
    pub heard: Mutex<Memory>,
}

/// What the player remembers: for tests to look at, and to let faults come once.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pub requests: VecDeque<Heard>,
    pub request_count: u64,
    /// How often the same messages were sent, by their hash.
    times: BTreeMap<Sha256, usize>,
}

/// Older requests are forgotten.
const MOST_HEARD: usize = 10_000;
impl Stage {
    pub fn memory<T>(&self, look: impl FnOnce(&mut Memory) -> T) -> T {
        look(&mut self.heard.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn remember(&self, heard: Heard) -> u64 {
        self.memory(|memory| {
            if memory.requests.len() == MOST_HEARD {
                memory.requests.pop_front();
            }
            memory.requests.push_back(heard);
            memory.request_count += 1;
            memory.request_count
        })
    }

    /// How often these messages were sent before; counts this time.
    fn times(&self, request: &Value) -> usize {
        let key = Sha256::of(format!("{}{}", request["system"], request["messages"]).as_bytes());
        self.memory(|memory| {
            let times = memory.times.entry(key).or_default();
            *times += 1;
            *times - 1
        })
    }
}

/// What the player does about a request.
pub(super) enum Answer {
    Say { performance: Box<stream::Performance>, streamed: bool, fault: Option<Fault> },
    Refuse { refusal: Refusal, retry_after: Option<String> },
}

/// The answer to one request, and how long it is to be held back.
pub(super) fn decide(
    stage: &Stage,
    headers: &HeaderMap,
    body: &Bytes,
    played: &mut Option<(String, usize)>,
) -> Result<(Answer, u64), Refusal> {
    rules::check_headers(headers)?;
    let request: Value = serde_json::from_slice(body)
        .map_err(|error| invalid(format!("The request body is not valid JSON: {error}")))?;
    let model = rules::check_body(&request, &stage.models)?;
    let conversation = choose(&stage.script, &request)?;
    let (given, turn) = given(conversation, &request);
    *played = Some((conversation.name.clone(), turn));
    let Some(script) = conversation.turns.get(turn) else {
        return Err(invalid(format!(
            "the player's script `{}` has {} turns, and this request asks for turn {turn} (from 0)",
            conversation.name,
            conversation.turns.len()
        )));
    };
    check_thinking_kept(conversation, &given)?;
    if given.len() == turn {
        check_expected(conversation, turn, script, &request)?;
    }
    // A repeated response is another one: its tools have ids of their own.
    let performance = stream::perform(&request, conversation, given.len(), script, model);
    let fault = script.before.get(stage.times(&request)).cloned();
    let answer = match fault {
        Some(Fault { status: Some(status), kind, message, retry_after, .. }) => {
            let refusal = Refusal {
                status,
                kind: kind.as_deref().map_or(usual_kind(status), known_kind),
                message: message.unwrap_or_else(|| "the script says so".into()),
            };
            Answer::Refuse { refusal, retry_after }
        }
        fault => {
            let streamed = request["stream"] == true;
            Answer::Say {
                performance: Box::new(performance),
                streamed,
                fault: fault.filter(|fault| fault.breaks.is_some()),
            }
        }
    };
    Ok((answer, script.delay_ms))
}

fn choose<'s>(script: &'s Script, request: &Value) -> Result<&'s Conversation, Refusal> {
    let system = all_text(&request["system"]);
    let first = all_text(&request["messages"][0]["content"]);
    let matches = |conversation: &&Conversation| {
        let select = &conversation.select;
        select.model.as_deref().is_none_or(|model| request["model"] == model)
            && select.system.iter().all(|text| system.contains(text))
            && select.first_message.iter().all(|text| first.contains(text))
            && !select.first_message_lacks.iter().any(|text| first.contains(text))
    };
    script.conversations.iter().find(matches).ok_or_else(|| {
        let names: Vec<_> = script.conversations.iter().map(|c| c.name.as_str()).collect();
        let start: String = first.chars().take(120).collect();
        invalid(format!(
            "the player's script has no conversation for this request; it has {}; the request begins with: {start}",
            names.join(", ")
        ))
    })
}

/// The responses that a request holds, each with its turn in the script, and the turn to play.
fn given<'r>(conversation: &Conversation, request: &'r Value) -> (Vec<(usize, &'r Value)>, usize) {
    let mut given = Vec::new();
    let mut turn: usize = 0;
    for message in request["messages"].as_array().into_iter().flatten() {
        let repeats = |words: &String| all_text(&message["content"]).contains(words);
        if message["role"] == "assistant" {
            given.push((turn, message));
            turn += 1;
        } else if conversation.repeat_on.as_ref().is_some_and(repeats) {
            turn = turn.saturating_sub(1);
        }
    }
    (given, turn)
}

fn check_thinking_kept(
    conversation: &Conversation,
    given: &[(usize, &Value)],
) -> Result<(), Refusal> {
    let scripted = given.iter().map(|(turn, message)| (message, conversation.turns.get(*turn)));
    for (turn, (message, script)) in scripted.enumerate() {
        if !script.is_none_or(|script| stream::keeps_thinking(message, script)) {
            return Err(invalid(format!(
                "messages.{}.content: `thinking` or `redacted_thinking` blocks in the latest assistant message cannot be modified. These blocks must remain as they were in the original response.",
                2 * turn + 1
            )));
        }
    }
    Ok(())
}

fn check_expected(
    conversation: &Conversation,
    turn: usize,
    script: &Turn,
    request: &Value,
) -> Result<(), Refusal> {
    let last = request["messages"].as_array().and_then(|messages| messages.last());
    let text = all_text(last.map_or(&Value::Null, |message| &message["content"]));
    match script.expect.iter().find(|expected| !text.contains(*expected)) {
        None => Ok(()),
        Some(missing) => Err(invalid(format!(
            "the player's script `{}` expects turn {turn} to be asked with `{missing}` in the last message, but it says: {}",
            conversation.name,
            text.chars().take(400).collect::<String>()
        ))),
    }
}

/// All text that a person would see in blocks, tool results included.
fn all_text(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(blocks) => {
            let texts = blocks.iter().map(|block| match block["text"].as_str() {
                Some(text) => text.to_owned(),
                None => all_text(&block["content"]),
            });
            texts.collect::<Vec<_>>().join("\n")
        }
        _ => String::new(),
    }
}

const KINDS: [(u16, &str); 10] = [
    (400, "invalid_request_error"),
    (401, "authentication_error"),
    (402, "billing_error"),
    (403, "permission_error"),
    (404, "not_found_error"),
    (413, "request_too_large"),
    (429, "rate_limit_error"),
    (500, "api_error"),
    (504, "timeout_error"),
    (529, "overloaded_error"),
];

fn usual_kind(status: u16) -> &'static str {
    let known = KINDS.iter().find(|(with, _)| *with == status);
    known.map_or("api_error", |(_, kind)| kind)
}

/// The provider's own name, if the script's is one of them.
fn known_kind(name: &str) -> &'static str {
    let known = KINDS.iter().find(|(_, kind)| *kind == name);
    known.map_or("api_error", |(_, kind)| kind)
}
