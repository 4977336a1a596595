//! Hands the directories of a command over to the user that it runs as. Nothing runs there while
//! this does; but what ran before may have left anything, so no link is followed and no file that
//! has another name elsewhere is given away.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Gid, Uid, chownat};

/// Makes `user` the owner of `path` and of all below it.
pub(super) fn hand_over(path: &Path, user: u32) -> io::Result<()> {
    give(path, user)?;
    let mut dirs = vec![path.to_owned()];
    while let Some(dir) = dirs.pop() {
        // A file that is handed over has no directory to read.
        let Ok(entries) = fs::read_dir(&dir) else { continue };
        for entry in entries {
            let entry = entry?;
            let metadata = entry.metadata()?;
            let is_shared = !metadata.is_dir() && metadata.nlink() > 1;
            if metadata.uid() != user && !is_shared {
                give(&entry.path(), user)?;
            }
            if metadata.is_dir() {
                dirs.push(entry.path());
            }
        }
    }
    Ok(())
}

fn give(path: &Path, user: u32) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(user), Gid::from_raw(user));
    Ok(chownat(CWD, path, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?)
}
