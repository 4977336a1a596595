//! Removes what commands left. They may have closed directories of theirs against it, and dug deeper
//! than a path, a stack or our open files reach: so it goes down a few levels at most, by descriptor,
//! and moves what is deeper up to where it began.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, RenameFlags, chmod, openat, renameat_with, statat,
    unlinkat,
};
use rustix::io::Errno;
use rustix::path::Arg;

/// Levels that it goes down at once: each has an open file, and a place on the stack.
const LEVELS: u32 = 32;

/// Removes `dir` and all below it. No link is followed.
///
/// # Errors
///
/// What could not be removed, even after directories were opened: others own it, or the disk fails.
pub fn remove_all(dir: &Path) -> io::Result<()> {
    if !FileType::from_raw_mode(statat(CWD, dir, AtFlags::SYMLINK_NOFOLLOW)?.st_mode).is_dir() {
        return Ok(unlinkat(CWD, dir, AtFlags::empty())?);
    }
    let top = open_to_change(CWD, dir)?;
    let mut removal = Removal { top: top.as_fd(), moved: 0, changes: 0 };
    loop {
        let changes_before = removal.changes;
        removal.clear(top.as_fd(), 0)?;
        match unlinkat(CWD, dir, AtFlags::REMOVEDIR) {
            Err(Errno::NOTEMPTY) if removal.changes > changes_before => {}
            ended => return gone(ended).map_err(io::Error::from),
        }
    }
}

/// What is not there any more is as good as removed: a worker that leaves and its server may both be
/// at it.
fn gone(ended: Result<(), Errno>) -> Result<(), Errno> {
    match ended {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}

struct Removal<'a> {
    top: BorrowedFd<'a>,
    /// Directories that were moved up, which also names them.
    moved: u64,
    /// What was removed or moved.
    changes: u64,
}

impl Removal<'_> {
    /// Removes what is in `dir`, which is `level` levels down; or moves it up.
    fn clear(&mut self, dir: BorrowedFd<'_>, level: u32) -> Result<(), Errno> {
        for entry in Dir::read_from(dir)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            // Some file systems do not tell what it is; a directory is then refused.
            let removed = match entry.file_type() {
                FileType::Directory => Err(Errno::ISDIR),
                _ => unlinkat(dir, name, AtFlags::empty()),
            };
            match removed {
                Err(Errno::ISDIR) if level < LEVELS => gone(self.clear_below(dir, name, level))?,
                Err(Errno::ISDIR) => gone(self.move_up(dir, name))?,
                other => gone(other)?,
            }
            self.changes += 1;
        }
        Ok(())
    }

    /// Removes the directory `name` of `dir`.
    fn clear_below(&mut self, dir: BorrowedFd<'_>, name: &CStr, level: u32) -> Result<(), Errno> {
        let below = open_to_change(dir, name)?;
        self.clear(below.as_fd(), level + 1)?;
        unlinkat(dir, name, AtFlags::REMOVEDIR)
    }

    /// Puts the directory `name` of `dir` into the top, under a name that nothing has there.
    fn move_up(&mut self, dir: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
        // A directory that changes its parent is changed itself.
        drop(open_to_change(dir, name)?);
        loop {
            self.moved += 1;
            let place = format!("{}.cody-removed", self.moved);
            match renameat_with(dir, name, self.top, &place, RenameFlags::NOREPLACE) {
                Err(Errno::EXIST) => {}
                ended => return ended,
            }
        }
    }
}

/// Opens a directory, having given us back the right to change it if somebody took that away. It is
/// held by a descriptor while its mode is changed, so that no link can be put in its place.
fn open_to_change(dir: impl AsFd, name: impl Arg) -> Result<OwnedFd, Errno> {
    let only = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let place = openat(&dir, name, only | OFlags::PATH, Mode::empty())?;
    let mode = Mode::from_raw_mode(rustix::fs::fstat(&place)?.st_mode);
    if !mode.contains(Mode::RWXU) {
        chmod(format!("/proc/self/fd/{}", place.as_raw_fd()), mode | Mode::RWXU)?;
    }
    openat(&place, ".", only | OFlags::RDONLY, Mode::empty())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn closed_directories_are_removed() {
        let outer = tempfile::tempdir().unwrap();
        let dir = outer.path().join("left");
        fs::create_dir_all(dir.join("a/b/c")).unwrap();
        fs::write(dir.join("a/b/c/f"), "x").unwrap();
        std::os::unix::fs::symlink("/", dir.join("a/link")).unwrap();
        for closed in ["a/b/c", "a/b", "a"] {
            fs::set_permissions(dir.join(closed), fs::Permissions::from_mode(0o000)).unwrap();
        }
        remove_all(&dir).unwrap();
        assert!(!dir.exists());
        assert_eq!(remove_all(&dir).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn no_depth_is_too_deep_and_no_name_is_in_the_way() {
        let outer = tempfile::tempdir().unwrap();
        let dir = outer.path().join("left");
        fs::create_dir_all(dir.join("1.cody-removed/a")).unwrap();
        fs::write(dir.join("2.cody-removed"), "x").unwrap();
        let mut place = openat(CWD, &dir, OFlags::DIRECTORY, Mode::empty()).unwrap();
        for _ in 0..5_000 {
            rustix::fs::mkdirat(&place, "d", Mode::RWXU).unwrap();
            rustix::fs::mkdirat(&place, "e", Mode::empty()).unwrap();
            place = openat(&place, "d", OFlags::DIRECTORY, Mode::empty()).unwrap();
        }
        remove_all(&dir).unwrap();
        assert!(!dir.exists());
    }

    #[test]
    fn two_may_remove_the_same() {
        let outer = tempfile::tempdir().unwrap();
        let dir = outer.path().join("left");
        for number in 0..300 {
            fs::create_dir_all(dir.join(format!("{number}{}", "/d".repeat(100)))).unwrap();
        }
        let ended = std::thread::scope(|scope| {
            let both = [(); 2].map(|()| scope.spawn(|| remove_all(&dir)));
            both.map(|one| one.join().unwrap())
        });
        assert!(!dir.exists(), "{ended:?}");
    }

    #[test]
    fn a_link_is_removed_and_not_what_it_leads_to() {
        let outer = tempfile::tempdir().unwrap();
        fs::create_dir(outer.path().join("theirs")).unwrap();
        fs::write(outer.path().join("theirs/file"), "x").unwrap();
        std::os::unix::fs::symlink("theirs", outer.path().join("link")).unwrap();
        remove_all(&outer.path().join("link")).unwrap();
        assert!(outer.path().join("theirs/file").exists() && !outer.path().join("link").exists());
    }
}
