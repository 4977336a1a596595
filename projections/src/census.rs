//! How many jobs and targets stand where, over all that the views have. It has no tables of its own,
//! and reads every target: whoever asks often remembers the answer for a while.

use std::collections::BTreeMap;

use cody_events::ids::JobId;
use cody_events::outcome::Outcome;
use cody_events::status::{Delivery, JobStatus, Standing, TargetStatus};
use rusqlite::Connection;

use crate::columns::{Id, count, word, word_or_none};

/// How many stand where.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Census {
    pub jobs: BTreeMap<JobStatus, u64>,
    pub targets: BTreeMap<TargetStatus, u64>,
    pub deliveries: BTreeMap<Delivery, u64>,
    /// Jobs that some projection could not follow.
    pub quarantined_jobs: u64,
}

/// Counts all jobs and targets.
pub fn take(connection: &Connection) -> rusqlite::Result<Census> {
    let mut census = Census {
        quarantined_jobs: connection
            .prepare_cached("SELECT count(DISTINCT stream) FROM quarantine")?
            .query_row([], |row| count(row, 0))?,
        ..Census::default()
    };
    let mut statement = connection.prepare_cached(
        "SELECT targets.job, jobs.is_cancelled, outcome, delivery,
             targets.is_paused OR targets.is_job_paused, open_attempt IS NOT NULL,
             base_commit IS NOT NULL, is_pilot_open
         FROM targets JOIN jobs ON jobs.job = targets.job ORDER BY targets.job",
    )?;
    let mut rows = statement.query([])?;
    let mut current: Option<(JobId, bool)> = None;
    let mut standings: Vec<Standing> = Vec::new();
    while let Some(row) = rows.next()? {
        let job = (row.get::<_, Id>(0)?.0, row.get(1)?);
        if current != Some(job) {
            census.add_job(current, &standings);
            standings.clear();
            current = Some(job);
        }
        let outcome: Option<Outcome> = word_or_none(row, 2)?;
        let delivery: Delivery = word(row, 3)?;
        let status = TargetStatus::of(outcome, row.get(4)?, row.get(5)?);
        *census.targets.entry(status).or_default() += 1;
        *census.deliveries.entry(delivery).or_default() += 1;
        standings.push(Standing {
            status,
            outcome,
            delivery,
            has_begun: row.get(6)?,
            waits_for_pilot: row.get(7)?,
        });
    }
    census.add_job(current, &standings);
    Ok(census)
}

impl Census {
    fn add_job(&mut self, job: Option<(JobId, bool)>, standings: &[Standing]) {
        if let Some((_, is_cancelled)) = job {
            *self.jobs.entry(JobStatus::of(standings, is_cancelled)).or_default() += 1;
        }
    }
}
