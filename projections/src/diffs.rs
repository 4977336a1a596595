//! Diffs: every one that was made, how large it is, and what was said of it.

use cody_events::diff::{DiffProduced, JudgedDiff};
use cody_events::digest::{ObjectId, Sha256};
use cody_events::event::Event;
use cody_events::ids::{JobId, TargetNumber};
use cody_events::job::By;
use cody_events::time::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde::{Deserialize, Serialize};

use crate::columns::{Id, Word, count, hash, instant, object, word_or_none};
use crate::jobs::one;
use crate::{Projection, Sums, Told};

pub const PROJECTION: Projection = Projection {
    name: "diffs",
    version: 2,
    tables: "
CREATE TABLE diffs (
    job BLOB NOT NULL,
    target INTEGER NOT NULL,
    position INTEGER NOT NULL,
    round INTEGER NOT NULL,
    produced_at INTEGER NOT NULL,
    base_commit BLOB NOT NULL,
    tree BLOB NOT NULL,
    diff_hash BLOB NOT NULL,
    file_count INTEGER NOT NULL,
    added_line_count INTEGER NOT NULL,
    deleted_line_count INTEGER NOT NULL,
    byte_count INTEGER NOT NULL,
    is_partial INTEGER NOT NULL,
    judgement TEXT,
    judged_by TEXT,
    judged_position INTEGER,
    PRIMARY KEY (job, target, position)
) STRICT, WITHOUT ROWID;
",
    apply,
    settle: None,
};

const COLUMNS: &str = "target, position, round, produced_at, base_commit, tree, diff_hash, \
    file_count, added_line_count, deleted_line_count, byte_count, is_partial, judgement, \
    judged_by, judged_position";

/// One diff.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiffRow {
    pub target: TargetNumber,
    /// Where `diff-produced` stands, whose payload has the patch.
    pub position: u64,
    pub round: u64,
    pub produced_at: Timestamp,
    pub base_commit: ObjectId,
    pub tree: ObjectId,
    pub diff_hash: Sha256,
    pub file_count: u64,
    pub added_line_count: u64,
    pub deleted_line_count: u64,
    pub byte_count: u64,
    /// Whether the work on it was not done.
    pub is_partial: bool,
    pub judgement: Option<Judged>,
}

/// What was said of a diff last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judged {
    pub judgement: Judgement,
    pub by: By,
    /// Where it stands in the log, with the comment.
    pub position: u64,
}

/// A yes, a no, another wish, or a doubt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Judgement {
    Approved,
    Rejected,
    ChangesRequested,
    Held,
}

fn apply(connection: &Connection, _: &mut Sums, told: &Told<'_>) -> rusqlite::Result<()> {
    match told.event {
        Event::DiffProduced(diff) => insert(connection, told, diff),
        Event::DiffApproved(e) => judge(connection, told, &e.0, Judgement::Approved),
        Event::DiffRejected(e) => judge(connection, told, &e.0, Judgement::Rejected),
        Event::ChangesRequested(e) => judge(connection, told, &e.0, Judgement::ChangesRequested),
        Event::TargetHeld(e) => judge(connection, told, &e.0, Judgement::Held),
        _ => Ok(()),
    }
}

fn insert(connection: &Connection, told: &Told<'_>, diff: &DiffProduced) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO diffs VALUES
             (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, NULL, NULL, NULL)",
        )?
        .execute(params![
            Id(told.job),
            diff.target.0,
            told.position(),
            diff.round.0,
            told.at(),
            diff.base_commit.as_bytes(),
            diff.tree.as_bytes(),
            diff.diff_hash.as_bytes(),
            diff.file_count,
            diff.added_line_count.cast_signed(),
            diff.deleted_line_count.cast_signed(),
            diff.byte_count.cast_signed(),
            diff.partial,
        ])
        .and_then(one)
}

/// A judgement is about the latest diff with its hash.
fn judge(
    connection: &Connection,
    told: &Told<'_>,
    judged: &JudgedDiff,
    judgement: Judgement,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "UPDATE diffs SET judgement = ?4, judged_by = ?5, judged_position = ?6
             WHERE job = ?1 AND target = ?2 AND position = (
                 SELECT MAX(position) FROM diffs
                 WHERE job = ?1 AND target = ?2 AND diff_hash = ?3
             )",
        )?
        .execute(params![
            Id(told.job),
            judged.target.0,
            judged.diff_hash.as_bytes(),
            Word(judgement),
            Word(judged.by),
            told.position(),
        ])
        .and_then(one)
}

/// The latest diff of a target.
pub fn latest(
    connection: &Connection,
    job: JobId,
    target: TargetNumber,
) -> rusqlite::Result<Option<DiffRow>> {
    connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM diffs WHERE job = ?1 AND target = ?2
             ORDER BY position DESC LIMIT 1"
        ))?
        .query_row(params![Id(job), target.0], read)
        .optional()
}

/// Every diff of a job, in the order in which they were made.
pub fn of_job(connection: &Connection, job: JobId) -> rusqlite::Result<Vec<DiffRow>> {
    connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM diffs WHERE job = ?1 ORDER BY position"))?
        .query_map([Id(job)], read)?
        .collect()
}

fn read(row: &Row<'_>) -> rusqlite::Result<DiffRow> {
    let judgement = match (word_or_none(row, 12)?, word_or_none(row, 13)?) {
        (Some(judgement), Some(by)) => Some(Judged { judgement, by, position: count(row, 14)? }),
        _ => None,
    };
    Ok(DiffRow {
        target: TargetNumber(row.get(0)?),
        position: count(row, 1)?,
        round: count(row, 2)?,
        produced_at: instant(row, 3)?,
        base_commit: object(row, 4)?,
        tree: object(row, 5)?,
        diff_hash: hash(row, 6)?,
        file_count: count(row, 7)?,
        added_line_count: count(row, 8)?,
        deleted_line_count: count(row, 9)?,
        byte_count: count(row, 10)?,
        is_partial: row.get(11)?,
        judgement,
    })
}
