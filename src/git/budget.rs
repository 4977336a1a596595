//! What a commit's tree weighs and whether a work directory can hold it, found before anything is
//! checked out. A few kilobytes of nested trees can name more files than any disk holds, so each
//! tree is looked at once.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use cody_events::digest::ObjectId;
use cody_events::tree::{EntryMode, RepoPath};
use git2::{ErrorCode, ObjectType, Odb, Oid, Repository, TreeEntry};

use super::base::oid;
use super::error::GitError;
use super::settings::isolate;

/// The deepest nesting of folders that is walked, in a base or in a work directory.
pub(super) const MAX_DEPTH: usize = 256;
/// The longest name that file systems take, in bytes.
const MAX_NAME: usize = 255;
/// The longest path, in bytes: Linux takes 4096, and the work directory stands before it.
pub(super) const MAX_PATH: usize = 3_072;

/// What a base may weigh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WalkBudget {
    pub files: u64,
    pub bytes: u64,
    /// Of a single file.
    pub file_bytes: u64,
}

/// What a tree weighs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Weight {
    pub files: u64,
    pub bytes: u64,
    pub biggest_file: u64,
}

/// Weighs the tree of `commit` in the repository at `path`.
///
/// # Errors
/// As [`weigh`].
pub fn weigh_at(path: &Path, commit: ObjectId, budget: &WalkBudget) -> Result<Weight, GitError> {
    isolate()?;
    weigh(&Repository::open(path)?, commit, budget)
}

/// Weighs the tree of `commit` in `repository`.
///
/// # Errors
/// [`GitError::TooBig`] if it weighs more than `budget` allows; [`GitError::Hostile`] if it has
/// names that no work directory of ours holds; [`GitError::NotWhole`] if objects are missing.
pub fn weigh(
    repository: &Repository,
    commit: ObjectId,
    budget: &WalkBudget,
) -> Result<Weight, GitError> {
    let tree = repository.find_commit(oid(commit)?)?.tree_id();
    let odb = repository.odb()?;
    let mut scale = Scale { repository, odb, known: HashMap::new(), path: Vec::new() };
    let Weighed { weight, longest_path } = scale.weigh(tree, 0)?;
    let over = |what: String| Err(GitError::TooBig { what });
    if weight.files > budget.files {
        return over(format!("it has {} files, and the limit is {}", weight.files, budget.files));
    }
    if weight.bytes > budget.bytes {
        return over(format!("it has {} bytes, and the limit is {}", weight.bytes, budget.bytes));
    }
    if weight.biggest_file > budget.file_bytes {
        return over(format!(
            "one file has {} bytes, and the limit is {}",
            weight.biggest_file, budget.file_bytes
        ));
    }
    if longest_path > MAX_PATH {
        let what = format!("a path of {longest_path} bytes, and {MAX_PATH} is the most");
        return Err(GitError::Hostile { what });
    }
    Ok(weight)
}

/// What is known of a tree once it was looked at, wherever it stands.
#[derive(Debug, Clone, Copy, Default)]
struct Weighed {
    weight: Weight,
    /// In bytes, from the tree down.
    longest_path: usize,
}

struct Scale<'a> {
    repository: &'a Repository,
    odb: Odb<'a>,
    known: HashMap<Oid, Weighed>,
    /// Where the walk is, for messages.
    path: Vec<u8>,
}

impl Scale<'_> {
    fn weigh(&mut self, tree: Oid, depth: usize) -> Result<Weighed, GitError> {
        if let Some(weighed) = self.known.get(&tree) {
            return Ok(*weighed);
        }
        if depth > MAX_DEPTH {
            let what = format!("folders that nest deeper than {MAX_DEPTH}");
            return Err(GitError::Hostile { what });
        }
        let repository = self.repository;
        let found = repository.find_tree(tree).map_err(|error| self.unreadable(tree, &error))?;
        let mut total = Weighed::default();
        let mut names = HashSet::new();
        for entry in &found {
            let length = self.path.len();
            if length > 0 {
                self.path.push(b'/');
            }
            self.path.extend(entry.name_bytes());
            if !names.insert(entry.name_bytes().to_vec()) {
                return Err(self.hostile("stands twice in one folder"));
            }
            let weighed = self.entry(&entry, depth)?;
            self.path.truncate(length);
            total.add(&weighed, entry.name_bytes().len());
        }
        self.known.insert(tree, total);
        Ok(total)
    }

    fn entry(&mut self, entry: &TreeEntry<'_>, depth: usize) -> Result<Weighed, GitError> {
        let name = entry.name_bytes();
        if name.contains(&b'/') {
            return Err(self.hostile("has a name with a slash in it"));
        }
        if name.len() > MAX_NAME {
            return Err(self.hostile("has a name that is too long for any file system"));
        }
        let path = RepoPath::new(name).map_err(|error| self.hostile(&error.to_string()))?;
        if entry.kind() == Some(ObjectType::Tree) {
            return self.weigh(entry.id(), depth + 1);
        }
        let bits = u32::try_from(entry.filemode_raw()).unwrap_or(0);
        let mode = EntryMode::from_bits(bits);
        if mode == Some(EntryMode::Symlink) && path.is_refused_as_link() {
            return Err(self.hostile("is a link where git takes none"));
        }
        let bytes = match mode {
            Some(EntryMode::Gitlink) => 0,
            Some(EntryMode::File | EntryMode::Executable | EntryMode::Symlink) => {
                let header = self.odb.read_header(entry.id());
                let (size, kind) = header.map_err(|error| self.unreadable(entry.id(), &error))?;
                if kind != ObjectType::Blob {
                    return Err(self.hostile("says that it is a file, and is none"));
                }
                size as u64
            }
            None => return Err(self.hostile(&format!("has the unknown mode {bits:o}"))),
        };
        let weight = Weight { files: 1, bytes, biggest_file: bytes };
        Ok(Weighed { weight, longest_path: 0 })
    }

    /// The error that `why` is at the present path; names are escaped.
    fn hostile(&self, why: &str) -> GitError {
        GitError::Hostile { what: format!("{}: {why}", self.place()) }
    }

    fn place(&self) -> String {
        if self.path.is_empty() {
            return "its root folder".to_owned();
        }
        let start = self.path.len().saturating_sub(200);
        format!("{:?}", String::from_utf8_lossy(&self.path[start..]))
    }

    fn unreadable(&self, object: Oid, error: &git2::Error) -> GitError {
        let path = String::from_utf8_lossy(&self.path);
        match error.code() {
            ErrorCode::NotFound => {
                GitError::NotWhole { what: format!("the object {object} of {path:?} is missing") }
            }
            _ => self.hostile(&format!("its object {object} cannot be read: {}", error.message())),
        }
    }
}

impl Weighed {
    /// Adds what stands in a folder under a name of `name` bytes.
    fn add(&mut self, entry: &Self, name: usize) {
        let (total, weight) = (&mut self.weight, &entry.weight);
        total.files = total.files.saturating_add(weight.files);
        total.bytes = total.bytes.saturating_add(weight.bytes);
        total.biggest_file = total.biggest_file.max(weight.biggest_file);
        let below = if entry.longest_path > 0 { entry.longest_path + 1 } else { 0 };
        self.longest_path = self.longest_path.max(name + below);
    }
}
