//! The log: what happened, in the order in which it was taken, and the small tables beside it.
//!
//! [`Log`] is the contract; [`sqlite::SqliteLog`] keeps it in one file. Nothing outside this room
//! knows SQLite. There is one logical writer, which gives positions; it answers an append only
//! after the commit that holds it.

pub mod leases;
pub mod side;
pub mod sqlite;
pub mod subscription;
pub mod verify;
pub mod views;

mod append;
mod commits;
mod failure;
pub mod lock;
mod payload;
mod readers;
mod row;
mod schema;
mod writer;

use async_trait::async_trait;
use cody_events::digest::Sha256;
use cody_events::envelope::{Door, NewEvent, Recorded};
use cody_events::ids::{CommandId, EventId};
use uuid::Uuid;

pub use commits::Commits;
pub use lock::LockError;
pub use payload::MAX_PAYLOAD_BYTES;
pub use sqlite::SqliteLog;
pub use subscription::{Cursor, Subscription};

/// The most events that one command may append.
pub const MAX_EVENTS: usize = 40;
/// The most bytes of headers and facts that one command may append.
pub const MAX_HEADER_BYTES: usize = 64 * 1024;
/// By this code an append is refused whose key stands for another request.
pub const KEY_REUSED: &str = "key-reused";

/// One command's events for one stream. A command that adds nothing may still use its key up: with a
/// key, there may be no events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Append {
    pub stream: String,
    pub expected: Expected,
    pub command_id: CommandId,
    pub actor: String,
    pub door: Door,
    pub correlation_id: Option<Uuid>,
    /// What keeps two commands of one wish apart from two wishes.
    pub unique_key: Option<UniqueKey>,
    pub events: Vec<NewEvent>,
}

/// What version the stream has to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    NoStream,
    Exact(u64),
    Any,
}

/// A key that its actor uses once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UniqueKey {
    pub actor: String,
    pub key: String,
    /// The SHA-256 of the request that the key stands for.
    pub request_digest: Sha256,
}

impl UniqueKey {
    /// The id of the command that the key stands for: who asks again asks for the same one, whatever
    /// the rules say by then.
    pub fn command_id(&self) -> CommandId {
        CommandId::derived(&["key", &self.actor, &self.key, &self.request_digest.to_string()])
    }
}

/// A key that was used, and what for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsedKey {
    pub request_digest: Sha256,
    pub stream: String,
    /// The first and the last event that the request added; where the log ended, if it added none.
    pub first_position: u64,
    pub last_position: u64,
}

/// What became of an append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Appended {
    /// It is in the log, durably. Without events, both positions are where the log ends.
    Appended { first_position: u64, last_position: u64, last_version: u64 },
    /// The same command with the same content was there before; this is where.
    Duplicate { first_position: u64, last_position: u64, stream: String },
    /// The stream has another version. Nothing was added.
    Conflict { actual_version: u64 },
    /// Another server has opened the log since. Nothing was added, and nothing will be.
    Fenced { current_epoch: u64 },
}

/// Why the log did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LogError {
    /// What was asked can never be taken.
    #[error("the log refuses the append: {message} ({code})")]
    Rejected { code: &'static str, message: String },
    /// It could be taken at another time. Nothing that was acknowledged is lost.
    #[error("the log is not available: {0}; it is tried again with the next command")]
    Unavailable(String),
    /// What is stored is not what was written.
    #[error(
        "the log is damaged at {place}: {what}; nothing is decided on it, put a backup in its place"
    )]
    Damaged { place: String, what: String },
    /// It is another's, who does not let it be read, or not so.
    #[error("{0}")]
    Closed(String),
}

impl LogError {
    /// Whether no other time would do.
    pub fn is_broken(&self) -> bool {
        match self {
            Self::Rejected { .. } | Self::Damaged { .. } | Self::Closed(_) => true,
            Self::Unavailable(_) => false,
        }
    }
}

/// Where the log ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    pub position: u64,
    pub log_hash: Sha256,
}

/// An append-only log of streams with one order over all of them.
#[async_trait]
pub trait Log: Send + Sync {
    /// Adds one command's events, all or none, durably.
    async fn append(&self, append: Append) -> Result<Appended, LogError>;

    /// Up to `limit` events of `stream` from `from_version` on, in order.
    async fn read_stream(
        &self,
        stream: &str,
        from_version: u64,
        limit: usize,
    ) -> Result<Vec<Recorded>, LogError>;

    /// Up to `limit` events after `position`, in order.
    async fn read_log(&self, after: u64, limit: usize) -> Result<Vec<Recorded>, LogError>;

    /// The payload at `position`, as it was given; nothing if there is none or it was removed.
    async fn payload(&self, position: u64) -> Result<Option<Vec<u8>>, LogError>;

    /// Where the log ends.
    async fn head(&self) -> Result<Head, LogError>;

    /// The event with this id, if it is in the log.
    async fn find_event(&self, id: EventId) -> Result<Option<Recorded>, LogError>;

    /// What `actor` used `key` for, if it did.
    async fn find_key(&self, actor: &str, key: &str) -> Result<Option<UsedKey>, LogError>;

    /// Follows the log from `cursor` on: first what is there, then what comes.
    fn subscribe(&self, cursor: Cursor) -> Subscription;
}
