//! Targets: one repository inside a job.

use async_graphql::{Context, Error, ID, Object, SimpleObject};
use cody_events::ids::TargetNumber;
use cody_events::job::Created;
use cody_events::outcome::TargetFinished;
use cody_projections::diffs;
use cody_projections::jobs::JobRow;
use cody_projections::overview::TargetOverview;
use cody_projections::threads;

use super::cost::Cost;
use super::diff::Diff;
use super::job::Job;
use super::scalars::{DateTime, Long};
use super::thread::Thread;
use super::words::{Delivery, Outcome, TargetKind, TargetStatus};
use super::{payload_of, shared};
use crate::api::graphql::errors::internal;
use crate::api::graphql::ids::GlobalId;
use crate::api::graphql::loaders::{LatestDiffOf, OverviewOf};
use crate::api::graphql::services::{app, rows};

/// One repository inside a job.
#[derive(Debug, Clone)]
pub struct Target {
    created_position: u64,
    overview: TargetOverview,
}

/// A pull request on the repository's host.
#[derive(Debug, Clone, SimpleObject)]
pub struct PullRequest {
    /// As its host numbers it.
    pub number: Long,
    /// Where people see it.
    pub url: String,
    /// `open`, `merged` or `closed`.
    pub state: String,
}

impl Target {
    /// The target of the job with this row.
    pub fn of(job: &JobRow, overview: &TargetOverview) -> Self {
        Self { created_position: job.created_position, overview: overview.clone() }
    }
}

/// One repository inside a job, at one base commit.
#[Object]
impl Target {
    /// The global id.
    pub async fn id(&self) -> ID {
        let row = &self.overview.target;
        GlobalId::Target(row.job, row.target).into()
    }

    /// From 1; by it, mutations and the command line name the target.
    async fn number(&self) -> Long {
        Long(self.overview.target.target.0.into())
    }

    /// The job that it belongs to.
    async fn job(&self, context: &Context<'_>) -> Result<Job, Error> {
        let job = self.overview.target.job;
        let found = rows(context)?.load_one(OverviewOf(job)).await.map_err(shared)?;
        found.map(Job).ok_or_else(|| Error::new("The job is gone from the views."))
    }

    /// `owner/name`, or the last component of a local path.
    async fn repository(&self) -> &str {
        &self.overview.target.repository
    }

    /// Where the repository lives.
    async fn kind(&self) -> TargetKind {
        self.overview.target.kind.into()
    }

    /// What Claude is told for this repository alone.
    async fn notes(&self, context: &Context<'_>) -> Result<Option<String>, Error> {
        let payload = payload_of::<Created>(context, self.created_position).await?;
        let index = self.overview.target.target.0.saturating_sub(1) as usize;
        Ok(payload.and_then(|payload| payload.locations.into_iter().nth(index)?.notes))
    }

    /// Where it stands on the axis of work.
    async fn status(&self) -> TargetStatus {
        self.overview.target.status.into()
    }

    /// How its latest round ended; nothing while it goes on.
    async fn outcome(&self) -> Option<Outcome> {
        self.overview.target.outcome.map(Outcome::from)
    }

    /// Where it stands on the axis of delivery.
    async fn delivery(&self) -> Delivery {
        self.overview.target.delivery.into()
    }

    /// From (re)opening the target to its outcome: the first is 1.
    async fn round(&self) -> Long {
        Long(self.overview.target.round)
    }

    /// Whether its job has a target that goes first, whose diff nobody has approved yet.
    async fn is_pilot_open(&self) -> bool {
        self.overview.target.is_pilot_open
    }

    /// The branch that it starts from.
    async fn branch(&self) -> Option<&str> {
        self.overview.target.branch.as_deref()
    }

    /// The commit that it starts from, as git names it.
    async fn base_commit(&self) -> Option<String> {
        self.overview.target.base_commit.map(|commit| commit.to_string())
    }

    /// The latest recorded tree, as git names it.
    async fn tree(&self) -> Option<String> {
        self.overview.target.tree.map(|tree| tree.to_string())
    }

    /// Workers that were at it.
    async fn attempt_count(&self) -> Long {
        Long(self.overview.target.attempt_count)
    }

    /// Claude's responses in the conversations that make the change.
    async fn turn_count(&self) -> Long {
        Long(self.overview.turn_count)
    }

    /// What it cost so far.
    async fn cost(&self) -> Cost {
        Cost::from(&self.overview.cost)
    }

    /// When its first worker began.
    async fn started_at(&self) -> Option<DateTime> {
        self.overview.target.started_at.map(DateTime)
    }

    /// When its latest round ended.
    async fn finished_at(&self) -> Option<DateTime> {
        self.overview.target.finished_at.map(DateTime)
    }

    /// What bears its outcome out, in sentences.
    async fn evidence(&self, context: &Context<'_>) -> Result<Vec<String>, Error> {
        let Some(position) = self.overview.target.finish_position else { return Ok(Vec::new()) };
        let payload = payload_of::<TargetFinished>(context, position).await?;
        Ok(payload.map(|payload| payload.evidence).unwrap_or_default())
    }

    /// The pull request that its approved diff became.
    async fn pull_request(&self) -> Option<PullRequest> {
        use cody_events::delivery::PrState;
        let request = self.overview.target.pull_request.as_ref()?;
        let state = match request.state {
            PrState::Open => "open",
            PrState::Merged => "merged",
            PrState::Closed => "closed",
        };
        Some(PullRequest {
            number: Long(request.number),
            url: request.url.clone(),
            state: state.to_owned(),
        })
    }

    /// The latest diff.
    #[graphql(complexity = "2 + child_complexity")]
    async fn diff(&self, context: &Context<'_>) -> Result<Option<Diff>, Error> {
        let row = &self.overview.target;
        let key = LatestDiffOf(row.job, row.target);
        let found = rows(context)?.load_one(key).await.map_err(shared)?;
        Ok(found.map(|diff| Diff::new(row.job, diff)))
    }

    /// Every diff that was made of it, oldest first.
    #[graphql(complexity = "10 + 5 * child_complexity")]
    async fn diffs(&self, context: &Context<'_>) -> Result<Vec<Diff>, Error> {
        let (job, target) = (self.overview.target.job, self.overview.target.target);
        let found = app(context)?.ask(move |views| diffs::of_job(views, job)).await;
        let own = found.map_err(internal)?.into_iter().filter(|row| row.target == target);
        Ok(own.map(|row| Diff::new(job, row)).collect())
    }

    /// The conversations about it, in the order of their numbers.
    #[graphql(complexity = "10 + 5 * child_complexity")]
    async fn threads(&self, context: &Context<'_>) -> Result<Vec<Thread>, Error> {
        let (job, target) = (self.overview.target.job, self.overview.target.target);
        let found = app(context)?.ask(move |views| threads::of_target(views, job, target)).await;
        Ok(found.map_err(internal)?.into_iter().map(|row| Thread { job, row }).collect())
    }
}

/// The target of a job with this number.
pub async fn find(
    context: &Context<'_>,
    job: cody_events::ids::JobId,
    number: TargetNumber,
) -> Result<Option<Target>, Error> {
    let found = rows(context)?.load_one(OverviewOf(job)).await.map_err(shared)?;
    Ok(found.and_then(|job| {
        let target = job.targets.iter().find(|one| one.target.target == number)?;
        Some(Target::of(&job.job, target))
    }))
}
