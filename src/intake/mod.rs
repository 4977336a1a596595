//! The room that does not believe a worker: it recomputes tree, patch and hash of a target from the
//! server's own pack of the base and the blobs in the log, and ends rounds with what it found.

mod evidence;
mod story;

use std::sync::Arc;
use std::time::Duration;

use cody_events::attempt::Base as PinnedBase;
use cody_events::diff::{DiffProduced, DiffProducedPayload, Patch};
use cody_events::digest::{ObjectId, Sha256};
use cody_events::ids::{CommandId, JobId, TargetNumber};
use cody_events::job::By;
use cody_events::outcome::Outcome;
use cody_events::tree::{Blob, ChangedEntry};

use crate::app::{App, AppError, Asker, Executed};
use crate::git::{self, Base, GitError, PackStore, RecordedTree};
use crate::job::command::FinishTarget;
use crate::job::{Command, RejectionCode};

/// How often a cancelled job's diffs are derived again because a worker changed a tree.
const CANCEL_TRIES: u32 = 3;
/// How long those diffs may take together.
const CANCEL_PATIENCE: Duration = Duration::from_millis(800);
/// As many diffs as one command's events have room for, next to each target's end.
const MOST_PARTIAL_DIFFS: usize = 16;

pub use evidence::review_claim;
pub use story::Story;

/// Recomputes what workers report.
#[derive(Debug)]
pub struct Intake {
    app: Arc<App>,
    packs: PackStore,
}

/// A target's diff as the server derives it.
#[derive(Debug, Clone)]
pub struct Derived {
    pub base: PinnedBase,
    pub tree: ObjectId,
    pub patch: git::Patch,
    pub diff_hash: Sha256,
}

/// A target's tree as a worker needs it.
#[derive(Debug, Clone)]
pub struct TreeState {
    pub tree: ObjectId,
    pub changed: Vec<ChangedEntry>,
    pub blobs: Vec<Blob>,
}

/// Why a target's state cannot be derived.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    #[error(transparent)]
    App(#[from] AppError),
    #[error(transparent)]
    Git(#[from] GitError),
    #[error("target {0} has no base yet")]
    NoBase(TargetNumber),
    #[error(
        "the recorded changes of target {target} make tree {derived}, but {recorded} was recorded"
    )]
    OtherTree { target: TargetNumber, derived: ObjectId, recorded: ObjectId },
    #[error("the payload of event {0} is gone; the diff cannot be derived without it")]
    PayloadGone(u64),
    #[error("the work was interrupted")]
    Interrupted(#[from] tokio::task::JoinError),
}

impl IntakeError {
    /// Whether no other time would do.
    pub fn is_broken(&self) -> bool {
        match self {
            Self::App(error) => error.is_broken(),
            Self::Git(error) => !error.lacks_room(),
            Self::NoBase(_)
            | Self::OtherTree { .. }
            | Self::PayloadGone(_)
            | Self::Interrupted(_) => true,
        }
    }
}

impl Intake {
    /// An intake over `app` that reads bases from `packs`.
    pub fn new(app: Arc<App>, packs: PackStore) -> Self {
        Self { app, packs }
    }

    /// The latest recorded tree of `target`, as what differs from its base.
    pub async fn tree_state(
        &self,
        job: JobId,
        target: TargetNumber,
    ) -> Result<TreeState, IntakeError> {
        self.with_tree(job, target, |recorded, tree| {
            let changed = recorded.changed_from_base();
            let blobs = changed
                .iter()
                .filter_map(|change| change.entry)
                .filter_map(|entry| recorded.blob(&entry.object))
                .collect();
            Ok(TreeState { tree, changed, blobs })
        })
        .await
        .map(|(_, state)| state)
    }

    /// The diff of `target` from its base to its latest recorded tree.
    pub async fn derive(&self, job: JobId, target: TargetNumber) -> Result<Derived, IntakeError> {
        let (base, (tree, patch)) = self
            .with_tree(job, target, |recorded, tree| Ok((tree, git::write_patch(recorded)?)))
            .await?;
        let diff_hash = Sha256::of(&patch.bytes);
        Ok(Derived { base, tree, patch, diff_hash })
    }

    /// Ends the round of `target`: with its diff, if its tree differs from the base. A round that ends
    /// without success does so even if its diff cannot be had.
    pub async fn conclude(
        &self,
        job: JobId,
        target: TargetNumber,
        outcome: Outcome,
        reasons: Vec<String>,
    ) -> Result<(), IntakeError> {
        let (outcome, oversize) = self.within_diff_budget(job, target, outcome).await?;
        let mut reasons: Vec<String> = oversize.into_iter().chain(reasons).collect();
        let story = Story::read(&self.app, job, target).await?;
        let state = self.app.state(job).await?;
        let target_state = state.job.as_ref().and_then(|job| job.targets.get(&target));
        let is_changed = target_state.is_some_and(|target| target.is_changed());
        let diff = match is_changed && outcome != Outcome::Cancelled {
            true => match self.produced(job, target, outcome, &story).await {
                Ok(diff) => Some(diff),
                Err(error) if error.is_broken() && !outcome.is_success() => {
                    reasons.push(format!("Its diff cannot be had: {error}."));
                    None
                }
                Err(error) => return Err(error),
            },
            false => None,
        };
        let held = diff.as_ref().and_then(|_| evidence::held(outcome, target_state));
        let evidence = evidence::of(outcome, &story, target_state, reasons);
        let finish = FinishTarget { target, outcome, evidence, diff, held };
        let round = target_state.map(|target| target.round.to_string()).unwrap_or_default();
        let id = CommandId::derived(&["finish", &job.to_string(), &target.to_string(), &round]);
        let command = Command::FinishTarget(Box::new(finish));
        self.app.execute(job, id, command, &Asker::room("intake")).await?;
        Ok(())
    }

    /// Cancels a job, and keeps what its unfinished targets have changed so far.
    pub async fn cancel(
        &self,
        job: JobId,
        by: By,
        reason: &str,
        asker: &Asker,
    ) -> Result<Executed, IntakeError> {
        for _ in 0..CANCEL_TRIES {
            // Workers are stopped only after this; what takes long is not worth the wait.
            let diffs = tokio::time::timeout(CANCEL_PATIENCE, self.partial_diffs(job)).await;
            let diffs = diffs.unwrap_or_default();
            match self.try_cancel(job, by, reason, diffs, asker).await {
                // A tree changed in between.
                Err(AppError::Rejected(no)) if no.code == RejectionCode::OutOfOrder => {}
                done => return Ok(done?),
            }
        }
        Ok(self.try_cancel(job, by, reason, Vec::new(), asker).await?)
    }

    async fn try_cancel(
        &self,
        job: JobId,
        by: By,
        reason: &str,
        diffs: Vec<(DiffProduced, DiffProducedPayload)>,
        asker: &Asker,
    ) -> Result<Executed, AppError> {
        let command = Command::CancelJob { by, reason: reason.to_owned(), diffs };
        self.app.execute(job, self.app.new_command_id(), command, asker).await
    }

    async fn partial_diffs(&self, job: JobId) -> Vec<(DiffProduced, DiffProducedPayload)> {
        let state = self.app.state(job).await.unwrap_or_default();
        let targets = state.job.map(|job| job.targets).unwrap_or_default();
        let mut diffs = Vec::new();
        let open = targets.values().filter(|t| t.outcome.is_none() && t.is_changed());
        for target in open.take(MOST_PARTIAL_DIFFS) {
            let Ok(story) = Story::read(&self.app, job, target.number).await else { continue };
            match self.produced(job, target.number, Outcome::Cancelled, &story).await {
                Ok(diff) => diffs.push(diff),
                Err(error) => {
                    tracing::warn!(%job, target = %target.number, %error, "no partial diff is kept");
                }
            }
        }
        diffs
    }

    /// Ends the round of `target` with `outcome`, unless its patch is larger than it may be: then
    /// that is why it ends.
    async fn within_diff_budget(
        &self,
        job: JobId,
        target: TargetNumber,
        outcome: Outcome,
    ) -> Result<(Outcome, Option<String>), IntakeError> {
        let reason = match outcome {
            Outcome::DiffReady => self.oversize(job, target).await?,
            Outcome::AlreadyCompliant
            | Outcome::NotApplicable
            | Outcome::FailedChecks
            | Outcome::Objected
            | Outcome::Refused
            | Outcome::BudgetStopped
            | Outcome::Stuck
            | Outcome::Failed
            | Outcome::Cancelled => None,
        };
        Ok(match reason {
            Some(reason) => (Outcome::BudgetStopped, Some(reason)),
            None => (outcome, None),
        })
    }

    /// Why the patch of `target` is larger than its job allows, if it is.
    pub async fn oversize(
        &self,
        job: JobId,
        target: TargetNumber,
    ) -> Result<Option<String>, IntakeError> {
        let state = self.app.state(job).await?;
        let most = state.job.as_ref().and_then(|job| {
            let target = job.targets.get(&target).filter(|target| target.is_changed())?;
            job.diff_bytes_left(target)
        });
        let Some(most) = most else { return Ok(None) };
        let bytes = self.derive(job, target).await?.patch.bytes.len() as u64;
        Ok((bytes > most).then(|| format!("The patch has {bytes} bytes, and may have {most}.")))
    }

    async fn produced(
        &self,
        job: JobId,
        target: TargetNumber,
        outcome: Outcome,
        story: &Story,
    ) -> Result<(DiffProduced, DiffProducedPayload), IntakeError> {
        let derived = self.derive(job, target).await?;
        let files = derived.patch.files;
        let facts = DiffProduced {
            target,
            round: story.round,
            base_commit: derived.base.commit,
            tree: derived.tree,
            diff_hash: derived.diff_hash,
            file_count: u32::try_from(files.len()).unwrap_or(u32::MAX),
            added_line_count: files.iter().map(|file| file.added_line_count).sum(),
            deleted_line_count: files.iter().map(|file| file.deleted_line_count).sum(),
            byte_count: derived.patch.bytes.len() as u64,
            partial: outcome != Outcome::DiffReady,
        };
        let finish = story.finish.clone();
        let payload = DiffProducedPayload {
            patch: Patch::of(derived.patch.bytes),
            files,
            title: finish.as_ref().map(|finish| finish.title.clone()).unwrap_or_default(),
            summary: finish.as_ref().map(|finish| finish.summary.clone()).unwrap_or_default(),
            evidence: finish.map(|finish| finish.evidence).unwrap_or_default(),
        };
        Ok((facts, payload))
    }

    /// Runs `work` on the recorded tree, after proving that the log's changes make it.
    async fn with_tree<R: Send + 'static>(
        &self,
        job: JobId,
        target: TargetNumber,
        work: impl FnOnce(&RecordedTree, ObjectId) -> Result<R, GitError> + Send + 'static,
    ) -> Result<(PinnedBase, R), IntakeError> {
        let story = Story::read(&self.app, job, target).await?;
        let base = story.base.clone().ok_or(IntakeError::NoBase(target))?;
        let steps = story.tree_steps(&self.app).await?;
        let recorded_tree = story.tree.unwrap_or(base.tree);
        let pack_dir = self.packs.dir(&base.pack);
        let commit = base.commit;
        let result = tokio::task::spawn_blocking(move || {
            let base = Base::open(&pack_dir, commit)?;
            let mut recorded = RecordedTree::at_base(base)?;
            for (changed, blobs) in &steps {
                recorded.apply(changed, blobs)?;
            }
            let derived = recorded.tree_id()?;
            if derived != recorded_tree {
                return Ok(Err(IntakeError::OtherTree {
                    target,
                    derived,
                    recorded: recorded_tree,
                }));
            }
            work(&recorded, derived).map(Ok)
        })
        .await?;
        Ok((base, result.map_err(IntakeError::Git)??))
    }
}
