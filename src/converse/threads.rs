//! Starting a conversation: its prefix and first message are rendered here, once, and recorded.

use cody_events::event::Event;
use cody_events::evidence::{RepoScanned, RepoScannedPayload};
use cody_events::ids::{CommandId, JobId, TargetNumber, ThreadNumber};
use cody_events::job::{Created, CreatedPayload};
use cody_events::raw::RawJson;
use cody_events::thread::{Purpose, ThreadStarted, ThreadStartedPayload};

use super::{ConverseError, Converser, prompts};
use crate::app::{Asker, Told};
use crate::claude::blocks::text_block;
use crate::claude::prefix::PrefixBuilder;
use crate::job::Command;
use crate::job::state::{Job, Target};
use crate::tools;

/// A patch larger than this is shown to a reviewer in part.
const REVIEW_PATCH_BYTES: usize = 200_000;

/// What a reviewer is shown.
#[derive(Debug, Clone)]
pub struct ReviewMaterial {
    /// What the engineer says: title, summary, evidence.
    pub claim: String,
    /// How the checks went, in words.
    pub checks: String,
    /// The diff as text; what is not UTF-8 is replaced.
    pub patch: String,
}

/// What a new conversation needs to know of its target.
struct Brief {
    repository: String,
    branch: String,
    created: CreatedPayload,
    scanned: RepoScannedPayload,
    checks: Vec<String>,
    /// What is said for this target alone.
    notes: Option<String>,
}

impl Converser {
    /// Opens the conversation that makes the change; `patch` is what an earlier one left, if this
    /// one takes over from it.
    pub async fn start_change(
        &self,
        job: JobId,
        target: TargetNumber,
        patch: Option<&str>,
    ) -> Result<(), ConverseError> {
        self.let_land(job, target).await?;
        let state = self.app.state(job).await?;
        let (job_state, target_state) = lookup(&state, target)?;
        let brief = self.brief(job, target).await?;
        let opening = prompts::change_opening(
            &brief.repository,
            &brief.branch,
            &brief.scanned.context,
            &brief.checks,
            job_state.fetch_dependencies,
            brief.notes.as_deref(),
        );
        let (purpose, opening) = match patch {
            Some(patch) => (Purpose::Fresh, prompts::fresh_opening(&opening, patch)),
            None => (Purpose::Change, opening),
        };
        let mut builder = self
            .prefix(job_state)?
            .system(prompts::CHANGE_RULES)
            .system(prompts::request(&brief.created.prompt));
        for definition in tools::schemas(may_run_commands(job_state, target_state))? {
            builder = builder.tool(definition);
        }
        let payload = builder.build(&[text_block(&opening)?])?;
        self.start(job, target_state, &job_state.model, purpose, payload).await
    }

    /// Opens an independent review of the target's present tree.
    pub async fn start_review(
        &self,
        job: JobId,
        target: TargetNumber,
        material: &ReviewMaterial,
    ) -> Result<(), ConverseError> {
        let state = self.app.state(job).await?;
        let (job_state, target_state) = lookup(&state, target)?;
        let brief = self.brief(job, target).await?;
        let opening = prompts::review_opening(
            &brief.repository,
            &material.claim,
            &material.checks,
            &material.patch,
            REVIEW_PATCH_BYTES,
        );
        let payload = self
            .prefix(job_state)?
            .system(prompts::REVIEW_RULES)
            .system(prompts::request(&brief.created.prompt))
            .answer_schema(RawJson::render(&prompts::verdict_schema())?)
            .build(&[text_block(&opening)?])?;
        self.start(job, target_state, &job_state.model, Purpose::Review, payload).await
    }

    fn prefix(&self, job: &Job) -> Result<PrefixBuilder, ConverseError> {
        let today = self.app.clock().now().date();
        let builder = PrefixBuilder::new(self.models.lookup(&job.model, today)?.model);
        Ok(match job.effort {
            Some(effort) => builder.effort(effort),
            None => builder,
        })
    }

    async fn start(
        &self,
        job: JobId,
        target: &Target,
        model: &str,
        purpose: Purpose,
        payload: ThreadStartedPayload,
    ) -> Result<(), ConverseError> {
        let missing = ConverseError::Missing(target.number, "a recorded tree");
        let facts = ThreadStarted {
            target: target.number,
            thread: target.latest_thread.next(),
            round: target.round,
            purpose,
            parent: parent(target, purpose),
            model: model.to_owned(),
            prefix_hash: cody_events::digest::Sha256::of(payload.prefix.get().as_bytes()),
            tree: target.tree.ok_or(missing)?,
        };
        let id = CommandId::derived(&[
            "thread",
            &job.to_string(),
            &target.number.to_string(),
            &facts.thread.to_string(),
        ]);
        let command = Command::StartThread(Box::new((facts, payload)));
        self.app.execute(job, id, command, &Asker::room("converser")).await?;
        Ok(())
    }

    async fn brief(&self, job: JobId, target: TargetNumber) -> Result<Brief, ConverseError> {
        let missing = |what| ConverseError::Missing(target, what);
        let events = self.app.events(job, 0).await?;
        let first = events.first().ok_or(missing("its job"))?;
        let created = self
            .app
            .payload_of::<Created>(first.recorded.position)
            .await?
            .ok_or(missing("the prompt"))?;
        let (scan, branch) = latest_scan(&events, target).ok_or(missing("its scan"))?;
        let scanned = self
            .app
            .payload_of::<RepoScanned>(scan)
            .await?
            .ok_or(missing("what its scan found"))?;
        let repository = match &first.event {
            Event::Created(created) => created
                .targets
                .iter()
                .find(|created| created.number == target)
                .map(|created| created.repository.clone())
                .unwrap_or_default(),
            _ => String::new(),
        };
        let source = match &first.event {
            Event::Created(created) => created.checks,
            _ => return Err(missing("its job")),
        };
        let checks = super::feedback::commands(source, &created, &scanned);
        let index = usize::try_from(target.0).unwrap_or(usize::MAX).wrapping_sub(1);
        let notes = created.locations.get(index).and_then(|location| location.notes.clone());
        Ok(Brief { repository, branch, created, scanned, checks, notes })
    }
}

fn parent(target: &Target, purpose: Purpose) -> Option<ThreadNumber> {
    match purpose {
        Purpose::Change => None,
        Purpose::Review | Purpose::Fresh => target.change.as_ref().map(|thread| thread.number),
    }
}

fn may_run_commands(job: &Job, target: &Target) -> bool {
    use cody_events::attempt::SandboxBackend;
    job.bash && target.sandbox.is_some_and(|backend| backend != SandboxBackend::None)
}

fn latest_scan(events: &[Told], target: TargetNumber) -> Option<(u64, String)> {
    events.iter().rev().find_map(|told| match &told.event {
        Event::RepoScanned(e) if e.target == target => {
            Some((told.recorded.position, e.default_branch.clone()))
        }
        _ => None,
    })
}

fn lookup(
    state: &crate::job::JobState,
    target: TargetNumber,
) -> Result<(&Job, &Target), ConverseError> {
    let job = state.job.as_ref().ok_or(ConverseError::Missing(target, "its job"))?;
    let target =
        job.targets.get(&target).ok_or(ConverseError::Missing(target, "the target itself"))?;
    Ok((job, target))
}
