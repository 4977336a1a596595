//! One command's append, in two halves: what can be checked and packed by whoever asks, and the
//! rows that the writer adds inside the command's savepoint.

use cody_events::digest::Sha256;
use cody_events::envelope::{MAX_FACTS_BYTES, NewEvent, Recorded};
use cody_events::hash::{SALT_BYTES, event_hash, log_hash, payload_commit};
use cody_events::ids::EventId;
use cody_events::time::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};
use serde::de::IgnoredAny;

use super::payload::{MAX_PAYLOAD_BYTES, Packed};
use super::writer::HeadState;
use super::{
    Append, Appended, Expected, Head, KEY_REUSED, LogError, MAX_EVENTS, MAX_HEADER_BYTES, UsedKey,
    row,
};
use crate::entropy::Entropy;

/// What a row has beside its texts: numbers, ids and hashes.
const FIXED_HEADER_BYTES: usize = 160;

/// A command that may be appended if the log agrees.
pub(super) struct Prepared {
    append: Append,
    /// One for each event, in their order.
    payloads: Vec<Option<Packed>>,
}

impl Prepared {
    /// Checks what needs no log to be checked, and packs the payloads.
    pub fn new(append: Append, entropy: &dyn Entropy) -> Result<Self, LogError> {
        check_shape(&append)?;
        let pack = |payload: &Vec<u8>| {
            let mut salt = [0; SALT_BYTES];
            entropy.fill(&mut salt);
            Packed::new(salt, payload)
        };
        let payloads = append.events.iter().map(|event| event.payload.as_ref().map(pack)).collect();
        Ok(Self { append, payloads })
    }

    /// Adds the events after `head`, which moves to the last of them. Everything that is written is
    /// undone by the caller if this is not `Ok(Ok(_))`.
    pub fn write(
        &self,
        connection: &Connection,
        head: &mut HeadState,
        now: Timestamp,
    ) -> rusqlite::Result<Result<Appended, LogError>> {
        let append = &self.append;
        // What adds nothing is told by its key alone: the same command may have added events before.
        if !append.events.is_empty()
            && let Some(answer) = find_duplicate(connection, append)?
        {
            return Ok(answer);
        }
        if let Some(answer) = answer_of_key(connection, append)? {
            return Ok(answer);
        }
        let (mut version, mut previous) = stream_head(connection, &append.stream)?;
        let fits = match append.expected {
            Expected::NoStream => version == 0,
            Expected::Exact(expected) => version == expected,
            Expected::Any => true,
        };
        if !fits {
            return Ok(Ok(Appended::Conflict { actual_version: version }));
        }
        let first_position = head.head.position + 1;
        let now = now.max(head.recorded_at);
        for (index, (event, packed)) in append.events.iter().zip(&self.payloads).enumerate() {
            version += 1;
            let mut recorded = self.header(index, event, packed.as_ref());
            recorded.position = head.head.position + 1;
            recorded.version = version;
            recorded.recorded_at = now;
            recorded.event_hash = event_hash(&previous, &recorded);
            recorded.log_hash =
                log_hash(&head.head.log_hash, recorded.position, &recorded.event_hash);
            row::insert(&mut connection.prepare_cached(row::INSERT)?, &recorded)?;
            if let (Some(packed), Some(payload)) = (packed, &event.payload) {
                packed.insert(connection, recorded.position, payload)?;
            }
            previous = recorded.event_hash;
            head.head = Head { position: recorded.position, log_hash: recorded.log_hash };
            head.recorded_at = now;
        }
        let last_position = head.head.position;
        let first_position = first_position.min(last_position);
        put_key(connection, append, first_position, last_position)?;
        Ok(Ok(Appended::Appended { first_position, last_position, last_version: version }))
    }

    /// The row of the event at `index`, without what depends on the rows before it.
    fn header(&self, index: usize, event: &NewEvent, packed: Option<&Packed>) -> Recorded {
        let append = &self.append;
        Recorded {
            position: 0,
            stream: append.stream.clone(),
            version: 0,
            event_id: EventId::derived(append.command_id, index),
            command_id: append.command_id,
            kind: event.kind.clone(),
            schema_version: event.schema_version,
            recorded_at: event.occurred_at,
            occurred_at: event.occurred_at,
            actor: append.actor.clone(),
            door: append.door,
            causation_id: event.causation_id,
            correlation_id: append.correlation_id,
            facts: event.facts.clone(),
            payload_len: event.payload.as_ref().map(|payload| payload.len() as u64),
            payload_commit: packed.map(|packed| packed.commit),
            event_hash: Sha256::ZERO,
            log_hash: Sha256::ZERO,
        }
    }
}

fn check_shape(append: &Append) -> Result<(), LogError> {
    let refuse = |code, message| Err(LogError::Rejected { code, message });
    let count = append.events.len();
    if count > MAX_EVENTS || (count == 0 && append.unique_key.is_none()) {
        return refuse(
            "event-count",
            format!("a command appends 1 to {MAX_EVENTS} events, or none but its key; not {count}"),
        );
    }
    append.events.iter().try_for_each(check_event)?;
    let headers: usize = append.events.iter().map(|event| header_bytes(append, event)).sum();
    if headers > MAX_HEADER_BYTES {
        return refuse(
            "headers-too-large",
            format!("the headers have {headers} bytes, more than {MAX_HEADER_BYTES}"),
        );
    }
    Ok(())
}

fn check_event(event: &NewEvent) -> Result<(), LogError> {
    let kind = &event.kind;
    let refuse = |code, message| Err(LogError::Rejected { code, message });
    let bytes = event.facts.len();
    if bytes > MAX_FACTS_BYTES {
        return refuse(
            "facts-too-large",
            format!("the facts of `{kind}` have {bytes} bytes, more than {MAX_FACTS_BYTES}"),
        );
    }
    if !event.facts.starts_with('{') || !is_json(event.facts.as_bytes()) {
        return refuse("facts-not-json", format!("the facts of `{kind}` are no JSON object"));
    }
    let Some(payload) = &event.payload else { return Ok(()) };
    if payload.len() > MAX_PAYLOAD_BYTES {
        let bytes = payload.len();
        return refuse(
            "payload-too-large",
            format!("the payload of `{kind}` has {bytes} bytes, more than {MAX_PAYLOAD_BYTES}"),
        );
    }
    if !is_json(payload) {
        return refuse("payload-not-json", format!("the payload of `{kind}` is no JSON"));
    }
    Ok(())
}

fn is_json(bytes: &[u8]) -> bool {
    // Ignored strings are not checked for UTF-8 by the parser.
    std::str::from_utf8(bytes).is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok())
}

fn header_bytes(append: &Append, event: &NewEvent) -> usize {
    append.stream.len()
        + append.actor.len()
        + event.kind.len()
        + event.facts.len()
        + FIXED_HEADER_BYTES
}

/// The same command, seen before: a duplicate if its content is the same, else a mistake.
fn find_duplicate(
    connection: &Connection,
    append: &Append,
) -> rusqlite::Result<Option<Result<Appended, LogError>>> {
    let first_id = EventId::derived(append.command_id, 0);
    let is_new = connection
        .prepare_cached("SELECT 1 FROM events WHERE event_id = ?1")?
        .query_row([first_id.0.as_bytes()], |_| Ok(()))
        .optional()?
        .is_none();
    if is_new {
        return Ok(None);
    }
    let sql = format!("SELECT {} FROM events WHERE event_id = ?1", row::COLUMNS);
    let find = |index: usize| {
        let id = EventId::derived(append.command_id, index);
        connection.prepare_cached(&sql)?.query_row([id.0.as_bytes()], row::read).optional()
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
            && has_payload(connection, &stored, event.payload.as_deref())?;
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
    connection: &Connection,
    stored: &Recorded,
    payload: Option<&[u8]>,
) -> rusqlite::Result<bool> {
    let (Some(commit), Some(payload)) = (stored.payload_commit, payload) else {
        return Ok(stored.payload_commit.is_none() && payload.is_none());
    };
    let salt: Option<[u8; SALT_BYTES]> = connection
        .prepare_cached("SELECT salt FROM payloads WHERE position = ?1")?
        .query_row([stored.position.cast_signed()], |row| row.get(0))
        .optional()?;
    Ok(match salt {
        Some(salt) => payload_commit(&salt, payload) == commit,
        None => stored.payload_len == Some(payload.len() as u64),
    })
}

/// What a key was used for, if it was.
pub(super) fn find_key(
    connection: &Connection,
    actor: &str,
    key: &str,
) -> rusqlite::Result<Option<UsedKey>> {
    connection
        .prepare_cached(
            "SELECT request_digest, stream, first_position, last_position FROM unique_keys
             WHERE actor = ?1 AND key = ?2",
        )?
        .query_row(params![actor, key], |row| {
            Ok(UsedKey {
                request_digest: Sha256(row.get(0)?),
                stream: row.get(1)?,
                first_position: row.get::<_, i64>(2)?.cast_unsigned(),
                last_position: row.get::<_, i64>(3)?.cast_unsigned(),
            })
        })
        .optional()
}

/// The same key, used before: the first answer if the request is the same, else a mistake.
fn answer_of_key(
    connection: &Connection,
    append: &Append,
) -> rusqlite::Result<Option<Result<Appended, LogError>>> {
    let Some(key) = &append.unique_key else { return Ok(None) };
    let used = find_key(connection, &key.actor, &key.key)?;
    Ok(used.map(|used| {
        if used.request_digest == key.request_digest {
            let UsedKey { first_position, last_position, stream, .. } = used;
            Ok(Appended::Duplicate { first_position, last_position, stream })
        } else {
            Err(LogError::Rejected {
                code: KEY_REUSED,
                message: format!("the key `{}` was used for another request", key.key),
            })
        }
    }))
}

fn put_key(
    connection: &Connection,
    append: &Append,
    first_position: u64,
    last_position: u64,
) -> rusqlite::Result<()> {
    let Some(key) = &append.unique_key else { return Ok(()) };
    connection.prepare_cached("INSERT INTO unique_keys VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?.execute(
        params![
            key.actor,
            key.key,
            key.request_digest.as_bytes(),
            append.stream,
            first_position.cast_signed(),
            last_position.cast_signed()
        ],
    )?;
    Ok(())
}

fn stream_head(connection: &Connection, stream: &str) -> rusqlite::Result<(u64, Sha256)> {
    let head = connection
        .prepare_cached(
            "SELECT version, event_hash FROM events WHERE stream = ?1 ORDER BY version DESC LIMIT 1",
        )?
        .query_row([stream], |row| Ok((row.get::<_, i64>(0)?.cast_unsigned(), Sha256(row.get(1)?))))
        .optional()?;
    Ok(head.unwrap_or((0, Sha256::ZERO)))
}
