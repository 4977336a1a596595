//! Writing a recorded tree into a new directory: regular files, modes and links, as they are. No
//! filters, no attributes, no line-end conversion.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use cody_events::tree::{Entry, EntryMode, RepoPath};

use super::error::{GitError, io};
use super::recorded::RecordedTree;
use super::stat_cache::StatCache;

/// Writes `recorded` into `dir`, which must not exist or be empty. What was written is known to the
/// cache that comes back.
pub fn checkout(recorded: &RecordedTree, dir: &Path) -> Result<StatCache, GitError> {
    fs::create_dir_all(dir).map_err(io("a directory cannot be made", dir))?;
    let entries = recorded.entries()?;
    let mut stats = StatCache::default();
    let mut made: BTreeSet<PathBuf> = BTreeSet::new();
    let (links, files): (Vec<_>, Vec<_>) =
        entries.iter().partition(|(_, entry)| entry.mode == EntryMode::Symlink);
    // Links come last: while files are written, no path leads through one.
    for (path, entry) in files.into_iter().chain(links) {
        let place = place(dir, path);
        make_parents(dir, &place, &mut made)?;
        write(recorded, path, entry, &place, &mut stats)?;
    }
    stats.settle();
    Ok(stats)
}

/// Where `path` stands below `dir`.
pub(super) fn place(dir: &Path, path: &RepoPath) -> PathBuf {
    dir.join(OsStr::from_bytes(path.as_bytes()))
}

fn make_parents(dir: &Path, place: &Path, made: &mut BTreeSet<PathBuf>) -> Result<(), GitError> {
    let Some(parent) = place.parent() else { return Ok(()) };
    if parent == dir || made.contains(parent) {
        return Ok(());
    }
    fs::create_dir_all(parent).map_err(io("a directory cannot be made", parent))?;
    made.insert(parent.to_owned());
    Ok(())
}

fn write(
    recorded: &RecordedTree,
    path: &RepoPath,
    entry: &Entry,
    place: &Path,
    stats: &mut StatCache,
) -> Result<(), GitError> {
    let file = |mode: u32| -> Result<(), GitError> {
        let content = recorded.base().content(entry.object)?;
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(place)
            .map_err(io("a file cannot be made", place))?;
        file.write_all(&content).map_err(io("a file cannot be written", place))
    };
    match entry.mode {
        EntryMode::File => file(0o644)?,
        EntryMode::Executable => file(0o755)?,
        EntryMode::Symlink => {
            let text = recorded.base().content(entry.object)?;
            std::os::unix::fs::symlink(OsStr::from_bytes(&text), place)
                .map_err(io("a link cannot be made", place))?;
        }
        EntryMode::Gitlink => {
            return fs::create_dir_all(place).map_err(io("a directory cannot be made", place));
        }
    }
    let metadata = fs::symlink_metadata(place).map_err(io("a file cannot be seen", place))?;
    stats.learn(path.clone(), &metadata, entry.object);
    Ok(())
}
