//! What a search passes over: by the repository's own `.gitignore` files as they stand, not those
//! above it or the user's. A command may have put a pipe, a device, or a link to somebody's secret
//! in the place of one: as in git, only a regular file has rules.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use rustix::fs::{Mode, OFlags};

use crate::git::MAX_RULES_BYTES;

/// The rules on the way of one walk, which enters a folder before it asks for what is in it, and
/// comes back to none.
pub(super) struct IgnoreRules(Mutex<Way>);

struct Way {
    /// Folders above where the walk is that have rules, from the root down.
    folders: Vec<(PathBuf, Gitignore)>,
    bytes_left: usize,
}

impl IgnoreRules {
    /// For a walk that begins at `root`.
    pub(super) fn from(root: &Path) -> Self {
        let mut way = Way { folders: Vec::new(), bytes_left: MAX_RULES_BYTES };
        way.enter(root);
        Self(Mutex::new(way))
    }

    /// Whether the walk may go on with `path`: into it, if it is a folder.
    pub(super) fn pass(&self, path: &Path, is_folder: bool) -> bool {
        let mut way = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_passed = !way.ignores(path, is_folder);
        if is_passed && is_folder {
            way.enter(path);
        }
        is_passed
    }
}

impl Way {
    fn ignores(&mut self, path: &Path, is_folder: bool) -> bool {
        while self.folders.pop_if(|(folder, _)| !is_below(path, folder)).is_some() {}
        for (_, rules) in self.folders.iter().rev() {
            match rules.matched(path, is_folder) {
                Match::Ignore(_) => return true,
                Match::Whitelist(_) => return false,
                Match::None => {}
            }
        }
        false
    }

    fn enter(&mut self, folder: &Path) {
        if let Some(rules) = self.read(folder) {
            self.folders.push((folder.to_owned(), rules));
        }
    }

    /// The rules that stand in `folder` itself.
    fn read(&mut self, folder: &Path) -> Option<Gitignore> {
        // Without NONBLOCK, opening a pipe would wait for somebody to write.
        let flags =
            OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let place = folder.join(".gitignore");
        let file = File::from(rustix::fs::open(place, flags, Mode::empty()).ok()?);
        let about = file.metadata().ok()?;
        let size = usize::try_from(about.len()).ok().filter(|_| about.is_file())?;
        self.bytes_left = self.bytes_left.checked_sub(size)?;
        let mut content = Vec::new();
        file.take(about.len()).read_to_end(&mut content).ok()?;
        let mut builder = GitignoreBuilder::new(folder);
        for line in String::from_utf8_lossy(&content).lines() {
            // A pattern that does not parse ignores nothing, as in git.
            let _ = builder.add_line(None, line);
        }
        builder.build().ok().filter(|rules| !rules.is_empty())
    }
}

/// Whether `path` is below `folder`, both told by the same walk: bytes tell, and are quick.
fn is_below(path: &Path, folder: &Path) -> bool {
    let rest = path.as_os_str().as_bytes().strip_prefix(folder.as_os_str().as_bytes());
    rest.is_some_and(|rest| rest.starts_with(b"/"))
}
