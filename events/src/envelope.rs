//! What the log knows of every event, whatever its kind.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::digest::Sha256;
use crate::ids::{CommandId, EventId};
use crate::time::Timestamp;

/// The most bytes that an event's facts may have.
pub const MAX_FACTS_BYTES: usize = 4096;

/// An event to be appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    pub kind: String,
    pub schema_version: u32,
    /// When its maker says it happened; never used for order.
    pub occurred_at: Timestamp,
    /// A JSON object of at most [`MAX_FACTS_BYTES`].
    pub facts: String,
    /// JSON, kept byte for byte.
    pub payload: Option<Vec<u8>>,
    pub causation_id: Option<EventId>,
}

/// An event in the log. The fields are the columns of the table `events`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// Place in the whole log, from 1, gapless.
    pub position: u64,
    pub stream: String,
    /// Place in its stream, from 1.
    pub version: u64,
    pub event_id: EventId,
    pub command_id: CommandId,
    pub kind: String,
    pub schema_version: u32,
    /// When the log took it; never decreases.
    pub recorded_at: Timestamp,
    pub occurred_at: Timestamp,
    pub actor: String,
    pub door: Door,
    pub causation_id: Option<EventId>,
    pub correlation_id: Option<Uuid>,
    pub facts: String,
    pub payload_len: Option<u64>,
    pub payload_commit: Option<Sha256>,
    pub event_hash: Sha256,
    pub log_hash: Sha256,
}

/// The way by which a wish came in.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Door {
    Cli,
    Graphql,
    Mcp,
    Web,
    Worker,
    Webhook,
    /// The server itself: its dispatcher, converser, watchdog, deliverer.
    Server,
}

impl Door {
    /// Every door.
    pub const ALL: [Self; 7] =
        [Self::Cli, Self::Graphql, Self::Mcp, Self::Web, Self::Worker, Self::Webhook, Self::Server];

    /// The name in the log.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cli => "cli",
            Self::Graphql => "graphql",
            Self::Mcp => "mcp",
            Self::Web => "web",
            Self::Worker => "worker",
            Self::Webhook => "webhook",
            Self::Server => "server",
        }
    }

    /// The door with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|door| door.name() == name)
    }
}

/// An event as programs outside read it: one line of `events --json`.
#[derive(Debug, Serialize)]
pub struct Envelope<'a> {
    pub position: u64,
    pub stream: &'a str,
    pub version: u64,
    pub event_id: EventId,
    pub command_id: CommandId,
    #[serde(rename = "type")]
    pub kind: &'a str,
    pub schema_version: u32,
    pub recorded_at: Timestamp,
    pub occurred_at: Timestamp,
    pub actor: &'a str,
    pub door: Door,
    pub causation_id: Option<EventId>,
    pub correlation_id: Option<Uuid>,
    pub facts: &'a serde_json::value::RawValue,
    pub payload_len: Option<u64>,
    pub payload_commit: Option<Sha256>,
    pub event_hash: Sha256,
    pub log_hash: Sha256,
    /// The payload as it is stored; null if there is none, or if it was removed.
    pub payload: Option<&'a serde_json::value::RawValue>,
}

impl Recorded {
    /// One line of JSON without a line end: this event, with its payload's bytes if there are any.
    pub fn to_json(&self, payload: Option<&[u8]>) -> Result<String, serde_json::Error> {
        let facts: &serde_json::value::RawValue = serde_json::from_str(&self.facts)?;
        let payload = payload.map(serde_json::from_slice::<&serde_json::value::RawValue>);
        serde_json::to_string(&Envelope {
            position: self.position,
            stream: &self.stream,
            version: self.version,
            event_id: self.event_id,
            command_id: self.command_id,
            kind: &self.kind,
            schema_version: self.schema_version,
            recorded_at: self.recorded_at,
            occurred_at: self.occurred_at,
            actor: &self.actor,
            door: self.door,
            causation_id: self.causation_id,
            correlation_id: self.correlation_id,
            facts,
            payload_len: self.payload_len,
            payload_commit: self.payload_commit,
            event_hash: self.event_hash,
            log_hash: self.log_hash,
            payload: payload.transpose()?,
        })
    }
}
