//! Checks a log against its own hashes, from the bytes up: every payload, every chain, every
//! number, and that SQLite's indexes say the same as the tables. What it cannot see is a log that
//! was cut off or rewritten as a whole; anchors do that.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use cody_events::digest::Sha256;
use cody_events::envelope::Recorded;
use cody_events::hash::{event_hash, log_hash};
use cody_events::time::Timestamp;
use rusqlite::{Connection, params};

use super::payload::Stored;
use super::{LogError, SqliteLog, row};

/// How many events are held at once.
const PAGE: u32 = 500;

/// Events in the columns that `row` reads, and what there is of their payloads. By name, as all who
/// read them do: a damaged name of a column is damage.
static PAGE_SQL: LazyLock<String> = LazyLock::new(|| {
    let columns: Vec<String> = row::COLUMNS.split(", ").map(|name| format!("e.{name}")).collect();
    format!(
        "SELECT {}, p.codec, p.salt, p.bytes
         FROM events e LEFT JOIN payloads p ON p.position = e.position
         WHERE e.position > ?1 ORDER BY e.position LIMIT ?2",
        columns.join(", ")
    )
});

/// What a check of the whole log found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// All is as it was written.
    Whole { events: u64, payloads: u64, removed_payloads: u64, log_hash: Sha256 },
    /// The first place that is not; zero if no single event can be blamed.
    Broken { position: u64, what: String },
}

impl SqliteLog {
    /// Reads the whole log and hashes it again. Memory grows with the number of streams only.
    pub async fn verify(&self) -> Result<Verdict, LogError> {
        let mut check = Check::default();
        loop {
            let before = check.position;
            // Each page is a short read, so that the WAL can start over in between.
            let page = self.read(move |connection| Ok(check.page(connection).map(|()| check)));
            check = match page.await? {
                Ok(check) if check.position == before => break check.verdict(self).await,
                Ok(check) => check,
                Err(broken) => break Ok(broken),
            };
        }
    }
}

struct Check {
    position: u64,
    log_hash: Sha256,
    recorded_at: Timestamp,
    streams: BTreeMap<String, (u64, Sha256)>,
    payloads: u64,
    removed: u64,
}

impl Default for Check {
    fn default() -> Self {
        Self {
            position: 0,
            log_hash: Sha256::ZERO,
            recorded_at: Timestamp(i64::MIN),
            streams: BTreeMap::new(),
            payloads: 0,
            removed: 0,
        }
    }
}

impl Check {
    /// Goes on over the next page; nothing moves if there is none.
    fn page(&mut self, connection: &Connection) -> Result<(), Verdict> {
        self.read_page(connection)
            .map_err(|what| Verdict::Broken { position: self.position + 1, what })
    }

    fn read_page(&mut self, connection: &Connection) -> Result<(), String> {
        let text = |error: rusqlite::Error| format!("the row cannot be read: {error}");
        let mut statement = connection.prepare_cached(&PAGE_SQL).map_err(text)?;
        let mut rows = statement.query(params![self.position.cast_signed(), PAGE]).map_err(text)?;
        while let Some(row) = rows.next().map_err(text)? {
            let event = row::read(row).map_err(text)?;
            let payload = Stored::beside(&event, row, row::COLUMN_COUNT).map_err(text)?;
            let is_gone = payload.is_none() && event.payload_commit.is_some();
            let is_redacted = is_gone && is_redacted(connection, event.position).map_err(text)?;
            self.next(event, payload, is_redacted)?;
        }
        Ok(())
    }

    fn next(
        &mut self,
        event: Recorded,
        payload: Option<Stored>,
        is_redacted: bool,
    ) -> Result<(), String> {
        let position = self.position + 1;
        if event.position != position {
            return Err(format!("position {position} is missing; {} follows", event.position));
        }
        let (version, previous) =
            self.streams.get(&event.stream).copied().unwrap_or((0, Sha256::ZERO));
        if event.version != version + 1 {
            return Err(format!("version {} follows {version} in {}", event.version, event.stream));
        }
        if event.recorded_at < self.recorded_at {
            return Err("it was recorded before the event before it".to_owned());
        }
        match (event.payload_commit, payload) {
            (Some(_), Some(stored)) => {
                stored.plaintext()?;
                self.payloads += 1;
            }
            (Some(_), None) if is_redacted => self.removed += 1,
            (Some(_), None) => return Err("the payload is gone, and no event says so".to_owned()),
            (None, Some(_)) => return Err("there is a payload that no event has".to_owned()),
            (None, None) => {}
        }
        if event_hash(&previous, &event) != event.event_hash {
            return Err("the event's hash does not fit its content".to_owned());
        }
        let log_hash = log_hash(&self.log_hash, position, &event.event_hash);
        if log_hash != event.log_hash {
            return Err("the log's hash does not fit".to_owned());
        }
        self.streams.insert(event.stream, (event.version, event.event_hash));
        self.position = position;
        self.log_hash = log_hash;
        self.recorded_at = event.recorded_at;
        Ok(())
    }

    /// What there is to say once all events were good.
    async fn verdict(self, log: &SqliteLog) -> Result<Verdict, LogError> {
        if let Err(what) = log.read(|connection| Ok(check_file(connection))).await? {
            return Ok(Verdict::Broken { position: 0, what });
        }
        Ok(Verdict::Whole {
            events: self.position,
            payloads: self.payloads,
            removed_payloads: self.removed,
            log_hash: self.log_hash,
        })
    }
}

fn is_redacted(connection: &Connection, position: u64) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM events
             WHERE type = 'payload-redacted' AND json_extract(facts, '$.position') = ?1)",
        )?
        .query_row([position.cast_signed()], |row| row.get(0))
}

/// What the events alone do not show: that the indexes agree with the tables, and that no payload
/// lies where there is no event.
fn check_file(connection: &Connection) -> Result<(), String> {
    let text = |error: rusqlite::Error| format!("the file cannot be read: {error}");
    let told: String =
        connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)).map_err(text)?;
    if told != "ok" {
        return Err(format!("the file is damaged: {told}"));
    }
    let is_stray = connection
        .query_row(
            "SELECT EXISTS (SELECT 1 FROM payloads
             WHERE position NOT IN (SELECT position FROM events))",
            [],
            |row| row.get(0),
        )
        .map_err(text)?;
    match is_stray {
        true => Err("there is a payload that no event has".to_owned()),
        false => Ok(()),
    }
}
