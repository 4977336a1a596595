//! Conversations: the threads of a target, and what each of their turns consists of. The words stand
//! in the log; here is where.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use cody_events::digest::ObjectId;
use cody_events::event::Event;
use cody_events::ids::{JobId, TargetNumber, ThreadNumber, TurnNumber};
use cody_events::thread::{Purpose, StopReason, ThreadStarted};
use rusqlite::{Connection, Row, params};
use serde::{Deserialize, Serialize};

use crate::columns::{Id, Word, count, object, word, word_or_none};
use crate::jobs::one;
use crate::{Projection, Sums, Told};

pub const PROJECTION: Projection = Projection {
    name: "threads",
    version: 2,
    tables: "
CREATE TABLE threads (
    job BLOB NOT NULL,
    target INTEGER NOT NULL,
    thread INTEGER NOT NULL,
    purpose TEXT NOT NULL,
    parent INTEGER,
    round INTEGER NOT NULL,
    model TEXT NOT NULL,
    tree BLOB NOT NULL,
    started_position INTEGER NOT NULL,
    turn_count INTEGER NOT NULL,
    latest_stop TEXT,
    PRIMARY KEY (job, target, thread)
) STRICT, WITHOUT ROWID;
CREATE TABLE messages (
    job BLOB NOT NULL,
    target INTEGER NOT NULL,
    thread INTEGER NOT NULL,
    position INTEGER NOT NULL,
    turn INTEGER NOT NULL,
    kind TEXT NOT NULL,
    in_history INTEGER NOT NULL,
    tool_count INTEGER NOT NULL,
    error_count INTEGER NOT NULL,
    ms INTEGER NOT NULL,
    PRIMARY KEY (job, target, thread, position)
) STRICT, WITHOUT ROWID;
",
    apply,
    settle: Some(settle),
};

/// The conversations that a page goes on with.
#[derive(Debug, Default)]
pub(crate) struct Turns(BTreeMap<(JobId, TargetNumber, ThreadNumber), New>);

/// What a page adds to a conversation: how many responses, and how the latest ended.
#[derive(Debug, Default)]
struct New {
    response_count: i64,
    latest_stop: Option<StopReason>,
}

impl Turns {
    /// What the page adds to a conversation, which has to have started.
    fn of(
        &mut self,
        connection: &Connection,
        told: &Told<'_>,
        target: TargetNumber,
        thread: ThreadNumber,
    ) -> rusqlite::Result<&mut New> {
        match self.0.entry((told.job, target, thread)) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(unknown) => {
                connection
                    .prepare_cached(
                        "SELECT 1 FROM threads WHERE job = ?1 AND target = ?2 AND thread = ?3",
                    )?
                    .query_row(params![Id(told.job), target.0, thread.0], |_| Ok(()))?;
                Ok(unknown.insert(New::default()))
            }
        }
    }
}

/// One conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThreadRow {
    pub target: TargetNumber,
    pub thread: ThreadNumber,
    pub purpose: Purpose,
    pub parent: Option<ThreadNumber>,
    pub round: u64,
    pub model: String,
    /// The tree that it started from, or judges.
    pub tree: ObjectId,
    /// Where `thread-started` stands, whose payload has the fixed prefix and the first message.
    pub started_position: u64,
    pub turn_count: u64,
    pub latest_stop: Option<StopReason>,
}

/// One thing said or done in a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageRow {
    /// The event whose payload has it.
    pub position: u64,
    pub turn: TurnNumber,
    pub kind: MessageKind,
    /// Whether it is part of what Claude is shown in later turns.
    pub in_history: bool,
    pub tool_count: u64,
    /// Tools that answered with an error.
    pub error_count: u64,
    /// What it took: Claude's time of a response, the tools' of results.
    pub ms: u64,
}

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MessageKind {
    /// Claude's response.
    Response,
    /// What tools answered.
    Results,
    /// What the harness added before a call.
    Notice,
    /// What checks, the review or a person answered to a `finish`.
    Judgement,
}

fn apply(connection: &Connection, sums: &mut Sums, told: &Told<'_>) -> rusqlite::Result<()> {
    if let Event::ClaudeTurn(e) = told.event {
        let new = sums.threads.of(connection, told, e.target, e.thread)?;
        new.response_count += 1;
        new.latest_stop = Some(e.stop_reason);
    }
    let mut add = |target, thread, turn, message| {
        sums.threads.of(connection, told, target, thread)?;
        add(connection, told, target, thread, turn, message)
    };
    match told.event {
        Event::ThreadStarted(started) => insert(connection, told, started),
        Event::CallPermitted(e) if told.recorded.payload_len.is_some() => {
            add(e.target, e.thread, e.turn, Message::of(MessageKind::Notice))
        }
        Event::ClaudeTurn(e) => {
            let message = Message {
                in_history: e.in_history,
                tool_count: e.tool_count.into(),
                ms: e.ms,
                ..Message::of(MessageKind::Response)
            };
            add(e.target, e.thread, e.turn, message)
        }
        Event::ToolsRan(e) => {
            let failed = e.tools.iter().filter(|tool| tool.is_error).count();
            let message = Message {
                tool_count: e.tool_count.into(),
                error_count: failed as u64,
                ms: e.tools.iter().map(|tool| tool.ms).fold(0, u64::saturating_add),
                ..Message::of(MessageKind::Results)
            };
            add(e.target, e.thread, e.turn, message)
        }
        Event::ChecksRan(e) if e.answers_finish => judge(connection, told, e.target),
        Event::DiffReviewed(e) if e.answers_finish => judge(connection, told, e.target),
        Event::ChangesRequested(e) => judge(connection, told, e.0.target),
        _ => Ok(()),
    }
}

fn settle(connection: &Connection, sums: &Sums) -> rusqlite::Result<()> {
    let mut update = connection.prepare_cached(
        "UPDATE threads SET turn_count = turn_count + ?4, latest_stop = ?5
         WHERE job = ?1 AND target = ?2 AND thread = ?3",
    )?;
    for ((job, target, thread), new) in &sums.threads.0 {
        if let (count @ 1.., Some(stop)) = (new.response_count, new.latest_stop) {
            update
                .execute(params![Id(*job), target.0, thread.0, count, Word(stop)])
                .and_then(one)?;
        }
    }
    Ok(())
}

fn insert(
    connection: &Connection,
    told: &Told<'_>,
    started: &ThreadStarted,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT INTO threads VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 0, NULL)")?
        .execute(params![
            Id(told.job),
            started.target.0,
            started.thread.0,
            Word(started.purpose),
            started.parent.map(|parent| parent.0),
            started.round.0,
            started.model,
            started.tree.as_bytes(),
            told.position(),
        ])
        .and_then(one)
}

/// What is added to a conversation, besides its place.
struct Message {
    kind: MessageKind,
    in_history: bool,
    tool_count: u64,
    error_count: u64,
    ms: u64,
}

impl Message {
    fn of(kind: MessageKind) -> Self {
        Self { kind, in_history: true, tool_count: 0, error_count: 0, ms: 0 }
    }
}

fn add(
    connection: &Connection,
    told: &Told<'_>,
    target: TargetNumber,
    thread: ThreadNumber,
    turn: TurnNumber,
    message: Message,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT INTO messages VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)")?
        .execute(params![
            Id(told.job),
            target.0,
            thread.0,
            told.position(),
            turn.0,
            Word(message.kind),
            message.in_history,
            message.tool_count.cast_signed(),
            message.error_count.cast_signed(),
            message.ms.cast_signed(),
        ])
        .and_then(one)
}

/// A judgement answers the `finish` of the conversation that makes the change.
fn judge(connection: &Connection, told: &Told<'_>, target: TargetNumber) -> rusqlite::Result<()> {
    let (thread, turn) = connection
        .prepare_cached(
            // Crossed, so that SQLite looks up the last message of each conversation and no other.
            "SELECT thread, turn FROM threads CROSS JOIN messages USING (job, target, thread)
             WHERE job = ?1 AND target = ?2 AND purpose <> ?3 AND messages.position = (
                 SELECT MAX(position) FROM messages AS said
                 WHERE said.job = ?1 AND said.target = ?2 AND said.thread = threads.thread
             )
             ORDER BY messages.position DESC LIMIT 1",
        )?
        .query_row(params![Id(told.job), target.0, Word(Purpose::Review)], |row| {
            Ok((ThreadNumber(row.get(0)?), TurnNumber(row.get(1)?)))
        })?;
    add(connection, told, target, thread, turn, Message::of(MessageKind::Judgement))
}

/// The conversations of a target, in the order of their numbers.
pub fn of_target(
    connection: &Connection,
    job: JobId,
    target: TargetNumber,
) -> rusqlite::Result<Vec<ThreadRow>> {
    connection
        .prepare_cached(
            "SELECT target, thread, purpose, parent, round, model, tree, started_position,
                 turn_count, latest_stop
             FROM threads WHERE job = ?1 AND target = ?2 ORDER BY thread",
        )?
        .query_map(params![Id(job), target.0], read)?
        .collect()
}

/// Responses in the conversations that make the change of a target.
pub fn turn_count(
    connection: &Connection,
    job: JobId,
    target: TargetNumber,
) -> rusqlite::Result<u64> {
    connection
        .prepare_cached(
            "SELECT COALESCE(SUM(turn_count), 0) FROM threads
             WHERE job = ?1 AND target = ?2 AND purpose <> ?3",
        )?
        .query_row(params![Id(job), target.0, Word(Purpose::Review)], |row| count(row, 0))
}

/// Up to `limit` messages of a conversation after the position `after`, in order.
pub fn messages(
    connection: &Connection,
    job: JobId,
    target: TargetNumber,
    thread: ThreadNumber,
    after: u64,
    limit: u32,
) -> rusqlite::Result<Vec<MessageRow>> {
    connection
        .prepare_cached(
            "SELECT position, turn, kind, in_history, tool_count, error_count, ms FROM messages
             WHERE job = ?1 AND target = ?2 AND thread = ?3 AND position > ?4
             ORDER BY position LIMIT ?5",
        )?
        .query_map(params![Id(job), target.0, thread.0, after.cast_signed(), limit], |row| {
            Ok(MessageRow {
                position: count(row, 0)?,
                turn: TurnNumber(row.get(1)?),
                kind: word(row, 2)?,
                in_history: row.get(3)?,
                tool_count: count(row, 4)?,
                error_count: count(row, 5)?,
                ms: count(row, 6)?,
            })
        })?
        .collect()
}

fn read(row: &Row<'_>) -> rusqlite::Result<ThreadRow> {
    Ok(ThreadRow {
        target: TargetNumber(row.get(0)?),
        thread: ThreadNumber(row.get(1)?),
        purpose: word(row, 2)?,
        parent: row.get::<_, Option<u32>>(3)?.map(ThreadNumber),
        round: count(row, 4)?,
        model: row.get(5)?,
        tree: object(row, 6)?,
        started_position: count(row, 7)?,
        turn_count: count(row, 8)?,
        latest_stop: word_or_none(row, 9)?,
    })
}
