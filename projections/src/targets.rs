//! Targets: where each repository of a job stands, on the axis of work and on that of delivery.

use cody_events::delivery::PrState;
use cody_events::digest::{ObjectId, Sha256};
use cody_events::event::Event;
use cody_events::ids::{JobId, TargetNumber};
use cody_events::job::{Created, Policy, TargetKind};
use cody_events::outcome::{Outcome, ReopenReason, TargetReopened};
use cody_events::status::{Delivery, Standing, TargetStatus};
use cody_events::time::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, ToSql, params};
use serde::{Deserialize, Serialize};

use crate::columns::{Id, Word, count, hash_or_none, object_or_none, word, word_or_none};
use crate::jobs::one;
use crate::{Projection, Sums, Told};

pub const PROJECTION: Projection = Projection {
    name: "targets",
    version: 5,
    tables: "
CREATE TABLE targets (
    job BLOB NOT NULL,
    target INTEGER NOT NULL,
    kind TEXT NOT NULL,
    repository TEXT NOT NULL,
    round INTEGER NOT NULL,
    outcome TEXT,
    delivery TEXT NOT NULL,
    is_paused INTEGER NOT NULL,
    is_job_paused INTEGER NOT NULL,
    open_attempt INTEGER,
    attempt_count INTEGER NOT NULL,
    branch TEXT,
    base_commit BLOB,
    tree BLOB,
    diff_hash BLOB,
    scan_position INTEGER,
    finish_position INTEGER,
    started_at INTEGER,
    finished_at INTEGER,
    pull_request INTEGER,
    pull_request_url TEXT,
    pull_request_state TEXT,
    is_reviewed INTEGER NOT NULL,
    is_pilot_open INTEGER NOT NULL,
    PRIMARY KEY (job, target)
) STRICT, WITHOUT ROWID;
CREATE INDEX targets_by_repository ON targets (repository, job);
CREATE INDEX targets_for_people ON targets (finished_at, job, target)
    WHERE delivery IN ('awaiting-approval', 'held');
",
    apply,
    settle: None,
};

const COLUMNS: &str = "job, target, kind, repository, round, outcome, delivery, \
    is_paused OR is_job_paused, open_attempt, attempt_count, branch, base_commit, tree, diff_hash, \
    scan_position, finish_position, started_at, finished_at, pull_request, pull_request_url, \
    pull_request_state, is_pilot_open";

/// A target at a glance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetRow {
    pub job: JobId,
    pub target: TargetNumber,
    pub kind: TargetKind,
    pub repository: String,
    pub round: u64,
    pub status: TargetStatus,
    pub outcome: Option<Outcome>,
    pub delivery: Delivery,
    pub attempt_count: u64,
    pub branch: Option<String>,
    pub base_commit: Option<ObjectId>,
    /// The latest recorded tree.
    pub tree: Option<ObjectId>,
    /// The latest diff.
    pub diff_hash: Option<Sha256>,
    /// Where the scan stands in the log.
    pub scan_position: Option<u64>,
    /// Where the latest `target-finished` stands, whose payload has the evidence.
    pub finish_position: Option<u64>,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    pub pull_request: Option<PullRequest>,
    /// Whether its job has a target that goes first, whose diff nobody has approved yet.
    pub is_pilot_open: bool,
}

/// A pull request of a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PullRequest {
    pub number: u64,
    pub url: String,
    pub state: PrState,
}

impl TargetRow {
    /// What the job's status depends on.
    pub fn standing(&self) -> Standing {
        Standing {
            status: self.status,
            outcome: self.outcome,
            delivery: self.delivery,
            has_begun: self.base_commit.is_some(),
            waits_for_pilot: self.is_pilot_open,
        }
    }
}

fn apply(connection: &Connection, _: &mut Sums, told: &Told<'_>) -> rusqlite::Result<()> {
    let rows = Rows { connection, told };
    match told.event {
        Event::Created(created) => insert(connection, told, created),
        Event::Paused(e) => rows.pause(e.target, true),
        Event::Resumed(e) => rows.pause(e.target, false),
        Event::AttemptRequested(e) => rows.set(
            e.target,
            "branch = ?3, base_commit = ?4, tree = COALESCE(tree, ?5)",
            &[&e.base.branch, &e.base.commit.as_bytes(), &e.base.tree.as_bytes()],
        ),
        Event::AttemptStarted(e) => rows.set(
            e.target,
            "open_attempt = ?3, attempt_count = ?3, started_at = COALESCE(started_at, ?4)",
            &[&e.attempt.0, &told.at()],
        ),
        Event::AttemptEnded(e) => rows.set(e.target, "open_attempt = NULL", &[]),
        Event::RepoScanned(e) => rows.set(e.target, "scan_position = ?3", &[&told.position()]),
        Event::ToolsRan(e) => rows.set(e.target, "tree = ?3", &[&e.tree_after.as_bytes()]),
        Event::DiffProduced(e) => rows.set(e.target, "diff_hash = ?3", &[&e.diff_hash.as_bytes()]),
        Event::TargetHeld(e) => rows.deliver(e.0.target, Delivery::Held),
        Event::DiffRejected(e) => rows.deliver(e.0.target, Delivery::Rejected),
        Event::DiffApproved(e) => rows.approve(e.0.target),
        Event::BranchPushed(e) => rows.deliver(e.target, Delivery::Pushing),
        Event::DeliveryFailed(e) => rows.deliver(e.target, Delivery::Failed),
        Event::PrOpened(e) => rows.set(
            e.target,
            "delivery = ?3, pull_request = ?4, pull_request_url = ?5, pull_request_state = ?6",
            &[&Word(Delivery::Open), &e.number.cast_signed(), &e.url, &Word(PrState::Open)],
        ),
        Event::PrUpdated(e) => {
            let delivery = match e.state {
                PrState::Open => Delivery::Open,
                PrState::Merged => Delivery::Merged,
                PrState::Closed => Delivery::Closed,
            };
            let values: [&dyn ToSql; 2] = [&Word(delivery), &Word(e.state)];
            rows.set(e.target, "delivery = ?3, pull_request_state = ?4", &values)
        }
        Event::TargetFinished(e) => rows.set(
            e.target,
            "outcome = ?3, finish_position = ?4, finished_at = ?5,
             delivery = CASE
                 WHEN delivery = ?6 AND ?3 = ?7 AND (is_reviewed OR is_pilot_open) THEN ?8
                 ELSE delivery
             END",
            &[
                &Word(e.outcome),
                &told.position(),
                &told.at(),
                &Word(Delivery::None),
                &Word(Outcome::DiffReady),
                &Word(Delivery::AwaitingApproval),
            ],
        ),
        Event::TargetReopened(e) => rows.reopen(e),
        _ => Ok(()),
    }
}

fn insert(connection: &Connection, told: &Told<'_>, created: &Created) -> rusqlite::Result<()> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO targets (job, target, kind, repository, round, delivery, is_paused,
             is_job_paused, attempt_count, is_reviewed, is_pilot_open)
         VALUES (?1, ?2, ?3, ?4, 1, ?5, 0, 0, 0, ?6, ?7)",
    )?;
    for target in &created.targets {
        insert.execute(params![
            Id(told.job),
            target.number.0,
            Word(target.kind),
            target.repository,
            Word(Delivery::None),
            created.policy == Policy::Review && target.kind == TargetKind::Github,
            created.pilot,
        ])?;
    }
    Ok(())
}

/// The rows that one event changes.
struct Rows<'a> {
    connection: &'a Connection,
    told: &'a Told<'a>,
}

impl Rows<'_> {
    /// Assigns `values`, which `assignments` names from `?3` on, in the row of `target`.
    fn set(
        &self,
        target: TargetNumber,
        assignments: &str,
        values: &[&dyn ToSql],
    ) -> rusqlite::Result<()> {
        let (job, target) = (Id(self.told.job), target.0);
        let key: [&dyn ToSql; 2] = [&job, &target];
        let all: Vec<&dyn ToSql> = key.into_iter().chain(values.iter().copied()).collect();
        self.connection
            .prepare_cached(&format!(
                "UPDATE targets SET {assignments} WHERE job = ?1 AND target = ?2"
            ))?
            .execute(&all[..])
            .and_then(one)
    }

    fn deliver(&self, target: TargetNumber, delivery: Delivery) -> rusqlite::Result<()> {
        self.set(target, "delivery = ?3", &[&Word(delivery)])
    }

    /// An approved diff is pushed where there is a place to push to. The first approval of a job lets
    /// the targets go on that wait for it.
    fn approve(&self, target: TargetNumber) -> rusqlite::Result<()> {
        self.set(
            target,
            "delivery = CASE kind WHEN ?3 THEN ?4 ELSE ?5 END",
            &[&Word(TargetKind::Github), &Word(Delivery::Pushing), &Word(Delivery::None)],
        )?;
        self.connection
            .prepare_cached(
                "UPDATE targets SET is_pilot_open = 0 WHERE job = ?1 AND is_pilot_open",
            )?
            .execute([Id(self.told.job)])?;
        Ok(())
    }

    fn pause(&self, target: Option<TargetNumber>, paused: bool) -> rusqlite::Result<()> {
        match target {
            Some(target) => self.set(target, "is_paused = ?3", &[&paused]),
            None => {
                self.connection
                    .prepare_cached("UPDATE targets SET is_job_paused = ?2 WHERE job = ?1")?
                    .execute(params![Id(self.told.job), paused])?;
                Ok(())
            }
        }
    }

    fn reopen(&self, e: &TargetReopened) -> rusqlite::Result<()> {
        self.set(
            e.target,
            "round = ?3, delivery = ?4, open_attempt = NULL, outcome = NULL, finish_position = NULL, finished_at = NULL",
            &[&e.round.0, &Word(Delivery::None)],
        )?;
        match e.why {
            ReopenReason::ChangesRequested | ReopenReason::BudgetRaised => Ok(()),
            ReopenReason::Retried => self.set(
                e.target,
                "branch = NULL, base_commit = NULL, tree = NULL, diff_hash = NULL,
                 scan_position = NULL",
                &[],
            ),
        }
    }
}

/// One target of a job.
pub fn find(
    connection: &Connection,
    job: JobId,
    target: TargetNumber,
) -> rusqlite::Result<Option<TargetRow>> {
    connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM targets WHERE job = ?1 AND target = ?2"))?
        .query_row(params![Id(job), target.0], read)
        .optional()
}

/// The targets of a job, in the order of their numbers.
pub fn of_job(connection: &Connection, job: JobId) -> rusqlite::Result<Vec<TargetRow>> {
    connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM targets WHERE job = ?1 ORDER BY target"))?
        .query_map([Id(job)], read)?
        .collect()
}

/// Up to `limit` targets that wait for a person's word, the longest wait first; those of archived and
/// cancelled jobs are left out.
pub fn awaiting(connection: &Connection, limit: u32) -> rusqlite::Result<Vec<TargetRow>> {
    connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM targets
             WHERE delivery IN ('awaiting-approval', 'held')
               AND job IN (SELECT job FROM jobs WHERE NOT is_archived AND NOT is_cancelled)
             ORDER BY finished_at, job, target LIMIT ?1"
        ))?
        .query_map([limit], read)?
        .collect()
}

fn read(row: &Row<'_>) -> rusqlite::Result<TargetRow> {
    let outcome = word_or_none(row, 5)?;
    let open_attempt: Option<u32> = row.get(8)?;
    let position = |column| -> rusqlite::Result<Option<u64>> {
        Ok(row.get::<_, Option<i64>>(column)?.map(i64::cast_unsigned))
    };
    let pull_request = match (position(18)?, row.get(19)?, word_or_none(row, 20)?) {
        (Some(number), Some(url), Some(state)) => Some(PullRequest { number, url, state }),
        _ => None,
    };
    Ok(TargetRow {
        job: row.get::<_, Id>(0)?.0,
        target: TargetNumber(row.get(1)?),
        kind: word(row, 2)?,
        repository: row.get(3)?,
        round: count(row, 4)?,
        status: TargetStatus::of(outcome, row.get(7)?, open_attempt.is_some()),
        outcome,
        delivery: word(row, 6)?,
        attempt_count: count(row, 9)?,
        branch: row.get(10)?,
        base_commit: object_or_none(row, 11)?,
        tree: object_or_none(row, 12)?,
        diff_hash: hash_or_none(row, 13)?,
        scan_position: position(14)?,
        finish_position: position(15)?,
        started_at: row.get::<_, Option<i64>>(16)?.map(Timestamp),
        finished_at: row.get::<_, Option<i64>>(17)?.map(Timestamp),
        pull_request,
        is_pilot_open: row.get(21)?,
    })
}
