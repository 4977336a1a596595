//! The log in one SQLite file: one writing connection on a thread of its own, and a few reading
//! ones that are used on blocking threads.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use cody_events::envelope::Recorded;
use cody_events::ids::EventId;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, params};
use tokio::sync::{oneshot, watch};

use super::lock::{DirectoryLock, LockError};
use super::subscription::{Cursor, ReadPages, Subscription};
use super::writer::{
    CODEC_PLAIN, CODEC_ZSTD, HeadState, Message, QUEUE, Sender, Writer, unavailable,
};
use super::{Append, Appended, Head, Log, LogError, row, schema};
use crate::clock::Clock;
use crate::entropy::Entropy;

/// The name of the log's file in the data directory.
pub const FILE: &str = "log.db";
/// Reading connections that are kept open for the next reader.
const MAX_IDLE_READERS: usize = 4;
/// The largest payload that a damaged row may make us allocate for.
const MAX_PAYLOAD_BYTES: u64 = 1 << 32;

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

/// A log kept in a data directory.
#[derive(Debug)]
pub struct SqliteLog {
    readers: Arc<Readers>,
    /// Nothing if the log was opened for reading only.
    writer: Option<Sender>,
    head: watch::Receiver<Head>,
    epoch: u64,
    /// Held as long as this log may write.
    _lock: Option<DirectoryLock>,
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
        make_private(dir).map_err(|source| LockError::Io { dir: dir.to_owned(), source })?;
        let lock = DirectoryLock::take(dir)?;
        let path = dir.join(FILE);
        let failed = |source| OpenError::Schema { path: path.clone(), source };
        let mut connection = Connection::open(&path).map_err(|error| failed(error.into()))?;
        schema::prepare(&mut connection).map_err(failed)?;
        let (epoch, head) = open_epoch(&connection).map_err(|error| failed(error.into()))?;
        let (tell_head, watch_head) = watch::channel(head.head);
        let (sender, queue) = sync_channel(QUEUE);
        let writer = Writer { connection, queue, clock, entropy, epoch, head, tell_head };
        std::thread::Builder::new()
            .name("log-writer".to_owned())
            .spawn(move || writer.run())
            .map_err(|source| LockError::Io { dir: dir.to_owned(), source })?;
        Ok(Self {
            readers: Arc::new(Readers { path, idle: Mutex::default() }),
            writer: Some(sender),
            head: watch_head,
            epoch,
            _lock: Some(lock),
        })
    }

    /// Opens the log in `dir` for reading, also while another process writes it.
    pub fn open_to_read(dir: &Path) -> Result<Self, OpenError> {
        let path = dir.join(FILE);
        if !path.exists() {
            return Err(OpenError::Missing(dir.to_owned()));
        }
        let readers = Readers { path: path.clone(), idle: Mutex::default() };
        let head = readers
            .with(HeadState::read)
            .map_err(|error| OpenError::Schema { path, source: error.into() })?;
        let (_, watch_head) = watch::channel(head.head);
        Ok(Self {
            readers: Arc::new(readers),
            writer: None,
            head: watch_head,
            epoch: 0,
            _lock: None,
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
        self.send(Message::Side(Box::new(side), reply)).await?;
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

    async fn send(&self, message: Message) -> Result<(), LogError> {
        let writer = self.writer.as_ref().ok_or_else(|| {
            LogError::Unavailable("this process opened the log for reading only".to_owned())
        })?;
        match writer.try_send(message) {
            Ok(()) => Ok(()),
            Err(TrySendError::Disconnected(_)) => Err(closed()),
            Err(TrySendError::Full(message)) => {
                // The queue is full: the asker waits on a thread that may block.
                let writer = writer.clone();
                tokio::task::spawn_blocking(move || writer.send(message).map_err(|_| closed()))
                    .await
                    .map_err(|_| closed())?
            }
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
        let (reply, answer) = oneshot::channel();
        self.send(Message::Append(Box::new(append), reply)).await?;
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
        let stored = self.read(move |connection| stored_payload(connection, position)).await?;
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

/// A payload's row.
pub(super) struct StoredPayload {
    pub codec: i64,
    pub salt: Vec<u8>,
    pub bytes: Vec<u8>,
    pub length: u64,
}

impl StoredPayload {
    /// The bytes that were given.
    pub fn plaintext(self, position: u64) -> Result<Vec<u8>, LogError> {
        let damaged =
            |what: String| LogError::Damaged { place: format!("payload {position}"), what };
        match self.codec {
            CODEC_PLAIN => Ok(self.bytes),
            CODEC_ZSTD => {
                let capacity = usize::try_from(self.length.min(MAX_PAYLOAD_BYTES))
                    .map_err(|error| damaged(error.to_string()))?;
                zstd::bulk::decompress(&self.bytes, capacity)
                    .map_err(|error| damaged(error.to_string()))
            }
            codec => Err(damaged(format!("codec {codec} is unknown"))),
        }
    }
}

pub(super) fn stored_payload(
    connection: &Connection,
    position: u64,
) -> rusqlite::Result<Option<StoredPayload>> {
    connection
        .prepare_cached(
            "SELECT p.codec, p.salt, p.bytes, e.payload_len FROM payloads p
             JOIN events e ON e.position = p.position WHERE p.position = ?1",
        )?
        .query_row([position.cast_signed()], |row| {
            Ok(StoredPayload {
                codec: row.get(0)?,
                salt: row.get(1)?,
                bytes: row.get(2)?,
                length: row.get::<_, Option<i64>>(3)?.unwrap_or(0).cast_unsigned(),
            })
        })
        .optional()
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

fn closed() -> LogError {
    LogError::Unavailable("the log was closed".to_owned())
}

/// Makes `dir` readable by its owner alone, if it is not there yet.
fn make_private(dir: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}
