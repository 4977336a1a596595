//! Jobs, opened to be read: in the data directory, or at a server that is not on this machine. How a job
//! is read stands in `api::reading`, for all doors.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use cody_events::ids::JobId;
use cody_projections::overview::JobOverview;
use cody_projections::targets::TargetRow;
use cody_projections::usage::{UsageQuery, UsageRow};

pub use crate::api::reading::{JobReader, NoJob, ReadError, ReadJob};

use super::Context;
use super::client::Client;
use super::far_log::FarLog;
use crate::api::reading::{Glance, MOST_EVENTS, Question};
use crate::app::App;
use crate::clock::SystemClock;
use crate::entropy::SystemEntropy;
use crate::store::side::SideTables;
use crate::store::views::Views;
use crate::store::{Log, SqliteLog};

/// Jobs whose state a reading verb keeps in memory.
const STATES: NonZeroUsize = NonZeroUsize::MIN.saturating_add(15);

/// Jobs, opened to be read.
pub struct Reading {
    /// Reads their events.
    pub app: Arc<App>,
    source: Source,
}

/// Whom the rest is asked of.
enum Source {
    Here(JobReader),
    Far(Arc<Client>),
}

impl Reading {
    /// Opens what the verb is about: a server that was named, or else the data directory.
    pub async fn open(context: &Context) -> Result<Self, anyhow::Error> {
        match &context.far {
            Some(client) => Ok(Self::far(Arc::clone(client))),
            None => Self::here(&context.config.data_dir).await,
        }
    }

    /// Opens what is in `dir`, also while a server writes it.
    pub async fn here(dir: &Path) -> Result<Self, anyhow::Error> {
        let log = Arc::new(SqliteLog::open_to_read(dir)?);
        let side: Arc<dyn SideTables> = Arc::<SqliteLog>::clone(&log);
        let log: Arc<dyn Log> = log;
        let views = Arc::new(Views::open_to_read(dir, Arc::clone(&log), side).await?);
        let app = shell(log);
        let source = Source::Here(JobReader { app: Arc::clone(&app), views });
        Ok(Self { app, source })
    }

    /// What `client`'s server has.
    pub fn far(client: Arc<Client>) -> Self {
        let app = shell(Arc::new(FarLog::new(Arc::clone(&client))));
        Self { app, source: Source::Far(client) }
    }

    /// Up to `limit` jobs, newest first.
    pub async fn jobs(&self, limit: u32) -> Result<Vec<JobOverview>, anyhow::Error> {
        match &self.source {
            Source::Here(reader) => reader.jobs(limit).await.map_err(plain),
            Source::Far(client) => {
                let jobs: Vec<JobOverview> = client.answer(&Question::Jobs { limit }).await?;
                tell_of_more(jobs.len(), limit);
                Ok(jobs)
            }
        }
    }

    /// Up to `limit` targets that wait for a person's word, the longest wait first.
    pub async fn inbox(&self, limit: u32) -> Result<Vec<TargetRow>, anyhow::Error> {
        match &self.source {
            Source::Here(reader) => reader.inbox(limit).await.map_err(plain),
            Source::Far(client) => {
                let targets: Vec<TargetRow> = client.answer(&Question::Inbox { limit }).await?;
                tell_of_more(targets.len(), limit);
                Ok(targets)
            }
        }
    }

    /// A page of usage.
    pub async fn usage(&self, query: UsageQuery) -> Result<Vec<UsageRow>, anyhow::Error> {
        match &self.source {
            Source::Here(reader) => reader.usage(query).await.map_err(plain),
            Source::Far(client) => client.answer(&Question::Usage(query)).await,
        }
    }

    /// How many jobs usage could not follow to their end.
    pub async fn uncounted(&self) -> Result<usize, anyhow::Error> {
        match &self.source {
            Source::Here(reader) => reader.uncounted().await.map_err(plain),
            Source::Far(client) => client.answer(&Question::Uncounted).await,
        }
    }

    /// The job that `text` names: an id, or the beginning or end of one; `latest` is the newest.
    pub async fn find(&self, text: &str) -> Result<JobId, anyhow::Error> {
        let fits = match &self.source {
            Source::Here(reader) => reader.named(text).await.map_err(plain)?,
            Source::Far(client) => {
                client.answer(&Question::Named { text: text.to_owned() }).await?
            }
        };
        Ok(NoJob::choose(text, &fits)?)
    }

    /// The job that `text` names, with its whole story.
    pub async fn read(&self, text: &str) -> Result<ReadJob, anyhow::Error> {
        let job = self.find(text).await?;
        let glance = match &self.source {
            Source::Here(reader) => reader.glance(job).await.map_err(plain)?,
            Source::Far(client) => {
                let glance: Option<Glance> = client.answer(&Question::Glance { job }).await?;
                glance.ok_or_else(|| NoJob::Unknown(text.to_owned()))?
            }
        };
        ReadJob::at(&self.app, glance).await.map_err(plain)
    }
}

/// Says that a list may be cut, which would be taken for all.
fn tell_of_more(count: usize, limit: u32) {
    if let Some(words) = words_of_more(count, limit) {
        eprintln!("{words}");
    }
}

fn words_of_more(count: usize, limit: u32) -> Option<String> {
    let is_cut = count >= MOST_EVENTS && u64::from(limit) > count as u64;
    is_cut
        .then(|| format!("There may be more: a server tells {MOST_EVENTS} at most from far away."))
}

/// A shell over `log` that only reads.
fn shell(log: Arc<dyn Log>) -> Arc<App> {
    Arc::new(App::new(log, Arc::new(SystemClock), Arc::new(SystemEntropy), STATES))
}

/// A job that is not there stays that, so that it is told as wrong usage.
pub fn plain(error: ReadError) -> anyhow::Error {
    match error {
        ReadError::NoJob(no) => no.into(),
        error @ (ReadError::App(_) | ReadError::Views(_)) => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_a_server_cut_is_not_taken_for_all() {
        assert!(words_of_more(MOST_EVENTS, 1_000).is_some());
        for (count, limit) in [(MOST_EVENTS, 200), (199, 1_000), (0, 50)] {
            assert_eq!(words_of_more(count, limit), None, "{count} of {limit}");
        }
    }
}
