//! One server a data directory: an advisory lock that the kernel drops with its holder.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// Why the directory is not ours.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error(
        "another cody-batch (process {holder}) works with {dir}; wait for it, stop it, or set CODY_DATA_DIR"
    )]
    Held { holder: String, dir: PathBuf },
    #[error("the data directory {dir} cannot be used; check that it exists and may be written")]
    Io {
        dir: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

/// Holds the directory until it is dropped, or its process dies.
#[derive(Debug)]
pub struct DirectoryLock {
    file: File,
}

impl Drop for DirectoryLock {
    fn drop(&mut self) {
        // A child that was forked and has not yet become its program has the file open as well, and
        // would hold the directory until then. Unlocked is unlocked for all.
        if let Err(error) = flock(&self.file, FlockOperation::Unlock) {
            tracing::warn!(%error, "the data directory stays locked until this process ends");
        }
    }
}

impl DirectoryLock {
    /// Takes `dir`, which must exist, without waiting.
    pub fn take(dir: &Path) -> Result<Self, LockError> {
        let io = |source| LockError::Io { dir: dir.to_owned(), source };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(dir.join("lock"))
            .map_err(io)?;
        if let Err(error) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
            if error != rustix::io::Errno::WOULDBLOCK {
                return Err(io(error.into()));
            }
            let mut holder = String::new();
            file.read_to_string(&mut holder).map_err(io)?;
            let holder = holder.trim().to_owned();
            return Err(LockError::Held { holder, dir: dir.to_owned() });
        }
        file.set_len(0).map_err(io)?;
        file.rewind().map_err(io)?;
        writeln!(file, "{}", std::process::id()).map_err(io)?;
        Ok(Self { file })
    }
}
