//! How much a commit's tree weighs, counted before anything is checked out. A few kilobytes of
//! nested trees can name more files than any disk holds; each tree is counted once.

use std::collections::HashMap;
use std::path::Path;

use cody_events::digest::ObjectId;
use git2::{ObjectType, Oid, Repository};

use super::base::oid;
use super::error::GitError;

/// The deepest nesting of folders that is walked.
const MAX_DEPTH: usize = 256;

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
    weigh(&Repository::open(path)?, commit, budget)
}

/// Weighs the tree of `commit` in `repository`.
///
/// # Errors
/// [`GitError::TooBig`] if it weighs more than `budget` allows.
pub fn weigh(
    repository: &Repository,
    commit: ObjectId,
    budget: &WalkBudget,
) -> Result<Weight, GitError> {
    let tree = repository.find_commit(oid(commit)?)?.tree_id();
    let mut known = HashMap::new();
    let weight = weigh_tree(repository, tree, &mut known, 0)?;
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
    Ok(weight)
}

fn weigh_tree(
    repository: &Repository,
    tree: Oid,
    known: &mut HashMap<Oid, Weight>,
    depth: usize,
) -> Result<Weight, GitError> {
    if let Some(weight) = known.get(&tree) {
        return Ok(*weight);
    }
    if depth > MAX_DEPTH {
        return Err(GitError::TooBig { what: format!("its folders nest deeper than {MAX_DEPTH}") });
    }
    let odb = repository.odb()?;
    let mut total = Weight::default();
    for entry in &repository.find_tree(tree)? {
        let weight = match entry.kind() {
            Some(ObjectType::Tree) => weigh_tree(repository, entry.id(), known, depth + 1)?,
            Some(ObjectType::Blob) => {
                let bytes = odb.read_header(entry.id())?.0 as u64;
                Weight { files: 1, bytes, biggest_file: bytes }
            }
            _ => Weight { files: 1, ..Weight::default() },
        };
        total.files = total.files.saturating_add(weight.files);
        total.bytes = total.bytes.saturating_add(weight.bytes);
        total.biggest_file = total.biggest_file.max(weight.biggest_file);
    }
    known.insert(tree, total);
    Ok(total)
}
