//! The paths of a tree, sorted, with the questions that the scan asks of them. No content.

use cody_events::tree::{Entry, EntryMode, RepoPath};

use super::sorts::{self, Sort};

/// Paths longer than this are counted and otherwise left alone: no list of a scan shall grow by
/// what one hostile name holds.
const PATH_MAX: usize = 1024;

/// One regular file.
#[derive(Debug, Clone, Copy)]
pub struct File<'a> {
    pub path: &'a RepoPath,
    pub executable: bool,
    pub size: u64,
    pub sort: Sort,
}

impl<'a> File<'a> {
    /// The last component.
    pub fn name(&self) -> &'a [u8] {
        name_of(self.path.as_bytes())
    }

    /// The folder's path, empty for the root.
    pub fn folder(&self) -> &'a [u8] {
        folder_of(self.path.as_bytes())
    }

    /// How many folders stand above it.
    pub fn depth(&self) -> usize {
        self.path.as_bytes().iter().filter(|byte| **byte == b'/').count()
    }

    /// Whether its path may enter a list of the scan.
    pub fn is_listable(&self) -> bool {
        self.path.as_bytes().len() <= PATH_MAX
    }
}

/// The regular files of a tree in byte order of their paths, and counts of the rest.
#[derive(Debug)]
pub struct Listing<'a> {
    files: Vec<File<'a>>,
    pub symlink_count: u64,
    pub gitlink_count: u64,
}

impl<'a> Listing<'a> {
    pub fn new(entries: &'a [(RepoPath, Entry, u64)]) -> Self {
        let mut listing =
            Self { files: Vec::with_capacity(entries.len()), symlink_count: 0, gitlink_count: 0 };
        for (path, entry, size) in entries {
            let executable = match entry.mode {
                EntryMode::File => false,
                EntryMode::Executable => true,
                EntryMode::Symlink => {
                    listing.symlink_count += 1;
                    continue;
                }
                EntryMode::Gitlink => {
                    listing.gitlink_count += 1;
                    continue;
                }
            };
            let sort = sorts::by_path(path.as_bytes());
            listing.files.push(File { path, executable, size: *size, sort });
        }
        listing.files.sort_by(|a, b| a.path.cmp(b.path));
        listing
    }

    pub fn files(&self) -> &[File<'a>] {
        &self.files
    }

    /// How many files are of this sort by their path.
    pub fn count(&self, sort: Sort) -> u64 {
        self.files.iter().filter(|file| file.sort == sort).count() as u64
    }

    /// The file at exactly `folder`/`name`; the root is the empty folder.
    pub fn get(&self, folder: &[u8], name: &str) -> Option<&File<'a>> {
        let path = joined(folder, name.as_bytes());
        let at = self.files.binary_search_by(|file| file.path.as_bytes().cmp(&path)).ok()?;
        self.files.get(at)
    }

    pub fn has(&self, folder: &[u8], name: &str) -> bool {
        self.get(folder, name).is_some()
    }

    /// All files below `folder`, at any depth.
    pub fn below(&self, folder: &[u8]) -> &[File<'a>] {
        if folder.is_empty() {
            return &self.files;
        }
        let prefix = joined(folder, b"");
        let start = self.files.partition_point(|file| file.path.as_bytes() < prefix.as_slice());
        let rest = &self.files[start..];
        let len = rest.partition_point(|file| file.path.as_bytes().starts_with(&prefix));
        &rest[..len]
    }

    /// Whether the folder `folder`/`name` holds any file.
    pub fn has_folder(&self, folder: &[u8], name: &str) -> bool {
        !self.below(&joined(folder, name.as_bytes())).is_empty()
    }
}

pub fn name_of(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or(path)
}

pub fn folder_of(path: &[u8]) -> &[u8] {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => &path[..at],
        None => b"",
    }
}

/// Whether `inner` is `outer` or stands below it; the empty path is the root.
pub fn is_within(inner: &[u8], outer: &[u8]) -> bool {
    outer.is_empty()
        || inner == outer
        || (inner.starts_with(outer) && inner.get(outer.len()) == Some(&b'/'))
}

fn joined(folder: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = Vec::with_capacity(folder.len() + 1 + name.len());
    path.extend_from_slice(folder);
    if !folder.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}
