//! Writing a recorded tree into a new directory: regular files, modes and links, as they are. No
//! filters, no attributes, no line-end conversion.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use cody_events::tree::{Entry, EntryMode, RepoPath};

use super::error::{GitError, io};
use super::recorded::RecordedTree;
use super::stat_cache::{Known, Stat, StatCache};

/// Writes `recorded` into `dir`, which must not exist or be empty. What was written is known to the
/// cache that comes back.
pub fn checkout(recorded: &RecordedTree, dir: &Path) -> Result<StatCache, GitError> {
    fs::create_dir_all(dir).map_err(io("a directory cannot be made", dir))?;
    let entries = recorded.entries()?;
    let mut written: BTreeMap<Vec<u8>, Vec<Known>> = BTreeMap::new();
    let mut made: BTreeSet<PathBuf> = BTreeSet::new();
    let (links, files): (Vec<_>, Vec<_>) =
        entries.iter().partition(|(_, entry)| entry.mode == EntryMode::Symlink);
    // Links come last: while files are written, no path leads through one.
    for (path, entry) in files.into_iter().chain(links) {
        let place = place(dir, path);
        make_parents(dir, &place, &mut made)?;
        write(recorded, entry, &place)?;
        if entry.mode != EntryMode::Gitlink {
            let (folder, known) = known(path, entry, &place)?;
            match written.get_mut(folder) {
                Some(files) => files.push(known),
                None => {
                    written.insert(folder.to_vec(), vec![known]);
                }
            }
        }
    }
    Ok(StatCache::new(written))
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

fn write(recorded: &RecordedTree, entry: &Entry, place: &Path) -> Result<(), GitError> {
    let file = |mode: u32| -> Result<(), GitError> {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(place)
            .map_err(io("a file cannot be made", place))?;
        recorded.base().read(entry.object, |content| {
            file.write_all(content).map_err(io("a file cannot be written", place))
        })?
    };
    match entry.mode {
        EntryMode::File => file(0o644),
        EntryMode::Executable => file(0o755),
        EntryMode::Symlink => recorded.base().read(entry.object, |text| {
            std::os::unix::fs::symlink(OsStr::from_bytes(text), place)
                .map_err(io("a link cannot be made", place))
        })?,
        EntryMode::Gitlink => {
            fs::create_dir_all(place).map_err(io("a directory cannot be made", place))
        }
    }
}

/// What is known of the file that was written at `place`, and its folder.
fn known<'a>(
    path: &'a RepoPath,
    entry: &Entry,
    place: &Path,
) -> Result<(&'a [u8], Known), GitError> {
    let metadata = fs::symlink_metadata(place).map_err(io("a file cannot be seen", place))?;
    let bytes = path.as_bytes();
    let (folder, name) = match bytes.iter().rposition(|byte| *byte == b'/') {
        Some(end) => (&bytes[..end], &bytes[end + 1..]),
        None => (&[][..], bytes),
    };
    Ok((folder, Known { name: name.into(), stat: Stat::of(&metadata), object: entry.object }))
}
