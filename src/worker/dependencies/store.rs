//! Where fetched dependencies are kept between jobs. Workers of one machine share it; what a fetch
//! made is put in its place in one step and never changed.
//!
//! There is one generation at a time. When it has grown too large the next fetch begins another, and
//! the old one goes when nobody uses it any more: a check must not lose what it reads.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use cody_events::digest::Sha256;
use cody_events::evidence::Ecosystem;

use crate::sandbox::remove_all;

/// The file by which a generation's users are known.
const LOCK: &str = "lock";
/// The file that says how large a generation was when it was last weighed.
const BYTES: &str = "bytes";
/// Attempts to take hold of a generation that others are removing.
const TRIES: usize = 20;

/// A generation in use.
#[derive(Debug)]
pub(super) struct Store {
    dir: PathBuf,
    most_bytes: u64,
    _in_use: File,
}

impl Store {
    /// The present generation below `dir`, or a new one if that holds more than `most_bytes`.
    pub(super) fn open(dir: &Path, most_bytes: u64) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        for _ in 0..TRIES {
            let newest = generations(dir)?.pop();
            let is_full = newest.is_some_and(|number| bytes(&place(dir, number)) > most_bytes);
            let number = match newest {
                Some(number) if !is_full => number,
                newest => newest.map_or(1, |number| number + 1),
            };
            if let Some(store) = Self::take_hold(&place(dir, number), most_bytes)? {
                remove_unused(dir, number);
                return Ok(store);
            }
        }
        Err(io::Error::other("other workers keep removing it"))
    }

    /// Nothing if the generation was removed meanwhile.
    fn take_hold(dir: &Path, most_bytes: u64) -> io::Result<Option<Self>> {
        fs::create_dir_all(dir)?;
        let path = dir.join(LOCK);
        let lock = match File::options().create(true).truncate(false).write(true).open(&path) {
            Ok(lock) => lock,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        lock.lock_shared()?;
        let is_there = fs::metadata(&path).is_ok_and(|found| {
            lock.metadata().is_ok_and(|held| (held.dev(), held.ino()) == (found.dev(), found.ino()))
        });
        Ok(is_there.then(|| Self { dir: dir.to_owned(), most_bytes, _in_use: lock }))
    }

    /// What the programs of an ecosystem keep for themselves.
    pub(super) fn cache(&self, ecosystem: Ecosystem) -> io::Result<PathBuf> {
        let dir = self.dir.join(ecosystem.to_string());
        fs::create_dir_all(&dir)?;
        Ok(dir)
    }

    /// Where the result of a fetch is, if there is one.
    pub(super) fn result(&self, ecosystem: Ecosystem, key: &Sha256) -> PathBuf {
        self.dir.join(format!("{ecosystem}-{key}"))
    }

    /// Puts what was made at `made`, in the same file system, in its place. Whoever comes second with
    /// the same finds it there.
    pub(super) fn keep(
        &self,
        made: &Path,
        ecosystem: Ecosystem,
        key: &Sha256,
    ) -> io::Result<PathBuf> {
        let result = self.result(ecosystem, key);
        if let Err(error) = fs::rename(made, &result) {
            if !result.is_dir() {
                return Err(error);
            }
            remove_all(made)?;
        }
        Ok(result)
    }

    /// Weighs what is there. Others may be at it as well: a number that is a little old does no harm.
    pub(super) fn note_bytes(&self) -> io::Result<()> {
        fs::write(self.dir.join(BYTES), weigh(&self.dir).to_string())
    }

    /// Whether it holds more than it may. The next worker begins another generation; until then
    /// nothing is added.
    pub(super) fn is_full(&self) -> bool {
        bytes(&self.dir) > self.most_bytes
    }

    /// Finds a result under another key too: that of the same manifests with the lock files that came
    /// of it.
    pub(super) fn also(
        &self,
        ecosystem: Ecosystem,
        key: &Sha256,
        same_as: &Sha256,
    ) -> io::Result<()> {
        let target = format!("{ecosystem}-{same_as}");
        match std::os::unix::fs::symlink(target, self.result(ecosystem, key)) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        }
    }
}

/// The numbers of the generations below `dir`, in order.
fn generations(dir: &Path) -> io::Result<Vec<u64>> {
    let mut numbers: Vec<u64> = fs::read_dir(dir)?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    numbers.sort_unstable();
    Ok(numbers)
}

fn place(dir: &Path, generation: u64) -> PathBuf {
    dir.join(generation.to_string())
}

fn bytes(generation: &Path) -> u64 {
    let text = fs::read_to_string(generation.join(BYTES)).unwrap_or_default();
    text.parse().unwrap_or(0)
}

/// Removes generations before `current` that nobody uses. What stays is tried again next time.
fn remove_unused(dir: &Path, current: u64) {
    for number in generations(dir).unwrap_or_default() {
        let generation = place(dir, number);
        if number >= current {
            continue;
        }
        let removed = (|| {
            // One without a lock is half removed.
            if let Ok(lock) = File::open(generation.join(LOCK)) {
                match lock.try_lock() {
                    Ok(()) => fs::remove_file(generation.join(LOCK))?,
                    Err(TryLockError::WouldBlock) => return Ok(()),
                    Err(TryLockError::Error(error)) => return Err(error),
                }
            }
            remove_all(&generation)
        })();
        if let Err(error) = removed {
            tracing::warn!(%error, generation = number, "old dependencies could not be removed");
        }
    }
}

/// Bytes that the disk gives for what is below `dir`.
fn weigh(dir: &Path) -> u64 {
    let mut bytes = 0;
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                dirs.push(entry.path());
            }
            bytes += metadata.blocks() * 512;
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_generation_is_followed_by_another_and_goes_when_nobody_uses_it() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Store::open(dir.path(), 100_000).unwrap();
        let first = open();
        let made = dir.path().join("made");
        fs::create_dir(&made).unwrap();
        fs::write(made.join("crate"), vec![1; 200_000]).unwrap();
        let key = Sha256::of(b"manifests");
        let kept = first.keep(&made, Ecosystem::Cargo, &key).unwrap();
        assert_eq!(kept, first.result(Ecosystem::Cargo, &key));
        assert!(!first.is_full());
        first.note_bytes().unwrap();
        assert!(first.is_full());

        let second = open();
        assert_ne!(first.dir, second.dir);
        assert!(kept.join("crate").exists(), "it is in use");
        drop(first);
        assert_eq!(open().dir, second.dir);
        assert!(!kept.exists());
    }

    #[test]
    fn the_same_result_twice_is_one() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), 1 << 20).unwrap();
        let key = Sha256::of(b"manifests");
        for content in ["first", "second"] {
            let made = dir.path().join(content);
            fs::create_dir(&made).unwrap();
            fs::write(made.join("f"), content).unwrap();
            store.keep(&made, Ecosystem::Npm, &key).unwrap();
        }
        let kept = store.result(Ecosystem::Npm, &key);
        assert_eq!(fs::read_to_string(kept.join("f")).unwrap(), "first");
    }
}
