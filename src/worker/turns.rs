//! The tools of a turn: run in order from the last recorded tree, and recorded together.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cody_events::attempt::SandboxBackend;
use cody_events::digest::ObjectId;
use cody_events::ids::{ThreadNumber, TurnNumber};
use cody_events::tree::{Blob, ChangedEntry, Entry, RepoPath};

use super::attempt::{Attempt, TimeLeft, create_dir};
use super::connection::Connection;
use super::{WorkerError, blocking};
use crate::git::{self, Base, RecordedTree, StatCache, WalkCaps, WalkWarning};
use crate::sandbox::ShellSession;
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
    /// What the log has: the base and what differs from it, with the contents. Away while a walk has
    /// it, and gone for good if that walk fails, as is the work directory then.
    recorded: Option<RecordedTree>,
    stats: StatCache,
}

impl Workplace {
    /// A fresh work directory at the last recorded tree.
    pub(super) async fn prepare(attempt: &Attempt) -> Result<Self, WorkerError> {
        let dir = attempt.dir.join("work");
        super::attempt::remove(&dir).await;
        create_dir(&dir).await?;
        let root = dir.join("repo");
        let git_dir = attempt.git_dir(&dir.join("git")).await?;
        let latest = attempt.tree().await?;
        let (pack, commit) = attempt.pack()?;
        let place = root.clone();
        let tree = latest.tree;
        let (recorded, stats) = blocking(move || {
            let mut recorded = RecordedTree::at_base(Base::open(&pack, commit)?)?;
            recorded.apply(&latest.changed, &latest.blobs)?;
            if recorded.tree_id()? != tree {
                return Err(WorkerError::Stopped(format!(
                    "the recorded changes do not make {tree}"
                )));
            }
            let stats = git::checkout(&recorded, &place)?;
            Ok((recorded, stats))
        })
        .await?;
        if let Some(dependencies) = &attempt.dependencies {
            dependencies.begin_work(&recorded).await?;
        }
        Ok(Self {
            context: context(attempt, &dir, &root, &git_dir)?,
            root,
            tree,
            recorded: Some(recorded),
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
        time_left: TimeLeft,
    ) -> Result<(), WorkerError> {
        self.context.turn = turn.0;
        self.context.end = time_left.end();
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
        let (changed, blobs, warnings) = self.record(attempt, &ran.wrote).await?;
        if let Some(dependencies) = &attempt.dependencies {
            dependencies.work_has(changed.iter().map(|change| &change.path)).await;
        }
        let notes = [self.context.first_note.take(), first_note(&warnings)];
        let notes: Vec<String> = notes.into_iter().flatten().collect();
        self.context.first_note = (!notes.is_empty()).then(|| notes.join(" "));
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
        wrote: &BTreeSet<RepoPath>,
    ) -> Result<(Vec<ChangedEntry>, Vec<Blob>, Vec<WalkWarning>), WorkerError> {
        let Some(mut recorded) = self.recorded.take() else {
            return Err(WorkerError::Stopped("an earlier walk failed".to_owned()));
        };
        let root = self.root.clone();
        let mut known = wrote.clone();
        let caps = WalkCaps {
            new_entries: attempt.settings.new_entries_a_turn,
            new_bytes: attempt.settings.new_bytes_a_turn,
            files: attempt.settings.max_files,
        };
        let mut stats = std::mem::take(&mut self.stats);
        let (recorded, stats, walked, delta) = blocking(move || {
            let old = recorded.changed();
            known.extend(old.iter().filter(|(_, now)| now.is_some()).map(|(path, _)| path.clone()));
            let walked = git::walk(&root, recorded.base(), &known, &mut stats, &caps)?;
            let now: BTreeMap<RepoPath, Option<Entry>> =
                walked.changed.iter().map(|change| (change.path.clone(), change.entry)).collect();
            let delta = git::difference(recorded.base(), old, &now)?;
            // From here on the next walk finds these contents beside the base, and reports them no more.
            recorded.apply(&delta, &walked.blobs)?;
            Ok((recorded, stats, walked, delta))
        })
        .await?;
        self.recorded = Some(recorded);
        self.stats = stats;
        self.tree = walked.tree;
        Ok((delta, walked.blobs, walked.warnings))
    }
}

fn context(
    attempt: &Attempt,
    dir: &Path,
    root: &Path,
    git_dir: &Path,
) -> Result<ToolContext, WorkerError> {
    let memory = dir.join("session");
    let session = ShellSession::new(memory.clone()).map_err(|source| WorkerError::Io {
        what: "a directory cannot be made",
        path: memory,
        source,
    })?;
    let may_run = attempt.assignment.bash && attempt.sandbox.backend() != SandboxBackend::None;
    Ok(ToolContext {
        root: root.to_owned(),
        sandbox: may_run.then(|| Arc::clone(&attempt.sandbox)),
        git_dir: Some(git_dir.to_owned()),
        read_only: attempt.visible(),
        env: attempt.environment(),
        dependencies: attempt.dependencies.clone().map(|it| it as Arc<dyn tools::Dependencies>),
        session: Some(session),
        timeout: Duration::from_millis(attempt.settings.tool_timeout_ms),
        output_cap: attempt.settings.output_bytes,
        outputs: Arc::new(RecordedOutputs(Arc::clone(&attempt.connection))),
        first_note: attempt.assignment.took_over.then(|| TOOK_OVER.to_owned()),
        turn: 0,
        end: None,
    })
}

/// What the next turn's first result says about what was not recorded of this one.
fn first_note(warnings: &[WalkWarning]) -> Option<String> {
    const MOST: usize = 5;
    if warnings.is_empty() {
        return None;
    }
    let mut lines: Vec<String> = warnings.iter().take(MOST).map(ToString::to_string).collect();
    if warnings.len() > MOST {
        lines.push(format!("and {} more", warnings.len() - MOST));
    }
    Some(format!("[Not all of your last turn was recorded: {}.]", lines.join("; ")))
}

/// Whole outputs of earlier calls, from the log.
struct RecordedOutputs(Arc<Connection>);

#[async_trait]
impl Outputs for RecordedOutputs {
    async fn output(&self, turn: u32, tool_id: &str) -> Option<String> {
        let request = OutputRequest { turn: TurnNumber(turn), tool: tool_id.to_owned() };
        self.0.post::<_, OutputAnswer>("output", &request).await.ok()?.output
    }
}
