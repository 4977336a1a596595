//! The tables of `log.db`, and what keeps them as they are.

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use super::failure::told;

/// Marks the file as ours: "CODY" as a number.
const APPLICATION_ID: i32 = 0x434f_4459;
/// The version of the tables. A higher one in the file means that a newer version wrote it.
const SCHEMA_VERSION: i32 = 1;
/// SQLite before this can corrupt a WAL that two connections write and checkpoint at once.
const MIN_SQLITE: i32 = 3_051_003;

const TABLES: &str = "
CREATE TABLE events (
    position INTEGER PRIMARY KEY,
    stream TEXT NOT NULL,
    version INTEGER NOT NULL,
    event_id BLOB NOT NULL,
    command_id BLOB NOT NULL,
    type TEXT NOT NULL,
    schema_version INTEGER NOT NULL,
    recorded_at INTEGER NOT NULL,
    occurred_at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    door TEXT NOT NULL,
    causation_id BLOB,
    correlation_id BLOB,
    facts TEXT NOT NULL,
    payload_len INTEGER,
    payload_commit BLOB,
    event_hash BLOB NOT NULL,
    log_hash BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX events_by_stream ON events (stream, version);
CREATE UNIQUE INDEX events_by_id ON events (event_id);
CREATE INDEX redactions ON events (json_extract(facts, '$.position'))
    WHERE type = 'payload-redacted';

CREATE TABLE payloads (
    position INTEGER PRIMARY KEY,
    codec INTEGER NOT NULL,
    dict_id INTEGER,
    salt BLOB NOT NULL,
    bytes BLOB NOT NULL
) STRICT;

CREATE TRIGGER events_never_change BEFORE UPDATE ON events BEGIN
    SELECT RAISE(ABORT, 'events never change');
END;
CREATE TRIGGER events_never_go BEFORE DELETE ON events BEGIN
    SELECT RAISE(ABORT, 'events are never deleted');
END;
CREATE TRIGGER events_only_grow BEFORE INSERT ON events
WHEN NEW.position IS NOT (SELECT COALESCE(MAX(position), 0) + 1 FROM events)
  OR NEW.version IS NOT (SELECT COALESCE(MAX(version), 0) + 1 FROM events WHERE stream = NEW.stream)
  OR EXISTS (SELECT 1 FROM events WHERE event_id = NEW.event_id)
BEGIN
    SELECT RAISE(ABORT, 'an event is only ever the next one, with an id of its own');
END;
CREATE TRIGGER payloads_never_change BEFORE UPDATE ON payloads BEGIN
    SELECT RAISE(ABORT, 'payloads never change');
END;
CREATE TRIGGER payloads_go_when_redacted BEFORE DELETE ON payloads
WHEN NOT EXISTS (
    SELECT 1 FROM events
    WHERE type = 'payload-redacted' AND json_extract(facts, '$.position') = OLD.position
)
BEGIN
    SELECT RAISE(ABORT, 'a payload goes only after an event that says so');
END;
CREATE TRIGGER payloads_come_with_their_event BEFORE INSERT ON payloads
WHEN NEW.position IS NOT (SELECT MAX(position) FROM events)
  OR (SELECT payload_commit FROM events WHERE position = NEW.position) IS NULL
  OR EXISTS (SELECT 1 FROM payloads WHERE position = NEW.position)
BEGIN
    SELECT RAISE(ABORT, 'a payload is written once, with its event');
END;

CREATE TABLE writer_epoch (one INTEGER PRIMARY KEY CHECK (one = 1), epoch INTEGER NOT NULL) STRICT;
INSERT INTO writer_epoch VALUES (1, 0);
CREATE TABLE unique_keys (
    actor TEXT NOT NULL,
    key TEXT NOT NULL,
    request_digest BLOB NOT NULL,
    stream TEXT NOT NULL,
    first_position INTEGER NOT NULL,
    last_position INTEGER NOT NULL,
    PRIMARY KEY (actor, key)
) STRICT, WITHOUT ROWID;
CREATE TABLE claim_nonces (
    request BLOB PRIMARY KEY,
    job TEXT NOT NULL,
    target INTEGER NOT NULL,
    nonce_hash BLOB NOT NULL,
    pid INTEGER,
    process_start INTEGER,
    requested_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE leases (
    request BLOB PRIMARY KEY,
    job TEXT NOT NULL,
    target INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    token_hash BLOB NOT NULL UNIQUE,
    worker TEXT NOT NULL,
    pid INTEGER NOT NULL,
    process_start INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE packs (
    repository TEXT NOT NULL,
    base_commit BLOB NOT NULL,
    pack_hash BLOB NOT NULL,
    bytes INTEGER NOT NULL,
    last_used_at INTEGER NOT NULL,
    PRIMARY KEY (repository, base_commit)
) STRICT, WITHOUT ROWID;
CREATE TABLE views_pointer (one INTEGER PRIMARY KEY CHECK (one = 1), generation INTEGER NOT NULL) STRICT;
INSERT INTO views_pointer VALUES (1, 1);
CREATE TABLE token_hashes (
    token_hash BLOB PRIMARY KEY,
    token_id TEXT NOT NULL UNIQUE,
    last_used_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE TABLE webhook_ids (
    delivery_id TEXT PRIMARY KEY,
    received_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE relay_cursor (one INTEGER PRIMARY KEY CHECK (one = 1), position INTEGER NOT NULL) STRICT;
";

/// Why a file cannot be used as a log.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    #[error("SQLite {found} has a bug that can damage the log; at least 3.51.3 is needed")]
    OldSqlite { found: &'static str },
    #[error("the file is no log of this program; choose another data directory")]
    NotOurs,
    #[error(
        "the log has version {found}, and this version knows up to {SCHEMA_VERSION}; update the program"
    )]
    Newer { found: i32 },
    #[error("{}", told(.0))]
    Sqlite(#[from] rusqlite::Error),
}

/// Sets a writing connection up, and the tables if the file is new. A file that is not ours is left
/// as it was found.
pub(super) fn prepare(connection: &mut Connection) -> Result<(), SchemaError> {
    if rusqlite::version_number() < MIN_SQLITE {
        return Err(SchemaError::OldSqlite { found: rusqlite::version() });
    }
    guard(connection)?;
    let is_new = is_empty(connection)?;
    if !is_new {
        recognise(connection)?;
    }
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    if is_new {
        let transaction = connection.transaction()?;
        transaction.execute_batch(TABLES)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
        transaction.commit()?;
    }
    Ok(())
}

/// Fails if the file is no log, or one that a later version wrote.
pub(super) fn recognise(connection: &Connection) -> Result<(), SchemaError> {
    match identity(connection)? {
        (APPLICATION_ID, 1..=SCHEMA_VERSION) => Ok(()),
        (APPLICATION_ID, found) => Err(SchemaError::Newer { found }),
        _ => Err(SchemaError::NotOurs),
    }
}

fn is_empty(connection: &Connection) -> Result<bool, rusqlite::Error> {
    let tables: i64 =
        connection.query_row("SELECT COUNT(*) FROM sqlite_schema", [], |row| row.get(0))?;
    Ok(tables == 0 && identity(connection)? == (0, 0))
}

fn identity(connection: &Connection) -> Result<(i32, i32), rusqlite::Error> {
    Ok((
        connection.pragma_query_value(None, "application_id", |row| row.get(0))?,
        connection.pragma_query_value(None, "user_version", |row| row.get(0))?,
    ))
}

/// What every connection is set to, reading or writing.
pub(super) fn guard(connection: &Connection) -> Result<(), rusqlite::Error> {
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "recursive_triggers", true)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.set_prepared_statement_cache_capacity(64);
    spare_work(connection)
}

/// Keeps SQLite from planning a prepared statement anew for each value that is bound to it, which would
/// cost more than running it (no plan of ours depends on a value), and from keeping in a file what a
/// savepoint may have to undo.
pub(super) fn spare_work(connection: &Connection) -> Result<(), rusqlite::Error> {
    connection.pragma_update(None, "temp_store", "memory")?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}
