//! The log and its views of a data directory, opened to be read. How a job is read stands in
//! `api::reading`, for all doors.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use cody_events::ids::JobId;
use cody_projections::jobs;
use cody_projections::overview::{self, JobOverview};
use cody_projections::usage::{self, UsageQuery, UsageRow};

pub use crate::api::reading::{JobReader, NoJob, ReadError, ReadJob};
use crate::app::App;
use crate::clock::SystemClock;
use crate::entropy::SystemEntropy;
use crate::store::side::SideTables;
use crate::store::views::Views;
use crate::store::{Log, SqliteLog};

/// Jobs whose state a reading verb keeps in memory.
const STATES: NonZeroUsize = NonZeroUsize::MIN.saturating_add(15);

/// The log and its views, opened to be read.
pub struct Reading {
    pub app: Arc<App>,
    pub reader: JobReader,
}

impl Reading {
    /// Opens what is in `dir`, also while a server writes it.
    pub async fn open(dir: &Path) -> Result<Self, anyhow::Error> {
        let log = Arc::new(SqliteLog::open_to_read(dir)?);
        let side: Arc<dyn SideTables> = Arc::<SqliteLog>::clone(&log);
        let log: Arc<dyn Log> = log;
        let views = Arc::new(Views::open_to_read(dir, Arc::clone(&log), side).await?);
        let app = Arc::new(App::new(log, Arc::new(SystemClock), Arc::new(SystemEntropy), STATES));
        let reader = JobReader { app: Arc::clone(&app), views };
        Ok(Self { app, reader })
    }

    /// Up to `limit` jobs, newest first.
    pub async fn jobs(&self, limit: u32) -> Result<Vec<JobOverview>, anyhow::Error> {
        Ok(self.reader.views.read(move |views| overview::page(views, None, limit)).await?)
    }

    /// A page of usage.
    pub async fn usage(&self, query: UsageQuery) -> Result<Vec<UsageRow>, anyhow::Error> {
        Ok(self.reader.views.read(move |views| usage::over(views, &query)).await?)
    }

    /// How many jobs usage could not follow to their end.
    pub async fn uncounted(&self) -> Result<usize, anyhow::Error> {
        let held = self.reader.views.quarantined().await?;
        Ok(held.iter().filter(|one| one.projection == usage::PROJECTION.name).count())
    }

    /// The job that `text` names: an id, or the beginning or end of one; `latest` is the newest.
    pub async fn find(&self, text: &str) -> Result<JobId, anyhow::Error> {
        let wanted = match text {
            "latest" => String::new(),
            text => text.to_lowercase(),
        };
        let most = if wanted.is_empty() { 1 } else { 6 };
        let fits = self.reader.views.read(move |views| jobs::named(views, &wanted, most)).await?;
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
        self.reader.read(id).await.map_err(plain)
    }
}

/// A job that is not there stays that, so that it is told as wrong usage.
pub fn plain(error: ReadError) -> anyhow::Error {
    match error {
        ReadError::NoJob(no) => no.into(),
        error @ (ReadError::App(_) | ReadError::Views(_)) => error.into(),
    }
}
