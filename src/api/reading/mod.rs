//! Jobs read from the log and its views, for every door that shows them. Nothing here writes or
//! starts work.
//!
//! The views are a little behind the log. A job is read as it stood at its last event that the views
//! know, so that what the log and the views say of it fits together.

mod door;

use std::collections::BTreeMap;
use std::sync::Arc;

use cody_events::diff::{DiffProduced, DiffProducedPayload, TargetHeld};
use cody_events::digest::Sha256;
use cody_events::event::Event;
use cody_events::ids::{JobId, TargetNumber};
use cody_events::job::{Created, CreatedPayload, Location};
use cody_events::outcome::TargetFinished;
use cody_events::status::Delivery;
use cody_events::time::Timestamp;
use cody_projections::jobs;
use cody_projections::overview::{self, JobOverview};
use cody_projections::targets::{self, TargetRow};
use cody_projections::usage::{self, UsageQuery, UsageRow};
use serde::{Deserialize, Serialize};

use crate::app::{App, AppError, Told};
use crate::job::JobState;
use crate::job::state::{Job, Target};
use crate::store::views::{Views, ViewsError};

pub use door::{MOST_BYTES, MOST_EVENTS, Question, ROUTE, ReadingDoor, router};

/// The most events that are read together.
pub const PAGE: usize = 200;

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

impl NoJob {
    /// The one job among `fits`, which [`JobReader::named`] found for `text`.
    pub fn choose(text: &str, fits: &[JobId]) -> Result<JobId, Self> {
        match fits {
            [] => Err(Self::Unknown(text.to_owned())),
            [id] => Ok(*id),
            several => {
                let names: Vec<String> = several.iter().take(5).map(ToString::to_string).collect();
                Err(Self::Ambiguous(text.to_owned(), names.join(", ")))
            }
        }
    }
}

/// Why a job could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error(transparent)]
    NoJob(#[from] NoJob),
    #[error(transparent)]
    App(#[from] AppError),
    #[error(transparent)]
    Views(#[from] ViewsError),
}

/// Reads jobs.
#[derive(Debug, Clone)]
pub struct JobReader {
    pub app: Arc<App>,
    pub views: Arc<Views>,
}

/// A job as the views have it, and the event at which they do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Glance {
    pub overview: JobOverview,
    pub stand: Stand,
}

/// How far along a job's stream something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stand {
    pub version: u64,
    /// The hash of the event there, and with it of all before.
    pub event_hash: Sha256,
}

/// A job and its story, as it stood at one event.
#[derive(Debug)]
pub struct ReadJob {
    pub id: JobId,
    pub overview: JobOverview,
    pub stand: Stand,
    pub state: Job,
    pub created: Created,
    pub request: CreatedPayload,
    /// What happened, but for the calls, responses and tools of its conversations, which may be any
    /// number and are read in pages.
    pub events: Vec<Told>,
    /// When the last thing happened.
    pub latest_at: Timestamp,
}

impl JobReader {
    /// The job as the views have it now.
    pub async fn glance(&self, id: JobId) -> Result<Glance, ReadError> {
        let unknown = || NoJob::Unknown(id.to_string());
        let overview = self.views.read(move |views| overview::find(views, id)).await?;
        let overview = overview.ok_or_else(unknown)?;
        let before = overview.job.position.saturating_sub(1);
        let events = self.app.log().read_log(before, 1).await.map_err(AppError::from)?;
        let last =
            events.first().filter(|event| event.stream == id.stream()).ok_or_else(unknown)?;
        let stand = Stand { version: last.version, event_hash: last.event_hash };
        Ok(Glance { overview, stand })
    }

    /// Up to `limit` jobs, newest first.
    pub async fn jobs(&self, limit: u32) -> Result<Vec<JobOverview>, ReadError> {
        Ok(self.views.read(move |views| overview::page(views, None, limit)).await?)
    }

    /// Up to `limit` targets that wait for a person's word, the longest wait first.
    pub async fn inbox(&self, limit: u32) -> Result<Vec<TargetRow>, ReadError> {
        Ok(self.views.read(move |views| targets::awaiting(views, limit)).await?)
    }

    /// A page of usage.
    pub async fn usage(&self, query: UsageQuery) -> Result<Vec<UsageRow>, ReadError> {
        Ok(self.views.read(move |views| usage::over(views, &query)).await?)
    }

    /// How many jobs usage could not follow to their end.
    pub async fn uncounted(&self) -> Result<usize, ReadError> {
        let held = self.views.quarantined().await?;
        Ok(held.iter().filter(|one| one.projection == usage::PROJECTION.name).count())
    }

    /// The jobs whose id begins or ends with `text`, a few at most; for `latest` the newest.
    pub async fn named(&self, text: &str) -> Result<Vec<JobId>, ReadError> {
        let (wanted, most) = match text {
            "latest" => (String::new(), 1),
            text => (text.to_lowercase(), 6),
        };
        Ok(self.views.read(move |views| jobs::named(views, &wanted, most)).await?)
    }

    /// The job with its whole story.
    pub async fn read(&self, id: JobId) -> Result<ReadJob, ReadError> {
        self.read_at(self.glance(id).await?).await
    }

    /// The job of `glance` with its story up to there.
    pub async fn read_at(&self, glance: Glance) -> Result<ReadJob, ReadError> {
        ReadJob::at(&self.app, glance).await
    }
}

impl ReadJob {
    /// The job of `glance` with its story up to there, from the log of `app`.
    pub async fn at(app: &App, glance: Glance) -> Result<Self, ReadError> {
        let Glance { overview, stand } = glance;
        let id = overview.job.job;
        let mut state = JobState::default();
        let mut events = Vec::new();
        let mut latest_at = Timestamp(0);
        let mut after = 0;
        loop {
            let page = page(app, id, after, stand.version).await?;
            let Some(last) = page.last() else { break };
            (after, latest_at) = (last.recorded.version, last.recorded.recorded_at);
            for told in page {
                state.evolve(&told.event);
                if !is_conversation(&told.event) {
                    events.push(told);
                }
            }
        }
        let unknown = || NoJob::Unknown(id.to_string());
        let first: &Told = events.first().ok_or_else(unknown)?;
        let Event::Created(created) = first.event.clone() else { return Err(unknown().into()) };
        let request = app.payload_of::<Created>(first.recorded.position).await?;
        let request = request.unwrap_or_else(|| removed(&created));
        let state = state.job.ok_or_else(unknown)?;
        Ok(Self { id, overview, stand, state, created, request, events, latest_at })
    }
}

/// Up to [`PAGE`] events of `job` after the version `after` and up to the version `until`; none if
/// there are no more.
pub async fn page(app: &App, job: JobId, after: u64, until: u64) -> Result<Vec<Told>, AppError> {
    let limit = usize::try_from(until.saturating_sub(after)).unwrap_or(PAGE).min(PAGE);
    if limit == 0 {
        return Ok(Vec::new());
    }
    let page = app.log().read_stream(&job.stream(), after + 1, limit).await?;
    let tell = |recorded: cody_events::envelope::Recorded| {
        let event = Event::decode(&recorded.kind, recorded.schema_version, &recorded.facts)?;
        Ok(Told { event, recorded })
    };
    page.into_iter().map(tell).collect()
}

/// The version of the last event of `job` that lies at or before the position `after`: whoever comes back reads what
/// they lack, and not all that there ever was.
pub async fn version_at(app: &App, job: JobId, after: u64) -> Result<u64, AppError> {
    let (mut least, mut most) = (0, app.state(job).await?.version);
    while least < most {
        let middle = least + (most - least).div_ceil(2);
        let event = app.log().read_stream(&job.stream(), middle, 1).await?.into_iter().next();
        match event.is_some_and(|event| event.position <= after) {
            true => least = middle,
            false => most = middle - 1,
        }
    }
    Ok(least)
}

/// Whether `event` is one of those that each turn of a conversation makes.
fn is_conversation(event: &Event) -> bool {
    matches!(
        event,
        Event::CallPermitted(_) | Event::CallFailed(_) | Event::ClaudeTurn(_) | Event::ToolsRan(_)
    )
}

/// What stands in for a request whose payload was removed.
fn removed(created: &Created) -> CreatedPayload {
    let location =
        |repository: &str| Location { locator: repository.to_owned(), branch: None, notes: None };
    CreatedPayload {
        prompt: "(removed)".to_owned(),
        notes: None,
        locations: created.targets.iter().map(|target| location(&target.repository)).collect(),
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

    /// The event that made it.
    pub fn birth(&self) -> Option<&Told> {
        self.events.first()
    }

    /// When the job was created.
    pub fn created_at(&self) -> Timestamp {
        self.birth().map_or(Timestamp(0), |told| told.recorded.recorded_at)
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

    /// Why the target's diff is held for a person, if it is.
    pub async fn hold(&self, app: &App, target: TargetNumber) -> Result<Option<String>, AppError> {
        let overview = self.overview.targets.iter().find(|one| one.target.target == target);
        if overview.is_none_or(|one| one.target.delivery != Delivery::Held) {
            return Ok(None);
        }
        let position = self
            .latest(|event| matches!(event, Event::TargetHeld(held) if held.0.target == target));
        let Some(position) = position else { return Ok(None) };
        Ok(app.payload_of::<TargetHeld>(position).await?.map(|payload| payload.comment))
    }

    /// The facts of the target's latest diff, and where it stands in the log.
    pub fn diff_facts(&self, target: TargetNumber) -> Option<(u64, &DiffProduced)> {
        self.events.iter().rev().find_map(|told| match &told.event {
            Event::DiffProduced(diff) if diff.target == target => {
                Some((told.recorded.position, diff))
            }
            _ => None,
        })
    }

    /// The target's latest diff.
    pub async fn diff(
        &self,
        app: &App,
        target: TargetNumber,
    ) -> Result<Option<(DiffProduced, DiffProducedPayload)>, AppError> {
        let Some((position, facts)) = self.diff_facts(target) else { return Ok(None) };
        let payload = app.payload_of::<DiffProduced>(position).await?;
        Ok(payload.map(|payload| (facts.clone(), payload)))
    }

    fn latest(&self, fits: impl Fn(&Event) -> bool) -> Option<u64> {
        self.events.iter().rev().find(|told| fits(&told.event)).map(|told| told.recorded.position)
    }
}
