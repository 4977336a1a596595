//! A scripted response as the events of the wire. Reckons plausible token counts; invents no
//! content.

use cody_events::digest::Sha256;
use serde_json::{Map, Value, json};

use super::binding::{self, Bound};
use super::script::{Block, Conversation, Turn, Wire};
use crate::claude::models::Model;

/// A response, ready to be streamed or sent whole.
#[derive(Debug, Clone)]
pub struct Performance {
    id: String,
    model: String,
    blocks: Vec<Value>,
    /// Whether the last block stops halfway.
    cut: bool,
    stop_reason: String,
    stop_details: Value,
    usage: Map<String, Value>,
}

/// What `conversation` says in `turn` to `request`.
pub fn perform(
    request: &Value,
    conversation: &Conversation,
    turn: usize,
    script: &Turn,
    model: &Model,
) -> Performance {
    let mut bound = Bound::new(request);
    for message in request["messages"].as_array().into_iter().flatten() {
        bound.message(message);
    }
    bound.block(&Value::from("assistant"));
    let mut blocks = Vec::new();
    for (index, block) in script.content.iter().enumerate() {
        let block = wire_block(block, &bound, &format!("{}/{turn}/{index}", conversation.name));
        bound.block(&block);
        blocks.push(block);
    }
    let calls = blocks.iter().any(|block| block["type"] == "tool_use");
    let cut = request["max_tokens"].as_u64().unwrap_or(0) < script.cut_below;
    let usual = if calls { "tool_use" } else { "end_turn" };
    let stop_reason = match &script.stop_reason {
        _ if cut => "max_tokens",
        Some(reason) => reason,
        None => usual,
    };
    let mut usage = reckon(request, &blocks, model);
    usage.extend(script.usage.clone());
    Performance {
        id: format!("msg_{}", &Sha256::of(request.to_string().as_bytes()).to_string()[..24]),
        model: model.id.clone(),
        blocks,
        cut,
        stop_reason: stop_reason.to_owned(),
        stop_details: script.stop_details.clone().unwrap_or(Value::Null),
        usage,
    }
}

fn wire_block(block: &Block, bound: &Bound, place: &str) -> Value {
    match block {
        Block::Text { text } => json!({ "type": "text", "text": text }),
        Block::Thinking { thinking } => json!({
            "type": "thinking", "thinking": thinking, "signature": bound.signature(thinking),
        }),
        Block::Redacted { redacted_thinking } => {
            json!({ "type": "redacted_thinking", "data": redacted_thinking })
        }
        Block::Tool { tool, input, id } => {
            let made = || {
                let hash = Sha256::of(format!("tool/{place}").as_bytes()).to_string();
                format!("toolu_{}", &hash[..24])
            };
            let id = id.clone().unwrap_or_else(made);
            json!({ "type": "tool_use", "id": id, "name": tool, "input": input })
        }
        Block::Raw { raw } => raw.clone(),
    }
}

/// Four bytes a token, and a cache that holds what the previous request of the thread held.
fn reckon(request: &Value, blocks: &[Value], model: &Model) -> Map<String, Value> {
    let tokens = |value: &Value| (value.to_string().len() as u64).div_ceil(4);
    let empty = Vec::new();
    let messages = request["messages"].as_array().unwrap_or(&empty);
    let prefix = tokens(&request["system"]) + tokens(&request["tools"]);
    let total = prefix + messages.iter().map(tokens).sum::<u64>();
    let last_response = messages.iter().rposition(|message| message["role"] == "assistant");
    let held =
        last_response.map_or(0, |at| prefix + messages[..at].iter().map(tokens).sum::<u64>());
    let floor = model.cache_minimum_tokens;
    let read = if held < floor { 0 } else { held };
    let written = if total < floor { 0 } else { (total - read).saturating_sub(3) };
    let output = blocks.iter().map(tokens).sum::<u64>().max(1);
    let usage = json!({
        "input_tokens": total - read - written,
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": read,
        "cache_creation": { "ephemeral_5m_input_tokens": written, "ephemeral_1h_input_tokens": 0 },
        "output_tokens": output,
        "service_tier": "standard",
        "inference_geo": "global",
    });
    match usage {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

impl Performance {
    /// The response as one document. A cut tool call keeps an empty input, as a document must.
    pub fn document(&self) -> Value {
        json!({
            "id": self.id,
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": self.blocks,
            "stop_reason": self.stop_reason,
            "stop_sequence": null,
            "stop_details": self.stop_details,
            "usage": self.usage,
        })
    }

    /// The response as events, each with its name.
    pub fn events(&self, wire: &Wire) -> Vec<Value> {
        let mut usage = self.usage.clone();
        usage.insert("output_tokens".into(), 1.into());
        let mut start = self.document();
        start["content"] = json!([]);
        start["stop_reason"] = Value::Null;
        start["usage"] = Value::Object(usage);
        let mut events =
            vec![json!({ "type": "message_start", "message": start }), json!({ "type": "ping" })];
        let last = self.blocks.len().saturating_sub(1);
        for (index, block) in self.blocks.iter().enumerate() {
            if wire.noise {
                events.push(json!({ "type": "moon_phase", "phase": 0.25 }));
            }
            self.block_events(index, block, self.cut && index == last, wire, &mut events);
        }
        let totals: Map<_, _> = self
            .usage
            .iter()
            .filter(|(name, _)| TOTALS.contains(&name.as_str()))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        events.push(json!({
            "type": "message_delta",
            "delta": {
                "stop_reason": self.stop_reason,
                "stop_sequence": null,
                "stop_details": self.stop_details,
            },
            "usage": totals,
        }));
        events.push(json!({ "type": "message_stop" }));
        events
    }

    fn block_events(
        &self,
        index: usize,
        block: &Value,
        cut: bool,
        wire: &Wire,
        events: &mut Vec<Value>,
    ) {
        let mut start = block.clone();
        let growing = match block["type"].as_str() {
            Some("text") => Some(("text", "text_delta", "text")),
            Some("thinking") => Some(("thinking", "thinking_delta", "thinking")),
            Some("tool_use") => Some(("input", "input_json_delta", "partial_json")),
            _ => None,
        };
        let mut whole = String::new();
        if let Some((member, ..)) = growing {
            (whole, start[member]) = match &block[member] {
                Value::String(text) => (text.clone(), json!("")),
                value if value.as_object().is_some_and(Map::is_empty) => (String::new(), json!({})),
                value => (value.to_string(), json!({})),
            };
        }
        if block["type"] == "thinking" {
            start["signature"] = json!("");
        }
        events.push(json!({
            "type": "content_block_start", "index": index, "content_block": start,
        }));
        let mut pieces = pieces(&whole, wire.delta_chars.max(1));
        if cut {
            pieces.truncate(pieces.len() / 2);
        }
        if let Some((_, kind, member)) = growing {
            for piece in pieces {
                let delta = json!({ "type": kind, member: piece });
                events.push(json!({
                    "type": "content_block_delta", "index": index, "delta": delta,
                }));
            }
        }
        if block["type"] == "thinking" {
            let delta = json!({ "type": "signature_delta", "signature": block["signature"] });
            events.push(json!({ "type": "content_block_delta", "index": index, "delta": delta }));
        }
        events.push(json!({ "type": "content_block_stop", "index": index }));
    }
}

/// The members of usage that the last event repeats.
const TOTALS: [&str; 6] = [
    "input_tokens",
    "output_tokens",
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
    "output_tokens_details",
    "iterations",
];

fn pieces(text: &str, chars: usize) -> Vec<String> {
    let all: Vec<char> = text.chars().collect();
    all.chunks(chars).map(|piece| piece.iter().collect()).collect()
}

/// The bytes of one event.
pub fn frame(event: &Value, wire: &Wire) -> String {
    let name = event["type"].as_str().unwrap_or_default();
    let noise = if wire.noise { ": the player hums\n" } else { "" };
    let text = format!("{noise}event: {name}\ndata: {event}\n\n");
    if wire.crlf { text.replace('\n', "\r\n") } else { text }
}

/// Whether a response that was given holds as many thinking blocks as the script has for it.
pub fn keeps_thinking(message: &Value, script: &Turn) -> bool {
    let scripted = script.content.iter().filter(|block| match block {
        Block::Thinking { .. } | Block::Redacted { .. } => true,
        Block::Raw { raw } => raw["type"] == "thinking",
        Block::Text { .. } | Block::Tool { .. } => false,
    });
    let kept = binding::blocks(message);
    let kept = kept
        .iter()
        .filter(|block| matches!(block["type"].as_str(), Some("thinking" | "redacted_thinking")));
    scripted.count() == kept.count()
}
