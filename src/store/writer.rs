//! The one writer: a thread that drains a bounded queue into one transaction after another.
//!
//! Each command has a savepoint of its own, so a conflict undoes only itself, and is answered only
//! after the commit. If the commit fails, every command of the batch fails, and the head is read
//! anew from the file.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};

use cody_events::digest::Sha256;
use cody_events::envelope::{MAX_FACTS_BYTES, NewEvent, Recorded};
use cody_events::hash::{SALT_BYTES, event_hash, log_hash, payload_commit};
use cody_events::ids::EventId;
use cody_events::time::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Savepoint, TransactionBehavior, params};
use tokio::sync::{oneshot, watch};

use super::row;
use super::{Append, Appended, Expected, Head, LogError, MAX_EVENTS, MAX_HEADER_BYTES};
use crate::clock::Clock;
use crate::entropy::Entropy;

/// The most commands that share a commit.
const MAX_BATCH: usize = 256;
/// Commands that may wait; further ones make their askers wait.
pub(super) const QUEUE: usize = 1024;
/// Payloads of fewer bytes are kept as they are.
const MIN_COMPRESSED_BYTES: usize = 128;
const ZSTD_LEVEL: i32 = 3;
/// Pages of the WAL after which an idle writer copies them into the file.
const CHECKPOINT_PAGES: i64 = 1_000;

/// How a payload is kept.
pub(super) const CODEC_PLAIN: i64 = 0;
pub(super) const CODEC_ZSTD: i64 = 1;

/// What the writer does for a small table beside the log.
type SideWork = Box<dyn FnOnce(&Connection) -> rusqlite::Result<()> + Send>;

pub(super) enum Message {
    Append(Box<Append>, oneshot::Sender<Result<Appended, LogError>>),
    /// Work inside the batch's transaction, and what to call when that is committed or failed.
    Side(SideWork, oneshot::Sender<Result<(), LogError>>),
}

pub(super) struct Writer {
    pub connection: Connection,
    pub queue: Receiver<Message>,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    pub epoch: u64,
    pub head: HeadState,
    pub tell_head: watch::Sender<Head>,
}

/// The end of the log as the writer knows it.
#[derive(Debug, Clone, Copy)]
pub(super) struct HeadState {
    pub head: Head,
    pub recorded_at: Timestamp,
}

impl HeadState {
    /// Reads the head from the file.
    pub fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let head = connection
            .prepare_cached(
                "SELECT position, log_hash, recorded_at FROM events ORDER BY position DESC LIMIT 1",
            )?
            .query_row([], |row| {
                Ok(Self {
                    head: Head {
                        position: row.get::<_, i64>(0)?.cast_unsigned(),
                        log_hash: Sha256(row.get(1)?),
                    },
                    recorded_at: Timestamp(row.get(2)?),
                })
            })
            .optional()?;
        Ok(head.unwrap_or(Self {
            head: Head { position: 0, log_hash: Sha256::ZERO },
            recorded_at: Timestamp(0),
        }))
    }
}

/// An answer that waits for its commit.
enum Answer {
    Append(oneshot::Sender<Result<Appended, LogError>>, Result<Appended, LogError>),
    Side(oneshot::Sender<Result<(), LogError>>, Result<(), LogError>),
}

impl Writer {
    /// Serves the queue until all its senders are gone.
    pub fn run(mut self) {
        while let Ok(first) = self.queue.recv() {
            let mut batch = vec![first];
            while batch.len() < MAX_BATCH {
                match self.queue.try_recv() {
                    Ok(message) => batch.push(message),
                    Err(_) => break,
                }
            }
            self.serve(batch);
            self.checkpoint();
        }
    }

    /// One batch, one transaction, then the answers.
    fn serve(&mut self, batch: Vec<Message>) {
        let before = self.head;
        let mut answers = Vec::with_capacity(batch.len());
        match self.transact(batch, &mut answers) {
            Ok(()) => {
                for answer in answers {
                    answer.send(None);
                }
                if self.head.head != before.head {
                    self.tell_head.send_replace(self.head.head);
                }
            }
            Err(error) => {
                tracing::error!(%error, "the log could not commit");
                self.head = HeadState::read(&self.connection).unwrap_or(before);
                let error = unavailable(&error);
                for answer in answers {
                    answer.send(Some(&error));
                }
            }
        }
    }

    fn transact(&mut self, batch: Vec<Message>, answers: &mut Vec<Answer>) -> rusqlite::Result<()> {
        let mut head = self.head;
        let mut messages = batch.into_iter();
        let outcome = (|| {
            let mut transaction =
                self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let current: i64 = transaction
                .prepare_cached("SELECT epoch FROM writer_epoch")?
                .query_row([], |row| row.get(0))?;
            let is_fenced = current.cast_unsigned() != self.epoch;
            for message in messages.by_ref() {
                match message {
                    Message::Append(_, reply) if is_fenced => {
                        let current_epoch = current.cast_unsigned();
                        answers.push(Answer::Append(reply, Ok(Appended::Fenced { current_epoch })));
                    }
                    Message::Append(append, reply) => {
                        let now = self.clock.now().max(head.recorded_at);
                        let salt = || {
                            let mut salt = [0; SALT_BYTES];
                            self.entropy.fill(&mut salt);
                            salt
                        };
                        let mut savepoint = transaction.savepoint()?;
                        savepoint.set_drop_behavior(rusqlite::DropBehavior::Rollback);
                        let mut next = head;
                        let answer = append_one(&savepoint, &mut next, now, &salt, &append);
                        match answer {
                            Ok(Ok(done)) => {
                                savepoint.commit()?;
                                head = next;
                                answers.push(Answer::Append(reply, Ok(done)));
                            }
                            Ok(Err(refused)) => {
                                drop(savepoint);
                                answers.push(Answer::Append(reply, Err(refused)));
                            }
                            Err(error) => {
                                drop(savepoint);
                                answers.push(Answer::Append(reply, Err(unavailable(&error))));
                                if is_fatal(&error) {
                                    return Err(error);
                                }
                            }
                        }
                    }
                    Message::Side(work, reply) => {
                        let mut savepoint = transaction.savepoint()?;
                        savepoint.set_drop_behavior(rusqlite::DropBehavior::Rollback);
                        match work(&savepoint) {
                            Ok(()) => {
                                savepoint.commit()?;
                                answers.push(Answer::Side(reply, Ok(())));
                            }
                            Err(error) => {
                                drop(savepoint);
                                answers.push(Answer::Side(reply, Err(unavailable(&error))));
                            }
                        }
                    }
                }
            }
            transaction.commit()
        })();
        // Whoever the batch did not reach is told the same as the others.
        for message in messages {
            let late = LogError::Unavailable("an earlier command of the batch failed".to_owned());
            answers.push(match message {
                Message::Append(_, reply) => Answer::Append(reply, Err(late)),
                Message::Side(_, reply) => Answer::Side(reply, Err(late)),
            });
        }
        outcome?;
        self.head = head;
        Ok(())
    }

    /// Copies the WAL into the file when nobody waits.
    fn checkpoint(&self) {
        let pages = self
            .connection
            .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get::<_, i64>(1));
        if let Ok(pages) = pages
            && pages > CHECKPOINT_PAGES * 10
        {
            tracing::debug!(pages, "a long reader keeps the WAL from starting over");
        }
    }
}

impl Answer {
    /// Sends the answer, or `failure` in its place.
    fn send(self, failure: Option<&LogError>) {
        // An asker that went away has no use for the answer.
        match self {
            Self::Append(reply, answer) => {
                let _ = reply.send(failure.map_or(answer, |error| Err(error.clone())));
            }
            Self::Side(reply, answer) => {
                let _ = reply.send(failure.map_or(answer, |error| Err(error.clone())));
            }
        }
    }
}

/// Appends one command's events inside its savepoint.
fn append_one(
    savepoint: &Savepoint<'_>,
    head: &mut HeadState,
    now: Timestamp,
    salt: &dyn Fn() -> [u8; SALT_BYTES],
    append: &Append,
) -> rusqlite::Result<Result<Appended, LogError>> {
    if let Err(refused) = check_sizes(append) {
        return Ok(Err(refused));
    }
    if let Some(answer) = find_duplicate(savepoint, append)? {
        return Ok(answer);
    }
    if let Some(answer) = find_key(savepoint, append)? {
        return Ok(answer);
    }
    let (mut version, mut previous) = stream_head(savepoint, &append.stream)?;
    let fits = match append.expected {
        Expected::NoStream => version == 0,
        Expected::Exact(expected) => version == expected,
        Expected::Any => true,
    };
    if !fits {
        return Ok(Ok(Appended::Conflict { actual_version: version }));
    }
    let first_position = head.head.position + 1;
    for (index, event) in append.events.iter().enumerate() {
        version += 1;
        let salt = salt();
        let mut recorded = Recorded {
            position: head.head.position + 1,
            stream: append.stream.clone(),
            version,
            event_id: EventId::derived(append.command_id, index),
            command_id: append.command_id,
            kind: event.kind.clone(),
            schema_version: event.schema_version,
            recorded_at: now,
            occurred_at: event.occurred_at,
            actor: append.actor.clone(),
            door: append.door,
            causation_id: event.causation_id,
            correlation_id: append.correlation_id,
            facts: event.facts.clone(),
            payload_len: event.payload.as_ref().map(|payload| payload.len() as u64),
            payload_commit: event.payload.as_ref().map(|payload| payload_commit(&salt, payload)),
            event_hash: Sha256::ZERO,
            log_hash: Sha256::ZERO,
        };
        recorded.event_hash = event_hash(&previous, &recorded);
        recorded.log_hash = log_hash(&head.head.log_hash, recorded.position, &recorded.event_hash);
        row::insert(&mut savepoint.prepare_cached(row::INSERT)?, &recorded)?;
        if let Some(payload) = &event.payload {
            insert_payload(savepoint, recorded.position, &salt, payload)?;
        }
        previous = recorded.event_hash;
        head.head = Head { position: recorded.position, log_hash: recorded.log_hash };
        head.recorded_at = now;
    }
    let last_position = head.head.position;
    if let Some(key) = &append.unique_key {
        savepoint
            .prepare_cached("INSERT INTO unique_keys VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
            .execute(params![
                key.actor,
                key.key,
                key.request_digest.as_bytes(),
                append.stream,
                first_position.cast_signed(),
                last_position.cast_signed()
            ])?;
    }
    Ok(Ok(Appended::Appended { first_position, last_position, last_version: version }))
}

fn check_sizes(append: &Append) -> Result<(), LogError> {
    let refuse = |code, message| Err(LogError::Rejected { code, message });
    let count = append.events.len();
    if count == 0 || count > MAX_EVENTS {
        return refuse(
            "event-count",
            format!("a command appends 1 to {MAX_EVENTS} events, not {count}"),
        );
    }
    for event in &append.events {
        let bytes = event.facts.len();
        if bytes > MAX_FACTS_BYTES {
            return refuse(
                "facts-too-large",
                format!(
                    "the facts of `{}` have {bytes} bytes, more than {MAX_FACTS_BYTES}",
                    event.kind
                ),
            );
        }
        if !event.facts.starts_with('{')
            || serde_json::from_str::<&serde_json::value::RawValue>(&event.facts).is_err()
        {
            return refuse(
                "facts-not-json",
                format!("the facts of `{}` are no JSON object", event.kind),
            );
        }
    }
    let headers: usize = append.events.iter().map(|event| header_bytes(append, event)).sum();
    if headers > MAX_HEADER_BYTES {
        return refuse(
            "headers-too-large",
            format!("the headers have {headers} bytes, more than {MAX_HEADER_BYTES}"),
        );
    }
    Ok(())
}

fn header_bytes(append: &Append, event: &NewEvent) -> usize {
    append.stream.len() + append.actor.len() + event.kind.len() + event.facts.len() + 160
}

/// The same command, seen before: a duplicate if its content is the same, else a mistake.
fn find_duplicate(
    savepoint: &Savepoint<'_>,
    append: &Append,
) -> rusqlite::Result<Option<Result<Appended, LogError>>> {
    let sql = format!("SELECT {} FROM events WHERE event_id = ?1", row::COLUMNS);
    let find = |index: usize| {
        let id = EventId::derived(append.command_id, index);
        savepoint.prepare_cached(&sql)?.query_row([id.0.as_bytes()], row::read).optional()
    };
    let Some(first) = find(0)? else { return Ok(None) };
    let mut last = first.position;
    let mut is_same = first.stream == append.stream && find(append.events.len())?.is_none();
    for (index, event) in append.events.iter().enumerate() {
        let Some(stored) = find(index)? else {
            is_same = false;
            break;
        };
        last = stored.position;
        is_same &= stored.kind == event.kind
            && stored.facts == event.facts
            && has_payload(savepoint, &stored, event.payload.as_deref())?;
    }
    if is_same {
        let stream = first.stream;
        let first_position = first.position;
        return Ok(Some(Ok(Appended::Duplicate { first_position, last_position: last, stream })));
    }
    Ok(Some(Err(LogError::Rejected {
        code: "command-id-reused",
        message: format!("command {} was recorded before, with other content", append.command_id),
    })))
}

/// Whether `stored` has `payload`; one that was removed counts as any of the same length.
fn has_payload(
    savepoint: &Savepoint<'_>,
    stored: &Recorded,
    payload: Option<&[u8]>,
) -> rusqlite::Result<bool> {
    let (Some(commit), Some(payload)) = (stored.payload_commit, payload) else {
        return Ok(stored.payload_commit.is_none() && payload.is_none());
    };
    let salt: Option<[u8; SALT_BYTES]> = savepoint
        .prepare_cached("SELECT salt FROM payloads WHERE position = ?1")?
        .query_row([stored.position.cast_signed()], |row| row.get(0))
        .optional()?;
    Ok(match salt {
        Some(salt) => payload_commit(&salt, payload) == commit,
        None => stored.payload_len == Some(payload.len() as u64),
    })
}

/// The same key, used before: the first answer if the request is the same, else a mistake.
fn find_key(
    savepoint: &Savepoint<'_>,
    append: &Append,
) -> rusqlite::Result<Option<Result<Appended, LogError>>> {
    let Some(key) = &append.unique_key else { return Ok(None) };
    let used = savepoint
        .prepare_cached(
            "SELECT request_digest, stream, first_position, last_position FROM unique_keys
             WHERE actor = ?1 AND key = ?2",
        )?
        .query_row(params![key.actor, key.key], |row| {
            Ok((
                Sha256(row.get(0)?),
                row.get::<_, String>(1)?,
                row.get::<_, i64>(2)?.cast_unsigned(),
                row.get::<_, i64>(3)?.cast_unsigned(),
            ))
        })
        .optional()?;
    Ok(used.map(|(digest, stream, first_position, last_position)| {
        if digest == key.request_digest {
            Ok(Appended::Duplicate { first_position, last_position, stream })
        } else {
            Err(LogError::Rejected {
                code: "key-reused",
                message: format!("the key `{}` was used for another request", key.key),
            })
        }
    }))
}

fn stream_head(savepoint: &Savepoint<'_>, stream: &str) -> rusqlite::Result<(u64, Sha256)> {
    let head = savepoint
        .prepare_cached(
            "SELECT version, event_hash FROM events WHERE stream = ?1 ORDER BY version DESC LIMIT 1",
        )?
        .query_row([stream], |row| Ok((row.get::<_, i64>(0)?.cast_unsigned(), Sha256(row.get(1)?))))
        .optional()?;
    Ok(head.unwrap_or((0, Sha256::ZERO)))
}

fn insert_payload(
    savepoint: &Savepoint<'_>,
    position: u64,
    salt: &[u8; SALT_BYTES],
    payload: &[u8],
) -> rusqlite::Result<()> {
    let packed = (payload.len() >= MIN_COMPRESSED_BYTES)
        .then(|| zstd::bulk::compress(payload, ZSTD_LEVEL).ok())
        .flatten()
        .filter(|packed| packed.len() < payload.len());
    let (codec, bytes) = match &packed {
        Some(packed) => (CODEC_ZSTD, packed.as_slice()),
        None => (CODEC_PLAIN, payload),
    };
    savepoint
        .prepare_cached("INSERT INTO payloads VALUES (?1, ?2, NULL, ?3, ?4)")?
        .execute(params![position.cast_signed(), codec, salt, bytes])?;
    Ok(())
}

/// Whether the rest of the batch would fail the same way.
fn is_fatal(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode;
    matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::DiskFull
                | ErrorCode::SystemIoFailure
                | ErrorCode::ReadOnly
                | ErrorCode::CannotOpen
                | ErrorCode::DatabaseCorrupt
                | ErrorCode::NotADatabase
                | ErrorCode::OutOfMemory
        )
    )
}

pub(super) fn unavailable(error: &rusqlite::Error) -> LogError {
    LogError::Unavailable(error.to_string())
}

/// The queue's sending end, as the store keeps it.
pub(super) type Sender = SyncSender<Message>;
