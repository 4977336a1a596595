//! The log in one SQLite file: one writing connection on a thread of its own, and a few reading
//! ones that are used on blocking threads.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use async_trait::async_trait;
use cody_events::envelope::Recorded;
use cody_events::ids::EventId;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, params};
use tokio::sync::{Semaphore, oneshot, watch};

use super::append::Prepared;
use super::lock::{DirectoryLock, LockError};
use super::payload::Stored;
use super::subscription::{Cursor, ReadPages, Subscription};
use super::writer::{HeadState, Message, Request, Writer, unavailable};
use super::{Append, Appended, Head, Log, LogError, row, schema};
use crate::clock::Clock;
use crate::entropy::Entropy;

/// The name of the log's file in the data directory.
pub const FILE: &str = "log.db";
/// Reading connections that are kept open for the next reader.
const MAX_IDLE_READERS: usize = 4;
/// Commands that may wait for the writer; further ones make their askers wait.
const MAX_WAITING: usize = 1024;
/// Payloads of more bytes are packed on a thread that may take its time.
const MAX_INLINE_BYTES: usize = 64 * 1024;

/// Why the log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error("{path} cannot be used as the log: {source}")]
    Schema { path: PathBuf, source: schema::SchemaError },
    #[error("there is no log in {0} yet; start a job first, or set CODY_DATA_DIR")]
    Missing(PathBuf),
}

/// A log kept in a data directory. Dropping it waits until what was sent to it is on disk.
#[derive(Debug)]
pub struct SqliteLog {
    readers: Arc<Readers>,
    /// Nothing if the log was opened for reading only.
    writer: Option<WriterHandle>,
    entropy: Option<Arc<dyn Entropy>>,
    head: watch::Receiver<Head>,
    epoch: u64,
}

/// The writer's thread and the way to it.
#[derive(Debug)]
struct WriterHandle {
    /// Nothing only while the thread is being ended.
    queue: Option<Sender<Message>>,
    /// What bounds the queue.
    places: Arc<Semaphore>,
    thread: Option<JoinHandle<()>>,
    /// Held until the thread has ended.
    _lock: DirectoryLock,
}

/// Reading connections, made when needed.
#[derive(Debug)]
struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

impl SqliteLog {
    /// Opens the log in `dir` for writing, with a new epoch; the directory is made if it is missing.
    pub fn open(
        dir: &Path,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, OpenError> {
        let io = |source| LockError::Io { dir: dir.to_owned(), source };
        make_private(dir).map_err(io)?;
        let lock = DirectoryLock::take(dir)?;
        let path = dir.join(FILE);
        let failed = |source| OpenError::Schema { path: path.clone(), source };
        let mut connection = Connection::open(&path).map_err(|error| failed(error.into()))?;
        schema::prepare(&mut connection).map_err(failed)?;
        let (epoch, head) = open_epoch(&connection).map_err(|error| failed(error.into()))?;
        let (tell_head, watch_head) = watch::channel(head.head);
        let (sender, queue) = channel();
        let writer = Writer { connection, queue, clock, epoch, tell_head };
        let thread = std::thread::Builder::new()
            .name("log-writer".to_owned())
            .spawn(move || writer.run())
            .map_err(io)?;
        let writer = WriterHandle {
            queue: Some(sender),
            places: Arc::new(Semaphore::new(MAX_WAITING)),
            thread: Some(thread),
            _lock: lock,
        };
        Ok(Self {
            readers: Arc::new(Readers { path, idle: Mutex::default() }),
            writer: Some(writer),
            entropy: Some(entropy),
            head: watch_head,
            epoch,
        })
    }

    /// Opens the log in `dir` for reading, also while another process writes it.
    pub fn open_to_read(dir: &Path) -> Result<Self, OpenError> {
        let path = dir.join(FILE);
        if !path.exists() {
            return Err(OpenError::Missing(dir.to_owned()));
        }
        let readers = Readers { path: path.clone(), idle: Mutex::default() };
        let failed = |source| OpenError::Schema { path: path.clone(), source };
        let connection = readers.open().map_err(|error| failed(error.into()))?;
        schema::recognise(&connection).map_err(failed)?;
        let head = HeadState::read(&connection).map_err(|error| failed(error.into()))?;
        let (_, watch_head) = watch::channel(head.head);
        Ok(Self {
            readers: Arc::new(readers),
            writer: None,
            entropy: None,
            head: watch_head,
            epoch: 0,
        })
    }

    /// The epoch of this opening; a later one fences this log's appends.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Runs `work` on the writer's connection, inside its next commit, for a side table.
    pub(super) async fn write<R, W>(&self, work: W) -> Result<R, LogError>
    where
        R: Send + 'static,
        W: FnOnce(&Connection) -> rusqlite::Result<R> + Send + 'static,
    {
        let (keep, kept) = oneshot::channel();
        let side = move |connection: &Connection| {
            let value = work(connection)?;
            // The receiver waits in this very function.
            let _ = keep.send(value);
            Ok(())
        };
        let (reply, answer) = oneshot::channel();
        self.send(Request::Side(Box::new(side), reply)).await?;
        answer.await.map_err(|_| closed())??;
        kept.await.map_err(|_| closed())
    }

    /// Runs `work` on a reading connection.
    pub(super) async fn read<R, W>(&self, work: W) -> Result<R, LogError>
    where
        R: Send + 'static,
        W: FnOnce(&Connection) -> rusqlite::Result<R> + Send + 'static,
    {
        let readers = Arc::clone(&self.readers);
        tokio::task::spawn_blocking(move || readers.with(work).map_err(|error| unavailable(&error)))
            .await
            .map_err(|_| closed())?
    }

    async fn send(&self, request: Request) -> Result<(), LogError> {
        let writer = self.writer.as_ref().ok_or_else(reads_only)?;
        let place = Arc::clone(&writer.places).acquire_owned().await.map_err(|_| closed())?;
        let queue = writer.queue.as_ref().ok_or_else(closed)?;
        queue.send(Message { request, place }).map_err(|_| closed())
    }
}

impl Drop for WriterHandle {
    fn drop(&mut self) {
        self.queue = None;
        // The lock goes only after the last commit, so that the next server finds a quiet file.
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the log's writer had panicked");
        }
    }
}

impl Readers {
    fn with<R>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<R>,
    ) -> rusqlite::Result<R> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => self.open()?,
        };
        let result = work(&connection);
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MAX_IDLE_READERS {
            idle.push(connection);
        }
        result
    }

    fn open(&self) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags)?;
        schema::guard(&connection)?;
        Ok(connection)
    }
}

#[async_trait]
impl ReadPages for Readers {
    async fn page(&self, after: u64, limit: usize) -> Result<Vec<Recorded>, LogError> {
        let path = self.path.clone();
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = tokio::task::spawn_blocking(move || {
            let readers = Readers { path, idle: Mutex::new(idle.into_iter().collect()) };
            let page = readers.with(|connection| read_log(connection, after, limit));
            (page, readers.idle.into_inner().unwrap_or_else(PoisonError::into_inner))
        })
        .await
        .map_err(|_| closed())?;
        let (page, returned) = connection;
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.extend(returned);
        idle.truncate(MAX_IDLE_READERS);
        page.map_err(|error| unavailable(&error))
    }
}

#[async_trait]
impl Log for SqliteLog {
    async fn append(&self, append: Append) -> Result<Appended, LogError> {
        let entropy = self.entropy.clone().ok_or_else(reads_only)?;
        let payloads = append.events.iter().filter_map(|event| event.payload.as_ref());
        let prepared = match payloads.map(Vec::len).sum::<usize>() <= MAX_INLINE_BYTES {
            true => Prepared::new(append, &*entropy),
            false => tokio::task::spawn_blocking(move || Prepared::new(append, &*entropy))
                .await
                .map_err(|_| closed())?,
        }?;
        let (reply, answer) = oneshot::channel();
        self.send(Request::Append(Box::new(prepared), reply)).await?;
        answer.await.map_err(|_| closed())?
    }

    async fn read_stream(
        &self,
        stream: &str,
        from_version: u64,
        limit: usize,
    ) -> Result<Vec<Recorded>, LogError> {
        let stream = stream.to_owned();
        self.read(move |connection| {
            let sql = format!(
                "SELECT {} FROM events WHERE stream = ?1 AND version >= ?2
                 ORDER BY version LIMIT ?3",
                row::COLUMNS
            );
            connection
                .prepare_cached(&sql)?
                .query_map(params![stream, from_version.cast_signed(), as_limit(limit)], row::read)?
                .collect()
        })
        .await
    }

    async fn read_log(&self, after: u64, limit: usize) -> Result<Vec<Recorded>, LogError> {
        self.read(move |connection| read_log(connection, after, limit)).await
    }

    async fn payload(&self, position: u64) -> Result<Option<Vec<u8>>, LogError> {
        let stored = self.read(move |connection| Stored::find(connection, position)).await?;
        stored.map(|stored| stored.plaintext(position)).transpose()
    }

    async fn head(&self) -> Result<Head, LogError> {
        if self.writer.is_some() {
            return Ok(*self.head.borrow());
        }
        self.read(|connection| HeadState::read(connection).map(|state| state.head)).await
    }

    async fn find_event(&self, id: EventId) -> Result<Option<Recorded>, LogError> {
        self.read(move |connection| {
            let sql = format!("SELECT {} FROM events WHERE event_id = ?1", row::COLUMNS);
            connection.prepare_cached(&sql)?.query_row([id.0.as_bytes()], row::read).optional()
        })
        .await
    }

    fn subscribe(&self, cursor: Cursor) -> Subscription {
        let pages: Arc<dyn ReadPages> = Arc::<Readers>::clone(&self.readers);
        Subscription::new(cursor, pages, self.head.clone())
    }
}

/// The version of SQLite that is built in.
pub fn library_version() -> &'static str {
    rusqlite::version()
}

pub(super) fn read_log(
    connection: &Connection,
    after: u64,
    limit: usize,
) -> rusqlite::Result<Vec<Recorded>> {
    let sql = format!(
        "SELECT {} FROM events WHERE position > ?1 ORDER BY position LIMIT ?2",
        row::COLUMNS
    );
    connection
        .prepare_cached(&sql)?
        .query_map(params![after.cast_signed(), as_limit(limit)], row::read)?
        .collect()
}

/// Counts the opening, so that an earlier one that still lives is fenced.
fn open_epoch(connection: &Connection) -> rusqlite::Result<(u64, HeadState)> {
    connection.execute("UPDATE writer_epoch SET epoch = epoch + 1", [])?;
    let epoch: i64 =
        connection.query_row("SELECT epoch FROM writer_epoch", [], |row| row.get(0))?;
    Ok((epoch.cast_unsigned(), HeadState::read(connection)?))
}

fn as_limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

fn reads_only() -> LogError {
    LogError::Unavailable("this process opened the log for reading only".to_owned())
}

fn closed() -> LogError {
    LogError::Unavailable("the log was closed".to_owned())
}

/// Makes `dir` readable by its owner alone, if it is not there yet.
fn make_private(dir: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}
