//! What a base holds, folder by folder, read once: the walk asks it at every turn.

use std::collections::{BTreeMap, BTreeSet};

use cody_events::tree::{Entry, EntryMode, RepoPath};
use git2::{ObjectType, Oid, Repository};

use super::base::object_id;
use super::error::GitError;

/// Something in a folder that is no folder itself.
#[derive(Debug)]
pub(super) struct Listed {
    pub name: Box<[u8]>,
    pub entry: Entry,
}

/// Every folder of a base, the root with the empty path, with what stands in it by name.
#[derive(Debug, Default)]
pub(super) struct Listing {
    folders: BTreeMap<Vec<u8>, Vec<Listed>>,
}

impl Listing {
    /// Reads `tree`.
    ///
    /// # Errors
    /// [`GitError::Hostile`] if the tree has names or twins that no work directory can hold.
    pub fn of(repository: &Repository, tree: Oid) -> Result<Self, GitError> {
        let mut listing = Self::default();
        listing.collect(repository, tree, &mut Vec::new())?;
        Ok(listing)
    }

    /// The folder at `path`, if the base has it: its path, and what stands in it.
    pub fn folder(&self, path: &[u8]) -> Option<(&[u8], &[Listed])> {
        self.folders.get_key_value(path).map(|(path, listed)| (path.as_slice(), listed.as_slice()))
    }

    /// Every folder, by path.
    pub fn folders(&self) -> impl Iterator<Item = (&[u8], &[Listed])> {
        self.folders.iter().map(|(path, listed)| (path.as_slice(), listed.as_slice()))
    }

    /// Every entry but folders; folder by folder, so not in the order of whole paths.
    pub fn entries(&self) -> impl Iterator<Item = Result<(RepoPath, Entry), GitError>> {
        self.folders().flat_map(|(folder, listed)| {
            listed.iter().map(|one| Ok((path_of(&joined(folder, &one.name))?, one.entry)))
        })
    }

    fn collect(
        &mut self,
        repository: &Repository,
        tree: Oid,
        prefix: &mut Vec<u8>,
    ) -> Result<(), GitError> {
        let tree = repository.find_tree(tree)?;
        let mut listed = Vec::with_capacity(tree.len());
        let mut names = BTreeSet::new();
        for entry in &tree {
            let name = entry.name_bytes();
            let length = prefix.len();
            descend(prefix, name);
            let path = path_of(prefix)?;
            if name.contains(&b'/') || !names.insert(name.to_vec()) {
                return Err(GitError::Hostile { what: format!("two entries at {path:?}") });
            }
            if entry.kind() == Some(ObjectType::Tree) {
                self.collect(repository, entry.id(), prefix)?;
            } else {
                let bits = u32::try_from(entry.filemode_raw()).unwrap_or(0);
                let mode = EntryMode::from_bits(bits).ok_or_else(|| GitError::Hostile {
                    what: format!("{path:?} has the unknown mode {bits:o}"),
                })?;
                let entry = Entry { mode, object: object_id(entry.id()) };
                listed.push(Listed { name: name.into(), entry });
            }
            prefix.truncate(length);
        }
        listed.sort_by(|a, b| a.name.cmp(&b.name));
        listed.shrink_to_fit();
        self.folders.insert(prefix.clone(), listed);
        Ok(())
    }
}

/// Where `name` stands among `listed`.
pub(super) fn position(listed: &[Listed], name: &[u8]) -> Option<usize> {
    listed.binary_search_by(|one| one.name.as_ref().cmp(name)).ok()
}

/// Goes from a folder's path to that of `name` in it.
pub(super) fn descend(path: &mut Vec<u8>, name: &[u8]) {
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend(name);
}

/// The path of `name` in `folder`.
pub(super) fn joined(folder: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = Vec::with_capacity(folder.len() + 1 + name.len());
    path.extend(folder);
    descend(&mut path, name);
    path
}

fn path_of(bytes: &[u8]) -> Result<RepoPath, GitError> {
    RepoPath::new(bytes).map_err(|error| GitError::Hostile {
        what: format!("{:?}: {error}", String::from_utf8_lossy(bytes)),
    })
}
