//! Which new files are scratch: by the base commit's own ignore rules, and by the names that build
//! tools give their folders. Rules of the work directory, its user or its machine do not count.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use cody_events::tree::EntryMode;
use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

use super::base::Base;
use super::error::GitError;
use super::listing::{Listing, position};

/// Folders that build tools make. New files below them are scratch, unless the base has such a
/// folder or an edit tool wrote there.
const BUILD_FOLDERS: [&str; 25] = [
    ".build",
    ".bundle",
    ".cache",
    ".eggs",
    ".gradle",
    ".mypy_cache",
    ".next",
    ".nox",
    ".nuxt",
    ".parcel-cache",
    ".pytest_cache",
    ".ruff_cache",
    ".svelte-kit",
    ".terraform",
    ".tox",
    ".turbo",
    ".venv",
    "__pycache__",
    "bower_components",
    "build",
    "dist",
    "node_modules",
    "out",
    "target",
    "venv",
];

/// Bytes of rules that count, of all files together; a repository may bring a mountain of them, and
/// each has its cost. What is over it ignores nothing.
pub const MAX_RULES_BYTES: usize = 1 << 20;

/// The ignore rules of a base.
#[derive(Debug)]
pub(super) struct IgnoreRules {
    /// Rules by the folder that they stand in; the root is the empty path.
    by_folder: BTreeMap<Vec<u8>, Gitignore>,
}

impl IgnoreRules {
    /// Reads the `.gitignore` files of the base.
    pub fn of(base: &Base, listing: &Listing) -> Result<Self, GitError> {
        let mut by_folder = BTreeMap::new();
        let mut bytes_left = MAX_RULES_BYTES;
        for (folder, listed) in listing.folders() {
            let Some(at) = position(listed, b".gitignore") else { continue };
            let entry = listed[at].entry;
            if !matches!(entry.mode, EntryMode::File | EntryMode::Executable) {
                continue;
            }
            let content = base.content(entry.object)?;
            let Some(left) = bytes_left.checked_sub(content.len()) else { continue };
            bytes_left = left;
            let mut builder = GitignoreBuilder::new(OsStr::from_bytes(folder));
            for line in String::from_utf8_lossy(&content).lines() {
                // A pattern that does not parse ignores nothing, as in git.
                let _ = builder.add_line(None, line);
            }
            if let Ok(rules) = builder.build() {
                by_folder.insert(folder.to_vec(), rules);
            }
        }
        Ok(Self { by_folder })
    }

    /// Whether the rules ignore `path` itself; its folders were asked before.
    pub fn ignores(&self, path: &[u8], is_folder: bool) -> bool {
        let whole = Path::new(OsStr::from_bytes(path));
        let mut folder = path;
        loop {
            folder = match folder.iter().rposition(|byte| *byte == b'/') {
                Some(end) => &folder[..end],
                None => b"",
            };
            if let Some(rules) = self.by_folder.get(folder) {
                match rules.matched(whole, is_folder) {
                    Match::Ignore(_) => return true,
                    Match::Whitelist(_) => return false,
                    Match::None => {}
                }
            }
            if folder.is_empty() {
                return false;
            }
        }
    }
}

/// Whether a folder of this name is a build tool's.
pub fn is_build_folder(name: &[u8]) -> bool {
    std::str::from_utf8(name).is_ok_and(|name| BUILD_FOLDERS.binary_search(&name).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_build_folders_can_be_searched() {
        assert!(BUILD_FOLDERS.is_sorted());
        assert!(is_build_folder(b"node_modules"));
        assert!(!is_build_folder(b"src"));
    }
}
