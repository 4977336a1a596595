//! The one writer: a thread that drains a bounded queue into one transaction after another.
//!
//! Each command has a savepoint of its own, so a conflict undoes only itself, and is answered only
//! after the commit. If the commit fails, every command of the batch fails. The thread keeps nothing
//! in memory about the log: each transaction begins by reading the head, so a commit that failed in
//! doubt cannot leave it with a wrong idea.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use cody_events::digest::Sha256;
use cody_events::time::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior};
use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};

use super::append::Prepared;
use super::commits::Commits;
use super::failure::log_error;
use super::{Appended, Head, LogError};
use crate::clock::Clock;

/// The most commands that share a commit.
const MAX_BATCH: usize = 256;
/// The longest that a commit waits for more commands to share it.
const MAX_GATHERING: Duration = Duration::from_millis(2);
/// How often it looks meanwhile.
const GATHERING_STEP: Duration = Duration::from_micros(50);
/// How long the writer has nothing to do before it copies the WAL into the file.
const IDLE: Duration = Duration::from_millis(200);
/// Pages of the WAL that are copied into the file at the latest, idle or not (16 MiB).
const CHECKPOINT_PAGES: u32 = 4_096;

/// What the writer does for a small table beside the log.
type SideWork = Box<dyn FnOnce(&Connection) -> rusqlite::Result<()> + Send>;

/// A wish to the writer, and whom to answer.
pub(super) enum Request {
    Append(Box<Prepared>, oneshot::Sender<Result<Appended, LogError>>),
    /// Work inside the batch's transaction, answered when that is committed or failed.
    Side(SideWork, oneshot::Sender<Result<(), LogError>>),
}

/// A wish with its place in the bounded queue.
pub(super) struct Message {
    pub request: Request,
    pub place: OwnedSemaphorePermit,
}

pub(super) struct Writer {
    pub connection: Connection,
    pub queue: Receiver<Message>,
    pub clock: Arc<dyn Clock>,
    pub epoch: u64,
    pub tell_head: watch::Sender<Head>,
    pub pace: Pace,
    pub commits: Arc<Commits>,
}

/// The batch before: how many commands it had, and how long they took.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pace {
    count: usize,
    took: Duration,
}

/// The end of the log as the file has it.
#[derive(Debug, Clone, Copy)]
pub(super) struct HeadState {
    pub head: Head,
    pub recorded_at: Timestamp,
}

impl HeadState {
    /// Reads the head from the file.
    pub fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let head = connection
            .prepare_cached(
                "SELECT position, log_hash, recorded_at FROM events ORDER BY position DESC LIMIT 1",
            )?
            .query_row([], |row| {
                Ok(Self {
                    head: Head {
                        position: row.get::<_, i64>(0)?.cast_unsigned(),
                        log_hash: Sha256(row.get(1)?),
                    },
                    recorded_at: Timestamp(row.get(2)?),
                })
            })
            .optional()?;
        Ok(head.unwrap_or(Self {
            head: Head { position: 0, log_hash: Sha256::ZERO },
            recorded_at: Timestamp(0),
        }))
    }
}

/// An answer that waits for its commit; what it is called with replaces it.
type Answer = Box<dyn FnOnce(Option<&LogError>)>;

impl Writer {
    /// Serves the queue until all its senders are gone.
    pub fn run(mut self) {
        let limit = self.connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES);
        if let Err(error) = limit {
            tracing::warn!(%error, "the WAL is copied at SQLite's own pace");
        }
        let mut is_copied = true;
        loop {
            let first = match is_copied {
                true => self.queue.recv().map_err(RecvTimeoutError::from),
                false => self.queue.recv_timeout(IDLE),
            };
            match first {
                Ok(first) => {
                    self.serve(first);
                    is_copied = false;
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.checkpoint();
                    is_copied = true;
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// One batch, one transaction, then the answers.
    fn serve(&mut self, first: Message) {
        let batch = self.gather(first);
        let (count, began) = (batch.len(), Instant::now());
        let mut answers = Vec::with_capacity(batch.len());
        let mut requests = batch.into_iter().map(|message| {
            drop(message.place);
            message.request
        });
        let failure = match self.transact(&mut requests, &mut answers) {
            Ok(head) => {
                // Before the answers, so that who got one sees a head that holds it.
                self.tell_head.send_if_modified(|told| {
                    let is_new = *told != head;
                    *told = head;
                    is_new
                });
                None
            }
            Err(error) => {
                tracing::error!(%error, "the log could not commit");
                Some(log_error(&error))
            }
        };
        // Whoever a failed batch did not reach is told the same as the others.
        let late = LogError::Unavailable("an earlier command of the batch failed".to_owned());
        answers.extend(requests.map(|request| match request {
            Request::Append(_, reply) => answer(reply, Err(late.clone())),
            Request::Side(_, reply) => answer(reply, Err(late.clone())),
        }));
        self.pace = Pace { count, took: began.elapsed() };
        self.commits.note(self.pace.took, failure.is_some());
        for answer in answers {
            answer(failure.as_ref());
        }
    }

    /// What shares a commit with `first`: all that waits, and for a small part of the time that the
    /// commit before took, what those who waited for that one ask next. Without this, half of them
    /// come just too late and wait for two commits.
    fn gather(&self, first: Message) -> Vec<Message> {
        let mut batch = vec![first];
        let until = Instant::now() + (self.pace.took / 4).min(MAX_GATHERING);
        while batch.len() < MAX_BATCH {
            let next = match self.queue.try_recv() {
                Ok(message) => message,
                // Not woken by each that comes, which would cost more than the waiting gains.
                Err(TryRecvError::Empty)
                    if batch.len() < self.pace.count && Instant::now() < until =>
                {
                    std::thread::sleep(GATHERING_STEP);
                    continue;
                }
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            };
            batch.push(next);
        }
        batch
    }

    /// Carries out `requests` in one transaction; gives the head that it committed.
    fn transact(
        &mut self,
        requests: &mut dyn Iterator<Item = Request>,
        answers: &mut Vec<Answer>,
    ) -> rusqlite::Result<Head> {
        if !self.connection.is_autocommit() {
            // An earlier batch failed, and undoing it did, too. It may not stop all that come after.
            self.connection.execute_batch("ROLLBACK")?;
        }
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let current_epoch = transaction
            .prepare_cached("SELECT epoch FROM writer_epoch")?
            .query_row([], |row| row.get::<_, i64>(0))?
            .cast_unsigned();
        let mut head = HeadState::read(&transaction)?;
        for request in requests {
            match request {
                Request::Append(_, reply) if current_epoch != self.epoch => {
                    answers.push(answer(reply, Ok(Appended::Fenced { current_epoch })));
                }
                Request::Append(prepared, reply) => {
                    let now = self.clock.now();
                    let mut next = head;
                    let done = apart(&transaction, |connection| {
                        prepared.write(connection, &mut next, now)
                    });
                    if let Ok(Ok(_)) = done {
                        head = next;
                    }
                    answers.push(answer_or_fail(reply, done)?);
                }
                Request::Side(work, reply) => {
                    let done = apart(&transaction, |connection| work(connection).map(Ok));
                    answers.push(answer_or_fail(reply, done)?);
                }
            }
        }
        transaction.commit()?;
        Ok(head.head)
    }

    /// Copies the WAL into the file, as far as readers let it.
    fn checkpoint(&self) {
        let copied = self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
        if let Err(error) = copied {
            tracing::debug!(%error, "the WAL is copied another time");
        }
    }
}

/// Runs `work` in a savepoint of its own, undone unless it is done. An error is given back only if
/// the whole transaction cannot go on.
fn apart<T>(
    transaction: &Transaction<'_>,
    work: impl FnOnce(&Connection) -> rusqlite::Result<Result<T, LogError>>,
) -> rusqlite::Result<Result<T, LogError>> {
    // Prepared once: parsing these three costs more than running them.
    let run = |statement: &str| transaction.prepare_cached(statement)?.execute([]);
    let undo = || {
        run("ROLLBACK TO command")?;
        run("RELEASE command")
    };
    run("SAVEPOINT command")?;
    match work(transaction) {
        Ok(Ok(done)) => {
            run("RELEASE command")?;
            Ok(Ok(done))
        }
        Ok(Err(refused)) => {
            undo()?;
            Ok(Err(refused))
        }
        // After some errors SQLite has undone everything, and no transaction is left to go on with.
        Err(error) if is_fatal(&error) || transaction.is_autocommit() => Err(error),
        Err(error) => {
            undo()?;
            Ok(Err(log_error(&error)))
        }
    }
}

/// The answer that waits for the commit, or, when there will be none, an error; `reply` is told.
fn answer_or_fail<T: 'static>(
    reply: oneshot::Sender<Result<T, LogError>>,
    done: rusqlite::Result<Result<T, LogError>>,
) -> rusqlite::Result<Answer> {
    match done {
        Ok(done) => Ok(answer(reply, done)),
        Err(error) => {
            answer(reply, Err(log_error(&error)))(None);
            Err(error)
        }
    }
}

fn answer<T: 'static>(
    reply: oneshot::Sender<Result<T, LogError>>,
    done: Result<T, LogError>,
) -> Answer {
    Box::new(move |failure| {
        // An asker that went away has no use for the answer.
        let _ = reply.send(failure.map_or(done, |error| Err(error.clone())));
    })
}

/// Whether the rest of the batch would fail the same way.
fn is_fatal(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode;
    matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::DiskFull
                | ErrorCode::SystemIoFailure
                | ErrorCode::ReadOnly
                | ErrorCode::CannotOpen
                | ErrorCode::DatabaseCorrupt
                | ErrorCode::NotADatabase
                | ErrorCode::OutOfMemory
        )
    )
}
