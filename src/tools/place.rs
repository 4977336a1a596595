//! Paths as Claude writes them, and the files they lead to. `/repo` is the whole world; nothing
//! here follows a link, leaves the work directory, or touches `.git`.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use cody_events::tree::{BadPath, RepoPath};
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::result::{Complaint, complain};

/// The directory that Claude works in.
pub(super) const REPO: &str = "/repo";

/// What a path of Claude's means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// Something in the work directory; nothing for the directory itself.
    Repo(Option<RepoPath>),
    /// The whole of an output that was cut.
    Output { turn: u32, id: String },
}

impl Place {
    /// Reads a path: absolute below `/repo`, or relative to it.
    pub(super) fn read(asked: &str) -> Result<Self, Complaint> {
        let inside = match asked.strip_prefix('/') {
            None => asked,
            Some(absolute) => match absolute.trim_start_matches('/').split_once('/') {
                Some(("repo", rest)) => rest,
                None if absolute.trim_matches('/') == "repo" => "",
                Some(("outputs", rest)) => return output(asked, rest),
                _ => {
                    return complain(format!(
                        "{asked}: only /repo is there. Give a path such as /repo/src/main.rs, or \
                         src/main.rs, which means the same."
                    ));
                }
            },
        };
        let mut components: Vec<&str> = Vec::new();
        for component in inside.split('/') {
            match component {
                "" | "." => {}
                ".." => {
                    if components.pop().is_none() {
                        return complain(format!(
                            "{asked}: this leads out of /repo, and nothing is there."
                        ));
                    }
                }
                name => components.push(name),
            }
        }
        if components.is_empty() {
            return Ok(Self::Repo(None));
        }
        match RepoPath::new(components.join("/")) {
            Ok(path) => Ok(Self::Repo(Some(path))),
            Err(BadPath::DotGit) => complain(format!(
                "{asked}: `.git` is not for the tools. What is recorded are the files of /repo alone; \
                 nothing needs to be committed."
            )),
            Err(bad) => complain(format!("{asked}: {bad}.")),
        }
    }

    /// Reads a path that must be in the work directory.
    pub(super) fn in_repo(asked: &str) -> Result<Option<RepoPath>, Complaint> {
        match Self::read(asked)? {
            Self::Repo(path) => Ok(path),
            Self::Output { .. } => complain(format!(
                "{asked}: outputs can only be viewed, with str_replace_based_edit_tool."
            )),
        }
    }
}

fn output(asked: &str, rest: &str) -> Result<Place, Complaint> {
    let parts = rest.split_once('/').and_then(|(turn, id)| Some((turn.parse().ok()?, id)));
    match parts {
        Some((turn, id)) if !id.is_empty() && !id.contains('/') => {
            Ok(Place::Output { turn, id: id.to_owned() })
        }
        _ => complain(format!("{asked}: outputs are at /outputs/<turn>/<tool id>.")),
    }
}

/// A path as Claude knows it.
pub(super) fn shown(path: Option<&RepoPath>) -> String {
    match path {
        Some(path) => shown_bytes(path.as_bytes()),
        None => REPO.to_owned(),
    }
}

/// A path's bytes below `/repo`, on one line whatever they are.
pub(super) fn shown_bytes(path: &[u8]) -> String {
    let mut text = format!("{REPO}/");
    for c in String::from_utf8_lossy(path).chars() {
        match c {
            c if c.is_control() => text.extend(c.escape_default()),
            c => text.push(c),
        }
    }
    text
}

/// The path of an entry on this machine. Only for walks that follow no link, of a directory that
/// was opened as one.
pub(super) fn on_this_machine(root: &Path, path: Option<&RepoPath>) -> PathBuf {
    match path {
        Some(path) => root.join(OsStr::from_bytes(path.as_bytes())),
        None => root.to_owned(),
    }
}

/// What stands at a path.
#[derive(Debug)]
pub(super) enum Found {
    File { file: File, mode: u32, size: u64 },
    Directory,
    Nothing,
}

/// The work directory, held open.
#[derive(Debug)]
pub(super) struct Root(OwnedFd);

impl Root {
    pub(super) fn open(root: &Path) -> Result<Self, Complaint> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(root, flags, Mode::empty())
            .map(Self)
            .map_err(|error| failed("/repo cannot be opened", error))
    }

    /// Opens what stands at `path`, to read it.
    pub(super) fn find(&self, path: Option<&RepoPath>) -> Result<Found, Complaint> {
        let Some(path) = path else { return Ok(Found::Directory) };
        // Without NONBLOCK, opening a pipe would wait for somebody to write.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = match self.beneath(path.as_bytes(), flags) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT | Errno::NOTDIR) if self.first_link(path).is_none() => {
                return Ok(Found::Nothing);
            }
            Err(error) => return Err(self.refused(path, error)),
        };
        let about = rustix::fs::fstat(&file).map_err(|error| failed(&shown(Some(path)), error))?;
        match rustix::fs::FileType::from_raw_mode(about.st_mode) {
            rustix::fs::FileType::RegularFile => Ok(Found::File {
                file,
                // What is written again must not lend anybody's rights.
                mode: about.st_mode & 0o777,
                size: u64::try_from(about.st_size).unwrap_or(0),
            }),
            rustix::fs::FileType::Directory => Ok(Found::Directory),
            _ => complain(format!(
                "{} is neither a file nor a directory, so the tools leave it alone.",
                shown(Some(path))
            )),
        }
    }

    /// Puts `content` at `path` in one step, with `mode`; makes the directories above it.
    pub(super) fn write(
        &self,
        path: &RepoPath,
        content: &[u8],
        mode: u32,
    ) -> Result<(), Complaint> {
        let (parent, name) = self.parent_of(path)?;
        let directory = || failed(&shown(Some(path)), Errno::EXIST);
        let (mut file, draft) = new_draft(&parent, path)?;
        let written = (|| {
            file.write_all(content)?;
            rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))?;
            rustix::fs::renameat(&parent, &draft, &parent, OsStr::from_bytes(name))?;
            Ok::<(), io::Error>(())
        })();
        written.map_err(|error| {
            // The draft is in the way of nothing else; what cannot be removed is reported below.
            let _ = rustix::fs::unlinkat(&parent, &draft, AtFlags::empty());
            match error.kind() {
                io::ErrorKind::IsADirectory => directory(),
                _ => Complaint(format!(
                    "{} cannot be written: {}",
                    shown(Some(path)),
                    reason(&error)
                )),
            }
        })
    }

    /// The directory that `path` is in, made if it is missing, and the last component.
    fn parent_of<'a>(&self, path: &'a RepoPath) -> Result<(OwnedFd, &'a [u8]), Complaint> {
        let refused = |error| self.refused(path, error);
        let mut components: Vec<&[u8]> = path.components().collect();
        let name = components.pop().unwrap_or_default();
        let mut parent = self.0.try_clone().map_err(|error| {
            Complaint(format!("{} cannot be written: {}", shown(Some(path)), reason(&error)))
        })?;
        for component in components {
            let component = OsStr::from_bytes(component);
            match rustix::fs::mkdirat(&parent, component, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(refused(error)),
            }
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            parent =
                rustix::fs::openat(&parent, component, flags, Mode::empty()).map_err(refused)?;
        }
        Ok((parent, name))
    }

    /// Opens a path that no link is part of. Kernels without `openat2`, and filters that refuse it,
    /// are served component by component.
    fn beneath(&self, path: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let resolve =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        match rustix::fs::openat2(&self.0, OsStr::from_bytes(path), flags, Mode::empty(), resolve) {
            Err(Errno::NOSYS | Errno::PERM) => {}
            opened => return opened,
        }
        let mut components: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
        let last = components.pop().unwrap_or_default();
        let mut parent: Option<OwnedFd> = None;
        let through = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        for component in components {
            let above = parent.as_ref().unwrap_or(&self.0);
            let next =
                rustix::fs::openat(above, OsStr::from_bytes(component), through, Mode::empty())?;
            parent = Some(next);
        }
        let above = parent.as_ref().unwrap_or(&self.0);
        rustix::fs::openat(above, OsStr::from_bytes(last), flags, Mode::empty())
    }

    /// Why a path cannot be opened; a link on the way is the most likely reason.
    fn refused(&self, path: &RepoPath, error: Errno) -> Complaint {
        match (self.first_link(path), error) {
            (Some((link, target)), _) => Complaint(format!(
                "{} goes through the symbolic link {} -> {target}, and the tools follow no links. Use \
                 the path of what it leads to, if that is in /repo.",
                shown(Some(path)),
                shown(Some(&link)),
            )),
            (None, Errno::NOTDIR | Errno::EXIST) => Complaint(format!(
                "{} cannot be there: something above it is a file, not a directory.",
                shown(Some(path))
            )),
            (None, error) => failed(&shown(Some(path)), error),
        }
    }

    /// The first component of `path` that is a link, as a path, and what the link says.
    pub(super) fn first_link(&self, path: &RepoPath) -> Option<(RepoPath, String)> {
        let bytes = path.as_bytes();
        let ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(end, _)| end);
        for end in ends.chain([bytes.len()]) {
            // Earlier rounds saw that nothing above this component is a link.
            let so_far = OsStr::from_bytes(&bytes[..end]);
            if let Ok(target) = rustix::fs::readlinkat(&self.0, so_far, Vec::new()) {
                let target = String::from_utf8_lossy(target.as_bytes()).escape_debug().to_string();
                return Some((RepoPath::new(&bytes[..end]).ok()?, target));
            }
        }
        None
    }
}

/// The file at `path` below `root`, if there is one of at most `cap` bytes. No link is followed.
pub fn read_file(root: &Path, path: &RepoPath, cap: u64) -> Option<Vec<u8>> {
    match Root::open(root).and_then(|root| root.find(Some(path))) {
        Ok(Found::File { file, size, .. }) => read_whole(file, size, cap, "").ok(),
        Ok(Found::Directory | Found::Nothing) | Err(_) => None,
    }
}

/// Puts `content` at `path` below `root`. No link is followed.
///
/// # Errors
/// Why it could not be written, in words for Claude.
pub fn write_file(root: &Path, path: &RepoPath, content: &[u8]) -> Result<(), String> {
    let written = Root::open(root).and_then(|root| {
        let mode = match root.find(Some(path))? {
            Found::File { mode, .. } => mode,
            Found::Directory | Found::Nothing => 0o644,
        };
        root.write(path, content, mode)
    });
    written.map_err(|Complaint(why)| why)
}

/// A new file beside the one to be written, which nobody else has.
fn new_draft(parent: &OwnedFd, path: &RepoPath) -> Result<(File, String), Complaint> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    for number in 0..100 {
        let draft = format!(".cody-draft-{number}");
        match rustix::fs::openat(parent, &draft, flags, Mode::from_raw_mode(0o600)) {
            Ok(file) => return Ok((File::from(file), draft)),
            Err(Errno::EXIST) => {}
            Err(error) => return Err(failed(&shown(Some(path)), error)),
        }
    }
    Err(failed(&shown(Some(path)), Errno::EXIST))
}

/// Reads a file of at most `cap` bytes.
pub(super) fn read_whole(
    file: File,
    size: u64,
    cap: u64,
    shown: &str,
) -> Result<Vec<u8>, Complaint> {
    let too_large = || {
        Complaint(format!(
            "{shown} is larger than {} MiB, too large for this tool. search_files and bash can deal with \
             it.",
            cap / (1024 * 1024)
        ))
    };
    if size > cap {
        return Err(too_large());
    }
    let mut content = Vec::new();
    let read = file.take(cap + 1).read_to_end(&mut content);
    read.map_err(|error| Complaint(format!("{shown} cannot be read: {}", reason(&error))))?;
    if content.len() as u64 > cap { Err(too_large()) } else { Ok(content) }
}

fn failed(what: &str, error: Errno) -> Complaint {
    Complaint(format!("{what}: {}", reason(&io::Error::from(error))))
}

/// An error of the system in its own words, which name no path.
fn reason(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code).to_string(),
        None => error.kind().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_root_and_nothing_beside_it() {
        let repo = |path: &str| Ok(Place::Repo(Some(RepoPath::new(path).unwrap())));
        let output = Ok(Place::Output { turn: 3, id: "toolu_1".to_owned() });
        for (asked, expected) in [
            ("/repo", Ok(Place::Repo(None))),
            ("/repo/", Ok(Place::Repo(None))),
            ("", Ok(Place::Repo(None))),
            (".", Ok(Place::Repo(None))),
            ("//repo//a", repo("a")),
            ("a", repo("a")),
            ("./a/./b/", repo("a/b")),
            ("/repo/a/../b", repo("b")),
            ("repo/a", repo("repo/a")),
            ("/outputs/3/toolu_1", output),
            ("/repo/../etc/passwd", Err("leads out of /repo")),
            ("../x", Err("leads out of /repo")),
            ("/etc/passwd", Err("only /repo is there")),
            ("/repository/a", Err("only /repo is there")),
            ("/", Err("only /repo is there")),
            ("~/x/../.GIT/config", Err("`.git` is not for the tools")),
            ("/repo/.git", Err("`.git` is not for the tools")),
            ("sub/GIT~1/hooks", Err("`.git` is not for the tools")),
            ("a\0b", Err("NUL byte")),
            ("/outputs/x/y", Err("/outputs/<turn>/<tool id>")),
            ("/outputs/1/", Err("/outputs/<turn>/<tool id>")),
        ] {
            match (Place::read(asked), expected) {
                (Ok(place), Ok(wanted)) => assert_eq!(place, wanted, "{asked}"),
                (Err(Complaint(text)), Err(part)) => {
                    assert!(text.contains(part), "{asked}: {text}")
                }
                (place, wanted) => panic!("{asked}: {place:?}, not {wanted:?}"),
            }
        }
    }
}
