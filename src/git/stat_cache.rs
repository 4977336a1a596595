//! What the file system said of files whose content we know, so that a walk need not read them
//! again. Kept outside of what commands can reach.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;

use cody_events::digest::ObjectId;

/// What tells a file's content has not changed. Commands can set the other times, but not this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stat {
    inode: u64,
    change_time: (i64, i64),
    pub size: u64,
}

impl Stat {
    pub fn of(metadata: &Metadata) -> Self {
        Self {
            inode: metadata.ino(),
            change_time: (metadata.ctime(), metadata.ctime_nsec()),
            size: metadata.size(),
        }
    }
}

/// A file whose content is known.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub name: Box<[u8]>,
    pub stat: Stat,
    pub object: ObjectId,
}

/// Known contents by folder, then by name.
#[derive(Debug, Clone, Default)]
pub struct StatCache {
    folders: BTreeMap<Vec<u8>, Vec<Known>>,
    /// The latest change time that the last walk saw. A file that changed in the same tick may have
    /// changed again after it was read, without a trace.
    latest: (i64, i64),
}

impl StatCache {
    /// A cache of these files, whose content was known when they were looked at.
    pub(super) fn new(mut folders: BTreeMap<Vec<u8>, Vec<Known>>) -> Self {
        let times = folders.values().flatten().map(|known| known.stat.change_time);
        let latest = times.max().unwrap_or_default();
        for known in folders.values_mut() {
            known.sort_by(|a, b| a.name.cmp(&b.name));
            known.shrink_to_fit();
        }
        Self { folders, latest }
    }

    /// What is known of the files in `folder`.
    pub(super) fn folder(&self, folder: &[u8]) -> KnownFolder<'_> {
        let known = self.folders.get(folder).map_or(&[][..], Vec::as_slice);
        KnownFolder { known, latest: self.latest }
    }
}

/// What is known of the files in one folder.
#[derive(Debug, Clone, Copy)]
pub(super) struct KnownFolder<'a> {
    known: &'a [Known],
    latest: (i64, i64),
}

impl KnownFolder<'_> {
    /// The content of the file `name`, if the file system vouches that it is what it was.
    pub fn content(&self, name: &[u8], stat: &Stat) -> Option<ObjectId> {
        let at = self.known.binary_search_by(|known| known.name.as_ref().cmp(name)).ok()?;
        let known = &self.known[at];
        (known.stat == *stat && stat.change_time < self.latest).then_some(known.object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_in_the_last_tick_is_not_trusted() {
        let stat = |tick| Stat { inode: 1, change_time: (1, tick), size: 3 };
        let known = |name: &[u8], tick| Known {
            name: name.into(),
            stat: stat(tick),
            object: ObjectId([7; 20]),
        };
        let files = vec![known(b"new", 9), known(b"old", 8)];
        let cache = StatCache::new(BTreeMap::from([(b"a".to_vec(), files)]));
        let folder = cache.folder(b"a");
        assert_eq!(folder.content(b"old", &stat(8)), Some(ObjectId([7; 20])));
        assert_eq!(folder.content(b"new", &stat(9)), None, "it may have changed after it was read");
        assert_eq!(folder.content(b"old", &stat(7)), None);
        assert_eq!(folder.content(b"gone", &stat(8)), None);
        assert_eq!(cache.folder(b"").content(b"old", &stat(8)), None);
    }
}
