//! Waiting for a job: a long poll that ends when an assistant has something to do.

use std::sync::Arc;
use std::time::Duration;

use cody_events::ids::JobId;
use cody_events::status::JobStatus;
use cody_projections::overview::{JobOverview, TargetOverview};
use rmcp::Peer;
use rmcp::model::{ProgressNotificationParam, ProgressToken};
use rmcp::service::RoleServer;
use serde::Deserialize;

use super::{Call, Detail, about, next, of_log};
use crate::api::mcp::answer::{Answer, No};
use crate::api::mcp::office::Office;
use crate::api::reading::Glance;
use crate::api::words;

/// How long one call waits: clients give up after a minute.
const PATIENCE: Duration = Duration::from_secs(45);
/// How often it is said meanwhile that the wait goes on.
const TELL: Duration = Duration::from_secs(5);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WaitForJob {
    job_id: String,
    after: Option<u64>,
    #[serde(default)]
    detail: Detail,
}

/// Why a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waited {
    Finished,
    AwaitsPerson,
    /// Nothing goes on until somebody says so.
    Paused,
    Changed,
    Timeout,
}

impl Waited {
    fn name(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::AwaitsPerson => "awaits-person",
            Self::Paused => "paused",
            Self::Changed => "changed",
            Self::Timeout => "timeout",
        }
    }
}

/// Tells a client that waits how a job goes, if it wants to know.
#[derive(Debug, Clone, Default)]
pub struct Teller(pub Option<(Peer<RoleServer>, ProgressToken)>);

impl Teller {
    async fn tell(&self, step: u32, glance: &Glance) {
        let Some((peer, token)) = &self.0 else { return };
        let message = in_words(&glance.overview);
        let progress = ProgressNotificationParam::new(token.clone(), f64::from(step));
        // Who does not hear it learns of the job by the answer.
        let _ = peer.notify_progress(progress.with_message(message)).await;
    }
}

impl Call<'_> {
    pub(super) async fn wait_for_job(&self, asked: Result<WaitForJob, No>) -> Result<Answer, No> {
        let asked = asked?;
        let job = self.find(&asked.job_id).await?;
        let (glance, waited) = wait(self.office, job, asked.after, PATIENCE, &self.teller).await?;
        Ok(about(told(&glance, waited), &glance.overview, asked.detail))
    }
}

/// How a job goes, in a few words.
pub fn in_words(job: &JobOverview) -> String {
    let turns: u64 = job.targets.iter().map(|one| one.turn_count).sum();
    format!(
        "{}, {}, {}",
        job.status().name(),
        words::counted(turns, "turn"),
        words::dollars(job.spent_micros())
    )
}

/// How each of a job's repositories goes, a line for each.
pub fn in_lines(job: &JobOverview) -> String {
    let line = |one: &TargetOverview| {
        format!(
            "{} {}: {}, {}, {}, {}",
            one.target.target,
            words::printable(&one.target.repository),
            one.target.status.name(),
            one.target.delivery.name(),
            words::counted(one.turn_count, "turn"),
            words::dollars(one.cost.spent_micros())
        )
    };
    job.targets.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// How a wait ended, as an answer.
pub fn told(glance: &Glance, waited: Waited) -> Answer {
    let job = &glance.overview;
    let (id, position) = (job.job.job, job.job.position);
    let awaiting: Vec<u32> = job
        .targets
        .iter()
        .filter(|one| one.target.delivery.awaits_person())
        .map(|one| one.target.target.0)
        .collect();
    Answer::new(position, next(job.status(), id, position))
        .with("reason", waited.name())
        .with("job_id", id.to_string())
        .with("status", job.status().name())
        .with("cost_micros", job.spent_micros())
        .with("awaiting", awaiting)
}

/// Waits until `job` is finished, rests or needs a person, something happened after the position `after`
/// (without one: from now on), or `patience` is over.
pub async fn wait(
    office: &Office,
    job: JobId,
    after: Option<u64>,
    patience: Duration,
    teller: &Teller,
) -> Result<(Glance, Waited), No> {
    // Asked for before the job is looked at, so that nothing falls between.
    let mut news = office.news.of(job).await.map_err(of_log)?;
    let clock = Arc::clone(office.app().clock());
    let deadline = clock.monotonic() + patience;
    let (mut start, mut steps) = (after, 0);
    loop {
        news.mark_unchanged();
        office.catch_up().await?;
        let glance = office.reader.glance(job).await?;
        let position = glance.overview.job.position;
        let start = *start.get_or_insert(position);
        let waited = match glance.overview.status() {
            JobStatus::Succeeded
            | JobStatus::PartlyFailed
            | JobStatus::Failed
            | JobStatus::Cancelled => Some(Waited::Finished),
            JobStatus::AwaitingReview => Some(Waited::AwaitsPerson),
            JobStatus::Paused => Some(Waited::Paused),
            JobStatus::Queued | JobStatus::Running => {
                if position > start {
                    Some(Waited::Changed)
                } else if clock.monotonic() >= deadline {
                    Some(Waited::Timeout)
                } else {
                    None
                }
            }
        };
        if let Some(waited) = waited {
            return Ok((glance, waited));
        }
        let step = deadline.saturating_sub(clock.monotonic()).min(TELL);
        tokio::select! {
            changed = news.changed() => {
                if changed.is_err() {
                    return Ok((glance, Waited::Timeout));
                }
            }
            // Who calls again is served by the next server.
            () = office.stopping.cancelled() => return Ok((glance, Waited::Timeout)),
            () = clock.sleep(step) => {
                steps += 1;
                teller.tell(steps, &glance).await;
            }
        }
    }
}
