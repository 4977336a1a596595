//! One build of the views: every projection's tables in one database, and how far along the log
//! they are. Pages of events go in; tables, checkpoint and quarantine move together or not at all.

use std::collections::BTreeSet;

use cody_events::digest::Sha256;
use cody_events::envelope::Recorded;
use cody_events::event::Event;
use cody_events::hash::log_hash;
use cody_events::ids::JobId;
use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior, params};

use crate::columns::{count, hash};
use crate::{ALL, Projection, Sums, Told};

const TABLES: &str = "
CREATE TABLE checkpoint (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    position INTEGER NOT NULL,
    log_hash BLOB NOT NULL
) STRICT;
CREATE TABLE projections (name TEXT PRIMARY KEY, version INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE quarantine (
    projection TEXT NOT NULL,
    stream TEXT NOT NULL,
    position INTEGER NOT NULL,
    error TEXT NOT NULL,
    PRIMARY KEY (projection, stream)
) STRICT, WITHOUT ROWID;
";

/// How far along the log a build is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkpoint {
    /// The last position applied; zero before the first.
    pub position: u64,
    /// The log's hash there, by which another log is told apart.
    pub log_hash: Sha256,
}

/// A job that a projection could not follow any further.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    pub projection: String,
    pub stream: String,
    /// The event that could not be applied; later ones of its job were left out.
    pub position: u64,
    pub error: String,
}

/// Why a page was not applied. The build is as it was.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    #[error("the views stand at position {at}, and the next event given is {next}")]
    Gap { at: u64, next: u64 },
    #[error("the log at position {position} is not the one that the views were made from")]
    OtherLog { position: u64 },
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
}

/// Creates an empty build.
pub fn create(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(TABLES)?;
    for projection in ALL {
        transaction.execute_batch(projection.tables)?;
        transaction.execute(
            "INSERT INTO projections VALUES (?1, ?2)",
            params![projection.name, projection.version],
        )?;
    }
    transaction.execute("INSERT INTO checkpoint VALUES (1, 0, ?1)", [Sha256::ZERO.as_bytes()])?;
    transaction.commit()
}

/// Whether the build in `connection` was made by exactly these projections.
pub fn is_current(connection: &Connection) -> rusqlite::Result<bool> {
    let has_tables: bool = connection.query_row(
        "SELECT count(*) = 2 FROM sqlite_master WHERE name IN ('projections', 'checkpoint')",
        [],
        |row| row.get(0),
    )?;
    if !has_tables {
        return Ok(false);
    }
    let made_by: BTreeSet<(String, u32)> = connection
        .prepare("SELECT name, version FROM projections")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    Ok(made_by == ALL.iter().map(|one| (one.name.to_owned(), one.version)).collect())
}

/// How far along the log the build is.
pub fn checkpoint(connection: &Connection) -> rusqlite::Result<Checkpoint> {
    connection
        .prepare_cached("SELECT position, log_hash FROM checkpoint")?
        .query_row([], |row| Ok(Checkpoint { position: count(row, 0)?, log_hash: hash(row, 1)? }))
}

/// Every quarantined job, by projection.
pub fn quarantined(connection: &Connection) -> rusqlite::Result<Vec<Quarantined>> {
    connection
        .prepare_cached(
            "SELECT projection, stream, position, error FROM quarantine
             ORDER BY projection, stream",
        )?
        .query_map([], |row| {
            Ok(Quarantined {
                projection: row.get(0)?,
                stream: row.get(1)?,
                position: count(row, 2)?,
                error: row.get(3)?,
            })
        })?
        .collect()
}

/// Applies the events of `page` that the build does not have yet; answers where it stands then.
///
/// An event that a projection cannot apply quarantines its job in that projection, and the rest
/// goes on.
pub fn apply(connection: &mut Connection, page: &[Recorded]) -> Result<Checkpoint, ApplyError> {
    if !connection.is_autocommit() {
        // An earlier page failed, and undoing it did, too.
        connection.execute_batch("ROLLBACK")?;
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let at = checkpoint(&transaction)?;
    let seen = page.partition_point(|event| event.position <= at.position);
    let fresh = &page[seen..];
    let Some(reached) = follow(at, fresh)? else { return Ok(at) };
    // A savepoint copies every page that changes under it, and misfits are rare: the whole is tried
    // without one, and once more, with one for each event, if it does not fit.
    if apply_all(&transaction, fresh).is_ok() {
        finish(transaction, reached)?;
        return Ok(reached);
    }
    transaction.rollback()?;
    let mut transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if checkpoint(&transaction)? != at {
        // Somebody else has gone on meanwhile. The page is given again, and is then found applied.
        return Ok(at);
    }
    apply_each(&mut transaction, fresh)?;
    finish(transaction, reached)?;
    Ok(reached)
}

/// Ends a page: its rows and the checkpoint become visible together.
fn finish(transaction: Transaction<'_>, reached: Checkpoint) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("UPDATE checkpoint SET position = ?1, log_hash = ?2")?
        .execute(params![reached.position.cast_signed(), reached.log_hash.as_bytes()])?;
    transaction.commit()
}

/// The checkpoint after `fresh`, which has to continue the log; nothing if it is empty.
fn follow(at: Checkpoint, fresh: &[Recorded]) -> Result<Option<Checkpoint>, ApplyError> {
    let mut reached = at;
    for event in fresh {
        let position = event.position;
        if position != reached.position + 1 {
            return Err(ApplyError::Gap { at: reached.position, next: position });
        }
        if log_hash(&reached.log_hash, position, &event.event_hash) != event.log_hash {
            return Err(ApplyError::OtherLog { position });
        }
        reached = Checkpoint { position, log_hash: event.log_hash };
    }
    Ok((!fresh.is_empty()).then_some(reached))
}

/// Why one event could not be applied.
type Misfit = Box<dyn std::error::Error>;

fn apply_all(connection: &Connection, fresh: &[Recorded]) -> Result<(), Misfit> {
    let held = quarantines(connection)?;
    let mut sums = Sums::default();
    for recorded in fresh {
        let Some(job) = JobId::from_stream(&recorded.stream) else { continue };
        let event = read(recorded)?;
        let told = Told { job, recorded, event: &event };
        for projection in ALL.iter().filter(|one| !is_held(&held, one, recorded)) {
            (projection.apply)(connection, &mut sums, &told)?;
        }
    }
    for projection in ALL {
        settle(connection, projection, &sums)?;
    }
    Ok(())
}

fn apply_each(
    transaction: &mut rusqlite::Transaction<'_>,
    fresh: &[Recorded],
) -> rusqlite::Result<()> {
    let mut held = quarantines(transaction)?;
    for recorded in fresh {
        let Some(job) = JobId::from_stream(&recorded.stream) else { continue };
        let event = read(recorded);
        for projection in ALL {
            if is_held(&held, projection, recorded) {
                continue;
            }
            let mut savepoint = transaction.savepoint()?;
            let applied = match &event {
                Ok(event) => apply_one(&savepoint, projection, &Told { job, recorded, event }),
                Err(error) => {
                    Err(rusqlite::Error::ToSqlConversionFailure(error.to_string().into()))
                }
            };
            match applied {
                Ok(()) => savepoint.commit()?,
                Err(error) if is_outage(&error) => return Err(error),
                Err(error) => {
                    savepoint.rollback()?;
                    savepoint.commit()?;
                    held.insert((projection.name.to_owned(), recorded.stream.clone()));
                    quarantine(transaction, projection, recorded, &error.to_string())?;
                }
            }
        }
    }
    Ok(())
}

fn apply_one(
    connection: &Connection,
    projection: &Projection,
    told: &Told<'_>,
) -> rusqlite::Result<()> {
    let mut sums = Sums::default();
    (projection.apply)(connection, &mut sums, told)?;
    settle(connection, projection, &sums)
}

fn settle(connection: &Connection, projection: &Projection, sums: &Sums) -> rusqlite::Result<()> {
    projection.settle.map_or(Ok(()), |settle| settle(connection, sums))
}

/// Whether it is the database that failed, which another try may mend, and not the event.
fn is_outage(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code().is_some_and(|code| match code {
        ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::TooBig => false,
        // Full disks, locks, damage: nothing that says anything about the event.
        _ => true,
    })
}

fn read(recorded: &Recorded) -> Result<Event, Misfit> {
    Ok(Event::decode(&recorded.kind, recorded.schema_version, &recorded.facts)?)
}

fn quarantines(connection: &Connection) -> rusqlite::Result<BTreeSet<(String, String)>> {
    connection
        .prepare_cached("SELECT projection, stream FROM quarantine")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}

fn is_held(held: &BTreeSet<(String, String)>, projection: &Projection, event: &Recorded) -> bool {
    !held.is_empty() && held.contains(&(projection.name.to_owned(), event.stream.clone()))
}

fn quarantine(
    connection: &Connection,
    projection: &Projection,
    event: &Recorded,
    error: &str,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT INTO quarantine VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![projection.name, event.stream, event.position.cast_signed(), error,])?;
    Ok(())
}
