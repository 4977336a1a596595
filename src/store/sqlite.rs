//! The log in one SQLite file: one writing connection on a thread of its own, and a few reading
//! ones that are used on blocking threads.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use cody_events::digest::Sha256;
use cody_events::envelope::Recorded;
use cody_events::hash::event_hash;
use cody_events::ids::EventId;
use rusqlite::{Connection, OptionalExtension as _, params};
use tokio::sync::{Semaphore, oneshot, watch};

use super::append::{Prepared, find_key};
use super::commits::Commits;
use super::failure::DamagedRow;
use super::lock::{DirectoryLock, LockError};
use super::payload::Stored;
use super::readers::{self, Readers, as_limit, closed, read_log};
use super::subscription::{Cursor, Subscription};
use super::writer::{HeadState, Message, Pace, Request, Writer};
use super::{Append, Appended, Head, Log, LogError, UsedKey, row, schema};
use crate::clock::Clock;
use crate::entropy::Entropy;

/// The name of the log's file in the data directory.
pub const FILE: &str = "log.db";
/// Commands that may wait for the writer; further ones make their askers wait.
const MAX_WAITING: usize = 1024;
/// How long an asker waits for a place in the queue before it is refused, with nothing added.
const MAX_QUEUE_WAIT: Duration = Duration::from_secs(10);
/// Payloads of more bytes are packed on a thread that may take its time.
const MAX_INLINE_BYTES: usize = 64 * 1024;

/// Why the log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error("{path} cannot be used as the log: {source}")]
    Schema { path: PathBuf, source: schema::SchemaError },
    #[error("{path} may not be written by this user; check its owner, mode and mount")]
    Closed {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("there is no log in {0} yet; start a job first, or set CODY_DATA_DIR")]
    Missing(PathBuf),
}

/// A log kept in a data directory. Dropping it waits until what was sent to it is on disk.
#[derive(Debug)]
pub struct SqliteLog {
    readers: Readers,
    /// Nothing if the log was opened for reading only.
    writer: Option<WriterHandle>,
    entropy: Option<Arc<dyn Entropy>>,
    head: watch::Receiver<Head>,
    epoch: u64,
    commits: Arc<Commits>,
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

impl SqliteLog {
    /// Opens every reading connection that there may be, for a server that is to be at work for long.
    pub async fn open_readers(&self) -> Result<(), LogError> {
        self.readers.open_all().await
    }

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
        check_writable(dir)?;
        let failed = |source| OpenError::Schema { path: path.clone(), source };
        let mut connection = Connection::open(&path).map_err(|error| failed(error.into()))?;
        schema::prepare(&mut connection).map_err(failed)?;
        let (epoch, head) = open_epoch(&connection).map_err(|error| failed(error.into()))?;
        let (tell_head, watch_head) = watch::channel(head.head);
        let (sender, queue) = channel();
        let commits = Arc::new(Commits::default());
        let writer = Writer {
            connection,
            queue,
            clock,
            epoch,
            tell_head,
            pace: Pace::default(),
            commits: Arc::clone(&commits),
        };
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
            readers: Readers::new(path),
            writer: Some(writer),
            entropy: Some(entropy),
            head: watch_head,
            epoch,
            commits,
        })
    }

    /// Opens the log in `dir` for reading, also while another process writes it.
    pub fn open_to_read(dir: &Path) -> Result<Self, OpenError> {
        let path = dir.join(FILE);
        if !path.exists() {
            return Err(OpenError::Missing(dir.to_owned()));
        }
        let failed = |source| OpenError::Schema { path: path.clone(), source };
        let connection = readers::open(&path).map_err(|error| failed(error.into()))?;
        schema::recognise(&connection).map_err(failed)?;
        let head = HeadState::read(&connection).map_err(|error| failed(error.into()))?;
        let (_, watch_head) = watch::channel(head.head);
        Ok(Self {
            readers: Readers::new(path),
            writer: None,
            entropy: None,
            head: watch_head,
            epoch: 0,
            commits: Arc::default(),
        })
    }

    /// The epoch of this opening; a later one fences this log's appends.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// How its commits fare.
    pub fn commits(&self) -> &Commits {
        &self.commits
    }

    /// Commands that wait for the writer.
    pub fn waiting(&self) -> usize {
        let places = self.writer.as_ref().map(|writer| writer.places.available_permits());
        places.map_or(0, |places| MAX_WAITING.saturating_sub(places))
    }

    /// Writes something that changes nothing, to find out whether the disk takes it.
    pub async fn probe(&self) -> Result<(), LogError> {
        let probe = "UPDATE writer_epoch SET epoch = epoch";
        self.write(move |connection| connection.execute(probe, [])).await?;
        Ok(())
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
        self.readers.with(work).await
    }

    async fn send(&self, request: Request) -> Result<(), LogError> {
        let writer = self.writer.as_ref().ok_or_else(reads_only)?;
        let place = Arc::clone(&writer.places).acquire_owned();
        let place = tokio::time::timeout(MAX_QUEUE_WAIT, place).await.map_err(|_| behind())?;
        let place = place.map_err(|_| closed())?;
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
        self.read(move |connection| read_stream(connection, &stream, from_version.max(1), limit))
            .await?
            .map_err(LogError::from)
    }

    async fn read_log(&self, after: u64, limit: usize) -> Result<Vec<Recorded>, LogError> {
        self.read(move |connection| read_log(connection, after, limit)).await
    }

    async fn payload(&self, position: u64) -> Result<Option<Vec<u8>>, LogError> {
        self.read(move |connection| {
            let stored = Stored::find(connection, position)?;
            // Unpacked where it was read: a long payload must not hold up other tasks.
            Ok(stored.map(|stored| stored.checked(position)).transpose())
        })
        .await?
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

    async fn find_key(&self, actor: &str, key: &str) -> Result<Option<UsedKey>, LogError> {
        let (actor, key) = (actor.to_owned(), key.to_owned());
        self.read(move |connection| find_key(connection, &actor, &key)).await
    }

    fn subscribe(&self, cursor: Cursor) -> Subscription {
        Subscription::new(cursor, Arc::new(self.readers.clone()), self.head.clone())
    }
}

/// The version of SQLite that is built in.
pub fn library_version() -> &'static str {
    rusqlite::version()
}

/// Events of one stream, each checked against its hash: what is decided on is what was written.
fn read_stream(
    connection: &Connection,
    stream: &str,
    from_version: u64,
    limit: usize,
) -> rusqlite::Result<Result<Vec<Recorded>, DamagedRow>> {
    let sql = format!(
        "SELECT {} FROM events WHERE stream = ?1 AND version >= ?2 ORDER BY version LIMIT ?3",
        row::COLUMNS
    );
    let mut previous = match from_version {
        1 => Sha256::ZERO,
        // Nothing is there to be checked if the event before is not.
        _ => row::stream_hash(connection, stream, from_version - 1)?.unwrap_or(Sha256::ZERO),
    };
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params![stream, from_version.cast_signed(), as_limit(limit)])?;
    let mut events = Vec::new();
    while let Some(row) = rows.next()? {
        let event = row::read(row)?;
        if event_hash(&previous, &event) != event.event_hash {
            let what = "its hash does not fit its content".to_owned();
            return Ok(Err(DamagedRow { position: event.position, what }));
        }
        previous = event.event_hash;
        events.push(event);
    }
    Ok(Ok(events))
}

/// Counts the opening, so that an earlier one that still lives is fenced.
fn open_epoch(connection: &Connection) -> rusqlite::Result<(u64, HeadState)> {
    connection.execute("UPDATE writer_epoch SET epoch = epoch + 1", [])?;
    let epoch: i64 =
        connection.query_row("SELECT epoch FROM writer_epoch", [], |row| row.get(0))?;
    Ok((epoch.cast_unsigned(), HeadState::read(connection)?))
}

fn reads_only() -> LogError {
    LogError::Unavailable("this process opened the log for reading only".to_owned())
}

fn behind() -> LogError {
    LogError::Unavailable(format!(
        "{MAX_WAITING} commands wait for the disk and none was done in {} s, so nothing was added \
         (see what keeps the disk of the data directory busy)",
        MAX_QUEUE_WAIT.as_secs()
    ))
}

/// Fails if something in `dir` may not be written. SQLite would open the file for reading, and leave
/// companions behind that nobody can write after the modes were mended.
fn check_writable(dir: &Path) -> Result<(), OpenError> {
    let companions = ["", "-wal", "-shm"].map(|suffix| dir.join(format!("{FILE}{suffix}")));
    for path in std::iter::once(dir.to_owned()).chain(companions) {
        match rustix::fs::access(&path, rustix::fs::Access::WRITE_OK) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => {}
            Err(error) => return Err(OpenError::Closed { path, source: error.into() }),
        }
    }
    Ok(())
}

/// Makes `dir` readable by its owner alone, if it is not there yet.
fn make_private(dir: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    let is_missing = |dir: &&Path| !dir.as_os_str().is_empty() && !dir.exists();
    let missing: Vec<&Path> = dir.ancestors().take_while(is_missing).collect();
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    // SQLite syncs the names in the directory; that of the directory itself is ours to sync, or a
    // power cut could take it with all that was acknowledged.
    for made in missing {
        let parent = made.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
