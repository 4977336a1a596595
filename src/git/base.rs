//! A pinned base: one commit and its tree, read from the server's pack. The pack is never written
//! to; new objects go to a scratch repository that is gone with the value.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::path::Path;

use cody_events::digest::ObjectId;
use cody_events::tree::{Entry, EntryMode, RepoPath};
use git2::{ObjectType, Oid, Repository, RepositoryInitOptions};
use tempfile::TempDir;

use super::error::{GitError, io};
use super::ignored::IgnoreRules;
use super::listing::Listing;
use super::settings::isolate;

/// Read access to a base.
pub struct Base {
    pub(super) repository: Repository,
    pub(super) tree: Oid,
    commit: Oid,
    listing: OnceCell<Listing>,
    rules: OnceCell<IgnoreRules>,
    _scratch: TempDir,
}

impl Base {
    /// Opens `commit` from the pack in `pack_dir`, a directory with the layout of git's `objects`.
    pub fn open(pack_dir: &Path, commit: ObjectId) -> Result<Self, GitError> {
        isolate()?;
        let scratch = TempDir::with_prefix("cody-base-")
            .map_err(io("a scratch directory cannot be made", &std::env::temp_dir()))?;
        let mut options = RepositoryInitOptions::new();
        options.bare(true).no_reinit(true).external_template(false);
        let repository = Repository::init_opts(scratch.path(), &options)?;
        let alternate = pack_dir.to_str().ok_or_else(|| GitError::Hostile {
            what: format!("the data directory's path is no UTF-8: {}", pack_dir.display()),
        })?;
        repository.odb()?.add_disk_alternate(alternate)?;
        let commit = oid(commit)?;
        let tree = repository.find_commit(commit)?.tree_id();
        let (listing, rules) = (OnceCell::new(), OnceCell::new());
        Ok(Self { repository, tree, commit, listing, rules, _scratch: scratch })
    }

    /// The tree of the base.
    pub fn tree_id(&self) -> ObjectId {
        object_id(self.tree)
    }

    /// The commit of the base.
    pub fn commit_id(&self) -> ObjectId {
        object_id(self.commit)
    }

    /// Every entry of the base but directories, by path.
    ///
    /// # Errors
    /// [`GitError::Hostile`] if the tree has names or twins that no work directory can hold.
    pub fn entries(&self) -> Result<BTreeMap<RepoPath, Entry>, GitError> {
        self.listing()?.entries().collect()
    }

    /// The same by folder, read when it is first asked for.
    pub(super) fn listing(&self) -> Result<&Listing, GitError> {
        if let Some(listing) = self.listing.get() {
            return Ok(listing);
        }
        let listing = Listing::of(&self.repository, self.tree)?;
        Ok(self.listing.get_or_init(|| listing))
    }

    /// The ignore rules of the base, read when they are first asked for.
    pub(super) fn ignore_rules(&self) -> Result<&IgnoreRules, GitError> {
        if let Some(rules) = self.rules.get() {
            return Ok(rules);
        }
        let rules = IgnoreRules::of(self, self.listing()?)?;
        Ok(self.rules.get_or_init(|| rules))
    }

    /// Every entry of the base with the size of its content, in byte order.
    pub fn sized_entries(&self) -> Result<Vec<(RepoPath, Entry, u64)>, GitError> {
        let odb = self.repository.odb()?;
        self.entries()?
            .into_iter()
            .map(|(path, entry)| {
                let size = match entry.mode {
                    EntryMode::Gitlink => 0,
                    EntryMode::File | EntryMode::Executable | EntryMode::Symlink => {
                        odb.read_header(oid(entry.object)?)?.0 as u64
                    }
                };
                Ok((path, entry, size))
            })
            .collect()
    }

    /// What stands at `path` in the base.
    pub fn entry(&self, path: &RepoPath) -> Result<Option<Entry>, GitError> {
        let mut tree = self.tree;
        let mut components = path.components().peekable();
        while let Some(component) = components.next() {
            let folder = self.repository.find_tree(tree)?;
            let Some(found) = folder.get_name_bytes(component) else {
                return Ok(None);
            };
            match (components.peek(), found.kind()) {
                (Some(_), Some(ObjectType::Tree)) => tree = found.id(),
                (None, kind) if kind != Some(ObjectType::Tree) => {
                    let bits = u32::try_from(found.filemode_raw()).unwrap_or(0);
                    let object = object_id(found.id());
                    return Ok(EntryMode::from_bits(bits).map(|mode| Entry { mode, object }));
                }
                _ => return Ok(None),
            }
        }
        Ok(None)
    }

    /// Every path below `path`, if that is a folder of the base.
    pub(super) fn files_below(&self, path: &RepoPath) -> Result<Vec<RepoPath>, GitError> {
        let mut tree = self.tree;
        for component in path.components() {
            let folder = self.repository.find_tree(tree)?;
            match folder.get_name_bytes(component) {
                Some(found) if found.kind() == Some(ObjectType::Tree) => tree = found.id(),
                _ => return Ok(Vec::new()),
            }
        }
        let mut folder = path.as_bytes().to_vec();
        folder.push(b'/');
        let all = self.entries()?.into_keys();
        Ok(all.filter(|other| other.as_bytes().starts_with(&folder)).collect())
    }

    /// Whether the base, or the scratch beside it, has this object.
    pub fn has(&self, object: ObjectId) -> Result<bool, GitError> {
        Ok(self.repository.odb()?.exists(oid(object)?))
    }

    /// The content of a blob; nothing if it has more than `most` bytes, which are not read then.
    pub fn small_content(&self, object: ObjectId, most: u64) -> Result<Option<Vec<u8>>, GitError> {
        let size = self.repository.odb()?.read_header(oid(object)?)?.0;
        if size as u64 > most { Ok(None) } else { self.content(object).map(Some) }
    }

    /// The content of a blob of the base or the scratch beside it.
    pub fn content(&self, object: ObjectId) -> Result<Vec<u8>, GitError> {
        self.read(object, <[u8]>::to_vec)
    }

    /// Shows `look` the content of a blob, without a copy of it.
    pub(super) fn read<R>(
        &self,
        object: ObjectId,
        look: impl FnOnce(&[u8]) -> R,
    ) -> Result<R, GitError> {
        Ok(look(self.repository.odb()?.read(oid(object)?)?.data()))
    }
}

impl std::fmt::Debug for Base {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Base").field("commit", &self.commit).finish_non_exhaustive()
    }
}

pub(super) fn oid(object: ObjectId) -> Result<Oid, GitError> {
    Ok(Oid::from_bytes(object.as_bytes())?)
}

pub(super) fn object_id(oid: Oid) -> ObjectId {
    let mut bytes = [0; 20];
    bytes.copy_from_slice(&oid.as_bytes()[..20]);
    ObjectId(bytes)
}
