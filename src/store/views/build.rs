//! One build of the views as a file: a connection that writes it, and some that read it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use cody_events::envelope::Recorded;
use cody_projections::build::{self, Checkpoint};
use rusqlite::{Connection, OpenFlags};

use super::ViewsError;
use crate::store::schema;

/// Reading connections that are kept open for the next reader.
const MAX_IDLE_READERS: usize = 4;
/// Statements that a connection keeps prepared: those of all projections, and the usual questions.
const MAX_STATEMENTS: usize = 128;

/// What is kept of a build in memory while it is made, and while it follows the log.
const MAKING_CACHE_KIB: i64 = 16 * 1024;
const FOLLOWING_CACHE_KIB: i64 = 512;
/// What each of its readers keeps.
const READING_CACHE_KIB: i64 = 256;

/// One build.
#[derive(Debug)]
pub(super) struct Build {
    pub generation: u64,
    path: PathBuf,
    /// Whether readers open connections of their own; a build in memory has but one.
    is_file: bool,
    /// What writes, or the only connection there is.
    main: Mutex<Connection>,
    idle: Mutex<Vec<Connection>>,
    is_superseded: AtomicBool,
}

impl Build {
    /// Creates the empty build `path`.
    pub fn create(path: &Path, generation: u64) -> Result<Self, ViewsError> {
        let made = |path: &Path| {
            let mut connection = Connection::open(path)?;
            // A build that is cut short is thrown away, so nothing is kept for the case.
            connection.pragma_update(None, "journal_mode", "memory")?;
            connection.pragma_update(None, "synchronous", "off")?;
            connection.pragma_update(None, "cache_size", -MAKING_CACHE_KIB)?;
            spare(&connection)?;
            build::create(&mut connection)?;
            Ok(connection)
        };
        let connection = made(path).map_err(|source| failed(path, source))?;
        Ok(Self::new(connection, path, generation, true))
    }

    /// A build that was made is on the disk and follows the log from now on, for which it needs less
    /// memory.
    pub fn settle(&self) -> Result<(), ViewsError> {
        let main = self.main.lock().unwrap_or_else(PoisonError::into_inner);
        File::open(&self.path)
            .and_then(|file| file.sync_all())
            .map_err(|source| ViewsError::Io { path: self.path.clone(), source })?;
        follow(&main)
            .and_then(|()| main.execute_batch("PRAGMA shrink_memory"))
            .map_err(|source| failed(&self.path, source))
    }

    /// Opens the build `path` to go on with it.
    pub fn open(path: &Path, generation: u64) -> Result<Self, ViewsError> {
        let connection = open_to_write(path).map_err(|source| failed(path, source))?;
        Ok(Self::new(connection, path, generation, true))
    }

    /// Opens the build `path`, which another process may be writing.
    pub fn open_to_read(path: &Path, generation: u64) -> Result<Self, ViewsError> {
        let connection = open_reader(path).map_err(|source| failed(path, source))?;
        Ok(Self::new(connection, path, generation, true))
    }

    /// An empty build that no file has.
    pub fn in_memory() -> Result<Self, ViewsError> {
        let path = PathBuf::from(":memory:");
        let made = || {
            let mut connection = Connection::open_in_memory()?;
            spare(&connection)?;
            build::create(&mut connection)?;
            Ok(connection)
        };
        let connection = made().map_err(|source| failed(&path, source))?;
        Ok(Self::new(connection, &path, 0, false))
    }

    /// The same tables, in memory.
    pub fn copy_to_memory(&self) -> Result<Self, ViewsError> {
        let main = self.main.lock().unwrap_or_else(PoisonError::into_inner);
        let copy = || {
            let mut copy = Connection::open_in_memory()?;
            spare(&copy)?;
            rusqlite::backup::Backup::new(&main, &mut copy)?.step(-1)?;
            Ok(copy)
        };
        let copy = copy().map_err(|source| failed(&self.path, source))?;
        Ok(Self::new(copy, &self.path, self.generation, false))
    }

    fn new(main: Connection, path: &Path, generation: u64, is_file: bool) -> Self {
        Self {
            generation,
            path: path.to_owned(),
            is_file,
            main: Mutex::new(main),
            idle: Mutex::default(),
            is_superseded: AtomicBool::new(false),
        }
    }

    /// Whether today's projections made it. A file that cannot be read was not made by them.
    pub fn is_current(&self) -> bool {
        let main = self.main.lock().unwrap_or_else(PoisonError::into_inner);
        build::is_current(&main).unwrap_or(false)
    }

    pub fn checkpoint(&self) -> Result<Checkpoint, ViewsError> {
        let main = self.main.lock().unwrap_or_else(PoisonError::into_inner);
        build::checkpoint(&main).map_err(|source| failed(&self.path, source))
    }

    /// Applies what is new in `page`.
    pub fn apply(&self, page: &[Recorded]) -> Result<Checkpoint, ViewsError> {
        let mut main = self.main.lock().unwrap_or_else(PoisonError::into_inner);
        build::apply(&mut main, page)
            .map_err(|source| ViewsError::Apply { path: self.path.clone(), source })
    }

    /// Asks the build, in one snapshot.
    pub fn read<R>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<R>,
    ) -> Result<R, ViewsError> {
        let failed = |source| failed(&self.path, source);
        if !self.is_file {
            let main = self.main.lock().unwrap_or_else(PoisonError::into_inner);
            return work(&main).map_err(failed);
        }
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => open_reader(&self.path).map_err(failed)?,
        };
        // Several questions of one reader must see the same state.
        let result = connection.unchecked_transaction().and_then(|snapshot| {
            let result = work(&snapshot)?;
            snapshot.commit()?;
            Ok(result)
        });
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if result.is_ok() && idle.len() < MAX_IDLE_READERS {
            idle.push(connection);
        }
        result.map_err(failed)
    }

    /// Says that another build took its place: the file goes when the last reader is done.
    pub fn supersede(&self) {
        self.is_superseded.store(true, Ordering::Release);
    }
}

impl Drop for Build {
    fn drop(&mut self) {
        if !self.is_superseded.load(Ordering::Acquire) {
            return;
        }
        if let Err(error) = remove(&self.path) {
            tracing::warn!(%error, "the next start removes them");
        }
    }
}

/// Removes a build's files, if there are any.
pub(super) fn remove(path: &Path) -> Result<(), ViewsError> {
    for suffix in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        match std::fs::remove_file(&name) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(source) => return Err(ViewsError::Io { path: name.into(), source }),
        }
    }
    Ok(())
}

fn open_to_write(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    follow(&connection)?;
    spare(&connection)?;
    Ok(connection)
}

/// Sets a connection up to follow the log while others read.
fn follow(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "journal_mode", "wal")?;
    // After a power cut the views may be a little behind the log, and catch up.
    connection.pragma_update(None, "synchronous", "normal")?;
    connection.pragma_update(None, "cache_size", -FOLLOWING_CACHE_KIB)
}

fn spare(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_prepared_statement_cache_capacity(MAX_STATEMENTS);
    schema::spare_work(connection)
}

fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.pragma_update(None, "cache_size", -READING_CACHE_KIB)?;
    spare(&connection)?;
    Ok(connection)
}

fn failed(path: &Path, source: rusqlite::Error) -> ViewsError {
    ViewsError::Sqlite { path: path.to_owned(), source }
}
