//! Jobs read from the log, for verbs that show them. Nothing here writes or starts work.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use cody_events::diff::{DiffProduced, DiffProducedPayload};
use cody_events::event::Event;
use cody_events::ids::{JobId, TargetNumber};
use cody_events::job::{Created, CreatedPayload};
use cody_events::outcome::TargetFinished;
use cody_events::time::Timestamp;
use cody_projections::jobs;
use cody_projections::overview::{self, JobOverview};

use crate::app::{App, AppError, Told};
use crate::clock::SystemClock;
use crate::entropy::SystemEntropy;
use crate::job::JobState;
use crate::job::state::{Job, Target};
use crate::store::side::SideTables;
use crate::store::views::Views;
use crate::store::{Log, SqliteLog};

/// Jobs whose state a reading verb keeps in memory.
const STATES: NonZeroUsize = NonZeroUsize::MIN.saturating_add(15);

/// There is no such job.
#[derive(Debug, thiserror::Error)]
pub enum NoJob {
    #[error("no job's id begins or ends with `{0}`; list them with `cody-batch jobs`")]
    Unknown(String),
    #[error("several jobs' ids begin or end with `{0}`; write more of it: {1}")]
    Ambiguous(String, String),
    #[error("job {job} has no repository number {number}; it has {count}")]
    NoTarget { job: JobId, number: u32, count: usize },
}

/// A job and its whole story.
pub struct ReadJob {
    pub id: JobId,
    pub overview: JobOverview,
    pub state: Job,
    pub created: Created,
    pub request: CreatedPayload,
    pub events: Vec<Told>,
}

/// The log and its views, opened to be read.
pub struct Reading {
    pub app: Arc<App>,
    views: Views,
}

impl Reading {
    /// Opens what is in `dir`, also while a server writes it.
    pub async fn open(dir: &Path) -> Result<Self, anyhow::Error> {
        let log = Arc::new(SqliteLog::open_to_read(dir)?);
        let side: Arc<dyn SideTables> = Arc::<SqliteLog>::clone(&log);
        let log: Arc<dyn Log> = log;
        let views = Views::open_to_read(dir, Arc::clone(&log), side).await?;
        let app = Arc::new(App::new(log, Arc::new(SystemClock), Arc::new(SystemEntropy), STATES));
        Ok(Self { app, views })
    }

    /// Up to `limit` jobs, newest first.
    pub async fn jobs(&self, limit: u32) -> Result<Vec<JobOverview>, anyhow::Error> {
        Ok(self.views.read(move |views| overview::page(views, None, limit)).await?)
    }

    /// The job that `text` names: an id, or the beginning or end of one; `latest` is the newest.
    pub async fn find(&self, text: &str) -> Result<JobId, anyhow::Error> {
        let wanted = match text {
            "latest" => String::new(),
            text => text.to_lowercase(),
        };
        let most = if wanted.is_empty() { 1 } else { 6 };
        let fits = self.views.read(move |views| jobs::named(views, &wanted, most)).await?;
        match fits.as_slice() {
            [] => Err(NoJob::Unknown(text.to_owned()).into()),
            [id] => Ok(*id),
            several => {
                let names: Vec<String> = several.iter().take(5).map(ToString::to_string).collect();
                Err(NoJob::Ambiguous(text.to_owned(), names.join(", ")).into())
            }
        }
    }

    /// The job that `text` names, with its whole story.
    pub async fn read(&self, text: &str) -> Result<ReadJob, anyhow::Error> {
        let id = self.find(text).await?;
        read(&self.app, &self.views, id).await
    }
}

/// Reads a job, which the views have to know.
pub async fn read(app: &App, views: &Views, id: JobId) -> Result<ReadJob, anyhow::Error> {
    let unknown = || NoJob::Unknown(id.to_string());
    let overview = views.read(move |views| overview::find(views, id)).await?.ok_or_else(unknown)?;
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
    Ok(ReadJob { id, overview, state, created, request, events })
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
                notes: None,
            })
            .collect(),
        checks: Vec::new(),
        variables: BTreeMap::new(),
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
