//! One message of a client: what of it a server has to be told in headers.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;

/// A message, as far as this has to know it.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Nothing for what wants no answer.
    pub id: Option<Value>,
    pub method: String,
    /// What is asked for, in a header's spelling.
    pub name: Option<String>,
    /// The revision that the message itself names.
    pub revision: Option<String>,
    /// The request that is not wanted any more.
    pub cancels: Option<Value>,
}

impl Message {
    /// The message in `line`; nothing if there is none that could be passed on.
    pub fn parse(line: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(line).ok()?;
        let method = value.get("method")?.as_str()?.to_owned();
        let params = value.get("params");
        let text = |key: &str| params.and_then(|params| params.get(key)?.as_str());
        let name = match method.as_str() {
            "tools/call" | "prompts/get" => text("name"),
            "resources/read" => text("uri"),
            "tasks/get" | "tasks/update" | "tasks/cancel" => text("taskId"),
            _ => None,
        };
        let meta = params.and_then(|params| params.get("_meta"));
        let revision = meta.and_then(|meta| {
            meta.get("io.modelcontextprotocol/protocolVersion")?.as_str().map(str::to_owned)
        });
        let cancels = match method.as_str() {
            "notifications/cancelled" => params.and_then(|params| params.get("requestId")).cloned(),
            _ => None,
        };
        let (id, name) = (value.get("id").cloned(), name.map(spelled));
        Some(Self { id, method, name, revision, cancels })
    }
}

/// `text` as a header has it: as it is, or marked and in base64 where a header could not hold it.
fn spelled(text: &str) -> String {
    let is_plain = text.bytes().all(|byte| matches!(byte, 0x20..=0x7e));
    let is_touchy = text.trim() != text || text.starts_with("=?");
    match is_plain && !is_touchy {
        true => text.to_owned(),
        false => format!("=?base64?{}?=", BASE64.encode(text)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parsed(value: Value) -> Option<Message> {
        Message::parse(value.to_string().as_bytes())
    }

    #[test]
    fn a_message_says_what_its_headers_have_to() {
        let call = json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {
            "name": "get_job", "arguments": {},
            "_meta": { "io.modelcontextprotocol/protocolVersion": "2026-07-28" } } });
        let call = parsed(call).unwrap();
        assert_eq!((call.id, call.name.as_deref()), (Some(json!(7)), Some("get_job")));
        assert_eq!(call.revision.as_deref(), Some("2026-07-28"));
        let read =
            json!({ "id": "a", "method": "resources/read", "params": { "uri": "codybatch://ü" } });
        assert_eq!(parsed(read).unwrap().name.as_deref(), Some("=?base64?Y29keWJhdGNoOi8vw7w=?="));
        let cancelled =
            json!({ "method": "notifications/cancelled", "params": { "requestId": 7 } });
        let cancelled = parsed(cancelled).unwrap();
        assert_eq!((cancelled.id, cancelled.cancels), (None, Some(json!(7))));
        for none in [json!({}), json!([]), json!({ "id": 1, "result": {} })] {
            assert_eq!(parsed(none), None);
        }
        assert_eq!(Message::parse(b"nonsense"), None);
    }
}
