//! The walk of a work directory: what of it belongs to the tree, and how that differs from the base.
//!
//! It runs when every process that could write there is dead. Links are never followed.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{self, FileType, Metadata};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use cody_events::digest::ObjectId;
use cody_events::tree::{Blob, ChangedEntry, Entry, EntryMode, RepoPath};
use git2::{ObjectType, Oid};

use super::base::{Base, object_id};
use super::budget::{MAX_DEPTH, MAX_PATH};
use super::error::{GitError, io};
use super::ignored::{IgnoreRules, is_build_folder};
use super::listing::{Listed, Listing, descend, joined, position};
use super::recorded::build;
use super::stat_cache::{Known, Stat, StatCache};

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
    #[error("{path} has {size} bytes, more than a turn may change, and stays as in the base")]
    TooLarge { path: RepoPath, size: u64 },
    #[error("{0:?} is a name that git refuses and is not recorded")]
    BadName(String),
    #[error("{0} is a link where git takes none and is not recorded")]
    BadLink(RepoPath),
    #[error("what is deeper than {MAX_DEPTH} folders, as below {0:?}, is not recorded")]
    TooDeep(String),
    #[error(
        "{count} new files are not recorded, the first of them {first}: one turn may add {entries} files and {bytes} bytes"
    )]
    TooMuch { count: u64, first: RepoPath, entries: u64, bytes: u64 },
}

/// Bytes of contents that one turn may change altogether: they are held in memory, and travel in one
/// message.
const CHANGED_BYTES: u64 = 128 << 20;

/// Walks `dir`. `known` are paths that are recorded wherever they stand: those an edit tool wrote,
/// and those of the last recorded tree.
pub fn walk(
    dir: &Path,
    base: &Base,
    known: &BTreeSet<RepoPath>,
    stats: &mut StatCache,
    caps: &WalkCaps,
) -> Result<Walked, GitError> {
    let mut walk = Walk {
        base,
        listing: base.listing()?,
        rules: base.ignore_rules()?,
        known,
        known_folders: folders_of(known),
        stats,
        learned: BTreeMap::new(),
        caps,
        visited: BTreeSet::new(),
        changed: BTreeMap::new(),
        blobs: BTreeMap::new(),
        changed_bytes: 0,
        warnings: Vec::new(),
        seen: 0,
        added: (0, 0),
        left_out: None,
    };
    walk.folder(dir, &mut Vec::new(), false)?;
    let (walked, learned) = walk.finish()?;
    *stats = learned;
    Ok(walked)
}

struct Walk<'a> {
    base: &'a Base,
    listing: &'a Listing,
    rules: &'a IgnoreRules,
    known: &'a BTreeSet<RepoPath>,
    /// Folders that hold something of what is known.
    known_folders: BTreeSet<&'a [u8]>,
    stats: &'a StatCache,
    /// What the next walk may know of the files of this one, by folder.
    learned: BTreeMap<Vec<u8>, Vec<Known>>,
    caps: &'a WalkCaps,
    /// Folders of the base that still are folders.
    visited: BTreeSet<&'a [u8]>,
    /// What differs from the base.
    changed: BTreeMap<RepoPath, Option<Entry>>,
    blobs: BTreeMap<ObjectId, Blob>,
    changed_bytes: u64,
    warnings: Vec<WalkWarning>,
    seen: u64,
    /// New entries and bytes so far.
    added: (u64, u64),
    left_out: Option<(u64, RepoPath)>,
}

/// What the file system says of one name in a folder.
struct Seen {
    name: Box<[u8]>,
    kind: FileType,
    mode: u32,
    stat: Stat,
}

impl Seen {
    fn of(name: Vec<u8>, metadata: &Metadata) -> Self {
        let (kind, mode) = (metadata.file_type(), metadata.mode());
        Self { name: name.into(), kind, mode, stat: Stat::of(metadata) }
    }

    /// The mode of what stands here; nothing if it is a device, pipe or socket.
    fn entry_mode(&self) -> Option<EntryMode> {
        match (self.kind.is_symlink(), self.kind.is_file()) {
            (true, _) => Some(EntryMode::Symlink),
            (_, true) if self.mode & 0o100 != 0 => Some(EntryMode::Executable),
            (_, true) => Some(EntryMode::File),
            (false, false) => None,
        }
    }
}

/// What the tree has at a place.
#[derive(Clone, Copy)]
struct Standing {
    entry: Entry,
    /// Whether the disk has just that; else it only stays as in the base.
    is_read: bool,
}

impl Standing {
    fn read(mode: EntryMode, object: ObjectId) -> Self {
        Self { entry: Entry { mode, object }, is_read: true }
    }
}

impl<'a> Walk<'a> {
    fn folder(&mut self, dir: &Path, prefix: &mut Vec<u8>, ignored: bool) -> Result<(), GitError> {
        let Some(names) = self.read(dir, prefix)? else { return Ok(()) };
        let listed = match self.listing.folder(prefix) {
            Some((folder, listed)) => {
                self.visited.insert(folder);
                listed
            }
            None => &[],
        };
        let mut still_there = vec![false; listed.len()];
        let mut learned = Vec::with_capacity(listed.len());
        for seen in names {
            let length = prefix.len();
            descend(prefix, &seen.name);
            let at = position(listed, &seen.name);
            let in_base = at.map(|at| listed[at].entry);
            let place = dir.join(OsStr::from_bytes(&seen.name));
            if let Some(Standing { entry, is_read }) =
                self.one(&place, &seen, prefix, in_base, ignored)?
            {
                if is_read {
                    learned.push(Known { name: seen.name, stat: seen.stat, object: entry.object });
                }
                if let Some(at) = at {
                    still_there[at] = true;
                }
            }
            prefix.truncate(length);
        }
        for (listed, _) in listed.iter().zip(still_there).filter(|(_, is_there)| !is_there) {
            // A submodule's place holds nothing of ours; it stays what it was.
            if listed.entry.mode != EntryMode::Gitlink {
                self.note_deleted(prefix, listed);
            }
        }
        self.learned.insert(prefix.clone(), learned);
        Ok(())
    }

    /// The names in `dir`, in byte order; nothing if it cannot be read. The directory is closed
    /// again, so that no depth uses up our descriptors.
    fn read(&mut self, dir: &Path, prefix: &[u8]) -> Result<Option<Vec<Seen>>, GitError> {
        let listing = match fs::read_dir(dir) {
            Ok(listing) => listing,
            Err(_) if !prefix.is_empty() => {
                if let Ok(path) = RepoPath::new(prefix) {
                    self.warnings.push(WalkWarning::Unreadable(path));
                }
                return Ok(None);
            }
            Err(error) => return Err(io("the work directory cannot be read", dir)(error)),
        };
        let mut names = Vec::new();
        for entry in listing {
            let entry = entry.map_err(io("a folder cannot be read", dir))?;
            self.seen += 1;
            if self.seen > self.caps.files {
                return Err(GitError::TooBig {
                    what: format!("the work directory holds more than {} files", self.caps.files),
                });
            }
            let Ok(metadata) = entry.metadata() else { continue };
            names.push(Seen::of(entry.file_name().into_vec(), &metadata));
        }
        names.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Some(names))
    }

    /// The entry that stands at `place`, if it is one of the tree. Goes into folders.
    fn one(
        &mut self,
        place: &Path,
        seen: &Seen,
        path: &mut Vec<u8>,
        in_base: Option<Entry>,
        ignored: bool,
    ) -> Result<Option<Standing>, GitError> {
        let is_base_folder = in_base.is_none() && self.listing.folder(path).is_some();
        // The base's own paths were looked at when it was read.
        if in_base.is_none() && !is_base_folder && RepoPath::new(path.as_slice()).is_err() {
            // The throw-away `.git` is ours; other foldings of the name are somebody's attempt.
            if path != b".git" {
                let name = String::from_utf8_lossy(path).into_owned();
                self.warnings.push(WalkWarning::BadName(name));
            }
            return Ok(None);
        }
        if seen.kind.is_dir() {
            if in_base.is_some_and(|entry| entry.mode == EntryMode::Gitlink) {
                return Ok(None);
            }
            let is_tracked = is_base_folder || self.known_folders.contains(path.as_slice());
            let ignored = ignored || self.rules.ignores(path, true);
            let is_scratch = ignored || is_build_folder(&seen.name);
            if is_tracked || !is_scratch {
                // No deeper than a base may be: each level has its place on the stack, and what is
                // recorded has to fit into other directories.
                let depth = path.iter().filter(|byte| **byte == b'/').count();
                match depth < MAX_DEPTH && path.len() < MAX_PATH {
                    true => self.folder(place, path, ignored)?,
                    false => self.warn_of_depth(path),
                }
            }
            return Ok(None);
        }
        let Some(standing) = self.file(place, seen, path, in_base, ignored)? else {
            return Ok(None);
        };
        let entry = standing.entry;
        if in_base != Some(entry)
            && let Ok(path) = RepoPath::new(path.as_slice())
        {
            if entry.mode == EntryMode::Symlink && path.is_refused_as_link() {
                self.warnings.push(WalkWarning::BadLink(path));
                return Ok(None);
            }
            self.changed.insert(path, Some(entry));
        }
        Ok(Some(standing))
    }

    fn file(
        &mut self,
        place: &Path,
        seen: &Seen,
        path: &[u8],
        in_base: Option<Entry>,
        ignored: bool,
    ) -> Result<Option<Standing>, GitError> {
        let whole = || RepoPath::new(path).ok();
        let is_old = in_base.is_some() || whole().is_some_and(|path| self.known.contains(&path));
        if !is_old && (ignored || self.rules.ignores(path, false)) {
            return Ok(None);
        }
        let Some(mode) = seen.entry_mode() else {
            self.warnings.extend(whole().map(WalkWarning::Special));
            return Ok(None);
        };
        if !is_old && !self.has_room(path, seen.stat.size) {
            return Ok(None);
        }
        let folder = &path[..path.len().saturating_sub(seen.name.len() + 1)];
        if let Some(object) = self.stats.folder(folder).content(&seen.name, &seen.stat) {
            let is_bases = in_base.is_some_and(|entry| entry.object == object);
            if is_bases || self.blobs.contains_key(&object) || self.base.has(object)? {
                return Ok(Some(Standing::read(mode, object)));
            }
        }
        if seen.stat.size > CHANGED_BYTES.saturating_sub(self.changed_bytes) {
            let size = seen.stat.size;
            self.warnings.extend(whole().map(|path| WalkWarning::TooLarge { path, size }));
            return Ok(in_base.map(|entry| Standing { entry, is_read: false }));
        }
        let content = match mode {
            EntryMode::Symlink => fs::read_link(place).map(|text| text.into_os_string().into_vec()),
            EntryMode::File | EntryMode::Executable | EntryMode::Gitlink => fs::read(place),
        };
        let Ok(content) = content else {
            self.warnings.extend(whole().map(WalkWarning::Unreadable));
            return Ok(None);
        };
        let object = object_id(Oid::hash_object(ObjectType::Blob, &content)?);
        if !self.base.has(object)? {
            self.changed_bytes += content.len() as u64;
            self.blobs.entry(object).or_insert(Blob { object, content });
        }
        Ok(Some(Standing::read(mode, object)))
    }

    /// One warning for all, by the first folders of the first: a whole name could be pages long.
    fn warn_of_depth(&mut self, path: &[u8]) {
        const SHOWN: usize = 60;
        if !self.warnings.iter().any(|warning| matches!(warning, WalkWarning::TooDeep(_))) {
            let first = String::from_utf8_lossy(&path[..path.len().min(SHOWN)]).into_owned();
            self.warnings.push(WalkWarning::TooDeep(first));
        }
    }

    /// Whether a new file still fits what a turn may add.
    fn has_room(&mut self, path: &[u8], size: u64) -> bool {
        let (entries, bytes) = (self.added.0 + 1, self.added.1.saturating_add(size));
        if entries <= self.caps.new_entries && bytes <= self.caps.new_bytes {
            self.added = (entries, bytes);
            return true;
        }
        match (&mut self.left_out, RepoPath::new(path)) {
            (Some((count, _)), _) => *count += 1,
            (None, Ok(path)) => self.left_out = Some((1, path)),
            (None, Err(_)) => {}
        }
        false
    }

    fn note_deleted(&mut self, folder: &[u8], listed: &Listed) {
        if let Ok(path) = RepoPath::new(joined(folder, &listed.name)) {
            self.changed.insert(path, None);
        }
    }

    fn finish(mut self) -> Result<(Walked, StatCache), GitError> {
        if let Some((count, first)) = self.left_out.take() {
            self.warnings.push(WalkWarning::TooMuch {
                count,
                first,
                entries: self.caps.new_entries,
                bytes: self.caps.new_bytes,
            });
        }
        for (folder, listed) in self.listing.folders() {
            if self.visited.contains(folder) {
                continue;
            }
            let is_shadowed = self.is_shadowed(folder);
            for one in listed {
                if one.entry.mode != EntryMode::Gitlink || is_shadowed {
                    self.note_deleted(folder, one);
                }
            }
        }
        let tree = object_id(build(self.base, &self.changed)?);
        let changed =
            self.changed.into_iter().map(|(path, entry)| ChangedEntry { path, entry }).collect();
        let blobs = self.blobs.into_values().collect();
        let learned = StatCache::new(self.learned);
        Ok((Walked { tree, changed, blobs, warnings: self.warnings }, learned))
    }

    /// Whether a file now stands where `folder`, or a folder above it, was.
    fn is_shadowed(&self, folder: &[u8]) -> bool {
        let ends = (0..folder.len()).filter(|index| folder[*index] == b'/').chain([folder.len()]);
        ends.into_iter().any(|end| {
            RepoPath::new(&folder[..end])
                .is_ok_and(|folder| matches!(self.changed.get(&folder), Some(Some(_))))
        })
    }
}

/// Every folder above `paths`.
fn folders_of(paths: &BTreeSet<RepoPath>) -> BTreeSet<&[u8]> {
    let mut folders = BTreeSet::new();
    for path in paths {
        let mut rest = path.as_bytes();
        while let Some(end) = rest.iter().rposition(|byte| *byte == b'/') {
            rest = &rest[..end];
            if !folders.insert(rest) {
                break;
            }
        }
    }
    folders
}
