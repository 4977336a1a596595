//! Costs: what each target has spent in money, tokens and time.

use cody_events::event::Event;
use cody_events::ids::{JobId, TargetNumber};
use cody_events::thread::{CallFailed, ClaudeTurn, Usage};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::columns::{Id, count};
use crate::jobs::one;
use crate::{Projection, Told};

pub const PROJECTION: Projection = Projection {
    name: "costs",
    version: 2,
    tables: "
CREATE TABLE costs (
    job TEXT NOT NULL,
    target INTEGER NOT NULL,
    known_micros INTEGER NOT NULL DEFAULT 0,
    assumed_micros INTEGER NOT NULL DEFAULT 0,
    reserved_micros INTEGER NOT NULL DEFAULT 0,
    input_tokens INTEGER NOT NULL DEFAULT 0,
    output_tokens INTEGER NOT NULL DEFAULT 0,
    cache_read_tokens INTEGER NOT NULL DEFAULT 0,
    cache_write_5m_tokens INTEGER NOT NULL DEFAULT 0,
    cache_write_1h_tokens INTEGER NOT NULL DEFAULT 0,
    call_count INTEGER NOT NULL DEFAULT 0,
    failed_call_count INTEGER NOT NULL DEFAULT 0,
    turn_count INTEGER NOT NULL DEFAULT 0,
    claude_ms INTEGER NOT NULL DEFAULT 0,
    tool_ms INTEGER NOT NULL DEFAULT 0,
    check_ms INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (job, target)
) STRICT, WITHOUT ROWID;
CREATE INDEX costs_in_flight ON costs (job, target) WHERE reserved_micros > 0;
",
    apply,
};

const SUMS: &str = "SUM(known_micros), SUM(assumed_micros), SUM(reserved_micros), \
    SUM(input_tokens), SUM(output_tokens), SUM(cache_read_tokens), SUM(cache_write_5m_tokens), \
    SUM(cache_write_1h_tokens), SUM(call_count), SUM(failed_call_count), SUM(turn_count), \
    SUM(claude_ms), SUM(tool_ms), SUM(check_ms)";

/// What was spent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CostRow {
    /// From usage that Claude reported.
    pub known_micros: u64,
    /// From calls whose usage nobody saw.
    pub assumed_micros: u64,
    /// Set aside for calls in flight.
    pub reserved_micros: u64,
    pub usage: Usage,
    /// Calls permitted, and those of them that failed.
    pub call_count: u64,
    pub failed_call_count: u64,
    pub turn_count: u64,
    pub claude_ms: u64,
    pub tool_ms: u64,
    pub check_ms: u64,
}

impl CostRow {
    /// Known and assumed together.
    pub fn spent_micros(&self) -> u64 {
        self.known_micros.saturating_add(self.assumed_micros)
    }
}

fn apply(connection: &Connection, told: &Told<'_>) -> rusqlite::Result<()> {
    let add = |target: TargetNumber, assignments: &str, amount: u64| {
        connection
            .prepare_cached(&format!(
                "UPDATE costs SET {assignments} WHERE job = ?1 AND target = ?2"
            ))?
            .execute(params![Id(told.job), target.0, amount.cast_signed()])
            .and_then(one)
    };
    match told.event {
        Event::Created(created) => {
            let mut insert =
                connection.prepare_cached("INSERT INTO costs (job, target) VALUES (?1, ?2)")?;
            for target in &created.targets {
                insert.execute(params![Id(told.job), target.number.0])?;
            }
            Ok(())
        }
        Event::CallPermitted(e) => {
            add(e.target, "reserved_micros = ?3, call_count = call_count + 1", e.reserved_micros)
        }
        Event::ClaudeTurn(e) => settle(connection, told, &answered(e)),
        Event::CallFailed(e) => settle(connection, told, &failed(e)),
        Event::ToolsRan(e) => add(e.target, "tool_ms = tool_ms + ?3", e.tool_ms()),
        Event::ChecksRan(e) => {
            let ms = e.commands.iter().map(|command| command.ms).fold(0, u64::saturating_add);
            add(e.target, "check_ms = check_ms + ?3", ms)
        }
        _ => Ok(()),
    }
}

/// A call that ended: its usage and time, and money by where it is known from.
struct Ended {
    target: TargetNumber,
    usage: Usage,
    ms: u64,
    known_micros: u64,
    assumed_micros: u64,
    failed: bool,
}

fn answered(e: &ClaudeTurn) -> Ended {
    Ended {
        target: e.target,
        usage: e.usage,
        ms: e.ms,
        known_micros: e.cost_micros,
        assumed_micros: 0,
        failed: false,
    }
}

fn failed(e: &CallFailed) -> Ended {
    Ended {
        target: e.target,
        usage: e.usage.unwrap_or_default(),
        ms: e.ms,
        known_micros: 0,
        assumed_micros: e.assumed_micros,
        failed: true,
    }
}

fn settle(connection: &Connection, told: &Told<'_>, ended: &Ended) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "UPDATE costs SET
                 input_tokens = input_tokens + ?3,
                 output_tokens = output_tokens + ?4,
                 cache_read_tokens = cache_read_tokens + ?5,
                 cache_write_5m_tokens = cache_write_5m_tokens + ?6,
                 cache_write_1h_tokens = cache_write_1h_tokens + ?7,
                 claude_ms = claude_ms + ?8,
                 known_micros = known_micros + ?9,
                 assumed_micros = assumed_micros + ?10,
                 failed_call_count = failed_call_count + ?11,
                 turn_count = turn_count + 1 - ?11,
                 reserved_micros = 0
             WHERE job = ?1 AND target = ?2",
        )?
        .execute(params![
            Id(told.job),
            ended.target.0,
            ended.usage.input_tokens.cast_signed(),
            ended.usage.output_tokens.cast_signed(),
            ended.usage.cache_read_tokens.cast_signed(),
            ended.usage.cache_write_5m_tokens.cast_signed(),
            ended.usage.cache_write_1h_tokens.cast_signed(),
            ended.ms.cast_signed(),
            ended.known_micros.cast_signed(),
            ended.assumed_micros.cast_signed(),
            ended.failed,
        ])
        .and_then(one)
}

/// What a target has spent; nothing if there is no such target.
pub fn of_target(
    connection: &Connection,
    job: JobId,
    target: TargetNumber,
) -> rusqlite::Result<Option<CostRow>> {
    connection
        .prepare_cached(&format!(
            "SELECT {SUMS} FROM costs WHERE job = ?1 AND target = ?2 GROUP BY target"
        ))?
        .query_row(params![Id(job), target.0], read)
        .optional()
}

/// What a job has spent over all targets; nothing if there is no such job.
pub fn of_job(connection: &Connection, job: JobId) -> rusqlite::Result<Option<CostRow>> {
    connection
        .prepare_cached(&format!("SELECT {SUMS} FROM costs WHERE job = ?1 GROUP BY job"))?
        .query_row([Id(job)], read)
        .optional()
}

/// The targets that have a call in flight, or had one when their server died.
pub fn open_permits(connection: &Connection) -> rusqlite::Result<Vec<(JobId, TargetNumber)>> {
    connection
        .prepare_cached("SELECT job, target FROM costs WHERE reserved_micros > 0")?
        .query_map([], |row| Ok((row.get::<_, Id>(0)?.0, TargetNumber(row.get(1)?))))?
        .collect()
}

fn read(row: &Row<'_>) -> rusqlite::Result<CostRow> {
    Ok(CostRow {
        known_micros: count(row, 0)?,
        assumed_micros: count(row, 1)?,
        reserved_micros: count(row, 2)?,
        usage: Usage {
            input_tokens: count(row, 3)?,
            output_tokens: count(row, 4)?,
            cache_read_tokens: count(row, 5)?,
            cache_write_5m_tokens: count(row, 6)?,
            cache_write_1h_tokens: count(row, 7)?,
        },
        call_count: count(row, 8)?,
        failed_call_count: count(row, 9)?,
        turn_count: count(row, 10)?,
        claude_ms: count(row, 11)?,
        tool_ms: count(row, 12)?,
        check_ms: count(row, 13)?,
    })
}
