//! Diffs as git's own patch format, so that `git apply --index` makes exactly the recorded tree.
//! Renames are written as a deletion and an addition: libgit2's own cannot be applied if binary.

use cody_events::diff::{ChangedFile, FileChange};
use cody_events::tree::RepoPath;
use git2::{Delta, Diff, DiffFormat, DiffOptions};

use super::error::GitError;
use super::recorded::RecordedTree;

/// A patch and what it touches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patch {
    /// In git's format; empty if nothing changed.
    pub bytes: Vec<u8>,
    pub files: Vec<ChangedFile>,
}

/// The patch from the base of `recorded` to its tree.
pub fn write_patch(recorded: &RecordedTree) -> Result<Patch, GitError> {
    let repository = &recorded.base.repository;
    let old = repository.find_tree(recorded.base.tree)?;
    let new = repository.find_tree(recorded.build()?)?;
    let mut options = DiffOptions::new();
    options
        .show_binary(true)
        .id_abbrev(40)
        .context_lines(3)
        .interhunk_lines(0)
        .ignore_submodules(false)
        .include_typechange(false);
    let diff = repository.diff_tree_to_tree(Some(&old), Some(&new), Some(&mut options))?;
    Ok(Patch { bytes: print(&diff)?, files: files(&diff)? })
}

fn print(diff: &Diff<'_>) -> Result<Vec<u8>, GitError> {
    let mut bytes = Vec::new();
    diff.print(DiffFormat::Patch, |delta, _, line| {
        // Of a binary file whose mode alone changed, libgit2 also writes an empty binary patch,
        // which git refuses.
        let is_same_content = delta.old_file().id() == delta.new_file().id();
        match line.origin() {
            'B' if is_same_content => return true,
            origin @ ('+' | '-' | ' ') => bytes.push(origin as u8),
            _ => {}
        }
        bytes.extend(line.content());
        true
    })?;
    Ok(bytes)
}

fn files(diff: &Diff<'_>) -> Result<Vec<ChangedFile>, GitError> {
    let mut files = Vec::with_capacity(diff.deltas().len());
    for (index, delta) in diff.deltas().enumerate() {
        let (old, new) = (delta.old_file(), delta.new_file());
        let bytes = new.path_bytes().or_else(|| old.path_bytes()).unwrap_or_default();
        let path = RepoPath::new(bytes).map_err(|error| GitError::Hostile {
            what: format!("{:?}: {error}", String::from_utf8_lossy(bytes)),
        })?;
        let change = match delta.status() {
            Delta::Added => FileChange::Added,
            Delta::Deleted => FileChange::Deleted,
            _ if old.mode() != new.mode() && old.id() == new.id() => FileChange::ModeChanged,
            _ => FileChange::Modified,
        };
        let patch = git2::Patch::from_diff(diff, index)?;
        let (added, deleted) = match &patch {
            Some(patch) => {
                let (_, added, deleted) = patch.line_stats()?;
                (added as u64, deleted as u64)
            }
            None => (0, 0),
        };
        let is_binary = patch.as_ref().is_none_or(|patch| patch.delta().flags().is_binary());
        files.push(ChangedFile {
            path,
            change,
            binary: is_binary,
            added_line_count: added,
            deleted_line_count: deleted,
        });
    }
    Ok(files)
}
