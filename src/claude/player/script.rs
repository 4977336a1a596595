//! What the player says: a script in TOML or JSON. Describes; does nothing.
//!
//! ```toml
//! [[conversation]]
//! name = "change acme/app"
//! match = { system = ["You change code"], first_message = ["acme/app"] }
//!
//! [[conversation.turn]]
//! content = [
//!     { thinking = "I should look first." },
//!     { tool = "str_replace_based_edit_tool", input = { command = "view", path = "/repo/a.py" } },
//! ]
//! before = [{ status = 529 }, { breaks = "truncate", after_events = 4 }]
//!
//! [[conversation.turn]]
//! expect = ["def total"]
//! content = [{ tool = "finish", input = { outcome = "changed", title = "Fix the total" } }]
//! delay_ms = 200
//! ```

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

/// All that the player can say.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// Tried in order; the first that matches a request plays it.
    #[serde(rename = "conversation", alias = "conversations")]
    pub conversations: Vec<Conversation>,
    #[serde(default)]
    pub wire: Wire,
}

/// How bytes go out, for clients that must bear any of it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Wire {
    /// Cuts the stream into pieces of so many bytes, regardless of events.
    pub piece_bytes: Option<usize>,
    /// Ends lines with CR LF.
    pub crlf: bool,
    /// Mixes in comments, and events and members that no client knows.
    pub noise: bool,
    /// How many characters of text, thinking or tool input one event carries.
    pub delta_chars: usize,
}

impl Default for Wire {
    fn default() -> Self {
        Self { piece_bytes: None, crlf: false, noise: false, delta_chars: 24 }
    }
}

/// One thread, by what its requests contain.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conversation {
    pub name: String,
    #[serde(rename = "match", default)]
    pub select: Select,
    /// Words in a user message after which the response before it is given once more: what a model
    /// does that is told that the outcome of its tools is unknown.
    #[serde(default)]
    pub repeat_on: Option<String>,
    /// Turn n answers a request that holds n responses already, without those that were repeated.
    #[serde(rename = "turn", alias = "turns")]
    pub turns: Vec<Turn>,
}

/// What a request must contain for a conversation to play it; nothing stated matches all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Select {
    pub model: Option<String>,
    /// Texts that the system blocks contain, each of them.
    pub system: Vec<String>,
    /// Texts that the first user message contains, each of them.
    pub first_message: Vec<String>,
    /// Texts that the first user message does not contain.
    pub first_message_lacks: Vec<String>,
}

/// One response.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Turn {
    /// Texts that the last message must contain, or the player refuses to go on.
    pub expect: Vec<String>,
    pub content: Vec<Block>,
    /// By default `tool_use` if a tool is called, else `end_turn`.
    pub stop_reason: Option<String>,
    pub stop_details: Option<Value>,
    /// Replaces members of the usage that the player would reckon.
    pub usage: serde_json::Map<String, Value>,
    pub delay_ms: u64,
    /// A request with a smaller `max_tokens` gets a response that is cut off in its last block.
    pub cut_below: u64,
    /// What the first requests for this turn get instead, one each.
    pub before: Vec<Fault>,
}

/// One block of a response.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum Block {
    Text {
        text: String,
    },
    Thinking {
        thinking: String,
    },
    Redacted {
        redacted_thinking: String,
    },
    Tool {
        tool: String,
        #[serde(default = "empty_object")]
        input: Value,
        /// By default made from the names of conversation, turn and block.
        id: Option<String>,
    },
    /// Any other block, sent whole.
    Raw {
        raw: Value,
    },
}

/// Something that goes wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Fault {
    /// Refuses with this status, before any stream.
    pub status: Option<u16>,
    /// The provider's name for the error; by default the one that goes with the status.
    pub kind: Option<String>,
    pub message: Option<String>,
    /// Seconds, as the header says them.
    pub retry_after: Option<String>,
    /// Begins the response and breaks it so.
    pub breaks: Option<Break>,
    /// How many events of the response come before the break.
    pub after_events: usize,
}

/// How a stream breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Break {
    /// Ends in good form, without `message_stop`.
    Truncate,
    /// The connection is cut.
    Drop,
    /// Nothing more comes.
    Idle,
    /// An `error` event of the fault's kind.
    Error,
}

/// Why there is no script.
#[derive(Debug, thiserror::Error)]
pub enum BadScript {
    #[error("the script could not be read from `{path}`")]
    Read {
        path: String,
        #[source]
        source: std::io::Error,
    },
    #[error("the script is not of the form that the player knows; correct it")]
    Toml(#[from] toml::de::Error),
    #[error("the script is not of the form that the player knows; correct it")]
    Json(#[from] serde_json::Error),
}

impl Script {
    /// Reads a script from TOML.
    pub fn from_toml(text: &str) -> Result<Self, BadScript> {
        Ok(toml::from_str(text)?)
    }

    /// Reads a script from JSON.
    pub fn from_json(text: &str) -> Result<Self, BadScript> {
        Ok(serde_json::from_str(text)?)
    }

    /// Reads a file: JSON if its name ends so, else TOML.
    pub fn from_file(path: &Path) -> Result<Self, BadScript> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| BadScript::Read { path: path.display().to_string(), source })?;
        if path.extension().is_some_and(|end| end == "json") {
            Self::from_json(&text)
        } else {
            Self::from_toml(&text)
        }
    }
}

fn empty_object() -> Value {
    Value::Object(serde_json::Map::new())
}
