//! Paths as Claude writes them, and the files they mean: opened beneath the root, through no link.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use cody_events::tree::{BadPath, RepoPath};
use rustix::fs::{Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;

/// Files larger than this are neither viewed nor edited.
pub const MAX_FILE_BYTES: u64 = 10 * 1024 * 1024;

/// A path below the root; nothing means the root itself.
pub fn parse(text: &str) -> Result<Option<RepoPath>, String> {
    let text = text.trim_end_matches('/');
    let inside = match text.strip_prefix("/repo") {
        Some("") => return Ok(None),
        Some(rest) if rest.starts_with('/') => rest.trim_start_matches('/'),
        _ if text.starts_with('/') => {
            return Err(format!("`{text}` is outside of /repo; there is nothing else to see."));
        }
        _ => text,
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in inside.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                if parts.pop().is_none() {
                    return Err(format!("`{text}` leads out of /repo."));
                }
            }
            part => parts.push(part),
        }
    }
    if parts.is_empty() {
        return Ok(None);
    }
    match RepoPath::new(parts.join("/")) {
        Ok(path) => Ok(Some(path)),
        Err(BadPath::DotGit) => {
            Err(format!("`{text}` is git's own; it is not part of the change."))
        }
        Err(error) => Err(format!("`{text}` is no path: {error}.")),
    }
}

/// A path below the root that is not the root.
pub fn parse_file(text: &str) -> Result<RepoPath, String> {
    parse(text)?.ok_or_else(|| format!("`{text}` is a directory."))
}

/// Opens what is at `path`, beneath `root` and through no link.
fn open(root: &Path, path: Option<&RepoPath>, flags: OFlags) -> Result<OwnedFd, Errno> {
    let root = openat(
        rustix::fs::CWD,
        root,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let Some(path) = path else {
        return openat(&root, ".", flags | OFlags::CLOEXEC, Mode::empty());
    };
    openat2(
        &root,
        OsStr::from_bytes(path.as_bytes()),
        flags | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS,
    )
}

/// The content of a regular file.
pub fn read(root: &Path, path: &RepoPath) -> Result<Vec<u8>, String> {
    let shown = format!("/repo/{path}");
    let fd =
        open(root, Some(path), OFlags::RDONLY | OFlags::NONBLOCK).map_err(|error| match error {
            Errno::NOENT | Errno::NOTDIR => format!("There is no file {shown}."),
            Errno::LOOP => {
                format!("{shown} is a symbolic link, or leads through one; links are not followed.")
            }
            error => format!("{shown} cannot be opened: {error}."),
        })?;
    let mut file = File::from(fd);
    let metadata = file.metadata().map_err(|error| format!("{shown} cannot be read: {error}."))?;
    if metadata.is_dir() {
        return Err(format!("{shown} is a directory."));
    }
    if !metadata.is_file() {
        return Err(format!("{shown} is no regular file."));
    }
    if metadata.len() > MAX_FILE_BYTES {
        return Err(format!(
            "{shown} has {} bytes; files over {MAX_FILE_BYTES} are not opened. Search in it instead.",
            metadata.len()
        ));
    }
    let mut content = Vec::new();
    file.read_to_end(&mut content).map_err(|error| format!("{shown} cannot be read: {error}."))?;
    Ok(content)
}

/// The content of a text file; bytes that are no UTF-8 make it binary.
pub fn read_text(root: &Path, path: &RepoPath) -> Result<String, String> {
    let content = read(root, path)?;
    if content.contains(&0) {
        return Err(format!(
            "/repo/{path} is a binary file; it can be neither viewed nor edited as text."
        ));
    }
    String::from_utf8(content).map_err(|error| {
        format!(
            "/repo/{path} is no UTF-8 (first bad byte at {}); edit it with a command instead.",
            error.utf8_error().valid_up_to()
        )
    })
}

/// Whether `path` is a directory.
pub fn is_dir(root: &Path, path: Option<&RepoPath>) -> bool {
    open(root, path, OFlags::PATH | OFlags::DIRECTORY).is_ok()
}

/// Writes a file whole or not at all: beside it first, then in its place, with its mode kept.
pub fn write(root: &Path, path: &RepoPath, content: &[u8]) -> Result<(), String> {
    let shown = format!("/repo/{path}");
    let failed = |error: Errno| match error {
        Errno::LOOP => format!("{shown} leads through a symbolic link; links are not followed."),
        Errno::NOTDIR => format!("{shown}: a part of the path is a file."),
        error => format!("{shown} cannot be written: {error}."),
    };
    let parent = make_parents(root, path).map_err(failed)?;
    let name = path.components().last().unwrap_or_default();
    let mode = match rustix::fs::statat(
        &parent,
        OsStr::from_bytes(name),
        rustix::fs::AtFlags::SYMLINK_NOFOLLOW,
    ) {
        Ok(stat) => match rustix::fs::FileType::from_raw_mode(stat.st_mode) {
            rustix::fs::FileType::RegularFile => Mode::from_raw_mode(stat.st_mode & 0o777),
            rustix::fs::FileType::Symlink => return Err(failed(Errno::LOOP)),
            _ => return Err(format!("{shown} is no regular file.")),
        },
        Err(Errno::NOENT) => Mode::from_raw_mode(0o644),
        Err(error) => return Err(failed(error)),
    };
    let new = [b".cody-new-", name].concat();
    let new = OsStr::from_bytes(&new[..new.len().min(200)]);
    let flags =
        OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = openat(&parent, new, flags, mode).map_err(failed)?;
    rustix::fs::fchmod(&fd, mode).map_err(failed)?;
    let mut file = File::from(fd);
    file.write_all(content).map_err(|error| format!("{shown} cannot be written: {error}."))?;
    rustix::fs::renameat(&parent, new, &parent, OsStr::from_bytes(name)).map_err(failed)
}

/// The directory that holds `path`, made where it is missing.
fn make_parents(root: &Path, path: &RepoPath) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut here = openat(rustix::fs::CWD, root, flags, Mode::empty())?;
    let mut components: Vec<&[u8]> = path.components().collect();
    components.pop();
    for component in components {
        let name = OsStr::from_bytes(component);
        match rustix::fs::mkdirat(&here, name, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error),
        }
        let below = openat(here.as_fd(), name, flags, Mode::empty()).map_err(|error| {
            // A link in the way is a link, whatever the kernel calls it here.
            match rustix::fs::readlinkat(here.as_fd(), name, Vec::new()) {
                Ok(_) => Errno::LOOP,
                Err(_) => error,
            }
        })?;
        here = below;
    }
    Ok(here)
}

/// Where `path` is on this machine, for readers that walk directories without following links.
pub fn on_disk(root: &Path, path: Option<&RepoPath>) -> PathBuf {
    match path {
        Some(path) => root.join(OsStr::from_bytes(path.as_bytes())),
        None => root.to_owned(),
    }
}
