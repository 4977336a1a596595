//! The tools of a turn: run in order from the last recorded tree, and recorded together.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cody_events::attempt::SandboxBackend;
use cody_events::digest::ObjectId;
use cody_events::ids::{ThreadNumber, TurnNumber};
use cody_events::tree::{Blob, ChangedEntry, Entry, RepoPath};

use super::attempt::{Attempt, create_dir};
use super::connection::Connection;
use super::{WorkerError, blocking};
use crate::git::{self, Base, RecordedTree, StatCache, WalkCaps};
use crate::tools::{self, Outputs, ToolContext};
use crate::wire::{AskedTool, OutputAnswer, OutputRequest, Receipt, ToolsReport};

/// What the first result says after another worker took over.
const TOOK_OVER: &str = "[This machine is new: files of /repo are as recorded; processes, caches and \
everything outside of /repo are gone.]";

/// The work directory of an attempt, and what is recorded of it.
pub(super) struct Workplace {
    context: ToolContext,
    root: PathBuf,
    tree: ObjectId,
    /// What differs from the base, by path.
    changed: BTreeMap<RepoPath, Option<Entry>>,
    blobs: BTreeMap<ObjectId, Vec<u8>>,
    stats: StatCache,
}

impl Workplace {
    /// A fresh work directory at the last recorded tree.
    pub(super) async fn prepare(attempt: &Attempt) -> Result<Self, WorkerError> {
        let assignment = attempt.connection_state().await?;
        let dir = attempt.dir.join(format!("work-{}", assignment.turn_hint));
        super::attempt::remove(&dir).await;
        create_dir(&dir).await?;
        let root = dir.join("repo");
        let git_dir = attempt.git_dir(&dir.join("git")).await?;
        let (pack, commit) = attempt.pack()?;
        let (tree, changes, blobs) = (assignment.tree, assignment.changed, assignment.blobs);
        let place = root.clone();
        let (entries, contents) = (changes.clone(), blobs.clone());
        let stats = blocking(move || {
            let mut recorded = RecordedTree::at_base(Base::open(&pack, commit)?)?;
            recorded.apply(&entries, &contents)?;
            if recorded.tree_id()? != tree {
                return Err(WorkerError::Stopped(format!("the recorded changes do not make {tree}")));
            }
            git::checkout(&recorded, &place)?;
            Ok(StatCache::default())
        })
        .await?;
        Ok(Self {
            context: context(attempt, &root, &git_dir),
            root,
            tree,
            changed: changes.into_iter().map(|change| (change.path, change.entry)).collect(),
            blobs: blobs.into_iter().map(|blob| (blob.object, blob.content)).collect(),
            stats,
        })
    }

    /// Runs the tools of one turn and reports them with the tree they made.
    pub(super) async fn run(
        &mut self,
        attempt: &Attempt,
        thread: ThreadNumber,
        turn: TurnNumber,
        asked: &[AskedTool],
    ) -> Result<(), WorkerError> {
        self.context.turn = turn.0;
        let asked: Vec<tools::AskedTool> = asked
            .iter()
            .map(|tool| tools::AskedTool {
                id: tool.id.clone(),
                name: tool.name.clone(),
                input: tool.input.clone(),
            })
            .collect();
        let ran = tools::run_turn(&mut self.context, &asked).await;
        let before = self.tree;
        let (changed, blobs) = self.record(attempt, &ran.wrote).await?;
        let report = ToolsReport {
            thread,
            turn,
            tools: ran.ran,
            results: ran.results,
            finish: ran.finish,
            outputs: ran.outputs,
            tree_before: before,
            tree_after: self.tree,
            changed,
            blobs,
        };
        attempt.connection.post::<_, Receipt>("tools", &report).await?;
        Ok(())
    }

    /// Walks the work directory: what changed since the last recorded tree, and the new contents.
    async fn record(
        &mut self,
        attempt: &Attempt,
        wrote: &std::collections::BTreeSet<RepoPath>,
    ) -> Result<(Vec<ChangedEntry>, Vec<Blob>), WorkerError> {
        let (pack, commit) = attempt.pack()?;
        let root = self.root.clone();
        let mut known: std::collections::BTreeSet<RepoPath> = wrote.clone();
        known.extend(self.changed.iter().filter(|(_, entry)| entry.is_some()).map(|(path, _)| path.clone()));
        let caps = WalkCaps {
            new_entries: attempt.settings.new_entries_a_turn,
            new_bytes: attempt.settings.new_bytes_a_turn,
            files: attempt.settings.max_files,
        };
        let mut stats = std::mem::take(&mut self.stats);
        let old = self.changed.clone();
        let old_blobs: std::collections::BTreeSet<ObjectId> = self.blobs.keys().copied().collect();
        let (stats, tree, now, delta, fresh) = blocking(move || {
            let base = Base::open(&pack, commit)?;
            let walked = git::walk(&root, &base, &known, &mut stats, &caps)?;
            let now: BTreeMap<RepoPath, Option<Entry>> =
                walked.changed.iter().map(|change| (change.path.clone(), change.entry)).collect();
            let delta = git::difference(&base, &old, &now)?;
            let fresh: Vec<Blob> =
                walked.blobs.into_iter().filter(|blob| !old_blobs.contains(&blob.object)).collect();
            Ok((stats, walked.tree, now, delta, fresh))
        })
        .await?;
        self.stats = stats;
        self.tree = tree;
        self.changed = now;
        self.blobs.extend(fresh.iter().map(|blob| (blob.object, blob.content.clone())));
        Ok((delta, fresh))
    }
}
