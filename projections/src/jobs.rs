//! Jobs: what was asked for, by whom, and whether it is paused, cancelled or done.

use std::collections::BTreeMap;

use cody_events::envelope::Door;
use cody_events::event::Event;
use cody_events::ids::JobId;
use cody_events::job::{Effort, Policy};
use cody_events::time::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde::{Deserialize, Serialize};

use crate::columns::{Id, Word, count, instant, word, word_or_none};
use crate::{Projection, Sums, Told};

pub const PROJECTION: Projection = Projection {
    name: "jobs",
    version: 3,
    tables: "
CREATE TABLE jobs (
    job BLOB PRIMARY KEY,
    created_position INTEGER NOT NULL,
    position INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    door TEXT NOT NULL,
    model TEXT NOT NULL,
    effort TEXT,
    policy TEXT NOT NULL,
    target_count INTEGER NOT NULL,
    budget_micros INTEGER NOT NULL,
    job_budget_micros INTEGER,
    is_paused INTEGER NOT NULL,
    is_cancelled INTEGER NOT NULL,
    is_finished INTEGER NOT NULL,
    is_archived INTEGER NOT NULL,
    is_pilot INTEGER NOT NULL,
    recipe TEXT
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX jobs_by_age ON jobs (created_position);
CREATE INDEX unfinished_jobs ON jobs (created_position) WHERE NOT is_finished AND NOT is_cancelled;
",
    apply,
    settle: Some(settle),
};

const COLUMNS: &str = "job, created_position, position, created_at, updated_at, actor, door, model, \
    effort, policy, target_count, budget_micros, job_budget_micros, is_paused, is_cancelled, \
    is_finished, is_archived, is_pilot, recipe";

/// The latest event of each job of a page: its position and instant.
#[derive(Debug, Default)]
pub(crate) struct Latest(BTreeMap<JobId, (i64, i64)>);

/// A job at a glance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRow {
    pub job: JobId,
    /// Where its `created` stands, whose payload has the prompt.
    pub created_position: u64,
    /// Its latest event.
    pub position: u64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub actor: String,
    pub door: Door,
    pub model: String,
    pub effort: Option<Effort>,
    pub policy: Policy,
    pub target_count: u64,
    /// Micro-dollars a target.
    pub budget_micros: u64,
    /// Micro-dollars over all targets.
    pub job_budget_micros: Option<u64>,
    pub is_paused: bool,
    pub is_cancelled: bool,
    pub is_finished: bool,
    /// Whether lists leave it out.
    pub is_archived: bool,
    /// Whether one target goes first.
    pub is_pilot: bool,
    /// The recipe that it was made from.
    pub recipe: Option<String>,
}

fn apply(connection: &Connection, sums: &mut Sums, told: &Told<'_>) -> rusqlite::Result<()> {
    if let Event::Created(created) = told.event {
        let limits = created.limits;
        connection
            .prepare_cached(
                "INSERT INTO jobs VALUES
                 (?1, ?2, ?2, ?3, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, 0, 0, 0, 0, ?12, ?13)",
            )?
            .execute(params![
                Id(told.job),
                told.position(),
                told.at(),
                told.recorded.actor,
                Word(told.recorded.door),
                created.model,
                created.effort.map(Word),
                Word(created.policy),
                i64::try_from(created.targets.len()).unwrap_or(i64::MAX),
                limits.budget_micros.cast_signed(),
                limits.job_budget_micros.map(u64::cast_signed),
                created.pilot,
                created.recipe.as_ref().map(|recipe| &recipe.name),
            ])?;
        sums.jobs.0.insert(told.job, (told.position(), told.at()));
        return Ok(());
    }
    // The job has to be there by now; that it comes later in the page is no excuse.
    if !sums.jobs.0.contains_key(&told.job) {
        connection
            .prepare_cached("SELECT 1 FROM jobs WHERE job = ?1")?
            .query_row([Id(told.job)], |_| Ok(()))?;
    }
    sums.jobs.0.insert(told.job, (told.position(), told.at()));
    match told.event {
        Event::Paused(paused) if paused.target.is_none() => {
            set(connection, told, "is_paused", true)
        }
        Event::Resumed(resumed) if resumed.target.is_none() => {
            set(connection, told, "is_paused", false)
        }
        Event::Cancelled(_) => set(connection, told, "is_cancelled", true),
        Event::Archived(_) => set(connection, told, "is_archived", true),
        Event::Unarchived(_) => set(connection, told, "is_archived", false),
        Event::Finished(_) => set(connection, told, "is_finished", true),
        Event::TargetReopened(_) => set(connection, told, "is_finished", false),
        Event::BudgetChanged(changed) => {
            let limits = changed.limits;
            connection
                .prepare_cached(
                    "UPDATE jobs SET budget_micros = ?2, job_budget_micros = ?3 WHERE job = ?1",
                )?
                .execute(params![
                    Id(told.job),
                    limits.budget_micros.cast_signed(),
                    limits.job_budget_micros.map(u64::cast_signed),
                ])
                .and_then(one)
        }
        _ => Ok(()),
    }
}

fn settle(connection: &Connection, sums: &Sums) -> rusqlite::Result<()> {
    let mut update = connection
        .prepare_cached("UPDATE jobs SET position = ?2, updated_at = ?3 WHERE job = ?1")?;
    for (job, (position, at)) in &sums.jobs.0 {
        update.execute(params![Id(*job), position, at]).and_then(one)?;
    }
    Ok(())
}

fn set(
    connection: &Connection,
    told: &Told<'_>,
    column: &str,
    value: bool,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(&format!("UPDATE jobs SET {column} = ?2 WHERE job = ?1"))?
        .execute(params![Id(told.job), value])
        .and_then(one)
}

/// What an event is about has to be there: one row, or the event does not fit.
pub(crate) fn one(changed: usize) -> rusqlite::Result<()> {
    match changed {
        1 => Ok(()),
        other => Err(rusqlite::Error::StatementChangedRows(other)),
    }
}

/// The job with this id.
pub fn find(connection: &Connection, job: JobId) -> rusqlite::Result<Option<JobRow>> {
    connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM jobs WHERE job = ?1"))?
        .query_row([Id(job)], read)
        .optional()
}

/// Up to `limit` jobs created before `before`, newest first.
pub fn page(
    connection: &Connection,
    before: Option<JobId>,
    limit: u32,
) -> rusqlite::Result<Vec<JobRow>> {
    // Ids begin with the time at which they were made, but clocks go back; the log does not.
    connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM jobs
             WHERE ?1 IS NULL
                OR created_position < (SELECT created_position FROM jobs WHERE job = ?1)
             ORDER BY created_position DESC LIMIT ?2"
        ))?
        .query_map(params![before.map(Id), limit], read)?
        .collect()
}

/// Which jobs a list has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobFilter {
    /// With a target of this repository.
    pub repository: Option<String>,
    /// Made from this recipe.
    pub recipe: Option<String>,
    /// Archived or not; nothing means both.
    pub is_archived: Option<bool>,
    /// Those alone that are neither finished nor cancelled.
    pub is_unfinished: bool,
}

/// Up to `limit` jobs that `filter` lets through, created before the position `before`, newest first.
pub fn list(
    connection: &Connection,
    filter: &JobFilter,
    before: Option<u64>,
    limit: u32,
) -> rusqlite::Result<Vec<JobRow>> {
    connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM jobs
             WHERE (?1 IS NULL OR created_position < ?1)
               AND (?2 IS NULL OR job IN (SELECT job FROM targets WHERE repository = ?2))
               AND (?3 IS NULL OR recipe = ?3)
               AND (?4 IS NULL OR is_archived = ?4)
               AND NOT (?5 AND (is_finished OR is_cancelled))
             ORDER BY created_position DESC LIMIT ?6"
        ))?
        .query_map(
            params![
                // No position of the log is beyond SQLite's numbers.
                before.map(|before| i64::try_from(before).unwrap_or(i64::MAX)),
                filter.repository,
                filter.recipe,
                filter.is_archived,
                filter.is_unfinished,
                limit,
            ],
            read,
        )?
        .collect()
}

/// Up to `limit` jobs whose id, written out, begins or ends with `text`, newest first.
pub fn named(connection: &Connection, text: &str, limit: usize) -> rusqlite::Result<Vec<JobId>> {
    // Programs write ids in full, and ask often.
    if let Ok(id) = text.parse() {
        return Ok(find(connection, id)?.map(|row| row.job).into_iter().collect());
    }
    let mut statement =
        connection.prepare_cached("SELECT job FROM jobs ORDER BY created_position DESC")?;
    let jobs = statement.query_map([], |row| row.get::<_, Id>(0).map(|id| id.0))?;
    let fits = |job: &rusqlite::Result<JobId>| {
        job.as_ref().map_or(true, |job| {
            let id = job.to_string();
            id.starts_with(text) || id.ends_with(text)
        })
    };
    jobs.filter(fits).take(limit).collect()
}

/// Every job that is neither finished nor cancelled, oldest first.
pub fn unfinished(connection: &Connection) -> rusqlite::Result<Vec<JobId>> {
    connection
        .prepare_cached(
            "SELECT job FROM jobs WHERE NOT is_finished AND NOT is_cancelled ORDER BY created_position",
        )?
        .query_map([], |row| row.get::<_, Id>(0).map(|id| id.0))?
        .collect()
}

fn read(row: &Row<'_>) -> rusqlite::Result<JobRow> {
    Ok(JobRow {
        job: row.get::<_, Id>(0)?.0,
        created_position: count(row, 1)?,
        position: count(row, 2)?,
        created_at: instant(row, 3)?,
        updated_at: instant(row, 4)?,
        actor: row.get(5)?,
        door: word(row, 6)?,
        model: row.get(7)?,
        effort: word_or_none(row, 8)?,
        policy: word(row, 9)?,
        target_count: count(row, 10)?,
        budget_micros: count(row, 11)?,
        job_budget_micros: row.get::<_, Option<i64>>(12)?.map(i64::cast_unsigned),
        is_paused: row.get(13)?,
        is_cancelled: row.get(14)?,
        is_finished: row.get(15)?,
        is_archived: row.get(16)?,
        is_pilot: row.get(17)?,
        recipe: row.get(18)?,
    })
}
