//! The closed list of events. A new event is a struct in its family's file and a line in this list;
//! the compiler then leads to every place that must know it.

use std::fmt;

use schemars::{JsonSchema, Schema};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::upcast::upcast;
use crate::{attempt, delivery, diff, evidence, job, outcome, system, thread};

/// The facts of one kind of event.
pub trait Facts: Serialize + DeserializeOwned + JsonSchema + Into<Event> {
    /// The kind on the wire, in kebab case.
    const KIND: &'static str;
    /// The version of the facts' and the payload's shape.
    const SCHEMA_VERSION: u32;
    /// What a person, a repository or Claude wrote; [`NoPayload`] if there is none.
    type Payload: Serialize + DeserializeOwned + JsonSchema;
}

/// The payload of events that have none. It has no value.
#[derive(Debug, Clone, Copy, Serialize, serde::Deserialize, JsonSchema)]
pub enum NoPayload {}

/// An event that a decision made, not yet in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    pub event: Event,
    /// The payload's JSON, rendered once; its bytes are what the log hashes.
    pub payload: Option<String>,
}

impl Draft {
    /// An event without a payload.
    pub fn bare(facts: impl Facts) -> Self {
        Self { event: facts.into(), payload: None }
    }

    /// An event with its payload.
    pub fn with<F: Facts>(facts: F, payload: &F::Payload) -> Result<Self, serde_json::Error> {
        Ok(Self { event: facts.into(), payload: Some(serde_json::to_string(payload)?) })
    }
}

/// Why stored facts or a stored payload cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    #[error("`{kind}` is no event that this version knows; a newer version wrote it")]
    UnknownKind { kind: String },
    #[error("`{kind}` has schema version {found}, and this version knows up to {known}")]
    NewerSchema { kind: &'static str, found: u32, known: u32 },
    #[error("the {part} of `{kind}` do not fit their schema")]
    Shape {
        kind: String,
        part: &'static str,
        #[source]
        source: serde_json::Error,
    },
}

macro_rules! events {
    ($($name:ident = $kind:literal $version:literal, $family:ident, $payload:ty;)*) => {
        /// One event: its facts, by kind.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum Event {
            $($name($family::$name),)*
        }

        $(
            impl Facts for $family::$name {
                const KIND: &'static str = $kind;
                const SCHEMA_VERSION: u32 = $version;
                type Payload = $payload;
            }

            impl From<$family::$name> for Event {
                fn from(facts: $family::$name) -> Self {
                    Self::$name(facts)
                }
            }
        )*

        impl Event {
            /// Every kind, in the order in which a job meets them.
            pub const KINDS: &'static [&'static str] = &[$($kind,)*];

            /// The kind on the wire.
            pub fn kind(&self) -> &'static str {
                match self {
                    $(Self::$name(_) => $kind,)*
                }
            }

            /// The version of the kind's shape.
            pub fn schema_version(&self) -> u32 {
                match self {
                    $(Self::$name(_) => $version,)*
                }
            }

            /// The facts as the JSON text that the log keeps.
            pub fn facts_json(&self) -> Result<String, serde_json::Error> {
                match self {
                    $(Self::$name(facts) => serde_json::to_string(facts),)*
                }
            }

            /// Reads stored facts, lifting older shapes to today's.
            pub fn decode(kind: &str, schema_version: u32, facts: &str) -> Result<Self, DecodeError> {
                let known = match kind {
                    $($kind => $version,)*
                    _ => return Err(DecodeError::UnknownKind { kind: kind.to_owned() }),
                };
                let known: u32 = known;
                if schema_version > known {
                    let kind = Self::KINDS.iter().find(|k| **k == kind).copied().unwrap_or_default();
                    return Err(DecodeError::NewerSchema { kind, found: schema_version, known });
                }
                let shape = |source| DecodeError::Shape { kind: kind.to_owned(), part: "facts", source };
                let facts = upcast(kind, schema_version, known, facts).map_err(shape)?;
                match kind {
                    $($kind => serde_json::from_str(&facts).map(Self::$name).map_err(shape),)*
                    _ => Err(DecodeError::UnknownKind { kind: kind.to_owned() }),
                }
            }
        }

        /// The JSON Schemas of each kind: facts, and payload where there is one.
        pub fn schemas() -> Vec<EventSchema> {
            vec![$(EventSchema {
                kind: $kind,
                schema_version: $version,
                facts: schemars::schema_for!($family::$name),
                payload: payload_schema::<$payload>(),
            },)*]
        }
    };
}

/// The shapes of one kind of event.
#[derive(Debug)]
pub struct EventSchema {
    pub kind: &'static str,
    pub schema_version: u32,
    pub facts: Schema,
    pub payload: Option<Schema>,
}

fn payload_schema<P: JsonSchema + 'static>() -> Option<Schema> {
    let none = std::any::TypeId::of::<P>() == std::any::TypeId::of::<NoPayload>();
    (!none)
        .then(schemars::generate::SchemaGenerator::default)
        .map(|generator| generator.into_root_schema_for::<P>())
}

/// Reads the payload of an `F`, stored as `bytes`.
pub fn decode_payload<F: Facts>(bytes: &[u8]) -> Result<F::Payload, DecodeError> {
    serde_json::from_slice(bytes).map_err(|source| DecodeError::Shape {
        kind: F::KIND.to_owned(),
        part: "payload's bytes",
        source,
    })
}

events! {
    Created = "created" 1, job, job::CreatedPayload;
    Paused = "paused" 1, job, job::ReasonPayload;
    Resumed = "resumed" 1, job, job::ReasonPayload;
    Cancelled = "cancelled" 1, job, job::ReasonPayload;
    BudgetChanged = "budget-changed" 1, job, job::ReasonPayload;
    AttemptRequested = "attempt-requested" 1, attempt, NoPayload;
    AttemptStarted = "attempt-started" 1, attempt, NoPayload;
    AttemptEnded = "attempt-ended" 1, attempt, attempt::AttemptEndedPayload;
    RepoScanned = "repo-scanned" 1, evidence, evidence::RepoScannedPayload;
    DependenciesFetched = "dependencies-fetched" 1, evidence, evidence::DependenciesFetchedPayload;
    ChecksRan = "checks-ran" 1, evidence, evidence::ChecksRanPayload;
    ThreadStarted = "thread-started" 1, thread, thread::ThreadStartedPayload;
    CallPermitted = "call-permitted" 1, thread, thread::CallPermittedPayload;
    CallFailed = "call-failed" 1, thread, thread::CallFailedPayload;
    ClaudeTurn = "claude-turn" 1, thread, thread::ClaudeTurnPayload;
    ToolsRan = "tools-ran" 1, thread, thread::ToolsRanPayload;
    DiffReviewed = "diff-reviewed" 1, thread, thread::DiffReviewedPayload;
    DiffProduced = "diff-produced" 1, diff, diff::DiffProducedPayload;
    DiffApproved = "diff-approved" 1, diff, diff::CommentPayload;
    DiffRejected = "diff-rejected" 1, diff, diff::CommentPayload;
    ChangesRequested = "changes-requested" 1, diff, diff::CommentPayload;
    TargetHeld = "target-held" 1, diff, diff::CommentPayload;
    BranchPushed = "branch-pushed" 1, delivery, NoPayload;
    PrOpened = "pr-opened" 1, delivery, NoPayload;
    PrUpdated = "pr-updated" 1, delivery, NoPayload;
    DeliveryFailed = "delivery-failed" 1, delivery, job::ReasonPayload;
    TargetFinished = "target-finished" 1, outcome, outcome::TargetFinishedPayload;
    TargetReopened = "target-reopened" 1, outcome, job::ReasonPayload;
    Finished = "finished" 1, outcome, NoPayload;
    Archived = "archived" 1, job, NoPayload;
    Unarchived = "unarchived" 1, job, NoPayload;
    PayloadRedacted = "payload-redacted" 1, system, job::ReasonPayload;
    TokenCreated = "token-created" 1, system, system::TokenCreatedPayload;
    TokenRevoked = "token-revoked" 1, system, job::ReasonPayload;
    SettingsChanged = "settings-changed" 1, system, system::SettingsChangedPayload;
    EpochOpened = "epoch-opened" 1, system, NoPayload;
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())
    }
}
