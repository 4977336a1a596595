//! A job at one glance: its row with those of its targets and what they cost. It has no tables of
//! its own.

use cody_events::ids::JobId;
use cody_events::status::{JobStatus, Standing};
use rusqlite::Connection;
use serde::{Deserialize, Serialize};

use crate::costs::{self, CostRow};
use crate::jobs::{self, JobFilter, JobRow};
use crate::targets::{self, TargetRow};
use crate::threads;

/// A job and where each of its targets stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobOverview {
    pub job: JobRow,
    /// In the order of their numbers.
    pub targets: Vec<TargetOverview>,
}

/// A target and what it took so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetOverview {
    pub target: TargetRow,
    pub cost: CostRow,
    /// Responses in the conversations that make the change.
    pub turn_count: u64,
}

impl JobOverview {
    /// Where the job stands.
    pub fn status(&self) -> JobStatus {
        let standings: Vec<Standing> =
            self.targets.iter().map(|one| one.target.standing()).collect();
        JobStatus::of(&standings, self.job.is_cancelled)
    }

    /// Known and assumed cost over all targets, in micro-dollars.
    pub fn spent_micros(&self) -> u64 {
        self.targets.iter().map(|one| one.cost.spent_micros()).fold(0, u64::saturating_add)
    }
}

/// The job with this id.
pub fn find(connection: &Connection, job: JobId) -> rusqlite::Result<Option<JobOverview>> {
    jobs::find(connection, job)?.map(|row| with_targets(connection, row)).transpose()
}

/// Up to `limit` jobs created before `before`, newest first.
pub fn page(
    connection: &Connection,
    before: Option<JobId>,
    limit: u32,
) -> rusqlite::Result<Vec<JobOverview>> {
    let rows = jobs::page(connection, before, limit)?;
    rows.into_iter().map(|row| with_targets(connection, row)).collect()
}

/// Up to `limit` jobs that `filter` lets through, created before the position `before`, newest first.
pub fn list(
    connection: &Connection,
    filter: &JobFilter,
    before: Option<u64>,
    limit: u32,
) -> rusqlite::Result<Vec<JobOverview>> {
    let rows = jobs::list(connection, filter, before, limit)?;
    rows.into_iter().map(|row| with_targets(connection, row)).collect()
}

fn with_targets(connection: &Connection, job: JobRow) -> rusqlite::Result<JobOverview> {
    let targets = targets::of_job(connection, job.job)?
        .into_iter()
        .map(|target| {
            Ok(TargetOverview {
                cost: costs::of_target(connection, target.job, target.target)?.unwrap_or_default(),
                turn_count: threads::turn_count(connection, target.job, target.target)?,
                target,
            })
        })
        .collect::<rusqlite::Result<_>>()?;
    Ok(JobOverview { job, targets })
}
