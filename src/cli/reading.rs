//! Jobs read from the log, for verbs that show them. Nothing here writes or starts work.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use cody_events::diff::{DiffProduced, DiffProducedPayload};
use cody_events::event::Event;
use cody_events::ids::{JobId, TargetNumber};
use cody_events::job::{Created, CreatedPayload};
use cody_events::outcome::{Outcome, TargetFinished};
use cody_events::time::Timestamp;

use crate::app::{App, AppError, Told};
use crate::clock::SystemClock;
use crate::entropy::SystemEntropy;
use crate::job::JobState;
use crate::job::state::{Job, Target};
use crate::store::{Log, SqliteLog};

/// Jobs whose state a reading verb keeps in memory.
const STATES: NonZeroUsize = NonZeroUsize::MIN.saturating_add(15);

/// There is no such job.
#[derive(Debug, thiserror::Error)]
pub enum NoJob {
    #[error("no job's id begins with `{0}`; list them with `cody-batch jobs`")]
    Unknown(String),
    #[error("several jobs' ids begin with `{0}`; write more of it: {1}")]
    Ambiguous(String, String),
    #[error("job {job} has no repository number {number}; it has {count}")]
    NoTarget { job: JobId, number: u32, count: usize },
}

/// A job and its whole story.
pub struct ReadJob {
    pub id: JobId,
    pub state: Job,
    pub created: Created,
    pub request: CreatedPayload,
    pub events: Vec<Told>,
}

/// Opens the log to read.
pub fn open(dir: &Path) -> Result<App, anyhow::Error> {
    let log: Arc<dyn Log> = Arc::new(SqliteLog::open_to_read(dir)?);
    Ok(App::new(log, Arc::new(SystemClock), Arc::new(SystemEntropy), STATES))
}

/// Every job of the log, oldest first.
pub async fn job_ids(app: &App) -> Result<Vec<JobId>, AppError> {
    let mut ids = Vec::new();
    let mut after = 0;
    loop {
        let page = app.log().read_log(after, 1_000).await?;
        let Some(last) = page.last() else { return Ok(ids) };
        after = last.position;
        ids.extend(
            page.iter()
                .filter(|recorded| recorded.version == 1)
                .filter_map(|recorded| JobId::from_stream(&recorded.stream)),
        );
    }
}

/// The job that `text` names: an id, or the beginning or end of one; `latest` is the newest.
pub async fn find(app: &App, text: &str) -> Result<JobId, anyhow::Error> {
    let ids = job_ids(app).await?;
    let unknown = || NoJob::Unknown(text.to_owned());
    if text == "latest" {
        return Ok(*ids.last().ok_or_else(unknown)?);
    }
    let wanted = text.to_lowercase();
    let fits: Vec<JobId> = ids
        .into_iter()
        .filter(|id| id.to_string().starts_with(&wanted) || id.to_string().ends_with(&wanted))
        .collect();
    match fits.as_slice() {
        [] => Err(unknown().into()),
        [id] => Ok(*id),
        several => {
            let names: Vec<String> = several.iter().take(5).map(ToString::to_string).collect();
            Err(NoJob::Ambiguous(text.to_owned(), names.join(", ")).into())
        }
    }
}

/// Reads a job.
pub async fn read(app: &App, id: JobId) -> Result<ReadJob, anyhow::Error> {
    let unknown = || NoJob::Unknown(id.to_string());
    let events = app.events(id, 0).await?;
    let first = events.first().ok_or_else(unknown)?;
    let Event::Created(created) = first.event.clone() else { return Err(unknown().into()) };
    let request = app
        .payload_of::<Created>(first.recorded.position)
        .await?
        .unwrap_or_else(|| removed(&created));
    let mut state = JobState::default();
    for told in &events {
        state.evolve(&told.event);
    }
    let state = state.job.ok_or_else(unknown)?;
    Ok(ReadJob { id, state, created, request, events })
}

/// What stands in for a request whose payload was removed.
fn removed(created: &Created) -> CreatedPayload {
    CreatedPayload {
        prompt: "(removed)".to_owned(),
        notes: None,
        locations: created
            .targets
            .iter()
            .map(|target| cody_events::job::Location {
                locator: target.repository.clone(),
                branch: None,
            })
            .collect(),
        checks: Vec::new(),
    }
}

impl ReadJob {
    /// The target with this number.
    pub fn target(&self, number: u32) -> Result<&Target, NoJob> {
        self.state.targets.get(&TargetNumber(number)).ok_or(NoJob::NoTarget {
            job: self.id,
            number,
            count: self.state.targets.len(),
        })
    }

    /// The job's status, derived from its targets.
    pub fn status(&self) -> &'static str {
        status(&self.state)
    }

    /// When the job was created.
    pub fn created_at(&self) -> Timestamp {
        self.events.first().map_or(Timestamp(0), |told| told.recorded.recorded_at)
    }

    /// When the last thing happened.
    pub fn latest_at(&self) -> Timestamp {
        self.events.last().map_or(Timestamp(0), |told| told.recorded.recorded_at)
    }

    /// What bears the target's outcome out.
    pub async fn evidence(&self, app: &App, target: TargetNumber) -> Result<Vec<String>, AppError> {
        let position = self.latest(
            |event| matches!(event, Event::TargetFinished(finished) if finished.target == target),
        );
        let Some(position) = position else { return Ok(Vec::new()) };
        let payload = app.payload_of::<TargetFinished>(position).await?;
        Ok(payload.map(|payload| payload.evidence).unwrap_or_default())
    }

    /// The target's latest diff.
    pub async fn diff(
        &self,
        app: &App,
        target: TargetNumber,
    ) -> Result<Option<(DiffProduced, DiffProducedPayload)>, AppError> {
        let found = self.events.iter().rev().find_map(|told| match &told.event {
            Event::DiffProduced(diff) if diff.target == target => {
                Some((told.recorded.position, diff.clone()))
            }
            _ => None,
        });
        let Some((position, facts)) = found else { return Ok(None) };
        Ok(app.payload_of::<DiffProduced>(position).await?.map(|payload| (facts, payload)))
    }

    fn latest(&self, fits: impl Fn(&Event) -> bool) -> Option<u64> {
        self.events.iter().rev().find(|told| fits(&told.event)).map(|told| told.recorded.position)
    }
}

/// A job's status, derived from its targets: never stored.
pub fn status(job: &Job) -> &'static str {
    let outcomes: Vec<Option<Outcome>> =
        job.targets.values().map(|target| target.outcome).collect();
    if job.cancelled {
        return "cancelled";
    }
    if outcomes.iter().any(Option::is_none) {
        let has_begun = job.targets.values().any(|target| target.base.is_some());
        return match (job.paused, has_begun) {
            (true, _) => "paused",
            (false, true) => "running",
            (false, false) => "queued",
        };
    }
    let good = outcomes.iter().flatten().filter(|outcome| outcome.is_success()).count();
    if good == outcomes.len() {
        "succeeded"
    } else if good > 0 {
        "partly-failed"
    } else {
        "failed"
    }
}
