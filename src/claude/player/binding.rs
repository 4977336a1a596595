//! Signatures that bind a thinking block to everything before it, as the provider's do: model,
//! system, tools, earlier messages and earlier blocks, cache marks left out. The player signs what
//! it says and checks what comes back.

use cody_events::digest::Sha256;
use serde_json::Value;

/// Everything before a point of a conversation, as one running hash.
#[derive(Debug, Clone)]
pub struct Bound {
    so_far: Sha256,
}

impl Bound {
    /// The state before the first message of `request`.
    pub fn new(request: &Value) -> Self {
        let mut bound = Self { so_far: Sha256::of(b"cody-batch/player/1") };
        for member in ["model", "system", "tools"] {
            bound.add(&without_marks(&request[member]));
        }
        bound
    }

    /// Adds a whole message.
    pub fn message(&mut self, message: &Value) {
        self.add(&message["role"]);
        for block in blocks(message) {
            self.block(&block);
        }
    }

    /// Adds one block of the message that is being read or written.
    pub fn block(&mut self, block: &Value) {
        self.add(&without_marks(block));
    }

    /// The signature of a thinking block that says `thinking` at this point.
    pub fn signature(&self, thinking: &str) -> String {
        let mut bound = self.clone();
        bound.add(&Value::from(thinking));
        let hash = bound.so_far.to_string();
        // Long, and with characters that JSON and base64 treat differently, like real ones.
        format!("EqQB+{hash}/{}==", &hash[..32])
    }

    fn add(&mut self, value: &Value) {
        let mut bytes = self.so_far.as_bytes().to_vec();
        bytes.extend_from_slice(value.to_string().as_bytes());
        self.so_far = Sha256::of(&bytes);
    }
}

/// The blocks of a message; a text counts as one text block.
pub fn blocks(message: &Value) -> Vec<Value> {
    match &message["content"] {
        Value::Array(blocks) => blocks.clone(),
        Value::String(text) => vec![serde_json::json!({ "type": "text", "text": text })],
        _ => Vec::new(),
    }
}

/// `value` without the cache marks of its blocks and without empty members. The input of a tool call is no place for marks,
/// so whatever it holds stays.
fn without_marks(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(without_marks).collect(),
        Value::Object(members) => {
            let kept =
                members.iter().filter(|(name, value)| *name != "cache_control" && !value.is_null());
            Value::Object(
                kept.map(|(name, value)| {
                    let value =
                        if name == "content" { without_marks(value) } else { value.clone() };
                    (name.clone(), value)
                })
                .collect(),
            )
        }
        other => other.clone(),
    }
}

/// Checks every thinking block of `request` against what stands before it.
pub fn check(request: &Value) -> Result<(), String> {
    let mut bound = Bound::new(request);
    let none = Vec::new();
    for (index, message) in request["messages"].as_array().unwrap_or(&none).iter().enumerate() {
        bound.add(&message["role"]);
        for (place, block) in blocks(message).iter().enumerate() {
            let expected = match block["type"].as_str() {
                Some("thinking") => block["thinking"].as_str().map(|text| bound.signature(text)),
                _ => None,
            };
            if expected.as_deref().is_some_and(|signature| block["signature"] != signature) {
                return Err(format!(
                    "messages.{index}.content.{place}: Invalid `signature` in `thinking` block. The block is bound to a different conversation. Remove the block, or set `thinking.block_binding.prefix_mismatch_behavior` to \"drop_block\"."
                ));
            }
            bound.block(block);
        }
    }
    Ok(())
}
