//! A recorded tree: a base and what differs from it. This is how trees travel and how they are
//! checked: whoever has the base, the changed entries and the blobs can make the tree again.

use std::collections::{BTreeMap, BTreeSet};

use cody_events::digest::ObjectId;
use cody_events::tree::{Blob, ChangedEntry, Entry, EntryMode, RepoPath};
use git2::{ObjectType, Oid};

use super::base::{Base, object_id, oid};
use super::error::GitError;
use super::tree_builder;

/// A base with changes.
#[derive(Debug)]
pub struct RecordedTree {
    pub(super) base: Base,
    changed: BTreeMap<RepoPath, Option<Entry>>,
}

impl RecordedTree {
    /// The tree of the base itself.
    pub fn at_base(base: Base) -> Result<Self, GitError> {
        Ok(Self { base, changed: BTreeMap::new() })
    }

    /// The base.
    pub fn base(&self) -> &Base {
        &self.base
    }

    /// Takes one turn's changes, with the contents that are new in them.
    ///
    /// # Errors
    /// [`GitError::Hostile`] if a blob is not what its id says, or an entry's content is nowhere.
    pub fn apply(&mut self, changes: &[ChangedEntry], blobs: &[Blob]) -> Result<(), GitError> {
        let odb = self.base.repository.odb()?;
        for blob in blobs {
            let written = odb.write(ObjectType::Blob, &blob.content)?;
            if object_id(written) != blob.object {
                return Err(GitError::Hostile {
                    what: format!("a blob is {written}, not {} as it says", blob.object),
                });
            }
        }
        for change in changes {
            if let Some(entry) = change.entry
                && entry.mode != EntryMode::Gitlink
                && !odb.exists(oid(entry.object)?)
            {
                return Err(GitError::Hostile {
                    what: format!("the content of {:?} ({}) is missing", change.path, entry.object),
                });
            }
            if self.base.entry(&change.path)? == change.entry {
                self.changed.remove(&change.path);
            } else {
                self.changed.insert(change.path.clone(), change.entry);
            }
        }
        Ok(())
    }

    /// What stands at `path`.
    pub fn entry(&self, path: &RepoPath) -> Result<Option<Entry>, GitError> {
        match self.changed.get(path) {
            Some(entry) => Ok(*entry),
            None => self.base.entry(path),
        }
    }

    /// Whether `changes`, which were applied, leave a tree that a disk can hold and git takes: nothing
    /// stands below a file, nothing of a folder is left where a file took its place, no submodule is
    /// new, and no link stands where git refuses one.
    ///
    /// # Errors
    /// [`GitError::Hostile`] if they do not.
    pub fn check_shape(&self, changes: &[ChangedEntry]) -> Result<(), GitError> {
        let hostile = |what: String| Err(GitError::Hostile { what });
        for change in changes {
            let path = &change.path;
            let Some(entry) = change.entry else { continue };
            if entry.mode == EntryMode::Gitlink && self.base.entry(path)? != Some(entry) {
                return hostile(format!("{path:?} is a submodule that the base does not have"));
            }
            if entry.mode == EntryMode::Symlink && path.is_refused_as_link() {
                return hostile(format!("{path:?} is a link where git takes none"));
            }
            for above in path.folders() {
                if self.entry(&above)?.is_some() {
                    return hostile(format!("{path:?} stands below the file {above:?}"));
                }
            }
            for below in self.base.files_below(path)? {
                if self.entry(&below)?.is_some() {
                    return hostile(format!("{path:?} is a file, and {below:?} stands below it"));
                }
            }
        }
        Ok(())
    }

    /// The id of the tree.
    pub fn tree_id(&self) -> Result<ObjectId, GitError> {
        Ok(object_id(self.build()?))
    }

    /// What differs from the base, as a map.
    pub fn changed(&self) -> &BTreeMap<RepoPath, Option<Entry>> {
        &self.changed
    }

    /// What differs from the base, by path.
    pub fn changed_from_base(&self) -> Vec<ChangedEntry> {
        self.changed
            .iter()
            .map(|(path, entry)| ChangedEntry { path: path.clone(), entry: *entry })
            .collect()
    }

    /// Every entry but directories, by path.
    pub fn entries(&self) -> Result<BTreeMap<RepoPath, Entry>, GitError> {
        let mut entries = self.base.entries()?;
        for (path, entry) in &self.changed {
            match entry {
                Some(entry) => entries.insert(path.clone(), *entry),
                None => entries.remove(path),
            };
        }
        Ok(entries)
    }

    /// The content of a blob that the base's pack does not have; nothing for others.
    pub fn blob(&self, object: &ObjectId) -> Option<Blob> {
        let content = self.base.content(*object).ok()?;
        Some(Blob { object: *object, content })
    }

    /// Writes the tree's objects beside the base.
    pub(super) fn build(&self) -> Result<Oid, GitError> {
        build(&self.base, &self.changed)
    }
}

/// Writes the tree that `changed` makes of `base`.
pub(super) fn build(
    base: &Base,
    changed: &BTreeMap<RepoPath, Option<Entry>>,
) -> Result<Oid, GitError> {
    if changed.is_empty() {
        return Ok(base.tree);
    }
    let paths: Vec<(Vec<&[u8]>, Option<Entry>)> =
        changed.iter().map(|(path, entry)| (path.components().collect(), *entry)).collect();
    let changes: Vec<(&[&[u8]], Option<Entry>)> =
        paths.iter().map(|(path, entry)| (path.as_slice(), *entry)).collect();
    match tree_builder::updated(&base.repository, Some(base.tree), &changes)? {
        Some(tree) => Ok(tree),
        None => Ok(base.repository.odb()?.write(ObjectType::Tree, &[])?),
    }
}

/// What differs between two trees, each given as what differs from `base`.
pub fn difference(
    base: &Base,
    before: &BTreeMap<RepoPath, Option<Entry>>,
    after: &BTreeMap<RepoPath, Option<Entry>>,
) -> Result<Vec<ChangedEntry>, GitError> {
    let paths: BTreeSet<&RepoPath> = before.keys().chain(after.keys()).collect();
    let mut changes = Vec::new();
    for path in paths {
        let at = |tree: &BTreeMap<RepoPath, Option<Entry>>| match tree.get(path) {
            Some(entry) => Ok(*entry),
            None => base.entry(path),
        };
        let (old, new) = (at(before)?, at(after)?);
        if old != new {
            changes.push(ChangedEntry { path: path.clone(), entry: new });
        }
    }
    Ok(changes)
}
