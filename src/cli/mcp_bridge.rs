//! A bridge from lines on standard input to a server's MCP door, and back. It knows of the protocol what
//! HTTP asks for beside the message, and nothing else.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinSet};

use super::client::Client;

/// The longest line that is read: a job's request.
const MAX_LINE_BYTES: u64 = 4 << 20;
/// The longest message that is passed back.
const MAX_MESSAGE_BYTES: usize = 16 << 20;
/// Requests that are under way at once; further ones wait.
const AT_ONCE: usize = 64;
/// The longest that one request may take: following a job has no end of its own.
const PATIENCE: Duration = Duration::from_secs(24 * 60 * 60);
/// How long answers may still take when the input has ended.
const LAST_ANSWERS: Duration = Duration::from_secs(5);
/// What a message says its revision is.
const REVISION: &str = "io.modelcontextprotocol/protocolVersion";
/// The code of JSON-RPC for what is no JSON, and for a fault.
const PARSE_ERROR: i32 = -32_700;
const INTERNAL_ERROR: i32 = -32_603;

/// Passes messages on.
#[derive(Debug, Clone)]
pub struct Bridge {
    client: Arc<Client>,
    route: &'static str,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    output: tokio::sync::Mutex<tokio::io::Stdout>,
    room: Arc<Semaphore>,
    /// The revision that was agreed upon, where messages do not say theirs.
    revision: Mutex<Option<String>>,
    /// Requests under way, by their ids as JSON.
    open: Mutex<BTreeMap<String, AbortHandle>>,
}

impl Bridge {
    /// A bridge to `route` of `client`'s server.
    pub fn new(client: Arc<Client>, route: &'static str) -> Self {
        let shared = Shared {
            output: tokio::sync::Mutex::new(tokio::io::stdout()),
            room: Arc::new(Semaphore::new(AT_ONCE)),
            revision: Mutex::default(),
            open: Mutex::default(),
        };
        Self { client, route, shared: Arc::new(shared) }
    }

    /// Carries messages until the input ends, and the answers to what was asked before.
    pub async fn carry(&self) -> Result<(), anyhow::Error> {
        let mut input = BufReader::new(tokio::io::stdin());
        let mut under_way = JoinSet::new();
        loop {
            let mut line = Vec::new();
            let mut limited = (&mut input).take(MAX_LINE_BYTES + 1);
            let interrupted = tokio::signal::ctrl_c();
            let count = tokio::select! {
                count = limited.read_until(b'\n', &mut line) => count?,
                _ = interrupted => return Ok(()),
            };
            if count == 0 {
                break;
            }
            anyhow::ensure!(
                line.len() as u64 <= MAX_LINE_BYTES,
                "a message has more than {MAX_LINE_BYTES} bytes"
            );
            let Ok(message) = serde_json::from_slice::<Value>(&line) else {
                if !line.trim_ascii().is_empty() {
                    self.put(&failed(&Value::Null, PARSE_ERROR, "The line is no JSON.")).await?;
                }
                continue;
            };
            self.cancel(&message);
            let Ok(room) = Arc::clone(&self.shared.room).acquire_owned().await else { break };
            let (bridge, id) = (self.clone(), message.get("id").map(Value::to_string));
            let passed = under_way.spawn(async move {
                bridge.pass(message).await;
                drop(room);
            });
            if let Some(id) = id {
                self.open().insert(id, passed);
            }
            while under_way.try_join_next().is_some() {}
        }
        let rest = async { while under_way.join_next().await.is_some() {} };
        // What still waits by then waits for something that may never happen.
        let _ = tokio::time::timeout(LAST_ANSWERS, rest).await;
        Ok(())
    }

    fn open(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, AbortHandle>> {
        self.shared.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Over HTTP a request is cancelled by leaving.
    fn cancel(&self, message: &Value) {
        if message["method"] == "notifications/cancelled"
            && let Some(open) = self.open().remove(&message["params"]["requestId"].to_string())
        {
            open.abort();
        }
    }

    /// Passes one message on, and back what comes of it.
    async fn pass(&self, message: Value) {
        let id = message.get("id").cloned();
        if let Err(error) = self.exchange(&message).await {
            let words = super::text::chain(&*error);
            match &id {
                Some(id) => {
                    let told = self.put(&failed(id, INTERNAL_ERROR, &words)).await;
                    if told.is_err() {
                        tracing::warn!(error = words, "nobody reads answers any more");
                    }
                }
                None => tracing::warn!(error = words, "a notification was not passed on"),
            }
        }
        if let Some(id) = id {
            self.open().remove(&id.to_string());
        }
    }

    async fn exchange(&self, message: &Value) -> Result<(), anyhow::Error> {
        let mut request = self.client.request(self.route).timeout(PATIENCE);
        request = request.header("accept", "application/json, text/event-stream");
        if let Some(revision) = self.revision(message) {
            request = request.header("mcp-protocol-version", revision);
        }
        if let Some(method) = message["method"].as_str() {
            request = request.header("mcp-method", header_value(method));
            if let Some(name) = name(method, &message["params"]) {
                request = request.header("mcp-name", header_value(name));
            }
        }
        let mut answer = request.json(message).send().await?;
        let kind = answer.headers().get("content-type").and_then(|kind| kind.to_str().ok());
        if kind.is_some_and(|kind| kind.starts_with("text/event-stream")) {
            return self.stream(answer).await;
        }
        let status = answer.status();
        let mut body = Vec::new();
        while let Some(piece) = answer.chunk().await? {
            anyhow::ensure!(
                body.len() + piece.len() <= MAX_MESSAGE_BYTES,
                "the answer is too large"
            );
            body.extend_from_slice(&piece);
        }
        if body.is_empty() {
            anyhow::ensure!(
                status.is_success() || message.get("id").is_none(),
                "the server says {status}"
            );
            return Ok(());
        }
        match serde_json::from_slice::<Value>(&body) {
            Ok(answered) if answered["jsonrpc"] == "2.0" => {
                self.agree(&answered);
                self.put(&answered).await
            }
            Ok(refused) => {
                let words = refused["message"].as_str().unwrap_or("no reason given");
                anyhow::bail!("the server says {status}: {words}")
            }
            Err(_) => anyhow::bail!("the server says {status}, and no JSON"),
        }
    }

    /// Passes back each message of a stream of events.
    async fn stream(&self, mut answer: reqwest::Response) -> Result<(), anyhow::Error> {
        let mut text = Vec::new();
        while let Some(piece) = answer.chunk().await? {
            text.extend_from_slice(&piece);
            anyhow::ensure!(text.len() <= MAX_MESSAGE_BYTES, "a message is too large");
            while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = text.drain(..=end).collect();
                let Some(data) = line.strip_prefix(b"data:") else { continue };
                if let Ok(message) = serde_json::from_slice::<Value>(data) {
                    self.put(&message).await?;
                }
            }
        }
        Ok(())
    }

    /// The revision that the message is of, as far as it is known.
    fn revision(&self, message: &Value) -> Option<String> {
        let own = message["params"]["_meta"][REVISION].as_str().map(str::to_owned);
        let agreed = self.shared.revision.lock().unwrap_or_else(PoisonError::into_inner);
        own.or_else(|| agreed.clone())
    }

    /// Remembers what an older client agreed upon with the server.
    fn agree(&self, answer: &Value) {
        if let Some(revision) = answer["result"]["protocolVersion"].as_str() {
            let mut agreed = self.shared.revision.lock().unwrap_or_else(PoisonError::into_inner);
            *agreed = Some(revision.to_owned());
        }
    }

    async fn put(&self, message: &Value) -> Result<(), anyhow::Error> {
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        let mut output = self.shared.output.lock().await;
        output.write_all(&line).await?;
        output.flush().await?;
        Ok(())
    }
}

fn failed(id: &Value, code: i32, words: &str) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": words } })
}

/// What a request is about, as the protocol has it told beside the message.
fn name<'a>(method: &str, params: &'a Value) -> Option<&'a str> {
    let field = match method {
        "tools/call" | "prompts/get" => "name",
        "resources/read" | "resources/subscribe" | "resources/unsubscribe" => "uri",
        "tasks/get" | "tasks/update" | "tasks/cancel" => "taskId",
        _ => return None,
    };
    params[field].as_str()
}

/// `text` as a header can carry it: as it is, or wrapped as the protocol says.
fn header_value(text: &str) -> String {
    let is_plain = text.bytes().all(|byte| (0x20..=0x7E).contains(&byte))
        && text.trim() == text
        && !text.starts_with("=?base64?");
    match is_plain {
        true => text.to_owned(),
        false => format!("=?base64?{}?=", STANDARD.encode(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_carry_any_name() {
        assert_eq!(header_value("get_job"), "get_job");
        assert_eq!(header_value("é"), "=?base64?w6k=?=");
        assert_eq!(header_value(" a"), "=?base64?IGE=?=");
        assert_eq!(name("tools/call", &json!({ "name": "x" })), Some("x"));
        assert_eq!(name("tasks/get", &json!({ "taskId": "job.1" })), Some("job.1"));
        assert_eq!(name("tools/list", &json!({ "name": "x" })), None);
    }
}
