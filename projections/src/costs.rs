//! Costs: what each target has spent in money, tokens and time.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use cody_events::event::Event;
use cody_events::ids::{JobId, TargetNumber};
use cody_events::thread::Usage;
use rusqlite::{Connection, OptionalExtension as _, Row, ToSql, params};
use serde::{Deserialize, Serialize};

use crate::columns::{Id, count};
use crate::jobs::one;
use crate::{Projection, Sums, Told};

pub const PROJECTION: Projection = Projection {
    name: "costs",
    version: 3,
    tables: "
CREATE TABLE costs (
    job BLOB NOT NULL,
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
    settle: Some(settle),
};

const SUMS: &str = "SUM(known_micros), SUM(assumed_micros), SUM(reserved_micros), \
    SUM(input_tokens), SUM(output_tokens), SUM(cache_read_tokens), SUM(cache_write_5m_tokens), \
    SUM(cache_write_1h_tokens), SUM(call_count), SUM(failed_call_count), SUM(turn_count), \
    SUM(claude_ms), SUM(tool_ms), SUM(check_ms)";

/// What was spent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
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

/// What is added up, in the order of [`ADDED`].
#[derive(Debug, Clone, Copy)]
enum Added {
    Known,
    Assumed,
    Input,
    Output,
    CacheRead,
    CacheWrite5m,
    CacheWrite1h,
    Calls,
    FailedCalls,
    Turns,
    ClaudeMs,
    ToolMs,
    CheckMs,
}

/// The columns of what is added up.
const ADDED: [&str; 13] = [
    "known_micros",
    "assumed_micros",
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
    "call_count",
    "failed_call_count",
    "turn_count",
    "claude_ms",
    "tool_ms",
    "check_ms",
];

/// What a page adds to the costs of each target.
#[derive(Debug, Default)]
pub(crate) struct Spent(BTreeMap<(JobId, TargetNumber), Sum>);

/// What a page adds to the costs of one target.
#[derive(Debug, Default)]
struct Sum {
    added: [i64; ADDED.len()],
    /// What the latest call set aside, if one began or ended.
    reserved_micros: Option<i64>,
}

impl Spent {
    /// What the page adds for a target, which has to be there by now.
    fn of(
        &mut self,
        connection: &Connection,
        told: &Told<'_>,
        target: TargetNumber,
    ) -> rusqlite::Result<&mut Sum> {
        match self.0.entry((told.job, target)) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(unknown) => {
                connection
                    .prepare_cached("SELECT 1 FROM costs WHERE job = ?1 AND target = ?2")?
                    .query_row(params![Id(told.job), target.0], |_| Ok(()))?;
                Ok(unknown.insert(Sum::default()))
            }
        }
    }
}

impl Sum {
    /// Fails if the sum is no number of SQLite's; the events of the page are then added one by one.
    fn add(&mut self, what: Added, amount: u64) -> rusqlite::Result<()> {
        let sum = &mut self.added[what as usize];
        let more = i64::try_from(amount).ok().and_then(|amount| sum.checked_add(amount));
        *sum = more.ok_or(rusqlite::Error::IntegralValueOutOfRange(what as usize, i64::MAX))?;
        Ok(())
    }

    /// A call that ended, with the usage and time that are known of it.
    fn end(&mut self, usage: Usage, ms: u64) -> rusqlite::Result<()> {
        self.reserved_micros = Some(0);
        self.add(Added::Input, usage.input_tokens)?;
        self.add(Added::Output, usage.output_tokens)?;
        self.add(Added::CacheRead, usage.cache_read_tokens)?;
        self.add(Added::CacheWrite5m, usage.cache_write_5m_tokens)?;
        self.add(Added::CacheWrite1h, usage.cache_write_1h_tokens)?;
        self.add(Added::ClaudeMs, ms)
    }
}

fn apply(connection: &Connection, sums: &mut Sums, told: &Told<'_>) -> rusqlite::Result<()> {
    let spent = &mut sums.costs;
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
            let sum = spent.of(connection, told, e.target)?;
            sum.reserved_micros = Some(e.reserved_micros.cast_signed());
            sum.add(Added::Calls, 1)
        }
        Event::ClaudeTurn(e) => {
            let sum = spent.of(connection, told, e.target)?;
            sum.end(e.usage, e.ms)?;
            sum.add(Added::Known, e.cost_micros)?;
            sum.add(Added::Turns, 1)
        }
        Event::CallFailed(e) => {
            let sum = spent.of(connection, told, e.target)?;
            sum.end(e.usage.unwrap_or_default(), e.ms)?;
            sum.add(Added::Assumed, e.assumed_micros)?;
            sum.add(Added::FailedCalls, 1)
        }
        Event::ToolsRan(e) => spent.of(connection, told, e.target)?.add(Added::ToolMs, e.tool_ms()),
        Event::DependenciesFetched(e) => {
            let ms = e.fetches.iter().map(|fetch| fetch.ms).fold(0, u64::saturating_add);
            spent.of(connection, told, e.target)?.add(Added::CheckMs, ms)
        }
        Event::ChecksRan(e) => {
            let ms = e.commands.iter().map(|command| command.ms).fold(0, u64::saturating_add);
            spent.of(connection, told, e.target)?.add(Added::CheckMs, ms)
        }
        _ => Ok(()),
    }
}

fn settle(connection: &Connection, sums: &Sums) -> rusqlite::Result<()> {
    let sums_of = |(number, column)| format!("{column} = {column} + ?{}", number + 4);
    let added: Vec<String> = ADDED.iter().enumerate().map(sums_of).collect();
    let mut update = connection.prepare_cached(&format!(
        "UPDATE costs SET reserved_micros = COALESCE(?3, reserved_micros), {}
         WHERE job = ?1 AND target = ?2",
        added.join(", ")
    ))?;
    for ((job, target), sum) in &sums.costs.0 {
        let job = Id(*job);
        let mut values: Vec<&dyn ToSql> = vec![&job, &target.0, &sum.reserved_micros];
        values.extend(sum.added.iter().map(|amount| amount as &dyn ToSql));
        update.execute(&values[..]).and_then(one)?;
    }
    Ok(())
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
