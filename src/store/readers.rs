//! The log's reading connections: a bounded number, made when needed, used on blocking threads. What
//! is asked is the askers' affair; followers that stand at the same place share one reading.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use cody_events::envelope::Recorded;
use rusqlite::{Connection, OpenFlags, params};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::failure::log_error;
use super::subscription::ReadPages;
use super::{LogError, row, schema};

/// The most that read at the same time, each with a connection and a thread. Others wait their turn:
/// a thousand followers that wake together must not take a thousand of either.
const MAX_READERS: usize = 8;

/// What each of them keeps in memory of a file that it seldom reads twice at the same place. SQLite
/// lends what one does not use to the others, so the sum is what counts.
const CACHE_KIB: i64 = 128;

/// The way to the reading connections of one file.
#[derive(Debug, Clone)]
pub(super) struct Readers(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    places: Arc<Semaphore>,
    idle: Mutex<Vec<Connection>>,
    /// What the follower before got, and after which position. Events never change, so it is the
    /// right answer for whoever stands at the same place.
    latest: Mutex<(u64, Vec<Recorded>)>,
}

impl Readers {
    /// Readers of the file `path`. Nothing is opened yet.
    pub fn new(path: PathBuf) -> Self {
        Self(Arc::new(Shared {
            path,
            places: Arc::new(Semaphore::new(MAX_READERS)),
            idle: Mutex::default(),
            latest: Mutex::default(),
        }))
    }

    /// Runs `work` on a reading connection, on a thread that may take its time.
    pub async fn with<R, W>(&self, work: W) -> Result<R, LogError>
    where
        R: Send + 'static,
        W: FnOnce(&Connection) -> rusqlite::Result<R> + Send + 'static,
    {
        let place = self.place().await?;
        self.with_place(place, work).await
    }

    /// Opens every connection that there may be: a server that is at work opens no more files.
    pub async fn open_all(&self) -> Result<(), LogError> {
        let places = u32::try_from(MAX_READERS).unwrap_or(u32::MAX);
        let places = Arc::clone(&self.0.places).acquire_many_owned(places).await;
        let place = places.map_err(|_| closed())?;
        let shared = Arc::clone(&self.0);
        // The connection at hand is put back beside the others.
        self.with_place(place, move |_| shared.fill(MAX_READERS - 1)).await
    }

    async fn place(&self) -> Result<OwnedSemaphorePermit, LogError> {
        Arc::clone(&self.0.places).acquire_owned().await.map_err(|_| closed())
    }

    async fn with_place<R, W>(&self, place: OwnedSemaphorePermit, work: W) -> Result<R, LogError>
    where
        R: Send + 'static,
        W: FnOnce(&Connection) -> rusqlite::Result<R> + Send + 'static,
    {
        let shared = Arc::clone(&self.0);
        let reading = tokio::task::spawn_blocking(move || {
            // An asker that goes away frees its place only when its reading has ended.
            let _place = place;
            shared.with(work)
        });
        reading.await.map_err(|_| closed())?.map_err(|error| log_error(&error))
    }
}

impl Shared {
    /// Opens connections until so many are idle.
    fn fill(&self, count: usize) -> rusqlite::Result<()> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while idle.len() < count {
            let connection = open(&self.path)?;
            // Its WAL is opened by the first reading.
            connection.query_row("SELECT epoch FROM writer_epoch", [], |_| Ok(()))?;
            idle.push(connection);
        }
        Ok(())
    }

    fn with<R>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<R>,
    ) -> rusqlite::Result<R> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => open(&self.path)?,
        };
        let result = work(&connection);
        // Never more than there are places.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        result
    }

    fn latest(&self, after: u64, limit: usize) -> Option<Vec<Recorded>> {
        let latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let (place, page) = &*latest;
        let fits = *place == after && !page.is_empty();
        fits.then(|| page.iter().take(limit).cloned().collect())
    }
}

#[async_trait]
impl ReadPages for Readers {
    async fn page(&self, after: u64, limit: usize) -> Result<Vec<Recorded>, LogError> {
        // Looked at once it is our turn: whoever woke with us may have read it by then.
        let place = self.place().await?;
        if let Some(page) = self.0.latest(after, limit) {
            return Ok(page);
        }
        let page = self.with_place(place, move |file| read_log(file, after, limit)).await?;
        *self.0.latest.lock().unwrap_or_else(PoisonError::into_inner) = (after, page.clone());
        Ok(page)
    }
}

/// Up to `limit` events after the position `after`.
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

/// A limit as SQLite takes it.
pub(super) fn as_limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

pub(super) fn closed() -> LogError {
    LogError::Unavailable("the log was closed".to_owned())
}

/// A connection that cannot write.
pub(super) fn open(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    schema::guard(&connection)?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    Ok(connection)
}
