//! The room that does not believe a worker: it recomputes tree, patch and hash of a target from the
//! server's own pack of the base and the blobs in the log, and ends rounds with what it found.

mod added_secrets;
mod cancel;
mod evidence;
mod masking;
mod patch_lines;
mod path_policy;
mod reports;
mod story;
mod trees;

use std::collections::BTreeSet;
use std::sync::Arc;

use cody_events::attempt::Base as PinnedBase;
use cody_events::diff::{DiffProduced, DiffProducedPayload, Patch};
use cody_events::digest::{ObjectId, Sha256};
use cody_events::ids::{CommandId, JobId, TargetNumber};
use cody_events::outcome::Outcome;
use cody_events::shape::{DiffShape, MAX_KINDS, kind_of};
use cody_events::tree::{Blob, ChangedEntry};

use crate::app::{App, AppError, Asker};
use crate::config::TreeConfig;
use crate::git::{self, GitError, PackStore, RecordedTree, Touched};
use crate::job::command::FinishTarget;
use crate::job::state::Job;
use crate::job::{Command, unlike_pilot};
use crate::scan::secrets::KnownSecrets;
use crate::scan::{Scan, ScanLimits, on_one_line};
use crate::wire::{AskedTool, ToolsReport};

use added_secrets::added_secrets;
pub use evidence::review_claim;
pub use reports::{Disbelief, examine_checks, examine_fetch, examine_time};
pub use story::Story;

use path_policy::Touches;
use trees::{TreeAtHand, Trees};

/// Recomputes what workers report.
#[derive(Debug)]
pub struct Intake {
    app: Arc<App>,
    packs: PackStore,
    /// New files that a turn may add, beside those that edits write.
    new_entries_a_turn: u64,
    /// Secrets of our own, which are found wherever they stand.
    known: KnownSecrets,
    trees: Trees,
}

/// A target's diff as the server derives it.
#[derive(Debug, Clone)]
pub struct Derived {
    pub base: PinnedBase,
    pub tree: ObjectId,
    pub patch: git::Patch,
    pub diff_hash: Sha256,
    pub touched: Vec<Touched>,
}

/// A diff as it is to be recorded, and what a person may have to look at in it.
struct Produced {
    facts: DiffProduced,
    payload: DiffProducedPayload,
    touches: Touches,
    /// What looks like secrets in it, in words without them.
    secrets: Vec<String>,
}

impl Produced {
    /// How it differs from the diff that was approved first, with the names of its kinds of files.
    fn unlike_pilot(&self, job: Option<&Job>) -> Vec<String> {
        let names: BTreeSet<String> = self
            .payload
            .files
            .iter()
            .map(|file| on_one_line(&kind_of(&file.path.display())).into_owned())
            .take(MAX_KINDS)
            .collect();
        let names: Vec<String> = names.into_iter().collect();
        job.map(|job| unlike_pilot(job, &self.facts, &names)).unwrap_or_default()
    }
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
    #[error("the worker's report is not believed: {0}")]
    Disbelieved(#[from] Disbelief),
    #[error("the work was interrupted")]
    Interrupted(#[from] tokio::task::JoinError),
}

impl IntakeError {
    /// Whether no other time would do.
    pub fn is_broken(&self) -> bool {
        match self {
            Self::App(error) => error.is_broken(),
            Self::Git(error) => !error.lacks_room(),
            Self::Disbelieved(_) => false,
            Self::NoBase(_)
            | Self::OtherTree { .. }
            | Self::PayloadGone(_)
            | Self::Interrupted(_) => true,
        }
    }
}

impl Intake {
    /// An intake over `app` that reads bases from `packs`, and believes no turn that adds more than
    /// `tree` says. `known` are secrets that no text may hold.
    pub fn new(app: Arc<App>, packs: PackStore, tree: &TreeConfig, known: KnownSecrets) -> Self {
        let new_entries_a_turn = tree.new_entries_a_turn;
        Self { app, packs, new_entries_a_turn, known, trees: Trees::default() }
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
        let (base, (tree, patch, touched)) = self
            .with_tree(job, target, |recorded, tree| {
                Ok((tree, git::write_patch(recorded)?, git::touched(recorded)?))
            })
            .await?;
        let diff_hash = Sha256::of(&patch.bytes);
        Ok(Derived { base, tree, patch, diff_hash, touched })
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
        let mut story = Story::read(&self.app, job, target).await?;
        self.mask_story(&mut story);
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
        let mut held = Vec::new();
        if let Some(diff) = &diff {
            let allow = state.job.as_ref().map(|job| &job.allow);
            let is_allowed = |class| allow.is_some_and(|allow| allow.contains(&class));
            held.extend(evidence::held(outcome, target_state));
            held.extend(diff.touches.reasons(is_allowed));
            held.extend(added_secrets::reason(&diff.secrets));
            held.extend(diff.unlike_pilot(state.job.as_ref()));
        }
        reasons.extend(held.iter().map(|reason| format!("Held for a person: {reason}")));
        let evidence = evidence::of(outcome, &story, target_state, reasons);
        let diff = diff.map(|diff| (diff.facts, diff.payload));
        let finish = FinishTarget { target, outcome, evidence, diff, held };
        let round = target_state.map(|target| target.round.to_string()).unwrap_or_default();
        let id = CommandId::derived(&["finish", &job.to_string(), &target.to_string(), &round]);
        let command = Command::FinishTarget(Box::new(finish));
        self.app.execute(job, id, command, &Asker::room("intake")).await?;
        self.trees.forget(job, target);
        Ok(())
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
    ) -> Result<Produced, IntakeError> {
        let derived = self.derive(job, target).await?;
        let touches = Touches::of(&derived.touched, &derived.patch);
        let secrets = added_secrets(&derived.patch, &self.known);
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
            touches: touches.classes(),
            secret_count: u32::try_from(secrets.len()).unwrap_or(u32::MAX),
            shape: Some(DiffShape::of(&files)),
        };
        let finish = story.finish.clone();
        let payload = DiffProducedPayload {
            patch: Patch::of(derived.patch.bytes),
            files,
            title: finish.as_ref().map(|finish| finish.title.clone()).unwrap_or_default(),
            summary: finish.as_ref().map(|finish| finish.summary.clone()).unwrap_or_default(),
            evidence: finish.map(|finish| finish.evidence).unwrap_or_default(),
        };
        Ok(Produced { facts, payload, touches, secrets })
    }

    /// Examines a worker's report on the tools of a turn, which `asked` are. What its changes make is
    /// made here, from the tree that the log has.
    pub async fn examine_tools(
        &self,
        job: JobId,
        target: TargetNumber,
        asked: &[AskedTool],
        report: &ToolsReport,
    ) -> Result<(), IntakeError> {
        reports::examine_tools(asked, report)?;
        let is_same = report.tree_before == report.tree_after;
        if is_same && report.changed.is_empty() {
            return Ok(());
        }
        let story = Story::read(&self.app, job, target).await?;
        let tree = self.tree_of(job, target, &story).await?;
        if tree.id() != report.tree_before {
            // The rules say so better.
            return Ok(());
        }
        let (changed, blobs) = (report.changed.clone(), report.blobs.clone());
        let most_new = self.new_entries_a_turn.saturating_add(asked.len() as u64);
        let moved = tokio::task::spawn_blocking(move || tree.moved(&changed, &blobs, most_new));
        let moved = moved.await??;
        if moved.id() != report.tree_after {
            let (made, said) = (moved.id(), report.tree_after);
            return Err(Disbelief::OtherTree { made, said }.into());
        }
        self.trees.keep(job, target, moved);
        Ok(())
    }

    /// Scans the base of a target again, for what decides something: a worker's word is not enough for
    /// the commands that will judge its work. `looks` says whether files are looked into.
    pub async fn scan(&self, base: &PinnedBase, looks: bool) -> Result<Scan, IntakeError> {
        let (pack_dir, commit) = (self.packs.dir(&base.pack), base.commit);
        let limits = if looks { ScanLimits::decisive() } else { ScanLimits::counts_only() };
        let scanned = tokio::task::spawn_blocking(move || {
            let base = git::Base::open(&pack_dir, commit)?;
            crate::scan::scan_base(&base, None, "", &limits)
        });
        Ok(scanned.await??)
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
        let tree = self.tree_of(job, target, &story).await?;
        let worked = tokio::task::spawn_blocking(move || {
            let result = work(tree.recorded(), tree.id());
            (tree, result)
        });
        let (tree, result) = worked.await?;
        self.trees.keep(job, target, tree);
        Ok((base, result?))
    }

    /// The recorded tree of a target: the one at hand, or made again from the log.
    async fn tree_of(
        &self,
        job: JobId,
        target: TargetNumber,
        story: &Story,
    ) -> Result<TreeAtHand, IntakeError> {
        let base = story.base.as_ref().ok_or(IntakeError::NoBase(target))?;
        let recorded = story.tree.unwrap_or(base.tree);
        if let Some(tree) = self.trees.take(job, target, base.commit, recorded) {
            return Ok(tree);
        }
        let steps = story.tree_steps(&self.app).await?;
        let (pack_dir, commit) = (self.packs.dir(&base.pack), base.commit);
        let made = tokio::task::spawn_blocking(move || TreeAtHand::made(&pack_dir, commit, &steps));
        let tree = made.await??;
        if tree.id() != recorded {
            return Err(IntakeError::OtherTree { target, derived: tree.id(), recorded });
        }
        Ok(tree)
    }
}
