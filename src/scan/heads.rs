//! Reads the starts of files below one directory, without following any link.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use cody_events::tree::RepoPath;
use rustix::fs::{CWD, Mode, OFlags, openat};

/// A reader of heads for the work directory `root`.
///
/// Each component is opened from its parent's descriptor with `O_NOFOLLOW`, so a link anywhere in
/// a path is an error, never a way out. `O_NONBLOCK` keeps a FIFO from holding us; what is no
/// regular file is an error.
pub fn head_reader(root: impl Into<PathBuf>) -> impl Fn(&RepoPath, usize) -> io::Result<Vec<u8>> {
    let root = root.into();
    move |path, max| {
        let mut head = Vec::new();
        open(&root, path)?.take(max as u64).read_to_end(&mut head)?;
        Ok(head)
    }
}

fn open(root: &Path, path: &RepoPath) -> io::Result<File> {
    let directory = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut at: OwnedFd = openat(CWD, root, directory, Mode::empty())?;
    let mut components = path.components().peekable();
    while let Some(component) = components.next() {
        let flags = if components.peek().is_some() {
            directory | OFlags::NOFOLLOW
        } else {
            OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK
        };
        at = openat(&at, component, flags, Mode::empty())?;
    }
    let file = File::from(at);
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "the path is no regular file"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_and_pipes_are_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("repo");
        std::fs::create_dir_all(root.join("real")).unwrap();
        std::fs::write(dir.path().join("secret"), "secret").unwrap();
        std::fs::write(root.join("real/file"), "0123456789").unwrap();
        std::os::unix::fs::symlink("../secret", root.join("link")).unwrap();
        std::os::unix::fs::symlink("real", root.join("linked")).unwrap();
        rustix::fs::mknodat(
            CWD,
            root.join("pipe"),
            rustix::fs::FileType::Fifo,
            Mode::RUSR | Mode::WUSR,
            0,
        )
        .unwrap();

        let read = head_reader(&root);
        let head = |path: &str| read(&RepoPath::new(path).unwrap(), 4);
        assert_eq!(head("real/file").unwrap(), b"0123");
        for path in ["link", "linked/file", "pipe", "real", "missing"] {
            assert!(head(path).is_err(), "{path}");
        }
    }
}
