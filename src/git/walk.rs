//! The walk of a work directory: what of it belongs to the tree, and how that differs from the base.
//!
//! It runs when every process that could write there is dead. Links are never followed.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use cody_events::digest::ObjectId;
use cody_events::tree::{Blob, ChangedEntry, Entry, EntryMode, RepoPath};
use git2::{ObjectType, Oid};

use super::base::{Base, Listing, folders_of, object_id};
use super::error::{GitError, io};
use super::ignored::is_build_folder;
use super::recorded::build;
use super::stat_cache::StatCache;

/// How much one turn may add.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WalkCaps {
    pub new_entries: u64,
    pub new_bytes: u64,
    /// Files looked at, scratch included; beyond that the walk gives up.
    pub files: u64,
}

/// What a walk found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Walked {
    pub tree: ObjectId,
    /// What differs from the base, by path.
    pub changed: Vec<ChangedEntry>,
    /// Contents that the base does not have.
    pub blobs: Vec<Blob>,
    pub warnings: Vec<WalkWarning>,
}

/// What stands in the work directory and was not recorded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WalkWarning {
    #[error("{0} is a device, pipe or socket and is not recorded")]
    Special(RepoPath),
    #[error("{0} cannot be read and is not recorded")]
    Unreadable(RepoPath),
    #[error("{0:?} is a name that git refuses and is not recorded")]
    BadName(String),
    #[error(
        "{count} new files are not recorded, the first of them {first}: one turn may add {entries} files and {bytes} bytes"
    )]
    TooMuch { count: u64, first: RepoPath, entries: u64, bytes: u64 },
}

/// Walks `dir`. `known` are paths that are recorded wherever they stand: those an edit tool wrote,
/// and those of the last recorded tree.
pub fn walk(
    dir: &Path,
    base: &Base,
    known: &BTreeSet<RepoPath>,
    stats: &mut StatCache,
    caps: &WalkCaps,
) -> Result<Walked, GitError> {
    let listing = base.listing()?;
    let mut walk = Walk {
        base,
        listing,
        known_folders: folders_of(known.iter()),
        known,
        stats,
        caps,
        unchanged: HashSet::with_capacity(listing.entries.len()),
        found: BTreeMap::new(),
        blobs: BTreeMap::new(),
        warnings: Vec::new(),
        seen: 0,
        added: (0, 0),
        left_out: None,
    };
    walk.folder(dir, &mut Vec::new(), false)?;
    walk.finish()
}

struct Walk<'a> {
    base: &'a Base,
    listing: &'a Listing,
    /// Folders that hold something of what is known.
    known_folders: BTreeSet<Vec<u8>>,
    known: &'a BTreeSet<RepoPath>,
    stats: &'a mut StatCache,
    caps: &'a WalkCaps,
    /// Paths that are what they are in the base.
    unchanged: HashSet<&'a RepoPath>,
    /// Paths that are not.
    found: BTreeMap<RepoPath, Entry>,
    blobs: BTreeMap<ObjectId, Blob>,
    warnings: Vec<WalkWarning>,
    seen: u64,
    /// New entries and bytes so far.
    added: (u64, u64),
    left_out: Option<(u64, RepoPath)>,
}

impl Walk<'_> {
    fn folder(&mut self, dir: &Path, prefix: &mut Vec<u8>, ignored: bool) -> Result<(), GitError> {
        let mut names = Vec::new();
        let listing = match fs::read_dir(dir) {
            Ok(listing) => listing,
            Err(_) if !prefix.is_empty() => {
                if let Ok(path) = RepoPath::new(prefix.clone()) {
                    self.warnings.push(WalkWarning::Unreadable(path));
                }
                return Ok(());
            }
            Err(error) => return Err(io("the work directory cannot be read", dir)(error)),
        };
        for entry in listing {
            let entry = entry.map_err(io("a folder cannot be read", dir))?;
            // Asked relative to the folder, which is quicker than by its whole path.
            let Ok(metadata) = entry.metadata() else { continue };
            names.push((entry.file_name().into_vec(), metadata));
        }
        names.sort_by(|(one, _), (other, _)| one.cmp(other));
        for (name, metadata) in names {
            self.seen += 1;
            if self.seen > self.caps.files {
                return Err(GitError::TooBig {
                    what: format!("the work directory holds more than {} files", self.caps.files),
                });
            }
            let length = prefix.len();
            if length > 0 {
                prefix.push(b'/');
            }
            prefix.extend(&name);
            self.one(dir, (&name, &metadata), prefix, ignored)?;
            prefix.truncate(length);
        }
        Ok(())
    }

    fn one(
        &mut self,
        dir: &Path,
        (name, metadata): (&[u8], &Metadata),
        prefix: &mut Vec<u8>,
        ignored: bool,
    ) -> Result<(), GitError> {
        let place = dir.join(OsStr::from_bytes(name));
        let Ok(path) = RepoPath::new(prefix.clone()) else {
            // The throw-away `.git` is ours; other foldings of the name are somebody's attempt.
            if name != b".git" || dir_is_nested(prefix) {
                let name = String::from_utf8_lossy(prefix).into_owned();
                self.warnings.push(WalkWarning::BadName(name));
            }
            return Ok(());
        };
        let in_base = self.listing.entries.get_key_value(&path);
        if metadata.is_dir() && in_base.is_some_and(|(_, e)| e.mode == EntryMode::Gitlink) {
            return Ok(());
        }
        if metadata.is_dir() {
            let is_tracked = self.listing.folders.contains(prefix.as_slice())
                || self.known_folders.contains(prefix.as_slice());
            let ignored = ignored || self.listing.rules.ignores(prefix, true);
            let is_scratch = ignored || is_build_folder(name);
            if is_scratch && !is_tracked {
                return Ok(());
            }
            return self.folder(&place, prefix, ignored);
        }
        let is_old = in_base.is_some() || self.known.contains(&path);
        if !is_old && (ignored || self.listing.rules.ignores(prefix, false)) {
            return Ok(());
        }
        self.file(&place, path, metadata, is_old)
    }

    fn file(
        &mut self,
        place: &Path,
        path: RepoPath,
        metadata: &Metadata,
        is_old: bool,
    ) -> Result<(), GitError> {
        let kind = metadata.file_type();
        let mode = match (kind.is_symlink(), kind.is_file()) {
            (true, _) => EntryMode::Symlink,
            (_, true) if metadata.mode() & 0o100 != 0 => EntryMode::Executable,
            (_, true) => EntryMode::File,
            (false, false) => {
                self.warnings.push(WalkWarning::Special(path));
                return Ok(());
            }
        };
        if !is_old && !self.has_room(&path, metadata.size()) {
            return Ok(());
        }
        if let Some(object) = self.stats.lookup(&path, metadata)
            && self.has_content(&path, object)?
        {
            self.found(path, Entry { mode, object });
            return Ok(());
        }
        let content = match mode {
            EntryMode::Symlink => fs::read_link(place).map(|text| text.into_os_string().into_vec()),
            EntryMode::File | EntryMode::Executable | EntryMode::Gitlink => fs::read(place),
        };
        let Ok(content) = content else {
            self.warnings.push(WalkWarning::Unreadable(path));
            return Ok(());
        };
        let object = object_id(Oid::hash_object(ObjectType::Blob, &content)?);
        self.stats.learn(path.clone(), metadata, object);
        if !self.base.has(object)? {
            self.blobs.entry(object).or_insert(Blob { object, content });
        }
        self.found(path, Entry { mode, object });
        Ok(())
    }

    /// Whether the content of `path` need not be read to be recorded.
    fn has_content(&self, path: &RepoPath, object: ObjectId) -> Result<bool, GitError> {
        let is_bases = self.listing.entries.get(path).is_some_and(|entry| entry.object == object);
        Ok(is_bases || self.blobs.contains_key(&object) || self.base.has(object)?)
    }

    fn found(&mut self, path: RepoPath, entry: Entry) {
        let listing = self.listing;
        match listing.entries.get_key_value(&path) {
            Some((path, in_base)) if *in_base == entry => {
                self.unchanged.insert(path);
            }
            _ => {
                self.found.insert(path, entry);
            }
        }
    }

    /// Whether a new file still fits what a turn may add.
    fn has_room(&mut self, path: &RepoPath, size: u64) -> bool {
        let (entries, bytes) = (self.added.0 + 1, self.added.1.saturating_add(size));
        if entries > self.caps.new_entries || bytes > self.caps.new_bytes {
            match &mut self.left_out {
                Some((count, _)) => *count += 1,
                None => self.left_out = Some((1, path.clone())),
            }
            return false;
        }
        self.added = (entries, bytes);
        true
    }

    fn finish(mut self) -> Result<Walked, GitError> {
        self.stats.settle();
        if let Some((count, first)) = self.left_out.take() {
            self.warnings.push(WalkWarning::TooMuch {
                count,
                first,
                entries: self.caps.new_entries,
                bytes: self.caps.new_bytes,
            });
        }
        let mut changed: BTreeMap<RepoPath, Option<Entry>> =
            self.found.iter().map(|(path, entry)| (path.clone(), Some(*entry))).collect();
        for (path, entry) in &self.listing.entries {
            let is_there = self.unchanged.contains(path) || self.found.contains_key(path);
            // A submodule's place holds nothing of ours; it stays what it was.
            let is_carried = entry.mode == EntryMode::Gitlink && !self.is_shadowed(path);
            if !is_there && !is_carried {
                changed.insert(path.clone(), None);
            }
        }
        let tree = object_id(build(self.base, &changed)?);
        Ok(Walked {
            tree,
            changed: changed
                .into_iter()
                .map(|(path, entry)| ChangedEntry { path, entry })
                .collect(),
            blobs: self.blobs.into_values().collect(),
            warnings: self.warnings,
        })
    }

    /// Whether a file now stands where a folder of `path` was.
    fn is_shadowed(&self, path: &RepoPath) -> bool {
        let bytes = path.as_bytes();
        (0..bytes.len()).filter(|index| bytes[*index] == b'/').any(|end| {
            RepoPath::new(&bytes[..end]).is_ok_and(|folder| self.found.contains_key(&folder))
        })
    }
}

fn dir_is_nested(prefix: &[u8]) -> bool {
    prefix.contains(&b'/')
}
