//! The path policy: which classes of changes a diff touches. It looks at what the server derived,
//! and at nothing that a prompt, a repository or a worker says.

mod names;
#[cfg(test)]
mod tests;
mod tests_kept;

use std::collections::BTreeMap;

use cody_events::policy::PathClass;
use cody_events::tree::{EntryMode, RepoPath};

use crate::git::{Patch, Touched};

/// A file above this is nothing that anybody reads in a diff.
const LARGE_FILE_BYTES: u64 = 1 << 20;
/// So is a diff of more files.
const MANY_FILES: usize = 300;
/// How many paths of a class are named.
const NAMED_PATHS: usize = 5;

/// What a diff touches: the paths of each class, in byte order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Touches(BTreeMap<PathClass, Vec<RepoPath>>);

impl Touches {
    /// Looks at `touched`, which `patch` shows.
    pub fn of(touched: &[Touched], patch: &Patch) -> Self {
        let mut touches = Self::default();
        for one in touched {
            for class in classes_of(one) {
                touches.add(class, &one.path);
            }
        }
        for file in patch.files.iter().filter(|file| file.binary) {
            // What was deleted needs no reading.
            let stays = touched.iter().any(|one| one.path == file.path && one.after.is_some());
            if stays {
                touches.add(PathClass::Binaries, &file.path);
            }
        }
        if touched.len() > MANY_FILES {
            touches.add(PathClass::LargeChanges, &touched[0].path);
        }
        for path in tests_kept::lost(touched, patch) {
            touches.add(PathClass::DeletedTests, &path);
        }
        touches
    }

    fn add(&mut self, class: PathClass, path: &RepoPath) {
        let paths = self.0.entry(class).or_default();
        if !paths.contains(path) {
            paths.push(path.clone());
        }
    }

    /// The classes, in order.
    pub fn classes(&self) -> Vec<PathClass> {
        self.0.keys().copied().collect()
    }

    /// In words, the classes that `is_allowed` does not take.
    pub fn reasons(&self, is_allowed: impl Fn(PathClass) -> bool) -> Vec<String> {
        let held = self.0.iter().filter(|(class, _)| !is_allowed(**class));
        held.map(|(class, paths)| {
            let named: Vec<String> =
                paths.iter().take(NAMED_PATHS).map(crate::scan::shown_path).collect();
            let more = match paths.len().saturating_sub(NAMED_PATHS) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            format!("It touches {} ({}{more}).", what(*class), named.join(", "))
        })
        .collect()
    }
}

/// A class, as a person would name it, with its name on the command line.
fn what(class: PathClass) -> String {
    let words = match class {
        PathClass::Workflows => "what runs by itself or decides who reviews",
        PathClass::Lockfiles => "lock files",
        PathClass::Binaries => "binary files",
        PathClass::LargeChanges => "more than anybody reads",
        PathClass::DeletedTests => "tests that are gone or skipped",
        PathClass::OutwardLinks => "links that lead out of the repository",
    };
    format!("{words}, class `{class}`")
}

/// The classes that one path is in by its name and kind.
fn classes_of(one: &Touched) -> Vec<PathClass> {
    let mut classes = Vec::new();
    let path = names::Folded::of(&one.path);
    if path.is_workflow() {
        classes.push(PathClass::Workflows);
    }
    if path.is_lockfile() {
        classes.push(PathClass::Lockfiles);
    }
    if one.size > LARGE_FILE_BYTES {
        classes.push(PathClass::LargeChanges);
    }
    let is_link = one.after.is_some_and(|entry| entry.mode == EntryMode::Symlink);
    if is_link && one.link.as_ref().is_none_or(|link| leads_out(&one.path, link)) {
        classes.push(PathClass::OutwardLinks);
    }
    classes
}

/// Whether a link at `path` with this text leads out of the repository, or into git's directory.
fn leads_out(path: &RepoPath, link: &[u8]) -> bool {
    if link.starts_with(b"/") || link.is_empty() {
        return true;
    }
    let mut depth = path.components().count() - 1;
    for component in link.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => match depth.checked_sub(1) {
                Some(up) => depth = up,
                None => return true,
            },
            name if name.eq_ignore_ascii_case(b".git") => return true,
            _ => depth += 1,
        }
    }
    false
}
