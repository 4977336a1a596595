//! What the file system said of files whose content we know, so that a walk need not read them
//! again. Kept outside of what commands can reach.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;

use cody_events::digest::ObjectId;
use cody_events::tree::RepoPath;

/// What tells a file's content has not changed. Commands can set the other times, but not this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stat {
    inode: u64,
    change_time: (i64, i64),
    size: u64,
}

impl Stat {
    fn of(metadata: &Metadata) -> Self {
        Self {
            inode: metadata.ino(),
            change_time: (metadata.ctime(), metadata.ctime_nsec()),
            size: metadata.size(),
        }
    }
}

/// Known contents by path.
#[derive(Debug, Clone, Default)]
pub struct StatCache {
    known: BTreeMap<RepoPath, (Stat, ObjectId)>,
    /// The latest change time that the last walk saw. A file that changed in the same tick may have
    /// changed again after it was read, without a trace.
    latest: (i64, i64),
    seen_latest: (i64, i64),
}

impl StatCache {
    /// The content of `path`, if the file system vouches that it is what it was.
    pub(super) fn lookup(&mut self, path: &RepoPath, metadata: &Metadata) -> Option<ObjectId> {
        let stat = Stat::of(metadata);
        self.seen_latest = self.seen_latest.max(stat.change_time);
        self.known
            .get(path)
            .filter(|(known, _)| *known == stat && stat.change_time < self.latest)
            .map(|(_, object)| *object)
    }

    /// Remembers the content of `path`.
    pub(super) fn learn(&mut self, path: RepoPath, metadata: &Metadata, object: ObjectId) {
        let stat = Stat::of(metadata);
        self.seen_latest = self.seen_latest.max(stat.change_time);
        self.known.insert(path, (stat, object));
    }

    /// Ends a walk: what changed before its latest change can be trusted from now on.
    pub(super) fn settle(&mut self) {
        self.latest = self.seen_latest;
    }
}
