//! Recorded trees at hand, so that a long conversation is not read again for each of its turns. What
//! is kept is named by base and tree id, and made here from contents that were hashed: it is as good
//! as the log, and any of it may be forgotten.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use cody_events::digest::ObjectId;
use cody_events::ids::{JobId, TargetNumber};
use cody_events::tree::{Blob, ChangedEntry};
use lru::LruCache;

use super::{Disbelief, IntakeError};
use crate::git::{Base, GitError, RecordedTree};

/// How many trees are kept.
const AT_HAND: NonZeroUsize = NonZeroUsize::new(8).unwrap();
/// Bytes of contents that one of them may have taken in since it was made; they lie on the disk.
const TAKEN_IN: u64 = 256 << 20;

/// A recorded tree, its id, and what it took in.
#[derive(Debug)]
pub(super) struct TreeAtHand {
    recorded: RecordedTree,
    id: ObjectId,
    commit: ObjectId,
    bytes: u64,
}

/// The trees of the targets that were worked on last.
#[derive(Debug)]
pub(super) struct Trees(Mutex<LruCache<(JobId, TargetNumber), TreeAtHand>>);

impl TreeAtHand {
    /// The tree that `steps` make of `commit`, whose pack is in `pack_dir`.
    pub(super) fn made(
        pack_dir: &Path,
        commit: ObjectId,
        steps: &[(Vec<ChangedEntry>, Vec<Blob>)],
    ) -> Result<Self, GitError> {
        let mut recorded = RecordedTree::at_base(Base::open(pack_dir, commit)?)?;
        for (changed, blobs) in steps {
            recorded.apply(changed, blobs)?;
        }
        let id = recorded.tree_id()?;
        let bytes = steps.iter().map(|(_, blobs)| bytes(blobs)).sum();
        Ok(Self { recorded, id, commit, bytes })
    }

    /// The tree after one more turn, if it can be made and adds at most `most_new` paths.
    pub(super) fn moved(
        mut self,
        changed: &[ChangedEntry],
        blobs: &[Blob],
        most_new: u64,
    ) -> Result<Self, IntakeError> {
        let bad = |error: GitError| match error {
            GitError::Hostile { what } => Disbelief::BadChanges(what).into(),
            ours => IntakeError::Git(ours),
        };
        let mut new_count = 0;
        for change in changed.iter().filter(|change| change.entry.is_some()) {
            new_count += u64::from(self.recorded.entry(&change.path).map_err(bad)?.is_none());
        }
        if new_count > most_new {
            return Err(Disbelief::TooMuch { new_count, most_new }.into());
        }
        self.recorded.apply(changed, blobs).map_err(bad)?;
        self.recorded.check_shape(changed).map_err(bad)?;
        self.id = self.recorded.tree_id().map_err(bad)?;
        self.bytes += bytes(blobs);
        Ok(self)
    }

    pub(super) fn recorded(&self) -> &RecordedTree {
        &self.recorded
    }

    pub(super) fn id(&self) -> ObjectId {
        self.id
    }
}

impl Default for Trees {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(AT_HAND)))
    }
}

impl Trees {
    /// Hands over the tree of a target, if it is the one with this base and id.
    pub(super) fn take(
        &self,
        job: JobId,
        target: TargetNumber,
        commit: ObjectId,
        id: ObjectId,
    ) -> Option<TreeAtHand> {
        let kept = self.lock().pop(&(job, target))?;
        (kept.commit == commit && kept.id == id).then_some(kept)
    }

    /// Keeps the tree of a target for the next who asks.
    pub(super) fn keep(&self, job: JobId, target: TargetNumber, tree: TreeAtHand) {
        if tree.bytes <= TAKEN_IN {
            self.lock().put((job, target), tree);
        }
    }

    /// Forgets the tree of a target that needs none for now.
    pub(super) fn forget(&self, job: JobId, target: TargetNumber) {
        self.lock().pop(&(job, target));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, LruCache<(JobId, TargetNumber), TreeAtHand>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bytes(blobs: &[Blob]) -> u64 {
    blobs.iter().map(|blob| blob.content.len() as u64).sum()
}
