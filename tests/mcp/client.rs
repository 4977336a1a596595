//! A client of few words: one message, one answer, in either of the protocol's eras.

use serde_json::{Value, json};

/// An era of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Era {
    /// 2025-11-25, whose requests say nothing of the client.
    Older,
    /// 2026-07-28, whose requests say all.
    Newer,
}

impl Era {
    pub const BOTH: [Self; 2] = [Self::Older, Self::Newer];

    pub fn version(self) -> &'static str {
        match self {
            Self::Older => "2025-11-25",
            Self::Newer => "2026-07-28",
        }
    }
}

/// A client of the server at `url`.
#[derive(Debug, Clone)]
pub struct Client {
    pub url: String,
    pub token: String,
    pub era: Era,
    /// What it says that it can do, in the newer era.
    pub capabilities: Value,
    http: reqwest::Client,
}

impl Client {
    pub fn new(url: &str, token: &str, era: Era) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let (url, token) = (url.to_owned(), token.to_owned());
        Self { url, token, era, capabilities: json!({}), http }
    }

    /// The request for a method, before it is sent.
    pub fn request(&self, method: &str, params: Value) -> reqwest::RequestBuilder {
        let mut params = params;
        let name = ["name", "uri", "taskId"].iter().find_map(|key| params[*key].as_str());
        let name = name.map(str::to_owned);
        let mut request = self
            .http
            .post(&self.url)
            .header("accept", "application/json, text/event-stream")
            .header("mcp-protocol-version", self.era.version());
        if self.era == Era::Newer {
            params["_meta"] = json!({
                "io.modelcontextprotocol/protocolVersion": self.era.version(),
                "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1" },
                "io.modelcontextprotocol/clientCapabilities": self.capabilities,
            });
            request = request.header("mcp-method", method);
            if let Some(name) = name {
                request = request.header("mcp-name", name);
            }
        }
        if !self.token.is_empty() {
            request = request.bearer_auth(&self.token);
        }
        request.json(&json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }))
    }

    /// What the server answers, whole.
    pub async fn answer(&self, method: &str, params: Value) -> Value {
        let response = self.request(method, params).send().await.unwrap();
        let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
        let text = response.text().await.unwrap();
        let text = match kind.starts_with("text/event-stream") {
            // The last message is the answer.
            true => text.lines().filter_map(|line| line.strip_prefix("data:")).next_back().unwrap(),
            false => &text,
        };
        serde_json::from_str(text).unwrap_or_else(|_| panic!("{method}: {text}"))
    }

    /// What a method gives.
    pub async fn ask(&self, method: &str, params: Value) -> Value {
        let answer = self.answer(method, params).await;
        assert_eq!(answer.get("error"), None, "{method}");
        answer["result"].clone()
    }

    /// What a tool gives, and whether that is an error.
    pub async fn call(&self, tool: &str, arguments: Value) -> (Value, bool) {
        let result = self.ask("tools/call", json!({ "name": tool, "arguments": arguments })).await;
        let is_error = result["isError"] == true;
        (result["structuredContent"].clone(), is_error)
    }

    /// What a tool gives that does what it is asked.
    pub async fn told(&self, tool: &str, arguments: Value) -> Value {
        let (value, is_error) = self.call(tool, arguments).await;
        assert!(!is_error, "{tool}: {value}");
        value
    }

    /// What a tool says no with.
    pub async fn refused(&self, tool: &str, arguments: Value) -> Value {
        let (value, is_error) = self.call(tool, arguments).await;
        assert!(is_error, "{tool}: {value}");
        let mut keys: Vec<&String> = value.as_object().unwrap().keys().collect();
        keys.sort();
        assert_eq!(keys, ["code", "message", "next", "retryable"]);
        value
    }
}
