//! Events as rows of the table `events`.

use cody_events::digest::Sha256;
use cody_events::envelope::{Door, Recorded};
use cody_events::ids::{CommandId, EventId};
use cody_events::time::Timestamp;
use rusqlite::types::Type;
use rusqlite::{CachedStatement, Connection, OptionalExtension as _, Row, params};
use uuid::Uuid;

use super::failure::DamagedRow;

/// Every column, in the order of the table.
pub(super) const COLUMNS: &str = "position, stream, version, event_id, command_id, type, \
    schema_version, recorded_at, occurred_at, actor, door, causation_id, correlation_id, facts, \
    payload_len, payload_commit, event_hash, log_hash";

/// How many columns the table has.
pub(super) const COLUMN_COUNT: usize = 18;

/// The statement that [`insert`] runs.
pub(super) const INSERT: &str = "INSERT INTO events VALUES \
    (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)";

/// Adds one event.
pub(super) fn insert(
    statement: &mut CachedStatement<'_>,
    event: &Recorded,
) -> rusqlite::Result<()> {
    statement.execute(params![
        event.position.cast_signed(),
        event.stream,
        event.version.cast_signed(),
        event.event_id.0.as_bytes(),
        event.command_id.0.as_bytes(),
        event.kind,
        event.schema_version,
        event.recorded_at.as_micros(),
        event.occurred_at.as_micros(),
        event.actor,
        event.door.name(),
        event.causation_id.as_ref().map(|id| id.0.as_bytes()),
        event.correlation_id.as_ref().map(Uuid::as_bytes),
        event.facts,
        event.payload_len.map(u64::cast_signed),
        event.payload_commit.as_ref().map(Sha256::as_bytes),
        event.event_hash.as_bytes(),
        event.log_hash.as_bytes(),
    ])?;
    Ok(())
}

/// The hash of the event at `version` of `stream`.
pub(super) fn stream_hash(
    connection: &Connection,
    stream: &str,
    version: u64,
) -> rusqlite::Result<Option<Sha256>> {
    connection
        .prepare_cached("SELECT event_hash FROM events WHERE stream = ?1 AND version = ?2")?
        .query_row(params![stream, version.cast_signed()], |row| Ok(Sha256(row.get(0)?)))
        .optional()
}

/// Reads one event. A row that holds what no event has is an error that names its position.
pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Recorded> {
    let position = row.get::<_, i64>(0)?.cast_unsigned();
    read_fields(position, row).map_err(|error| {
        let what = error.to_string();
        let damaged = DamagedRow { position, what };
        rusqlite::Error::FromSqlConversionFailure(0, Type::Null, damaged.into())
    })
}

fn read_fields(position: u64, row: &Row<'_>) -> rusqlite::Result<Recorded> {
    let door = row.get_ref(10)?.as_str()?;
    let door = Door::named(door).ok_or_else(|| wrong(10, Type::Text, "no such door"))?;
    Ok(Recorded {
        position,
        stream: row.get(1)?,
        version: row.get::<_, i64>(2)?.cast_unsigned(),
        event_id: EventId(uuid(row, 3)?),
        command_id: CommandId(uuid(row, 4)?),
        kind: row.get(5)?,
        schema_version: row.get(6)?,
        recorded_at: Timestamp(row.get(7)?),
        occurred_at: Timestamp(row.get(8)?),
        actor: row.get(9)?,
        door,
        causation_id: optional(row, 11)?.map(EventId),
        correlation_id: optional(row, 12)?,
        facts: facts(row)?,
        payload_len: row.get::<_, Option<i64>>(14)?.map(i64::cast_unsigned),
        payload_commit: row.get::<_, Option<[u8; 32]>>(15)?.map(Sha256),
        event_hash: Sha256(row.get(16)?),
        log_hash: Sha256(row.get(17)?),
    })
}

/// The facts, or none if they are no text any more: then they fit neither their hash nor any kind of
/// event, and whoever follows the log leaves out this event's job instead of all that come after.
fn facts(row: &Row<'_>) -> rusqlite::Result<String> {
    let bytes = row.get_ref(13)?.as_bytes()?;
    Ok(std::str::from_utf8(bytes).unwrap_or_default().to_owned())
}

fn uuid(row: &Row<'_>, column: usize) -> rusqlite::Result<Uuid> {
    Ok(Uuid::from_bytes(row.get(column)?))
}

fn optional(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Uuid>> {
    Ok(row.get::<_, Option<[u8; 16]>>(column)?.map(Uuid::from_bytes))
}

fn wrong(column: usize, kind: Type, what: &'static str) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, kind, what.into())
}
